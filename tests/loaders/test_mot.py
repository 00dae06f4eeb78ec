"""MOT, from texts typed by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import granum
from granum.errors import FindingsError, LossError
from granum.loaders.base import Intake, formats
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Group, Media, Sample
from granum.testing import assert_same
from tests.data import shared

INFO = """[Sequence]
name=v_1
imDir=img1
frameRate=25
seqLength=4
imWidth=1280
imHeight=720
imExt=.jpg
"""
GT = """1, 0, 100, 200, 30, 40, 1, 1, 1
2, 0, 101, 201, 30, 40, 1, 1, 1
1, 7, 5, 6, 7, 8, 1, 1, 1
"""


def sportsmot(root: Path, gt: str = GT) -> Path:
    """``dataset/{train,test}``, lists of splits beside it; the test sequence has no truth."""
    for split, name in (("train", "v_1"), ("test", "v_2")):
        folder = root / "dataset" / split / name
        (folder / "img1").mkdir(parents=True)
        (folder / "seqinfo.ini").write_text(INFO.replace("v_1", name))
    (root / "dataset/train/v_1/gt").mkdir()
    (root / "dataset/train/v_1/gt/gt.txt").write_text(gt)
    for number in (1, 3):
        (root / f"dataset/test/v_2/img1/{number:06d}.jpg").write_bytes(b"")
    (root / "splits_txt").mkdir()
    (root / "splits_txt/train.txt").write_text("v_1\n")
    (root / "splits_txt/test.txt").write_text("name\nv_2\n")
    (root / "splits_txt/basketball.txt").write_text("v_1\nv_2\n")
    return root


def sequence(root: Path, **texts: str) -> Path:
    """One sequence with the texts ``gt``, ``det``, ``labels``, ``seqinfo``."""
    names = {"gt": "gt/gt.txt", "det": "det/det.txt", "labels": "gt/labels.txt"}
    for name, text in texts.items():
        path = root / names.get(name, "seqinfo.ini")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def boxes(dataset: granum.Dataset) -> list[tuple[float, ...]]:
    return [a.bbox for s in dataset for a in s.annotations]


def test_sportsmot(tmp_path: Path) -> None:
    found = granum.read(sportsmot(tmp_path))
    assert sniff(tmp_path).keys() == {"mot"}
    # Frames with a row or an image: 1 and 2 of v_1, 1 and 3 of v_2.
    assert [(s.key, s.row.order, s.split) for s in found] == [
        ("dataset/test/v_2/img1/000001.jpg", 1, "test"),
        ("dataset/test/v_2/img1/000003.jpg", 3, "test"),
        ("dataset/train/v_1/img1/000001.jpg", 1, "train"),
        ("dataset/train/v_1/img1/000002.jpg", 2, "train"),
    ]
    assert (found[2].row.width, found[2].row.height) == (1280, 720)
    groups = found.groups.to_pylist()
    assert [(g["key"], g["source_id"], g["kind"]) for g in groups] == [
        ("dataset/test/v_2", "v_2", "video"),
        ("dataset/train/v_1", "v_1", "video"),
    ]
    assert (groups[1]["frames"], groups[1]["fps"]) == (4, 25.0)
    assert groups[1]["attributes"] == '{"lists": ["basketball"]}'
    one, other = found[2].annotations
    assert (one.bbox, other.bbox) == ((100, 200, 30, 40), (5, 6, 7, 8))
    # An id of 0 is a track.
    assert (one.track, one.track_source_id, other.track_source_id) == (0, "0", "7")
    assert found[3].annotations[0].track == one.track != other.track
    assert (one.ignore, one.visibility, one.score) == (False, 1.0, None)
    assert found.category_names() == ["pedestrian"]
    assert found[0].annotations == []


def test_a_sequence_without_truth_is_recognised(tmp_path: Path) -> None:
    folder = sportsmot(tmp_path) / "dataset/test"
    assert sniff(folder).keys() == {"mot"}
    assert len(granum.read(folder)) == 2


def test_ids_are_of_their_sequence_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sequence(tmp_path / name, gt="1,1,0,0,1,1,1,1,1\n1,-1,0,0,1,1,1,1,1\n1,2,0,0,1,1,1,1,1\n")
    listed = [a for s in granum.read(tmp_path) for a in s.annotations]
    assert [a.track for a in listed] == [0, None, 1, 2, None, 3]
    assert [a.track_source_id for a in listed] == ["1", None, "2", "1", None, "2"]


def test_confidence_and_classes_of_truth(tmp_path: Path) -> None:
    gt = "1,1,0,0,1,1,0,8,0.25\n1,2,0,0,1,1,1,3,-1\n1,3,0,0,1,1,0.5,99,0\n1,4,0,0,1,1,1,-1,1\n"
    found = granum.read(sequence(tmp_path, gt=gt))
    listed = found[0].annotations
    assert [a.ignore for a in listed] == [True, False, False, False]
    assert [a.score for a in listed] == [None, None, 0.5, None]
    assert [a.visibility for a in listed] == [0.25, None, 0.0, 1.0]
    assert found[0].labels == ["distractor", "car", "class 99", None]
    ids = dict(zip(found.category_names(), found.categories["source_id"].to_pylist(), strict=True))
    assert ids == {"car": "3", "distractor": "8", "class 99": "99"}


def test_labels_txt_names_classes_from_1(tmp_path: Path) -> None:
    found = granum.read(sequence(tmp_path, gt="1,1,0,0,1,1,1,2,1\n", labels="red\nblue\nnever\n"))
    assert found.category_names() == ["red", "blue", "never"]
    assert found[0].labels == ["blue"]


def test_world_coordinates_of_mot15(tmp_path: Path) -> None:
    gt = "1,1,10,20,30,40,1,-12.5,3.25,0\n1,2,10,20,30,40,0,-1,-1,-1\n"
    one, other = granum.read(sequence(tmp_path, gt=gt))[0].annotations
    assert one.attributes == {"world_x": -12.5, "world_y": 3.25, "world_z": 0.0}
    assert other.attributes is None and (one.ignore, other.ignore) == (False, True)
    assert one.category is None and one.visibility is None


def test_detections(tmp_path: Path) -> None:
    """They are the data where there is no truth, else a layer that is asked for."""
    det = "1,-1,10,20,30,40,-0.75,-1,-1,-1\n3,-1,1,2,3,4,-1,-1,-1,-1\n"
    found = granum.read(sequence(tmp_path / "a", det=det))
    assert [a.score for s in found for a in s.annotations] == [-0.75, None]
    assert [a.track for s in found for a in s.annotations] == [None, None]
    sequence(tmp_path / "a", gt="1,1,0,0,1,1,1,1,1\n")
    assert [*granum.read(tmp_path / "a").meta.layers] == ["truth"]
    both = granum.read(tmp_path / "a", det=True)
    assert len(both) == 2 and both.num_annotations == 1
    assert boxes(both.layer("det")) == [(10, 20, 30, 40), (1, 2, 3, 4)]
    assert both.meta.layers["det"]["producer"] == "det/det.txt"


@pytest.mark.parametrize(
    "text",
    [
        "2 5 1.5 2 3 4 0.5 -1 -1 -1\n1 5 0 0 1 1 1 -1 -1 -1\n",
        "2, 5, 1.5, 2, 3, 4, 0.5, -1, -1, -1\r\n1, 5, 0, 0, 1, 1, 1, -1, -1, -1\r\n",
        "2;5;1.5;2;3;4;0.5;-1;-1;-1\n1;5;0;0;1;1;1;-1;-1;-1",
        "2\t5.0  1.5 2 3 4 0.5 -1 -1 -1\n\n1\t5  0 0 1 1 1 -1 -1 -1\n",
        "2,5,1.5,2,3,4,0.5,-1,-1,-1,\n1,5,0,0,1,1,1,-1,-1,-1,\n",
    ],
)
def test_results_with_any_separator(tmp_path: Path, text: str) -> None:
    (tmp_path / "v_1.txt").write_text(text)
    assert sniff(tmp_path).keys() == ({"mot"} if not text.endswith(",\n") else set())
    for root in (tmp_path, tmp_path / "v_1.txt"):
        found = granum.read(root, format="mot")
        assert [s.key for s in found] == ["v_1/img1/000001.jpg", "v_1/img1/000002.jpg"]
        assert boxes(found) == [(0, 0, 1, 1), (1.5, 2, 3, 4)]
        assert [a.score for s in found for a in s.annotations] == [1.0, 0.5]


def test_one_based_is_asked_for(tmp_path: Path) -> None:
    sequence(tmp_path / "a", gt="1,1,1,1,16,16,1,1,1\n")
    assert boxes(granum.read(tmp_path / "a")) == [(1, 1, 16, 16)]
    found = granum.read(tmp_path / "a", one_based=True)
    assert boxes(found) == [(0, 0, 16, 16)]
    granum.write(found, tmp_path / "b", "mot", one_based=True)
    assert (tmp_path / "b/a/gt/gt.txt").read_text() == "1,1,1,1,16,16,1,1,1\n"
    assert boxes(granum.read(tmp_path / "b")) == [(0, 0, 16, 16)]
    granum.write(found, tmp_path / "c", "mot")
    assert (tmp_path / "c/a/gt/gt.txt").read_text() == "1,1,0,0,16,16,1,1,1\n"


def test_dancetrack_names_of_eight_digits(tmp_path: Path) -> None:
    sequence(tmp_path / "val/dancetrack0004", gt="1,1,0,0,1,1,1,1,1\n2,1,0,0,1,1,1,1,1\n")
    (tmp_path / "val/dancetrack0004/img1").mkdir()
    (tmp_path / "val/dancetrack0004/img1/00000001.jpg").write_bytes(b"")
    found = granum.read(tmp_path)
    assert [s.key.rpartition("/")[2] for s in found] == ["00000001.jpg", "00000002.jpg"]
    assert {s.split for s in found} == {"val"}


# ---------------------------------------------------------------------- writing


def test_what_was_read_is_written(tmp_path: Path) -> None:
    found = granum.read(sportsmot(tmp_path / "in"))
    granum.write(found, tmp_path / "out", "mot")
    folder = tmp_path / "out/dataset/train/v_1"
    assert (folder / "gt/gt.txt").read_text() == (
        "1,0,100,200,30,40,1,1,1\n1,7,5,6,7,8,1,1,1\n2,0,101,201,30,40,1,1,1\n"
    )
    info = (folder / "seqinfo.ini").read_text()
    assert info == INFO
    assert not (folder / "gt/labels.txt").exists()
    table = pd.read_csv(folder / "gt/gt.txt", header=None)
    assert table[[0, 1, 2]].values.tolist() == [[1, 0, 100], [1, 7, 5], [2, 0, 101]]
    assert_same(found, granum.read(tmp_path / "out"))


def made(*annotations: Annotation, **sample: object) -> granum.Dataset:
    one = Sample("a.jpg", Media("a.jpg"), 100, 100, annotations=list(annotations), **sample)
    return granum.Dataset.from_rows([one], [Category("cat"), Category("d og")], [Group("v")])


def test_classes_of_ones_own_have_labels_txt(tmp_path: Path) -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    granum.write(made(Annotation(category=1, bbox=box, ignore=True)), tmp_path / "out", "mot")
    assert (tmp_path / "out/frames/gt/labels.txt").read_text() == "cat\nd og\n"
    assert (tmp_path / "out/frames/gt/gt.txt").read_text() == "1,-1,0,0,1,1,0,2,1\n"
    (tmp_path / "out/granum.json").unlink()
    assert granum.read(tmp_path / "out")[0].labels == ["d og"]


def test_false_and_unstated_ignore_do_not_fit_one_column(tmp_path: Path) -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    dataset = made(Annotation(category=0, bbox=box, ignore=False), Annotation(category=0, bbox=box))
    with pytest.raises(LossError, match="ignore"):
        granum.write(dataset, tmp_path / "out", "mot")
    assert not (tmp_path / "out").exists()


def test_results_are_a_text_for_each_sequence(tmp_path: Path) -> None:
    box = Annotation(bbox=(1.0, 2.0, 3.0, 4.0), track=3, score=0.25)
    dataset = made(box, Annotation(bbox=(0.0, 0.0, 1.0, 1.0)), group=0, order=17)
    granum.write(dataset, tmp_path / "out", "mot", layout="results")
    assert (tmp_path / "out/v.txt").read_text() == (
        "17,1,1,2,3,4,0.25,-1,-1,-1\n17,-1,0,0,1,1,-1,-1,-1,-1\n"
    )
    assert_same(dataset, granum.read(tmp_path / "out"), ignore=["media"])


def test_frames_are_counted_where_order_does_not_number_them(tmp_path: Path) -> None:
    box = Annotation(bbox=(1.0, 2.0, 3.0, 4.0))
    samples = [
        Sample(f"{i}.png", None, 9, 9, group=0, order=order, annotations=[box])
        for i, order in enumerate((0, 4))
    ]
    dataset = granum.Dataset.from_rows(samples, [], [Group("v")])
    granum.write(dataset, tmp_path / "out", "mot")
    assert (tmp_path / "out/v/gt/gt.txt").read_text().startswith("1,-1,1,2,3,4,1,1,1\n2,")
    assert [s.row.order for s in granum.read(tmp_path / "out")] == [0, 4]


# ---------------------------------------------------------------------- faults


def faults(root: Path, on_error: str = "skip") -> list[tuple[str, str, str | None]]:
    intake = Intake(Findings(on_error))  # type: ignore[arg-type]
    for item in formats["mot"]().read(root, intake):
        assert item is not None
    return [(f.code, f.path, f.place) for f in intake.findings.items]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("1,2,3,4,x,6,1,1,1", "bad-value"),
        ("1,2,3,4", "bad-value"),
        ("1.5,2,3,4,5,6,1,1,1", "bad-value"),
        ("-1,2,3,4,5,6,1,1,1", "bad-value"),
        ("1,2.5,3,4,5,6,1,1,1", "bad-value"),
        ("1,2,3,4,5,6,nan,1,1", "nan-score"),
        ("1,2,3,4,5,6,1,1.5,1", "bad-value"),
        ("1,2,3,4,5,6,1,nan,1", "bad-value"),
        ("9,2,3,4,5,6,1,1,1", "frame-out-of-range"),
        ("1,0,3,4,5,6,1,1,1", "duplicate-track"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, line: str, code: str) -> None:
    root = sportsmot(tmp_path, f"1,0,1,2,3,4,1,1,1\n{line}\n2,0,1,2,3,4,1,1,1\n")
    assert faults(root) == [(code, "dataset/train/v_1/gt/gt.txt", "line 2")]


def test_boxes_are_checked_at_their_line(tmp_path: Path) -> None:
    gt = "2,1,1,2,-3,4,1,1,1\n1,1,1,2,3,4,1,1,1\n"
    with pytest.raises(FindingsError) as caught:
        granum.read(sequence(tmp_path, gt=gt))
    assert [(f.code, f.path, f.place) for f in caught.value.findings.items] == [
        ("negative-box", "gt/gt.txt", "line 1")
    ]
    fixed = granum.read(tmp_path, on_error="fix")
    assert boxes(fixed) == [(1, 2, 3, 4), (-2, 2, 3, 4)]


def test_a_class_that_labels_txt_lacks(tmp_path: Path) -> None:
    sequence(tmp_path, gt="1,1,0,0,1,1,1,1,1\n1,2,0,0,1,1,1,3,1\n", labels="red\n")
    assert faults(tmp_path) == [("unknown-class", "gt/gt.txt", "line 2")]
    fixed = granum.read(tmp_path, on_error="fix")
    assert fixed[0].labels == ["red", "class 3"]


def test_seqinfo_that_is_none(tmp_path: Path) -> None:
    sequence(tmp_path, gt="1,1,0,0,1,1,1,1,1\n", seqinfo="imWidth=4\n")
    assert faults(tmp_path) == [("bad-value", "seqinfo.ini", "line 1")]
    sequence(tmp_path, seqinfo="[Sequence]\nimWidth=wide\nframeRate=?\n")
    assert [f[2] for f in faults(tmp_path)] == ["imwidth", "framerate"]


def test_images_that_are_no_frames(tmp_path: Path) -> None:
    sequence(tmp_path, gt="1,1,0,0,1,1,1,1,1\n")
    (tmp_path / "img1").mkdir()
    (tmp_path / "img1/cover.jpg").write_bytes(b"")
    assert faults(tmp_path) == [("file-not-read", "img1/cover.jpg", None)]


# ---------------------------------------------------------------------- real data


def test_mot15_detections() -> None:
    found = granum.read(shared("mot15_det"))
    assert (len(found.groups), len(found), found.num_annotations) == (11, 5444, 35147)
    counts = {
        "TUD-Stadtmitte": 951,
        "ETH-Bahnhof": 6209,
        "KITTI-13": 945,
        "ADL-Rundle-6": 4325,
        "KITTI-17": 592,
        "PETS09-S2L1": 4359,
        "Venice-2": 5466,
        "ADL-Rundle-8": 5203,
        "ETH-Sunnyday": 2176,
        "TUD-Campus": 321,
        "ETH-Pedcross2": 4600,
    }
    group = found.samples(["group"])["group"].take(found.annotations(["sample"])["sample"])
    names = [found.groups["source_id"][g].as_py() for g in group.to_pylist()]
    assert {n: names.count(n) for n in counts} == counts
    table = found.annotations(["score", "track", "category"])
    assert table["score"].null_count == 0 and table["track"].null_count == len(table)
    (first,) = (s for s in found if s.key == "train/TUD-Stadtmitte/img1/000001.jpg")
    assert first.annotations[0].bbox == (340.829, 79.4999, 87.662, 244.25)
    assert first.annotations[0].score == 0.998128


def test_mot15_detections_written_again(tmp_path: Path) -> None:
    root = shared("mot15_det/train/TUD-Campus")
    granum.write(granum.read(root), tmp_path / "out", "mot", layout="det")
    written = (tmp_path / "out/TUD-Campus/det/det.txt").read_text().splitlines()
    assert written == (root / "det/det.txt").read_text().splitlines()


def test_fixture() -> None:
    found = granum.read(shared("format_fixtures/mot_dataset"))
    assert (len(found), found.num_annotations, len(found.categories)) == (2, 2, 10)
    assert boxes(found) == [(0, 4, 4, 8)] * 2
    assert [s.labels for s in found] == [["label_2"], ["label_2"]]
    assert found.groups["fps"].to_pylist() == [None, 10.0]
