"""video-mAP and frame-mAP of MultiSports' size against slow loops, as the official script has them.

    python benchmarks/tubes.py             # 18,000 true tubes, 200,000 detected ones
    python benchmarks/tubes.py --small     # a hundredth, to try it

Tubes are drawn from a seed: 555 videos of four sports with 15 classes each, tubes of about 50
frames; seven in ten detections are a true tube moved about, the others chance. `loops` goes over
detections one by one and over the truths of their class and video, one numpy overlap a pair, once
for each threshold: the algorithm of evaluate_multisports.py, written anew. It is timed on all of
the tubes at one threshold, and on a share of the videos in frames (its time is linear in them);
`loops_all` is that of all 30 thresholds and of all frames, multiplied. Of ours, `pure` is arrays to
numbers, all thresholds at once; `stores` is from two stores on disk to the same numbers, with one
process. Both give the same numbers, which is checked. Runs take turns. Prints JSON; the full size
goes to `results`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from report import machine, packages

import granum
from granum.metrics.multisports import Boxes, MultiSports, Tubes, frame_ap, video_ap
from granum.schema import rows, tables
from granum.store.dataset import Dataset

VIDEOS, TRUE, FOUND, CLASSES, OWN = 555, 18_000, 200_000, 60, 15
FRAMES = 300
SHARE = 0.04
RESULT = Path(__file__).with_name("results") / "tubes.json"
THRESHOLDS = [t for row in MultiSports.videos.values() for t in row]


def made(share: float, seed: int = 0) -> tuple[Tubes, Tubes]:
    """True and detected tubes."""
    rng = np.random.default_rng(seed)
    videos, true, found = (max(2, round(n * share)) for n in (VIDEOS, TRUE, FOUND))
    video = np.sort(rng.integers(videos, size=true))
    label = video % 4 * OWN + rng.integers(6, size=true) * (rng.integers(2, size=true) + 1)
    truth = _drawn(rng, video, label)
    # A detection is a true tube moved in space and time, or any of its video and sport.
    tubes = truth.take(np.sort(rng.integers(true, size=found)))
    box = tubes.box + rng.normal(0, 8, tubes.box.shape)
    box[:, 2:] = np.maximum(box[:, 2:], 4)
    shift = np.repeat(rng.integers(-6, 7, found), np.diff(tubes.begin))
    moved = replace(tubes, frame=tubes.frame + shift, box=box)
    chance = _drawn(rng, tubes.group, tubes.group % 4 * OWN + rng.integers(OWN, size=found))
    lucky = rng.random(found) < 0.3
    both = [moved.take(np.flatnonzero(~lucky)), chance.take(np.flatnonzero(lucky))]
    names = ("group", "category", "frame", "box")
    flat = {name: np.concatenate([getattr(t, name) for t in both]) for name in names}
    lengths = np.concatenate([np.diff(t.begin) for t in both])
    begin = np.concatenate([[0], np.cumsum(lengths)])
    return truth, Tubes(**flat, begin=begin, score=rng.permutation(found) / found)


def _drawn(rng: np.random.Generator, video: Any, label: Any) -> Tubes:
    n = len(video)
    length = 1 + rng.poisson(49, n)
    first = rng.integers(10, FRAMES - length.clip(max=FRAMES - 20))
    begin = np.concatenate([[0], np.cumsum(length)])
    within = np.arange(begin[-1]) - np.repeat(begin[:-1], length)
    start = rng.uniform([0, 0, 40, 80], [1000, 500, 200, 200], (n, 4))
    box = np.repeat(start, length, axis=0)
    box[:, :2] += rng.normal(0, 2, (len(box), 2))
    return Tubes(video, label, begin, np.repeat(first, length) + within, box, np.zeros(n))


def boxes(tubes: Tubes) -> Boxes:
    """The boxes of tubes, with the scores of the tubes."""
    unit = tubes.group[tubes.owner]
    frame = unit * 10_000 + tubes.frame
    return Boxes(unit, frame, tubes.category[tubes.owner], tubes.box, tubes.score[tubes.owner])


# ---------------------------------------------------------------------- loops


def corners(tubes: Tubes) -> list[Any]:
    """Arrays (frames, 5) of frame and corners, as the script's pickles hold them."""
    flat = np.column_stack([tubes.frame, tubes.sides.T])
    return [flat[a:b] for a, b in zip(tubes.begin[:-1], tubes.begin[1:], strict=True)]


def iou_of_boxes(a: Any, b: Any) -> Any:
    """IoU of rows of corners."""
    wide = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    high = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    shared = np.maximum(0, wide) * np.maximum(0, high)
    areas = [(c[:, 2] - c[:, 0]) * (c[:, 3] - c[:, 1]) for c in (a, b)]
    return shared / (areas[0] + areas[1] - shared)


def iou_of_tubes(a: Any, b: Any) -> float:
    """One pair, as the script does it: the shared frames are looked for in both."""
    low, high = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
    if high < low:
        return 0.0
    joint = max(a[-1, 0], b[-1, 0]) - min(a[0, 0], b[0, 0])
    cut = [
        t[int(np.where(t[:, 0] == low)[0][0]) : int(np.where(t[:, 0] == high)[0][0]) + 1, 1:5]
        for t in (a, b)
    ]
    return float(np.mean(iou_of_boxes(*cut)) * ((high - low) / joint))


def loop_ap(found: list[Any], truth: dict[Any, Any], overlaps: Any, least: float) -> float:
    """AP of one class: ``found`` holds place, score and shape."""
    total = sum(len(listed) for listed in truth.values())
    taken = {place: np.zeros(len(listed), bool) for place, listed in truth.items()}
    right = wrong = 0
    curve = np.empty((len(found), 2))
    for i, j in enumerate(np.argsort([-score for _, score, _ in found], kind="stable")):
        place, _, shape = found[j]
        hit = False
        if place in truth:
            near = overlaps(truth[place], shape)
            best = int(np.argmax(near))
            hit = near[best] >= least and not taken[place][best]
            taken[place][best] |= hit
        right, wrong = right + hit, wrong + (not hit)
        curve[i] = right / (right + wrong), right / total
    precision, recall = np.append(curve[:, 0], 0), np.concatenate([[0], curve[:, 1], [1]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * precision))


def loop_videos(truth: Tubes, found: Tubes, least: float) -> float:
    """video-mAP at one threshold."""
    true, guess = corners(truth), corners(found)
    values = []
    for label in range(CLASSES):
        known: dict[int, list[Any]] = {}
        for i in np.flatnonzero(truth.category == label).tolist():
            known.setdefault(int(truth.group[i]), []).append(true[i])
        if known:
            mine = [
                (int(found.group[i]), found.score[i], guess[i])
                for i in np.flatnonzero(found.category == label).tolist()
            ]
            pairs = lambda listed, one: [iou_of_tubes(t, one) for t in listed]  # noqa: E731
            values.append(loop_ap(mine, known, pairs, least))
    return float(np.mean(values))


def loop_frames(truth: Boxes, found: Boxes, least: float) -> float:
    """frame-mAP at one threshold."""
    values = []
    for label in range(CLASSES):
        known: dict[int, Any] = {}
        for i in np.flatnonzero(truth.category == label).tolist():
            known.setdefault(int(truth.frame[i]), []).append(truth.box[i])
        ready = {frame: _cornered(np.array(listed)) for frame, listed in known.items()}
        if ready:
            rows_ = np.flatnonzero(found.category == label)
            shapes = _cornered(found.box[rows_])[:, None]
            mine = list(zip(found.frame[rows_].tolist(), found.score[rows_], shapes, strict=True))
            values.append(loop_ap(mine, ready, iou_of_boxes, least))
    return float(np.mean(values))


def _cornered(box: Any) -> Any:
    return np.hstack([box[:, :2], box[:, :2] + box[:, 2:]])


# ---------------------------------------------------------------------- stores


def store(tubes: Tubes, path: Path, scored: bool) -> None:
    """Write tubes as a store: a sample for each frame that has a box."""
    flat = boxes(tubes)
    names, sample = np.unique(flat.frame, return_inverse=True)
    order = np.argsort(sample, kind="stable")
    videos = int(tubes.group.max()) + 1
    pixel = pa.DictionaryArray.from_arrays(np.zeros(len(names), np.int32), ["pixel"])
    samples = pa.table(
        {
            "key": [f"v{n // 10_000:04d}/{n % 10_000:06d}" for n in names.tolist()],
            "group": names // 10_000,
            "order": names % 10_000,
            "unit": pixel,
        }
    )
    n = len(order)
    columns: dict[str, Any] = {
        "annotation_id": np.arange(1, n + 1),
        "sample": sample[order],
        "kind": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), ["object"]),
        "category": flat.category[order].astype(np.int32),
        "bbox": pa.FixedSizeListArray.from_arrays(flat.box[order].ravel(), 4),
        "track": tubes.owner[order],
    }
    if scored:
        columns["score"] = flat.score[order]
    dataset = Dataset.from_arrow(
        tables.conform(samples, tables.SAMPLES),
        tables.conform(pa.table(columns), tables.ANNOTATIONS),
        rows.objects_to_table([rows.Category(f"c{i}") for i in range(CLASSES)], tables.CATEGORIES),
        rows.objects_to_table([rows.Group(f"v{i:04d}") for i in range(videos)], tables.GROUPS),
    )
    if path.exists():
        shutil.rmtree(path)
    dataset.save(path)


# ---------------------------------------------------------------------- measuring


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    value = function()
    return time.perf_counter() - begin, value


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("build/bench"), help="for the stores")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="100 times smaller, to try it")
    args = parser.parse_args()
    truth, found = made(0.01 if args.small else 1.0)
    flat = boxes(truth), boxes(found)
    few = [b.take(b.unit < (1.0 if args.small else SHARE) * VIDEOS) for b in flat]
    share = len(few[1]) / len(flat[1])
    folder = args.data / ("small" if args.small else ".") / "tubes"
    folder.mkdir(parents=True, exist_ok=True)
    (args.data / ".gitignore").write_text("*\n")
    for tubes, name in ((truth, "truth"), (found, "found")):
        store(tubes, folder / f"{name}.granum", name == "found")
    runs: dict[str, list[float]] = {}

    def run(name: str, function: Callable[[], Any]) -> Any:
        seconds, value = timed(function)
        runs.setdefault(name, []).append(seconds)
        return value

    for _ in range(args.runs):
        ours = run("pure_videos", lambda: video_ap(found, truth, CLASSES, THRESHOLDS))
        theirs = run("loops_videos_at_0.5", lambda: loop_videos(truth, found, 0.5))
        at = THRESHOLDS.index(0.5)
        assert abs(float(np.nanmean(ours[:, at])) - theirs) < 1e-12
        run("pure_frames", lambda: frame_ap(flat[1], flat[0], CLASSES))
        mine = float(np.nanmean(frame_ap(few[1], few[0], CLASSES)))
        slow = run("loops_frames_of_share", lambda: loop_frames(*few, 0.5))
        assert abs(mine - slow) < 1e-12
        result = run(
            "stores",
            lambda: granum.evaluate(
                folder / "truth.granum",
                folder / "found.granum",
                protocol="multisports",
                parameters={"split": None},
            ),
        )
        assert abs(result["video_mAP@0.5"] - theirs) < 1e-12
    middle = {name: statistics.median(seconds) for name, seconds in runs.items()}
    loops = middle["loops_videos_at_0.5"], middle["loops_frames_of_share"] / share
    every = loops[0] * len(THRESHOLDS) + loops[1]
    ours_all = middle["pure_videos"] + middle["pure_frames"]
    summary = {
        "name": "tubes",
        "machine": machine(),
        "packages": packages(),
        "true_tubes": len(truth),
        "detected_tubes": len(found),
        "true_boxes": len(flat[0]),
        "detected_boxes": len(flat[1]),
        "thresholds": len(THRESHOLDS),
        "share_of_boxes_in_frames": share,
        "video_mAP@0.5": result["video_mAP@0.5"],
        **{f"{name}_s": value for name, value in middle.items()},
        "loops_frames_s": loops[1],
        "loops_all_s": every,
        "videos_one_threshold_against_all_of_ours": loops[0] / middle["pure_videos"],
        "videos_all_thresholds": loops[0] * len(THRESHOLDS) / middle["pure_videos"],
        "frames": loops[1] / middle["pure_frames"],
        "all": every / ours_all,
        "all_from_stores": every / middle["stores"],
        "runs": runs,
    }
    text = json.dumps(summary, indent=1)
    print(text)
    if not args.small:
        RESULT.write_text(text + "\n")


if __name__ == "__main__":
    main()
