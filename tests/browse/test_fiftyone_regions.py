"""Region trees, hashes and embedded maps in FiftyOne: what a store has after the whole road."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from granum.annotate.storing import tree_of, tree_rows
from granum.annotate.tree import MaskTree
from granum.browse import _fiftyone_export
from granum.browse.fiftyone import Changes, from_fiftyone, to_fiftyone
from granum.schema.fields import field_to_map
from granum.schema.rows import Annotation, Category, LabelMap, Media, Sample
from granum.store.additions import add_column, add_layer
from granum.store.dataset import Dataset

WIDTH, HEIGHT = 41, 23
TOP = 2**64 - 1


def tree(shift: int) -> MaskTree:
    """Three stripes; the first two are node 3, all of them the root, 4; a border is in none."""
    leaves = np.full((HEIGHT, WIDTH), -1)
    for i, (start, stop) in enumerate(((1, 10), (10, 20 + shift), (20 + shift, 40))):
        leaves[2:-1, start:stop] = i
    return MaskTree.partition(leaves, [3, 3, 4, 4, -1])


@pytest.fixture
def store(tmp_path: Path) -> Dataset:
    """Three images with a box each, and a layer of trees; ids of the second tree are 9..13."""
    samples = []
    for i in range(3):
        Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / f"{i}.png")
        box = Annotation(category=0, bbox=(1, 1, 5, 5))
        samples.append(
            Sample(f"{i}.png", Media(f"{i}.png"), WIDTH, HEIGHT, annotations=[box], split="train")
        )
    made = Dataset.from_rows(samples, [Category("cat")], media_root=tmp_path)
    rows = [tree_rows(tree(i), i, 4 + 5 * i) for i in range(3)]
    saved = made.save(tmp_path / "s.granum")
    return add_layer(saved, "regions", rows, producer="by hand")


def masks_of(sample: Any, field: str = "regions") -> dict[int, np.ndarray[Any, Any]]:
    """The whole masks of detections that have one, by id."""
    out = {}
    for label in sample[field].detections:
        if label.mask is not None:
            x, y, w, h = np.rint(np.multiply(label.bounding_box, [WIDTH, HEIGHT] * 2)).astype(int)
            out[label.granum_id] = np.zeros((HEIGHT, WIDTH), bool)
            out[label.granum_id][y : y + h, x : x + w] = label.mask
    return out


def drop(sent: Any, key: str, *numbers: int) -> None:
    sample = sent.match({"granum_key": key}).first()
    listed = sample.regions.detections
    sample.regions.detections = [d for d in listed if d.granum_id not in numbers]
    sample.save()


def test_nodes_are_the_union_of_their_leaves(fo: Any, store: Dataset) -> None:
    out = to_fiftyone(store)
    for i, sample in enumerate(out.dataset):
        shown = masks_of(sample)
        assert [*shown] == [4 + 5 * i + k for k in range(5)]
        for k, mask in enumerate(shown.values()):
            np.testing.assert_array_equal(mask, tree(i).mask(k))
        assert [round(d.granularity, 2) for d in sample.regions.detections][-1] == 1
    assert "regions_map" not in out.dataset.get_field_schema()
    assert out.report.lost_names() == {} and out.report.notes == []


def test_trees_do_not_cover_everything_else(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    assert sent.app_config.active_fields.paths == ["truth"]
    view = sent.load_saved_view("without trees")  # which the App opens with
    assert {"truth", "regions"} - set(view.get_field_schema()) == {"regions"}
    assert from_fiftyone(view, store).layers == {}
    only = to_fiftyone(store, layers=["regions"]).dataset
    assert only.app_config.active_fields.paths == ["regions"]
    assert only.app_config.color_scheme.color_by == "instance"
    assert not only.has_saved_view("without trees")


def test_nothing_done_gives_nothing_back(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    for sample in sent.iter_samples(autosave=True):
        sample["regions"] = sample["regions"].copy()
    back = from_fiftyone(sent, store)
    assert (back.layers, back.views, back.notes) == ({}, {}, {})


def test_the_label_image_outlives_the_row_that_holds_it(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store, layers=["regions"]).dataset
    drop(sent, "1.png", 13)  # the root of the second tree
    sample = sent.match({"granum_key": "0.png"}).first()
    root = sample.regions.detections[-1]
    root.bounding_box = [0, 0, 1, 1]  # takes its mask along
    sample.save()
    back = from_fiftyone(sent, store, layer="mended")
    assert back.layers == {
        "mended": Changes("regions", unchanged=13, changed=1, added=0, deleted=1)
    }
    mended = back.dataset.layer("mended")
    for k in range(4):
        np.testing.assert_array_equal(mended[0].mask(k), tree(0).mask(k))
        np.testing.assert_array_equal(mended[1].mask(k), tree(1).mask(k))
    assert mended[0].mask(4).all()
    assert tree_of(back.dataset, 2, "mended") == tree(2)


def test_other_edits_leave_the_tree_a_tree(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store, layers=["regions"]).dataset
    sample = sent.first()
    sample.regions.detections[-1].label = "cat"
    sample.regions.detections[-1].tags = ["whole"]
    sample.save()
    back = from_fiftyone(sent, store, layer="named")
    assert back.layers["named"].changed == 1 and back.views == {"whole": 1}
    assert back.dataset.layer("named")[0].labels[-1] == "cat"
    assert tree_of(back.dataset, 0, "named") == tree(0)


def test_leaves_without_their_image_keep_their_boxes(fo: Any, store: Dataset) -> None:
    few = store.layer("regions").filter("granularity < 0.85")  # leaves, but not what holds them
    out = to_fiftyone(few, layers=["regions"])
    listed = out.dataset.first().regions.detections
    assert listed and all(d.mask is None and d.bounding_box for d in listed)
    (line,) = [r for r in out.report.rows if r.column == "map"]
    assert (line.kept, line.lost) == (0, line.total)
    assert any("no row has the label image" in note for note in out.report.notes)


def test_masks_stay_within_what_a_document_holds(
    fo: Any, store: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [len(d["mask"]) for d in _documents(to_fiftyone(store).dataset)[0]["regions"]]
    monkeypatch.setattr(_fiftyone_export, "MOST_BYTES", sum(sizes[:3]))
    out = to_fiftyone(store)
    assert [len(masks_of(s)) for s in out.dataset] == [3, 3, 3]
    (line,) = [r for r in out.report.rows if r.column == "map"]
    assert (line.total, line.kept, line.lost) == (12, 9, 3)  # inner nodes have no map to lose
    assert any(n.startswith("6 masks are not shown") for n in out.report.notes)
    assert from_fiftyone(out.dataset, store).layers == {}


def _documents(sent: Any) -> list[dict[str, Any]]:
    found = sent._sample_collection.find({}).sort("granum_key")
    return [{**d, "regions": d["regions"]["detections"]} for d in found]


def test_many_rows_are_sent_some_samples_at_a_time(
    store: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = ["truth", "regions"]  # six rows a sample
    for most, expected in ((1, [1, 1, 1]), (12, [2, 1]), (17, [2, 1]), (18, [3])):
        monkeypatch.setattr(_fiftyone_export, "MOST_ROWS", most)
        found = list(_fiftyone_export.chunks(store, layers))
        assert [c.samples.num_rows for c in found] == expected
        assert sum(c.layers["regions"].num_rows for c in found) == 15
        assert [c.places("truth").tolist() for c in found] == [list(range(n)) for n in expected]


def test_hashes_are_texts_of_16_digits(fo: Any, store: Dataset) -> None:
    hashes = pa.array([TOP, None, 10], pa.uint64())
    store = add_column(store, "phash", lambda b: hashes.slice(b.start, b.samples.num_rows))
    out = to_fiftyone(store).dataset
    assert out.values("phash") == ["f" * 16, None, "000000000000000a"]
    assert len(out.match(fo.ViewField("phash") == "f" * 16)) == 1
    first = out.first()
    first.truth.detections[0].label = "dog"
    first.tags.append("twin")
    first.save()
    back = from_fiftyone(out, store)
    assert (back.layers["fiftyone"].changed, back.views) == (1, {"twin": 1})
    assert back.dataset.samples(["col.phash"])["col.phash"].combine_chunks().equals(hashes)


def test_large_numbers_of_labels_come_back_as_numbers(fo: Any, store: Dataset) -> None:
    table = store.annotations(layer="truth")
    table = table.append_column("attr.serial", pa.array([TOP, 5, 6], pa.uint64()))
    table = table.append_column("attr.count", pa.array([1, 2, 3], pa.uint64()))
    table = table.set_column(
        table.column_names.index("annotation_id"), "annotation_id", pa.array([101, 102, 103])
    )
    store = add_layer(store, "counted", [table], producer="by hand")
    out = to_fiftyone(store, layers=["counted"]).dataset
    label = out.first().counted.detections[0]
    assert (label.serial, label["count"]) == (str(TOP), 1)
    sample = out.first()
    sample.counted.detections[0]["serial"] = str(TOP - 1)
    sample.save()
    back = from_fiftyone(out, store, layer="edited")
    row = back.dataset.layer("edited")[0].annotations[0]
    assert row.attributes == {"serial": TOP - 1, "count": 1}


def heat(low: float, high: float) -> np.ndarray[Any, Any]:
    return np.linspace(low, high, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)


def fields(folder: Path, *maps: np.ndarray[Any, Any]) -> Dataset:
    samples = []
    for i, values in enumerate(maps):
        data, extra = field_to_map(values)
        Image.new("L", (WIDTH, HEIGHT)).save(folder / f"{i}.png")
        row = Annotation("field", map=LabelMap(bytes=data), extra=extra, annotation_id=i + 1)
        samples.append(Sample(f"{i}.png", Media(f"{i}.png"), WIDTH, HEIGHT, annotations=[row]))
    return Dataset.from_rows(samples, media_root=folder)


def test_embedded_heat_maps_are_in_the_document(fo: Any, tmp_path: Path) -> None:
    first, second = heat(-1.5, 2.5), heat(0, 4)
    first[0, 0] = np.nan
    out = to_fiftyone(fields(tmp_path, first, second))
    shown = [s.truth_heat for s in out.dataset]
    np.testing.assert_allclose(shown[0].map.ravel()[1:], first.ravel()[1:], atol=1e-4)
    np.testing.assert_allclose(shown[1].map, second, atol=1e-4)
    assert shown[0].map[0, 0] == shown[0].map.min()
    for one in shown:  # one range, so that samples can be compared
        np.testing.assert_allclose(one.range, [first.ravel()[1], 4], atol=1e-4)
    assert out.report.lost_names() == {}


def test_what_is_too_large_for_a_document_needs_a_folder(
    fo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = fields(tmp_path, heat(0, 1))
    monkeypatch.setattr(_fiftyone_export, "ROOM", 10)
    out = to_fiftyone(dataset)
    assert out.dataset.first().truth_heat is None and out.report.lost_names()
    assert any("embed_root" in note for note in out.report.notes)
    folder = to_fiftyone(dataset, embed_root=tmp_path / "made").dataset
    assert Path(folder.first().truth_heat.map_path).parent == tmp_path / "made"


def test_label_images_that_cannot_be_read_are_said(fo: Any, tmp_path: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:45])
    rows = [
        Annotation(map=LabelMap("gone.png", space="ground")),
        Annotation("field", map=LabelMap("gone.png")),
        Annotation(bbox=(1, 1, 4, 4), map=LabelMap("gone.png", value=1)),
        Annotation(bbox=(1, 1, 4, 4), map=LabelMap("cut.png", value=1)),
    ]
    sample = Sample("a.png", Media("a.png"), WIDTH, HEIGHT, annotations=rows)
    out = to_fiftyone(Dataset.from_rows([sample], media_root=tmp_path))
    shown = out.dataset.first()
    assert [d.mask for d in shown.truth.detections] == [None, None]
    assert shown["truth_map_ground"] is None and shown["truth_heat"] is None
    lost = {(r.kind, r.column): (r.kept, r.lost) for r in out.report.rows if r.lost}
    assert lost["object", "map"] == (0, 3) and lost["field", "*"] == (0, 1)
    assert len(out.report.notes) == 4
    assert sum("gone.png: the file is absent" in note for note in out.report.notes) == 3
