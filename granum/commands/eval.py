"""``granum eval``: predictions judged by an official protocol."""

from __future__ import annotations

import argparse

from granum.commands._common import (
    Outcome,
    add_findings,
    add_settings,
    add_workers,
    code_of,
    settings,
)

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    from granum.loaders.results.base import results as forms
    from granum.metrics.base import protocols

    p.add_argument("source", metavar="TRUTH", help="a store, or a dataset of any format")
    p.add_argument(
        "predictions", nargs="?", metavar="PREDICTIONS", help="default: a layer of TRUTH"
    )
    p.add_argument(
        "--protocol", required=True, metavar="NAME", help=f"one of {', '.join(protocols)}"
    )
    p.add_argument("--layer", metavar="NAME", help="the layer of predictions")
    p.add_argument("--truth", default="truth", metavar="NAME", help="the true layer")
    p.add_argument(
        "--results",
        metavar="FORM",
        help=f"the form of files of results: one of {', '.join(forms)} (default: told from them)",
    )
    p.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="the numbers of each value of a column: split, attr.NAME, col.NAME, group… "
        "(may be given again)",
    )
    p.add_argument(
        "--bootstrap",
        type=int,
        default=0,
        metavar="N",
        help="draw the samples N times, for an interval of each number",
    )
    p.add_argument(
        "--level",
        type=float,
        default=0.95,
        metavar="P",
        help="share of draws in an interval (default: 0.95)",
    )
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws (default: 0)")
    p.add_argument(
        "--against",
        metavar="OTHER",
        help="other predictions (a layer, a dataset, results) to compare on the same samples",
    )
    p.add_argument("--images", metavar="DIR", help="the folder of the images")
    p.add_argument(
        "--on-error",
        choices=("fail", "skip", "fix"),
        default="fail",
        help="faulty records of TRUTH (those of PREDICTIONS are left out)",
    )
    p.add_argument("--join", action="store_true", help="add the numbers per sample as columns")
    p.add_argument("--prefix", metavar="NAME", help="of those columns (default: eval.PROTOCOL)")
    p.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the result (.json, .md, .html; .csv: the numbers per sample)",
    )
    add_settings(p, "protocol")
    add_workers(p)
    add_findings(p)


def run(a: argparse.Namespace) -> Outcome:
    """Evaluate, and say the numbers."""
    from granum.verbs._result_files import check_output, write_result
    from granum.verbs.evaluate import evaluate

    if a.output:
        check_output(a.output)
    result = evaluate(
        a.source,
        a.predictions,
        protocol=a.protocol,
        layer=a.layer,
        truth_layer=a.truth,
        parameters=settings(a.set),
        results=a.results,
        images=a.images,
        on_error=a.on_error,
        by=a.by,
        draws=a.bootstrap,
        level=a.level,
        seed=a.seed,
        against=a.against,
        join=a.join,
        prefix=a.prefix,
        workers=a.workers,
        scheduler=a.scheduler,
    )
    lines = [result.markdown()]
    if a.output and a.output.endswith(".csv") and not result.facts["predictions"]:
        lines.append(f"{a.output} was not written: no prediction was compared")
    elif a.output:
        write_result(result, a.output)
    if result.findings.counts:
        lines.append(result.findings.table())
    told = result.to_dict() if a.json else {}
    return told, "\n".join(lines), code_of(result.findings, a.fail_on, False)
