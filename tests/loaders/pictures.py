"""Tiny images and trees of them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image


def png(value: int = 0, size: tuple[int, int] = (8, 6)) -> bytes:
    """A picture whose red channel is ``value`` throughout."""
    out = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(out, "PNG")
    return out.getvalue()


def tree(root: Path, *names: str, **texts: str) -> Path:
    """Images, and text files (``metadata_csv`` is metadata.csv; ``__`` stands for a folder)."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i))
    for name, text in texts.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def files(root: Path) -> list[str]:
    """Files below a folder."""
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
