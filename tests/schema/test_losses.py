"""The account of a write."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from granum.errors import LossError, UnknownNameError
from granum.loaders.base import Format, blank, keep_columns
from granum.loaders.writing import account
from granum.schema import losses, tables
from granum.schema.losses import BOOKKEEPING, KINDS, NAMES, LossReport, LossRow, expand, name_of
from granum.schema.rows import Annotation, Category, LabelMap, Rle, Sample
from granum.schema.tables import with_column
from granum.store.dataset import Dataset
from granum.store.parts import Batch
from granum.testing import small_datasets


def box(**values):
    return Annotation(**{"category": 0, "bbox": (1.0, 2.0, 3.0, 4.0), **values})


def data(*annotations, categories=("cat", "dog"), **sample):
    listed = [c if isinstance(c, Category) else Category(c) for c in categories]
    one = Sample("a.jpg", annotations=list(annotations), **{"width": 20, "height": 10, **sample})
    return Dataset.from_rows([one], listed)


class Kept(Format):
    """Keeps what it is told to; ``change`` is what else it does to a batch."""

    name = "kept"

    def __init__(self, keeps=NAMES, change=None, tolerance=None):
        self.keeps, self.change, self.tolerance = frozenset(keeps), change, tolerance or {}

    def project(self, batch, dataset):
        kept = keep_columns(batch, self.keeps)
        return self.change(kept) if self.change else kept


def lines(dataset, *arguments, **options):
    report = account(dataset, Kept(*arguments, **options), {})
    for row in report.rows:
        assert row.kept + row.changed + row.lost == row.total, row
    return {(r.table, r.kind, r.column): (r.kept, r.changed, r.lost) for r in report.rows}, report


# ---------------------------------------------------------------------- names


def test_the_list_of_names():
    assert set(tables.ANNOTATION_KINDS) == KINDS
    assert {"mask", "bbox", "score", "split", "space", "layers", "sample", "record"} <= NAMES
    for column in ("polygons", "rle", "map", "extra", "role", "key", "annotation_id"):
        assert column not in NAMES
    assert not any(n.startswith("attr.") for n in NAMES)


@pytest.mark.parametrize(
    ("table", "column", "name"),
    [
        ("annotations", "polygons", "mask"),
        ("annotations", "rle", "mask"),
        ("annotations", "keypoint_scores", "keypoints"),
        ("annotations", "attr.colour", "attributes"),
        ("annotations", "extra", "attributes"),
        ("annotations", "subject", "relation"),
        ("annotations", "object", "relation"),  # not the kind of that name
        ("annotations", "annotation_id", None),
        ("annotations", "area", None),
        ("annotations", "col.hash", None),
        ("samples", "order", "group"),
        ("samples", "split", "split"),
        ("samples", "width", None),
        ("categories", "keypoints", "skeleton"),
        ("categories", "extra", "attributes"),
        ("categories", "source_id", None),
    ],
)
def test_what_columns_are_called(table, column, name):
    assert name_of(table, column) == name


def test_expanding_names():
    assert expand(["bbox", "polygons", "extra"]) == {"bbox", "mask", "attributes"}
    assert expand(["all"]) == NAMES
    assert expand([]) == frozenset()
    with pytest.raises(UnknownNameError, match="Did you mean 'score'"):
        expand(["scores"])
    for name in BOOKKEEPING - {"sample"}:
        with pytest.raises(UnknownNameError):
            expand([name])


# ---------------------------------------------------------------------- accounts


@pytest.mark.parametrize("name", list(small_datasets()))
def test_a_format_that_keeps_all_loses_nothing(name):
    found, report = lines(small_datasets()[name])
    assert all(lost == changed == 0 for _, changed, lost in found.values())
    assert report.table() == "everything is kept"
    assert report.lost_names() == {}


def test_columns_by_kind():
    dataset = data(
        box(score=0.0), box(), box(score=0.5), Annotation("label", category=1, score=1.0)
    )
    found, report = lines(dataset, NAMES - {"score"})
    assert found["annotations", "object", "score"] == (0, 0, 2)
    assert found["annotations", "label", "score"] == (0, 0, 1)
    assert found["annotations", "object", "*"] == (3, 0, 0)
    assert found["annotations", "object", "bbox"] == (3, 0, 0)
    assert report.lost_names() == {"score": 3}
    assert report.refused(["score"]) == {}
    assert report.refused(["bbox", "mask"]) == {"score": 3}


def test_a_kind_lost_takes_its_columns_along():
    dataset = data(box(), Annotation("caption", text="a", score=0.1), box(text="b"))
    found, report = lines(dataset, NAMES - {"caption"})
    assert found["annotations", "caption", "*"] == (0, 0, 1)
    assert found["annotations", "caption", "text"] == (0, 0, 1)
    assert found["annotations", "object", "text"] == (1, 0, 0)
    assert report.lost_names() == {"caption": 1}


def test_some_rows_lost_are_named():
    def without_first(batch):
        return Batch(batch.samples, batch.annotations.slice(1), batch.start)

    dataset = data(box(annotation_id=41, score=0.5), box(annotation_id=42, score=0.5))
    found, report = lines(dataset, change=without_first)
    assert found["annotations", "object", "*"] == (1, 0, 1)
    assert found["annotations", "object", "score"] == (1, 0, 1)
    rows = {r.column: r for r in report.rows if r.table == "annotations"}
    assert rows["*"].examples == rows["score"].examples == ["41"]
    assert report.lost_names()["object"] == 1


def test_rows_in_another_order_are_found():
    def reverse(batch):
        return Batch(batch.samples, batch.annotations.take([2, 1, 0]), batch.start)

    dataset = data(box(score=0.1), box(category=1), box(score=0.3))
    assert lines(dataset, change=reverse)[1].lost_names() == {}


def rounded(digits):
    def change(batch):
        boxes = [
            None if b is None else [round(v, digits) for v in b]
            for b in batch.annotations["bbox"].to_pylist()
        ]
        values = pa.array(boxes, tables.ANNOTATIONS.field("bbox").type)
        return Batch(batch.samples, with_column(batch.annotations, "bbox", values), batch.start)

    return change


def test_tolerance_is_the_line_between_changed_and_lost():
    dataset = data(box(bbox=(0.5, 0, 1, 1)), box(bbox=(0.54, 0, 1, 1)), box(bbox=(0.56, 0, 1, 1)))
    assert lines(dataset, change=rounded(1))[0]["annotations", "object", "bbox"] == (1, 0, 2)
    found, report = lines(dataset, change=rounded(1), tolerance={"bbox": 0.05})
    assert found["annotations", "object", "bbox"] == (1, 2, 0)
    assert report.lost_names() == {}
    assert "bbox" in report.table()
    strict, _ = lines(dataset, change=rounded(0), tolerance={"bbox": 0.45})
    assert strict["annotations", "object", "bbox"] == (0, 1, 2)


def test_units_are_compared_in_pixels():
    def as_fractions(batch):
        samples = with_column(
            batch.samples, "unit", pa.array(["relative"]).cast(tables.SAMPLES.field("unit").type)
        )
        boxes = [
            [x / 20, y / 10, w / 20, h / 10] for x, y, w, h in batch.annotations["bbox"].to_pylist()
        ]
        values = pa.array(boxes, tables.ANNOTATIONS.field("bbox").type)
        return Batch(samples, with_column(batch.annotations, "bbox", values), batch.start)

    found, _ = lines(data(box()), change=as_fractions)
    assert found["annotations", "object", "bbox"] == (1, 0, 0)
    # without a size fractions are no pixels
    found, _ = lines(data(box(), width=None), change=as_fractions)
    assert found["annotations", "object", "bbox"] == (0, 0, 1)
    relative = data(box(bbox=(0.25, 0.5, 0.25, 0.5)), unit="relative", width=None)
    assert lines(relative)[1].lost_names() == {}


def test_bookkeeping_refuses_nothing():
    dataset = data(box(source_id="7", area=3.0), source_id="9")
    found, report = lines(dataset, NAMES - {"record"})
    assert found["annotations", "object", "source_id"] == (0, 0, 1)
    assert found["samples", None, "source_id"] == (0, 0, 1)
    assert report.lost_names() == {}
    found, _ = lines(dataset)
    assert found["annotations", "object", "source_id"] == (1, 0, 0)


def test_masks_in_another_form_are_changed():
    rle = Rle((10, 20), b"21", "compressed")
    ring = [[[1.0, 1.0, 5.0, 1.0, 5.0, 5.0]]]

    def as_rle(batch):
        values = pa.array(
            [{"size": [10, 20], "counts": rle.counts, "form": "compressed"}] * 1,
            tables.ANNOTATIONS.field("rle").type,
        )
        table = with_column(batch.annotations, "rle", values).drop_columns(["polygons"])
        return Batch(batch.samples, table, batch.start)

    found, report = lines(data(box(polygons=ring)), change=as_rle)
    assert found["annotations", "object", "polygons"] == (0, 1, 0)
    assert report.lost_names() == {}
    # a form that was there all along stands for nothing else
    found, report = lines(data(box(polygons=ring, rle=rle)), change=as_rle)
    assert found["annotations", "object", "polygons"] == (0, 0, 1)
    assert report.lost_names() == {"mask": 1}


def test_the_same_form_with_other_values_is_lost():
    def first_part(batch):
        values = pa.array(
            [p[:1] for p in batch.annotations["polygons"].to_pylist()],
            tables.ANNOTATIONS.field("polygons").type,
        )
        return Batch(batch.samples, with_column(batch.annotations, "polygons", values), batch.start)

    two = small_datasets()["two parts"]
    found, report = lines(two, change=first_part)
    assert found["annotations", "object", "polygons"] == (0, 0, 1)
    assert report.lost_names() == {"mask": 1}


def test_blanking_a_nested_column():
    def no_maps(batch):
        return Batch(batch.samples, blank(batch.annotations, "map", [True, False]), batch.start)

    dataset = data(box(map=LabelMap("a.png", value=0)), box(map=LabelMap("a.png", value=1)))
    found, report = lines(dataset, change=no_maps)
    assert found["annotations", "object", "map"] == (1, 0, 1)
    assert report.lost_names() == {"mask": 1}


def test_categories():
    dataset = data(
        categories=[
            Category("cat", supercategory="animal", isthing=False),
            Category("dog", supercategory=""),
            Category("tree"),
        ]
    )
    found, report = lines(dataset, NAMES - {"supercategory"})
    assert found["categories", None, "*"] == (3, 0, 0)
    assert found["categories", None, "supercategory"] == (0, 0, 2)
    assert found["categories", None, "isthing"] == (1, 0, 0)
    assert report.lost_names() == {"supercategory": 2}


def test_the_space_of_objects_is_none_to_lose():
    only = data(categories=["cat", Category("dog", None)])
    found, report = lines(only, NAMES - {"space"})
    assert found["categories", None, "space"] == (1, 0, 0)
    assert report.lost_names() == {}
    mixed = data(categories=["cat", Category("run", "action")])
    found, report = lines(mixed, NAMES - {"space"})
    assert found["categories", None, "space"] == (1, 0, 1)
    assert report.lost_names() == {"space": 1}
    assert [r.examples for r in report.rows if r.column == "space"] == [["run"]]


def test_attributes_in_either_form():
    dataset = data(box(attributes={"n": 1, "deep": [1]}), box(attributes={"n": 2}), box())
    found, report = lines(dataset, NAMES - {"attributes"})
    assert found["annotations", "object", "attr.n"] == (0, 0, 2)
    assert found["annotations", "object", "attributes"] == (0, 0, 1)
    assert report.lost_names() == {"attributes": 3}


def test_whole_tables():
    found, report = lines(small_datasets()["video"], NAMES - {"group"})
    assert found["groups", None, "*"] == (0, 0, 1)
    assert "group" in report.lost_names()
    found, report = lines(small_datasets()["layers"], NAMES - {"layers"})
    assert found["layers", None, "*"] == (0, 0, 1)
    assert report.lost_names() == {"layers": 1}
    chosen = small_datasets()["layers"].layer("predictions")
    assert lines(chosen, NAMES - {"layers"})[1].lost_names() == {}


def test_samples_lost_are_named():
    def renamed(batch):
        keys = pa.array([k + "!" for k in batch.samples["key"].to_pylist()])
        return Batch(with_column(batch.samples, "key", keys), batch.annotations, batch.start)

    found, report = lines(data(box(), split="train"), change=renamed)
    assert found["samples", None, "*"] == (0, 0, 1)
    assert found["samples", None, "split"] == (0, 0, 1)
    assert report.lost_names()["sample"] == 1


def test_no_kind_kept():
    found, report = lines(data(box(), Annotation("label", category=0)), NAMES - KINDS)
    assert found["annotations", "object", "*"] == (0, 0, 1)
    assert report.lost_names() == {"object": 1, "label": 1}


# ---------------------------------------------------------------------- reports


def test_reports_are_told_and_json():
    _, report = lines(data(box(score=0.5, annotation_id=12)), NAMES - {"score"})
    told = report.table()
    assert "score" in told
    assert "object" in told
    assert "12" in told
    said = json.loads(json.dumps(report.to_dict()))
    assert said["lost"] == {"score": 1}
    (column,) = [c for c in said["columns"] if c["column"] == "score"]
    assert (column["total"], column["kept"], column["lost"]) == (1, 0, 1)
    error = LossError(report, report.refused([]))
    assert "--allow-loss score" in str(error)
    assert error.details()["refused"] == ["score"]
    json.dumps(error.details())


def test_examples_are_few():
    _, report = lines(data(*(box(score=0.5) for _ in range(40))), NAMES - {"score"})
    (row,) = [r for r in report.rows if r.column == "score"]
    assert row.lost == 40
    assert len(row.examples) == losses.EXAMPLES == 10
    assert "…" in report.table()


def test_lost_names_add_up_over_kinds():
    report = LossReport("x")
    report.rows = [
        LossRow("annotations", "object", "score", "score", total=3, lost=2, kept=1),
        LossRow("annotations", "label", "score", "score", total=1, lost=1),
        LossRow("annotations", "label", "*", "label", total=1, kept=1),
        LossRow("annotations", "object", "area", None, total=5, lost=5),
    ]
    assert report.lost_names() == {"score": 3}


def test_several_parts_are_one_account():
    samples = [Sample(f"{i}", annotations=[box(score=0.5)], width=9, height=9) for i in range(4)]
    dataset = Dataset.from_rows(samples, [Category("cat")])
    many = Dataset([p for i in range(4) for p in dataset.select([i]).parts], dataset.categories)
    found, _ = lines(many, NAMES - {"score"})
    assert len(many.parts) == 4
    assert found["annotations", "object", "score"] == (0, 0, 4)
    assert found["samples", None, "*"] == (4, 0, 0)
