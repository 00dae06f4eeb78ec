"""What a dataset holds: counts, sizes, classes that occur together, how unequal they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.curate.attributes import settled, value_counts
from granum.curate.extents import Extents
from granum.curate.hill import evenness, hill_of
from granum.curate.reduce import over_parts
from granum.curate.results import Summary
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.executor import Executor

__all__ = ["basic_stats", "gini"]

Ints = npt.NDArray[np.int64]

HEAD, MEDIUM = 100, 10
"""Images from which on a class is frequent, or at least common (Gupta et al., LVIS, 2019)."""

_BINS = ("size_bin", "aspect_bin", "position", "objects_bin")
_FORMS = ("bbox", "polygons", "rle", "map", "keypoints", "polyline", "box3d", "text", "interval")


def gini(counts: Sequence[int] | Ints) -> float | None:
    """Gini coefficient of counts: 0 where all are equal, near 1 where one has all."""
    n = np.sort(np.asarray(counts, np.float64))
    if not n.size or not n.sum():
        return None
    rank = np.arange(1, len(n) + 1)
    return float(2 * (rank * n).sum() / (len(n) * n.sum()) - (len(n) + 1) / len(n))


@dataclass
class _Counts:
    """What is counted over parts: all of it integers, so sums do not hang on order."""

    samples: int = 0
    empty: int = 0
    annotations: int = 0
    instances: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    together: Counter[tuple[int, int]] = field(default_factory=Counter)
    per_image: Counter[int] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    bins: dict[str, Counter[str]] = field(default_factory=dict)

    def __add__(self, other: _Counts) -> _Counts:
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            elif name == "bins":
                for k, counts in value.items():
                    self.bins.setdefault(k, Counter()).update(counts)
            else:
                setattr(self, name, getattr(self, name) + value)
        return self


def basic_stats(dataset: Dataset, *, top: int = 50, executor: Executor | None = None) -> Summary:
    """Counts of the current layer, exact for any number of workers.

    Args:
        dataset: any dataset.
        top: how many pairs of classes are listed.
        executor: where parts are counted.

    Returns:
        Values (samples, annotations, classes, boxes per image, imbalance, Hill numbers); tables
        ``classes``, ``together`` (pairs of classes in one image, with lift), ``sizes``, ``bins``,
        ``kinds``, ``splits``.
    """
    total = _Counts()
    attributes = settled(dataset, _BINS)
    for found in over_parts(dataset, partial(_part, attributes), executor):
        total = total + found
    tables = {
        "classes": _classes(dataset, total),
        "together": _together(dataset, total, top),
        "bins": _bins(total),
        "sizes": _sizes(total),
        "kinds": _listed({**total.kinds, **total.forms}, "kind or geometry"),
        "splits": _listed(total.splits, "split"),
    }
    made = {"layer": dataset.meta.layer}
    return Summary("Statistics", _values(dataset, total), tables, made)


def _part(attributes: Any, dataset: Dataset, number: int) -> _Counts:
    batch = dataset.parts[number].batch(dataset.meta.layer)
    table = batch.annotations
    rows = np.asarray(column(table, "sample").fill_null(-1), np.int64) - batch.start
    category = np.asarray(column(table, "category").fill_null(-1), np.int64)
    kinds = column(table, "kind").cast(pa.string())
    objects = np.asarray(pc.equal(kinds, "object").fill_null(False)) & (rows >= 0)
    per_sample = np.bincount(rows[rows >= 0], minlength=batch.samples.num_rows)
    boxes = np.bincount(rows[objects], minlength=batch.samples.num_rows)
    there = (rows >= 0) & (category >= 0)
    presence = np.unique(np.column_stack([rows, category])[there], axis=0)
    return _Counts(
        samples=batch.samples.num_rows,
        empty=int((per_sample == 0).sum()),
        annotations=table.num_rows,
        instances=Counter(category[category >= 0].tolist()),
        images=Counter(presence[:, 1].tolist()),
        together=_pairs(presence),
        per_image=Counter(boxes.tolist()),
        sizes=_of_images(dataset, number),
        kinds=_counted(kinds),
        forms=Counter(
            {n: k for n in _FORMS if (k := table.num_rows - column(table, n).null_count)}
        ),
        splits=_counted(column(batch.samples, "split").cast(pa.string())),
        bins=dict(value_counts(attributes, dataset, number)),
    )


def _counted(values: pa.ChunkedArray) -> Counter[str]:
    found = pc.value_counts(values.drop_null())
    return Counter({v["values"]: v["counts"] for v in found.to_pylist()})


def _pairs(presence: Ints) -> Counter[tuple[int, int]]:
    """Pairs of classes in one image, the lower one first; ``presence`` is sorted by image."""
    out: Counter[tuple[int, int]] = Counter()
    image, classes = presence[:, 0], presence[:, 1]
    # Row i with each later row of its image: shift by 1, 2, … as long as images are that rich.
    shift = 1
    while len(image) > shift and (same := image[shift:] == image[:-shift]).any():
        first, second = classes[:-shift][same], classes[shift:][same]
        both, many = np.unique(np.column_stack([first, second]), axis=0, return_counts=True)
        for (a, b), n in zip(both.tolist(), many.tolist(), strict=True):
            out[a, b] += n
        shift += 1
    return out


def _of_images(dataset: Dataset, number: int) -> Counter[tuple[int, int]]:
    samples = dataset.parts[number].samples()
    n = samples.num_rows
    alone = pa.table({"sample": pa.array(np.arange(n) + dataset.parts[number].start, pa.int64())})
    batch = dataset.parts[number].batch(dataset.meta.layer)
    found = Extents(type(batch)(samples, alone, batch.start)).sizes
    known = found[np.isfinite(found).all(axis=1)].astype(np.int64)
    both, many = np.unique(known, axis=0, return_counts=True)
    return Counter({(w, h): k for (w, h), k in zip(both.tolist(), many.tolist(), strict=True)})


def _values(dataset: Dataset, total: _Counts) -> dict[str, Any]:
    instances = _dense(total.instances, dataset)
    images = _dense(total.images, dataset)
    used = instances > 0
    many = np.repeat(*_sorted_counts(total.per_image))
    shares = _tiers(images[used])
    numbers = hill_of(instances, (0.0, 1.0, 2.0))
    return {
        "samples": total.samples,
        "samples without annotations": total.empty,
        "annotations": total.annotations,
        "categories": len(instances),
        "categories used": int(used.sum()),
        "objects per image, mean": float(many.mean()) if len(many) else None,
        "objects per image, median": float(np.median(many)) if len(many) else None,
        "objects per image, most": int(many.max()) if len(many) else None,
        "instances of a class, most over least": (
            float(instances[used].max() / instances[used].min()) if used.any() else None
        ),
        "gini of classes": gini(instances[used]),
        "hill_1 of classes": numbers[1.0],
        "hill_2 of classes": numbers[2.0],
        "evenness of classes": evenness(instances),
        **shares,
    }


def _tiers(images: Ints) -> dict[str, int]:
    return {
        f"head classes (in {HEAD} images or more)": int((images >= HEAD).sum()),
        f"medium classes (in {MEDIUM} to {HEAD - 1})": int(
            ((images >= MEDIUM) & (images < HEAD)).sum()
        ),
        f"tail classes (in fewer than {MEDIUM})": int((images < MEDIUM).sum()),
    }


def _sorted_counts(counts: Counter[int]) -> tuple[Ints, Ints]:
    keys = sorted(counts)
    return np.array(keys, np.int64), np.array([counts[k] for k in keys], np.int64)


def _dense(counts: Counter[int], dataset: Dataset) -> Ints:
    out = np.zeros(dataset.categories.num_rows, np.int64)
    for row, n in counts.items():
        out[row] = n
    return out


def _classes(dataset: Dataset, total: _Counts) -> pa.Table:
    instances, images = _dense(total.instances, dataset), _dense(total.images, dataset)
    order = np.lexsort([np.arange(len(instances)), -instances])
    tier = np.where(images >= HEAD, "head", np.where(images >= MEDIUM, "medium", "tail"))
    names = np.array([*dataset.category_names(), ""], object)[:-1]
    share = instances / max(int(instances.sum()), 1)
    return pa.table(
        {
            "category": pa.array(names[order], pa.string()),
            "instances": pa.array(instances[order]),
            "images": pa.array(images[order]),
            "share": pa.array(share[order]),
            "tier": pa.array(np.where(images > 0, tier, "unused")[order].tolist(), pa.string()),
        }
    )


def _together(dataset: Dataset, total: _Counts, top: int) -> pa.Table:
    """Pairs by how often they occur; lift is that over what chance would give."""
    names = dataset.category_names()
    listed = sorted(total.together.items(), key=lambda item: (-item[1], item[0]))[:top]
    lift = [n * total.samples / (total.images[a] * total.images[b]) for (a, b), n in listed]
    return pa.table(
        {
            "first": pa.array([names[a] for (a, _), _ in listed], pa.string()),
            "second": pa.array([names[b] for (_, b), _ in listed], pa.string()),
            "images": pa.array([n for _, n in listed], pa.int64()),
            "lift": pa.array(lift, pa.float64()),
        }
    )


def _bins(total: _Counts) -> pa.Table:
    rows = [(a, v, n) for a in _BINS for v, n in sorted(total.bins.get(a, Counter()).items())]
    return pa.table(
        {
            "attribute": pa.array([a for a, _, _ in rows], pa.string()),
            "value": pa.array([v for _, v, _ in rows], pa.string()),
            "annotations": pa.array([n for _, _, n in rows], pa.int64()),
        }
    )


def _sizes(total: _Counts) -> pa.Table:
    rows = sorted(total.sizes.items(), key=lambda item: (-item[1], item[0]))
    return pa.table(
        {
            "width": pa.array([w for (w, _), _ in rows], pa.int32()),
            "height": pa.array([h for (_, h), _ in rows], pa.int32()),
            "samples": pa.array([n for _, n in rows], pa.int64()),
        }
    )


def _listed(counts: dict[str, int], name: str) -> pa.Table:
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return pa.table(
        {
            name: pa.array([k for k, _ in rows], pa.string()),
            "count": pa.array([n for _, n in rows], pa.int64()),
        }
    )
