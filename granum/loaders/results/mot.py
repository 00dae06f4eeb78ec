"""Results of trackers as MOTChallenge takes them: a text for each sequence.

::

    results/MOT17-02-FRCNN.txt        frame, id, left, top, width, height, confidence, -1, -1, -1
    results/MOT17-04-FRCNN.txt

Also a folder ``data`` of such texts, as TrackEval's trees have it, and one text alone. A text
belongs to the sequence (group) of its name. Words are between commas, semicolons or blanks. Boxes
are pixels as written, like those of the truth's reader; confidence -1 is none. A class is read
from the eighth column of eight or nine (a number of MOTChallenge, or a ``source_id`` of the truth's
categories); -1 is none. Frames that the truth has no sample for get one.

Spec: https://motchallenge.net/instructions and docs/MOTChallenge-format.txt of TrackEval.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._mot_read import CLASSES, Reader
from granum.loaders._mot_tree import first_line
from granum.loaders._number_rows import NumberRows
from granum.loaders._paths import names_in
from granum.loaders.base import Intake
from granum.loaders.results.base import Results, on_truth, results
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["MotResults"]

Ints = npt.NDArray[np.int64]

_LOOKED_AT = 1000
_ROW = re.compile(rb"\d+(\.0*)?(\s*[,;\s]\s*[-\d.eE+]+){5,}[\s,]*")


@results("mot")
class MotResults(Results):
    """Boxes of tracks; see the module."""

    name: ClassVar[str] = "mot"
    title: ClassVar[str] = "MOTChallenge results (<sequence>.txt)"
    spec: ClassVar[str] = "https://motchallenge.net/instructions"
    protocols: ClassVar[tuple[str, ...]] = ("mot",)

    def sniff(self, path: Path) -> bool:
        try:
            texts = _texts(path, _LOOKED_AT)
            line = next(filter(None, map(first_line, texts)), None)
            # All may be empty: nothing was found.
            return bool(texts) and (line is None or _ROW.fullmatch(line) is not None)
        except (OSError, ValueError):
            return False

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """Read the texts of the truth's sequences.

        Texts of other sequences are findings (``unknown-sample``), and lines that are no numbers
        (``bad-value``), confidences that are not finite (``nan-score``), classes that the truth
        does not have (``unknown-class``); the last two leave the number out.

        Raises:
            FormatError: there is no text, or one cannot be read.
        """
        texts = _texts(path)
        if not texts:
            raise FormatError(path, "no texts of results, one for each sequence")
        plain = frozenset({"category", "visibility"})
        reader = Reader(texts[0].parent, Intake(findings=findings), False, plain)
        known, frames = _sequences(truth), _Frames(truth)
        pieces, tracks = [tables.empty(tables.ANNOTATIONS)], 0
        for text in texts:
            rows = reader.text(text.name, True)
            group = known.get(text.stem)
            if group is None:
                message = f"the truth has no sequence {text.stem!r}"
                findings.add("unknown-sample", text.name, None, message, len(rows.frame))
                continue
            ids, track = np.unique(rows.track, return_inverse=True)
            numbers = np.where(rows.track < 0, -1, np.ravel(track) + tracks)
            tracks += len(ids)
            table = reader.table(rows, frames.samples(group, rows.frame), numbers)
            table = tables.without_columns(table, ["origins", "ordinal"])
            category = _categories(text.name, rows.rows, truth, findings)
            if category is not None:
                table = tables.with_column(table, "category", category)
            pieces.append(table)
        found = pa.concat_tables(pieces, promote_options="default")
        return on_truth(truth, tables.strip_null_columns(found), more=frames.more())


def _texts(path: Path, limit: int = 10**6) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".txt" else []
    for folder in (path, path / "data"):
        names = names_in(folder, limit) if folder.is_dir() else []
        named = [n for n in names if n.endswith(".txt") and n.lower() != "readme.txt"]
        if named:
            return [folder / n for n in named]
    return []


def _sequences(truth: Dataset) -> dict[str, int]:
    """Groups by the names that texts may have: key, source id, last part of the key; names that
    several groups have in the same way are none of them."""
    keys = truth.groups["key"].to_pylist()
    ids = column(truth.groups, "source_id", tables.GROUPS).to_pylist()
    out: dict[str, int] = {}
    for names in ([k.rpartition("/")[2] for k in keys], ids, keys):
        rows: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            if name is not None:
                rows.setdefault(name, []).append(i)
        out |= {name: at[0] for name, at in rows.items() if len(at) == 1}
    return out


class _Frames:
    """Samples by sequence and frame: the truth's, and new ones."""

    def __init__(self, truth: Dataset) -> None:
        table = truth.samples(["key", "group", "order"])
        known = np.asarray(column(table, "group").is_valid()) & np.asarray(
            column(table, "order").is_valid()
        )
        at = np.flatnonzero(known)
        group, order = (
            np.asarray(column(table, n).combine_chunks().take(pa.array(at)), np.int64)
            for n in ("group", "order")
        )
        sort = np.lexsort((order, group))
        self.group, self.order, self.at = group[sort], order[sort], at[sort]
        self.n = len(truth)
        self.keys = truth.groups["key"].to_pylist()
        self.new: list[tuple[int, Ints]] = []

    def samples(self, group: int, frames: Ints) -> Ints:
        """The sample of each frame, new ones behind the truth's."""
        first, last = np.searchsorted(self.group, [group, group + 1]).tolist()
        orders, at = self.order[first:last], self.at[first:last]
        wanted, inverse = np.unique(frames, return_inverse=True)
        place = np.searchsorted(orders, wanted)
        there = np.zeros(len(wanted), bool)
        inside = place < len(orders)
        there[inside] = orders[place[inside]] == wanted[inside]
        out = np.empty(len(wanted), np.int64)
        out[there] = at[place[there]]
        missing = wanted[~there]
        out[~there] = self.n + np.arange(len(missing))
        self.n += len(missing)
        self.new.append((group, missing))
        return np.asarray(out[np.ravel(inverse)], np.int64)

    def more(self) -> pa.Table | None:
        """Rows of the new samples."""
        keys, groups, orders = [], [], []
        for group, frames in self.new:
            keys += [f"{self.keys[group]}#{frame}" for frame in frames.tolist()]
            groups.append(np.full(len(frames), group))
            orders.append(frames)
        if not keys:
            return None
        n = len(keys)
        return pa.table(
            {
                "key": pa.array(keys, pa.string()),
                "unit": pa.array(["pixel"] * n).dictionary_encode(),
                "group": pa.array(np.concatenate(groups), pa.int64()),
                "order": pa.array(np.concatenate(orders), pa.int64()),
            }
        )


def _categories(name: str, rows: NumberRows, truth: Dataset, findings: Findings) -> pa.Array | None:
    """Rows of the truth's categories; None where the text states no class."""
    if rows.columns not in (8, 9):
        return None
    names = truth.categories["name"].to_pylist()
    ids = column(truth.categories, "source_id", tables.CATEGORIES).to_pylist()
    known = {name: i for i, name in enumerate(names)}
    by_id = {v: i for i, v in enumerate(ids) if v is not None}
    numbers = rows.column(7)
    found, inverse = np.unique(numbers, return_inverse=True)
    out = np.full(len(found), -1, np.int32)
    for i, number in enumerate(found.tolist()):
        whole = int(number) if number == number and abs(number) < 2**31 else None
        if whole is not None and whole == number:
            listed = CLASSES[whole - 1] if 1 <= whole <= len(CLASSES) else ""
            out[i] = by_id.get(str(whole), known.get(listed, -1))
        if number != -1 and out[i] < 0:
            at = np.flatnonzero(np.ravel(inverse) == i)
            message = f"class {number:g}, which the truth does not have"
            place = f"line {rows.line[at[0]]}"
            findings.add("unknown-class", name, place, message, len(at))
    category = out[np.ravel(inverse)]
    return pa.array(category, pa.int32(), mask=category < 0)
