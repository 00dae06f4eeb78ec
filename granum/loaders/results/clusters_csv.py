"""Clusters of images as a CSV with a header.

::

    key,cluster                a row per key; clusters are any texts or numbers
    a.jpg,3

A key names a sample of the truth (its key, else its source id, else the last part of its key
without suffix). Clusters are categories of their own, of the space ``cluster``, in the order of
their numbers; that a class of the truth has the same name means nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._csv import CsvFile, first_record
from granum.loaders._paths import is_file
from granum.loaders.base import Intake
from granum.loaders.results._named import SampleNames, told
from granum.loaders.results.base import Results, results
from granum.schema.findings import Findings
from granum.store.dataset import Dataset

__all__ = ["ClustersCsv"]

_HEADER = ["key", "cluster"]


@results("clusters_csv")
class ClustersCsv(Results):
    """A CSV of clusters; see the module."""

    name: ClassVar[str] = "clusters_csv"
    title: ClassVar[str] = "clusters of images (key,cluster)"
    spec: ClassVar[str] = "the docstring of granum.loaders.results.clusters_csv"
    protocols: ClassVar[tuple[str, ...]] = ("discovery",)

    def sniff(self, path: Path) -> bool:
        try:
            return is_file(path) and first_record(path)[:2] == _HEADER
        except (OSError, ValueError):
            return False

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """Read the clusters: a label of each.

        Rows of keys that the truth does not have (``unknown-sample``) and rows without a cluster
        (``missing-category``) are findings with their line, and are left out.

        Raises:
            FormatError: the file cannot be read, or the first columns are not ``key,cluster``.
        """
        if not self.sniff(path):
            raise FormatError(path, "no CSV whose first columns are called key,cluster", "line 1")
        file, names = CsvFile(path, path.name), SampleNames(truth)
        samples, texts = [np.empty(0, np.int64)], []
        types = {name: pa.string() for name in _HEADER}
        for block in file.blocks(types, Intake(findings=findings)):
            key, cluster = (block.table[n].combine_chunks() for n in _HEADER)
            sample = names.rows(key)
            blank = np.asarray(pc.equal(cluster, "").fill_null(True), bool)

            def unknown(row: int, key: pa.Array = key) -> str:
                return f"{key[row].as_py()!r} is no sample of the truth"

            for code, lost, say in (
                ("unknown-sample", sample < 0, unknown),
                ("missing-category", (sample >= 0) & blank, lambda row: "no cluster"),
            ):
                told(findings, code, path.name, np.flatnonzero(lost), block.line, say)
            keep = (sample >= 0) & ~blank
            samples.append(sample[keep])
            texts.append(cluster.filter(pa.array(keep)))
        return _dataset(truth, np.concatenate(samples), pa.chunked_array(texts, pa.string()))


def _dataset(truth: Dataset, sample: npt.NDArray[np.int64], cluster: pa.ChunkedArray) -> Dataset:
    """A label on each sample (rows of the truth), of the category that its cluster is."""
    listed = sorted(cluster.unique().to_pylist(), key=lambda name: (len(name), name))
    names = pa.array(listed, pa.string())
    n = len(sample)
    annotations = {
        "annotation_id": np.arange(1, n + 1),
        "sample": sample,
        "kind": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), ["label"]),
        "category": pc.index_in(cluster, value_set=names).cast(pa.int32()),
    }
    space = pa.array(["cluster"] * len(names), pa.string()).dictionary_encode()
    categories = pa.table({"space": space, "name": names})
    return Dataset.from_arrow(truth.samples(["key"]), pa.table(annotations), categories)
