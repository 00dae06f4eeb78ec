"""The spaces of images, of the crop of each annotation: columns of the layer."""

from __future__ import annotations

from dataclasses import dataclass

from granum.curate.base import scorers
from granum.curate.descriptors import Descriptors
from granum.curate.embedding import Embedding

__all__ = ["CropDescriptors", "CropEmbedding"]


@scorers("crop_descriptors")
@dataclass(frozen=True)
class CropDescriptors(Descriptors):
    """As ``descriptors``, of the crop of each annotation."""

    name = "crop_descriptors"
    of = "annotations"
    inputs = ("media", "bbox")


@scorers("crop_embedding")
@dataclass(frozen=True)
class CropEmbedding(Embedding):
    """As ``embedding``, of the crop of each annotation."""

    column: str = "crop_embedding"

    name = "crop_embedding"
    of = "annotations"
    inputs = ("media", "bbox")
