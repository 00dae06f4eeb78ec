"""Pictures with some of them planted twice, and stores of them in several parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from granum.schema import rows, tables
from granum.store import builder
from granum.store.builder import StoreBuilder, batch_of_rows
from granum.store.dataset import Dataset, Meta


def picture(seed: int, size: tuple[int, int] = (128, 96)) -> Image.Image:
    """Noise of several scales in three channels, and some sharp shapes: no two are alike."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells in (2, 4, 8, 24):
        coarse = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        total += np.asarray(smooth, float) / cells**0.5
    for _ in range(6):
        x, y = rng.integers(0, [size[0] - 12, size[1] - 12])
        total[y : y + rng.integers(4, 40), x : x + rng.integers(4, 40)] += rng.normal(0, 60, 3)
    low, high = total.min(), total.max()
    return Image.fromarray(((total - low) / (high - low) * 230 + 10).astype(np.uint8))


def _saved(image: Image.Image, path: Path, quality: int = 92) -> None:
    if path.suffix == ".jpg":
        image.save(path, quality=quality)
    else:
        image.save(path)


TWINS: Mapping[str, Callable[[Path, Path], None]] = {
    "copy": lambda source, to: _write(to, source.read_bytes()),
    "pixels": lambda source, to: _saved(Image.open(source), to.with_suffix(".png")),
    "q30": lambda source, to: _saved(Image.open(source).convert("RGB"), to, 30),
    "half": lambda source, to: _saved(
        (i := Image.open(source).convert("RGB")).resize((i.width // 2, i.height // 2)), to
    ),
    "bright": lambda source, to: _saved(
        ImageEnhance.Brightness(Image.open(source).convert("RGB")).enhance(1.15), to
    ),
    "flip": lambda source, to: _saved(ImageOps.mirror(Image.open(source).convert("RGB")), to),
}
"""Ways to make the same image again, by name."""


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def planted(folder: Path, sources: Sequence[Path], kinds: Sequence[str]) -> dict[str, str]:
    """Plant a twin of each source but every other one; twin's name to source's name."""
    found = {}
    for number, source in enumerate(sources[::2]):
        kind = kinds[number % len(kinds)]
        twin = folder / f"twin-{kind}-{source.stem}.jpg"
        TWINS[kind](source, twin)
        name = twin.name if twin.exists() else twin.with_suffix(".png").name
        found[name] = source.name
    return found


def drawn(folder: Path, count: int, start: int = 0) -> list[Path]:
    """Files of ``count`` different pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{start + i:04d}.jpg" for i in range(count)]
    for number, path in enumerate(paths):
        _saved(picture(start + number), path)
    return paths


def blurred(source: Path, to: Path, radius: float) -> None:
    _saved(Image.open(source).convert("RGB").filter(ImageFilter.GaussianBlur(radius)), to)


def store(
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    root: Path,
    samples: Sequence[str | rows.Sample],
    *,
    part: int = 16,
    categories: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> Dataset:
    """A store of images below ``root``, ``part`` samples a part."""
    monkeypatch.setattr(builder, "PART_SAMPLES", part)
    build = StoreBuilder(path)
    for one in samples:
        sample = rows.Sample(one) if isinstance(one, str) else one
        if sample.media is None:
            sample.media = rows.Media(sample.key)
        build.add(batch_of_rows([sample]))
    return build.finish(
        categories=rows.objects_to_table([rows.Category(c) for c in categories], tables.CATEGORIES),
        groups=rows.objects_to_table([rows.Group(g) for g in groups], tables.GROUPS),
        meta=Meta(media_root=str(root)),
    )


def precision_recall(found: set[Any], truth: set[Any]) -> tuple[float, float]:
    right = len(found & truth)
    return right / max(len(found), 1), right / max(len(truth), 1)
