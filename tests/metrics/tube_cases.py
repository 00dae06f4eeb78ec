"""Drawn cases of actions in videos, as datasets, and the official scripts restated: slow loops over
detections, one overlap at a time.

Boxes here are corners x1, y1, x2, y2, in quarters of a pixel, so that widths are exact.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from granum.schema.rows import Annotation, Category, Group, Sample
from granum.store.dataset import Dataset

Tube = np.ndarray[Any, Any]
Truth = dict[str, dict[int, list[Tube]]]
Found = dict[int, list[tuple[str, float, Tube]]]


def drawn(seed: int, videos: int = 6, classes: int = 4) -> tuple[Truth, Found, Tube]:
    """True tubes, detected tubes, and detections in frames: rows of video (its number), frame,
    class, score, corners. Some classes have no truth, some videos nothing detected; detections are
    on frames without truth, twice on one truth, of one frame; the scores all differ."""
    rng = np.random.default_rng(seed)
    names = [f"v{i}" for i in range(videos)]
    truth: Truth = {name: {} for name in names}
    found: Found = {c: [] for c in range(classes)}
    frames = []
    for name in names:
        for _ in range(int(rng.integers(0, 6))):
            one = _tube(rng, int(rng.integers(1, 14)))
            truth[name].setdefault(int(rng.integers(classes - 1)), []).append(one)
    for number, name in enumerate(names[:-1]):
        known = [(c, t) for c, tubes in truth[name].items() for t in tubes]
        for _ in range(int(rng.integers(2, 14))):
            label, tube = int(rng.integers(classes)), _tube(rng, int(rng.integers(1, 14)))
            if known and rng.random() < 0.8:
                near, one = known[int(rng.integers(len(known)))]
                label = near if rng.random() < 0.85 else label
                tube = one.copy()
                tube[:, 1:] += rng.integers(-10, 11, tube[:, 1:].shape) / 4
                tube[:, 0] += int(rng.integers(-2, 3)) * (rng.random() < 0.5)
                tube = tube[: max(1, int(rng.integers(len(tube) // 2, len(tube) + 1)))]
            score = float(rng.random())
            found[label].append((name, score, np.column_stack([tube, rng.random(len(tube))])))
            for row in tube:
                frames.append([number, row[0], label, rng.random(), *row[1:]])
    return truth, found, np.array(frames).reshape(-1, 8)


def _tube(rng: np.random.Generator, frames: int) -> Tube:
    first = int(rng.integers(3, 20))
    corner = rng.integers(0, 160, 2) / 4 + np.cumsum(rng.integers(-4, 5, (frames, 2)) / 4, axis=0)
    size = rng.integers(40, 160, 2) / 4
    return np.column_stack([np.arange(first, first + frames), corner, corner + size])


# ---------------------------------------------------------------------- as datasets


def dataset(
    truth: Truth,
    tubes: Found | None = None,
    frames: Tube | None = None,
    classes: list[Category] | int = 4,
    videos: list[str | None] | None = None,
    of_frames: list[str | None] | None = None,
) -> tuple[Dataset, Dataset]:
    """Truth and predictions with their own samples; ``videos`` and ``of_frames``: the split that
    each video states, and that its frames do."""
    categories = (
        classes
        if isinstance(classes, list)
        else [Category(f"c{i}", "action") for i in range(classes)]
    )
    names = list(truth)
    said = [None if s is None else {"split": s} for s in videos or [None] * len(names)]
    groups = [Group(n, "video", attributes=a) for n, a in zip(names, said, strict=True)]
    splits = of_frames or [None] * len(names)
    rows = [
        (names.index(name), label, tube, None)
        for name, by_label in truth.items()
        for label, listed in by_label.items()
        for tube in listed
    ]
    mine = _made(rows, None, splits, categories, groups)
    detected = [
        (names.index(name), label, tube, score)
        for label, listed in (tubes or {}).items()
        for name, score, tube in listed
    ]
    return mine, _made(detected, frames, splits, categories, groups)


def _made(
    rows: list[tuple[int, int, Tube, float | None]],
    frames: Tube | None,
    splits: list[str | None],
    categories: list[Category],
    groups: list[Group],
) -> Dataset:
    samples: dict[tuple[int, int], Sample] = {}

    def sample(video: int, frame: int) -> list[Annotation]:
        if (video, frame) not in samples:
            key = f"{groups[video].key}/{frame:06d}"
            samples[video, frame] = Sample(key, group=video, order=frame, split=splits[video])
        return samples[video, frame].annotations

    whole = []
    for track, (video, label, tube, score) in enumerate(rows):
        for row in tube:
            own = float(row[5]) if len(row) > 5 else None
            sample(video, int(row[0])).append(
                Annotation(category=label, bbox=box(row[1:5]), track=track, score=own)
            )
        if score is not None:
            whole.append(Annotation("track", label, track=track, score=score, group=video))
    for video, frame, label, score, *corners in [] if frames is None else frames.tolist():
        sample(int(video), int(frame)).append(
            Annotation(category=int(label), bbox=box(corners), score=score)
        )
    listed = [samples[at] for at in sorted(samples)]
    return Dataset.from_rows(listed, categories, groups, group_annotations=whole)


def box(corners: Any) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(v) for v in corners)
    return x1, y1, x2 - x1, y2 - y1


# ---------------------------------------------------------------------- the scripts restated


class Script:
    """One of the two scripts: that of MultiSports, or with ``act`` that of ACT and MOC."""

    def __init__(self, *, act: bool = False, ends: bool = False) -> None:
        self.act, self.side, self.length = act, float(act), float(act or ends)
        self._known: dict[tuple[int, int], tuple[Tube, Tube, float]] = {}

    def box_iou(self, a: Any, b: Any) -> float:
        width = min(a[2], b[2]) - max(a[0], b[0]) + self.side
        height = min(a[3], b[3]) - max(a[1], b[1]) + self.side
        shared = max(0.0, width) * max(0.0, height)
        areas = sum((c[2] - c[0] + self.side) * (c[3] - c[1] + self.side) for c in (a, b))
        return shared / (areas - shared)

    def tube_iou(self, a: Tube, b: Tube) -> float:
        """Computed once for a pair; both are held, so that no other takes their names."""
        if (id(a), id(b)) not in self._known:
            self._known[id(a), id(b)] = a, b, self._tube_iou(a, b)
        return self._known[id(a), id(b)][2]

    def _tube_iou(self, a: Tube, b: Tube) -> float:
        low, high = max(a[0, 0], b[0, 0]), min(a[-1, 0], b[-1, 0])
        if high < low:
            return 0.0
        joint = max(a[-1, 0], b[-1, 0]) - min(a[0, 0], b[0, 0]) + self.length
        if joint == 0:
            return float("nan")
        of = [{int(r[0]): r[1:5] for r in t} for t in (a, b)]
        both = [self.box_iou(of[0][f], of[1][f]) for f in range(int(low), int(high) + 1)]
        return float(np.mean(both)) * ((high - low + self.length) / joint)

    def ap(
        self, found: list[Any], truth: dict[Any, list[Any]], overlap: Any, least: float
    ) -> float:
        """``found``: (place, score, shape); ``truth``: shapes by place."""
        total = sum(len(listed) for listed in truth.values())
        if not total:
            return float("nan")
        left = {place: list(enumerate(listed)) for place, listed in truth.items()}
        taken, right, wrong = set(), 0, 0
        points = [(0.0, 1.0)] if self.act else [(0.0, 0.0)]
        for place, _, shape in sorted(found, key=lambda f: -f[1]):
            near = [overlap(t, shape) for _, t in left.get(place, [])]
            best = int(np.argmax(near)) if near else -1
            hit = best >= 0 and near[best] >= least
            if hit and self.act:
                left[place].pop(best)
            elif hit:
                hit = (place, best) not in taken
                taken.add((place, best))
            right, wrong = right + hit, wrong + (not hit)
            points.append((right / total, right / (right + wrong)))
        if self.act:
            return sum((r1 - r0) * (p1 + p0) * 0.5 for (r0, p0), (r1, p1) in pairwise(points))
        points.append((1.0, 0.0))
        for i in range(len(points) - 2, -1, -1):
            points[i] = points[i][0], max(points[i][1], points[i + 1][1])
        return sum((points[i][0] - points[i - 1][0]) * points[i][1] for i in range(1, len(points)))

    def frame_ap(self, truth: Truth, frames: Tube, label: int, least: float = 0.5) -> float:
        known: dict[Any, list[Any]] = {}
        for number, by_label in enumerate(truth.values()):
            for tube in by_label.get(label, []):
                for row in tube:
                    known.setdefault((number, int(row[0])), []).append(row[1:5])
        found = [((int(f[0]), int(f[1])), f[3], f[4:8]) for f in frames if f[2] == label]
        return self.ap(found, known, self.box_iou, least)

    def video_ap(self, truth: Truth, tubes: Found, label: int, least: float) -> float:
        known = {name: by_label[label] for name, by_label in truth.items() if label in by_label}
        return self.ap(tubes[label], known, self.tube_iou, least)

    def video_map(self, truth: Truth, tubes: Found, thresholds: Any) -> float:
        return float(
            np.mean(
                [
                    np.nanmean([self.video_ap(truth, tubes, label, t) for label in tubes])
                    for t in thresholds
                ]
            )
        )

    def suppressed(self, tubes: Found, least: float = 0.3) -> Found:
        """Those that are left, video by video."""
        out: Found = {label: [] for label in tubes}
        for label, listed in tubes.items():
            for name in dict.fromkeys(v for v, _, _ in listed):
                rest = sorted((t for t in listed if t[0] == name), key=lambda t: t[1])
                while rest:
                    top = rest.pop()
                    out[label].append(top)
                    rest = [t for t in rest if self.tube_iou(t[2], top[2]) <= least]
        return out
