"""Small charts as SVG text: bars, histograms, curves. Colours come from the page's style."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["bars", "curve", "histogram", "number"]

_WIDTH, _ROW = 640, 22
_HIGHEST = 180
_HEAD = 20
"""Above a curve: the names of its lines."""

_WIDEST = 60
_LETTER = 7.2
"""Width of a letter of the page's small type, more or less."""


def number(value: float | int | None) -> str:
    """A number for people: thousands apart, four digits that count, a dash for none."""
    if value is None or value != value:
        return "–"
    if isinstance(value, int | np.integer) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def bars(values: Mapping[str, float], *, most: int = 40, width: int = _WIDTH) -> str:
    """Horizontal bars, in the order given; what is beyond ``most`` is summed in one line.

    ``width``: of the drawing; it is never shown larger, so a narrow one keeps its type readable
    in a narrow column.
    """
    items = list(values.items())
    rest = items[most:]
    items = items[:most]
    if rest:
        items.append((f"{len(rest)} more", sum(v for _, v in rest)))
    top = max((v for _, v in items), default=0) or 1
    longest = max((len(name) for name, _ in items), default=0)
    left = min(14 + _LETTER * longest, 0.36 * width)
    room = width - left - 70
    rows = []
    for i, (name, value) in enumerate(items):
        y = i * _ROW
        long = max(1.0, room * value / top) if value else 0.0
        rows.append(
            f'<text class="end" x="{left - 8:.1f}" y="{y + 15}">'
            f"{_short(name, int((left - 8) / _LETTER))}</text>"
            f'<rect class="bar" x="{left:.1f}" y="{y + 3}" width="{long:.1f}" height="{_ROW - 7}">'
            f"<title>{html.escape(name)}: {number(value)}</title></rect>"
            f'<text x="{left + long + 6:.1f}" y="{y + 15}">{number(value)}</text>'
        )
    return _svg(width, len(items) * _ROW, rows)


def histogram(
    values: npt.ArrayLike,
    *,
    bins: int = 40,
    mark: float | None = None,
    log: bool = False,
    width: int = _WIDTH,
) -> str:
    """Counts of finite values in equal bins; ``mark`` draws a line (a threshold).

    Few different integers have a bin each. ``log``: bins are equal in the logarithm (values above
    0 only). ``width``: as ``bars`` has it.
    """
    numbers = np.asarray(values, np.float64).reshape(-1)
    numbers = numbers[np.isfinite(numbers)]
    shown = np.log10(numbers[numbers > 0]) if log else numbers
    if not shown.size:
        return "<p>no values</p>"
    edges, named = _edges(shown, bins, log)
    counts, _ = np.histogram(shown, edges)
    top, step, plot = counts.max() or 1, width / len(counts), _height(width)
    wide = min(step - 1, _WIDEST)
    rows = []
    for i, n in enumerate(counts):
        high = plot * n / top
        rows.append(
            f'<rect class="bar" x="{(i + 0.5) * step - wide / 2:.1f}" y="{plot - high:.1f}" '
            f'width="{wide:.1f}" height="{high:.1f}">'
            f"<title>{named(i)}: {n:,}</title></rect>"
        )
    if mark is not None and edges[0] <= (at := np.log10(mark) if log and mark > 0 else mark):
        x = width * (at - edges[0]) / (edges[-1] - edges[0])
        if x <= width:
            rows.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{plot}"/>')
    low, high = (10**v if log else v for v in (shown.min(), shown.max()))
    ends = _ends(number(float(low)), number(float(high)), width, plot)
    return _svg(width, plot + 20, [*rows, ends])


def _edges(
    shown: npt.NDArray[np.float64], bins: int, log: bool
) -> tuple[npt.NDArray[np.float64], Callable[[int], str]]:
    """Edges of the bins, and what to call each."""
    low, high = float(shown.min()), float(shown.max())
    whole = not log and max(-low, high) < 2**52 and bool((shown == np.floor(shown)).all())
    if whole and high - low < bins:
        edges = np.arange(low, high + 2) - 0.5
        return edges, lambda i: number(low + i)
    most = max(abs(low), abs(high))
    same = high - low <= 1e-9 * most  # but for rounding
    pad = max(0.5, 1e-6 * most) if same else 0.0
    edges = np.linspace(low - pad, high + pad, bins + 1)
    ends = [number(float(10**e if log else e)) for e in edges]
    return edges, lambda i: f"{ends[i]} to {ends[i + 1]}"


def curve(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str = "",
    y: str = "",
    width: int = _WIDTH,
) -> str:
    """Lines by name, each (xs, ys), on common axes; ``width`` as ``bars`` has it."""
    lines = {name: line for name, line in lines.items() if len(line[0])}
    every = [(np.asarray(a, float), np.asarray(b, float)) for a, b in lines.values()]
    if not every:
        return "<p>no values</p>"
    xs = np.concatenate([a for a, _ in every])
    ys = np.concatenate([b[np.isfinite(b)] for _, b in every])
    if not ys.size:
        return "<p>no values</p>"
    low_x, high_x, low_y, high_y = xs.min(), xs.max(), min(ys.min(), 0.0), ys.max()
    plot = _height(width)
    rows = []
    for i, (a, b) in enumerate(every):
        px = width * (a - low_x) / ((high_x - low_x) or 1)
        py = _HEAD + plot - plot * (b - low_y) / ((high_y - low_y) or 1)
        points = " ".join(f"{p:.1f},{q:.1f}" for p, q in zip(px, py, strict=True) if np.isfinite(q))
        rows.append(f'<polyline class="line c{i % 4}" points="{points}"/>')
    names = "  ".join(
        f'<tspan class="c{i % 4}">{_short(name, 24)}</tspan>' for i, name in enumerate(lines)
    )
    rows.append(f'<text class="end" x="{width}" y="12">{names}</text>')
    top = f"{html.escape(y)} {number(float(high_y))}".strip()
    rows.append(f'<text x="0" y="12">{top}</text>')
    left = f"{html.escape(x)} {number(float(low_x))}".strip()
    ends = _ends(left, number(float(high_x)), width, _HEAD + plot)
    return _svg(width, _HEAD + plot + 20, [*rows, ends])


def _height(width: int) -> int:
    return min(_HIGHEST, round(0.36 * width))


def _short(text: str, most: int) -> str:
    return html.escape(text if len(text) <= most else text[: most - 1] + "…")


def _ends(left: str, right: str, width: int, y: int) -> str:
    """The axis at a height, and what stands at its ends."""
    return (
        f'<line class="axis" x1="0" x2="{width}" y1="{y}" y2="{y}"/>'
        f'<text x="0" y="{y + 15}">{left}</text>'
        f'<text class="end" x="{width}" y="{y + 15}">{right}</text>'
    )


def _svg(width: int, height: int, rows: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {max(height, 1)}" role="img" '
        f'style="max-width:{width}px">{"".join(rows)}</svg>'
    )
