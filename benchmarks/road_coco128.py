"""The whole road on the coco128 photos of the shared data, by the command line; seconds per verb.

Convert, score, check, deduplicate, split, leaks, statistics, select, hierarchy, evaluate the truth
as its own predictions, cut objects out, train a classifier on them, report: each a process of its
own, as a user runs it, so that starting Python counts. What each verb says goes into the result.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from common import granum
from report import RESULTS, machine, packages

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco128"
TREES = 20


def steps(out: Path, images: int, training: int) -> dict[str, list[str | Path]]:
    """Return the verbs in their turn, with their arguments."""
    store, few, objects = (out / f"{n}.granum" for n in ("photos", "few", "objects"))
    everything = out / "all.granum"
    source = DATA / "panoptic/panoptic_train2017.json"
    photos = ["--images", DATA / "images/train2017"]
    return {
        "convert": [source, everything, "--from", "coco_panoptic", *photos],
        "take": [everything, "--method", "random", "-n", str(images), "-o", store],
        "score": [store],
        "check": [store],
        "dedup": [store, "--save-as", "unique"],
        "split": [store, "train=0.75", "val=0.25", "--duplicates", "--into", "column"],
        "leakage": [store, "--split", "col.split"],
        "stats": [store, "--space", "descriptors"],
        "select": [store, "-n", str(TREES), "--space", "descriptors", "-o", few],
        "hierarchy": [few],
        "eval": [few, few, "--protocol", "panoptic-quality", "--layer", "truth"],
        "crops": [store, objects, "--categories", "person,car,chair,bottle,cup,book"],
        "divide": [objects, "train=0.7", "val=0.3", "--by", "attr.of"],
        "train": [
            *(objects, "--hook", "classifier", "-o", out / "run", "--view", "train"),
            *("--train-split", "none", "--val-split", "none", "--size", "48"),
            *("--steps", str(training), "--lr", "2e-3"),
        ],
        "report": [store, out / "report.html", "--run", out / "run"],
    }


VERBS = {"take": "select", "divide": "split"}
"""Steps whose verb has another name."""

FACTS = (
    *("written", "counts", "kinds", "kept", "components", "pairs", "selected", "trees", "nodes"),
    *("values", "crops", "steps", "pictures", "sections"),
)


def run(name: str, words: list[str | Path]) -> dict[str, Any]:
    """Run a step; return its seconds and what it says."""
    began = time.perf_counter()
    done = subprocess.run(
        granum(VERBS.get(name, name), *words, "--json"), capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{name}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    said = json.loads(done.stdout)
    return {"seconds": round(seconds, 2), **{k: said[k] for k in FACTS if k in said}}


def main() -> None:
    """Walk, print a table, write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=100, help="only so many, to try it")
    parser.add_argument("--steps", type=int, default=100, help="of training")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result")
    args = parser.parse_args()
    if not DATA.exists():
        raise SystemExit(f"the shared data are not there: {DATA}")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in steps(Path(folder), args.images, args.steps).items():
            found[name] = run(name, words)
            facts = {k: v for k, v in found[name].items() if k != "seconds"}
            print(f"{name:<10} {found[name]['seconds']:>7.2f} s  {json.dumps(facts)[:100]}")
    result = {
        "name": "road_coco128",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "packages": packages(),
        "images": args.images,
        "seconds": round(sum(s["seconds"] for s in found.values()), 2),
        "steps": found,
    }
    args.results.mkdir(parents=True, exist_ok=True)
    path = args.results / "road_coco128.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"{'all':<10} {result['seconds']:>7.2f} s\n{path}")


if __name__ == "__main__":
    main()
