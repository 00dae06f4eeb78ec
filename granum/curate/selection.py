"""What a selection is: rows in the order they were picked, why, and what made it. Nothing mutates.

A selector is a frozen dataclass whose fields are its parameters; it gets a pool (columns and
vectors of the rows at hand) and gives picks. ``select`` wraps them as a ``Selection`` with lineage;
``replay`` makes the same selection from the lineage alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.spaces import vectors
from granum.errors import StoreError, UnknownNameError, UsageError
from granum.registry import Registry, built
from granum.schema.tables import column
from granum.store.additions import save_view
from granum.store.columns import column_identity
from granum.store.dataset import Dataset
from granum.store.disk import fingerprint_of

__all__ = ["Picks", "Pool", "Selection", "Selector", "replay", "select", "selectors"]

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The rows a selector may pick from.

    Attributes:
        dataset: what they are rows of.
        rows: dataset rows, ascending.
        include: rows that are selected already, for methods that build on them.
    """

    dataset: Dataset
    rows: Rows
    include: Rows

    def column(self, name: str) -> pa.Array:
        """Values of a sample column (``col.NAME``, or NAME where only the derived one exists).

        Raises:
            UnknownNameError: neither is there.
        """
        known = self.dataset.parts[0].samples().column_names if self.dataset.parts else []
        from granum.schema.tables import SAMPLES

        name = name if name in known or name in SAMPLES.names else f"col.{name}"
        if name not in known and name not in SAMPLES.names:
            raise UnknownNameError("column", name.removeprefix("col."), known)
        table = self.dataset.samples([name])
        values = column(table, name).combine_chunks()
        return values.take(pa.array(self.rows))

    def vectors(self, space: str) -> npt.NDArray[np.float32]:
        """Vectors of the rows, shape (len(rows), dimension).

        Raises:
            UsageError: some row has none (its image could not be read).
        """
        found = vectors(self.dataset, space)[self.rows]
        absent = np.isnan(found[:, 0]) if found.size else np.zeros(0, bool)
        if absent.any():
            raise UsageError(
                f"{int(absent.sum())} samples have no vector in {space!r} (unreadable images); "
                "leave them out first: --where"
            )
        return found


@dataclass(frozen=True)
class Picks:
    """What a selector gives: positions in the pool, in order.

    Attributes:
        order: positions in ``Pool.rows``.
        gain: what each added (cover radius, score…), or None.
        reason: why each was picked (one for all, or one each).
        weight: how many samples each stands for, or None.
        dropped: position to reason, of those that the method left out for a reason of its own.
    """

    order: Rows
    gain: npt.NDArray[np.float64] | None = None
    reason: str | Sequence[str] = ""
    weight: npt.NDArray[np.float64] | None = None
    dropped: Mapping[int, str] = field(default_factory=dict)


class Selector(ABC):
    """Base of selectors.

    Attributes:
        name: as users type it.
        version: raise it when its picks change.
        nested: whether the first n picks are what a budget of n gives.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    nested: ClassVar[bool] = False

    def parameters(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def inputs(self) -> Sequence[str]:
        """Columns and spaces it reads."""
        return ()

    @abstractmethod
    def pick(self, pool: Pool, budget: int | None, rng: np.random.Generator) -> Picks:
        """At most ``budget`` of the pool (None: as many as the method says)."""


selectors: Registry[type[Selector]] = Registry(
    "selector",
    {
        "balance": "granum.curate.balance",
        "k_center": "granum.curate.k_center",
        "random": "granum.curate.simple",
        "threshold": "granum.curate.simple",
        "top_k": "granum.curate.simple",
    },
    "granum.selectors",
)


@dataclass(frozen=True)
class Selection:
    """Rows of a dataset in the order they were picked.

    Attributes:
        rows: dataset rows.
        total: how many rows there were to choose from, and not chosen rows are recorded by.
        gain, weight: per row, or None.
        reason: per row.
        dropped: dataset row to reason, of rows that were left out for a reason of their own.
        lineage: what made it; ``replay`` reads it.
    """

    rows: Rows
    total: int
    gain: npt.NDArray[np.float64] | None = None
    weight: npt.NDArray[np.float64] | None = None
    reason: Sequence[str] = ()
    dropped: Mapping[int, str] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def prefix(self, n: int) -> Selection:
        """The first ``n`` picks."""
        cut = slice(0, n)
        return replace(
            self,
            rows=self.rows[cut],
            gain=None if self.gain is None else self.gain[cut],
            weight=None if self.weight is None else self.weight[cut],
            reason=list(self.reason[cut]),
            lineage=_combined("prefix", [self], n=n),
        )

    def __and__(self, other: Selection) -> Selection:
        return self._kept(np.isin(self.rows, other.rows), _combined("and", [self, other]))

    def __sub__(self, other: Selection) -> Selection:
        return self._kept(~np.isin(self.rows, other.rows), _combined("sub", [self, other]))

    def __or__(self, other: Selection) -> Selection:
        new = ~np.isin(other.rows, self.rows)
        reason = [*self.reason, *(r for r, n in zip(other.reason, new, strict=True) if n)]
        return Selection(
            np.concatenate([self.rows, other.rows[new]]),
            self.total,
            reason=reason,
            lineage=_combined("or", [self, other]),
        )

    def inverted(self) -> Selection:
        """All rows that were not picked, ascending."""
        rest = np.setdiff1d(np.arange(self.total), self.rows)
        reason = [self.dropped.get(int(r), "not picked") for r in rest]
        return Selection(rest, self.total, reason=reason, lineage=_combined("not", [self]))

    def _kept(self, mask: npt.NDArray[np.bool_], lineage: Mapping[str, Any]) -> Selection:
        return replace(
            self,
            rows=self.rows[mask],
            gain=None if self.gain is None else self.gain[mask],
            weight=None if self.weight is None else self.weight[mask],
            reason=[r for r, m in zip(self.reason, mask, strict=True) if m],
            lineage=lineage,
        )

    def apply(self, dataset: Dataset) -> Dataset:
        """The selected samples, in order."""
        return dataset.select(self.rows)

    def save(self, dataset: Dataset, name: str) -> Dataset:
        """Keep it as a view of the store, with what was dropped and why in its lineage."""
        keys = dataset.samples(["key"])["key"]
        dropped = {str(keys[row].as_py()): why for row, why in sorted(self.dropped.items())}
        return save_view(
            dataset,
            name,
            self.rows,
            reason=list(self.reason),
            gain=None if self.gain is None else self.gain.tolist(),
            lineage={**self.lineage, **({"dropped": dropped} if dropped else {})},
        )


def _combined(operation: str, of: Sequence[Selection], **values: Any) -> dict[str, Any]:
    return {"operation": operation, **values, "of": [dict(s.lineage) for s in of]}


def select(
    dataset: Dataset,
    method: str | Selector,
    budget: int | None = None,
    *,
    seed: int = 0,
    among: npt.ArrayLike | None = None,
    include: npt.ArrayLike = (),
) -> Selection:
    """Pick samples by a method.

    Args:
        dataset: a whole store with the columns that the method reads.
        method: a name, ``name:key=value,…``, or a selector with parameters of your own.
        budget: how many at most.
        seed: of the random generator; equal seeds give equal picks.
        among: dataset rows to pick from (default: all).
        include: rows that count as picked already.

    Raises:
        UnknownNameError: an unknown method or column.
        UsageError: a budget below 0, or rows out of range.
    """
    selector = built(selectors, method) if isinstance(method, str) else method
    if budget is not None and budget < 0:
        raise UsageError(f"the budget must be at least 0, not {budget}")
    rows = _checked(np.arange(len(dataset)) if among is None else among, len(dataset))
    before = _checked(include, len(dataset))
    rows = np.setdiff1d(rows, before)
    picks = selector.pick(Pool(dataset, rows, before), budget, np.random.default_rng(seed))
    reason = [picks.reason] * len(picks.order) if isinstance(picks.reason, str) else picks.reason
    lineage = {
        "operation": "select",
        "method": f"{selector.name}@{selector.version}",
        "parameters": selector.parameters(),
        "budget": budget,
        "seed": seed,
        "among": None if among is None else [int(r) for r in rows],
        "include": [int(r) for r in before],
        "inputs": {name: _identity(dataset, name) for name in selector.inputs()},
        "parent": _fingerprint(dataset),
        "layer": dataset.meta.layer,
        "n_in": len(rows),
        "n_out": len(picks.order),
    }
    dropped = {int(rows[at]): why for at, why in picks.dropped.items()}
    return Selection(
        rows[picks.order], len(dataset), picks.gain, picks.weight, reason, dropped, lineage
    )


def _checked(rows: npt.ArrayLike, length: int) -> Rows:
    found = np.unique(np.asarray(rows, np.int64).reshape(-1))
    if found.size and (found[0] < 0 or found[-1] >= length):
        raise UsageError(f"rows must be in 0..{length - 1}")
    return found


def _identity(dataset: Dataset, name: str) -> str | None:
    found = column_identity(dataset, name)
    return None if found is None else fingerprint_of(found)


def _fingerprint(dataset: Dataset) -> str | None:
    return None if dataset.meta.store is None else dataset.meta.store.manifest["fingerprint"]


def replay(dataset: Dataset, lineage: Mapping[str, Any]) -> Selection:
    """The selection that a lineage describes, made again from the same store.

    Raises:
        StoreError: the data or a column it was made from is not what it was.
        UsageError: the lineage was not made by this version of the method.
    """
    operation = lineage.get("operation")
    parts = [replay(dataset, one) for one in lineage.get("of", [])]
    if operation == "prefix":
        return parts[0].prefix(int(lineage["n"]))
    if operation in _OPERATIONS:
        return _OPERATIONS[operation](*parts)
    if operation in _MADE_BY:
        if lineage["parent"] != _fingerprint(dataset):
            raise StoreError("the lineage is of other data than this store's")
        made_by = import_module(_MADE_BY[operation])
        return made_by.replayed(dataset.layer(lineage["layer"]), lineage)  # type: ignore[no-any-return]
    if operation != "select":
        raise UsageError(f"cannot replay the operation {operation!r}")
    name, _, version = str(lineage["method"]).partition("@")
    made = selectors[name]
    if str(made.version) != version:
        raise UsageError(f"{name} is at version {made.version}; the lineage is of {version}")
    if lineage["parent"] != _fingerprint(dataset):
        raise StoreError("the lineage is of other data than this store's")
    for column_name, identity in lineage["inputs"].items():
        if _identity(dataset, column_name) != identity:
            raise StoreError(f"column {column_name!r} is not what the lineage was made from")
    return select(
        dataset.layer(lineage["layer"]),
        made(**lineage["parameters"]),
        lineage["budget"],
        seed=lineage["seed"],
        among=lineage["among"],
        include=lineage["include"],
    )


_OPERATIONS: dict[Any, Any] = {
    "and": Selection.__and__,
    "or": Selection.__or__,
    "sub": Selection.__sub__,
    "not": Selection.inverted,
}

_MADE_BY = {"duplicates": "granum.curate.duplicates", "leakage": "granum.curate.leakage"}
"""Modules whose ``replayed`` makes a selection of an operation again."""
