"""Choose samples by a method, and keep the choice as a view or write it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.curate.selection import Selection, Selector, selectors
from granum.curate.selection import select as pick
from granum.errors import StoreError, UnknownNameError, UsageError
from granum.registry import built
from granum.schema.expressions import Expression
from granum.store.dataset import Dataset
from granum.store.executor import executor
from granum.verbs._inputs import Given, opened
from granum.verbs._spaces import with_space
from granum.verbs.convert import write

__all__ = ["Selected", "select"]

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Selected:
    """What was selected.

    Attributes:
        selection: the rows, in the order they were picked, with reasons and lineage.
        dataset: what they are rows of; with the saved view, where there is one.
        view: its name, or None.
        out: where the samples were written, or None.
    """

    selection: Selection
    dataset: Dataset
    view: str | None = None
    out: str | None = None

    def apply(self) -> Dataset:
        """The selected samples."""
        return self.selection.apply(self.dataset)

    def to_dict(self, first: int = 20) -> dict[str, Any]:
        """Facts, JSON-serialisable; the first picks with key, gain and reason."""
        chosen = self.selection
        rows = chosen.rows[:first].tolist()
        keys = self.dataset.samples(["key"])["key"].take(rows).to_pylist() if rows else []
        gains = [None] * len(rows) if chosen.gain is None else chosen.gain[:first].tolist()
        return {
            "method": chosen.lineage.get("method"),
            "parameters": chosen.lineage.get("parameters"),
            "budget": chosen.lineage.get("budget"),
            "seed": chosen.lineage.get("seed"),
            "samples": chosen.lineage.get("n_in"),
            "selected": len(chosen),
            "dropped": len(chosen.dropped),
            "reasons": dict(Counter(chosen.reason).most_common(20)),
            "view": self.view,
            "out": self.out,
            "first": [
                {"key": k, "gain": g, "reason": r}
                for k, g, r in zip(keys, gains, chosen.reason, strict=False)
            ],
        }


def select(
    source: Given,
    method: str | Selector,
    budget: int | None = None,
    *,
    space: str | None = None,
    by: str | None = None,
    layer: str | None = None,
    where: str | None = None,
    include: str | Sequence[str] | npt.ArrayLike | None = None,
    save_as: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    seed: int = 0,
    workers: int = 1,
    scheduler: str | None = None,
) -> Selected:
    """Choose samples.

    Args:
        source: a store (needed for ``save_as``), a dataset, or files of any format.
        method: ``k_center``, ``balance``, ``top_k``, ``threshold``, ``random``, or a plug-in's;
            with parameters as ``name:key=value,…``, or a selector.
        budget: how many samples at most (None: as many as the method says).
        space: parameter of the method: the vectors; a store that lacks them is scored first.
        by: parameter of the method: the column to balance.
        layer: whose annotations count (default: the current one).
        where: only samples of which this holds (``"split == 'train'"``).
        include: samples that are selected already: the name of a view, keys, or rows. They are not
            in the result.
        save_as: keep the selection as a view of the store, under this name.
        out: write the selected samples here, as a store (``.granum``) or the format its name says.
        overwrite: replace what is there.
        seed: of the random generator.
        workers: processes for scoring.
        scheduler: address of a Dask cluster instead.

    Raises:
        UsageError: the method has no such parameter; ``where`` is of annotations.
        StoreError: ``save_as`` without a store.
    """
    dataset = opened(source)
    dataset = dataset if layer is None else dataset.layer(layer)
    if save_as is not None and dataset.meta.store is None:
        raise StoreError("a view needs a store: convert the source to .granum first, or give out")
    selector = _selector(method, space=space, by=by)
    read = getattr(selector, "space", None)
    if isinstance(read, str):
        with executor(workers, scheduler) as ex:
            dataset = with_space(dataset, read, ex)
    among = _among(dataset, where)
    chosen = pick(
        dataset,
        selector,
        budget,
        seed=seed,
        among=among,
        include=_included(dataset, include),
    )
    if save_as is not None:
        dataset = chosen.save(dataset, save_as).layer(dataset.meta.layer)
    if out is not None:
        write(chosen.apply(dataset), out, overwrite=overwrite)
    return Selected(chosen, dataset, save_as, None if out is None else str(out))


def _selector(method: str | Selector, **given: str | None) -> Selector:
    selector = built(selectors, method) if isinstance(method, str) else method
    for name, value in given.items():
        if value is None:
            continue
        if name not in {f.name for f in fields(selector)}:  # type: ignore[arg-type]
            raise UsageError(f"{selector.name} has no parameter {name!r}")
        selector = replace(selector, **{name: value})  # type: ignore[type-var]
    return selector


def _among(dataset: Dataset, where: str | None) -> Rows | None:
    if where is None:
        return None
    expression = Expression(where)
    for part in dataset.parts[:1]:
        annotations = part.layer(dataset.meta.layer)
        expression.settle(part.samples().column_names, annotations.column_names)
    if expression.table != "samples":
        raise UsageError(f"{where!r} is about annotations; a selection is of samples")
    masks = [expression.mask(p.samples(), dataset.categories) for p in dataset.parts]
    return np.flatnonzero(np.concatenate([*masks, np.empty(0, bool)]))


def _included(
    dataset: Dataset, include: str | Sequence[str] | npt.ArrayLike | None
) -> npt.ArrayLike:
    if include is None:
        return ()
    if isinstance(include, str):
        keys = dataset.view(include).samples(["key"])["key"].to_pylist()
    elif isinstance(include, list | tuple) and all(isinstance(k, str) for k in include):
        keys = list(include)
    else:
        return include  # type: ignore[return-value]
    known = {k: i for i, k in enumerate(dataset.samples(["key"])["key"].to_pylist())}
    for key in keys:
        if key not in known:
            raise UnknownNameError("sample", str(key), list(known)[:20])
    return np.array([known[k] for k in keys], np.int64)
