"""Nested regions (BraTS: whole tumour, tumour core, enhancing tumour): Dice, HD95, containment.

Each region is judged in each volume, and the numbers are means over the volumes. Dice is
2|A n B| / (|A| + |B|). HD95 is the 95th percentile of the distances between the surfaces, in the
unit of the spacing: of both directions taken together, as medpy has it (``hd95="pooled"``), or the
larger of both directed percentiles, as MONAI has it (``max``). Empty: where truth and prediction
are, Dice 1 and HD95 0; where one of them is, Dice 0 and HD95 373.12866, the diagonal of 240 x 240
x 155 mm, as BraTS counts them; ``empty="undefined"`` leaves out what nothing defines. Violation:
the elements of a predicted region that lie outside the one around it, over all of that region; 0 by
construction where predictions are label maps (X. Hu et al., Hierarchical multi-class segmentation
of glioma images using networks with multi-level activation function, 2018). Nothing is ranked, so
there are no ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError, UsageError
from granum.metrics._maps.class_maps import Lookup
from granum.metrics._maps.drawn import DrawnSample, add_fault, drawn_samples
from granum.metrics._maps.drawn_groups import drawn_groups
from granum.metrics._maps.nested_masks import (
    Drawn,
    RegionSet,
    drawn_image,
    drawn_volume,
    spacing_of,
)
from granum.metrics._maps.surface_distances import hd95, surface_distances
from granum.metrics._weighted_means import weighted_mean
from granum.metrics.base import Context, Protocol, Recount, Result, joined_findings, protocols
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = [
    "Nested",
    "NestedImages",
    "NestedRegions",
    "dice",
    "hd95",
    "surface_distances",
    "violations",
]

Ints = npt.NDArray[np.int64]

DIAGONAL = 373.12866


@dataclass(frozen=True)
class _Unit:
    """A volume or image: by region the elements shared, true and predicted, HD95 (None where a
    mask is empty), and how many of the predicted lie outside the region around it."""

    key: str
    samples: tuple[str, ...]
    counts: Mapping[str, tuple[int, int, int]]
    distances: Mapping[str, float | None]
    outside: Mapping[str, int]
    truths: int
    predictions: int


@dataclass
class _State:
    units: list[_Unit] = field(default_factory=list)
    findings: Findings = field(default_factory=lambda: Findings(on_error="skip"))


@dataclass(frozen=True)
class NestedRegions(Protocol):
    """What volumes and images have in common.

    Truth and predictions: a whole label map (its values are source ids of categories, or the
    numbers of ``regions``), or masks of categories. A mask's category is a part, of which regions
    are unions, or a region as such; regions as such need not contain each other.

    Attributes:
        regions: what each region is the union of, the outermost first: names of categories, or
            values of label maps. Default: WT, TC and ET, of NCR, ED and ET where the truth has
            categories of these names, else of 1, 2, 4.
        spacing: of elements along x, y (and z); default: of volumes the attribute ``spacing`` of
            the truth's samples, else 1.
        hd95: ``pooled`` (medpy) or ``max`` (MONAI).
        empty: ``brats``, or ``undefined``.
        penalty: HD95 where one of both is empty (``brats``).
        masks: what masks are: ``parts``, ``regions`` as such, or ``auto``: regions where any is of
            a category that is a region and no part.
    """

    reference: ClassVar[str] = "medpy (dc, hd95), BraTS's rules of empty regions"
    extra: ClassVar[str | None] = "eval"
    needs: ClassVar[tuple[str, ...]] = ("known",)
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)

    regions: Mapping[str, Sequence[str | int]] | None = None
    spacing: tuple[float, ...] | None = None
    hd95: Literal["pooled", "max"] = "pooled"
    empty: Literal["brats", "undefined"] = "brats"
    penalty: float = DIAGONAL
    masks: Literal["auto", "parts", "regions"] = "auto"

    axes: ClassVar[int]
    unit: ClassVar[Literal["sample", "group"]]

    def __post_init__(self) -> None:
        choices = {
            "hd95": ("pooled", "max"),
            "empty": ("brats", "undefined"),
            "masks": ("auto", "parts", "regions"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                listed = ", ".join(known)
                raise UsageError(f"{name} is {getattr(self, name)!r}; it must be one of {listed}")
        if self.regions is not None and (
            not isinstance(self.regions, Mapping)
            or not self.regions
            or any(isinstance(p, str | int) for p in self.regions.values())
        ):
            raise UsageError('regions are given as {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}')
        if self.spacing is not None:
            given = tuple(float(v) for v in self.spacing)
            if len(given) != self.axes or not all(0 < v < np.inf for v in given):
                raise UsageError(f"spacing is {given}; it must be {self.axes} numbers above 0")

    def _step(self) -> tuple[float, ...] | None:
        return None if self.spacing is None else tuple(float(v) for v in self.spacing)[::-1]

    def _compared(
        self,
        key: str,
        samples: Sequence[str],
        true: Drawn,
        said: Drawn,
        step: tuple[float, ...] | None,
        state: _State,
    ) -> None:
        """Count a unit."""
        if true.masks is None:
            state.findings.add("no-truth", "truth", key, "no region is annotated")
            return
        predicted = said.masks or {n: np.zeros(m.shape, bool) for n, m in true.masks.items()}
        shapes = [next(iter(m.values())).shape for m in (true.masks, predicted)]
        if shapes[0] != shapes[1]:
            message = f"masks of {shapes[1]} elements, truth of {shapes[0]}"
            state.findings.add("mask-size-mismatch", "predictions", key, message, max(said.rows, 1))
            return
        pairs = {n: (m, predicted[n]) for n, m in true.masks.items()}
        state.units.append(
            _Unit(
                key,
                tuple(samples),
                {n: (_count(a & b), _count(a), _count(b)) for n, (a, b) in pairs.items()},
                {n: hd95(a, b, step, style=self.hd95) for n, (a, b) in pairs.items()},
                dict(zip(list(pairs)[1:], _outside(list(predicted.values())), strict=True)),
                true.rows,
                said.rows,
            )
        )

    def result(self, states: Sequence[Any], context: Context) -> Result:
        names = list(RegionSet.among(context.categories, self.regions).numbers)
        units = sorted((u for state in states for u in state.units), key=lambda u: u.key)
        findings = joined_findings((s.findings for s in states), by_place=True)
        figures = {n: [self._figures(u, n) for u in units] for n in names}
        counts = np.array([[u.counts[n] for n in names] for u in units], np.int64)
        counts = counts.reshape(len(units), len(names), 3)
        outside = np.array([[u.outside[n] for n in names[1:]] for u in units], np.int64)
        outside = outside.reshape(len(units), len(names) - 1)

        def values(weights: Ints) -> dict[str, float | None]:
            out: dict[str, float | None] = {}
            for i, measure in enumerate(("dice", "hd95")):
                own = {n: weighted_mean([f[i] for f in figures[n]], weights) for n in names}
                out[measure] = (
                    weighted_mean(list(own.values())) if None not in own.values() else None
                )
                out |= {f"{measure}_{n}": v for n, v in own.items()}
            beyond = weights @ outside
            held = weights @ counts[:, 1:, 2]
            out["violation"] = _over(int(beyond.sum()), int(held.sum()))
            for n, part, whole in zip(names[1:], beyond.tolist(), held.tolist(), strict=True):
                out[f"violation_{n}"] = _over(part, whole)
            return out

        numbers = values(np.ones(len(units), np.int64))
        undefined = [n for n, v in numbers.items() if v is None]
        if undefined:
            message = f"{', '.join(undefined)}: no region that defines them"
            findings.add("undefined-number", "values", None, message, len(undefined))
        empty = counts[:, :, 1:] == 0
        per_class: dict[str, Any] = {"category": pa.array(names, pa.string())}
        for name in ("dice", "hd95", "violation"):
            column = [numbers.get(f"{name}_{n}") for n in names]
            per_class[name] = pa.array(column, pa.float64())
        for i, name in enumerate(("shared", "true", "predicted")):
            per_class[f"{name}_elements"] = counts[:, :, i].sum(axis=0)
        per_class["both_empty"] = empty.all(axis=2).sum(axis=0)
        per_class["one_empty"] = (empty.sum(axis=2) == 1).sum(axis=0)
        return Result(
            protocol=self.name,
            values=numbers,
            per_class=pa.table(per_class),
            per_sample=self._per_sample(units, names, figures),
            facts={
                "truths": sum(u.truths for u in units),
                "predictions": sum(u.predictions for u in units),
                "volumes_scored" if self.unit == "group" else "samples_scored": len(units),
            },
            findings=findings,
            recount=Recount(pa.array([u.key for u in units], pa.string()), values, self.unit),
        )

    def _figures(self, unit: _Unit, name: str) -> tuple[float | None, float | None]:
        """Dice and HD95 of a region, with the rules of empty ones."""
        shared, true, predicted = unit.counts[name]
        if self.empty == "brats" and not (true and predicted):
            return (1.0, 0.0) if true == predicted else (0.0, self.penalty)
        return _over(2 * shared, true + predicted), unit.distances[name]

    def _per_sample(
        self,
        units: Sequence[_Unit],
        names: Sequence[str],
        figures: Mapping[str, Sequence[tuple[float | None, float | None]]],
    ) -> pa.Table:
        """A volume's numbers stand at each of its samples."""
        rows = [(i, key) for i, u in enumerate(units) for key in u.samples]
        out: dict[str, Any] = {"key": pa.array([key for _, key in rows], pa.string())}
        for k, measure in enumerate(("dice", "hd95")):
            for n in names:
                column = [figures[n][i][k] for i, _ in rows]
                out[f"{measure}_{n}"] = pa.array(column, pa.float64())
        beyond = [
            _over(sum(u.outside.values()), sum(u.counts[n][2] for n in names[1:])) for u in units
        ]
        out["violation"] = pa.array([beyond[i] for i, _ in rows], pa.float64())
        return pa.table(out)


@protocols("nested")
@dataclass(frozen=True)
class Nested(NestedRegions):
    """Nested regions of volumes: Dice, HD95 and containment.

    A volume is a group: a label volume (``.nii``, ``.nii.gz``, ``.npy``) that hangs on it or on one
    of its samples, or slices, stacked by ``order``. Images in no group are for ``nested-images``.
    Attributes as of :class:`NestedRegions`.
    """

    name: ClassVar[str] = "nested"
    whole_groups: ClassVar[bool] = True
    axes: ClassVar[int] = 3
    unit: ClassVar[Literal["sample", "group"]] = "group"

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        regions = RegionSet.among(context.categories, self.regions)
        groups = pa.table({"key": []}) if context.groups is None else context.groups
        real = drawn_groups(truth, _COLUMNS, context.map_root, groups)
        guess = drawn_groups(predictions, _COLUMNS, context.prediction_map_root, groups)
        mine, theirs = Lookup.of_truth(context), Lookup.of_predictions(context)
        state = _State()
        found = state.findings
        for row, group in real.items():
            other = guess.get(row)
            step = self._step() or spacing_of(group.members, group.key, self.axes, found)
            try:
                true = drawn_volume(group, regions, mine, self.masks, "truth", found)
            except FormatError as error:
                add_fault(found, "truth", group.whole, error)
                continue
            said = Drawn(None, 0)
            if other is not None:
                who = "predictions"
                try:
                    said = drawn_volume(other, regions, theirs, self.masks, who, found, true.orders)
                except FormatError as error:
                    add_fault(found, who, other.whole, error)
                    continue
            keys = [m.drawn.key for m in group.members]
            self._compared(group.key, keys, true, said, step, state)
        return state


@protocols("nested-images")
@dataclass(frozen=True)
class NestedImages(NestedRegions):
    """Nested regions of images, each by itself: Dice, HD95 and containment. Attributes as of
    :class:`NestedRegions`; distances are in pixels where no ``spacing`` is given."""

    name: ClassVar[str] = "nested-images"
    axes: ClassVar[int] = 2
    unit: ClassVar[Literal["sample", "group"]] = "sample"

    def state(self, truth: Batch, predictions: Batch, context: Context) -> _State:
        regions = RegionSet.among(context.categories, self.regions)
        mine, theirs = Lookup.of_truth(context), Lookup.of_predictions(context)
        state = _State()
        sides = (
            drawn_samples(truth, _COLUMNS, context.map_root),
            drawn_samples(predictions, _COLUMNS, context.prediction_map_root),
        )
        for real, guess in zip(*sides, strict=True):
            drawn: list[Drawn] = []
            both: list[tuple[DrawnSample, Lookup, str]] = [
                (real, mine, "truth"),
                (guess, theirs, "predictions"),
            ]
            for sample, lookup, who in both:
                try:
                    drawn.append(
                        drawn_image(sample, regions, lookup, self.masks, who, state.findings)
                    )
                except FormatError as error:
                    add_fault(state.findings, who, sample, error)
                    break
            if len(drawn) == 2:
                self._compared(real.key, [real.key], drawn[0], drawn[1], self._step(), state)
        return state


_COLUMNS = ("category", "z_order", "ignore")


def _outside(masks: Sequence[npt.NDArray[np.bool_]]) -> list[int]:
    return [_count(inner & ~outer) for outer, inner in pairwise(masks)]


def _count(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _over(part: int, whole: int) -> float | None:
    return part / whole if whole else None


# ------------------------------------------------------------------ on arrays


def dice(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float | None:
    """Dice coefficient of two masks of equal shape: twice what they share over both; None where
    both are empty.

    Raises:
        UsageError: shapes differ.
    """
    a, b = np.asarray(truth) != 0, np.asarray(predicted) != 0
    if a.shape != b.shape:
        raise UsageError(f"masks of shapes {a.shape} and {b.shape}")
    return _over(2 * int((a & b).sum()), int(a.sum()) + int(b.sum()))


def violations(masks: Sequence[npt.ArrayLike]) -> float | None:
    """The share of nested regions that lies outside the region around them.

    Args:
        masks: of the regions, the outermost first, of equal shape.

    Returns:
        Sum of |C(n+1) \\ C(n)| over sum of |C(n+1)|; None where all but the outermost are empty.

    Raises:
        UsageError: shapes differ.
    """
    found = [np.asarray(m) != 0 for m in masks]
    if len({m.shape for m in found}) > 1:
        raise UsageError(f"masks of shapes {[m.shape for m in found]}")
    return _over(sum(_outside(found)), sum(int(m.sum()) for m in found[1:]))
