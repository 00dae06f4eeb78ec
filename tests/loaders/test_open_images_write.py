"""Writing Open Images: what was read comes back as the same records; what cannot, is refused."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from granum.errors import LossError
from granum.loaders.open_images.project import far_edge
from granum.schema.rows import Annotation, Category, LabelMap, Media, Sample
from granum.store.dataset import Dataset
from granum.testing import same
from tests.data import shared
from tests.loaders.open_images_trees import (
    CAT,
    DOG,
    EAR,
    MASK_A,
    PET,
    TREE,
    WOOD,
    A,
    B,
    C,
    name_of,
    png,
    read,
    rows_of,
    take,
    tree,
    write,
)

ALONE = f"masks/train/{B}_m0bt9lr_ffffffff.png"
COMPLETE = {**TREE, ALONE: png(["#."])}


def assert_same(a: Dataset, b: Dataset, **options: Any) -> None:
    """Images lie elsewhere after writing; they are told apart by their keys."""
    same.assert_same(a, b, ignore=["media", "samples.source_id"], **options)


def records(path: Path) -> Counter[tuple[tuple[str, Any], ...]]:
    """The records of a CSV file, numbers as numbers, empty fields left out."""
    with path.open(newline="") as file:
        return Counter(
            tuple(sorted((k, _value(v)) for k, v in row.items() if v))
            for row in csv.DictReader(file)
        )


def _value(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """A tree, and what is written of it."""
    root = tree(tmp_path / "in", COMPLETE)
    report = write(read(root), tmp_path / "out")
    assert not report.lost_names()
    return root / "annotations", tmp_path / "out" / "annotations"


@pytest.mark.parametrize(
    "name",
    [
        "oidv6-train-annotations-bbox.csv",
        "validation-annotations-bbox.csv",
        "oidv6-train-annotations-human-imagelabels.csv",
        "oidv6-train-annotations-machine-imagelabels.csv",
        "train-annotations-object-segmentation.csv",
        "oidv6-train-annotations-vrd.csv",
        "oidv6-validation-annotations-vrd.csv",
        "oidv7-val-annotations-point-labels.csv",
        "oidv6-class-descriptions.csv",
        "oidv6-attributes-description.csv",
    ],
)
def test_the_same_files_with_the_same_records(both: tuple[Path, Path], name: str) -> None:
    before, after = (folder / name for folder in both)
    assert records(after) == records(before)
    first = [p.read_text().split("\n")[0] for p in (before, after)]
    assert first[0] == first[1]


def test_numbers_are_written_as_they_were(both: tuple[Path, Path]) -> None:
    """To the character: 0.1 to 0.3 does not become 0.30000000000000004."""
    text = (both[1] / "oidv6-train-annotations-bbox.csv").read_text()
    assert (
        f"{A},xclick,{CAT},1,0.1,0.3,0.2,0.7,1,0,-1,0,0,0.1,0.3,0.2,0.15,0.5,0.4,0.2,0.7\n" in text
    )
    assert f"{B},xclick,{DOG},1,0,0.999374,0.0125,1,0,1,1,1,1,0,0,0,0,0,0,0,0\n" in text


def test_images_narratives_hierarchy_and_masks_come_back(both: tuple[Path, Path]) -> None:
    before, after = both
    listed = [records(p) for p in sorted(before.glob("*-with-rotation.csv"))]
    assert records(after / "image_ids_and_rotation.csv") == sum(listed, Counter())
    (told,) = (json.loads(p.read_text()) for p in after.glob("*.jsonl"))
    (meant,) = (json.loads(p.read_text()) for p in before.glob("*.jsonl"))
    assert told == meant
    assert list(told) == list(meant)
    name = "bbox_labels_600_hierarchy.json"
    assert json.loads((after / name).read_text()) == json.loads((before / name).read_text())
    for path in (f"masks/train/{MASK_A}", ALONE):
        assert (after.parent / path).read_bytes() == (before.parent / path).read_bytes()


def test_reading_again_gives_the_same(tmp_path: Path) -> None:
    first = read(tree(tmp_path / "in", COMPLETE))
    write(first, tmp_path / "out")
    again = read(tmp_path / "out")
    assert_same(first, again, ordered=True)
    write(again, tmp_path / "twice")
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            other = tmp_path / "twice" / path.relative_to(tmp_path / "out")
            assert other.read_bytes() == path.read_bytes(), path.name


def test_without_notes_other_tools_files_say_the_same(tmp_path: Path) -> None:
    """What we write is read alike where ``granum.json`` is gone, save what only it says."""
    first = read(tree(tmp_path / "in", COMPLETE))
    write(first, tmp_path / "out")
    (tmp_path / "out" / "granum.json").unlink()
    assert_same(first, read(tmp_path / "out"), ordered=False)


def test_fixture_comes_back(tmp_path: Path) -> None:
    first = read(shared("format_fixtures/open_images_dataset/v6"), "fix")
    write(first, tmp_path / "out", media="copy")
    again = read(tmp_path / "out")
    assert_same(first, again)
    assert again[3].image().size == first[3].image().size
    media = [m["path"] for m in again.samples()["media"].to_pylist()]
    assert media == [
        "images/train/a.jpg",
        "images/train/b.jpg",
        "images/test/c.jpg",
        "images/validation/d.png",
    ]


# ---------------------------------------------------------------------- other datasets


def one(*annotations: Annotation, **values: Any) -> Dataset:
    sample = Sample("sub/a.png", Media("a.png"), 20, 10, annotations=list(annotations), **values)
    listed = [Category("cat", source_id=CAT), Category("dog"), Category("on", "relation")]
    return Dataset.from_rows([sample], listed)


def box(*values: float, **others: Any) -> Annotation:
    return Annotation(bbox=values, **{"category": 0, **others})  # type: ignore[arg-type]


def test_pixels_become_fractions(tmp_path: Path) -> None:
    write(one(box(2, 1, 8, 5), box(1, 0, 19, 10, category=1)), tmp_path / "out")
    folder = tmp_path / "out" / "annotations"
    text = (folder / "oidv6-train-annotations-bbox.csv").read_text().split("\n")
    assert text[1] == f"sub/a,,{CAT},1,0.1,0.5,0.1,0.6,-1,-1,-1,-1,-1"
    assert text[2] == "sub/a,,dog,1,0.05,1,0,1,-1,-1,-1,-1,-1"
    listed = (folder / "image_ids_and_rotation.csv").read_text().split("\n")
    assert listed[0].endswith(",Rotation,Width,Height")
    assert listed[1] == "sub/a,train,,,,,,,,,,,20,10"  # tools want a split they know
    again = read(tmp_path / "out")
    assert again.samples(["key", "split"]).to_pylist() == [{"key": "sub/a.png", "split": None}]
    assert again.samples(["width", "height"]).to_pylist() == [{"width": 20, "height": 10}]


def test_scores_of_one_come_back(tmp_path: Path) -> None:
    """``Confidence`` is a score where our notes say so, and nothing where it is always 1."""
    write(one(box(2, 1, 8, 5, score=1.0), box(1, 1, 2, 2)), tmp_path / "out")
    assert [a.score for a in read(tmp_path / "out")[0].annotations] == [1.0, None]
    write(one(box(2, 1, 8, 5)), tmp_path / "none")
    assert [a.score for a in read(tmp_path / "none")[0].annotations] == [None]


def test_relations_that_nothing_would_tie_are_refused(tmp_path: Path) -> None:
    """Two boxes alike: the file could not say which one is meant."""
    alike = [box(2, 1, 8, 5, annotation_id=i) for i in (1, 2)]
    other = box(1, 1, 2, 2, category=1, annotation_id=3)
    relation = Annotation("relation", category=2, subject=2, object=3)
    with pytest.raises(LossError) as caught:
        write(one(*alike, other, relation), tmp_path / "out")
    assert caught.value.refused == ["relation"]
    report = write(one(*alike, other, relation), tmp_path / "out", allow_loss=["relation"])
    assert report.lost_names() == {"relation": 1}
    assert [a.kind for a in read(tmp_path / "out")[0].annotations] == ["object"] * 3
    write(one(alike[0], other, Annotation("relation", category=2, subject=1, object=3)),
          tmp_path / "sure")  # fmt: skip
    back = read(tmp_path / "sure")
    (tied,) = rows_of(back, "sub/a.png", "relation")
    assert [tied.subject, tied.object] == [
        a.annotation_id for a in rows_of(back, "sub/a.png", "object")
    ]


@pytest.mark.parametrize(
    "ends",
    [
        {"subject": 1},  # "is" of a category that is no attribute, but is one all the same
        {"subject": 1, "object": 3},
        {"subject": 3, "object": 1},
        {"subject": 1, "object": 1},
    ],
)
def test_ends_of_relations_come_back(tmp_path: Path, ends: dict[str, int]) -> None:
    first, second = box(2, 1, 8, 5, annotation_id=1), box(1, 1, 2, 2, annotation_id=3)
    dataset = one(first, second, Annotation("relation", category=1, annotation_id=9, **ends))
    write(dataset, tmp_path / "out")
    assert_same(dataset, read(tmp_path / "out"), tolerance={"bbox": 1e-9})


def test_made_boxes_are_no_records_of_their_own(tmp_path: Path) -> None:
    """Boxes made for relations or masks follow from these; used otherwise they are written."""
    root = tree(tmp_path / "in", COMPLETE)
    dataset = read(root)
    assert Counter(a.source for s in dataset for a in s.annotations if a.bbox) == {
        "xclick": 4, "activemil": 1, "relationship": 2, "segmentation": 1,
    }  # fmt: skip
    bare = dataset.filter("kind == 'object'")
    write(bare, tmp_path / "out", allow_loss=["all"])
    name = "validation-annotations-bbox.csv"
    sources = [dict(r).get("Source") for r in records(tmp_path / "out" / "annotations" / name)]
    assert sorted(map(str, sources)) == ["relationship", "relationship", "xclick", "xclick"]


def test_masks_of_every_form_become_pngs(tmp_path: Path) -> None:
    ring = [2.0, 1.0, 10.0, 1.0, 10.0, 6.0, 2.0, 6.0]
    labels = np.zeros((10, 20), np.uint8)
    labels[2:4, 5:9] = 7
    (tmp_path / "maps").mkdir()
    Image.fromarray(labels).save(tmp_path / "maps" / "l.png")
    dataset = one(
        box(2, 1, 8, 5, polygons=[[ring]]),
        box(5, 2, 4, 2, map=LabelMap("maps/l.png", encoding="index", value=7), category=1),
    )
    dataset = Dataset(
        dataset.parts, dataset.categories, meta=type(dataset.meta)(media_root=str(tmp_path))
    )
    report = write(dataset, tmp_path / "out")
    assert not report.lost_names()
    back = read(tmp_path / "out")
    first, second = (a.map for a in back[0].annotations)
    with Image.open(tmp_path / "out" / str(first.path)) as image:
        assert (image.size, image.mode) == ((20, 10), "1")
        assert int(np.asarray(image).sum()) == 40
    with Image.open(tmp_path / "out" / str(second.path)) as image:
        assert np.array_equal(np.asarray(image), labels == 7)
    assert str(first.path).startswith("masks/train/sub_a_")


def test_two_boxes_alike_with_one_mask(tmp_path: Path) -> None:
    """The first mask of a class and corners goes to the first such box: else it is refused."""
    ring = [2.0, 1.0, 10.0, 1.0, 10.0, 6.0]
    masked, plain = box(2, 1, 8, 5, polygons=[[ring]]), box(2, 1, 8, 5, occluded=True)
    write(one(masked, plain), tmp_path / "first")
    assert [a.map is None for a in read(tmp_path / "first")[0].annotations] == [False, True]
    with pytest.raises(LossError) as caught:
        write(one(plain, masked), tmp_path / "second")
    assert caught.value.refused == ["mask"]


def test_order_of_samples_and_splits_come_back(tmp_path: Path) -> None:
    """One file lists all images, however their splits alternate."""
    splits = ["train", "val", None, "holdout 2", "validation", "train", "test", "Test"]
    listed = [
        Sample(f"{i}.jpg", Media(f"{i}.jpg"), 8, 8, split=s, annotations=[box(0, 0, 4, 4)])
        for i, s in enumerate(splits)
    ]
    write(Dataset.from_rows(listed, [Category("cat")]), tmp_path / "out")
    back = read(tmp_path / "out").samples()
    assert back["key"].to_pylist() == [f"{i}.jpg" for i in range(8)]
    assert back["split"].to_pylist() == splits
    names = {p.name for p in (tmp_path / "out" / "annotations").glob("*bbox.csv")}
    assert names == {
        "oidv6-train-annotations-bbox.csv",
        "validation-annotations-bbox.csv",
        "test-annotations-bbox.csv",
        "holdout-2-annotations-bbox.csv",
    }


def test_parents_are_a_hierarchy(tmp_path: Path) -> None:
    """Classes with boxes or children stand in it; a class of two parents below both; no circle."""
    is_a, part_of = "is_a", "part_of"
    listed = [
        Category("pet", source_id=PET),
        Category("cat", source_id=CAT, parents=[{"index": 0, "relation": is_a}]),
        Category("dog", source_id=DOG, parents=[{"index": 0, "relation": is_a}]),
        Category(
            "ear",
            source_id=EAR,
            parents=[{"index": 1, "relation": part_of}, {"index": 2, "relation": part_of}],
        ),
        Category("alone", source_id="/m/1"),
        Category("idle", source_id="/m/2"),
        Category("a", source_id="/m/3", parents=[{"index": 7, "relation": is_a}]),
        Category("b", source_id="/m/4", parents=[{"index": 6, "relation": is_a}]),
    ]
    sample = Sample("a.jpg", Media("a.jpg"), 8, 8, annotations=[box(0, 0, 4, 4, category=4)])
    dataset = Dataset.from_rows([sample], listed)
    write(dataset, tmp_path / "out")
    path = tmp_path / "out" / "annotations" / "bbox_labels_600_hierarchy.json"
    ear = {"LabelName": EAR}
    assert json.loads(path.read_text()) == {
        "LabelName": "/m/0bl9f",
        "Subcategory": [
            {
                "LabelName": PET,
                "Subcategory": [
                    {"LabelName": CAT, "Part": [ear]},
                    {"LabelName": DOG, "Part": [ear]},
                ],
            },
            {"LabelName": "/m/1"},
        ],
    }
    assert_same(dataset, read(tmp_path / "out"), tolerance={"bbox": 1e-9})


def test_attributes_and_classes_may_share_an_id(tmp_path: Path) -> None:
    """Official files describe some ids among the classes and among the attributes."""
    files = dict(COMPLETE)
    name = "annotations/oidv6-class-descriptions.csv"
    files[name] = f"{files[name]}{WOOD},Wood\n"  # type: ignore[str-bytes-safe]
    name = "annotations/oidv6-train-annotations-human-imagelabels.csv"
    files[name] = f"{files[name]}{A},verification,{WOOD},1\n"  # type: ignore[str-bytes-safe]
    dataset = read(tree(tmp_path / "in", files))
    write(dataset, tmp_path / "out")
    again = read(tmp_path / "out")
    assert_same(dataset, again)
    assert name_of(again, rows_of(again, A, "label")[-1]) == "Wood"
    assert name_of(again, rows_of(again, A, "relation")[-1]) == "Wooden"


def test_a_store_in_between_changes_nothing(tmp_path: Path) -> None:
    dataset, _ = take(tree(tmp_path / "in", COMPLETE))
    write(dataset.save(tmp_path / "x.granum"), tmp_path / "out")
    again = read(tmp_path / "out")
    assert_same(dataset, again)
    assert rows_of(again, C, "relation")[0].subject is not None


def test_far_edge_is_the_text_that_was_read() -> None:
    """Of corners with six decimals every width gives its far corner back, to the bit."""
    random = np.random.default_rng(1)
    corners = np.sort(np.rint(random.random((200_000, 2)) * 1e6) / 1e6, axis=1)
    assert np.array_equal(far_edge(corners[:, 0], corners[:, 1] - corners[:, 0]), corners[:, 1])
