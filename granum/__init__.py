"""granum: every grain of annotation in one typed Arrow dataset."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from granum.annotate.base import generators
    from granum.curate.base import scorers
    from granum.curate.rules import check
    from granum.curate.selection import replay, selectors
    from granum.loaders.base import formats
    from granum.metrics.base import protocols
    from granum.store.dataset import Dataset
    from granum.train.base import hooks
    from granum.train.dataset import to_torch
    from granum.verbs.browse import browse as launch_app
    from granum.verbs.convert import convert, read, write
    from granum.verbs.crops import crops
    from granum.verbs.dedup import dedup
    from granum.verbs.diff import diff
    from granum.verbs.evaluate import evaluate
    from granum.verbs.hierarchy import hierarchy
    from granum.verbs.merge import merge
    from granum.verbs.opening import open
    from granum.verbs.report import report
    from granum.verbs.scoring import score
    from granum.verbs.selecting import select
    from granum.verbs.splitting import leakage, split
    from granum.verbs.stats import stats
    from granum.verbs.training import train as fit
    from granum.verbs.validate import validate

__version__ = "0.2.0"

_WHERE = {
    "Dataset": "granum.store.dataset",
    "check": "granum.curate.rules",
    "convert": "granum.verbs.convert",
    "crops": "granum.verbs.crops",
    "dedup": "granum.verbs.dedup",
    "diff": "granum.verbs.diff",
    "evaluate": "granum.verbs.evaluate",
    "fit": "granum.verbs.training:train",
    "formats": "granum.loaders.base",
    "generators": "granum.annotate.base",
    "hierarchy": "granum.verbs.hierarchy",
    "hooks": "granum.train.base",
    "launch_app": "granum.verbs.browse:browse",
    "leakage": "granum.verbs.splitting",
    "merge": "granum.verbs.merge",
    "open": "granum.verbs.opening",
    "protocols": "granum.metrics.base",
    "read": "granum.verbs.convert",
    "replay": "granum.curate.selection",
    "report": "granum.verbs.report",
    "score": "granum.verbs.scoring",
    "scorers": "granum.curate.base",
    "select": "granum.verbs.selecting",
    "selectors": "granum.curate.selection",
    "split": "granum.verbs.splitting",
    "stats": "granum.verbs.stats",
    "to_torch": "granum.train.dataset",
    "validate": "granum.verbs.validate",
    "write": "granum.verbs.convert",
}
"""Public names and their modules. ``train`` and ``browse`` are rooms of the package, so the verbs
of these names are ``fit`` and ``launch_app``."""

__all__ = [
    "Dataset",
    "check",
    "convert",
    "crops",
    "dedup",
    "diff",
    "evaluate",
    "fit",
    "formats",
    "generators",
    "hierarchy",
    "hooks",
    "launch_app",
    "leakage",
    "merge",
    "open",
    "protocols",
    "read",
    "replay",
    "report",
    "score",
    "scorers",
    "select",
    "selectors",
    "split",
    "stats",
    "to_torch",
    "validate",
    "write",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that ``import granum`` costs nothing."""
    if name not in _WHERE:
        raise AttributeError(f"module 'granum' has no attribute {name!r}")
    module, _, other = _WHERE[name].partition(":")
    value = getattr(import_module(module), other or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
