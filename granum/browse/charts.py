"""Small charts as SVG text: bars, histograms, curves. Colours come from the page's style."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["bars", "curve", "histogram", "number"]

_WIDTH, _ROW, _PLOT = 640, 22, 180


def number(value: float | int | None) -> str:
    """A number for people: thousands apart, four digits that count, a dash for none."""
    if value is None or value != value:
        return "–"
    if isinstance(value, int | np.integer) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.4g}"


def bars(values: Mapping[str, float], *, most: int = 40) -> str:
    """Horizontal bars, in the order given; what is beyond ``most`` is summed in one line."""
    items = list(values.items())
    rest = items[most:]
    items = items[:most]
    if rest:
        items.append((f"{len(rest)} more", sum(v for _, v in rest)))
    top = max((v for _, v in items), default=0) or 1
    left, room = 170, _WIDTH - 170 - 90
    rows = []
    for i, (name, value) in enumerate(items):
        y = i * _ROW
        long = max(1.0, room * value / top) if value else 0.0
        rows.append(
            f'<text class="end" x="{left - 8}" y="{y + 15}">{_short(name, 26)}</text>'
            f'<rect class="bar" x="{left}" y="{y + 3}" width="{long:.1f}" height="{_ROW - 7}">'
            f"<title>{html.escape(name)}: {number(value)}</title></rect>"
            f'<text x="{left + long + 6:.1f}" y="{y + 15}">{number(value)}</text>'
        )
    return _svg(_WIDTH, len(items) * _ROW, rows)


def histogram(
    values: npt.ArrayLike, *, bins: int = 40, mark: float | None = None, log: bool = False
) -> str:
    """Counts of finite values in equal bins; ``mark`` draws a line (a threshold).

    ``log``: bins are equal in the logarithm (values above 0 only).
    """
    numbers = np.asarray(values, np.float64).reshape(-1)
    numbers = numbers[np.isfinite(numbers)]
    shown = np.log10(numbers[numbers > 0]) if log else numbers
    if not shown.size:
        return "<p>no values</p>"
    counts, edges = np.histogram(shown, bins)
    top, step = counts.max() or 1, _WIDTH / bins
    rows = []
    for i, n in enumerate(counts):
        high = _PLOT * n / top
        low, up = (10**e if log else e for e in edges[i : i + 2])
        rows.append(
            f'<rect class="bar" x="{i * step + 1:.1f}" y="{_PLOT - high:.1f}" '
            f'width="{step - 1:.1f}" height="{high:.1f}">'
            f"<title>{number(low)} to {number(up)}: {n:,}</title></rect>"
        )
    if mark is not None and edges[0] <= (at := np.log10(mark) if log and mark > 0 else mark):
        x = _WIDTH * (at - edges[0]) / (edges[-1] - edges[0] or 1)
        if x <= _WIDTH:
            rows.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_PLOT}"/>')
    first, last = (10**e if log else e for e in (edges[0], edges[-1]))
    return _svg(_WIDTH, _PLOT + 20, [*rows, _ends(number(first), number(last))])


def curve(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, x: str = "", y: str = ""
) -> str:
    """Lines by name, each (xs, ys), on common axes."""
    every = [(np.asarray(a, float), np.asarray(b, float)) for a, b in lines.values()]
    every = [(a, b) for a, b in every if a.size]
    if not every:
        return "<p>no values</p>"
    xs = np.concatenate([a for a, _ in every])
    ys = np.concatenate([b[np.isfinite(b)] for _, b in every])
    if not ys.size:
        return "<p>no values</p>"
    low_x, high_x, low_y, high_y = xs.min(), xs.max(), min(ys.min(), 0.0), ys.max()
    rows = []
    for i, (name, (a, b)) in enumerate(zip(lines, every, strict=False)):
        px = _WIDTH * (a - low_x) / ((high_x - low_x) or 1)
        py = _PLOT - (_PLOT - 8) * (b - low_y) / ((high_y - low_y) or 1)
        points = " ".join(f"{p:.1f},{q:.1f}" for p, q in zip(px, py, strict=True) if np.isfinite(q))
        rows.append(f'<polyline class="line c{i % 4}" points="{points}"/>')
        at = f'x="{_WIDTH}" y="{30 + 15 * i}"'
        rows.append(f'<text class="end c{i % 4}" {at}>{_short(name, 60)}</text>')
    label = f"{html.escape(x)} {number(low_x)}", f"{number(high_x)}"
    rows.append(
        f'<text class="end" x="{_WIDTH}" y="14">{html.escape(y)} up to {number(high_y)}</text>'
    )
    return _svg(_WIDTH, _PLOT + 20, [*rows, _ends(*label)])


def _short(text: str, most: int) -> str:
    return html.escape(text if len(text) <= most else text[: most - 1] + "…")


def _ends(left: str, right: str) -> str:
    return (
        f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{_PLOT}" y2="{_PLOT}"/>'
        f'<text x="0" y="{_PLOT + 15}">{left}</text>'
        f'<text class="end" x="{_WIDTH}" y="{_PLOT + 15}">{right}</text>'
    )


def _svg(width: int, height: int, rows: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {max(height, 1)}" role="img" '
        f'style="max-width:{width}px">{"".join(rows)}</svg>'
    )
