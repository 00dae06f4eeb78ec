"""Reading COCO: one file, a result list, or all files of a tree merged by image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET

from granum.errors import FormatError
from granum.loaders.base import Intake
from granum.loaders.coco import objects as an
from granum.loaders.coco.categories import CategoryRows, read_categories
from granum.loaders.coco.geometries import PARSE
from granum.loaders.coco.ids import IdIndex
from granum.loaders.coco.images import Images, split_of
from granum.loaders.coco.prepare import prepare
from granum.loaders.coco.records import ANNOTATION_KEYS, IMAGE_KEYS, Array, Columns, read_records
from granum.loaders.coco.scan import JsonFile
from granum.loaders.coco.twins import join_twins, with_joined
from granum.loaders.reading import ImageFinder
from granum.schema import rows, tables
from granum.store.builder import PART_ANNOTATIONS, PART_SAMPLES, Incoming
from granum.store.parts import concat

__all__ = ["FileInTree", "find_files", "read_coco"]

TOP = {"images", "annotations", "categories"}


@dataclass
class FileInTree:
    """A JSON file of a tree: its name there, its images' folder below the media root, its split."""

    path: Path
    name: str
    prefix: str = ""
    split: str | None = None


@dataclass
class _Loaded:
    file: JsonFile
    entry: FileInTree
    origin: int
    rows: Array
    ids: Array
    categories: CategoryRows = field(default_factory=CategoryRows)
    columns: Columns | None = None  # of a list of results, which are read at once


def find_files(root: Path, intake: Intake) -> list[FileInTree]:
    """The COCO files of a path.

    A folder is a COCO tree (``annotations/*.json`` beside the images), one
    ``_annotations.coco.json`` per split folder (Roboflow), or a folder of JSON files. Panoptic
    files and others that are no COCO are left, with a finding.
    """
    if root.is_file():
        return [FileInTree(root, root.name)]
    home = root / "annotations" if (root / "annotations").is_dir() else root
    listed = sorted(p for p in home.glob("*.json") if p.is_file())
    if not listed:
        listed = sorted(root.glob("*/*.coco.json"))
    found = []
    for path in listed:
        name = path.relative_to(root).as_posix()
        head, tail = ends(path)
        if path.name.startswith("panoptic_") or b'"segments_info"' in head + tail:
            message = "a panoptic file: read it with --from coco_panoptic"
            intake.fault("file-not-read", name, None, message)
            continue
        if b'"images"' not in head + tail and path.stat().st_size <= 1 << 20:
            intake.fault("file-not-read", name, None, "no COCO file: it has no images")
            continue
        if path.parent not in (root, home):
            split = path.parent.name
            found.append(FileInTree(path, name, f"{split}/", split))
        else:
            split_ = split_of(path.stem)
            found.append(FileInTree(path, name, _prefix(root, split_), split_))
    if not found:
        raise FormatError(root, "no COCO file below it")
    return found


def ends(path: Path, size: int = 65536) -> tuple[bytes, bytes]:
    """The first and the last bytes of a file."""
    with path.open("rb") as file:
        head = file.read(size)
        file.seek(max(0, path.stat().st_size - size))
        return head, file.read()


def _settled(root: Path, entry: FileInTree, columns: Columns) -> str:
    """The folder that the file's names leave out: none where the first image is found by name."""
    names = columns.get("file_name").tolist()
    if entry.prefix and root.is_dir() and names and isinstance(names[0], str):
        try:
            if (root / names[0]).is_file() and not (root / entry.prefix / names[0]).is_file():
                return ""
        except (OSError, ValueError):
            return entry.prefix
    return entry.prefix


def _prefix(root: Path, split: str | None) -> str:
    """Where the images of a split lie below the root, if a known place exists."""
    if split:
        for place in (f"images/{split}", split):
            if (root / place).is_dir():
                return f"{place}/"
    return "images/" if (root / "images").is_dir() else ""


def read_coco(
    root: Path, intake: Intake, results: list[Path], unstated: frozenset[str] = frozenset()
) -> Iterator[Incoming]:
    """All batches of a COCO path, sorted by sample; predictions as further layers. ``unstated``
    are keys that annotations need not have."""
    entries = find_files(root, intake)
    finder = ImageFinder(intake.images) if intake.images is not None else None
    intake.media_root = intake.images or (root if root.is_dir() else None)
    images, by_name = Images(), {}  # type: ignore[var-annotated]
    loaded = []
    for entry in entries:
        file = JsonFile.open(entry.path, entry.name, intake.findings)
        if "" in file.spans:
            loaded.append(_results_alone(file, entry, images, intake))
            continue
        _check_top(file)
        info = json.loads(file.raw("info") or b"null") if not file.has_nan else None
        facts = info.get("granum") if isinstance(info, dict) else None
        if isinstance(facts, dict) and isinstance(facts.get("split"), str):
            entry.split = facts["split"]
        origin = len(intake.sources)
        columns = read_records(file, "images", IMAGE_KEYS, intake)
        entry.prefix = _settled(root, entry, columns)
        options = {"prefix": entry.prefix, "split": entry.split}
        intake.source(entry.name, "coco", options=options)
        group = entry.prefix + (entry.split or "")
        prefix = "" if finder is not None and len(entries) == 1 else entry.prefix
        at = images.add(columns, file, origin, group, prefix, entry.split, intake, finder)
        categories = read_categories(file, intake, by_name)
        loaded.append(_Loaded(file, entry, origin, at, columns.get("id"), categories))
    names = {it.origin: it.file for it in loaded}

    def locate(annotation: rows.Annotation, key: str) -> tuple[str, str]:
        origin = annotation.origins[0] if annotation.origins else 0
        place = annotation.ordinal[0] if annotation.ordinal else "?"
        pointer = "" if "" in names[origin].spans else "/annotations"
        return names[origin].name, f"{pointer}/{place}"

    intake.locate = locate
    layers: dict[str, list[an.Annotations]] = {tables.DEFAULT_LAYER: []}
    for item in loaded:
        listed = "" in item.file.spans
        layer = "predictions" if listed else tables.DEFAULT_LAYER
        layers.setdefault(layer, []).append(_annotations(item, intake, listed, unstated))
    for path in results:
        predicted = _results_of(path, loaded, intake)
        names[predicted.origin] = predicted.file
        layers[path.stem] = [predicted]
        intake.layers[path.stem] = {"producer": path.name}
    join_twins(layers[tables.DEFAULT_LAYER])
    for item in loaded:
        if "" not in item.file.spans:
            _note_source(item, intake)
    yield from _parts(images, layers, intake)


def _check_top(file: JsonFile) -> None:
    if not file.spans.keys() & TOP:
        raise FormatError(file.path, "no COCO file: it has none of images, annotations, categories")


def _results_alone(file: JsonFile, entry: FileInTree, images: Images, intake: Intake) -> _Loaded:
    """A result list without its ground truth: samples are known by image id only."""
    columns = read_records(file, "", ANNOTATION_KEYS, intake, PARSE)
    ids = columns.get("image_id")
    origin = len(intake.sources)
    intake.source(entry.name, "coco", options={"results": True})
    unique = list(dict.fromkeys(v for v in ids.tolist() if v is not UNSET and v is not None))
    made = np.empty(len(unique), object)
    made[:] = unique
    at: dict[str, int] = {}
    for value in unique:
        text = _id_text(value)
        images.seen["", value] = at.setdefault(text, len(images))
        if at[text] < len(images):
            continue
        images.key.append(text)
        images.source_id.append(text)
        images.origins.append([])
        images.ordinal.append([])
        for column in (
            images.path,
            images.width,
            images.height,
            images.split,
            images.attributes,
            images.extra,
        ):
            column.append(None)  # type: ignore[attr-defined]
        images.shapes.append(())
    places = np.array([at[_id_text(value)] for value in unique], np.int64)
    return _Loaded(file, entry, origin, places, made, columns=columns)


def _id_text(value: int | str | float) -> str:
    """An id as text, as results are joined by; programs that hold ids as floats write 7.0."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _annotations(
    item: _Loaded, intake: Intake, listed: bool, unstated: frozenset[str]
) -> an.Annotations:
    key = "" if listed else "annotations"
    columns = item.columns
    if columns is None:
        columns = read_records(item.file, key, ANNOTATION_KEYS, intake, PARSE)
    if listed:
        item.categories = _categories_by_id(columns, intake)
    pointer = f"/{key}" if key else ""
    return prepare(
        item.file,
        item.origin,
        columns,
        IdIndex(item.ids),
        item.rows,
        item.categories,
        intake,
        pointer,
        listed,
        unstated,
    )


def _categories_by_id(columns: Columns, intake: Intake) -> CategoryRows:
    out = CategoryRows()
    known: dict[str, int] = {}
    for value in dict.fromkeys(columns.get("category_id").tolist()):
        if value is UNSET or value is None:
            continue
        name = _id_text(value)
        if name not in known:
            known[name] = intake.add_category(rows.Category(name, source_id=name))
        out.ids.append(value)
        out.rows.append(known[name])
    return out


def _results_of(path: Path, loaded: list[_Loaded], intake: Intake) -> an.Annotations:
    """A result list on top of its ground truth."""
    file = JsonFile.open(path, path.name, intake.findings)
    if "" not in file.spans:
        raise FormatError(path, "a result file is a list of detections")
    columns = read_records(file, "", ANNOTATION_KEYS, intake, PARSE)
    first = next((it for it in loaded if it.categories.ids), loaded[0])
    origin = len(intake.sources)
    intake.source(path.name, "coco", options={"results": True})
    ids = np.concatenate([it.ids.astype(object) for it in loaded])
    at = np.concatenate([it.rows for it in loaded])
    return prepare(file, origin, columns, IdIndex(ids), at, first.categories, intake, "", True)


def _note_source(item: _Loaded, intake: Intake) -> None:
    source = intake.sources[item.origin]
    top: dict[str, Any] = {}
    for key in item.file.spans:
        if key not in TOP:
            top[key] = json.loads(item.file.raw(key) or b"null")
    source.top = {"keys": list(item.file.spans), "values": top}
    source.categories = [list(r) for r in item.categories.records]


@dataclass
class _Sorted:
    """Records of a file in sample order, and where each sample's begin."""

    annotations: an.Annotations
    order: Array
    bounds: Array


def _sorted(a: an.Annotations, samples: int) -> _Sorted:
    order = np.argsort(a.sample, kind="stable")
    order = order[a.sample[order] >= 0]
    return _Sorted(a, order, np.searchsorted(a.sample[order], np.arange(samples + 1)))


def _parts(
    images: Images, layers: dict[str, list[an.Annotations]], intake: Intake
) -> Iterator[Incoming]:
    n = len(images)
    files = {name: [_sorted(a, n) for a in listed] for name, listed in layers.items()}
    load = np.zeros(n + 1, np.int64)
    for listed in files.values():
        for s in listed:
            load += s.bounds
    cuts = _cuts(n, load)

    def build(cut: tuple[int, int]) -> Incoming:
        start, stop = cut
        out = {}
        for name, listed in files.items():
            pieces = []
            for s in listed:
                at = s.order[s.bounds[start] : s.bounds[stop]]
                if len(at):
                    table = an.table_of(s.annotations, at, start, intake)
                    pieces.append(with_joined(table, s.annotations, at, start, intake))
            if pieces:
                out[name] = concat(pieces, tables.ANNOTATIONS)
        return Incoming(images.table(start, stop, intake), out)

    # One after the other: threads would wait for each other's hold of the interpreter.
    yield from map(build, cuts)


def _cuts(n: int, load: Array) -> list[tuple[int, int]]:
    """Stretches of samples that hold about one part each."""
    cuts, start = [], 0
    while start < n:
        by_load = int(np.searchsorted(load, load[start] + PART_ANNOTATIONS, side="right")) - 1
        stop = max(start + 1, min(n, start + PART_SAMPLES, by_load))
        cuts.append((start, stop))
        start = stop
    return cuts
