"""Columns of images: embedded bytes, or paths of files below the folder of the images."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.loaders._hf_columns import children, plain
from granum.loaders._hf_samples import Further, flat_images, further, media_array
from granum.loaders.base import Intake
from granum.loaders.reading import ImageFinder

__all__ = ["ImageColumns"]

Ints = npt.NDArray[np.int64]


class ImageColumns:
    """Reads the images of records; a path that leaves the folder of images is a fault."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.finder = None if intake.images is None else ImageFinder(intake.images)
        self.root = (intake.media_root or Path()).resolve().as_posix()

    def of(
        self, table: pa.Table, columns: list[str], name: str, ordinals: Ints
    ) -> tuple[pa.StructArray, list[Further]]:
        """The main image of each record, and the further ones.

        Args:
            table: records.
            columns: columns of images, the main one first; of its lists the first image counts.
            name: the file, as faults name it.
            ordinals: the row of each record.
        """
        flat, at, order = flat_images(plain(table[columns[0]]))
        main = self._media(flat, name, ordinals[at])
        beside: list[Further] = []
        if order is not None:
            first = np.full(table.num_rows, -1)
            first[at[order == 0]] = np.flatnonzero(order == 0)
            rest = order > 0
            beside = further(columns[0], main.filter(pa.array(rest)), at[rest], order[rest])
            main = main.take(pa.array(first, mask=first < 0))
        for column in columns[1:]:
            flat, at, order = flat_images(plain(table[column]))
            beside += further(column, self._media(flat, name, ordinals[at]), at, order)
        return main, beside

    def _media(self, array: pa.Array, name: str, rows: Ints) -> pa.StructArray:
        if pa.types.is_string(array.type):
            paths, data = array, None
        else:
            found = children(array)
            paths, data = found["path"].cast(pa.string()), found["bytes"].cast(pa.binary())
        embedded = np.zeros(len(paths), bool) if data is None else np.asarray(data.is_valid())
        out: list[str | None] = []
        for path, here, row in zip(paths.to_pylist(), embedded, rows, strict=True):
            inside = path if here or path is None else self._inside(path)
            if inside is None and path is not None:
                message = f"{path!r} is not below {self.root}; name the folder of the images"
                self.intake.fault("file-missing", name, f"row {row}", message)
            out.append(inside)
        return media_array(out, data)

    def _inside(self, path: str) -> str | None:
        """A path relative to the root of images, or None where it leaves it."""
        if self.finder is not None:
            found = self.finder.find(PurePosixPath(path).name if path.startswith("/") else path)
            if found is not None:
                return found
        if path and path[0] not in "/." and not any(s in path for s in ("..", "//", "\0")):
            return path
        given = PurePosixPath(path.removeprefix(f"{self.root}/"))
        wild = given.is_absolute() or ".." in given.parts or "://" in path or "\0" in path
        return None if wild or not given.parts else given.as_posix()
