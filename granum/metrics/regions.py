"""The region benchmark of the Berkeley Segmentation Data Set (BSDS500).

Segmentations into regions, or hierarchies cut at many thresholds, against those of several people:
segmentation covering, probabilistic Rand index (PRI) and variation of information (VI), each at
the best threshold for the whole set (ODS), for each image (OIS), and, for covering, for each human
region (best). P. Arbelaez, M. Maire, C. Fowlkes, J. Malik: Contour Detection and Hierarchical
Image Segmentation, PAMI 33(5), 2011; the numbers are those of the authors' benchmark code.

Ties: the first (lowest) threshold counts. The authors' code writes the figures of each image to
text with six significant digits and reads them back; ``mode="official"`` does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError, MissingExtraError, UsageError
from granum.metrics._maps.drawn import (
    DrawnSample,
    add_fault,
    drawn_samples,
    has_mask,
    is_whole_map,
)
from granum.metrics._regions.counts import information_of, joint_histogram, overlaps, rand_of
from granum.metrics._regions.scores import RegionScores
from granum.metrics._regions.trees import tree_cuts
from granum.metrics._usable import rows_left_out
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = [
    "RegionScores",
    "Regions",
    "covering",
    "joint_histogram",
    "rand_index",
    "ucm_cuts",
    "variation_of_information",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

VOID = 0
"""In stored truth, pixels of value 0 and pixels that no region covers belong to no region."""


@dataclass
class _State:
    """Of a part: scores, and how many rows of truth and predictions were compared."""

    scores: RegionScores
    truths: int = 0
    predictions: int = 0
    findings: Findings = field(default_factory=lambda: Findings(on_error="skip"))


@protocols("regions")
@dataclass(frozen=True)
class Regions(Protocol):
    """Covering, PRI and VI of predicted partitions against people's.

    Truth: the rows of kind ``object`` of a sample, one segmentation per ``annotator``: a whole
    label map (``map`` without ``value``; 0 is no region), or regions as masks. Predictions: a
    whole label map, or masks (what none covers is one more region), or a region tree as
    ``granum.annotate`` stores it: rows joined by ``parent``, masks at its leaves. A tree with
    ``granularity`` is cut at each threshold t: a pixel is in the highest row that is reached from
    its leaf by rows of granularity t at most. Anything else is one cut, the same at all thresholds.

    Attributes:
        thresholds: how many cuts k / (thresholds + 1) of a tree, k from 1.
        mode: ``official`` rounds the figures of each image to six digits, as the authors' files
            do; ``corrected`` does not.
    """

    name: ClassVar[str] = "regions"
    reference: ClassVar[str] = "BSDS500 benchmark code (Arbelaez et al.)"

    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)

    thresholds: int = 99
    mode: Literal["official", "corrected"] = "official"

    def __post_init__(self) -> None:
        if self.thresholds < 1:
            raise UsageError(f"thresholds is {self.thresholds}; it must be at least 1")
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        cuts = np.arange(1, self.thresholds + 1) / (self.thresholds + 1)
        state = _State(RegionScores(cuts.tolist()))
        pairs = zip(
            drawn_samples(truth, ["annotator", "z_order"], context.map_root),
            drawn_samples(predictions, _TREE, context.prediction_map_root),
            strict=True,
        )
        for people, machine in pairs:
            self._add(people, machine, cuts, state)
        return state

    def _add(self, people: DrawnSample, machine: DrawnSample, cuts: Floats, state: _State) -> None:
        """Count one sample."""
        found, key = state.findings, people.key
        try:
            truths, rows = _segmentations(people, found)
        except FormatError as error:
            add_fault(found, "truth", people, error)
            return
        if not truths:
            found.add("no-truth", "truth", key, "no region is annotated")
            return
        state.truths += rows
        try:
            cut = tree_cuts(machine, cuts, found)
        except FormatError as error:
            add_fault(found, "predictions", machine, error)
            return
        if cut is None:
            return
        if any(t.shape != cut.leaves.shape for t in truths):
            message = f"regions of {cut.leaves.shape} pixels, truth of {truths[0].shape}"
            found.add("mask-size-mismatch", "predictions", key, message, cut.rows)
            return
        state.predictions += cut.rows
        state.scores.add_hierarchy(key, cut.leaves, cut.regions, truths, void=VOID)

    def result(self, states: Sequence[Any], context: Context) -> Result:
        scores = RegionScores((np.arange(1, self.thresholds + 1) / (self.thresholds + 1)).tolist())
        for state in states:
            scores.merge(state.scores)
        digits = 6 if self.mode == "official" else None
        again = scores.summaries(digits)
        return Result(
            protocol=self.name,
            values=again(np.ones(len(scores), np.int64)),
            per_sample=scores.images(digits),
            curves={"thresholds": scores.curve(digits)},
            facts={
                "truths": sum(s.truths for s in states),
                "predictions": sum(s.predictions for s in states),
                "samples_scored": len(scores),
            },
            findings=joined_findings((s.findings for s in states), by_place=True),
            recount=Recount(pa.array(scores.keys(), pa.string()), again),
        )


_TREE = ("annotation_id", "parent", "granularity", "z_order")


def _segmentations(sample: DrawnSample, found: Findings) -> tuple[list[Ints], int]:
    """The segmentations of a sample's annotators, in the order of their names (0 is void), and how
    many rows they are made of; what is left out is a finding."""
    objects = [row for row in sample.rows if row["kind"] == "object"]
    bare = [row for row in objects if not has_mask(row)]
    rows_left_out(found, "missing-geometry", "truth", sample.key, bare, "without a mask")
    by_annotator: dict[str, list[dict[str, Any]]] = {}
    for row in objects:
        if has_mask(row):
            by_annotator.setdefault(row["annotator"] or "", []).append(row)
    out, used = [], 0
    for _, rows in sorted(by_annotator.items()):
        whole = [row for row in rows if is_whole_map(row)]
        beside = [row for row in rows if row is not whole[0]] if whole else []
        what = "beside the label map of their annotator"
        rows_left_out(found, "duplicate-annotation", "truth", sample.key, beside, what)
        drawn = (
            sample.values(whole[0])
            if whole
            else sample.painted(rows, lambda k, _: k + 1, empty=VOID)
        )
        if drawn is not None and (drawn != VOID).any():
            out.append(drawn)
            used += len(rows) - len(beside)
    return out, used


# ------------------------------------------------------------------ one segmentation


def covering(
    cut: npt.ArrayLike, truths: Sequence[npt.ArrayLike], *, void: int | None = None
) -> float:
    """Area-weighted mean, over the regions of all truths, of the best IoU with a region of ``cut``.

    Args:
        cut: label image, shape (height, width); each of its numbers is a region.
        truths: label images of the same shape.
        void: label of the truths that is no region; its pixels are not counted.
    """
    joints = [joint_histogram(t, cut, void) for t in truths]
    areas = [joint.sum(axis=1) for joint in joints]
    covered = sum(float(overlaps(j).max(axis=1) @ a) for j, a in zip(joints, areas, strict=True))
    return covered / sum(int(a.sum()) for a in areas)


def rand_index(
    cut: npt.ArrayLike, truths: Sequence[npt.ArrayLike], *, void: int | None = None
) -> float:
    """Probabilistic Rand index: the Rand index (not adjusted), mean over the truths.

    Arguments as ``covering``.
    """
    return sum(rand_of(joint_histogram(t, cut, void)) for t in truths) / len(truths)


def variation_of_information(
    cut: npt.ArrayLike, truths: Sequence[npt.ArrayLike], *, void: int | None = None
) -> float:
    """Variation of information in bits, mean over the truths; 0 for equal partitions.

    Arguments as ``covering``. M. Meila, Comparing clusterings by the variation of information,
    2003.
    """
    return sum(information_of(joint_histogram(t, cut, void)) for t in truths) / len(truths)


def ucm_cuts(ucm2: npt.ArrayLike, thresholds: Sequence[float]) -> tuple[Ints, Ints]:
    """The cuts of an ultrametric contour map, as ``RegionScores.add_hierarchy`` takes them.

    A cut at t is the 8-connected components of ``ucm2 <= t``, read at the pixels.

    Args:
        ucm2: contour strengths at double resolution, shape (2 height + 1, 2 width + 1).
        thresholds: in rising order.

    Returns:
        Leaves, shape (height, width), and regions, shape (thresholds, leaves).
    """
    try:
        from scipy.ndimage import label  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError("cutting a contour map", "eval", "scipy") from error
    strength = np.asarray(ucm2, np.float64)
    eight = np.ones((3, 3), int)
    labels = [label(strength <= t, eight)[0][1::2, 1::2] for t in thresholds]
    leaves = labels[0].astype(np.int64)
    first = np.zeros(int(leaves.max()) + 1, np.int64)
    first[leaves.ravel()] = np.arange(leaves.size)
    return leaves, np.array([cut.ravel()[first] for cut in labels], np.int64)
