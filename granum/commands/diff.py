"""``granum diff``: what differs between two datasets."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, words

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("a", metavar="A")
    p.add_argument("b", metavar="B")
    p.add_argument("--layer")
    p.add_argument(
        "--by", choices=("key", "name", "source_id"), default="key", help="what tells samples apart"
    )
    p.add_argument("--tolerance", type=float, default=0.0, metavar="PIXELS")
    p.add_argument("--examples", type=int, default=10, metavar="N")
    p.add_argument("--ignore", type=words, default=[], metavar="A,B", help="columns left aside")
    p.add_argument("--exit-code", action="store_true", help="exit 3 when they differ")


def run(a: argparse.Namespace) -> Outcome:
    from granum.verbs.diff import diff

    found = diff(
        a.a,
        a.b,
        layer=a.layer,
        tolerance=a.tolerance,
        examples=a.examples,
        by=a.by,
        ignore=a.ignore,
    )
    return found.to_dict(), found.table(), 3 if a.exit_code and not found.same else 0
