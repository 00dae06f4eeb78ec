"""Results of the Open Images challenges, one CSV file.

::

    ImageID,LabelName,Score,XMin,XMax,YMin,YMax          detection (IsGroupOf may stand there)
    ImageID,ImageWidth,ImageHeight,LabelName,Score,Mask  instance segmentation

Columns are found by header; ``Conf`` is taken for ``Score``. Corners are
fractions of width and height (where the truth is in pixels, they are multiplied by its sizes).
``Mask`` is a COCO run-length text, compressed by zlib and written in base64; its box, with the
last pixel included, is stored beside it. Images are named by ``ImageID``, classes by their ids.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError, SizeUnknownError
from granum.loaders._csv import Block, CsvFile, first_record
from granum.loaders.base import Intake
from granum.loaders.results._named import (
    SampleNames,
    category_rows,
    clean_rows,
    objects_table,
    told,
)
from granum.loaders.results.base import Results, on_truth, results
from granum.schema import geometry, tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.schema.units import is_relative
from granum.store.dataset import Dataset

__all__ = ["OpenImagesResults", "mask_text"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_SCORES = ("Score", "Conf")
_CORNERS = ("XMin", "YMin", "XMax", "YMax")
_SIZE = ("ImageWidth", "ImageHeight")
_PIXELS = 1 << 30
_RLE = pa.struct(
    [
        ("size", pa.list_(pa.int32(), 2)),
        ("counts", pa.binary()),
        ("form", pa.dictionary(pa.int32(), pa.string())),
    ]
)


@results("open_images")
class OpenImagesResults(Results):
    """Boxes or masks in a CSV file."""

    name: ClassVar[str] = "open_images"
    title: ClassVar[str] = "Open Images challenge results (CSV)"
    spec: ClassVar[str] = "https://storage.googleapis.com/openimages/web/evaluation.html"
    protocols: ClassVar[tuple[str, ...]] = ("open-images",)

    def sniff(self, path: Path) -> bool:
        try:
            return path.suffix.lower() == ".csv" and _kind(first_record(path)) is not None
        except (OSError, ValueError):
            return False

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """Boxes, or masks and the boxes around them.

        Raises:
            FormatError: it cannot be read, or lacks a column.
            SizeUnknownError: the truth is in pixels, and the size of an image is unknown.
        """
        try:
            file = CsvFile(path, path.name)
        except OSError as error:
            raise FormatError(path, f"cannot be read: {error}") from error
        kind = _kind(file.header)
        if kind is None:
            raise FormatError(
                path,
                "no columns ImageID, LabelName, Score and XMin, XMax, YMin, YMax, or ImageWidth, "
                "ImageHeight and Mask",
                "line 1",
            )
        score = next(n for n in _SCORES if n in file.header)
        numbers = _SIZE if kind == "mask" else _CORNERS
        types = {n: pa.string() for n in ("ImageID", "LabelName", "Mask")}
        types |= dict.fromkeys((score, *numbers), pa.float64())
        if kind == "box":
            del types["Mask"]
        truths = _Truth(SampleNames(truth), category_rows(truth), _units(truth))
        pieces = []
        for block in file.blocks(types, Intake(findings)):
            rows = _Rows(block, (score, *numbers), path.name, findings)
            pieces.append(rows.table(truths))
        if not pieces:
            return on_truth(truth, tables.empty(tables.ANNOTATIONS).drop(["annotation_id"]))
        return on_truth(truth, pa.concat_tables(pieces))


def _kind(header: list[str]) -> str | None:
    """``mask`` or ``box``; None where the columns are not those of results."""
    names = set(header)
    if not {"ImageID", "LabelName"} <= names or not names & set(_SCORES):
        return None
    if {"Mask", *_SIZE} <= names:
        return "mask"
    return "box" if set(_CORNERS) <= names else None


@dataclass(frozen=True)
class _Truth:
    """What rows are looked up in: names of samples, rows of classes by name, and what fractions
    are multiplied by on each sample, shape (samples, 2), NaN where that is unknown."""

    names: SampleNames
    classes: dict[str, int]
    units: Floats

    def scales(self, sample: Ints, name: pa.Array) -> Floats:
        """For boxes on samples, shape (n, 4).

        Raises:
            SizeUnknownError: one is in pixels and has no size.
        """
        factors = self.units[sample]
        unknown = np.flatnonzero(np.isnan(factors).any(axis=1))
        if len(unknown):
            raise SizeUnknownError(sorted(set(name.take(pa.array(unknown)).to_pylist())))
        return np.tile(factors, 2)


def _units(truth: Dataset) -> Floats:
    samples = truth.samples(["key", "unit", "width", "height"])
    sizes = [
        np.asarray(column(samples, n).cast(pa.float64()).fill_null(np.nan), np.float64)
        for n in ("width", "height")
    ]
    return np.where(is_relative(samples)[:, None], 1.0, np.column_stack(sizes))


@dataclass(frozen=True)
class _Rows:
    """A block of the file.

    Attributes:
        block: with all columns.
        numbers: names of the score and what follows it: corners, or the size of the mask.
        path: of the file.
        findings: gets faults.
    """

    block: Block
    numbers: tuple[str, ...]
    path: str
    findings: Findings

    def _tell(self, code: str, rows: Ints, say: Callable[[int], str]) -> None:
        told(self.findings, code, self.path, rows, self.block.line, say)

    def table(self, truth: _Truth) -> pa.Table:
        """The annotations."""
        table = self.block.table
        label = table["LabelName"].combine_chunks()
        known = pa.array(list(truth.classes), pa.string())
        at = np.asarray(pc.index_in(label, value_set=known).fill_null(-1), np.int64)
        of_classes = np.fromiter(truth.classes.values(), np.int64, len(truth.classes))
        category = np.append(of_classes, -1)[at]
        whole = self._complete()
        lost = np.flatnonzero(whole & (category < 0))
        self._tell(
            "unknown-category", lost, lambda i: f"{label[i].as_py()!r} is no class of the truth"
        )
        rows = np.flatnonzero(whole & (category >= 0))
        name = table["ImageID"].combine_chunks().take(pa.array(rows))
        sample = truth.names.rows(name)
        values = np.column_stack([np.asarray(table[n], np.float64)[rows] for n in self.numbers])

        def line(i: int) -> int:
            return self.block.line(int(rows[i]))

        keep = clean_rows(sample, values, name, line, self.path, self.findings)
        more: dict[str, pa.Array] = {}
        if "Mask" in table.column_names:
            at = rows[keep]
            masks = _masks(table["Mask"].take(pa.array(at)), values[keep, 1:])
            good = np.asarray(masks.is_valid())
            message = "Mask is no base64 of a zlib stream of an RLE of that size"
            self._tell("bad-value", at[~good], lambda i: message)
            keep[np.flatnonzero(keep)[~good]] = False
            more["rle"] = masks.filter(pa.array(good))
            box = _around(more["rle"])
        else:
            box = values[keep, 1:].copy()
            box[:, 2:] -= box[:, :2]
        box = box * truth.scales(sample[keep], name.filter(pa.array(keep)))
        more["bbox"] = pa.FixedSizeListArray.from_arrays(pa.array(box.ravel(), pa.float64()), 4)
        return objects_table(sample[keep], category[rows][keep], values[keep, 0], more)

    def _complete(self) -> npt.NDArray[np.bool_]:
        """Which rows have all values; the others are findings."""
        table = self.block.table
        whole = np.ones(table.num_rows, bool)
        for name in table.column_names:
            whole &= np.asarray(table[name].is_valid())

        def say(i: int) -> str:
            return "no " + ", ".join(n for n in table.column_names if table[n][i].as_py() is None)

        self._tell("missing-key", np.flatnonzero(~whole), say)
        return whole


def _masks(texts: pa.ChunkedArray, sizes: Floats) -> pa.Array:
    """Run lengths of texts in images of (width, height); null where one is none."""
    found = [
        _mask(text, (height, width))
        for text, (width, height) in zip(texts.to_pylist(), sizes.tolist(), strict=True)
    ]
    return pa.array(found, _RLE)


def _mask(text: str, size: tuple[float, float]) -> dict[str, object] | None:
    height, width = (int(v) for v in size)
    if (height, width) != size or not 0 < height * width <= _PIXELS or min(size) <= 0:
        return None
    try:
        packed = zlib.decompressobj()
        counts = packed.decompress(base64.b64decode(text, validate=True), _PIXELS)
        runs = geometry.rle_counts(counts)
    except (binascii.Error, zlib.error, ValueError):
        return None
    if not packed.eof or (runs < 0).any() or runs.sum() != height * width:
        return None
    return {"size": [height, width], "counts": counts, "form": "compressed"}


def _around(masks: pa.Array) -> Floats:
    """Boxes around the pixels, as fractions, shape (n, 4)."""
    from pycocotools import mask as coco_mask

    sizes = np.asarray(masks.field("size").flatten(), np.float64).reshape(-1, 2)[:, ::-1]
    rles = [
        {"size": s, "counts": c}
        for s, c in zip(
            masks.field("size").to_pylist(), masks.field("counts").to_pylist(), strict=True
        )
    ]
    if not rles:
        return np.empty((0, 4))
    return np.asarray(coco_mask.toBbox(rles) / np.tile(sizes, 2), np.float64)


def mask_text(counts: bytes) -> str:
    """A compressed COCO run-length text as the column ``Mask`` has it."""
    return base64.b64encode(zlib.compress(counts)).decode("ascii")
