"""The shared real data, where it is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def shared(name: str) -> Path:
    """A file or folder of the shared data; the test is skipped where it is absent."""
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"needs the shared data ({name}), which is not beside this checkout")
    return path
