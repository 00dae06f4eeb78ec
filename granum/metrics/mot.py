"""Multi-object tracking: HOTA, CLEAR MOT, Identity (IDF1) and VACE of boxes.

J. Luiten et al.: "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2020;
K. Bernardin, R. Stiefelhagen: "Evaluating Multiple Object Tracking Performance: The CLEAR MOT
Metrics", EURASIP JIVP 2008; E. Ristani et al.: "Performance Measures and a Data Set for
Multi-Target, Multi-Camera Tracking", ECCV workshops 2016; V. Manohar et al.: "Performance
Evaluation of Object Detection and Tracking in Video", ACCV 2006. Numbers, names, preprocessing and
ties are those of TrackEval (JonathonLuiten/TrackEval, trackeval 1.3.0 on PyPI): a group is a
sequence, ``order`` the frame of a sample, ``track`` the identity of a box; similarity is
intersection over union, HOTA is averaged over the thresholds 0.05 … 0.95.

``mode="official"`` has TrackEval's rules also where they surprise; ``corrected`` differs thus:

- CLEAR passes over frames in which one side has no box, so that "the frame before" (whose matches
  are preferred, and which tells a fragment) may lie far back; corrected: it is the frame before;
- frames of sequences in which one side has no box are not counted in ``FP_per_frame``; corrected:
  all frames of all sequences are;
- LocA is 1 at thresholds that no match reaches, which raises its mean; corrected: it is undefined
  there, and averaged over the others;
- averages over classes take numbers of classes that nothing defines as 0; corrected: as undefined.

A number whose denominator is 0 is None in both modes, where TrackEval says 0 or 1: those of a
truth without boxes, precision without predictions, MOTP and LocA without matches (TrackEval's ATA
and SFDA are NaN).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._mot.numbers import (
    ALPHAS,
    Numbers,
    Weights,
    class_averaged,
    combined,
    stacked,
)
from granum.metrics._mot.pairs import EPS, Tracked, assigned, tracked, tracked_from_similarities
from granum.metrics._mot.reported import averaged, curve, reported, table_of, together
from granum.metrics._mot.rows import Classes, Frames, Side, frames_of, keys_of, side_of, within
from granum.metrics._mot.scores import clear, hota, identity
from granum.metrics._mot.vace import vace
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = [
    "ALPHAS",
    "Mot",
    "Tracked",
    "clear",
    "combine_classes",
    "combine_sequences",
    "hota",
    "identity",
    "on_distractors",
    "tracked",
    "tracked_from_similarities",
    "vace",
]

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Sequence:
    """What was counted in a sequence: numbers by class, of those that have a box."""

    key: str
    frames: int
    boxes: tuple[int, int]
    classes: dict[int, Numbers]


@dataclass(frozen=True)
class _State:
    sequences: list[_Sequence]
    findings: Findings


@protocols("mot")
@dataclass(frozen=True)
class Mot(Protocol):
    """HOTA, CLEAR, Identity and VACE of tracks of boxes.

    Several classes are averaged over their boxes, as TrackEval's ``cls_comb_det_av``; names that
    end in ``_cls_av`` are averages over classes that have a box (``cls_comb_cls_av``).

    Attributes:
        preprocess: what MOTChallenge leaves out: ``mot17`` (also MOT16, SportsMOT): only
            pedestrians count, and predictions that are matched to persons on vehicles, static
            persons, distractors or reflections are left out; ``mot20``: to non-motorised vehicles
            too; ``none``: all classes count, as for MOT15. True boxes that are to be ignored (of
            confidence 0) never count. ``auto`` is ``mot17`` where the truth has classes of
            MOTChallenge only (those, occluders), ``mot20`` where all its sequences are called so,
            else ``none``.
        agnostic: categories do not matter, and nothing is preprocessed (TrackEval's MOT15).
        threshold: similarity from which CLEAR, Identity and ATA match boxes.
        mode: see the module.
    """

    name: ClassVar[str] = "mot"
    reference: ClassVar[str] = "trackeval 1.3.0"
    extra: ClassVar[str | None] = "eval"
    needs: ClassVar[tuple[str, ...]] = ("known",)
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    whole_groups: ClassVar[bool] = True
    scale_free: ClassVar[bool] = True

    preprocess: Literal["auto", "none", "mot17", "mot20"] = "auto"
    agnostic: bool = False
    threshold: float = 0.5
    mode: Literal["official", "corrected"] = "official"

    def __post_init__(self) -> None:
        rules = ("auto", "none", "mot17", "mot20")
        if self.preprocess not in rules:
            raise UsageError(f"preprocess {self.preprocess!r}; known: {', '.join(rules)}")
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode {self.mode!r}; known: official, corrected")
        if not 0 < self.threshold <= 1:
            raise UsageError(f"threshold {self.threshold}: above 0, at most 1")
        if self.agnostic and self.preprocess in ("mot17", "mot20"):
            raise UsageError(
                f"preprocess {self.preprocess!r} compares pedestrians, agnostic all boxes"
            )

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        found = Findings(on_error="skip")
        classes = Classes.by(self.preprocess, self.agnostic, context)
        frames = frames_of(truth, predictions, context)
        mine = classes.of_truth(side_of(truth, "truth", found), found)
        theirs = classes.of_predictions(side_of(predictions, "predictions", found), found)
        theirs = within(theirs, frames, found)
        ignored, spared = np.zeros(len(mine.row), bool), np.zeros(len(theirs.row), bool)
        sequences = []
        for key, (group, its) in zip(keys_of(list(frames), context), frames.items(), strict=True):
            a, b = mine.of_group(group), theirs.of_group(group)
            pairs = _compared(mine.take(a), theirs.take(b), its, classes, ignored[a], spared[b])
            counted = {
                number: hota(p)
                | clear(p, self.threshold, corrected=self.mode == "corrected")
                | identity(p, self.threshold)
                | vace(p, self.threshold)
                for number, p in pairs.items()
            }
            boxes = [sum(len(getattr(p, n)) for p in pairs.values()) for n in ("truth_id", "id")]
            sequences.append(_Sequence(key, its.count, (boxes[0], boxes[1]), counted))
        mine.without(ignored & mine.ignore, "not-compared", "truth", "to be ignored", found)
        what = "of a class other than pedestrian"
        mine.without(ignored & ~mine.ignore, "not-compared", "truth", what, found)
        what = "that are matched to a distractor"
        theirs.without(spared, "not-compared", "predictions", what, found)
        return _State(sequences, found)

    def result(self, states: Sequence[_State], context: Context) -> Result:
        classes = Classes.by(self.preprocess, self.agnostic, context)
        listed = sorted((q for s in states for q in s.sequences), key=lambda q: q.key)
        counts = _Counts.of(listed, self.mode == "corrected", len(classes.names) > 1)
        ones = np.ones(len(listed), np.int64)
        totals = counts.of_classes(ones)
        facts = {
            "preprocess": classes.rule,
            "sequences": len(listed),
            "frames": sum(q.frames for q in listed),
            "truths": sum(q.boxes[0] for q in listed),
            "predictions": sum(q.boxes[1] for q in listed),
        }
        found = joined_findings(s.findings for s in states)
        bare = [q.key for q in listed if q.boxes[1] and not q.boxes[0]]
        if bare:
            message = (
                f"{len(bare)} sequences have no true box: all that is predicted there is wrong"
            )
            found.add("no-truth", "truth", bare[0], message, len(bare))
        return Result(
            protocol=self.name,
            values=counts.values(ones),
            per_class=table_of(
                "category",
                [classes.names[c] for c in totals],
                [reported(n, counts.corrected) for n in totals.values()],
            ),
            per_sample=counts.of_sequences,
            curves={"alpha": curve(counts.total(totals, ones))},
            facts=facts,
            findings=found,
            recount=Recount(pa.array([q.key for q in listed], pa.string()), counts.values, "group"),
        )


def _compared(
    mine: Side, theirs: Side, frames: Frames, classes: Classes, ignored: Flags, spared: Flags
) -> dict[int, Tracked]:
    """The boxes of a sequence by class, of classes that have one.

    Sets ``ignored`` where a true box does not count, and ``spared`` where a prediction does not.
    """
    ignored[:] = mine.ignore
    if classes.rule == "none":
        numbers = np.union1d(mine.category[~mine.ignore], theirs.category).tolist()
        return {
            c: _tracked(
                mine.take((mine.category == c) & ~mine.ignore),
                theirs.take(theirs.category == c),
                frames,
            )
            for c in numbers
        }
    pairs = _tracked(mine, theirs, frames)
    spared[:] = on_distractors(pairs, mine.distractor)
    ignored |= mine.category < 0
    pairs = pairs.kept(~ignored, ~spared)
    return {0: pairs} if len(pairs.truth_id) or len(pairs.id) else {}


def _tracked(mine: Side, theirs: Side, frames: Frames) -> Tracked:
    sides = [(np.searchsorted(frames.orders, s.order), s.track, s.box) for s in (mine, theirs)]
    return tracked(sides[0], sides[1], frames.count)


@dataclass(frozen=True)
class _Counts:
    """What was counted in sequences, in the order of their keys, and what follows from it.

    Attributes:
        sequences: of each its length and numbers by class.
        frames: shape (sequences,), how long each is.
        classes: of each class the sequences that have a box of it, shape (k,), and their numbers,
            stacked.
        corrected: whether all frames count, and what is undefined does not.
        many: whether there may be several classes.
    """

    sequences: Sequence[_Sequence]
    frames: Ints
    classes: dict[int, tuple[Ints, Numbers]]
    corrected: bool
    many: bool

    @staticmethod
    def of(sequences: Sequence[_Sequence], corrected: bool, many: bool) -> _Counts:
        found = {}
        for c in sorted({c for q in sequences for c in q.classes}):
            at = [i for i, q in enumerate(sequences) if c in q.classes]
            found[c] = (np.array(at, np.int64), stacked([sequences[i].classes[c] for i in at]))
        frames = np.array([q.frames for q in sequences], np.int64)
        return _Counts(sequences, frames, found, corrected, many)

    def of_classes(self, weights: Weights) -> dict[int, Numbers]:
        """Numbers of each class that has a box in sequences that count."""
        out = {}
        for c, (at, numbers) in self.classes.items():
            if weights[at].any():
                out[c] = combined(numbers, weights[at], frames=self._frames(weights))
        return out

    def _frames(self, weights: Weights) -> int | None:
        return int((self.frames * weights).sum()) if self.corrected else None

    def total(self, classes: Mapping[int, Numbers], weights: Weights) -> Numbers:
        return together(list(classes.values()), self._frames(weights))

    def values(self, weights: Weights) -> dict[str, float | None]:
        """The numbers that are published, of sequences that count as often as ``weights`` say."""
        classes = self.of_classes(weights)
        out = reported(self.total(classes, weights), self.corrected)
        return out | averaged(list(classes.values()), self.corrected) if self.many else out

    def of_sequences(self) -> pa.Table:
        """A row per sequence."""
        numbers = []
        for q in self.sequences:
            its = together(list(q.classes.values()), q.frames if self.corrected else None)
            numbers.append(reported(its, self.corrected))
        return table_of("key", [q.key for q in self.sequences], numbers)


def on_distractors(pairs: Tracked, distractor: Flags) -> Flags:
    """Predictions that MOTChallenge leaves out: those matched to a box of a distractor.

    Args:
        pairs: all boxes of a sequence, of whatever class.
        distractor: shape (n,), which true boxes are of such classes.

    Returns:
        Shape (m,). An assignment per frame that has the highest sum of similarities, of those from
        0.5 on, says what is matched.
    """
    near = np.where(pairs.similarity >= 0.5 - EPS, pairs.similarity, 0.0)
    matched = assigned(pairs, near)
    out = np.zeros(len(pairs.id), bool)
    out[pairs.col[matched[distractor[pairs.row[matched]]]]] = True
    return out


def combine_sequences(
    numbers: Sequence[Mapping[str, npt.NDArray[Any]]], weights: Weights | None = None
) -> Numbers:
    """Numbers of several sequences together, of one or more of the metrics.

    Args:
        numbers: of each sequence, one or more.
        weights: shape (sequences,), how often each counts; once where not given.
    """
    return combined(stacked(numbers), weights)


def combine_classes(
    numbers: Sequence[Mapping[str, npt.NDArray[Any]]],
    by: Literal["class", "box"],
    *,
    ignore_empty: bool = False,
) -> Numbers:
    """Numbers of several classes together.

    Args:
        numbers: of each class, all its sequences together; one or more.
        by: ``class``: means of the classes' numbers (``combine_classes_class_averaged``); ``box``:
            numbers of the sums of their counts (``combine_classes_det_averaged``).
        ignore_empty: with ``class``: leave out classes without any box.
    """
    if by == "box":
        return combined(stacked(numbers))
    return class_averaged(stacked(numbers), ignore_empty=ignore_empty)
