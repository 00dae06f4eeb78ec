"""Tar archives, plain or compressed, a member at a time; what is damaged is told.

Names are kept inside of the tree: absolute ones and those with ``..`` are faults, as are members
that are neither files nor folders. Nothing is ever extracted to disk.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._paths import folders_in, names_in
from granum.loaders.base import Intake
from granum.store.out import safe_relative

__all__ = ["SUFFIXES", "Member", "TarWriter", "holds_archives", "is_tar", "members", "stem_of"]

_CODECS = {".tar": None, ".tar.gz": "gzip", ".tgz": "gzip", ".tar.bz2": "bz2", ".tar.zst": "zstd"}
SUFFIXES = tuple(_CODECS)
MAX_BYTES = 1 << 31
"""A member that claims more is passed over."""

_DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, pa.ArrowInvalid)


def is_tar(name: str) -> bool:
    """Whether a file name is that of an archive."""
    return name.lower().endswith(SUFFIXES)


def holds_archives(root: Path) -> bool:
    """Whether archives lie in a folder, or in one of its folders. Never raises."""
    return any(is_tar(n) for f in ("", *folders_in(root, 50)) for n in names_in(root / f))


def stem_of(name: str) -> str:
    """A name without the suffix of an archive."""
    suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


@dataclass(slots=True)
class Member:
    """A file of an archive: its name, relative with ``/``; what is in it, None where nobody
    asked; and the byte of the (decompressed) archive where its header begins."""

    name: str
    data: bytes | None
    offset: int


class _Header(tarfile.TarInfo):
    """A header; a damaged one that is not the first is an error, where ``tarfile`` stops."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> Any:  # the name is that of the library
        try:
            return super().fromtarfile(tarfile)
        except _EndHeader:
            raise
        except _HeaderError as error:
            raise _DamagedError(str(error) or "a damaged header") from error


_HeaderError: Any = tarfile.HeaderError
_EndHeader: Any = getattr(tarfile, "EOFHeaderError")  # noqa: B009  (typeshed lacks it)


class _DamagedError(Exception):
    """Not one of the errors that ``tarfile`` takes for the end."""


def members(
    path: Path,
    where: str,
    intake: Intake | None,
    wanted: Callable[[str], bool] | None = None,
) -> Iterator[Member]:
    """The files of an archive, in order.

    Args:
        path: the archive.
        where: what faults call it.
        intake: gets the faults; None: an end for whatever reason is one.
        wanted: whose content is read; of all, where None.

    Damage ends the reading, with a fault that tells the byte.
    """
    offset = 0
    try:
        with (
            _stream(path) as stream,
            tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive,
        ):
            for header in archive:
                offset = header.offset
                setattr(archive, "members", [])  # noqa: B010  (it would keep all of them)
                name = _name(header, where, intake)
                if name is None:
                    continue
                data = None
                if wanted is None or wanted(name):
                    content = archive.extractfile(header)
                    data = b"" if content is None else content.read()
                    if len(data) != header.size:
                        raise _DamagedError(f"{name!r} is cut off")
                yield Member(name, data, offset)
    except (*_DAMAGE, _DamagedError) as error:
        if intake is not None:
            message = f"the archive is damaged: {error}"
            intake.fault("broken-archive", where, f"after byte {offset}", message)


def _name(header: tarfile.TarInfo, where: str, intake: Intake | None) -> str | None:
    """The name of a file that is to be read."""
    place = f"byte {header.offset}"

    def fault(code: str, message: str) -> None:
        if intake is not None:
            intake.fault(code, where, place, f"{header.name!r}: {message}")

    if header.isdir():
        return None
    if not header.isreg():
        fault("file-not-read", "a member that is no plain file")
        return None
    if header.size > MAX_BYTES:
        fault("bad-value", f"claims {header.size} bytes; refused")
        return None
    try:
        header.name.encode()
        name = PurePosixPath(safe_relative(header.name, where)).as_posix()
    except (FormatError, UnicodeEncodeError):
        fault("bad-value", "a name that leaves the tree or is no text")
        return None
    if "\0" in name:
        fault("bad-value", "a name with NUL")
        return None
    return name


def _stream(path: Path) -> IO[bytes]:
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), ".tar")
    codec = _CODECS[suffix]
    if codec is None:
        return path.open("rb")
    raw: Any = pa.input_stream(str(path), compression=codec)
    return io.BufferedReader(raw, 1 << 16)


class TarWriter:
    """Writes an archive whose bytes depend on names and contents only."""

    def __init__(self, file: IO[bytes]) -> None:
        self._archive = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self.size = 0

    def add(self, name: str, data: bytes) -> None:
        header = tarfile.TarInfo(name)
        header.size, header.mode, header.mtime = len(data), 0o644, 0
        self._archive.addfile(header, io.BytesIO(data))
        self.size += 512 + -(-len(data) // 512) * 512

    def close(self) -> None:
        self._archive.close()
