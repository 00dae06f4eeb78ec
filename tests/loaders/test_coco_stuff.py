"""COCO-Stuff: three numberings of the same labels, none of which is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import granum
from granum.errors import FormatError
from granum.loaders._coco_stuff_labels import ABSENT, NAMES, THINGS, first_release
from granum.loaders.base import Intake, formats
from granum.loaders.reading import read_into, sniff
from granum.schema.findings import Findings, OnError
from granum.schema.rows import LabelMap
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset
from granum.testing.suite import ReaderSuite

PERSON, WOOD = 0, 181
"""Values in PNGs: ids 1 and 182, less one."""

MAP = [[PERSON, WOOD, 255], [PERSON, 91, 255]]
"""91 is id 92, the first kind of stuff."""


def put(root: Path, name: str, values: Any) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)


def maps(root: Path, folder: str = "stuffthingmaps_trainval2017/", labels: bool = False) -> Path:
    put(root, f"{folder}train2017/000000000009.png", MAP)
    put(root, f"{folder}train2017/000000000025.png", [[255, 255]])
    put(root, f"{folder}val2017/000000000139.png", MAP)
    if labels:
        listed = {0: "unlabeled", **NAMES}
        (root / "labels.txt").write_text("".join(f"{i}: {n}\n" for i, n in listed.items()))
    return root


def mats(root: Path, release: str = "1.1", **changes: Any) -> Path:
    """Two files as Matlab saves them: cell arrays of texts, maps of numbers."""
    io = pytest.importorskip("scipy.io")
    listed = ["unlabeled", *(NAMES if release == "1.1" else first_release()).values()]
    values = {"1.1": [[1, 182, 0], [1, 92, 0]], "1.0": [[2, 172, 1], [2, 82, 1]]}[release]
    if release == "1.1":
        listed = ["unlabeled", *NAMES.values()]
    (root / "annotations").mkdir(parents=True)
    for i in (77, 9):
        content = {
            "S": np.array(values, np.uint16),
            "names": np.array(listed, object).reshape(-1, 1),
            "captions": np.array(["a dog", "two dogs "], object).reshape(-1, 1),
            "regionMapStuff": np.array([[1, 2, 3]] * 2, np.uint16),
            "regionLabelsStuff": np.array([[1], [2], [3]], np.uint16),
            **changes,
        }
        io.savemat(root / f"annotations/COCO_train2014_{i:012d}.mat", content)
    (root / "imageLists").mkdir()
    (root / "imageLists/train.txt").write_text("COCO_train2014_000000000009\n")
    (root / "imageLists/test.txt").write_text("COCO_train2014_000000000077\n")
    (root / "imageLists/all.txt").write_text("COCO_train2014_000000000009\n")
    return root


def read(root: Path, on_error: OnError = "fail", **options: Any) -> tuple[Dataset, Findings]:
    findings = Findings(on_error)
    reader = formats["coco_stuff"]()
    return read_into(MemoryBuilder(), reader, root, Intake(findings), options=options), findings


def names_of(dataset: Dataset, row: int = 0) -> list[list[str | None]]:
    """What each pixel of a sample is called, by way of the categories' source ids."""
    by_value = {c["source_id"]: c["name"] for c in dataset.categories.to_pylist()}
    (one,) = [a for a in dataset[row].annotations if a.kind == "object"]
    assert one.map is not None and one.map.value is None and one.map.space == "object"
    assert one.category is None
    if one.map.bytes is None:
        path = Path(dataset.meta.map_root or "") / (one.map.path or "")
        values = np.asarray(Image.open(path))
    else:
        import io

        values = np.asarray(Image.open(io.BytesIO(one.map.bytes)))
    return [[by_value.get(str(v)) for v in line] for line in values.tolist()]


CALLED = [["person", "wood", None], ["person", "banner", None]]


class TestSuite(ReaderSuite):
    name = "coco_stuff"

    def make(self, folder: Path) -> Path:
        return maps(folder / "tree", labels=True)


class TestSuiteOfMats(ReaderSuite):
    name = "coco_stuff"

    def make(self, folder: Path) -> Path:
        return mats(folder / "tree")


# ------------------------------------------------------------------ labels


def test_labels_are_the_official_ones() -> None:
    assert (len(NAMES), THINGS, len(ABSENT)) == (182, 91, 11)
    named = {1: "person", 11: "fire hydrant", 12: "street sign", 13: "stop sign", 44: "bottle"}
    named |= {90: "toothbrush", 91: "hair brush", 92: "banner", 128: "house", 149: "road"}
    named |= {169: "tree", 182: "wood"}
    assert {i: NAMES[i] for i in named} == named
    things = [i for i in NAMES if i <= THINGS and i not in ABSENT]
    assert (len(things), len(NAMES) - THINGS) == (80, 91)


def test_the_things_are_those_of_coco() -> None:
    from granum.loaders._panoptic_classes import panoptic_records

    things = {r["id"]: r["name"] for r in panoptic_records() if r["isthing"]}
    assert things == {i: n for i, n in NAMES.items() if i <= THINGS and i not in ABSENT}


def test_the_first_release_leaves_out_what_is_not_used() -> None:
    found = first_release()
    assert (min(found), max(found)) == (2, 172)
    assert (found[2], found[81], found[82], found[172]) == (
        "person",
        "toothbrush",
        "banner",
        "wood",
    )
    assert found[13] == "stop sign"  # id 13; 12, a street sign, is not there, but 1 is unlabelled


# ------------------------------------------------------------------ 164k


def test_maps(tmp_path: Path) -> None:
    dataset, findings = read(maps(tmp_path), check_masks=True)
    assert not findings.counts
    assert [(s.key, s.row.source_id, s.row.split) for s in dataset] == [
        ("train2017/000000000009.jpg", "9", "train2017"),
        ("train2017/000000000025.jpg", "25", "train2017"),
        ("val2017/000000000139.jpg", "139", "val2017"),
    ]
    (one,) = dataset[0].annotations
    path = "stuffthingmaps_trainval2017/train2017/000000000009.png"
    assert one.map == LabelMap(path, encoding="index", space="object")
    assert names_of(dataset) == CALLED


def test_ids_are_one_more_than_values(tmp_path: Path) -> None:
    dataset, _ = read(maps(tmp_path))
    assert len(dataset.categories) == 182
    facts = {c.name: c for c in dataset[0].categories}
    assert facts["person"].source_id == "0"
    assert facts["person"].attributes == {"id": 1, "used": True}
    assert facts["wood"].source_id == "181" and facts["wood"].isthing is False
    assert facts["hair brush"].attributes == {"id": 91, "used": False}
    assert facts["hair brush"].isthing is True
    for one in facts.values():
        assert one.attributes is not None
        assert int(one.source_id or "") == one.attributes["id"] - 1
    assert sum(bool((c.attributes or {})["used"]) for c in facts.values()) == 171


@pytest.mark.parametrize("folder", ["stuffthingmaps_trainval2017/", "annotations/", ""])
def test_places_of_maps(tmp_path: Path, folder: str) -> None:
    root = maps(tmp_path / "tree", folder, labels=folder == "")
    assert list(sniff(root)) == ["coco_stuff"]
    assert names_of(read(root)[0]) == CALLED


def test_the_folder_of_maps_itself(tmp_path: Path) -> None:
    root = maps(tmp_path) / "stuffthingmaps_trainval2017"
    assert list(sniff(root)) == ["coco_stuff"]
    assert names_of(read(root)[0]) == CALLED


@pytest.mark.parametrize("place", ["images/train2017", "train2017", "images"])
def test_images_beside_maps(tmp_path: Path, place: str) -> None:
    put(maps(tmp_path), f"{place}/000000000009.jpg", [[0, 0, 0], [0, 0, 0]])
    dataset, findings = read(tmp_path, check_masks=True)
    assert not findings.counts
    assert dataset[0].key == f"{place}/000000000009.jpg"
    assert dataset[0].image().size == (3, 2)


def test_images_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "photos", "a/000000000009.jpg", [[0, 0, 0], [0, 0, 0]])
    intake = Intake(Findings("fail"), tmp_path / "photos")
    reader = formats["coco_stuff"]()
    root = maps(tmp_path / "tree")
    dataset = read_into(MemoryBuilder(), reader, root, intake, options={})
    assert dataset[0].row.media is not None
    assert dataset[0].row.media.path == "a/000000000009.jpg"


def test_other_labels(tmp_path: Path) -> None:
    """``labels.txt`` names them; 0 is no class."""
    (maps(tmp_path) / "labels.txt").write_text("0: unlabeled\n1: human\n\n92: flag\n182: timber\n")
    dataset, _ = read(tmp_path, check_masks=True)
    assert names_of(dataset) == [["human", "timber", None], ["human", "flag", None]]


def test_lines_that_are_no_labels(tmp_path: Path) -> None:
    (maps(tmp_path) / "labels.txt").write_text("1: person\nwood\n1: man\n92: banner\n182: wood\n")
    _, findings = read(tmp_path, "skip")
    assert [(f.code, f.path, f.place) for f in findings.items] == [
        ("bad-value", "labels.txt", "line 2"),
        ("duplicate-category-id", "labels.txt", "line 3"),
    ]


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("unknown-class", [[200, 0, 0], [0, 0, 0]]),
        ("mask-size-mismatch", [[0, 0]]),
        ("bad-value", np.zeros((2, 3, 3))),
    ],
)
def test_faulty_maps(tmp_path: Path, code: str, values: Any) -> None:
    root = maps(tmp_path)
    put(root, "images/val2017/000000000139.jpg", [[0, 0, 0], [0, 0, 0]])
    path = "stuffthingmaps_trainval2017/val2017/000000000139.png"
    put(root, path, values)
    if code == "bad-value":  # a folder is known by its first map
        put(root, path.replace("139", "100"), [[0]])
    _, findings = read(root, "skip", check_masks=True)
    assert [(f.code, f.path) for f in findings.items] == [(code, path)]


def test_files_that_are_no_maps(tmp_path: Path) -> None:
    root = maps(tmp_path)
    broken = root / "stuffthingmaps_trainval2017/train2017/000000000025.png"
    broken.write_bytes(b"no image")
    _, findings = read(root, "skip", check_masks=True)
    assert [(f.code, f.path.rpartition("/")[2]) for f in findings.items] == [
        ("broken-media", "000000000025.png")
    ]


def test_learning_sees_the_labels(tmp_path: Path) -> None:
    """What pixels are learned as follows from source ids: stuff and things by one numbering."""
    pytest.importorskip("torch")
    put(maps(tmp_path), "images/train2017/000000000009.jpg", [[0, 0, 0], [0, 0, 0]])
    dataset, _ = read(tmp_path)
    loaded = granum.to_torch(dataset.select([0]), "semantic", size=None)
    mask = loaded[0]["mask"]
    called = [[None if v == 255 else dataset.categories["name"][v].as_py() for v in r] for r in
              mask.tolist()]  # fmt: skip
    assert called == CALLED


# ------------------------------------------------------------------ 10k


@pytest.mark.parametrize(("release", "person", "wood"), [("1.1", "1", "182"), ("1.0", "2", "172")])
def test_mats(tmp_path: Path, release: str, person: str, wood: str) -> None:
    dataset, findings = read(mats(tmp_path, release))
    assert not findings.counts
    assert names_of(dataset) == CALLED
    ids = dict(
        zip(*(dataset.categories[c].to_pylist() for c in ("name", "source_id")), strict=True)
    )
    assert (ids["person"], ids["wood"]) == (person, wood)
    facts = {c.name: c for c in dataset[0].categories}
    assert facts["wood"].attributes == {"id": 182, "used": True}
    assert (facts["toothbrush"].isthing, facts["banner"].isthing) == (True, False)
    assert [(s.key, s.row.source_id, s.row.split, s.size) for s in dataset] == [
        ("images/COCO_train2014_000000000009.jpg", "9", "train", (3, 2)),
        ("images/COCO_train2014_000000000077.jpg", "77", "test", (3, 2)),
    ]
    texts = [a.text for a in dataset[0].annotations if a.kind == "caption"]
    assert texts == ["a dog", "two dogs"]


def test_a_release_that_is_not_told(tmp_path: Path) -> None:
    root = mats(tmp_path, "1.0", names=np.array(["a"], object))
    _, findings = read(root, "skip")
    assert findings.counts == {"missing-key": 2}
    dataset, findings = read(root, release="1.0")
    assert not findings.counts
    assert names_of(dataset) == CALLED


def test_releases_are_not_mixed(tmp_path: Path) -> None:
    first, second = mats(tmp_path / "a", "1.0"), mats(tmp_path / "b", "1.1")
    name = "annotations/COCO_train2014_000000000077.mat"
    (first / name).write_bytes((second / name).read_bytes())
    _, findings = read(first, "skip")
    assert findings.counts["conflicting-records"] == 1
    assert findings.items[0].path == name


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("missing-key", np.zeros((2, 3, 1))),
        ("bad-value", np.array([[0.5]])),
        ("unknown-class", np.array([[183]])),
    ],
)
def test_faulty_mats(tmp_path: Path, code: str, values: Any) -> None:
    _, findings = read(mats(tmp_path, S=values), "skip")
    assert findings.counts == {code: 2}
    first = findings.items[0]
    assert (first.path, first.place) == ("annotations/COCO_train2014_000000000009.mat", "/S")


def test_mats_that_are_none(tmp_path: Path) -> None:
    root = mats(tmp_path)
    (root / "annotations/COCO_train2014_000000000009.mat").write_bytes(b"no matrix" * 50)
    (root / "imageLists/test.txt").write_text("COCO_train2014_000000000077\nCOCO_absent\n")
    dataset, findings = read(root, "skip")
    assert [(f.code, f.path) for f in findings.items] == [
        ("bad-value", "annotations/COCO_train2014_000000000009.mat"),
        ("file-missing", "annotations/COCO_absent.mat"),
    ]
    assert len(dataset) == 2


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="neither folders of maps"):
        read(tmp_path)
