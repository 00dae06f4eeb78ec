"""What differs between two datasets: every planted edit is found, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import granum
import granum.store.builder
import granum.store.opening
from granum.errors import UnknownNameError, UsageError
from granum.schema.geometry import encode_mask
from granum.schema.rows import Annotation, Category, Group, LabelMap, Media, Rle, Sample
from granum.store.dataset import Dataset, Meta
from granum.store.opening import open_dataset
from granum.testing import datasets
from granum.testing.keep import snapshot
from granum.verbs.diff import diff
from tests.data import shared

FAST = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
NAMES = ("cat", "dog", "bird")


def box(x: float, y: float = 10, w: float = 20, h: float = 20, **values: Any) -> Annotation:
    return Annotation(**{"category": 0, "bbox": (x, y, w, h), **values})


def sample(key: str, *annotations: Annotation, **values: Any) -> Sample:
    sized = {"media": Media(key), "width": 200, "height": 100, **values}
    return Sample(key, annotations=list(annotations), **sized)


def dataset(*samples: Sample, names: tuple[str, ...] = NAMES, **tables: Any) -> Dataset:
    return Dataset.from_rows(samples, [Category(n) for n in names], **tables)


def grid(n: int = 12) -> list[Sample]:
    """Samples of three boxes that do not overlap, with attributes and a label."""
    return [
        sample(
            f"{i}.jpg",
            *(box(40.0 * k, category=(i + k) % 3, attributes={"n": k}) for k in range(3)),
            Annotation("label", category=i % 3),
        )
        for i in range(n)
    ]


# ---------------------------------------------------------------------- nothing differs


def test_a_dataset_is_the_same_as_itself() -> None:
    d = dataset(*grid())
    report = diff(d, d)
    assert report.same
    assert (report.samples.same, report.annotations.same) == (12, 48)
    assert report.matched == {}  # nothing had to be recognised
    assert "no difference" in report.table()


@FAST
@given(datasets())
def test_any_dataset_is_the_same_as_itself_and_stays_as_it_is(d: Dataset) -> None:
    before = snapshot(d)
    assert diff(d, d).same
    assert snapshot(d) == before


@FAST
@given(datasets(min_samples=1))
def test_the_order_of_samples_is_no_difference_but_counted(d: Dataset) -> None:
    assume(not any(d.annotations(layer=n)["sample"].null_count for n in d.meta.layers))
    report = diff(d, d.select(np.arange(len(d))[::-1]))
    assert report.same
    assert report.moved == len(d) - 1
    assert ("another place" in report.table()) == (len(d) > 1)


def test_fewest_moves_are_counted() -> None:
    d = dataset(*grid(6))
    assert diff(d, d.select([5, 0, 1, 2, 3, 4])).moved == 1
    assert diff(d, d.select([0, 2, 1, 3, 5, 4])).moved == 2


def test_empty_datasets() -> None:
    nothing = Dataset([])
    assert diff(nothing, nothing).same
    report = diff(dataset(*grid(2)), nothing)
    assert (report.samples.removed, report.annotations_apart["removed"]) == (2, 8)
    report = diff(nothing, dataset(*grid(2)))
    assert (report.samples.added, report.annotations_apart["added"]) == (2, 8)


def test_numbers_that_granum_gives_may_differ() -> None:
    def linked(ids: list[int], track: int, names: tuple[str, ...]) -> Dataset:
        first = names.index("cat")
        whole = box(0, annotation_id=ids[0], track=track, category=first)
        part = box(5, w=5, annotation_id=ids[1], parent=ids[0], category=first)
        other = box(90, annotation_id=ids[2], track=track + 5, category=names.index("dog"))
        return dataset(sample("a.jpg", whole, part, other), names=names)

    a, b = linked([1, 2, 3], 1, ("cat", "dog")), linked([70, 80, 90], 12, ("dog", "cat"))
    report = diff(a, b)
    assert report.same
    assert report.categories["moved"]
    assert "another order" in report.table()


def test_the_order_of_annotations_is_no_difference() -> None:
    listed = [box(0), box(50, category=1), Annotation("caption", text="two"), box(0)]
    report = diff(dataset(sample("a", *listed)), dataset(sample("a", *listed[::-1])))
    assert report.same
    assert report.matched == {"content": 4}


def test_attributes_count_alike_in_columns_and_in_json() -> None:
    # Of eleven rows one has "rare" (below a tenth, so it stays JSON); alone it is a column.
    many = [sample(f"{i}", box(1, attributes={"n": 1})) for i in range(10)]
    odd = sample("odd", box(1, attributes={"rare": 2}))
    a = dataset(*many, odd)
    assert "attr.rare" not in a.annotations().column_names
    b = dataset(odd)
    assert "attr.rare" in b.annotations().column_names
    assert diff(a.select([10]), b).same
    empty = dataset(sample("x", box(1, attributes={})))
    none = dataset(sample("x", box(1)))
    assert diff(empty, none).annotations.columns == {"attributes": 1}
    one, true = (dataset(sample("x", box(1, attributes={"n": v}))) for v in (1, True))
    assert diff(one, true).attributes == {"n": 1}  # true is not 1


def test_how_an_rle_was_written_is_no_difference() -> None:
    size, counts = encode_mask(np.eye(4))
    forms = [Annotation(category=0, rle=Rle(size, counts, f)) for f in ("list", "compressed")]
    a, b = (dataset(sample("a", f, width=4, height=4)) for f in forms)
    assert diff(a, b).same


def test_where_a_record_stood_in_its_file_is_no_difference() -> None:
    a = dataset(sample("a", box(1, origins=[0], ordinal=[7]), origins=[0], ordinal=[3]))
    assert diff(a, dataset(sample("a", box(1)))).same


# ---------------------------------------------------------------------- planted edits


@FAST
@given(st.data())
def test_planted_edits_are_found_exactly(data: st.DataObject) -> None:
    a = grid()
    b = grid()
    places = [(i, k) for i in range(12) for k in range(3)]
    chosen = data.draw(st.permutations(places))
    n = data.draw(st.integers(0, 6), "moved")
    m = data.draw(st.integers(0, 6), "deleted")
    k = data.draw(st.integers(0, 6), "attributes")
    by = data.draw(st.floats(0.5, 4), "by")
    moved, deleted, edited = chosen[:n], chosen[n : n + m], chosen[n + m : n + m + k]
    for i, j in moved:
        old = b[i].annotations[j]
        assert old.bbox is not None
        b[i].annotations[j] = replace(old, bbox=(old.bbox[0] + by, *old.bbox[1:]))
    for i, j in edited:
        b[i].annotations[j] = replace(b[i].annotations[j], attributes={"n": 99})
    for i, j in sorted(deleted, reverse=True):
        del b[i].annotations[j]
    report = diff(dataset(*a), dataset(*b), examples=100)
    assert report.samples.same == 12
    assert (report.annotations.removed, report.annotations.added) == (m, 0)
    assert report.annotations.changed == n + k
    assert report.annotations.same == 48 - n - m - k
    assert report.annotations.columns == {k_: v for k_, v in (("bbox", n), ("attributes", k)) if v}
    assert report.attributes == ({"n": k} if k else {})
    assert report.annotated == len({i for i, _ in moved + deleted + edited})
    assert report.same == (n + m + k == 0)
    if n:
        assert report.boxes["moved"] == n
        assert report.boxes["max_shift"] == pytest.approx(by)
        assert report.boxes["mean_shift"] == pytest.approx(by)
    shown = report.annotations.examples.get("changed", [])
    assert sorted((e["key"], e["columns"]) for e in shown) == sorted(
        [(f"{i}.jpg", ["bbox"]) for i, _ in moved]
        + [(f"{i}.jpg", ["attributes"]) for i, _ in edited]
    )


@FAST
@given(datasets(min_samples=1), st.data())
def test_any_value_taken_away_is_found(d: Dataset, data: st.DataObject) -> None:
    table = d.annotations()
    skip = {"annotation_id", "sample", "group", "origins", "ordinal", "shape", "track"}
    names = [n for n in table.column_names if n not in skip and table[n].null_count < len(table)]
    if not names:
        return
    name = data.draw(st.sampled_from(names))
    row = data.draw(st.sampled_from(np.flatnonzero(table[name].is_valid()).tolist()))
    at = [None if i == row else i for i in range(len(table))]
    place = table.column_names.index(name)
    edited = table.set_column(place, name, table[name].take(pa.array(at, pa.int64())))
    e = Dataset.from_arrow(d.samples(), edited, d.categories, d.groups)
    e = Dataset(e.parts, e.categories, e.groups, d.sources, replace(e.meta, media_root=None))
    report = diff(
        Dataset(d.parts, d.categories, d.groups, None, Meta(d.meta.layers)), e, layer="truth"
    )
    assert not report.same
    column = "attributes" if name.startswith("attr.") else name
    found = report.annotations.columns
    assert column in found or report.annotations.added == report.annotations.removed == 1


def test_samples_added_removed_changed() -> None:
    a = dataset(sample("a"), sample("b", split="train"), sample("c"))
    b = dataset(sample("b", split="val", attributes={"x": 1}), sample("c"), sample("d", box(1)))
    report = diff(a, b)
    tally = report.samples
    assert (tally.same, tally.changed, tally.added, tally.removed) == (1, 1, 1, 1)
    assert tally.columns == {"split": 1, "attributes": 1}
    assert tally.examples == {
        "removed": [{"key": "a"}],
        "added": [{"key": "d"}],
        "changed": [{"key": "b", "columns": ["split", "attributes"]}],
    }
    assert report.annotations_apart == {"added": 1, "removed": 0}
    text = report.table()
    assert "b: split, attributes" in text and "removed    a" in text and "added      d" in text


def test_source_ids_that_agree_with_the_place_come_first() -> None:
    # Both overlap both; by overlap alone the nearer ones would be paired.
    a = dataset(sample("a", box(0, source_id="1"), box(4, source_id="2")))
    b = dataset(sample("a", box(4.5, source_id="1"), box(0.5, source_id="2")))
    report = diff(a, b)
    assert report.matched == {"source_id": 2}
    assert report.boxes == {"moved": 2, "max_shift": 4.5, "mean_shift": 4.0}


def test_source_ids_find_what_jumped() -> None:
    a = dataset(sample("a", box(0, source_id="1"), box(60, source_id="2")))
    b = dataset(sample("a", box(0, source_id="1"), box(150, source_id="2")))
    report = diff(a, b)
    assert report.matched == {"source_id": 2}
    assert report.boxes["max_shift"] == 90.0


def test_renumbered_source_ids_do_not_mislead() -> None:
    a = dataset(sample("a", box(0, source_id="1"), box(60, source_id="2")))
    b = dataset(sample("a", box(60, source_id="1", score=0.5), box(0, source_id="2", score=0.5)))
    report = diff(a, b)
    assert report.annotations.columns == {"source_id": 2, "score": 2}
    assert report.boxes["moved"] == 0
    assert diff(a, b, ignore=["source_id", "score"]).same


def test_repeated_source_ids_do_not_match() -> None:
    a = dataset(sample("a", box(0, source_id="1"), box(100, source_id="1")))
    b = dataset(sample("a", box(100, source_id="1"), box(0, source_id="1")))
    assert diff(a, b).same


def test_overlap_prefers_the_category_then_the_larger_overlap() -> None:
    # B's dog overlaps the cat more (IoU 19/21) than A's dog does (15/25), yet it is the dog.
    a = dataset(sample("a", box(0, category=0), box(6, category=1)))
    b = dataset(sample("a", box(1, category=1)))
    report = diff(a, b)
    assert report.matched == {"overlap": 1}
    assert report.boxes["max_shift"] == 5.0
    assert report.annotations.columns == {"bbox": 1}
    assert report.annotations.removed == 1
    assert report.annotations.examples["removed"][0]["category"] == "cat"


@pytest.mark.parametrize(("x", "same"), [(10, True), (11, False)])
def test_boxes_that_overlap_by_half_are_one_object(x: float, same: bool) -> None:
    # Boxes 30 wide, x apart: IoU = (30 - x) / (30 + x), one half at x = 10.
    report = diff(dataset(sample("a", box(0, w=30))), dataset(sample("a", box(x, w=30))))
    assert report.annotations.changed == int(same)
    assert report.annotations.added == report.annotations.removed == int(not same)


def test_corner_shift_counts_the_far_corner() -> None:
    a, b = box(10, 10, 20, 20), box(10, 10, 23, 18)
    report = diff(dataset(sample("a", a)), dataset(sample("a", b)))
    assert report.boxes["max_shift"] == 3.0
    assert report.annotations.examples["changed"][0]["shift"] == 3.0


def test_categories_changed_are_listed_from_and_to() -> None:
    a = dataset(sample("a", box(0), box(60)), sample("b", box(0, category=1)))
    b = dataset(
        sample("a", box(0, category=1), box(60, category=1)), sample("b", box(0, category=1))
    )
    report = diff(a, b)
    assert report.category_changes == [{"from": "cat", "to": "dog", "count": 2}]
    example = report.annotations.examples["changed"][0]
    assert (example["category"], example["to"]) == ("cat", "dog")
    assert "cat -> dog 2" in report.table()


def test_labels_without_boxes() -> None:
    def labelled(*categories: int, **values: Any) -> Dataset:
        return dataset(
            sample("a", *(Annotation("label", category=c, **values) for c in categories))
        )

    one = diff(labelled(0, 1), labelled(0, 2))
    assert one.category_changes == [{"from": "dog", "to": "bird", "count": 1}]
    two = diff(labelled(0, score=0.5), labelled(0, score=0.25))
    assert two.annotations.columns == {"score": 1}
    assert two.matched == {"alone": 1}


def test_references_and_tracks_that_mean_something_else() -> None:
    def family(parent: int, track: int) -> Dataset:
        return dataset(
            sample(
                "a",
                box(0, annotation_id=1, track=1),
                box(60, annotation_id=2, track=2),
                box(120, annotation_id=3, parent=parent),
            ),
            sample("b", box(0, annotation_id=4, track=track)),
        )

    assert diff(family(1, 1), family(2, 1)).annotations.columns == {"parent": 1}
    report = diff(family(1, 1), family(1, 2))
    assert report.annotations.columns == {"track": 1}
    assert report.annotations.examples["changed"][0]["key"] == "b"


def test_annotations_in_another_order_do_not_mix_up_tracks() -> None:
    def frames(order: int, *tracks: int) -> Dataset:
        pair = [box(0, track=tracks[0]), box(60, track=tracks[1])]
        return dataset(sample("a", *pair[::order]), sample("b", *pair))

    assert diff(frames(1, 1, 2), frames(-1, 11, 12)).same


def test_zero_is_zero() -> None:
    def scored(*scores: float) -> Dataset:
        return dataset(sample("a", *(Annotation("label", category=0, score=s) for s in scores)))

    report = diff(scored(0.0, 0.5), scored(0.5, -0.0))
    assert report.same
    assert report.matched == {"content": 2}


# ---------------------------------------------------------------------- masks, units, tolerance


def square(x: float, y: float, side: float) -> list[list[list[float]]]:
    return [[[x, y, x + side, y, x + side, y + side, x, y + side]]]


def test_mask_overlap_of_polygons() -> None:
    # Squares of 10 x 10 whole pixels, 5 apart: 50 shared of 150.
    a, b = (dataset(sample("a", box(0, polygons=square(x, 20, 10)))) for x in (20, 25))
    report = diff(a, b)
    assert report.annotations.columns == {"polygons": 1}
    masks = report.masks
    assert (masks["changed"], masks["compared"]) == (1, 1)
    assert masks["mean_iou"] == masks["min_iou"] == pytest.approx(1 / 3)
    assert "IoU 0.3333" in report.table()


def test_mask_overlap_of_rles_and_of_both_forms() -> None:
    whole, half = np.zeros((100, 200), bool), np.zeros((100, 200), bool)
    whole[20:30, 20:30], half[20:30, 20:25] = True, True
    rles = [box(0, rle=Rle(*encode_mask(m))) for m in (whole, half)]
    drawn = box(0, polygons=square(20, 20, 10))
    a, b, c = (dataset(sample("a", x)) for x in (*rles, drawn))
    assert diff(a, b).masks["mean_iou"] == 0.5
    assert diff(a, c).masks["mean_iou"] == 1.0
    assert diff(c, b).masks["mean_iou"] == 0.5


def test_masks_that_cannot_be_drawn_are_counted() -> None:
    a, b = (
        dataset(sample("a", box(0, polygons=square(x, 20, 10)), width=None, height=None))
        for x in (20, 25)
    )
    masks = diff(a, b).masks
    assert (masks["changed"], masks["compared"], masks["mean_iou"]) == (1, 0, None)


def test_label_maps_of_one_digest_are_one(tmp_path: Path) -> None:
    def mapped(path: str, digest: str | None) -> Dataset:
        return dataset(
            sample("a", Annotation(category=0, map=LabelMap(path, value=3, digest=digest)))
        )

    assert diff(mapped("x.png", "d"), mapped("y/x.png", "d")).same
    assert not diff(mapped("x.png", None), mapped("y/x.png", None)).same


def test_paths_that_lead_to_one_file_are_one() -> None:
    a = dataset(sample("k", media=Media("images/a.jpg")), media_root="/data")
    b = dataset(sample("k", media=Media("a.jpg")), media_root="/data/images")
    c = dataset(sample("k", media=Media("a.jpg")), media_root="/data/other")
    assert diff(a, b).same
    assert diff(b, c).same  # one path, below roots that may have moved
    assert diff(a, c).samples.columns == {"media": 1}


def test_fractions_and_pixels_compare_in_pixels() -> None:
    pixels = dataset(sample("a", box(50, 25, 100, 50)))
    fractions = dataset(sample("a", box(0.25, 0.25, 0.5, 0.5), unit="relative"))
    unsized = dataset(
        sample("a", box(0.25, 0.25, 0.5, 0.5), unit="relative", width=None, height=None)
    )
    for other in (fractions, unsized):
        report = diff(pixels, other)
        assert report.annotations.same == 1
        assert "unit" in report.samples.columns
    far = dataset(sample("a", box(0.26, 0.25, 0.5, 0.5), unit="relative"))
    assert diff(pixels, far).boxes["max_shift"] == pytest.approx(2.0)


def test_tolerance_is_of_coordinates_only() -> None:
    a = dataset(sample("a", box(10, area=400.0, score=0.5), box(100, area=400.0)))
    b = dataset(sample("a", box(10.5, area=409.0, score=0.75), box(101, area=400.0)))
    report = diff(a, b, tolerance=0.5)
    assert report.annotations.columns == {"score": 1, "bbox": 1}
    assert report.boxes["max_shift"] == 1.0
    # A corner that moves by 0.5 changes an area of 20 x 20 by 2 * 0.5 * 40 + 4 * 0.25 at most.
    wide = dataset(sample("a", box(10, area=442.0, score=0.5), box(100, area=400.0)))
    assert diff(a, wide, tolerance=0.5).annotations.columns == {"area": 1}
    assert diff(a, b, tolerance=0.5).tolerance == 0.5


# ---------------------------------------------------------------------- categories


def test_categories_added_removed_changed() -> None:
    a = Dataset.from_rows([], [Category("cat"), Category("dog", supercategory="pet")])
    b = Dataset.from_rows([], [Category("dog", supercategory="animal"), Category("fox")])
    out = diff(a, b).categories
    assert (out["added"], out["removed"], out["renamed"]) == (["fox"], ["cat"], [])
    assert out["changed"] == [
        {"name": "dog", "facts": {"supercategory": {"a": "pet", "b": "animal"}}}
    ]


def test_parents_compare_by_name() -> None:
    def tree(*names: str) -> Dataset:
        at = names.index("animal")
        parents = [{"index": at, "relation": "is_a"}]
        return Dataset.from_rows(
            [], [Category(n, parents=None if n == "animal" else parents) for n in names]
        )

    assert diff(tree("cat", "animal"), tree("animal", "cat")).same


def test_a_category_of_another_space_is_another() -> None:
    a = Dataset.from_rows([], [Category("run", "action")])
    b = Dataset.from_rows([], [Category("run", "object")])
    assert diff(a, b).categories["added"] == ["run"]


def test_a_renamed_category_is_seen_by_its_annotations() -> None:
    a = dataset(*grid(), names=("cat", "dog", "bird"))
    b = dataset(*grid(), names=("cat", "hound", "bird"))
    report = diff(a, b)
    assert report.categories["renamed"] == [
        {"from": "dog", "to": "hound", "why": "16 of its 16 annotations"}
    ]
    assert (report.categories["added"], report.categories["removed"]) == ([], [])
    assert (report.annotations.changed, report.annotations.same) == (0, 48)
    assert not report.same


def test_two_categories_that_became_one_are_renamed() -> None:
    a = dataset(sample("a", box(0), box(60, category=1)), names=("cat", "dog"))
    b = dataset(sample("a", box(0), box(60)), names=("pet",))
    report = diff(a, b)
    assert [(e["from"], e["to"]) for e in report.categories["renamed"]] == [
        ("cat", "pet"),
        ("dog", "pet"),
    ]
    assert report.annotations.same == 2


@pytest.mark.parametrize(("kept", "renamed"), [(9, True), (8, False)])
def test_nine_tenths_make_a_renamed_category(kept: int, renamed: bool) -> None:
    a = dataset(*(sample(f"{i}", box(0)) for i in range(10)), names=("cat", "x"))
    b = dataset(*(sample(f"{i}", *[box(0)] * (i < kept)) for i in range(10)), names=("feline", "x"))
    report = diff(a, b)
    assert bool(report.categories["renamed"]) == renamed
    assert report.annotations.changed == (0 if renamed else kept)
    assert report.annotations.removed == 10 - kept


def test_source_ids_tell_a_rename_unless_annotations_speak_against_it() -> None:
    def of(name: str, *boxes: Annotation) -> Dataset:
        return Dataset.from_rows([sample("a", *boxes)], [Category(name, source_id="7")])

    assert diff(of("cat"), of("feline")).categories["renamed"][0]["why"] == "source id 7"
    report = diff(of("cat", box(0)), of("truck", box(150)))
    assert report.categories["renamed"] == []
    assert (report.categories["added"], report.categories["removed"]) == (["truck"], ["cat"])


# ---------------------------------------------------------------------- groups, layers, keys


def test_groups_and_annotations_of_whole_groups() -> None:
    def clips(*groups: Group, at: int, text: str) -> Dataset:
        whole = Annotation("caption", text=text, group=at)
        samples = [sample("f0", group=at, order=0)]
        return dataset(*samples, groups=list(groups), group_annotations=[whole])

    one, two = Group("v1", "video", fps=25.0), Group("v2", "video")
    a = clips(one, two, at=0, text="runs")
    assert diff(a, clips(two, one, at=1, text="runs")).same
    report = diff(a, clips(replace(one, fps=30.0), Group("v3"), at=0, text="walks"))
    assert report.groups.columns == {"fps": 1}
    assert report.groups.examples["added"] == [{"key": "v3"}]
    assert report.groups.examples["removed"] == [{"key": "v2"}]
    assert report.annotations.columns == {"text": 1}
    assert report.annotations.examples["changed"][0]["key"] == "v1"
    moved = diff(a, clips(two, one, at=0, text="runs"))
    assert moved.samples.columns == {"group": 1}
    assert (moved.annotations.added, moved.annotations.removed) == (1, 1)


def test_layers() -> None:
    layered = sample("a", box(0))
    layered.layers = {"model": [box(3, score=0.9)]}
    a, b = dataset(sample("a", box(0))), dataset(layered)
    assert diff(a, b).layers == {"added": ["model"], "removed": []}
    assert not diff(a, b).same
    assert diff(a, b, layer="truth").same  # asked for this layer only
    across = diff(b, b.layer("model"))  # two layers of one dataset
    assert (across.a["layer"], across.b["layer"]) == ("truth", "model")
    assert across.annotations.columns == {"bbox": 1, "score": 1}
    with pytest.raises(UnknownNameError, match="model"):
        diff(a, b, layer="model")


def test_matching_by_source_id() -> None:
    a = dataset(sample("x/1.jpg", box(0), source_id="1"), sample("x/2.jpg", source_id="2"))
    b = dataset(sample("2.jpg", source_id="2"), sample("1.jpg", box(0), source_id="1"))
    by_key = diff(a, b)
    assert (by_key.samples.added, by_key.samples.removed) == (2, 2)
    assert "2 samples agree by source_id" in by_key.notes[0]
    assert "2 samples agree by name" in by_key.notes[1]
    by_name = diff(a, b, by="name", ignore=["key", "media"])
    assert by_name.same and by_name.ignored == ["key", "media"]
    with pytest.raises(UsageError, match="by name"):
        diff(dataset(sample("x/1"), sample("y/1")), a, by="name")
    report = diff(a, b, by="source_id")
    assert report.samples.columns == {"key": 2, "media": 2}
    assert report.annotations.same == 1
    with pytest.raises(UsageError, match="samples of b cannot be matched"):
        diff(a, dataset(sample("1.jpg")), by="source_id")


def test_wrong_calls() -> None:
    d = dataset()
    with pytest.raises(UsageError, match="tolerance"):
        diff(d, d, tolerance=-1)
    with pytest.raises(UnknownNameError, match="Did you mean 'score'"):
        diff(d, d, ignore=["scores"])
    with pytest.raises(UsageError, match="list"):
        diff(d, d, ignore="score")
    with pytest.raises(UsageError, match="by is"):
        diff(d, d, by="stem")  # type: ignore[arg-type]


# ---------------------------------------------------------------------- stores, parts, reports


def test_parts_need_not_align(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = []
    for size in (2, 5):
        monkeypatch.setattr(granum.store.builder, "PART_SAMPLES", size)
        d = dataset(*grid(11))
        path = tmp_path / f"{size}.granum"
        builder = granum.store.builder.StoreBuilder(path)
        for row in range(11):
            one = d.select([row])
            builder.add(granum.store.builder.Incoming(one.samples(), {"truth": one.annotations()}))
        builder.finish(categories=d.categories)
        stores.append(path)
    report = diff(*stores)  # by path
    assert report.same
    assert report.a["name"] == "2"
    opened = open_dataset(stores[0])
    assert len(opened.parts) > len(open_dataset(stores[1]).parts) > 1
    edited = grid(11)
    del edited[7].annotations[1]
    report = diff(opened, dataset(*edited).select(np.arange(11)[::-1]))
    assert report.annotations.removed == 1
    assert report.annotations.examples["removed"][0]["key"] == "7.jpg"


def test_small_blocks_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    edited = grid()
    edited[3].annotations[0] = replace(edited[3].annotations[0], bbox=(1, 10, 20, 20))
    a, b = dataset(*grid()), dataset(*edited, names=("cat", "dog", "bird"))
    whole = diff(a, b).to_dict()
    monkeypatch.setattr("granum.verbs._settling.BLOCK", 5)
    monkeypatch.setattr("granum.verbs._pairs.MOST_PAIRS", 1)
    assert diff(a, b).to_dict() == whole


def test_examples_are_bounded_and_the_report_is_json() -> None:
    b = [replace(s, split="val", annotations=s.annotations[1:]) for s in grid()]
    report = diff(dataset(*grid()), dataset(*b), examples=2)
    out = json.loads(json.dumps(report.to_dict()))
    assert out["samples"]["changed"] == 12
    assert len(out["samples"]["examples"]["changed"]) == 2
    assert len(out["annotations"]["examples"]["removed"]) == 2
    assert out["annotations"]["removed"] == 12
    assert out["samples"]["columns"] == {"split": 12}
    assert out["same"] is False
    assert diff(dataset(*grid()), dataset(*b), examples=0).samples.examples.get("changed") is None


def test_three_formats_hold_the_same_boxes() -> None:
    """voc100: 273 boxes of 100 photos, in COCO under two numberings, and as YOLO text."""
    folder = shared("voc100")
    one, two, text = (
        granum.read(folder / "gts" / name, format, images=folder / "images")
        for name, format in (
            ("coco_format_v1", "coco"),
            ("coco_format_v2", "coco"),
            ("yolo_format", "yolo"),
        )
    )
    report = diff(one, two)
    # The files number annotations differently, and some ids fall on others of the same photo.
    assert (report.samples.added, report.annotations.added, report.annotations.removed) == (0, 0, 0)
    assert report.annotations.columns["source_id"] == 272
    assert (report.boxes["moved"], report.category_changes) == (0, [])
    report = diff(one, text)
    assert report.samples.removed == 100
    assert "100 samples agree by name" in report.notes[0]
    report = diff(one, text, by="name", tolerance=0.01)
    assert report.annotations.same + report.annotations.changed == 273
    assert (report.boxes["moved"], report.category_changes) == (0, [])
