"""The magnetic tiles of the shared data as a dataset: good ones to train on, the rest to test.

Photos and masks are files beside each other with one stem; masks hold grey ramps, so a pixel is a
defect where it is above 127.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from granum.schema import rows
from granum.store.dataset import Dataset

__all__ = ["KINDS", "tiles"]

KINDS = ("good", "blowhole", "break", "crack", "fray", "uneven")
THRESHOLD = 127


def tiles(root: Path, *, train: int = 7, of_each: int | None = None) -> Dataset:
    """Return the tiles below ``root``.

    Args:
        root: The folder that holds MT_Free, MT_Blowhole…
        train: How many good ones are the split train; the others are the split test.
        of_each: How many of each kind are tested, at most (default: all).

    Returns:
        A dataset in memory whose masks are maps of encoding `greater`.
    """
    samples = []
    for kind in KINDS:
        folder = root / f"MT_{'Free' if kind == 'good' else kind.title()}" / "Imgs"
        photos = sorted(folder.glob("*.jpg"))
        first = train if kind == "good" else 0
        last = None if of_each is None else first + of_each
        for i, photo in enumerate(photos[:last]):
            samples.append(_sample(root, photo, kind, "train" if i < first else "test"))
    categories = [rows.Category(kind, space="defect") for kind in KINDS]
    return Dataset.from_rows(samples, categories, media_root=root)


def _sample(root: Path, photo: Path, kind: str, split: str) -> rows.Sample:
    key, mask = (p.relative_to(root).as_posix() for p in (photo, photo.with_suffix(".png")))
    with Image.open(photo) as image:
        width, height = image.size
    category = KINDS.index(kind)
    said = [rows.Annotation("label", category)]
    if kind != "good":
        pixels = rows.LabelMap(path=mask, encoding="greater", threshold=THRESHOLD)
        said.append(rows.Annotation("object", category, map=pixels))
    return rows.Sample(
        key,
        media=rows.Media(key),
        width=width,
        height=height,
        split=split,
        annotations=said,
    )
