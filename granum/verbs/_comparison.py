"""The work of ``diff``: part by part over a, on columns; rows are looked at where they differ."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.store.dataset import Dataset
from granum.verbs._changes import changed_columns
from granum.verbs._content import gather_samples, key_codes
from granum.verbs._details import Details, count_rows, first_rows
from granum.verbs._renames import compare_categories
from granum.verbs._settling import Block, Sides, group_keys
from granum.verbs.diff import DiffReport

__all__ = ["compare"]

Ints = npt.NDArray[np.int64]


def compare(a: Dataset, b: Dataset, report: DiffReport, examples: int, *, layers: bool) -> None:
    """Fill ``report``; ``layers``: also with the layers that only one has."""
    place = _places(a, b, report)
    sides = Sides(a, b, place, report.tolerance, frozenset(report.ignored))
    compare_categories(sides, report.categories)
    _apart(sides, report, examples)
    details = Details(sides, report, examples)
    for block in sides.blocks():
        if block.samples is not None:
            _samples(sides, block, report, examples)
        details.add(block, sides.settle(block))
    details.finish()
    _groups(sides, report, examples)
    if layers:
        report.layers["added"] = sorted(_filled(b) - _filled(a))
        report.layers["removed"] = sorted(_filled(a) - _filled(b))


def _places(a: Dataset, b: Dataset, report: DiffReport) -> Ints:
    """For each sample of a its row in b, or -1."""
    one, two = (_names(d, report.by) for d in (a, b))
    if report.by != "key":
        for name, values in (("a", one), ("b", two)):
            if not _unique(values):
                raise UsageError(
                    f"samples of {name} cannot be matched by {report.by}: {values.null_count} of "
                    f"{len(values)} have none, or several have the same; compare by key"
                )
    if one.equals(two):
        return np.arange(len(one))
    place = np.asarray(pc.index_in(one, value_set=two.combine_chunks()).fill_null(-1), np.int64)
    if report.by == "key" and not (place >= 0).any():
        for by in ("source_id", "name"):
            x, y = (_names(d, by) for d in (a, b))
            if _unique(x) and _unique(y):
                shared = pc.sum(pc.is_in(x, value_set=y.combine_chunks())).as_py()
                if shared:
                    report.notes.append(
                        f"no key is common, but {shared} samples agree by {by}: --by {by}"
                    )
    return place


def _names(dataset: Dataset, by: str) -> pa.ChunkedArray:
    """What samples are matched by: their keys, source ids, or the last part of their keys."""
    column = dataset.samples(["source_id" if by == "source_id" else "key"])[0]
    return pc.replace_substring_regex(column, r"^.*[/\\]", "") if by == "name" else column


def _unique(values: pa.ChunkedArray) -> bool:
    return not values.null_count and pc.count_distinct(values).as_py() == len(values)


def _apart(sides: Sides, report: DiffReport, examples: int) -> None:
    """Samples that only one has, and those that stand elsewhere."""
    place, tally = sides.place, report.samples
    hit = np.zeros(len(sides.b), bool)
    hit[place[place >= 0]] = True
    for what, dataset, apart in (("removed", sides.a, place < 0), ("added", sides.b, ~hit)):
        rows = np.flatnonzero(apart)
        setattr(tally, what, len(rows))
        if len(rows):
            keys = gather_samples(dataset, rows[:examples])["key"].to_pylist()
            tally.examples[what] = [{"key": k} for k in keys]
            counts = [np.diff(p.offsets(dataset.meta.layer)) for p in dataset.parts]
            report.annotations_apart[what] = int(np.concatenate(counts)[rows].sum())
    report.moved = _moved(place[place >= 0])


def _moved(places: Ints) -> int:
    """How many must move for the order to be the same: all but the longest rising run."""
    if (places[1:] > places[:-1]).all():
        return 0
    tails: list[int] = []
    for p in places.tolist():
        at = bisect_left(tails, p)
        tails[at : at + 1] = [p]
    return len(places) - len(tails)


def _samples(sides: Sides, block: Block, report: DiffReport, examples: int) -> None:
    assert block.samples is not None
    a, b = block.samples
    skip = {report.by, "origins", "ordinal", "shape", "group", *sides.ignore}
    changed = changed_columns(a, b, skip, {"media": sides.roots})
    groups = group_keys(a, sides.a.groups), group_keys(b, sides.b.groups)
    if "group" not in sides.ignore and not groups[0].equals(groups[1]):
        one, two = key_codes(*groups)
        changed |= {"group": one != two} if (one != two).any() else {}
    count_rows(report.samples, changed, block.owners)
    for row, columns in first_rows(report.samples, changed, examples):
        report.samples.example("changed", {"key": block.key(row), "columns": columns}, examples)


def _groups(sides: Sides, report: DiffReport, examples: int) -> None:
    a, b, tally = sides.a.groups, sides.b.groups, report.groups
    one, two = a["key"], b["key"]
    place = np.asarray(pc.index_in(one, value_set=two.combine_chunks()).fill_null(-1), np.int64)
    hit = np.zeros(len(two), bool)
    hit[place[place >= 0]] = True
    for what, keys, apart in (("removed", one, place < 0), ("added", two, ~hit)):
        rows = np.flatnonzero(apart)
        setattr(tally, what, len(rows))
        if len(rows):
            shown = keys.take(pa.array(rows[:examples])).to_pylist()
            tally.examples[what] = [{"key": k} for k in shown]
    rows = np.flatnonzero(place >= 0)
    x, y = a.take(pa.array(rows)), b.take(pa.array(place[rows]))
    changed = changed_columns(x, y, {"key", *sides.ignore}, {"media": sides.roots})
    count_rows(tally, changed, len(rows))
    for row, columns in first_rows(tally, changed, examples):
        tally.example("changed", {"key": x["key"][row].as_py(), "columns": columns}, examples)


def _filled(dataset: Dataset) -> set[str]:
    return {n for n in dataset.meta.layers if any(p.layer(n).num_rows for p in dataset.parts)}
