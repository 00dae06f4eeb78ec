"""Masks on their way to PNGs of one object each."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._panoptic_pixels import Canvas
from granum.loaders.open_images.columns import maps
from granum.loaders.open_images.plan import Plan
from granum.schema.tables import column, with_column, without_columns
from granum.schema.units import scale_points
from granum.store.dataset import Dataset
from granum.store.out import Out, safe_relative

__all__ = ["SOURCES", "Masks", "write_masks"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SOURCES = {n: f"col.open_images.{n}" for n in ("map", "rle", "polygons")}
"""Columns in which a projected batch carries what the writer draws; polygons in pixels."""

_BOX_ID = re.compile("[0-9a-f]{8}")
_PLAIN = re.compile("[0-9A-Za-z]+")
OFFICIAL = ("train", "validation", "test")


def map_root_of(dataset: Dataset) -> str | None:
    """The folder that label maps are relative to."""
    return dataset.meta.map_root or dataset.meta.media_root


class Masks:
    """The masks of a batch.

    Args:
        table: rows on samples.
        boxes: which are boxes that can be written.
        at: the sample of each row, from the start of the batch.
        sizes: width and height of each sample, shape (n, 2); those of polygons are known.
        pixel: which samples are in pixels.
        dataset: all of it.

    Attributes:
        found: which rows have a mask that can be written.
    """

    def __init__(
        self, table: pa.Table, boxes: Mask, at: Ints, sizes: Floats, pixel: Mask, dataset: Dataset
    ) -> None:
        self.found = np.zeros(table.num_rows, bool)
        self.columns: dict[str, Any] = {}
        given = np.zeros(table.num_rows, bool)
        for name in SOURCES:
            if name in table.column_names and table[name].null_count < table.num_rows:
                self.columns[name] = table[name]
                given |= np.asarray(table[name].is_valid())
        given &= boxes
        if not given.any():
            return
        if "polygons" in self.columns:
            scale = np.where(pixel[:, None], 1.0, sizes)[at]
            self.columns["polygons"] = scale_points(self.columns["polygons"], "polygons", scale)
        root = map_root_of(dataset)
        rows = np.flatnonzero(given)
        chosen = {n: c.take(pa.array(rows)).to_pylist() for n, c in self.columns.items()}
        for i, row in enumerate(rows.tolist()):
            forms = {n: v[i] for n, v in chosen.items() if v[i] is not None}
            width, height = sizes[at[row]].astype(int).tolist()
            self.found[row] = _can_be_drawn(forms, (height, width), root)

    def drop(self, where: Mask) -> None:
        """Leave masks out."""
        self.found &= ~where

    def apply(self, table: pa.Table, at: Ints, plan: Plan, start: int) -> pa.Table:
        """``table`` with maps as they are written, and what they are drawn from beside."""
        table = without_columns(table, [*SOURCES])
        if not self.found.any():
            return table
        keep = pa.array(np.arange(table.num_rows), mask=~self.found)
        for name, values in self.columns.items():
            table = table.append_column(SOURCES[name], values.take(keep))
        rows = np.flatnonzero(self.found)
        chosen = table.take(pa.array(rows))
        sources = column(chosen, "source_id").to_pylist()
        paths: list[str | None] = [None] * table.num_rows
        box_ids = column(table, "source_id").to_pylist()
        taken: set[str] = set()
        for row, source, number, category in zip(
            rows.tolist(),
            sources,
            chosen["annotation_id"].to_pylist(),
            chosen["category"].to_pylist(),
            strict=True,
        ):
            sample = start + int(at[row])
            image, token = plan.ids[sample], plan.tokens[sample]
            folder = f"masks/{token}/" if token in OFFICIAL else "masks/"
            name = plan.classes[category].replace("/", "")
            if not (_BOX_ID.fullmatch(str(source)) and _PLAIN.fullmatch(image + name)):
                source = f"{number:08x}"  # which no other has
            path = f"{folder}{_clean(image)}_{_clean(name)}_{source}.png"
            if path in taken:
                source = f"{number:08x}"
                path = f"{folder}{_clean(image)}_{_clean(name)}_{source}.png"
            taken.add(path)
            paths[row], box_ids[row] = path, source
        table = with_column(table, "map", maps(pa.array(paths, pa.string())))
        return with_column(table, "source_id", pa.array(box_ids, pa.string()))


def _clean(text: str) -> str:
    return re.sub(r"[^\w.-]", "_", text)[:100].lstrip(".") or "_"


def _can_be_drawn(forms: dict[str, Any], size: tuple[int, int], root: str | None) -> bool:
    """Whether the mask can be read; several forms must mean the same pixels."""
    if list(forms) == ["map"] and _file(forms["map"], root) is not None:
        return True
    drawn = [_pixels({n: v}, size, root) for n, v in forms.items()]
    first = drawn[0]
    return first is not None and all(
        d is not None and d.shape == first.shape and bool((d == first).all()) for d in drawn[1:]
    )


def _file(value: dict[str, Any], root: str | None) -> Path | None:
    """The file of a map that is a mask already."""
    if value["encoding"] != "nonzero" or value["path"] is None or root is None:
        return None
    if value["bytes"] is not None:
        return None
    try:
        path = Path(root) / safe_relative(value["path"], root)
        return path if path.suffix.lower() == ".png" and path.is_file() else None
    except (FormatError, OSError, ValueError):
        return None


def _pixels(forms: dict[str, Any], size: tuple[int, int], root: str | None) -> Mask | None:
    known = size if min(size) > 0 else (None, None)
    canvas = Canvas(known, root)
    return canvas.mask({n: forms.get(n) for n in SOURCES})


def write_masks(table: pa.Table, sizes: list[tuple[int, int]], root: str | None, out: Out) -> None:
    """Write the PNGs of rows.

    Args:
        table: projected rows, each with a map.
        sizes: height and width of each one's image, 0 where not known.
        root: what label maps are relative to.
        out: where to.
    """
    from PIL import Image

    paths = [m["path"] for m in table["map"].to_pylist()]
    given = {n: column(table, c).to_pylist() for n, c in SOURCES.items()}
    for i, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        forms = {n: v[i] for n, v in given.items() if v[i] is not None}
        first = next(n for n in SOURCES if n in forms)
        file = _file(forms["map"], root) if first == "map" else None
        if file is not None:
            shutil.copyfile(file, out.path(path))
            continue
        pixels = _pixels({first: forms[first]}, size, root)
        if pixels is None:
            raise FormatError(path, "the mask cannot be drawn any more")
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        out.bytes(path, content.getvalue())
