"""Manifests of pairs: their lines as columns, whatever they are written as."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._csv import CsvFile, first_record
from granum.loaders._json_files import decode_record
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

_AT_ONCE = 65_536
_LOOKED_AT = 1000

Names = Mapping[str, tuple[str, ...]]


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
    """Names of the columns: the header, or the keys of the first object; empty where there is
    none. Never raises."""
    try:
        if path.suffix == ".csv":
            return first_record(path)
        with path.open("rb") as file:
            for _ in range(_LOOKED_AT):
                line = file.readline(1 << 20)
                found = _object(line)
                if found or not line:
                    return list(found or ())
    except OSError:
        pass
    return []


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _names(header: Sequence[str]) -> tuple[Names, tuple[str, str] | None]:
    """For each of our columns those that it is taken from, of which the first that is there counts;
    and the roles where columns are called by them.

    Raises:
        ValueError: there are no paths.
    """
    own: dict[str, tuple[str, ...]] = {n: (n,) for n in COLUMNS}
    roles = [n.removesuffix("_path") for n in header if n.endswith("_path") and n != "_path"]
    if "path1" not in header and len(roles) != 2:
        raise ValueError("neither path1 and path2, nor two columns ROLE_path")
    for side in (1, 2):
        at, role = str(side), "" if "path1" in header else f"{roles[side - 1]}_"

        def of(name: str, role: str = role, at: str = at) -> str:
            return role + name if role else name + at

        own[f"path{side}"] = (of("path"),)
        for name in ("x", "y"):
            own[f"{name}{side}"] = (of(name), name)
        for name in ("width", "height"):
            own[f"{name}{side}"] = (of(name), of("size"), name, "size")
    return own, None if "path1" in header else (roles[0], roles[1])


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
    used = {n for listed in names.values() for n in listed}
    if path.suffix == ".csv":
        yield from _csv_lines(path, name, names, roles, used, intake)
    else:
        yield from _json_lines(path, name, names, roles, used, intake)


def _csv_lines(
    path: Path,
    name: str,
    names: Names,
    roles: tuple[str, str] | None,
    used: set[str],
    intake: Intake,
) -> Iterator[Lines]:
    source = CsvFile(path, name)
    types = _types(source.header, names)
    further = [n for n in source.header if n not in used]
    for block in source.blocks(types, intake):
        count = block.table.num_rows
        made = {}
        for ours, listed in names.items():
            there = [block.table[n] for n in listed if n in source.header]
            if there:
                made[ours] = pc.coalesce(*there)
        if "attributes" in made:
            made["attributes"] = _objects(made["attributes"], name, block.line, intake)
        elif further:
            rows = block.table.select(further).to_pylist()
            texts = [{k: v for k, v in row.items() if v is not None} for row in rows]
            made["attributes"] = pa.array(
                [json.dumps(t, ensure_ascii=False) if t else None for t in texts], _TEXT
            )
        yield Lines(_full(made, count, roles))


def _types(header: Sequence[str], names: Names) -> dict[str, pa.DataType]:
    known = {theirs: COLUMNS[ours] for ours, listed in names.items() for theirs in listed}
    return {n: known.get(n, _TEXT) for n in header}


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
    names: Names,
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
            cut = not line.endswith(b"\n")
            record = decode_record(line, name, f"line {number}", intake, cut)
            found = None if record is None else _record(record, names, name, number, intake)
            if record is None or found is None:
                continue
            for ours in values:
                values[ours].append(found.get(ours))
            texts.append(_attributes(record, used))
            numbers.append(number)
            if len(numbers) >= _AT_ONCE:
                yield gathered()
    yield gathered()


def _record(
    line: Mapping[str, Any], names: Names, name: str, number: int, intake: Intake
) -> dict[str, Any] | None:
    """Our columns of a line, each of its type; None where one is not."""
    found: dict[str, Any] = {}
    for ours, listed in names.items():
        theirs = next((n for n in listed if line.get(n) is not None), None)
        if theirs is None or ours == "attributes":
            continue
        value = line[theirs]
        if COLUMNS[ours] == _TEXT:
            # Labels and ids are often numbers; 1 and "1" mean the same here.
            good = isinstance(value, str) or type(value) in (int, bool)
            found[ours] = value if isinstance(value, str) else json.dumps(value)
        else:
            good = type(value) in (int, float) and abs(value) < 2**63
            found[ours] = float(value) if good else None
        if not good:
            intake.fault("bad-value", name, f"line {number}", f"{theirs} is {value!r}")
            if intake.on_error != "fix":
                return None
            found[ours] = None
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
