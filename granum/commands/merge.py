"""``granum merge``: datasets united."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, words
from granum.errors import UsageError

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("paths", nargs="+", metavar="SRC… DST")
    p.add_argument("--map", metavar="FILE", help="categories: old names to new ones (YAML or JSON)")
    p.add_argument(
        "--on-key", choices=("fail", "rename", "first", "join"), default="fail", help="equal keys"
    )
    p.add_argument("--ids", choices=("keep", "renumber"), default="keep", help="equal source ids")
    p.add_argument("--conflict", choices=("fail", "first"), default="fail", help="unequal facts")
    p.add_argument(
        "--sources",
        choices=("keep", "forget"),
        default="keep",
        help="keep the source files apart when written back, or forget them",
    )
    p.add_argument("--prefix", type=words, metavar="A,B", help="of keys, one per source")
    p.add_argument("--overwrite", action="store_true")
    p.add_argument("--dry-run", action="store_true", help="only say what would happen")


def run(a: argparse.Namespace) -> Outcome:
    from granum.verbs.merge import merge

    if len(a.paths) < 2:
        raise UsageError("merge takes sources and, last, the store to write")
    *sources, target = a.paths
    _, report = merge(
        sources,
        map=a.map,
        on_key=a.on_key,
        conflict=a.conflict,
        ids=a.ids,
        sources=a.sources,
        prefix=a.prefix,
        out=None if a.dry_run else target,
        overwrite=a.overwrite,
        dry_run=a.dry_run,
    )
    return report.to_dict(), report.table(), 1 if report.refused else 0
