"""What all tests share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

# The tests run in two processes: threads of BLAS and torch beside them only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from granum.loaders.base import Format, formats

with contextlib.suppress(ImportError):  # FiftyOne's environment does without
    from hypothesis.internal.conjecture import providers

    # Hypothesis mixes constants of all modules loaded so far into what it draws: which tests ran
    # before in this process would decide what the derandomised ones see.
    _FEW = providers._local_constants
    providers._get_local_constants = lambda: _FEW

Register = Callable[[type[Format]], type[Format]]


@pytest.fixture
def registered() -> Iterator[Register]:
    """Registers formats for one test: ``registered(Mine)``."""
    names: list[str] = []

    def register(format_: type[Format]) -> type[Format]:
        formats(format_.name)(format_)
        names.append(format_.name)
        return format_

    yield register
    for name in names:
        formats._things.pop(name, None)


def load_built_ins() -> None:
    """Import all built-in formats. One that is first imported while a test has put something else
    in the place of ``formats._things`` would be lost when that is put back."""
    for name in formats.table:
        assert formats[name].name == name


@pytest.fixture
def only_toys(registered: Register, monkeypatch: pytest.MonkeyPatch) -> Register:
    """As ``registered``, with no built-in format known: the suite is what is tested."""
    load_built_ins()
    monkeypatch.setattr(formats, "table", {})
    monkeypatch.setattr(formats, "_things", {})
    return registered
