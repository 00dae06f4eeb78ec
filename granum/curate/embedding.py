"""Vectors from a network: a backbone on this machine, or any callable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.curate.base import Column, Space, scorers
from granum.curate.pictures import Picture
from granum.errors import FormatError, MissingExtraError, UsageError

__all__ = ["Called", "Embedding", "weights_fingerprint"]

Floats = npt.NDArray[np.float32]
Images = Sequence[npt.NDArray[np.uint8]]

_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def _vectors_of(column: str, dimension: int) -> dict[str, Column]:
    about = "a vector per image, of a network"
    return {column: Column(about, type=pa.list_(pa.float32(), dimension))}


@scorers("embedding")
@dataclass(frozen=True)
class Embedding(Space):
    """Vectors of a ``transformers`` backbone that lies on this machine; nothing is downloaded.

    The column's identity holds the path and a digest of the weights, so that another model, or
    the same one trained further, is another column.

    Attributes:
        path: folder with ``config.json`` and weights (safetensors, or a state dict).
        pooling: ``pooled`` (the model's own pooled output), ``cls`` (first token), ``mean`` (of
            tokens or places), or ``auto``: pooled where the model gives it, else the mean.
        column: its name; give each model its own.
    """

    path: str
    pooling: Literal["auto", "pooled", "cls", "mean"] = "auto"
    column: str = "embedding"

    name = "embedding"

    def __post_init__(self) -> None:
        known = ("auto", "pooled", "cls", "mean")
        if self.pooling not in known:
            raise UsageError(f"pooling is {self.pooling!r}; it must be one of {', '.join(known)}")
        if not (Path(self.path) / "config.json").is_file():
            raise FormatError(self.path, "no backbone: a folder with config.json and weights")

    def parameters(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "weights": weights_fingerprint(self.path),
            "pooling": self.pooling,
        }

    @property
    def dimension(self) -> int:
        return _dimension(self.path, self.pooling)

    def given(self) -> Mapping[str, Column]:
        return _vectors_of(self.column, self.dimension)

    def embed(self, pictures: Sequence[Picture]) -> Floats:
        return _backbone(self.path)([p.rgb for p in pictures], self.pooling)


@dataclass(frozen=True)
class Called(Space):
    """Vectors of any callable.

    Attributes:
        function: RGB images (each uint8, height x width x 3) to vectors, shape (images,
            dimension). A function of a module, where processes share the work.
        size: dimension of the vectors.
        column: name of the column.
        label: name and version of the function; the identity of the column. Change it when its
            results change.
    """

    function: Callable[[Images], npt.ArrayLike] = field(compare=False)
    size: int
    column: str
    label: str

    name = "called"

    def parameters(self) -> dict[str, Any]:
        return {"function": self.label, "dimension": self.size}

    @property
    def dimension(self) -> int:
        return self.size

    def given(self) -> Mapping[str, Column]:
        return _vectors_of(self.column, self.size)

    def embed(self, pictures: Sequence[Picture]) -> Floats:
        found = np.asarray(self.function([p.rgb for p in pictures]), np.float32)
        if found.shape != (len(pictures), self.size):
            raise UsageError(
                f"{self.label} gave shape {found.shape} for {len(pictures)} images; "
                f"({len(pictures)}, {self.size}) was promised"
            )
        return found


def weights_fingerprint(path: str | Path) -> str:
    """Digest of the configuration and the weights in a folder.

    Raises:
        FormatError: no weights are there.
    """
    folder = Path(path)
    files = sorted(f for pattern in _WEIGHTS for f in folder.glob(pattern))
    if not files:
        raise FormatError(folder, f"no weights: none of {', '.join(_WEIGHTS)}")
    files += [f for n in ("config.json", "preprocessor_config.json") if (f := folder / n).exists()]
    stamps = tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    return _digest(stamps)


@lru_cache(maxsize=32)
def _digest(stamps: tuple[tuple[str, int, int], ...]) -> str:
    whole = hashlib.sha256()
    for name, size, _ in stamps:
        whole.update(f"{Path(name).name}:{size}\n".encode())
        with Path(name).open("rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
    return whole.hexdigest()[:32]


@lru_cache(maxsize=8)
def _dimension(path: str, pooling: str) -> int:
    grey = np.full((32, 32, 3), 128, np.uint8)
    return int(_backbone(path)([grey], pooling).shape[1])


@lru_cache(maxsize=2)
def _backbone(path: str) -> _Backbone:
    return _Backbone(path)


class _Backbone:
    """A model of ``transformers`` in evaluation mode, and its own preprocessing."""

    def __init__(self, path: str) -> None:
        try:
            import torch
            from transformers import AutoModel
        except ImportError as error:
            raise MissingExtraError(
                "an embedding by a backbone", "train", "transformers"
            ) from error
        self.torch: Any = torch
        made: Any = AutoModel
        self.model = made.from_pretrained(path, local_files_only=True).eval()
        self.prepare = _preparation(path, self.model.config)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.to(self.device)

    def __call__(self, images: Images, pooling: str) -> Floats:
        pixels = self.torch.from_numpy(self.prepare(images)).to(self.device)
        with self.torch.inference_mode():
            given = self.model(pixel_values=pixels)
            return np.asarray(_pooled(given, pooling).float().cpu(), np.float32)


def _pooled(given: Any, pooling: str) -> Any:
    pooled, hidden = getattr(given, "pooler_output", None), given.last_hidden_state
    if pooling == "pooled" and pooled is None:
        raise UsageError("the model has no pooled output; pooling: cls or mean")
    if pooling == "cls":
        if hidden.ndim != 3:
            raise UsageError("the model has no tokens; pooling: pooled or mean")
        return hidden[:, 0]
    if pooling in ("auto", "pooled") and pooled is not None:
        return pooled.flatten(1)
    return hidden.mean(dim=(2, 3)) if hidden.ndim == 4 else hidden.mean(dim=1)


def _preparation(path: str, config: Any) -> Callable[[Images], Floats]:
    """The checkpoint's image processor; without one, a square of the model's size and the means
    of ImageNet."""
    if (Path(path) / "preprocessor_config.json").is_file():
        from transformers import AutoImageProcessor

        made: Any = AutoImageProcessor
        processor = made.from_pretrained(path, local_files_only=True)

        def prepared(images: Images) -> Floats:
            given = processor(images=[np.asarray(i) for i in images], return_tensors="np")
            return np.asarray(given["pixel_values"], np.float32)

        return prepared
    size = getattr(config, "image_size", None) or 224
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return lambda images: _square(images, int(width), int(height))


def _square(images: Images, width: int, height: int) -> Floats:
    from PIL import Image

    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    resized = [
        np.asarray(Image.fromarray(i).resize((width, height), Image.Resampling.BICUBIC))
        for i in images
    ]
    values = (np.stack(resized).astype(np.float32) / 255 - mean) / deviation
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
