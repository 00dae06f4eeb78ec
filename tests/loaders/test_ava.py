"""AVA, from files typed by hand after the released ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.ava import Ava
from granum.loaders.base import Intake
from granum.loaders.reading import read_into, sniff
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Sample
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset
from granum.testing.same import assert_same
from tests.data import shared

TRAIN = """-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,9,1
-5KQ66BBWC4,0902,0.226,0.032,0.366,0.497,12,0
-5KQ66BBWC4,0903,0.080,0.150,0.290,0.810,9,1
"""
VAL = """1j20qq1JyX4,0902,0.002,0.118,0.714,0.977,12,1
"""
LIST = """label {
  name: "stand"
  label_id: 12
  label_type: PERSON_MOVEMENT
}
label {
  name: "read \\"aloud\\""
  label_id: 9
  label_type: OBJECT_MANIPULATION
}
label {
  name: "watch (a person)"
  label_id: 80
  label_type: PERSON_INTERACTION
}
"""
SCORED = 'item {\n  name: "stand"\n  id: 12\n}\nitem { name: "watch (a person)" id: 80 }\n'


def tree(root: Path, **files: str) -> Path:
    """``annotations`` with train, val and the list; ``files`` replace or add some."""
    folder = root / "annotations"
    folder.mkdir(parents=True)
    named = {
        "ava_train_v2.2.csv": TRAIN,
        "ava_val_v2.2.csv": VAL,
        "ava_train_excluded_timestamps_v2.2.csv": "-5KQ66BBWC4,0905\n",
        "ava_action_list_v2.2.pbtxt": LIST,
        **{n.replace("__", "."): t for n, t in files.items()},
    }
    for name, text in named.items():
        (folder / name).write_text(text)
    return root


def findings(root: Path, **options: Any) -> tuple[Dataset, list[tuple[str, str, str | None]]]:
    intake = Intake(Findings("skip"))
    found = read_into(MemoryBuilder(), Ava(), root, intake, options=options)
    return found, [(f.code, f.path, f.place) for f in intake.findings.items]


def test_a_person_with_several_actions_has_several_rows(tmp_path: Path) -> None:
    found, faults = findings(tree(tmp_path))
    assert faults == []
    assert [s.key for s in found] == [
        *("-5KQ66BBWC4/0902", "-5KQ66BBWC4/0903", "1j20qq1JyX4/0902", "-5KQ66BBWC4/0905"),
    ]
    one, two, three, excluded = found
    assert [(s.split, s.row.order) for s in found] == [
        *(("train", 902), ("train", 903), ("val", 902), ("train", 905)),
    ]
    assert one.row.unit == "relative" and one.row.width is None
    assert one.labels == ["watch (a person)", 'read "aloud"', "stand"]
    assert [a.track_source_id for a in one.annotations] == ["1", "1", "0"]
    assert one.annotations[0].bbox == (0.077, 0.151, 0.283 - 0.077, 0.811 - 0.151)
    # Person 1 of the second video is another one.
    assert [a.track for s in (one, two, three) for a in s.annotations] == [0, 0, 1, 0, 2]
    assert excluded.row.attributes == {"excluded": True} and not excluded.annotations
    assert one.row.attributes is None
    assert found.groups["key"].to_pylist() == ["-5KQ66BBWC4", "1j20qq1JyX4"]
    kinds = [(c["source_id"], c["supercategory"]) for c in found.categories.to_pylist()]
    assert kinds == [
        *(("12", "PERSON_MOVEMENT"), ("9", "OBJECT_MANIPULATION"), ("80", "PERSON_INTERACTION")),
    ]


def test_what_was_read_is_written_as_it_was(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path / "in"))
    granum.write(found, tmp_path / "out", "ava")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == [
        "annotations",
        "ava_action_list_v2.2.pbtxt",
        "ava_train_excluded_timestamps_v2.2.csv",
        "ava_train_v2.2.csv",
        "ava_val_v2.2.csv",
    ]
    folder = tmp_path / "out" / "annotations"
    text = (folder / "ava_train_v2.2.csv").read_text()
    # Numbers are written with as few digits as they need: 0.080 is 0.08.
    assert text == TRAIN.replace("0.080,0.150,0.290,0.810", "0.08,0.15,0.29,0.81")
    assert (folder / "ava_val_v2.2.csv").read_text() == VAL
    assert (folder / "ava_action_list_v2.2.pbtxt").read_text() == LIST
    assert_same(found, granum.read(tmp_path / "out"))


def test_sixty_of_eighty_are_scored(tmp_path: Path) -> None:
    name = "ava_action_list_v2__2_for_activitynet_2019__pbtxt"
    found = granum.read(tree(tmp_path, **{name: SCORED}))
    scored = {
        c["name"]: json.loads(c["attributes"])["scored"] for c in found.categories.to_pylist()
    }
    assert scored == {"stand": True, 'read "aloud"': False, "watch (a person)": True}


def test_results_have_scores(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", ava_val_v2__2__csv="", ava_train_v2__2__csv="")
    results = root / "annotations" / "results.csv"
    results.write_text("1j20qq1JyX4,0902,0.1,0.2,0.3,0.4,12,0.875\n1j20qq1JyX4,0902,0,0,1,1,9,1\n")
    found = granum.read(results, "ava")
    (one,) = found
    assert [(a.score, a.track, a.category) for a in one.annotations] == [
        (0.875, None, 0),
        (1.0, None, 1),
    ]
    granum.write(found, tmp_path / "out", "ava", scores=True)
    rows = (tmp_path / "out/annotations/ava_default_v2.2.csv").read_text()
    assert rows == "1j20qq1JyX4,0902,0.1,0.2,0.3,0.4,12,0.875\n1j20qq1JyX4,0902,0,0,1,1,9,1\n"
    assert_same(found, granum.read(tmp_path / "out"))
    # All of them whole: only the user knows.
    results.write_text("1j20qq1JyX4,0902,0.1,0.2,0.3,0.4,12,1\n")
    assert granum.read(results, "ava")[0].annotations[0].track == 0
    assert granum.read(results, "ava", scores=True)[0].annotations[0].score == 1.0


def test_actions_are_named_by_a_list_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "ava_val_v2.2.csv").write_text(VAL)
    with pytest.raises(FindingsError, match="missing-categories"):
        granum.read(tmp_path)
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "actions.pbtxt").write_text(LIST)
    found = granum.read(tmp_path, actions=str(tmp_path / "list" / "actions.pbtxt"))
    assert found[0].labels == ["stand"]


def test_rows_of_ava_kinetics(tmp_path: Path) -> None:
    """Seconds have fractions, and a frame without people has a row without a box."""
    (tmp_path / "ava_action_list_v2.2.pbtxt").write_text(LIST)
    (tmp_path / "kinetics_val_v1.0.csv").write_text("abc,5.25,0.1,0.2,0.3,0.4,12,0\nabd,7,,,,,,\n")
    found, faults = findings(tmp_path)
    assert faults == []
    assert [(s.key, s.row.order, len(s.annotations)) for s in found] == [
        ("abc/5.25", None, 1),
        ("abd/7", 7, 0),
    ]
    granum.write(found, tmp_path / "out", "ava")
    assert_same(found, granum.read(tmp_path / "out"))


def test_rows_of_ava_1_have_no_person(tmp_path: Path) -> None:
    rows = "".join(line.rpartition(",")[0] + "\n" for line in TRAIN.splitlines())
    found = granum.read(tree(tmp_path, ava_train_v2__2__csv=rows))
    assert [a.track for a in found[0].annotations] == [None] * 3
    assert found["1j20qq1JyX4/0902"].annotations[0].track == 0


def test_tracks_without_ids_of_the_source_are_numbered(tmp_path: Path) -> None:
    box = (2.0, 1.0, 5.0, 5.0)
    first = [
        Annotation("object", 0, box, track=40),
        Annotation("object", 0, box),
        Annotation("object", 1, box, track=7),
    ]
    samples = [
        Sample("v,1.jpg", width=20, height=10, annotations=first),
        Sample("b.jpg", width=20, height=10, annotations=[Annotation("object", 1, box, track=40)]),
    ]
    dataset = Dataset.from_rows(samples, [Category("run"), Category("walk")])
    granum.write(dataset, tmp_path / "out", "ava")
    rows = (tmp_path / "out/annotations/ava_default_v2.2.csv").read_text()
    assert rows == (
        "frames,0000,0.1,0.1,0.35,0.6,1,0\n"
        "frames,0000,0.1,0.1,0.35,0.6,1,\n"
        "frames,0000,0.1,0.1,0.35,0.6,2,1\n"
        "frames,0001,0.1,0.1,0.35,0.6,2,0\n"
    )
    assert_same(dataset, granum.read(tmp_path / "out"), tolerance={"bbox": 1e-9})


def test_frames_by_second_are_the_media(tmp_path: Path) -> None:
    root = tree(tmp_path)
    folder = root / "frames" / "-5KQ66BBWC4"
    folder.mkdir(parents=True)
    for second in (902, 903, 905):
        (folder / f"-5KQ66BBWC4_{second:06d}.jpg").write_bytes(b"")
    media = granum.read(root)[1].row.media
    assert media is not None and media.path == "frames/-5KQ66BBWC4/-5KQ66BBWC4_000903.jpg"
    # Frames at the rate of the film would be the wrong ones.
    for n in range(1, 30):
        (folder / f"-5KQ66BBWC4_{n:06d}.jpg").write_bytes(b"")
    found, faults = findings(root)
    assert found[1].row.media is None
    assert faults == [("file-not-read", "frames/-5KQ66BBWC4", None)]


def test_the_fixture() -> None:
    root = shared("format_fixtures/ava_dataset")
    assert list(sniff(root)) == ["ava"]
    found = granum.read(root)
    assert (len(found), found.num_annotations, found.groups.num_rows) == (4, 10, 2)
    assert found.counts() == {"label_0": 2, "label_1": 2, "label_2": 2, "label_3": 2, "label_4": 2}
    assert [len(s.annotations) for s in found] == [2, 2, 3, 3]
    tracks = [a.track for s in found for a in s.annotations]
    assert tracks == [0, 1, 0, 1, 2, 3, 4, 2, 3, 4]
    assert [s.image().size for s in found] == [(8, 8)] * 4
    # The fixture's corners are pixels, though the format says fractions.
    assert found[0].annotations[0].bbox == (0, 0, 4, 4)


# ---------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("v,0902,0.1,0.2,0.3,0.4,77,1", "unknown-class"),
        ("v,0902,0.1,0.2,0.3,0.4,,1", "missing-category"),
        ("v,0902,0.1,0.2,,0.4,12,1", "bad-value"),
        ("v,0902,0.1,0.2,x,0.4,12,1", "bad-value"),
        ("v,soon,0.1,0.2,0.3,0.4,12,1", "bad-value"),
        (",0902,0.1,0.2,0.3,0.4,12,1", "bad-value"),
        ("v,0902,0.1,0.2,0.3,0.4,12", "bad-value"),
        ("v,0902,0.3,0.2,0.1,0.4,12,1", "negative-box"),
        ("v,0902,nan,0.2,0.1,0.4,12,1", "nan-box"),
    ],
)
def test_a_faulty_row_is_told_with_its_line(tmp_path: Path, line: str, code: str) -> None:
    # A name of two lines and a blank line come before.
    start = '"two\nlines",0902,0.1,0.2,0.3,0.4,12,1\n\n'
    rows = start + TRAIN[TRAIN.index("\n") + 1 :] + line + "\n" + TRAIN.replace("-5KQ", "XXXX")
    found, faults = findings(tree(tmp_path, ava_train_v2__2__csv=rows))
    assert faults == [(code, "ava_train_v2.2.csv", "line 7")]
    assert found.num_annotations == 9


def test_scores_that_are_none(tmp_path: Path) -> None:
    rows = "v,0902,0.1,0.2,0.3,0.4,12,0.5\nv,0902,0.1,0.2,0.3,0.4,12,high\n"
    root = tree(tmp_path, ava_val_v2__2__csv="", ava_train_v2__2__csv=rows)
    found, faults = findings(root, scores=True)
    assert faults == [("nan-score", "ava_train_v2.2.csv", "line 2")]
    assert [a.score for a in found[0].annotations] == [0.5, None]


def test_a_frame_in_two_splits_is_told(tmp_path: Path) -> None:
    _, faults = findings(tree(tmp_path, ava_val_v2__2__csv=VAL + TRAIN.splitlines()[3] + "\n"))
    assert faults == [("conflicting-records", "ava_val_v2.2.csv", "line 2")]


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        (("label_id: 9", "label_id: 12"), "duplicate-category-id", "line 6"),
        (('  name: "stand"\n', ""), "bad-value", "line 1"),
        (("label_id: 12", "label_id: x"), "bad-value", "line 1"),
        (("label {", "lab el {"), "bad-value", "line 1"),
    ],
)
def test_a_faulty_list_is_told(
    tmp_path: Path, change: tuple[str, str], code: str, place: str
) -> None:
    text = LIST.replace(*change, 1)
    _, faults = findings(tree(tmp_path, ava_action_list_v2__2__pbtxt=text))
    assert (code, "ava_action_list_v2.2.pbtxt", place) in faults


def test_another_table_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, ava_train_v2__2__csv="a,b,c\n")
    with pytest.raises(FormatError, match=r"ava_train_v2\.2\.csv.*3 fields"):
        granum.read(root, "ava")
