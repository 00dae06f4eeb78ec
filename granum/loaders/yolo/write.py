"""Writing a projected dataset as a YOLO tree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.base import image_name
from granum.loaders.yolo import arrays
from granum.loaders.yolo.config import SPLIT_KEYS
from granum.loaders.yolo.notes import NOTES, Notes, dump_yaml
from granum.loaders.yolo.parse import Floats, join
from granum.loaders.yolo.shapes import Plan, near_sum
from granum.loaders.yolo.tree import SUFFIXES, label_path
from granum.schema import geometry, rows, tables
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["Places", "label_rows", "write_tree"]

BATCH = 8192
DEFAULT_SPLIT = "train"
LIST = "images.txt"
KEYS = frozenset({*SPLIT_KEYS, "path", "names", "nc", "task", "kpt_shape", "flip_idx", "kpt_names"})
"""Keys of ``data.yaml`` that mean something; a split of such a name other than the usual ones
stands in our own file only."""

PLAIN = re.compile(r"\w[\w .-]*(/\w[\w .-]*)*")
CONTROL = re.compile("[\\x00-\\x1f\\x7f\\x85\\u2028\\u2029]")


class Places:
    """Where each image and its labels belong, and the folders of each split.

    An image goes to ``images/<split>/<key>``; one whose key has such a folder already
    (``images/x/…``, ``x/images/…``, all of one split) stays where it is. Samples without a split
    are for training.
    """

    def __init__(self, dataset: Dataset) -> None:
        table = dataset.samples(["key", "split", "media"])
        keys = table["key"].to_pylist()
        splits = table["split"].cast(pa.string()).to_pylist()
        paths = pc.struct_field(table["media"].combine_chunks(), "path").to_pylist()
        cleaned = [_clean(k) for k in keys]
        default = _folder_names(dict.fromkeys(splits))
        owners = _owners(cleaned, splits, default)
        self.images: list[str] = []
        self.labels: list[str] = []
        self.folders: dict[str | None, dict[str, None]] = {}
        below: dict[str, None] = {}
        taken, added = (_Taken(), _Taken()), 0
        for name, split, path in zip(cleaned, splits, paths, strict=True):
            name = _with_suffix(plain := name, path)
            added += name is not plain
            folder = "/".join(name.split("/", 2)[:2])
            if name.count("/") < 2 or owners.get(folder) != {split}:
                folder = f"images/{default[split]}"
                name = f"{folder}/{name}"
                below[folder] = None
            name, label = _apart(name, folder, taken)
            self.images.append(name)
            self.labels.append(label)
            self.folders.setdefault(split, {})[folder] = None
        self.below, self.bare = list(below), 2 * added > len(keys)
        key_of = Notes(below=self.below, bare=self.bare).key
        self.keys = {n: k for n, k in zip(self.images, keys, strict=True) if key_of(n) != k}

    def entries(self) -> dict[str, str | list[str]]:
        """What ``data.yaml`` says of splits, the usual ones first."""
        folders: dict[str, dict[str, None]] = {}
        for split, listed in self.folders.items():
            folders.setdefault(DEFAULT_SPLIT if split is None else split, {}).update(listed)
        order = {name: i for i, name in enumerate(("train", "val", "test"))}
        return {
            split: next(iter(folders[split])) if len(folders[split]) == 1 else [*folders[split]]
            for split in sorted(folders, key=lambda s: (order.get(s, len(order)), s))
            if split in SPLIT_KEYS or split not in KEYS
        }


def _clean(key: str) -> str:
    """A key as a path that every system can list, a line each."""
    if PLAIN.fullmatch(key):
        return key
    return re.sub(r"(^|/)\._", r"\1_", CONTROL.sub("_", image_name(key)))


def _with_suffix(name: str, path: str | None) -> str:
    """Trainers know images by their suffix: that of the media file, or .jpg by convention."""
    dot = name.rfind(".")
    if dot >= 0 and name[dot:].lower() in SUFFIXES:
        return name
    suffix = "" if path is None or "." not in path else path[path.rfind(".") :]
    return name + (suffix if suffix.lower() in SUFFIXES else ".jpg")


def _folder_names(splits: Iterable[str | None]) -> dict[str | None, str]:
    """A folder for each split: its name, where that can be one."""
    out: dict[str | None, str] = {}
    for split in sorted(splits, key=lambda s: s is None):
        name = split or f"split-{len(out)}"
        if split is None:
            name = "unsplit" if DEFAULT_SPLIT in out else DEFAULT_SPLIT
        elif not PLAIN.fullmatch(name) or "/" in name or name.strip(". ") != name:
            name = f"split-{len(out)}"
        while name in out.values() or name in ("images", "labels"):
            name += "_"
        out[split] = name
    return out


def _owners(
    keys: list[str], splits: list[str | None], default: dict[str | None, str]
) -> dict[str, set[str | None]]:
    """The splits of each folder ``images/x`` and ``x/images``."""
    of: dict[str, set[str | None]] = {f"images/{name}": {s} for s, name in default.items()}
    for key, split in zip(keys, splits, strict=True):
        parts = key.split("/", 2)
        if len(parts) == 3 and "images" in parts[:2]:
            of.setdefault(f"{parts[0]}/{parts[1]}", set()).add(split)
    return of


class _Taken:
    """Files that will be written, and the folders that they need."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.folders: set[str] = set()

    def free(self, path: str) -> bool:
        """Whether a file can be there."""
        if path in self.files or path in self.folders:
            return False
        folder = path.rpartition("/")[0]
        return folder in self.folders or self.files.isdisjoint(_above(path))

    def add(self, path: str) -> None:
        self.files.add(path)
        if path.rpartition("/")[0] not in self.folders:
            self.folders.update(_above(path))


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def _apart(name: str, folder: str, taken: tuple[_Taken, _Taken]) -> tuple[str, str]:
    """``name`` and its label file; in a folder more where either would be another image's."""
    images, labels = taken
    label, below, n = label_path(name), name.removeprefix(f"{folder}/"), 2
    while not (labels.free(label) and images.free(name)):
        name = f"{folder}/_{n}/{below}"
        label, n = label_path(name), n + 1
    images.add(name)
    labels.add(label)
    return name, label


# ---------------------------------------------------------------------- labels


def label_rows(table: pa.Table, plan: Plan) -> pa.Array:
    """The text of each annotation, ``\\n`` included. Numbers are the shortest that read back."""
    classes = plan.classes[np.asarray(table["category"], np.int64)]
    columns = [_text(pa.array(classes))]
    if plan.task in ("detect", "pose"):
        _, boxes = geometry.fixed_list(table["bbox"])
        columns += _numbers(np.hstack([near_sum(boxes[:, :2], boxes[:, 2:] / 2), boxes[:, 2:]]))
    if plan.task == "pose" and plan.points:
        listed = table["keypoints"].combine_chunks()
        points = np.full((len(listed), 3 * plan.points), -0.0)  # where an object has none
        points[np.asarray(listed.is_valid())] = np.reshape(listed.flatten(), (-1, 3 * plan.points))
        columns.append(_lists(arrays.point_column(points, np.ones(len(points), bool))))
    if plan.task in ("seg", "obb"):
        columns.append(_rings(table, plan.task))
    if "score" in table.column_names:
        columns.append(_text(table["score"].combine_chunks()))
    return join(columns)


def _rings(table: pa.Table, task: str) -> pa.Array:
    """The ring of each polygon; a row without one is a box."""
    polygons = table["polygons"].combine_chunks()
    rings = _lists(polygons.flatten().flatten())
    if not polygons.null_count:
        return rings
    where = np.asarray(polygons.is_valid())
    _, boxes = geometry.fixed_list(table["bbox"])
    low = boxes[~where, :2]
    closed = arrays.around(np.hstack([low, near_sum(boxes[~where, 2:], low)]), task)
    rows_ = _lists(arrays.point_column(closed, np.ones(len(closed), bool)))
    order = np.empty(len(where), np.int64)
    order[where] = np.arange(len(rings))
    order[~where] = len(rings) + np.arange(len(rows_))
    return pa.concat_arrays([rings, rows_]).take(pa.array(order))


def _text(values: pa.Array) -> pa.Array:
    return values.cast(pa.string())


def _numbers(values: Floats) -> list[pa.Array]:
    return [_text(pa.array(np.ascontiguousarray(c))) for c in values.T]


def _lists(lists: pa.ListArray) -> pa.Array:
    """Lists of numbers as text with blanks between."""
    count = np.asarray(lists.value_lengths(), np.int64)
    offsets = pa.array(np.concatenate([[0], np.cumsum(count)]).astype(np.int32))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, _text(lists.flatten())), " ")


def write_labels(dataset: Dataset, out: Out, plan: Plan, labels: list[str]) -> None:
    """One file per sample, empty where it has no rows."""
    for batch in dataset.iter_batches(BATCH):
        n = batch.samples.num_rows
        names = labels[batch.start : batch.start + n]
        if not batch.annotations.num_rows:
            for name in names:
                out.bytes(name, b"")
            continue
        text = label_rows(batch.annotations, plan)
        if isinstance(text, pa.ChunkedArray):
            text = text.combine_chunks()
        _, offsets, data = text.buffers()
        ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
        cuts = ends[batch.offsets()].tolist()
        content = data.to_pybytes() if data is not None else b""
        for i, name in enumerate(names):
            out.bytes(name, content[cuts[i] : cuts[i + 1]])


def write_tree(dataset: Dataset, out: Out, plan: Plan, places: Places) -> None:
    """Labels, ``data.yaml``, and our own notes."""
    write_labels(dataset, out, plan, places.labels)
    listed = rows.categories_from_table(tables.conform(dataset.categories, tables.CATEGORIES))
    named = [c for c, number in zip(listed, plan.classes, strict=True) if number >= 0]
    data: dict[str, Any] = dict(places.entries())
    data["names"] = {i: c.name for i, c in enumerate(named)}
    if plan.task == "pose":
        data["kpt_shape"] = [plan.points, 3]
        flip = _flips(dataset, named, plan.points)
        if flip:
            data["flip_idx"] = flip
    out.text("data.yaml", dump_yaml(data))
    notes = Notes(
        task=plan.task,
        boxes=plan.boxes,
        closed=plan.closed,
        marked=plan.marked,
        images=LIST,
        splits=[(split, list(folders)) for split, folders in places.folders.items()],
        below=places.below,
        bare=places.bare,
        keys=places.keys,
        categories=listed,
    )
    out.text(NOTES, notes.text())
    out.text(LIST, "".join(f"./{path}\n" for path in places.images))


def _flips(dataset: Dataset, categories: list[rows.Category], points: int) -> list[int] | None:
    """For each point the one that it becomes in a mirror: by names with left and right."""
    for source in rows.sources_from_table(dataset.sources):
        told = source.top.get("flip_idx") if isinstance(source.top, dict) else None
        if source.format == "yolo" and isinstance(told, list):
            flips = [int(i) for i in told if isinstance(i, str) and i.isdigit()]
            if sorted(flips) == list(range(points)):
                return flips
    names = next((c.keypoints for c in categories if c.keypoints), None)
    if names is None or len(names) != points:
        return None
    swap = {"left": "right", "right": "left"}
    mirrored = [re.sub("left|right", lambda m: swap[m[0]], n) for n in names]
    if mirrored == names or not set(mirrored) <= set(names):
        return None
    return [names.index(n) for n in mirrored]
