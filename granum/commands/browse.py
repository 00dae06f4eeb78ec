"""``granum browse``: a dataset in the FiftyOne App, and what was done there taken back."""

from __future__ import annotations

import argparse
import sys

from granum.commands._common import Outcome, add_reading, words

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    p.add_argument("source", metavar="SRC")
    p.add_argument("--name", help="of the dataset in FiftyOne (default: made up)")
    p.add_argument("--port", type=int, default=5151)
    p.add_argument("--address", help="that the server listens on (default: this machine only)")
    p.add_argument("--layers", type=words, metavar="A,B", help="default: all")
    p.add_argument(
        "--columns", type=words, metavar="A,B", help="default: all of one value a sample"
    )
    p.add_argument("--polygons", choices=("masks", "polylines", "both"), default="both")
    p.add_argument("--persistent", action="store_true", help="keep the dataset in its database")
    p.add_argument("--overwrite", action="store_true", help="replace a FiftyOne dataset")
    p.add_argument("--embed-root", metavar="DIR", help="where embedded images are written")
    p.add_argument("--no-launch", action="store_true", help="only make the dataset")
    p.add_argument(
        "--take-back",
        metavar="LAYER",
        help="do not export: take edits and tags of the FiftyOne dataset --name back as this layer",
    )
    add_reading(p)


def run(a: argparse.Namespace) -> Outcome:
    """Export and serve until interrupted; or take back."""
    from granum.verbs.browse import browse, take_back
    from granum.verbs.convert import read

    dataset = read(a.source, a.from_, images=a.images)
    if a.take_back:
        back = take_back(dataset, a.name, layer=a.take_back)
        return back, "\n".join(f"{what}: {value}" for what, value in back.items()), 0
    done = browse(
        dataset,
        name=a.name,
        launch=not a.no_launch,
        port=a.port,
        address=a.address,
        layers=a.layers,
        columns=a.columns,
        polygons=a.polygons,
        persistent=a.persistent or a.no_launch,
        overwrite=a.overwrite,
        embed_root=a.embed_root,
    )
    facts = {"name": done.dataset.name, "url": done.url, "report": done.report.to_dict()}
    text = f"{len(done.dataset)} samples in the FiftyOne dataset {done.dataset.name}"
    if done.report.lost_names():
        text += f"\n{done.report.table()}"
    text += "".join(f"\nnote: {note}" for note in done.report.notes)
    if done.url and not a.json:
        print(f"{text}\n{done.url} (interrupt to stop)", file=sys.stderr, flush=True)
        done.session.wait(-1)
    return facts, text, 0
