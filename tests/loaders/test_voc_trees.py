"""PASCAL VOC: the trees that there are, sniffing, real data."""

from __future__ import annotations

import json
import xml.etree.ElementTree as Tree
from pathlib import Path

import pytest

import granum
from granum.errors import FormatError
from granum.loaders.voc import Voc
from granum.schema.findings import Findings
from tests.data import shared
from tests.loaders.voc_tree import GOLDEN, box, label, tree


def read(root: Path, **options):
    return granum.read(root, "voc", **options)


# ------------------------------------------------------------------ trees


DOG = f"<name>dog</name>{box(1, 2, 30, 40)}"


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        # XML beside images, a folder per split (Roboflow)
        (
            {"train/a.xml": label("a.jpg", DOG), "train/a.jpg": b"", "valid/a.xml": label("a.jpg")},
            {"train/a.jpg": ("train/a.jpg", "train"), "valid/a.jpg": ("valid/a.jpg", "valid")},
        ),
        # a flat folder of XML files
        ({"a.XML": label("a.png", DOG)}, {"a.png": ("a.png", None)}),
        # equal names in different folders
        (
            {
                "Annotations/x/a.xml": label("a.jpg", DOG),
                "Annotations/y/a.xml": label("y/a.jpg"),
                "Annotations/a.xml": label("a.jpg"),
            },
            {
                "x/a.jpg": ("JPEGImages/x/a.jpg", None),
                "y/a.jpg": ("JPEGImages/y/a.jpg", None),
                "a.jpg": ("JPEGImages/a.jpg", None),
            },
        ),
        # other folder names; the image lies elsewhere below
        (
            {"annotations/xmls/a.xml": label("a.jpg", DOG), "images/a.jpg": b""},
            {"xmls/a.jpg": ("images/a.jpg", None)},
        ),
        # one edition of a devkit
        (
            {"VOCdevkit/VOC2012/Annotations/a.xml": label("a.jpg", DOG)},
            {"a.jpg": ("JPEGImages/a.jpg", None)},
        ),
    ],
)
def test_trees(tmp_path, files, keys):
    dataset = granum.read(tree(tmp_path, files))
    assert {s.key: (s.row.media.path, s.split) for s in dataset} == keys
    assert sum(len(s.annotations) for s in dataset) == 1


@pytest.mark.parametrize(
    ("stem", "filename", "images", "key", "kept"),
    [
        ("a", "a.png", ["a.png"], "a.png", None),
        ("a", "a.jpg", ["a.png"], "a.png", "a.jpg"),  # the file that is there
        ("a", "a", ["a.JPG"], "a.JPG", None),
        ("a", "a", [], "a", None),
        ("a", None, ["a.bmp"], "a.bmp", None),
        ("a", None, [], "a", None),
        ("a", "C:\\data\\a.jpg", ["a.jpg"], "a.jpg", "C:\\data\\a.jpg"),
        ("a", "b.jpg", ["a.jpg", "b.jpg"], "a.jpg", "b.jpg"),  # a stale name
        ("a", "b.png", [], "a.png", "b.png"),
        ("a.b", "a.b.jpg", [], "a.b.jpg", None),
        ("a.jpg", "a.jpg", [], "a.jpg", None),
        ("x/a", "a.jpg", ["x/a.jpg"], "x/a.jpg", None),
    ],
)
def test_the_image_of_a_label_file(tmp_path, stem, filename, images, key, kept):
    files = {f"JPEGImages/{n}": b"" for n in images}
    files[f"Annotations/{stem}.xml"] = label(filename)
    sample = read(tree(tmp_path, files))[0]
    assert sample.key == key
    assert (sample.row.extra or {}).get("filename") == kept
    assert Path(sample.row.media.path).name == Path(key).name


def test_images_elsewhere(tmp_path):
    tree(tmp_path, {"labels/Annotations/a.xml": label("a.jpg"), "photos/deep/a.jpg": b""})
    dataset = read(tmp_path / "labels", images=tmp_path / "photos")
    assert dataset[0].row.media.path == "deep/a.jpg"
    assert dataset.meta.media_root == str((tmp_path / "photos").resolve())


def test_several_editions_are_not_mixed(tmp_path):
    files = {f"VOCdevkit/VOC{y}/Annotations/a.xml": label("a.jpg") for y in (2007, 2012)}
    with pytest.raises(FormatError, match="VOCdevkit/VOC2007, VOCdevkit/VOC2012; name one"):
        read(tree(tmp_path, files))


@pytest.mark.parametrize("files", [{}, {"readme.txt": "x"}, {"Annotations/a.png": b""}])
def test_nothing_there(tmp_path, files):
    with pytest.raises(FormatError, match="no annotation file"):
        read(tree(tmp_path, files))


# ------------------------------------------------------------------ sniffing


@pytest.mark.parametrize(
    ("files", "claimed"),
    [
        (GOLDEN, True),
        ({"ImageSets/Main/train.txt": "a\n", "JPEGImages/a.jpg": b""}, True),
        ({"train/a.xml": label("a.jpg", DOG)}, True),
        ({"somewhere/a.xml": label("a.jpg", DOG)}, False),  # a folder of datasets, perhaps
        ({"Annotations/a.xml": "<annotations><image/></annotations>"}, False),  # CVAT
        (
            {
                "Annotations/a.xml": "<annotation><object><polygon><pt/></polygon></object>"
                "<imagesize><nrows>1</nrows></imagesize></annotation>"
            },
            False,  # LabelMe
        ),
        ({"a.xml": "<!DOCTYPE boost_serialization><boost_serialization/>"}, False),  # KITTI
        ({"JPEGImages-test/a.jpg": b"", "Annotations/a.xml": label("a.jpg", DOG)}, False),  # DIOR
        ({"ImageSets/2016/train.txt": "a\n", "JPEGImages/480p/a.jpg": b""}, False),  # DAVIS
    ],
)
def test_sniff(tmp_path, files, claimed):
    assert bool(Voc().sniff(tree(tmp_path, files))) is claimed


def test_sniff_claims_only_its_own_fixtures():
    root = shared("format_fixtures")
    claimed = {
        p.relative_to(root).as_posix()
        for p in sorted(root.rglob("*"))
        if p.is_dir() and Voc().sniff(p)
    }
    assert {c for c in claimed if not c.endswith(("Annotations", "annotations"))} == {
        *(f"voc_dataset/voc_dataset{i}" for i in (1, 2, 3)),
        *(f"roboflow_dataset/voc{end}" for end in ("", "/train", "/val")),
        *("kaggle_dataset/relaxed_voc1", "kaggle_dataset/relaxed_voc2"),
    }


# ------------------------------------------------------------------ real data

FIXTURES = {
    "voc_dataset/voc_dataset1": (2, {"object": 4, "label": 22}, 23, {"missing-labels": 1}),
    "voc_dataset/voc_dataset2": (5, {"object": 4}, 22, {"missing-size": 5}),
    "voc_dataset/voc_dataset3": (1, {"object": 1}, 1, {}),
    "roboflow_dataset/voc": (3, {"object": 4}, 2, {}),
    "kaggle_dataset/relaxed_voc1": (1, {"object": 2}, 2, {"unlisted-image": 1}),
    "kaggle_dataset/relaxed_voc2": (1, {"object": 2}, 2, {"unlisted-image": 1}),
}


@pytest.mark.parametrize("name", list(FIXTURES))
def test_fixture_counts(name):
    findings = Findings()
    dataset = read(shared(f"format_fixtures/{name}"), findings=findings)
    kinds: dict[str, int] = {}
    for sample in dataset:
        for annotation in sample.annotations:
            kinds[annotation.kind] = kinds.get(annotation.kind, 0) + 1
    found = (len(dataset), kinds, dataset.categories.num_rows, dict(findings.counts))
    assert found == FIXTURES[name]


def boxes(dataset):
    return {
        s.key: sorted((n, *a.bbox) for n, a in zip(s.labels, s.annotations, strict=True))
        for s in dataset
    }


def test_voc100_agrees_with_other_readers_and_formats():
    """100 photos, 273 boxes: the same as ElementTree reads, and as two COCO files say."""
    root = shared("voc100")
    dataset = read(root / "gts/pascalvoc_format", images=root / "images")
    mine = boxes(dataset)
    assert (len(dataset), dataset.num_annotations) == (100, 273)
    assert sum(dataset.counts().values()) == 273 and dataset.counts()["person"] == 91
    assert sum(a.difficult for s in dataset for a in s.annotations) == 38
    assert sum(a.truncated for s in dataset for a in s.annotations) == 137
    assert sum(a.attributes["pose"] == "Frontal" for s in dataset for a in s.annotations) == 57
    assert dataset[0].image().size == (dataset[0].row.width, dataset[0].row.height)
    for path in (root / "gts/pascalvoc_format").iterdir():
        found = []
        for one in Tree.parse(path).getroot().iter("object"):
            x, y, right, low = (
                float(one.findtext(f"bndbox/{c}") or "") for c in ("xmin", "ymin", "xmax", "ymax")
            )
            found.append((one.findtext("name"), x, y, right - x, low - y))
        assert mine[f"{path.stem}.jpg"] == sorted(found)
    assert boxes(read(root / "gts/imagenet_format")) == mine
    for name in ("coco_format_v1/instances_default.json", "coco_format_v2/instances_v2.json"):
        coco = json.loads((root / "gts" / name).read_text())
        names = {c["id"]: c["name"] for c in coco["categories"]}
        keys = {i["id"]: f"{Path(i['file_name']).stem}.jpg" for i in coco["images"]}
        theirs: dict[str, list] = {key: [] for key in keys.values()}
        for a in coco["annotations"]:
            theirs[keys[a["image_id"]]].append((names[a["category_id"]], *a["bbox"]))
        assert {k: sorted(v) for k, v in theirs.items()} == mine
