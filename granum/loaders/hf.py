"""Datasets of the Hugging Face `datasets` library: Parquet as on the Hub, and saved to disk.

Layouts read::

    data/train-00000-of-00002.parquet …   as `push_to_hub` writes them (any folder, any name)
    train.parquet                         one file
    dataset_dict.json, train/, test/      `DatasetDict.save_to_disk`
    state.json, data-00000-of-00001.arrow `Dataset.save_to_disk` (Arrow streams)

Columns, all but the image optional: ``image`` (struct of bytes and path, or a path), ``image_id``,
``width``, ``height``, ``objects`` (struct of lists or list of structs: ``bbox``, ``category``,
``area``, ``id``, ``iscrowd``…), ``label`` (ClassLabel), ``text`` or ``caption(s)``. Further scalar
columns become attributes, further images samples of the same group under the column's name.

Coordinates: ``bbox`` is x, y, width, height in pixels from the top-left corner, as in CPPE-5; no
file says so, so ``bbox_format`` says otherwise. Class -1 is no class.

Written: ``data/<split>-00000-of-00001.parquet`` with features that `load_dataset` understands, and
what else the dataset holds as further columns of lists and, under ``granum`` in the schema
metadata, facts about the categories; groups go to ``granum/groups.parquet``.

Spec: https://huggingface.co/docs/datasets/object_detection,
https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._hf_columns import one, plain
from granum.loaders._hf_facts import Facts, image_columns
from granum.loaders._hf_files import Shard, iterate, shards, sniff_hf
from granum.loaders._hf_groups import read_groups, write_groups
from granum.loaders._hf_project import Pixels, without_places
from granum.loaders._hf_read import BoxFormat, RecordReader, declared, locations
from granum.loaders._hf_samples import Keys, Series, sample_table
from granum.loaders._hf_write import make_plan
from granum.loaders.base import Format, Intake, formats, image_name
from granum.schema import losses
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch
