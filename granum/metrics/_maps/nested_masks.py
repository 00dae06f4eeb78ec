"""The masks of nested regions, from whatever form the annotations of an image or volume have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._maps.class_maps import Lookup
from granum.metrics._maps.drawn import DrawnSample, OtherSizeError, has_mask, is_whole_map
from granum.metrics._maps.drawn_groups import DrawnGroup, Member
from granum.metrics._usable import rows_left_out
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.rows import LabelMap
from granum.schema.tables import column
from granum.store.volumes import is_volume, read_label_volume

__all__ = ["BRATS", "Drawn", "RegionSet", "drawn_image", "drawn_volume", "spacing_of"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Row = dict[str, Any]
Given = Literal["auto", "parts", "regions"]

BRATS: dict[str, tuple[str | int, ...]] = {
    "WT": ("NCR", "ED", "ET"),
    "TC": ("NCR", "ET"),
    "ET": ("ET",),
}
"""Whole tumour, tumour core, enhancing tumour, by the names of the parts."""

BRATS_NUMBERS: dict[str, tuple[str | int, ...]] = {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}
"""The same by the label numbers up to 2020; where no category has these names."""


@dataclass(frozen=True)
class RegionSet:
    """Regions, the outermost first, and what they are the union of.

    Attributes:
        numbers: the parts of each region: values of label maps, as the truth numbers them.
        named: the region that a category's name means, by its row.
        number_of: the number of each category, shape (categories,); -1 where it has none.
        numbered: whether any category has a number: then other values mean nothing.
    """

    numbers: Mapping[str, tuple[int, ...]]
    named: Mapping[int, str]
    number_of: Ints
    numbered: bool

    @classmethod
    def among(
        cls, categories: pa.Table, regions: Mapping[str, Sequence[str | int]] | None
    ) -> RegionSet:
        """The regions as asked for, else those of BraTS.

        Raises:
            UsageError: a part is no category and no number, or a region holds what the one around
                it does not.
        """
        names = categories["name"].to_pylist()
        ids = column(categories, "source_id", tables.CATEGORIES).to_pylist()
        number_of = np.array(
            [int(i) if i is not None and i.isdecimal() else -1 for i in ids], np.int64
        )
        told = {n: int(v) for n, v in zip(names, number_of.tolist(), strict=True) if v >= 0}
        if regions is None:
            regions = BRATS if {"NCR", "ED", "ET"} <= told.keys() else BRATS_NUMBERS
        numbers: dict[str, tuple[int, ...]] = {}
        for region, parts in regions.items():
            numbers[region] = tuple(sorted({_number(p, told, region) for p in parts}))
        listed = list(numbers)
        for outer, inner in pairwise(listed):
            if not set(numbers[inner]) <= set(numbers[outer]):
                message = f"{inner} {numbers[inner]} is not inside {outer} {numbers[outer]}"
                raise UsageError(f"regions are named from the outermost inwards: {message}")
        named = {i: n for i, n in enumerate(names) if n in numbers}
        return cls(numbers, named, number_of, bool((number_of >= 0).any()))

    @property
    def parts(self) -> set[int]:
        return {n for numbers in self.numbers.values() for n in numbers}

    def masks_of_values(self, numbers: Ints) -> dict[str, Mask]:
        return {region: np.isin(numbers, parts) for region, parts in self.numbers.items()}


def _number(part: str | int, told: Mapping[str, int], region: str) -> int:
    if isinstance(part, int):
        return part
    if part in told:
        return told[part]
    if part.isdecimal():
        return int(part)
    raise UsageError(f"{part!r} of the region {region!r} is no category with a number")


@dataclass
class Drawn:
    """The masks of one side.

    Attributes:
        masks: by region, all of one shape; None where nothing is drawn.
        rows: how many annotations they come from.
        orders: of the slices that were stacked; None of an image and of a volume in one file.
    """

    masks: dict[str, Mask] | None
    rows: int
    orders: tuple[int, ...] | None = None


def drawn_image(
    sample: DrawnSample,
    regions: RegionSet,
    lookup: Lookup,
    given: Given,
    who: str,
    found: Findings,
) -> Drawn:
    """The regions of an image.

    Raises:
        FormatError: a mask or label map cannot be read, or sizes differ.
    """
    rows = _usable(sample, regions, who, found)
    return _drawn_rows(sample, rows, regions, lookup, _as_regions(rows, regions, given), who, found)


def drawn_volume(
    group: DrawnGroup,
    regions: RegionSet,
    lookup: Lookup,
    given: Given,
    who: str,
    found: Findings,
    orders: Sequence[int] | None = None,
) -> Drawn:
    """The regions of a volume, shape (slices, height, width): a label volume that hangs on the
    group or on one of its samples, or else slices by their ``order``; those without a row are
    empty. ``orders``: those of the truth; others are findings.

    Raises:
        FormatError: as ``drawn_image``, or the volume cannot be read.
    """
    holders = [group.whole, *(m.drawn for m in group.members)]
    files = [(s, r) for s in holders for r in s.rows if _is_file(r)]
    if files:
        first = files[0][1]
        rest = [r for s in holders for r in s.rows if r is not first]
        what = "beside the label volume of their group"
        rows_left_out(found, "not-compared", who, group.key, rest, what)
        values = read_label_volume(LabelMap(**first["map"]), files[0][0].root)
        space = first["map"]["space"]
        numbers = _numbers(values, space, regions, lookup, who, group.key, found)
        return Drawn(regions.masks_of_values(numbers), 1)
    rows_left_out(found, "not-compared", who, group.key, group.whole.rows, "of a whole group")
    there = _slices(group.members)
    for order in [o for o in there if orders is not None and o not in orders]:
        lost = there.pop(order)
        what = "on a slice that the truth does not have"
        rows_left_out(found, "unknown-sample", who, lost.key, lost.rows, what)
    places = tuple(there) if orders is None else tuple(orders)
    usable = {o: _usable(s, regions, who, found) for o, s in there.items()}
    mode = _as_regions([r for rows in usable.values() for r in rows], regions, given)
    drawn = [
        _drawn_rows(there[o], usable[o], regions, lookup, mode, who, found)
        if usable.get(o)
        else Drawn(None, 0)
        for o in places
    ]
    known = [d.masks for d in drawn if d.masks is not None]
    if not known:
        return Drawn(None, 0)
    shapes = {next(iter(m.values())).shape for m in known}
    if len(shapes) > 1:
        raise OtherSizeError(group.key, f"slices of {sorted(shapes)} (height, width)")
    blank = np.zeros(shapes.pop(), bool)
    stacked = {
        region: np.stack([blank if d.masks is None else d.masks[region] for d in drawn])
        for region in regions.numbers
    }
    return Drawn(stacked, sum(d.rows for d in drawn), places)


def _slices(members: Sequence[Member]) -> dict[int, DrawnSample]:
    """The slices by their order; of samples of one place (modalities) the rows are taken together,
    and samples without an order follow, one a slice."""
    found: dict[int, DrawnSample] = {}
    for i, member in enumerate(members):
        order = (1 << 40) + i if member.order is None else member.order
        if order in found:
            rows = [*found[order].rows, *member.drawn.rows]
            found[order] = replace(found[order], rows=rows)
        else:
            found[order] = member.drawn
    return found


def _is_file(row: Row) -> bool:
    return row["map"] is not None and is_whole_map(row) and is_volume(LabelMap(**row["map"]))


def _usable(sample: DrawnSample, regions: RegionSet, who: str, found: Findings) -> list[Row]:
    """Rows that say something of a region."""
    rows = [r for r in sample.rows if r["kind"] == "object"]
    bare = [r for r in rows if not has_mask(r)]
    rows_left_out(found, "missing-geometry", who, sample.key, bare, "without a mask")
    ignored = [r for r in rows if has_mask(r) and r["ignore"]]
    rows_left_out(found, "not-compared", who, sample.key, ignored, "marked to be ignored")
    drawn = [r for r in rows if has_mask(r) and not r["ignore"]]
    told = [r for r in drawn if is_whole_map(r) or _says(r, regions)]
    rest = [r for r in drawn if not any(r is t for t in told)]
    rows_left_out(found, "not-compared", who, sample.key, rest, "of no region and no part")
    return told


def _says(row: Row, regions: RegionSet) -> bool:
    category = row["category"]
    if category is None:
        return False
    return category in regions.named or int(regions.number_of[category]) in regions.parts


def _as_regions(rows: Sequence[Row], regions: RegionSet, given: Given) -> bool:
    """Whether masks are regions as such, and not the parts that they are the union of."""
    if given != "auto":
        return given == "regions"
    return any(
        not is_whole_map(r)
        and r["category"] in regions.named
        and int(regions.number_of[r["category"]]) not in regions.parts
        for r in rows
    )


def _drawn_rows(
    sample: DrawnSample,
    rows: Sequence[Row],
    regions: RegionSet,
    lookup: Lookup,
    as_regions: bool,
    who: str,
    found: Findings,
) -> Drawn:
    """The masks of one image's rows. Regions as such: each is the union of its own rows."""
    if as_regions:
        rest = [r for r in rows if is_whole_map(r) or r["category"] not in regions.named]
        what = "that is no region, beside masks of regions"
        rows_left_out(found, "not-compared", who, sample.key, rest, what)
        rows = [r for r in rows if not any(r is other for other in rest)]
    masks: dict[str, Mask] | None = None
    for row in rows:
        if is_whole_map(row):
            space = row["map"]["space"]
            values = sample.values(row)
            numbers = _numbers(values, space, regions, lookup, who, sample.key, found)
            told = regions.masks_of_values(numbers)
        else:
            category = row["category"]
            mask = sample.mask(row)
            blank = np.zeros(mask.shape, bool)
            if as_regions:
                own = regions.named.get(category)
                told = {n: mask if n == own else blank for n in regions.numbers}
            else:
                number = int(regions.number_of[category])
                told = {n: mask if number in p else blank for n, p in regions.numbers.items()}
        masks = told if masks is None else _united(masks, told, sample.key)
    return Drawn(masks, len(rows))


def _united(one: Mapping[str, Mask], other: Mapping[str, Mask], key: str) -> dict[str, Mask]:
    shapes = [next(iter(m.values())).shape for m in (one, other)]
    if shapes[0] != shapes[1]:
        raise OtherSizeError(key, f"masks of {shapes[0]} and {shapes[1]} (height, width)")
    return {name: one[name] | other[name] for name in one}


def _numbers(
    values: Ints,
    space: str | None,
    regions: RegionSet,
    lookup: Lookup,
    who: str,
    key: str,
    found: Findings,
) -> Ints:
    """Values of a label map as the truth numbers them: by the names of the classes where categories
    have numbers (the prediction's may differ), else as they are. 0 is nothing."""
    if not regions.numbered:
        return values
    rows = lookup.classes(values, space)
    numbers = np.where(rows >= 0, regions.number_of[np.maximum(rows, 0)], 0)
    strange = (rows < 0) & (values != 0)
    if strange.any():
        shown = ", ".join(map(str, np.unique(values[strange])[:3].tolist()))
        code = "unknown-class" if who == "truth" else "unknown-category"
        message = f"{int(strange.sum())} elements of values that are no category (such as {shown})"
        found.add(code, who, key, f"{message}: in no region")
    return np.asarray(numbers, np.int64)


def spacing_of(
    members: Sequence[Member], key: str, axes: int, found: Findings
) -> tuple[float, ...] | None:
    """The spacing that samples state (x, y, z), in the order of the array's axes; None where none
    does, or what they state is no spacing, which is a finding."""
    stated = next((m.attributes["spacing"] for m in members if "spacing" in m.attributes), None)
    if stated is None:
        return None
    try:
        numbers = [float(v) for v in stated][:axes][::-1]
        good = len(numbers) == axes and all(0 < v < np.inf for v in numbers)
    except (TypeError, ValueError):
        good = False
    if not good:
        found.add("bad-value", "truth", key, f"{stated!r} is no spacing of {axes} axes; 1 is taken")
        return None
    return tuple(numbers)
