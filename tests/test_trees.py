"""Every tree among the fixtures is recognised as what it is, or the page says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from granum.loaders.base import Intake, formats
from granum.loaders.reading import read_into, sniff
from granum.schema.findings import Findings
from granum.store.builder import MemoryBuilder
from tests.data import shared

PAGE = Path(__file__).parents[1] / "docs" / "formats" / "trees.md"
ROW = re.compile(r"\| (\S+) \| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (.*?) ?\|")


def listed() -> list[tuple[str, ...]]:
    return [m.groups() for m in map(ROW.fullmatch, PAGE.read_text().splitlines()) if m]


@pytest.mark.parametrize("row", listed(), ids=lambda row: row[0])
def test_a_tree_is_read_as_the_page_says(row: tuple[str, ...]) -> None:
    name, format_name, *numbers, told = row
    root = shared(f"format_fixtures/{name}")
    assert list(sniff(root)) == [format_name]
    findings = Findings("skip")
    found = read_into(MemoryBuilder(), formats[format_name](), root, Intake(findings), options={})
    counts = (len(found), found.groups.num_rows, found.num_annotations, found.categories.num_rows)
    assert counts == tuple(map(int, numbers))
    assert {f"{n} {code}" for code, n in findings.counts.items() if n} == {
        *filter(None, told.split(", "))
    }


def test_every_tree_is_on_the_page() -> None:
    root = shared("format_fixtures")
    text = PAGE.read_text()
    for folder in root.iterdir():
        if folder.is_dir():
            assert re.search(rf"\b{folder.name}\b", text), f"{folder.name} is not on the page"
