"""Change detection: what changed between two dates, and into what.

Binary (LEVIR-CD and its kin): precision, recall, F1, IoU of changed pixels, overall accuracy and
Cohen's kappa, from the counts of the whole set. Semantic (SECOND): both dates are pooled into one
matrix, rows predicted, columns true, class 0 unchanged. mIoU is the mean IoU of unchanged and
changed; the separated kappa SeK = kappa e^(IoU of changed - 1), kappa of the matrix without the
pixels that both call unchanged; Fscd, the F1 of changed pixels of the right class; SECOND's score
0.3 mIoU + 0.7 SeK (K. Yang et al., Asymmetric Siamese Networks, 2020; SCDD_eval_all of
ggsDing/Bi-SRNet, utils/utils.py). FUSU's code (yuanshuai0914/FUSU, utils/metric.py) takes the same
formulas on whole maps of land use, where 0 is background and nothing says what changed, with
0.5 mIoU + 0.5 SeK: ``score="fusu"``, reported as ``fusu_score``.

Empty: kappa is 0 where chance alone would agree on everything (the official rule); a number that
divides by 0 is None, where official code gives NaN. Nothing is ranked, so there are no ties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._maps.change_pairs import IGNORED, Classes, Pair, pair_of
from granum.metrics._maps.change_scores import (
    BinaryScores,
    SemanticScores,
    binary_scores,
    change_matrix,
    kappa,
    semantic_scores,
)
from granum.metrics._maps.class_maps import Lookup
from granum.metrics._maps.drawn_groups import DrawnGroup, drawn_groups
from granum.metrics._weighted_means import weighted_mean
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = [
    "BinaryScores",
    "Change",
    "SemanticScores",
    "binary_scores",
    "change_matrix",
    "kappa",
    "semantic_scores",
]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_WEIGHTS = {"second": 0.3, "fusu": 0.5}
_ALL = -1
"""The category that stands for change of any kind."""


@dataclass(frozen=True)
class _Counted:
    """One pair: counts of pixels by kind of change (tp, fp, fn, tn), and cells of the matrix."""

    key: str
    sample: str
    binary: Mapping[int, Ints]
    cells: tuple[Ints, Ints] | None
    truths: int
    predictions: int


@dataclass
class _State:
    pairs: list[_Counted] = field(default_factory=list)
    findings: Findings = field(default_factory=lambda: Findings(on_error="skip"))


@protocols("change")
@dataclass(frozen=True)
class Change(Protocol):
    """Binary and semantic change detection.

    A pair is a group with samples of the roles ``t1`` and ``t2`` (else: two samples, by ``order``).
    Binary truth: masks on ``t2`` (or on the group) of categories of the space ``change``, all of
    them united, or a whole map of that space (0 is unchanged). Semantic truth: a label map, or
    masks of categories, at both dates; pixels of no category, and of ``unchanged``, are unchanged,
    as are those outside the mask of change where there is one. Predictions alike; a pair without
    any is predicted as unchanged, and a finding says so.

    Attributes:
        task: ``binary`` or ``semantic``; ``auto``: semantic where any pair of the truth has label
            maps at both dates.
        score: ``second``, or ``fusu``: its weights, label maps as they are, and IoU of classes
            among pixels that both call something.
        unchanged: names or source ids of categories, or values of label maps, that mean unchanged.
        ignore: names or source ids of categories whose pixels in the truth do not count.
    """

    name: ClassVar[str] = "change"
    reference: ClassVar[str] = "SECOND (Bi-SRNet utils.py, SCDD_eval_all); FUSU utils/metric.py"
    needs: ClassVar[tuple[str, ...]] = ("known",)
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    whole_groups: ClassVar[bool] = True

    task: Literal["auto", "binary", "semantic"] = "auto"
    score: Literal["second", "fusu"] = "second"
    unchanged: tuple[str | int, ...] = ("0",)
    ignore: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        if self.task not in ("auto", "binary", "semantic"):
            raise UsageError(f"task is {self.task!r}; it must be auto, binary or semantic")
        if self.score not in _WEIGHTS:
            raise UsageError(f"score is {self.score!r}; it must be second or fusu")

    def _classes(self, context: Context) -> Classes:
        return Classes.among(
            context.categories, [str(v) for v in self.unchanged], [str(v) for v in self.ignore]
        )

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        classes = self._classes(context)
        groups = pa.table({"key": []}) if context.groups is None else context.groups
        real = drawn_groups(truth, _COLUMNS, context.map_root, groups)
        guess = drawn_groups(predictions, _COLUMNS, context.prediction_map_root, groups)
        lookups = Lookup.of_truth(context), Lookup.of_predictions(context)
        state = _State()
        for row, group in real.items():
            counted = self._counted(group, guess.get(row), classes, lookups, state.findings)
            if counted is not None:
                state.pairs.append(counted)
        return state

    def _counted(
        self,
        real: DrawnGroup,
        guess: DrawnGroup | None,
        classes: Classes,
        lookups: tuple[Lookup, Lookup],
        found: Findings,
    ) -> _Counted | None:
        masked = self.score == "second"
        true = pair_of(real, classes, lookups[0], "truth", masked, found)
        if true is None:
            return None
        if true.changed is None and true.dates is None:
            found.add("no-truth", "truth", real.key, "neither a mask of change nor two label maps")
            return None
        said: Pair | None = Pair(true.key)
        if guess is not None and guess.members:
            said = pair_of(guess, classes, lookups[1], "predictions", masked, found)
        if said is None:
            return None
        shapes = {m.shape for m in (true.changed, said.changed) if m is not None}
        shapes |= {p.dates[0].shape for p in (true, said) if p.dates is not None}
        if len(shapes) > 1:
            found.add(
                "mask-size-mismatch",
                "predictions",
                true.key,
                f"maps of {sorted(shapes)} (height, width): the pair is left out",
            )
            return None
        binary = _binary(true, said, classes) if self.task != "semantic" else {}
        cells = _cells(true, said, classes) if self.task != "binary" else None
        if not binary and cells is None:
            what = "mask of change" if self.task == "binary" else "label map of both dates"
            found.add("no-truth", "truth", real.key, f"no {what}")
            return None
        return _Counted(real.key, true.key, binary, cells, true.rows, said.rows)

    def result(self, states: Sequence[Any], context: Context) -> Result:
        pairs = sorted((p for state in states for p in state.pairs), key=lambda p: p.key)
        findings = joined_findings((s.findings for s in states), by_place=True)
        semantic = self.task == "semantic" or any(p.cells is not None for p in pairs)
        used = []
        for pair in pairs:
            if pair.cells is not None if semantic else pair.binary:
                used.append(pair)
            else:
                found = "a mask of change, and no label map of both dates"
                findings.add("no-truth", "truth", pair.key, found)
        report = self._semantic if semantic else self._binary
        values, per_class, per_sample = report(used, context)
        numbers = values(np.ones(len(used), np.int64))
        undefined = [name for name, value in numbers.items() if value is None]
        if undefined:
            message = f"{', '.join(undefined)}: nothing is changed, or no pixel counts"
            findings.add("undefined-number", "values", None, message, len(undefined))
        return Result(
            protocol=self.name,
            values=numbers,
            per_class=per_class,
            per_sample=per_sample,
            facts={
                "task": "semantic" if semantic else "binary",
                "truths": sum(p.truths for p in used),
                "predictions": sum(p.predictions for p in used),
                "pairs_scored": len(used),
            },
            findings=findings,
            recount=Recount(pa.array([p.key for p in used], pa.string()), values, "group"),
        )

    def _binary(
        self, pairs: Sequence[_Counted], context: Context
    ) -> tuple[_Values, pa.Table, pa.Table]:
        counts = np.array([p.binary[_ALL] for p in pairs], np.int64).reshape(len(pairs), 4)

        def values(weights: Ints) -> dict[str, float | None]:
            return binary_scores(*(counts * weights[:, None]).sum(axis=0).tolist()).summary()

        names = context.categories["name"].to_pylist()
        kinds = sorted({c for p in pairs for c in p.binary} - {_ALL})
        total = {c: np.sum([p.binary[c] for p in pairs if c in p.binary], axis=0) for c in kinds}
        scores = [binary_scores(*total[c].tolist()).summary() for c in kinds]
        per_class = _columns({"category": [names[c] for c in kinds]}, scores, _BINARY)
        own = [binary_scores(*row).summary() for row in counts.tolist()]
        table = _columns({"key": [p.sample for p in pairs]}, own, _BINARY)
        for i, name in enumerate(("tp", "fp", "fn", "tn")):
            table = table.append_column(f"{name}_pixels", pa.array(counts[:, i]))
        return values, per_class, table

    def _semantic(
        self, pairs: Sequence[_Counted], context: Context
    ) -> tuple[_Values, pa.Table, pa.Table]:
        classes = self._classes(context)
        cells = [p.cells for p in pairs if p.cells is not None]
        index = np.concatenate([np.empty(0, np.int64), *(c[0] for c in cells)])
        pixels = np.concatenate([np.empty(0, np.int64), *(c[1] for c in cells)])
        pair_of_cell = np.repeat(np.arange(len(cells)), [len(c[0]) for c in cells])

        def scored(index: Ints, pixels: Ints) -> tuple[SemanticScores, Ints]:
            flat = np.zeros(classes.number**2, np.int64)
            np.add.at(flat, index, pixels)
            matrix = flat.reshape(classes.number, classes.number)
            return semantic_scores(matrix, among_changed=self.score == "fusu"), matrix

        def told(scores: SemanticScores) -> dict[str, float | None]:
            out = scores.summary()
            if self.score == "fusu":
                # The last class is what was predicted and is none.
                out["class_miou"] = weighted_mean(scores.class_iou[1:-1])
            return {**out, f"{self.score}_score": scores.score(_WEIGHTS[self.score])}

        def values(weights: Ints) -> dict[str, float | None]:
            return told(scored(index, pixels * weights[pair_of_cell])[0])

        whole, matrix = scored(index, pixels)
        names = context.categories["name"].to_pylist()
        of = classes.of.tolist()
        shown = [i for i, c in enumerate(of) if c > 0 and i not in classes.change]
        rows = np.array([0, *(i + 1 for i in shown)])
        iou, right = whole.class_iou[rows], np.diag(matrix)[rows]
        true, predicted = matrix.sum(0)[rows], matrix.sum(1)[rows]
        per_class = pa.table(
            {
                "category": pa.array(["unchanged", *(names[i] for i in shown)], pa.string()),
                "iou": pa.array(iou, mask=np.isnan(iou)),
                "precision": _shares(right, predicted),
                "recall": _shares(right, true),
                "true_pixels": true,
                "predicted_pixels": predicted,
            }
        )
        own = [told(scored(*one)[0]) for one in cells]
        columns = list(told(whole))
        return values, per_class, _columns({"key": [p.sample for p in pairs]}, own, columns)


_COLUMNS = ("category", "z_order", "ignore")
_BINARY = ("precision", "recall", "f1", "iou", "oa", "kappa")
_Values = Callable[[Ints], dict[str, float | None]]


def _binary(true: Pair, said: Pair, classes: Classes) -> dict[int, Ints]:
    """Counts of pixels, of all change and of each kind; nothing where the truth has no mask."""
    if true.changed is None:
        return {}
    counted = np.ones(true.changed.shape, bool) if true.ignored is None else ~true.ignored
    empty = np.zeros(true.changed.shape, bool)
    found = {_ALL: _four(true.changed, empty if said.changed is None else said.changed, counted)}
    for kind in classes.change:
        real, guess = true.kinds.get(kind, empty), said.kinds.get(kind, empty)
        found[kind] = _four(real, guess, counted)
    return found


def _four(real: Mask, guess: Mask, counted: Mask) -> Ints:
    real, guess = real & counted, guess & counted
    tp, true, said = (np.count_nonzero(m) for m in (real & guess, real, guess))
    return np.array(
        [tp, said - tp, true - tp, np.count_nonzero(counted) - true - said + tp], np.int64
    )


def _cells(true: Pair, said: Pair, classes: Classes) -> tuple[Ints, Ints] | None:
    """The cells of both dates' matrix that are not 0; None where the truth has no two maps."""
    if true.dates is None:
        return None
    matrix = np.zeros((classes.number, classes.number), np.int64)
    for date, real in enumerate(true.dates):
        counted = real if true.ignored is None else np.where(true.ignored, IGNORED, real)
        guess = np.zeros(real.shape, np.int64) if said.dates is None else said.dates[date]
        # A prediction cannot choose what is not counted.
        guess = np.where(guess == IGNORED, classes.unknown, guess)
        matrix += change_matrix(counted, guess, classes.number)
    index = np.flatnonzero(matrix)
    return index, matrix.ravel()[index]


def _shares(part: Ints, whole: Ints) -> pa.Array:
    return pa.array(part / np.maximum(whole, 1), mask=whole == 0)


def _columns(
    first: Mapping[str, Sequence[str]],
    rows: Sequence[Mapping[str, float | None]],
    names: Sequence[str],
) -> pa.Table:
    out = {name: pa.array(values, pa.string()) for name, values in first.items()}
    for name in names:
        out[name] = pa.array([row[name] for row in rows], pa.float64())
    return pa.table(out)
