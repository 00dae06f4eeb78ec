"""``granum info``: what a dataset holds."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_reading, opened

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="SRC")
    add_reading(p)
    p.add_argument(
        "--expect",
        metavar="NAME",
        help="compare with the published counts of a dataset (open_images_v6, multisports…); "
        "exit 3 where they differ",
    )


def run(a: argparse.Namespace) -> Outcome:
    from granum.verbs.expecting import expected_text
    from granum.verbs.look import info, info_text

    facts = info(opened(a), expect=a.expect)
    text = info_text(facts)
    differs = False
    if a.expect is not None:
        text += "\n" + expected_text(a.expect, facts["expected"])
        differs = any(c["ok"] is False for c in facts["expected"])
    return facts, text, 3 if differs else 0
