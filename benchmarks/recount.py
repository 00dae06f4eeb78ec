"""Count COCO's numbers again for resampled images: what the first costs, and each of the others."""

from __future__ import annotations

from common import options, python
from eval_coco import made
from measure import compare
from report import save, table

GRANUM = """import sys, time, json
import numpy as np
from granum.metrics.evaluate import evaluate
from granum.store.opening import open_dataset
store = open_dataset(sys.argv[1])
start = time.perf_counter()
result = evaluate(store.layer("truth"), store.layer(sys.argv[2]), "coco-" + sys.argv[2])
evaluate_s = time.perf_counter() - start
n, rng = len(store), np.random.default_rng(0)
start = time.perf_counter()
same = result.recount.values(np.ones(n, np.int64)) == dict(result.values)
first_s = time.perf_counter() - start
drawn = [rng.multinomial(n, np.full(n, 1 / n)) for _ in range(200)]
start = time.perf_counter()
found = [result.recount.values(weights)["AP"] for weights in drawn]
each_ms = (time.perf_counter() - start) / len(drawn) * 1000
start = time.perf_counter()
result.per_sample
samples_s = time.perf_counter() - start
print(json.dumps(dict(evaluate_s=evaluate_s, first_s=first_s, each_ms=each_ms,
    per_sample_after_s=samples_s, same=same, AP=result["AP"], AP_sd=float(np.std(found)))))
"""


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__, runs=3)
    _, store = made(run)
    commands = {f"granum {kind}": python(GRANUM, store, kind) for kind in ("bbox", "segm")}
    found = compare(commands, run.runs, run.warmup)
    print(table(found))
    print(save("recount", found, run.results, {"small": run.small}))


if __name__ == "__main__":
    main()
