"""A report page: one HTML file that holds its pictures, needs no script and no network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from granum.browse.charts import number
from granum.store.out import atomic_output

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Page",
    "Size",
    "beside",
    "cards",
    "cells",
    "figures",
    "gallery",
    "heading",
    "picture",
    "row",
    "table",
    "text",
]

Size = Literal["", "wide", "medium", "small"]

_STYLE = """
:root{--ink:#1d2328;--soft:#66707a;--line:#dde2e6;--ground:#fff;--card:#f5f7f8;--c0:#2f6f8f;
--c1:#c2562d;--c2:#5b8c3a;--c3:#8a5aa8;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaed;--soft:#98a2ab;--line:#343b41;
--ground:#15191c;--card:#1e2428;--c0:#6bb3d6;--c1:#f08a5d;--c2:#98c873;--c3:#c39ae0}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:1080px;background:var(--ground);
color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;margin:0}h2{margin:2.5rem 0 .6rem;font-size:1.2rem;
border-bottom:1px solid var(--line);padding-bottom:.25rem}h3{font-size:1rem;margin:1.3rem 0 .4rem}
p{margin:.4rem 0;max-width:70ch}.soft,figcaption,th{color:var(--soft)}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:1rem 0}a{color:var(--c0)}
.figures{display:flex;flex-wrap:wrap;gap:.6rem;margin:.8rem 0}
.figures div{background:var(--card);border-radius:6px;padding:.5rem .9rem;min-width:7rem}
.figures b{display:block;font-size:1.25rem;font-weight:600}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
td,th{padding:.22rem .8rem .22rem 0;text-align:left;border-bottom:1px solid var(--line);
vertical-align:top;white-space:nowrap}td.w{white-space:normal;min-width:16rem;max-width:34rem;
overflow-wrap:anywhere}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.gallery{columns:300px;column-gap:.8rem;margin:.6rem 0}
.gallery figure{break-inside:avoid;margin-bottom:.8rem}.gallery.wide,.gallery.medium,.gallery.small{
display:grid;gap:.8rem}.gallery.wide figure,.gallery.medium figure,.gallery.small figure{margin:0}
.gallery.wide{grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr))}
.gallery.medium{grid-template-columns:repeat(auto-fill,minmax(min(46%,190px),1fr))}
.gallery.small{grid-template-columns:repeat(auto-fill,minmax(min(46%,130px),1fr));gap:.6rem}
.beside{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));
gap:.4rem 2.5rem}.beside.small{grid-template-columns:repeat(auto-fill,minmax(250px,1fr))}
.beside h3,.row h3{margin-bottom:.1rem}
.row{display:flex;flex-wrap:wrap;gap:.3rem 1.5rem;align-items:start}
.row>:first-child{flex:1 1 250px}.row .gallery.small{margin:0;
grid-template-columns:repeat(auto-fill,minmax(min(30%,105px),1fr))}
.row>:last-child{flex:3 1 min(100%,560px);margin-top:1.3rem}
.cards{display:flex;flex-wrap:wrap;gap:.7rem;margin:.5rem 0}.cards>div{background:var(--card);
border-radius:6px;padding:.5rem .6rem;max-width:100%}.cards>div>div{display:flex;flex-wrap:wrap;
gap:.5rem}.cards p{margin:0 0 .3rem;font-size:.85rem}.cards figure{width:150px}
figure{margin:0}figure img{width:100%;border-radius:4px;display:block;background:var(--card)}
figcaption{font-size:.8rem;overflow-wrap:anywhere;margin-top:.15rem;white-space:pre-line;
line-height:1.35}.gallery.small figcaption,.cards figcaption{font-size:.7rem}
svg{display:block;width:100%;margin:.5rem 0;overflow:visible}svg text{fill:var(--ink);
font:12px system-ui,sans-serif}svg .end{text-anchor:end}.bar{fill:var(--c0)}
.axis{stroke:var(--line)}.mark{stroke:var(--c1);stroke-width:2}
.line{fill:none;stroke:var(--c0);stroke-width:2}.line.c1{stroke:var(--c1)}
.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}svg .c0{color:var(--c0)}
svg .c1{color:var(--c1)}svg .c2{color:var(--c2)}svg .c3{color:var(--c3)}
svg tspan{fill:currentColor}
"""


def text(words: str, *, soft: bool = False) -> str:
    """A paragraph."""
    kind = ' class="soft"' if soft else ""
    return f"<p{kind}>{html.escape(words)}</p>"


def heading(words: str) -> str:
    """A title within a section."""
    return f"<h3>{html.escape(words)}</h3>"


def beside(blocks: Iterable[tuple[str, str]], *, small: bool = False) -> str:
    """Blocks with a title each, side by side where there is room; more of them where ``small``."""
    inner = "".join(f"<div>{heading(title)}{block}</div>" for title, block in blocks)
    return f'<div class="beside{" small" if small else ""}">{inner}</div>'


def row(title: str, block: str, wide: str) -> str:
    """A block with a title, and a wider one at its right, below it where there is no room."""
    return f'<div class="row"><div>{heading(title)}{block}</div><div>{wide}</div></div>'


def figures(values: Iterable[tuple[str, Any]]) -> str:
    """Numbers with a word each, in a row."""
    cells = (
        f"<div><b>{_value(value)}</b><span class='soft'>{html.escape(name)}</span></div>"
        for name, value in values
    )
    return f'<div class="figures">{"".join(cells)}</div>'


def table(rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> str:
    """A table; columns whose values are all numbers are set to the right."""
    numeric = [
        all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        and any(row[i] is not None for row in rows)
        for i in range(len(columns))
    ]

    def cells(values: Sequence[Any], tag: str) -> str:
        return "".join(
            f"<{tag}{_kind(value, right)}>{_value(value)}</{tag}>"
            for value, right in zip(values, numeric, strict=True)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{cells(columns, "th")}</tr>{body}</table></div>'


_LONG = 48
"""A cell of more letters is broken into lines."""


def _kind(value: Any, right: bool) -> str:
    if right:
        return " class=n"
    return " class=w" if isinstance(value, str) and len(value) > _LONG else ""


def _value(value: Any) -> str:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return number(value)
    return html.escape(str(value))


def picture(image: Image, caption: str = "", *, most: int = 720, quality: int = 88) -> str:
    """An image, embedded as JPEG; reduced to ``most`` pixels a side."""
    small = image.convert("RGB")
    small.thumbnail((most, most))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality)
    data = base64.b64encode(buffer.getvalue()).decode()
    words = html.escape(caption)
    return (
        f'<figure><img loading="lazy" alt="{words}" width="{small.width}" '
        f'height="{small.height}" style="height:auto" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def gallery(items: Iterable[tuple[Image, str]], *, most: int = 480) -> str:
    """Pictures with captions, as a grid."""
    return cells(picture(image, caption, most=most) for image, caption in items)


def cells(figures_: Iterable[str], size: Size = "") -> str:
    """Pictures made by ``picture``, as a grid of cells that are usual, wide, medium or small."""
    kind = f"gallery {size}".strip()
    return f'<div class="{kind}">{"".join(figures_)}</div>'


def cards(groups: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Pictures that belong together, made by ``picture``, in a frame each with a line of text."""
    inner = "".join(
        f"<div><p>{html.escape(words)}</p><div>{''.join(figures_)}</div></div>"
        for words, figures_ in groups
    )
    return f'<div class="cards">{inner}</div>'


@dataclass
class Page:
    """Sections, each of a title and blocks of HTML made by this module and ``charts``."""

    title: str
    subtitle: str = ""
    sections: list[tuple[str, list[str]]] = field(default_factory=list)

    def add(self, title: str, *blocks: str) -> None:
        """A section; none where there are no blocks."""
        if blocks:
            self.sections.append((title, list(blocks)))

    def html(self) -> str:
        """The page."""
        links = "".join(
            f'<a href="#s{i}">{html.escape(t)}</a>' for i, (t, _) in enumerate(self.sections)
        )
        body = "".join(
            f'<section id="s{i}"><h2>{html.escape(title)}</h2>{"".join(blocks)}</section>'
            for i, (title, blocks) in enumerate(self.sections)
        )
        name = html.escape(self.title)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{name}</title><style>{_STYLE}</style></head><body><h1>{name}</h1>"
            f"{text(self.subtitle, soft=True) if self.subtitle else ''}<nav>{links}</nav>"
            f"{body}</body></html>"
        )

    def write(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page at once, or not at all.

        Raises:
            ExistsError: the file is there and ``overwrite`` is not given.
        """
        with atomic_output(path, overwrite=overwrite, single=True) as out:
            out.text(str(out.single), self.html())
        return Path(path)
