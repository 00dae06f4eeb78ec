"""Evaluate boxes and masks: granum from layers of a store, peers from their JSON files.

Numbers per sample, which peers do not give, are made when they are read: ``with_samples_s``.
"""

import subprocess
import sys
from pathlib import Path

from common import Options, options, python
from measure import compare
from report import save, table

GRANUM = """import sys, time, json, contextlib
from granum.metrics.evaluate import evaluate
from granum.store.opening import open_dataset
import hotcoco
with contextlib.suppress(ImportError):
    import pandas  # pyarrow imports it at first use where it is there; peers have no need of it
start = time.perf_counter()
store = open_dataset(sys.argv[1])
result = evaluate(store.layer("truth"), store.layer(sys.argv[2]), "coco-" + sys.argv[2])
inner = time.perf_counter() - start
samples = result.per_sample.num_rows
with_samples = time.perf_counter() - start
print(json.dumps(dict(inner_s=inner, with_samples_s=with_samples, **result.values)))
"""
PEER = """import sys, time, json, io, contextlib
from {0} import COCO
from {1} import COCOeval
start = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO(sys.argv[1])
    run = COCOeval(truth, truth.loadRes(sys.argv[2]), sys.argv[3])
    run.evaluate(); run.accumulate(); run.summarize()
names = "AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl".split()
values = dict(zip(names, [float(v) for v in run.stats]))
print(json.dumps(dict(inner_s=time.perf_counter() - start, **values)))
"""
SAVE = """import sys
from granum.verbs.convert import read
read(sys.argv[1], "coco", results=sys.argv[2]).save(sys.argv[3], overwrite=True)
"""
TARGETS = {"bbox": 1.3, "segm": 2.0}


def made(run: Options) -> tuple[Path, Path]:
    """The folder of the files, made on the first call, and the store of their layers."""
    folder = run.data / "results-coco"
    here = Path(__file__).with_name("make_results.py")
    if not (folder / "truth.json").exists():
        small = ["--images", "500", "--truths", "3678"] if run.small else []
        subprocess.run([sys.executable, str(here), str(folder), *small], check=True)
    store = folder / "x.granum"
    if not store.exists():
        names = ",".join(str(folder / f"{n}.json") for n in ("bbox", "segm"))
        subprocess.run(python(SAVE, folder / "truth.json", names, store), check=True)
    return folder, store


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__)
    folder, store = made(run)
    commands, at_most = {}, {}
    for kind in TARGETS:
        files = (folder / "truth.json", folder / f"{kind}.json", kind)
        commands[f"hotcoco {kind}"] = python(PEER.format("hotcoco", "hotcoco"), *files)
        commands[f"granum {kind}"] = python(GRANUM, store, kind)
        peer = PEER.format("pycocotools.coco", "pycocotools.cocoeval")
        commands[f"pycocotools {kind}"] = python(peer, *files)
        at_most[f"pycocotools {kind}"] = 1
    found = compare(commands, run.runs, run.warmup, at_most=at_most)
    print(table(found))
    ratios = {}
    for kind, target in TARGETS.items():
        mine, peer_ = (found.spread(f"{who} {kind}") for who in ("granum", "hotcoco"))
        over = {n: round(mine[n]["median"] / peer_[n]["median"], 3) for n in ("wall_s", "inner_s")}
        official = found.spread(f"pycocotools {kind}")
        same = all(
            v["median"] == official[n]["median"] for n, v in mine.items() if n.startswith("A")
        )
        ratios[kind] = {**over, "target": target, "equal_to_pycocotools": same}
    print(ratios)
    print(save("eval_coco", found, run.results, {"small": run.small, "granum_to_hotcoco": ratios}))


if __name__ == "__main__":
    main()
