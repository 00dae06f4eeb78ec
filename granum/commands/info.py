"""``granum info``: what a dataset holds."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_reading, opened

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="SRC")
    add_reading(p)


def run(a: argparse.Namespace) -> Outcome:
    from granum.verbs.look import info, info_text

    facts = info(opened(a))
    return facts, info_text(facts), 0
