"""Reading the label files of a YOLO tree, some thousand at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders.base import Intake
from granum.loaders.yolo import arrays
from granum.loaders.yolo.config import Config
from granum.loaders.yolo.kinds import Kind, decide
from granum.loaders.yolo.layout import Items
from granum.loaders.yolo.parse import Floats, Ints, Lines, Mask, ragged, tokenize
from granum.schema import rows, tables
from granum.store.builder import Incoming

__all__ = ["Classes", "Reader", "read_text"]

SLACK = 0.01
"""How far a coordinate may leave 0..1 unremarked; trainers tolerate as much."""

FILES, BYTES = 8192, 8 << 20
LOOKED_AT = 256
MOST_CLASSES = 1 << 16


def read_text(path: Path) -> bytes:
    """A label file as it is.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            pieces = []
            while piece := os.read(handle, 1 << 18):
                pieces.append(piece)
        finally:
            os.close(handle)
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from error
    return b"".join(pieces)


class Classes:
    """Class ids of the tree as rows of the categories."""

    def __init__(self, config: Config, intake: Intake) -> None:
        self.config, self.intake = config, intake
        self.open = config.names is None
        self.rows: dict[int, int] = {}
        ids = sorted(config.names or ())
        if config.notes.categories:
            for category in config.notes.categories:
                row = intake.add_category(category)
                if category.space in (None, "object"):
                    self.rows[ids[len(self.rows)]] = row
            return
        if len(set((config.names or {}).values())) < len(ids):
            message = "two classes have one name; their ids tell them apart"
            intake.fault("duplicate-category-name", config.file, "names", message)
        for i in ids:
            self.rows[i] = intake.add_category(self._category(i, (config.names or {})[i]))

    def _category(self, number: int, name: str) -> rows.Category:
        return rows.Category(name, source_id=str(number), keypoints=self.config.point_names)

    def of(self, numbers: Floats) -> Ints:
        """The row of each class id; -1 where it is not listed."""
        found, at = np.unique(numbers.astype(np.int64), return_inverse=True)
        out = []
        for number in found.tolist():
            if self.open and number < MOST_CLASSES and number not in self.rows:
                for i in range(len(self.rows), number + 1):  # without names, row = id
                    self.rows[i] = self.intake.add_category(self._category(i, str(i)))
            out.append(self.rows.get(number, -1))
        return np.array(out, np.int64)[at]

    def add(self, number: int) -> int:
        """The row of an unlisted class, named by its id."""
        if number not in self.rows:
            self.rows[number] = self.intake.add_category(self._category(number, str(number)))
        return self.rows[number]


class Reader:
    """Reads the items of a tree as batches.

    Args:
        root: folder of the tree.
        items: its samples.
        config: its data file.
        intake: gets findings, categories, the source.
        task: what the user asked for.
    """

    def __init__(
        self, root: Path, items: Items, config: Config, intake: Intake, task: str | None
    ) -> None:
        self.root, self.items, self.intake = root, items, intake
        files = [name for name in items.labels if name is not None]
        step = max(1, len(files) // LOOKED_AT)
        sample = tokenize([read_text(root / name) for name in files[::step]])
        self.kind: Kind = decide(task, config, sample)
        self.classes = Classes(config, intake)
        self.notes = config.notes

    def batches(self) -> Iterator[Incoming]:
        """All samples in order."""
        names, start = self.items.labels, 0
        while start < len(names):
            texts: list[bytes] = []
            size = 0
            while start + len(texts) < len(names) and len(texts) < FILES and size < BYTES:
                name = names[start + len(texts)]
                texts.append(b"" if name is None else read_text(self.root / name))
                size += len(texts[-1])
            stop = start + len(texts)
            samples = _samples(self.items, start, stop)
            layer = self.annotations(tokenize(texts), names[start:stop])
            yield Incoming(samples, {tables.DEFAULT_LAYER: layer})
            start = stop

    # ------------------------------------------------------------------ checks

    def annotations(self, lines: Lines, names: Sequence[str | None]) -> pa.Table:
        """The rows that are right, or mended, as annotations."""

        def fault(code: str, i: int, message: str) -> None:
            name, number = names[int(lines.file[i])], int(lines.number[i])
            self.intake.fault(code, str(name), f"line {number}", message)

        for i in np.flatnonzero(lines.bad).tolist():
            first, count = int(lines.first[i]), int(lines.count[i])
            wrong = first + int(np.flatnonzero(np.isnan(lines.values[first : first + count]))[0])
            fault("bad-value", i, f"{lines.token(wrong)!r} is no number")
        good = ~lines.bad
        fits = self.kind.fits(lines)
        for i in np.flatnonzero(good & ~fits).tolist():
            message = f"{lines.count[i]} columns; a row of task {self.kind.task} has "
            fault("bad-value", i, message + self.kind.columns)
        good &= fits
        number = lines.values[lines.first] if len(lines.first) else np.empty(0)
        whole = (number == np.rint(number)) & (number >= 0) & (number < 2**31)
        for i in np.flatnonzero(good & ~whole).tolist():
            fault("bad-value", i, f"{lines.token(int(lines.first[i]))!r} is no class number")
        at = np.flatnonzero(good & whole)
        category = self.classes.of(number[at])
        for i in np.flatnonzero(category < 0).tolist():
            fault("unknown-class", int(at[i]), f"class {int(number[at[i]])} has no name")
            if self.intake.on_error == "fix":
                category[i] = self.classes.add(int(number[at[i]]))
        at, category = at[category >= 0], category[category >= 0]
        outside = self._outside(lines.take(at))
        for i in np.flatnonzero(outside).tolist():
            row = lines.values[int(lines.first[at[i]]) : int((lines.first + lines.count)[at[i]])]
            fault("value-out-of-range", int(at[i]), f"{row[1:5].tolist()} … leaves 0..1")
        if self.intake.on_error == "fix":
            self._clip(lines.take(at[outside]))
        else:
            at, category = at[~outside], category[~outside]
        chosen = lines.take(at)
        for i in _repeated(chosen).tolist():
            fault("duplicate-row", int(at[i]), "this row stands above already")
        return self.table(chosen, category)

    def _coords(self, lines: Lines) -> tuple[Ints, Ints]:
        """Where the coordinates of each row are: their indices, and how many each has."""
        count = lines.count - 1 - self.kind.trailing(lines)
        at = ragged(lines.first + 1, count)
        if self.kind.task == "pose" and self.kind.points[1] == 3:
            keep = np.array([True] * 4 + [True, True, False] * self.kind.points[0])
            return at[np.tile(keep, len(lines.first))], np.full(len(count), keep.sum())
        return at, count

    def _outside(self, lines: Lines) -> Mask:
        at, count = self._coords(lines)
        if not len(count):
            return np.zeros(0, bool)
        starts, values = np.cumsum(count) - count, lines.values[at]
        low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        return np.asarray((low < -SLACK) | (high > 1 + SLACK))

    def _clip(self, lines: Lines) -> None:
        at, _ = self._coords(lines)
        lines.values[at] = np.clip(lines.values[at], 0, 1)

    # ------------------------------------------------------------------ columns

    def table(self, lines: Lines, category: Ints) -> pa.Table:
        """Annotations of rows that are right; ``sample`` counts from the batch's start."""
        n = len(lines.first)
        values, kind = lines.values, self.kind
        trailing = kind.trailing(lines)
        columns = {
            "origins": arrays.ones(np.zeros(n, np.int64), pa.int16()),
            "ordinal": arrays.ones(lines.number - 1, pa.int64()),
            "sample": pa.array(lines.file),
            "kind": arrays.dictionary("object", n),
            "category": pa.array(category.astype(np.int32)),
        }
        ringed: Mask = np.full(n, kind.task == "obb")
        if kind.task == "seg":
            ringed = np.asarray(lines.count >= 7)
        boxes = np.zeros((n, 4))
        plain = values[(lines.first[~ringed] + 1)[:, None] + np.arange(4)]
        boxes[~ringed] = np.hstack([plain[:, :2] - plain[:, 2:] / 2, plain[:, 2:]])
        boxed: Mask = np.asarray(~ringed)
        if ringed.any():
            count = (lines.count - 1 - trailing)[ringed]
            coords = values[ragged(lines.first[ringed] + 1, count)]
            boxes[ringed] = arrays.extents(coords, count)
            if self.notes.closed:
                upright = arrays.upright(coords, count, kind.task)
                coords, count = coords[np.repeat(~upright, count)], count[~upright]
                boxed[ringed] = upright
                ringed[ringed] = ~upright
            if self.notes.boxes:
                boxed[:] = True
            columns["polygons"] = arrays.polygon_column(coords, count, ringed)
            if kind.task == "obb" and self.notes.marked:
                columns["shape_kind"] = arrays.dictionary("rectangle", n)
        if boxed.any():
            columns["bbox"] = arrays.box_column(boxes, boxed)
        if kind.task == "pose":
            columns.update(self._points(lines))
        if trailing.any():
            last = values[lines.first + lines.count - 1]
            if kind.tracks:
                columns["track"] = pa.array(last.astype(np.int64), mask=~trailing)
            else:
                columns["score"] = pa.array(last, mask=~trailing)
        return pa.table(columns)

    def _points(self, lines: Lines) -> dict[str, pa.Array]:
        """Points as x, y, visibility. Rows whose third numbers are fractions are predictions:
        those are scores of points, and a point that is not at (0, 0) is visible."""
        k, dims = self.kind.points
        n = len(lines.first)
        raw = lines.values[(lines.first + 5)[:, None] + np.arange(k * dims)].reshape(n, k, dims)
        shown = np.where((raw[:, :, :2] != 0).any(axis=2), 2.0, 0.0)
        scored = np.zeros(n, bool)
        if dims == 3:
            scored = np.asarray(~np.isin(raw[:, :, 2], (0, 1, 2)).all(axis=1))
            shown = np.where(scored[:, None], shown, raw[:, :, 2])
        points = np.dstack([raw[:, :, :2], shown]).reshape(n, 3 * k)
        there = np.ones(n, bool)
        if self.notes.task == "pose":  # our writer says -0 where an object has no points
            there = ~((raw == 0) & np.signbit(raw)).all(axis=(1, 2))
        out = {"keypoints": arrays.point_column(points, there)}
        if scored.any():
            out["keypoint_scores"] = arrays.point_column(raw[:, :, 2], scored)
        return out


def _repeated(lines: Lines) -> Ints:
    """Rows that are equal to an earlier one of their file."""
    n = len(lines.first)
    if n < 2:
        return np.empty(0, np.int64)
    at = ragged(lines.first, lines.count)
    starts = np.cumsum(lines.count) - lines.count
    weight = np.random.default_rng(0).random(int(lines.count.max()))
    mixed = np.add.reduceat(
        lines.values[at] * weight[np.arange(len(at)) - np.repeat(starts, lines.count)], starts
    )
    order = np.lexsort((mixed, lines.count, lines.file))
    one, two = order[:-1], order[1:]
    alike = (mixed[one] == mixed[two]) & (lines.count[one] == lines.count[two])
    alike &= lines.file[one] == lines.file[two]

    def row(i: int) -> Floats:
        return lines.values[lines.first[i] : lines.first[i] + lines.count[i]]

    pairs = zip(one[alike].tolist(), two[alike].tolist(), strict=True)
    return np.array(sorted(b for a, b in pairs if np.array_equal(row(a), row(b))), np.int64)


def _media(paths: Sequence[str | None]) -> pa.Array:
    """Media by path."""
    kind = tables.SAMPLES.field("media").type
    path = pa.array(paths, pa.string())
    return pa.StructArray.from_arrays(
        [path, pa.nulls(len(paths), pa.binary())], fields=list(kind), mask=path.is_null()
    )


def _samples(items: Items, start: int, stop: int) -> pa.Table:
    """The samples of some items."""
    n = stop - start
    return pa.table(
        {
            "key": pa.array(items.keys[start:stop], pa.string()),
            "origins": arrays.ones(np.zeros(n, np.int64), pa.int16()),
            "ordinal": arrays.ones(np.arange(start, stop), pa.int64()),
            "media": _media(items.media[start:stop]),
            "media_kind": arrays.dictionary("image", n),
            "unit": arrays.dictionary("relative", n),
            "split": pa.array(items.splits[start:stop], pa.string()).dictionary_encode(),
        }
    )
