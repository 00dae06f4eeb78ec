"""Writing a projected dataset as a YOLO tree."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from granum.loaders.base import image_name
from granum.loaders.yolo.config import OWN_FILE, SPLIT_KEYS
from granum.loaders.yolo.parse import Floats, join
from granum.loaders.yolo.project import DEFAULT_SPLIT, Plan, centres
from granum.loaders.yolo.tree import SUFFIXES, label_path
from granum.schema import geometry, rows, tables
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["Places", "label_rows", "write_tree"]

BATCH = 8192
LIST = "images.txt"
KEYS = frozenset({*SPLIT_KEYS, "path", "names", "nc", "task", "kpt_shape", "flip_idx", "kpt_names"})
"""Keys of ``data.yaml`` that mean something; a split of such a name other than the usual ones
stands in our own file only."""

PLAIN = re.compile(r"\w[\w .-]*(/\w[\w .-]*)*")
CONTROL = re.compile("[\\x00-\\x1f\\x7f\\x85\\u2028\\u2029]")


class Places:
    """Where each image belongs, and the folders of each split."""

    def __init__(self, dataset: Dataset) -> None:
        table = dataset.samples(["key", "split", "media"])
        keys = [_clean(k) for k in table["key"].to_pylist()]
        splits = table["split"].cast(pa.string()).fill_null(DEFAULT_SPLIT).to_pylist()
        paths = pc.struct_field(table["media"].combine_chunks(), "path").to_pylist()
        default = _folder_names(dict.fromkeys(splits))
        kept = _kept_folders(keys, splits, default)
        self.images: list[str] = []
        self.labels: list[str] = []
        self.folders: dict[str, dict[str, None]] = {}
        taken: set[str] = set()
        for key, split, path in zip(keys, splits, paths, strict=True):
            name = _with_suffix(key, path)
            folder = kept.get("/".join(name.split("/", 2)[:2]))
            if folder is None or name.count("/") < 2:
                folder = f"images/{default[split]}"
                name = f"{folder}/{name}"
            name, label = _apart(name, folder, taken)
            taken.add(label)
            self.images.append(name)
            self.labels.append(label)
            self.folders.setdefault(split, {})[folder] = None


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


def _folder_names(splits: Iterable[str]) -> dict[str, str]:
    """A folder for each split: its name, where that can be one."""
    out: dict[str, str] = {}
    for split in splits:
        plain = re.fullmatch(r"[\w \-.+]{1,80}", split) and split.strip(". ") == split
        name = split if plain and split not in ("images", "labels") else f"split-{len(out)}"
        while name in out.values():
            name += "_"
        out[split] = name
    return out


def _kept_folders(keys: list[str], splits: list[str], default: dict[str, str]) -> dict[str, str]:
    """Folders ``images/x`` and ``x/images`` whose samples are all of one split: they stay."""
    of: dict[str, set[str]] = {f"images/{name}": {split} for split, name in default.items()}
    for key, split in zip(keys, splits, strict=True):
        parts = key.split("/", 2)
        if len(parts) == 3 and "images" in parts[:2]:
            of.setdefault(f"{parts[0]}/{parts[1]}", set()).add(split)
    return {folder: folder for folder, owners in of.items() if len(owners) == 1}


def _apart(name: str, folder: str, taken: set[str]) -> tuple[str, str]:
    """``name`` and its label file; in a folder more where that would be another image's too."""
    label, below, n = label_path(name), name.removeprefix(f"{folder}/"), 2
    while label in taken:
        name = f"{folder}/_{n}/{below}"
        label, n = label_path(name), n + 1
    return name, label


# ---------------------------------------------------------------------- labels


def label_rows(table: pa.Table, plan: Plan) -> pa.Array:
    """The text of each annotation, ``\\n`` included. Numbers are the shortest that read back."""
    classes = plan.classes[np.asarray(table["category"], np.int64)]
    columns = [_text(pa.array(classes))]
    if plan.task in ("detect", "pose"):
        _, boxes = geometry.fixed_list(table["bbox"])
        columns += _numbers(np.hstack([centres(boxes[:, :2], boxes[:, 2:]), boxes[:, 2:]]))
    if plan.task == "pose" and plan.points:
        columns.append(_lists(table["keypoints"].combine_chunks()))
    if plan.task in ("seg", "obb"):
        parts = table["polygons"].combine_chunks().flatten()
        columns.append(_lists(parts.flatten()))
    if "score" in table.column_names:
        columns.append(_text(table["score"].combine_chunks()))
    return join(columns)


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
    data: dict[str, Any] = {}
    for split, folders in sorted(places.folders.items(), key=lambda s: _rank(s[0])):
        if split in SPLIT_KEYS or split not in KEYS:
            data[split] = next(iter(folders)) if len(folders) == 1 else list(folders)
    listed = rows.categories_from_table(tables.conform(dataset.categories, tables.CATEGORIES))
    named = [c for c, number in zip(listed, plan.classes, strict=True) if number >= 0]
    data["names"] = {i: c.name for i, c in enumerate(named)}
    if plan.task == "pose":
        data["kpt_shape"] = [plan.points, 3]
        flip = _flips(dataset, named, plan.points)
        if flip:
            data["flip_idx"] = flip
    out.text("data.yaml", _dump(data))
    own = {
        "format": "yolo",
        "task": plan.task,
        "boxes": "extent" if plan.boxes else None,
        "images": LIST,
        "splits": [[split, list(folders)] for split, folders in places.folders.items()],
        "categories": [_record(c) for c in listed],
    }
    head = "# Notes of granum: order of images, names of splits, facts of classes.\n"
    out.text(OWN_FILE, head + _dump(own))
    out.text(LIST, "".join(f"./{path}\n" for path in places.images))


def _rank(split: str) -> tuple[int, str]:
    order = ("train", "val", "test")
    return (order.index(split) if split in order else len(order), split)


def _dump(data: Any) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True, width=1000))


def _record(category: rows.Category) -> dict[str, Any]:
    values = {name: getattr(category, name) for name in rows.Category.__dataclass_fields__}
    return {name: value for name, value in values.items() if value is not None}


def _flips(dataset: Dataset, categories: list[rows.Category], points: int) -> list[int] | None:
    """For each point the one that it becomes in a mirror: by names with left and right."""
    for source in rows.sources_from_table(dataset.sources):
        told = source.top.get("flip_idx") if isinstance(source.top, dict) else None
        if source.format == "yolo" and isinstance(told, list) and len(told) == points:
            return [int(i) for i in told]
    names = next((c.keypoints for c in categories if c.keypoints), None)
    if names is None or len(names) != points:
        return None
    swap = {"left": "right", "right": "left"}
    mirrored = [re.sub("left|right", lambda m: swap[m[0]], n) for n in names]
    if mirrored == names or not set(mirrored) <= set(names):
        return None
    return [names.index(n) for n in mirrored]
