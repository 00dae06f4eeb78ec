"""``granum check``: annotations that break rules."""

from __future__ import annotations

import argparse
from collections import Counter

from granum.commands._common import Outcome, add_reading, opened

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    p.add_argument("source", metavar="SRC")
    add_reading(p)
    p.add_argument(
        "--rule",
        action="append",
        metavar="NAME[:KEY=VALUE,…]",
        help="only this one (default: all)",
    )
    p.add_argument("--layer", metavar="NAME", help="whose annotations (default: truth)")
    p.add_argument("--examples", type=int, default=3, metavar="N")
    p.add_argument("--exit-code", action="store_true", help="exit 3 where a rule is broken")


def run(a: argparse.Namespace) -> Outcome:
    """Check, and say what breaks rules."""
    from granum.curate.rules import check

    dataset = opened(a)
    found = check(dataset.layer(a.layer) if a.layer else dataset, a.rule).to_pylist()
    counts = Counter(row["rule"] for row in found)
    lines = []
    for rule, n in counts.most_common():
        lines.append(f"{n:>8} {rule}")
        some = [row for row in found if row["rule"] == rule][: a.examples]
        lines += [f"         {row['key']} annotation {row['annotation_id']}" for row in some]
    code = 3 if a.exit_code and found else 0
    return (
        {"counts": dict(counts), "findings": found},
        "\n".join(lines) or "no rule is broken",
        code,
    )
