"""PASCAL VOC: names as they stand in lists and in file names, and back, exactly."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import unquote

from granum.loaders.base import image_name
from granum.store.media import IMAGE_SUFFIXES

__all__ = [
    "FILE",
    "LINE",
    "file_name",
    "is_text",
    "set_name",
    "spelled",
    "split_of",
    "stem",
    "stems",
]

_CONTROL = re.compile(r"[\x00-\x1f]")


class _Codec:
    """Names in files: characters that would break the file become ``%XX``.

    A text is decoded only where it is exactly what ``encode`` gives, so that names of other
    tools that happen to hold a ``%`` stay as they are.
    """

    def __init__(self, special: str) -> None:
        self._search = re.compile(special).search
        self._every = re.compile(f"%|{special}")

    def _full(self, name: str) -> str:
        return self._every.sub(lambda m: spelled(m[0]), name)

    def encode(self, name: str) -> str:
        if self._search(name) or self.decode(name) != name:
            return self._full(name)
        return name

    def decode(self, text: str) -> str:
        if "%" not in text:
            return text
        name = unquote(text)
        return name if text in (self._full(name), spelled(name)) else text


def is_text(name: str) -> bool:
    """Whether a file name is Unicode (a file system may hold any bytes)."""
    return name.isascii() or not any("\ud800" <= c <= "\udfff" for c in name)


def spelled(name: str) -> str:
    """``name`` with every byte as ``%XX``."""
    return "".join(f"%{byte:02X}" for byte in name.encode())


LINE = _Codec(r"[\x00-\x1f\x7f\x85\u2028\u2029]|^[\s#\"]|\s\Z")
FILE = _Codec(r"[/\\\x00-\x1f]")

_RESERVED: dict[str | None, str] = {
    None: "default", "": "%", "%": spelled("%"), "default": spelled("default")
}  # fmt: skip
_MEANT = {v: k for k, v in _RESERVED.items()}


def set_name(split: str | None) -> str:
    """The file name (without ``.txt``) of the list of a split."""
    return _RESERVED[split] if split in _RESERVED else FILE.encode(str(split))


def split_of(raw: str) -> str | None:
    return _MEANT[raw] if raw in _MEANT else FILE.decode(raw)


def stem(name: str) -> str:
    """A file name without its image suffix."""
    head, dot, tail = name.rpartition(".")
    return head if dot and f".{tail.lower()}" in IMAGE_SUFFIXES and head[-1:] not in "/" else name


def file_name(key: str) -> str:
    """Where an image of this key goes in ``JPEGImages``; control characters as ``%XX``."""
    return _CONTROL.sub(lambda m: spelled(m[0]), image_name(key))


def stems(names: Iterable[str]) -> list[str]:
    """The names of label files, without suffix: the stems of the images, or their full names
    where two images share a stem."""
    listed = list(names)
    plain = [stem(n) for n in listed]
    count, taken, out = Counter(plain), set[str](), []
    for name, short in zip(listed, plain, strict=True):
        base = chosen = short if count[short] == 1 else name
        n = 2
        while chosen in taken or (chosen != short and chosen in count):
            chosen, n = f"{base}~{n}", n + 1
        taken.add(chosen)
        out.append(chosen)
    return out
