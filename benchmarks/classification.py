"""Numbers of classification, 100,000 samples of 100 classes: granum, scikit-learn, torchmetrics.

``single_s``: one class each; top-1 and top-5 accuracy, balanced accuracy, macro, micro and weighted
F1, confusion, log loss, Brier score (scikit-learn), ECE and MCE (torchmetrics); granum gives all of
them, per class and per sample too, with findings. ``multi_s``: three classes each; mAP, macro,
micro and weighted F1. Peers start from arrays, granum from the rows of a dataset in memory.
``again_s``: the numbers of one bootstrap draw of ``single``, by counting again.
"""

import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from common import options, python
from measure import compare
from report import save, table

SAMPLES, CLASSES, LABELS = 100_000, 100, 3

COMMON = """import sys, time, json, warnings
import numpy as np
warnings.simplefilter("ignore")
data = np.load(sys.argv[1])
scores, label, several = data["scores"], data["label"], data["several"]
n, classes = scores.shape
times, found = {}, {}
"""
GRANUM = (
    COMMON
    + """
import pyarrow as pa
from granum.metrics.classification import Classification
from granum.metrics.evaluate import evaluate
from granum.schema import rows, tables
from granum.store.dataset import Dataset
def labels(sample, category, score=None):
    kind = pa.DictionaryArray.from_arrays(np.zeros(len(sample), np.int32), ["label"])
    out = {"sample": sample, "kind": kind, "category": category.astype(np.int32)}
    return pa.table(out if score is None else out | {"score": score})
samples = pa.table({"key": [f"{i:06d}" for i in range(n)]})
unit, category = np.indices(scores.shape)
guess = labels(unit.ravel(), category.ravel(), scores.ravel())
listed = [rows.Category(f"c{i}") for i in range(classes)]
listed = rows.objects_to_table(listed, tables.CATEGORIES)
def dataset(truth):
    return Dataset.from_arrow(samples, {"truth": truth, "guess": guess}, listed)
single = dataset(labels(np.arange(n), label))
multi = dataset(labels(*np.nonzero(several)))
for name, one in (("single", single), ("multi", multi)):
    start = time.perf_counter()
    result = evaluate(one, one.layer("guess"), Classification(task=name))
    times[f"{name}_s"] = time.perf_counter() - start
    found |= {f"{name}_{k}": v for k, v in result.values.items()}
    if name == "single":
        draw = np.bincount(np.random.default_rng(0).integers(0, n, n), minlength=n)
        start = time.perf_counter()
        result.recount.values(draw)
        times["again_s"] = time.perf_counter() - start
"""
)
SKLEARN = (
    COMMON
    + """
from sklearn import metrics as m
every = np.arange(classes)
start = time.perf_counter()
guess = scores.argmax(axis=1)
found["single_top1_accuracy"] = m.accuracy_score(label, guess)
found["single_top5_accuracy"] = m.top_k_accuracy_score(label, scores, k=5, labels=every)
found["single_balanced_accuracy"] = m.balanced_accuracy_score(label, guess)
for average in ("macro", "micro", "weighted"):
    found[f"single_{average}_f1"] = m.f1_score(label, guess, average=average)
m.confusion_matrix(label, guess)
found["single_log_loss"] = m.log_loss(label, scores, labels=every)
found["single_brier"] = m.brier_score_loss(label, scores, labels=every)
times["single_s"] = time.perf_counter() - start
start = time.perf_counter()
found["multi_mAP"] = m.average_precision_score(several, scores)
for average in ("macro", "micro", "weighted"):
    found[f"multi_{average}_f1"] = m.f1_score(several, scores > 0.5, average=average)
times["multi_s"] = time.perf_counter() - start
"""
)
TORCHMETRICS = (
    COMMON
    + """
import torch
import torchmetrics.functional.classification as m
torch.set_num_threads(1)
scores, label = torch.tensor(scores), torch.tensor(label)
several = torch.tensor(several.astype(int))
start = time.perf_counter()
found["single_top1_accuracy"] = m.multiclass_accuracy(scores, label, classes, average="micro")
found["single_top5_accuracy"] = m.multiclass_accuracy(scores, label, classes, "micro", 5)
found["single_balanced_accuracy"] = m.multiclass_recall(scores, label, classes, "macro")
for average in ("macro", "micro", "weighted"):
    found[f"single_{average}_f1"] = m.multiclass_f1_score(scores, label, classes, average)
m.multiclass_confusion_matrix(scores, label, classes)
for norm, name in (("l1", "ece"), ("max", "mce")):
    found[f"single_{name}"] = m.multiclass_calibration_error(scores, label, classes, 15, norm)
times["single_s"] = time.perf_counter() - start
start = time.perf_counter()
found["multi_mAP"] = m.multilabel_average_precision(scores, several, classes)
for average in ("macro", "micro", "weighted"):
    found[f"multi_{average}_f1"] = m.multilabel_f1_score(scores, several, classes, 0.5, average)
times["multi_s"] = time.perf_counter() - start
"""
)
TOLD = """
print(json.dumps(times | {k: float(v) for k, v in found.items()}))
"""
NEAR = {"scikit-learn": 1e-9, "torchmetrics": 1e-5}


def made(path: Path, small: bool) -> Path:
    """Probabilities that lean to the true classes."""
    if path.exists():
        return path
    rng, n = np.random.default_rng(3), SAMPLES // 100 if small else SAMPLES
    label = rng.integers(0, CLASSES, n)
    several = np.zeros((n, CLASSES), bool)
    several[np.arange(n), label] = True
    for _ in range(LABELS - 1):
        several[np.arange(n), rng.integers(0, CLASSES, n)] = True
    logits = rng.normal(size=(n, CLASSES)) + 4 * several
    scores = np.exp(logits)
    scores /= scores.sum(axis=1, keepdims=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, scores=scores, label=label, several=several)
    return path


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    path = made(run.data / f"labels-{'small' if run.small else 'full'}.npz", run.small)
    codes = {"granum": GRANUM, "scikit-learn": SKLEARN, "torchmetrics": TORCHMETRICS}
    found = compare(
        {n: python(code + TOLD, path) for n, code in codes.items()}, run.runs, run.warmup
    )
    print(table(found))
    mine = found.spread("granum")
    more: dict[str, object] = {"small": run.small, "samples": SAMPLES, "classes": CLASSES}
    for name, near in NEAR.items():
        peer = found.spread(name)
        more[f"{name}_to_granum"] = {
            n: round(peer[n]["median"] / mine[n]["median"], 2) for n in ("single_s", "multi_s")
        }
        numbers = [n for n in peer if n.startswith(("single_", "multi_")) and n[-2:] != "_s"]
        apart = {n: abs(peer[n]["median"] - mine[n]["median"]) for n in numbers}
        more[f"equal_to_{name}"] = all(gap < near for gap in apart.values())
    more["versions"] = {n: version(n) for n in NEAR}
    print(json.dumps(more))
    print(save("classification", found, run.results, more))


if __name__ == "__main__":
    main()
