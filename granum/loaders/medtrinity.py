"""MedTrinity-25M: a caption for each of 25 million medical images, and where the image is from.

::

    25M_full/train-00000-of-00120.parquet …    file_name, caption, source; or metadata.jsonl
    25M_accessible/shard_0.tar.zst …           images in nested folders; .tar, .tar.gz as well
    images/…/a.jpg                             or images in folders

An image belongs to the row of its BASE name, wherever it lies. A caption is an annotation,
``source`` and further scalar columns are attributes. The release has no column of regions: the
boxes are drawn into the pixels, and nothing here invents any; the caption tells place and size.

The metadata are streamed, a batch of rows at a time, and images in folders are referred to. Images
in archives are embedded: archives are gone through one after the other, each image takes its row
along, and rows whose image has not come follow at the end. Held of all rows are 64 bits of the name
and the row's number. Images that no row names, and rows whose image is not there, are counted
findings; where there is no image at all, as in ``25M_full`` alone, there are none. There is no
split. (``25M_demo``, with its images in Parquet, is for ``hf``.)

Spec: https://github.com/UCSC-VLAA/MedTrinity-25M
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._med_metadata import (
    NEEDED,
    Metadata,
    columns_of,
    metadata_files,
)
from granum.loaders._paths import folders_in, names_in
from granum.loaders._tar import holds_archives, is_tar, members
from granum.loaders.base import Format, Intake, formats
from granum.schema import tables
from granum.store.builder import Incoming

__all__ = ["MedTrinity"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
IMAGES_AT_ONCE = 256
BYTES_AT_ONCE = 1 << 26


@formats("medtrinity")
class MedTrinity(Format):
    """Reads metadata and images."""

    name = "medtrinity"
    title = "MedTrinity-25M"
    spec = "https://github.com/UCSC-VLAA/MedTrinity-25M"
    keeps = frozenset({"sample", "caption", "text", "attributes"})

    def sniff(self, root: Path) -> str | None:
        if root.suffix == ".parquet" and _is_metadata(root):
            return f"{root.name}: file_name, caption and source"
        for folder in (root, *(root / f for f in folders_in(root, 50))):
            for name in names_in(folder, 50):
                path = folder / name
                if name.startswith("metadata."):
                    fits = path.suffix in (".parquet", ".jsonl") and holds_archives(root)
                else:
                    fits = path.suffix == ".parquet"
                if fits and _is_metadata(path):
                    return f"{name}: file_name, caption and source"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[Incoming]:
        """Read a file of metadata, or a folder.

        Raises:
            FormatError: there are no metadata, or they cannot be read.
        """
        files = metadata_files(root)
        folder = root if root.is_dir() else root.parent
        if not files:
            raise FormatError(root, "no Parquet or JSON lines with file_name, caption and source")
        intake.media_root = intake.images or folder
        named = [(p, p.relative_to(folder).as_posix()) for p in files]
        for _, name in named:
            intake.source(name, self.name)
        images = root if root.is_dir() else None
        yield from _Join(Metadata(named, intake), intake.images or images, intake).read()


def _is_metadata(path: Path) -> bool:
    found = {*columns_of(path)}
    return found >= NEEDED and "image" not in found


def _base(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


class _Names:
    """Numbers by name: 64 bits of each name, sorted, and the numbers."""

    def __init__(self, hashes: Ints) -> None:
        self.numbers = np.argsort(hashes, kind="stable")
        self.hashes = hashes[self.numbers]

    def find(self, name: str) -> Ints:
        """The numbers that a name may have, ascending."""
        key = np.int64(hash(name))
        first, last = np.searchsorted(self.hashes, key), np.searchsorted(self.hashes, key, "right")
        return self.numbers[first:last]

    def shared(self) -> Mask:
        """For each number, whether another one may have its name."""
        same = np.concatenate([[False], self.hashes[1:] == self.hashes[:-1], [False]])
        out = np.zeros(len(self.numbers), bool)
        out[self.numbers] = same[1:] | same[:-1]
        return out


class _Join:
    """Brings rows and images together."""

    def __init__(self, metadata: Metadata, images: Path | None, intake: Intake) -> None:
        self.metadata, self.root, self.intake = metadata, images or Path(), intake
        shards, paths = ([], []) if images is None else _walk(images)
        self.shards = shards
        self.paths = pa.array(paths, pa.large_string())
        self.beside = _Names(np.array([hash(_base(p)) for p in paths], np.int64))
        self.used = np.zeros(len(paths), bool)
        rows = int(metadata.starts[-1])
        self.met = np.zeros(rows, bool)
        hashes = np.zeros(rows, np.int64)
        for start, table in metadata.batches(["file_name"]):
            listed = [0 if n is None else hash(_base(n)) for n in table["file_name"].to_pylist()]
            hashes[start : start + len(listed)] = listed
        self.rows = _Names(hashes)
        self.shared = self.rows.shared()
        self.keys: dict[str, int] = {}

    def read(self) -> Iterator[Incoming]:
        for shard in self.shards:
            yield from self._shard(shard)
        for start, table in self.metadata.batches():
            left = np.flatnonzero(~self.met[start : start + table.num_rows])
            if len(left):
                part = table.take(pa.array(left))
                found = self._paths(part, start + left)
                yield from self._incoming(part, start + left, found, None)
        unused = np.flatnonzero(~self.used)
        for i in unused[:3].tolist():
            message = f"no row has its name ({len(unused)} such images)"
            self.intake.fault("unlisted-image", self.paths[i].as_py(), None, message)
        if len(unused) > 3:
            path = self.paths[int(unused[3])].as_py()
            count = len(unused) - 3
            self.intake.findings.add("unlisted-image", path, None, "no row has its name", count)

    # ------------------------------------------------------------------ archives

    def _shard(self, path: Path) -> Iterator[Incoming]:
        """Rows of the images of an archive."""
        where = path.relative_to(self.root).as_posix()
        waiting: dict[int, tuple[str, bytes]] = {}
        size = 0
        for member in members(path, where, self.intake, is_image):
            if member.data is None:
                continue
            base = _base(member.name)
            found = self.rows.find(base)
            if not len(found):
                self.intake.fault("unlisted-image", where, member.name, "no row has its name")
            elif self.met[found].all():
                message = "a second image of this name"
                self.intake.fault("conflicting-records", where, member.name, message)
            for row in found[~self.met[found]].tolist():
                self.met[row] = True
                waiting[row] = (member.name, member.data)
                size += len(member.data)
            if len(waiting) >= IMAGES_AT_ONCE or size >= BYTES_AT_ONCE:
                yield from self._embedded(waiting, where)
                waiting, size = {}, 0
        if waiting:
            yield from self._embedded(waiting, where)

    def _embedded(self, waiting: dict[int, tuple[str, bytes]], where: str) -> Iterator[Incoming]:
        numbers = np.array(sorted(waiting), np.int64)
        table = self.metadata.take(numbers)
        listed = [waiting[row] for row in numbers.tolist()]
        paths: list[str | None] = [f"{where}/{name}" for name, _ in listed]
        yield from self._incoming(table, numbers, paths, [data for _, data in listed])

    # ------------------------------------------------------------------ folders

    def _paths(self, table: pa.Table, numbers: Ints) -> list[str | None]:
        """Where the image of each row lies."""
        out: list[str | None] = []
        absent: list[int] = []
        for row, name in zip(numbers.tolist(), table["file_name"].to_pylist(), strict=True):
            base = None if name is None else _base(name)
            found = [] if base is None else self._named(base)
            out.append(self.paths[found[0]].as_py() if found else None)
            self.used[found] = True
            if len(found) > 1:
                others = self.paths[found[1]].as_py()
                message = f"{out[-1]} and {others} have this name; the first is taken"
                self.intake.fault("conflicting-records", *self.metadata.place(row), message)
            elif not found and base is not None:
                absent.append(row)
        if absent and (len(self.paths) or self.shards):
            place = self.metadata.place(absent[0])
            message = f"{len(absent)} of {len(numbers)} rows from here have no image"
            self.intake.findings.add("missing-image", *place, message, len(absent))
        return out

    def _named(self, base: str) -> list[int]:
        found: list[int] = self.beside.find(base).tolist()
        return [i for i in found if _base(self.paths[i].as_py()) == base]

    # ------------------------------------------------------------------ batches

    def _incoming(
        self,
        table: pa.Table,
        numbers: Ints,
        paths: Sequence[str | None],
        data: Sequence[bytes] | None,
    ) -> Iterator[Incoming]:
        """The samples of rows, and their captions."""
        named = np.asarray(table["file_name"].is_valid())
        for row in numbers[~named].tolist():
            if not self.metadata.told(row):
                place = self.metadata.place(row)
                self.intake.fault("missing-key", *place, "a row without file_name")
        if not named.any():
            return
        kept = np.flatnonzero(named)
        table, numbers = table.take(pa.array(kept)), numbers[kept]
        path = pa.array([paths[i] for i in kept.tolist()], pa.string())
        held = None if data is None else [data[i] for i in kept.tolist()]
        content = pa.array(held, pa.binary()) if held else pa.nulls(len(kept), pa.binary())
        media = pa.StructArray.from_arrays(
            [path, content], ["path", "bytes"], mask=pc.and_(path.is_null(), content.is_null())
        )
        kind = tables.SAMPLES.field("media_kind").type
        columns = {
            "key": pa.array(self._keys(table["file_name"].to_pylist(), numbers)),
            "media": media,
            "media_kind": _constant("image", len(kept), kind),
        }
        if "id" in table.column_names:
            columns["source_id"] = table["id"].cast(pa.string())
        for name in table.column_names:
            if name not in ("file_name", "caption", "id") and table[name].null_count < len(table):
                columns[f"attr.{name}"] = _typed(table[name])
        caption = table["caption"]
        at = np.flatnonzero(np.asarray(caption.is_valid()))
        captions = pa.table(
            {
                "sample": pa.array(at),
                "kind": _constant("caption", len(at), tables.ANNOTATIONS.field("kind").type),
                "text": caption.take(pa.array(at)),
            }
        )
        yield Incoming(pa.table(columns), {tables.DEFAULT_LAYER: captions})

    def _keys(self, names: Sequence[str], numbers: Ints) -> list[str]:
        """Keys of rows: the names, with ``#2`` where one comes again."""
        out = []
        for name, row in zip(names, numbers.tolist(), strict=True):
            if not self.shared[row]:
                out.append(name)
                continue
            count = self.keys[name] = self.keys.get(name, 0) + 1
            if count > 1:
                message = f"a second row has the name {name!r}"
                self.intake.fault("duplicate-key", *self.metadata.place(row), message)
            out.append(name if count == 1 else f"{name}#{count}")
        return out


def _typed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values in one of the types that attributes have."""
    if pa.types.is_string(values.type):
        return values.dictionary_encode().cast(tables.SAMPLES.field("split").type)
    if pa.types.is_boolean(values.type):
        return values
    return values.cast(pa.int64() if pa.types.is_integer(values.type) else pa.float64())


def _constant(text: str, n: int, kind: pa.DataType) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), [text]).cast(kind)


def _walk(root: Path) -> tuple[list[Path], list[str]]:
    """Archives, and relative paths of images, below a folder, sorted."""
    shards, images = [], []
    for folder, below, files in os.walk(root):
        below[:] = sorted(n for n in below if not n.startswith("."))
        relative = Path(folder).relative_to(root).as_posix()
        before = "" if relative == "." else f"{relative}/"
        shards += [Path(folder) / n for n in sorted(files) if is_tar(n)]
        images += [before + n for n in sorted(files) if is_image(n)]
    return shards, images
