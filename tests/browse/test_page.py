"""The report page: one valid file, nothing fetched, nothing of the data taken for markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from granum.browse import charts, page
from granum.browse.page import Page
from granum.errors import ExistsError

VOID = {"meta", "img", "br"}


class Checked(HTMLParser):
    """Tags must close in order; links and sources are gathered."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [v for k, v in attrs if k in ("src", "href") and v]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def checked(text: str) -> Checked:
    parser = Checked()
    parser.feed(text)
    assert not parser.open
    return parser


def whole() -> Page:
    made = Page("A <b>page</b>", "of & all")
    made.add("Numbers", page.figures([("n", 1234), ("share", None)]))
    made.add("Table", page.table([["<i>", 1.5], ["x", None]], ["name", "v"]))
    made.add(
        "Charts", charts.bars({"<cat>": 2, "dog": 0}), charts.histogram([1, 2, np.nan], bins=4)
    )
    made.add("Curve", charts.curve({"loss": ([0, 1, 2], [1.0, float("nan"), 0.1])}))
    made.add("Pictures", page.gallery([(Image.new("RGB", (900, 300), "red"), 'a "quoted" name')]))
    figure = page.picture(Image.new("RGB", (9, 9)), "one\ntwo")
    made.add(
        "Layout",
        page.heading("h <3"),
        page.beside([("left <", page.text("a")), ("right", "")], small=True),
        page.row("title <", charts.histogram([1, 2], width=300), page.cells([figure], "small")),
        page.cards([("words <", [figure, figure])]),
    )
    made.add("Nothing")
    return made


def test_it_is_valid_and_needs_no_network() -> None:
    parser = checked(whole().html())
    assert {s.partition(":")[0] for s in parser.sources if not s.startswith("#")} == {"data"}
    words = " ".join(parser.words)
    assert "A <b>page</b>" in words and "<cat>" in words and "1,234" in words
    assert "Nothing" not in words


def test_it_is_written_whole_and_not_over_another(tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    whole().write(target)
    first = target.read_text()
    assert first.startswith("<!doctype html>") and first.endswith("</html>")
    with pytest.raises(ExistsError):
        Page("other").write(target)
    assert target.read_text() == first
    Page("other").write(target, overwrite=True)
    assert "other" in target.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def bar_sizes(svg: str, side: str) -> list[float]:
    root = ElementTree.fromstring(svg)
    return [float(r.get(side, "")) for r in root.iter("rect")]


def test_bars_are_as_long_as_their_values() -> None:
    long = bar_sizes(charts.bars({"a": 10, "b": 5, "c": 0}), "width")
    assert long[0] == pytest.approx(2 * long[1], abs=0.2) and long[2] == 0
    many = charts.bars({str(i): 1 for i in range(50)}, most=10)
    assert len(bar_sizes(many, "width")) == 11 and "40 more" in many


def test_a_histogram_counts_every_finite_value() -> None:
    svg = charts.histogram([0, 0, 0, 1, np.inf, np.nan], bins=2, mark=0.5)
    high = bar_sizes(svg, "height")
    assert high[0] == pytest.approx(3 * high[1], abs=0.2)
    root = ElementTree.fromstring(svg)
    [mark] = [line for line in root.iter("line") if line.get("class") == "mark"]
    assert float(mark.get("x1", "")) == pytest.approx(320)
    assert "no values" in charts.histogram([np.nan])
    for one in (1.0, 0.3, -2.5, 1e17):  # the same but for rounding
        svg = charts.histogram([one, one, np.nextafter(one, 0)])
        assert sum(map(int, re.findall(r": (\d+)</title>", svg))) == 3
    assert charts.histogram([1, 10, 100], bins=2, log=True).count("<rect") == 2


def test_few_integers_have_a_bar_each() -> None:
    svg = charts.histogram([3, 3, 3, 5], bins=40, width=300)
    high = bar_sizes(svg, "height")
    assert len(high) == 3 and high[1] == 0 and high[0] == pytest.approx(3 * high[2], abs=0.2)
    assert max(bar_sizes(svg, "width")) <= 60
    assert "<title>3: 3</title>" in svg and "<title>4: 0</title>" in svg
    assert ElementTree.fromstring(svg).get("viewBox", "").split()[2] == "300"


def test_long_cells_are_broken_into_lines() -> None:
    made = page.table([["x" * 60, 1], ["y", None]], ["about", "n"])
    assert made.count("<td class=w>") == 1 and made.count("<td class=n>") == 2


def test_numbers_for_people() -> None:
    shown = [charts.number(v) for v in (1234567, 0.123456, 3.0, None, float("nan"))]
    assert shown == ["1,234,567", "0.1235", "3", "–", "–"]
