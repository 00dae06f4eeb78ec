"""Reading COCO panoptic: images and annotations as columns, segments batch by batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw

from granum.errors import FormatError
from granum.loaders._panoptic_pixels import Ids
from granum.loaders._panoptic_records import Records, read_annotations
from granum.loaders._panoptic_segments import Listed, segment_table
from granum.loaders._panoptic_tree import (
    Folders,
    Tree,
    find_tree,
    image_prefix,
    mask_folder,
    png_name,
    split_of_name,
)
from granum.loaders._panoptic_values import BoxForm, complete
from granum.loaders.base import Intake
from granum.loaders.coco.categories import CategoryRows, read_categories
from granum.loaders.coco.ids import IdIndex
from granum.loaders.coco.images import Images
from granum.loaders.coco.records import IMAGE_KEYS, Array, read_records
from granum.loaders.coco.scan import JsonFile
from granum.loaders.reading import ImageFinder
from granum.schema import rows, tables
from granum.store.builder import Incoming
from granum.store.out import safe_relative
from granum.store.parts import concat

__all__ = ["HINT", "PanopticFile", "Reader", "note_key", "read_panoptic"]

LISTS = {"images", "annotations", "categories"}

HINT = "granum"
"""A top-level key of files that granum made: what their names and folders cannot tell (``split``,
``images``: the folder of the images, ``rows``: where the images stood in the dataset)."""

BATCH = 4096


def note_key(image_keys: tuple[str, ...]) -> str:
    """Where a sample's ``extra`` keeps what only its annotation record said; a key of the image
    itself comes first."""
    name = "panoptic"
    while name in image_keys:
        name += "_"
    return name


@dataclass
class PanopticFile:
    """One JSON file.

    Attributes:
        rows: sample row of each annotation record; -1 where it is left out.
        pngs: path of each record's PNG, relative to the map root.
    """

    file: JsonFile
    origin: int
    records: Records
    masks: str
    hint: dict[str, Any]
    samples: Array
    rows: Array
    pngs: list[str]
    categories: CategoryRows
    listed: int = 0
    order: Array = field(default_factory=lambda: np.empty(0, np.int64))
    bounds: Array = field(default_factory=lambda: np.empty(0, np.int64))


def read_panoptic(
    root: Path, intake: Intake, masks: str | None, check_masks: bool
) -> Iterator[Incoming]:
    """All batches of a path."""
    tree = find_tree(root, intake, masks)
    intake.media_root = intake.images or (root if root.is_dir() else None)
    intake.map_root = tree.map_root
    yield from Reader(tree, intake, root.is_dir()).read(check_masks)


class Reader:
    """Holds what the files of a tree share.

    Attributes:
        format: what sources are noted as.
        box: what ``bbox`` of segments holds.
    """

    format: ClassVar[str] = "coco_panoptic"
    box: BoxForm = "xywh"

    def __init__(self, tree: Tree, intake: Intake, below: bool) -> None:
        self.tree, self.intake, self.below = tree, intake, below
        self.images = Images()
        self.by_name: dict[str, list[int]] = {}
        self.files: list[PanopticFile] = []
        self.finder = ImageFinder(intake.images) if intake.images is not None else None
        splits = {split_of_name(name) for _, name in tree.files}
        self.several = len(splits) > 1
        self._places: dict[tuple[str, int], int] = {}

    def read(self, check_masks: bool) -> Iterator[Incoming]:
        """All batches of the tree."""
        self.load()
        self.intake.locate = self.locate
        yield from self.batches(check_masks)
        self.note_sources()

    def load(self) -> None:
        """Images, annotation records and categories of all files."""
        for path, name in self.tree.files:
            self.files.append(self._load(path, name))
        for category in self.intake.categories:
            complete(category)
        self._reorder()
        for item in self.files:
            kept = np.flatnonzero(item.rows >= 0)
            item.order = kept[np.argsort(item.rows[kept], kind="stable")]
            item.bounds = np.searchsorted(
                item.rows[item.order], np.arange(len(self.images) + 1), side="left"
            )

    def _load(self, path: Path, name: str) -> PanopticFile:
        file = self.opened(path, name)
        if not file.spans.keys() & {"images", "annotations"}:
            raise FormatError(path, "no COCO panoptic file: it has neither images nor annotations")
        hint = _json(file, HINT, self.intake)
        hint = hint if isinstance(hint, dict) else {}
        records = read_annotations(file, self.intake)
        self.mend(records)
        first = next((n for n in records.file_name if type(n) is str), None)
        folder = self.mask_folder(path, first)
        below = folder.relative_to(self.tree.map_root).as_posix()
        masks = "" if below == "." else f"{below}/"
        split, prefix = self._place_of(name, masks, hint)
        origin = self.intake.source(
            name, self.format, options={"prefix": prefix, "split": split, "masks": masks}
        )
        columns = read_records(file, "images", IMAGE_KEYS, self.intake)
        samples = self.images.add(
            columns, file, origin, name, prefix, split, self.intake, self.finder
        )
        self._attributes()
        categories = read_categories(file, self.intake, self.by_name)
        item = PanopticFile(file, origin, records, masks, hint, samples, samples, [], categories)
        item.rows = self._rows(item, columns.get("id"))
        self._annotate(item, self.folders(folder))
        return item

    # What other layouts do in another way.

    def opened(self, path: Path, name: str) -> JsonFile:
        return JsonFile.open(path, name, self.intake.findings)

    def mend(self, records: Records) -> None:
        """Change annotation records as they were read."""

    def mask_folder(self, path: Path, first: str | None) -> Path:
        """See ``mask_folder`` of the tree."""
        return mask_folder(self.tree, path, first)

    def folders(self, folder: Path) -> Folders:
        return Folders(folder)

    def finish(self, item: PanopticFile, at: Array, start: int, table: pa.Table) -> pa.Table:
        """Change the segments of records ``at`` of a file, in a batch from sample ``start``."""
        return table

    def ids(self, item: PanopticFile, at: Array) -> Callable[[int], Ids] | None:
        """What gives the ids of the pixels of each record ``at``; None: the PNGs do."""
        return None

    def _attributes(self) -> None:
        """``attributes`` of images that are no objects are kept as they are."""
        images = self.images
        for row, text in enumerate(images.attributes):
            if text is not None and not text.startswith("{"):
                images.attributes[row] = None
                if text != "null":
                    self._note(row, "attributes", json.loads(text))

    def _note(self, row: int, key: str, value: Any) -> None:
        """Put a value among the unknown keys of an image."""
        extra = self.images.extra[row]
        known = json.loads(extra) if isinstance(extra, str) else extra or {}
        self.images.extra[row] = {**known, key: value}

    def _place_of(self, name: str, masks: str, hint: dict[str, Any]) -> tuple[str | None, str]:
        """Split and folder of images of a file, as it says or as the tree tells."""
        split = hint["split"] if _is(hint, "split", str | None) else split_of_name(name)
        if self.finder is not None and len(self.tree.files) == 1:
            return split, ""
        if _is(hint, "images", str) and (not hint["images"] or _stays_below(hint["images"])):
            return split, hint["images"]
        if not self.below:
            return split, ""
        base = self.tree.base
        return split, image_prefix(split, self.several, lambda p: (base / p).is_dir(), masks)

    def _rows(self, item: PanopticFile, image_ids: Array) -> Array:
        """Sample row of each annotation record; faulty ones are reported."""
        given, index = item.records.image_ids(), item.records.index
        found = IdIndex(image_ids).rows(given)
        seen: set[int] = set()
        out = np.full(len(found), -1, np.int64)
        for i, at in enumerate(found.tolist()):
            place = f"/annotations/{index[i]}"
            if at == -2:
                self._fault(item, "missing-image-id", place, "the annotation has no image_id")
            elif at < 0:
                text = f"image {given[i]!r} is not listed"
                self._fault(item, "orphan-image", f"{place}/image_id", text)
            elif at in seen:
                text = f"image {given[i]!r} has an annotation already"
                self._fault(item, "duplicate-annotation", place, text)
            else:
                seen.add(at)
                out[i] = item.samples[at]
        return out

    def _fault(self, item: PanopticFile, code: str, place: str, message: str) -> None:
        self.intake.fault(code, item.file.name, place, message)

    def _annotate(self, item: PanopticFile, folders: Folders) -> None:
        """Note on each sample its annotation record: a second record of the same file."""
        records, images = item.records, self.images
        index = records.index
        item.pngs = [""] * len(records)
        for i, row in enumerate(item.rows.tolist()):
            if row < 0:
                continue
            place = f"/annotations/{index[i]}"
            derived = png_name(images.key[row].removeprefix(self._prefix(item)))
            name = records.file_name[i]
            if type(name) is not str or not name:
                self._fault(item, "missing-key", place, "the annotation has no file_name")
                if self.intake.on_error != "fix":
                    item.rows[i] = -1
                    continue
                name = derived
            if not _stays_below(name):
                text = f"{name!r} leaves the folder of PNGs"
                self._fault(item, "bad-value", f"{place}/file_name", text)
                item.rows[i] = -1
                continue
            item.pngs[i] = item.masks + name
            if not folders.holds(name):
                text = f"{item.pngs[i]} is not there"
                self._fault(item, "file-missing", f"{place}/file_name", text)
            notes = dict(records.unknown.get(i, {}))
            if name != derived and not records.segments(i).strip(b"[] \t\r\n"):
                notes["file_name"] = name  # no segment's map tells the name
            if notes:
                self._note(row, note_key(images.shapes[row][0]), notes)
            images.origins[row] = [*images.origins[row], item.origin]
            images.ordinal[row] = [*images.ordinal[row], index[i]]
            images.shapes[row] = (*images.shapes[row], records.keys[i])

    def _prefix(self, item: PanopticFile) -> str:
        return str(self.intake.sources[item.origin].options["prefix"])

    def _reorder(self) -> None:
        """Put images back where they stood in the dataset, if all files tell where."""
        runs: list[list[int]] = []
        for item in self.files:
            told = _runs(item.hint.get("rows"))
            if sum(n for _, n in told) != int((item.samples >= 0).sum()):
                return
            runs += told
        to = np.concatenate([np.empty(0, np.int64), *(np.arange(a, a + n) for a, n in runs)])
        if not len(to) or not np.array_equal(np.sort(to), np.arange(len(self.images))):
            return
        order = np.argsort(to).tolist()
        for one in fields(self.images):
            values = getattr(self.images, one.name)
            if isinstance(values, list):
                values[:] = [values[i] for i in order]
        for item in self.files:
            item.rows = np.where(item.rows >= 0, to[item.rows], -1)

    # ------------------------------------------------------------------ segments

    def batches(self, check_masks: bool) -> Iterator[Incoming]:
        n = len(self.images)
        for start in range(0, n, BATCH):
            stop = min(start + BATCH, n)
            pieces = []
            for item in self.files:
                at = item.order[item.bounds[start] : item.bounds[stop]]
                if len(at):
                    pieces.append(self._segments(item, at, start, check_masks))
            layers = {tables.DEFAULT_LAYER: concat(pieces, tables.ANNOTATIONS)} if pieces else {}
            yield Incoming(self.images.table(start, stop, self.intake), layers)

    def _segments(self, item: PanopticFile, at: Array, start: int, check_masks: bool) -> pa.Table:
        index = [item.records.index[i] for i in at.tolist()]
        texts, counts = [], []
        for i, position in zip(at.tolist(), index, strict=True):
            text = item.records.segments(i)
            try:
                count = len(msgspec.json.decode(text, type=list[Raw])) if text else 0
            except msgspec.DecodeError:
                text = b""
            if not text:
                place = f"/annotations/{position}/segments_info"
                self._fault(item, "missing-key", place, "segments_info is no list")
                count = 0
            texts.append(text.strip()[1:-1] if count else b"")
            counts.append(count)
        item.listed += sum(counts)
        sizes = [(self.images.height[r], self.images.width[r]) for r in item.rows[at].tolist()]
        listed = Listed(
            item.file,
            item.origin,
            b"[%b]" % b",".join(t for t, n in zip(texts, counts, strict=True) if n),
            np.array(counts, np.int64),
            index,
            item.rows[at] - start,
            [item.pngs[i] for i in at.tolist()],
            sizes,
            box=self.box,
            ids=self.ids(item, at),
        )
        table = segment_table(listed, item.categories, self.intake, check_masks)
        return self.finish(item, at, start, table)

    def locate(self, annotation: rows.Annotation, key: str) -> tuple[str, str]:
        """File and JSON pointer of a segment."""
        if not self._places:
            for item in self.files:
                for i in np.flatnonzero(item.rows >= 0).tolist():
                    position = item.records.index[i]
                    self._places[self.images.key[item.rows[i]], item.origin] = position
        origin = annotation.origins[0] if annotation.origins else 0
        at = self._places.get((key, origin), "?")
        segment = annotation.ordinal[0] if annotation.ordinal else "?"
        name = self.intake.sources[origin].path
        return name, f"/annotations/{at}/segments_info/{segment}"

    def note_sources(self) -> None:
        """What the files hold beside the records; how many segments they list."""
        for item in self.files:
            source = self.intake.sources[item.origin]
            values = {k: _json(item.file, k, self.intake) for k in item.file.spans.keys() - LISTS}
            source.top = {"keys": list(item.file.spans), "values": values}
            source.categories = [list(r) for r in item.categories.records]
            source.options |= {"segments": item.listed, "images": len(item.samples)}


def _json(file: JsonFile, key: str, intake: Intake) -> Any:
    raw = file.raw(key)
    if raw is None:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        intake.fault("bad-value", file.name, f"/{key}", f"cannot be decoded: {error}")
        return None


def _is(hint: dict[str, Any], key: str, kind: Any) -> bool:
    return key in hint and isinstance(hint[key], kind)


def _stays_below(name: str) -> bool:
    try:
        safe_relative(name, "")
    except FormatError:
        return False
    return "\0" not in name


def _runs(runs: Any) -> list[list[int]]:
    """``[[first, count], …]``; nothing where it is something else."""
    if not isinstance(runs, list):
        return []
    good = all(
        isinstance(r, list) and len(r) == 2 and all(type(v) is int and v >= 0 for v in r)
        for r in runs
    )
    return runs if good else []
