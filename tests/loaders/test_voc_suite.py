"""The suite of every format, for PASCAL VOC."""

from __future__ import annotations

from typing import ClassVar

from granum.testing import FormatSuite
from granum.testing.suite import Keeps


class TestVoc(FormatSuite):
    name = "voc"
    least = (
        Keeps(["bbox", "category", "difficult", "truncated", "occluded", "attributes", "split"]),
        Keeps(["bbox", "category", "supercategory", "parents", "colour", "skeleton", "space"]),
        Keeps(["category", "present"], kinds=["label"]),
    )


class TestVocFromOne(FormatSuite):
    name = "voc"
    write_options: ClassVar = {"box_origin": "one"}
    read_options: ClassVar = {"box_origin": "one"}
    examples = 10
