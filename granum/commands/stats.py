"""``granum stats``: what a dataset holds, how varied it is, how it differs from another."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_reading, add_workers, words

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    p.add_argument("source", metavar="SRC")
    add_reading(p)
    p.add_argument("--layer", metavar="NAME", help="whose annotations (default: truth)")
    p.add_argument("--space", metavar="NAME", help="Vendi scores in this space: descriptors…")
    p.add_argument("--by", metavar="COLUMN", help="Vendi scores per value of it, or per category")
    p.add_argument(
        "--grade", type=words, metavar="A,B", help="attributes of GRADE (none: leave it out)"
    )
    p.add_argument("--n-ref", type=int, metavar="N", help="Vendi scores of random N too")
    p.add_argument("--compare", metavar="OTHER", help="a dataset to compare with")
    p.add_argument("--rows", type=int, default=20, metavar="N", help="shown of each table")
    add_workers(p)


def run(a: argparse.Namespace) -> Outcome:
    """Count, score, compare."""
    from granum.curate.grade import ATTRIBUTES
    from granum.verbs.convert import read
    from granum.verbs.stats import stats

    done = stats(
        read(a.source, a.from_, images=a.images, on_error="skip"),
        layer=a.layer,
        space=a.space,
        by=a.by,
        grade_attributes=None if a.grade == ["none"] else a.grade or ATTRIBUTES,
        n_ref=a.n_ref,
        compare=a.compare,
        workers=a.workers,
        scheduler=a.scheduler,
    )
    return done.to_dict(), done.markdown(a.rows), 0
