"""Where and by what code a run was made."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import granum
from granum.train.base import Hook

if TYPE_CHECKING:
    import torch

__all__ = ["code", "environment"]


def code(hook: Hook) -> dict[str, str]:
    """Versions, and digests of the sources that a run consists of."""
    module = import_module(type(hook).__module__)
    files = sorted(Path(__file__).parent.glob("*.py"))
    told = {"granum": granum.__version__, "train": _digest(files)}
    if getattr(module, "__file__", None):
        told["hook"] = _digest([Path(str(module.__file__))])
    return told


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:32]


def environment(device: torch.device, world: int) -> dict[str, Any]:
    """What the numbers may depend on, beside the code."""
    import torch

    told: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {
            n: _version(n)
            for n in ("torch", "transformers", "numpy", "pyarrow", "pillow", "simplejpeg")
        },
        "device": str(device),
        "world": world,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "command": Path(sys.argv[0]).name,
    }
    if device.type == "cuda":
        told["gpu"] = torch.cuda.get_device_name(device)
    return told


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
