"""``granum score``: columns of scores, computed once."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_store, add_workers, progress_bar

__all__ = ["flags", "run"]

DEFAULT = ("size", "brightness", "contrast", "sharpness", "information", "grey")


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    add_store(p)
    p.add_argument(
        "scorers",
        nargs="*",
        metavar="SCORER",
        help="name, pattern, or name:key=value (default: " + " ".join(DEFAULT) + ")",
    )
    p.add_argument("--list", action="store_true", help="only say what scorers there are")
    add_workers(p)


def run(a: argparse.Namespace) -> Outcome:
    """Score, and say what the columns hold."""
    from granum.verbs.scoring import describe_scorers, score

    if a.list:
        known = describe_scorers()
        return known, "\n".join(f"{s['name']:<18}{s['of']:<13}{s['about']}" for s in known), 0
    with progress_bar(not a.no_progress) as progress:
        done = score(
            a.source,
            a.scorers or DEFAULT,
            images=a.images,
            layer=a.layer,
            workers=a.workers,
            scheduler=a.scheduler,
            progress=progress,
        )
    return done.to_dict(), done.table(), 0
