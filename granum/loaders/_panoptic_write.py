"""Writing COCO panoptic: JSON files, records spilled as they come, and their PNGs."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError, SizeUnknownError
from granum.loaders._panoptic_document import Document, merged_records
from granum.loaders._panoptic_pixels import Canvas, boxes_of, counts_of, encode_png, read_ids
from granum.loaders._panoptic_plan import Image, Plan, own_sources
from granum.loaders._panoptic_project import (
    IMAGE_TYPED,
    SOURCES,
    kept_extra,
    map_root_of,
)
from granum.loaders._panoptic_values import FILLED, FORMS
from granum.loaders.coco.records import FLAGS
from granum.loaders.coco.spill import Spill
from granum.schema.attributes import attribute_dicts
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.out import Out, safe_relative
from granum.store.parts import Batch

__all__ = ["write_panoptic"]

BATCH = 1024
_AFTER = 1 << 40
_TYPED = ("category", "area", "bbox", "crowd", "score", "rle", "polygons", *FLAGS)


def write_panoptic(dataset: Dataset, out: Out, plan: Plan) -> None:
    """Write all files of ``plan``; ``dataset`` is what ``project`` left."""
    with ExitStack() as opened:
        files = []
        for target in plan.targets:
            spills = [
                Spill(opened.enter_context(tempfile.TemporaryFile(dir=out.root))) for _ in range(2)
            ]
            files.append(Document(dataset, target, *spills))
        writer = _Writer(dataset, out, plan, files)
        for batch in dataset.iter_batches(BATCH):
            writer.add(batch)
            for file in files:
                file.spill()
        told = merged_records([t.records for t in plan.targets])
        for file in files:
            file.write(out, told)


class _Writer:
    """Makes records and PNGs of batches."""

    def __init__(self, dataset: Dataset, out: Out, plan: Plan, files: list[Document]) -> None:
        self.dataset, self.out, self.plan, self.files = dataset, out, plan, files
        self.shapes = dataset.meta.shapes
        self.root = map_root_of(dataset)
        self.complete = _complete_sources(dataset, plan)
        self.count = 0

    def add(self, batch: Batch) -> None:
        offsets = batch.offsets()
        segments = _Rows(batch, self.shapes, self.plan.own)
        sizes = [column(batch.samples, n).to_pylist() for n in ("width", "height")]
        attributes = attribute_dicts(batch.samples)
        for i in range(batch.samples.num_rows):
            image = self.plan.images[batch.start + i]
            file = self.files[image.target]
            listed = list(range(int(offsets[i]), int(offsets[i + 1])))
            size = (sizes[0][i], sizes[1][i])
            file.add("images", _image_record(image, size, attributes[i]), self.count)
            if listed or image.annotation_keys is not None:
                pixels = self._png(image, segments, listed, size)
                record = {
                    "segments_info": [segments.record(k, file, pixels) for k in listed],
                    "file_name": image.png.removeprefix(file.target.masks),
                    "image_id": image.id,
                    **image.notes,
                }
                position = image.position
                position = _AFTER + self.count if position is None else position
                file.add("annotations", record, position)
            self.count += 1

    def _png(self, image: Image, segments: _Rows, listed: list[int], size: Any) -> _Pixels:
        """Write a sample's PNG: a copy where it holds just these ids, else painted anew."""
        source = segments.source_png(listed)
        if not listed and image.position is not None:
            source = image.png  # all VOID in the source
        if source is not None and self.root is not None:
            path = Path(self.root) / safe_relative(source, self.root)
            if path.is_file():
                ids = None
                if not segments.all_from(listed, self.complete):
                    ids = read_ids(source, self.root)
                    known = {segments.value(k) for k in listed}
                    if counts_of(ids).keys() - known - {0}:
                        ids[~np.isin(ids, sorted(known))] = 0
                        self.out.bytes(image.png, encode_png(ids))
                        return _Pixels(ids, None, None)
                shutil.copyfile(path, self.out.path(image.png))
                return _Pixels(ids, source, self.root)
        width, height = size
        canvas = Canvas((height, width), self.root)
        for k in listed:
            if not canvas.paint(segments.sources(k), segments.value(k)):
                raise FormatError(image.png, f"segment {segments.value(k)} cannot be painted")
        if canvas.ids is None:
            raise SizeUnknownError([image.file_name or image.png])
        self.out.bytes(image.png, encode_png(canvas.ids))
        return _Pixels(canvas.ids, None, None)


class _Pixels:
    """The ids of a PNG, decoded when something asks for them."""

    def __init__(self, ids: Any, path: str | None, root: str | None) -> None:
        self._ids, self._path, self._root = ids, path, root
        self._counts: dict[int, int] | None = None

    @property
    def ids(self) -> Any:
        if self._ids is None:
            self._ids = read_ids(self._path, self._root)
        return self._ids

    def area(self, value: int) -> int:
        if self._counts is None:
            self._counts = counts_of(self.ids)
        return self._counts.get(value, 0)

    def box(self, value: int) -> list[int]:
        return boxes_of(self.ids, [value])[0]


def _complete_sources(dataset: Dataset, plan: Plan) -> frozenset[int]:
    """Sources all of whose segments are here: their PNGs hold no others."""
    listed = {i: s.options or {} for i, s in own_sources(dataset).items()}
    left = dict.fromkeys(plan.own, 0)
    for batch in dataset.iter_batches() if left else ():
        table = batch.annotations
        origin, ordinal = _first(column(table, "origins")), _first(column(table, "ordinal"))
        known = (origin >= 0) & (ordinal >= 0)
        sample = np.asarray(column(table, "sample"), np.int64)
        keys = np.unique(np.column_stack([origin, sample, ordinal])[known], axis=0)
        for number, n in zip(*np.unique(keys[:, 0], return_counts=True), strict=True):
            if int(number) in left:
                left[int(number)] += int(n)
    return frozenset(i for i, n in left.items() if listed[i].get("segments") == n)


def _first(lists: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The first number of each list; -1 where there is none."""
    array = lists.combine_chunks()
    lengths = np.asarray(array.value_lengths().fill_null(0), np.int64)
    values = np.append(np.asarray(array.flatten(), np.int64), -1)
    return np.where(
        lengths > 0, values[np.minimum(np.cumsum(lengths) - lengths, len(values) - 1)], -1
    )


def _image_record(image: Image, size: Any, attributes: Any) -> dict[str, Any]:
    """An image as a record, with the keys that it had."""
    now = {
        "id": image.id,
        "width": size[0],
        "height": size[1],
        "file_name": image.file_name,
        "attributes": attributes,
    }
    out: dict[str, Any] = {}
    own = image.keys is not None or image.annotation_keys is not None
    for key, value in now.items():
        if value is not None:
            out[key] = value
        elif own and key in image.extra:
            out[key] = image.extra[key]
        elif image.keys is not None and key in image.keys:
            out[key] = None
    if image.keys is not None and "file_name" not in image.keys:
        out.pop("file_name", None)
    out |= {k: v for k, v in image.extra.items() if k not in IMAGE_TYPED}
    return out


class _Rows:
    """The segments of a batch as lists."""

    def __init__(self, batch: Batch, shapes: Any, own: frozenset[int]) -> None:
        table = batch.annotations
        self.columns = {n: column(table, n).to_pylist() for n in (*_TYPED, "extra", "map")}
        self.origins = column(table, "origins").to_pylist()
        self.shape = column(table, "shape").to_pylist()
        self.attributes = attribute_dicts(table)
        self.from_ = {
            n: table[c].to_pylist() if c in table.column_names else [None] * table.num_rows
            for n, c in SOURCES.items()
        }
        self.shapes, self.own_sources = shapes, own

    def value(self, k: int) -> int:
        return int(self.columns["map"][k]["value"])

    def sources(self, k: int) -> dict[str, Any]:
        """What a row was drawn with before it was projected."""
        return {n: v[k] for n, v in self.from_.items()}

    def own(self, k: int) -> bool:
        """Whether a row came from a panoptic file."""
        return bool(self.origins[k]) and self.origins[k][0] in self.own_sources

    def all_from(self, listed: list[int], complete: frozenset[int]) -> bool:
        return bool(listed) and all(
            bool(self.origins[k]) and self.origins[k][0] in complete for k in listed
        )

    def source_png(self, listed: list[int]) -> str | None:
        """The one PNG that rows come from with the ids that they keep."""
        paths = set()
        for k in listed:
            found = self.from_["map"][k]
            if (
                found is None
                or found["encoding"] != "rgb24"
                or found["bytes"] is not None
                or found["value"] != self.value(k)
            ):
                return None
            paths.add(found["path"])
        return paths.pop() if len(paths) == 1 else None

    def record(self, k: int, file: Document, pixels: _Pixels) -> dict[str, Any]:
        """A segment as a record: with the keys that it had, else with all that tools expect."""
        row = {n: v[k] for n, v in self.columns.items()}
        category, value = row["category"], self.value(k)
        file.used.add(category)
        isthing = file.categories[category].isthing
        own = self.own(k)
        keys = None
        if own and self.shape[k] is not None:
            keys = self.shapes[self.shape[k]][0]
        row |= {"id": value, "isthing": isthing, "attributes": self.attributes[k]}
        extra = {} if row["extra"] is None else json.loads(row["extra"])
        extra = kept_extra(extra, own, row)
        box = row["bbox"]
        now: dict[str, Any] = {
            "id": value,
            "category_id": file.ids[category],
            "area": _number(row["area"]),
            "bbox": None if box is None else [_number(v) for v in box],
            "iscrowd": _flag(row["crowd"]),
            "isthing": _flag(isthing) if keys is not None and "isthing" in keys else None,
            "score": row["score"],
            "attributes": self.attributes[k],
            **{f: _flag(row[f]) for f in FLAGS},
        }
        filled = self._fill(now, keys, extra, value, pixels)
        out = {
            key: extra.get(key, v)
            for key, v in now.items()
            if v is not None or key in extra or (keys is not None and key in keys)
        }
        out |= extra
        forms = _forms(row["polygons"], row["rle"])
        return out | ({FORMS: forms} if forms else {}) | ({FILLED: filled} if filled else {})

    def _fill(
        self, now: dict[str, Any], keys: Any, extra: dict[str, Any], value: int, pixels: _Pixels
    ) -> list[str]:
        """Give a record made anew what tools expect; returns what the dataset does not say."""
        if (keys is not None and FILLED not in keys) or FILLED in extra:
            return []
        filled = []
        if now["area"] is None:
            now["area"] = pixels.area(value)
        if now["bbox"] is None and "bbox" not in extra:
            now["bbox"] = pixels.box(value)
            filled.append("bbox")
        if now["iscrowd"] is None:
            now["iscrowd"] = 0
            filled.append("iscrowd")
        return filled


def _forms(polygons: Any, rle: Any) -> dict[str, Any]:
    """Further forms of a mask, beside that in the PNG."""
    out = {} if polygons is None else {"polygons": polygons}
    if rle is not None:
        out["rle"] = {**rle, "counts": rle["counts"].decode("latin-1")}
    return out


def _number(value: float | None) -> int | float | None:
    """A whole number without its point, as tools write them."""
    if value is None or not np.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 2**53 else value


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)
