"""Semantic segmentation: one class per pixel.

Mean IoU, frequency-weighted IoU, pixel accuracy and mean class accuracy from the confusion matrix
of the whole set, as mmsegmentation counts them (J. Long, E. Shelhamer, T. Darrell: Fully
Convolutional Networks for Semantic Segmentation, CVPR 2015). IoU is averaged over the classes that
the truth or the predictions hold, accuracy over those of the truth. What torchmetrics calls mean
IoU averages over images first; here that is ``per_sample``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError, UnknownNameError, UsageError
from granum.metrics._maps.class_maps import UNLABELLED, ClassMap, Lookup, class_map
from granum.metrics._maps.drawn import DrawnSample, add_fault, drawn_samples
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["ClassScores", "Semantic", "class_scores", "confusion_matrix"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Cells:
    """The cells of one sample's confusion matrix that are not 0: flat index, and pixels."""

    index: Ints
    pixels: Ints


class _Counted:
    """The cells of all samples, so that they can be added up as often as asked."""

    def __init__(self, samples: Sequence[_Cells], classes: int) -> None:
        none = np.empty(0, np.int64)
        self.classes = classes
        self.sample = np.repeat(np.arange(len(samples)), [len(c.index) for c in samples])
        self.index = np.concatenate([none, *(c.index for c in samples)])
        self.pixels = np.concatenate([none, *(c.pixels for c in samples)])

    def matrix(self, weights: Ints) -> Ints:
        """The confusion matrix of the samples, each as often as its weight says."""
        flat = np.zeros(self.classes * (self.classes + 1), np.int64)
        np.add.at(flat, self.index, self.pixels * weights[self.sample])
        return flat.reshape(self.classes, self.classes + 1)


@dataclass
class _State:
    """Of a part: cells by key, and how many rows of truth and predictions were compared."""

    samples: dict[str, _Cells] = field(default_factory=dict)
    truths: int = 0
    predictions: int = 0
    findings: Findings = field(default_factory=lambda: Findings(on_error="skip"))


@protocols("semantic")
@dataclass(frozen=True)
class Semantic(Protocol):
    """Mean IoU and its kin of predicted label maps.

    Truth and predictions: a whole label map per sample (``map`` without ``value``; its values are
    source ids of categories of its ``space``), or masks of categories, painted by ``z_order``, then
    in the order of the rows. Pixels of the truth without a category (and of ``ignore``) are not
    counted; counted pixels without a predicted category are wrong.

    Attributes:
        ignore: categories, by name or source id, whose pixels in the truth are not counted.
        only_true: mean IoU leaves out classes that only the predictions hold, as the evaluation of
            COCO-Stuff does; otherwise their IoU is 0.
    """

    name: ClassVar[str] = "semantic"
    reference: ClassVar[str] = "mmsegmentation 1.x IoUMetric (aAcc, mIoU, mAcc)"

    needs: ClassVar[tuple[str, ...]] = ("known",)
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)

    ignore: tuple[str, ...] = ()
    only_true: bool = False

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        classes = context.categories.num_rows
        ignored = _ignored(context.categories, self.ignore)
        mine, theirs = Lookup.of_truth(context), Lookup.of_predictions(context)
        state = _State()
        pairs = zip(
            drawn_samples(truth, _COLUMNS, context.map_root),
            drawn_samples(predictions, _COLUMNS, context.prediction_map_root),
            strict=True,
        )
        for real, guess in pairs:
            both = _both(real, guess, mine, theirs, state)
            if both is None:
                continue
            true, predicted = both
            true = np.where(np.isin(true, ignored), UNLABELLED, true) if ignored else true
            matrix = confusion_matrix(true, predicted, classes).ravel()
            index = np.flatnonzero(matrix)
            state.samples[real.key] = _Cells(index, matrix[index])
        return state

    def result(self, states: Sequence[Any], context: Context) -> Result:
        classes = context.categories.num_rows
        samples = dict(sorted((k, c) for state in states for k, c in state.samples.items()))
        counted = _Counted(list(samples.values()), classes)
        matrix = counted.matrix(np.ones(len(samples), np.int64))
        scores = class_scores(matrix, only_true=self.only_true)
        findings = joined_findings((s.findings for s in states), by_place=True)
        if not matrix.any():
            why = "" if classes else ": its dataset has no categories"
            message = f"no pixel of the truth has a class{why}"
            findings.add("undefined-number", "truth", None, message)
        return Result(
            protocol=self.name,
            values=scores.summary(),
            per_class=scores.table(context.categories),
            per_sample=_sample_table(samples, classes, self.only_true),
            curves={"confusion": _confusion_table(matrix, context.categories)},
            facts={
                "truths": sum(s.truths for s in states),
                "predictions": sum(s.predictions for s in states),
                "samples_scored": len(samples),
                "pixels": int(matrix.sum()),
            },
            findings=findings,
            recount=Recount(
                pa.array(list(samples), pa.string()),
                partial(_again, counted, self.only_true),
            ),
        )


_COLUMNS = ("category", "z_order", "ignore")


def _both(
    real: DrawnSample, guess: DrawnSample, mine: Lookup, theirs: Lookup, state: _State
) -> tuple[Ints, Ints] | None:
    """The classes of a sample's pixels, true and predicted; None where they cannot be compared."""
    found, key = state.findings, real.key
    try:
        true = class_map(real, mine, "truth", found)
    except FormatError as error:
        add_fault(found, "truth", real, error)
        return None
    if true.classes is None or not true.labelled:
        found.add("no-truth", "truth", key, "no pixel has a class")
        return None
    state.truths += true.rows
    try:
        predicted = class_map(guess, theirs, "predictions", found)
    except FormatError as error:
        add_fault(found, "predictions", guess, error)
        return None
    if predicted.classes is None:
        return true.classes, np.full(true.classes.shape, UNLABELLED, np.int64)
    if predicted.classes.shape != true.classes.shape:
        sizes = f"{predicted.classes.shape} pixels, truth of {true.classes.shape}"
        found.add("mask-size-mismatch", "predictions", key, f"a prediction of {sizes}")
        return None
    if predicted.values is not None:
        _unlisted(true.classes, predicted, key, found)
    state.predictions += predicted.rows
    return true.classes, predicted.classes


def _unlisted(true: Ints, predicted: ClassMap, key: str, found: Findings) -> None:
    """Pixels that count, with a value that is no category: they are wrong."""
    assert predicted.values is not None and predicted.classes is not None
    values = predicted.values[(true >= 0) & (predicted.classes == UNLABELLED)]
    if len(values):
        shown = ", ".join(map(str, np.unique(values)[:3].tolist()))
        message = f"{len(values)} pixels of values that are no category (such as {shown}): wrong"
        found.add("unknown-category", "predictions", key, message)


def _ignored(categories: pa.Table, names: Sequence[str]) -> list[int]:
    listed = categories["name"].to_pylist()
    ids = column(categories, "source_id", tables.CATEGORIES).to_pylist()
    out = []
    for name in names:
        rows = [i for i, both in enumerate(zip(listed, ids, strict=True)) if str(name) in both]
        if not rows:
            raise UnknownNameError("category", str(name), listed)
        out += rows
    return out


def _again(counted: _Counted, only_true: bool, weights: Ints) -> dict[str, float | None]:
    return class_scores(counted.matrix(weights), only_true=only_true).summary()


def _sample_table(samples: dict[str, _Cells], classes: int, only_true: bool) -> pa.Table:
    """``key``, ``pixel_accuracy`` and ``miou`` (over the classes in the sample) of each sample."""
    accuracy: list[float | None] = []
    mean: list[float | None] = []
    for cells in samples.values():
        scores = _scores_of_cells(cells, classes, only_true)
        accuracy.append(scores.pixel_accuracy)
        mean.append(scores.miou)
    return pa.table(
        {
            "key": pa.array(list(samples), pa.string()),
            "pixel_accuracy": pa.array(accuracy, pa.float64()),
            "miou": pa.array(mean, pa.float64()),
        }
    )


def _scores_of_cells(cells: _Cells, classes: int, only_true: bool) -> ClassScores:
    """As ``class_scores``, of the classes in the sample alone (a matrix may have many)."""
    real, guess = np.divmod(cells.index, classes + 1)
    known, place = np.unique(np.concatenate([real, guess]), return_inverse=True)
    known_classes = len(known) - int(len(known) > 0 and known[-1] == classes)
    matrix = np.zeros((known_classes, known_classes + 1), np.int64)
    matrix[place[: len(real)], place[len(real) :]] = cells.pixels
    return class_scores(matrix, only_true=only_true)


def _confusion_table(matrix: Ints, categories: pa.Table) -> pa.Table:
    """``truth``, ``predicted`` (null: no class) and ``pixels`` of each pair that occurs."""
    names = categories["name"].combine_chunks().cast(pa.string())
    real, guess = np.nonzero(matrix)
    return pa.table(
        {
            "truth": names.take(pa.array(real)),
            "predicted": names.take(pa.array(guess, mask=guess == matrix.shape[0])),
            "pixels": pa.array(matrix[real, guess]),
        }
    )


# ------------------------------------------------------------------ on arrays


def confusion_matrix(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, classes: int, *, ignore: int | None = None
) -> Ints:
    """Pixels of each true class (rows) that were predicted as each class (columns).

    Args:
        truth, predicted: integers of equal shape.
        classes: how many; they are 0..classes-1.
        ignore: pixels of the truth with this label are not counted (like all that are no class).

    Returns:
        Shape (classes, classes + 1); the last column counts predictions that are no class.

    Raises:
        UsageError: shapes differ.
    """
    real, guess = np.asarray(truth).ravel(), np.asarray(predicted).ravel()
    if np.shape(truth) != np.shape(predicted):
        raise UsageError(f"a truth of {np.shape(truth)}, a prediction of {np.shape(predicted)}")
    counted = (real >= 0) & (real < classes)
    if ignore is not None:
        counted &= real != ignore
    if not counted.all():
        real, guess = real[counted], guess[counted]
    known = (guess >= 0) & (guess < classes)
    guess = np.where(known, guess.astype(np.int64), classes)
    pairs = real.astype(np.int64) * (classes + 1) + guess
    return np.bincount(pairs, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


@dataclass(frozen=True)
class ClassScores:
    """Scores of a confusion matrix; None, or NaN for a class, where there is nothing to divide by.

    Attributes:
        iou: shape (classes,): shared pixels over those of truth or prediction.
        accuracy: shape (classes,): shared pixels over those of the truth (recall).
        precision: shape (classes,): shared pixels over those of the prediction.
        true_pixels, predicted_pixels: shape (classes,).
        pixel_accuracy: right pixels over all that count.
        miou: mean of ``iou`` over the classes that occur.
        mean_accuracy: mean of ``accuracy`` over the classes of the truth.
        frequency_weighted_iou: ``iou`` weighted by pixels of the truth.
    """

    iou: Floats
    accuracy: Floats
    precision: Floats
    true_pixels: Ints
    predicted_pixels: Ints
    pixel_accuracy: float | None
    miou: float | None
    mean_accuracy: float | None
    frequency_weighted_iou: float | None

    def summary(self) -> dict[str, float | None]:
        names = ("miou", "frequency_weighted_iou", "pixel_accuracy", "mean_accuracy")
        return {name: getattr(self, name) for name in names}

    def table(self, categories: pa.Table) -> pa.Table:
        """A row per category: its name and numbers, null where undefined."""
        numbers = {n: getattr(self, n) for n in ("iou", "accuracy", "precision")}
        return pa.table(
            {
                "category": categories["name"].combine_chunks(),
                **{n: pa.array(v, mask=np.isnan(v)) for n, v in numbers.items()},
                "true_pixels": pa.array(self.true_pixels),
                "predicted_pixels": pa.array(self.predicted_pixels),
            }
        )


def class_scores(confusion: npt.ArrayLike, *, only_true: bool = False) -> ClassScores:
    """The scores of a confusion matrix, shape (classes, classes) or as ``confusion_matrix`` gives.

    ``only_true``: classes without a pixel of the truth have no IoU.

    Raises:
        UsageError: no such matrix.
    """
    matrix = np.asarray(confusion, np.int64)
    if matrix.ndim != 2 or matrix.shape[1] - matrix.shape[0] not in (0, 1):
        raise UsageError(f"a confusion matrix of shape {matrix.shape}")
    right = np.diagonal(matrix)
    true = matrix.sum(axis=1)
    predicted = matrix.sum(axis=0)[: len(right)]
    iou, accuracy = _ratio(right, true + predicted - right), _ratio(right, true)
    if only_true:
        iou = np.where(true > 0, iou, np.nan)
    total = int(true.sum())
    return ClassScores(
        iou=iou,
        accuracy=accuracy,
        precision=_ratio(right, predicted),
        true_pixels=true,
        predicted_pixels=predicted,
        pixel_accuracy=int(right.sum()) / total if total else None,
        miou=_mean(iou),
        mean_accuracy=_mean(accuracy),
        frequency_weighted_iou=(
            float((true / total * np.nan_to_num(iou)).sum()) if total else None
        ),
    )


def _ratio(part: Ints, whole: Ints) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
