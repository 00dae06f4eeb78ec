"""Results of pixel retrieval on PROxford and PRParis.

::

    proxford.npy    {"qimlist_<q>_imlist_<i>": [[y, x], …]}   one polygon of each pair, [] for none
    roxford.npy     ranks, shape (images, queries)            beside it, optional

A folder with one file of polygons and at most one of ranks, or the file of polygons alone. Queries
and images are numbered from 0 as in the ground truth. Points are **row first**: the released code
takes the second number of a predicted point as x (and the first one of a true point); they are
turned round here. A polygon is an object on the image; what is no list of points is a finding, and
an object without polygons.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError
from granum.loaders._paths import names_in
from granum.loaders._pickles import load_npy
from granum.loaders.results._ranks import (
    Collection,
    Polygons,
    is_ranks,
    pairs_table,
    ranked_pairs,
)
from granum.loaders.results.base import Results, on_truth, results
from granum.schema.findings import Findings
from granum.store.dataset import Dataset

__all__ = ["PixelRetrievalResults"]

Ints = npt.NDArray[np.int64]

_PAIR = re.compile(r"qimlist_(\d+)_imlist_(\d+)")
_FILES = 100


@results("pixel_retrieval")
class PixelRetrievalResults(Results):
    """Polygons of pairs in a ``.npy``, and ranks."""

    name: ClassVar[str] = "pixel_retrieval"
    title: ClassVar[str] = "PROxford, PRParis results (.npy)"
    spec: ClassVar[str] = (
        "https://github.com/anguoyuan/Pixel_retrieval-Segmented_instance_retrieval"
    )
    protocols: ClassVar[tuple[str, ...]] = ("pixel-retrieval",)

    def sniff(self, path: Path) -> bool:
        return len(_files(path)[0]) == 1

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """A relation from each query to the images that matter, to an object where it was drawn.

        Raises:
            FormatError: not one file of polygons, several files of ranks, or one that cannot be
                read.
        """
        polygons, ranks = _files(path)
        if len(polygons) != 1 or len(ranks) > 1:
            found = f"{len(polygons)} files of polygons and {len(ranks)} of ranks"
            raise FormatError(path, f"{found}; it must be one of polygons and at most one of ranks")
        own = Collection.of(truth, path)
        query, image, drawn = _drawn(polygons[0], own, findings)
        pairs = query * len(own.images) + image
        order = np.full(len(pairs), -1, np.int64)
        if not ranks:
            return on_truth(truth, pairs_table(own, query, image, order, drawn))
        listed = ranked_pairs(ranks[0], truth, own, pairs, findings)
        ranked = listed[0] * len(own.images) + listed[1]
        place = dict(zip(ranked.tolist(), listed[2].tolist(), strict=True))
        order = np.array([place.get(pair, -1) for pair in pairs.tolist()], np.int64)
        others = ~np.isin(ranked, pairs)
        query, image, order = (
            np.concatenate([mine, theirs[others]])
            for mine, theirs in zip((query, image, order), listed, strict=True)
        )
        return on_truth(truth, pairs_table(own, query, image, order, drawn))


def _files(path: Path) -> tuple[list[Path], list[Path]]:
    """Files of polygons, and of ranks. Never raises."""
    if path.suffix == ".npy":
        return ([path] if _has_pairs(path) else []), []
    listed = [path / n for n in names_in(path, _FILES) if n.endswith(".npy")]
    return [p for p in listed if _has_pairs(p)], [p for p in listed if is_ranks(p)]


def _has_pairs(path: Path) -> bool:
    """Whether a pickled dictionary has such keys: their first letters are in the file."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head.startswith(b"\x93NUMPY") and b"qimlist_" in head


def _drawn(path: Path, own: Collection, findings: Findings) -> tuple[Ints, Ints, list[Polygons]]:
    """Query and image of each pair, and its polygon; pairs with an empty one are left out."""
    held = load_npy(path)
    table = held.item() if held.shape == () else None
    if not isinstance(table, dict):
        raise FormatError(path, "no dictionary of pairs")
    pairs: list[tuple[int, int]] = []
    drawn: list[Polygons] = []
    for key, points in table.items():
        told = _PAIR.fullmatch(str(key))
        q, i = (int(n) for n in told.groups()) if told else (-1, -1)
        if not (0 <= q < len(own.queries) and 0 <= i < len(own.images)):
            code = "unknown-sample" if told else "bad-value"
            findings.add(code, path.name, str(key), "no pair of a query and an image")
            continue
        found = _polygon(points)
        if found == []:
            continue
        if found is None:
            findings.add("bad-value", path.name, str(key), "no list of points (y, x)")
        pairs.append((q, i))
        drawn.append(None if found is None else [[found]])
    query, image = np.array(pairs, np.int64).reshape(-1, 2).T
    return query, image, drawn


def _polygon(points: Any) -> list[float] | None:
    """Flat x, y of points (y, x); None where it is no list of points."""
    try:
        array = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        return None
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        return None
    flat: list[float] = array[:, ::-1].ravel().tolist()
    return flat
