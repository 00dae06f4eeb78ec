"""What was done in FiftyOne comes back: edits as layers, tags and filters as views; no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from granum.browse.fiftyone import Changes, from_fiftyone, to_fiftyone
from granum.errors import ConflictError, StoreError, UsageError
from granum.schema import geometry, rows
from granum.schema.rows import Annotation, Category, Media, Rle, Sample
from granum.store.dataset import Dataset

WIDTH, HEIGHT = 41, 23  # so that fractions are not exact
CATEGORIES = [Category("cat"), Category("dog"), Category("day", space="scene")]
CAT, DOG, DAY = range(3)


def shape(at: int) -> np.ndarray[Any, Any]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[at : at + 5, at : at + 6] = True
    mask[at, at] = False
    return mask


def annotated(i: int) -> list[Annotation]:
    """Rows of every form; ids from 100 * i + 1 on."""
    base = 100 * i
    ring = [3.3, 4.4, 9.7, 4.1, 8.2, 9.9]
    return [
        Annotation(category=CAT, bbox=(1.1, 2.2, 3.3, 4.4), score=0.1, annotation_id=base + 1),
        Annotation(
            category=CAT,
            bbox=(7.0, 7.0, 6.0, 5.0),
            rle=Rle(*geometry.encode_mask(shape(7))),
            annotation_id=base + 2,
            attributes={"colour": "red", "list": [1, 2]},
        ),
        Annotation(category=DOG, polygons=[[ring]], crowd=False, annotation_id=base + 3),
        Annotation(
            category=DOG,
            bbox=(1, 1, 9, 9),
            keypoints=[2.5, 3.5, 2.0, 0.0, 0.0, 0.0],
            annotation_id=base + 4,
        ),
        Annotation("label", DAY, present=True, annotation_id=base + 5),
        Annotation("caption", text=f"one {i}", annotation_id=base + 6),
        Annotation("caption", text=f"two {i}", annotation_id=base + 7),
        Annotation("relation", None, subject=base + 1, object=base + 2, annotation_id=base + 8),
        Annotation(
            category=CAT, bbox=(8.0, 8.0, 6.0, 4.0), angle=0.5, track=3, annotation_id=base + 9
        ),
    ]


@pytest.fixture
def store(tmp_path: Path) -> Dataset:
    """Four images, three splits, truth and a run."""
    samples = []
    for i in range(4):
        Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / f"{i}.png")
        one = Sample(f"{i}.png", Media(f"{i}.png"), WIDTH, HEIGHT, split="ttvx"[i])
        one.annotations = annotated(i)
        one.layers = {"run": [Annotation(category=CAT, bbox=(1, 1, 2, 2), score=0.5)]}
        samples.append(one)
    made = Dataset.from_rows(samples, CATEGORIES, media_root=tmp_path)
    return made.save(tmp_path / "s.granum")


def rows_of(dataset: Dataset, layer: str, sample: int) -> list[Annotation]:
    return dataset.layer(layer)[sample].annotations


def geometry_of(dataset: Dataset, layer: str, drop: set[int] | None = None) -> list[Any]:
    """All values but ids, by sample and position."""
    out = []
    for view in dataset.layer(layer):
        for i, row in enumerate(view.annotations):
            if (view.index, i) not in (drop or set()):
                row.annotation_id = row.subject = row.object = None
                out.append((view.index, row))
    return out


def same_numbers(a: list[Any], b: list[Any]) -> bool:
    return repr(a) == repr(b)  # repr of doubles tells every bit


def test_nothing_done_gives_nothing_back(fo: Any, store: Dataset) -> None:
    for polygons in ("both", "masks", "polylines"):
        sent = to_fiftyone(store, polygons=polygons).dataset
        for sample in sent.iter_samples(autosave=True):  # read and written by FiftyOne
            sample["truth"] = sample["truth"].copy()
        back = from_fiftyone(sent, store)
        assert (back.layers, back.views, back.notes) == ({}, {}, {})
        assert set(back.dataset.meta.layers) == {"truth", "run"}


def test_edits_change_only_what_they_change(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    sample = sent.match({"granum_key": "1.png"}).first()
    boxes = {d.granum_id: d for d in sample.truth.detections}
    boxes[101].label = "dog"
    boxes[101].confidence = None
    boxes[102]["colour"] = "blue"
    boxes[103]["iscrowd"] = True
    sample.truth_label_scene.confidence = 0.75
    sample.truth_captions = ["two 1", "three"]
    sample.save()
    back = from_fiftyone(sent, store, layer="mine")
    assert back.layers == {"mine": Changes("truth", unchanged=31, changed=5, added=0, deleted=0)}
    before, after = rows_of(store, "truth", 1), rows_of(back.dataset, "mine", 1)
    assert (after[0].category, after[0].score, after[0].bbox) == (DOG, None, (1.1, 2.2, 3.3, 4.4))
    assert after[1].attributes == {"colour": "blue", "list": [1, 2]}
    assert after[1].rle == before[1].rle and after[1].bbox == before[1].bbox
    assert after[2].crowd is True and after[2].polygons == before[2].polygons
    assert (after[4].score, after[4].category) == (0.75, DAY)
    assert [a.text for a in after if a.kind == "caption"] == ["three", "two 1"]
    facts = back.dataset.meta.layers["mine"]
    assert (facts["parent"], facts["mode"], facts["producer"]) == ("truth", "replace", "fiftyone")
    relation = after[7]
    assert (relation.subject, relation.object) == (after[0].annotation_id, after[1].annotation_id)
    edited = {(1, i) for i in (0, 1, 2, 4, 5, 6)}
    assert same_numbers(
        geometry_of(store, "truth", edited), geometry_of(back.dataset, "mine", edited)
    )


def test_moved_boxes_take_their_masks_along(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    sample = sent.match({"granum_key": "0.png"}).first()
    boxes = {d.granum_id: d for d in sample.truth.detections}
    boxes[1].bounding_box = [0.5, 0.25, 0.125, 0.125]
    boxes[2].bounding_box = [10 / WIDTH, 9 / HEIGHT, 12 / WIDTH, 5 / HEIGHT]
    sample.save()
    back = from_fiftyone(sent, store)
    after = rows_of(back.dataset, "fiftyone", 0)
    assert after[0].bbox == (WIDTH / 2, HEIGHT / 4, WIDTH / 8, HEIGHT / 8)
    np.testing.assert_allclose(after[1].bbox or (), (10, 9, 12, 5))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[9:14, 10:22] = np.repeat(shape(7)[7:12, 7:13], 2, axis=1)
    np.testing.assert_array_equal(back.dataset.layer("fiftyone")[0].mask(1), expected)


def test_new_masks_polygons_and_points(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    sample = sent.match({"granum_key": "0.png"}).first()
    boxes = {d.granum_id: d for d in sample.truth.detections}
    boxes[2].mask = np.eye(5, 6, dtype=bool)
    (polygon,) = sample.truth_polygons.polylines
    polygon.points = [[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)], [(0.5, 0.1), (0.9, 0.1), (0.9, 0.5)]]
    polygon["holes"] = [1]
    (joints,) = sample.truth_keypoints.keypoints
    joints.points = [(0.5, 0.5), (1.0, 1.0)]
    (turned,) = sample.truth_polylines.polylines
    corners = geometry.box_to_corners((8.0, 8.0, 6.0, 4.0), 0.75) / (WIDTH, HEIGHT)
    turned.points = [[tuple(p) for p in corners.tolist()]]
    sample.save()
    after = rows_of(from_fiftyone(sent, store).dataset, "fiftyone", 0)
    assert after[1].rle is not None
    drawn = geometry.rle_decode(after[1].rle.size, after[1].rle.counts)
    np.testing.assert_array_equal(drawn[7:12, 7:13], np.eye(5, 6))
    assert drawn.sum() == 5
    hole = [0.5 * WIDTH, 0.1 * HEIGHT, 0.9 * WIDTH, 0.1 * HEIGHT, 0.9 * WIDTH, 0.5 * HEIGHT]
    assert after[2].polygons == [[[0.0, 0.0, WIDTH, 0.0, WIDTH, HEIGHT], hole]]
    assert after[3].keypoints == [WIDTH / 2, HEIGHT / 2, 2.0, WIDTH, HEIGHT, 2.0]
    assert after[3].bbox == (1, 1, 9, 9)
    np.testing.assert_allclose(after[8].bbox or (), (8, 8, 6, 4))
    assert after[8].angle == pytest.approx(0.75)


def test_added_and_deleted_labels(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    sample = sent.match({"granum_key": "2.png"}).first()
    sample.truth.detections = [d for d in sample.truth.detections if d.granum_id not in (201, 203)]
    sample.truth.detections += [
        fo.Detection(label="dog", bounding_box=[0.5, 0.5, 0.25, 0.25], confidence=0.5, mood="sad"),
        fo.Detection(label="unicorn", bounding_box=[0, 0, 0.5, 0.5], tags=["new"]),
    ]
    sample.truth_polylines.polylines.append(
        fo.Polyline(label="cat", points=[[(0, 0), (1, 0.5)]], closed=False)
    )
    sample.save()
    back = from_fiftyone(sent, store)
    # Of 203 the box was deleted, which is its primary label: its outline goes with it.
    assert back.layers["fiftyone"] == Changes("truth", 34, 0, added=3, deleted=2)
    assert back.unknown == {"unicorn": 1}
    after = rows_of(back.dataset, "fiftyone", 2)
    assert len(after) == 10
    dog, unicorn, line = after[-3:]
    assert (dog.category, dog.score, dog.attributes) == (DOG, 0.5, {"mood": "sad"})
    assert dog.bbox == (WIDTH / 2, HEIGHT / 2, WIDTH / 4, HEIGHT / 4)
    assert unicorn.category is None
    assert unicorn.attributes == {"label": "unicorn", "tags": ["new"]}
    assert (line.category, line.polyline) == (CAT, [0, 0, WIDTH, HEIGHT / 2])
    ids = [a.annotation_id for v in back.dataset.layer("fiftyone") for a in v.annotations]
    assert len(set(ids)) == len(ids) == 37


def test_a_deleted_outline_leaves_its_box(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    sample = sent.match({"granum_key": "0.png"}).first()
    sample.truth_keypoints = None
    sample.save()
    back = from_fiftyone(sent, store)
    assert back.layers["fiftyone"] == Changes("truth", 35, changed=1, added=0, deleted=0)
    row = rows_of(back.dataset, "fiftyone", 0)[3]
    assert row.keypoints is None and row.bbox == (1, 1, 9, 9)


def test_each_layer_comes_back_by_itself_and_new_fields_too(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    for sample in sent.iter_samples(autosave=True):
        sample.run.detections[0].confidence = 0.25
        sample["guess"] = fo.Classification(label="dog", confidence=0.5)
        sample["model"] = fo.Detections(
            detections=[fo.Detection(label="cat", bounding_box=[0, 0, 1, 1])]
        )
        sample["uniqueness"] = 0.5
    back = from_fiftyone(sent, store, layer="edits")
    assert back.layers == {
        "edits_run": Changes("run", 0, 4, 0, 0),
        "guess": Changes(None, 0, 0, 4, 0),
        "model": Changes(None, 0, 0, 4, 0),
    }
    guess = rows_of(back.dataset, "guess", 3)[0]
    assert (guess.kind, guess.category, guess.score) == ("label", DOG, 0.5)
    assert rows_of(back.dataset, "model", 0)[0].bbox == (0, 0, WIDTH, HEIGHT)
    assert back.notes == {"new field uniqueness of samples": 1}


def test_evaluation_is_no_edit(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    sent.evaluate_detections("run", "truth", eval_key="check", progress=False)
    back = from_fiftyone(sent, store)
    assert back.layers == {}


def test_tags_are_views(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    sent.match({"granum_key": {"$in": ["3.png", "1.png"]}}).tag_samples("bad/blurred")
    sent.match({"granum_key": "3.png"}).tag_samples("v")
    sent.match_labels(filter={"label": "dog"}, fields="truth").select_labels(
        ids=[d.id for d in sent.first().truth.detections if d.label == "dog"]
    ).tag_labels("doubtful", label_fields="truth")
    back = from_fiftyone(sent, store)
    assert back.views == {"bad_blurred": 2, "v": 2, "doubtful": 1}
    assert back.layers == {}
    keys = back.dataset.view("bad_blurred").samples(["key"])["key"].to_pylist()
    assert keys == ["1.png", "3.png"]
    doubtful = back.dataset.view("doubtful")
    assert doubtful.annotations(["category"])["category"].to_pylist() == [DOG, DOG]
    again = from_fiftyone(sent, back.dataset)
    assert set(again.views) == {"bad_blurred-2", "v-2", "doubtful-2"}


def test_a_view_comes_back_in_its_order(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    view = sent.sort_by("granum_key", reverse=True).limit(3)
    back = from_fiftyone(view, store)
    assert back.views == {"fiftyone": 3}
    keys = back.dataset.view("fiftyone").samples(["key"])["key"].to_pylist()
    assert keys == ["3.png", "2.png", "1.png"]
    sent.save_view("chosen", view)
    assert from_fiftyone(sent.load_saved_view("chosen"), store).views == {"chosen": 3}


def test_a_filter_of_labels_is_a_view_and_no_deletion(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    view = sent.filter_labels("truth", fo.ViewField("label") == "dog").limit(2)
    back = from_fiftyone(view, store)
    assert (back.layers, back.views) == ({}, {"fiftyone": 2})
    left = back.dataset.view("fiftyone")
    kinds = left.annotations(["kind", "category"]).to_pylist()
    objects = [a["category"] for a in kinds if a["kind"] == "object"]
    assert objects == [DOG, DOG] * 2


def test_removed_samples_are_a_view(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    sent.delete_samples(sent.match({"granum_key": "1.png"}))
    sent.add_sample(fo.Sample("elsewhere.png"))
    back = from_fiftyone(sent, store)
    assert (back.views, back.layers) == ({"fiftyone": 3}, {})
    assert back.notes == {"samples that the dataset does not have": 1}


def test_a_part_that_was_sent_changes_only_that_part(fo: Any, store: Dataset) -> None:
    some = store.select([2, 1]).filter("category == 'cat'")
    sent = to_fiftyone(some).dataset
    assert from_fiftyone(sent, store).layers == {}
    sample = sent.first()
    assert sample.granum_key == "2.png"
    sample.truth.detections[0].label = "dog"
    sample.save()
    back = from_fiftyone(sent, store)
    assert back.layers == {"fiftyone": Changes("truth", 35, 1, 0, 0)}
    assert rows_of(back.dataset, "fiftyone", 2)[0].category == DOG


def test_what_cannot_be_taken_back_is_refused(fo: Any, store: Dataset) -> None:
    sent = to_fiftyone(store).dataset
    with pytest.raises(UsageError, match="patches"):
        from_fiftyone(sent.to_patches("truth"), store)
    with pytest.raises(UsageError, match="was not made by"):
        from_fiftyone(fo.Dataset(), store)
    sample = sent.first()
    sample.truth.detections[0].label = "dog"
    sample.tags.append("seen")
    sample.save()
    with pytest.raises(ConflictError, match="run"):
        from_fiftyone(sent, store, layer="run")
    assert store.meta.store is not None and not store.meta.store.manifest["views"]
    with pytest.raises(StoreError):
        from_fiftyone(sent, store.select(range(4)))


def test_relative_coordinates_stay_relative(fo: Any, tmp_path: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    box = Annotation(category=CAT, bbox=(0.1, 0.2, 0.3, 0.4))
    sample = Sample("a.png", Media("a.png"), unit="relative", annotations=[box])
    store = Dataset.from_rows([sample], CATEGORIES, media_root=tmp_path).save(tmp_path / "r.granum")
    sent = to_fiftyone(store).dataset
    one = sent.first()
    one.truth.detections[0].bounding_box = [0.5, 0.2, 0.3, 0.4]
    one.truth.detections[0].mask = np.ones((2, 3), bool)
    one.save()
    row = rows_of(from_fiftyone(sent, store).dataset, "fiftyone", 0)[0]
    assert row.bbox == (0.5, 0.2, 0.3, 0.4)
    assert row.rle is not None and tuple(row.rle.size) == (HEIGHT, WIDTH)


def test_rows_of_groups_stay_in_the_edited_layer(fo: Any, tmp_path: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    box = Annotation(category=CAT, bbox=(1, 1, 2, 2), annotation_id=1)
    sample = Sample("a.png", Media("a.png"), WIDTH, HEIGHT, annotations=[box], group=0)
    tube = Annotation("track", CAT, track=1, group=0, annotation_id=2)
    store = Dataset.from_rows(
        [sample],
        CATEGORIES,
        [rows.Group("clip", "video")],
        group_annotations=[tube],
        media_root=tmp_path,
    ).save(tmp_path / "g.granum")
    sent = to_fiftyone(store).dataset
    one = sent.first()
    one.truth.detections[0].label = "dog"
    one.save()
    back = from_fiftyone(sent.load_saved_view("groups"), store)
    kinds = back.dataset.annotations(["kind"], "fiftyone")["kind"].cast(pa.string()).to_pylist()
    assert kinds == ["object", "track"]
