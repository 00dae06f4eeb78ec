"""Metrics: pure functions on arrays, and official protocols by name.

``granum.evaluate`` scores two datasets; :class:`Accumulator` is fed a batch at a time; each module
holds the functions of its protocol (``granum.metrics.mot.hota``, ``granum.metrics.anomaly.aupro``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from granum.metrics.accumulate import Accumulator, boxes_dataset
    from granum.metrics.base import Protocol, Recount, Result, protocols
    from granum.metrics.resampling import difference, intervals, slices

__all__ = [
    "Accumulator",
    "Protocol",
    "Recount",
    "Result",
    "boxes_dataset",
    "difference",
    "intervals",
    "protocols",
    "slices",
]

_WHERE = {
    **dict.fromkeys(("Accumulator", "boxes_dataset"), "granum.metrics.accumulate"),
    **dict.fromkeys(("Protocol", "Recount", "Result", "protocols"), "granum.metrics.base"),
    **dict.fromkeys(("difference", "intervals", "slices"), "granum.metrics.resampling"),
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: listing verbs must stay quick."""
    if name not in _WHERE:
        raise AttributeError(f"module 'granum.metrics' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
