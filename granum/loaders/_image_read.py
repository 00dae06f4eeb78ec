"""Reading images in folders: class folders, and records of metadata files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from granum.errors import FormatError
from granum.loaders._columns import single
from granum.loaders._hf_columns import plain
from granum.loaders._hf_facts import CAPTIONS, Facts
from granum.loaders._hf_files import few_entries, known_split
from granum.loaders._hf_project import read_groups
from granum.loaders._hf_read import RecordReader, declared, locations
from granum.loaders._hf_samples import Further, Keys, flat_images, further, incoming, media_array
from granum.loaders._image_lists import label_table
from granum.loaders._image_tree import METADATA, OWN_FILE, Tree, classes_of, splits_of
from granum.loaders._metadata import is_media, read_metadata
from granum.loaders._tar import holds_archives
from granum.loaders.base import Intake
from granum.schema import tables
from granum.store.builder import Incoming
from granum.store.out import safe_relative

__all__ = ["Records", "own_facts", "read_folders", "sniff_metadata"]

Ints = npt.NDArray[np.int64]
AT_ONCE = 16_384
BEGINNING = b'{"version": 1, "export"'
"""How the notes of our own writer begin."""


def own_facts(root: Path, layout: str) -> Facts | None:
    """What our own writer noted, if it wrote this layout.

    Raises:
        FormatError: the notes are damaged.
    """
    path = root / OWN_FILE
    if not path.is_file():
        return None
    try:
        facts = Facts.from_json(path.read_bytes())
    except ValueError as error:
        raise FormatError(OWN_FILE, str(error)) from error
    return facts if facts.layout == layout else None


def sniff_metadata(root: Path) -> str | None:
    """Why a folder looks like one with metadata files, or None."""
    try:
        if not root.is_dir():
            return None
        if (root / OWN_FILE).is_file():
            with (root / OWN_FILE).open("rb") as file:
                if file.read(len(BEGINNING)) == BEGINNING:
                    return f"{OWN_FILE}: written by granum"
        below = [root / n for n in few_entries(root) if known_split(n)]
        for folder in (root, *(p for p in below if p.is_dir())):
            for name in METADATA:
                path = folder / name
                columns = _columns(path) if path.is_file() else []
                if {"file_name", "caption", "source"} <= {*columns} and holds_archives(root):
                    return None  # rows about images in archives
                if any(is_media(c) for c in columns):
                    where = path.relative_to(root).as_posix()
                    return f"{where} has a column of file names"
    except (OSError, ValueError, csv.Error):
        return None
    return None


def _columns(path: Path) -> list[str]:
    """The columns of a metadata file, by its first record."""
    if path.suffix == ".parquet":
        return [str(n) for n in pq.read_schema(path).names]
    with path.open("rb") as file:
        first = file.readline(1 << 20).decode("utf-8-sig")
    if path.suffix == ".csv":
        return next(csv.reader([first]), [])
    found = json.loads(first)
    return list(found) if isinstance(found, dict) else []


def read_folders(
    root: Path, tree: Tree, intake: Intake, *, labels: bool, name: str
) -> Iterator[Incoming]:
    """Images whose folders are their splits and classes (see ``image_folder``)."""
    facts = own_facts(root, "classes")
    splits = splits_of(tree) if facts is None else facts.splits
    if facts is None:
        names = classes_of(tree, splits) if labels else []
        category = {n: intake.category(n) for n in names}
    else:
        category = declared(facts, intake)
        category = category if labels else {}
    source = intake.source(root.name, name, options={"labels": labels})
    intake.locate = locations([root.name], ["image"])
    prefixed = facts is not None and facts.prefixed
    keys = Keys()
    for start in range(0, len(tree.images), AT_ONCE):
        paths = tree.images[start : start + AT_ONCE]
        given: list[str] = []
        of_split: list[str | None] = []
        at: list[int] = []
        classes: list[int] = []
        for i, path in enumerate(paths):
            first, _, rest = path.partition("/")
            split = splits.get(first) if rest else None
            rest = rest if split is not None else path
            which, _, below = rest.partition("/")
            if below and which in category:
                at.append(i)
                classes.append(category[which])
            else:
                below = rest
            of_split.append(split)
            given.append(keys.unique(below if prefixed else path))
        ordinals = np.arange(start, start + len(paths))
        yield incoming(
            intake,
            {
                "origins": single(np.full(len(paths), source), pa.int16()),
                "ordinal": single(ordinals, pa.int64()),
            },
            given,
            media_array(paths),
            of_split,
            label_table(at, classes, source, ordinals[at].tolist()),
            unit="pixel",
        )


@dataclass
class Records:
    """Reads the metadata files of a folder, and the images that none of them names."""

    root: Path
    tree: Tree
    intake: Intake
    bbox_format: str
    name: str
    facts: Facts | None = None
    splits: dict[str, str | None] = field(default_factory=dict)
    _images: frozenset[str] = frozenset()
    _used: set[str] = field(default_factory=set)
    _keys: Keys = field(default_factory=Keys)

    def read(self) -> Iterator[Incoming]:
        self.facts = facts = own_facts(self.root, "metadata")
        self.splits = splits_of(self.tree) if facts is None else {}
        category_rows = declared(facts, self.intake)
        if facts is not None:
            yield from read_groups(self.root, self.intake, ids=facts.ids)
        words = ["row" if f.endswith(".parquet") else "line" for f in self.tree.metadata]
        self.intake.locate = locations(self.tree.metadata, words)
        self._images = frozenset(self.tree.images)
        for file, word in zip(self._files(), words, strict=True):
            source = self.intake.source(file, self.name)
            reader = RecordReader(
                self.intake,
                file,
                source,
                word,
                facts=facts,
                bbox_format=self.bbox_format,
                category_rows=category_rows,
            )
            options: dict[str, Any] = {"bbox_format": self.bbox_format, "caption": None}
            for table, ordinals in read_metadata(self.root / file, file, self.intake, facts):
                options["caption"] = next(
                    (c for c in CAPTIONS if c in table.column_names), options["caption"]
                )
                yield from self._batch(file, table, ordinals, reader)
            self.intake.sources[source].options = options
        yield from self._unlisted()

    def _files(self) -> list[str]:
        """Metadata files, in the order in which our own writer wrote them."""
        if self.facts is None:
            return self.tree.metadata
        order = list(self.facts.splits)
        known = {f: str(PurePosixPath(f).parent).removeprefix(".") for f in self.tree.metadata}
        files = sorted(known, key=lambda f: order.index(known[f]) if known[f] in order else 0)
        self.tree.metadata[:] = files  # places are named by number
        return files

    def _batch(
        self, file: str, table: pa.Table, ordinals: Ints, reader: RecordReader
    ) -> Iterator[Incoming]:
        folder = str(PurePosixPath(file).parent)
        media = [c for c in table.column_names if is_media(c)]
        main = next((c for c in (*sorted(media, key=len),) if not c.endswith("s")), media[0])
        if "file_name" in media:
            main = "file_name"
        place = f"{reader.word} "
        named = {c: self._resolved(table[c], c, folder, file, place, ordinals) for c in media}
        first = [p[0] if p else None for p in named[main]]
        named[main] = [p[1:] for p in named[main]]
        keys = self._wanted_keys(table, first)
        keep = np.zeros(len(first), bool)
        given: list[str] = []
        for i, (path, key) in enumerate(zip(first, keys, strict=True)):
            if path is None or key is None:
                continue
            if self._keys.taken(key):
                self.intake.fault(
                    "duplicate-key", file, f"{place}{ordinals[i]}", f"{key!r} is named before"
                )
                if self.intake.on_error != "fix":
                    continue
            keep[i] = True
            given.append(self._keys.unique(key))
        at = np.flatnonzero(keep)
        if not len(at):
            return
        table, ordinals = table.take(pa.array(at)), ordinals[at]
        reader.media = frozenset(media)
        samples, annotations = reader.read(table, ordinals)
        samples.pop("key", None)
        paths = [first[i] for i in at.tolist()]
        yield incoming(
            self.intake,
            samples,
            given,
            media_array(paths),
            [self._split(p, folder) for p in paths],
            annotations,
            unit=reader.unit,
            beside=self._further(named, at),
            taken=self._keys,
        )

    def _wanted_keys(self, table: pa.Table, paths: Sequence[str | None]) -> list[str | None]:
        own = self.facts is not None and self.facts.samples.get("key") == "key"
        if not own or "key" not in table.column_names:
            return list(paths)
        return [None if k is None else str(k) for k in plain(table["key"]).to_pylist()]

    def _resolved(
        self,
        column: pa.ChunkedArray,
        name: str,
        folder: str,
        file: str,
        place: str,
        ordinals: Ints,
    ) -> list[list[str]]:
        """Per record the paths of its images, relative to the root; faulty ones are left out."""
        out: list[list[str]] = []
        for values, ordinal in zip(plain(column).to_pylist(), ordinals.tolist(), strict=True):
            paths = []
            for value in values if isinstance(values, list) else [values]:
                path = self._path(value, folder)
                where = f"{place}{ordinal}"
                if path is None:
                    if value is None and name != "file_name":
                        continue
                    code = "missing-key" if value in (None, "") else "bad-value"
                    what = (
                        "is absent" if value is None else f"is {value!r}, no path below the folder"
                    )
                    self.intake.fault(code, file, where, f"{name!r} {what}")
                    continue
                self._used.add(path)
                if path not in self._images and not (self.root / path).is_file():
                    self.intake.fault("file-missing", file, where, f"{path!r} is absent")
                paths.append(path)
            out.append(paths)
        return out

    def _path(self, value: Any, folder: str) -> str | None:
        if not isinstance(value, str) or not value or "\0" in value:
            return None
        try:
            path = safe_relative(value, self.root)
        except FormatError:
            return None
        return (PurePosixPath(folder) / path).as_posix()

    def _split(self, path: str | None, folder: str) -> str | None:
        if self.facts is not None:
            return self.facts.splits.get("" if folder == "." else folder)
        first = (path or "").partition("/")[0]
        return self.splits.get(first)

    def _further(self, named: dict[str, list[list[str]]], at: Ints) -> list[Further]:
        out = []
        for column, paths in named.items():
            role = column.removesuffix("_file_names").removesuffix("_file_name")
            role = "image" if role in ("file_name", "file_names") else role
            mine = [paths[i] for i in at.tolist()]
            array = pa.array(mine, pa.list_(pa.string()))
            if not column.endswith("s"):
                array = pa.array([p[0] if p else None for p in mine], pa.string())
            flat, records, order = flat_images(array)
            out += further(role, media_array(flat), records, order)
        return out

    def _unlisted(self) -> Iterator[Incoming]:
        """Images that no record names, as samples without annotations."""
        paths = [p for p in self.tree.images if p not in self._used]
        for path in paths:
            self.intake.fault("unlisted-image", path, None, "no metadata file names it")
        folders = {str(PurePosixPath(f).parent) for f in self.tree.metadata}
        for start in range(0, len(paths), AT_ONCE):
            block = paths[start : start + AT_ONCE]
            yield incoming(
                self.intake,
                {},
                [self._keys.unique(p) for p in block],
                media_array(block),
                [self._split(p, _nearest(p, folders)) for p in block],
                tables.empty(tables.ANNOTATIONS),
                unit="pixel",
            )


def _nearest(path: str, folders: set[str]) -> str:
    """The nearest folder above a path that has a metadata file."""
    return next((str(p) for p in PurePosixPath(path).parents if str(p) in folders), ".")
