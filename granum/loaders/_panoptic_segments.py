"""Segments of some panoptic annotations, as a table of annotations."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET

from granum.errors import GranumError
from granum.loaders._panoptic_pixels import MAX_ID, Ids, boxes_of, counts_of, read_ids
from granum.loaders._panoptic_records import marked
from granum.loaders._panoptic_values import (
    BoxForm,
    attribute_texts,
    boxes,
    fills,
    forms,
    in_form,
    maps,
    numbers,
    other_box,
    shapes,
    things,
)
from granum.loaders.base import Intake
from granum.loaders.coco.categories import CategoryRows
from granum.loaders.coco.ids import IdIndex, id_texts, needs_extra
from granum.loaders.coco.keys import extras
from granum.loaders.coco.records import ANNOTATION_KEYS, FLAGS, Array, Columns, read_records
from granum.loaders.coco.scan import JsonFile
from granum.schema import rows, tables
from granum.schema.findings import Findings

__all__ = ["Listed", "pixel_id", "segment_table"]

Seen = tuple[tuple[int, ...], dict[int, int], dict[int, list[int]]]
"""Of a PNG its shape, how many pixels each id has, and the boxes of some rows."""

SEGMENT = {
    **{k: ANNOTATION_KEYS[k] for k in ("id", "category_id", "bbox", "iscrowd", "attributes")},
    **dict.fromkeys(FLAGS, ANNOTATION_KEYS["iscrowd"]),
    **dict.fromkeys(("area", "score"), int | float | None | msgspec.UnsetType),
    "isthing": ANNOTATION_KEYS["iscrowd"],
}


@dataclass
class Listed:
    """Segments of some annotation records of one file.

    Attributes:
        text: all of them as one JSON list.
        counts: how many each record has.
        index: position of each record in the file.
        sample: sample row of each record, from the start of the batch.
        pngs: path of each record's PNG.
        sizes: (height, width) of each record's image.
        files: of records that are files of their own, their names; the list is then all they hold.
        box: what ``bbox`` holds: ``xywh``, corners (``xyxy``), or ``short``, where width and height
            lack one pixel.
        ids: gives the ids of the pixels of a record; None: its PNG does.
    """

    file: JsonFile
    origin: int
    text: bytes
    counts: Array
    index: list[int]
    sample: Array
    pngs: list[str]
    sizes: list[tuple[int | None, int | None]]
    files: list[str] | None = None
    box: BoxForm = "xywh"
    ids: Callable[[int], Ids] | None = None


def segment_table(
    listed: Listed, categories: CategoryRows, intake: Intake, check_masks: bool
) -> pa.Table:
    """The rows of ``listed``; faults go to the intake, and faulty rows as its policy says."""
    return _Segments(listed, categories, intake).table(check_masks)


def pixel_id(value: Any) -> int:
    """The id that pixels have for a segment's id; 0 where there can be none."""
    try:
        found = int(value) if type(value) in (int, float, str) else 0
    except (ValueError, OverflowError):
        return 0
    return found if 0 < found <= MAX_ID and float(value) == found else 0


class _Segments:
    def __init__(self, listed: Listed, categories: CategoryRows, intake: Intake) -> None:
        self.listed, self.categories, self.intake = listed, categories, intake
        self.starts = np.concatenate([[0], np.cumsum(listed.counts)])
        whole, text = listed.file, marked(listed.text)
        span = {"segments": (0, len(text))}
        has_nan = whole.has_nan or text != listed.text
        self.file = JsonFile(whole.path, whole.name, text, span, has_nan)
        # The records were joined to one list: what is found there is told by its own place.
        apart = Intake(Findings(intake.findings.on_error, intake.findings.limit))
        self.c: Columns = read_records(self.file, "segments", SEGMENT, apart)
        for found in apart.findings.items:
            _, _, at, *key = (found.place or "").split("/")
            path, place = self._place(int(at))
            intake.fault(found.code, path, "/".join([place, *key]), found.message)
        for code, n in apart.findings.counts.items():
            if n > apart.findings.limit:
                intake.findings.counts[code] += n - apart.findings.limit
        self.at = self.c.indices()
        self.owner = np.searchsorted(self.starts, self.at, side="right") - 1
        self.keep = np.ones(self.c.n, bool)
        self.extra: dict[int, dict[str, Any]] = {}
        self.drops = intake.on_error != "fix"

    def _place(self, at: int) -> tuple[str, str]:
        """File and JSON pointer of a segment."""
        owner = int(np.searchsorted(self.starts, at, side="right")) - 1
        path, place = self._record(owner)
        return path, f"{place}/{at - self.starts[owner]}"

    def _record(self, owner: int) -> tuple[str, str]:
        """File and JSON pointer of a record's list of segments."""
        if self.listed.files is not None:
            return self.listed.files[owner], ""
        return self.file.name, f"/annotations/{self.listed.index[owner]}/segments_info"

    def fault(
        self, code: str, where: Array, say: Callable[[int], str], key: str = "", drop: bool = True
    ) -> None:
        """Report rows, and leave them out."""
        at = np.flatnonzero(where & self.keep)
        if not len(at):
            return
        findings = self.intake.findings
        shown = max(0, findings.limit - findings.counts[code])
        for i in at[:shown].tolist():
            path, place = self._place(int(self.at[i]))
            self.intake.fault(code, path, place + (f"/{key}" if key else ""), say(i))
        findings.counts[code] += max(0, len(at) - shown)
        if drop:
            self.keep[at] = False

    def table(self, check_masks: bool) -> pa.Table:
        c, n = self.c, self.c.n
        unknown = extras(c, self.file, {"bbox", "attributes"}).rows
        self.extra = {i: dict(v) for i, v in unknown.items()}
        out: dict[str, Any] = {"source_id": id_texts(c.get("id"))}
        pixel = self._ids()
        category = self._categories()
        crowd = self._flag("iscrowd", "missing-iscrowd")
        flags = {f: self._flag(f, None) for f in FLAGS if f in c.values}
        self.box = in_form(boxes(c, self.file, self.extra), self.listed.box)
        area, box = self._areas(pixel, check_masks), self.box
        for i, keys in fills(self.extra).items():
            crowd[i] = None if "iscrowd" in keys else crowd[i]
            box[i] = None if "bbox" in keys else box[i]
        things(c, category, [x.isthing for x in self.intake.categories], self.extra)
        ones = pa.array(np.arange(n + 1), pa.int32())
        origin = pa.array(np.full(n, self.listed.origin), pa.int16())
        place = pa.array(self.at - self.starts[self.owner], pa.int64())
        out["origins"] = pa.ListArray.from_arrays(ones, origin)
        out["ordinal"] = pa.ListArray.from_arrays(ones, place)
        out["sample"] = pa.array(self.listed.sample[self.owner], pa.int64())
        out["kind"] = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(n), pa.int32()), pa.array(["object"])
        )
        out["category"] = pa.array(category, pa.int32(), mask=category < 0)
        out["bbox"] = pa.array(box, tables.ANNOTATIONS.field("bbox").type)
        out["area"] = pa.array(area, pa.float64())
        out["map"] = maps(pixel, self.owner, self.listed.pngs)
        out.update(forms(n, self.extra))
        out["crowd"] = pa.array(crowd, pa.bool_())
        out.update({f: pa.array(v, pa.bool_()) for f, v in flags.items()})
        if "score" in c.values:
            out["score"] = pa.array(numbers(c, "score", self.extra), pa.float64())
        out["attributes"] = attribute_texts(c, self.file, self.extra)
        out["shape"] = shapes(c, self.intake)
        texts = [
            json.dumps(self.extra[i], ensure_ascii=False) if self.extra.get(i) else None
            for i in range(n)
        ]
        out["extra"] = pa.array(texts, pa.string())
        table = tables.conform(pa.table(out), tables.ANNOTATIONS)
        return table if self.keep.all() else table.filter(pa.array(self.keep))

    # ------------------------------------------------------------------ columns

    def _ids(self) -> Array:
        """The id of each row's pixels; 0 where it has none."""
        ids = self.c.get("id")
        if ids.dtype == np.int64:
            pixel = np.where((ids > 0) & (ids <= MAX_ID), ids, 0)
            absent = np.zeros(len(ids), bool)
        else:
            listed = ids.tolist()
            pixel = np.array([pixel_id(v) for v in listed], np.int64)
            absent = np.array([v is UNSET or v is None for v in listed], bool)
            text = np.array([type(v) is str for v in listed], bool)
            self.fault("string-id", text, lambda i: f"id is {ids[i]!r}", "id", False)
            for i, v in enumerate(listed):
                if needs_extra(v):
                    self.extra.setdefault(i, {})["id"] = v
        self.fault(
            "missing-annotation-id", absent, lambda i: "the segment has no id", "", self.drops
        )
        self.fault(
            "bad-value",
            ~absent & (pixel == 0),
            lambda i: f"id {ids[i]!r} is not in 1..{MAX_ID}: no pixel can have it",
            "id",
            self.drops,
        )
        order = np.lexsort((pixel, self.owner))
        same = (pixel[order][1:] == pixel[order][:-1]) & (pixel[order][1:] > 0)
        same &= self.owner[order][1:] == self.owner[order][:-1]
        again = np.zeros(len(pixel), bool)
        again[order[1:][same]] = True
        self.fault("duplicate-segment-id", again, lambda i: f"id {ids[i]!r} is taken", "id")
        return pixel

    def _categories(self) -> Array:
        given = self.c.get("category_id")
        known = self.categories
        if given.dtype == np.int64 and all(type(c) is int and abs(c) < 2**63 for c in known.ids):
            ids = np.array(known.ids, np.int64)
        else:
            ids = np.empty(len(known.ids), object)
            ids[:] = known.ids
        found = IdIndex(ids).rows(given)
        self.fault(
            "missing-key", found == -2, lambda i: "the segment has no category_id", "", self.drops
        )
        unknown = (found == -1) & self.keep
        if unknown.any():
            code = "orphan-category" if "categories" in self.listed.file.spans else None
            self.fault(
                code or "missing-categories",
                unknown,
                lambda i: f"category {given[i]!r} is not listed",
                "category_id",
                self.drops,
            )
            if not self.drops:
                for value in dict.fromkeys(given[unknown].tolist()):
                    self._make_category(value)
                return self._categories()
        rows_ = np.array([*known.rows, -1], np.int64)
        return rows_[np.where(found >= 0, found, len(rows_) - 1)]

    def _make_category(self, value: Any) -> None:
        row = self.intake.add_category(rows.Category(str(value), source_id=str(value)))
        self.categories.ids.append(value)
        self.categories.rows.append(row)
        self.categories.records.append((row, {"id": value, "name": str(value)}))

    def _flag(self, key: str, missing: str | None) -> list[bool | None]:
        """A flag of 0 and 1; other numbers are kept beside."""
        listed = self.c.get(key).tolist()
        if missing is not None:
            absent = np.array([v is UNSET or v is None for v in listed], bool)
            self.fault(missing, absent, lambda i: f"no {key}", "", False)
            if not self.drops:
                listed = [0 if a else v for a, v in zip(absent.tolist(), listed, strict=True)]
        for i, v in enumerate(listed):
            if type(v) is int and v not in (0, 1):
                self.extra.setdefault(i, {})[key] = v
        return [None if v is UNSET or v is None else bool(v) for v in listed]

    def _areas(self, pixel: Array, check_masks: bool) -> list[float | None]:
        area = numbers(self.c, "area", self.extra)
        absent = np.array([v is None for v in area], bool)
        self.fault("missing-area", absent, lambda i: "no area", "", False)
        wanted = np.zeros(len(self.listed.counts), bool)
        if check_masks:
            wanted[:] = True
        elif not self.drops:
            wanted[self.owner[absent]] = True
        if wanted.any():
            self._look_at_masks(np.flatnonzero(wanted), pixel, area, check_masks)
        return area

    # ------------------------------------------------------------------ pixels

    def _look_at_masks(
        self, owners: Array, pixel: Array, area: list[float | None], check: bool
    ) -> None:
        """Open PNGs: compare them with the records (``check``), mend areas under ``fix``."""
        root = None if self.intake.map_root is None else str(self.intake.map_root)

        read = self.listed.ids or (lambda owner: read_ids(self.listed.pngs[owner], root))

        def look(owner: int) -> Seen | GranumError:
            try:
                ids = read(owner)
            except GranumError as error:
                return error
            wanted = [i for i in rows_of.get(owner, []) if check and self.box[i] is not None]
            drawn = boxes_of(ids, [int(pixel[i]) for i in wanted])
            return ids.shape, counts_of(ids), dict(zip(wanted, drawn, strict=True))

        rows_of: dict[int, list[int]] = {}
        for i in np.flatnonzero(self.keep & (pixel > 0)).tolist():
            rows_of.setdefault(int(self.owner[i]), []).append(i)
        with ThreadPoolExecutor(4, thread_name_prefix="granum-masks") as pool:
            for owner, seen in zip(owners.tolist(), pool.map(look, owners.tolist()), strict=True):
                if isinstance(seen, GranumError):
                    if check and "absent" not in str(seen):
                        self._of_mask(owner, "broken-media", str(seen))
                    continue
                if check:
                    self._compare(owner, rows_of.get(owner, []), pixel, area, *seen)
                if not self.drops:
                    for i in rows_of.get(owner, []):
                        area[i] = float(seen[1].get(int(pixel[i]), 0))

    def _of_mask(self, owner: int, code: str, message: str) -> None:
        path, place = self._record(owner)
        place = place.removesuffix("/segments_info")
        self.intake.fault(code, path, place or None, f"{self.listed.pngs[owner]}: {message}")

    def _compare(
        self,
        owner: int,
        rows_: list[int],
        pixel: Array,
        area: list[float | None],
        shape: tuple[int, ...],
        counts: dict[int, int],
        drawn: dict[int, list[int]],
    ) -> None:
        height, width = self.listed.sizes[owner]
        if None not in (height, width) and (height, width) != shape:
            text = f"{shape[1]} x {shape[0]} pixels; the image has {width} x {height}"
            self._of_mask(owner, "mask-size-mismatch", text)
            drawn = {}  # what lies elsewhere is no fault of its own
        listed = {int(pixel[i]) for i in rows_}
        for value in sorted(counts.keys() - listed - {0}):
            text = f"{counts[value]} pixels have id {value}, which no segment has"
            self._of_mask(owner, "unlisted-segment", text)
        only = np.zeros(len(pixel), bool)
        for i in rows_:
            only[:] = False
            only[i] = True
            n = counts.get(int(pixel[i]), 0)
            if not n:
                self.fault("empty-mask", only, lambda i: "no pixel has its id", "id", False)
            elif area[i] is not None and area[i] != n:
                text = f"area {area[i]:g}, but {n} pixels"
                self.fault("area-mismatch", only, lambda i, t=text: t, "area", False)  # type: ignore[misc]
            wrong = other_box(self.box[i], drawn[i]) if n and i in drawn else None
            if wrong is not None:
                self.fault("box-mismatch", only, lambda i, t=wrong: t, "bbox", False)  # type: ignore[misc]
