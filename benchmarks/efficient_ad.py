"""EfficientAD-S on the magnetic tiles of the shared data, by what its teacher learned.

A teacher distilled from descriptors that need no weights against one that is left as it was drawn:
the same student, steps and seeds. Seven good tiles to learn from, three good and fifty with defects
to judge: numbers of the `anomaly` protocol after the last step, no weights chosen by them. By
default small, to try it; `--middle` takes minutes, `--full` has the width and size of the paper.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from magnetic_tile import tiles
from report import RESULTS, machine, packages

from granum.store.dataset import Dataset
from granum.verbs.training import train

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "magnetic_tile"
SETTINGS: dict[str, dict[str, Any]] = {
    "small": {"width": 0.125, "size": 64, "distil": 40, "steps": 40, "lr": 1e-3},
    "middle": {"width": 0.25, "size": 128, "distil": 150, "steps": 150, "lr": 1e-3},
    "full": {"width": 1.0, "size": 256, "distil": 2000, "steps": 2000, "lr": 1e-4},
}
TEACHERS = ("descriptors", "random")
NUMBERS = ("image_auroc", "pixel_auroc", "pixel_ap", "aupro")


def run(store: Dataset, teacher: str, setting: dict[str, Any], seed: int, **options: Any) -> Any:
    """Train and judge; return the numbers, what the teacher is, and the seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = train(
            store,
            "efficient_ad",
            out=Path(folder) / "run",
            hook_options={
                "width": setting["width"],
                "distil_steps": setting["distil"] if teacher == "descriptors" else 0,
            },
            train_split="train",
            val_split="test",
            size=setting["size"],
            steps=setting["steps"],
            lr=setting["lr"],
            batch_size=4,
            seed=seed,
            evaluate_every=10**9,
            write_back=False,
            **options,
        )
    return {
        "numbers": done.metrics,
        "teacher": done.record["hook"]["prepared"],
        "device": done.record["environment"]["device"],
        "seconds": round(time.perf_counter() - began, 1),
    }


def row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and every run."""
    means = {n: statistics.mean(r["numbers"][n] for r in runs) for n in runs[0]["numbers"]}
    return {"mean": means, "runs": runs}


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--middle", action="store_true", help="a quarter as wide, 128 pixels")
    size.add_argument("--full", action="store_true", help="as wide as the paper's, 256 pixels")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each teacher")
    parser.add_argument("--steps", type=int, help="of the student, instead of the setting's")
    parser.add_argument("--device", help="cpu, cuda:0… (default: a GPU where there is one)")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--results", type=Path, help="folder; benchmarks/results if --full")
    args = parser.parse_args()
    if not DATA.exists():
        raise SystemExit(f"the shared data are not there: {DATA}")
    name = "full" if args.full else "middle" if args.middle else "small"
    setting = {**SETTINGS[name], **({"steps": args.steps} if args.steps else {})}
    options = {"device": args.device, "threads": args.threads}
    folder = args.results or (RESULTS if args.full else Path("build/bench/small/results"))
    store, rows = tiles(DATA), {}
    print(f"{name}: {setting}")
    print("teacher".ljust(14), *(n.rjust(12) for n in NUMBERS), "seconds".rjust(9))
    for teacher in TEACHERS:
        found = [run(store, teacher, setting, seed, **options) for seed in range(args.seeds)]
        rows[teacher] = row(found)
        numbers = (f"{rows[teacher]['mean'][n]:12.3f}" for n in NUMBERS)
        print(teacher.ljust(14), *numbers, f"{sum(r['seconds'] for r in found):9.1f}")
    result = {
        "name": "efficient_ad",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "packages": packages(),
        "setting": {"name": name, **setting, "seeds": args.seeds},
        "tiles": len(store),
        "rows": rows,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "efficient_ad.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(path)


if __name__ == "__main__":
    main()
