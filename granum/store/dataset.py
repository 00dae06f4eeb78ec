"""The dataset: an immutable view of samples and annotations, on disk or in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UnknownNameError, UsageError
from granum.schema import rows, tables
from granum.schema.expressions import Expression
from granum.schema.tables import column
from granum.store.parts import Batch, Part, concat, select_parts

if TYPE_CHECKING:
    import datasets
    import pandas
    import polars

    from granum.store.disk import Store
    from granum.store.view import SampleView

__all__ = ["Dataset", "Meta"]


@dataclass(frozen=True)
class Meta:
    """What holds for the whole dataset, beside its tables.

    Attributes:
        layers: names of the layers and what is known of each (producer, time, parent, mode).
        layer: the layer that verbs use.
        shapes: sets of keys that source records had; ``shape`` columns index it. Each entry is
            one list of keys per origin of the row.
        media_root: folder that ``samples.media.path`` is relative to.
        map_root: folder that label maps' paths are relative to (``media_root`` where None).
        lineage: what was done to get here, oldest first.
        store: the store it was read from, where it was.
        chosen: whether the user chose ``layer`` (the others are then no loss).
        selected: whether samples were left out (groups without samples are then no loss).
    """

    layers: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {tables.DEFAULT_LAYER: {}}
    )
    layer: str = tables.DEFAULT_LAYER
    shapes: Sequence[Any] = ()
    media_root: str | None = None
    map_root: str | None = None
    lineage: Sequence[Mapping[str, Any]] = ()
    store: Store | None = None
    chosen: bool = False
    selected: bool = False


class Dataset:
    """Samples, their annotations in layers, and the categories they refer to. Immutable: every
    method returns a new dataset that shares the data of this one. Indexing by a row or a key gives
    a sample: ``ds[0].image()``, ``ds["a.jpg"].boxes("xyxy")``."""

    def __init__(
        self,
        parts: Iterable[Part],
        categories: pa.Table | None = None,
        groups: pa.Table | None = None,
        sources: pa.Table | None = None,
        meta: Meta | None = None,
    ) -> None:
        placed, start = [], 0
        for part in parts:
            placed.append(part.moved(start))
            start += part.rows
        self.parts: tuple[Part, ...] = tuple(placed)
        self.categories = tables.empty(tables.CATEGORIES) if categories is None else categories
        self.groups = tables.empty(tables.GROUPS) if groups is None else groups
        self.sources = tables.empty(tables.SOURCES) if sources is None else sources
        self.meta = meta or Meta()
        self._len = start

    # ------------------------------------------------------------------ making
    @classmethod
    def from_rows(
        cls,
        samples: Iterable[rows.Sample],
        categories: Sequence[rows.Category] = (),
        groups: Sequence[rows.Group] = (),
        *,
        group_annotations: Sequence[rows.Annotation] = (),
        media_root: str | Path | None = None,
    ) -> Dataset:
        """A dataset in memory from row objects.

        ``group_annotations`` are of whole groups (``Annotation.group`` is the row).
        """
        from granum.store.builder import MemoryBuilder, batch_of_rows

        builder = MemoryBuilder()
        listed = list(samples)
        builder.add(batch_of_rows(listed, group_annotations))
        return builder.finish(
            categories=rows.objects_to_table(categories, tables.CATEGORIES),
            groups=rows.objects_to_table(groups, tables.GROUPS),
            meta=Meta(media_root=None if media_root is None else str(media_root)),
        )

    @classmethod
    def from_arrow(
        cls,
        samples: pa.Table,
        annotations: pa.Table | Mapping[str, pa.Table] | None = None,
        categories: pa.Table | None = None,
        groups: pa.Table | None = None,
        *,
        media_root: str | Path | None = None,
    ) -> Dataset:
        """A dataset in memory from tables of the schema; columns may be missing.

        Annotation rows need not be sorted. ``annotations`` may map layer names to tables.
        """
        from granum.store.builder import Incoming, MemoryBuilder

        layers = (
            dict(annotations)
            if isinstance(annotations, Mapping)
            else {tables.DEFAULT_LAYER: annotations}
            if annotations is not None
            else {}
        )
        builder = MemoryBuilder()
        builder.add(Incoming(samples, layers))
        return builder.finish(
            categories=None
            if categories is None
            else tables.conform(categories, tables.CATEGORIES),
            groups=None if groups is None else tables.conform(groups, tables.GROUPS),
            meta=Meta(media_root=None if media_root is None else str(media_root)),
        )

    def _with(self, **changes: Any) -> Dataset:
        values = {
            "parts": self.parts,
            "categories": self.categories,
            "groups": self.groups,
            "sources": self.sources,
            "meta": self.meta,
        }
        return Dataset(**{**values, **changes})

    def _derived(self, parts: Iterable[Part]) -> Dataset:
        """Other parts: no longer the store that they came from."""
        return self._with(parts=parts, meta=replace(self.meta, store=None))

    # ------------------------------------------------------------------ looking

    def __len__(self) -> int:
        return self._len

    def __repr__(self) -> str:
        layers = ", ".join(self.meta.layers)
        return (
            f"<granum.Dataset: {len(self)} samples, {self.num_annotations} annotations, "
            f"{self.categories.num_rows} categories, layers: {layers}>"
        )

    @cached_property
    def num_annotations(self) -> int:
        return sum(p.layer(self.meta.layer).num_rows for p in self.parts)

    @cached_property
    def _keys(self) -> dict[str, int]:
        return {k: i for i, k in enumerate(self.samples(["key"])["key"].to_pylist())}

    def __getitem__(self, which: int | str) -> SampleView:
        from granum.store.view import SampleView

        if isinstance(which, str):
            if which not in self._keys:
                raise UnknownNameError("sample", which, list(self._keys)[:20])
            which = self._keys[which]
        index = which + len(self) if which < 0 else which
        if not 0 <= index < len(self):
            raise IndexError(f"row {which} of a dataset of {len(self)} samples")
        return SampleView(self, index)

    def __iter__(self) -> Iterator[SampleView]:
        return (self[i] for i in range(len(self)))

    def part_of(self, index: int) -> Part:
        """The part that holds sample ``index``."""
        starts = [p.start for p in self.parts]
        return self.parts[int(np.searchsorted(starts, index, side="right")) - 1]

    def samples(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The sample table; all stored columns, or those named (nulls where not stored)."""
        return concat([_columns(p.samples(), columns) for p in self.parts], tables.SAMPLES)

    def annotations(
        self, columns: Sequence[str] | None = None, layer: str | None = None
    ) -> pa.Table:
        """The annotation table of a layer (default: the current one)."""
        name = layer or self.meta.layer
        self._check_layer(name)
        return concat([_columns(p.layer(name), columns) for p in self.parts], tables.ANNOTATIONS)

    def iter_batches(self, size: int | None = None) -> Iterator[Batch]:
        """Batches of at most ``size`` samples (default: the parts), with their annotations."""
        for part in self.parts:
            whole = part.batch(self.meta.layer)
            if size is None or part.rows <= size:
                yield whole
                continue
            offsets = part.offsets(self.meta.layer)
            for at in range(0, part.rows, size):
                end = min(at + size, part.rows)
                last = offsets[end] if end < part.rows else whole.annotations.num_rows
                yield Batch(
                    whole.samples.slice(at, end - at),
                    whole.annotations.slice(offsets[at], last - offsets[at]),
                    part.start + at,
                )

    def category_names(self) -> list[str]:
        return [str(n) for n in self.categories["name"].to_pylist()]

    def counts(self, kind: str | None = None) -> dict[str, int]:
        """Annotations of the current layer per category name (``kind``: only of that kind)."""
        total = np.zeros(self.categories.num_rows, np.int64)
        for part in self.parts:
            table = part.layer(self.meta.layer)
            if kind is not None:
                table = table.filter(pc.equal(column(table, "kind").cast(pa.string()), kind))
            rows_ = np.asarray(column(table, "category").drop_null(), np.int64)
            total += np.bincount(rows_, minlength=len(total))
        out: dict[str, int] = {}
        for name, n in zip(self.category_names(), total.tolist(), strict=True):
            out[name] = out.get(name, 0) + n
        return out

    # ------------------------------------------------------------------ choosing

    def layer(self, name: str) -> Dataset:
        """The same samples, seen with another layer's annotations."""
        self._check_layer(name)
        return self._with(meta=replace(self.meta, layer=name, chosen=True))

    def _check_layer(self, name: str) -> None:
        if name not in self.meta.layers:
            raise UnknownNameError("layer", name, self.meta.layers)

    def select(self, indices: npt.ArrayLike) -> Dataset:
        """The samples at ``indices``, in that order, with their annotations in all layers."""
        chosen = np.asarray(indices, np.int64).reshape(-1)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= len(self)):
            raise IndexError(f"rows must be in 0..{len(self) - 1}")
        if len(np.unique(chosen)) != len(chosen):
            raise UsageError("a sample may be selected only once (keys are unique)")
        out = self._derived(select_parts(self.parts, chosen))
        return out._with(meta=replace(out.meta, selected=True))

    def filter(self, where: str | None = None, *, drop_empty: bool = False) -> Dataset:
        """Keep what ``where`` says: ``"split == 'train'"`` keeps samples, ``"area > 100 and
        category == 'dog'"`` keeps annotations (of the current layer; the samples stay).

        ``drop_empty`` then drops samples without annotations. See
        :mod:`granum.schema.expressions` for the language.

        Raises:
            UsageError: ``where`` mixes columns of samples and annotations, or names none.
        """
        out = self
        if where is not None:
            expression = Expression(where)
            for part in self.parts[:1]:
                annotations = part.layer(self.meta.layer)
                expression.settle(part.samples().column_names, annotations.column_names)
            if expression.table == "samples":
                masks = [expression.mask(p.samples(), self.categories) for p in self.parts]
                out = self.select(np.flatnonzero(np.concatenate([*masks, np.empty(0, bool)])))
            else:
                out = self.filter_annotations(lambda t: expression.mask(t, self.categories))
        if drop_empty:
            name = out.meta.layer
            counts = [np.diff(p.offsets(name)) for p in out.parts]
            out = out.select(np.flatnonzero(np.concatenate([*counts, np.empty(0, np.int64)])))
        return out

    def filter_annotations(self, keep: Callable[[pa.Table], npt.NDArray[np.bool_]]) -> Dataset:
        """Keep the annotations of the current layer for which ``keep(table)`` is true."""
        name = self.meta.layer

        def filtered(part: Part) -> Part:
            def layer(asked: str) -> pa.Table:
                table = part.layer(asked)
                return table.filter(pa.array(keep(table))) if asked == name else table

            return Part(part.start, part.rows, part.samples, layer)

        return self._derived([filtered(p) for p in self.parts])

    def map_batches(self, change: Callable[[Batch], Batch]) -> Dataset:
        """``change`` applied to each part when it is loaded; it keeps the samples' number."""
        return self._derived([p.mapped(change) for p in self.parts])

    def select_categories(self, names: Sequence[str]) -> Dataset:
        """Only these categories, in this order, and the annotations of theirs (and those
        without a category)."""
        from granum.store.choosing import select_categories

        return select_categories(self, names)

    def with_categories(self, categories: pa.Table, to: npt.NDArray[Any]) -> Dataset:
        """Other categories; category row ``i`` becomes row ``to[i]`` in all layers.

        Parents that are no longer there are dropped from ``parents``.
        """
        from granum.store.choosing import with_categories

        return with_categories(self, categories, to)

    def split(
        self, fractions: Mapping[str, float] | None = None, *, seed: int = 42
    ) -> dict[str, Dataset]:
        """Datasets by split: by the ``split`` column, or at random by ``fractions``.

        Samples of one group (the frames of a video) stay together. ``fractions`` sum to 1 at
        most; equal seeds give equal splits.
        """
        from granum.store.choosing import split, split_column

        return split_column(self) if fractions is None else split(self, fractions, seed)

    def view(self, name: str) -> Dataset:
        """A saved view of this store (see ``save_view``)."""
        from granum.store.additions import open_view

        return open_view(self, name)

    # ------------------------------------------------------------------ giving

    def to_arrow(self, *, nested: bool = False) -> pa.Table | dict[str, pa.Table]:
        """All tables by name; or, ``nested``, one of samples with annotations as a list."""
        from granum.store.export import nested_table

        if nested:
            return nested_table(self)
        return {
            "samples": tables.conform(self.samples(), tables.SAMPLES, full=True),
            "annotations": tables.conform(self.annotations(), tables.ANNOTATIONS, full=True),
            "categories": self.categories,
            "groups": self.groups,
            "sources": self.sources,
        }

    def to_hf(self) -> datasets.Dataset:
        """A Hugging Face dataset: one row per sample, ``annotations`` as a list. Numbers and
        lists are shared; dictionary columns are copied, as plain strings."""
        from granum.store.export import to_hf

        return to_hf(self)

    def to_pandas(self, table: str = "annotations") -> pandas.DataFrame:
        """One table as a pandas frame."""
        from granum.store.export import to_pandas

        return to_pandas(self, table)

    def to_polars(self, table: str = "annotations") -> polars.DataFrame:
        """One table as a polars frame."""
        from granum.store.export import to_polars

        return to_polars(self, table)

    def to_coco(self, *, allow_loss: Iterable[str] = ()) -> Any:
        """A ``pycocotools.coco.COCO`` of the current layer.

        Raises:
            LossError: COCO cannot hold something (see ``granum.convert``).
        """
        from granum.store.export import to_coco

        return to_coco(self, allow_loss)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Dataset:
        """Write a store, and open it."""
        from granum.store.opening import save

        return save(self, path, overwrite=overwrite)


def _columns(table: pa.Table, names: Sequence[str] | None) -> pa.Table:
    if names is None:
        return table
    return pa.table({n: column(table, n) for n in names})
