"""Blocks of CSV rows as columns of ours: images, classes and sources by number, faults told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._csv import Block
from granum.loaders.base import Intake
from granum.loaders.open_images.classes import Classes
from granum.loaders.open_images.facts import ATTRIBUTES, CORNERS, FLAGS, KINDS
from granum.loaders.open_images.ids import Ids
from granum.loaders.open_images.notes import ATTRIBUTE, OBJECT, PREDICATE
from granum.loaders.open_images.tree import File

__all__ = ["Codes", "Parser", "attributes_of"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

IS = "is"
"""The predicate whose second end is an attribute of the first."""


@dataclass(slots=True)
class Codes:
    """Texts of which there are few, by number."""

    texts: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return self._numbers[text]

    def numbers(self, column: pa.ChunkedArray) -> Ints:
        """A coded column by number; -1 for null."""
        values = column.unify_dictionaries().combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # of no chunks
            return np.empty(0, np.int64)
        known = [self.number(t) for t in values.dictionary.to_pylist()]
        return np.array([*known, -1], np.int64)[np.asarray(values.indices.fill_null(-1))]

    def column(self, numbers: Any) -> pa.Array:
        """Numbers as a dictionary column; -1 is null."""
        at = np.asarray(numbers, np.int32)
        indices = pa.array(at, mask=at < 0) if (at < 0).any() else pa.array(at)
        return pa.DictionaryArray.from_arrays(indices, pa.array(self.texts, pa.string()))


def attributes_of(kind: str, names: Iterable[str]) -> list[str]:
    """The columns of a file that become attributes: those known as such, and unknown ones."""
    known = {*KINDS[kind]} - {*ATTRIBUTES[kind]}
    if kind == "images":
        known |= {"Width", "Height"}
    return [n for n in names if n not in known]


@dataclass(slots=True)
class Parser:
    """Makes columns of blocks.

    Attributes:
        intake: gets faults.
        ids: numbers images.
        classes: numbers classes.
        codes: numbers sources and splits.
        scores: a ``Confidence`` of 1 of a box is a score; otherwise it says nothing, as all
            official boxes have it.
        subsets: what ``Subset`` says, and the split that is meant.
    """

    intake: Intake
    ids: Ids
    classes: Classes
    codes: Codes
    scores: bool = False
    subsets: Mapping[str, str | None] = field(default_factory=dict)
    unlisted: dict[str, int] = field(default_factory=dict)
    _seen: dict[str, Mask] = field(default_factory=dict)

    def parse(self, file: File, block: Block) -> tuple[Ints, pa.Table]:
        """The sample of each row that is kept, and its columns.

        Args:
            file: where the block is from.
            block: with the columns of the file's kind.
        """
        ordinal = pa.array(block.numbers.astype(np.uint32))
        table = block.table.append_column("ordinal", ordinal)
        block = Block(table, block.first, block.numbers, block.line)
        name = "ImageId" if file.kind == "points" else "ImageID"
        lacking = self._lacking(table, [name])
        block = self._without(file, block, lacking, "missing-image-id", lambda i: "no image id")
        split = -1 if file.split is None else self.codes.number(file.split)
        ids = block.table[name].combine_chunks()
        ids = ids if isinstance(ids, pa.Array) else pa.array([], pa.string())
        rows, new = self.ids.rows(ids, self._splits(block.table, split, file))
        if file.kind == "images":
            return self._images(file, block, rows)
        if new:
            self.unlisted[file.name] = self.unlisted.get(file.name, 0) + new
        if self.ids.closed and len(rows):
            here = rows >= 0
            block, rows = _taken(block, here), rows[here]
        kept, made = getattr(self, f"_{file.kind}")(file, block)
        made["ordinal"] = kept.table["ordinal"]
        for attribute in attributes_of(file.kind, kept.table.column_names):
            if attribute != "ordinal":
                made[f"attr.{attribute}"] = kept.table[attribute]
        if kept.table.num_rows < len(rows):
            rows = rows[np.isin(block.numbers, kept.numbers, assume_unique=True)]
        return rows, pa.table({"sample": pa.array(rows.astype(np.int32)), **made})

    def _splits(self, table: pa.Table, split: int, file: File) -> int | Ints:
        if file.kind != "images" or "Subset" not in table.column_names:
            return split
        numbers = self.codes.numbers(table["Subset"])
        if not self.subsets:
            return numbers
        to = np.arange(len(self.codes.texts) + 1)
        to[-1] = -1
        for number, text in enumerate(list(self.codes.texts)):
            if text in self.subsets:
                meant = self.subsets[text]
                to[number] = -1 if meant is None else self.codes.number(meant)
        return to[numbers]

    # ------------------------------------------------------------------ faults

    def _lacking(self, table: pa.Table, names: Iterable[str]) -> Mask:
        out = np.zeros(table.num_rows, bool)
        for name in names:
            if name in table.column_names and table[name].null_count:
                out |= np.asarray(table[name].is_null())
        return out

    def _fault(
        self, file: File, block: Block, where: Mask, code: str, say: Callable[[int], str]
    ) -> None:
        at = np.flatnonzero(where)
        if not len(at):
            return
        findings = self.intake.findings
        shown = max(0, findings.limit - findings.counts[code])
        for i in at[:shown].tolist():
            self.intake.fault(code, file.name, f"line {block.line(i)}", say(i))
        findings.counts[code] += max(0, len(at) - shown)

    def _without(
        self, file: File, block: Block, where: Mask, code: str, say: Callable[[int], str]
    ) -> Block:
        """Report rows and leave them out."""
        if not where.any():
            return block
        self._fault(file, block, where, code, say)
        return _taken(block, ~where)

    def _complete(self, file: File, block: Block, names: Iterable[str]) -> Block:
        """Without rows that lack a value."""
        names = list(names)
        lacking = self._lacking(block.table, names)
        table = block.table

        def say(i: int) -> str:
            return "no " + ", ".join(n for n in names if table[n][i].as_py() is None)

        return self._without(file, block, lacking, "missing-key", say)

    # ------------------------------------------------------------------ kinds of files

    def _images(self, file: File, block: Block, rows: Ints) -> tuple[Ints, pa.Table]:
        """Facts of images; of several rows of one image the first counts."""
        if file.name not in self._seen:
            self._seen = {file.name: np.zeros(0, bool)}
        more = len(self.ids) - len(self._seen[file.name])
        seen = self._seen[file.name] = np.append(self._seen[file.name], np.zeros(more, bool))
        taken = rows >= 0
        again = np.ones(len(rows), bool)
        again[np.unique(rows, return_index=True)[1]] = False
        again = taken & (again | seen[rows])
        seen[rows[taken]] = True
        ids = block.table["ImageID"]
        self._fault(
            file, block, again, "duplicate-image-id", lambda i: f"{ids[i].as_py()!r} is taken"
        )
        made: dict[str, Any] = {
            "sample": pa.array(rows.astype(np.int32)),
            "ordinal": block.table["ordinal"],
        }
        for name in block.table.column_names:
            if name in ("Width", "Height"):
                made[name.lower()] = block.table[name]
            elif name not in ("ImageID", "Subset", "ordinal"):
                made[f"attr.{name}"] = block.table[name]
        keep = taken & ~again
        return rows[keep], pa.table(made).filter(pa.array(keep))

    def _boxes(self, file: File, block: Block) -> tuple[Block, dict[str, Any]]:
        block = self._complete(file, block, ["LabelName", *CORNERS])
        for name in FLAGS:
            if name in block.table.column_names and block.table.num_rows:
                block = self._flag(file, block, name)
        table = block.table
        made = self._named(file, table)
        if "Confidence" in table.column_names:
            score = table["Confidence"]
            if not self.scores:
                dummy = pc.fill_null(pc.equal(score, 1.0), True)
                score = pc.if_else(dummy, pa.scalar(None, pa.float64()), score)
            made["score"] = score
        made.update({c: table[c] for c in CORNERS})
        made.update({to: table[n] for n, to in FLAGS.items() if n in table.column_names})
        return block, made

    def _flag(self, file: File, block: Block, name: str) -> Block:
        limits = pc.min_max(block.table[name]).as_py()
        if limits["min"] is None or (limits["min"] >= -1 and limits["max"] <= 1):
            return block
        values = np.asarray(block.table[name].fill_null(0))
        wrong = (values < -1) | (values > 1)

        def say(i: int) -> str:
            return f"{name} is {values[i]}, not 1, 0 or -1"

        if self.intake.on_error != "fix":
            return self._without(file, block, wrong, "bad-value", say)
        self._fault(file, block, wrong, "bad-value", say)
        mended = pa.array(np.where(wrong, -1, values), pa.int8())
        at = block.table.column_names.index(name)
        table = block.table.set_column(at, name, mended)
        return Block(table, block.first, block.numbers, block.line)

    def _named(self, file: File, table: pa.Table) -> dict[str, Any]:
        """Class and source by number."""
        made: dict[str, Any] = {}
        rows = self.classes.rows(table["LabelName"], OBJECT, file.name)
        made["category"] = pa.array(rows.astype(np.int32))
        if "Source" in table.column_names:
            made["source"] = pa.array(self.codes.numbers(table["Source"]).astype(np.int32))
        return made

    def _labels(self, file: File, block: Block) -> tuple[Block, dict[str, Any]]:
        """Human labels are there or not (1, 0); what a machine says, or any other number, is a
        score."""
        block = self._complete(file, block, ["LabelName"])
        made = self._named(file, block.table)
        if "Confidence" in block.table.column_names:
            value = block.table["Confidence"]
            sure = pc.is_in(value, value_set=pa.array([0.0, 1.0]))
            if file.machine:
                sure = pa.array(np.zeros(len(value), bool))
            made["present"] = pc.if_else(sure, pc.equal(value, 1.0), pa.scalar(None, pa.bool_()))
            made["score"] = pc.if_else(sure, pa.scalar(None, pa.float64()), value)
        return block, made

    def _masks(self, file: File, block: Block) -> tuple[Block, dict[str, Any]]:
        corners = [f"Box{c}" for c in CORNERS]
        block = self._complete(file, block, ["MaskPath", "LabelName", *corners])
        table = block.table
        made = self._named(file, table)
        made.update({c: table[f"Box{c}"] for c in CORNERS})
        made["path"] = table["MaskPath"]
        if "BoxID" in table.column_names:
            made["source_id"] = table["BoxID"]
        return block, made

    def _relations(self, file: File, block: Block) -> tuple[Block, dict[str, Any]]:
        ends = [f"{c}{n}" for n in (1, 2) for c in CORNERS]
        needed = ["LabelName1", "LabelName2", "RelationshipLabel"]
        block = self._complete(file, block, [*needed, *(n for n in ends if n.endswith("1"))])
        table = block.table
        attribute = pc.equal(table["RelationshipLabel"], IS)
        open_ended = self._lacking(table, [n for n in ends if n.endswith("2")])
        open_ended &= ~np.asarray(attribute)
        message = "no second box"
        block = self._without(file, block, open_ended, "missing-key", lambda i: message)
        table = block.table
        attribute = np.asarray(pc.equal(table["RelationshipLabel"], IS))
        first = self.classes.rows(table["LabelName1"], OBJECT, file.name)
        second, category = np.full(len(first), -1), np.full(len(first), -1)
        for where, space in ((attribute, ATTRIBUTE), (~attribute, OBJECT)):
            if where.any():
                some = table.filter(pa.array(where))
                second[where] = self.classes.rows(some["LabelName2"], space, file.name)
                predicate = some["RelationshipLabel"]
                if space == OBJECT:
                    category[where] = self.classes.rows(predicate, PREDICATE, file.name)
        made: dict[str, Any] = {
            "first": pa.array(first.astype(np.int32)),
            "second": pa.array(np.where(attribute, -1, second).astype(np.int32)),
            "category": pa.array(np.where(attribute, second, category).astype(np.int32)),
        }
        made.update({n: table[n].fill_null(np.nan) for n in ends})
        return block, made

    def _points(self, file: File, block: Block) -> tuple[Block, dict[str, Any]]:
        block = self._complete(file, block, ["X", "Y"])
        if "EstimatedYesNo" in block.table.column_names:
            block = self._answer(file, block)
        table = block.table
        renamed = table.rename_columns(
            ["LabelName" if n == "Label" else n for n in table.column_names]
        )
        made = self._named(file, renamed)
        made.update({"x": table["X"], "y": table["Y"]})
        if "EstimatedYesNo" in table.column_names:
            numbers = Codes(["yes", "no", "unsure"], {"yes": 0, "no": 1, "unsure": 2})
            said = numbers.numbers(table["EstimatedYesNo"])
            made["present"] = pa.array(said == 0, mask=(said != 0) & (said != 1))
        if "TextLabel" in table.column_names:
            made["text"] = table["TextLabel"]
        return block, made

    def _answer(self, file: File, block: Block) -> Block:
        values = block.table["EstimatedYesNo"].cast(pa.string())
        known = pc.is_in(values, value_set=pa.array(["yes", "no", "unsure", None]))
        wrong = ~np.asarray(known)
        if not wrong.any():
            return block

        def say(i: int) -> str:
            return f"EstimatedYesNo is {values[i].as_py()!r}, not yes, no or unsure"

        if self.intake.on_error != "fix":
            return self._without(file, block, wrong, "bad-value", say)
        self._fault(file, block, wrong, "bad-value", say)
        return block


def _taken(block: Block, keep: Mask) -> Block:
    """Some rows of a block."""
    if keep.all():
        return block
    at, line = np.flatnonzero(keep), block.line
    table = block.table.filter(pa.array(keep))
    return Block(table, block.first, block.numbers[at], lambda i: line(int(at[i])))
