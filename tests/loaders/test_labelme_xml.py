"""LabelMe of MIT, typed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import granum
from granum.errors import FindingsError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.store.media import encode_png
from granum.testing.suite import ReaderSuite
from tests.data import shared


def points(*numbers: int) -> str:
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in pairs)


def thing(number: int, name: str, inside: str, has: str = "", of: str = "") -> str:
    parts = f"<parts><hasparts>{has}</hasparts><ispartof>{of}</ispartof></parts>"
    deleted = "" if "<deleted>" in inside else "<deleted>0</deleted>"
    return f"<object><name>{name}</name>{deleted}<id>{number}</id>{parts}{inside}</object>\n"


CAR = (
    "<occluded>yes</occluded><attributes>red, parked</attributes><verified>1</verified>"
    f"<polygon><username>ann</username>{points(1, 2, 5, 2, 5, 4)}</polygon>"
)
BOX = f"<type>bounding_box</type><polygon>{points(3, 1, 1, 1, 1, 4, 3, 4)}</polygon>"
MASK = (
    "<segm><username>bob</username><box><xmin>0</xmin><ymin>0</ymin><xmax>2</xmax>"
    "<ymax>1</ymax></box><mask>a_mask_2.png</mask></segm>"
)
OBJECTS = [
    thing(0, "car", CAR, has="1"),
    thing(1, "wheel", BOX),
    thing(2, "sky", MASK),
    thing(3, "old", f"<deleted>1</deleted><polygon>{points(0, 0, 1, 0, 1, 1)}</polygon>"),
    thing(4, "wire", f"<polygon>{points(0, 1, 6, 1)}</polygon>", of="3"),
    thing(5, "bird", f"<polygon>{points(2, 3)}</polygon>"),
]


def tree(folder: Path, objects: list[str] | None = None, flat: bool = False) -> Path:
    root = folder / "mit"
    text = (
        "<annotation><filename>a.jpg</filename><folder>s</folder><source>"
        "<sourceAnnotation>LabelMe Webtool</sourceAnnotation></source>"
        "<imagesize><nrows>5</nrows><ncols>7</ncols></imagesize>\n"
        + "".join(OBJECTS if objects is None else objects)
        + "</annotation>"
    )
    files = {
        "Annotations/s/a.xml": text.encode(),
        "Images/s/a.jpg": encode_png(np.zeros((5, 7), np.uint8)),
        "Masks/s/a_mask_2.png": encode_png(np.eye(5, 7, dtype=np.uint8)),
    }
    for name, data in files.items():
        path = root / (name.rpartition("/")[2] if flat else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


class TestLabelMeXml(ReaderSuite):
    name = "labelme_xml"

    def make(self, folder: Path) -> Path:
        return tree(folder)


def test_shapes_parts_and_facts(tmp_path: Path) -> None:
    (sample,) = granum.read(tree(tmp_path))
    assert (sample.key, sample.size) == ("Images/s/a.jpg", (7, 5))
    assert sample.labels == ["car", "wheel", "sky", "wire", "bird"]
    car, wheel, sky, wire, bird = sample.annotations
    assert car.polygons == [[[1, 2, 5, 2, 5, 4]]]
    assert (car.occluded, car.annotator, car.parent) == (True, "ann", None)
    assert car.attributes == {"attributes": "red, parked", "verified": True}
    # The four corners of a box come in any order.
    assert wheel.bbox == (1, 1, 2, 3) and wheel.polygons is None
    assert wheel.parent == car.annotation_id is not None
    assert (sky.bbox, sky.annotator) == ((0, 0, 2, 1), "bob")
    assert (sample.mask(2) == np.eye(5, 7, dtype=bool)).all()
    assert (wire.polyline, wire.shape_kind, wire.parent) == ([0, 1, 6, 1], "line", None)
    assert (bird.keypoints, bird.shape_kind) == ([2, 3, 2], "point")
    assert sample.row.attributes == {"deleted": 1}


def test_files_side_by_side(tmp_path: Path) -> None:
    root = tree(tmp_path, flat=True)
    assert list(sniff(root)) == ["labelme_xml"]
    (sample,) = granum.read(root)
    assert sample.key == "a.jpg"
    assert sample.annotations[2].map is not None
    assert sample.annotations[2].map.path == "a_mask_2.png"


def test_a_mask_that_is_not_there(tmp_path: Path) -> None:
    root, findings = tree(tmp_path), Findings()
    (root / "Masks/s/a_mask_2.png").unlink()
    (sample,) = granum.read(root, findings=findings)
    assert [(f.code, f.place) for f in findings.items] == [("missing-mask", "line 4")]
    assert sample.annotations[2].map is None and sample.annotations[2].bbox is not None


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([thing(0, "a", CAR), thing(0, "b", BOX)], r"Annotations/s/a\.xml line 3.*id 0"),
        ([thing(0, "a", CAR, of="8")], r"Annotations/s/a\.xml line 2.*part of 8"),
        ([thing(0, "a", "<polygon/>")], r"a\.xml line 2.*without points"),
        ([thing(0, "a", CAR.replace("<x>1<", "<x>one<"))], r"a\.xml line 2.*one"),
        (["<object>"], r"Annotations/s/a\.xml.*not well-formed"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, objects: list[str], message: str) -> None:
    with pytest.raises(FindingsError, match=message):
        granum.read(tree(tmp_path, objects))


def test_the_fixture() -> None:
    root = shared("format_fixtures/labelme_dataset")
    assert list(sniff(root)) == ["labelme_xml"]
    (sample,) = granum.read(root)
    assert (sample.key, sample.size) == ("Images/subset1/img1.png", (102, 77))
    assert sample.labels == ["window", "license plate", "o1", "q1", "b1", "m1", "hg"]
    by_name = dict(zip(sample.labels, sample.annotations, strict=True))
    parents = {n: a.parent for n, a in by_name.items() if a.parent is not None}
    o1, m1 = by_name["o1"].annotation_id, by_name["m1"].annotation_id
    assert parents == {"q1": o1, "b1": o1, "hg": m1}
    assert by_name["b1"].bbox == (13, 19, 10, 11)
    assert int(sample.mask(1).sum()) == 10 and int(sample.mask(5).sum()) == 130
