"""A store on disk: a folder of Arrow files and numbered manifests.

A manifest names every file that counts; it is created exclusively and last, and the highest
number wins, so a killed writer leaves the old state. File names carry a random token, so no
writer ever touches a file that a manifest names. Adding a layer, a column or a view writes new
files and a new manifest, nothing else.
"""

from __future__ import annotations

import copy
import hashlib
import json
import mmap
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from granum.errors import ConflictError, SchemaVersionError, StoreError, UsageError
from granum.schema import tables

__all__ = ["MANIFEST", "Store", "fingerprint_of", "is_store", "read_arrow", "write_arrow"]

MANIFEST = re.compile(r"manifest-(\d{6,})\.json$")
FOLDERS = ("samples", "layers", "columns", "views", "tables")

Manifest = dict[str, Any]


def is_store(path: str | Path) -> bool:
    """Whether ``path`` is a folder with a manifest."""
    folder = Path(path)
    return folder.is_dir() and any(MANIFEST.match(p.name) for p in folder.iterdir())


def is_unfinished(path: Path) -> bool:
    """Whether ``path`` holds only what a killed import leaves: our folders, no manifest."""
    if not path.is_dir():
        return False
    return all(
        p.name in FOLDERS or p.name.startswith(".manifest") for p in path.iterdir()
    ) and not is_store(path)


def checked_name(name: str, what: str) -> str:
    """``name`` of a layer, column or view, which becomes part of a path.

    Raises:
        UsageError: it is empty, too long, begins with a dot, or holds a slash.
    """
    if not name or name.startswith(".") or set(name) & set("/\\\0") or len(name.encode()) > 200:
        raise UsageError(f"{name[:50]!r} cannot be the name of a {what}")
    return name


def fingerprint_of(value: Any) -> str:
    """A short digest of anything JSON can hold."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def write_arrow(path: Path, table: pa.Table, *, sync: bool = True) -> dict[str, Any]:
    """Write one Arrow IPC file of one record batch; returns its rows and fingerprint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = table.unify_dictionaries().combine_chunks()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with path.open("rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            digest = hashlib.sha256(content).hexdigest()[:32]
        if sync:
            os.fsync(file.fileno())
    return {"rows": table.num_rows, "fingerprint": digest}


def read_arrow(path: Path) -> pa.Table:
    """A memory-mapped table.

    Raises:
        StoreError: the file is missing or no Arrow file.
    """
    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except FileNotFoundError as error:
        raise StoreError(f"{path} is named by the manifest but missing") from error
    except pa.ArrowInvalid as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def sync_folder(path: Path) -> None:
    """Make new names in ``path`` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Store:
    """One state of a store: its folder and the manifest that was newest when it was opened.

    Args:
        path: the folder.
        manifest: its content.
        number: its number.
    """

    def __init__(self, path: Path, manifest: Manifest, number: int) -> None:
        self.path, self.manifest, self.number = path, manifest, number

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """The newest state.

        Raises:
            StoreError: no store there, or an unfinished one.
            SchemaVersionError: it was written by a newer granum.
        """
        folder = Path(path)
        numbers = cls._numbers(folder) if folder.is_dir() else []
        if not numbers:
            if folder.is_dir() and is_unfinished(folder) and any(folder.iterdir()):
                raise StoreError(
                    f"{folder} is an unfinished store: its import was interrupted. Run it again."
                )
            raise StoreError(f"{folder} is no granum store (it has no manifest-NNNNNN.json)")
        number = numbers[-1]
        file = folder / f"manifest-{number:06d}.json"
        try:
            manifest = json.loads(file.read_bytes())
            version = int(manifest["granum_schema"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{file} is damaged: {error}") from error
        if version > tables.VERSION:
            raise SchemaVersionError(
                f"{folder} has schema version {version}; this granum reads up to "
                f"{tables.VERSION}. Upgrade it: pip install --upgrade granum"
            )
        return cls(folder, manifest, number)

    @staticmethod
    def _numbers(folder: Path) -> list[int]:
        found = (MANIFEST.match(p.name) for p in folder.iterdir())
        return sorted(int(m.group(1)) for m in found if m)

    @staticmethod
    def token() -> str:
        """A part of file names that no other writer uses."""
        return secrets.token_hex(4)

    def read(self, entry: dict[str, Any]) -> pa.Table:
        """The table of a file that the manifest names."""
        return read_arrow(self.path / entry["file"])

    def files(self) -> Iterator[str]:
        """Names of all files of this state, relative to the folder."""
        yield from _files(self.manifest)

    def commit(self, change: Callable[[Manifest], None], *, adds: bool = True) -> Store:
        """Write the next manifest, with ``change`` applied to a copy of this one.

        Where another writer took the number, the newest manifest is reread and ``change``
        applied to that, if both only add (``adds``); ``change`` raises ``ConflictError`` itself
        for a name that is taken.

        Raises:
            ConflictError: the other writer replaced what this change stands on.
        """
        base = self
        while True:
            manifest = copy.deepcopy(base.manifest)
            change(manifest)
            manifest["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            number = base.number + 1
            if publish(self.path, manifest, number):
                return Store(self.path, manifest, number)
            newest = Store.open(self.path)
            if not adds or newest.manifest["content"] != self.manifest["content"]:
                raise ConflictError(
                    f"{self.path} was changed by another writer (manifest {newest.number}) "
                    f"since it was opened (manifest {self.number}); open it again"
                )
            base = newest

    def gc(
        self, *, keep: int | None = None, older_than: float = 3600.0, dry_run: bool = False
    ) -> list[str]:
        """Remove files that no manifest names; returns their names.

        Args:
            keep: how many of the newest manifests stay (all, where None).
            older_than: seconds; younger files may belong to a writer at work and stay.
            dry_run: only list.
        """
        numbers = self._numbers(self.path)
        stay = numbers if keep is None else numbers[-max(keep, 1) :]
        named: set[str] = set()
        for number in stay:
            file = self.path / f"manifest-{number:06d}.json"
            named |= {file.name, *_files(json.loads(file.read_bytes()))}
        limit = time.time() - older_than
        removed = []
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path).as_posix()
            ours = name.startswith((*(f"{f}/" for f in FOLDERS), ".manifest")) or MANIFEST.match(
                name
            )
            if not ours or name in named or not file.is_file() or file.stat().st_mtime > limit:
                continue
            removed.append(name)
            if not dry_run:
                file.unlink()
        return removed


def publish(folder: Path, manifest: Manifest, number: int) -> bool:
    """Create manifest ``number`` exclusively and completely; False where it exists."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"manifest-{number:06d}.json"
    draft = folder / f".manifest-{Store.token()}"
    try:
        with draft.open("w", encoding="utf-8") as file:
            json.dump(manifest, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, final)  # atomic, and fails where the name is taken
        except FileExistsError:
            return False
        sync_folder(folder)
        return True
    finally:
        draft.unlink(missing_ok=True)


def _files(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "file" and isinstance(item, str):
                yield item
            else:
                yield from _files(item)
    elif isinstance(value, list):
        for item in value:
            yield from _files(item)
