"""Samples as the documents that FiftyOne keeps: where the image is, its size, tags, group."""

from __future__ import annotations

import hashlib
import random
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.browse._fiftyone_labels import values_of
from granum.browse._fiftyone_plan import Plan, json_rows
from granum.errors import GranumError, SizeUnknownError, UsageError
from granum.schema.rows import Media
from granum.schema.tables import column
from granum.schema.units import is_relative
from granum.store.dataset import Dataset
from granum.store.media import image_sizes, media_path, open_image

__all__ = ["Embedded", "files_of", "pixel_sizes", "sample_documents", "shown"]

Document = dict[str, Any]

_SHOWN_KINDS = ("image", "frame", "raster", None)


class Embedded:
    """Writes embedded images to a folder, named by their content.

    Args:
        root: the folder; None where the user named none.
    """

    def __init__(self, root: str | Path | None) -> None:
        self.root = None if root is None else Path(root).resolve()

    def write(self, name: str, data: bytes, suffix: str | None = None) -> Path:
        """The file of ``data``, written where it is not there yet.

        Raises:
            UsageError: no folder was named.
            FormatError: no image.
        """
        if self.root is None:
            raise UsageError(
                f"the image of {name!r} is embedded, and FiftyOne needs files: name a folder for "
                "them, embed_root=DIR (--embed-root DIR)"
            )
        if suffix is None:
            with open_image(data) as image:
                suffix = f".{(image.format or 'png').lower().replace('jpeg', 'jpg')}"
        stem = re.sub(r"[^\w-]", "_", Path(name).stem)[:60]
        path = self.root / f"{stem}-{hashlib.sha256(data).hexdigest()[:16]}{suffix}"
        if not path.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.part")
            draft.write_bytes(data)
            draft.replace(path)
        return path


def shown(samples: pa.Table) -> npt.NDArray[np.bool_]:
    """Which samples are images that FiftyOne can show."""
    kinds = column(samples, "media_kind").cast(pa.string()).to_pylist()
    given = np.asarray(column(samples, "media").is_valid())
    return given & np.array([k in _SHOWN_KINDS for k in kinds], bool)


def files_of(samples: pa.Table, root: str | None, embedded: Embedded) -> list[Path]:
    """The image file of each sample.

    Raises:
        GranumError: no media root is known; UsageError: embedded, and no folder for it.
    """
    out = []
    rows = zip(column(samples, "media").to_pylist(), samples["key"].to_pylist(), strict=True)
    for media, key in rows:
        if media["bytes"] is not None:
            out.append(embedded.write(key, media["bytes"]))
        else:
            out.append(media_path(Media(media["path"]), root).absolute())
    return out


def pixel_sizes(
    samples: pa.Table, files: list[Path], needed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Width and height of each sample, shape (samples, 2); read from the headers of the files of
    ``needed`` samples that do not say; NaN where still unknown.

    Raises:
        SizeUnknownError: a header cannot be read.
    """
    stored = [
        np.asarray(column(samples, n).cast(pa.float64()).fill_null(np.nan), np.float64)
        for n in ("width", "height")
    ]
    out = np.column_stack(stored)
    unknown = np.flatnonzero(np.isnan(out).any(axis=1) & needed)
    if len(unknown):
        found = image_sizes([files[i] for i in unknown.tolist()])
        failed = [k for k, size in enumerate(found) if isinstance(size, GranumError)]
        if failed:
            raise SizeUnknownError(samples["key"].take(pa.array(unknown[failed])).to_pylist())
        out[unknown] = np.array(found, np.float64)
    return out


def needs_sizes(samples: pa.Table, drawn: bool) -> npt.NDArray[np.bool_]:
    """Samples whose pixels must be counted: those in pixels, and all where masks are drawn."""
    return ~is_relative(samples) | drawn


def sample_documents(
    samples: pa.Table,
    files: list[Path],
    sizes: npt.NDArray[np.float64],
    plan: Plan,
    dataset: Dataset,
) -> list[Document]:
    """Documents of samples, without their labels."""
    from bson import ObjectId

    now = datetime.now(UTC)
    splits = column(samples, "split").cast(pa.string()).to_pylist()
    channels = column(samples, "channels").to_pylist()
    documents: list[Document] = []
    for key, file, split, channel, size in zip(
        samples["key"].to_pylist(), files, splits, channels, sizes.tolist(), strict=True
    ):
        metadata: Document = {"_cls": "ImageMetadata"}
        if size[0] == size[0]:
            metadata |= {"width": int(size[0]), "height": int(size[1])}
        if channel is not None:
            metadata["num_channels"] = channel
        documents.append(
            {
                "_id": ObjectId(),
                "_media_type": "image",
                "_rand": random.random(),
                "filepath": str(file),
                "tags": [] if split is None else [split],
                "metadata": metadata,
                "created_at": now,
                "last_modified_at": now,
                "granum_key": key,
            }
        )
    _values(samples, documents, plan, dataset)
    return documents


def _values(samples: pa.Table, documents: list[Document], plan: Plan, dataset: Dataset) -> None:
    every = np.arange(samples.num_rows)
    attributes = json_rows(samples)
    for value in plan.samples:
        cells = values_of(samples, attributes, value, every)
        if value.type == "vector":
            cells = [None if c is None else _vector(c) for c in cells]
        for document, cell in zip(documents, cells, strict=True):
            document[value.field] = cell
    groups = column(samples, "group").to_pylist()
    if dataset.groups.num_rows:
        keys = dataset.groups["key"].to_pylist()
        for document, group in zip(documents, groups, strict=True):
            document["group"] = None if group is None else keys[group]


def _vector(values: list[float]) -> bytes:
    import zlib
    from io import BytesIO

    file = BytesIO()
    np.save(file, np.asarray(values, np.float64), allow_pickle=False)
    return zlib.compress(file.getvalue(), 1)
