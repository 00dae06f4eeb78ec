"""The masks and label maps of a batch's annotations, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError, SizeUnknownError
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.rows import LabelMap
from granum.schema.tables import column
from granum.store.media import read_values
from granum.store.parts import Batch

__all__ = [
    "DrawnSample",
    "OtherSizeError",
    "add_fault",
    "drawn_samples",
    "has_mask",
    "is_whole_map",
    "looked_up",
]

Row = dict[str, Any]
Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_DENSE = 1 << 16

_DRAWN = ("annotation_id", "kind", "rle", "map", "polygons")


class OtherSizeError(FormatError):
    """A mask that does not fit on its image."""


@dataclass
class DrawnSample:
    """One sample of a layer, whose rows can be drawn.

    Attributes:
        key: of the sample.
        size: (height, width) as stored, None where unknown.
        rows: its annotations, in the order of the table, as dictionaries.
        root: the folder of label maps.
    """

    key: str
    size: tuple[int, int] | None
    rows: list[Row]
    root: str | None
    _read: dict[Any, Ints | FormatError] = field(default_factory=dict, repr=False)

    def values(self, row: Row) -> Ints:
        """The integers of a row's label map, shape (height, width); a map that rows share is read
        once, and one without path and bytes is that of the row with its digest.

        Raises:
            FormatError: the file is absent or no image, or no row has the digest.
        """
        name = _map_name(row["map"])
        if name not in self._read:
            try:
                self._read[name] = read_values(LabelMap(**self._held(row["map"])), self.root)
            except FormatError as error:
                self._read[name] = error
        values = self._read[name]
        if isinstance(values, FormatError):
            raise values
        return values

    def _held(self, entry: Row) -> Row:
        if entry["path"] is not None or entry["bytes"] is not None:
            return entry
        for other in (row["map"] for row in self.rows if row["map"] is not None):
            held = other["path"] is not None or other["bytes"] is not None
            if held and _map_name(other) == _map_name(entry):
                return dict(other)
        raise FormatError(self.key, f"no row has the label map {entry['digest']!r}")

    def mask(self, row: Row) -> Mask:
        """The mask of a row that has one: of its forms, the first of RLE, map, polygons counts.

        Raises:
            SizeUnknownError: it is drawn as polygons, and the sample's size is unknown.
        """
        if row["rle"] is not None:
            return geometry.rle_decode(row["rle"]["size"], row["rle"]["counts"])
        if row["map"] is not None:
            entry, values = row["map"], self.values(row)
            if entry["encoding"] == "nonzero":
                return values != 0
            if entry["encoding"] == "greater":
                return values > (entry["threshold"] or 0)
            return (
                np.ones(values.shape, bool) if entry["value"] is None else values == entry["value"]
            )
        if self.size is None:
            raise SizeUnknownError([self.key])
        return geometry.rasterize(row["polygons"], *self.size)

    def painted(
        self, rows: Sequence[Row], value: Callable[[int, Row], int], empty: int
    ) -> Ints | None:
        """The masks of ``rows`` painted one over the other, lowest ``z_order`` first.

        Args:
            rows: that have masks.
            value: what a row paints, of its position and itself.
            empty: what unpainted pixels hold.

        Returns:
            Shape (height, width); None where there is nothing that says the size.

        Raises:
            OtherSizeError: two masks, or a mask and the image, have different sizes.
            FormatError: a label map cannot be read.
        """
        canvas = None if self.size is None else np.full(self.size, empty, np.int64)
        order = sorted(range(len(rows)), key=lambda k: rows[k].get("z_order") or 0)
        for _, run in groupby(order, key=lambda k: _segment_of(rows[k]) or k):
            places = list(run)
            found = self._paint(rows, places, value)
            if canvas is None:
                canvas = np.full(found[0].shape, empty, np.int64)
            if found[0].shape != canvas.shape:
                sizes = f"a mask of {found[0].shape} on an image of {canvas.shape} (height, width)"
                raise OtherSizeError(self.key, sizes)
            np.copyto(canvas, found[1], where=found[0])
        return canvas

    def _paint(
        self, rows: Sequence[Row], places: list[int], value: Callable[[int, Row], int]
    ) -> tuple[Mask, Ints]:
        """Where to paint, and what: of one row, or of several segments of one label map."""
        if len(places) == 1:
            mask = self.mask(rows[places[0]])
            return mask, np.asarray(value(places[0], rows[places[0]]))
        paints = {int(rows[k]["map"]["value"]): value(k, rows[k]) for k in places}
        values = self.values(rows[places[0]])
        keys = np.array(sorted(paints), np.int64)
        found = looked_up(values, keys, np.arange(len(keys)), -1)
        colours = np.array([paints[k] for k in sorted(paints)], np.int64)
        return found >= 0, colours[found]


def add_fault(found: Findings, who: str, sample: DrawnSample, error: FormatError) -> None:
    """A sample that cannot be drawn is a finding; its rows are not compared."""
    code = "mask-size-mismatch" if isinstance(error, OtherSizeError) else "broken-media"
    found.add(code, who, sample.key, str(error), max(len(sample.rows), 1))


def _map_name(entry: Row) -> Any:
    return entry["digest"] or (entry["path"], entry["bytes"]), entry["encoding"]


def _segment_of(row: Row) -> Any:
    """The label map that a row is a segment of, by name; None where it is none."""
    entry = row["map"]
    if row["rle"] is not None or entry is None or entry["value"] is None:
        return None
    return None if entry["encoding"] in ("nonzero", "greater") else _map_name(entry)


def looked_up(values: Ints, keys: Ints, results: Ints, default: int) -> Ints:
    """``results`` of the ``keys`` (rising) that ``values`` are; ``default`` where one is no key."""
    if not len(keys):
        return np.full(values.shape, default, np.int64)
    if values.min(initial=0) >= 0 and values.max(initial=0) < _DENSE:
        table = np.full(_DENSE, default, np.int64)
        near = (keys >= 0) & (keys < _DENSE)
        table[keys[near]] = results[near]
        return table[values]
    place = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[place] == values, results[place], default)


def has_mask(row: Row) -> bool:
    """Whether a row has pixels (a box alone has none)."""
    return any(row[name] is not None for name in ("rle", "map", "polygons"))


def is_whole_map(row: Row) -> bool:
    """Whether a row is a label map as a whole: its values say what each pixel is."""
    entry = row["map"]
    return (
        row["rle"] is None
        and entry is not None
        and entry["value"] is None
        and entry["encoding"] not in ("nonzero", "greater")
    )


def drawn_samples(batch: Batch, columns: Sequence[str], root: str | None) -> Iterator[DrawnSample]:
    """The samples of a batch (in pixels) in order, each with its rows.

    Args:
        columns: that rows have beside kind and geometry.
        root: the folder of label maps.
    """
    names = [*dict.fromkeys((*_DRAWN, *columns))]
    table = pa.table({n: column(batch.annotations, n) for n in names})
    offsets = batch.offsets()
    samples = {n: column(batch.samples, n).to_pylist() for n in ("key", "width", "height")}
    for i, key in enumerate(samples["key"]):
        width, height = samples["width"][i], samples["height"][i]
        first, last = int(offsets[i]), int(offsets[i + 1])
        yield DrawnSample(
            key=key,
            size=None if width is None or height is None else (height, width),
            rows=table.slice(first, last - first).to_pylist(),
            root=root,
        )
