"""One sample's segments as a picture of small numbers, and what two such pictures share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError
from granum.metrics._maps.boundary_masks import boundaries, dilation_of
from granum.metrics._maps.drawn import DrawnSample, Row, add_fault, has_mask, looked_up
from granum.metrics._usable import rows_left_out
from granum.schema.findings import Findings

__all__ = ["Matches", "Segments", "matched", "segments_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Segments:
    """Segments of a sample in the order of their ids.

    Attributes:
        labels: shape (height, width): 0 is void, i + 1 segment i, one more a pixel whose id no
            segment has; None where nothing is drawn.
        category, crowd, area: of each segment; the area as stated, NaN where it is not.
        place: of each segment among those that the source lists.
    """

    labels: Ints | None
    category: Ints
    crowd: Flags
    area: Floats
    place: Ints

    def none(self) -> Segments:
        """Nothing drawn."""
        return Segments(None, self.category[:0], self.crowd[:0], self.area[:0], self.place[:0])


def segments_of(sample: DrawnSample, who: str, found: Findings) -> Segments:
    """The objects of a sample that have a category and a mask.

    Rows of one label map are its values; other masks are painted, the first keeps what two share.
    """
    objects = [r for r in sample.rows if r["kind"] == "object"]
    named = [r for r in objects if r["category"] is not None]
    drawn = [r for r in named if has_mask(r)]
    for code, lost, what in (
        ("missing-category", [r for r in objects if r["category"] is None], "a category"),
        ("missing-geometry", [r for r in named if not has_mask(r)], "a mask"),
    ):
        rows_left_out(found, code, who, sample.key, lost, f"without {what}")
    labels, place = None, np.empty(0, np.int64)
    if drawn:
        try:
            if _one_map(drawn):
                place = np.argsort([int(r["map"]["value"]) for r in drawn], kind="stable")
                drawn = [drawn[i] for i in place.tolist()]
                labels = _of_map(sample, drawn, who, found)
            else:
                labels, drawn = _painted(sample, drawn, who, found)
                place = np.arange(len(drawn))
        except FormatError as error:
            add_fault(found, who, sample, error)
            drawn, place = [], place[:0]
    areas = [np.nan if r["area"] is None else r["area"] for r in drawn]
    return Segments(
        labels,
        np.array([r["category"] for r in drawn], np.int64),
        np.array([bool(r["crowd"]) for r in drawn], bool),
        np.array(areas, np.float64),
        place,
    )


def _one_map(rows: list[Row]) -> bool:
    """Whether all are segments of one label map."""
    return (
        len({_map_of(r, k) for k, r in enumerate(rows)}) == 1 and _map_of(rows[0], None) is not None
    )


def _map_of(row: Row, otherwise: int | None) -> object:
    entry = row["map"]
    if row["rle"] is not None or entry is None or entry["value"] is None:
        return otherwise
    if entry["encoding"] in ("nonzero", "greater"):
        return otherwise
    return entry["digest"] or (entry["path"], entry["bytes"]), entry["encoding"]


def _of_map(sample: DrawnSample, rows: list[Row], who: str, found: Findings) -> Ints:
    values = sample.values(rows[0])
    ids = np.array([r["map"]["value"] for r in rows], np.int64)
    labels = looked_up(values, ids, np.arange(1, len(ids) + 1), len(ids) + 1)
    if 0 not in ids:
        labels[values == 0] = 0
    unlisted = int((labels > len(ids)).sum())
    if unlisted:
        message = f"{unlisted} pixels have an id that no segment has"
        found.add("unlisted-segment", who, sample.key, message)
    return labels


def _painted(
    sample: DrawnSample, rows: list[Row], who: str, found: Findings
) -> tuple[Ints, list[Row]]:
    """The rows that are of one size, painted."""
    labels = sample.mask(rows[0]).astype(np.int64)
    shared, fit = 0, rows[:1]
    for row in rows[1:]:
        mask = sample.mask(row)
        if mask.shape != labels.shape:
            message = f"with a mask of {mask.shape} pixels beside one of {labels.shape}"
            rows_left_out(found, "mask-size-mismatch", who, sample.key, [row], message)
            continue
        fit.append(row)
        shared += int((mask & (labels > 0)).sum())
        labels[mask & (labels == 0)] = len(fit)
    if shared:
        found.add("overlapping-masks", who, sample.key, f"{shared} pixels are in several masks")
    return labels, fit


@dataclass(frozen=True)
class Matches:
    """Categories of the matched pairs with their IoU, of wrong and of missed segments."""

    tp: Ints
    iou: Floats
    fp: Ints
    fn: Ints


def matched(
    truth: Segments,
    predictions: Segments,
    dilation_ratio: float | None = None,
    *,
    all_crowds: bool = False,
) -> Matches:
    """Segments of one category match at an IoU above 0.5, void not counted in the union.

    With ``dilation_ratio`` the IoU is the lower one of the segments' and of their boundaries', and
    pixels of void within a prediction's boundary are not counted in the latter's union.

    A truth that is a crowd is never missed; a prediction that lies mostly on void and on the crowd
    of its category that is listed last (``all_crowds``: on any) is not wrong.
    """
    n, m = len(truth.category), len(predictions.category)
    shared = _shared(truth, predictions)
    inner = shared[1 : n + 1, 1 : m + 1]
    void = shared[0, 1 : m + 1].astype(np.float64)
    pixels = shared[:, 1 : m + 1].sum(axis=0).astype(np.float64)
    true_pixels = shared[1 : n + 1].sum(axis=1)
    area = np.where(np.isnan(truth.area), true_pixels, truth.area)
    union = pixels + area[:, None] - inner - void
    iou = np.divide(inner, union, out=np.zeros((n, m)), where=inner > 0)
    if dilation_ratio is not None:
        iou = np.minimum(iou, _boundary_iou(truth, predictions, dilation_ratio))
    same = truth.category[:, None] == predictions.category
    pairs = (iou > 0.5) & same & ~truth.crowd[:, None]
    spares = same & truth.crowd[:, None]
    if not all_crowds and n:
        last = np.where(spares, truth.place[:, None], -1)
        spares &= last == last.max(axis=0)
    void += (inner * spares).sum(axis=0)
    spared = np.divide(void, pixels, out=np.zeros(m), where=pixels > 0) > 0.5
    true_at = np.nonzero(pairs)[0]
    return Matches(
        tp=truth.category[true_at],
        iou=iou[pairs],
        fp=predictions.category[~pairs.any(axis=0) & ~spared],
        fn=truth.category[~pairs.any(axis=1) & ~truth.crowd],
    )


def _boundary_iou(truth: Segments, predictions: Segments, dilation_ratio: float) -> Floats:
    """Of each pair; the truth's boundaries are counted in pixels, whatever its stated areas."""
    n, m = len(truth.category), len(predictions.category)
    shared = _shared(_thinned(truth, dilation_ratio), _thinned(predictions, dilation_ratio))
    inner = shared[1 : n + 1, 1 : m + 1]
    pixels, true_pixels = shared[:, 1 : m + 1].sum(axis=0), shared[1 : n + 1].sum(axis=1)
    union = pixels + true_pixels[:, None] - inner - shared[0, 1 : m + 1]
    return np.divide(inner, union, out=np.zeros((n, m)), where=inner > 0)


def _thinned(segments: Segments, dilation_ratio: float) -> Segments:
    """With the boundaries only; what is inside belongs to no segment, but is no void."""
    labels = segments.labels
    if labels is None:
        return segments
    kept = boundaries(labels, dilation_of(labels.shape, dilation_ratio)) | (labels == 0)
    return replace(segments, labels=np.where(kept, labels, len(segments.category) + 1))


def _shared(truth: Segments, predictions: Segments) -> Ints:
    """Pixels by (label of the truth, label of the predictions)."""
    n, m = len(truth.category) + 2, len(predictions.category) + 2
    true, found = truth.labels, predictions.labels
    if true is None and found is None:
        return np.zeros((n, m), np.int64)
    if true is None or found is None:
        given = true if true is not None else found
        assert given is not None
        true = np.zeros_like(given) if true is None else true
        found = np.zeros_like(given) if found is None else found
    return np.bincount((true * m + found).ravel(), minlength=n * m).reshape(n, m)
