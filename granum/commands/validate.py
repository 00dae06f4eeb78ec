"""``granum validate``: every fault of a dataset."""

from __future__ import annotations

import argparse

from granum.commands._common import (
    Outcome,
    add_findings,
    add_format_options,
    add_reading,
    code_of,
    given_options,
)

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="SRC")
    add_reading(p)
    p.add_argument(
        "--check-media", action="store_true", help="check that images exist, decode, fit"
    )
    p.add_argument("--examples", type=int, default=3, metavar="N", help="places shown per finding")
    add_findings(p)
    add_format_options(p, ("read",))


def run(a: argparse.Namespace) -> Outcome:
    from granum.verbs.validate import validate

    found = validate(
        a.source, a.from_, images=a.images, check_media=a.check_media, **given_options(a)
    )
    text = (
        f"{found.path} ({found.format}): {found.samples} samples, {found.annotations} annotations "
        f"read\n{found.findings.table(a.examples)}"
    )
    return found.to_dict(), text, code_of(found.findings, a.fail_on, False)
