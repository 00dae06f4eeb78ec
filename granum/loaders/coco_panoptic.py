"""COCO panoptic: segments of whole images, as PNGs of ids."""

from __future__ import annotations

from granum.loaders.base import Format, formats

__all__ = ["CocoPanoptic"]


@formats("coco_panoptic")
class CocoPanoptic(Format):
    """See the module."""

    name = "coco_panoptic"
    title = "COCO panoptic"
    spec = "https://cocodataset.org/#format-data"
    checked = "real data"
