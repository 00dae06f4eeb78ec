"""Views of objects, from folders and manifests typed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import granum
from granum.errors import FindingsError, FormatError, UsageError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Group, Media, Sample
from granum.store.dataset import Dataset
from granum.testing.keep import refuse_or_keep


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def told(found: Dataset) -> list[tuple[str, str, str | None, int | None, str | None]]:
    keys = found.groups["key"].to_pylist()
    return [
        (s.key, keys[s.row.group or 0], s.row.role, s.row.order, s.split)
        for s in found
        if s.row.group is not None
    ]


def labels(found: Dataset) -> list[tuple[str | None, str | None, str]]:
    """Of each label its sample, its group and its class."""
    keys, groups = [s.key for s in found], found.groups["key"].to_pylist()
    names = found.categories["name"].to_pylist()
    rows = found.annotations(["sample", "group", "category"]).to_pylist()
    return [
        (
            None if r["sample"] is None else keys[r["sample"]],
            None if r["group"] is None else groups[r["group"]],
            names[r["category"]],
        )
        for r in rows
    ]


def test_folders_of_objects(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"train/car/c1/view_{i}.png" for i in (10, 9)),
        "test/bus/b1/front.jpg",
        "stray.png",
    )
    findings = Findings()
    found = granum.read(tmp_path, "multi_view", folder_labels=True, findings=findings)
    assert told(found) == [
        ("test/bus/b1/front.jpg", "bus/b1", "front", 0, "test"),
        ("train/car/c1/view_9.png", "car/c1", "view_9", 0, "train"),
        ("train/car/c1/view_10.png", "car/c1", "view_10", 1, "train"),
    ]
    assert found.groups["kind"].to_pylist() == ["bag", "bag"]
    assert labels(found) == [(None, "bus/b1", "bus"), (None, "car/c1", "car")]
    assert [(f.code, f.path) for f in findings.items] == [("file-not-read", "stray.png")]
    assert not granum.read(tmp_path, "multi_view").num_annotations
    scenes = granum.read(tmp_path, "multi_view", group_kind="scene")
    assert scenes.groups["kind"].to_pylist() == ["scene", "scene"]


def test_folders_alone_are_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    assert list(sniff(tmp_path)) == ["image_folder"]


def test_names_by_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "obj2_top.png", "obj10_side3.png", "obj2_side1.png", "thing.png")
    wanted = r"(?P<object>obj\d+)_(?P<view>[a-z]+)(?P<order>\d*)\.png"
    findings = Findings()
    found = granum.read(tmp_path, "multi_view", pattern=wanted, findings=findings)
    assert told(found) == [
        ("obj2_side1.png", "obj2", "side", 1, None),
        ("obj2_top.png", "obj2", "top", 1, None),
        ("obj10_side3.png", "obj10", "side", 3, None),
    ]
    assert [(f.code, f.path) for f in findings.items] == [("file-not-read", "thing.png")]
    with pytest.raises(UsageError, match="no group"):
        granum.read(tmp_path, "multi_view", pattern=r".*\.png")
    with pytest.raises(UsageError, match="no regular expression"):
        granum.read(tmp_path, "multi_view", pattern="(")


def test_an_order_that_is_no_number_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "o_x.png")
    with pytest.raises(FindingsError, match=r"o_x\.png: order is 'x'"):
        granum.read(tmp_path, "multi_view", pattern=r"(?P<object>o)_(?P<order>.)\.png")


JSONL = """{"path": "c1/0.png", "object": "c1", "view": "front", "order": 7, "split": "train"}

{"path": "c1/1.png", "object": "c1", "labels": ["blurred", "dark"]}
{"object": "c1", "kind": "scene", "labels": ["sedan", "red"]}
{"path": "loose.png"}
{"object": "never seen"}
"""


def test_a_manifest_of_json_lines(tmp_path: Path) -> None:
    (tmp_path / "views.jsonl").write_text(JSONL)
    assert list(sniff(tmp_path)) == ["multi_view"]
    found = granum.read(tmp_path)
    assert told(found) == [
        ("c1/0.png", "c1", "front", 7, "train"),
        ("c1/1.png", "c1", None, None, None),
    ]
    assert found["loose.png"].row.group is None
    groups = found.groups.to_pylist()
    assert [(g["key"], g["kind"]) for g in groups] == [("c1", "scene"), ("never seen", "bag")]
    assert labels(found) == [
        ("c1/1.png", None, "blurred"),
        ("c1/1.png", None, "dark"),
        (None, "c1", "sedan"),
        (None, "c1", "red"),
    ]


def test_a_manifest_of_csv(tmp_path: Path) -> None:
    (tmp_path / "views.csv").write_text(
        "object,path,view,order,split,label\n"
        "c1,c1/0.png,front,0,train,sedan\n"
        "c1,c1/1.png,back,1,train,sedan\n"
        "c2,c2/0.png,,,test,van\n"
        "c2,c2/1.png,,,test,bus\n"
    )
    assert list(sniff(tmp_path)) == ["multi_view"]
    findings = Findings()
    found = granum.read(tmp_path, findings=findings)
    assert told(found)[1:3] == [
        ("c1/1.png", "c1", "back", 1, "train"),
        ("c2/0.png", "c2", None, None, "test"),
    ]
    assert labels(found) == [(None, "c1", "sedan"), (None, "c2", "van"), (None, "c2", "bus")]
    (finding,) = findings.items
    assert (finding.code, finding.path, finding.place) == (
        "conflicting-records",
        "views.csv",
        "line 5",
    )


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("[1]", "bad-value", "no JSON object"),
        ('{"path"', "bad-value", "no JSON"),
        ('{"view": "x"}', "missing-key", "neither"),
        ('{"path": "/etc/a.png"}', "bad-value", "path is"),
        ('{"path": 3}', "bad-value", "path is 3"),
        ('{"path": "b", "order": "1"}', "bad-value", "order is '1'"),
        ('{"path": "b", "order": 1e400}', "bad-value", "no JSON"),
        ('{"path": "b", "labels": "x"}', "bad-value", "labels is 'x'"),
        ('{"path": "c1/0.png"}', "duplicate-row", "named before"),
    ],
)
def test_a_bad_line_is_told(tmp_path: Path, line: str, code: str, message: str) -> None:
    first = {"path": "c1/0.png", "object": "c1"}
    text = f"{json.dumps(first)}\n{line}\n" + json.dumps({"path": "z.png"})
    (tmp_path / "views.jsonl").write_text(text)
    findings = Findings("skip")
    found = granum.read(tmp_path, on_error="skip", findings=findings)
    assert [s.key for s in found] == ["c1/0.png", "z.png"]
    (finding,) = findings.items
    assert (finding.code, finding.path, finding.place) == (code, "views.jsonl", "line 2")
    assert message in finding.message


def test_a_file_is_no_folder_of_views(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="folder"):
        granum.read(touch(tmp_path, "x.png") / "x.png", "multi_view")


def test_written_and_read_again(tmp_path: Path) -> None:
    front = Sample("front", Media("f.png"), group=0, role="front", order=0, split="train")
    front.annotations = [Annotation("label", 0)]
    back = Sample("deep/back.png", Media("b.png"), group=0, role="back", order=1)
    alone = Sample("alone.png", Media("a.png"))
    listed = [Category("dark", "object"), Category("car", "scene"), Category("dark", "scene")]
    whole = [Annotation("label", c, group=0) for c in (2, 1)]
    group = Group("car/1", "bag", source_id="c1", attributes={"maker": "x"})
    dataset = Dataset.from_rows([front, back, alone], listed, [group], group_annotations=whole)
    assert refuse_or_keep("multi_view", dataset, tmp_path, must_keep=True)
    granum.write(dataset, tmp_path / "out", "multi_view")
    lines = [json.loads(x) for x in (tmp_path / "out/views.jsonl").read_text().splitlines()]
    assert [x.get("path") for x in lines] == [
        "car/1/front",
        "car/1/back.png",
        "images/alone.png",
        None,
    ]
    assert lines[0]["object"] == lines[3]["object"] == "car/1"
    assert lines[3]["kind"] == "bag" and len(lines[3]["labels"]) == 2
