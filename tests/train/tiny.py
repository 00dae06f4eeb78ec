"""Small data and hooks that train in a moment; imported by subprocesses too."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import granum
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.train.base import Facts, Hook

if TYPE_CHECKING:
    import torch

CLASSES = ("dark", "light")


def png(pixels: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(out, "PNG")
    return out.getvalue()


def picture(i: int, label: int, side: int = 8) -> bytes:
    """Noise around a level that tells the label."""
    rng = np.random.default_rng(i)
    level = 60 if label == 0 else 190
    return png(np.clip(rng.normal(level, 40, (side, side, 3)), 0, 255))


def labelled(n: int = 24, *, val: int = 6, unlabelled: int = 0, side: int = 8) -> Dataset:
    """``n`` training, ``val`` validation and some unlabelled images, embedded."""
    samples = []
    for i in range(n + val + unlabelled):
        label = i % 2
        split = "train" if i < n else "val" if i < n + val else "other"
        said = [] if split == "other" else [rows.Annotation("label", label)]
        media = rows.Media(bytes=picture(i, label, side))
        samples.append(
            rows.Sample(f"{i:03d}.png", media, side, side, split=split, annotations=said)
        )
    return Dataset.from_rows(samples, [rows.Category(c) for c in CLASSES])


def stored(path: Path, dataset: Dataset | None = None, **options: Any) -> Dataset:
    """The data of ``labelled`` as a store, opened anew where it exists."""
    if not path.exists():
        (dataset or labelled(**options)).save(path)
    return granum.open(path)


@dataclass(frozen=True)
class Linear(Hook):
    """A linear classifier with dropout, so that random numbers matter."""

    name = "linear"
    task = "classification"
    dropout: float = 0.3
    probabilities: bool = False

    def model(self, facts: Facts) -> torch.nn.Module:
        import torch

        inputs = 3 * facts.size[0] * facts.size[1]
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Dropout(self.dropout),
            torch.nn.Linear(inputs, len(facts.classes)),
        )

    def losses(self, model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
        import torch

        return torch.nn.functional.cross_entropy(
            model(batch["image"]), batch["label"], reduction="none"
        )

    def predict(
        self, model: torch.nn.Module, batch: Mapping[str, Any], facts: Facts
    ) -> list[list[rows.Annotation]]:
        shares = model(batch["image"]).softmax(1).tolist()
        out = []
        for share in shares:
            k = int(np.argmax(share))
            row = rows.Annotation("label", facts.categories[k], score=share[k])
            if self.probabilities:
                named = dict(zip(facts.classes, share, strict=True))
                row.attributes = {"probabilities": named}
            out.append([row])
        return out
