"""``granum train``: a hook trained, judged, and written back."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from granum.commands._common import Outcome, add_settings, settings

if TYPE_CHECKING:
    from granum.train.progress import Epoch

__all__ = ["flags", "run"]


def flags(p: argparse.ArgumentParser) -> None:
    """Flags of the verb."""
    p.add_argument("source", metavar="STORE")
    p.add_argument(
        "--hook",
        required=True,
        metavar="NAME",
        help="classifier, detector, segmenter, efficient_ad, rotation",
    )
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder of the run")
    p.add_argument("--epochs", type=int, metavar="N")
    p.add_argument("--steps", type=int, metavar="N")
    p.add_argument("--batch-size", type=int, default=16, metavar="N")
    p.add_argument("--lr", type=float)
    p.add_argument("--size", type=int, default=224, metavar="PIXELS")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--view", help="train on this saved view")
    p.add_argument("--train-split", default="train", metavar="NAME", help="or none: all samples")
    p.add_argument("--val-split", default="val", metavar="NAME", help="or none")
    p.add_argument("--layer", metavar="NAME", help="targets (default: truth)")
    p.add_argument("--label-from", choices=("label", "object"), default="label")
    p.add_argument("--name", help="of the run, its layer and columns")
    p.add_argument("--device")
    p.add_argument("--workers", type=int, default=0, metavar="N", help="processes that load data")
    p.add_argument("--flip", type=float, default=0.0, metavar="P")
    p.add_argument("--jitter", type=float, default=0.0, metavar="SHARE")
    p.add_argument("--schedule", choices=("constant", "cosine"), default="constant")
    p.add_argument("--warmup", type=int, default=0, metavar="STEPS")
    p.add_argument("--amp", action="store_true")
    p.add_argument("--save-every", type=int, metavar="STEPS")
    p.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    p.add_argument("--no-write-back", action="store_true")
    p.add_argument("--on-error", choices=("raise", "skip", "replace"), default="raise")
    p.add_argument("--images", metavar="DIR", help="where the images are now, if they moved")
    p.add_argument("--no-progress", action="store_true", help="no line per epoch on stderr")
    add_settings(p, "hook")


def run(a: argparse.Namespace) -> Outcome:
    """Train, and say the official numbers."""
    from granum.verbs.convert import read
    from granum.verbs.training import train

    def split(name: str) -> str | None:
        return None if name == "none" else name

    def told(epoch: Epoch) -> None:
        print(epoch.text(), file=sys.stderr, flush=True)

    done = train(
        read(a.source, images=a.images),
        a.hook,
        out=a.output,
        view=a.view,
        hook_options=settings(a.set),
        epochs=a.epochs,
        steps=a.steps,
        batch_size=a.batch_size,
        lr=a.lr,
        size=a.size,
        seed=a.seed,
        train_split=split(a.train_split),
        val_split=split(a.val_split),
        layer=a.layer,
        label_from=a.label_from,
        name=a.name,
        device=a.device,
        workers=a.workers,
        flip=a.flip,
        jitter=a.jitter,
        schedule=a.schedule,
        warmup=a.warmup,
        amp=a.amp,
        save_every=a.save_every,
        resume=a.resume,
        write_back=not a.no_write_back,
        on_error=a.on_error,
        on_epoch=None if a.no_progress else told,
    )
    lines = [f"run {done.name} in {done.out}"]
    loss = "undefined" if done.loss is None else f"{done.loss:.4f}"
    lines.append(f"  {'loss (training)':<24}{loss}")
    for name, value in done.metrics.items():
        lines.append(f"  {name:<24}{'undefined' if value is None else f'{value:.4f}'}")
    return done.record, "\n".join(lines), 0
