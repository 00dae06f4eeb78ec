"""Drawn sequences of tracks, as arrays, as datasets and as TrackEval has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.schema.rows import Annotation, Category, Group, Sample
from granum.store.dataset import Dataset

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
KINDS = (1, 1, 2, 6, 1, 7, 1, 3, 1, 8, 1, 12)
"""Classes of MOTChallenge by track."""

Row = tuple[int, int, float, float, float, float]
"""Frame, track, x, y, width, height."""


@dataclass
class Drawn:
    """A sequence: rows of both sides, ids per frame and their similarities."""

    frames: int
    truth: Floats
    found: Floats

    def side(self, rows: Floats) -> tuple[Ints, Ints, Floats]:
        return rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2:6]


def drawn(seed: int, frames: int = 40, tracks: int = 8, *, grid: bool = False) -> Drawn:
    """People that walk before one another, and what a bad tracker finds: misses, false boxes,
    exchanged identities, gaps, frames without a box on one side or on both.

    ``grid``: whole numbers, so that overlaps tie.
    """
    rng = np.random.default_rng(seed)
    truth: list[list[float]] = []
    found: list[list[float]] = []
    x, y = rng.uniform(0, 120, tracks), rng.uniform(0, 40, tracks)
    names = rng.permutation(tracks)
    for t in range(1, frames + 1):
        x, y = x + rng.normal(0, 3, tracks), y + rng.normal(0, 1, tracks)
        if rng.random() < 0.2 and tracks > 1:
            i, j = rng.choice(tracks, 2, replace=False)
            names[[i, j]] = names[[j, i]]
        seen = rng.random(tracks) < rng.choice([0.0, 0.7, 1.0], p=[0.1, 0.4, 0.5])
        hit = rng.random(tracks) < rng.choice([0.0, 0.6, 0.95], p=[0.1, 0.4, 0.5])
        boxes = np.column_stack([x, y, np.full(tracks, 20.0), np.full(tracks, 30.0)])
        noisy = boxes + rng.normal(0, 2.5, boxes.shape)
        if grid:
            boxes, noisy = np.round(boxes / 4) * 4, np.round(noisy / 4) * 4
        for i in rng.permutation(tracks):
            if seen[i]:
                truth.append([t, i, *boxes[i]])
            if hit[i]:
                found.append([t, names[i], *noisy[i]])
        for k in range(rng.integers(0, 3)):
            found.append([t, 100 + k, *rng.uniform(0, 100, 2), 20, 30])
    rows = [np.array(r, float).reshape(-1, 6) for r in (truth, found)]
    return Drawn(frames, rows[0], rows[1])


def as_trackeval(one: Drawn) -> dict[str, Any]:
    """What TrackEval's metrics take: lists of frames."""
    from trackeval.datasets._base_dataset import _BaseDataset

    out: dict[str, Any] = {"num_timesteps": one.frames, "seq": "drawn"}
    boxes = []
    for rows, name in ((one.truth, "gt"), (one.found, "tracker")):
        frame, track, box = one.side(rows)
        ids, codes = np.unique(track, return_inverse=True)
        parts = [frame == t for t in range(1, one.frames + 1)]
        out[f"{name}_ids"] = [np.ravel(codes)[p] for p in parts]
        out[f"num_{name}_ids"], out[f"num_{name}_dets"] = len(ids), len(track)
        boxes.append([box[p] for p in parts])
    out["similarity_scores"] = [
        _BaseDataset._calculate_box_ious(a, b) for a, b in zip(*boxes, strict=True)
    ]
    return out


def dataset(
    sequences: dict[str, tuple[int | None, list[Row]]],
    categories: list[Category] | None = None,
    *,
    first: int = 1,
    **columns: dict[int, Any],
) -> Dataset:
    """Sequences by key: how many frames are stated, and boxes. ``columns`` gives values of other
    columns by the number of the row in its sequence."""
    samples, groups = [], []
    for g, (key, (length, rows)) in enumerate(sequences.items()):
        groups.append(Group(key, "video", frames=length))
        listed = {r[0] for r in rows} | set(range(first, first + (length or 0)))
        for frame in sorted(listed):
            annotations = [
                Annotation(
                    bbox=row[2:6],
                    track=1000 * g + row[1],
                    **{name: values[i] for name, values in columns.items() if i in values},
                )
                for i, row in enumerate(rows)
                if row[0] == frame
            ]
            sample = Sample(f"{key}/{frame:06d}.jpg", width=200, height=100, group=g, order=frame)
            sample.annotations = annotations
            samples.append(sample)
    return Dataset.from_rows(samples, categories or [], groups)


def rows_of(values: Floats) -> list[Row]:
    return [(int(r[0]), int(r[1]), *map(float, r[2:6])) for r in values]  # type: ignore[misc]


def write_mot(
    root: Path, sequences: dict[str, Drawn], seed: int | None = None
) -> tuple[Path, Path]:
    """A tree of MOTChallenge and a folder of results; with a ``seed`` tracks are of several
    classes and a tenth of the true boxes is marked to be ignored."""
    rng = np.random.default_rng(seed)
    for name, one in sequences.items():
        home = root / "gt" / name
        (home / "gt").mkdir(parents=True)
        (root / "results").mkdir(exist_ok=True)
        info = f"[Sequence]\nname={name}\nimDir=img1\nframeRate=25\nseqLength={one.frames}\n"
        size = "imWidth=200\nimHeight=100\nimExt=.jpg\n"
        (home / "seqinfo.ini").write_text(info + size)
        lines = []
        for row in one.truth:
            kind = 1 if seed is None else KINDS[int(row[1]) % len(KINDS)]
            marked = 1 if seed is None else int(rng.random() > 0.1)
            lines.append(f"{_line(row)},{marked},{kind},1")
        (home / "gt/gt.txt").write_text("\n".join(lines) + "\n")
        lines = [f"{_line(row)},0.5,-1,-1,-1" for row in one.found]
        (root / "results" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root / "gt", root / "results"


def _line(row: Floats) -> str:
    return ",".join([str(int(row[0])), str(int(row[1])), *(repr(float(v)) for v in row[2:6])])
