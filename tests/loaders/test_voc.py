"""Reading PASCAL VOC: a tree typed by hand, lists, classes."""

from __future__ import annotations

import json
from pathlib import Path

import granum
from granum.loaders._voc_classes import COLOURS
from granum.schema.findings import Findings
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
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\n\n"
        "person:192,128,128:head,foot:jumping,reading\ndog:::\n"
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
