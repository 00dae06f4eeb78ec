"""Hugging Face datasets under the suite that every format runs."""

from __future__ import annotations

from granum.schema.losses import KINDS, NAMES
from granum.testing import FormatSuite
from granum.testing.suite import Keeps


class TestHf(FormatSuite):
    name = "hf"
    least = (Keeps(NAMES - {"layers"}, KINDS),)
    examples = 15
