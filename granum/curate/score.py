"""Running scorers: one pass over the images whatever the number of scorers, resumable by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from granum.curate.base import DatasetScorer, ImageScorer, Scorer, Space, TableScorer, scorers
from granum.curate.crops import crops
from granum.curate.pictures import Picture, pictures
from granum.curate.spaces import vectors
from granum.errors import FormatError, UnknownNameError
from granum.store.columns import NewColumn, Roots, add_columns, identity_of
from granum.store.dataset import Dataset
from granum.store.executor import Executor
from granum.store.parts import Batch

__all__ = ["identities", "resolve", "score", "unreadable", "vectors"]


def resolve(names: Sequence[str | Scorer]) -> list[Scorer]:
    """Scorers by name, pattern (``*hash``) or as they are; ``name:key=value,…`` sets parameters.

    Raises:
        UnknownNameError: no scorer has such a name.
        UsageError: a parameter is unknown or no such value.
    """
    from granum.registry import built

    found: dict[str, Scorer] = {}
    for name in names:
        if isinstance(name, Scorer):
            found[_label(name)] = name
            continue
        plain = name.partition(":")[0]
        matching = [n for n in scorers if fnmatchcase(n, plain)]
        if not matching:
            raise UnknownNameError("scorer", plain, scorers.names())
        for match in matching:
            if plain != match and match.endswith("embedding"):
                continue  # needs a model: only by its own name
            scorer = built(scorers, match + name[len(plain) :])
            found[_label(scorer)] = scorer
    return list(found.values())


def _label(scorer: Scorer) -> str:
    """Two of one kind are two where their columns differ."""
    return " ".join([scorer.name, *scorer.given()])


def score(
    dataset: Dataset,
    wanted: Sequence[str | Scorer],
    *,
    executor: Executor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Add the columns of scorers to a store; what is there already is not computed again.

    An image that cannot be decoded has null in every column made from images; ``unreadable``
    counts them.

    Args:
        dataset: a whole store; annotation scorers use its current layer.
        wanted: names, patterns, or scorers with parameters of your own.
        executor: where parts are worked on.
        progress: called with the number of samples whose images were looked at.
    """
    chosen = resolve(wanted)
    layer = dataset.meta.layer
    for of in ("samples", "annotations"):
        images = [s for s in chosen if isinstance(s, ImageScorer | Space) and s.of == of]
        tables = [s for s in chosen if isinstance(s, TableScorer) and s.of == of]
        ways: list[tuple[Sequence[Scorer], Any]] = [
            (images, partial(_from_images, images, of)),
            (tables, partial(_from_rows, tables)),
        ]
        for some, compute in ways:
            if some:
                dataset = add_columns(
                    dataset.layer(layer),
                    [c for s in some for c in _columns(s)],
                    compute,
                    layer=layer if of == "annotations" else None,
                    executor=executor,
                    progress=progress if some is images and of == "samples" else None,
                )
    for one in chosen:
        if isinstance(one, DatasetScorer):
            dataset = _of_dataset(dataset.layer(layer), one)
    return dataset.layer(layer)


def identities(dataset: Dataset, scorer: Scorer) -> dict[str, dict[str, Any]]:
    """The identity that each column of a scorer would have if it were computed now."""
    layer = dataset.meta.layer if scorer.of == "annotations" else None
    return {c.name: identity_of(dataset, c, layer) for c in _columns(scorer)}


def _columns(scorer: Scorer) -> list[NewColumn]:
    return [
        NewColumn(
            name,
            scorer.version,
            {"scorer": scorer.name, **scorer.parameters()},
            scorer.reads(),
            {
                "about": about.about,
                "better": about.better,
                "range": list(about.range),
                "issue_below": about.issue_below,
            },
        )
        for name, about in scorer.given().items()
    ]


def _from_rows(
    wanted: Sequence[TableScorer], batch: Batch, roots: Roots, names: Sequence[str]
) -> dict[str, pa.Array]:
    out: dict[str, pa.Array] = {}
    for scorer in wanted:
        if any(n in names for n in scorer.given()):
            out.update(scorer.score(batch))
    return {n: out[n] for n in names}


def _of_dataset(dataset: Dataset, scorer: DatasetScorer) -> Dataset:
    """Computed when first a part lacks a value, then dealt out to the parts."""
    found: dict[str, pa.Array] = {}
    layer = dataset.meta.layer if scorer.of == "annotations" else None

    def of_part(batch: Batch, roots: Roots, names: Sequence[str]) -> dict[str, pa.Array]:
        if not found:
            found.update(scorer.score(dataset))
        if layer is None:
            return {n: found[n].slice(batch.start, batch.samples.num_rows) for n in names}
        begin = starts[batch.start]
        return {n: found[n].slice(begin, batch.annotations.num_rows) for n in names}

    starts, at = {}, 0
    for part in dataset.parts if layer else ():
        starts[part.start] = at
        at += part.layer(dataset.meta.layer).num_rows
    # The parts share one result, so they are dealt out here, not in other processes.
    return add_columns(dataset, _columns(scorer), of_part, layer=layer)


@dataclass
class _Gathered:
    """Values of one column, row by row; None where the image could not be read."""

    type: pa.DataType
    values: list[Any]

    def array(self) -> pa.Array:
        if pa.types.is_fixed_size_list(self.type):
            return _vector_array(self.values, self.type)
        return pa.array(self.values, self.type)


def _vector_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    width = kind.list_size
    flat = np.zeros((len(values), width), np.float32)
    absent = np.array([v is None for v in values], bool)
    for i, vector in enumerate(values):
        if vector is not None:
            flat[i] = vector
    mask = pa.array(absent) if absent.any() else None
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), width, mask=mask)


def _from_images(
    wanted: Sequence[ImageScorer | Space],
    of: str,
    batch: Batch,
    roots: Roots,
    names: Sequence[str],
) -> dict[str, pa.Array]:
    used = [s for s in wanted if any(n in names for n in s.given())]
    out = {n: _Gathered(c.type, []) for s in used for n, c in s.given().items()}
    spaces = [s for s in used if isinstance(s, Space)]
    size = min((s.batch for s in spaces), default=32)
    looked_at = pictures(batch, roots) if of == "samples" else crops(batch, roots)
    for some in _in_batches(looked_at, size):
        for scorer in used:
            if isinstance(scorer, Space):
                for n in scorer.given():
                    out[n].values += _embedded(scorer, some)
            else:
                for picture in some:
                    given = _scored(scorer, picture)
                    for n in scorer.given():
                        out[n].values.append(given.get(n))
    return {n: out[n].array() for n in names}


def _in_batches(
    items: Iterator[Picture | FormatError], size: int
) -> Iterator[list[Picture | FormatError]]:
    from itertools import islice

    while batch := list(islice(items, size)):
        yield batch


def _scored(scorer: ImageScorer, picture: Picture | FormatError) -> Mapping[str, Any]:
    if isinstance(picture, FormatError):
        return {}
    try:
        return scorer.score(picture)
    except FormatError:
        return {}


def _embedded(space: Space, some: Sequence[Picture | FormatError]) -> list[Any]:
    """Vectors of those that decode, None for the others."""
    readable: list[tuple[int, Picture]] = []
    for at, picture in enumerate(some):
        if isinstance(picture, Picture):
            try:
                picture.image  # noqa: B018  (decodes, or raises)
            except FormatError:
                continue
            readable.append((at, picture))
    out: list[Any] = [None] * len(some)
    if readable:
        found = space.embed([p for _, p in readable])
        for (at, _), vector in zip(readable, found, strict=True):
            out[at] = vector
    return out


def unreadable(dataset: Dataset, names: Sequence[str]) -> Counter[str]:
    """How many samples have null in each of these columns: images that could not be read, or for
    which the score is undefined."""
    table = dataset.samples([f"col.{n}" for n in names])
    return Counter({n: table[f"col.{n}"].null_count for n in names})
