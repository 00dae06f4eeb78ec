"""Text of small formats: files read whole, with errors that name them, and colours."""

from __future__ import annotations

from pathlib import Path

from granum.errors import FormatError

__all__ = ["hex_colour", "read_text"]


def hex_colour(text: object) -> list[int] | None:
    """Red, green and blue of ``#rrggbb``; None where it is no such text."""
    try:
        found = list(bytes.fromhex(str(text).removeprefix("#")))
    except ValueError:
        return None
    return found if len(found) == 3 else None


def read_text(path: Path, where: str | Path) -> str:
    """What a file of UTF-8 holds, without a byte order mark.

    Args:
        path: the file.
        where: what errors call it.

    Raises:
        FormatError: it is absent, cannot be read or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(where, f"cannot be read: {error}") from error
