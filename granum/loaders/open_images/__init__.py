"""Open Images V4 to V7 (and the older files, as far as their columns are the same)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from granum.loaders.base import Format, Intake, formats
from granum.loaders.open_images import tree
from granum.loaders.open_images.read import read_tree
from granum.store.builder import Incoming

__all__ = ["OpenImages"]


@formats("open_images")
class OpenImages(Format):
    """See the module."""

    name = "open_images"
    title = "Open Images"
    spec = "https://storage.googleapis.com/openimages/web/download_v7.html"

    def sniff(self, root: Path) -> str | None:
        return tree.sniff(root)

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        decimal: Literal["auto", "point", "comma"] = "auto",
        at_hand: bool = False,
    ) -> Iterator[Incoming]:
        """Read a tree, or one CSV file.

        Args:
            root: the folder or file.
            intake: gets findings, categories, sources.
            decimal: the decimal sign of coordinates; ``auto`` looks at the first rows.
            at_hand: only the images that are there (of a download of a part).
        """
        yield from read_tree(root, intake, decimal, at_hand)
