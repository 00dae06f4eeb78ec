"""Writing images in folders: which layout, what each file is called, what goes beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import UsageError
from granum.loaders._hf_facts import Facts, category_facts
from granum.loaders._hf_files import OWN_FOLDER
from granum.loaders._hf_plan import caption_column, make_plan, of_samples
from granum.loaders._hf_project import write_groups
from granum.loaders._hf_write import record_schema, records
from granum.loaders._image_tree import METADATA, OWN_FILE, is_image
from granum.loaders._metadata_write import MetadataWriter
from granum.loaders._paths import Names
from granum.loaders.base import image_name
from granum.schema.losses import BOOKKEEPING
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["ClassFolders", "Layout", "Metadata", "class_folders", "to_classes", "write_metadata"]

Layout = Literal["auto", "classes", "metadata"]
Metadata = Literal["jsonl", "csv", "parquet"]

LABEL_COLUMNS = ("annotation_id", "sample", "kind", "category")
SAMPLE_COLUMNS = ("key", "media", "media_kind", "split")
_MAGIC = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)


def _folder_name(name: str) -> bool:
    """Whether a name can be that of a folder, everywhere."""
    return (
        bool(name)
        and name == name.strip()
        and not name.startswith(".")
        and not name.endswith(".")
        and not set(name) & set('/\\:*?"<>|\0\n\r\t')
        and len(name.encode("utf-8", "surrogatepass")) <= 200
        and name not in (OWN_FOLDER, "__MACOSX", "__pycache__")
    )


def _file_path(key: str) -> bool:
    """Whether a key is the path of an image that a walk through folders finds."""
    return image_name(key) == key and is_image(key) and all(map(_folder_name, key.split("/")))


@dataclass
class ClassFolders:
    """How a dataset fits class folders.

    Attributes:
        paths: where each image goes, batch by batch.
        prefixed: whether the folders come before the keys, or are their beginning already.
    """

    paths: list[list[str]] = field(default_factory=list)
    prefixed: bool = False


def class_folders(dataset: Dataset) -> ClassFolders | str:
    """Where images go in class folders, or why the dataset does not fit them."""
    names = dataset.category_names()
    if len(set(names)) != len(names) or not all(map(_folder_name, names)):
        return "a class cannot be a folder, or two have one name"
    if dataset.groups.num_rows:
        return "there are groups"
    splits: dict[str, None] = {}
    found = ClassFolders()
    labelled: list[list[tuple[str, str, bool]]] = []
    for batch in dataset.iter_batches():
        if why := _not_only_labels(batch):
            return why
        rows = list(_places(batch, names))
        for _, key, _ in rows:
            if not _file_path(key):
                return f"{key!r} cannot be the path of an image"
        of_batch = column(batch.samples, "split").cast(pa.string()).unique().to_pylist()
        splits.update(dict.fromkeys(s for s in of_batch if s is not None))
        labelled.append(rows)
    if not all(map(_folder_name, splits)) or splits.keys() & set(names):
        return "a split cannot be a folder, or has the name of a class"
    found.prefixed = not all(k.startswith(p) for rows in labelled for p, k, _ in rows)
    for rows in labelled:
        paths = [p + k if found.prefixed else k for p, k, _ in rows]
        for path, (prefix, key, has_class) in zip(paths, rows, strict=True):
            rest = path.removeprefix(prefix)
            first = rest.partition("/")[0] if "/" in rest else None
            if not has_class and (first in names or (not prefix and first in splits)):
                return f"{key!r} has no class but lies in a folder of one"
        found.paths.append(paths)
    return found


def _not_only_labels(batch: Batch) -> str | None:
    """What a batch holds beside one class per image."""
    for name in batch.samples.column_names:
        known = name in SAMPLE_COLUMNS or name in BOOKKEEPING or name.startswith("col.")
        if not known and batch.samples[name].null_count < batch.samples.num_rows:
            return f"samples have {name!r}"
    kinds = column(batch.samples, "media_kind").cast(pa.string())
    if not pc.all(pc.fill_null(pc.equal(kinds, "image"), False), min_count=0).as_py():
        return "not all samples are images"
    table = batch.annotations
    if not table.num_rows:
        return None
    for name in table.column_names:
        known = name in LABEL_COLUMNS or name in BOOKKEEPING or name.startswith("col.")
        if not (known and name not in ("area",)) and table[name].null_count < table.num_rows:
            return f"annotations have {name!r}"
    kind = column(table, "kind").cast(pa.string())
    if not pc.all(pc.fill_null(pc.equal(kind, "label"), False)).as_py():
        return "annotations are not only labels"
    if column(table, "category").null_count or column(table, "sample").null_count:
        return "a label has no class or no image"
    sample = np.asarray(table["sample"], np.int64)
    if (sample[1:] == sample[:-1]).any():
        return "an image has several labels"
    return None


def _places(batch: Batch, names: list[str]) -> Iterator[tuple[str, str, bool]]:
    """For each sample the folder before it, its key, and whether it has a class."""
    category: npt.NDArray[np.int64] = np.full(batch.samples.num_rows, -1)
    table = batch.annotations
    at = np.asarray(column(table, "sample"), np.int64) - batch.start
    category[at] = np.asarray(column(table, "category"), np.int64)
    splits = column(batch.samples, "split").cast(pa.string()).to_pylist()
    for key, split, which in zip(
        batch.samples["key"].to_pylist(), splits, category.tolist(), strict=True
    ):
        before = "" if split is None else f"{split}/"
        yield (before + (f"{names[which]}/" if which >= 0 else "")), key, which >= 0


def to_classes(batch: Batch) -> Batch:
    """What class folders hold of a batch: the first class of each image."""
    table = of_samples(batch.annotations)
    kind = column(table, "kind").cast(pa.string())
    keep = pc.and_(
        pc.fill_null(pc.equal(kind, "label"), False), column(table, "category").is_valid()
    )
    keep = pc.and_(keep, pc.fill_null(column(table, "present").cast(pa.bool_()), True))
    table = table.filter(keep)
    sample = np.asarray(column(table, "sample"), np.int64)
    first = np.concatenate([[True], sample[1:] != sample[:-1]])[: len(sample)]
    table = table.filter(pa.array(first, pa.bool_()))
    return Batch(
        batch.samples.select([n for n in batch.samples.column_names if n in SAMPLE_COLUMNS]),
        table.select([n for n in table.column_names if n in LABEL_COLUMNS]),
        batch.start,
    )


def write_classes(dataset: Dataset, out: Out, fit: ClassFolders) -> None:
    """Write what stands beside class folders (the images are placed later)."""
    facts = Facts(layout="classes", prefixed=fit.prefixed, names=dataset.category_names())
    facts.categories = category_facts(dataset.categories)
    splits = (
        s
        for batch in dataset.iter_batches()
        for s in column(batch.samples, "split").cast(pa.string()).unique().to_pylist()
        if s is not None
    )
    facts.splits = {s: s for s in splits}
    out.text(OWN_FILE, facts.to_json() + "\n")


# ---------------------------------------------------------------------- metadata


def _own_names() -> Names:
    return Names([OWN_FILE], [OWN_FOLDER])


def _suffix(media: dict[str, object] | None) -> str:
    """The suffix of an image, from its path, else from its first bytes."""
    if media is None:
        return ""
    path, data = media["path"], media["bytes"]
    if isinstance(path, str) and is_image(path):
        return path[path.rfind(".") :]
    if isinstance(data, bytes):
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return ".webp"
        return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), "")
    return ""


def split_folders(dataset: Dataset) -> dict[str | None, str]:
    """The folder of each split (``""`` is the root, for samples without one)."""
    found = dict.fromkeys(
        s
        for batch in dataset.iter_batches()
        for s in column(batch.samples, "split").cast(pa.string()).unique().to_pylist()
    ) or {None: None}
    names, out = _own_names(), dict[str | None, str]()
    for name in METADATA:
        names(name)
    for split in found:
        if split is not None and _folder_name(split):
            out[split] = names(split)
    for split in found:
        if split not in out:
            out[split] = "" if split is None else names("split")
    return {s: out[s] for s in found}


def file_names(dataset: Dataset, folders: dict[str | None, str]) -> list[list[str]]:
    """Where each image goes: its key as a path, in the folder of its split; batch by batch."""
    names = _own_names()
    for folder in folders.values():
        for name in METADATA:
            names(f"{folder}/{name}" if folder else name)
    out = []
    for batch in dataset.iter_batches():
        samples = batch.samples
        splits = column(samples, "split").cast(pa.string()).to_pylist()
        media = column(samples, "media").to_pylist()
        paths = []
        for key, split, entry in zip(samples["key"].to_pylist(), splits, media, strict=True):
            path = image_name(key)
            if not is_image(path):
                path += _suffix(entry)
            folder = folders[split]
            if folder and not path.startswith(f"{folder}/"):
                path = f"{folder}/{path}"
            paths.append(names(path))
        out.append(paths)
    return out


def write_metadata(dataset: Dataset, out: Out, *, kind: Metadata) -> list[list[str]]:
    """Write metadata files, one per split; returns where each image goes."""
    plan = make_plan(dataset, by_name=True, caption=caption_column(dataset))
    # Arrow's reader of JSON garbles lists that begin with null: lists of objects then.
    plan.structs = plan.partial and kind == "jsonl"
    folders = split_folders(dataset)
    paths = file_names(dataset, folders)
    keys = dataset.samples(["key"])["key"].to_pylist()
    if keys == [p for batch in paths for p in batch]:
        plan.samples = {c: to for c, to in plan.samples.items() if to != "key"}
        plan.facts.samples = dict(plan.samples)
    plan.facts.layout = "metadata"
    plan.facts.splits = {folder: split for split, folder in folders.items()}
    schema = record_schema(plan, "file_name", pa.string())
    with ExitStack() as stack:
        writers = {}
        for split, folder in folders.items():
            name = f"metadata.{kind}"
            file = out.open(f"{folder}/{name}" if folder else name)
            writers[split] = MetadataWriter(file, kind, schema)
            stack.callback(writers[split].close)
        for batch, names in zip(dataset.iter_batches(), paths, strict=True):
            splits = column(batch.samples, "split").cast(pa.string()).to_pylist()
            shown = [
                n.removeprefix(f"{folders[s]}/") if folders[s] else n
                for n, s in zip(names, splits, strict=True)
            ]
            table = records(batch, plan, "file_name", pa.array(shown, pa.string()))
            for split in dict.fromkeys(splits):
                rows = [i for i, s in enumerate(splits) if s == split]
                whole = len(rows) == table.num_rows
                writers[split].write(table if whole else table.take(pa.array(rows)))
    out.text(OWN_FILE, plan.facts.to_json() + "\n")
    write_groups(dataset, out)
    return paths


def require_classes(dataset: Dataset) -> ClassFolders:
    """As ``class_folders``.

    Raises:
        UsageError: the dataset does not fit.
    """
    fit = class_folders(dataset)
    if isinstance(fit, str):
        raise UsageError(f"class folders cannot hold this dataset: {fit}; --layout metadata")
    return fit
