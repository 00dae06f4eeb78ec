"""``granum convert``: a dataset to another format, or to a store, or from one."""

from __future__ import annotations

import argparse
import json
from typing import Any

from granum.commands._common import (
    Outcome,
    add_findings,
    add_format_options,
    add_reading,
    code_of,
    given_options,
    progress_bar,
    words,
)
from granum.errors import LossError, UsageError

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    p.add_argument("source", metavar="SRC")
    p.add_argument("target", metavar="DST")
    add_reading(p)
    p.add_argument(
        "--to", "-f", "--output-format", metavar="FORMAT", help="default: granum, for .granum"
    )
    p.add_argument(
        "--on-error", choices=("fail", "skip", "fix"), default="fail", help="faulty records"
    )
    p.add_argument(
        "--allow-loss", type=words, default=[], metavar="A,B", help="what may be lost; all"
    )
    p.add_argument("--report", metavar="FILE", help="write the loss report and findings as JSON")
    p.add_argument("--media", choices=("none", "copy", "link", "hardlink"), default="none")
    p.add_argument(
        "--map", action="append", default=[], metavar="OLD=NEW|FILE", help="rename categories"
    )
    p.add_argument("--categories", type=words, metavar="A,B", help="keep only these")
    p.add_argument("--where", action="append", default=[], metavar="EXPR", help='e.g. "area > 100"')
    p.add_argument("--split", help="keep only this split")
    p.add_argument("--drop-empty", action="store_true", help="drop samples without annotations")
    p.add_argument("--view", metavar="NAME", help="only this saved view of a store, in its order")
    p.add_argument("--layer", help="which layer to write (default: truth)")
    p.add_argument(
        "--check-media", action="store_true", help="check that images exist, decode, fit"
    )
    p.add_argument("--overwrite", action="store_true", help="replace DST")
    p.add_argument("--dry-run", action="store_true", help="write nothing")
    p.add_argument("--no-progress", action="store_true")
    add_findings(p)
    add_format_options(p, ("read", "write"))


def _maps(given: list[str]) -> Any:
    """``old=new`` pairs as a mapping, or one file of them."""
    if not given:
        return None
    pairs = [g.partition("=") for g in given]
    if all(sep for _, sep, _ in pairs):
        return {old: new or None for old, _, new in pairs}
    if len(given) > 1:
        raise UsageError("--map takes OLD=NEW pairs, or one file")
    return given[0]


def run(a: argparse.Namespace) -> Outcome:
    from pathlib import Path

    from granum.verbs.convert import convert

    def report(facts: dict[str, Any]) -> None:
        if a.report:
            Path(a.report).write_text(
                json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8"
            )

    try:
        with progress_bar(not a.no_progress) as progress:
            done = convert(
                a.source,
                a.target,
                from_=a.from_,
                to=a.to,
                images=a.images,
                on_error=a.on_error,
                allow_loss=a.allow_loss,
                media=a.media,
                map=_maps(a.map),
                categories=a.categories,
                where=a.where,
                split=a.split,
                drop_empty=a.drop_empty,
                layer=a.layer,
                view=a.view,
                check_media=a.check_media,
                overwrite=a.overwrite,
                dry_run=a.dry_run,
                options=given_options(a),
                progress=progress,
            )
    except LossError as error:
        report({"refused": error.refused, "losses": error.report.to_dict()})
        raise
    facts = done.to_dict()
    report(facts)
    counts = done.written
    what = ", ".join(f"{counts[k]} {k}" for k in ("samples", "annotations", "categories"))
    lines = [f"{done.source} ({done.format}: {done.why}) -> {done.target} ({done.to})"]
    lines.append(f"{'would write' if a.dry_run else 'wrote'} {what} in {done.seconds:.1f} s")
    if done.read != counts:
        lines.append(
            f"of {done.read['samples']} samples, {done.read['annotations']} annotations read"
        )
    if done.findings.counts:
        lines.append(done.findings.table())
    if done.to != "granum":
        lines.append(done.losses.table())
    if done.mapped:
        moved = ", ".join(f"{k} {v}" for k, v in done.mapped["moved"].items()) or "none"
        lines.append(
            f"map: moved {moved}; dropped {done.mapped['annotations_dropped']} annotations"
        )
    lines += [f"note: {n}" for n in facts["notes"]]
    return facts, "\n".join(lines), code_of(done.findings, a.fail_on, True)
