"""What formats and plug-ins are tested with; shipped, so that plug-ins run what built-ins run.

``datasets`` draws any dataset that the schema allows (hypothesis), ``small_datasets`` has one
per thing that may be lost, ``assert_same`` compares datasets by meaning, and
``FormatSuite`` is the pytest class that a format's tests inherit:

    from granum.testing import FormatSuite

    class TestMine(FormatSuite):
        name = "mine"

``assert_same``, ``differences``, ``small_datasets`` and ``refuse_or_keep`` need no test packages;
the rest needs pytest and hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from granum.testing.keep import refuse_or_keep
    from granum.testing.same import assert_same, differences
    from granum.testing.small import small_datasets
    from granum.testing.strategies import datasets, datasets_of
    from granum.testing.suite import FormatSuite

_WHERE = {
    "FormatSuite": "suite",
    "assert_same": "same",
    "datasets": "strategies",
    "datasets_of": "strategies",
    "differences": "same",
    "refuse_or_keep": "keep",
    "small_datasets": "small",
}

__all__ = [
    "FormatSuite",
    "assert_same",
    "datasets",
    "datasets_of",
    "differences",
    "refuse_or_keep",
    "small_datasets",
]


def __getattr__(name: str) -> Any:
    """Imported when first used: comparing two datasets needs no hypothesis."""
    if name not in _WHERE:
        raise AttributeError(f"module 'granum.testing' has no attribute {name!r}")
    value = getattr(import_module(f"granum.testing.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
