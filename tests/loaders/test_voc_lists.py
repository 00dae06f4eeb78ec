"""PASCAL VOC: names, splits, sets and classes of images come back from lists and file names."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import granum
from granum.loaders._voc_names import FILE, LINE, set_name, stems
from granum.loaders._voc_sets import ListWriter
from granum.loaders._voc_values import box_texts, span
from granum.schema.rows import Annotation, Sample
from granum.testing.media import with_media
from granum.testing.same import assert_same
from tests.loaders.voc_tree import BOOKKEEPING, kept, label, of, one, root_of, tree

# ------------------------------------------------------------------ names

NASTY = [
    *("a.jpg", "a.png", "a", "sub/a.jpg", "other/a.jpg", "a.xml", "x.tar.gz", ".hidden.jpg"),
    *("my image", "my image 1", "my image  -1", "#no", '"quoted".jpg', '"q" 1', "trailing ", " a"),
    *("line\nbreak.jpg", "tab\t", "%20.jpg", "a%2Fb.jpg", "C:\\win\\a.jpg", "../up.jpg", "/abs"),
    *("日本/語.jpeg", "a~2", "<&>.jpg", "a]]>.jpg", "\u2028.jpg", "nul\0.jpg", "a.JPG", "1", "a 1"),
    *("a -1", "..", "\x85.jpg", "._mac.jpg"),
]


@pytest.mark.parametrize("media", ["none", "copy"])
def test_names(tmp_path, media):
    """Each sample comes back under its key, with its split, labels and image."""
    splits = [None, "train", "default", "a/b", "", "%", "dog_train", "ü 1", "val"]
    samples = [
        Sample(
            key,
            width=4,
            height=i + 1,
            split=splits[i % len(splits)],
            annotations=[
                Annotation(category=i % 2, bbox=(0, 0, 1, 1), text=None),
                Annotation("label", category=i % 3, present=bool(i % 2)),
            ],
        )
        for i, key in enumerate(NASTY)
    ]
    dataset = with_media(of(*samples, categories=("dog", "", "a_b")), tmp_path / "images")
    granum.write(dataset, tmp_path / "out", "voc", media=media)
    back = granum.read(tmp_path / "out", "voc")
    assert_same(dataset, back, ignore=BOOKKEEPING, ordered=False)
    if media == "copy":
        for sample in back:
            assert sample.image().height == sample.row.height


def test_label_files_of_one_stem():
    assert stems(["a.jpg", "b/a.jpg", "b.png"]) == ["a", "b/a", "b"]
    assert stems(["a.jpg", "a.png"]) == ["a.jpg", "a.png"]
    assert stems(["v1.5", "no suffix"]) == ["v1.5", "no suffix"]
    assert len(set(stems(["a.jpg", "a.png", "a.jpg.png", "a.jpg.bmp", "a"]))) == 5


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text(st.sampled_from("ab%/\\#\" \n\r\t\x85\u2028250F_é'")))
def test_names_in_files_are_decoded_exactly(name):
    for codec in (LINE, FILE):
        assert codec.decode(codec.encode(name)) == name
    encoded = LINE.encode(name)
    assert encoded.strip() == encoded and len(encoded.splitlines()) <= 1
    assert "/" not in FILE.encode(name)


def test_foreign_percent_signs_stay():
    assert LINE.decode("50%") == "50%" and LINE.decode("a%20b") == "a%20b"
    assert FILE.decode("100%_sure") == "100%_sure" and set_name("50%") == "50%"


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(min_value=0, allow_nan=False, allow_infinity=False),
    st.booleans(),
)
def test_boxes_come_back_to_the_bit(start, length, one_):
    low, high = box_texts(start, length, one_)
    assert span(low, high, one_) == (start, length)


def test_whole_numbers_are_written_whole():
    assert box_texts(1.0, 3.0, False) == ("1", "4") and box_texts(1.0, 3.0, True) == ("2", "4")
    assert box_texts(0.1, 0.2, False) == ("0.1", "0.3")
    assert box_texts(0.25, 1.0, False) == ("0.25", "1.25")


# ------------------------------------------------------------------ splits and labels


def test_a_split_that_was_changed(tmp_path):
    """The new split counts; sets that contradict it are kept as data."""
    source = tree(
        tmp_path / "in",
        {
            "Annotations/a.xml": label("a.jpg"),
            "ImageSets/Main/train.txt": "a\n",
            "ImageSets/Main/val.txt": "a\n",
        },
    )
    dataset = granum.read(source, "voc")
    assert dataset[0].split == "train" and dataset[0].row.extra == {"image_sets": {"Main": ["val"]}}
    changed = dataset.split({"test": 1.0})["test"]
    back = kept(changed, tmp_path / "out")
    assert back[0].split == "test"
    assert [p.name for p in (tmp_path / "out/ImageSets/Main").iterdir()] == ["test.txt"]


@pytest.mark.parametrize("value", [3, "x", {}, {"Main": "a"}, {"Main": ["../a"]}, {"Main": [3]}])
def test_image_sets_of_others_are_data(tmp_path, value):
    dataset = of(Sample("a.jpg", split="train", extra={"image_sets": value}))
    kept(dataset, tmp_path / "out")
    files = [p for p in (tmp_path / "out/ImageSets").rglob("*") if p.is_file()]
    assert [p.name for p in files] == ["train.txt"]


def test_images_without_split_are_listed_for_others(tmp_path):
    kept(of(Sample("a.jpg"), Sample("b.jpg", split="val")), tmp_path / "out")
    main = tmp_path / "out/ImageSets/Main"
    assert {p.name: p.read_text() for p in main.iterdir()} == {
        "default.txt": "a\n",
        "val.txt": "b\n",
    }


def test_labels_go_to_class_lists(tmp_path):
    labels = [
        Annotation("label", category=0, present=True),
        Annotation("label", category=1, present=False),
        Annotation("label", category=2, present=True, difficult=True),
        Annotation("label", category=3),
        Annotation("label", category=4, present=True, attributes={"by": "anna"}),
        Annotation("label", category=5, present=True),
        Annotation("label", category=5, present=False),
        Annotation("label", present=True),
    ]
    names = ("cat", "dog", "cow", "hen", "fox", "owl")
    kept(one(*labels, split="train", categories=names), tmp_path / "out")
    main = tmp_path / "out/ImageSets/Main"
    assert {p.name: p.read_text() for p in main.iterdir()} == {
        "train.txt": "a\n",
        "cat_train.txt": "a  1\n",
        "dog_train.txt": "a -1\n",
        "cow_train.txt": "a  0\n",
        "hen_train.txt": "a  1\n",
        "fox_train.txt": "a  1\n",
        "owl_train.txt": "a  1\n",
    }
    # what a flag cannot say stands in the file too
    written = root_of(tmp_path / "out/Annotations/a.xml").findall("image_label")
    assert [w.findtext("name") for w in written] == ["hen", "fox", "owl", "owl", ""]


def test_class_lists_that_could_be_misread(tmp_path):
    """``a_b_c`` is class a_b of set c, not class a of set b_c, nor a set."""
    samples = [
        Sample(f"{i}.jpg", split=split, annotations=[Annotation("label", category=c, present=True)])
        for i, (split, c) in enumerate([("c", 1), ("b_c", 0), ("b_c", 1), ("a_b_c", 1), ("c", 2)])
    ]
    kept(of(*samples, categories=("a", "a_b", "a_b_c")), tmp_path / "out")


# ------------------------------------------------------------------ lists, drawn

RAW = st.sampled_from(["train", "val", "trainval", "default", "x", "dog_train", "a b"])


@settings(
    max_examples=80,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    st.sampled_from([None, "train", "val", "x", "default", "trainval", "é_1"]),
    st.dictionaries(
        st.sampled_from(["Main", "Segmentation", "Layout"]),
        st.lists(
            st.one_of(RAW, st.tuples(RAW, st.sampled_from(["1", "-1", "2 1"])).map(list)),
            max_size=3,
        ),
        max_size=3,
    ),
    st.sampled_from(["a.jpg", "a 1", "b", '"a" 1']),
)
def test_memberships_come_back(tmp_path_factory, split, sets, key):
    folder = tmp_path_factory.mktemp("sets") / "out"
    others = [Sample(k, split="train") for k in ("a", "a 1 1", "z") if k != key]
    dataset = of(Sample(key, split=split, extra={"image_sets": sets}), *others)
    kept(dataset, folder)


def test_list_writer_says_what_it_could_tell():
    lists = ListWriter()
    assert lists.add("a", "train", {"Main": ["trainval"]}) == (["trainval", "train"], True)
    assert lists.add("b", "test", {"Main": ["train"]}) == (["test"], False)
    assert lists.add("c", None, None) == (["default"], False)
    assert lists.lines == {
        ("Main", "trainval"): ["a"],
        ("Main", "train"): ["a"],
        ("Main", "test"): ["b"],
        ("Main", "default"): ["c"],
    }
