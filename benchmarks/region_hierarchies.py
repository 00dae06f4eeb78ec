"""Hierarchies of regions against people, on the 16 BSDS500 training images of the shared data.

Covering at one cut for all images (ODS), at the best cut of each image (OIS) and at the best cut of
each human region (best): the generators of granum at 22 numbers of regions, gPb-owt-ucm at those
and at 99 thresholds of its contour map, and people, each against the others of the same image.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from report import RESULTS, machine, packages
from scipy.io import loadmat

from granum.annotate.base import generators, make
from granum.metrics.regions import RegionScores, ucm_cuts

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "bsds"
COUNTS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 65, 80, 100, 150, 200, 300)
THRESHOLDS = [k / 100 for k in range(1, 100)]

Row = dict[str, Any]


def people(name: str) -> list[np.ndarray]:
    """Return the segmentations of an image by people."""
    cells = loadmat(DATA / "groundTruth" / "train" / f"{name}.mat")["groundTruth"].ravel()
    return [cell["Segmentation"][0, 0].astype(np.int64) for cell in cells]


def ucm(name: str) -> np.ndarray:
    """Return the contour map of an image at double resolution."""
    return loadmat(DATA / "ucm2" / "train" / f"{name}.mat")["ucm2"]


def by_generator(method: str, names: Iterable[str]) -> Row:
    """Score the trees of a generator, cut at numbers of regions."""
    generator, scores, seconds, nodes = make(method), RegionScores(COUNTS), [], []
    for name in names:
        image = np.asarray(Image.open(DATA / "images" / "train" / f"{name}.jpg").convert("RGB"))
        began = time.perf_counter()
        tree = generator.tree(image)
        seconds.append(time.perf_counter() - began)
        nodes.append(len(tree))
        scores.add(name, (tree.cut_regions(k) for k in COUNTS), people(name))
    return {
        **row(scores),
        "parameters": generator.parameters(),
        "nodes": statistics.mean(nodes),
        "seconds_an_image": round(statistics.median(seconds), 3),
    }


def by_threshold(names: Iterable[str]) -> Row:
    """Score the contour maps at thresholds."""
    scores = RegionScores(THRESHOLDS)
    for name in names:
        scores.add_hierarchy(name, *ucm_cuts(ucm(name), THRESHOLDS), people(name))
    return row(scores)


def by_count(names: Iterable[str]) -> Row:
    """Score the contour maps at the lowest threshold with so many regions at most."""
    scores = RegionScores(COUNTS)
    for name in names:
        leaves, regions = ucm_cuts(ucm(name), [k / 255 for k in range(256)])
        found = np.array([len(np.unique(cut)) for cut in regions])
        chosen = [int(np.argmax(found <= k)) for k in COUNTS]
        scores.add_hierarchy(name, leaves, regions[chosen], people(name))
    return row(scores)


def by_people(names: Iterable[str]) -> Row:
    """Score each person against the others."""
    scores = RegionScores()
    for name in names:
        drawn = people(name)
        for i, one in enumerate(drawn):
            scores.add(f"{name}/{i}", [one], drawn[:i] + drawn[i + 1 :])
    found = row(scores)
    return {k: v for k, v in found.items() if k != "ods_at"}


def row(scores: RegionScores) -> Row:
    """Return the numbers of a table's row."""
    values = scores.summary()
    return {
        "covering_ods": values["covering_ods"],
        "ods_at": values["covering_ods_threshold"],
        "covering_ois": values["covering_ois"],
        "covering_best": values["covering_best"],
        "pri_ods": values["pri_ods"],
        "vi_ods": values["vi_ods"],
    }


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, help="only so many images, to try it")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result")
    args = parser.parse_args()
    names = sorted(p.stem for p in (DATA / "images" / "train").glob("*.jpg"))[: args.images]
    if not names:
        raise SystemExit(f"the shared data are not there: {DATA}")
    kinds: dict[str, Callable[[], Row]] = {
        **{method: lambda method=method: by_generator(method, names) for method in generators},
        "gPb-owt-ucm, by number of regions": lambda: by_count(names),
        "gPb-owt-ucm, by threshold": lambda: by_threshold(names),
        "people, each against the others": lambda: by_people(names),
    }
    rows = {}
    print(f"{len(names)} images".ljust(36), "ODS     (at)   OIS    best   PRI    VI")
    for kind, measure in kinds.items():
        found = rows[kind] = measure()
        numbers = [found[f"covering_{n}"] for n in ("ods", "ois", "best")]
        at = f"({found['ods_at']:g})" if "ods_at" in found else ""
        print(
            kind.ljust(36),
            f"{numbers[0]:.3f} {at:>7}  {numbers[1]:.3f}  {numbers[2]:.3f}  "
            f"{found['pri_ods']:.3f}  {found['vi_ods']:.2f}",
        )
    result = {
        "name": "region_hierarchies",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "packages": packages(),
        "images": len(names),
        "numbers_of_regions": COUNTS,
        "rows": rows,
    }
    args.results.mkdir(parents=True, exist_ok=True)
    path = args.results / "region_hierarchies.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(path)


if __name__ == "__main__":
    main()
