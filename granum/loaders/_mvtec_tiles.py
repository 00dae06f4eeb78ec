"""Reading magnetic tiles: folders of types, in which a photo and its mask have one stem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from granum.loaders._mvtec_pairs import Reading, listed
from granum.loaders._paths import folders_in, split_suffix
from granum.schema import rows
from granum.schema.defects import SPACE

__all__ = ["TILE_THRESHOLD", "read_tiles", "tile_folders"]

TILE_THRESHOLD = 127.0
"""Masks of the tiles are ramps of grey; the middle is taken where nothing else is asked for."""

_PREFIX = "MT_"
_FREE = "Free"


def tile_folders(root: Path, limit: int = 10**6) -> list[str]:
    """Folders ``MT_…`` with ``Imgs`` in them, the good ones first."""
    found = [n for n in folders_in(root, limit) if n.startswith(_PREFIX)]
    found = [n for n in found if (root / n / "Imgs").is_dir()]
    return sorted(found, key=lambda n: (n != _PREFIX + _FREE, n))


def read_tiles(reading: Reading, folders: Sequence[str]) -> Iterator[rows.Sample]:
    """Photos of all folders; a mask is the PNG beside a photo of another suffix."""
    names = [f.removeprefix(_PREFIX) for f in folders]
    for folder, name in zip(folders, names, strict=True):
        good = name == _FREE
        extra = {"folder": folder} if good else None
        category = rows.Category("good" if good else name, SPACE, extra=extra)
        row = reading.intake.add_category(category)
        place = f"{folder}/Imgs"
        by_stem: dict[str, list[str]] = {}
        for file in reading.images(place, listed(reading.root / place)[0]):
            by_stem.setdefault(split_suffix(file)[0], []).append(f"{place}/{file}")
        for files in by_stem.values():
            masks = [f for f in files if f.lower().endswith(".png")]
            photos = [f for f in files if f not in masks]
            if not photos:
                reading.orphans(masks)
            for photo in photos:
                sample = reading.photo(photo, None, None)
                sample.annotations.append(rows.Annotation("label", row))
                if not good:
                    sample.annotations += [reading.mask(m, row) for m in masks]
                    if not masks:
                        reading.missing(photo)
                reading.checked(photo, masks, good=good)
                yield sample
    for name in listed(reading.root)[1]:
        if name not in folders:
            reading.fault("file-not-read", name, f"no folder {_PREFIX}… with Imgs in it")
