"""Two datasets, or two views of one, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.grade import ATTRIBUTES, grade
from granum.curate.neighbours import knn
from granum.curate.results import Summary
from granum.curate.subsets import Subsets
from granum.curate.vendi import ORDERS, order_name, vendi_of
from granum.store.dataset import Dataset
from granum.store.executor import Executor

__all__ = ["compare", "coverage", "jensen_shannon"]

Floats = npt.NDArray[np.float32]

MOST = 50_000
"""Vectors of each side that coverage looks at, at most: it costs their product."""


def jensen_shannon(a: Mapping[str, int], b: Mapping[str, int]) -> float | None:
    """Jensen-Shannon distance of two counts of values (root of the divergence, base 2): 0 where the
    shares are equal, 1 where no value is common; None where one is empty."""
    names = sorted({*a, *b})
    p = np.array([a.get(n, 0) for n in names], np.float64)
    q = np.array([b.get(n, 0) for n in names], np.float64)
    if not p.sum() or not q.sum():
        return None
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return math.sqrt(max(divergence, 0.0))


def _relative_entropy(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    some = p > 0
    return float(np.sum(p[some] * np.log2(p[some] / q[some])))


def coverage(target: npt.ArrayLike, candidates: npt.ArrayLike, k: int = 5) -> float | None:
    """Share of the target's vectors that have a candidate nearer than their own k-th neighbour in
    the target (Naeem et al., "Reliable fidelity and diversity metrics", 2020), by cosine.

    Args:
        target: shape (n, d).
        candidates: shape (m, d).
        k: which neighbour says how far is near.

    Returns:
        Between 0 and 1; None where the target has no more than ``k`` vectors.
    """
    real, other = np.asarray(target, np.float32), np.asarray(candidates, np.float32)
    if len(real) <= k:
        return None
    if not len(other):
        return 0.0
    reach = knn(real, k).distances[:, -1]
    nearest = knn(other, 1, queries=real).distances[:, 0]
    return float((nearest < reach).mean())


def compare(
    a: Dataset,
    b: Dataset,
    *,
    space: str | None = None,
    attributes: Sequence[str] = ATTRIBUTES,
    concept: str | None = "category",
    orders: Sequence[float] = ORDERS,
    n_ref: int | None = None,
    k: int = 5,
    repeats: int = 5,
    seed: int = 0,
    executor: Executor | None = None,
) -> Summary:
    """How two datasets differ: classes (matched by name), GRADE, and with a space the Vendi score
    at an equal number of samples and how much of each the other covers.

    Args:
        a, b: the datasets.
        space: vectors that both hold.
        attributes, concept: of GRADE.
        orders: of the Vendi score.
        n_ref: number of samples at which Vendi scores are compared (default: all of the smaller
            one, 5,000 at most).
        k: neighbour of coverage.
        repeats, seed: of the random subsets.
        executor: where parts are worked on.

    Returns:
        Tables ``classes`` and ``grade`` with a row per class, per concept and attribute; values by
        name, those of one side ending in ``_a`` and ``_b``.
    """
    counts = a.counts(), b.counts()
    values: dict[str, Any] = {
        "samples_a": len(a),
        "samples_b": len(b),
        "annotations_a": a.num_annotations,
        "annotations_b": b.num_annotations,
        "classes_distance": jensen_shannon(*counts),
        "classes_only_a": _only(*counts),
        "classes_only_b": _only(counts[1], counts[0]),
    }
    grades = _grades(a, b, attributes, concept, executor)
    values |= {"grade_a": grades[0].values["grade"], "grade_b": grades[1].values["grade"]}
    if space is not None:
        values |= _in_space(a, b, space, orders, n_ref, k, repeats, seed)
    tables = {
        "classes": _class_table(*counts),
        "grade": _grade_table(grades[0].tables["grade"], grades[1].tables["grade"]),
    }
    made = {"space": space, "attributes": list(attributes), "concept": concept, "seed": seed}
    return Summary("Comparison", values, tables, made)


def _grades(
    a: Dataset,
    b: Dataset,
    attributes: Sequence[str],
    concept: str | None,
    executor: Executor | None,
) -> list[Summary]:
    """GRADE of both over the same values: numbers are cut as in the first, and a value that only
    one of them has counts for both."""
    first = grade(a, attributes, concept=concept, executor=executor)
    edges = first.made["edges"]
    second = grade(b, attributes, concept=concept, edges=edges, executor=executor)
    seen = [s.made["supports"] for s in (first, second)]
    if seen[0] == seen[1]:
        return [first, second]
    joint = {n: sorted({*seen[0][n], *seen[1][n]}) for n in attributes}
    return [
        grade(d, attributes, concept=concept, supports=joint, edges=edges, executor=executor)
        for d in (a, b)
    ]


def _only(a: Mapping[str, int], b: Mapping[str, int]) -> int:
    return sum(1 for name, n in a.items() if n and not b.get(name))


def _class_table(a: Mapping[str, int], b: Mapping[str, int]) -> pa.Table:
    names = [n for n in dict.fromkeys([*a, *b]) if a.get(n) or b.get(n)]
    counts = [np.array([side.get(n, 0) for n in names], np.int64) for side in (a, b)]
    shares = [c / max(int(c.sum()), 1) for c in counts]
    order = np.argsort(-np.abs(shares[0] - shares[1]), kind="stable")
    return pa.table(
        {
            "category": pa.array([names[i] for i in order], pa.string()),
            "a": pa.array(counts[0][order]),
            "b": pa.array(counts[1][order]),
            "share_a": pa.array(shares[0][order]),
            "share_b": pa.array(shares[1][order]),
        }
    )


def _grade_table(a: pa.Table, b: pa.Table) -> pa.Table:
    """Normalised entropies matched by concept and attribute, the largest changes first."""
    sides = [
        {(r["concept"], r["attribute"]): r["norm_entropy"] for r in table.to_pylist()}
        for table in (a, b)
    ]
    keys = [k for k in sides[0] if k in sides[1] and None not in (sides[0][k], sides[1][k])]
    keys.sort(key=lambda k: (-abs(sides[1][k] - sides[0][k]), k))
    return pa.table(
        {
            "concept": pa.array([c for c, _ in keys], pa.string()),
            "attribute": pa.array([t for _, t in keys], pa.string()),
            "a": pa.array([sides[0][k] for k in keys], pa.float64()),
            "b": pa.array([sides[1][k] for k in keys], pa.float64()),
            "change": pa.array([sides[1][k] - sides[0][k] for k in keys], pa.float64()),
        }
    )


def _in_space(
    a: Dataset,
    b: Dataset,
    space: str,
    orders: Sequence[float],
    n_ref: int | None,
    k: int,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    subsets = {"a": Subsets(a, space), "b": Subsets(b, space)}
    n = min(subsets["a"].total, subsets["b"].total, n_ref or 5000)
    values: dict[str, Any] = {"vendi_at": n}
    for side, subset in subsets.items():
        draws = 1 if subset.total == n else repeats  # all of it needs no repetition
        scores = [
            vendi_of(subset.draw(n, np.random.default_rng([seed, i])), orders) for i in range(draws)
        ]
        for q in orders:
            found = [s for score in scores if (s := score[q]) is not None]
            values[f"{order_name(q)}_{side}"] = float(np.mean(found)) if found else None
            spread = float(np.std(found, ddof=1)) if len(found) > 1 else None
            values[f"{order_name(q)}_{side}_sd"] = spread
    ours, theirs = (s.draw(MOST, np.random.default_rng(seed)) for s in subsets.values())
    values["a covered by b"] = coverage(ours, theirs, k)
    values["b covered by a"] = coverage(theirs, ours, k)
    return values
