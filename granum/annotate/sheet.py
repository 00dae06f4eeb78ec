"""A picture of a tree: its cuts at several granularities, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from granum.annotate.tree import MaskTree
from granum.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["boundaries", "granularity_sheet"]

LINE = (255, 214, 10)
CAPTION = 18
GAP = 4


def boundaries(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """The pixels whose right or lower neighbour has another label, shape as ``labels``."""
    out = np.zeros(labels.shape, bool)
    out[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    out[:-1] |= labels[:-1] != labels[1:]
    return out


def granularity_sheet(
    image: npt.ArrayLike,
    tree: MaskTree,
    gs: Sequence[float] = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
    *,
    columns: int = 4,
) -> Image:
    """The image, then its cut at each granularity: mean colours, and the regions' boundaries.

    Args:
        image: RGB, uint8, shape (height, width, 3).
        tree: of the image.
        gs: granularities, in [0, 1].
        columns: panels in a row.

    Raises:
        UsageError: image and tree differ in size.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    pixels = np.asarray(image, np.uint8)
    if pixels.shape != (*tree.size, 3):
        raise UsageError(f"the image is {pixels.shape}, the tree of {tree.size}")
    panels = [("image", pixels)]
    for g in gs:
        labels = tree.cut(g)
        count = len(np.unique(labels[labels >= 0]))
        panels.append((f"g = {g:g}: {count} region{'s' * (count != 1)}", _panel(pixels, labels)))
    height, width = tree.size
    across = min(columns, len(panels))
    down = -(-len(panels) // across)
    step_x, step_y = width + GAP, height + CAPTION + GAP
    sheet = Pillow.new("RGB", (across * step_x - GAP, down * step_y - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (text, panel) in enumerate(panels):
        x, y = i % across * step_x, i // across * step_y
        draw.text((x + 2, y + 3), text, fill="black")
        sheet.paste(Pillow.fromarray(panel), (x, y + CAPTION))
    return sheet


def _panel(pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Regions in their mean colours; what no region holds stays grey."""
    _, region = np.unique(labels, return_inverse=True)
    region = region.ravel()
    size = np.bincount(region)
    sums = [np.bincount(region, pixels[..., c].ravel()) for c in range(3)]
    mean = (np.stack(sums, axis=1) / size[:, None]).astype(np.uint8)
    out = mean[region].reshape(pixels.shape)
    out[labels < 0] = 128
    out[boundaries(labels)] = LINE
    return out
