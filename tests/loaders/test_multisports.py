"""MultiSports, from pickles typed by hand after the released one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import granum
from granum.errors import FindingsError, FormatError, LossError
from granum.loaders.base import Intake
from granum.loaders.multisports import FILE, UNSCORED, MultiSports
from granum.loaders.reading import read_into, sniff
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Sample
from granum.store import video
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset
from granum.testing.same import assert_same

GYM, BALL = "aerobic_gymnastics/v_crsi_c004", "basketball/v_0kUt_c001"
LABELS = ["aerobic push up", *sorted(UNSCORED), "basketball pass"]
PASS = len(LABELS) - 1


def truth() -> dict[str, Any]:
    """Two videos. The first, for training, has two push ups, both of whose boxes are in frame 12;
    the second a pass in frames 3 to 5."""
    push_ups = [
        np.array([[11, 100, 50, 300, 650], [12, 101.5, 50, 300, 650]], np.float32),
        np.array([[12, 900.25, 0, 1280, 720]], np.float32),
    ]
    passed = np.array([[3, 1, 2, 11, 22], [4, 2, 2, 12, 22], [5, 3, 2, 13, 22]], np.float32)
    return {
        "labels": list(LABELS),
        "train_videos": [[GYM]],
        "test_videos": [[BALL]],
        "nframes": {GYM: 200, BALL: 90},
        "resolution": {GYM: (720, 1280), BALL: (720, 1280)},
        "gttubes": {GYM: {0: push_ups}, BALL: {PASS: [passed]}},
    }


def written(folder: Path, content: Any, name: str = FILE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return folder


def findings(root: Path, **options: Any) -> tuple[Dataset, list[tuple[str, str, str | None]]]:
    intake = Intake(Findings("skip"))
    found = read_into(MemoryBuilder(), MultiSports(), root, intake, options=options)
    return found, [(f.code, f.path, f.place) for f in intake.findings.items]


def test_the_released_layout(tmp_path: Path) -> None:
    found, faults = findings(written(tmp_path, truth()))
    assert faults == []
    assert [s.key for s in found] == [
        *(f"{GYM}/000011", f"{GYM}/000012"),
        *(f"{BALL}/000003", f"{BALL}/000004", f"{BALL}/000005"),
    ]
    # Height comes first in the file.
    assert {s.size for s in found} == {(1280, 720)}
    # The released test_videos are the validation set.
    assert [s.split for s in found] == ["train", "train", "val", "val", "val"]
    assert [s.row.order for s in found] == [11, 12, 3, 4, 5]
    assert [[a.bbox for a in s.annotations] for s in found][:3] == [
        [(100, 50, 200, 600)],
        [(101.5, 50, 198.5, 600), (900.25, 0, 379.75, 720)],
        [(1, 2, 10, 20)],
    ]
    assert [[a.track for a in s.annotations] for s in found] == [[0], [0, 1], [2], [2], [2]]
    whole = [r for r in found.annotations().to_pylist() if r["sample"] is None]
    assert [(r["kind"], r["group"], r["track"], r["category"], r["bbox"]) for r in whole] == [
        ("track", 0, 0, 0, None),
        ("track", 0, 1, 0, None),
        ("track", 1, 2, PASS, None),
    ]
    assert (len(found), found.num_annotations) == (5, 6 + 3)
    groups = found.groups.to_pylist()
    assert [(g["key"], g["frames"], g["width"], g["height"]) for g in groups] == [
        (GYM, 200, 1280, 720),
        (BALL, 90, 1280, 720),
    ]
    assert [g["media"]["path"] for g in groups] == [f"trainval/{v}.mp4" for v in (GYM, BALL)]


def test_sixty_of_the_classes_are_scored(tmp_path: Path) -> None:
    found = granum.read(written(tmp_path, truth()))
    scored = {
        c["name"]: json.loads(c["attributes"])["scored"] for c in found.categories.to_pylist()
    }
    assert {n for n, s in scored.items() if not s} == UNSCORED
    assert len(UNSCORED) == 6 and scored["aerobic push up"] and scored["basketball pass"]


def test_what_was_read_is_written_as_it_was(tmp_path: Path) -> None:
    found = granum.read(written(tmp_path / "in", truth()))
    granum.write(found, tmp_path / "out", "multisports")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [FILE]
    again = pickle.loads((tmp_path / "out" / FILE).read_bytes())
    before = truth()
    tubes = before.pop("gttubes"), again.pop("gttubes")
    assert before == again
    assert [list(t) for t in tubes[0].values()] == [list(t) for t in tubes[1].values()]
    for name in tubes[0]:
        for label, listed in tubes[0][name].items():
            for a, b in zip(listed, tubes[1][name][label], strict=True):
                assert a.dtype == b.dtype == np.float32
                assert np.array_equal(a, b)
    assert_same(found, granum.read(tmp_path / "out"))


def test_boxes_without_tracks_or_videos_come_back(tmp_path: Path) -> None:
    """They are tubes of one frame, of one more video; the notes tell."""
    box = (1.1, 2.0, 3.3, 4.0)
    samples = [
        Sample("a.jpg", width=10, height=10, annotations=[Annotation("object", 0, box)] * 2),
        Sample("b.jpg", width=10, height=10),
    ]
    dataset = Dataset.from_rows(samples, [Category("run", "action")])
    granum.write(dataset, tmp_path / "out", "multisports")
    content = pickle.loads((tmp_path / "out" / FILE).read_bytes())
    tubes = content["gttubes"]["frames"][0]
    assert [t.tolist() for t in tubes] == [[[1, 1.1, 2, 1.1 + 3.3, 6]]] * 2
    assert tubes[0].dtype == np.float64  # 1.1 is no number of 32 bits
    back = granum.read(tmp_path / "out")
    assert_same(dataset, back, ordered=True, tolerance={"bbox": 1e-6})


def test_scores_are_refused(tmp_path: Path) -> None:
    one = Sample("a", annotations=[Annotation("object", 0, (0, 0, 1, 1), score=0.5)])
    with pytest.raises(LossError, match="score"):
        granum.write(Dataset.from_rows([one], [Category("run")]), tmp_path / "x", "multisports")


@pytest.mark.parametrize("folder", [".", "annotations", "trainval"])
def test_where_the_pickle_lies(tmp_path: Path, folder: str) -> None:
    written(tmp_path / folder, truth())
    assert list(sniff(tmp_path)) == ["multisports"]
    assert len(granum.read(tmp_path)) == 5
    assert list(sniff(tmp_path / folder / FILE)) == ["multisports"]


def test_a_pickle_of_another_name_is_known_by_its_classes(tmp_path: Path) -> None:
    written(tmp_path, truth(), "gt.pkl")
    assert list(sniff(tmp_path / "gt.pkl")) == ["multisports"]
    assert len(granum.read(tmp_path / "gt.pkl")) == 5


# ---------------------------------------------------------------------- results


def test_results_of_frames(tmp_path: Path) -> None:
    """The video is its place in test_videos: 0 is the one for validation."""
    root = written(tmp_path, truth())
    detections = np.array(
        [
            [0, 5, PASS, 0.75, 1, 2, 11, 22],
            [0, 3, 0, 0.5, 0, 0, 4, 4],
            [0, 5, PASS, 0.25, 5, 5, 6, 7],
        ]
    )
    written(root, detections, "frames.pkl")
    found, faults = findings(root / "frames.pkl")
    assert faults == []
    assert [s.key for s in found] == [f"{BALL}/000003", f"{BALL}/000005"]
    assert [[(a.category, a.score, a.bbox, a.track) for a in s.annotations] for s in found] == [
        [(0, 0.5, (0, 0, 4, 4), None)],
        [(PASS, 0.75, (1, 2, 10, 20), None), (PASS, 0.25, (5, 5, 1, 2), None)],
    ]
    assert found.num_annotations == 3


def test_results_of_tubes(tmp_path: Path) -> None:
    root = written(tmp_path, truth())
    tube = np.array([[3, 1, 2, 11, 22, 0.9], [4, 2, 2, 12, 22, 0.7]], np.float32)
    other = np.array([[1, 0, 0, 4, 4, 0.5]])
    written(root, {PASS: [(BALL, 0.8, tube)], 0: [(GYM, np.float64(0.25), other)]}, "tubes.pkl")
    found, faults = findings(root / "tubes.pkl")
    assert faults == []
    assert [s.key for s in found] == [f"{GYM}/000001", f"{BALL}/000003", f"{BALL}/000004"]
    scores = [s.annotations[0].score for s in found]
    assert scores == [0.5, pytest.approx(0.9), pytest.approx(0.7)]
    whole = [r for r in found.annotations().to_pylist() if r["sample"] is None]
    assert [(r["group"], r["category"], r["score"]) for r in whole] == [
        (0, 0, 0.25),
        (1, PASS, 0.8),
    ]


def test_results_need_the_ground_truth(tmp_path: Path) -> None:
    written(tmp_path / "r", np.zeros((1, 8)), "d.pkl")
    with pytest.raises(FormatError, match="--gt"):
        granum.read(tmp_path / "r" / "d.pkl", "multisports")
    gt = written(tmp_path / "gt", truth()) / FILE
    written(tmp_path / "r", np.array([[0, 3, 0, 1, 0, 0, 2, 2.0]]), "d.pkl")
    assert len(granum.read(tmp_path / "r" / "d.pkl", "multisports", gt=str(gt))) == 1


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        (0, 1, "unknown-sample"),
        (0, np.nan, "unknown-sample"),
        (1, 0, "bad-value"),
        (2, len(LABELS), "unknown-class"),
        (3, np.nan, "nan-score"),
    ],
)
def test_faulty_detections(tmp_path: Path, column: int, value: float, code: str) -> None:
    root = written(tmp_path, truth())
    detections = np.array([[0, 5, 0, 0.75, 1, 2, 11, 22]] * 2)
    detections[1, column] = value
    written(root, detections, "d.pkl")
    found, faults = findings(root / "d.pkl")
    assert faults == [(code, "d.pkl", "row[1]")]
    assert found.num_annotations == 1


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (("no/video", 0.5, np.zeros((1, 6))), "unknown-sample"),
        ((BALL, np.nan, np.ones((1, 6))), "nan-score"),
        ((BALL, 0.5, np.ones((1, 5))), "bad-value"),
        ((BALL, 0.5), "bad-value"),
    ],
)
def test_faulty_tubes(tmp_path: Path, one: Any, code: str) -> None:
    root = written(tmp_path, truth())
    good = np.array([[1, 0, 0, 4, 4, 0.5]])
    written(root, {PASS: [(BALL, 1.0, good), one]}, "t.pkl")
    found, faults = findings(root / "t.pkl")
    assert faults == [(code, "t.pkl", f"label[{PASS}][1]")]
    assert len(found) == 1


# ---------------------------------------------------------------------- traps


def test_a_frame_twice_or_past_the_end_is_told(tmp_path: Path) -> None:
    content = truth()
    content["gttubes"][BALL][PASS][0][1, 0] = 3
    content["gttubes"][BALL][PASS][0][2, 0] = 91
    found, faults = findings(written(tmp_path, content))
    place = f"gttubes['{BALL}'][{PASS}][0]"
    assert faults == [
        ("duplicate-track", FILE, place),
        ("frame-out-of-range", FILE, place),
    ]
    assert found.num_annotations == 9  # both are warnings


def test_a_video_in_both_lists_is_told(tmp_path: Path) -> None:
    content = truth()
    content["test_videos"][0].append(GYM)
    _, faults = findings(written(tmp_path, content))
    assert faults == [("conflicting-records", FILE, "test_videos")]


def test_no_resolution_is_told(tmp_path: Path) -> None:
    content = truth()
    del content["resolution"][BALL]
    found, faults = findings(written(tmp_path, content))
    assert faults == [("missing-size", FILE, f"resolution['{BALL}']")]
    assert found[2].row.width is None


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(FormatError, match=r"os\.system"):
        granum.read(tmp_path)


def test_notes_of_another_file_are_refused(tmp_path: Path) -> None:
    sample = Sample("a", annotations=[Annotation("object", 0, (0, 0, 1, 1))])
    granum.write(Dataset.from_rows([sample], [Category("run")]), tmp_path / "o", "multisports")
    content = pickle.loads((tmp_path / "o" / FILE).read_bytes())
    content["gttubes"]["frames"][0][0][0, 0] = 2
    written(tmp_path / "o", content)
    with pytest.raises(FindingsError, match=r"orphan-image(?s:.*)frames/000002"):
        granum.read(tmp_path / "o")
    written(tmp_path / "o", truth())
    with pytest.raises(FormatError, match="labels"):
        granum.read(tmp_path / "o")


def test_reading_makes_no_object_per_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes go from arrays to columns."""
    made: list[int] = []
    original = Annotation.__init__

    def counted(self: Annotation, *args: Any, **values: Any) -> None:
        made.append(1)
        original(self, *args, **values)

    monkeypatch.setattr(Annotation, "__init__", counted)
    found = granum.read(written(tmp_path, truth()))
    assert not made
    boxes = found.annotations(["bbox"])["bbox"]
    assert boxes.type == pa.list_(pa.float64(), 4)


def test_frames_are_decoded_from_the_clip(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    root = written(tmp_path, truth())
    path = root / "trainval" / f"{BALL}.mp4"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for i in range(6):
            grey = np.full((32, 32, 3), 40 * i, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode())
    found = granum.read(root)
    for key, number in ((f"{BALL}/000003", 3), (f"{BALL}/000005", 5)):
        grey = np.asarray(found[key].image().convert("L")).mean()
        assert abs(grey - 40 * (number - 1)) < 5  # frame 1 of the file is the first
    video.close_videos()
