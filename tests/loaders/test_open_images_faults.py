"""Faults in Open Images trees: each has its file and line; CSV in blocks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from granum.errors import FindingsError, FormatError
from granum.loaders._csv import CsvFile, CsvWriter
from granum.loaders.base import Intake
from granum.loaders.open_images import OpenImages
from granum.schema.findings import Findings
from tests.loaders.open_images_trees import (
    BOXES,
    CAT,
    IMAGES,
    LABELS,
    MASKS,
    POINTS,
    RELATIONS,
    A,
    B,
    C,
    places,
    rows_of,
    take,
    tree,
)

BAD = (
    f"{BOXES}\n"
    f"{A},xclick,{CAT},1,0.1,0.2,0.1,0.2,0,0,0,0,0\n"  # line 2: right
    f"{A},xclick,{CAT},1,0.1,x,0.1,0.2,0,0,0,0,0\n"
    f"{A},xclick,{CAT},1,0.1,0.2,0.1,0.2,0,0,0,0\n"
    f"{A},xclick,{CAT},1,0.3,0.2,0.1,0.2,0,0,0,0,0\n"
    "\n"
    f"{A},xclick,{CAT},1,,0.2,0.1,0.2,0,0,0,0,0\n"
    f"{A},xclick,,1,0.1,0.2,0.1,0.2,0,0,0,0,0\n"
    f",xclick,{CAT},1,0.1,0.2,0.1,0.2,0,0,0,0,0\n"
    f"{A},xclick,{CAT},1,0.1,0.2,0.1,0.2,0,2,0,0,0\n"  # line 10
    f"{A},xclick,{CAT},1,0.1,nan,0.1,0.2,0,0,0,0,0\n"
    f"{A},xclick,{CAT},1,0.5,0.6,0.5,0.6,0,0,0,0,300\n"
    f"{A},xclick,{CAT},1,0.5,0.6,0.5,0.9,0,0,0,0,1\n"  # line 13: right
)
FOUND = {
    ("bad-value", "line 3"),
    ("bad-value", "line 4"),
    ("negative-box", "line 5"),
    ("missing-key", "line 7"),
    ("missing-key", "line 8"),
    ("missing-image-id", "line 9"),
    ("bad-value", "line 10"),
    ("nan-box", "line 11"),
    ("bad-value", "line 12"),
}


def described(text: str | bytes, name: str = "train-annotations-bbox.csv") -> dict[str, Any]:
    return {name: text, "class-descriptions.csv": f"{CAT},Cat\n"}


@pytest.mark.parametrize("on_error", ["fail", "skip", "fix"])
def test_every_fault_has_its_line(tmp_path: Path, on_error: str) -> None:
    root = tree(tmp_path, described(BAD))
    if on_error == "fail":
        with pytest.raises(FindingsError) as caught:
            take(root)
        findings = caught.value.findings
    else:
        dataset, intake = take(root, on_error)
        findings = intake.findings
        boxes = [a.bbox for a in dataset[A].annotations]
        kept = (0.1, 0.1, 0.2 - 0.1, 0.2 - 0.1)
        assert boxes[0] == kept
        assert boxes[-1] == (0.5, 0.5, 0.6 - 0.5, 0.9 - 0.5)
        # fix: a short row, a box turned round, flags left out, a box that is none left out
        assert len(boxes) == (2 if on_error == "skip" else 7)
    names = {f.path for f in findings.items}
    assert names == {"train-annotations-bbox.csv"}
    found = {(f.code, f.place) for f in findings.items}
    # fix: without a corner that is none the box lacks it. A blank line is no row.
    more = {("missing-key", "line 3")} if on_error == "fix" else set()
    assert found == (FOUND - {("nan-box", "line 11")}) | {("nan-box", "line 10")} | more


def test_faults_that_columns_show_have_their_line(tmp_path: Path) -> None:
    text = (
        f"{BOXES}\n"
        f"{A},xclick,{CAT},1,0.3,0.2,0.1,0.2,0,0,0,0,0\n"
        f"{B},xclick,{CAT},1,0.1,0.2,0.1,1.5,0,0,0,0,0\n"
        f"{A},xclick,{CAT},1,0.1,0.1,0.1,0.2,0,0,0,0,0\n"
    )
    _, intake = take(tree(tmp_path, described(text)), "fix")
    name = "train-annotations-bbox.csv"
    assert sorted(places(intake)) == [
        ("box-outside-image", name, "line 3"),
        ("negative-box", name, "line 2"),
        ("zero-size-box", name, "line 4"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("images.csv", f"{IMAGES}{A},train,,,,,,,,,,\n{A},train,,,,,,,,,,\n",
         ("duplicate-image-id", "line 3")),
        ("images.csv", f"{IMAGES}{A},train,,,,,,,big,,,\n", ("bad-value", "line 2")),
        ("train-labels.csv", f"{LABELS}{A},verification,{CAT},yes\n", ("bad-value", "line 2")),
        ("train-labels.csv", f"{LABELS}{A},verification,,1\n", ("missing-key", "line 2")),
        ("train-masks.csv", f"{MASKS},{A},{CAT},1,0,1,0,1,,\n", ("missing-key", "line 2")),
        ("train-masks.csv", f"{MASKS}a.png,{A},{CAT},1,0,1,0,,,\n", ("missing-key", "line 2")),
        ("train-vrd.csv", f"{RELATIONS}{A},{CAT},{CAT},0,1,0,1,0,1,0,,at\n",
         ("missing-key", "line 2")),
        ("train-vrd.csv", f"{RELATIONS}{A},{CAT},{CAT},0,1,0,1,0,1,0,1,\n",
         ("missing-key", "line 2")),
        ("val-points.csv", f"{POINTS}{A},0,0,{CAT},maybe,cc,1,1,1,\n", ("bad-value", "line 2")),
        ("val-points.csv", f"{POINTS}{A},0,,{CAT},yes,cc,1,1,1,\n", ("missing-key", "line 2")),
        ("n.jsonl", '{"image_id": "a", "caption": "x"}\n{"caption": "x"}\n',
         ("missing-image-id", "line 2")),
        ("n.jsonl", '{"image_id": "a", "caption": 7}\n', ("bad-value", "line 1")),
        ("n.jsonl", '{"image_id": "a", "capt', ("truncated-json", "line 1")),
        ("class-descriptions-boxable.csv", "/m/1,a\n/m/2,b\n/m/1,c\n",
         ("duplicate-category-id", "line 3")),
        ("class-descriptions-boxable.csv", "/m/1,a\n/m/2,\n", ("missing-key", "line 2")),
        ("z-class-descriptions.csv", f"LabelName,DisplayName\n{CAT},Katze\n",
         ("conflicting-records", "line 2")),
        ("x_hierarchy.json", '{"Subcategory": [{"Subcategory": []}]}',
         ("missing-key", "/Subcategory/0")),
        ("x_hierarchy.json", '{"Subcategory": [{"LabelName": "/m/1", "Part": 7}]}',
         ("bad-value", "/Subcategory/0/Part")),
        ("x_hierarchy.json", '{"Subc', ("bad-value", None)),
        ("images.meta", "a 3 4\nb three 4\n", ("bad-value", "line 2")),
        ("other.csv", "a,b\n1,2\n", ("file-not-read", None)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("on_error", ["skip", "fix"])
def test_each_kind_of_file(
    tmp_path: Path, name: str, text: str, expected: tuple[str, str | None], on_error: str
) -> None:
    files = described(f"{LABELS}{C},verification,{CAT},1\n", "train-x-labels.csv")
    dataset, intake = take(tree(tmp_path, {**files, name: text}), on_error)
    code, place = expected
    assert (code, name, place) in places(intake)
    assert rows_of(dataset, C, "label")[0].present is True


def test_images_that_no_list_names_are_samples_and_told(tmp_path: Path) -> None:
    files = {
        **described(f"{LABELS}{A},verification,{CAT},1\n{B},verification,{CAT},1\n", "labels.csv"),
        "test-images-with-rotation.csv": f"{IMAGES}{C},test,,,,,,,,,,\n",
    }
    dataset, intake = take(tree(tmp_path, files))
    assert dataset.samples()["key"].to_pylist() == [C, A, B]
    assert intake.findings.counts == {"unlisted-image": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no header"),
        ("ImageID,Subset,ImageID\n", "two columns have one name"),
    ],
)
def test_files_without_a_header_that_can_be_read(tmp_path: Path, text: str, message: str) -> None:
    files = described(f"{LABELS}{C},verification,{CAT},1\n", "train-x-labels.csv")
    if not text:
        with pytest.raises(FormatError, match="no CSV file of Open Images"):
            take(tree(tmp_path, {"readme.md": "x"}))
        return
    with pytest.raises(FormatError, match=message):
        take(tree(tmp_path, {**files, "images.csv": text}))


@pytest.mark.parametrize(
    ("name", "text", "claimed"),
    [
        ("a.csv", f"{BOXES}\n", True),
        ("a.csv", LABELS, True),
        ("a.csv", POINTS, True),
        ("a.csv", IMAGES, True),
        ("annotations/a.csv", MASKS, True),
        ("labels/a.csv", RELATIONS, True),
        ("validation/labels/a.csv", f"{BOXES}\n", True),
        ("a.csv", "ImageID,Labels\n", False),
        ("a.csv", "ImageID,LabelName\n", False),
        ("a.csv", "filename,class,xmin,ymin,xmax,ymax\n", False),
        ("sub/a.csv", f"{BOXES}\n", False),
        ("granum.json", '{"format": "open_images", "ids": []}', True),
        ("granum.json", '{"format": "yolo"}', False),
    ],
)
def test_what_is_recognised(tmp_path: Path, name: str, text: str, claimed: bool) -> None:
    root = tree(tmp_path, {name: text})
    assert (OpenImages().sniff(root) is not None) == claimed


@pytest.mark.parametrize(
    "text",
    [
        '{"format": "open_images", "ids": ["a"], "categories": []}',
        '{"format": "open_images", "ids": ["a"], "categories": [{"name": 3}]}',
        '{"format": "open_images", "files": {"a": "../b.jpg"}}',
        '{"format": "open_images", "annotations": {"a": "list"}}',
        '{"format": "open_images", "folders": [["train"]]}',
    ],
)
def test_damaged_notes_are_told(tmp_path: Path, text: str) -> None:
    files = described(f"{LABELS}{C},verification,{CAT},1\n", "train-x-labels.csv")
    with pytest.raises(FormatError, match=r"granum\.json.*not as granum writes it|granum\.json"):
        take(tree(tmp_path, {**files, "granum.json": text}))


# ---------------------------------------------------------------------- CSV


def blocks(path: Path, size: int, **types: pa.DataType) -> list[tuple[int, list[Any], list[int]]]:
    """First row, rows, lines of each block."""
    intake = Intake(Findings("skip"))
    found = CsvFile(path, path.name, size=size).blocks(types, intake)
    return [
        (int(b.numbers[0]), b.table.to_pylist(), [b.line(i) for i in range(b.table.num_rows)])
        for b in found
    ]


@pytest.mark.parametrize("size", [1, 7, 16, 64, 1 << 20])
def test_blocks_end_where_records_end(tmp_path: Path, size: int) -> None:
    """Whatever the size of a block: line ends within quotes do not end a record."""
    texts = ["a", 'b "c"', "d\ne,\n", "", "f\r\ng", '"', "h" * 40]
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        writer = CsvWriter(file, ["n", "text"])
        for i, text in enumerate(texts):
            writer.write({"n": pa.array([i]), "text": pa.array([text])})
    found = blocks(path, size, n=pa.int64(), text=pa.string())
    rows = [row for _, some, _ in found for row in some]
    assert rows == [{"n": i, "text": t} for i, t in enumerate(texts)]
    firsts = [first for first, _, _ in found]
    assert firsts == [sum(len(r) for _, r, _ in found[:i]) for i in range(len(found))]
    assert [line for _, _, lines in found for line in lines] == [2, 3, 4, 7, 8, 10, 11]


def test_null_and_the_empty_text_are_two_things(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        writer = CsvWriter(file, ["text", "coded", "n", "more"])
        coded = pa.array(["", None, "x"]).dictionary_encode()
        numbers = pa.array([0.1, None, 1e-7])
        writer.write({"text": pa.array([None, "", "NA"]), "coded": coded, "n": numbers})
    assert path.read_text() == 'text,coded,n,more\n,"",0.1,\n"",,,\nNA,x,1e-7,\n'
    kind = pa.dictionary(pa.int32(), pa.string())
    ((_, rows, _),) = blocks(path, 1 << 20, text=pa.string(), coded=kind, n=pa.float64())
    assert rows == [
        {"text": None, "coded": "", "n": 0.1},
        {"text": "", "coded": None, "n": None},
        {"text": "NA", "coded": "x", "n": 1e-7},
    ]


def test_a_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,x\r\n\r\n2,y\r\n")
    found = blocks(path, 1 << 20, a=pa.int8(), b=pa.string())
    assert found == [(0, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], [2, 4])]


def test_only_the_block_with_a_fault_is_read_slowly_and_its_rows_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"{i},{i / 8}" for i in range(1000)]
    lines[700] = "700,?"
    path.write_text("n,x\n" + "\n".join(lines) + "\n")
    intake = Intake(Findings("skip"))
    found = list(CsvFile(path, "a.csv", size=2000).blocks(
        {"n": pa.int64(), "x": pa.float64()}, intake))  # fmt: skip
    assert len(found) > 3
    rows = [r for b in found for r in b.table.to_pylist()]
    assert rows == [{"n": i, "x": i / 8} for i in range(1000) if i != 700]
    assert places(intake) == [("bad-value", "a.csv", "line 702")]


@pytest.mark.parametrize("end", [b"\xff\xfe", b'"never closed'])
def test_text_that_is_none(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\nx,y\n" + end + b",z\n")
    intake = Intake(Findings("skip"))
    source = CsvFile(path, "a.csv")
    rows = [r for b in source.blocks({"a": pa.string()}, intake) for r in b.table.to_pylist()]
    assert rows == [{"a": "x"}]
    assert [c for c, _, _ in places(intake)] == ["bad-value"]
    assert places(intake)[0][2] == "line 3"


def test_a_writer_quotes_its_header() -> None:
    out = io.BytesIO()
    CsvWriter(out, ["a,b", "", 'c"'])
    assert out.getvalue() == b'"a,b","","c"""\n'
