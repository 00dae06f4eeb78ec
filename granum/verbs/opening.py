"""Open a store. Apart from the other verbs, so that opening loads no format."""

from __future__ import annotations

from pathlib import Path

from granum.store.dataset import Dataset
from granum.store.opening import open_dataset

__all__ = ["open"]


def open(
    path: str | Path, *, media_root: str | Path | None = None, map_root: str | Path | None = None
) -> Dataset:
    """Open a store.

    Args:
        path: the folder (``name.granum``).
        media_root: where the images are now, if they moved.
        map_root: where label maps are now, if they moved.

    Raises:
        StoreError: no store, an unfinished or a damaged one.
        SchemaVersionError: written by a newer granum.
    """
    return open_dataset(path, media_root=media_root, map_root=map_root)
