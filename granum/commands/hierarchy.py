"""``granum hierarchy``: mask trees of images, or of the masks that are there."""

from __future__ import annotations

import argparse

from granum.commands._common import Outcome, add_settings, progress_bar, settings
from granum.errors import UsageError

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    p.add_argument("source", metavar="STORE")
    p.add_argument(
        "--method",
        default="slico_average",
        metavar="NAME",
        help="slico_average (partitions), watershed_volume (single masks), or forest (of the "
        "masks of a layer)",
    )
    p.add_argument("--of", metavar="LAYER", help="for forest: the layer of the masks")
    p.add_argument(
        "--within",
        metavar="LAYER",
        help="for the others: make trees inside the masks of this layer's objects",
    )
    p.add_argument("--layer", default="regions", metavar="NAME", help="the new layer")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--images", metavar="DIR", help="the folder of the images")
    p.add_argument("--sheet", metavar="PNG", help="draw one image cut at several granularities")
    p.add_argument("--key", metavar="SAMPLE", help="for --sheet: which (default: the first)")
    p.add_argument("--no-progress", action="store_true")
    add_settings(p, "method")


def run(a: argparse.Namespace) -> Outcome:
    """Add the layer; draw a sheet where one is wanted."""
    import granum
    from granum.verbs.hierarchy import hierarchy

    dataset = granum.open(a.source, media_root=a.images)
    with progress_bar(not a.no_progress) as progress:
        done = hierarchy(
            dataset,
            a.method,
            of=a.of,
            within=a.within,
            layer=a.layer,
            seed=a.seed,
            parameters=settings(a.set),
            progress=progress,
        )
    facts = dict(done.facts)
    text = (
        f"{facts['producer']}: {facts['trees']} trees, {facts['nodes']} nodes in layer "
        f"{facts['layer']!r}, {facts['seconds']:.1f} s"
    )
    if a.sheet:
        import numpy as np

        from granum.annotate.sheet import granularity_sheet
        from granum.annotate.storing import tree_of

        sample = done.dataset[a.key] if a.key else done.dataset[0]
        tree = tree_of(done.dataset, sample.index, a.layer)
        if tree is None:
            raise UsageError(f"{sample.key!r} has no tree in layer {a.layer!r}")
        granularity_sheet(np.asarray(sample.image().convert("RGB")), tree).save(a.sheet)
        facts["sheet"] = a.sheet
        text += f"\nwrote {a.sheet}"
    return facts, text, 0
