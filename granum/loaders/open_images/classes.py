"""Class descriptions and the hierarchy: ids in files, names and parents of categories."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._csv import CsvFile
from granum.loaders.base import Intake
from granum.loaders.open_images.facts import TEXT
from granum.loaders.open_images.notes import ATTRIBUTE, OBJECT, PREDICATE, Notes, role_lookups
from granum.loaders.open_images.tree import File, Tree
from granum.schema import rows

__all__ = ["Classes"]

MID = re.compile(r"/[a-z]/\w+")
HEADS = ({"labelname", "displayname"}, {"id", "name"}, {"mid", "displayname"}, {"mid", "name"})

Ints = npt.NDArray[np.int64]


class Classes:
    """The categories of a tree, by the ids that its files use.

    Args:
        tree: what there is.
        notes: of our own writer, or None.
        intake: gets categories and faults.
    """

    def __init__(self, tree: Tree, notes: Notes | None, intake: Intake) -> None:
        self.intake = intake
        self._rows: dict[tuple[str, str], int] = {}
        self._noted: dict[str, int] = {}
        self._noted_attributes: dict[str, int] = {}
        self._described = False
        self._nameless: list[str] = []
        if notes is not None:
            for category in notes.categories:
                intake.add_category(category)
            found = role_lookups(notes.ids, notes.categories)
            self._noted, self._noted_attributes = found
        for kind, space in (("classes", OBJECT), ("attributes", ATTRIBUTE)):
            for file in tree.kind(kind):
                self._describe(file, space)
        for file in tree.hierarchies:
            self._arrange(file)

    # ------------------------------------------------------------------ looking up

    def row(self, name: str, space: str, file: str) -> int:
        """The category of an id; a new one where nothing describes it."""
        noted = self._noted_attributes if space == ATTRIBUTE else self._noted
        if name in noted:
            return noted[name]
        row = self._rows.get((space, name))
        if row is not None:
            return row
        if space == ATTRIBUTE and (OBJECT, name) in self._rows:
            known = self.intake.categories[self._rows[OBJECT, name]].name
            return self._add(name, known, space)
        if space != PREDICATE and (self._described or MID.fullmatch(name)):
            self._nameless.append(file)
        return self._add(name, name, space)

    def rows(self, column: pa.ChunkedArray, space: str, file: str) -> Ints:
        """The category of each value of a coded column; -1 for null."""
        values = column.unify_dictionaries().combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # of no chunks
            return np.empty(0, np.int64)
        codes = np.asarray(values.indices.fill_null(-1), np.int64)
        table = np.full(len(values.dictionary) + 1, -1)
        used = np.zeros(len(table), bool)
        used[codes] = True
        for code in np.flatnonzero(used[:-1]).tolist():  # others are of rows left out
            table[code] = self.row(values.dictionary[code].as_py(), space, file)
        return table[codes]

    def report(self) -> None:
        """Say how many classes have no name."""
        if self._nameless:
            self.intake.findings.add(
                "unnamed-class",
                self._nameless[0],
                None,
                f"{len(self._nameless)} classes have no description; each is named by its id",
                len(self._nameless),
            )

    def _add(self, name: str, shown: str, space: str) -> int:
        told = space != PREDICATE and (MID.fullmatch(name) is not None or name != shown)
        source = name if told else None
        row = self.intake.add_category(rows.Category(shown, space, source))
        self._rows[space, name] = row
        return row

    # ------------------------------------------------------------------ descriptions

    def _describe(self, file: File, space: str) -> None:
        seen: set[str] = set()
        for name, shown, line in self._pairs(file):
            place = f"line {line}"
            if name is None or shown is None:
                self.intake.fault("missing-key", file.name, place, "a class without id or name")
                continue
            if name in seen:
                message = f"the id {name!r} is taken"
                self.intake.fault("duplicate-category-id", file.name, place, message)
                continue
            seen.add(name)
            if name in self._noted:
                continue
            row = self._rows.get((space, name))
            if row is None:
                self._add(name, shown, space)
            elif self.intake.categories[row].name != shown:
                message = f"{name!r} is {shown!r} here, {self.intake.categories[row].name!r} before"
                self.intake.fault("conflicting-records", file.name, place, message)
        self._described = True

    def _pairs(self, file: File) -> Iterator[tuple[str | None, str | None, int]]:
        head = [h.strip().lower() for h in file.header]
        if len(head) < 2:
            raise FormatError(file.name, "no two columns: the id and the name of a class", "line 1")
        titled = any(h <= {*head} for h in HEADS)
        if titled:
            at = [
                next(i for i, h in enumerate(head) if h in names)
                for names in (("labelname", "id", "mid"), ("displayname", "name"))
            ]
            source = CsvFile(file.path, file.name)
        else:
            at, names = [0, 1], [f"column {i}" for i in range(len(head))]
            source = CsvFile(file.path, file.name, names)
        asked = [source.header[i] for i in at]
        for block in source.blocks(dict.fromkeys(asked, TEXT), self.intake):
            pairs = zip(*(block.table[n].to_pylist() for n in asked), strict=True)
            for i, (name, shown) in enumerate(pairs):
                # A header of other words than those known.
                strange = block.numbers[i] == 0 and not titled and not str(name).startswith("/")
                if strange and block.table.num_rows > 1:
                    second = str(block.table[asked[0]][1].as_py())
                    if second.startswith("/"):
                        continue
                yield name, shown, block.line(i)

    # ------------------------------------------------------------------ hierarchy

    def _arrange(self, file: File) -> None:
        """Parents from nested objects. The root stands for everything and is no class."""
        try:
            root = msgspec.json.decode(file.path.read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.intake.fault("bad-value", file.name, None, f"no JSON: {error}")
            return
        waiting: list[tuple[Any, int | None, str, str]] = [(root, None, "", "")]
        while waiting:
            node, above, relation, pointer = waiting.pop()
            if not isinstance(node, dict):
                self.intake.fault("bad-value", file.name, pointer, "a node is no object")
                continue
            row = None
            if pointer:
                name = node.get("LabelName")
                if not isinstance(name, str):
                    message = "a node without LabelName"
                    self.intake.fault("missing-key", file.name, pointer, message)
                    continue
                row = self.row(name, OBJECT, file.name)
                if above is not None and name not in self._noted:
                    self._put_below(row, above, relation)
            below = []
            for key, kind in (("Subcategory", "is_a"), ("Part", "part_of")):
                listed = node.get(key, [])
                if not isinstance(listed, list):
                    self.intake.fault("bad-value", file.name, f"{pointer}/{key}", "no list")
                    continue
                below += [(n, row, kind, f"{pointer}/{key}/{i}") for i, n in enumerate(listed)]
            waiting += reversed(below)

    def _put_below(self, row: int, above: int, relation: str) -> None:
        category = self.intake.categories[row]
        link = {"index": above, "relation": relation}
        if link not in (category.parents or []):
            category.parents = [*(category.parents or []), link]
