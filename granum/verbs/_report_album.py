"""Pictures for a report: taken when they are asked for, within a number of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from granum.browse import page
from granum.browse.draw import draw
from granum.errors import GranumError
from granum.schema import geometry, rows
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.media import read_map, read_values
from granum.store.view import SampleView

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Album", "Shot", "rows_of_group", "with_media"]

Floats = npt.NDArray[np.float64]
Take = Callable[[], "Image | None"]
Shot = tuple[Take, str]
"""What takes a picture (None where it cannot be read), and its caption."""

MOST_BYTES = 7_500_000
_TRIED = 12
_WHOLE = ("index", "rgb24", "ade")

_FAULTS = (GranumError, OSError, ValueError, SyntaxError)
"""What Pillow and the store raise of media that are absent or damaged."""


def with_media(dataset: Dataset) -> npt.NDArray[np.int64]:
    """The rows of samples that have media."""
    there = [np.asarray(column(p.samples(), "media").is_valid()) for p in dataset.parts]
    return np.flatnonzero(np.concatenate([*there, np.empty(0, bool)]))


class Album:
    """Takes pictures of a dataset's samples.

    Args:
        dataset: its current layer is drawn unless another is named.
        most_bytes: of all pictures together; those beyond are left out and counted.
        wanted: False takes no picture at all.

    Attributes:
        closed: why no picture can be taken at all; None where some can.
        unreadable: why, by key of the sample.
        missed: captions of the pictures that could not be taken.
        left_out: pictures beyond ``most_bytes``.
    """

    def __init__(
        self, dataset: Dataset, most_bytes: int = MOST_BYTES, *, wanted: bool = True
    ) -> None:
        self.dataset, self.most_bytes = dataset, most_bytes
        self.categories = rows.categories_from_table(dataset.categories)
        self.taken = self.bytes = self.left_out = 0
        self.unreadable: dict[str, str] = {}
        self.missed: list[str] = []
        self.closed = self._closed() if wanted else "none were asked for"

    def _closed(self) -> str | None:
        """Tries some samples, spread over the dataset."""
        there = with_media(self.dataset)
        if not len(there):
            return "the samples have no media"
        tried = there[np.unique(np.linspace(0, len(there) - 1, _TRIED).astype(np.int64))]
        for index in tried.tolist():
            view = self.dataset[index]
            if self.image(view) is not None:
                return None
        return f"{self.unreadable[view.key]} (and so of {len(tried)} samples that were tried)"

    def image(self, view: SampleView) -> Image | None:
        """The image of a sample; None where it cannot be read."""
        try:
            return view.image()
        except Exception as error:  # what decoders raise on damaged files is of any kind
            self.unreadable[view.key] = str(error).partition("\n")[0]
            return None

    def drawn(
        self,
        view: SampleView,
        annotations: Sequence[rows.Annotation] | None = None,
        size: int | None = 640,
        labels: bool = True,
    ) -> Image | None:
        """A sample with annotations (default: those of its layer) on it."""
        image = self.image(view)
        if image is None:
            return None
        sketch = partial(
            draw, image, view.row, self.categories, annotations=annotations, labels=labels
        )
        try:
            return sketch(load_map=self._load_map, max_size=size)
        except _FAULTS as error:
            self.unreadable[view.key] = str(error).partition("\n")[0]
        try:
            return sketch(max_size=size)  # a label map that is absent: the strip names it
        except _FAULTS:
            return None

    def _load_map(self, label_map: rows.LabelMap) -> npt.NDArray[np.generic]:
        meta = self.dataset.meta
        root = meta.map_root or meta.media_root
        whole = label_map.value is None and label_map.encoding in _WHOLE
        return read_values(label_map, root) if whole else read_map(label_map, root)

    # ------------------------------------------------------------------ shots

    def shot(
        self,
        index: int,
        caption: str,
        *,
        annotations: Sequence[rows.Annotation] | None = None,
        size: int = 640,
    ) -> Shot:
        """A sample with annotations on it."""
        return lambda: self.drawn(self.dataset[index], annotations, size), caption

    def plain(self, index: int, caption: str) -> Shot:
        """A sample as it is."""
        return lambda: self.image(self.dataset[index]), caption

    def close(self, key: str, ids: Iterable[int], caption: str) -> Shot:
        """Annotations of a sample, by id, and no others; near by, where they are small. Their
        categories go to the caption: names on the picture would hide small things."""
        view, wanted = self.dataset[key], set(ids)
        meant = [a for a in view.annotations if a.annotation_id in wanted]
        named = {self.categories[a.category].name for a in meant if a.category is not None}
        words = " · ".join([caption, *sorted(named)])
        return lambda: self._near(view, meant), f"{words}\n{key}"

    def _near(self, view: SampleView, meant: Sequence[rows.Annotation]) -> Image | None:
        whole = self.drawn(view, meant, size=None, labels=False)
        if whole is None or not meant:
            return whole
        boxes = geometry.convert_boxes(geometry.aabb(rows.annotations_to_table(meant)), "xyxy")
        boxes = boxes[np.isfinite(boxes).all(axis=1)]
        if view.row.unit == "relative":
            boxes = boxes * np.tile(np.asarray(whole.size, np.float64), 2)
        elif view.row.width:
            boxes = boxes * (whole.width / view.row.width)
        if not len(boxes):
            return whole
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        return _framed(whole, low, high)

    def figures(self, shots: Iterable[Shot], most: int = 480) -> list[str]:
        """The pictures that can be taken, each of at most ``most`` pixels a side."""
        out: list[str] = []
        if self.closed is not None:
            return out
        for take, caption in shots:
            if self.bytes >= self.most_bytes:
                self.left_out += 1
                continue
            image = take()
            if image is None:
                self.missed.append(caption)
                continue
            out.append(page.picture(image, caption, most=most, quality=82))
            self.taken += 1
            self.bytes += len(out[-1])
        return out

    def gallery(
        self,
        shots: Iterable[Shot],
        size: page.Size = "",
        most: int = 480,
    ) -> list[str]:
        """A grid of pictures; below it, how many of them could not be read, and why."""
        before = len(self.missed)
        found = self.figures(shots, most)
        return [*([page.cells(found, size)] if found else []), *self.missing_since(before)]

    def missing_since(self, before: int) -> list[str]:
        """A line about the pictures that were missed after so many others."""
        new = self.missed[before:]
        if not new:
            return []
        pictures = "1 picture" if len(new) == 1 else f"{len(new)} pictures"
        why = list(self.unreadable.values())[-1] if self.unreadable else "it cannot be drawn"
        return [page.text(f"{pictures} could not be read ({new[0]}: {why})", soft=True)]


def rows_of_group(dataset: Dataset, group: int) -> list[rows.Annotation]:
    """Annotations of a whole group in the current layer."""
    found: list[rows.Annotation] = []
    for part in dataset.parts:
        name = dataset.meta.layer
        loose = part.layer(name).slice(int(part.offsets(name)[-1]))
        if loose.num_rows:
            mine = loose.filter(pc.equal(loose["group"], group).fill_null(False))
            found += rows.annotations_from_table(mine)
    return found


_CLOSE = 360
"""Pixels a side of a close picture, at least."""


def _framed(whole: Image, low: Floats, high: Floats) -> Image:
    """A picture cut to the surroundings of a box, which gets a frame, a little apart from it.

    Args:
        whole: the picture.
        low, high: corners of the box (x, y), in its pixels.
    """
    from PIL import ImageDraw
    from PIL.Image import Resampling

    size = np.asarray(whole.size, np.float64)
    side = min(2 * max(float((high - low).max()), 0.12 * size.max()), size.min())
    corner = np.clip((low + high - side) / 2, 0, np.maximum(size - side, 0))
    if float((high - low).max()) > side:  # more than a square holds
        corner, extent = np.zeros(2), size
    else:
        extent = np.full(2, side)
    scale = max(_CLOSE / extent.max(), 1.0)
    frame = tuple(np.rint([*corner, *(corner + extent)]).astype(int).tolist())
    cut = whole.crop(frame)
    shape = [max(round(v * scale), 1) for v in cut.size]
    out = cut.resize((shape[0], shape[1]), Resampling.BICUBIC) if scale > 1 else cut
    ink, width = ImageDraw.Draw(out), max(1, round(max(out.size) / 180))
    for apart, colour in ((5, (20, 20, 20)), (4, (255, 255, 255))):
        ends = np.array([low - corner, high - corner]) * scale
        ends += np.array([[-1], [1]]) * width * apart
        ends = np.clip(ends, 0, np.asarray(out.size) - 1)
        ink.rectangle(ends.ravel().tolist(), outline=colour, width=width)
    return out
