"""Reading PASCAL VOC: a tree typed by hand, its lists and masks, and the trees that there are."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as Tree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import granum
from granum.errors import FormatError
from granum.loaders._voc_classes import COLOURS
from granum.loaders.voc import Voc
from granum.schema.findings import Findings
from granum.store.media import read_map

from tests.data import shared
from tests.loaders.voc_tree import GOLDEN, box, label, tree


def read(root: Path, **options):
    return granum.read(root, "voc", **options)


# ------------------------------------------------------------------ the golden tree


def test_golden_objects(tmp_path):
    dataset = read(tree(tmp_path, GOLDEN), class_lists=False)
    assert [s.key for s in dataset] == ["2008_000008.jpg", "2008_000015.jpg"]
    horse, person, head, hand = dataset[0].annotations
    assert dataset[0].labels == ["horse", "person", "head", "hand"]
    assert horse.bbox == (53, 87, 418, 333)  # 471 - 53, 420 - 87
    assert (horse.difficult, horse.truncated, horse.occluded) == (False, False, True)
    assert horse.attributes == {"pose": "Left"} and horse.extra is None and horse.parent is None
    assert person.bbox == (158.25, 44, 131.25, 123)  # 289.5 - 158.25, 167 - 44
    assert (person.difficult, person.truncated, person.occluded) == (True, True, None)
    assert person.attributes == {
        "pose": "Unspecified",
        "actions": {"ridinghorse": True, "walking": False},
    }
    assert person.extra == {"point": {"x": "220", "y": "100"}, "confidence": "0.5"}
    assert head.bbox == (169, 44, 27, 37) and hand.bbox == (200, 120, 12, 11)
    assert head.parent == hand.parent == person.annotation_id
    assert (head.difficult, head.truncated, head.attributes) == (None, None, None)
    categories = dataset[0].categories
    assert [c.name for c in categories] == ["horse", "person", "head", "hand"]
    assert [c.parents for c in categories] == [
        None,
        None,
        *([[{"index": 1, "relation": "part_of"}]] * 2),
    ]
    assert dataset[1].annotations == []


def test_golden_sample(tmp_path):
    first, second = read(tree(tmp_path, GOLDEN))
    assert (first.row.width, first.row.height, first.row.channels) == (500, 442, 3)
    assert first.row.media.path == "JPEGImages/2008_000008.jpg"
    assert first.dataset.meta.media_root == str(tmp_path.resolve())
    assert first.row.extra == {
        "folder": "VOC2012",
        "source": {
            "database": "The VOC2008 Database",
            "annotation": "PASCAL VOC2008",
            "image": "flickr",
        },
        "owner": {"flickrid": "somebody"},
        "segmented": "1",
        "image_sets": {
            "Action": [["ridinghorse_train", "2 1"], ["train", "2"]],
            "Layout": [["train", "2"]],
            "Main": ["trainval"],
        },
    }
    assert (first.split, second.split) == ("train", "val")
    assert second.row.extra == {"image_sets": {"Main": ["trainval"]}}


def test_golden_class_lists(tmp_path):
    first, second = read(tree(tmp_path, GOLDEN))
    labels = [
        (s.key[:-4], name, a.present, a.difficult)
        for s in (first, second)
        for a, name in zip(s.annotations, s.labels, strict=True)
        if a.kind == "label"
    ]
    assert labels == [
        ("2008_000008", "horse", True, None),
        ("2008_000008", "person", True, True),
        ("2008_000015", "horse", False, None),
    ]


def test_pixels_counted_from_one(tmp_path):
    """The devkit's meaning: both corners are inside, and the first pixel is 1."""
    dataset = read(tree(tmp_path, GOLDEN), box_origin="one")
    horse, person, head, *_ = dataset[0].annotations
    assert horse.bbox == (52, 86, 419, 334)  # 53 - 1, 87 - 1, 471 - 53 + 1, 420 - 87 + 1
    assert person.bbox == (157.25, 43, 132.25, 124)
    assert head.bbox == (168, 43, 28, 38)
    options = dataset.sources["options"].to_pylist()
    assert json.loads(options[0])["box_origin"] == "one"


def test_fractions_are_subtracted_exactly(tmp_path):
    """0.3 - 0.1 is 0.2, not 0.19999999999999998."""
    xml = label("a.jpg", f"<name>x</name>{box('0.1', '1e-3', '0.3', '1.001')}")
    dataset = read(tree(tmp_path, {"Annotations/a.xml": xml}))
    assert dataset[0].annotations[0].bbox == (0.1, 0.001, 0.2, 1.0)


# ------------------------------------------------------------------ lists


def lists(tmp_path, files, *names):
    found = {f"Annotations/{n}.xml": label(f"{n}.jpg") for n in names}
    found.update({f"ImageSets/{n}.txt": text for n, text in files.items()})
    findings = Findings()
    dataset = read(tree(tmp_path, found), findings=findings)
    out = {
        s.key.removesuffix(".jpg"): (s.split, (s.row.extra or {}).get("image_sets"))
        for s in dataset
    }
    return dataset, out, findings


def test_names_with_spaces_and_flags(tmp_path):
    _, found, findings = lists(
        tmp_path,
        {"Main/train": "my image\nmy image 1\n\n# a comment\nb\r\n", "Main/x": "my image  1\n"},
        "my image",
        "my image 1",
        "b",
        "c",
    )
    assert found == {
        # "my image  1" has two blanks: it is no image, so the 1 is a flag
        "my image": ("train", {"Main": [["x", "1"]]}),
        "my image 1": ("train", None),
        "b": ("train", None),
        "c": (None, None),
    }
    assert not findings.counts


def test_memberships(tmp_path):
    """Parts come before trainval; an image in several sets has all of them."""
    _, found, _ = lists(
        tmp_path,
        {
            "Main/trainval": "a\nb\nd\n",
            "Main/train": "a\nd\n",
            "Main/val": "b\nd\n",
            "Main/default": "c\ne\n",
            "Main/mine": "e\n",
            "Segmentation/val": "a\nf\n",
        },
        *"abcdef",
    )
    assert found == {
        "a": ("train", {"Main": ["trainval"], "Segmentation": ["val"]}),
        "b": ("val", {"Main": ["trainval"]}),
        "c": (None, None),
        "d": ("train", {"Main": ["trainval", "val"]}),
        "e": ("mine", {"Main": ["default"]}),
        "f": (None, {"Segmentation": ["val"]}),
    }


def test_segmentation_lists_alone_are_splits(tmp_path):
    _, found, _ = lists(tmp_path, {"Segmentation/train": "a\n", "Segmentation/val": "b\n"}, *"ab")
    assert found == {
        "a": ("train", {"Segmentation": ["train"]}),
        "b": ("val", {"Segmentation": ["val"]}),
    }


def test_lists_beside_their_folders_and_suffixes(tmp_path):
    _, found, findings = lists(tmp_path, {"train": "a.jpg\n", "val": "b\n"}, *"ab")
    assert found == {"a": ("train", None), "b": ("val", None)}
    assert not findings.counts


def test_class_lists_are_told_from_sets(tmp_path):
    """A list ``<class>_<set>`` has flags and a set of that name; the longest such set counts."""
    dataset, found, _ = lists(
        tmp_path,
        {
            "Main/train": "a\n",
            "Main/big_train": "a\nb\n",
            "Main/dog_big_train": "a 1\nb -1\n",
            "Main/dog_train": "a 1\n",
            "Main/cat_test": "c 1\n",
            "Main/empty_train": "",
        },
        *"abc",
    )
    assert found == {
        "a": ("train", {"Main": ["big_train"]}),
        "b": ("big_train", None),
        "c": ("test", None),  # a class list without its set tells the set
    }
    assert [(s.labels, [x.present for x in s.annotations]) for s in dataset] == [
        (["dog"], [True]),
        (["dog"], [False]),
        (["cat"], [True]),
    ]


def test_quoted_names(tmp_path):
    """As Datumaro writes names with blanks in layout lists."""
    _, found, _ = lists(tmp_path, {"Layout/val": '"a b" 1\n"a b" 2\n'}, "a b")
    assert found == {"a b": ("val", {"Layout": [["val", "1"], ["val", "2"]]})}


# ------------------------------------------------------------------ classes


def test_labelmap(tmp_path):
    text = (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\n\nperson:192,128,128:head,foot:jumping,"
        "reading\ndog:::\n"
    )
    dataset = read(tree(tmp_path, {"labelmap.txt": text, "Annotations/a.xml": label("a.jpg")}))
    rows = dataset[0].categories
    assert [(c.name, c.colour, c.attributes, c.parents) for c in rows] == [
        ("background", [0, 0, 0], None, None),
        ("person", [192, 128, 128], {"actions": ["jumping", "reading"]}, None),
        ("dog", None, None, None),
        ("head", None, None, [{"index": 1, "relation": "part_of"}]),
        ("foot", None, None, [{"index": 1, "relation": "part_of"}]),
    ]


def test_palette():
    """Colours of the devkit's VOClabelcolormap."""
    assert COLOURS[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert COLOURS[8] == (64, 0, 0) and COLOURS[20] == (0, 64, 128)
    assert COLOURS[255] == (224, 224, 192) and len(set(COLOURS)) == 256


# ------------------------------------------------------------------ masks


def png(values, mode="P") -> bytes:
    array = np.asarray(values, np.uint8)
    out = io.BytesIO()
    if mode == "RGB":
        image = Image.fromarray(np.asarray(COLOURS, np.uint8)[array])
    else:
        image = Image.fromarray(array, mode="P")
        image.putpalette([c for colour in COLOURS for c in colour])
    image.save(out, "PNG")
    return out.getvalue()


INSTANCES = [[0, 1, 1, 255], [2, 2, 0, 0], [2, 0, 0, 0]]
CLASSES = [[0, 15, 15, 255], [1, 1, 0, 0], [1, 0, 0, 0]]
TWO = (f"<name>person</name>{box(1, 0, 3, 1)}", f"<name>aeroplane</name>{box(0, 1, 2, 3)}")


def masked(instances, classes=CLASSES, mode="P", objects=TWO):
    return {
        "Annotations/a.xml": label("a.jpg", *objects, size="4 3"),
        "SegmentationObject/a.png": png(instances, mode),
        "SegmentationClass/a.png": png(classes, mode),
        "ImageSets/Segmentation/val.txt": "a\n",
    }


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_masks_of_objects(tmp_path, mode):
    dataset = read(tree(tmp_path, masked(INSTANCES, mode=mode)))
    person, plane, whole = dataset[0].annotations
    encoding = {"P": "index", "RGB": "rgb24"}[mode]
    assert (person.map.path, person.map.encoding) == ("SegmentationObject/a.png", encoding)
    root = dataset.meta.map_root
    assert read_map(person.map, root).tolist() == (np.array(INSTANCES) == 1).tolist()
    assert read_map(plane.map, root).tolist() == (np.array(INSTANCES) == 2).tolist()
    assert (whole.category, whole.bbox, whole.map.value) == (None, None, None)
    assert (whole.map.path, whole.map.space) == ("SegmentationClass/a.png", "object")
    # The values of the class mask are the ids of classes: 15 is person, 1 is aeroplane.
    ids = {c.name: int(c.source_id) for c in dataset[0].categories}
    expected = {"P": (15, 1), "RGB": (192 + 256 * 128 + 65536 * 128, 128)}[mode]
    assert (ids["person"], ids["aeroplane"]) == expected
    assert len(ids) == 20 and dataset[0].categories[0].colour == [192, 128, 128]


def test_an_object_without_pixels_has_no_mask(tmp_path):
    objects = (*TWO, f"<name>dog</name>{box(0, 0, 1, 1)}")
    dataset = read(tree(tmp_path, masked(INSTANCES, objects=objects)))
    assert [a.map and a.map.value for a in dataset[0].annotations] == [1, 2, None, None]


def test_masks_that_do_not_fit_stay_apart(tmp_path):
    findings = Findings()
    dataset = read(tree(tmp_path, masked(INSTANCES, objects=TWO[:1])), findings=findings)
    person, _, instances = dataset[0].annotations
    assert person.map is None
    assert (instances.map.path, instances.map.value) == ("SegmentationObject/a.png", None)
    assert dict(findings.counts) == {"conflicting-records": 1}
    assert findings.items[0].path.endswith("SegmentationObject/a.png")


def test_masks_can_be_left(tmp_path):
    dataset = read(tree(tmp_path, masked(INSTANCES)), masks=False)
    assert [a.map for a in dataset[0].annotations] == [None, None]


def test_masks_without_annotation_file(tmp_path):
    files = masked(INSTANCES)
    del files["Annotations/a.xml"]
    findings = Findings()
    dataset = read(tree(tmp_path, files), findings=findings)
    assert [a.map.path for a in dataset[0].annotations] == [
        "SegmentationClass/a.png",
        "SegmentationObject/a.png",
    ]
    assert not findings.counts and dataset[0].split == "val"


def test_broken_mask(tmp_path):
    files = masked(INSTANCES)
    files["SegmentationObject/a.png"] = files["SegmentationObject/a.png"][:60]
    findings = Findings()
    dataset = read(tree(tmp_path, files), findings=findings, on_error="skip")
    assert dict(findings.counts) == {"broken-media": 1}
    assert findings.items[0].path.endswith("SegmentationObject/a.png")
    assert [a.map is None for a in dataset[0].annotations] == [True, True, False]


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
        ({"a.xml": label("a.png", DOG)}, {"a.png": ("a.png", None)}),
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
