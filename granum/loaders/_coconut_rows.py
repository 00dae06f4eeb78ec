"""Rows of Hugging Face: ``mask`` (an image), ``segments_info`` (the annotation), ``image_info``.

A file of rows is read as the COCO panoptic document that its rows are parts of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from granum.errors import FormatError, GranumError
from granum.loaders._panoptic_classes import panoptic_records
from granum.loaders._panoptic_pixels import Ids
from granum.loaders._panoptic_read import PanopticFile, Reader
from granum.loaders._panoptic_tree import Folders, Tree
from granum.loaders._paths import names_in
from granum.loaders.base import Intake
from granum.loaders.coco.records import Array
from granum.loaders.coco.scan import JsonFile
from granum.schema import geometry, tables
from granum.schema.rows import LabelMap, column_array
from granum.schema.tables import with_column
from granum.store.media import open_image, read_values

__all__ = ["RowReader", "row_files"]

NEEDED = ("mask", "segments_info", "image_info")


def row_files(root: Path) -> list[tuple[Path, str]]:
    """The Parquet files of a path that have such columns, with their names, sorted."""
    if root.is_file():
        return [(root, root.name)] if _fits(root) else []
    for folder in ("", "data/"):
        names = [n for n in names_in(root / folder, 100_000) if n.endswith(".parquet")]
        if names and _fits(root / folder / names[0]):
            return [(root / folder / n, folder + n) for n in names]
    return []


def _fits(path: Path) -> bool:
    if path.suffix != ".parquet":
        return False
    try:
        return {*NEEDED} <= {*pq.read_schema(path).names}
    except (OSError, ValueError):
        return False


class RowReader(Reader):
    """Reads files of rows; masks become RLE.

    Args:
        files: path and name of each.
        split: of all samples.
    """

    format: ClassVar[str] = "coconut"

    def __init__(self, files: Sequence[tuple[Path, str]], intake: Intake, split: str | None):
        base = files[0][0].parents[files[0][1].count("/")]
        super().__init__(Tree(base, base, list(files)), intake, below=False)
        self.split = split
        self.masks: dict[str, Masks] = {}

    def opened(self, path: Path, name: str) -> JsonFile:
        self.masks[name] = Masks(path, name)
        images, annotations = [], []
        for image, annotation in self.masks[name].records():
            images.append(image)
            annotations.append(annotation)
        document = {
            "images": images,
            "annotations": annotations,
            "categories": panoptic_records(),
        }
        try:
            data = json.dumps(document).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise FormatError(name, f"a row holds what JSON cannot: {error}") from error
        return JsonFile.of(path, name, data, self.intake.findings)

    def _place_of(self, name: str, masks: str, hint: dict[str, Any]) -> tuple[str | None, str]:
        return self.split, ""

    def mask_folder(self, path: Path, first: str | None) -> Path:
        return path.parent

    def folders(self, folder: Path) -> Folders:
        return _Inside(folder)

    def ids(self, item: PanopticFile, at: Array) -> Callable[[int], Ids]:
        masks, index = self.masks[item.file.name], item.records.index
        return lambda owner: masks.ids(index[int(at[owner])])

    def finish(self, item: PanopticFile, at: Array, start: int, table: pa.Table) -> pa.Table:
        """With the pixels of each segment as RLE."""
        masks, row = self.masks[item.file.name], {}
        for i in at.tolist():
            row[int(item.rows[i]) - start] = item.records.index[i]
        found: list[Any] = [None] * table.num_rows
        told = -1
        ids: Ids | None = None
        maps = table["map"].to_pylist()
        for k, sample in enumerate(table["sample"].to_pylist()):
            if sample != told:
                told, ids = sample, None
                try:
                    ids = masks.ids(row[sample])
                except GranumError as error:
                    place = f"/annotations/{row[sample]}"
                    self.intake.fault("broken-media", item.file.name, place, str(error))
            if ids is not None and maps[k] is not None:
                size, counts = geometry.encode_mask(ids == maps[k]["value"])
                found[k] = {"size": list(size), "counts": counts, "form": "compressed"}
        kind = tables.ANNOTATIONS.field
        table = with_column(table, "rle", column_array(found, kind("rle").type))
        return with_column(table, "map", pa.nulls(table.num_rows, kind("map").type))


class _Inside(Folders):
    """Masks are in the rows."""

    def holds(self, name: str) -> bool:
        return True


class Masks:
    """One file of rows; holds one group of them at a time."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._lock = Lock()
        self._group, self._column = -1, pa.chunked_array([pa.nulls(0)])
        try:
            self.file = pq.ParquetFile(path)
            sizes = [
                self.file.metadata.row_group(i).num_rows for i in range(self.file.num_row_groups)
            ]
        except (OSError, ValueError) as error:
            raise FormatError(name, f"no Parquet file that can be read: {error}") from error
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

    def _read(self, group: int, columns: Sequence[str]) -> pa.Table:
        try:
            return self.file.read_row_group(group, columns=list(columns))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise FormatError(self.name, f"row group {group}: {error}") from error

    def records(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Image and annotation of each row; keys that are null in a row are none of it."""
        out = []
        for group in range(len(self.starts) - 1):
            try:
                table = self._read(group, NEEDED[1:])
                rows_ = table.to_pylist()
            except (UnicodeDecodeError, KeyError) as error:
                raise FormatError(self.name, f"row group {group}: {error}") from error
            for row in rows_:
                annotation, image = _record(row["segments_info"]), _record(row["image_info"])
                out.append((image, annotation))
        return out

    def ids(self, row: int) -> Ids:
        """The ids of a row's pixels.

        Raises:
            GranumError: there is no mask, or it does not decode.
        """
        with self._lock:
            group = int(np.searchsorted(self.starts, row, side="right")) - 1
            if group != self._group:
                self._column = self._read(group, NEEDED[:1])["mask"]
                self._group = group
            value = self._column[row - int(self.starts[group])].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise FormatError(self.name, "the row has no mask", f"row {row}")
        try:
            with open_image(content) as image:
                encoding = "rgb24" if image.mode in ("RGB", "RGBA") else "index"
            return read_values(LabelMap(bytes=content, encoding=encoding), None)
        except (OSError, SyntaxError, ValueError) as error:
            raise FormatError(
                self.name, f"the mask does not decode: {error}", f"row {row}"
            ) from error


def _record(value: Any) -> dict[str, Any]:
    """A struct, or its JSON, without the keys that are null."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    found = _filled(value)
    return found if isinstance(found, dict) else {}


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _filled(v) for k, v in value.items() if v is not None}
    return [_filled(v) for v in value] if isinstance(value, list) else value
