"""What a sample is, for each task, and how samples become a batch.

A sample is a dict of tensors:

================ ================================================================================
``image``        uint8, shape (3, height, width), RGB. The trainer hands float32 in 0..1 to hooks.
``index``        int, row of the sample in the dataset that ``to_torch`` was given.
``key``          str.
``size``         int64 (2,): height and width of the stored image.
``scale``        float64 (2,): what stored y and x were multiplied by to fit ``image``.
classification   ``label`` int64: the class; -1 where there is none.
detection        as torchvision's reference: ``boxes`` float32 (n, 4), x0 y0 x1 y1 in pixels of
                 ``image``; ``labels`` int64 (n,), the class; ``area`` float32 (n,), in pixels of
                 ``image``; ``iscrowd`` int64 (n,); ``image_id`` int64 (1,). n may be 0.
semantic         ``mask`` int64 (height, width): the class; 255 where nothing is said.
anomaly          ``label`` int64: 1 where there is a defect; ``mask`` int64 (height, width) of 0, 1.
image            nothing more.
================ ================================================================================

A batch has the same names: what has one shape is stacked, ``key`` and what belongs to boxes are
lists, images of different sizes too. It adds ``faulty``, the rows of samples that could not be
read, and ``weight`` (batch,): 0 for the stand-in of a batch that would be empty, else 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError, GranumError
from granum.schema.rows import Media
from granum.schema.tables import column
from granum.schema.units import is_relative
from granum.store.dataset import Dataset
from granum.store.media import media_path
from granum.train.decode import Opened, Opener, Pixels, SampleError, Take, oriented, read_bytes
from granum.train.targets import Place, Target

__all__ = ["PER_BOX", "Pictures", "as_tensors", "collate", "resized"]

PER_BOX = ("boxes", "labels", "area", "iscrowd")

Size = tuple[int, int]


@dataclass(frozen=True)
class Pictures:
    """Where the images of samples are, as columns; reads and decodes one at a time.

    ``width``, ``height`` and ``orientation`` are 0 where the store does not know them. ``plain``:
    no path could leave the media root.
    """

    keys: pa.LargeStringArray
    paths: pa.LargeStringArray
    plain: bool
    content: pa.ChunkedArray | None
    width: npt.NDArray[np.int32]
    height: npt.NDArray[np.int32]
    orientation: npt.NDArray[np.int8]
    relative: npt.NDArray[np.bool_]
    root: str | None
    map_root: str | None

    @classmethod
    def of(cls, dataset: Dataset) -> Pictures:
        table = dataset.samples(["key", "media", "width", "height", "orientation", "unit"])
        media = table["media"]
        content = _child(media, "bytes")
        paths = _child(media, "path").cast(pa.large_string()).combine_chunks()

        def number(name: str) -> Any:
            return np.asarray(column(table, name).fill_null(0))

        return cls(
            keys=table["key"].cast(pa.large_string()).combine_chunks(),
            paths=paths,
            plain=not pc.any(pc.match_substring_regex(paths, _ODD)).as_py(),
            content=content if content.null_count < len(content) else None,
            width=number("width"),
            height=number("height"),
            orientation=number("orientation"),
            relative=is_relative(table),
            root=dataset.meta.media_root,
            map_root=dataset.meta.map_root or dataset.meta.media_root,
        )

    def key(self, i: int) -> str:
        return str(self.keys[i].as_py())

    def pixels(self, rows: npt.NDArray[np.int64]) -> list[int]:
        """How many pixels the store says that images have; 0 where it does not know."""
        found: list[int] = (self.height[rows].astype(np.int64) * self.width[rows]).tolist()
        return found

    def read(
        self, rows: Sequence[int], open_: Opener, least: Size | None, take: Take | None = None
    ) -> list[tuple[Pixels, Place] | SampleError]:
        """RGB pixels of images (maybe smaller, see :mod:`granum.train.decode`), in memory that
        ``take`` gives, and what their stored rasters are; an error in the place of an image that is
        absent, damaged, or of another size than the store says.

        All files are read, then all are decoded: going back and forth between the interpreter and
        the decoder, each finds the caches full of the other.
        """
        opened = [self._tried(i, self._opened, i, open_, least, take) for i in rows]
        decoded = [
            (one if isinstance(one, SampleError) else self._tried(i, one[0]))
            for i, one in zip(rows, opened, strict=True)
        ]
        return [
            (one if isinstance(one, SampleError) else self._tried(i, self._placed, i, one, was[1]))
            for i, was, one in zip(rows, opened, decoded, strict=True)
        ]

    def _opened(self, i: int, open_: Opener, least: Size | None, take: Take | None) -> Opened:
        if least is not None and self.orientation[i] > 4:
            least = (least[1], least[0])
        return open_(self._bytes(i), least, take)

    def _tried(self, i: int, step: Callable[..., Any], *arguments: Any) -> Any:
        """What a step gives; an error that names the sample, where it fails."""
        try:
            return step(*arguments)
        except GranumError as error:
            reason = error.reason if isinstance(error, FormatError) else str(error)
            told = SampleError(f"sample {self.key(i)!r} ({self._where(i)}): {reason}")
            told.__cause__ = error
            return told

    def _placed(self, i: int, pixels: Pixels, size: Size) -> tuple[Pixels, Place]:
        turn = int(self.orientation[i])
        if turn > 1:
            pixels = oriented(pixels, turn)
            size = (size[1], size[0]) if turn > 4 else size
        stated = (int(self.height[i]), int(self.width[i]))
        if stated != size and all(stated):
            raise FormatError(
                self._where(i),
                f"the image is {size[1]} x {size[0]}, the store says {stated[1]} x {stated[0]}",
            )
        return pixels, Place(self.key(i), size, bool(self.relative[i]), self.map_root)

    def _bytes(self, i: int) -> bytes:
        if self.content is not None and self.content[i].is_valid:
            return bytes(self.content[i].as_py())
        path = self.paths[i].as_py()
        if self.plain and path is not None and self.root is not None:
            return read_bytes(f"{self.root}/{path}")
        return read_bytes(media_path(Media(path), self.root))

    def _where(self, i: int) -> str:
        return self.paths[i].as_py() or "embedded image"


_ODD = r"^/|^$|\\|(^|/)\.\.(/|$)|^[A-Za-z]:"
"""Paths that ``media_path`` has to look at: absolute, with a backslash, or climbing."""


def _child(media: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    chunks = [chunk.flatten()[chunk.type.get_field_index(name)] for chunk in media.chunks]
    return pa.chunked_array(chunks, media.type.field(name).type)


def resized(pixels: Pixels, target: Target, place: Place, size: Size | None) -> dict[str, Any]:
    """Image and target brought to ``size`` (height, width), without keeping the aspect: pixels
    bilinearly with antialiasing, masks by the nearest pixel."""
    height, width = place.size
    to = size or place.size
    if pixels.shape[:2] != to:
        from PIL import Image

        picture = Image.fromarray(pixels)
        pixels = np.asarray(picture.resize(to[::-1], Image.Resampling.BILINEAR))
    y, x = to[0] / height, to[1] / width
    out = {"image": pixels, "size": np.array(place.size), "scale": np.array((y, x)), **target}
    if "boxes" in target:
        out["boxes"] = (target["boxes"] * [x, y, x, y]).astype(np.float32)
        out["area"] = (target["area"] * (x * y)).astype(np.float32)
    if "mask" in target:
        mask = target["mask"]
        if mask.shape != place.size:
            raise ValueError(f"a mask of {mask.shape} on an image of {place.size}")
        if mask.shape != to:
            from PIL import Image

            small = Image.fromarray(mask.astype(np.uint8))
            mask = np.asarray(small.resize(to[::-1], Image.Resampling.NEAREST)).astype(np.int64)
        out["mask"] = mask
    return out


def as_tensors(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays as tensors; the image with its channels first (no copy)."""
    import torch

    out: dict[str, Any] = {}
    for name, value in sample.items():
        if isinstance(value, np.ndarray | np.generic):
            tensor = torch.from_numpy(_plain(np.asarray(value)))
            out[name] = tensor.permute(2, 0, 1) if name == "image" else tensor
        else:
            out[name] = value
    return out


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What torch may share memory with."""
    return array if array.flags.writeable and array.flags.c_contiguous else array.copy()


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Samples, of arrays or of tensors, as a batch (see the top of this module)."""
    import torch

    out: dict[str, Any] = {}
    for name, first in samples[0].items():
        values = [s[name] for s in samples]
        if name == "index":
            out[name] = torch.from_numpy(np.array(values))
        elif isinstance(first, str):
            out[name] = values
        elif name in PER_BOX or any(v.shape != first.shape for v in values[1:]):
            out[name] = [as_tensors({name: v})[name] for v in values]
        else:
            out[name] = _stacked(torch, values, is_image=name == "image")
    return out


def _stacked(torch: Any, values: Sequence[Any], is_image: bool) -> Any:
    """One tensor of values of one shape. In memory, channels of images stay last, as decoders
    write them (to stack what is permuted costs more than to decode it); one value is not copied.
    """
    if isinstance(values[0], torch.Tensor):
        values = [v.permute(1, 2, 0) if is_image else v for v in values]
        stacked = values[0][None] if len(values) == 1 else torch.stack(values)
    else:
        one = len(values) == 1
        stacked = torch.from_numpy(_plain(values[0][None]) if one else np.stack(values))
    return stacked.permute(0, 3, 1, 2) if is_image else stacked
