"""What an official protocol is, and what it gives.

A protocol is a frozen dataclass whose fields are its parameters. It takes truth and predictions a
part at a time (``state``) and turns the states of all parts into a result (``result``); a state is
picklable, so parts may be counted by other processes, and ``result`` sorts what it joins by sample,
so any sharding gives the same bits.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.metrics._markdown import markdown
from granum.registry import Registry
from granum.schema.findings import Findings
from granum.store.parts import Batch

__all__ = ["Context", "Protocol", "Recount", "Result", "joined_findings", "protocols"]

Weights = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Context:
    """What holds for the whole evaluation.

    Attributes:
        categories: the truth's categories; predictions were mapped onto them by name.
        map_root: where label maps of the truth are.
        prediction_map_root: where those of the predictions are.
        samples: how many samples the truth has.
        prediction_categories: those of the predictions' dataset, which values of whole label maps
            refer to; None where they are the truth's.
        prediction_rows: the row in ``categories`` of each of them (-1: none); None where the rows
            are the same.
        groups: the truth's groups, which ``group`` of samples and annotations refers to.
    """

    categories: pa.Table
    map_root: str | None
    prediction_map_root: str | None
    samples: int
    prediction_categories: pa.Table | None = None
    prediction_rows: npt.NDArray[np.int64] | None = None
    groups: pa.Table | None = None


@dataclass(frozen=True)
class Recount:
    """The numbers again, of some units only or of some several times; nothing is matched again.

    Attributes:
        keys: of the units, in the order of the weights.
        values: gives the numbers of weights of shape (units,): how often each unit counts. Ones
            give the result's own values, to the bit; zeros and ones those of a slice.
        unit: what a unit is.
    """

    keys: pa.Array
    values: Callable[[Weights], Mapping[str, float | None]]
    unit: Literal["sample", "group"] = "sample"


class _Deferred:
    """A field that holds a table, None, or what makes the table when it is first read."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"_{name}"

    def __get__(self, result: Any, owner: type | None = None) -> pa.Table | None:
        if result is None:
            return None  # the default
        given = vars(result)[self.name]
        if callable(given):
            given = vars(result)[self.name] = given()
        return given

    def __set__(self, result: Any, given: pa.Table | Callable[[], pa.Table] | None) -> None:
        vars(result)[self.name] = given


@dataclass(frozen=True)
class Result:
    """Numbers of one evaluation.

    Attributes:
        protocol: its registered name.
        values: number by name, in the protocol's own order; None where it is undefined.
        per_class: ``category`` and a column per number.
        per_sample: ``key`` and a column per number: joins back onto the samples. A protocol may
            give a function that makes it: it is called when the table is first read.
        curves: tables by name (``precision``, ``roc``…).
        facts: reference implementation and its version, parameters, what was counted.
        findings: what was wrong with the input, coded.
        recount: gives the numbers of other choices of samples, for slices and intervals.
        slices: numbers by the values of a column, by its name (see ``resampling.slices``).
        intervals: of each number, by the bootstrap (see ``resampling.intervals``).
        difference: to another run (see ``resampling.difference``).
    """

    protocol: str
    values: Mapping[str, float | None]
    per_class: pa.Table | None = None
    per_sample: _Deferred = _Deferred()
    curves: Mapping[str, pa.Table] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: Findings = field(default_factory=lambda: Findings(on_error="skip"))
    recount: Recount | None = None
    slices: Mapping[str, pa.Table] = field(default_factory=dict)
    intervals: pa.Table | None = None
    difference: pa.Table | None = None

    def __getitem__(self, name: str) -> float | None:
        return self.values[name]

    def with_account(self, facts: Mapping[str, Any], findings: Findings) -> Result:
        """The same numbers with other facts and findings; nothing per sample is computed."""
        return self._with(facts=facts, findings=findings)

    def with_tables(self, **tables: Any) -> Result:
        """The same numbers with ``slices``, ``intervals`` or ``difference``."""
        return self._with(**tables)

    def _with(self, **changes: Any) -> Result:
        return replace(self, **changes, per_sample=vars(self)["_per_sample"])

    def to_dict(self) -> dict[str, Any]:
        """All but the per-sample table, JSON-serialisable; curves by name, then by column. What
        was not asked for (slices, intervals, a difference) is left out."""
        more = {
            "slices": {name: table.to_pylist() for name, table in self.slices.items()},
            "intervals": None if self.intervals is None else self.intervals.to_pylist(),
            "difference": None if self.difference is None else self.difference.to_pylist(),
        }
        return {
            "protocol": self.protocol,
            "values": dict(self.values),
            **{name: value for name, value in more.items() if value},
            "per_class": None if self.per_class is None else self.per_class.to_pylist(),
            "curves": {name: _listed(table) for name, table in self.curves.items()},
            "facts": dict(self.facts),
            "findings": self.findings.to_dict(),
        }

    def to_json(self) -> str:
        """``to_dict`` as JSON for a file: curves, which are long, on one line."""
        lines = []
        for name, value in self.to_dict().items():
            indent = None if name == "curves" else 1
            lines.append(f" {json.dumps(name)}: {json.dumps(value, indent=indent, default=str)}")
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def markdown(self) -> str:
        """The values as a table for people, with intervals, slices and differences if there are
        any."""
        return markdown(self)


class Protocol(ABC):
    """Base of protocols. Subclasses are frozen dataclasses, registered by name.

    Attributes:
        name: as users type it.
        reference: the implementation that its numbers equal.
        extra: of granum that it needs, if any.
        needs: columns (``category``, ``score``) without which a prediction cannot be counted, or
            ``known`` (a category that it may have is one of the truth's); rows that lack them are
            findings and never reach ``state``. ``own``: categories of predictions are rows of
            ``Context.prediction_categories``.
        kinds: of rows that it compares (None: all); predictions of others are findings and never
            reach ``state``.
        truth_kinds: the same of the truth.
        whole_groups: it compares videos, pairs or volumes as wholes: ``state`` gets all samples
            and rows of some groups, of either side with its own samples, and rows of whole groups.
            ``group`` refers to ``Context.groups`` on both sides.
        scale_free: fractions of an image do as well as pixels; where both sides have them they
            stay as they are.
        sizeless: it looks at nothing that is drawn, so that sizes of images need not be known.
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    extra: ClassVar[str | None] = None
    needs: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[tuple[str, ...] | None] = None
    truth_kinds: ClassVar[tuple[str, ...] | None] = None
    whole_groups: ClassVar[bool] = False
    scale_free: ClassVar[bool] = False
    sizeless: ClassVar[bool] = False

    def parameters(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    @abstractmethod
    def state(self, truth: Batch, predictions: Batch, context: Context) -> Any:
        """What one part contributes; both batches hold the same samples in the same order."""

    @abstractmethod
    def result(self, states: Sequence[Any], context: Context) -> Result:
        """The numbers of all parts. Its facts say under ``truths`` and ``predictions`` how many
        rows of each were compared in the end; where none was, there is no number."""


def joined_findings(found: Iterable[Findings], *, by_place: bool = False) -> Findings:
    """Findings of all parts, in order; ``by_place``: in an order that no sharding changes."""
    out = Findings(on_error="skip")
    for findings in found:
        out.counts.update(findings.counts)
        out.items += findings.items
    if by_place:
        out.items.sort(key=lambda f: (f.code, f.place or "", f.path, f.message))
    return out


def _listed(table: pa.Table) -> dict[str, list[Any]]:
    """Columns as lists; what is no number is None, as JSON has it."""
    out = {}
    for name in table.column_names:
        values = table[name]
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_finite(values), values, None)
        out[name] = values.to_pylist()
    return out


protocols: Registry[type[Protocol]] = Registry(
    "protocol",
    {
        "anomaly": "granum.metrics.anomaly",
        "ava": "granum.metrics.ava",
        "boundary-iou": "granum.metrics.boundary",
        "boundary-pq": "granum.metrics.boundary",
        "change": "granum.metrics.change",
        "classification": "granum.metrics.classification",
        "coco-bbox": "granum.metrics.coco",
        "coco-keypoints": "granum.metrics.coco",
        "coco-segm": "granum.metrics.coco",
        "discovery": "granum.metrics.discovery",
        "interactive": "granum.metrics.interactive",
        "iqa": "granum.metrics.iqa",
        "lvis": "granum.metrics.lvis",
        "mot": "granum.metrics.mot",
        "multisports": "granum.metrics.multisports",
        "obb": "granum.metrics.obb",
        "nested": "granum.metrics.nested",
        "nested-images": "granum.metrics.nested",
        "ood": "granum.metrics.ood",
        "open-images": "granum.metrics.open_images",
        "panoptic-quality": "granum.metrics.panoptic",
        "pixel-retrieval": "granum.metrics.pixel_retrieval",
        "regions": "granum.metrics.regions",
        "retrieval": "granum.metrics.retrieval",
        "semantic": "granum.metrics.semantic",
        "stream": "granum.metrics.stream",
        "ucf24": "granum.metrics.ucf24",
        "video-detection": "granum.metrics.video_detection",
        "voc": "granum.metrics.voc",
    },
    "granum.protocols",
)
