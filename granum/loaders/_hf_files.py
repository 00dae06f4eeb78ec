"""Which files a dataset of the `datasets` library is made of, and their tables, part by part."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from granum.errors import FormatError
from granum.loaders._hf_facts import (
    HF_KEY,
    OWN_KEY,
    Facts,
    features_of,
    image_columns,
)
from granum.store.out import safe_relative

__all__ = ["OWN_FOLDER", "SPLITS", "Shard", "known_split", "shards", "sniff_hf"]

OWN_FOLDER = "granum"
"""Folder of the tables that have no place among the records."""

SPLITS = (
    *("train", "training", "trainval", "val", "valid", "validation", "dev", "minival"),
    *("test", "testing", "test-dev", "testdev", "eval", "evaluation"),
)
"""Names of splits, in the order in which they are read."""

BYTES_AT_ONCE = 32 << 20
ENTRIES = 20_000
SHARDED = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?")
NUMBERED = re.compile(r"(?P<split>[A-Za-z-]+?)[-_.]?\d*")


def known_split(name: str) -> bool:
    """Whether a folder or file of this name is a split."""
    return name.lower() in SPLITS


def few_entries(folder: Path) -> list[str]:
    """Names in a folder, sorted; of a big one only the first that the system names."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in islice(entries, ENTRIES) if not e.name.startswith("."))


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of records.

    Attributes:
        path: where it is.
        name: its path relative to the dataset.
        stream: an Arrow stream instead of Parquet.
        part: the split that its name tells, or None.
        schema: of its table, with metadata.
        facts: what our own writer noted in it.
    """

    path: Path
    name: str
    stream: bool
    part: str | None
    schema: pa.Schema
    facts: Facts | None

    @property
    def split(self) -> str | None:
        if self.facts is not None and self.part in self.facts.splits:
            return self.facts.splits[self.part]
        return self.part

    def tables(self) -> Iterator[tuple[int, pa.Table]]:
        """Row of the first record, and records; memory stays bounded.

        Raises:
            FormatError: the file is damaged.
        """
        start = 0
        try:
            for batch in self._batches():
                if batch.num_rows:
                    yield start, pa.Table.from_batches([batch])
                start += batch.num_rows
        except (pa.ArrowInvalid, OSError) as error:
            raise FormatError(self.name, f"cannot be read: {error}", f"row {start}") from error

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self.stream:
            with pa.memory_map(str(self.path)) as source:
                yield from pa.ipc.open_stream(source)
            return
        with pq.ParquetFile(self.path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            size = sum(g.total_byte_size for g in groups) / max(file.metadata.num_rows, 1)
            rows = min(max(int(BYTES_AT_ONCE / max(size, 1)), 16), 16_384)
            yield from file.iter_batches(batch_size=rows)


def _schema(path: Path, name: str, stream: bool) -> pa.Schema:
    try:
        if stream:
            with pa.memory_map(str(path)) as source:
                return pa.ipc.open_stream(source).schema
        return pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        what = "Arrow stream" if stream else "Parquet file"
        raise FormatError(name, f"no {what} that can be read: {error}") from error


def _shard(path: Path, root: Path, part: str | None) -> Shard:
    name = path.relative_to(root).as_posix() if path != root else path.name
    stream = path.suffix == ".arrow"
    schema = _schema(path, name, stream)
    text = (schema.metadata or {}).get(OWN_KEY)
    try:
        facts = None if text is None else Facts.from_json(text)
    except ValueError as error:
        raise FormatError(name, str(error), "schema metadata 'granum'") from error
    return Shard(path, name, stream, part, schema, facts)


def shards(root: Path) -> list[Shard]:
    """The files of a dataset, in the order of splits.

    Raises:
        FormatError: there are none, one cannot be read, or they are of two exports.
    """
    if root.is_file():
        return [_shard(root, root, part_of(PurePosixPath(root.name)))]
    if (root / "dataset_dict.json").is_file():
        listed = _json(root / "dataset_dict.json", root).get("splits")
        if not isinstance(listed, list) or not all(isinstance(s, str) for s in listed):
            raise FormatError("dataset_dict.json", "it names no splits", "/splits")
        found = [
            _shard(p, root, split)
            for split in listed
            for p in _saved(root / safe_relative(split, "dataset_dict.json"), root)
        ]
    elif (root / "state.json").is_file():
        found = [_shard(p, root, None) for p in _saved(root, root)]
    else:
        files = sorted(p for p in root.rglob("*.parquet") if _counts(p.relative_to(root)))
        found = [_shard(p, root, part_of(p.relative_to(root))) for p in files]
    if not found:
        raise FormatError(root, "no Parquet files, and nothing saved by save_to_disk")
    exports = {s.facts.export for s in found if s.facts is not None}
    if len(exports) > 1 or (exports and not all(s.facts for s in found)):
        raise FormatError(
            root, "files of two exports in one folder; read each by itself and merge them"
        )
    facts = found[0].facts
    if facts is not None:
        order = list(facts.splits)
        return sorted(found, key=lambda s: order.index(s.part or "") if s.part in order else 0)
    return sorted(found, key=lambda s: _order(s.part)) if not _is_saved(root) else found


def _is_saved(root: Path) -> bool:
    return (root / "dataset_dict.json").is_file()


def _order(part: str | None) -> tuple[int, str]:
    name = part or ""
    return (SPLITS.index(name) if name in SPLITS else len(SPLITS), name)


def _counts(path: PurePosixPath | Path) -> bool:
    """Whether a file below the root is one of the records'."""
    hidden = any(p.startswith(".") for p in path.parts)
    return not hidden and path.parts[0] != OWN_FOLDER and path.name != "metadata.parquet"


def part_of(path: PurePosixPath | Path) -> str | None:
    """The split that a file name or its folder tells."""
    stem = path.name.rpartition(".")[0]
    if found := SHARDED.fullmatch(stem):
        if found["split"] != "data" or len(path.parts) < 2:
            return found["split"]
    elif (found := NUMBERED.fullmatch(stem)) and known_split(found["split"]):
        return found["split"]
    folder = path.parent.name.removeprefix("partial-")
    return folder if known_split(folder) else None


def _json(path: Path, root: Path) -> dict[str, Any]:
    name = path.relative_to(root).as_posix()
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise FormatError(name, "the file is absent") from error
    except ValueError as error:
        raise FormatError(name, f"no JSON: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(name, "no JSON object")
    return found


def _saved(folder: Path, root: Path) -> list[Path]:
    """The files of one dataset saved to disk."""
    state = folder / "state.json"
    name = state.relative_to(root).as_posix()
    listed = _json(state, root).get("_data_files")
    try:
        names = [f["filename"] for f in listed or []]
    except (TypeError, KeyError) as error:
        raise FormatError(name, "files without a name", "/_data_files") from error
    found = [folder / safe_relative(str(n), name) for n in names]
    for path in found:
        if not path.is_file():
            raise FormatError(path.relative_to(root), "the file is absent")
    return found


def sniff_hf(root: Path) -> str | None:
    """Why a path looks like a dataset with images of the `datasets` library, or None."""
    try:
        if root.is_file():
            return _sniff_file(root) if root.suffix in (".parquet", ".arrow") else None
        for name, other in (("dataset_dict.json", None), ("state.json", "dataset_info.json")):
            if (root / name).is_file() and (other is None or (root / other).is_file()):
                return f"{name}: saved by save_to_disk"
        for folder in ("", "data", *_few_folders(root)):
            if not (root / folder).is_dir():
                continue
            for name in few_entries(root / folder):
                if name.endswith(".parquet") and _counts(PurePosixPath(name)):
                    return _sniff_file(root / folder / name)
    except (OSError, ValueError):  # a FormatError is one, and so is a name that cannot be
        return None
    return None


def _few_folders(root: Path) -> list[str]:
    """Up to 16 folders of splits and of configurations, two deep."""
    out = []
    for name in (n for n in few_entries(root) if n != OWN_FOLDER and (root / n).is_dir()):
        out += [name, *(f"{name}/{s}" for s in SPLITS if (root / name / s).is_dir())]
        if len(out) >= 16:
            break
    return out


def _sniff_file(path: Path) -> str | None:
    schema = _schema(path, path.name, path.suffix == ".arrow")
    if path.name == "metadata.parquet" or {"segments_info", "image_info"} <= {*schema.names}:
        return None  # those of segments are panoptic
    if {"file_name", "caption", "source"} <= {*schema.names} and "image" not in schema.names:
        return None  # rows about images that lie elsewhere
    images = image_columns(schema, features_of(schema))
    typed = [n for n in images if not pa.types.is_string(schema.field(n).type)]
    if typed:
        return f"{path.name} has a column of images, {typed[0]!r}"
    if images and HF_KEY in (schema.metadata or {}):
        return f"{path.name} has features and a column {images[0]!r}"
    return None
