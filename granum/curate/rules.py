"""Rules that annotations keep, checked without a model: a table of those that break them.

A rule is a frozen dataclass whose fields are its thresholds. It sees one part at a time, as
arrays. Adding one is a class here or elsewhere, and a line in the table below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.extents import Extents
from granum.curate.reduce import over_parts
from granum.registry import Registry, built
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.executor import Executor

__all__ = ["FINDINGS", "Broken", "Rule", "check", "rules"]

Rows = npt.NDArray[np.int64]
Severity = Literal["error", "warning", "info"]

FINDINGS = pa.schema(
    [
        ("annotation_id", pa.int64()),
        ("key", pa.string()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("value", pa.float64()),
        ("other", pa.int64()),
    ]
)
"""What ``check`` gives: the annotation and the key of its sample; the rule; what it measured; the
other annotation that the rule is about, where there is one."""


@dataclass(frozen=True)
class Broken:
    """Rows of a part that break a rule.

    Attributes:
        rows: positions in the part's annotations.
        values: what was measured, one each; NaN where there is nothing to measure.
        others: the other row that each is about, or -1.
    """

    rows: Rows
    values: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    others: Rows = field(default_factory=lambda: np.empty(0, np.int64))


class Rule(ABC):
    """Base of rules.

    Attributes:
        name: as users type it.
        severity: how grave it is.
        about: what breaks it, and what the value is.
    """

    name: ClassVar[str]
    severity: ClassVar[Severity] = "warning"
    about: ClassVar[str]

    @abstractmethod
    def broken(self, extents: Extents) -> Broken:
        """The annotations of a part (``extents.batch``) that break it."""


rules: Registry[type[Rule]] = Registry(
    "rule",
    {
        "box_outside": "granum.curate.box_rules",
        "duplicate_box": "granum.curate.box_rules",
        "empty": "granum.curate.box_rules",
        "mask_box": "granum.curate.mask_rules",
        "mask_empty": "granum.curate.mask_rules",
        "part_outside": "granum.curate.mask_rules",
        "tiny": "granum.curate.box_rules",
    },
    "granum.rules",
)


def check(
    dataset: Dataset,
    wanted: Sequence[str | Rule] | None = None,
    *,
    executor: Executor | None = None,
) -> pa.Table:
    """The annotations of the current layer that break rules, in the order of the dataset.

    Args:
        dataset: any dataset.
        wanted: names, ``name:key=value``, or rules with thresholds of your own (default: all).
        executor: where parts are checked.

    Returns:
        A table of ``FINDINGS``.

    Raises:
        UnknownNameError: no such rule.
    """
    names: Sequence[str | Rule] = rules.names() if wanted is None else wanted
    chosen = [built(rules, rule) if isinstance(rule, str) else rule for rule in names]
    tables = list(over_parts(dataset, partial(_part, chosen), executor))
    return pa.concat_tables(tables) if tables else FINDINGS.empty_table()


def _part(chosen: Sequence[Rule], dataset: Dataset, number: int) -> pa.Table:
    batch = dataset.parts[number].batch(dataset.meta.layer)
    table, extents = batch.annotations, Extents(batch)
    if not table.num_rows:
        return FINDINGS.empty_table()
    ids = column(table, "annotation_id").combine_chunks()
    samples = column(table, "sample").combine_chunks()
    keys = batch.samples["key"].combine_chunks().take(pa.compute.subtract(samples, batch.start))
    pieces, places = [], []
    for rule in chosen:
        found = rule.broken(extents)
        n = len(found.rows)
        rows = pa.array(found.rows, pa.int64())
        values = found.values if len(found.values) else np.full(n, np.nan)
        others = found.others if len(found.others) else np.full(n, -1)
        pieces.append(
            pa.table(
                [
                    ids.take(rows),
                    keys.take(rows),
                    pa.array([rule.name] * n, pa.string()),
                    pa.array([rule.severity] * n, pa.string()),
                    pa.array(values, pa.float64(), mask=np.isnan(values)),
                    ids.take(pa.array(others, pa.int64(), mask=others < 0)),
                ],
                schema=FINDINGS,
            )
        )
        places.append(found.rows)
    joined = pa.concat_tables(pieces)
    return joined.take(pa.array(np.argsort(np.concatenate(places), kind="stable")))
