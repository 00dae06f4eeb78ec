"""One training run, slowed down, in a process: ``python -m tests.train.runs STORE OUT '{…}'``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from granum.train.trainer import Run, train
from tests.train.tiny import Linear, stored

PLAN: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 4,
    "size": 8,
    "lr": 1e-2,
    "seed": 7,
    "flip": 0.5,
    "jitter": 0.2,
    "schedule": "cosine",
    "warmup": 2,
    "clip": 1.0,
    "threads": 1,
    "save_every": 2,
    "log_every": 1,
    "log_samples": True,
    "write_back": False,
    "device": "cpu",
}


def run(store: Path, out: Path, **options: Any) -> Run:
    return train(stored(store), Linear(), out=out, **{**PLAN, **options})


def slowly(done: int, total: int, loss: float) -> None:
    """Leaves time to be killed in."""
    time.sleep(0.1)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), progress=slowly, **json.loads(sys.argv[3]))
