"""Load photos for training on one core: our loader beside a bare loop of the same decoder.

    python benchmarks/loader.py --runs 7

Each way reads the same files (coco128, warm) five times after one pass that is not counted, in a
process of its own that is bound to one core; the median pass is reported: images per second, and
per second of processor time, which other programs on the core disturb less. ``… 224`` resizes to
224 x 224 and gives batches of 16; the others give images as stored, ``granum batches`` 16 at a
time.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from common import RESULTS, options
from measure import Comparison

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco128" / "images"
SIDE, BATCH, PASSES = 224, 16, 5

Way = Callable[[list[Path]], Iterable[int]]
"""Loads all files once; yields how many images each item holds."""


def bare(files: list[Path]) -> Iterable[int]:
    """Read and decode, nothing else."""
    import simplejpeg

    for file in files:
        simplejpeg.decode_jpeg(file.read_bytes())
        yield 1


def bare_224(files: list[Path]) -> Iterable[int]:
    """The bare loop with Pillow's resize, whole images decoded; no batches, no tensors."""
    import simplejpeg
    from PIL import Image

    for file in files:
        pixels = Image.fromarray(simplejpeg.decode_jpeg(file.read_bytes()))
        pixels.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        yield 1


def pillow(files: list[Path]) -> Iterable[int]:
    """Pillow to an array."""
    import numpy as np
    from PIL import Image

    for file in files:
        with Image.open(file) as image:
            np.asarray(image.convert("RGB"))
        yield 1


def hf() -> Way:
    """A Hugging Face dataset of the files, as NumPy."""
    import datasets
    import numpy as np

    made: list[datasets.Dataset] = []

    def way(files: list[Path]) -> Iterable[int]:
        if not made:
            told = datasets.Dataset.from_dict({"image": [str(f) for f in files]})
            made.append(told.cast_column("image", datasets.Image()))
        for row in made[0]:
            np.asarray(row["image"].convert("RGB"))
            yield 1

    return way


def ours(size: tuple[int, int] | None, reduce: bool, batch: int) -> Way:
    """``to_torch`` and ``loader``, in shuffled order, no workers."""
    import granum
    from granum.schema import rows
    from granum.train.dataset import loader, to_torch

    made = []
    epoch = iter(range(1000))

    def way(files: list[Path]) -> Iterable[int]:
        if not made:
            samples = [rows.Sample(f.name, rows.Media(f.name)) for f in files]
            dataset = granum.Dataset.from_rows(samples, media_root=files[0].parent)
            made.append(to_torch(dataset, "image", size=size, reduce=reduce))
        for loaded in loader(made[0], batch, epoch=next(epoch)):
            yield len(loaded["index"])

    return way


WAYS: dict[str, Callable[[], Way]] = {
    "bare loop": lambda: bare,
    "granum": lambda: ours(None, False, 1),
    "granum batches": lambda: ours(None, False, BATCH),
    "Pillow": lambda: pillow,
    "HF datasets": hf,
    "bare loop 224": lambda: bare_224,
    "granum 224": lambda: ours((SIDE, SIDE), False, BATCH),
    "granum 224 reduced": lambda: ours((SIDE, SIDE), True, BATCH),
}


def child(name: str) -> None:
    """Measure one way; print what it did."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    files = sorted(PHOTOS.rglob("*.jpg"))
    way = WAYS[name]()
    assert sum(way(files)) == len(files)
    seconds, cpu = [], []
    for _ in range(PASSES):
        start, worked = time.perf_counter(), time.process_time()
        count = sum(way(files))
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - worked)
        assert count == len(files)
    told = {"images_per_s": seconds, "images_per_cpu_s": cpu}
    print(json.dumps({name: len(files) / statistics.median(t) for name, t in told.items()}))


def main() -> None:
    """Run the benchmark."""
    if len(sys.argv) == 3 and sys.argv[1] == "--child":
        child(sys.argv[2])
        return
    run = options(__doc__, runs=5)
    os.environ.update(OMP_NUM_THREADS="1", HF_DATASETS_OFFLINE="1")
    commands = {name: [sys.executable, __file__, "--child", name] for name in WAYS}
    found = run.run("loader", commands)
    path = (run.results or RESULTS) / "loader.json"
    told = json.loads(path.read_text())
    for unit in ("images_per_s", "images_per_cpu_s"):
        rates = {n: statistics.median(r.reported[unit] for r in rs) for n, rs in found.runs.items()}
        told[unit] = {n: round(r, 1) for n, r in rates.items()}
        told[f"share_by_{unit}"] = {
            f"{ours} / {theirs}": shares(found, unit, ours, theirs) for ours, theirs in AGAINST
        }
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps({k: v for k, v in told.items() if "images_per" in k}, indent=1))


AGAINST = [
    ("granum", "bare loop"),
    ("granum batches", "bare loop"),
    ("granum 224", "bare loop 224"),
]


def shares(found: Comparison, unit: str, ours: str, theirs: str) -> dict[str, float]:
    """Our rate by theirs: of the medians, and the median over the rounds."""
    mine, other = ([r.reported[unit] for r in found.runs[n]] for n in (ours, theirs))
    rounds = [a / b for a, b in zip(mine, other, strict=True)]
    medians = statistics.median(mine) / statistics.median(other)
    return {"medians": round(medians, 4), "rounds": round(statistics.median(rounds), 4)}


if __name__ == "__main__":
    main()
