"""NEVIS streams: which datasets follow each other, from the benchmark's source or from JSON."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from granum.errors import FormatError, UsageError
from granum.loaders._json_files import load_json
from granum.loaders._paths import is_file

__all__ = ["Task", "find_stream", "read_stream"]

FILES = ("nevis_stream.py", "stream.json")
MAX_BYTES = 1 << 22


@dataclass(frozen=True)
class Task:
    """A task of a stream.

    Attributes:
        number: its place, from 0.
        year: in which it is used.
        name: of the dataset, as the stream has it.
        store: the folder of its store; None where it is not one of these (TFDS).
    """

    number: int
    year: int
    name: str
    store: str | None

    def facts(self) -> dict[str, Any]:
        return {"task": self.number, "year": self.year, "name": self.name}


def find_stream(root: Path) -> Path | None:
    """The file of a stream in a folder."""
    return next((root / n for n in FILES if is_file(root / n)), None)


def read_stream(path: Path, variant: str) -> list[Task]:
    """The tasks in order.

    Raises:
        FormatError: the file is absent, or is no stream.
        UsageError: it has no such variant.
    """
    if path.suffix == ".py":
        streams, sources = _parsed(path)
        listed = _chosen(streams, variant, path)
    else:
        found, sources = load_json(path, path.name), None
        if not isinstance(found, dict):
            raise FormatError(path.name, "no object of years")
        several = all(isinstance(v, dict) for v in found.values()) and found
        listed = _chosen(found, variant, path) if several else found
    tasks: list[Task] = []
    for year, names in sorted(_years(listed, path)):
        for name in names:
            store = name if sources is None else sources.get(name)
            tasks.append(Task(len(tasks), year, name, store))
    return tasks


def _chosen(streams: Mapping[str, Any], variant: str, path: Path) -> Any:
    if variant not in streams:
        known = ", ".join(sorted(streams)) or "none"
        raise UsageError(f"{path.name} has no stream {variant!r}; it has: {known}")
    return streams[variant]


def _years(listed: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    if not isinstance(listed, dict):
        raise FormatError(path.name, "a stream that is no object of years")
    for year, names in listed.items():
        if not (isinstance(year, int) or (isinstance(year, str) and year.isdecimal())):
            raise FormatError(path.name, f"{year!r} is no year")
        if not isinstance(names, list | tuple) or not all(isinstance(n, str) for n in names):
            raise FormatError(path.name, f"{year}: no list of names")
        yield int(year), list(names)


def _parsed(path: Path) -> tuple[dict[str, Any], dict[str, str | None]]:
    """The tables of the benchmark's source, which is parsed and never run: the streams by name,
    and for each dataset its store."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        module = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormatError(path.name, f"no source that can be parsed: {error}") from error
    tables: dict[str, ast.Dict] = {}
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        value = getattr(node, "value", None)
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and isinstance(value, ast.Dict):
            tables[targets[0].id] = value
    streams, sources = (tables.get(n) for n in ("NEVIS_STREAM_PER_YEAR", "DATASET_NAME_TO_SOURCE"))
    if streams is None or sources is None:
        raise FormatError(path.name, "no NEVIS_STREAM_PER_YEAR or no DATASET_NAME_TO_SOURCE")
    return _streams(streams, path), _sources(sources, path)


def _streams(table: ast.Dict, path: Path) -> dict[str, Any]:
    out = {}
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Attribute):
            try:
                out[key.attr] = ast.literal_eval(value)
            except (ValueError, TypeError, RecursionError) as error:
                place = f"line {value.lineno}"
                raise FormatError(
                    path.name, f"a stream that is no literal: {error}", place
                ) from error
    return out


def _sources(table: ast.Dict, path: Path) -> dict[str, str | None]:
    out: dict[str, str | None] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        if not (
            isinstance(key, ast.Constant)
            and isinstance(key.value, str)
            and isinstance(value, ast.Call)
            and isinstance(value.func, ast.Name)
            and len(value.args) == 1
            and isinstance(value.args[0], ast.Constant)
        ):
            raise FormatError(path.name, "a source that is no call", f"line {value.lineno}")
        store = str(value.args[0].value) if value.func.id == "NevisSource" else None
        out[key.value] = store
    return out
