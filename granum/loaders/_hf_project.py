"""What a table of records gives back, and what stands beside it: groups, boxes in pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from granum.errors import FormatError
from granum.loaders._hf_columns import conform_array, plain
from granum.loaders._hf_files import OWN_FOLDER
from granum.loaders._hf_plan import DROPPED, REFERENCES
from granum.loaders.base import Intake
from granum.loaders.writing import with_sizes
from granum.schema import rows, tables
from granum.schema.tables import column, with_column, without_columns
from granum.schema.units import convert_units, is_relative
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["Kept", "Pixels", "read_groups", "write_groups"]

GROUPS_FILE = f"{OWN_FOLDER}/groups.parquet"
ANNOTATIONS_FILE = f"{OWN_FOLDER}/annotations.parquet"


class Pixels:
    """Turns relative coordinates to pixels; sizes that had to be probed are kept."""

    def __init__(self) -> None:
        self._sizes: dict[int, npt.NDArray[np.int64]] = {}

    def __call__(self, batch: Batch, dataset: Dataset) -> Batch:
        """``batch`` with every sample in pixels.

        Raises:
            SizeUnknownError: a relative sample has no size and no image at hand.
        """
        relative = is_relative(batch.samples)
        if not relative.any():
            return batch
        size = np.column_stack(
            [
                np.asarray(column(batch.samples, n).fill_null(-1), np.int64)
                for n in ("width", "height")
            ]
        )
        unknown = np.flatnonzero(relative & (size < 0).any(axis=1))
        if len(unknown):
            size[unknown] = self._probed(batch.start, unknown, dataset)
        samples = batch.samples
        for i, name in enumerate(("width", "height")):
            values = pa.array(size[:, i], pa.int32(), mask=size[:, i] < 0)
            samples = with_column(samples, name, values)
        units = [
            "pixel" if r else u
            for r, u in zip(relative, column(samples, "unit").to_pylist(), strict=True)
        ]
        kind = tables.SAMPLES.field("unit").type
        encoded = pa.array(units, pa.string()).dictionary_encode().cast(kind)
        samples = with_column(samples, "unit", encoded)
        factors = np.where(relative[:, None], size, 1).astype(np.float64)
        table = batch.annotations
        rows_ = column(table, "sample").fill_null(batch.start - 1)
        at = np.asarray(rows_, np.int64) - batch.start
        return Batch(samples, convert_units(table, at, factors), batch.start)

    def _probed(
        self, start: int, unknown: npt.NDArray[np.int64], dataset: Dataset
    ) -> npt.NDArray[np.int64]:
        if start not in self._sizes:
            found = with_sizes(dataset.select(unknown + start)).samples(["width", "height"])
            columns = [np.asarray(found[n], np.int64) for n in ("width", "height")]
            self._sizes[start] = np.column_stack(columns)
        return self._sizes[start]


class Kept:
    """Drops what points to what is not written: places in files, annotations of other layers."""

    def __init__(self) -> None:
        self._of: Dataset | None = None
        self._ids = pa.array([], pa.int64())

    def __call__(self, batch: Batch, dataset: Dataset) -> Batch:
        """``batch`` without origins and the like, and without derived columns."""
        samples, annotations = (
            without_columns(
                t, [n for n in t.column_names if n in DROPPED - {"sample"} or n.startswith("col.")]
            )
            for t in (batch.samples, batch.annotations)
        )
        for name in REFERENCES:
            if len(dataset.meta.layers) > 1 and name in annotations.column_names:
                values = annotations[name]
                elsewhere = pc.invert(pc.is_in(values, value_set=self._known(dataset)))
                null = pa.scalar(None, pa.int64())
                values = pc.if_else(elsewhere, null, values)
                annotations = with_column(annotations, name, values)
        return Batch(samples, annotations, batch.start)

    def _known(self, dataset: Dataset) -> pa.Array:
        """Ids of the annotations that are written."""
        if self._of is not dataset:
            layer = dataset.meta.layer
            ids = [column(p.layer(layer), "annotation_id").combine_chunks() for p in dataset.parts]
            self._of, self._ids = dataset, pa.concat_arrays([*ids, pa.array([], pa.int64())])
        return self._ids


def write_groups(dataset: Dataset, out: Out) -> None:
    """Write the groups, and the annotations that are of no sample."""
    if dataset.groups.num_rows:
        with out.open(GROUPS_FILE) as file:
            pq.write_table(_plain_table(dataset.groups), file)
    pieces = []
    for part in dataset.parts:
        table = part.layer(dataset.meta.layer)
        sample = column(table, "sample")
        if sample.null_count:
            pieces.append(_plain_table(without_columns(table.filter(sample.is_null()), DROPPED)))
    if pieces:
        with out.open(ANNOTATIONS_FILE) as file:
            pq.write_table(pa.concat_tables(pieces, promote_options="default"), file)


def _plain_table(table: pa.Table) -> pa.Table:
    return pa.table({n: plain(table[n]) for n in table.column_names})


def _read(path: Path, name: str) -> pa.Table:
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FormatError(name, f"no Parquet file that can be read: {error}") from error


def read_groups(root: Path, intake: Intake, *, ids: bool) -> Iterator[Incoming]:
    """Read what ``write_groups`` wrote; the groups go to the intake."""
    if (root / GROUPS_FILE).is_file():
        table = _conform(_read(root / GROUPS_FILE, GROUPS_FILE), tables.GROUPS, GROUPS_FILE)
        intake.groups += rows.groups_from_table(table)
    if (root / ANNOTATIONS_FILE).is_file():
        table = _read(root / ANNOTATIONS_FILE, ANNOTATIONS_FILE)
        if not ids:
            table = without_columns(table, ["annotation_id"])
        table = _conform(table, tables.ANNOTATIONS, ANNOTATIONS_FILE)
        table = with_column(table, "sample", pa.nulls(table.num_rows, pa.int64()))
        yield Incoming(tables.empty(tables.SAMPLES), {tables.DEFAULT_LAYER: table})


def _conform(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    out: dict[str, pa.Array] = {}
    for column_name in table.column_names:
        values = plain(table[column_name])
        try:
            if column_name in schema.names:
                out[column_name] = conform_array(values, schema.field(column_name).type)
            elif column_name.startswith("attr."):
                text = pa.types.is_string(values.type)
                out[column_name] = values.dictionary_encode() if text else values
        except ValueError as error:
            raise FormatError(name, f"column {column_name!r}: {error}") from error
    return pa.table(out)
