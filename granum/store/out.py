"""Atomic output: a folder or file that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from granum.errors import ExistsError, FormatError

__all__ = ["Out", "atomic_output", "safe_relative"]


def safe_relative(name: str, where: str | Path) -> PurePosixPath:
    """``name`` as a relative path that stays below its root.

    Raises:
        FormatError: it is absolute or climbs out of its root.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise FormatError(where, f"the path {name!r} leaves its folder")
    return path


class Out:
    """What a writer writes to: relative names in, one file per name.

    ``single`` is set where the user named a file (``out.json``): the writer then writes one
    file, through ``file(out.single)``. ``embed`` is set where images are wanted, for formats that
    put them into their own files.
    """

    def __init__(self, root: Path, single: str | None) -> None:
        self.root, self.single = root, single
        self.embed = False
        self._written: set[str] = set()
        self._folders: set[Path] = set()

    def path(self, name: str | PurePosixPath) -> Path:
        """A path to write ``name`` at; its folder exists.

        Raises:
            FormatError: the name leaves the output folder, or was written before.
        """
        relative = str(safe_relative(str(name), self.root))
        if relative in self._written:
            raise FormatError(relative, "two samples would be written to this one file")
        self._written.add(relative)
        path = self.root / relative
        if path.parent not in self._folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(path.parent)
        return path

    def text(self, name: str | PurePosixPath, content: str) -> None:
        """Write UTF-8 text with ``\\n`` line ends."""
        self.bytes(name, content.encode())

    def bytes(self, name: str | PurePosixPath, content: bytes) -> None:
        path = self.path(name)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
        finally:
            os.close(handle)

    def open(self, name: str | PurePosixPath) -> IO[Any]:
        """A binary file to write ``name`` to."""
        return self.path(name).open("wb")

    def __contains__(self, name: str) -> bool:
        return str(PurePosixPath(name)) in self._written


@contextmanager
def atomic_output(target: str | Path, *, overwrite: bool = False, single: bool) -> Iterator[Out]:
    """An ``Out`` beside ``target`` that is renamed to it when the block ends well.

    Args:
        target: the folder to make, or the file where ``single``.
        overwrite: replace what is there.
        single: ``target`` is one file.

    Raises:
        ExistsError: ``target`` exists and ``overwrite`` is false.
    """
    target = Path(target)
    taken = target.exists() and not (not single and target.is_dir() and not any(target.iterdir()))
    if taken and not overwrite:
        raise ExistsError(f"{target} exists; --overwrite replaces it")
    if target.is_dir() and single:
        raise ExistsError(f"{target} is a folder; name a file, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    draft.mkdir()
    try:
        yield Out(draft, target.name if single else None)
        made = draft / target.name if single else draft
        if target.is_dir() or (target.exists() and not single):
            aside = target.parent / f".{target.name}.old-{secrets.token_hex(4)}"
            target.rename(aside)
            made.rename(target)
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
        else:
            made.replace(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
