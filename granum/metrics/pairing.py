"""Predictions beside the truth: the same samples in the same order, categories by the same rows.

Both may be layers of one dataset, or two datasets joined by sample key. What cannot be paired is a
coded finding and is left out; it is never counted as a wrong prediction in silence, nor as -1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import SizeUnknownError, UsageError
from granum.metrics._usable import kept, left_out, of_kinds
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.tables import column, with_column
from granum.schema.units import POINT_COLUMNS, convert_units, is_relative
from granum.store.dataset import Dataset
from granum.store.opening import open_dataset
from granum.store.parts import Batch, concat, select_parts

__all__ = ["Match", "Pairing"]

Match = Literal["key", "source_id"]
Kinds = tuple[str, ...] | None
Indices = npt.NDArray[np.int64]


class Pairing:
    """Truth and predictions, a part of the truth at a time. Picklable where both are stores.

    Args:
        truth: the dataset whose current layer is true.
        predictions: the dataset whose current layer is predicted; the same dataset seen with
            another layer, or another one whose samples have the same keys.
        needs: columns (``category``, ``score``) without which a prediction cannot be counted;
            ``known``: a prediction that has a category has one of the truth; ``own``: categories
            of predictions stay rows of their own table (clusters, which the truth does not know).
        by: what samples are joined by: their ``key``, or their ``source_id`` (a file of results
            knows images and categories by their ids only).
        kinds: of rows that are compared, of truth and of predictions; None: any.
        scale_free: where both sides have fractions of an image, they stay.

    Raises:
        UsageError: they have no sample in common, or ``by`` is unknown.
    """

    def __init__(
        self,
        truth: Dataset,
        predictions: Dataset,
        *,
        needs: Sequence[str] = (),
        by: Match = "key",
        kinds: tuple[Kinds, Kinds] = (None, None),
        scale_free: bool = False,
    ) -> None:
        if by not in ("key", "source_id"):
            raise UsageError(f"samples are joined by key or source_id, not by {by!r}")
        self.truth, self.predictions = truth, predictions
        self.needs, self.by, self.kinds = tuple(needs), by, kinds
        self.scale_free = scale_free
        self.categories = _category_rows(truth.categories, predictions.categories, by)
        self._join()

    def _join(self) -> None:
        """Find what belongs together."""
        truth, predictions, by = self.truth, self.predictions, self.by
        self.aligned = _aligned(truth, predictions)
        self.rows = np.empty(0, np.int64) if self.aligned else _sample_rows(truth, predictions, by)
        if len(self.rows) and len(predictions) and self.rows.max() < 0:
            sides = ((truth, "the truth"), (predictions, "the predictions"))
            told = ", ".join(_told(dataset, by, who) for dataset, who in sides)
            raise UsageError(f"truth and predictions have no sample in common by {by}: {told}")

    def __reduce__(self) -> tuple[Any, ...]:
        sides = (_Side(self.truth), _Side(self.predictions))
        return _unpickled, (type(self), *sides, self.needs, self.by, self.kinds, self.scale_free)

    def __len__(self) -> int:
        return len(self.truth.parts)

    def __iter__(self) -> Iterator[tuple[Batch, Batch, Findings]]:
        return (self.part(i) for i in range(len(self)))

    def part(self, number: int) -> tuple[Batch, Batch, Findings]:
        """Truth, predictions and findings of one part of the truth.

        Both batches have the same samples and pixels as unit; ``sample`` of the annotations is the
        row in the truth, ``category`` the row in the truth's categories. Rows of other kinds than
        those compared, and predictions that lack what is needed, are in neither.

        Raises:
            SizeUnknownError: coordinates are fractions of an image whose size is unknown.
        """
        part = self.truth.parts[number]
        findings = Findings(on_error="skip")
        whole = of_kinds(part.batch(self.truth.meta.layer), self.kinds[0], "truth", findings)
        if self.aligned:
            other = self.predictions.parts[number]
            table, theirs = other.layer(self.predictions.meta.layer), other.samples()
        else:
            table, theirs = self._joined(part.start, part.rows, findings)
        mine = Batch(whole.samples, table, part.start)
        mine = of_kinds(mine, self.kinds[1], "predictions", findings)
        mine = self._scored(self._categorised(mine, findings), findings)
        samples, true, predicted = _in_pixels(whole, theirs, mine.annotations, self.scale_free)
        truth, predictions = Batch(samples, true, part.start), Batch(samples, predicted, part.start)
        empty = int((np.diff(predictions.offsets()) == 0).sum())
        if empty:
            _add(findings, "no-predictions", f"{empty} samples have no prediction", empty)
        return truth, predictions, findings

    def unknown_samples(self) -> Findings:
        """Predictions on samples that the truth does not have."""
        findings = Findings(on_error="skip")
        if self.aligned:
            return findings
        known = np.zeros(len(self.predictions), bool)
        known[self.rows[self.rows >= 0]] = True
        for part in self.predictions.parts:
            lost = np.flatnonzero(~known[part.start : part.start + part.rows])
            if not len(lost):
                continue
            counts = np.diff(part.offsets(self.predictions.meta.layer))[lost]
            if counts.any():
                first = part.samples()["key"][int(lost[counts > 0][0])].as_py()
                n = int(counts.sum())
                message = f"{n} predictions on samples that the truth does not have"
                _add(findings, "unknown-sample", f"{message} (first: {first!r})", n)
        return findings

    def _joined(self, start: int, rows: int, findings: Findings) -> tuple[pa.Table, pa.Table]:
        """Annotations of the predictions for samples of the truth, and their sample rows."""
        found = self.rows[start : start + rows]
        at = np.flatnonzero(found >= 0)
        layers, samples = [], []
        for piece in select_parts(self.predictions.parts, found[at]):
            batch = piece.batch(self.predictions.meta.layer)
            table = of_kinds(batch, None, "predictions", findings).annotations
            where = at[np.asarray(column(table, "sample"), np.int64)] + start
            layers.append(with_column(table, "sample", pa.array(where)))
            samples.append(piece.samples())
        theirs = concat(samples, tables.SAMPLES)
        places = np.full(rows, -1, np.int64)
        places[at] = np.arange(len(at))
        taken = theirs.take(pa.array(places, mask=places < 0))
        return concat(layers, tables.ANNOTATIONS), taken

    def _categorised(self, batch: Batch, findings: Findings) -> Batch:
        """Categories as rows of the truth's table; null where the truth has none of the name."""
        table = batch.annotations
        old = column(table, "category").combine_chunks()
        if "category" in self.needs and old.null_count:
            absent = np.asarray(old.is_null())
            what = "without a category"
            left_out(findings, "missing-category", batch, absent, "predictions", what)
            batch = kept(batch, ~absent)
            table = batch.annotations
            old = column(table, "category").combine_chunks()
        if self.categories is None or not table.num_rows or "own" in self.needs:
            return batch
        mapped = pa.array(self.categories, mask=self.categories < 0, type=pa.int32()).take(old)
        lost = np.asarray(pc.and_(old.is_valid(), mapped.is_null()))
        if lost.any():
            rows = np.unique(np.asarray(old.filter(pa.array(lost)), np.int64))
            names = self.predictions.categories["name"].take(pa.array(rows[:3])).to_pylist()
            n, shown = int(lost.sum()), ", ".join(map(repr, names))
            message = f"{n} predictions of {len(rows)} categories that the truth does not have"
            _add(findings, "unknown-category", f"{message} (such as {shown})", n)
        known = Batch(batch.samples, with_column(table, "category", mapped), batch.start)
        wanted = {"category", "known"} & set(self.needs)
        return kept(known, ~lost) if wanted else known

    def _scored(self, batch: Batch, findings: Findings) -> Batch:
        """Without the rows that lack a score, where the protocol needs it."""
        if "score" not in self.needs:
            return batch
        score = column(batch.annotations, "score")
        absent = np.asarray(score.is_null())
        nan = np.isnan(np.asarray(score.fill_null(0.0) if score.null_count else score, np.float64))
        left_out(findings, "missing-score", batch, absent, "predictions", "without a score")
        left_out(findings, "nan-score", batch, nan, "predictions", "with a score of NaN")
        return kept(batch, ~absent & ~nan)


def _told(dataset: Dataset, by: Match, who: str) -> str:
    """What samples of one side are called."""
    known = pc.drop_null(dataset.samples([by])[by])
    if not len(known):
        return f"no sample of {who} has one (their keys are like {dataset[0].key!r})"
    return f"{known[0].as_py()!r} is a sample of {who}"


def _add(findings: Findings, code: str, message: str, n: int) -> None:
    findings.add(code, "predictions", None, message, n)


@dataclass(frozen=True)
class _Side:
    """A dataset on its way to another process: by path where it is a store."""

    dataset: Dataset

    def __reduce__(self) -> tuple[Any, ...]:
        meta = self.dataset.meta
        if meta.store is None:
            return _Side, (self.dataset,)
        path, number = str(meta.store.path.resolve()), meta.store.number
        return _reopened, (path, number, meta.media_root, meta.map_root, meta.layer)


@lru_cache(maxsize=4)
def _reopened(
    path: str, number: int, media_root: str | None, map_root: str | None, layer: str
) -> _Side:
    return _Side(open_dataset(path, media_root=media_root, map_root=map_root).layer(layer))


@lru_cache(maxsize=2)
def _paired(
    kind: Callable[..., Pairing],
    truth: Dataset,
    predictions: Dataset,
    needs: tuple[str, ...],
    by: Match,
    kinds: tuple[Kinds, Kinds],
    scale_free: bool,
) -> Pairing:
    return kind(truth, predictions, needs=needs, by=by, kinds=kinds, scale_free=scale_free)


def _unpickled(
    kind: Callable[..., Pairing], truth: _Side, predictions: _Side, *more: Any
) -> Pairing:
    return _paired(kind, truth.dataset, predictions.dataset, *more)


def _aligned(truth: Dataset, predictions: Dataset) -> bool:
    """Whether the parts of both hold the same samples in the same order."""
    if [(p.start, p.rows) for p in truth.parts] != [(p.start, p.rows) for p in predictions.parts]:
        return False
    mine, other = truth.meta, predictions.meta
    if truth.parts == predictions.parts or (
        mine.store is not None
        and other.store is not None
        and mine.store.path == other.store.path
        and mine.store.manifest["parts"] == other.store.manifest["parts"]
    ):
        return True
    both = zip(truth.parts, predictions.parts, strict=True)
    return all(a.samples()["key"].equals(b.samples()["key"]) for a, b in both)


def _sample_rows(truth: Dataset, predictions: Dataset, by: Match) -> Indices:
    """For each sample of the truth its row in the predictions, -1 where there is none."""
    wanted = truth.samples([by])[by].combine_chunks()
    there = predictions.samples([by])[by].combine_chunks()
    found = pc.index_in(wanted, value_set=there.cast(wanted.type), skip_nulls=True)
    return np.asarray(found.fill_null(-1), np.int64)


def _category_rows(truth: pa.Table, predictions: pa.Table, by: Match) -> Indices | None:
    """For each category of the predictions the truth's row: of the same space and name, else of the
    same name if only one has it (``source_id``: else of that id). None where the tables agree."""
    mine, theirs = _named(truth), _named(predictions)
    if mine == theirs:
        return None
    exact = {pair: i for i, pair in reversed(list(enumerate(mine)))}
    counts = Counter(name for _, name in mine)
    once = {name: i for i, (_, name) in enumerate(mine) if counts[name] == 1}
    ids: dict[str | None, int] = {}
    if by == "source_id":
        listed = column(truth, "source_id", tables.CATEGORIES).to_pylist()
        ids = {value: i for i, value in enumerate(listed) if value is not None}
    given = column(predictions, "source_id", tables.CATEGORIES).to_pylist()
    rows = [
        exact.get(pair, once.get(pair[1], ids.get(value, -1)))
        for pair, value in zip(theirs, given, strict=True)
    ]
    return np.asarray(rows, np.int64)


def _named(categories: pa.Table) -> list[tuple[str | None, str]]:
    spaces = column(categories, "space", tables.CATEGORIES).cast(pa.string()).to_pylist()
    return list(zip(spaces, categories["name"].to_pylist(), strict=True))


def _in_pixels(
    truth: Batch, theirs: pa.Table, predicted: pa.Table, scale_free: bool
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Samples, truth and predictions with all coordinates in pixels; where both have fractions
    and ``scale_free``, they stay."""
    mine, other = is_relative(truth.samples), is_relative(theirs)
    kept = np.zeros(len(mine), bool)
    if scale_free:
        absent = np.asarray(column(theirs, "key", tables.SAMPLES).is_null())
        kept = mine & (other | absent)
        mine, other = mine & ~kept, other & ~kept
    if not mine.any() and not other.any():
        return truth.samples, truth.annotations, predicted
    sizes = np.column_stack([_size(truth.samples, theirs, n) for n in ("width", "height")])
    tables_ = []
    for table, relative in ((truth.annotations, mine), (predicted, other)):
        at = np.asarray(column(table, "sample").fill_null(-1), np.int64)
        at = np.where(at < 0, -1, at - truth.start)
        factors = np.where(relative[:, None], sizes, 1.0)
        if any(n in table.column_names for n in POINT_COLUMNS):
            used = np.unique(at[at >= 0])
            unknown = used[np.isnan(factors[used]).any(axis=1)]
            if len(unknown):
                raise SizeUnknownError(truth.samples["key"].take(pa.array(unknown)).to_pylist())
        tables_.append(convert_units(table, at, factors))
    unit = pa.array(np.where(kept, "relative", "pixel")).dictionary_encode()
    return with_column(truth.samples, "unit", unit), tables_[0], tables_[1]


def _size(samples: pa.Table, theirs: pa.Table, name: str) -> npt.NDArray[np.float64]:
    known = pc.coalesce(
        column(samples, name, tables.SAMPLES).combine_chunks().cast(pa.float64()),
        column(theirs, name, tables.SAMPLES).combine_chunks().cast(pa.float64()),
    )
    return np.asarray(known.fill_null(np.nan), np.float64)
