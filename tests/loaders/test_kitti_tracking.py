"""KITTI tracking, from texts typed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

import granum
from granum.errors import FindingsError
from granum.loaders.reading import sniff
from granum.schema.rows import Annotation, Category, Group, Sample
from granum.testing import assert_same

SOLID = "2.000000 1.823255 4.433886 -4.552284 1.858523 13.410495 -2.115488"
NONE = "-1.000000 -1.000000 -1.000000 -1000.000000 -1000.000000 -1000.000000 -10.000000"
TEXT = f"""0 -1 DontCare -1 -1 -10.000000 219.310000 188.490000 245.500000 218.560000 {NONE}
0 0 Van 0 0 -1.793451 296.744956 161.752147 455.226042 292.372804 {SOLID}
2 0 Van 2 1 -1.796862 294.898777 156.024256 452.199718 284.621269 {SOLID}
2 5 Cyclist 0 3 -1.936993 737.619499 161.531951 931.112229 374.000000 {SOLID}
"""


def tree(root: Path, **texts: str) -> Path:
    for name, text in (texts or {"s0000": TEXT}).items():
        path = root / "training/label_02" / f"{name[1:]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_tracks(tmp_path: Path) -> None:
    tree(tmp_path)
    for folder, frame in (("training", 1), ("testing", 0)):
        path = tmp_path / folder / f"image_02/0000/{frame:06d}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    assert sniff(tmp_path).keys() == {"kitti_tracking"}
    found = granum.read(tmp_path)
    # Frames count from 0; those with a line or an image are there.
    assert [(s.key, s.row.order, s.split) for s in found] == [
        ("testing/image_02/0000/000000.png", 0, "test"),
        ("training/image_02/0000/000000.png", 0, "train"),
        ("training/image_02/0000/000001.png", 1, "train"),
        ("training/image_02/0000/000002.png", 2, "train"),
    ]
    assert found.groups["key"].to_pylist() == ["testing/0000", "training/0000"]
    ignored, first = found[1].annotations
    van, cyclist = found[3].annotations
    assert (ignored.ignore, ignored.track, ignored.category) == (True, None, None)
    assert (first.track, van.track, cyclist.track) == (0, 0, 1)
    assert (first.track_source_id, cyclist.track_source_id) == ("0", "5")
    assert first.bbox == pytest.approx((296.744956, 161.752147, 158.481086, 130.620657), abs=1e-9)
    # State 2 of truncation: largely.
    assert (van.truncated, van.occluded) == (True, True)
    assert van.attributes == {"alpha": -1.796862, "truncation": 2.0}
    assert (cyclist.occluded, cyclist.attributes) == (None, {"alpha": -1.936993, "occlusion": 3})


def test_written_lines_are_the_lines_read(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path / "in"))
    granum.write(found, tmp_path / "out", "kitti_tracking")
    assert (tmp_path / "out/training/label_02/0000.txt").read_text() == TEXT
    assert_same(found, granum.read(tmp_path / "out"))


def test_ids_are_of_their_sequence_only(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path, s0000=TEXT, s0001=TEXT))
    tracks = [[a.track for a in s.annotations] for s in found]
    assert tracks == [[None, 0], [0, 1], [None, 2], [2, 3]]


def test_results(tmp_path: Path) -> None:
    (tmp_path / "0003.txt").write_text(f"7 2 Car -1 -1 -10 1 2 3 4 {SOLID} 0.75\n")
    assert sniff(tmp_path).keys() == {"kitti_tracking"}
    (one,) = granum.read(tmp_path)
    assert (one.row.order, one.annotations[0].score) == (7, 0.75)


def test_a_dataset_of_another_origin(tmp_path: Path) -> None:
    box = Annotation(category=0, bbox=(1.0, 2.0, 3.0, 4.0), track=9, track_source_id="x")
    samples = [Sample(f"{i}.jpg", group=0, order=i, annotations=[box]) for i in (4, 0)]
    dataset = granum.Dataset.from_rows(samples, [Category("cat")], [Group("clips/a")])
    granum.write(dataset, tmp_path / "out", "kitti_tracking")
    lines = (tmp_path / "out/training/clips/label_02/a.txt").read_text().splitlines()
    assert [line.split()[:3] for line in lines] == [["4", "1", "cat"], ["0", "1", "cat"]]
    back = granum.read(tmp_path / "out")
    assert_same(dataset, back, ignore=["media"])
    assert back[0].row.media.path == "training/clips/image_02/a/000004.jpg"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"0 1 Car 0 0 0 1 2 3 {SOLID}", "bad-value"),
        (f"0.5 1 Car 0 0 0 1 2 3 4 {SOLID}", "bad-value"),
        (f"-1 1 Car 0 0 0 1 2 3 4 {SOLID}", "bad-value"),
        ("0", "bad-value"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, line: str, code: str) -> None:
    tree(tmp_path, s0000=f"{TEXT}{line}\n")
    with pytest.raises(FindingsError) as caught:
        granum.read(tmp_path)
    (fault,) = caught.value.findings.items
    assert (fault.code, fault.path, fault.place) == (code, "training/label_02/0000.txt", "line 5")


def test_a_track_twice_in_a_frame(tmp_path: Path) -> None:
    tree(tmp_path, s0000=TEXT + TEXT.splitlines()[1] + "\n")
    (fault,) = granum.validate(tmp_path).findings.items
    assert (fault.code, fault.place) == ("duplicate-track", "line 5")
    assert len(granum.read(tmp_path)[0].annotations) == 3
