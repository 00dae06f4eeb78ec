"""Reading AVA's files into columns: boxes with actions, excluded seconds, lists of actions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._columns import constant, single
from granum.loaders._csv import CsvFile, first_record
from granum.loaders._texts import read_text
from granum.loaders.base import Intake
from granum.schema import rows, tables

__all__ = ["STAMP", "Boxes", "ordered_files", "read_actions", "read_boxes", "row_table"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

STAMP = r"\d{1,15}(\.\d{1,9})?"
"""A timestamp: seconds, of which some sets give fractions."""

_CORNERS = ("x1", "y1", "x2", "y2")
_BLOCK = re.compile(r"(?:label|item)\s*\{([^{}]*)\}")
_FIELD = re.compile(r'(\w+)\s*:\s*("(?:[^"\\\n]|\\.)*"|[^\s"{}:]+)')
_ESCAPE = re.compile(r"\\(.)")


@dataclass
class Boxes:
    """The rows of one file.

    Attributes:
        name: of the file; ``origin``: its number among the sources.
        video, stamp: of each row, texts.
        boxes: shape (rows, 4): x, y, width, height as fractions; NaN where there is none.
        category: of each row; -1 where there is none.
        last: the eighth field, text: a person or a score.
        row: the number of each row in the file, from 0.
        path: of the file.
    """

    name: str
    origin: int
    video: pa.Array
    stamp: pa.Array
    boxes: Floats
    category: Ints
    last: pa.Array
    row: Ints
    path: Path

    def __len__(self) -> int:
        return len(self.video)

    def take(self, chosen: Ints) -> Boxes:
        at = pa.array(chosen)
        return replace(
            self,
            video=self.video.take(at),
            stamp=self.stamp.take(at),
            boxes=self.boxes[chosen],
            category=self.category[chosen],
            last=self.last.take(at),
            row=self.row[chosen],
        )

    def place(self, row: int) -> str:
        """Where a row is in the file."""
        if (number := int(self.row[row])) < len(self._lines):
            return f"line {self._lines[number]}"
        return f"row {number + 1}"

    @cached_property
    def _lines(self) -> Ints:
        return _record_lines(self.path)

    def scored(self) -> bool:
        """Whether the last field holds scores: persons are whole numbers."""
        whole = pc.match_substring_regex(self.last, r"^\d+$")
        return not pc.all(pc.fill_null(whole, True), min_count=0).as_py()


def read_boxes(path: Path, name: str, intake: Intake, category_of: dict[int, int]) -> Boxes:
    """A file of boxes, or one of excluded timestamps, which has no boxes.

    Args:
        path: the file.
        name: its name in findings.
        intake: gets faults, and categories of unknown actions under ``fix``.
        category_of: the row of each action's number.

    Raises:
        FormatError: its first row has another number of fields.
    """
    fields = len(first_record(path))
    if fields not in (0, 2, 7, 8):
        raise FormatError(name, f"{fields} fields, not 8 (7 without persons, 2 without boxes)", "1")
    origin = intake.source(name, "ava")
    names = ["video", "stamp", *_CORNERS, "action", "last"][: fields or 2]
    types = {n: pa.float64() for n in _CORNERS} | {"action": pa.int64()}
    types |= {n: pa.string() for n in ("video", "stamp", "last")}
    pieces, numbers = [], [np.empty(0, np.int64)]
    for block in CsvFile(path, name, names).blocks(types, intake):
        pieces.append(block.table)
        numbers.append(block.numbers)
    table = pa.concat_tables(pieces) if pieces else pa.table({})
    n = table.num_rows

    def text(column: str) -> pa.Array:
        if column not in table.column_names:
            return pa.nulls(n, pa.string())
        return table[column].combine_chunks()

    corners, action, stated = _numbers_of(table)
    found = Boxes(
        name,
        origin,
        text("video"),
        text("stamp"),
        np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]),
        action,
        text("last"),
        np.concatenate(numbers),
        path,
    )
    return _checked(found, stated, intake, category_of)


def _numbers_of(table: pa.Table) -> tuple[Floats, Ints, npt.NDArray[np.bool_]]:
    """Corners and action of each row, and which of the five are stated."""
    n = table.num_rows
    corners, action, stated = np.full((n, 4), np.nan), np.full(n, -1), np.zeros((n, 5), bool)
    for i, name in enumerate((*_CORNERS, "action")):
        if name in table.column_names:
            stated[:, i] = np.asarray(table[name].is_valid())
            if name == "action":
                action = np.asarray(table[name].fill_null(-1), np.int64)
            else:
                corners[:, i] = np.asarray(table[name].fill_null(np.nan))
    return corners, action, stated


def _record_lines(path: Path) -> Ints:
    """The line of each record of a file, blank lines apart; looked for where there is a fault."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    outside = np.cumsum(data == ord('"')) % 2 == 0
    newline = data == ord("\n")
    begins = np.append(0, np.flatnonzero(newline & outside) + 1)
    begins = begins[begins < len(data)]
    begins = begins[~np.isin(data[begins], (ord("\n"), ord("\r")))]
    return np.asarray(np.cumsum(newline)[begins - 1] * (begins > 0) + 1, np.int64)


def _checked(
    found: Boxes, stated: npt.NDArray[np.bool_], intake: Intake, category_of: dict[int, int]
) -> Boxes:
    """Without rows that lack something; actions become categories."""

    def fault(code: str, where: npt.NDArray[np.bool_], message: str) -> None:
        for row in np.flatnonzero(where).tolist():
            intake.fault(code, found.name, found.place(row), message)

    timed = pc.match_substring_regex(found.stamp, f"^{STAMP}$")
    good = np.asarray(pc.and_(pc.fill_null(timed, False), found.video.is_valid()))
    fault("bad-value", ~good, "no video and timestamp")
    partly = good & stated.any(axis=1) & ~stated.all(axis=1)
    nameless = partly & stated[:, :4].all(axis=1)
    fault("missing-category", nameless, "a box without an action")
    fault("bad-value", partly & ~nameless, "a box that lacks a coordinate, or an action alone")
    good &= ~partly
    has = good & stated.all(axis=1)
    found.category = np.where(has, found.category, -1)
    for action in np.unique(found.category[has]).tolist():
        if action in category_of:
            continue
        wrong = has & (found.category == action)
        fault("unknown-class", wrong, f"action {action} is not listed")
        if intake.on_error == "fix":
            made = rows.Category(f"action {action}", "action", str(action))
            category_of[action] = intake.add_category(made)
        else:
            good &= ~wrong
    known = sorted(category_of)
    place = np.searchsorted(known, found.category)
    categories = np.array([category_of[a] for a in known] + [-1], np.int64)
    category = np.where(found.category < 0, -1, categories[np.minimum(place, len(known))])
    found.category = category
    return found if good.all() else found.take(np.flatnonzero(good))


def row_table(
    found: Boxes, sample: Ints, track: pa.Array | None, persons: bool, scores: bool, intake: Intake
) -> pa.Table:
    """Rows of a file that have a box, as annotations.

    Args:
        found: the rows.
        sample: of each.
        track: of each row, where the last field is a person.
        persons: keep the last field as the track's id in the source.
        scores: the last field is a score.
        intake: gets faults.
    """
    chosen = np.flatnonzero((found.category >= 0) & (sample >= 0))
    at = pa.array(chosen)
    n = len(chosen)
    flat = pa.array(found.boxes[chosen].ravel())
    out = {
        "origins": single(np.full(n, found.origin), pa.int16()),
        "ordinal": single(chosen, pa.int64()),
        "sample": pa.array(sample[chosen]),
        "kind": constant("object", n),
        "category": pa.array(found.category[chosen], pa.int32()),
        "bbox": pa.FixedSizeListArray.from_arrays(flat, 4),
    }
    if track is not None:
        out["track"] = track.take(at)
        if persons:
            out["track_source_id"] = found.last.take(at)
    elif scores:
        out["score"] = _numbers(found, chosen, intake)
    return tables.conform(pa.table(out), tables.ANNOTATIONS)


def _numbers(found: Boxes, chosen: Ints, intake: Intake) -> pa.Array:
    texts = found.last.take(pa.array(chosen))
    number = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
    fine = pc.fill_null(pc.match_substring_regex(texts, number), True)
    for row in np.flatnonzero(~np.asarray(fine)).tolist():
        message = f"the score is {texts[row].as_py()!r}"
        intake.fault("nan-score", found.name, found.place(int(chosen[row])), message)
    return pc.if_else(fine, texts, pa.scalar(None, pa.string())).cast(pa.float64())


def read_actions(path: Path, name: str, intake: Intake) -> Iterator[tuple[int, str, str | None]]:
    """Number, name and type of each action of a ``.pbtxt`` list.

    Raises:
        FormatError: it is no text.
    """
    text = read_text(path, name)
    seen: set[int] = set()
    end = 0
    for block in [*_BLOCK.finditer(text), None]:
        between = text[end : len(text) if block is None else block.start()]
        if between.strip():
            at = end + len(between) - len(between.lstrip())
            message = f"no label: {between.strip()[:60]!r}"
            intake.fault("bad-value", name, _line(text, at), message)
        if block is None:
            return
        end = block.end()
        values: dict[str, str] = dict(_FIELD.findall(block[1]))
        title = values.get("name", "")
        number = values.get("label_id", values.get("id", "0"))  # 0 is not written
        if len(title) < 2 or title[0] != '"' or not re.fullmatch(r"[+-]?\d{1,9}", number):
            intake.fault("bad-value", name, _line(text, block.start()), "no name, or no number")
        elif int(number) in seen:
            place = _line(text, block.start())
            intake.fault("duplicate-category-id", name, place, f"label_id {number} again")
        else:
            seen.add(int(number))
            yield int(number), _ESCAPE.sub(r"\1", title[1:-1]), values.get("label_type")


def _line(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}"


def ordered_files(names: Sequence[str], file: re.Pattern[str]) -> list[str]:
    """Files of boxes, training first, then those of excluded seconds."""
    rank = {"train": 0, "trainval": 1, "val": 2, "test": 3}

    def key(name: str) -> tuple[bool, int, str]:
        found = file.fullmatch(name)
        assert found is not None
        return found["excluded"] is not None, rank.get(found["split"], 4), name

    return sorted((n for n in names if file.fullmatch(n)), key=key)
