"""What the Open Images protocol reads of a part: classes, verified labels, boxes, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import SizeUnknownError, UsageError
from granum.metrics._coco.masks import Rle, mask_dicts, outlines_of
from granum.metrics._detection.shared import Objects
from granum.metrics._usable import kept, left_out
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column, with_column
from granum.schema.units import convert_units, is_relative
from granum.store.parts import Batch

__all__ = ["Classes", "Masks", "compared_objects", "masks_of", "tell_sizes", "verified"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Lists:
    """A list of classes for each class, itself first: its values end to end, and where each
    begins (one longer than there are classes)."""

    values: Ints
    starts: Ints

    @classmethod
    def of(cls, above: Sequence[Sequence[int]]) -> Lists:
        lengths = [1 + len(more) for more in above]
        flat = [value for i, more in enumerate(above) for value in (i, *more)]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(np.array(flat, np.int64), starts)

    def expanded(self, category: Ints) -> tuple[Ints, Ints]:
        """For each row its class and those of its list: the row, and the class."""
        count = np.diff(self.starts)[category]
        row = np.repeat(np.arange(len(category)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        return row, self.values[self.starts[category[row]] + within]


@dataclass(frozen=True)
class Classes:
    """Classes with what is above and below them in the hierarchy.

    Attributes:
        up: of each class the classes that it is a kind of, at any height.
        down: of each class the kinds of it, at any depth.
        wanted: shape (classes,), whether it is evaluated.
    """

    up: Lists
    down: Lists
    wanted: Flags

    @classmethod
    def of(cls, categories: pa.Table, expand: bool, names: Sequence[str] | None) -> Classes:
        """Of a table of categories.

        Args:
            categories: ``parents`` of relation ``is_a`` make the hierarchy.
            expand: without it no class is above another.
            names: of the classes that are evaluated (names or source ids); None: all.

        Raises:
            UsageError: no class has one of the names.
        """
        n = categories.num_rows
        parents: list[list[int]] = [[] for _ in range(n)]
        if expand:
            listed = column(categories, "parents", tables.CATEGORIES).to_pylist()
            parents = [[p["index"] for p in ps or [] if p["relation"] == "is_a"] for ps in listed]
        above = [_reached(i, parents) for i in range(n)]
        below: list[list[int]] = [[] for _ in range(n)]
        for i, reached in enumerate(above):
            for j in reached:
                below[j].append(i)
        wanted = np.ones(n, bool)
        if names is not None:
            wanted = np.zeros(n, bool)
            for name in names:
                wanted[_class_of(categories, name)] = True
        return cls(Lists.of(above), Lists.of(below), wanted)


def _reached(start: int, parents: Sequence[Sequence[int]]) -> list[int]:
    """All classes above one, nearest first, each once; rings of classes end."""
    seen, waiting = {start: None}, [*parents[start]]
    while waiting:
        node = waiting.pop(0)
        if node not in seen:
            seen[node] = None
            waiting += parents[node]
    return [*seen][1:]


def _class_of(categories: pa.Table, name: str) -> int:
    for where in ("source_id", "name"):
        listed = column(categories, where, tables.CATEGORIES).to_pylist()
        if name in listed:
            return listed.index(name)
    raise UsageError(f"no class of the truth has the id or name {name!r}")


def _of_kind(batch: Batch, kind: str) -> Flags:
    kinds = column(batch.annotations, "kind").cast(pa.string())
    return np.asarray(pc.equal(kinds, kind).fill_null(False))


def verified(truth: Batch, classes: Classes, found: Findings) -> Ints:
    """Pairs of a sample (from the start of the part) and a class that people said of it: present,
    with what is above; or absent, with what is below. As ``sample * classes + class``."""
    labels = kept(truth, _of_kind(truth, "label"))
    table = labels.annotations
    said = np.asarray(column(table, "present").is_valid())
    left_out(found, "not-compared", labels, ~said, "truth", "of a label that nobody verified")
    labels = kept(labels, said)
    named = np.asarray(column(labels.annotations, "category").is_valid())
    left_out(found, "missing-category", labels, ~named, "truth", "without a category")
    labels = kept(labels, named)
    table = labels.annotations
    sample = np.asarray(column(table, "sample"), np.int64) - labels.start
    category = np.asarray(column(table, "category"), np.int64)
    present = np.asarray(column(table, "present"), bool)
    pairs = [np.empty(0, np.int64)]
    for some, lists in ((present, classes.up), (~present, classes.down)):
        row, expanded = lists.expanded(category[some])
        pairs.append(sample[some][row] * len(classes.wanted) + expanded)
    return np.unique(np.concatenate(pairs))


def compared_objects(truth: Batch, masks: bool, found: Findings) -> Batch:
    """The objects of the truth: not the points, nor boxes that only a relation (without ``masks``:
    only a mask) has."""
    batch = kept(truth, _of_kind(truth, "object"))
    table = batch.annotations
    drawn = [n for n in ("bbox", "polygons", "rle", "map") if n in table.column_names]
    bare = np.ones(table.num_rows, bool)
    for name in drawn:
        bare &= np.asarray(table[name].is_null())
    points = bare & np.asarray(column(table, "keypoints").is_valid())
    left_out(found, "not-compared", batch, points, "truth", "of a point")
    source = column(table, "source").cast(pa.string())
    beside = ["relationship"] if masks else ["relationship", "segmentation"]
    made = np.asarray(pc.is_in(source, value_set=pa.array(beside)))
    what = f"of source {' or '.join(beside)}, which the file of boxes does not hold"
    left_out(found, "not-compared", batch, made & ~points, "truth", what)
    return kept(batch, ~points & ~made)


@dataclass(frozen=True)
class Masks:
    """Masks of rows.

    Attributes:
        rles: of each row, None where it has none that has a pixel.
        box: shape (n, 4), xywh around the pixels, in the unit of the sample; NaN without.
    """

    rles: list[Rle | None]
    box: Floats

    def valid(self) -> Flags:
        return np.array([r is not None for r in self.rles], bool)


def masks_of(batch: Batch, root: str | None, who: str, found: Findings) -> Masks:
    """The masks of a batch's rows, of run lengths, label maps or polygons.

    Raises:
        SizeUnknownError: polygons in a sample of unknown size.
    """
    from pycocotools import mask as coco_mask

    own = Findings(on_error="skip")
    rows = _pixel_polygons(batch)
    outline = outlines_of(rows, root, who, own, rings=np.zeros(rows.annotations.num_rows, bool))
    # Masks need not be of the image's size here: those of one image are of the same size.
    for item in own.items:
        if item.code != "mask-size-mismatch":
            found.add(item.code, item.path, item.place, item.message)
    drawn = np.flatnonzero(outline.valid())
    dicts = mask_dicts(outline.rle.take(pa.array(drawn)))
    area = coco_mask.area(dicts) if dicts else np.zeros(0)
    rles: list[Rle | None] = [None] * len(outline.size)
    box = np.full((len(rles), 4), np.nan)
    for row, one, pixels in zip(drawn.tolist(), dicts, area, strict=True):
        if pixels:
            rles[row] = one
    some = [i for i, r in enumerate(rles) if r is not None]
    if some:
        chosen = [rles[i] for i in some]
        sizes = np.array([r["size"][::-1] for r in chosen if r is not None], np.float64)
        box[some] = coco_mask.toBbox(chosen) * np.tile(_scale(batch, some, sizes), 2)
    return Masks(rles, box)


def tell_sizes(
    found: tuple[Objects, list[Rle | None]],
    true: tuple[Objects, list[Rle | None]],
    findings: Findings,
) -> None:
    """A finding of the detections whose masks have another size than the truth's on their image:
    they overlap nothing."""
    sizes: dict[int, set[tuple[int, ...]]] = {}
    for sample, rle in zip(true[0].sample.tolist(), true[1], strict=True):
        if rle is not None:
            sizes.setdefault(sample, set()).add(tuple(rle["size"]))
    rows = zip(found[0].sample.tolist(), found[1], strict=True)
    other = [
        rle is not None and s in sizes and tuple(rle["size"]) not in sizes[s] for s, rle in rows
    ]
    what = "with a mask of another size than the truth's; it overlaps nothing"
    flags = np.array(other, bool)
    left_out(findings, "mask-size-mismatch", found[0].batch, flags, "predictions", what)


def _scale(batch: Batch, rows: Sequence[int], sizes: Floats) -> Floats:
    """From pixels of the masks to the unit of the samples, shape (rows, 2); sizes are (w, h)."""
    at = np.asarray(column(batch.annotations, "sample"), np.int64)[rows] - batch.start
    known = [
        np.asarray(column(batch.samples, n).cast(pa.float64()).fill_null(np.nan), np.float64)
        for n in ("width", "height")
    ]
    unit = np.where(is_relative(batch.samples)[:, None], 1.0, np.column_stack(known))[at]
    return np.where(np.isnan(unit), 1.0, unit / sizes)


def _pixel_polygons(batch: Batch) -> Batch:
    """Polygons in pixels, which masks are drawn in, where they are fractions."""
    table = batch.annotations
    relative = is_relative(batch.samples)
    if not relative.any() or column(table, "polygons").null_count == table.num_rows:
        return batch
    sizes = [
        np.asarray(column(batch.samples, n).cast(pa.float64()).fill_null(np.nan), np.float64)
        for n in ("width", "height")
    ]
    factors = np.where(relative[:, None], np.column_stack(sizes), 1.0)
    at = np.asarray(column(table, "sample"), np.int64) - batch.start
    used = np.unique(at[np.asarray(table["polygons"].is_valid())])
    unknown = used[np.isnan(factors[used]).any(axis=1)]
    if len(unknown):
        raise SizeUnknownError(batch.samples["key"].take(pa.array(unknown)).to_pylist())
    scaled = convert_units(table.select(["sample", "polygons"]), at, factors)["polygons"]
    return Batch(batch.samples, with_column(table, "polygons", scaled), batch.start)
