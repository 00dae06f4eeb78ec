"""Reading a pickle of the size of MultiSports: rows a second, and the share spent on the pickle.

    python benchmarks/multisports.py               # 3,200 clips, 37,701 tubes, 902,000 boxes
    python benchmarks/multisports.py --small       # a hundredth, to try it

The pickle is made from a seed: the same arguments give the same bytes. Each run is a process of its
own that reads it into memory twice; the second time counts. `parse` is the unpickling (restricted);
the rest makes columns, checks them and numbers the rows. Prints JSON; the full size goes to
`results`.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CLIPS, TUBES, BOXES, LABELS = 3_200, 37_701, 902_000, 66
RESULT = Path(__file__).with_name("results") / "multisports.json"


def made(path: Path, share: float, seed: int = 0) -> None:
    """Write a pickle of the released layout: tubes of unequal length, boxes that drift."""
    rng = np.random.default_rng(seed)
    clips, tubes, boxes = (max(1, round(n * share)) for n in (CLIPS, TUBES, BOXES))
    lengths = 1 + rng.multinomial(boxes - tubes, rng.dirichlet(np.full(tubes, 2.0)))
    names = [f"sport_{i % 4}/v_{i:07d}_c001" for i in range(clips)]
    frames = rng.integers(200, 700, clips)
    found: dict[str, dict[int, list[Any]]] = {n: {} for n in names}
    for tube, length in enumerate(lengths.tolist()):
        clip = int(rng.integers(clips))
        frames[clip] = max(frames[clip], length)
        first = int(rng.integers(1, frames[clip] - length + 2))
        start = rng.uniform([0, 0, 40, 80], [1000, 500, 200, 200])
        drift = np.cumsum(rng.normal(0, 2, (length, 2)), axis=0)
        corner = np.clip(start[:2] + drift, 0, [1080, 520])
        numbers = np.arange(first, first + length)
        rows = np.column_stack([numbers, corner, corner + start[2:]]).astype(np.float32)
        found[names[clip]].setdefault(tube % LABELS, []).append(rows)
    half = clips * 3 // 4
    content = {
        "labels": [f"class {i}" for i in range(LABELS)],
        "train_videos": [names[:half]],
        "test_videos": [names[half:]],
        "nframes": dict(zip(names, frames.tolist(), strict=True)),
        "resolution": dict.fromkeys(names, (720, 1280)),
        "gttubes": found,
    }
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=4)


def measured(path: Path) -> dict[str, Any]:
    """Read the pickle in this process."""
    from granum.loaders import _tube_file
    from granum.loaders.base import Intake
    from granum.loaders.multisports import MultiSports
    from granum.loaders.reading import read_into
    from granum.store.builder import MemoryBuilder

    spent: dict[str, float] = {"parse": 0.0}
    load = _tube_file.load_pickle

    def timed(*arguments: Any) -> Any:
        begin = time.perf_counter()
        try:
            return load(*arguments)
        finally:
            spent["parse"] += time.perf_counter() - begin

    _tube_file.load_pickle = timed
    for _ in range(2):  # the first one loads modules and warms the file cache
        spent["parse"] = 0.0
        begin = time.perf_counter()
        found = read_into(MemoryBuilder(), MultiSports(), path, Intake(), options={})
        seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "parse": spent["parse"],
        "boxes": sum(found.counts("object").values()),
        "samples": len(found),
        "groups": found.groups.num_rows,
        "tubes": sum(found.counts("track").values()),
        "maxrss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("build/bench"), help="for the pickle")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="100 times smaller, to try it")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.of is not None:
        print(json.dumps(measured(args.of)))
        return
    folder = args.data / ("multisports_small" if args.small else "multisports")
    folder.mkdir(parents=True, exist_ok=True)
    (args.data / ".gitignore").write_text("*\n")
    path = folder / "multisports_GT.pkl"
    if not path.exists():
        made(path, 0.01 if args.small else 1.0)
    command = [sys.executable, __file__, "--of", str(path)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for _ in range(args.runs)
    ]
    times = ("seconds", "parse", "maxrss_mb")
    middle = {n: statistics.median(r[n] for r in runs) for n in times}
    sizes = {n: v for n, v in runs[0].items() if n not in times}
    result = {
        **sizes,
        "pickle_mb": path.stat().st_size / 1e6,
        **middle,
        "boxes_per_second": sizes["boxes"] / middle["seconds"],
        "share_parse": middle["parse"] / middle["seconds"],
        "runs": runs,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if not args.small:
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    main()
