"""Images in folders under the suite that every format runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from granum.schema.losses import KINDS, NAMES
from granum.testing import FormatSuite, refuse_or_keep
from granum.testing.small import small_datasets
from granum.testing.suite import Keeps


class TestImageFolder(FormatSuite):
    name = "image_folder"
    least = (Keeps(NAMES - {"layers"}, KINDS), Keeps({"category", "split"}, {"label"}))
    examples = 15


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_other_forms_refuse_or_keep(tmp_path: Path, form: str) -> None:
    for dataset in small_datasets().values():
        refuse_or_keep("image_folder", dataset, tmp_path, metadata=form)
