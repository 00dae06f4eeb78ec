"""Hooks are named and described without torch, and say what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from granum.errors import MissingExtraError
from granum.train.base import Facts, hooks

FACTS = Facts(["a", "b"], [0, 1], (64, 64))


def test_hooks_are_known_without_torch() -> None:
    code = """
import sys
for name in ("torch", "transformers", "scipy", "torchvision", "timm"):
    sys.modules[name] = None
from granum.train.base import hooks
print(*(f"{name}:{hooks[name].task}:{len(hooks[name]().parameters())}" for name in hooks))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "classifier:classification:5",
        "detector:detection:5",
        "efficient_ad:anomaly:8",
        "rotation:image:3",
        "segmenter:semantic:3",
    ]


@pytest.mark.parametrize(
    "name", ["classifier", "detector", "efficient_ad", "rotation", "segmenter"]
)
def test_without_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "scipy", sys)  # there, whatever it is
    with pytest.raises(MissingExtraError, match=r"needs torch: pip install granum\[train\]"):
        hooks[name]().model(FACTS)


@pytest.mark.parametrize("name", ["detector", "segmenter"])
def test_without_transformers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "scipy", sys)
    with pytest.raises(MissingExtraError, match="needs transformers"):
        hooks[name]().model(FACTS)


@pytest.mark.parametrize("name", ["classifier", "rotation"])
def test_own_networks_need_no_transformers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert sum(p.numel() for p in hooks[name]().model(FACTS).parameters()) > 90_000


def test_detector_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingExtraError, match="needs scipy"):
        hooks["detector"]().model(FACTS)
