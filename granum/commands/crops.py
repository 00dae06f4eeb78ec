"""``granum crops``: objects as images of their own."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_reading, opened, words

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    p.add_argument("source", metavar="SRC")
    p.add_argument("target", metavar="STORE")
    add_reading(p)
    p.add_argument("--layer", metavar="NAME", help="whose objects (default: truth)")
    p.add_argument("--margin", type=float, default=0.1, metavar="SHARE", help="around the box")
    p.add_argument("--smallest", type=float, default=8.0, metavar="PIXELS")
    p.add_argument("--categories", type=words, metavar="A,B")
    p.add_argument("--overwrite", action="store_true")


def run(a: argparse.Namespace) -> Outcome:
    """Cut out the objects."""
    from granum.verbs.crops import crops

    dataset = opened(a)
    made = crops(
        dataset.layer(a.layer) if a.layer else dataset,
        a.target,
        margin=a.margin,
        smallest=a.smallest,
        categories=a.categories,
        overwrite=a.overwrite,
    )
    return {"target": a.target, "crops": len(made)}, f"{len(made)} crops in {a.target}", 0
