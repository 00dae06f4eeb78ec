"""AUPRO by one sort against a sweep of 401 thresholds, on made heat maps.

    python benchmarks/aupro.py                    # 10 maps of 0.16 MP, to try it
    python benchmarks/aupro.py --maps 100 --side 812 --sweep-maps 2

The sweep costs the same for each map, so it may run on fewer (--sweep-maps) and is scaled up; the
result says so. Both run in turns; seconds are medians. Of 100 maps the result goes to
``results/aupro.json``.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from report import RESULTS, machine, packages

from granum.metrics.anomaly import aupro

Maps = list[npt.NDArray[np.float32]]
Masks = list[npt.NDArray[np.bool_]]


def made(count: int, side: int, seed: int = 0) -> tuple[Maps, Masks]:
    """Noise with a few discs, whose scores are higher by about one standard deviation."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    maps, masks = [], []
    for number in range(count):
        mask = np.zeros((side, side), bool)
        for _ in range(0 if number % 3 == 0 else int(rng.integers(1, 4))):
            cx, cy = rng.uniform(0, side, 2)
            mask |= (x - cx) ** 2 + (y - cy) ** 2 < (side * rng.uniform(0.01, 0.08)) ** 2
        scores = rng.standard_normal((side, side), np.float32)
        maps.append(scores + mask * np.float32(1.2))
        masks.append(mask)
    return maps, masks


def swept(maps: Maps, masks: Masks, steps: int = 401, limit: float = 0.3) -> float:
    """AUPRO from evenly spaced thresholds, with one pass over all pixels for each."""
    from scipy.ndimage import label

    labels = [label(mask, np.ones((3, 3), int)) for mask in masks]
    sizes = [np.bincount(found.ravel(), minlength=n + 1)[1:] for found, n in labels]
    normal = sum(int((~mask).sum()) for mask in masks)
    high = max(float(m.max()) for m in maps)
    low = min(float(m.min()) for m in maps)
    points = []
    for threshold in np.linspace(high, low, steps):
        wrong, overlaps = 0, []
        for scores, (found, n), size in zip(maps, labels, sizes, strict=True):
            hit = found[scores >= threshold]
            counts = np.bincount(hit, minlength=n + 1)
            wrong += int(counts[0])
            overlaps.append(counts[1:] / size)
        points.append((wrong / normal, float(np.concatenate(overlaps).mean())))
    fpr, pro = np.array([(0.0, 0.0), *points]).T
    x = np.append(fpr[fpr <= limit], limit)
    y = np.append(pro[fpr <= limit], np.interp(limit, fpr, pro))
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum() / limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--maps", type=int, default=10)
    parser.add_argument("--side", type=int, default=400, help="pixels; 812 is 0.66 MP")
    parser.add_argument("--sweep-maps", type=int, help="maps of the sweep (default: all)")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    maps, masks = made(args.maps, args.side)
    some = args.sweep_maps or args.maps
    found = {"sort": 0.0, "sweep": 0.0}
    runs: dict[str, list[float]] = {name: [] for name in found}

    def run(name: str, work: Callable[[], float | None]) -> None:
        begin = time.perf_counter()
        found[name] = work() or 0.0
        runs[name].append(time.perf_counter() - begin)

    peak = 0
    for _ in range(args.runs):
        run("sort", lambda: aupro(maps, masks))
        peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run("sweep", lambda: swept(maps[:some], masks[:some]))
    sort_s, sweep_s = (statistics.median(runs[name]) for name in ("sort", "sweep"))
    sweep_s *= args.maps / some
    result: dict[str, Any] = {
        "name": "aupro",
        "machine": machine(),
        "packages": packages(),
        "maps": args.maps,
        "megapixels": args.side**2 / 1e6,
        "sort_s": sort_s,
        "sweep_s": sweep_s,
        "sweep_maps": some,
        "sweep_to_sort": sweep_s / sort_s,
        "target": 10,
        "aupro": found["sort"],
        "aupro_sweep": found["sweep"],
        "maxrss_mb": peak / 1024,
        "runs": runs,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if args.maps >= 100:
        (RESULTS / "aupro.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
