"""Bad PASCAL VOC files: each fault is told with its file and line; nothing hides another."""

from __future__ import annotations

import pytest

import granum
from granum.errors import FindingsError
from granum.schema.findings import CODES, Findings
from granum.testing.media import png
from tests.loaders.voc_tree import GOLDEN, box, label, tree

DOG = f"<name>dog</name>{box(1, 2, 30, 40)}"
GOOD = f"<name>cat</name>{box(5, 5, 9, 9)}"
BOMB = '<!DOCTYPE a [<!ENTITY b "c">]>\n<annotation><filename>&b;</filename></annotation>'

# What is wrong: files, the code, the file and line that is named, what the message says, and the
# names of the objects that are left under skip and under fix (None: the image is left out; one
# where both are equal).
XML = "Annotations/a.xml"
FAULTS = {
    "cut off": (
        GOLDEN["Annotations/2008_000008.xml"].partition("<width>")[0],
        "malformed-xml",
        13,
        "no element found",
        None,
    ),
    "entities": (BOMB, "malformed-xml", 1, "entity 'b'", None),
    "another root": ("\n<annotations/>", "file-not-read", 2, "<annotations>", None),
    "AppleDouble": ("\0\5\26\7", "file-not-read", 1, "not well-formed", None),
    "no bndbox": (label("a.jpg", GOOD, "<name>dog</name>"), "missing-key", 4, "<bndbox>", "cat"),
    "no name": (label("a.jpg", box(1, 2, 3, 4), GOOD), "missing-key", 3, "<name>", "cat"),
    "no corner": (
        label("a.jpg", GOOD, "<name>dog</name><bndbox><xmin>1</xmin><ymax>3</ymax></bndbox>"),
        "missing-key",
        4,
        "without <ymin>, <xmax>",
        "cat",
    ),
    "no number": (
        label("a.jpg", f"<name>dog</name>{box('1,5', 2, 3, 'x')}", GOOD),
        "bad-value",
        3,
        "xmin is '1,5', ymax is 'x'",
        ("cat", "dog cat"),
    ),
    "NaN": (
        label("a.jpg", f"<name>dog</name>{box(1, 2, 'nan', 4)}"),
        "nan-box",
        3,
        "nan",
        ("", "dog"),
    ),
    "turned round": (
        label("a.jpg", GOOD, f"<name>dog</name>{box(30, 2, 1, 40)}"),
        "negative-box",
        4,
        "-29",
        ("cat", "cat dog"),
    ),
    "flag": (
        label("a.jpg", f"{DOG}<difficult>2</difficult>", GOOD),
        "bad-value",
        3,
        "difficult is '2'",
        ("cat", "dog cat"),
    ),
    "action": (
        label("a.jpg", f"{DOG}<actions>\n<walking>maybe</walking></actions>"),
        "bad-value",
        4,
        "walking is 'maybe'",
        ("", "dog"),
    ),
    "part": (
        label("a.jpg", f"{DOG}\n<part><name>head</name></part>"),
        "missing-key",
        4,
        "<part> without <bndbox>",
        "dog",
    ),
    "width": (
        label("a.jpg", GOOD, size="wide 80"),
        "bad-value",
        2,
        "width is 'wide'",
        (None, "cat"),
    ),
    "attribute twice": (
        label(
            "a.jpg",
            f"{DOG}<attributes>"
            + "<attribute><name>n</name><value>1</value></attribute>\n" * 2
            + "</attributes>",
        ),
        "bad-value",
        4,
        "a second attribute 'n'",
        ("", "dog"),
    ),
}


def read(root, on_error="skip", **options):
    findings = Findings()
    dataset = granum.read(root, "voc", findings=findings, on_error=on_error, **options)
    return dataset, findings


@pytest.mark.parametrize("what", list(FAULTS))
def test_faults_name_file_and_line(tmp_path, what):
    content, code, line, message, left = FAULTS[what]
    name = "Annotations/._a.xml" if what == "AppleDouble" else XML
    root = tree(tmp_path, {name: content, "Annotations/b.xml": label("b.jpg", GOOD)})
    both = left if isinstance(left, tuple) else (left, left)
    for policy, expected in zip(("skip", "fix"), both, strict=True):
        dataset, findings = read(root, policy)
        mine = [f for f in findings.items if f.code == code]
        assert len(mine) == 1, findings.items
        assert mine[0].path == str(root / name)
        assert mine[0].place is not None and mine[0].place.split(",")[0] == f"line {line}"
        assert message in mine[0].message
        keys = {s.key: s.labels for s in dataset}
        assert keys.pop("b.jpg") == ["cat"]
        assert keys == ({} if expected is None else {"a.jpg": expected.split()})
    if CODES[code].severity == "error":
        with pytest.raises(FindingsError) as caught:
            granum.read(root, "voc")
        assert caught.value.findings.counts[code] == 1


def test_fix_mends_values(tmp_path):
    xml = label(
        "a.jpg",
        f"<name>dog</name>{box(30, 2, 1, 40)}",
        f"<name>cat</name><truncated>x</truncated><difficult>1</difficult>{box(1, 2, 'y', 4)}",
    )
    dataset, _ = read(tree(tmp_path, {XML: xml}), "fix")
    dog, cat = dataset[0].annotations
    assert dog.bbox == (1, 2, 29, 38)
    assert (cat.bbox, cat.truncated, cat.difficult) == (None, None, True)


def test_no_fault_hides_another(tmp_path):
    xml = label("a.jpg", "<name>dog</name>", f"<name/>{box('x', 1, 2, 3)}<occluded>7</occluded>")
    root = tree(tmp_path, {XML: xml, "Annotations/c.xml": "<annotation>"})
    with pytest.raises(FindingsError) as caught:
        granum.read(root, "voc")
    found = [(f.code, f.path[-5:], f.place) for f in caught.value.findings.items]
    assert found == [
        ("missing-key", "a.xml", "line 3"),
        ("bad-value", "a.xml", "line 4"),
        ("bad-value", "a.xml", "line 4"),
        ("malformed-xml", "c.xml", "line 1, column 13"),
    ]


def test_parts_go_with_their_object(tmp_path):
    part = f"<part><name>head</name>{box(1, 2, 3, 4)}</part>"
    dataset, findings = read(tree(tmp_path, {XML: label("a.jpg", f"<name>dog</name>{part}", DOG)}))
    assert dataset[0].labels == ["dog"] and dict(findings.counts) == {"missing-key": 1}


def test_no_size(tmp_path):
    files = {
        XML: "<annotation>\n<filename>a.jpg</filename></annotation>",
        "Annotations/b.xml": label("b.png", size=None),
        "Annotations/c.xml": label("c.jpg", size="0 0"),
        "JPEGImages/b.png": png(7, 5),
    }
    dataset, findings = read(tree(tmp_path, files))
    assert [(f.path[-5:], f.place) for f in findings.items] == [
        ("a.xml", "line 1"),
        ("b.xml", "line 2"),
        ("c.xml", "line 2"),
    ]
    assert {f.code for f in findings.items} == {"missing-size"}
    assert [(s.row.width, s.row.height) for s in dataset] == [(None, None)] * 3
    dataset, _ = read(tmp_path, "fix")
    assert [(s.row.width, s.row.height) for s in dataset] == [(None, None), (7, 5), (None, None)]


def test_lists(tmp_path):
    files = {
        XML: label("a.jpg", GOOD),
        "ImageSets/Main/train.txt": "a\n\nb\n",
        "ImageSets/Main/trainval.txt": "a\nb\n",
        "ImageSets/Main/dog_train.txt": "a 1\nb 3\n",
        "ImageSets/Main/dog_trainval.txt": "a -1\nb\n",
        "JPEGImages/c.jpg": b"",
    }
    dataset, findings = read(tree(tmp_path, files))
    found = [(f.code, f.path.rpartition("/")[2], f.place) for f in findings.items]
    assert found == [
        ("bad-value", "dog_train.txt", "line 2"),
        ("conflicting-records", "dog_trainval.txt", "line 1"),
        ("bad-value", "dog_trainval.txt", "line 2"),
        ("missing-labels", "train.txt", "line 3"),
        ("unlisted-image", "c.jpg", None),
    ]
    assert "'b' is listed, but there is no Annotations/b.xml" in findings.items[3].message
    # b is there, without annotations; the first flag of a counts
    assert [(s.key, s.split, s.labels) for s in dataset] == [
        ("a.jpg", "train", ["cat", "dog"]),
        ("b", "train", []),
    ]
    assert dataset[0].annotations[1].present is True


def test_a_list_that_is_no_text(tmp_path):
    files = {XML: label("a.jpg"), "ImageSets/Main/train.txt": b"a\nb\xff\n"}
    _, findings = read(tree(tmp_path, files))
    assert [(f.code, f.path.rpartition("/")[2], f.place) for f in findings.items] == [
        ("bad-value", "train.txt", "line 2")
    ]


def test_labelmap(tmp_path):
    text = "# names\ncat:300,0,0::\ncat:::\nonly a name\nhorse:1,2,3::\n"
    root = tree(tmp_path, {"labelmap.txt": text, XML: label("a.jpg", GOOD, DOG)})
    dataset, findings = read(root)
    assert [(f.code, f.path.rpartition("/")[2], f.place) for f in findings.items] == [
        ("bad-value", "labelmap.txt", "line 2"),
        ("bad-value", "labelmap.txt", "line 3"),
        ("bad-value", "labelmap.txt", "line 4"),
        ("unknown-class", "a.xml", "line 4"),
    ]
    assert dataset[0].labels == ["cat"] and dataset.category_names() == ["cat", "horse"]
    dataset, _ = read(root, "fix")
    assert dataset[0].labels == ["cat", "dog"]


@pytest.mark.parametrize(
    "content",
    [
        "{}x",
        "[1]",
        '[{"name": 1}]',
        '[{"name": "a", "colour": [999, 0, 0]}]',
        '[{"name": "a", "parents": [{"index": 7, "relation": "is_a"}]}]',
        '[{"name": "a", "no_such_key": 1}]',
        '[{"name": "a", "attributes": []}]',
        "[" * 100_000,
    ],
)
def test_labelmap_json(tmp_path, content):
    """A list of classes that cannot be used is told; the other one is then used."""
    files = {"labelmap.json": content, "labelmap.txt": "cat:::\ndog:::\n", XML: label("a.jpg", DOG)}
    dataset, findings = read(tree(tmp_path, files))
    assert [(f.code, f.path.rpartition("/")[2]) for f in findings.items] == [
        ("bad-value", "labelmap.json")
    ]
    assert dataset.category_names() == ["cat", "dog"] and dataset[0].labels == ["dog"]


def test_two_files_of_one_sample(tmp_path):
    key = "<granum_key>a.jpg</granum_key>"
    other = label("b.jpg", DOG).replace("<size>", f"{key}<size>")
    root = tree(tmp_path, {XML: label("a.jpg", GOOD), "Annotations/b.xml": other})
    dataset, findings = read(root)
    assert [(f.code, f.path[-5:]) for f in findings.items] == [("duplicate-key", "b.xml")]
    assert [(s.key, s.labels) for s in dataset] == [("a.jpg", ["cat"])]
    dataset, _ = read(root, "fix")
    assert [s.key for s in dataset] == ["a.jpg", "a.jpg#2"]


def test_a_stale_filename(tmp_path):
    root = tree(tmp_path, {XML: label("other.jpg", GOOD)})
    dataset, findings = read(root)
    assert [(f.code, f.path) for f in findings.items] == [("conflicting-records", str(root / XML))]
    assert "'other.jpg'" in findings.items[0].message and dataset[0].key == "a.jpg"


def test_a_general_check_names_the_line_of_a_part(tmp_path):
    part = f"<part><name>head</name>{box(90, 2, 500, 4)}</part>"
    root = tree(tmp_path, {XML: label("a.jpg", GOOD, f"{DOG}\n{part}")})
    _, findings = read(root)
    assert [(f.code, f.path, f.place) for f in findings.items] == [
        ("box-outside-image", str(root / XML), "line 5")
    ]
