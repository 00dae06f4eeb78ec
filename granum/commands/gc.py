"""``granum gc``: files of a store that nothing names."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="STORE")
    p.add_argument("--keep", type=int, metavar="N", help="keep only the N newest states")
    p.add_argument("--older-than", type=float, default=3600.0, metavar="SECONDS")
    p.add_argument("--dry-run", action="store_true")


def run(a: argparse.Namespace) -> Outcome:
    from granum.verbs.look import gc

    removed = gc(a.source, keep=a.keep, older_than=a.older_than, dry_run=a.dry_run)
    what = "would remove" if a.dry_run else "removed"
    return {"removed": removed}, "\n".join([*removed, f"{what} {len(removed)} files"]), 0
