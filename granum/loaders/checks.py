"""General checks of annotations, on whole columns; and what ``skip`` and ``fix`` do about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.loaders.base import Intake, blank
from granum.schema import geometry, rows
from granum.schema.findings import CODES
from granum.schema.tables import column, with_column
from granum.schema.units import is_relative
from granum.store.builder import Incoming

__all__ = ["check_batch"]

OUTSIDE = 0.5
"""Pixels that a box may reach beyond its image unremarked (rounded coordinates do)."""

Rows = npt.NDArray[np.int64]
Fix = Callable[[pa.Table, Rows], pa.Table]


def check_batch(incoming: Incoming, intake: Intake, format_name: str) -> Incoming:
    """Report faults in geometry and apply the intake's policy.

    Returns:
        The batch, with faulty annotations left out (``skip``) or mended (``fix``).
    """
    layers = {
        name: _Check(incoming.samples, table, intake, format_name).run()
        if table.num_rows
        else table
        for name, table in incoming.layers.items()
    }
    return Incoming(incoming.samples, layers)


class _Check:
    """The checks of one table; ``fault`` drops or mends rows as the policy says."""

    def __init__(
        self, samples: pa.Table, annotations: pa.Table, intake: Intake, format_name: str
    ) -> None:
        self.samples, self.table, self.intake = samples, annotations, intake
        self.format_name = format_name
        self.drop = np.zeros(annotations.num_rows, bool)

    def run(self) -> pa.Table:
        names = self.table.column_names
        if "polygons" in names and self.table["polygons"].null_count < self.table.num_rows:
            self.polygons()
        if "rle" in names and self.table["rle"].null_count < self.table.num_rows:
            self.rles()
        if "bbox" in names and self.table["bbox"].null_count < self.table.num_rows:
            self.boxes()
        return self.table.filter(pa.array(~self.drop)) if self.drop.any() else self.table

    def fault(
        self, code: str, where: npt.NDArray[np.bool_], say: Callable[[int], str], fix: Fix
    ) -> None:
        """Report rows; then leave them out or mend them."""
        at = np.flatnonzero(where & ~self.drop)
        if not len(at):
            return
        findings = self.intake.findings
        shown = max(0, findings.limit - findings.counts[code])
        for row in at[:shown].tolist():
            path, place = self.place(row)
            self.intake.fault(code, path, place, say(row))
        if len(at) > shown:
            findings.counts[code] += len(at) - shown
        if self.intake.on_error == "fix":
            self.table = fix(self.table, at)
        elif self.intake.on_error == "skip" and CODES[code].severity == "error":
            self.drop[at] = True

    def place(self, row: int) -> tuple[str, str]:
        """File and place of an annotation."""
        one: rows.Annotation = rows.annotations_from_table(
            self.table.select(
                [
                    n
                    for n in ("origins", "ordinal", "sample", "source_id")
                    if n in self.table.column_names
                ]
            ).slice(row, 1)
        )[0]
        key = "?" if one.sample is None else self.samples["key"][one.sample].as_py()
        if self.intake.locate is not None:
            return self.intake.locate(one, key)
        path = self.intake.sources[one.origins[0]].path if one.origins else key
        return path, f"{key}: annotation {one.ordinal[0] if one.ordinal else row}"

    # ------------------------------------------------------------------ checks

    def polygons(self) -> None:
        flat = geometry.flat_polygons(self.table["polygons"])
        lengths, owner = np.diff(flat.rings), flat.ring_rows()

        def rows_where(bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
            out = np.zeros(self.table.num_rows, bool)
            out[owner[bad]] = True
            return out

        odd, short = lengths % 2 == 1, lengths < 6
        wild = np.zeros(len(lengths), bool)
        finite = np.isfinite(flat.coords)
        if not finite.all():
            ring_of = np.repeat(np.arange(len(lengths)), lengths)
            wild[ring_of[~finite]] = True
        self.fault(
            "bad-value",
            rows_where(wild),
            lambda r: "a polygon holds NaN or infinity",
            _fix_polygons,
        )
        self.fault(
            "odd-polygon",
            rows_where(odd),
            lambda r: "a polygon has an odd number of coordinates",
            _fix_polygons,
        )
        self.fault(
            "short-polygon",
            rows_where(short),
            lambda r: "a polygon has fewer than three points",
            _fix_polygons,
        )

    def rles(self) -> None:
        array = self.table["rle"].combine_chunks()
        at = np.flatnonzero(np.asarray(array.is_valid()))
        chosen = array.take(pa.array(at))
        size = np.asarray(chosen.field("size").flatten(), np.int64).reshape(-1, 2)
        counts = chosen.field("counts")
        sums, broken, odd = _rle_facts(counts)

        def everywhere(bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
            out = np.zeros(self.table.num_rows, bool)
            out[at[bad]] = True
            return out

        wanted = size
        sample = np.asarray(column(self.table, "sample").fill_null(-1), np.int64)[at]
        height = _with_missing(self.samples, "height")[sample]
        width = _with_missing(self.samples, "width")[sample]
        stated = np.column_stack([height, width])
        known = (stated > 0).all(axis=1) & (sample >= 0)
        mismatch = known & (stated != wanted).any(axis=1)
        mismatch |= ~broken & (sums != size.prod(axis=1))

        def drop_rle(table: pa.Table, rows_: Rows) -> pa.Table:
            where = np.zeros(table.num_rows, bool)
            where[rows_] = True
            return blank(table, "rle", where)

        row_of = {int(r): i for i, r in enumerate(at)}
        self.fault(
            "bad-value", everywhere(broken), lambda r: "the RLE counts cannot be decoded", drop_rle
        )
        self.fault(
            "rle-size-mismatch",
            everywhere(mismatch),
            lambda r: (
                f"RLE of size {size[row_of[r]].tolist()} (height, width) with {sums[row_of[r]]} "
                "pixels in an image of "
                + (f"{stated[row_of[r]].tolist()}" if known[row_of[r]] else "unknown size")
            ),
            drop_rle,
        )

        self.fault(
            "rle-not-canonical",
            everywhere(odd & ~broken & ~mismatch),
            lambda r: "the RLE has a run of length 0, or a number longer than it need be",
            _canonical,
        )

    def boxes(self) -> None:
        valid, boxes = geometry.fixed_list(self.table["bbox"])
        # A column at a time: reductions over rows of four numbers take ten times as long.
        x, y, w, h = boxes.T
        finite = np.isfinite(x) & np.isfinite(y) & np.isfinite(w) & np.isfinite(h)
        self.fault("nan-box", valid & ~finite, lambda r: f"box {boxes[r].tolist()}", _fix_nan_boxes)
        negative = valid & finite & ((w < 0) | (h < 0))
        self.fault("negative-box", negative, lambda r: f"box {boxes[r].tolist()}", _turn_round)
        zero = valid & finite & ~negative & ((w == 0) | (h == 0))
        self.fault("zero-size-box", zero, lambda r: f"box {boxes[r].tolist()}", lambda t, _: t)
        sample = np.asarray(column(self.table, "sample").fill_null(-1), np.int64)
        relative = np.append(is_relative(self.samples), False)
        limits = np.column_stack(
            [_with_missing(self.samples, "width"), _with_missing(self.samples, "height")]
        ).astype(np.float64)
        limits[relative] = 1.0
        limit = limits[sample]
        sized = (limits[:, 0] > 0) & (limits[:, 1] > 0)
        known = valid & finite & ~negative & sized[sample]
        slack = np.where(relative, 0.01, OUTSIDE)[sample]
        with np.errstate(invalid="ignore"):
            beyond = (x < -slack) | (y < -slack)
            beyond |= (x + w > limit[:, 0] + slack) | (y + h > limit[:, 1] + slack)

        def clip(table: pa.Table, rows_: Rows) -> pa.Table:
            low = np.clip(boxes[rows_, :2], 0, limit[rows_])
            high = np.clip(boxes[rows_, :2] + boxes[rows_, 2:], 0, limit[rows_])
            return _set_boxes(table, rows_, np.hstack([low, high - low]))

        self.fault(
            "box-outside-image",
            known & beyond,
            lambda r: f"box {boxes[r].tolist()} in an image of {limit[r].tolist()} (width, height)",
            clip,
        )


def _with_missing(samples: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """A size column with 0 where absent, and a 0 at the end for rows without a sample."""
    return np.append(np.asarray(column(samples, name).fill_null(0), np.int64), 0)


def _rle_facts(counts: pa.Array) -> tuple[Rows, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Pixels of each RLE, which cannot be decoded, and which do not re-encode to themselves."""
    strings = counts.to_pylist()
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in strings])]).astype(np.int64)
    broken, odd = np.zeros(len(strings), bool), np.zeros(len(strings), bool)
    try:
        values, begin = geometry.rle_counts_many(b"".join(strings), offsets)
    except ValueError:
        totals = np.zeros(len(strings), np.int64)
        for i, one in enumerate(strings):
            try:
                geometry.rle_counts(one)
            except ValueError:
                broken[i] = True
                continue
            found = _rle_facts(counts.slice(i, 1))
            totals[i], broken[i], odd[i] = (part[0] for part in found)
        return totals, broken, odd
    sums = np.concatenate([[0], np.cumsum(values)])
    totals = sums[begin[1:]] - sums[begin[:-1]]

    def rows_of(bad: npt.NDArray[np.bool_], bounds: Rows) -> Rows:
        return np.searchsorted(bounds, np.flatnonzero(bad), side="right") - 1

    broken[rows_of(values < 0, begin)] = True
    first = np.zeros(len(values), bool)
    first[begin[:-1][begin[:-1] < len(values)]] = True
    odd[rows_of((values == 0) & ~first, begin)] = True
    odd[rows_of(geometry.rle_overlong(b"".join(strings)), offsets)] = True
    return totals, broken, odd


def _canonical(table: pa.Table, at: Rows) -> pa.Table:
    """RLEs encoded anew from their pixels."""
    listed = table["rle"].to_pylist()
    for row in at.tolist():
        rle = listed[row]
        _, counts = geometry.encode_mask(geometry.rle_decode(rle["size"], rle["counts"]))
        listed[row] = {**rle, "counts": counts}
    return with_column(table, "rle", rows.column_array(listed, table["rle"].type))


def _set_boxes(table: pa.Table, at: Rows, boxes: npt.NDArray[np.float64]) -> pa.Table:
    valid, values = geometry.fixed_list(table["bbox"])
    values = values.copy()
    values[at] = boxes
    valid = valid & np.isfinite(values).all(axis=1)
    flat = pa.array(np.where(valid[:, None], values, 0).ravel())
    mask = pa.array(~valid)
    return with_column(table, "bbox", pa.FixedSizeListArray.from_arrays(flat, 4, mask=mask))


def _turn_round(table: pa.Table, at: Rows) -> pa.Table:
    _, values = geometry.fixed_list(table["bbox"])
    boxes = values[at]
    low = np.minimum(boxes[:, :2], boxes[:, :2] + boxes[:, 2:])
    return _set_boxes(table, at, np.hstack([low, np.abs(boxes[:, 2:])]))


def _fix_nan_boxes(table: pa.Table, at: Rows) -> pa.Table:
    """The box of the mask where there is one; else no box."""
    others = [n for n in ("polygons", "rle") if n in table.column_names]
    found = np.full((len(at), 4), np.nan)
    if others:
        found = geometry.aabb(table.select(others).take(pa.array(at)))
    return _set_boxes(table, at, found)


def _fix_polygons(table: pa.Table, at: Rows) -> pa.Table:
    """Without last odd coordinates, non-finite and short rings, and empty parts."""
    where = set(at.tolist())
    fixed: list[Any] = table["polygons"].to_pylist()
    for row in where:
        parts = []
        for part in fixed[row]:
            rings = [ring[: len(ring) // 2 * 2] for ring in part]
            rings = [r for r in rings if len(r) >= 6 and np.isfinite(r).all()]
            if rings:
                parts.append(rings)
        fixed[row] = parts or None
    return with_column(table, "polygons", pa.array(fixed, table["polygons"].type))
