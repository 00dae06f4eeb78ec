"""Rows put aside on disk by ranges of samples, so that memory holds one range at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["RANGE", "Spill"]

RANGE = 4096
"""Samples whose rows are read back together."""

Ints = npt.NDArray[np.int64]


class Spill:
    """The rows of one input file; each is of a sample.

    They are written as Arrow record batches as they come, those of one range of samples together,
    and mapped when read back.

    Args:
        path: of the file to make.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sink: pa.NativeFile | None = None
        self._writer: pa.RecordBatchFileWriter | None = None
        self._reader: pa.RecordBatchFileReader | None = None
        self._batches: dict[int, list[int]] = {}
        self._count = 0

    def add(self, samples: Ints, table: pa.Table) -> None:
        """Put rows aside.

        Args:
            samples: the sample of each row.
            table: the rows; always of one schema.
        """
        if not len(samples):
            return
        buckets = samples // RANGE
        if (buckets[1:] < buckets[:-1]).any():
            order = np.argsort(buckets, kind="stable")
            table, buckets = table.take(pa.array(order)), buckets[order]
        if self._writer is None:
            self._sink = pa.OSFile(str(self.path), "wb")
            self._writer = pa.ipc.new_file(self._sink, table.schema)
        begins = np.flatnonzero(np.concatenate([[True], buckets[1:] != buckets[:-1]]))
        ends = np.append(begins[1:], len(buckets))
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            for batch in table.slice(begin, end - begin).to_batches():
                self._writer.write_batch(batch)
                self._batches.setdefault(int(buckets[begin]), []).append(self._count)
                self._count += 1

    def read(self, bucket: int) -> pa.Table | None:
        """The rows of a range in the order in which they came; None where it has none."""
        numbers = self._batches.get(bucket)
        if numbers is None or self._writer is None:
            return None
        if self._reader is None:
            assert self._sink is not None
            self._writer.close()
            self._sink.close()
            self._reader = pa.ipc.open_file(pa.memory_map(str(self.path)))
        return pa.Table.from_batches([self._reader.get_batch(i) for i in numbers])

    def close(self) -> None:
        """Let go of the file."""
        if self._sink is not None and not self._sink.closed:
            self._sink.close()
        self._reader = None
