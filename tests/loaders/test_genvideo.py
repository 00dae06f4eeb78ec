"""GenVideo's lists, typed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

import granum
from granum.errors import FindingsError
from granum.schema.findings import Findings
from granum.testing.suite import ReaderSuite

HEADER = "content_path,image_path,type_id,label,frame_len,frame_seq\n"
ROWS = (
    'fake/Sora/vid_1,fake/Sora/vid_1/1.jpg,视频,1,3,"[1, 2, 3]"\n'
    'fake/EvalCrafter_T2V_Dataset/show_1/x,,视频,1,2,"[1, 2]"\n'
    'real/msr/vid_9,real/msr/vid_9/1.jpg,真实,0,1,"[1]"\n'
)


def tree(folder: Path, text: str = HEADER + ROWS, name: str = "train.csv") -> Path:
    root = folder / "g"
    root.mkdir(exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    return root


class TestGenVideo(ReaderSuite):
    name = "genvideo"

    def make(self, folder: Path) -> Path:
        return tree(folder)

    def test_reads_something(self, tmp_path: Path) -> None:
        found = self.read(self.make(tmp_path))
        assert (found.groups.num_rows, found.num_annotations, len(found)) == (3, 3, 0)


def test_videos_labels_and_generators(tmp_path: Path) -> None:
    found = granum.read(tree(tmp_path))
    sora, show, real = (dict(g) for g in found.groups.to_pylist())
    assert (sora["key"], sora["kind"], sora["frames"]) == ("fake/Sora/vid_1", "video", 3)
    assert '"generator": "Sora"' in sora["attributes"]
    assert '"frame_seq": [1, 2, 3]' in sora["attributes"]
    # A generator may lie in folders of its own.
    assert '"generator": "EvalCrafter_T2V_Dataset/show_1"' in show["attributes"]
    assert "generator" not in real["attributes"] and "真实" in real["attributes"]
    labels = found.annotations(["kind", "category", "group"]).to_pylist()
    assert [(x["kind"], x["category"], x["group"]) for x in labels] == [
        ("label", 0, 0), ("label", 0, 1), ("label", 1, 2)
    ]  # fmt: skip
    assert found.category_names() == ["fake", "real"]
    assert found.categories["space"].to_pylist() == ["authenticity"] * 2


def test_a_list_is_parsed_and_never_evaluated(tmp_path: Path) -> None:
    made = tmp_path / "made"
    hostile = f"__import__('os').mkdir('{made}')"
    text = HEADER + f'fake/Sora/v,,t,1,1,"{hostile}"\n'
    with pytest.raises(FindingsError, match=r"train\.csv line 2.*frame_seq"):
        granum.read(tree(tmp_path, text))
    assert not made.exists()


def test_one_video_in_several_lists(tmp_path: Path) -> None:
    root = tree(tmp_path)
    tree(tmp_path, HEADER + ROWS.splitlines()[0] + "\n", "val_id.csv")
    findings = Findings()
    found = granum.read(root, findings=findings)
    assert found.groups.num_rows == 3 and not findings.counts
    assert '"splits": ["train", "val_id"]' in found.groups.to_pylist()[0]["attributes"]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("fake/Sora/v,,t,2,1,[1]", "bad-value"),
        (",,t,1,1,[1]", "missing-key"),
        ("fake/Sora/vid_1,,t,0,1,[1]", "conflicting-records"),
        ("fake/Sora/vid_1,,t,1,1,[1]", "duplicate-row"),
        ("fake/Sora/v,,t,1,many,[1]", "bad-value"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, row: str, code: str) -> None:
    findings = Findings("skip")
    granum.read(tree(tmp_path, HEADER + ROWS + row + "\n"), findings=findings, on_error="skip")
    assert dict(findings.counts) == {code: 1}
    assert (findings.items[0].path, findings.items[0].place) == ("train.csv", "line 5")
