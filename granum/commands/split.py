"""``granum split``: a store split, groups whole and labels in proportion."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_store, add_workers, progress_bar, words
from granum.errors import UsageError

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    add_store(p)
    p.add_argument(
        "fractions", nargs="+", metavar="NAME=SHARE", help="e.g. train=0.8 val=0.1 test=0.1"
    )
    p.add_argument(
        "--by", type=words, default=["group"], metavar="A,B", help="columns that must not be torn"
    )
    p.add_argument("--duplicates", action="store_true", help="near copies must not be torn either")
    p.add_argument("--stratify", default="category", metavar="COLUMN", help="or none")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--into", choices=("views", "column", "none"), default="views")
    p.add_argument("--name", default="", help="prefix of the views, or name of the column")
    add_workers(p)


def run(a: argparse.Namespace) -> Outcome:
    """Split; kept as views, or as a derived column."""
    from granum.verbs.splitting import split

    try:
        fractions = {n: float(v) for n, _, v in (f.partition("=") for f in a.fractions)}
    except ValueError as error:
        raise UsageError(f"fractions are NAME=SHARE, not {' '.join(a.fractions)}") from error
    with progress_bar(not a.no_progress) as progress:
        done = split(
            a.source,
            fractions,
            groups=a.by,
            duplicates=a.duplicates,
            stratify=None if a.stratify == "none" else a.stratify,
            seed=a.seed,
            into=None if a.into == "none" else a.into,
            name=a.name,
            images=a.images,
            layer=a.layer,
            workers=a.workers,
            scheduler=a.scheduler,
            progress=progress,
        )
    return done.to_dict(), done.table(), 0
