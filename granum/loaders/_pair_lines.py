"""Manifests of pairs: their lines as columns, whatever they are written as."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._csv import CsvFile, first_record
from granum.loaders.base import Intake
from granum.schema.findings import Findings, OnError

__all__ = ["COLUMNS", "MANIFESTS", "Lines", "columns_of", "csv_lines", "lines_of", "manifest_of"]

MANIFESTS = ("pairs.jsonl", "pairs.csv")

_TEXT, _NUMBER = pa.string(), pa.float64()
_SIDE = {"path": _TEXT, "role": _TEXT, **dict.fromkeys(("x", "y", "width", "height"), _NUMBER)}
COLUMNS: dict[str, pa.DataType] = {
    "id": _TEXT,
    "split": _TEXT,
    "label": _TEXT,
    "score": _NUMBER,
    **{f"{name}{side}": kind for side in (1, 2) for name, kind in _SIDE.items()},
    "attributes": _TEXT,
}
"""What a line may say, by type; ``attributes`` is an object of JSON."""

_SHARED = ("x", "y", "width", "height", "size")
_AT_ONCE = 65_536


@dataclass(frozen=True)
class Lines:
    """Lines of a manifest.

    Attributes:
        table: of ``COLUMNS``.
        numbers: of the lines in the file, from 1; None where ``csv_lines`` finds them.
    """

    table: pa.Table
    numbers: list[int] | None = None


def manifest_of(root: Path) -> Path | None:
    """The manifest of a folder, or the file itself. Never raises."""
    try:
        if root.is_file():
            return root if root.suffix in (".csv", ".jsonl") else None
        return next((root / n for n in MANIFESTS if (root / n).is_file()), None)
    except (OSError, ValueError):
        return None


def columns_of(path: Path) -> list[str]:
    """Names of the columns by the first line; empty where it has none. Never raises."""
    try:
        if path.suffix == ".csv":
            return first_record(path)
        with path.open("rb") as file:
            found = json.loads(file.readline(1 << 20))
        return list(found) if isinstance(found, dict) else []
    except (OSError, ValueError, RecursionError):
        return []


def _names(header: Sequence[str]) -> tuple[dict[str, str], tuple[str, str] | None]:
    """For each of our columns that of the file which it is taken from, and the roles where columns
    are called by them.

    Raises:
        ValueError: there are no paths.
    """
    own = {n: n for n in COLUMNS if n in header}
    if "path1" in own:
        return own, None
    roles = [n.removesuffix("_path") for n in header if n.endswith("_path") and n != "_path"]
    if len(roles) != 2:
        raise ValueError("neither path1 and path2, nor two columns ROLE_path")
    for side, role in enumerate(roles, 1):
        own[f"path{side}"] = f"{role}_path"
        for name in _SHARED[:4]:
            size = (f"{role}_size", "size") if name in ("width", "height") else ()
            found = [n for n in (f"{role}_{name}", name, *size) if n in header]
            if found:
                own[f"{name}{side}"] = found[0]
    return own, (roles[0], roles[1])


def lines_of(path: Path, name: str, intake: Intake) -> Iterator[Lines]:
    """The lines of a manifest; those that are none are faults and left out.

    Raises:
        FormatError: it names no paths.
    """
    header = columns_of(path)
    try:
        names, roles = _names(header)
    except ValueError as error:
        raise FormatError(name, str(error), "line 1") from error
    used = {*names.values()}
    if path.suffix == ".csv":
        yield from _csv_lines(path, name, names, roles, used, intake)
    else:
        yield from _json_lines(path, name, names, roles, used, intake)


def _csv_lines(
    path: Path,
    name: str,
    names: Mapping[str, str],
    roles: tuple[str, str] | None,
    used: set[str],
    intake: Intake,
) -> Iterator[Lines]:
    source = CsvFile(path, name)
    types = _types(source.header, names)
    further = [n for n in source.header if n not in used]
    for block in source.blocks(types, intake):
        count = block.table.num_rows
        made = {ours: block.table[theirs] for ours, theirs in names.items()}
        if "attributes" in made:
            made["attributes"] = _objects(made["attributes"], name, block.line, intake)
        elif further:
            rows = block.table.select(further).to_pylist()
            texts = [{k: v for k, v in row.items() if v is not None} for row in rows]
            made["attributes"] = pa.array(
                [json.dumps(t, ensure_ascii=False) if t else None for t in texts], _TEXT
            )
        yield Lines(_full(made, count, roles))


def _types(header: Sequence[str], names: Mapping[str, str]) -> dict[str, pa.DataType]:
    return {**dict.fromkeys(header, _TEXT), **{t: COLUMNS[o] for o, t in names.items()}}


def csv_lines(path: Path, name: str, rows: Sequence[int], on_error: OnError) -> list[int]:
    """The lines of rows of a CSV file, given in ascending order; reads it once more.

    ``on_error`` is that of the first reading, so that the same rows are left out.
    """
    source, found = CsvFile(path, name), list[int]()
    names, _ = _names(source.header)
    before = 0
    for block in source.blocks(_types(source.header, names), Intake(Findings(on_error))):
        after = before + block.table.num_rows
        found += [block.line(r - before) for r in rows if before <= r < after]
        before = after
    return found


def _objects(
    texts: pa.ChunkedArray, name: str, line: Callable[[int], int], intake: Intake
) -> pa.Array:
    """Texts that are objects of JSON; others are faults and left out."""
    out: list[str | None] = []
    for i, text in enumerate(texts.to_pylist()):
        try:
            good = text is None or isinstance(json.loads(text), dict)
        except (ValueError, RecursionError):
            good = False
        if not good:
            intake.fault("bad-value", name, f"line {line(i)}", f"attributes: no object: {text!r}")
        out.append(text if good else None)
    return pa.array(out, _TEXT)


def _json_lines(
    path: Path,
    name: str,
    names: Mapping[str, str],
    roles: tuple[str, str] | None,
    used: set[str],
    intake: Intake,
) -> Iterator[Lines]:
    values: dict[str, list[Any]] = {n: [] for n in names if n != "attributes"}
    texts: list[str | None] = []
    numbers: list[int] = []

    def gathered() -> Lines:
        made: dict[str, Any] = {n: pa.array(v, COLUMNS[n]) for n, v in values.items()}
        made["attributes"] = pa.array(texts, _TEXT)
        lines = Lines(_full(made, len(numbers), roles), list(numbers))
        for listed in (*values.values(), texts, numbers):
            listed.clear()
        return lines

    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            record = _record(line, names, name, number, intake)
            if record is None:
                continue
            for ours, theirs in names.items():
                if ours != "attributes":
                    values[ours].append(record.get(theirs))
            texts.append(_attributes(record, used))
            numbers.append(number)
            if len(numbers) >= _AT_ONCE:
                yield gathered()
    yield gathered()


def _record(
    line: bytes, names: Mapping[str, str], name: str, number: int, intake: Intake
) -> dict[str, Any] | None:
    """A line as an object whose values are of their types; None where it is none."""
    place = f"line {number}"
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        intake.fault("bad-value", name, place, f"no JSON: {error}")
        return None
    if not isinstance(found, dict):
        intake.fault("bad-value", name, place, "no object")
        return None
    for ours, theirs in names.items():
        value = found.get(theirs)
        if value is None or ours == "attributes":
            continue
        if COLUMNS[ours] == _TEXT:
            # Labels and ids are often numbers; 1 and "1" mean the same here.
            good = isinstance(value, str) or type(value) in (int, bool)
            found[theirs] = value if isinstance(value, str) else json.dumps(value)
        else:
            good = type(value) in (int, float) and abs(value) < 2**63
            found[theirs] = float(value) if good else None
        if not good:
            intake.fault("bad-value", name, place, f"{theirs} is {value!r}")
            if intake.on_error != "fix":
                return None
            found[theirs] = None
    return found


def _attributes(record: Mapping[str, Any], used: set[str]) -> str | None:
    own = record.get("attributes")
    more = {k: v for k, v in record.items() if k not in used and k != "attributes"}
    if isinstance(own, dict):
        more = {**own, **more}
    elif own is not None:
        more["attributes"] = own
    elif not more:
        return None
    return json.dumps(more, ensure_ascii=False)


def _full(made: Mapping[str, Any], count: int, roles: tuple[str, str] | None) -> pa.Table:
    """With all columns."""
    full = {n: made.get(n, pa.nulls(count, kind)) for n, kind in COLUMNS.items()}
    for side, role in enumerate(roles or (), 1):
        full[f"role{side}"] = pa.array([role] * count, _TEXT)
    return pa.table(full)
