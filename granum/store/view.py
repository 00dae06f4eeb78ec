"""One sample of a dataset, for people and small loops."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from granum.errors import GranumError, SizeUnknownError
from granum.schema import geometry, rows
from granum.schema.rows import Annotation, Category, LabelMap, Sample
from granum.store.media import image_size, map_mask, media_path, open_image, read_values
from granum.store.regions import leaves_below
from granum.store.video import frame

if TYPE_CHECKING:
    from PIL.Image import Image

    from granum.store.dataset import Dataset

__all__ = ["SampleView"]


class SampleView:
    """A sample and its annotations in the dataset's current layer.

    Attributes:
        index: its row in the dataset.
    """

    def __init__(self, dataset: Dataset, index: int) -> None:
        self.dataset, self.index = dataset, index
        self._images: dict[tuple[str, str | None], npt.NDArray[np.int64]] = {}

    def __repr__(self) -> str:
        return f"<granum sample {self.key!r}: {len(self.annotations)} annotations>"

    @cached_property
    def row(self) -> Sample:
        """All columns of the sample, with its annotations, as row objects."""
        part = self.dataset.part_of(self.index)
        local = self.index - part.start
        sample: Sample = rows.samples_from_table(part.samples().slice(local, 1))[0]
        layer = self.dataset.meta.layer
        offsets = part.offsets(layer)
        first, last = int(offsets[local]), int(offsets[local + 1])
        sample.annotations = rows.annotations_from_table(
            part.layer(layer).slice(first, last - first)
        )
        return sample

    @property
    def key(self) -> str:
        return self.row.key

    @property
    def split(self) -> str | None:
        return self.row.split

    @property
    def annotations(self) -> list[Annotation]:
        return self.row.annotations

    @cached_property
    def categories(self) -> list[Category]:
        return rows.categories_from_table(self.dataset.categories)

    @property
    def labels(self) -> list[str | None]:
        """The category name of each annotation."""
        return [
            None if a.category is None else self.categories[a.category].name
            for a in self.annotations
        ]

    @cached_property
    def size(self) -> tuple[int, int]:
        """(width, height) as stored, else from the header of the image.

        Raises:
            SizeUnknownError: neither says.
        """
        if self.row.width is not None and self.row.height is not None:
            return self.row.width, self.row.height
        try:
            return image_size(self._source())
        except GranumError as error:
            raise SizeUnknownError([self.key]) from error

    def _source(self) -> Any:
        media = self.row.media
        if media is not None and media.bytes is not None:
            return media.bytes
        return media_path(media or rows.Media(), self.dataset.meta.media_root)

    @cached_property
    def _clip(self) -> tuple[rows.Media, int] | None:
        """The video and number (from 0) of a frame without a file of its own."""
        row = self.row
        if row.media is not None or row.media_kind != "frame" or None in (row.group, row.order):
            return None
        (group,) = rows.groups_from_table(self.dataset.groups.slice(row.group, 1))
        first = (group.attributes or {}).get("first_frame", 0)
        return None if group.media is None else (group.media, row.order - first)

    def image(self) -> Image:
        """The image, decoded: a file of its own, else a frame of the video of its group, by
        ``order``, which counts from 0 or from the attribute ``first_frame`` of the group.

        Raises:
            FormatError: the file is absent or no image.
            GranumError: no media root is known.
            MissingExtraError: it is in a video, and the extra ``video`` is not installed.
        """
        if self._clip is not None:
            clip, index = self._clip
            return frame(media_path(clip, self.dataset.meta.media_root), index)
        image = open_image(self._source())
        image.load()
        return image

    def boxes(self, order: str = "xywh") -> npt.NDArray[np.float64]:
        """Boxes in pixels, shape (annotations, 4); rows of NaN where one has no geometry.

        Args:
            order: ``xywh``, ``xyxy`` or ``cxcywh``.
        """
        table = rows.annotations_to_table(self.annotations)
        boxes = geometry.aabb(table)
        if self.row.unit == "relative":
            boxes = boxes * np.tile(np.asarray(self.size, np.float64), 2)
        return geometry.convert_boxes(boxes, order)

    def mask(self, k: int) -> npt.NDArray[np.bool_]:
        """The mask of annotation ``k``, shape (height, width).

        Of the forms it may have, the first of RLE, map, polygons counts; an inner node of a
        region tree, which has none but the map of all leaves, is the union of its children.

        Raises:
            GranumError: it has none.
        """
        annotation = self.annotations[k]
        if annotation.rle is not None:
            return geometry.rle_decode(annotation.rle.size, annotation.rle.counts)
        if k in self._leaves:
            masks = [self.mask(i) for i in self._leaves[k]]
            return np.asarray(np.any(masks, axis=0))
        if annotation.map is not None:
            return self.read_map(annotation.map)
        if annotation.polygons is None:
            raise GranumError(f"annotation {k} of {self.key!r} has no mask")
        width, height = self.size
        polygons = annotation.polygons
        if self.row.unit == "relative":
            scale = (width, height)
            polygons = [
                [[v * scale[i % 2] for i, v in enumerate(ring)] for ring in part]
                for part in polygons
            ]
        return geometry.rasterize(polygons, height, width)

    @cached_property
    def _leaves(self) -> dict[int, list[int]]:
        """For each inner node of a region tree the rows that make its mask."""
        rows = self.annotations
        bare = [
            a.rle is None and a.polygons is None and (a.map is None or _is_whole(a.map))
            for a in rows
        ]
        found = leaves_below([a.annotation_id for a in rows], [a.parent for a in rows], bare)
        return {i: leaves for i, leaves in found.items() if leaves}

    def read_map(self, label_map: LabelMap) -> npt.NDArray[np.bool_]:
        """The pixels that an annotation's map means, shape (height, width).

        A map without path and bytes is the one of the row that has its digest.

        Raises:
            GranumError: no row has it.
            FormatError: the map is absent or no image.
        """
        return map_mask(label_map, self._values(label_map))

    def draw_map(self, label_map: LabelMap) -> npt.NDArray[np.generic]:
        """What a picture shows of a map, shape (height, width): the integers of a whole label image
        or of a field, the mask of any other. Raises as ``read_map``."""
        values = self._values(label_map)
        return values if _is_whole(label_map) else map_mask(label_map, values)

    def _values(self, label_map: LabelMap) -> npt.NDArray[np.int64]:
        """The integers of a label image; one that many rows share is decoded once."""
        if label_map.path is None and label_map.bytes is None:
            label_map = replace(label_map, **self._held(label_map.digest))
        if label_map.digest is None:
            return read_values(label_map, self._map_root)
        name = label_map.digest, label_map.encoding
        if name not in self._images:
            self._images[name] = read_values(label_map, self._map_root)
        return self._images[name]

    @property
    def _map_root(self) -> str | None:
        return self.dataset.meta.map_root or self.dataset.meta.media_root

    def _held(self, digest: str | None) -> dict[str, Any]:
        """Where the pixels of a shared map are."""
        for a in self.annotations:
            held = a.map
            if held is not None and held.digest == digest and (held.path or held.bytes):
                return {"path": held.path, "bytes": held.bytes}
        raise GranumError(f"{self.key!r}: no annotation has the map {digest!r}")

    def to_dict(self) -> dict[str, Any]:
        """The sample's filled columns, JSON-serialisable."""
        return json.loads(json.dumps(_filled(self.row), default=_jsonable))  # type: ignore[no-any-return]


def _is_whole(label_map: LabelMap) -> bool:
    """Whether it means all values of a label image, and no mask."""
    return label_map.value is None and label_map.encoding not in ("nonzero", "greater")


def _filled(value: Any) -> Any:
    from dataclasses import fields, is_dataclass

    if is_dataclass(value):
        named = {f.name: _filled(getattr(value, f.name)) for f in fields(value)}
        return {n: v for n, v in named.items() if v is not None and v != []}
    if isinstance(value, list | tuple):
        return [_filled(v) for v in value]
    return value


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("ascii", "backslashreplace")
    return str(value)
