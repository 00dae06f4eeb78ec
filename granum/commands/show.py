"""``granum show``: a sample drawn with its annotations."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_reading, opened

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="SRC")
    p.add_argument(
        "key", nargs="?", metavar="SAMPLE", help="key, file name or row (default: the first)"
    )
    p.add_argument("-o", "--output", required=True, metavar="PNG")
    add_reading(p)
    p.add_argument("--layer")
    p.add_argument("--max-size", type=int, metavar="PIXELS")
    p.add_argument("--overwrite", action="store_true")


def run(a: argparse.Namespace) -> Outcome:
    from granum.verbs.look import show

    dataset = opened(a)
    if a.layer:
        dataset = dataset.layer(a.layer)
    picture = show(dataset, a.key, a.output, overwrite=a.overwrite, max_size=a.max_size)
    facts = {"output": a.output, "width": picture.width, "height": picture.height}
    return facts, f"wrote {a.output} ({picture.width} x {picture.height})", 0
