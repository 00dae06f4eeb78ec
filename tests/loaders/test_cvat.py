"""CVAT XML, typed by hand from its documentation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.store.media import encode_png
from tests.data import shared

IMAGES = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><mode>annotation</mode><labels>
    <label><name>car</name><color>#0a0B0c</color><attributes>
      <attribute><name>parked</name><input_type>checkbox</input_type></attribute>
      <attribute><name>doors</name><input_type>number</input_type></attribute>
      <attribute><name>plate</name><input_type>text</input_type></attribute>
    </attributes></label>
    <label><name>person</name></label>
    <label><name>nose</name><parent>person</parent></label>
    <label><name>ear</name><parent>person</parent></label>
  </labels></task></meta>
  <image id="7" name="a/b.jpg" subset="Train" width="10" height="6">
    <tag label="car" source="manual"></tag>
    <box label="car" source="auto" occluded="1" xtl="1" ytl="2" xbr="4.5" ybr="4"
     rotation="90" z_order="-1" group_id="3">
      <attribute name="parked">true</attribute>
      <attribute name="doors">4</attribute>
      <attribute name="plate">007</attribute>
    </box>
    <polygon label="car" occluded="0" points="0,0;4,0;4,3" z_order="0"></polygon>
    <polyline label="" points="0,0;1.5,2"></polyline>
    <ellipse label="car" cx="5" cy="3" rx="2" ry="1"></ellipse>
    <mask label="car" rle="0, 2, 2, 2" left="3" top="1" width="3" height="2"></mask>
    <skeleton label="person">
      <points label="nose" outside="0" occluded="0" points="1,1"></points>
      <points label="ear" outside="0" occluded="1" points="2,1"></points>
      <points label="tail" outside="1" occluded="0" points="3,1"></points>
    </skeleton>
    <points label="person" points="1,2;3,4"></points>
    <cuboid label="car" xtl1="1"></cuboid>
  </image>
  <image id="8" name="empty.jpg" width="3" height="3"></image>
</annotations>
"""

VIDEO = """<annotations><meta><task><mode>interpolation</mode><source>clip.mp4</source>
  <original_size><width>20</width><height>10</height></original_size></task></meta>
  <track id="5" label="dog">
    <box frame="3" outside="0" occluded="0" keyframe="1" xtl="1" ytl="1" xbr="4" ybr="5"></box>
    <box frame="0" outside="0" occluded="0" keyframe="0" xtl="0" ytl="1" xbr="3" ybr="5"></box>
  </track>
  <track id="5" label="dog">
    <box frame="3" outside="1" occluded="1" keyframe="1" xtl="7" ytl="1" xbr="8" ybr="5"></box>
  </track>
</annotations>
"""


def written(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "annotations.xml").write_text(text, encoding="utf-8")
    return folder


def test_every_shape(tmp_path: Path) -> None:
    found = granum.read(written(tmp_path / "c", IMAGES), on_error="skip")
    sample, empty = found
    assert (sample.key, sample.split, sample.size) == ("images/a/b.jpg", "Train", (10, 6))
    assert empty.annotations == []
    tag, box, polygon, line, ellipse, mask, person, points = sample.annotations
    assert (tag.kind, tag.source) == ("label", "manual")
    assert box.bbox == (1, 2, 3.5, 2) and box.angle == pytest.approx(math.pi / 2)
    assert (box.occluded, box.z_order, box.source) == (True, -1, "auto")
    assert box.attributes == {"parked": True, "doors": 4, "plate": "007"}
    assert box.extra == {"group_id": "3"}
    assert polygon.polygons == [[[0, 0, 4, 0, 4, 3]]] and polygon.bbox is None
    assert (line.polyline, line.category) == ([0, 0, 1.5, 2], None)
    assert (ellipse.bbox, ellipse.shape_kind) == ((3, 2, 4, 2), "ellipse")
    # In its box of 3 x 2, by rows: ##. / .##
    wanted = np.zeros((6, 10), bool)
    wanted[1, 3:5] = wanted[2, 4:6] = True
    assert (sample.mask(5) == wanted).all() and mask.rle is not None
    assert person.keypoints == [1, 1, 2, 2, 1, 1, 3, 1, 0]
    assert (points.keypoints, points.shape_kind) == ([1, 2, 2, 3, 4, 2], "point")
    car, human = sample.categories
    assert (car.name, car.colour) == ("car", [10, 11, 12])
    assert human.keypoints == ["nose", "ear"]


def test_a_cuboid_is_a_finding(tmp_path: Path) -> None:
    findings = Findings()
    granum.read(written(tmp_path / "c", IMAGES), findings=findings)
    assert {c: findings.counts[c] for c in findings.counts} == {"unknown-shape": 1}
    (told,) = findings.items
    assert told.place == "line 32" and "cuboid" in told.message


def test_tracks_are_rows_of_frames(tmp_path: Path) -> None:
    root = written(tmp_path / "v", VIDEO)
    (root / "images").mkdir()
    (root / "images" / "frame_000003.png").write_bytes(b"")
    found = granum.read(root)
    assert [s.key for s in found] == ["clip/frame_000000", "clip/frame_000003"]
    assert [s.row.order for s in found] == [0, 3]
    first, second = found[0].annotations, found[1].annotations
    assert found[1].row.media is not None and found[0].row.media is None
    assert [a.track for a in second] == [first[0].track, second[1].track]
    assert second[0].track != second[1].track  # though they say the same id
    assert [a.outside for a in second] == [False, True]
    assert (first[0].keyframe, second[0].keyframe) == (False, True)
    assert found.groups.to_pylist()[0]["width"] == 20


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    found = granum.read(written(tmp_path / "c", IMAGES), on_error="skip")
    granum.write(found, tmp_path / "out", "cvat")
    text = (tmp_path / "out" / "annotations.xml").read_text()
    for line in (
        'name="a/b.jpg" subset="Train" width="10" height="6"',
        '<box label="car" source="auto" occluded="1" xtl="1" ytl="2" xbr="4.5" ybr="4" '
        'rotation="90" z_order="-1" group_id="3">',
        '<mask label="car" rle="0, 2, 2, 2" left="3" top="1" width="3" height="2">',
        '<points label="ear" outside="0" occluded="1" points="2,1">',
        "<name>doors</name><input_type>number</input_type>",
        '<attribute name="plate">007</attribute>',
    ):
        assert line in text, line


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    root = written(tmp_path / "c", IMAGES)
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "deep" / "b.jpg").write_bytes(encode_png(np.zeros((6, 10), np.uint8)))
    found = granum.read(root, images=tmp_path / "photos")
    assert found[0].image().size == (10, 6)


def test_faults_name_file_and_line(tmp_path: Path) -> None:
    bad = IMAGES.replace('xtl="1"', 'xtl="one"').replace('rle="0, 2, 2, 2"', 'rle="0, 2, 2"')
    with pytest.raises(FindingsError) as told:
        granum.read(written(tmp_path / "c", bad))
    assert "annotations.xml" in str(told.value) and "line 16" in str(told.value)
    assert "make 4 pixels of 3 x 2" in str(told.value)
    with pytest.raises(FormatError, match=r"annotations\.xml \(line 34"):
        granum.read(
            written(tmp_path / "d", IMAGES.replace("</image>\n</annotations>", "<")), "cvat"
        )


def test_the_fixtures_and_the_same_boxes_as_voc() -> None:
    root = shared("format_fixtures/cvat_dataset")
    for name, counts in {
        "for_video": (3, 7, 1),
        "for_images/export_task": (2, 4, 0),
        "for_images/export_project": (6, 12, 0),
    }.items():
        assert list(sniff(root / name)) == ["cvat"]
        found = granum.read(root / name)
        assert (len(found), found.num_annotations, found.groups.num_rows) == counts, name
    found = granum.read(shared("voc100/gts/cvat_format"))
    assert (len(found), found.num_annotations) == (100, 273)
    assert sum(a["bbox"] is not None for a in found.annotations(["bbox"]).to_pylist()) == 273
