"""A small, safe XML reader: trees of elements that know their line, whole or as a stream.

Built on the standard library's expat. A file that declares entities in a DTD is refused (they
can grow without bound, or name other files); nothing outside the file is ever opened. What is
not well-formed raises ``FormatError`` with line and column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

from granum.errors import FormatError

__all__ = ["Element", "iter_xml", "parse_xml", "read_xml", "root_tag"]

MAX_DEPTH = 200
"""Elements within elements; deeper files are refused."""

CHUNK = 1 << 20
PROLOGUE = 8192


@dataclass(slots=True)
class Element:
    """An element. ``text`` is all character data directly inside it, as written; ``line`` is
    where its start tag begins, from 1."""

    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] | tuple[()] = ()

    def find(self, tag: str) -> Element | None:
        """The first child of this name."""
        for child in self.children:
            if child.tag == tag:
                return child
        return None

    def all(self, tag: str) -> list[Element]:
        """The children of this name, in order."""
        return [c for c in self.children if c.tag == tag]

    def value(self, tag: str) -> str | None:
        """The text of the first child of this name, without white space around it."""
        child = self.find(tag)
        return None if child is None else child.text.strip()


class _RefusedError(Exception):
    """The file is well-formed but not accepted."""


class _Builder:
    """Expat's handlers; the root is put to ``done`` when it ends."""

    def __init__(self) -> None:
        self.done: list[Element] = []
        self.open: list[Element] = []
        self.root: str | None = None
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text
        parser.EntityDeclHandler = self.entity
        parser.SkippedEntityHandler = self.skipped

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, attributes, self.parser.CurrentLineNumber)
        above = self.open
        if above:
            owner = above[-1]
            if owner.children:
                owner.children.append(element)
            else:
                owner.children = [element]
            if len(above) >= MAX_DEPTH:
                raise _RefusedError(f"elements nested more than {MAX_DEPTH} deep")
        else:
            self.root = tag
        above.append(element)

    def end(self, tag: str) -> None:
        element = self.open.pop()
        if not self.open:
            self.done.append(element)

    def text(self, data: str) -> None:
        self.open[-1].text += data

    def entity(self, name: str, *_: Any) -> None:
        raise _RefusedError(f"it declares the entity {name!r}; files with entities are not read")

    def skipped(self, name: str, is_parameter: bool) -> None:
        raise _RefusedError(f"the entity {name!r} is not defined")

    def feed(self, data: bytes, last: bool, path: str | Path) -> None:
        """Parse more bytes.

        Raises:
            FormatError: not well-formed, or refused; with line and column.
        """
        try:
            self.parser.Parse(data, last)
        except expat.ExpatError as error:
            place = f"line {error.lineno}, column {error.offset + 1}"
            reason = expat.errors.messages.get(error.code, str(error))
            raise FormatError(path, f"not well-formed XML: {reason}", place) from error
        except _RefusedError as error:
            raise FormatError(path, str(error), f"line {self.parser.CurrentLineNumber}") from error
        except (LookupError, ValueError) as error:
            raise FormatError(
                path, f"an encoding that cannot be read: {error}", "line 1"
            ) from error


class _Streaming(_Builder):
    """Puts elements of the names ``wanted`` to ``done`` when they end, and keeps nothing else."""

    def __init__(self, wanted: Collection[str]) -> None:
        super().__init__()
        self.wanted = wanted
        self.kept_from: int | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        super().start(tag, attributes)
        if self.kept_from is None:
            if len(self.open) > 1:
                self.open[-2].children = ()
            if tag in self.wanted:
                self.kept_from = len(self.open)

    def end(self, tag: str) -> None:
        if self.kept_from == len(self.open):
            self.done.append(self.open[-1])
            self.kept_from = None
        self.open.pop()

    def text(self, data: str) -> None:
        if self.kept_from is not None:
            super().text(data)


def parse_xml(content: bytes, path: str | Path) -> Element:
    """The root element of ``content``; ``path`` is for messages.

    Raises:
        FormatError: not well-formed XML, or one that declares entities.
    """
    builder = _Builder()
    builder.feed(content, True, path)
    return builder.done[0]


def read_xml(path: Path) -> Element:
    """The root element of a file.

    Raises:
        FormatError: it cannot be read, is not well-formed, or declares entities.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from error
    return parse_xml(content, path)


def iter_xml(path: Path, tags: Collection[str]) -> Iterator[Element]:
    """Elements named in ``tags`` one by one, each complete, wherever they stand; those inside
    another one of them come with it. Memory holds one chunk and the elements it completes.

    Raises:
        FormatError: as ``read_xml``, when the fault is reached.
    """
    builder = _Streaming(tags)
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                builder.feed(chunk, False, path)
                yield from builder.done
                builder.done.clear()
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from error
    builder.feed(b"", True, path)


def root_tag(path: Path) -> str | None:
    """The name of a file's root element, from its first bytes; None where there is none.

    Never raises: for sniffing.
    """
    builder = _Streaming(())
    try:
        with path.open("rb") as file:
            builder.feed(file.read(PROLOGUE), False, path)
    except (OSError, FormatError):
        pass
    return builder.root
