"""granum: every grain of annotation in one typed Arrow dataset."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from granum.loaders.base import formats
    from granum.store.dataset import Dataset
    from granum.verbs.convert import convert, read, write
    from granum.verbs.diff import diff
    from granum.verbs.merge import merge
    from granum.verbs.opening import open
    from granum.verbs.validate import validate

__version__ = "0.1.0"

_WHERE = {
    "Dataset": "granum.store.dataset",
    "convert": "granum.verbs.convert",
    "diff": "granum.verbs.diff",
    "formats": "granum.loaders.base",
    "merge": "granum.verbs.merge",
    "open": "granum.verbs.opening",
    "read": "granum.verbs.convert",
    "validate": "granum.verbs.validate",
    "write": "granum.verbs.convert",
}

__all__ = [
    "Dataset",
    "convert",
    "diff",
    "formats",
    "merge",
    "open",
    "read",
    "validate",
    "write",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that ``import granum`` costs nothing."""
    if name not in _WHERE:
        raise AttributeError(f"module 'granum' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
