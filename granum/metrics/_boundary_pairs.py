"""Which predicted masks find a true one when their boundaries must agree as well.

In a group (a sample and a category) predictions choose in the order of their scores the free truth
of highest IoU, the last one of equals; ignored ones only where no other is free. That is done at
all thresholds and ranges of area at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.metrics._boundary_masks import boundary, dilation_of
from granum.metrics._coco_masks import Rle, mask_dicts, outlines_of
from granum.metrics._usable import kept, left_out, of_kinds
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["RANGES", "Found", "Objects", "Truths", "found_truths", "objects_of", "pair_ious"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""Of areas in pixels, both ends included: all, small, medium, large."""


@dataclass(frozen=True)
class Objects:
    """Masks of a part.

    Attributes:
        sample: position in the part.
        category: row of the truth's table.
        score: of predictions; zeros for the truth.
        area: of the truth as stated, else the mask's pixels.
        crowd: regions of which the share of the prediction that is in them counts.
        ignored: truths (crowds too) that are neither to be found nor wrong to find.
        masks: as compressed run lengths.
    """

    sample: Ints
    category: Ints
    score: Floats
    area: Floats
    crowd: Flags
    ignored: Flags
    masks: list[Rle]


@dataclass(frozen=True)
class Found:
    """Predictions after matching, those within the limit of their group.

    Attributes:
        unit: shape (n,), the sample of each: a position.
        category, score: shape (n,).
        rank: shape (n,), how many of its group have a higher score.
        hit: shape (n, ranges, thresholds), whether it found a truth.
        counted: the same shape, whether it is right or wrong at all.
        iou: shape (n,), with the truth that it found at the lowest threshold; 0 where none.
    """

    unit: Ints
    category: Ints
    score: Floats
    rank: Ints
    hit: Flags
    counted: Flags
    iou: Floats

    @staticmethod
    def joined(pieces: Sequence[Found], thresholds: int) -> Found:
        """All of them, in order."""
        rows, flags = np.empty(0, np.int64), np.empty((0, len(RANGES), thresholds), bool)
        none = Found(rows, rows, np.empty(0), rows, flags, flags, np.empty(0))
        return Found(**_joined([none, *pieces]))


@dataclass(frozen=True)
class Truths:
    """What there is to find.

    Attributes:
        unit, category: shape (m,), as of :class:`Found`.
        counted: shape (m, ranges), whether it is to be found.
    """

    unit: Ints
    category: Ints
    counted: Flags

    @staticmethod
    def joined(pieces: Sequence[Truths]) -> Truths:
        """All of them, in order."""
        rows = np.empty(0, np.int64)
        return Truths(**_joined([Truths(rows, rows, np.empty((0, len(RANGES)), bool)), *pieces]))


def _joined(pieces: Sequence[Any]) -> dict[str, Any]:
    """The fields of all pieces, one after the other."""
    names = [f.name for f in fields(pieces[0])]
    return {n: np.concatenate([getattr(p, n) for p in pieces]) for n in names}


def objects_of(batch: Batch, *, truth: bool, root: str | None, found: Findings) -> Objects:
    """The objects of a batch that have a category and a mask; the others are findings.

    Args:
        batch: truth or predictions.
        truth: which of them it is.
        root: the folder of label maps.
        found: gets what is left out.

    Raises:
        SizeUnknownError: polygons in a sample of unknown size.
    """
    from pycocotools import mask as coco_mask

    who = "truth" if truth else "predictions"
    batch = of_kinds(batch, ("object",), who, found)
    named = np.asarray(column(batch.annotations, "category").is_valid())
    left_out(found, "missing-category", batch, ~named, who, "without a category")
    batch = kept(batch, named)
    none = np.zeros(batch.annotations.num_rows, bool)
    outline = outlines_of(batch, root, who, found, rings=none)
    drawn = outline.valid()
    left_out(found, "missing-geometry", batch, ~drawn, who, "without a mask")
    rows = np.flatnonzero(drawn)
    table = batch.annotations.take(rows)
    masks = mask_dicts(outline.take(rows).rle)
    area = np.array([float(coco_mask.area(m)) for m in masks])  # a list may have 255 at most
    crowd, ignored, score = none[rows], none[rows], np.zeros(len(rows))
    if truth:
        stated = np.asarray(column(table, "area").fill_null(np.nan), np.float64)
        area = np.where(np.isnan(stated), area, stated)
        crowd = np.asarray(column(table, "crowd").fill_null(False))
        ignored = crowd | np.asarray(column(table, "ignore").fill_null(False))
    else:
        score = np.asarray(column(table, "score"), np.float64)
    return Objects(
        sample=np.asarray(column(table, "sample"), np.int64) - batch.start,
        category=np.asarray(column(table, "category"), np.int64),
        score=score,
        area=area,
        crowd=crowd,
        ignored=ignored,
        masks=masks,
    )


def found_truths(
    truth: Objects, predictions: Objects, thresholds: Floats, limit: int, ratio: float
) -> tuple[Found, Truths]:
    """Predictions matched to truths.

    Args:
        truth, predictions: of a part.
        thresholds: of the IoU, shape (t,).
        limit: predictions compared per sample and category, those of highest score.
        ratio: thickness of boundaries, as a share of the image's diagonal.
    """
    thresholds = np.minimum(thresholds, 1 - 1e-10)
    order = np.lexsort((-predictions.score, predictions.category, predictions.sample))
    rank = _rank(predictions.sample[order], predictions.category[order])
    order, rank = order[rank < limit], rank[rank < limit]
    low, high = RANGES.T
    within = (predictions.area[order, None] >= low) & (predictions.area[order, None] <= high)
    shape = (len(order), len(RANGES), len(thresholds))
    hit, iou = np.zeros(shape, bool), np.zeros(len(order))
    counted = np.repeat(within[:, :, None], len(thresholds), axis=2)
    ignored = truth.ignored[:, None] | (truth.area[:, None] < low) | (truth.area[:, None] > high)
    for mine, rows in _groups(predictions, order, truth):
        values = pair_ious(
            [predictions.masks[i] for i in order[mine].tolist()],
            [truth.masks[i] for i in rows.tolist()],
            truth.crowd[rows],
            least=float(thresholds.min()),
            ratio=ratio,
        )
        crowd = truth.crowd[rows]
        for i, ok, chosen in _choices(values, thresholds, ignored[rows], crowd):
            row = mine[i]
            hit[row] = ok
            counted[row] = np.where(
                ok, ~ignored[rows[chosen], np.arange(len(RANGES))[:, None]], counted[row]
            )
            lowest = int(thresholds.argmin())
            iou[row] = values[i, chosen[0, lowest]] if ok[0, lowest] else 0
    taken = predictions.sample[order], predictions.category[order], predictions.score[order]
    return (
        Found(*taken, rank, hit, counted, iou),
        Truths(truth.sample, truth.category, ~ignored),
    )


def pair_ious(
    found: Sequence[Rle], true: Sequence[Rle], crowd: Flags, *, least: float, ratio: float
) -> Floats:
    """The lower one of the IoU of two masks and of their boundaries; of a crowd, the share of the
    prediction that is in it.

    Args:
        found, true: of one image; masks of different sizes have IoU -1.
        crowd: shape (len(true),).
        least: boundaries of pairs whose masks have a lower IoU are not compared.
        ratio: thickness of boundaries, as a share of the image's diagonal.

    Returns:
        Shape (len(found), len(true)).
    """
    from pycocotools import mask as coco_mask

    values = np.array(coco_mask.iou(list(found), list(true), crowd.astype(np.uint8)), np.float64)
    values = values.reshape(len(found), len(true))
    at, to = np.nonzero((values >= least) & ~crowd)
    edges = [
        {i: _Edge.of(masks[i], ratio) for i in np.unique(rows).tolist()}
        for masks, rows in ((found, at), (true, to))
    ]
    for i, j in zip(at.tolist(), to.tolist(), strict=True):
        values[i, j] = min(values[i, j], edges[0][i].iou(edges[1][j]))
    return values


@dataclass(frozen=True)
class _Edge:
    """The boundary of a mask, cut out of its image, rows and columns exchanged."""

    x: int
    y: int
    flags: Flags
    pixels: int

    @staticmethod
    def of(mask: Rle, ratio: float) -> _Edge:
        from pycocotools import mask as coco_mask

        x, y, width, height = (int(v) for v in coco_mask.toBbox(mask))
        drawn = geometry.rle_decode(mask["size"], mask["counts"])[y : y + height, x : x + width]
        flags = boundary(drawn.T, dilation_of(tuple(mask["size"]), ratio))
        return _Edge(x, y, flags, int(np.count_nonzero(flags)))

    def iou(self, other: _Edge) -> float:
        x, y = max(self.x, other.x), max(self.y, other.y)
        one = self.flags[x - self.x :, y - self.y :]
        two = other.flags[x - other.x :, y - other.y :]
        width, height = (min(a, b) for a, b in zip(one.shape, two.shape, strict=True))
        inner = int(np.count_nonzero(one[:width, :height] & two[:width, :height]))
        return inner / (self.pixels + other.pixels - inner) if inner else 0.0


def _rank(sample: Ints, category: Ints) -> Ints:
    """0, 1, 2… within each run of one sample and category."""
    n = np.arange(len(sample))
    starts = (np.diff(sample, prepend=-1) != 0) | (np.diff(category, prepend=-1) != 0)
    return np.asarray(n - np.maximum.accumulate(np.where(starts, n, 0)), np.int64)


def _groups(predictions: Objects, order: Ints, truth: Objects) -> Iterator[tuple[Ints, Ints]]:
    """Positions in ``order``, and rows of the truth, of each group that has both."""
    rows = np.lexsort((truth.category, truth.sample))
    places = _starts(truth.sample[rows], truth.category[rows])
    for key, mine in _starts(predictions.sample[order], predictions.category[order]).items():
        if key in places:
            yield np.arange(mine.start, mine.stop), rows[places[key]]


def _starts(sample: Ints, category: Ints) -> dict[tuple[int, int], slice]:
    """Where each group is in what is sorted by group."""
    at = np.flatnonzero(_rank(sample, category) == 0)
    ends = [*at[1:].tolist(), len(sample)]
    keys = zip(sample[at].tolist(), category[at].tolist(), strict=True)
    return {k: slice(a, b) for k, a, b in zip(keys, at.tolist(), ends, strict=True)}


def _choices(
    values: Floats, thresholds: Floats, ignored: Flags, crowd: Flags
) -> Iterator[tuple[int, Flags, Ints]]:
    """Of each prediction that may find something: its position, whether it does, and what; the
    latter two of shape (ranges, thresholds).

    Args:
        values: IoU, shape (predictions, truths), highest score first.
        thresholds: shape (t,).
        ignored: shape (truths, ranges).
        crowd: shape (truths,), may be found again.
    """
    near = values >= thresholds.min()
    taken = np.zeros((len(RANGES), len(thresholds), values.shape[1]), bool)
    lanes = np.ogrid[: len(RANGES), : len(thresholds)]
    for i in np.flatnonzero(near.any(axis=1)).tolist():
        may = np.flatnonzero(near[i])
        may = may[np.argsort(values[i, may], kind="stable")]
        free = (values[i, may] >= thresholds[:, None]) & (~taken[..., may] | crowd[may])
        strength = np.arange(1, len(may) + 1) + len(may) * ~ignored[may].T
        best = np.where(free, strength[:, None], 0)
        ok, chosen = best.max(axis=2) > 0, may[best.argmax(axis=2)]
        taken[lanes[0], lanes[1], chosen] |= ok
        yield i, ok, chosen
