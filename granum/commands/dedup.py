"""``granum dedup``: duplicates found, and what is left kept apart."""

from __future__ import annotations

import argparse

from granum.commands._common import (
    Outcome,
    add_sameness,
    add_store,
    add_workers,
    progress_bar,
    sameness,
)

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    add_store(p)
    add_sameness(p)
    p.add_argument("--within-groups", action="store_true", help="frames of one video too")
    p.add_argument("--save-as", metavar="VIEW", help="keep what is left as a view")
    p.add_argument("-o", "--output", metavar="STORE", help="write what is left as a store")
    p.add_argument("--overwrite", action="store_true")
    p.add_argument("--examples", type=int, default=10, metavar="N")
    add_workers(p)


def run(a: argparse.Namespace) -> Outcome:
    """Find duplicates; nothing is removed from the store."""
    from granum.verbs.dedup import dedup

    with progress_bar(not a.no_progress) as progress:
        done = dedup(
            a.source,
            **sameness(a),
            within_groups=a.within_groups,
            view=a.save_as,
            out=a.output,
            overwrite=a.overwrite,
            images=a.images,
            layer=a.layer,
            workers=a.workers,
            scheduler=a.scheduler,
            progress=progress,
        )
    return done.to_dict(), done.table(a.examples), 0
