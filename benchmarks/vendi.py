"""Vendi scores over many vectors, made in blocks and stored as a column: seconds and memory.

    python benchmarks/vendi.py                    # 20,000 x 256, to try it
    python benchmarks/vendi.py --rows 1000000     # the full size: below 60 s and 1 GB
    python benchmarks/vendi.py --rows 1000000 --workers 2

A store of so many samples without images gets a column of vectors (200 clusters); then the scores
are streamed over its parts in a fresh process. Prints JSON; `private_mb` leaves mapped pages out.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

CLUSTERS = 200


def made(path: Path, rows: int, dimension: int) -> None:
    """A store with a column ``v`` of vectors around the centres of clusters of unequal size."""
    from granum.store.additions import add_column
    from granum.store.builder import Incoming, StoreBuilder

    builder = StoreBuilder(path, sync=False)
    step = 16_384
    for begin in range(0, rows, step):
        keys = [f"{i:08d}" for i in range(begin, min(begin + step, rows))]
        builder.add(Incoming(pa.table({"key": keys})))
    dataset = builder.finish()
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, dimension), np.float32)

    def vectors(batch: Any) -> pa.Array:
        rng = np.random.default_rng([1, batch.start])
        n = batch.samples.num_rows
        which = (CLUSTERS * rng.random(n) ** 3).astype(np.int64)
        block = centres[which] + 0.5 * rng.standard_normal((n, dimension), np.float32)
        return pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), dimension)

    add_column(dataset, "v", vectors)


def peak_private_mb() -> float:
    """Largest resident memory less the pages of mapped files, as they are now."""
    text = Path("/proc/self/status").read_text()
    sizes = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if "kB" in line}
    return (int(sizes["VmHWM"]) - int(sizes.get("RssFile", 0))) / 1024


def measured(path: Path, workers: int) -> dict[str, Any]:
    """Open the store and score it."""
    import granum
    from granum.curate.vendi import vendi
    from granum.store.executor import executor

    begin = time.perf_counter()
    dataset = granum.open(path)
    with executor(workers) as ex:
        found = vendi(dataset, "v", orders=(0.5, 1, 2, math.inf), n_ref=5000, executor=ex)
    seconds = time.perf_counter() - begin
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "rows": len(dataset),
        "parts": len(dataset.parts),
        "workers": workers,
        "seconds": seconds,
        "maxrss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "private_mb": peak_private_mb(),
        "child_maxrss_mb": children,
        "values": dict(found.values),
    }


def main() -> None:
    """Make the store, then measure in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--data", type=Path, help="where the store goes (default: a new folder)")
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.store is not None:
        print(json.dumps(measured(args.store, args.workers), indent=1))
        return
    with tempfile.TemporaryDirectory(dir=args.data) as folder:
        path = Path(folder) / "vectors.granum"
        begin = time.perf_counter()
        made(path, args.rows, args.dimension)
        print(f"made in {time.perf_counter() - begin:.1f} s", file=sys.stderr)
        command = [sys.executable, __file__, "--store", str(path), "--workers", str(args.workers)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
