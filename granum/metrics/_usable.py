"""Rows that a protocol can compare. The others are left out under a code, with examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema.findings import Findings
from granum.schema.tables import column, with_column
from granum.store.parts import Batch

__all__ = ["kept", "left_out", "of_kinds", "rows_left_out"]

Flags = npt.NDArray[np.bool_]

_EXAMPLES = 3


def of_kinds(
    batch: Batch, kinds: Sequence[str] | None, who: str, found: Findings, *, groups: bool = False
) -> Batch:
    """Without rows of whole groups (but with ``groups``), and of kinds other than ``kinds`` (None:
    any)."""
    table = batch.annotations
    placed = column(table, "sample").is_valid()
    if column(table, "sample").null_count and not groups:
        left_out(found, "not-compared", batch, ~np.asarray(placed), who, "on no sample")
        batch = kept(batch, np.asarray(placed))
        table = batch.annotations
    if kinds is None:
        return batch
    kind = column(table, "kind").combine_chunks()
    if not kind.null_count and set(kind.dictionary.to_pylist()) <= set(kinds):
        return batch
    right = [i for i, name in enumerate(kind.dictionary.to_pylist()) if name in kinds]
    keep = np.isin(np.asarray(kind.indices.fill_null(-1)), right)
    left_out(found, "not-compared", batch, ~keep, who, f"of a kind other than {', '.join(kinds)}")
    return kept(batch, keep)


def left_out(found: Findings, code: str, batch: Batch, lost: Flags, who: str, what: str) -> None:
    """A finding of the rows ``lost``: how many, which first, on which sample; none where none is.

    Args:
        found: gets it.
        code: of the finding.
        batch: that has the rows.
        lost: shape (rows,).
        who: ``truth`` or ``predictions``.
        what: they are, for people: ``without a score``.
    """
    rows = np.flatnonzero(lost)
    if not len(rows):
        return
    first = pa.array(rows[:_EXAMPLES])
    ids = column(batch.annotations, "annotation_id").take(first).to_pylist()
    sample = column(batch.annotations, "sample")[int(rows[0])].as_py()
    key = None if sample is None else batch.samples["key"][sample - batch.start].as_py()
    found.add(code, who, key, _told(len(rows), ids, what), len(rows))


def rows_left_out(
    found: Findings,
    code: str,
    who: str,
    key: str,
    rows: Sequence[Mapping[str, Any]],
    what: str,
) -> None:
    """As :func:`left_out`, of rows of one sample that are dictionaries."""
    if rows:
        ids = [row.get("annotation_id") for row in rows[:_EXAMPLES]]
        found.add(code, who, key, _told(len(rows), ids, what), len(rows))


def _told(n: int, ids: Sequence[int | None], what: str) -> str:
    shown = ", ".join(str(i) for i in ids if i is not None)
    if n == 1:
        return f"a row {what}" + (f" (annotation {shown})" if shown else "")
    more = ", …" if n > len(ids) else ""
    return f"{n} rows {what}" + (f" (annotations {shown}{more})" if shown else "")


def kept(batch: Batch, keep: Flags) -> Batch:
    """The rows to keep. A label map that rows share and only a row left out holds goes to the
    first of them that is kept."""
    if keep.all():
        return batch
    table = batch.annotations.filter(pa.array(keep))
    if "map" in table.column_names and column(table, "map").null_count < table.num_rows:
        table = with_column(table, "map", _held(batch.annotations, keep))
    return Batch(batch.samples, table, batch.start)


def _held(table: pa.Table, keep: Flags) -> pa.Array:
    """The ``map`` column of the rows to keep."""
    entries = column(table, "map").combine_chunks()
    parts = {f.name: pc.struct_field(entries, f.name) for f in entries.type}
    holds = np.asarray(pc.or_(parts["path"].is_valid(), parts["bytes"].is_valid()))
    shared = np.asarray(parts["digest"].is_valid())
    source = np.arange(table.num_rows)
    lenders = np.flatnonzero(shared & holds & ~keep)
    if len(lenders):
        names = _names(table, parts)
        lent = dict(zip(names[lenders].tolist(), lenders.tolist(), strict=True))
        borrowers = np.flatnonzero(shared & ~holds & keep)
        found, first = np.unique(names[borrowers], return_index=True)
        for name, row in zip(found.tolist(), borrowers[first].tolist(), strict=True):
            source[row] = lent.get(name, row)
    own, held = pa.array(np.flatnonzero(keep)), pa.array(source[keep])
    taken = [v.take(held if n in ("path", "bytes") else own) for n, v in parts.items()]
    mask = entries.is_null().take(own)
    return pa.StructArray.from_arrays(taken, fields=list(entries.type), mask=mask)


def _names(table: pa.Table, parts: Mapping[str, pa.Array]) -> npt.NDArray[np.int64]:
    """A number for each pair of a sample and a shared map (of one encoding)."""
    texts = [parts[n].cast(pa.string()).fill_null("") for n in ("digest", "encoding")]
    joined = pc.binary_join_element_wise(*texts, " ")
    codes = np.asarray(joined.dictionary_encode().indices, np.int64)
    sample = np.asarray(column(table, "sample").fill_null(-1), np.int64)
    return np.asarray((sample + 1) * (codes.max(initial=0) + 1) + codes, np.int64)
