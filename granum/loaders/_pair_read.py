"""Pairs, read: the lines of a manifest as samples, groups and relations, by columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._columns import single
from granum.loaders._hf_samples import Keys
from granum.loaders._notes import Notes
from granum.loaders._pair_lines import COLUMNS, Lines, columns_of, csv_lines, lines_of
from granum.loaders.base import Intake
from granum.schema import rows, tables
from granum.store.builder import Incoming
from granum.store.out import safe_relative

__all__ = ["SPACE", "Reading"]

SPACE = "pair"
"""The label space of what two images or patches are to one another."""

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Reading:
    """One manifest.

    Args:
        path: where it is.
        name: what findings call it.
        intake: gets pairs, labels and faults.
        notes: of our own writer.
        same_label: the label of patches that show the same place.
    """

    def __init__(
        self, path: Path, name: str, intake: Intake, notes: Notes | None, same_label: str
    ) -> None:
        self.path, self.name, self.intake = path, name, intake
        self.notes, self.same = notes, same_label
        self._blocks: list[Lines] = []
        self._numbers_of: list[int] = []

    def read(self) -> Incoming:
        """All samples and their annotations."""
        if self.notes is None or columns_of(self.path):
            self._blocks = list(lines_of(self.path, self.name, self.intake))
        empty = pa.table({n: pa.array([], t) for n, t in COLUMNS.items()})
        self.table = pa.concat_tables([empty, *(b.table for b in self._blocks)]).combine_chunks()
        n = self.table.num_rows
        self.good = np.ones(n, bool)
        self.boxes = [self._boxes(1), self._boxes(2)]
        self.given = [np.isfinite(b[:, 0]) for b in self.boxes]
        samples, self.at = self._samples()
        self.two = self.at[1] >= 0
        self.label = self._texts("label")
        groups = self._groups(samples)
        return Incoming(rows.samples_to_table(samples), {"truth": self._annotations(groups)})

    def locate(self, one: rows.Annotation, key: str) -> tuple[str, str]:
        """File and line of an annotation."""
        return self.name, f"line {self._lines(one.ordinal)[0]}" if one.ordinal else key

    def _lines(self, wanted: list[int]) -> list[int]:
        """The lines of rows, given in ascending order."""
        if any(b.numbers is None for b in self._blocks):
            return csv_lines(self.path, self.name, wanted, self.intake.findings.on_error)
        if not self._numbers_of:
            self._numbers_of = [n for b in self._blocks for n in b.numbers or ()]
        return [self._numbers_of[row] for row in wanted]

    def _fault(self, code: str, where: Bools, say: Callable[[int], str]) -> None:
        """Report lines; those beyond the limit of examples are only counted."""
        findings = self.intake.findings
        at = np.flatnonzero(where & self.good).tolist()
        shown = at[: max(0, findings.limit - findings.counts[code])]
        for row, line in zip(shown, self._lines(shown) if shown else (), strict=True):
            self.intake.fault(code, self.name, f"line {line}", say(row))
        findings.counts[code] += len(at) - len(shown)

    def _texts(self, name: str) -> pa.Array:
        return self.table[name].combine_chunks()

    def _numbers(self, name: str) -> Floats:
        return np.asarray(self.table[name].fill_null(np.nan), np.float64)

    def _boxes(self, side: int) -> Floats:
        """x, y, width, height of each line; NaN where there is none."""
        names = [f"{n}{side}" for n in ("x", "y", "width", "height")]
        boxes = np.column_stack([self._numbers(n) for n in names])
        valid = np.column_stack([np.asarray(self.table[n].is_valid()) for n in names])
        lone = np.asarray(self.table[f"path{side}"].is_null())  # the size of both is given once
        some, finite = valid[:, :2].any(axis=1) & ~lone, np.isfinite(boxes).all(axis=1)
        bad = some & ~finite
        self._fault("bad-value", bad, lambda r: f"no place of a patch: {boxes[r].tolist()}")
        if self.intake.on_error != "fix":
            self.good &= ~bad
        boxes[~some | bad] = np.nan
        return boxes

    # ------------------------------------------------------------------ samples

    def _samples(self) -> tuple[list[rows.Sample], list[Ints]]:
        """Samples in the order in which lines name them, and for each line its two; -1 where there
        is none."""
        n = self.table.num_rows
        paths = [self._texts("path1"), self._texts("path2")]
        none = np.asarray(paths[0].is_null())
        self._fault("missing-key", none, lambda r: "no path of the first image")
        self.good &= ~none
        both = pa.chunked_array(paths, pa.string()).combine_chunks().dictionary_encode()
        codes = np.asarray(both.indices.fill_null(-1), np.int64).reshape(2, n)
        names: list[str] = both.dictionary.to_pylist()
        bad = np.array([not self._inside(p) for p in names] + [False], bool)
        for side in (0, 1):
            where = bad[codes[side]]
            text = paths[side]
            self._fault("bad-value", where, lambda r, t=text: f"{t[r]} is no path below the folder")  # type: ignore[misc]
            self.good &= ~where
        if self.notes is not None:
            return self._noted(names, codes)
        flat = codes.T.ravel()
        flat = np.where(np.repeat(self.good, 2), flat, -1)
        used, first = np.unique(flat, return_index=True)
        used, first = used[used >= 0], first[used >= 0]
        used = used[np.argsort(first, kind="stable")]
        place = np.full(len(names) + 1, -1)
        place[used] = np.arange(len(used))
        at = [np.where(self.good, place[c], -1) for c in codes]
        roles = self._agreed(["role1", "role2"], at, len(used))
        splits = self._agreed(["split", "split"], at, len(used))
        listed = [
            rows.Sample(names[c], rows.Media(names[c]), role=r, split=s, origins=[0])
            for c, r, s in zip(used.tolist(), roles, splits, strict=True)
        ]
        return listed, at

    def _noted(self, names: list[str], codes: Any) -> tuple[list[rows.Sample], list[Ints]]:
        assert self.notes is not None
        rows_of = {s.media.path: i for i, s in enumerate(self.notes.samples) if s.media}
        place = np.array([rows_of.get(n, -2) for n in names] + [-1], np.int64)
        at = [place[c] for c in codes]
        for side in (0, 1):
            where = at[side] == -2
            self._fault("orphan-image", where, lambda r: "an image that is not in granum.json")
            self.good &= ~where
        return self.notes.samples, at

    def _inside(self, path: str) -> bool:
        try:
            safe_relative(path, self.name)
        except FormatError:
            return False
        return "\0" not in path

    def _agreed(self, names: list[str], at: list[Ints], count: int) -> list[str | None]:
        """What lines say of each sample: the first; another one is reported."""
        values: list[str | None] = [None] * count
        others: dict[int, str] = {}
        for side, name in enumerate(names):
            encoded = self._texts(name).dictionary_encode()
            codes = np.asarray(encoded.indices.fill_null(-1), np.int64)
            told = np.flatnonzero((codes >= 0) & (at[side] >= 0) & self.good)
            pairs = np.column_stack([at[side][told], codes[told]])
            unique, first = np.unique(pairs, axis=0, return_index=True)
            texts = encoded.dictionary.to_pylist()
            for i in np.argsort(first, kind="stable").tolist():
                sample, code = unique[i].tolist()
                if values[sample] is None:
                    values[sample] = texts[code]
                elif values[sample] != texts[code]:
                    message = f"{name} of an image is {texts[code]!r}, before {values[sample]!r}"
                    others[int(told[first[i]])] = message
        where = np.zeros(self.table.num_rows, bool)
        where[list(others)] = True
        self._fault("conflicting-records", where, others.__getitem__)
        return values

    # ------------------------------------------------------------------ pairs

    def _groups(self, samples: list[rows.Sample]) -> Ints:
        """For each line of a whole pair its group; -1 for other lines. Makes the groups."""
        one, two = self.at
        whole = self.good & self.two & ~self.given[0] & ~self.given[1]
        if self.notes is None:
            alike = np.asarray(pc.fill_null(pc.equal(self.label, self.same), False))
            aligned = alike & self.given[0] & self.given[1] & self.good & self.two
            aligned &= (self.boxes[0] == self.boxes[1]).all(axis=1)
            self._pair(samples, (whole | aligned) & (one != two), whole)
        group_of = np.array([-1 if s.group is None else s.group for s in samples] + [-1], np.int64)
        pair = np.array([g.kind == "pair" for g in self.intake.groups] + [False], bool)
        same = whole & (one != two) & (group_of[one] == group_of[two]) & pair[group_of[one]]
        return np.where(same, group_of[one], -1)

    def _pair(self, samples: list[rows.Sample], where: Bools, whole: Bools) -> None:
        at = np.flatnonzero(where)
        ends = np.column_stack([self.at[0][at], self.at[1][at]])
        _, first = np.unique(ends, axis=0, return_index=True)
        keys, ids = Keys(), self.table["id"]
        for i in np.sort(first).tolist():
            one, two = (samples[s] for s in ends[i].tolist())
            if one.group is None and two.group is None:
                name = ids[int(at[i])].as_py() if whole[at[i]] else None
                key = keys.unique(one.key if name is None else name)
                self.intake.groups.append(rows.Group(key, "pair", source_id=name))
                one.group = two.group = len(self.intake.groups) - 1

    # ------------------------------------------------------------------ annotations

    def _annotations(self, groups: Ints) -> pa.Table:
        """Rows in the order of the lines: of a relation its two sides, then itself."""
        labelled = np.asarray(self.label.is_valid())
        lines = np.arange(self.table.num_rows)
        related = self.good & self.two & (groups < 0)
        lone = self.good & ~self.two
        parts = {  # kind, place in the line, which lines, side of the box
            "first": ("object", 0, related),
            "second": ("object", 1, related),
            "relation": ("relation", 2, related),
            "object": ("object", 0, lone & self.given[0]),
            "label": ("label", 0, lone & ~self.given[0] & labelled),
            "pair": ("label", 0, (groups >= 0) & labelled),
        }
        of = np.concatenate([lines[where] for _, _, where in parts.values()])
        place = np.concatenate([np.full(int(w.sum()), p) for _, p, w in parts.values()])
        what = np.concatenate(
            [np.full(int(w.sum()), i) for i, (_, _, w) in enumerate(parts.values())]
        )
        order = np.lexsort((place, of))
        of, place, what = of[order], place[order], what[order]
        names = list(parts)

        def is_(*wanted: str) -> Bools:
            return np.isin(what, [names.index(n) for n in wanted])

        ids = np.arange(1, len(of) + 1)
        relation, carries = is_("relation"), ~is_("first", "second")
        boxes = np.where(is_("second")[:, None], self.boxes[1][of], self.boxes[0][of])
        boxed = np.isfinite(boxes[:, 0]) & is_("first", "second", "object")
        taken = pa.array(of, mask=~carries)
        kinds = pa.array([k for k, _, _ in parts.values()]).take(pa.array(what))
        pair = is_("pair")
        columns = {
            "annotation_id": pa.array(ids, pa.int64()),
            "sample": pa.array(np.where(is_("second"), self.at[1][of], self.at[0][of]), mask=pair),
            "group": pa.array(groups[of], mask=~pair),
            "kind": kinds.dictionary_encode(),
            "category": self._categories(of, relation | pair, carries),
            "bbox": pa.FixedSizeListArray.from_arrays(
                pa.array(np.where(boxed[:, None], boxes, 0.0).ravel()), 4, mask=pa.array(~boxed)
            ),
            # The sides of a relation stand before it.
            "subject": pa.array(ids - 2, pa.int64(), mask=~relation),
            "object": pa.array(ids - 1, pa.int64(), mask=~relation),
            **{n: self.table[n].take(taken) for n in ("score", "attributes")},
            "source_id": self.table["id"].take(taken),
            "origins": single(np.zeros(len(of), np.int64), pa.int16()),
            "ordinal": single(of, pa.int64()),
        }
        return tables.conform(tables.strip_null_columns(pa.table(columns)), tables.ANNOTATIONS)

    def _categories(self, of: Ints, paired: Bools, carries: Bools) -> pa.Array:
        """The category of each row by its label; of pairs and things apart."""
        encoded = self.label.dictionary_encode()
        codes = np.asarray(encoded.indices.fill_null(-1), np.int64)[of]
        codes[~carries] = -1
        texts = encoded.dictionary.to_pylist()
        out = np.full(len(of), -1)
        noted = None if self.notes is None else self.notes.category_rows
        for space, where in ((SPACE, paired), ("object", ~paired)):
            for code in np.unique(codes[where & (codes >= 0)]).tolist():
                row = None if noted is None else noted.get(texts[code])
                row = self.intake.category(texts[code], space) if row is None else row
                out[where & (codes == code)] = row
        return pa.array(out, pa.int32(), mask=out < 0)
