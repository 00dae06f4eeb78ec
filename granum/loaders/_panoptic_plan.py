"""What is written where: files, names of PNGs, ids of images and categories.

Made once for a dataset, from its samples alone, so that the projection and the writer agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._panoptic_read import HINT, note_key
from granum.loaders._panoptic_tree import image_prefix, png_name, split_of_name
from granum.loaders.coco.ids import id_value
from granum.schema import rows, tables
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["Image", "Plan", "Target", "category_ids", "make_plan", "own_sources"]


@dataclass
class Target:
    """One JSON file and its folder of PNGs.

    Attributes:
        origin: the source that it stands for; None for a file made anew.
        keys: top-level keys, in order.
        values: of the top-level keys that are no lists of records.
        records: category rows and their records in the source.
        images: rows of its samples.
    """

    name: str
    masks: str
    prefix: str
    split: str | None
    origin: int | None
    keys: list[str]
    values: dict[str, Any]
    records: list[tuple[int | None, Any]] = field(default_factory=list)
    images: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Image:
    """One sample: where it goes, under which id and names.

    Attributes:
        target: the position of its file in the plan.
        id: as it stands in JSON.
        png: path of its PNG below the output.
        keys: the keys that its record had, where it came from a panoptic file.
        annotation_keys: the same of its annotation record; None where it had none.
        position: the place of its annotation record in the file.
        extra: unknown keys of the image.
        notes: unknown keys of the annotation record.
    """

    target: int
    id: Any
    file_name: str | None
    png: str
    keys: tuple[str, ...] | None
    annotation_keys: tuple[str, ...] | None
    position: int | None
    extra: dict[str, Any]
    notes: dict[str, Any]


@dataclass
class Plan:
    """All files, and an ``Image`` per sample."""

    targets: list[Target]
    images: list[Image]
    own: frozenset[int]


def own_sources(dataset: Dataset) -> dict[int, rows.Source]:
    """The sources that are COCO panoptic files, by number."""
    listed: list[rows.Source] = rows.sources_from_table(dataset.sources)
    return {i: s for i, s in enumerate(listed) if s.format == "coco_panoptic" and s.top}


def category_ids(categories: pa.Table) -> list[Any]:
    """An id per category row: its source id, else a number that is free."""
    given = column(categories, "source_id", tables.CATEGORIES).to_pylist()
    taken = {g for g in given if g is not None}
    free = (n for n in range(1, 1 << 31) if str(n) not in taken)
    out, used = [], set[str]()
    for value in given:
        text = value if value is not None and value not in used else str(next(free))
        used.add(text)
        out.append(id_value(text))
    return out


def make_plan(dataset: Dataset) -> Plan:
    """The plan of a dataset."""
    return _Planner(dataset).plan()


class _Planner:
    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.sources = own_sources(dataset)
        self.shapes = dataset.meta.shapes
        names = ["key", "source_id", "origins", "ordinal", "media", "split", "shape", "extra"]
        self.rows = tables.conform(dataset.samples(names), tables.SAMPLES).to_pylist()
        self.first = _first_paths(dataset)
        self.targets: list[Target] = []
        self._by_split: dict[tuple[int | None, str | None], int] = {}
        self._names: set[str] = set()
        self._pngs: set[str] = set()

    def plan(self) -> Plan:
        for i, row in enumerate(self.rows):
            self.targets[self._target_of(row)].images.append(i)
        images: list[Any] = [None] * len(self.rows)
        for number, target in enumerate(self.targets):
            if target.origin is None:
                target.prefix = self._common_prefix(target)
            for i, id_ in zip(target.images, self._ids(target), strict=True):
                images[i] = self._image(self.rows[i], number, target, id_, self.first[i])
        for origin, source in self.sources.items():
            if (source.options or {}).get("images") == 0:
                self._known(origin, source)
        if not self.targets:
            self._new(None, None)
        self._hint()
        return Plan(self.targets, images, frozenset(self.sources))

    # ------------------------------------------------------------------ files

    def _target_of(self, row: dict[str, Any]) -> int:
        """The file that a sample goes to: its own, or that of its split."""
        origin = row["origins"][0] if row["origins"] else None
        source = None if origin is None else self.sources.get(origin)
        if source is not None and (
            (source.options or {}).get("split") != row["split"]
            or not row["key"].startswith((source.options or {}).get("prefix") or "")
        ):
            source = None
        key = (origin, None) if source is not None else (None, row["split"])
        if key not in self._by_split:
            self._by_split[key] = len(self.targets)
            if source is not None:
                self._known(origin, source)
            else:
                self._new(row["split"], origin)
        return self._by_split[key]

    def _known(self, origin: int | None, source: rows.Source) -> None:
        options = source.options or {}
        name, masks = source.path, options.get("masks", "")
        if name in self._names:
            name = self._free(name)
            masks = name.removesuffix(".json") + "/"
        self._names.add(name)
        self.targets.append(
            Target(
                name,
                masks,
                options.get("prefix") or "",
                options.get("split"),
                origin,
                list(source.top["keys"]),
                dict(source.top["values"]),
                [(row, record) for row, record in source.categories or []],
            )
        )

    def _new(self, split: str | None, origin: int | None) -> None:
        """A file for samples from elsewhere; licences are taken over, for images name them."""
        slug = re.sub(r"[^\w.-]+", "_", split or "").strip("._") or "all"
        name = self._free(f"annotations/panoptic_{slug}.json")
        self._names.add(name)
        values: dict[str, Any] = {"info": {"description": "written by granum"}, "licenses": []}
        listed: list[rows.Source] = rows.sources_from_table(self.dataset.sources)
        if origin is not None and origin < len(listed):
            top = listed[origin].top
            found = top.get("values") if isinstance(top, dict) else None
            if isinstance(found, dict):
                values.update({k: found[k] for k in values if found.get(k)})
        keys = ["info", "licenses", "images", "annotations", "categories"]
        self.targets.append(Target(name, f"{name[:-5]}/", "", split, None, keys, values))

    def _free(self, name: str) -> str:
        stem, n, out = name.removesuffix(".json"), 1, name
        while out in self._names:
            n += 1
            out = f"{stem}-{n}.json"
        return out

    def _common_prefix(self, target: Target) -> str:
        """The folder of images that all keys of a new file lie in, where it is a usual one."""
        keys = [self.rows[i]["key"] for i in target.images]
        split = target.split
        usual = [f"images/{split}/", f"{split}/"] if split and _plain(split) else []
        for place in [*usual, "images/"]:
            if keys and all(k.startswith(place) and len(k) > len(place) for k in keys):
                return place
        return ""

    # ------------------------------------------------------------------ samples

    def _ids(self, target: Target) -> list[Any]:
        """Image ids: as the source wrote them; numbers for those that have none of their own."""
        given: list[Any] = []
        for i in target.images:
            row = self.rows[i]
            text = row["source_id"]
            value = None if text is None else id_value(text)
            if text is not None and target.origin is not None and row["extra"]:
                kept = _json(row["extra"]).get("id")
                value = kept if kept is not None and str(kept) == text else value
            given.append(value)
        taken = {v for v in given if v is not None}
        free = (n for n in range(1, 1 << 62) if n not in taken)
        out, used = [], set[Any]()
        for value in given:
            chosen = value if value is not None and value not in used else next(free)
            used.add(chosen)
            out.append(chosen)
        return out

    def _image(
        self, row: dict[str, Any], number: int, target: Target, id_: Any, first: str | None
    ) -> Image:
        extra = _json(row["extra"])
        keys, annotation_keys, position, notes = None, None, None, {}
        origins, ordinal = row["origins"] or [], row["ordinal"] or []
        own = bool(origins) and origins[0] in self.sources
        if own:
            shape = [] if row["shape"] is None else self.shapes[row["shape"]]
            keys = tuple(shape[0]) if shape else None
            if len(origins) > 1 and origins[1] == origins[0]:
                annotation_keys = tuple(shape[1]) if len(shape) > 1 else ()
                position = ordinal[1] if target.origin is not None else None
                notes = extra.pop(note_key(keys or ()), {})
        name: str | None = row["key"].removeprefix(target.prefix)
        if own and isinstance(extra.get("file_name"), str):
            name = extra["file_name"]
        elif own and keys is not None and row["media"] is None:
            name = None  # a record without a name has no media
        notes = notes if isinstance(notes, dict) else {}
        png = self._png(row["key"], target, first, notes.pop("file_name", None))
        return Image(number, id_, name, png, keys, annotation_keys, position, extra, notes)

    def _png(self, key: str, target: Target, first: str | None, named: Any) -> str:
        """The path of a sample's PNG: as it is in the source, else like the image's name."""
        if target.origin is not None and first is not None and first.startswith(target.masks):
            path = first
        elif target.origin is not None and isinstance(named, str):
            path = target.masks + named
        else:
            path = target.masks + png_name(key.removeprefix(target.prefix))
        if path in self._pngs or ".." in PurePosixPath(path).parts:
            plain = target.masks + png_name(key.removeprefix(target.prefix) + ".png")
            path, n = plain, 1
            while path in self._pngs:
                n += 1
                path = f"{plain[:-4]}-{n}.png"
        self._pngs.add(path)
        return path

    # ------------------------------------------------------------------ hints

    def _hint(self) -> None:
        """Tell in each file what a reader could not see from names and folders."""
        order = [i for t in sorted(self.targets, key=lambda t: t.name) for i in t.images]
        sorted_ = order == list(range(len(self.rows)))
        several = len({split_of_name(t.name) for t in self.targets}) > 1
        folders = {t.prefix for t in self.targets}
        for target in self.targets:
            old = target.values.get(HINT)
            hint = {k: v for k, v in old.items() if k != "rows"} if isinstance(old, dict) else {}
            split = split_of_name(target.name)
            prefix = image_prefix(split, several, folders.__contains__, target.masks)
            if target.origin is None or (split, prefix) != (target.split, target.prefix):
                hint.update(split=target.split, images=target.prefix)
            if not sorted_:
                hint["rows"] = _runs(target.images)
            if hint:
                target.values[HINT] = hint
                if HINT not in target.keys:
                    target.keys.append(HINT)


def _plain(split: str) -> bool:
    return re.fullmatch(r"[\w-][\w .-]*", split) is not None


def _json(text: str | None) -> dict[str, Any]:
    return {} if text is None else dict(json.loads(text))


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """``[first, count]`` of each stretch of consecutive numbers."""
    if not numbers:
        return []
    values = np.asarray(numbers, np.int64)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(values) != 1) + 1])
    counts = np.diff(np.append(starts, len(values)))
    return [[int(values[s]), int(n)] for s, n in zip(starts, counts, strict=True)]


def _first_paths(dataset: Dataset) -> list[str | None]:
    """The path of the label map of each sample's first annotation that has one."""
    out: list[str | None] = []
    for part in dataset.parts:
        found: list[str | None] = [None] * part.rows
        maps = column(part.layer(dataset.meta.layer), "map")
        if maps.null_count < len(maps):
            offsets = part.offsets(dataset.meta.layer)
            paths = pc.struct_field(maps, "path")
            has = np.flatnonzero(np.asarray(paths.is_valid()))
            at = np.searchsorted(has, offsets[:-1])
            following = np.append(has, len(maps))[at]
            good = following < offsets[1:]
            chosen = paths.take(pa.array(following[good])).to_pylist()
            for i, path in zip(np.flatnonzero(good).tolist(), chosen, strict=True):
                found[i] = path
        out += found
    return out
