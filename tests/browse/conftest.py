"""FiftyOne with a database of its own, started once; skipped where the package is absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def fiftyone_package(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The package, its database running in a temporary folder."""
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"
    os.environ["FIFTYONE_SHOW_PROGRESS_BARS"] = "false"
    os.environ.setdefault("FIFTYONE_DATABASE_DIR", str(tmp_path_factory.mktemp("fiftyone")))
    package = pytest.importorskip("fiftyone")
    package.list_datasets()
    return package


@pytest.fixture
def fo(fiftyone_package: Any) -> Iterator[Any]:
    """The package; datasets that the test made are deleted after it."""
    before = set(fiftyone_package.list_datasets())
    yield fiftyone_package
    for name in set(fiftyone_package.list_datasets()) - before:
        fiftyone_package.delete_dataset(name)
