"""HOTA, CLEAR and Identity of a made-up tracker on sequences of MOT17's size: granum, TrackEval.

Both start from the same flat arrays of boxes; ``hota_s`` is the time from them to HOTA of all
sequences, overlaps of boxes included, which ``overlaps_s`` has alone (for TrackEval with cutting
the arrays into its lists of frames). One core each.
"""

import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from common import options, python
from measure import compare
from report import save, table

LENGTHS = (600, 1050, 837, 525, 654, 900, 750)
"""Frames, tracks and boxes of MOT17's seven training sequences."""
TRACKS = (62, 83, 133, 26, 57, 75, 110)
BOXES = (18581, 47557, 6917, 5325, 12839, 9436, 11642)
TARGET = 5

COMMON = """import os, sys, time, json, io, contextlib
import numpy as np
data = np.load(sys.argv[1])
seqs = [[data[f"{side}_{name}_{i}"] for side in ("truth", "tracker")
         for name in ("frame", "id", "box")] + [int(data["lengths"][i])]
        for i in range(len(data["lengths"]))]
times, start = {}, 0.0
def lap(name):
    global start
    now = time.perf_counter()
    times[name] = now - start
    start = time.perf_counter()
"""
GRANUM = (
    COMMON
    + """
from granum.metrics import mot
import scipy.optimize
start = time.perf_counter()
pairs = [mot.tracked((s[0], s[1], s[2]), (s[3], s[4], s[5]), s[6]) for s in seqs]
lap("overlaps_s")
found = mot.combine_sequences([mot.hota(p) for p in pairs])
lap("only_hota_s")
found |= mot.combine_sequences([mot.clear(p) for p in pairs])
lap("clear_s")
found |= mot.combine_sequences([mot.identity(p) for p in pairs])
lap("identity_s")
"""
)
PEER = (
    COMMON
    + """
import trackeval
from trackeval.datasets._base_dataset import _BaseDataset
iou = _BaseDataset._calculate_box_ious
quiet = {"PRINT_CONFIG": False}
with contextlib.redirect_stdout(io.StringIO()):
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(quiet),
               trackeval.metrics.Identity(quiet)]
    start = time.perf_counter()
    cut = []
    for tf, ti, tb, pf, pi, pb, n in seqs:
        a, b = (np.searchsorted(f, np.arange(1, n)) for f in (tf, pf))
        ids = [np.unique(i, return_inverse=True)[1] for i in (ti, pi)]
        boxes = np.split(tb, a), np.split(pb, b)
        cut.append(dict(
            num_timesteps=n, gt_ids=np.split(ids[0], a), tracker_ids=np.split(ids[1], b),
            similarity_scores=[iou(x, y) for x, y in zip(*boxes)],
            num_gt_dets=len(tf), num_tracker_dets=len(pf),
            num_gt_ids=ids[0].max() + 1, num_tracker_ids=ids[1].max() + 1))
    lap("overlaps_s")
    found = {}
    for metric, name in zip(metrics, ("only_hota_s", "clear_s", "identity_s")):
        results = {str(i): metric.eval_sequence(d) for i, d in enumerate(cut)}
        found |= metric.combine_sequences(results)
        lap(name)
"""
)
TOLD = """
names = "HOTA DetA AssA LocA MOTA MOTP IDSW Frag MT IDF1 IDTP".split()
times["hota_s"] = times["overlaps_s"] + times["only_hota_s"]
print(json.dumps(times | {n: float(np.mean(found[n])) for n in names}))
"""


def made(path: Path, small: bool) -> Path:
    """Sequences and what a tracker found: gaps, jitter, false boxes, exchanged identities."""
    if path.exists():
        return path
    rng, out = np.random.default_rng(17), {}
    lengths = LENGTHS[-1:] if small else LENGTHS
    for i, n in enumerate(lengths):
        truth = walks(rng, n, TRACKS[i], BOXES[i])
        for side, columns in (("truth", truth), ("tracker", followed(rng, n, *truth))):
            order = np.argsort(columns[0], kind="stable")
            for name, values in zip(("frame", "id", "box"), columns, strict=True):
                out[f"{side}_{name}_{i}"] = values[order]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, lengths=np.array(lengths), **out)
    return path


def walks(rng, n, tracks, count):  # type: ignore[no-untyped-def]
    """Frames, tracks and boxes of people that walk before one another."""
    frames, ids, boxes = [], [], []
    share = rng.gamma(1.5, 1, tracks)
    for _ in range(50):  # none longer than the sequence, together as many boxes as wanted
        share = np.minimum(share * (count / share.sum()), n)
    spans = np.maximum(share, 5).astype(int)
    for track in range(tracks):
        span = spans[track]
        at = rng.integers(0, n - span + 1) + np.arange(span)
        height = rng.uniform(90, 380) * np.exp(np.cumsum(rng.normal(0, 0.002, span)))
        speed = rng.normal(0, 1.2) + np.cumsum(rng.normal(0, 0.05, span))
        x = rng.uniform(0, 1800) + np.cumsum(speed)
        y = 500 + height / 4 + np.cumsum(rng.normal(0, 0.2, span)) - height / 2
        frames.append(at)
        ids.append(np.full(span, track))
        boxes.append(np.column_stack([x, y, 0.4 * height, height]))
    return np.concatenate(frames), np.concatenate(ids), np.concatenate(boxes)


def followed(rng, n, frame, id_, box):  # type: ignore[no-untyped-def]
    """What a tracker makes of them."""
    order = np.lexsort((frame, id_))
    frame, id_, box = frame[order], id_[order], box[order]
    cuts = np.cumsum((np.diff(id_, prepend=-1) != 0) | (rng.random(len(id_)) < 0.006))
    gap = np.cumsum((np.diff(cuts, prepend=-1) != 0) | (rng.random(len(id_)) < 0.03))
    seen = (rng.random(gap.max() + 1) < 0.85)[gap] & (rng.random(len(id_)) < 0.97)
    size = box[:, [2, 3, 2, 3]]
    found = box + rng.normal(0, 0.04, box.shape) * size
    count, last = n // 8, cuts.max() + 1
    spans = rng.integers(3, 30, count)
    start = np.repeat(rng.integers(0, n - 30, count), spans)
    within = np.arange(spans.sum()) - np.repeat(np.cumsum(spans) - spans, spans)
    height = rng.uniform(60, 300, count)
    false = np.column_stack(
        [rng.uniform(0, 1800, count), rng.uniform(200, 700, count), 0.4 * height, height]
    )
    return (
        np.concatenate([frame[seen], start + within]),
        np.concatenate([cuts[seen], np.repeat(np.arange(count), spans) + last]),
        np.concatenate([found[seen], np.repeat(false, spans, axis=0)]),
    )


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    path = made(run.data / "mot17-like.npz", run.small)
    commands = {
        "granum": python(GRANUM + TOLD, path),
        "trackeval": python(PEER + TOLD, path),
    }
    found = compare(commands, run.runs, run.warmup)
    print(table(found))
    mine, peer = (found.spread(n) for n in commands)
    ratios = {n: round(peer[n]["median"] / mine[n]["median"], 2) for n in peer if n.endswith("_s")}
    equal = all(v["median"] == peer[n]["median"] for n, v in mine.items() if n[0].isupper())
    with np.load(path) as data:
        size = {
            side: sum(len(data[f"{side}_frame_{i}"]) for i in range(len(data["lengths"])))
            for side in ("truth", "tracker")
        }
    more = {"small": run.small, "boxes": size, "trackeval_to_granum": ratios}
    more |= {"target_hota": TARGET, "equal_to_trackeval": equal}
    more["versions"] = {name: version(name) for name in ("trackeval", "scipy")}
    print(json.dumps(more))
    print(save("hota", found, run.results, more))


if __name__ == "__main__":
    main()
