"""COCO panoptic: segments of whole images, as PNGs of ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from granum.loaders._panoptic_read import read_panoptic
from granum.loaders._panoptic_tree import sniff_tree
from granum.loaders.base import Format, Intake, formats
from granum.store.builder import Incoming

__all__ = ["CocoPanoptic"]


@formats("coco_panoptic")
class CocoPanoptic(Format):
    """See the module."""

    name = "coco_panoptic"
    title = "COCO panoptic"
    spec = "https://cocodataset.org/#format-data"
    checked = "real data"

    def sniff(self, root: Path) -> str | None:
        return sniff_tree(root)

    def read(
        self, root: Path, intake: Intake, *, masks: str | None = None, check_masks: bool = False
    ) -> Iterator[Incoming]:
        yield from read_panoptic(root, intake, masks, check_masks)
