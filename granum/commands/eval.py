"""``granum eval``: predictions judged by an official protocol."""

from __future__ import annotations

import argparse
from pathlib import Path

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
    p.add_argument("source", metavar="TRUTH", help="a store, or a dataset of any format")
    p.add_argument(
        "predictions", nargs="?", metavar="PREDICTIONS", help="default: a layer of TRUTH"
    )
    p.add_argument(
        "--protocol", required=True, metavar="NAME", help="coco-bbox, panoptic-quality, anomaly…"
    )
    p.add_argument("--layer", metavar="NAME", help="the layer of predictions")
    p.add_argument("--truth", default="truth", metavar="NAME", help="the true layer")
    p.add_argument("--images", metavar="DIR", help="the folder of the images")
    p.add_argument("--join", action="store_true", help="add the numbers per sample as columns")
    p.add_argument("-o", "--output", metavar="FILE", help="write the result (.json or .md)")
    add_settings(p, "protocol")
    add_workers(p)
    add_findings(p)


def run(a: argparse.Namespace) -> Outcome:
    """Evaluate, and say the numbers."""
    from granum.verbs.evaluate import evaluate

    result = evaluate(
        a.source,
        a.predictions,
        protocol=a.protocol,
        layer=a.layer,
        truth_layer=a.truth,
        parameters=settings(a.set),
        images=a.images,
        join=a.join,
        workers=a.workers,
        scheduler=a.scheduler,
    )
    if a.output:
        markdown = a.output.endswith(".md")
        Path(a.output).write_text(
            result.markdown() if markdown else result.to_json(), encoding="utf-8"
        )
    lines = [result.markdown()]
    if result.findings.counts:
        lines.append(result.findings.table())
    told = result.to_dict() if a.json else {}
    return told, "\n".join(lines), code_of(result.findings, a.fail_on, False)
