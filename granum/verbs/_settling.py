"""Two datasets block by block: samples that belong together, and their annotations in pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset
from granum.store.parts import annotation_rows
from granum.verbs import _categories as names
from granum.verbs._changes import OWN_CATEGORY, Roots, Tracks, comparable, compare_annotations
from granum.verbs._content import BLOCK, gather, gather_samples, group_rows, key_codes
from granum.verbs._pairs import Pairs, pair_rows

__all__ = ["Block", "Settled", "Sides", "group_keys", "numbers_of", "owners_of"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass
class Block:
    """Owners (samples, or groups) in the same order on both sides, and their annotations.

    ``samples`` is None where the owners are groups.
    """

    a: pa.Table
    b: pa.Table
    owners: int
    samples: tuple[pa.Table, pa.Table] | None
    keys: pa.ChunkedArray

    def key(self, owner: int) -> str | None:
        value: str | None = self.keys[owner].as_py()
        return value


@dataclass
class Settled:
    """A block's annotations: ``same`` rows are done; those of the other owners are in ``a`` and
    ``b``, paired, with the pairs that differ by field."""

    same: int
    a: pa.Table
    b: pa.Table
    pairs: Pairs
    changed: dict[str, Mask]


class Sides:
    """Datasets a and b in their current layers, and what is known of how they correspond.

    Attributes:
        place: for each sample of a its row in b, or -1.
        tolerance, ignore: see ``diff``.
        matches: for each category of b the row of a with its name, or None.
        numbers_a, numbers_b: joint numbers of the categories; those only b has follow a's.
    """

    def __init__(
        self,
        a: Dataset,
        b: Dataset,
        place: Ints,
        tolerance: float = 0.0,
        ignore: frozenset[str] = frozenset(),
    ) -> None:
        self.a, self.b, self.place = a, b, place
        self.tolerance, self.ignore = tolerance, ignore
        self.cats_a = names.read_categories(a.categories)
        self.cats_b = names.read_categories(b.categories)
        self.matches = names.match(self.cats_a, self.cats_b)
        n = len(self.cats_a)
        self.numbers_a = np.arange(n)
        self.numbers_b = np.array(
            [n + j if m is None else m for j, m in enumerate(self.matches)], np.int64
        )
        self.tracks = Tracks()
        self.roots: Roots = (a.meta.media_root, b.meta.media_root)
        self.map_roots: Roots = (
            a.meta.map_root or a.meta.media_root,
            b.meta.map_root or b.meta.media_root,
        )

    def blocks(self) -> Iterator[Block]:
        """The common samples, in order of a, then the groups."""
        for part in self.a.parts:
            for start in range(part.start, part.start + part.rows, BLOCK):
                stop = min(start + BLOCK, part.start + part.rows)
                rows = start + np.flatnonzero(self.place[start:stop] >= 0)
                if len(rows):
                    yield self._samples(rows, self.place[rows])
        whole = self._groups()
        if whole is not None:
            yield whole

    def _samples(self, rows_a: Ints, rows_b: Ints) -> Block:
        a, b = gather_samples(self.a, rows_a), gather_samples(self.b, rows_b)
        one = comparable(gather(self.a, self.a.meta.layer, rows_a), self.numbers_a, a, b)
        two = comparable(gather(self.b, self.b.meta.layer, rows_b), self.numbers_b, b, a)
        return Block(one, two, len(rows_a), (a, b), a["key"])

    def _groups(self) -> Block | None:
        """Annotations of whole groups, by the groups' keys."""
        whole = [group_rows(d, d.meta.layer) for d in (self.a, self.b)]
        if not any(t.num_rows for t in whole):
            return None
        keys = [group_keys(t, d.groups) for t, d in zip(whole, (self.a, self.b), strict=True)]
        codes = np.concatenate(key_codes(*keys))
        _, first, owner = np.unique(codes, return_index=True, return_inverse=True)
        owner = owner.reshape(-1)
        every = pa.chunked_array([x for k in keys for x in k.chunks], pa.string())
        sides, at = [], 0
        for table, numbers in zip(whole, (self.numbers_a, self.numbers_b), strict=True):
            mine = owner[at : at + table.num_rows]
            at += table.num_rows
            table = with_column(table, "sample", pa.array(mine, pa.int64()))
            table = table.take(pa.array(np.argsort(mine, kind="stable")))
            sides.append(comparable(table, numbers, None, None))
        return Block(sides[0], sides[1], len(first), None, every.take(pa.array(first)))

    def settle(self, block: Block) -> Settled:
        """Compare a block.

        Owners whose annotations agree row by row are done; the others' are paired.
        """
        bounds = [
            np.searchsorted(owners_of(t), np.arange(block.owners + 1)) for t in (block.a, block.b)
        ]
        counts = [np.diff(x) for x in bounds]
        level = np.flatnonzero(counts[0] == counts[1])
        one, two = (_of(t, x, level) for t, x in zip((block.a, block.b), bounds, strict=True))
        ids = one["annotation_id"].combine_chunks(), two["annotation_id"].combine_chunks()
        changed = compare_annotations(
            one,
            two,
            self.tolerance,
            ids,
            self.tracks,
            self.map_roots,
            ignore=self.ignore,
            learn=False,
        )
        todo = counts[0] != counts[1]
        for mask in changed.values():
            todo[owners_of(one)[mask]] = True
        done = pa.array(~todo[owners_of(one)])
        settled = [t.filter(done) if todo.any() else t for t in (one, two)]
        self.tracks.changed(column(settled[0], "track"), column(settled[1], "track"))
        if not todo.any():
            nothing = np.empty(0, np.int64)
            pairs = Pairs(nothing, nothing, Counter())
            return Settled(one.num_rows, one.slice(0, 0), two.slice(0, 0), pairs, {})
        rest = np.flatnonzero(todo)
        a, b = (_of(t, x, rest) for t, x in zip((block.a, block.b), bounds, strict=True))
        pairs = pair_rows(a, b, self.ignore)
        paired = a.take(pa.array(pairs.a)), b.take(pa.array(pairs.b))
        known = [
            pa.concat_arrays([*s["annotation_id"].chunks, *p["annotation_id"].chunks])
            for s, p in zip(settled, paired, strict=True)
        ]
        changed = compare_annotations(
            *paired,
            self.tolerance,
            (known[0], known[1]),
            self.tracks,
            self.map_roots,
            ignore=self.ignore,
        )
        return Settled(settled[0].num_rows, a, b, pairs, changed)


def owners_of(table: pa.Table) -> Ints:
    """The ``sample`` column: the place of each row's owner in its block."""
    return np.asarray(table["sample"].fill_null(-1), np.int64)


def numbers_of(table: pa.Table, *, own: bool = False) -> Ints:
    """Categories as jointly numbered, or ``own``: as the dataset itself does; -1 for none."""
    name = OWN_CATEGORY if own and OWN_CATEGORY in table.column_names else "category"
    return np.asarray(column(table, name).fill_null(-1), np.int64)


def group_keys(table: pa.Table, groups: pa.Table) -> pa.ChunkedArray:
    """The key of each row's group; null where it has none."""
    rows = column(table, "group").combine_chunks()
    keys: pa.ChunkedArray = groups["key"].take(rows).cast(pa.string())
    return keys


def _of(table: pa.Table, bounds: Ints, owners: Ints) -> pa.Table:
    """The annotations of some owners; all of them without a copy."""
    if len(owners) == len(bounds) - 1:
        return table
    return table.take(pa.array(annotation_rows(bounds, owners)[0]))
