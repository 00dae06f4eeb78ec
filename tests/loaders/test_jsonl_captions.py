"""Images and texts in JSON lines, typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.reading import sniff
from granum.schema import rows
from granum.schema.findings import Findings
from granum.store.dataset import Dataset
from granum.testing.media import png

LINES = [
    {"file_name": "a.png", "caption": "a dog", "id": 7, "width": 4, "height": 3, "url": "u"},
    {"file_name": "b.png", "captions": ["one", "two"], "label": "cat"},
    {
        "file_name": "c.png",
        "text": "all",
        "objects": [{"bbox": [1, 2, 3, 4], "category": "dog", "phrase": "a dog", "score": 0.5}],
        "boxes": [[5, 6, 7, 8]],
        "categories": ["cat"],
    },
]
CHAT = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A dog."}]


def tree(folder: Path, lines: list[Any] = LINES, name: str = "train.jsonl") -> Path:
    root = folder / "j"
    (root / "images").mkdir(parents=True, exist_ok=True)
    texts = (x if isinstance(x, str) else json.dumps(x) for x in lines)
    (root / name).write_text("\n".join(texts) + "\n")
    return root


def test_lines(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert list(sniff(root)) == ["jsonl_captions"]
    data = granum.read(root)
    a, b, c = (s.row for s in data)
    assert (a.key, a.source_id, a.width, a.height, a.split) == ("a.png", "7", 4, 3, "train")
    assert a.attributes == {"url": "u"} and [x.text for x in a.annotations] == ["a dog"]
    assert [(x.kind, x.text) for x in b.annotations] == [
        ("caption", "one"), ("caption", "two"), ("label", None)
    ]  # fmt: skip
    text, dog, cat = c.annotations
    assert text.text == "all"
    assert (dog.bbox, dog.text, dog.score) == ((1, 2, 3, 4), "a dog", 0.5)
    assert cat.bbox == (5, 6, 7, 8) and data.category_names() == ["cat", "dog"]


def test_boxes_of_two_corners(tmp_path: Path) -> None:
    data = granum.read(tree(tmp_path), bbox_format="xyxy")
    assert [x.bbox for x in data[2].annotations[1:]] == [(1, 2, 2, 2), (5, 6, 2, 2)]


def test_images_are_found_beside(tmp_path: Path) -> None:
    root = tree(tmp_path)
    for name in "abc":
        (root / "images" / f"{name}.png").write_bytes(png(4, 3))
    data = granum.read(root)
    assert [s.key for s in data] == ["images/a.png", "images/b.png", "images/c.png"]
    assert data[1].image().size == (4, 3)


def test_conversations_of_one_image(tmp_path: Path) -> None:
    """As in LLaVA's instructions: a list, ids repeated, some records without an image."""
    other = [{"from": "human", "value": "And?"}]
    root = tmp_path / "l"
    root.mkdir()
    listed = [
        {"id": "1", "image": "coco/1.jpg", "conversations": CHAT},
        {"id": "2", "image": "coco/2.jpg", "conversations": CHAT},
        {"id": "1", "image": "coco/1.jpg", "conversations": other},
        {"id": "t3", "conversations": other},
    ]
    (root / "llava_instruct.json").write_text(json.dumps(listed))
    assert list(sniff(root)) == ["jsonl_captions"]
    one, two, text = (s.row for s in granum.read(root))
    assert (one.key, two.key) == ("coco/1.jpg", "coco/2.jpg")
    assert one.attributes == {"conversations": CHAT, "conversations_2": other}
    assert two.attributes == {"conversations": CHAT}
    assert (text.key, text.media, text.media_kind) == ("t3", None, "text")


def test_a_line_per_caption(tmp_path: Path) -> None:
    """Lines of one image need not follow each other."""
    lines = [
        {"image": "a.png", "caption": "one", "n": 1},
        {"image": "b.png", "caption": "x"},
        {"image": "a.png", "caption": "two", "n": 2},
    ]
    findings = Findings()
    data = granum.read(tree(tmp_path, lines), findings=findings)
    assert [[x.text for x in s.annotations] for s in data] == [["one", "two"], ["x"]]
    (conflict,) = findings.items
    assert (conflict.code, conflict.place) == ("conflicting-records", "line 3")
    assert data[0].row.attributes == {"n": 1}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", "bad-value"),
        ("[1]", "bad-value"),
        ('{"image": "d.png", "caption": NaN}', "nan-token"),
        ('{"image": "d.png", "caption": 3}', "bad-value"),
        ('{"image": "d.png", "width": -1}', "bad-value"),
        ('{"image": "../d.png", "caption": "x"}', "bad-value"),
        ('{"image": "d.png", "objects": [{"category": "x"}]}', "bad-value"),
        ('{"image": "d.png", "boxes": [[1, 2, 3]]}', "bad-value"),
        ('{"image": "d.png", "boxes": [[1, 2, 3, 4]], "categories": ["a", "b"]}', "bad-value"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, line: str, code: str) -> None:
    root = tree(tmp_path, [*LINES, "", line, LINES[0]])
    findings = Findings("skip")
    granum.read(root, findings=findings, on_error="skip")
    (fault,) = findings.items
    assert (fault.code, fault.path, fault.place) == (code, "train.jsonl", "line 5")
    with pytest.raises(FindingsError, match=r"train\.jsonl line 5"):
        granum.read(root)


def test_a_last_line_that_is_cut_off(tmp_path: Path) -> None:
    root = tree(tmp_path)
    text = (root / "train.jsonl").read_text()
    (root / "train.jsonl").write_text(text[:-9])
    findings = Findings("skip")
    assert len(granum.read(root, findings=findings, on_error="skip")) == 2
    assert dict(findings.counts) == {"truncated-json": 1}


def test_lines_that_are_written(tmp_path: Path) -> None:
    samples = [
        rows.Sample(
            "sub/a.png",
            rows.Media("sub/a.png"),
            4,
            3,
            attributes={"conversations": CHAT, "text": "an attribute"},
            annotations=[rows.Annotation("caption", text="a dog")],
        ),
        rows.Sample("b.png", rows.Media("b.png"), split="val"),
    ]
    granum.write(Dataset.from_rows(samples), tmp_path / "o", "jsonl_captions")
    (record,) = map(json.loads, (tmp_path / "o/captions.jsonl").read_text().splitlines())
    assert record == {
        "file_name": "images/sub/a.png",
        "width": 4,
        "height": 3,
        "caption": "a dog",
        "conversations": CHAT,
        "attributes": {"text": "an attribute"},
    }
    assert json.loads((tmp_path / "o/val.jsonl").read_text()) == {"file_name": "images/b.png"}
    (tmp_path / "o/granum.json").unlink()
    (again,) = granum.read(tmp_path / "o/captions.jsonl")
    assert again.row.attributes == samples[0].attributes


def test_files_of_other_formats(tmp_path: Path) -> None:
    root = tree(tmp_path, name="metadata.jsonl")
    assert "jsonl_captions" not in sniff(root)
    with pytest.raises(FormatError, match="no JSON lines"):
        granum.read(root, "jsonl_captions")


def test_its_notes_are_damaged(tmp_path: Path) -> None:
    root = tmp_path / "o"
    granum.write(Dataset.from_rows([rows.Sample("a.png")]), root, "jsonl_captions")
    text = (root / "granum.json").read_text()
    (root / "granum.json").write_text(text.replace('["captions.jsonl"]', "[3]"))
    with pytest.raises(FormatError, match="/more/files"):
        granum.read(root)


def test_datasets_reads_what_is_written(tmp_path: Path) -> None:
    hf = pytest.importorskip("datasets")
    granum.write(granum.read(tree(tmp_path)), tmp_path / "o", "jsonl_captions", allow_loss=["all"])
    files = str(tmp_path / "o" / "train.jsonl")
    found = hf.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert found["file_name"][:2] == ["images/a.png", "images/b.png"]
    assert found[2]["objects"][0]["bbox"] == [1, 2, 3, 4]
