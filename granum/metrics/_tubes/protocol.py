"""What the protocols of actions in videos have in common: parts are counted, numbers are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.metrics._detection.judged import Judged, Style, average_precision, precision_recall
from granum.metrics._tubes.frame_ap import Boxes, Matching, judged_frames, judged_tubes
from granum.metrics._tubes.overlaps import Tubes, joined_tubes
from granum.metrics._tubes.rows import Scope, Side, frame_numbers, side_of, stated_flags
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["Counted", "TubeProtocol", "steps"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_Odd = tuple[str, str, str]
FRAME = "frame_mAP@0.5"
_LEAST = (0.5,)


def steps(first: float, step: float, n: int) -> tuple[float, ...]:
    """Thresholds in the floats that the official loops make."""
    return tuple(first + step * i for i in range(n))


@dataclass
class Counted:
    """What a part contributes; units of the judged detections are positions in ``keys``.

    Attributes:
        keys: of its videos.
        frames: detections in frames: those of no tube, and those of tubes.
        tubes: detected tubes.
        samples: keys of the truth's frames that count.
        tally: for each of them right, wrong and missed boxes, shape (n, 3) each, as ``frames``.
        rows: how many boxes of truth and of predictions were compared.
        linked: how many tubes there are, of truth and of predictions.
        kinds: what each detected tube is, where errors are split.
        odd: how many of them (or boxes) are to be told, by code, side and what they are.
    """

    keys: list[str]
    frames: tuple[Judged, Judged]
    tubes: Judged
    samples: pa.Array
    tally: tuple[Ints, Ints]
    rows: tuple[int, int]
    linked: tuple[int, int]
    kinds: Ints
    odd: Counter[_Odd]
    findings: Findings


@dataclass(frozen=True)
class TubeProtocol(Protocol):
    """Base of the protocols of actions. Numbers are fractions, not percents.

    Attributes:
        split: the only split whose videos count; None: all do.
    """

    needs: ClassVar[tuple[str, ...]] = ("known",)
    kinds: ClassVar[tuple[str, ...] | None] = ("object", "track")
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object", "track")
    whole_groups: ClassVar[bool] = True

    matching: ClassVar[Matching] = "argmax"
    inclusive_boxes: ClassVar[bool] = False
    unscored: ClassVar[frozenset[str]] = frozenset()
    videos: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    """Names of the numbers of tubes, and the thresholds that each is the mean of."""

    split: str | None = None

    @property
    def inclusive(self) -> bool:
        """Whether frames 3 to 5 are three long."""
        return False

    @property
    def style(self) -> Style:
        return "area"

    def detections(self, found: Boxes) -> tuple[Ints, dict[str, int]]:
        """Which boxes of a part count, and how many do not, by code."""
        return np.arange(len(found)), {}

    def detected_tubes(self, found: Tubes) -> Tubes:
        """The tubes of a part that count."""
        return found

    def kinds_of(self, found: Tubes, true: Tubes) -> Ints:
        """What each detected tube is, given the truth of all classes."""
        return np.empty(0, np.int64)

    def more_curves(
        self, tubes: Judged, kinds: Ints, scored: Flags, names: Sequence[str]
    ) -> Mapping[str, pa.Table]:
        """Tables that a protocol has of its own."""
        return {}

    def spared(self, truth: Batch) -> Flags:
        """The samples of the truth that are no frames to be judged on."""
        return np.zeros(truth.samples.num_rows, bool)

    # ------------------------------------------------------------------ counting

    def state(self, truth: Batch, predictions: Batch, context: Context) -> Counted:
        found = Findings(on_error="skip")
        groups = tables.empty(tables.GROUPS) if context.groups is None else context.groups
        scored = self._scored(context)
        scope = Scope.of(truth, predictions, groups, self.split, scored)
        numbers = frame_numbers(truth.samples, predictions.samples)
        away = self.spared(truth)
        spared = np.unique(numbers[0][away])
        linked = bool(self.videos)
        true = side_of(truth, "truth", scope, numbers[0], spared, found, tubes=linked)
        said = side_of(predictions, "predictions", scope, numbers[1], spared, found, tubes=linked)
        frames, tally = [], []
        odd: Counter[_Odd] = Counter()
        shown = self._shown(truth, scope, away)
        for of_tube in (False, True):
            some = said.boxes.take(said.linked == of_tube)
            keep, lost = self.detections(some)
            odd += Counter(
                {(code, "predictions", "boxes do not count"): n for code, n in lost.items()}
            )
            some = some.take(keep)
            judged = judged_frames(
                some,
                true.boxes,
                _LEAST,
                inclusive=self.inclusive_boxes,
                matching=self.matching,
            )
            frames.append(self._placed(judged, scope.groups))
            tally.append(_tally(judged, some, true.boxes, numbers[0][shown]))
        tubes, detected = true.tubes, self.detected_tubes(said.tubes)
        odd += self._odd_tubes(true, said)
        judged = judged_tubes(
            detected,
            tubes,
            [t for row in self.videos.values() for t in row] or _LEAST,
            inclusive=self.inclusive,
            inclusive_boxes=self.inclusive_boxes,
            matching=self.matching,
        )
        return Counted(
            groups["key"].take(pa.array(scope.groups)).to_pylist(),
            (frames[0], frames[1]),
            self._placed(judged, scope.groups),
            truth.samples["key"].take(pa.array(shown)).combine_chunks().cast(pa.string()),
            (tally[0], tally[1]),
            (len(true.boxes), len(said.boxes)),
            (len(tubes), len(said.tubes)),
            self.kinds_of(detected, joined_tubes(tubes, true.others)),
            odd,
            found,
        )

    def _scored(self, context: Context) -> Flags:
        """Classes that count: as their attribute ``scored`` says, else by name."""
        names = context.categories["name"].to_pylist()
        default = np.array([n not in self.unscored for n in names], bool)
        return stated_flags(context.categories, "scored", default)

    def _shown(self, truth: Batch, scope: Scope, away: Flags) -> Ints:
        of = np.asarray(column(truth.samples, "group").fill_null(-1), np.int64)
        return np.flatnonzero(np.isin(of, scope.groups) & ~away)

    def _placed(self, judged: Judged, groups: Ints) -> Judged:
        """Units as positions in the groups of the part."""
        return replace(
            judged,
            unit=np.searchsorted(groups, judged.unit),
            truth_unit=np.searchsorted(groups, judged.truth_unit),
        )

    def _odd_tubes(self, true: Side, said: Side) -> Counter[_Odd]:
        odd: Counter[_Odd] = Counter()
        for who, tubes in (("truth", true.tubes), ("predictions", said.tubes)):
            odd["track-gap", who, "tubes lack frames in between"] += int(tubes.gapped.sum())
            if not self.inclusive:
                short = int((tubes.first == tubes.last).sum())
                odd["one-frame-tube", who, "tubes of one frame neither hit nor are hit"] += short
        return +odd

    # ------------------------------------------------------------------ numbers

    def result(self, states: Sequence[Any], context: Context) -> Result:
        counted: Sequence[Counted] = states
        keys = [key for state in counted for key in state.keys]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        place = np.empty(len(keys), np.int64)
        place[order] = np.arange(len(keys))
        first = np.concatenate([[0], np.cumsum([len(s.keys) for s in counted])])
        spans = [place[a:b] for a, b in pairwise(first)]
        # Boxes of tubes stand for detections in frames only where there are no others.
        which = int(not any(len(s.frames[0].unit) for s in counted))
        frames, _ = _joined([s.frames[which] for s in counted], spans, 1)
        n = sum(len(t) for t in self.videos.values())
        tubes, by_video = _joined([s.tubes for s in counted], spans, max(n, 1))
        rows, linked = (
            tuple(sum(getattr(s, name)[i] for s in counted) for i in (0, 1))
            for name in ("rows", "linked")
        )
        comparable = bool(linked[0]) and bool(linked[1] or not rows[1])
        numbers = _Numbers(self, frames, tubes, self._scored(context), comparable)
        values = numbers.values(np.ones(len(keys), np.int64))
        findings = joined_findings((s.findings for s in counted), by_place=True)
        for (code, who, what), n in sorted(sum((s.odd for s in counted), Counter()).items()):
            findings.add(code, who, None, f"{n} {what}", n)
        undefined = [name for name, value in values.items() if value is None]
        if undefined:
            why = "no scored class has truth" if values[FRAME] is None else "no tubes"
            message = f"{', '.join(undefined)}: {why}"
            findings.add("undefined-number", "values", None, message, len(undefined))
        names = context.categories["name"].to_pylist()
        left_out = [n for n, s in zip(names, self._scored(context), strict=True) if not s]
        curves = {"precision": precision_recall(frames, names)}
        facts: dict[str, Any] = {
            "mode": self.parameters().get("mode", "official"),
            "split": self.split,
            "videos": len(keys),
            "truths": rows[0],
            "predictions": rows[1],
            "classes_left_out": left_out,
            "classes_with_truth": numbers.classes,
            "frame_detections": ("boxes of no tube", "boxes of tubes")[which],
        }
        if self.videos:
            at = [t for row in self.videos.values() for t in row].index(0.5)
            curves["video_precision"] = precision_recall(tubes, names, at)
            kinds = np.concatenate([np.empty(0, np.int64), *(s.kinds for s in counted)])
            kinds = kinds[by_video] if len(kinds) else kinds
            curves |= self.more_curves(tubes, kinds, numbers.scored, names)
            facts["tubes"] = {"truth": linked[0], "predictions": linked[1]}
        return Result(
            protocol=self.name,
            values=values,
            per_class=numbers.per_class(names),
            per_sample=_per_sample(counted, which),  # type: ignore[arg-type]
            curves=curves,
            facts=facts,
            findings=findings,
            recount=Recount(
                pa.array([keys[i] for i in order], pa.string()), numbers.values, "group"
            ),
        )


@dataclass(frozen=True)
class _Numbers:
    """The numbers of all parts.

    Attributes:
        frames, tubes: detections of all parts.
        scored: shape (categories,).
        comparable: whether there are tubes on both sides.
    """

    protocol: TubeProtocol
    frames: Judged
    tubes: Judged
    scored: Flags
    comparable: bool

    def precisions(self, weights: Ints | None) -> tuple[Floats, Floats]:
        """Average precision of each class, of frames (categories,) and of tubes (categories, t)."""
        n, style = len(self.scored), self.protocol.style
        frame = average_precision(self.frames, n, weights, style)[:, 0]
        return frame, average_precision(self.tubes, n, weights, style)

    def values(self, weights: Ints) -> dict[str, float | None]:
        frame, video = self.precisions(weights)
        out = {FRAME: _mean(frame)}
        at = 0
        for name, thresholds in self.protocol.videos.items():
            span = video[:, at : at + len(thresholds)]
            at += len(thresholds)
            means = [_mean(span[:, t]) for t in range(span.shape[1])]
            known = [m for m in means if m is not None]
            defined = self.comparable and len(known) == len(means)
            out[name] = float(np.mean(known)) if defined else None
        return out

    @property
    def classes(self) -> int:
        return int((self.frames.truths(len(self.scored)) > 0).sum())

    def per_class(self, names: Sequence[str]) -> pa.Table:
        """Numbers of the scored classes."""
        frame, video = self.precisions(None)
        n = len(names)
        rows = np.flatnonzero(self.scored)
        columns: dict[str, Any] = {
            "category": pa.array([names[i] for i in rows.tolist()], pa.string()),
            "boxes": self.frames.truths(n)[rows],
            "detections": np.bincount(self.frames.category, minlength=n)[rows],
            FRAME.replace("mAP", "AP"): _nullable(frame[rows]),
        }
        if self.protocol.videos:
            columns["tubes"] = self.tubes.truths(n)[rows]
            columns["detected_tubes"] = np.bincount(self.tubes.category, minlength=n)[rows]
        at = 0
        for name, thresholds in self.protocol.videos.items():
            mean = video[rows, at : at + len(thresholds)].mean(axis=1)
            mean = mean if self.comparable else np.full(len(rows), np.nan)
            columns[name.replace("mAP", "AP")] = _nullable(mean)
            at += len(thresholds)
        return pa.table(columns)


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else None


def _nullable(values: Floats) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _joined(
    pieces: Sequence[Judged], places: Sequence[Ints], thresholds: int
) -> tuple[Judged, Ints]:
    """Of all parts, detections in the order of the videos' keys, so that no cutting shows; and
    where each one was."""
    moved = [
        replace(p, unit=at[p.unit], truth_unit=at[p.truth_unit])
        for p, at in zip(pieces, places, strict=True)
    ]
    joined = Judged.joined(moved, thresholds)
    order = np.argsort(joined.unit, kind="stable")
    fields = ("unit", "category", "score", "hit", "counted")
    return replace(joined, **{name: getattr(joined, name)[order] for name in fields}), order


def _tally(judged: Judged, found: Boxes, true: Boxes, frames: Ints) -> Ints:
    """Right, wrong and missed boxes of each frame."""
    most = int(max(frames.max(initial=-1), found.frame.max(initial=-1))) + 1
    hit = judged.hit[:, 0]
    right = np.bincount(found.frame[hit], minlength=most)[frames]
    wrong = np.bincount(found.frame[~hit], minlength=most)[frames]
    there = np.bincount(true.frame, minlength=most)[frames]
    return np.column_stack([right, wrong, there - right]).astype(np.int64)


def _per_sample(counted: Sequence[Counted], which: int) -> Callable[[], pa.Table]:
    """Makes the table of frames, by key."""

    def made() -> pa.Table:
        keys = pa.concat_arrays([pa.array([], pa.string()), *(s.samples for s in counted)])
        tally = np.concatenate([np.empty((0, 3), np.int64), *(s.tally[which] for s in counted)])
        columns = {name: tally[:, i] for i, name in enumerate(("tp", "fp", "fn"))}
        return pa.table({"key": keys, **columns}).sort_by("key")

    return made
