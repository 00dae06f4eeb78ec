"""Train: a hook by name on a dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granum.errors import UsageError
from granum.store.dataset import Dataset
from granum.train.base import Hook, hooks
from granum.verbs.convert import read

if TYPE_CHECKING:
    from granum.train.trainer import Run

__all__ = ["hook_of", "train"]


def hook_of(name: str, parameters: dict[str, Any] | None = None) -> Hook:
    """A hook by name.

    Raises:
        UnknownNameError: there is none of that name.
        UsageError: it has no such parameter.
    """
    kind: Callable[..., Hook] = hooks[name]
    given = parameters or {}
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for wrong in sorted(given.keys() - known):
        raise UsageError(
            f"hook {name} has no parameter {wrong!r}; known: {', '.join(sorted(known)) or 'none'}"
        )
    return kind(**given)


def train(
    source: Dataset | str | Path,
    hook: str | Hook,
    *,
    out: str | Path,
    view: str | None = None,
    hook_options: dict[str, Any] | None = None,
    **options: Any,
) -> Run:
    """Train a hook on a dataset; judge it on validation; write losses and predictions back.

    Args:
        source: a dataset, or the path of one. Without a store (a path of another format), nothing
            can be written back: ``write_back=False``.
        hook: its name, or itself.
        out: folder of the run.
        view: train on this saved view of the store; what is found is written to the store.
        hook_options: parameters of the hook.
        options: those of :func:`granum.train.trainer.train`.

    Raises:
        UnknownNameError: no such hook, view, split or class.
        UsageError: no such option or parameter, overlapping splits, nothing to train on.
        MissingExtraError: torch, or what the hook needs, is not installed.
    """
    from granum.train.trainer import train as trained

    accepted = [
        p.name for p in signature(trained).parameters.values() if p.kind == Parameter.KEYWORD_ONLY
    ]
    for wrong in sorted(options.keys() - set(accepted)):
        raise UsageError(f"train has no option {wrong!r}; known: {', '.join(accepted)}")
    whole = source if isinstance(source, Dataset) else read(source)
    chosen = hook_of(hook, hook_options) if isinstance(hook, str) else hook
    if view is None:
        return trained(whole, chosen, out=out, **options)
    options.setdefault("write_to", whole)
    return trained(whole.view(view), chosen, out=out, **options)
