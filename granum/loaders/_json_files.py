"""JSON files of small formats: loaded with errors that name the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from granum.errors import FormatError
from granum.loaders._hf_files import known_split
from granum.loaders._notes import FILE as OWN
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders.base import Intake

__all__ = ["decode_record", "file_name", "json_files", "load_json", "number", "peek"]


def json_files(root: Path) -> list[Path]:
    """A file, or the JSON files in a folder, else those in its folders that are splits. Never
    raises."""
    if is_file(root):
        return [root]
    here = [root / n for n in names_in(root) if n.lower().endswith(".json") and n != OWN]
    folders = [f for f in folders_in(root) if known_split(f)]
    return here or [
        root / f / n for f in folders for n in names_in(root / f) if n.lower().endswith(".json")
    ]


def file_name(path: Path, root: Path) -> str:
    """What findings call a file below ``root``."""
    return path.name if root == path else path.relative_to(root).as_posix()


def load_json(path: Path, where: str) -> Any:
    """The value in a file.

    Args:
        path: the file.
        where: what errors call it.

    Raises:
        FormatError: it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse, parse_float=_float)
    except json.JSONDecodeError as error:
        raise FormatError(where, f"no JSON: {error.msg}", f"line {error.lineno}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(where, f"no JSON that can be read: {error}") from error


def decode_record(
    text: bytes, where: str, place: str | None, intake: Intake, cut: bool = False
) -> dict[str, Any] | None:
    """The object that a text is, of many in a file; None, with a fault, where it is none.

    Args:
        text: one JSON object.
        where, place: of the fault.
        intake: gets it.
        cut: nothing follows, so that what is no JSON may be cut off.
    """
    met: list[str] = []
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        try:
            found = json.loads(text, parse_constant=met.append)
            json.dumps(found, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            met.clear()
        if not met:
            code = "truncated-json" if cut else "bad-value"
            intake.fault(code, where, place, f"no JSON: {error}")
            return None
        intake.fault("nan-token", where, place, f"{met[0]} is no JSON number")
        if intake.on_error != "fix":
            return None
    if not isinstance(found, dict):
        intake.fault("bad-value", where, place, "no JSON object")
        return None
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text}, which JSON does not have")


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def peek(path: Path | None, *keys: str, size: int = 1 << 16) -> bool:
    """Whether the beginning of a file has all of ``keys`` in quotes. Never raises."""
    if path is None:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(size)
    except (OSError, ValueError):
        return False
    return head.lstrip()[:1] in (b"{", b"[") and all(f'"{k}"'.encode() in head for k in keys)


def number(record: Mapping[str, Any], key: str) -> float:
    """A finite number of a record.

    Raises:
        KeyError: it is absent.
        ValueError: it is none.
    """
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} is {value!r}, no number")
    return float(value)
