"""Lists of ranked images of ROxford and RParis, as relations from queries to images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["Collection", "is_ranks", "pairs_table", "ranked_pairs"]

Ints = npt.NDArray[np.int64]
Polygons = list[list[list[float]]] | None

KEPT = 1000
"""First ranks of each query that are kept; beside them the images that the truth relates to it."""


@dataclass(frozen=True)
class Collection:
    """Rows of the truth's samples: queries in their order, and images in the order of the files'
    numbers, the collection before the distractors."""

    queries: Ints
    images: Ints

    @staticmethod
    def of(truth: Dataset, where: str | Path) -> Collection:
        """
        Raises:
            FormatError: the truth has no query, or no image.
        """
        role = column(truth.samples(["role"]), "role", tables.SAMPLES).cast(pa.string())
        of_role = [
            np.flatnonzero(np.asarray(pc.equal(role, name).fill_null(False), bool))
            for name in ("query", "database", "distractor")
        ]
        if not len(of_role[0]) or not len(of_role[1]):
            raise FormatError(where, "the truth has no samples with the roles query and database")
        return Collection(of_role[0], np.concatenate(of_role[1:]))


def is_ranks(path: Path) -> bool:
    """Whether a file holds a table of whole numbers. Never raises."""
    try:
        held = np.load(path, mmap_mode="r", allow_pickle=False)
        return bool(held.ndim == 2 and held.dtype.kind in "iu")
    except Exception:  # damaged in any way, an archive, a pickle
        return False


def ranked_pairs(
    path: Path, truth: Dataset, own: Collection, more: Ints, findings: Findings
) -> tuple[Ints, Ints, Ints]:
    """Query, image (positions in the collection) and rank: of the first ranks of each query, of the
    images that the truth relates to it, and of the pairs ``more``.

    Args:
        path: whole numbers, shape (ranks, queries): column q lists images, best first.
        more: pairs as ``query * images + image``.

    Raises:
        FormatError: it is no such table, or has another number of queries.
    """
    try:
        listed = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(path, f"no table of ranks: {error}") from error
    if listed.ndim != 2 or listed.dtype.kind not in "iu":
        raise FormatError(path, f"{listed.dtype} of shape {listed.shape}; ranks are whole numbers")
    if listed.shape[1] != len(own.queries):
        turned = " (it is turned: rows are queries)" if len(listed) == len(own.queries) else ""
        shape = f"of shape {listed.shape} for {len(own.queries)} queries"
        raise FormatError(path, f"{shape}; it must be (ranks, queries){turned}")
    n = len(own.images)
    wanted = np.union1d(_related(truth, own), more)
    out = []
    for q in range(listed.shape[1]):
        images = np.asarray(listed[:, q], np.int64)
        known = (images >= 0) & (images < n)
        lost = np.flatnonzero(~known)
        if len(lost):
            message = f"{len(lost)} numbers of images that there are not (first: {images[lost[0]]})"
            findings.add("unknown-sample", path.name, f"[{lost[0]}, {q}]", message, len(lost))
        first, last = np.searchsorted(wanted, [q * n, (q + 1) * n]).tolist()
        keep = np.isin(images, wanted[first:last] - q * n)
        keep[:KEPT] = True
        rank = np.flatnonzero(keep & known)
        out.append((np.full(len(rank), q), images[rank], rank))
    parts = zip(*out, strict=True)
    query, image, rank = (np.concatenate([np.empty(0, np.int64), *p]) for p in parts)
    return query, image, rank


def _related(truth: Dataset, own: Collection) -> Ints:
    """The pairs of the truth's relations, as ``query * images + image``, sorted."""
    relations, ends = [np.empty((2, 0), np.int64)], [np.empty((2, 0), np.int64)]
    for part in truth.parts:
        table = part.layer(truth.meta.layer)
        relation = pc.equal(column(table, "kind").cast(pa.string()), "relation")
        for into, wanted, of in (
            (relations, relation, "object"),
            (ends, pc.invert(relation), "annotation_id"),
        ):
            some = table.filter(wanted)
            both = (column(some, n).fill_null(-1) for n in ("sample", of))
            into.append(np.stack([np.asarray(v, np.int64) for v in both]))
    sample, end = np.concatenate(relations, axis=1)
    samples, ids = np.concatenate(ends, axis=1)
    place = np.full(len(truth) + 1, -1, np.int64)
    place[own.queries] = np.arange(len(own.queries))
    query = place[sample]
    place[:] = -1
    place[own.images] = np.arange(len(own.images))
    order = np.argsort(ids)
    at = np.minimum(np.searchsorted(ids[order], end), len(ids) - 1)
    image = np.where(ids[order][at] == end, place[samples[order][at]], -1) if len(ids) else end * 0
    known = (query >= 0) & (image >= 0)
    return np.unique(query[known] * len(own.images) + image[known])


def pairs_table(
    own: Collection,
    query: Ints,
    image: Ints,
    rank: Ints,
    drawn: Sequence[Polygons] = (),
) -> pa.Table:
    """Annotations: a relation for each pair, to an object of its own or to a label of the image.

    Args:
        query, image: positions in the collection.
        rank: -1 where there is none.
        drawn: polygons of the first pairs (None: an object without), which have objects.
    """
    objects = len(drawn)
    labelled, label = np.unique(image[objects:], return_inverse=True)
    ends = objects + len(labelled)
    n = len(query)
    sample = np.concatenate([own.images[image[:objects]], own.images[labelled], own.queries[query]])
    end = np.concatenate([np.arange(objects), objects + label]) + 1
    kinds = np.repeat(["object", "label", "relation"], [objects, len(labelled), n])
    unranked = np.concatenate([np.ones(ends, bool), rank < 0])
    ranks = np.concatenate([np.zeros(ends, np.int64), rank])
    nothing: list[Any] = [None] * (ends - objects + n)
    return pa.table(
        {
            "annotation_id": pa.array(np.arange(1, ends + n + 1)),
            "sample": pa.array(sample, pa.int64()),
            "kind": pa.array(kinds.tolist(), pa.string()).dictionary_encode(),
            "score": pa.array(-ranks.astype(np.float64), mask=unranked),
            "polygons": pa.array([*drawn, *nothing], tables.ANNOTATIONS.field("polygons").type),
            "object": pa.array(
                np.concatenate([np.zeros(ends, np.int64), end]), mask=np.arange(ends + n) < ends
            ),
            "attr.rank": pa.array(ranks, mask=unranked),
        }
    )
