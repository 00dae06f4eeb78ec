"""JSON files of small formats: loaded with errors that name the file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from granum.errors import FormatError
from granum.loaders._image_tree import files_of_splits
from granum.loaders._notes import FILE as OWN
from granum.loaders._paths import is_file
from granum.loaders.base import Intake
from granum.schema import rows

__all__ = [
    "bad_values",
    "decode_record",
    "entries",
    "file_name",
    "json_files",
    "load_json",
    "number",
    "numbers",
    "peek",
    "take_size",
]


def json_files(root: Path, limit: int = 10**7) -> list[Path]:
    """A file, or the JSON files of a folder, as ``files_of_splits``. Never raises."""
    return [root] if is_file(root) else files_of_splits(root, ".json", OWN, limit)


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
    text = text.removeprefix(b"\xef\xbb\xbf")
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


@contextmanager
def bad_values(intake: Intake, where: str, place: str, what: str = "") -> Iterator[None]:
    """Values that are found absent or none inside become a fault; ``what`` begins its message."""
    try:
        yield
    except KeyError as error:
        intake.fault("bad-value", where, place, f"{what}no {error}")
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        intake.fault("bad-value", where, place, f"{what}{error}")


def entries(
    record: Mapping[str, Any], key: str, intake: Intake, where: str, place: str = ""
) -> Iterator[tuple[str, Any]]:
    """What a list of a record holds, each with its place; nothing where the list is absent, and a
    fault where it is none."""
    found = record.get(key)
    if found is not None and not isinstance(found, list):
        intake.fault("bad-value", where, f"{place}/{key}", f"{key} is no list")
        return
    for i, one in enumerate(found or ()):
        yield f"{place}/{key}/{i}", one


def take_size(
    sample: rows.Sample,
    record: Mapping[str, Any],
    intake: Intake,
    where: str,
    place: str = "",
    keys: tuple[str, str] = ("width", "height"),
) -> None:
    """Give a sample the width and height that a record states; one that is none is a fault."""
    for column, key in zip(("width", "height"), keys, strict=True):
        value = record.get(key)
        if type(value) is int and 0 < value < 2**31:
            setattr(sample, column, value)
        elif value is not None:
            intake.fault("bad-value", where, f"{place}/{key}", f"{key} is {value!r}")


def numbers(values: Any, count: int | None = None) -> list[float]:
    """The finite numbers of a list.

    Raises:
        ValueError: it is none, or not of ``count``.
    """
    if not isinstance(values, list) or count not in (None, len(values)):
        raise ValueError(f"no list of {count or ''} numbers: {values!r:.60}")
    return [number({"value": v}, "value") for v in values]


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
