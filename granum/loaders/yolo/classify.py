"""Classification trees, ``split/class/image``: written here, read by ``image_folder``."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.loaders.yolo.parse import Mask
from granum.loaders.yolo.project import class_numbers
from granum.loaders.yolo.write import Places
from granum.schema import rows
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.media import media_path
from granum.store.out import Out, safe_relative

__all__ = ["first_labels", "write_classes"]


def first_labels(table: pa.Table, categories: pa.Table) -> Mask:
    """The first label of each sample that names a class; a tree holds no more."""
    kinds = column(table, "kind").cast(pa.string())
    numbers = np.append(class_numbers(categories), -1)
    good = np.asarray(pc.fill_null(pc.equal(kinds, "label"), False))
    good = good & (numbers[np.asarray(column(table, "category").fill_null(-1), np.int64)] >= 0)
    good &= np.asarray(pc.fill_null(column(table, "present"), True))
    sample = np.asarray(column(table, "sample").fill_null(-1), np.int64)
    good &= sample >= 0
    at = np.flatnonzero(good)
    first = np.zeros(len(good), bool)
    first[at[np.unique(sample[at], return_index=True)[1]]] = True
    return first


def write_classes(dataset: Dataset, out: Out) -> None:
    """Copy every image to the folder of its class.

    Raises:
        UsageError: a sample has no label, or a class's name cannot be a folder's.
    """
    names = dataset.category_names()
    table = dataset.annotations(["sample", "category"])
    of = dict(zip(table["sample"].to_pylist(), table["category"].to_pylist(), strict=True))
    samples = dataset.samples(["key", "split", "media"])
    without = [k for i, k in enumerate(samples["key"].to_pylist()) if i not in of]
    if without:
        raise UsageError(
            f"{len(without)} sample(s) have no label (first: {without[0]!r}); a classification "
            "tree cannot hold them"
        )
    wrong = [n for n in names if len(safe_relative(n, "names").parts) != 1]
    if wrong:
        raise UsageError(f"the class {wrong[0]!r} cannot be the name of a folder")
    splits = samples["split"].cast(pa.string()).fill_null("train").to_pylist()
    places = Places(dataset)
    for split in dict.fromkeys(splits):
        for name in names:  # classes without an image keep their folder
            (out.root / str(split) / name).mkdir(parents=True, exist_ok=True)
    for i, (entry, image) in enumerate(
        zip(samples["media"].to_pylist(), places.images, strict=True)
    ):
        media = rows.Media(**(entry or {}))
        content = media.bytes
        if content is None:
            content = media_path(media, dataset.meta.media_root).read_bytes()
        below = image.removeprefix("images/").removeprefix(f"{splits[i]}/")
        out.bytes(f"{splits[i]}/{names[of[i]]}/{below}", content)
