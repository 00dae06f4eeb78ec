"""Files and folders that are no dataset, and ways to damage one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["CORRUPTIONS", "junk"]

Make = Callable[[Path], Path]


def junk() -> dict[str, tuple[Make, bool]]:
    """By name: a function that makes it below a folder, and whether a format might claim it."""

    def file(name: str, content: bytes) -> Make:
        def make(folder: Path) -> Path:
            path = folder / name
            path.write_bytes(content)
            return path

        return make

    def inside(name: str, content: bytes) -> Make:
        def make(folder: Path) -> Path:
            root = folder / "data"
            path = root / name
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
            return root

        return make

    def empty(folder: Path) -> Path:
        (folder / "data").mkdir()
        return folder / "data"

    def broken_link(folder: Path) -> Path:
        root = empty(folder)
        (root / "annotations.json").symlink_to(folder / "nowhere")
        (root / "train").symlink_to(root)
        return root

    def strange_names(folder: Path) -> Path:
        root = empty(folder)
        for name in (b"\xff\xfe.json", b"n" * 200 + b".txt", b"-", b"line\nbreak.xml"):
            (root / name.decode("utf-8", "surrogateescape")).write_bytes(b"\0")
        return root

    random_bytes = random.Random(0).randbytes(2000)
    return {
        "empty folder": (empty, False),
        "nothing there": (lambda folder: folder / "absent", False),
        "huge name": (lambda folder: folder / ("n" * 300), False),
        "huge path": (lambda folder: folder / ("n/" * 3000), False),
        "NUL in the name": (lambda folder: folder / "a\0b", False),
        "binary file": (file("data.bin", random_bytes), False),
        "binary JSON": (file("data.json", random_bytes), False),
        "binary XML": (file("data.xml", random_bytes), False),
        "binary YAML": (file("data.yaml", random_bytes), False),
        "binary CSV": (file("data.csv", random_bytes), False),
        "empty file": (file("data.json", b""), False),
        "JSON null": (file("data.json", b"null"), False),
        "JSON list": (file("data.json", b"[]"), False),
        "deep JSON": (file("data.json", b"[" * 100_000), False),
        "deep objects": (file("data.json", b'{"images":' * 50_000), True),
        "deep YAML": (inside("data.yaml", b"[" * 5_000), False),
        "YAML list": (inside("data.yaml", b"- 1\n- 2\n"), False),
        "JSON of strangers": (inside("package.json", b'{"name": "x", "version": 1}'), False),
        "binary in folders": (inside("annotations/instances_val.json", random_bytes), True),
        "empty XML": (inside("Annotations/a.xml", b""), True),
        "text": (inside("README.txt", b"hello\n"), False),
        "broken links": (broken_link, False),
        "strange names": (strange_names, False),
    }


def _cut(content: bytes) -> Iterator[bytes]:
    for share in (0.0, 0.1, 0.5, 0.9):
        yield content[: int(len(content) * share)]
    yield content[:-1]


def _random(content: bytes) -> Iterator[bytes]:
    source = random.Random(1)
    yield source.randbytes(len(content) + 16)
    yield bytes(source.choice(b'{}[]":,<>/ \n0123456789.-eEaz') for _ in range(len(content) + 16))


def _flipped(content: bytes) -> Iterator[bytes]:
    source = random.Random(2)
    for _ in range(6):
        damaged = bytearray(content)
        for _ in range(1 + len(content) // 200):
            if damaged:
                damaged[source.randrange(len(damaged))] = source.randrange(256)
        yield bytes(damaged)


def _other_values(content: bytes) -> Iterator[bytes]:
    """Numbers and texts that are none, where the file is text."""
    digits = b"0123456789"
    spots = [i for i in range(1, len(content)) if content[i] in digits]
    source = random.Random(3)
    for value in (b"-", b"1e999", b"NaN", b"null", b'"x"', b"99999999999999999999", b"{}", b"\xff"):
        for at in source.sample(spots, min(3, len(spots))):
            end = at
            while end < len(content) and content[end] in digits:
                end += 1
            start = at
            while start > 0 and content[start - 1] in digits:
                start -= 1
            yield content[:start] + value + content[end:]


def _lines(content: bytes) -> Iterator[bytes]:
    """Lines left out, doubled, shortened."""
    lines = content.split(b"\n")
    if len(lines) < 2:
        return
    yield b"\n".join(lines[1:])
    yield b"\n".join([*lines, *lines])
    yield b"\n".join(line[: len(line) // 2] for line in lines)
    yield b"\r\n".join(lines)


CORRUPTIONS: dict[str, Callable[[bytes], Iterator[bytes | None]]] = {
    "cut off": _cut,
    "random": _random,
    "flipped bytes": _flipped,
    "other values": _other_values,
    "lines": _lines,
    "absent": lambda content: iter([None]),
}
"""By name: the damaged contents made of a file's content (None: the file is gone)."""
