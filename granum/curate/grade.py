"""GRADE: how evenly the attributes of each concept are spread.

Rassin, Slobodkin, Ravfogel, Elazar and Goldberg, "GRADE: Quantifying sample diversity in
text-to-image models", 2024. There, attributes are answers of a language model to questions about an
image; here they are columns of annotations, of their samples, or derived from geometry. Only counts
are kept, so parts add up exactly.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from granum.curate.attributes import Attribute, Coded, coded, settled
from granum.curate.reduce import over_parts
from granum.curate.results import Summary
from granum.curate.spaces import Of
from granum.store.dataset import Dataset
from granum.store.executor import Executor

__all__ = ["Spread", "grade", "spread", "wilson_lower"]

NO_ANSWERS = ("none of the above", "neither")
"""Values that are no answer, whatever their case."""

DEFAULT_SHARE = 0.80
_SURE_SHARE, _SURE_COUNT = 0.70, 30
ATTRIBUTES = ("size_bin", "aspect_bin", "position", "objects_bin")


@dataclass(frozen=True)
class Spread:
    """How evenly values are spread; numbers are None where nothing was counted.

    Attributes:
        n: answers, those outside the support included.
        n_out_of_support: of them, outside.
        support_size: how many values there could be.
        entropy_bits: of the shares.
        norm_entropy: entropy over its largest possible value; 0 where there is but one value.
        mm_norm_entropy: the same with the Miller-Madow correction for few answers.
        hill1: 2 ** entropy: how many values, in effect.
        top_value, top_share: the most frequent value, and its share of ``n``.
        top_share_lo: lower end of the 95 % interval of that share (Wilson).
        is_default: whether the top share is at least 0.80 (GRADE).
        is_default_sig: whether that is more than chance: 30 answers, and a lower end of 0.70.
    """

    n: int
    n_out_of_support: int
    support_size: int
    entropy_bits: float | None = None
    norm_entropy: float | None = None
    mm_norm_entropy: float | None = None
    hill1: float | None = None
    top_value: str | None = None
    top_share: float | None = None
    top_share_lo: float | None = None
    is_default: bool | None = None
    is_default_sig: bool | None = None


def spread(counts: Mapping[str, int], support: Sequence[str]) -> Spread:
    """How evenly answers are spread over a support.

    Args:
        counts: how often each value was given.
        support: all values that count, also those never given.
    """
    allowed = sorted({v for v in support if v.casefold() not in NO_ANSWERS})
    answers = {v: n for v, n in counts.items() if v.casefold() not in NO_ANSWERS and n}
    inside = {v: answers[v] for v in allowed if v in answers}
    total, out = sum(answers.values()), sum(answers.values()) - sum(inside.values())
    if not inside:
        return Spread(total, out, len(allowed))
    n = np.array(list(inside.values()), np.int64)
    shares = n / n.sum()
    entropy = max(0.0, float(-np.sum(shares * np.log2(shares))))
    most = math.log2(len(allowed))
    corrected = min(entropy + (len(n) - 1) / (2 * int(n.sum()) * math.log(2)), most)
    top = max(inside, key=lambda v: (inside[v], v))
    share, low = inside[top] / total, wilson_lower(inside[top], total)
    return Spread(
        total,
        out,
        len(allowed),
        entropy,
        entropy / most if most else 0.0,
        corrected / most if most else 0.0,
        2**entropy,
        top,
        share,
        low,
        share >= DEFAULT_SHARE,
        total >= _SURE_COUNT and low >= _SURE_SHARE,
    )


def wilson_lower(successes: int, n: int, z: float = 1.959963984540054) -> float:
    """Lower end of Wilson's interval of a share (default: 95 %, two-sided)."""
    if not n:
        return 0.0
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n)


def grade(
    dataset: Dataset,
    attributes: Sequence[str] = ATTRIBUTES,
    *,
    concept: str | None = "category",
    of: Of = "annotations",
    supports: Mapping[str, Sequence[str]] | None = None,
    edges: Mapping[str, Sequence[float]] | None = None,
    executor: Executor | None = None,
) -> Summary:
    """The spread of each attribute within each concept.

    Args:
        dataset: whose annotations, in the current layer, are counted.
        attributes: columns of annotations or samples (``attr.`` and ``col.`` may be left out;
            numbers are cut into five ranges), or derived: ``size_bin``, ``coco_size``,
            ``aspect_bin``, ``position``, ``objects_bin``.
        concept: column whose values are told apart; None: all together.
        of: ``samples`` counts samples instead, by sample columns (the concept, too).
        supports: the values that an attribute can have. Where it is not listed: all bins of a
            binned one; of others, the values that occur anywhere in the dataset.
        edges: where numbers are cut, by attribute (default: see ``attributes.settled``).
        executor: where parts are counted.

    Returns:
        Table ``grade``, a row per concept and attribute: ``Spread``. Values: ``grade`` (mean of
        ``norm_entropy``), ``grade_weighted`` (by n), ``grade_p10``, ``default_rows`` (share of rows
        with a default), ``default_concepts`` (share of concepts with one), and both for the sure
        ones (``_sig``). Rows without an answer do not count.
    """
    if of == "samples" and concept == "category":
        concept = None
    found = settled(dataset, attributes, edges)
    by = None if concept is None else settled(dataset, [concept])[0]
    counts: dict[str, Counter[tuple[str, str]]] = {a.name: Counter() for a in found}
    closed: dict[str, tuple[str, ...]] = {}
    for part, bins in over_parts(dataset, partial(_part, found, by, of), executor):
        closed |= bins
        for name, more in part.items():
            counts[name].update(more)
    concepts = sorted({c for counter in counts.values() for c, _ in counter})
    allowed: dict[str, Sequence[str]] = {
        a.name: sorted({v for _, v in counts[a.name]}) for a in found
    }
    allowed |= closed | dict(supports or {})
    rows = []
    for a in found:
        support = allowed[a.name]
        given = _by_concept(counts[a.name])
        rows += [(c, a.name, spread(given.get(c, {}), support)) for c in concepts]
    rows.sort(key=lambda r: r[0])
    made = {
        "concept": concept,
        "attributes": list(attributes),
        "of": of,
        "supports": {a.name: list(allowed[a.name]) for a in found},
        "edges": {a.name: list(a.edges) for a in found if a.edges is not None},
    }
    return Summary("GRADE", _aggregate(rows), {"grade": _table(rows)}, made)


_Row = tuple[str, str, Spread]
_Counts = dict[str, Counter[tuple[str, str]]]


def _part(
    attributes: Sequence[Attribute], by: Attribute | None, of: Of, dataset: Dataset, number: int
) -> tuple[_Counts, dict[str, tuple[str, ...]]]:
    """Counts of (concept, value) per attribute, and the labels of those that are binned."""
    batch = dataset.parts[number].batch(dataset.meta.layer)
    n = (batch.samples if of == "samples" else batch.annotations).num_rows
    whole = Coded(np.zeros(n, np.int64), ("all",))
    told = whole if by is None else coded(dataset, batch, by, of)
    concepts, names = told.codes, told.labels
    counts: _Counts = {}
    closed = {}
    for attribute in attributes:
        values = coded(dataset, batch, attribute, of)
        width = len(values.labels)
        both = (concepts >= 0) & (values.codes >= 0)
        pairs, many = np.unique(concepts[both] * width + values.codes[both], return_counts=True)
        counter: Counter[tuple[str, str]] = Counter()
        for pair, k in zip(pairs.tolist(), many.tolist(), strict=True):
            counter[names[pair // width], values.labels[pair % width]] += k
        counts[attribute.name] = counter
        if values.closed:
            closed[attribute.name] = values.labels
    return counts, closed


def _by_concept(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    out: dict[str, dict[str, int]] = {}
    for (name, value), n in counts.items():
        out.setdefault(name, {})[value] = n
    return out


def _aggregate(rows: Sequence[_Row]) -> dict[str, Any]:
    answered = [(c, s) for c, _, s in rows if s.norm_entropy is not None]
    scores = np.array([s.norm_entropy for _, s in answered], np.float64)
    values: dict[str, Any] = {"rows": len(answered), "concepts": len({c for c, _ in answered})}
    names = ("grade", "grade_weighted", "grade_p10", "default_rows", "default_concepts")
    if not answered:
        return values | dict.fromkeys((*names, "default_rows_sig", "default_concepts_sig"))
    weights = np.array([s.n for _, s in answered], np.float64)
    values["grade"] = math.fsum(scores.tolist()) / len(scores)
    values["grade_weighted"] = math.fsum((scores * weights).tolist()) / float(weights.sum())
    values["grade_p10"] = float(np.quantile(scores, 0.1))
    for suffix, flag in (("", "is_default"), ("_sig", "is_default_sig")):
        hit = [(c, s) for c, s in answered if getattr(s, flag)]
        values[f"default_rows{suffix}"] = len(hit) / len(answered)
        values[f"default_concepts{suffix}"] = len({c for c, _ in hit}) / values["concepts"]
    return values


_KINDS: dict[str, pa.DataType] = {
    "n": pa.int64(),
    "n_out_of_support": pa.int64(),
    "support_size": pa.int64(),
    "top_value": pa.string(),
    "is_default": pa.bool_(),
    "is_default_sig": pa.bool_(),
}


def _table(rows: Sequence[_Row]) -> pa.Table:
    from dataclasses import fields

    columns = {
        "concept": pa.array([c for c, _, _ in rows], pa.string()),
        "attribute": pa.array([a for _, a, _ in rows], pa.string()),
    }
    for field in fields(Spread):
        values = [getattr(s, field.name) for _, _, s in rows]
        columns[field.name] = pa.array(values, _KINDS.get(field.name, pa.float64()))
    return pa.table(columns)
