"""``granum report``: a page that shows a dataset."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_reading, opened

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    p.add_argument("source", metavar="SRC", help="a store, or a dataset of any format")
    p.add_argument("output", metavar="HTML", help="the page to write")
    p.add_argument("--layer", metavar="NAME", help="whose annotations (default: truth)")
    p.add_argument("--title", metavar="TEXT", help="default: the name of the store")
    p.add_argument(
        "--eval",
        action="append",
        default=[],
        metavar="JSON",
        help="a result that granum eval -o wrote (may be given again)",
    )
    p.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="DIR",
        help="the folder of a training run (may be given again)",
    )
    p.add_argument("--duplicates", metavar="JSON", help="what granum dedup --json printed")
    p.add_argument("--leakage", metavar="JSON", help="what granum leakage --json printed")
    p.add_argument(
        "--stats", metavar="JSON", help="what granum stats --json printed (default: cheap ones)"
    )
    p.add_argument(
        "--pictures", type=int, default=24, metavar="N", help="in the main gallery; 0: none at all"
    )
    p.add_argument("--seed", type=int, default=0, help="of the pictures that are drawn at random")
    p.add_argument("--overwrite", action="store_true", help="replace HTML")
    add_reading(p)


def run(a: argparse.Namespace) -> Outcome:
    """Write the page, and say what is on it."""
    from granum.verbs.report import report

    facts = report(
        opened(a),
        a.output,
        title=a.title,
        layer=a.layer,
        evaluations=a.eval,
        runs=a.run,
        duplicates=a.duplicates,
        leakage=a.leakage,
        statistics=a.stats,
        pictures=a.pictures,
        seed=a.seed,
        overwrite=a.overwrite,
    )
    text = (
        f"wrote {facts['path']}: {facts['pictures']} pictures, {facts['bytes'] / 1e6:.1f} MB; "
        f"{', '.join(facts['sections'])}"
    )
    if facts["unreadable"]:
        text += f"\n{facts['unreadable']} images could not be read"
    return facts, text, 0
