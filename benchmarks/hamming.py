"""All pairs of 64-bit hashes within a radius, among random ones and planted near ones.

FAISS compares each with each, so it gets a part of them only; granum does that part as well.
"""

from common import options, python

MAKE = """import sys, time, json, numpy as np
count, radius, workers = map(int, sys.argv[1:4])
rng = np.random.default_rng(0)
hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
planted = count // 100
flips = np.zeros(planted, np.uint64)
for _ in range(radius):
    flips |= np.uint64(1) << rng.integers(0, 64, planted).astype(np.uint64)
hashes[-planted:] = hashes[:planted] ^ flips
"""
OURS = f"""{MAKE}
from granum.curate.hamming import pairs_within
from granum.store.executor import executor
if __name__ == "__main__":
    with executor(workers) as running:
        start = time.perf_counter()
        pairs = pairs_within(hashes, radius, executor=running)
        seconds = time.perf_counter() - start
    print(json.dumps(dict(search_s=seconds, pairs=len(pairs), planted=planted)))
"""
FAISS = f"""{MAKE}
import faiss
faiss.omp_set_num_threads(workers)
codes = hashes.view(np.uint8).reshape(-1, 8)
start = time.perf_counter()
index = faiss.IndexBinaryFlat(64)
index.add(codes)
limits, distances, labels = index.range_search(codes, radius + 1)
first = np.repeat(np.arange(count), np.diff(limits.astype(np.int64)))
pairs = int((labels > first).sum())
print(json.dumps(dict(search_s=time.perf_counter() - start, pairs=pairs, planted=planted)))
"""


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__)
    many, part = (10_000, 2_000) if run.small else (1_000_000, 50_000)
    commands = {
        "granum, radius 3": python(OURS, str(many), "3", "1"),
        "granum, radius 6": python(OURS, str(many), "6", "1"),
        "granum, radius 3, a part": python(OURS, str(part), "3", "1"),
        "faiss, radius 3, a part": python(FAISS, str(part), "3", "2"),
    }
    run.run("hamming", commands, notes={"hashes": many, "part": part})


if __name__ == "__main__":
    main()
