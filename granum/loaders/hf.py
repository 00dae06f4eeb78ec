"""Datasets of the Hugging Face `datasets` library: Parquet as on the Hub, and saved to disk.

Layouts read::

    data/train-00000-of-00002.parquet …   as push_to_hub writes them (any folder, any name)
    train.parquet                         one file
    dataset_dict.json, train/, test/      DatasetDict.save_to_disk
    state.json, data-00000-of-00001.arrow Dataset.save_to_disk (Arrow streams)

Columns, all but the image optional: ``image`` (struct of bytes and path, or a path), ``image_id``,
``width``, ``height``, ``objects`` (struct of lists or list of structs: ``bbox``, ``category``,
``area``, ``id``, ``iscrowd``…), ``label`` (ClassLabel), ``text`` or ``caption(s)``. Further scalar
columns become attributes, further images samples of the same group under the column's name.

Coordinates: ``bbox`` is x, y, width, height in pixels from the top-left corner, as in CPPE-5; no
file says so, so ``bbox_format`` says otherwise. Class -1 is no class.

Written: ``data/<split>-00000-of-00001.parquet`` with features that ``load_dataset`` understands;
what else the dataset holds as further columns and lists; under ``granum`` in the schema metadata
facts about categories; groups, and annotations of whole groups, in ``granum/*.parquet``. Label maps
stay references.

Spec: https://huggingface.co/docs/datasets/object_detection,
https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from granum.errors import FormatError, GranumError
from granum.loaders._hf_columns import plain
from granum.loaders._hf_facts import (
    CAPTIONS,
    HF_KEY,
    OWN_KEY,
    features_json,
    features_of,
    image_columns,
)
from granum.loaders._hf_files import Shard, shards, sniff_hf
from granum.loaders._hf_images import ImageColumns
from granum.loaders._hf_plan import Plan, caption_column, make_plan
from granum.loaders._hf_project import Kept, Pixels, read_groups, write_groups
from granum.loaders._hf_read import BoxFormat, RecordReader, declared, locations
from granum.loaders._hf_samples import Keys, incoming
from granum.loaders._hf_write import record_schema, records
from granum.loaders.base import Format, Intake, formats, image_name
from granum.schema import losses
from granum.schema.tables import column
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.media import media_path
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["HuggingFace"]

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
IMAGES_AT_ONCE = 128
"""Samples per row group where images are embedded."""


@formats("hf")
class HuggingFace(Format):
    """See the module."""

    name = "hf"
    title = "Hugging Face datasets (Parquet, save_to_disk)"
    spec = "https://huggingface.co/docs/datasets/object_detection"
    keeps = losses.NAMES - {"layers"}
    ordered = False  # samples of one split come together
    tolerance = {"bbox": 1e-6, "polygons": 1e-6, "polyline": 1e-6, "keypoints": 1e-6}  # noqa: RUF012
    checked = "real data"

    def __init__(self) -> None:
        self._kept, self._pixels = Kept(), Pixels()

    def sniff(self, root: Path) -> str | None:
        return sniff_hf(root)

    # ------------------------------------------------------------------ reading

    def read(
        self, root: Path, intake: Intake, *, bbox_format: BoxFormat = "xywh"
    ) -> Iterator[Incoming]:
        """Read Parquet files or a saved dataset.

        Args:
            root: the folder, or one file.
            intake: gets categories, groups, sources and faults.
            bbox_format: what ``bbox`` holds; our own files know it.
        """
        found = shards(root)
        folder = root if root.is_dir() else root.parent
        intake.media_root = intake.images or folder
        facts = found[0].facts
        names = declared(facts, intake)
        if facts is not None and root.is_dir():
            yield from read_groups(root, intake, ids=facts.ids)
        intake.locate = locations([s.name for s in found], ["row"] * len(found))
        images = ImageColumns(intake)
        keys = Keys()
        for shard in found:
            features = features_of(shard.schema)
            columns = image_columns(shard.schema, features)
            if not columns:
                raise FormatError(shard.name, "no column of images")
            caption = next((c for c in CAPTIONS if c in shard.schema.names), None)
            source = intake.source(
                shard.name, self.name, options={"bbox_format": bbox_format, "caption": caption}
            )
            reader = RecordReader(
                intake,
                shard.name,
                source,
                media=frozenset(columns),
                features=features,
                facts=facts,
                bbox_format=bbox_format,
                category_rows=names,
            )
            yield from self._batches(shard, reader, columns, images, keys)

    def _batches(
        self,
        shard: Shard,
        reader: RecordReader,
        columns: list[str],
        images: ImageColumns,
        keys: Keys,
    ) -> Iterator[Incoming]:
        for start, table in shard.tables():
            ordinals = start + np.arange(table.num_rows)
            samples, annotations = reader.read(table, ordinals)
            media, beside = images.of(table, columns, shard.name, ordinals)
            own = samples.pop("key", None)
            wanted = (
                _keys(shard.split, table, media, samples, ordinals)
                if own is None
                else plain(own).to_pylist()
            )
            yield incoming(
                reader.intake,
                samples,
                [keys.unique(k) for k in wanted],
                media,
                [shard.split] * table.num_rows,
                annotations,
                unit=reader.unit,
                beside=beside,
                taken=keys,
            )

    # ------------------------------------------------------------------ writing

    def project(
        self,
        batch: Batch,
        dataset: Dataset,
        *,
        unit: Literal["pixel", "keep"] = "pixel",
        embed: bool = False,
    ) -> Batch:
        batch = self._kept(batch, dataset)
        return self._pixels(batch, dataset) if unit == "pixel" else batch

    def write(
        self,
        dataset: Dataset,
        out: Out,
        *,
        unit: Literal["pixel", "keep"] = "pixel",
        embed: bool = False,
    ) -> None:
        """Write one Parquet file per split.

        Args:
            dataset: what to write.
            out: where to.
            unit: ``pixel`` turns relative coordinates to pixels, as readers of ``bbox`` expect;
                ``keep`` leaves them, and the column ``unit`` says so.
            embed: put the images into the files, as on the Hub; else their paths.
        """
        plan = make_plan(dataset, by_name=False, caption=caption_column(dataset))
        names = _split_names(dataset)
        plan.facts.splits = {file: split for split, file in names.items()}
        schema = _with_metadata(record_schema(plan, "image", IMAGE), plan)
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(
                    pq.ParquetWriter(
                        stack.enter_context(out.open(f"data/{file}-00000-of-00001.parquet")),
                        schema,
                    )
                )
                for split, file in names.items()
            }
            for batch in dataset.iter_batches(IMAGES_AT_ONCE if embed else None):
                table = records(batch, plan, "image", _image_column(batch, dataset, embed))
                splits = column(batch.samples, "split").cast(pa.string()).to_pylist()
                for split, rows in _rows_by_split(splits).items():
                    part = table if len(rows) == table.num_rows else table.take(pa.array(rows))
                    files[split].write_table(part.cast(schema))
        write_groups(dataset, out)

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        for batch in dataset.iter_batches():
            yield [path or "" for path in _paths(batch)]


def _keys(
    split: str | None,
    table: pa.Table,
    media: pa.StructArray,
    samples: dict[str, pa.Array],
    ordinals: np.ndarray,
) -> list[str]:
    """Keys of records: file name, else key, else image id, else row; below the split."""
    n = table.num_rows
    named = [plain(table[c]) for c in ("file_name", "key", "__key__") if c in table.column_names]
    named.insert(1 if "file_name" in table.column_names else 0, media.field("path"))
    listed = [a.to_pylist() for a in named if pa.types.is_string(a.type)]
    ids = samples["source_id"].to_pylist() if "source_id" in samples else [None] * n
    before = "" if split is None else f"{split}/"
    out = []
    for row, (given, ordinal) in enumerate(zip(ids, ordinals.tolist(), strict=True)):
        text = next((texts[row] for texts in listed if texts[row]), None)
        base = image_name(text) if text else given or f"{ordinal:08d}"
        out.append(base if before and base.startswith(before) else before + base)
    return out


def _rows_by_split(splits: Sequence[str | None]) -> dict[str | None, list[int]]:
    out: dict[str | None, list[int]] = {}
    for i, split in enumerate(splits):
        out.setdefault(split, []).append(i)
    return out


def _split_names(dataset: Dataset) -> dict[str | None, str]:
    """For each split the name of its file, in the order in which they appear.

    The library takes names of letters, digits and underscores, and ``all`` for itself.
    """
    found = dict.fromkeys(
        s
        for batch in dataset.iter_batches()
        for s in column(batch.samples, "split").cast(pa.string()).unique().to_pylist()
    ) or {None: None}
    keys = Keys()
    for split in found:
        if split is not None and re.fullmatch(r"\w+", split, re.ASCII) and split != "all":
            keys.unique(split)
    out: dict[str | None, str] = {}
    for split in found:
        if split is not None and keys.taken(split):
            out[split] = split
            continue
        name = "train" if split is None else re.sub(r"\W+", "_", split, flags=re.ASCII)
        name = {"": "split", "all": "all_"}.get(name, name)
        out[split] = keys.unique(name).replace("#", "_")
    return out


def _with_metadata(schema: pa.Schema, plan: Plan) -> pa.Schema:
    features = features_json(schema, ["image"], plan.names)
    return schema.with_metadata({HF_KEY: features.encode(), OWN_KEY: plan.facts.to_json().encode()})


def _paths(batch: Batch) -> list[str | None]:
    """Where each image belongs: its path as it is, else its key."""
    media = column(batch.samples, "media").to_pylist()
    keys = batch.samples["key"].to_pylist()
    return [
        image_name(m["path"] if m is not None and m["path"] is not None else k)
        for m, k in zip(media, keys, strict=True)
    ]


def _image_column(batch: Batch, dataset: Dataset, embed: bool) -> pa.Array:
    """Structs of bytes and path; the bytes of files that are referred to only with ``embed``."""
    from granum.schema.rows import Media

    entries = column(batch.samples, "media").to_pylist()
    data: list[bytes | None] = []
    for entry in entries:
        found = None if entry is None else entry["bytes"]
        if found is None and embed and entry is not None:
            path = media_path(Media(**entry), dataset.meta.media_root)
            try:
                found = path.read_bytes()
            except OSError as error:
                raise FormatError(path, f"the image cannot be read: {error}") from error
        data.append(found)
    paths = [
        p if e is not None and e["path"] is not None else None
        for p, e in zip(_paths(batch), entries, strict=True)
    ]
    if embed and any(d is None for d in data):
        raise GranumError("a sample without an image cannot be embedded")
    # The order of fields is that of the library: another one is no image to it.
    parts = [pa.array(data, pa.binary()), pa.array(paths, pa.string())]
    neither = [d is None and p is None for d, p in zip(data, paths, strict=True)]
    missing = pa.array(neither, pa.bool_())
    return pa.StructArray.from_arrays(parts, fields=list(IMAGE), mask=missing)
