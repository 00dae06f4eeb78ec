"""The suite catches what it is there to catch: each mutant of a toy format fails it."""

from __future__ import annotations

import pytest
from toys import ToyBoxes, ToyFull

from granum.testing import FormatSuite
from granum.testing.suite import Keeps


class TestToyFull(FormatSuite):
    name = "toy_full"

    @pytest.fixture(autouse=True)
    def _registered(self, only_toys):
        only_toys(ToyFull)


class TestToyBoxes(FormatSuite):
    name = "toy_boxes"
    least = (Keeps({"bbox", "category"}),)

    @pytest.fixture(autouse=True)
    def _registered(self, only_toys):
        only_toys(ToyBoxes)
