"""Detection of generated videos, as GenVideo counts it.

Of all videos: accuracy at 0.5 (a score above it says fake), AUC and AP (scikit-learn's; generated
videos are positive, ties count half, AP by steps). Of each generator: recall, F1, and AP of its
videos together with all real ones. H. Chen et al.: DeMamba, AI-Generated Video Detection on
Million-Scale GenVideo Benchmark, 2024; its code is util.py of chenhaoxing/DeMamba.

That code does not count the videos for F1: it takes the rates times fixed sizes of the published
validation set (10,000 real videos, and per generator those of ``SIZES``), cut to whole numbers, so
that its F1 is wrong on any other set. ``mode="official"`` does the same, and there is no F1 of a
generator without such a size; ``corrected`` counts what is there. Where the official code divides
by zero (nothing generated was found), F1 is None; corrected it is 0.

Official code starts a video at a random frame, so its scores are not repeatable; its numbers are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.metrics._labels.ranked_units import RankedUnits
from granum.metrics._labels.rows import (
    Labels,
    LabelState,
    categories_named,
    firsts,
    joined,
    labels_of,
    of_units,
    spaces_of,
)
from granum.metrics._usable import kept, left_out
from granum.metrics.base import Context, Protocol, Recount, Result, protocols
from granum.schema import tables
from granum.schema.attributes import PREFIX, attribute_dicts
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["REAL", "SIZES", "VideoDetection", "official_f1"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

REAL = 10_000
"""Real videos of the published validation set."""

SIZES = {
    "ModelScope": 700,
    "Morph": 700,
    "MoonValley": 626,
    "HotShot": 700,
    "EvalCrafter_T2V_Dataset/show_1": 700,
    "Sora": 56,
    "Wild": 926,
    "VideoCrafter": 1400,
    "Lavies": 1400,
    "Gen2": 1380,
}
"""Its generated videos, by what the generators' names begin with."""

THRESHOLD = 0.5

_NUMBERS = ("recall", "f1", "ap")


@protocols("video-detection")
@dataclass(frozen=True)
class VideoDetection(Protocol):
    """Accuracy, AUC, AP of generated videos; recall, F1, AP by generator.

    Truth: ``label`` rows of whole groups, of the space ``authenticity``; a group of the category
    ``fake`` is generated, one of another category of that space is real. Its generator is the
    group's attribute ``generator``. Predictions: a ``label`` row of each whole group with a score
    (the probability that it is fake), of the category ``fake`` or of none. Groups without truth or
    without prediction are left out.

    Attributes:
        space: the label space.
        fake: the category of generated videos.
        generator: the attribute of groups.
        mode: ``official`` takes F1 from fixed sizes; ``corrected`` from the videos there are.
    """

    name: ClassVar[str] = "video-detection"
    reference: ClassVar[str] = "DeMamba util.py (2024), scikit-learn"
    needs: ClassVar[tuple[str, ...]] = ("score",)
    kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("label",)
    whole_groups: ClassVar[bool] = True
    scale_free: ClassVar[bool] = True
    sizeless: ClassVar[bool] = True

    space: str = "authenticity"
    fake: str = "fake"
    generator: str = "generator"
    mode: Literal["official", "corrected"] = "official"

    def __post_init__(self) -> None:
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")

    def state(self, truth: Batch, predictions: Batch, context: Context) -> LabelState:
        found = Findings(on_error="skip")
        inside = np.array([s == self.space for s in spaces_of(context.categories)] + [False])
        fake = categories_named(context.categories, [self.fake], self.space, "fake")

        def told(labels: Labels) -> tuple[Flags, str]:
            return inside[labels.category], f"of no category of {self.space}"

        def guessed(labels: Labels) -> tuple[Flags, str]:
            keep = (labels.category < 0) | np.isin(labels.category, fake)
            return keep, f"of a category other than {self.fake}"

        batch = _of_wholes(truth, "truth", found)
        mine = labels_of(batch, "truth", found, told, by="group")
        batch = _of_wholes(predictions, "predictions", found)
        theirs = labels_of(batch, "predictions", found, guessed, by="group")
        used = np.unique(np.concatenate([mine.unit, theirs.unit]))
        assert context.groups is not None
        keys = column(context.groups, "key", tables.GROUPS).take(pa.array(used))
        mine, theirs = (
            Labels(np.searchsorted(used, side.unit), side.category, side.score)
            for side in (mine, theirs)
        )
        return LabelState(keys.cast(pa.string()).combine_chunks(), mine, theirs, found)

    def result(self, states: Sequence[LabelState], context: Context) -> Result:
        whole = joined(states)
        found, keys = whole.findings, whole.keys
        assert context.groups is not None
        truth = _first(whole.truth, keys, "truth", "labels after the first of a video", found)
        what = "rows after the first score of a video"
        guess = _first(whole.predictions, keys, "predictions", what, found)
        bare = context.groups.num_rows - len(truth)
        if bare:
            found.add("no-truth", "truth", None, f"{bare} videos without a label", bare)
        score = np.full(len(keys), np.nan)
        score[guess.unit] = guess.score
        judged = truth.of(~np.isnan(score[truth.unit]))
        fake = categories_named(context.categories, [self.fake], self.space, "fake")
        own = keys.take(pa.array(judged.unit))
        videos = _Videos(
            own,
            score[judged.unit],
            np.isin(judged.category, fake),
            _generators(context.groups, self.generator, own),
            self.mode,
        )
        ones = np.ones(len(judged), np.int64)
        per_class = videos.table(ones)
        values = videos.values(ones)
        _undefined(values, per_class, found)
        unnamed = np.flatnonzero(videos.fake & (videos.generator < 0))
        what = f"fake videos without the attribute {self.generator}: in no generator's numbers"
        of_units(found, "not-compared", "truth", videos.keys, unnamed, what)
        return Result(
            protocol=self.name,
            values=values,
            per_class=per_class,
            per_sample=pa.table(
                {
                    "key": videos.keys,
                    "score": videos.score,
                    "fake": pa.array(videos.fake),
                    "correct": pa.array(videos.right),
                }
            ),
            facts={
                "truths": len(truth),
                "predictions": len(judged),
                "videos_scored": len(judged),
                "real": int((~videos.fake).sum()),
                "fake": int(videos.fake.sum()),
                "without_generator": len(unnamed),
            },
            findings=found,
            recount=Recount(videos.keys, videos.values, unit="group"),
        )


class _Videos:
    """Videos that have a label and a score.

    Args:
        keys, score, fake: of each.
        generators: of each, null where unknown.
        mode: of F1.
    """

    def __init__(
        self, keys: pa.Array, score: Floats, fake: Flags, generators: pa.Array, mode: str
    ) -> None:
        self.keys, self.score, self.fake, self.mode = keys, score, fake, mode
        self.right = (score > THRESHOLD) == fake
        named = pc.if_else(pa.array(fake), generators, None).dictionary_encode()
        called = [_official_name(name, mode) for name in named.dictionary.to_pylist()]
        self.names = sorted(set(called))
        numbers = np.array([*(self.names.index(name) for name in called), -1], np.int64)
        self.generator = numbers[np.asarray(named.indices.fill_null(-1), np.int64)]
        self.all = RankedUnits(score, fake)
        self.rows = [np.flatnonzero(~fake | (self.generator == g)) for g in range(len(self.names))]
        self.ranked = [RankedUnits(score[at], fake[at]) for at in self.rows]

    def values(self, weights: Ints) -> dict[str, float | None]:
        ranking = self.all.levels(weights).ranking()
        own = list(self._generators(weights).values())
        means = {}
        for name in _NUMBERS:
            known = [row[name] for row in own if row[name] is not None]
            means[f"mean_{name}"] = sum(known) / len(known) if known else None
        return {
            "accuracy": _share(self.right, weights),
            "auc": ranking.auroc(),
            "ap": ranking.average_precision(),
            "real_accuracy": _share(self.right, np.where(self.fake, 0, weights)),
            **means,
        }

    def table(self, weights: Ints) -> pa.Table:
        """A row per generator: ``category`` (its name), ``videos``, recall, F1, AP."""
        found = self._generators(weights)
        return pa.table(
            {
                "category": pa.array(list(found), pa.string()),
                "videos": pa.array([row["videos"] for row in found.values()], pa.int64()),
                **{n: pa.array([row[n] for row in found.values()], pa.float64()) for n in _NUMBERS},
            }
        )

    def _generators(self, weights: Ints) -> dict[str, dict[str, Any]]:
        """Of each generator that has videos."""
        real = np.where(self.fake, 0, weights)
        total, wrong = int(real.sum()), int(real[~self.right].sum())
        out = {}
        for g, name in enumerate(self.names):
            own = np.where(self.generator == g, weights, 0)
            n, hits = int(own.sum()), int(own[self.right].sum())
            if not n:
                continue
            f1: float | None = None
            if self.mode == "corrected":
                f1 = 2 * hits / (hits + wrong + n)
            elif total:
                f1 = official_f1(name, hits / n, (total - wrong) / total)
            ranking = self.ranked[g].levels(weights[self.rows[g]]).ranking()
            ap = ranking.average_precision()
            out[name] = {"videos": n, "recall": hits / n, "f1": f1, "ap": ap}
        return out


def _of_wholes(batch: Batch, who: str, found: Findings) -> Batch:
    """Without rows of single frames."""
    framed = np.asarray(column(batch.annotations, "sample").is_valid())
    left_out(found, "not-compared", batch, framed, who, "of a frame, not of a whole video")
    return kept(batch, ~framed)


def _first(labels: Labels, keys: pa.Array, who: str, what: str, found: Findings) -> Labels:
    keep = firsts(labels.unit)
    of_units(found, "duplicate-annotation", who, keys, labels.unit[~keep], what)
    return labels.of(keep)


def _generators(groups: pa.Table, attribute: str, keys: pa.Array) -> pa.Array:
    """The attribute of the groups of these keys, as text."""
    at = pc.index_in(keys, value_set=groups["key"].combine_chunks().cast(pa.string()))
    told = [n for n in ("attributes", PREFIX + attribute) if n in groups.column_names]
    if not told:
        return pa.nulls(len(keys), pa.string())
    values = [(own or {}).get(attribute) for own in attribute_dicts(groups.select(told).take(at))]
    return pa.array([None if v is None else str(v) for v in values], pa.string())


def _official_name(generator: str, mode: str) -> str:
    """What the official code calls a generator: by the beginning of its name."""
    if mode != "official":
        return generator
    return next((name for name in SIZES if generator.startswith(name)), generator)


def _share(right: Flags, weights: Ints) -> float | None:
    total = int(weights.sum())
    return int(weights[right].sum()) / total if total else None


def _undefined(values: Mapping[str, float | None], table: pa.Table, found: Findings) -> None:
    names = [n for n, v in values.items() if v is None]
    if names:
        message = f"{', '.join(names)}: there are not both real and fake videos"
        found.add("undefined-number", "values", None, message, len(names))
    bare = table.filter(column(table, "f1").is_null())["category"].to_pylist()
    if bare:
        message = f"no official F1 of {', '.join(map(repr, bare))}: no published size, or no real"
        found.add("undefined-number", "f1", None, f"{message} or detected video", len(bare))


# ------------------------------------------------------------------ on numbers


def official_f1(generator: str, recall: float, real_accuracy: float) -> float | None:
    """F1 of a generator from fixed sizes of the published validation set.

    Args:
        generator: its name in ``SIZES``.
        recall: share of its videos that were found.
        real_accuracy: share of real videos that were taken for real.

    Returns:
        In [0, 1]; None for another generator, and where precision or F1 divides by zero.
    """
    size = SIZES.get(generator)
    if size is None:
        return None
    wrong = int((1 - real_accuracy) * REAL)
    hits, missed = int(recall * size), int((1 - recall) * size)
    if not hits:
        return None
    precision, found = hits / (hits + wrong), hits / (hits + missed)
    return 2 * precision * found / (precision + found)
