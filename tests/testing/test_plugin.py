"""A third party's format is found by its entry point and runs the suite that ours run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from granum.errors import UnknownNameError
from granum.loaders.base import Format, formats
from granum.registry import Registry
from granum.testing.suite import FormatSuite, Keeps
from tests.conftest import load_built_ins

PLUGIN = Path(__file__).resolve().parents[1] / "plugin"


@pytest.fixture
def installed(monkeypatch):
    """The plug-in on ``sys.path``, as an installation would put it."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    importlib.invalidate_caches()
    load_built_ins()
    monkeypatch.setattr(formats, "_plugins", None)
    monkeypatch.setattr(formats, "_things", dict(formats._things))
    yield formats
    sys.modules.pop("granum_dots", None)


class TestDots(FormatSuite):
    name = "dots"
    least = (Keeps({"bbox", "category"}),)

    @pytest.fixture(autouse=True)
    def _installed(self, installed):
        pass


def test_it_is_listed_without_being_imported(installed):
    assert "dots" in list(installed)
    assert "granum_dots" not in sys.modules
    assert installed["dots"].name == "dots"
    assert issubclass(installed["dots"], Format)
    assert "granum_dots" in sys.modules


def test_without_it_the_name_is_unknown():
    with pytest.raises(UnknownNameError, match="unknown format 'dots'"):
        formats["dots"]


def test_a_plugin_cannot_take_a_name_of_ours(installed, monkeypatch):
    monkeypatch.setitem(formats.table, "dots", "granum.loaders.coco")
    with pytest.raises(ValueError, match=r"built-in format \['dots'\]"):
        list(formats)


def test_one_name_once():
    registry = Registry("thing", {}, "granum.no_such_group")
    registry("a")(int)
    with pytest.raises(ValueError, match="registered twice"):
        registry("a")(str)
    assert list(registry) == ["a"]
    assert registry["a"] is int


def test_a_module_that_registers_nothing():
    registry = Registry("thing", {"a": "granum.errors"}, "granum.no_such_group")
    with pytest.raises(ValueError, match=r"granum\.errors does not register the thing 'a'"):
        registry["a"]
