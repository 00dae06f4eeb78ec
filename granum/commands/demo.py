"""``granum demo``: the main job on generated data."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("target", nargs="?", default="demo", metavar="DIR", help="default: demo")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--overwrite", action="store_true")


def run(a: argparse.Namespace) -> Outcome:
    from granum.verbs.demo import demo

    facts = demo(a.target, seed=a.seed, overwrite=a.overwrite)
    return facts, "\n".join(facts["summary"]), 0
