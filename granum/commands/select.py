"""``granum select``: samples chosen by a method."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_reading, add_workers

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    p.add_argument("source", metavar="SRC")
    p.add_argument(
        "--method",
        default="k_center",
        metavar="NAME[:KEY=VALUE,…]",
        help="k_center, balance, top_k, threshold, random (default: k_center)",
    )
    p.add_argument("-n", "--budget", type=int, metavar="N", help="how many samples at most")
    p.add_argument("--space", metavar="NAME", help="vectors of the method; scored where absent")
    p.add_argument("--by", metavar="COLUMN", help="what to balance")
    p.add_argument("--where", metavar="EXPR", help="only samples of which this holds")
    p.add_argument("--include", metavar="VIEW", help="samples that are selected already")
    p.add_argument("--save-as", metavar="VIEW", help="keep the selection as a view")
    p.add_argument("-o", "--output", metavar="DST", help="write the selected samples")
    p.add_argument("--overwrite", action="store_true")
    p.add_argument("--layer", metavar="NAME", help="whose annotations count (default: truth)")
    p.add_argument("--seed", type=int, default=0)
    add_reading(p)
    add_workers(p)


def run(a: argparse.Namespace) -> Outcome:
    """Select, and say what was picked and why."""
    from granum.verbs.convert import read
    from granum.verbs.selecting import select

    done = select(
        read(a.source, a.from_, images=a.images),
        a.method,
        a.budget,
        space=a.space,
        by=a.by,
        layer=a.layer,
        where=a.where,
        include=a.include,
        save_as=a.save_as,
        out=a.output,
        overwrite=a.overwrite,
        seed=a.seed,
        workers=a.workers,
        scheduler=a.scheduler,
    )
    facts = done.to_dict()
    lines = [f"{facts['method']}: {facts['selected']} of {facts['samples']} samples"]
    for pick in facts["first"][:10]:
        gain = "" if pick["gain"] is None else f"{pick['gain']:>12.4g}"
        lines.append(f"  {pick['key']}{gain}  {pick['reason']}")
    if facts["selected"] > 10:
        lines.append(f"  … {facts['selected'] - 10} more")
    lines += [f"kept as {w} {facts[w]}" for w in ("view", "out") if facts[w]]
    return facts, "\n".join(lines), 0
