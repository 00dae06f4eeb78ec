"""FiftyOne with a database of its own, under a temporary folder; skipped where it is absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


def started(folder: Path) -> Any:
    """The package, its database running in ``folder``; one database a process."""
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"
    os.environ.setdefault("FIFTYONE_DATABASE_DIR", str(folder))
    os.environ["FIFTYONE_SHOW_PROGRESS_BARS"] = "false"
    package = pytest.importorskip("fiftyone")
    package.list_datasets()
    return package
