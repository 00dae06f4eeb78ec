"""Writing PASCAL VOC: what other readers see, what comes back, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import granum
from granum.errors import LossError, SizeUnknownError
from granum.loaders._voc_classes import write_classes
from granum.schema import rows, tables
from granum.schema.geometry import encode_mask
from granum.schema.rows import Annotation, Category, Rle, Sample
from granum.store.out import Out
from tests.data import shared
from tests.loaders.voc_tree import GOLDEN, again, box, kept, label, of, one, root_of, tree

# ------------------------------------------------------------------ what others read


def test_the_devkits_elements(tmp_path):
    person = Annotation(
        category=0,
        bbox=(10, 20.5, 30, 40),
        difficult=True,
        truncated=False,
        attributes={"pose": "Left", "actions": {"jumping": True, "reading": False}},
        annotation_id=7,
    )
    head = Annotation(category=2, bbox=(12, 21, 5, 6), parent=7)
    dataset = one(
        person, head, key="x/a.jpg", channels=3, split="train", categories=("man", "dog", "head")
    )
    kept(dataset, tmp_path / "out")
    root = root_of(tmp_path / "out/Annotations/x/a.xml")
    assert root.tag == "annotation" and root.findtext("filename") == "x/a.jpg"
    size = [root.findtext(f"size/{n}") for n in ("width", "height", "depth")]
    assert size == ["100", "80", "3"]
    (found,) = root.findall("object")
    assert [found.findtext(n) for n in ("name", "pose", "truncated", "difficult", "occluded")] == [
        *("man", "Left", "0", "1", None)
    ]
    corners = ("xmin", "ymin", "xmax", "ymax")
    assert [found.findtext(f"bndbox/{n}") for n in corners] == ["10", "20.5", "40", "60.5"]
    assert [found.findtext(f"part/bndbox/{n}") for n in corners] == ["12", "21", "17", "27"]
    assert found.findtext("part/name") == "head"
    assert {a.tag: a.text for a in found.findall("actions/*")} == {"jumping": "1", "reading": "0"}
    assert (tmp_path / "out/ImageSets/Main/train.txt").read_text() == "x/a\n"


def test_pixels_counted_from_one(tmp_path):
    """The whole of a 100 x 80 image is 1..100, 1..80."""
    dataset = one(Annotation(category=0, bbox=(0, 0, 100, 80)))
    kept(dataset, tmp_path / "out", box_origin="one")
    found = root_of(tmp_path / "out/Annotations/a.xml").find("object/bndbox")
    assert found is not None
    assert {c.tag: c.text for c in found} == {"xmin": "1", "ymin": "1", "xmax": "100", "ymax": "80"}
    other = granum.read(tmp_path / "out", "voc")
    assert other[0].annotations[0].bbox == (1, 1, 99, 79)


def test_golden_lists_come_back_as_files(tmp_path):
    source = tree(tmp_path / "in", GOLDEN)
    dataset = granum.read(source, "voc")
    kept(dataset, tmp_path / "out")
    for folder in ("Main", "Layout", "Action"):
        before = {p.name: p.read_text().split() for p in (source / "ImageSets" / folder).iterdir()}
        after = {
            p.name: p.read_text().split() for p in (tmp_path / "out/ImageSets" / folder).iterdir()
        }
        # what is a fact of the image in train is one in trainval too
        before.setdefault("person_trainval.txt", ["2008_000008", "0"])
        if folder != "Main":
            del before["person_trainval.txt"]
        assert after == before


def test_unknown_elements_come_back(tmp_path):
    xml = (
        '<annotation verified="yes"><folder/><filename>a.jpg</filename><source>'
        "<database>X &amp; Y</database></source><size><width>9</width><height>9</height>"
        "<bands>4</bands></size>"
        f'<object id="3"><name>dog</name>{box(1, 2, 3, 4)}<tag>one</tag><tag k="v">two</tag>'
        "<deep><er><est/></er></deep><difficult>0</difficult><difficult>1</difficult></object>"
        "</annotation>"
    )
    dataset = granum.read(tree(tmp_path / "in", {"Annotations/a.xml": xml}), "voc")
    assert dataset[0].row.extra == {
        "@verified": "yes",
        "folder": "",
        "source": {"database": "X & Y"},
        "size": {"bands": "4"},
    }
    (dog,) = dataset[0].annotations
    assert dog.extra == {
        "@id": "3",
        "tag": ["one", {"@k": "v", "#text": "two"}],
        "deep": {"er": {"est": ""}},
        "difficult": "1",
    }
    kept(dataset, tmp_path / "out")
    root = root_of(tmp_path / "out/Annotations/a.xml")
    assert root.get("verified") == "yes" and root.findtext("source/database") == "X & Y"
    found = root.find("object")
    assert found is not None and found.get("id") == "3"
    assert [t.text for t in found.findall("tag")] == ["one", "two"]
    assert found.find("deep/er/est") is not None and found.findtext("difficult") == "0"


def test_attributes_as_cvat_writes_them(tmp_path):
    xml = label(
        "a.jpg",
        f"<name>dog</name>{box(1, 2, 3, 4)}<attributes>"
        "<attribute><name>age</name><value>007</value></attribute>"
        "<attribute><name>rotation</name><value>0.0</value></attribute></attributes>",
    )
    dataset = granum.read(tree(tmp_path / "in", {"Annotations/a.xml": xml}), "voc")
    assert dataset[0].annotations[0].attributes == {"age": "007", "rotation": "0.0"}
    kept(dataset, tmp_path / "out")
    written = (tmp_path / "out/Annotations/a.xml").read_text()
    assert "<name>age</name>\n        <value>007</value>" in written


VALUES = [
    0,
    1,
    -7,
    2**70,
    1.5,
    1e300,
    0.0,
    True,
    False,
    None,
    "",
    "1",
    "true",
    " a ",
    "a\rb",
    "\x01",
]
NESTED = [[], {}, [1, [2]], {"a": {"b": []}}, [{"a": "x"}, {"b": "y"}], {"#text": "t"}, ["x"]]


@pytest.mark.parametrize("value", [*VALUES, *NESTED], ids=repr)
def test_types_come_back(tmp_path, value):
    """As attribute, as unknown key, in every place, with the type they had."""
    found = {"x": value, "white space": value, "name": value, "pose": value, "@id": value}
    annotation = Annotation(category=0, bbox=(1, 2, 3, 4), attributes=found, extra=found)
    dataset = of(Sample("a.jpg", annotations=[annotation], attributes=found, extra=found))
    back = again(dataset, tmp_path / "out")[0]
    for one_ in (back.row, back.annotations[0]):
        for got in (one_.attributes, one_.extra):
            assert got == found and type(got["x"]) is type(value)


# ------------------------------------------------------------------ classes


def test_classes_of_one_name(tmp_path):
    categories = (Category("cat"), Category("cat"), Category("cat", "scene"))
    boxes = [Annotation(category=c, bbox=(c, 0, 1, 1)) for c in (1, 0, 2)]
    labels = [Annotation("label", category=c, present=True) for c in (0, 1)]
    back = kept(one(*boxes, *labels, categories=categories), tmp_path / "out")
    assert [(a.category, a.kind) for a in back[0].annotations] == [
        *((1, "object"), (0, "object"), (2, "object"), (0, "label"), (1, "label"))
    ]


def test_classes(tmp_path):
    person = {"index": 0, "relation": "part_of"}
    categories = [
        Category("person", colour=[192, 128, 128], attributes={"actions": ["run", "sit"]}),
        Category("dog"),
        Category("head", parents=[person]),
    ]

    def written(listed) -> dict[str, str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        write_classes(rows.objects_to_table(listed, tables.CATEGORIES), Out(folder, None))
        return {p.name: p.read_text() for p in folder.iterdir()}

    assert written(categories) == {
        "labelmap.txt": "# label:color_rgb:parts:actions\nperson:192,128,128:head:run,sit\ndog:::\n"
    }
    # a part that stands before another class, an id, a name with a colon: another file tells
    for more in (
        [categories[0], categories[2], categories[1]],
        [*categories, Category("cow", source_id="7")],
        [*categories, Category("a:b")],
        [*categories, Category("cat", supercategory="animal")],
    ):
        files = written(more)
        assert sorted(files) == ["labelmap.json", "labelmap.txt"]
        dataset = of(Sample("a.jpg"), categories=more)
        kept(dataset, tmp_path / f"out{len(list(tmp_path.iterdir()))}")


def test_no_samples(tmp_path):
    back = kept(of(categories=("cat",)), tmp_path / "out")
    assert len(back) == 0 and back.category_names() == ["cat"]


# ------------------------------------------------------------------ parts


def test_parts_of_parts(tmp_path):
    """A chain of seventy: fifty are written in each other, the next begins anew."""
    boxes = [
        Annotation(category=0, bbox=(0, 0, 99 - i, 9), annotation_id=1 + i, parent=i or None)
        for i in range(70)
    ]
    dataset = one(*reversed(boxes))
    with pytest.raises(LossError) as caught:
        granum.write(dataset, tmp_path / "out", "voc")
    assert caught.value.report.lost_names() == {"parent": 1}
    back = again(dataset, tmp_path / "out", allow_loss=["parent"])
    widths = {a.annotation_id: a.bbox[2] for a in back[0].annotations}
    lost = [a.bbox[2] for a in back[0].annotations if a.parent is None]
    assert lost == [99, 49]
    assert all(
        widths[a.parent] == a.bbox[2] + 1 for a in back[0].annotations if a.parent is not None
    )


def test_parents_that_cannot_be(tmp_path):
    """In a circle, in another image, or not there."""
    a = [Annotation(category=0, bbox=(0, 0, 1, i), annotation_id=i) for i in (1, 2, 3, 4, 5)]
    a[0].parent, a[1].parent, a[2].parent, a[3].parent = 2, 1, 99, 5
    size = {"width": 9, "height": 9}
    dataset = of(Sample("a", annotations=a[:4], **size), Sample("b", annotations=a[4:], **size))
    with pytest.raises(LossError) as caught:
        granum.write(dataset, tmp_path / "out", "voc")
    assert caught.value.report.lost_names() == {"parent": 3}
    back = again(dataset, tmp_path / "out", allow_loss=["parent"])
    assert back.num_annotations == 5


# ------------------------------------------------------------------ what is refused

TRIANGLE = [[[1.0, 2.0, 11.0, 2.0, 11.0, 22.0]]]
REFUSED = {
    "mask": [Annotation(category=0, polygons=TRIANGLE, bbox=(1, 2, 10, 20))],
    "keypoints": [Annotation(category=0, bbox=(1, 2, 3, 4), keypoints=[1.0, 1.0, 2.0])],
    "score": [Annotation(category=0, bbox=(1, 2, 3, 4), score=0.0)],
    "crowd": [Annotation(category=0, bbox=(1, 2, 3, 4), crowd=False)],
    "track": [Annotation(category=0, bbox=(1, 2, 3, 4), track=0)],
    "caption": [Annotation("caption", text="a dog")],
    "visibility": [Annotation("label", category=0, present=True, visibility=0.0)],
    "bbox": [Annotation(category=0, bbox=(1, 2, float("nan"), 4))],
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused(tmp_path, name):
    with pytest.raises(LossError) as caught:
        granum.write(one(*REFUSED[name]), tmp_path / "out", "voc")
    assert caught.value.refused == [name] and not list(tmp_path.iterdir())
    again(one(*REFUSED[name]), tmp_path / "out", allow_loss=[name])


def test_run_length_masks_give_their_boxes(tmp_path):
    """Masks are lost, but the objects have the boxes around them."""
    mask = np.zeros((80, 100), bool)
    mask[20:23, 7:11] = True
    rle = Annotation(category=0, rle=Rle(*encode_mask(mask)))
    annotations = [Annotation(category=1, polygons=TRIANGLE), rle]
    back = again(one(*annotations), tmp_path / "out", allow_loss=["mask"])
    assert back[0].annotations[0].bbox == (1, 2, 10, 20)
    assert back[0].annotations[1].bbox == (7, 20, 4, 3)


def test_turned_boxes_become_those_around(tmp_path):
    turned = Annotation(category=0, bbox=(10, 20, 20, 10), angle=1.5707963267948966)
    back = again(one(turned), tmp_path / "out", allow_loss=["angle", "bbox"])
    assert back[0].annotations[0].bbox == pytest.approx((15, 15, 10, 20))


def test_objects_that_others_would_misread_are_hidden(tmp_path):
    """Without a box, or verified absent: in an element that other readers do not know."""
    annotations = [
        Annotation(category=0),
        Annotation(category=1, bbox=(1, 2, 3, 4), present=False),
        Annotation(category=1, bbox=(1, 2, 3, 4), annotation_id=9),
        Annotation(category=0, parent=9),
    ]
    kept(one(*annotations), tmp_path / "out")
    root = root_of(tmp_path / "out/Annotations/a.xml")
    assert len(root.findall("object")) == 1 and len(root.findall("object/part")) == 0


def test_fractions_become_pixels(tmp_path):
    box_ = Annotation(category=0, bbox=(0.1, 0.25, 0.5, 0.5))
    back = kept(one(box_, unit="relative"), tmp_path / "out")
    assert back[0].annotations[0].bbox == (10, 20, 50, 40) and back[0].row.unit == "pixel"
    with pytest.raises(SizeUnknownError):
        granum.write(one(box_, unit="relative", width=None), tmp_path / "none", "voc")


# ------------------------------------------------------------------ real data


@pytest.mark.parametrize(
    "name",
    [
        "voc100/gts/pascalvoc_format",
        "voc100/gts/imagenet_format",
        *(f"format_fixtures/voc_dataset/voc_dataset{i}" for i in (1, 2, 3)),
        "format_fixtures/roboflow_dataset/voc",
    ],
)
def test_real_trees_come_back(tmp_path, name):
    dataset = granum.read(shared(name), "voc")
    back = kept(dataset, tmp_path / "out")
    assert back.num_annotations == dataset.num_annotations
    granum.write(back, tmp_path / "again", "voc")
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    for path in files:
        other = tmp_path / "again" / path.relative_to(tmp_path / "out")
        assert other.read_bytes() == path.read_bytes()
