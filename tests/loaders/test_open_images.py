"""Reading Open Images: a tree typed from the spec, worked out by hand; fixtures; layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import granum
from granum.loaders.reading import sniff
from granum.store.dataset import Dataset
from granum.store.media import read_map
from tests.data import shared
from tests.loaders.open_images_trees import (
    BOXES,
    CAT,
    DOG,
    IMAGES,
    LABELS,
    MASK_A,
    RELATIONS,
    TREE,
    A,
    B,
    C,
    name_of,
    places,
    read,
    rows_of,
    take,
    tree,
)

FLAGS = ("occluded", "truncated", "group_of", "depiction", "inside")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return read(tree(tmp_path_factory.mktemp("oi"), TREE))


def test_images_have_split_and_origin(whole: Dataset) -> None:
    samples = whole.samples().to_pylist()
    assert [(s["key"], s["split"], s["unit"]) for s in samples] == [
        (A, "train", "relative"),
        (B, "train", "relative"),
        (C, "validation", "relative"),
    ]
    first = samples[0]
    assert first["attr.Title"] == 'A "cat"\nat home'
    assert first["attr.Author"] == "Doe, J."
    assert first["attr.OriginalMD5"] == "UpNL+YU5QgLkXBpNrvEl1w=="
    assert first["attr.OriginalSize"] == 262144
    assert [s["attr.Rotation"] for s in samples] == [0.0, None, 90.0]
    assert samples[1]["attr.Title"] is None
    assert [s["media"]["path"] for s in samples] == [
        f"train/{A}.jpg",
        f"train/{B}.jpg",
        f"validation/{C}.jpg",
    ]


def test_boxes_are_corner_and_size_with_three_states(whole: Dataset) -> None:
    cat, dog = rows_of(whole, A, "object")
    assert cat.bbox == (0.1, 0.2, 0.3 - 0.1, 0.7 - 0.2)  # XMin, XMax, YMin, YMax
    assert [getattr(cat, f) for f in FLAGS] == [True, False, None, False, False]
    assert [getattr(dog, f) for f in FLAGS] == [None] * 5
    assert (cat.source, dog.source) == ("xclick", "activemil")
    assert (cat.score, cat.present) == (None, None)  # Confidence of a box is always 1
    assert name_of(whole, dog) == "Dog, domestic"
    (large, _) = rows_of(whole, B, "object")
    assert large.bbox == (0.0, 0.0125, 0.999374, 1 - 0.0125)
    assert [getattr(large, f) for f in FLAGS] == [False, True, True, True, True]


def test_clicks_of_v6_are_kept_and_absent_without(whole: Dataset) -> None:
    cat, dog = rows_of(whole, A, "object")
    assert cat.attributes["XClick1X"] == 0.1
    assert cat.attributes["XClick4Y"] == 0.7
    assert dog.attributes is None


def test_labels_tell_presence_and_machines_score(whole: Dataset) -> None:
    there, absent = rows_of(whole, A, "label")
    assert (name_of(whole, there), there.present, there.score) == ("Cat", True, None)
    assert (absent.present, absent.score, absent.source) == (
        False,
        None,
        "crowdsource-verification",
    )
    unsure, sure = rows_of(whole, B, "label")
    assert (unsure.present, unsure.score, unsure.source) == (None, 0.7, "machine")
    assert (sure.present, sure.score) == (None, 1.0)


def test_masks_go_to_their_boxes(whole: Dataset) -> None:
    cat, dog = rows_of(whole, A, "object")
    assert cat.map is not None
    assert cat.map.path == f"masks/train/{MASK_A}"
    assert cat.source_id == "1a2b3c4d"
    assert cat.attributes["PredictedIoU"] == 0.81
    assert cat.attributes["Clicks"] == "0.15 0.3 1;0.2 0.5 0"
    pixels = read_map(cat.map, whole.meta.map_root)
    assert pixels.astype(int).tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]]
    assert dog.map is None


def test_a_mask_without_box_is_an_object_and_a_finding(tmp_path: Path) -> None:
    dataset, intake = take(tree(tmp_path, TREE))
    _, alone = rows_of(dataset, B, "object")
    assert alone.source == "segmentation"
    assert alone.bbox == (0.1, 0.1, 0.2 - 0.1, 0.2 - 0.1)
    assert alone.map.path == f"masks/train/{B}_m0bt9lr_ffffffff.png"
    name = "annotations/train-annotations-object-segmentation.csv"
    assert ("unmatched-box", name, None) in places(intake)


def test_relations_are_tied_to_boxes(whole: Dataset) -> None:
    cat, dog = rows_of(whole, A, "object")
    on, wooden = rows_of(whole, A, "relation")
    assert (on.subject, on.object) == (cat.annotation_id, dog.annotation_id)
    assert name_of(whole, on) == "on"
    assert (wooden.subject, wooden.object) == (dog.annotation_id, None)
    assert name_of(whole, wooden) == "Wooden"
    spaces = dict(zip(whole.category_names(), whole.categories["space"].to_pylist(), strict=True))
    assert (spaces["on"], spaces["Wooden"], spaces["Cat"]) == ("relation", "attribute", "object")


def test_ends_without_one_box_get_a_box_of_their_own(tmp_path: Path) -> None:
    dataset, intake = take(tree(tmp_path, TREE))
    first, second, twice, never = [a for a in rows_of(dataset, C, "object") if a.bbox]
    assert first.bbox == second.bbox == twice.bbox == (0.25, 0.125, 0.25, 0.875)
    assert [a.source for a in (first, second)] == ["xclick", "xclick"]
    assert [a.source for a in (twice, never)] == ["relationship", "relationship"]
    assert never.bbox == (0.0, 0.0, 0.5, 0.5)
    (at,) = rows_of(dataset, C, "relation")
    assert (at.subject, at.object) == (twice.annotation_id, never.annotation_id)
    name = "annotations/oidv6-validation-annotations-vrd.csv"
    assert intake.findings.counts["unmatched-box"] == 3  # two ends, and a mask
    assert ("unmatched-box", name, None) in places(intake)


def test_points_have_an_answer_or_none(whole: Dataset) -> None:
    yes, no, unsure = [a for a in rows_of(whole, C, "object") if a.keypoints]
    assert [a.keypoints for a in (yes, no, unsure)] == [
        [0.5, 0.25, 2.0],
        [0.125, 1.0, 2.0],
        [0.0, 0.0, 2.0],
    ]
    assert [a.present for a in (yes, no, unsure)] == [True, False, None]
    assert [name_of(whole, a) for a in (yes, no, unsure)] == ["Cat", "Dog, domestic", None]
    assert [a.text for a in (yes, no, unsure)] == [None, None, "whiskers"]
    assert yes.shape_kind == "point"
    assert yes.source == "cc"
    assert yes.attributes == {"YesVotes": 3, "NoVotes": 0, "UnsureVotes": 1}


def test_narratives_keep_words_and_traces(whole: Dataset) -> None:
    (told,) = rows_of(whole, A, "caption")
    assert (told.text, told.annotator) == ("A cat.", "93")
    assert told.extra == {
        "timed_caption": [{"utterance": "A cat.", "start_time": 0.5, "end_time": 1.25}],
        "traces": [[{"x": -0.01, "y": 0.5, "t": 0.1}]],
        "voice_recording": "open_images_train/1.ogg",
    }


def test_hierarchy_gives_parents_below_a_root_that_is_no_class(whole: Dataset) -> None:
    rows = whole.categories.to_pylist()
    names = [r["name"] for r in rows]
    assert "/m/0bl9f" not in [*names, *(r["source_id"] for r in rows)]

    def parents(name: str) -> list[tuple[str, str]] | None:
        found = rows[names.index(name)]["parents"]
        return found and [(names[p["index"]], p["relation"]) for p in found]

    assert parents("Pet") is None
    assert parents("Cat") == [("Pet", "is_a")]
    assert parents("Ear") == [("Cat", "part_of"), ("Dog, domestic", "part_of")]
    assert rows[names.index("Cat")]["source_id"] == CAT


def test_places_in_files_are_told(whole: Dataset) -> None:
    sources = whole.sources["path"].to_pylist()
    _, dog = rows_of(whole, A, "object")
    assert sources[dog.origins[0]] == "annotations/oidv6-train-annotations-bbox.csv"
    assert dog.ordinal == [1]


# ---------------------------------------------------------------------- classes


@pytest.mark.parametrize("head", ["", "LabelName,DisplayName\n", "id,name\n", "mid,word\n"])
def test_class_descriptions_with_and_without_header(tmp_path: Path, head: str) -> None:
    files: dict[str, str | bytes] = {
        "train-annotations-bbox.csv": f"{BOXES}\n{A},xclick,{DOG},1,0,1,0,1,0,0,0,0,0\n",
        "class-descriptions-boxable.csv": f'{head}{CAT},Cat\n{DOG},"Dog, domestic"\n',
    }
    dataset, intake = take(tree(tmp_path, files))
    assert dataset.category_names() == ["Cat", "Dog, domestic"]
    assert dataset.counts() == {"Cat": 0, "Dog, domestic": 1}
    assert not intake.findings.counts


def test_a_class_without_description_is_named_by_its_id(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "train-annotations-bbox.csv": f"{BOXES}\n{A},xclick,{DOG},1,0,1,0,1,0,0,0,0,0\n"
    }
    dataset, intake = take(tree(tmp_path, files))
    assert dataset.category_names() == [DOG]
    assert intake.findings.counts == {"unnamed-class": 1}
    assert intake.findings.items[0].path == "train-annotations-bbox.csv"


# ---------------------------------------------------------------------- layouts


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """Another order, columns missing, a column nobody knows."""
    text = f"YMax,XMin,LabelName,Mood,ImageID,YMin,XMax\n1,0.5,{CAT},glad,{A},0.25,0.75\n"
    dataset = read(tree(tmp_path, {"validation-annotations-bbox.csv": text}))
    (box,) = dataset[A].annotations
    assert box.bbox == (0.5, 0.25, 0.25, 0.75)
    assert box.attributes == {"Mood": "glad"}
    assert (box.source, box.occluded) == (None, None)
    assert dataset.samples()["split"].to_pylist() == ["validation"]


def test_files_of_fiftyone(tmp_path: Path) -> None:
    """``data``, ``labels``, ``metadata`` of each split; masks below a letter in upper case."""
    mask = f"{C}_m01yrx_00000001.png"
    big = mask.replace("00f", "af0")
    files: dict[str, str | bytes] = {
        f"train/data/{A}.jpg": b"",
        "train/metadata/classes.csv": f"{CAT},Cat\n",
        "train/metadata/image_ids.csv": IMAGES
        + f"{A},train,,,,,,,,,,\naf0{C[3:]},train,,,,,,,,,,\n",
        "train/labels/classifications.csv": f"{LABELS}{A},verification,{CAT},0\n",
        "train/labels/detections.csv": f"{BOXES}\n{A},xclick,{CAT},1,0,1,0,1,0,0,0,0,0\n",
        "train/labels/segmentations.csv": TREE_MASKS + f"{big},af0{C[3:]},{CAT},1,0,1,0,1,,\n",
        f"train/labels/masks/A/{big}": b"",
        "train/labels/relationships.csv": RELATIONS + f"{A},{CAT},{CAT},0,1,0,1,0,1,0,1,at\n",
        "validation/labels/detections.csv": f"{BOXES}\n{B},xclick,{CAT},1,0,1,0,1,0,0,0,0,0\n",
    }
    dataset = read(tree(tmp_path, files))
    table = dataset.samples()
    assert list(zip(table["key"].to_pylist(), table["split"].to_pylist(), strict=True)) == [
        (A, "train"),
        (f"af0{C[3:]}", "train"),
        (B, "validation"),
    ]
    assert dataset[A].annotations[0].bbox == (0, 0, 1, 1)
    assert [a.kind for a in dataset[A].annotations] == ["object", "label", "relation"]
    assert table["media"][0].as_py()["path"] == f"train/data/{A}.jpg"
    (masked,) = dataset[f"af0{C[3:]}"].annotations
    assert masked.map is not None
    assert masked.map.path == f"train/labels/masks/A/{big}"


TREE_MASKS = (
    str(TREE["annotations/train-annotations-object-segmentation.csv"]).split("\n")[0] + "\n"
)


def test_only_images_at_hand(tmp_path: Path) -> None:
    """Of a download of a part: what is not there is left out, with its annotations."""
    root = tree(tmp_path, {**TREE, f"train/{B}.jpg": b""})
    dataset = read(root, at_hand=True)
    assert dataset.samples()["key"].to_pylist() == [B]
    assert [a.kind for a in dataset[B].annotations] == ["object", "object", "label", "label"]
    assert dataset.samples()["split"].to_pylist() == ["train"]


def test_one_file_alone(tmp_path: Path) -> None:
    root = tree(tmp_path, TREE)
    path = root / "annotations" / "validation-annotations-bbox.csv"
    assert list(sniff(path)) == ["open_images"]
    assert read(path).counts() == {CAT: 2}


def test_official_ids_and_other_names_side_by_side(tmp_path: Path) -> None:
    """Sixteen digits are numbers inside; whatever else is text. Order of appearance counts."""
    names = [A, "b.jpg", B, "A" * 16, A, "ü x", "b.jpg", "0" * 15, C]
    rows = "".join(f'"{n}",xclick,{CAT},1,0,1,0,{i / 10},0,0,0,0,0\n' for i, n in enumerate(names))
    dataset = read(tree(tmp_path, {"train-annotations-bbox.csv": f"{BOXES}\n{rows}"}))
    assert dataset.samples()["key"].to_pylist() == list(dict.fromkeys(names))
    found = {k: [a.bbox[3] for a in dataset[k].annotations if a.bbox] for k in names}
    assert found == {k: [i / 10 for i, n in enumerate(names) if n == k] for k in names}


def test_rows_in_any_order_come_together(tmp_path: Path) -> None:
    """Rows of many ranges of samples, shuffled: each sample gets its own, in their order."""
    n = 20_000
    random = np.random.default_rng(0)
    ids = [f"{i:016x}" for i in random.permutation(n).tolist()]
    owner = random.integers(0, n, 3 * n).tolist()
    boxes = "".join(
        f"{ids[o]},xclick,{CAT},1,0,1,0,{1 / (1 + i):.9f},0,0,0,0,0\n" for i, o in enumerate(owner)
    )
    files: dict[str, str | bytes] = {
        "train-images-with-rotation.csv": "ImageID,Subset,Rotation,Author\n"
        + "".join(f"{i},train,0,x\n" for i in ids),
        "train-annotations-bbox.csv": f"{BOXES}\n{boxes}",
    }
    dataset = read(tree(tmp_path, files))
    assert dataset.samples()["key"].to_pylist() == ids
    table = dataset.annotations(["sample", "ordinal"])
    at, ordinal = table["sample"].to_numpy(), table["ordinal"].combine_chunks().flatten().to_numpy()
    expected = np.argsort(owner, kind="stable")
    assert np.array_equal(at, np.asarray(owner)[expected])
    assert np.array_equal(ordinal, expected)


# ---------------------------------------------------------------------- real files


def test_fixture_v5() -> None:
    root = shared("format_fixtures/open_images_dataset/v5")
    assert list(sniff(root)) == ["open_images"]
    dataset = read(root)
    assert dataset.samples()["key"].to_pylist() == ["aa", "cc"]
    assert dataset.samples()["split"].to_pylist() == ["train", "test"]
    assert dataset.category_names() == ["Generic label #0", "Generic label #1"]
    assert dataset.num_annotations == 0
    assert dataset[0].image().size == (dataset[0].image().width, dataset[0].image().height)


def test_fixture_v6() -> None:
    root = shared("format_fixtures/open_images_dataset/v6")
    assert list(sniff(root)) == ["open_images"]
    dataset, intake = take(root, "fix")
    # The last image lacks a field.
    name = "annotations/image_ids_and_rotation.csv"
    assert places(intake) == [("bad-value", name, "line 5")]
    assert dataset.samples()["key"].to_pylist() == ["a", "b", "c", "d"]
    assert dataset.samples()["split"].to_pylist() == ["train", "train", "test", "validation"]
    assert [len(s.annotations) for s in dataset] == [1, 2, 3, 0]
    assert dataset.counts("object") == {
        "Generic label #0": 1, "Generic label #1": 0, "Generic label #2": 0, "Generic label #3": 1,
    }  # fmt: skip
    box = rows_of(dataset, "b", "object")[0]
    assert box.map is not None
    assert box.source_id == "01234567"
    assert read_map(box.map, dataset.meta.map_root).shape == (2, 8)
    sizes = dataset.samples(["width", "height"]).to_pylist()
    assert sizes[1] == {"width": 8, "height": 2}  # images.meta
    assert rows_of(dataset, "b", "label")[0].present is False
    assert rows_of(dataset, "c", "object")[0].score == 0.7
    media = [s["path"] for s in dataset.samples()["media"].to_pylist()]
    assert media[3] == "images/validation/d.png"
    assert dataset.categories["parents"].to_pylist()[1] == [{"index": 0, "relation": "is_a"}]
    skipped = read(root, "skip")
    assert skipped.samples()["key"].to_pylist() == ["a", "b", "c"]


def test_old_file_with_decimal_commas_and_names() -> None:
    root = shared("voc100/gts/openimages_format")
    assert list(sniff(root)) == ["open_images"]
    dataset, intake = take(root)
    assert not intake.findings.counts
    assert (len(dataset), dataset.num_annotations, dataset.categories.num_rows) == (100, 273, 20)
    assert dataset.samples()["key"][0].as_py() == "2007_000027.jpg"
    box = dataset["2007_000027.jpg"].annotations[0]
    assert name_of(dataset, box) == "person"
    assert box.bbox == (0.3580246914, 0.202, 0.7181069959 - 0.3580246914, 0.702 - 0.202)
    assert [getattr(box, f) for f in FLAGS] == [None] * 5
    with pytest.raises(granum.errors.FindingsError, match="line 2: XMin is '0,3580246914'"):
        read(root, decimal="point")


def test_old_file_agrees_with_voc() -> None:
    """The same 273 boxes as VOC XML, in pixels."""
    images = shared("voc100/images")
    ours = granum.read(shared("voc100/gts/openimages_format"), images=images)
    voc = granum.read(shared("voc100/gts/pascalvoc_format"), "voc", images=images)
    assert ours.counts("object") == {n: voc.counts("object")[n] for n in ours.category_names()}
    table = voc.samples(["key", "width", "height"]).to_pylist()
    sizes = {Path(s["key"]).stem: (s["width"], s["height"]) for s in table}
    theirs = {Path(s.key).stem: s for s in voc}
    for sample in ours:
        stem = sample.key.partition(".")[0]
        size = np.array([*sizes[stem], *sizes[stem]], float)
        boxes = np.array([a.bbox for a in sample.annotations]) * size
        other = np.array([a.bbox for a in theirs[stem].annotations if a.bbox])
        nearest = np.abs(boxes[:, None] - other[None]).max(axis=2).min(axis=1)
        assert nearest.max() < 1e-4
