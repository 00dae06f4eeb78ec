"""``granum leakage``: what stands in several splits, or in two stores."""

from __future__ import annotations

import argparse

from granum.commands._common import (
    Outcome,
    add_sameness,
    add_store,
    add_workers,
    progress_bar,
    sameness,
    words,
)

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    add_store(p)
    p.add_argument("other", nargs="?", metavar="OTHER", help="compare with this store instead")
    p.add_argument("--split", default="split", metavar="COLUMN", help="the column of splits")
    p.add_argument(
        "--by", type=words, default=["group"], metavar="A,B", help="columns that must not cross"
    )
    add_sameness(p)
    p.add_argument("--save-as", metavar="VIEW", help="keep the samples that do not leak as a view")
    p.add_argument("--protect", type=words, metavar="A,B", help="splits that keep their samples")
    p.add_argument("--exit-code", action="store_true", help="exit 3 where something leaks")
    p.add_argument("--examples", type=int, default=10, metavar="N")
    add_workers(p)


def run(a: argparse.Namespace) -> Outcome:
    """Find leaks."""
    from granum.verbs.splitting import leakage

    with progress_bar(not a.no_progress) as progress:
        found = leakage(
            a.source,
            a.split,
            a.other,
            by=a.by,
            **sameness(a),
            view=a.save_as,
            protect=a.protect,
            images=a.images,
            layer=a.layer,
            workers=a.workers,
            scheduler=a.scheduler,
            progress=progress,
        )
    leaks = found.pairs.num_rows
    return found.to_dict(), found.table(a.examples), 3 if a.exit_code and leaks else 0
