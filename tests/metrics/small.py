"""One small case for each protocol: a dataset with a layer of truth and a layer of predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from granum.schema.fields import field_to_map
from granum.schema.rows import Annotation, Category, Group, LabelMap, Sample
from granum.store.dataset import Dataset
from tests.metrics.made import masked, whole

__all__ = ["CASES", "GUESS"]

GUESS = "guess"
SIDE = 24
IMAGES = 6
Rows = list[Annotation]


def _samples(pairs: Sequence[tuple[Rows, Rows]], **columns: Sequence[Any]) -> list[Sample]:
    return [
        Sample(
            f"i{i}",
            source_id=str(i + 1),
            width=SIDE,
            height=SIDE,
            annotations=true,
            layers={GUESS: guess},
            **{name: values[i] for name, values in columns.items()},
        )
        for i, (true, guess) in enumerate(pairs)
    ]


def objects(*, masks: bool = False, points: bool = False, overlap: bool = True) -> Dataset:
    """Two objects of two classes on each image, found a little beside where they are."""
    rng = np.random.default_rng(3)
    pairs = []
    for i in range(IMAGES):
        true: Rows = []
        guess: Rows = []
        for k in range(2):
            x, y = 1 + 11 * k, int(rng.integers(1, 10))
            w, h = int(rng.integers(6, 11)), int(rng.integers(6, 12))
            moved = rng.integers(-2, 3, 2) if i else np.zeros(2, int)
            score = round(0.2 + 0.7 * float(rng.random()), 3)
            kind = (i + k) % 2
            for rows, at, more in (
                (true, (x, y), {}),
                (guess, (max(x + moved[0], 0), max(y + moved[1], 0)), {"score": score}),
            ):
                row = Annotation(category=kind, bbox=(*map(float, at), float(w), float(h)), **more)
                if masks:
                    mask = np.zeros((SIDE, SIDE), bool)
                    mask[at[1] : at[1] + h, at[0] : min(at[0] + w, 12 * (k + 1))] = True
                    row = masked(mask, kind, **more)
                if points:
                    spread = [v for j in range(17) for v in (at[0] + j / 3, at[1] + j / 2, 2)]
                    row = Annotation(category=kind, keypoints=spread, area=float(w * h), **more)
                rows.append(row)
        if overlap and not masks:
            guess.append(Annotation(category=0, bbox=(0.0, 0.0, 20.0, 20.0), score=0.1))
        pairs.append((true, guess))
    categories = [
        Category(n, source_id=str(i + 1), isthing=i == 0, attributes={"frequency": "fc"[i]})
        for i, n in enumerate(["cat", "dog"])
    ]
    return Dataset.from_rows(_samples(pairs), categories)


def maps() -> Dataset:
    """Label maps of three classes."""
    rng = np.random.default_rng(4)
    pairs = []
    for _ in range(IMAGES):
        true = rng.integers(0, 3, (6, 6))
        guess = np.where(rng.random((6, 6)) < 0.8, true, rng.integers(0, 3, (6, 6)))
        pairs.append(([whole(true)], [whole(guess)]))
    return Dataset.from_rows(_samples(pairs), [Category(n, source_id=str(n)) for n in "012"])


def nested() -> Dataset:
    """Images with masks of a tumour and of its core."""
    pairs = []
    for i in range(IMAGES):
        labels = np.zeros((12, 12), int)
        labels[2:9, 2:9], labels[4:7, 4:7] = 2, 4
        guess = np.roll(labels, i % 3, axis=1)
        pairs.append(([whole(labels)], [whole(guess)]))
    names = {1: "NCR", 2: "ED", 4: "ET"}
    return Dataset.from_rows(
        _samples(pairs), [Category(n, source_id=str(v)) for v, n in names.items()]
    )


def volumes() -> Dataset:
    """The same as slices of two volumes."""
    data = nested()
    samples = []
    for i, sample in enumerate(data):
        layers = {GUESS: data.layer(GUESS)[i].annotations}
        samples.append(
            Sample(
                sample.key, group=i // 3, order=i % 3, annotations=sample.annotations, layers=layers
            )
        )
    categories = [Category(n, source_id=s) for n, s in (("NCR", "1"), ("ED", "2"), ("ET", "4"))]
    return Dataset.from_rows(samples, categories, [Group("v0"), Group("v1")])


def labels(names: Sequence[str] = ("cat", "dog", "cow"), space: str = "object") -> Dataset:
    """A label on each image, and a score of each class; two images are wrong."""
    pairs = []
    for i in range(12):
        scores = [0.2, 0.2, 0.2][: len(names)]
        scores[(i if i % 5 else i + 1) % len(names)] = 0.5 + 0.03 * i
        guess = [Annotation("label", c, score=s) for c, s in enumerate(scores)]
        pairs.append(([Annotation("label", i % len(names))], guess))
    return Dataset.from_rows(_samples(pairs), [Category(n, space=space) for n in names])


def strange() -> Dataset:
    """Samples in and out of the distribution, with a score each."""
    pairs = [
        ([Annotation("label", i % 2)], [Annotation("label", 1, score=(i % 2) / 3 + i / 12)])
        for i in range(12)
    ]
    categories = [Category(n, space="distribution") for n in ("id", "ood")]
    return Dataset.from_rows(_samples(pairs), categories)


def clusters() -> Dataset:
    pairs = [
        (
            [Annotation("label", i % 3)],
            [Annotation("label", 3 + (i % 3 if i % 5 else 0), score=1.0)],
        )
        for i in range(12)
    ]
    categories = [Category(n) for n in ("a", "b", "c")]
    categories += [Category(str(n), space="cluster") for n in range(3)]
    return Dataset.from_rows(_samples(pairs), categories)


def quality() -> Dataset:
    pairs = [
        ([Annotation("label", 0, score=float(i))], [Annotation("label", 0, score=i * 0.9 + i % 3)])
        for i in range(12)
    ]
    return Dataset.from_rows(_samples(pairs), [Category("quality", space="quality")])


def defects() -> Dataset:
    """Heat maps over images with and without a defect."""
    rng = np.random.default_rng(5)
    pairs = []
    for i in range(IMAGES):
        mask = np.zeros((SIDE, SIDE), bool)
        if i % 2:
            mask[4:9, 5 : 9 + i] = True
        data, extra = field_to_map(rng.random((SIDE, SIDE)) + mask)
        heat = Annotation("field", map=LabelMap(bytes=data), extra=extra)
        pairs.append(([masked(mask, 0)] if i % 2 else [], [heat]))
    return Dataset.from_rows(_samples(pairs), [Category("scratch", space="defect")])


def regions() -> Dataset:
    """Two people's segmentations, and one of a method."""
    rng = np.random.default_rng(6)
    pairs = []
    for _ in range(IMAGES):
        people = [whole(rng.integers(1, k, (8, 8)), annotator=f"p{k}") for k in (3, 4)]
        pairs.append((people, [whole(rng.integers(1, 5, (8, 8)))]))
    return Dataset.from_rows(_samples(pairs), [])


def clicked() -> Dataset:
    """Objects, and what three clicks gave."""
    pairs = []
    for i in range(IMAGES):
        mask = np.zeros((12, 12), bool)
        mask[:10, :10] = True
        guess: Rows = []
        for click in range(1, 4):
            part = np.zeros((12, 12), bool)
            part[: 5 + click + i % 3, :10] = True
            guess.append(masked(part, None, attributes={"click": click}))
        pairs.append(([masked(mask)], guess))
    return Dataset.from_rows(_samples(pairs), [Category("a"), Category("b")])


def videos() -> Dataset:
    """Three videos of six frames, two tracks each; detected with an exchange of the two."""
    rng = np.random.default_rng(7)
    samples = []
    for g in range(3):
        for f in range(1, 7):
            true: Rows = []
            guess: Rows = []
            for k in range(2):
                box = (2.0 + 10 * k + f, 3.0 + g, 8.0, 9.0)
                near = tuple(v + float(rng.integers(-1, 2)) for v in box)
                swapped = k if f < 4 or g else 1 - k
                true.append(Annotation(category=k, bbox=box, track=10 * g + k))
                if f != 2 + k:
                    own = 10 * g + swapped
                    guess.append(Annotation(category=k, bbox=near, track=own, score=0.5 + f / 20))
            samples.append(
                Sample(
                    f"v{g}/{f}",
                    group=g,
                    order=f,
                    width=SIDE,
                    height=SIDE,
                    annotations=true,
                    layers={GUESS: guess},
                )
            )
    groups = [Group(f"v{g}", "video", frames=6) for g in range(3)]
    return Dataset.from_rows(samples, [Category("run"), Category("jump")], groups)


def generated() -> tuple[Dataset, Dataset]:
    """Videos that are real or of two generators, with a score each; no frames."""
    makers = [None, "Sora", "Gen2", None, "Sora", None, "Gen2", None]
    groups = [
        Group(f"v{i}", "video", attributes=None if m is None else {"generator": m})
        for i, m in enumerate(makers)
    ]
    categories = [Category(n, space="authenticity") for n in ("real", "fake")]
    true = [Annotation("label", int(m is not None), group=i) for i, m in enumerate(makers)]
    said = [
        Annotation("label", 1, group=i, score=0.3 + 0.4 * (m is not None) - 0.05 * i)
        for i, m in enumerate(makers)
    ]
    return (
        Dataset.from_rows([], categories, groups, group_annotations=true),
        Dataset.from_rows([], categories, groups, group_annotations=said),
    )


def changes() -> Dataset:
    """Pairs of dates with a mask of change."""
    samples, groups = [], []
    for i in range(IMAGES):
        mask = np.zeros((8, 8), bool)
        mask[1:5, 2:6] = True
        groups.append(Group(f"p{i}", "pair"))
        samples.append(Sample(f"p{i}/1", group=i, role="t1", width=8, height=8))
        samples.append(
            Sample(
                f"p{i}/2",
                group=i,
                role="t2",
                width=8,
                height=8,
                annotations=[masked(mask)],
                layers={GUESS: [masked(np.roll(mask, i, axis=0))]},
            )
        )
    return Dataset.from_rows(samples, [Category("change", space="change")], groups)


def ranked(*, pixels: bool = False) -> Dataset:
    """Three queries over nine images; easy, hard and junk ones of each."""
    number = iter(range(1, 10_000))
    at = {}
    samples = []
    shape = [[[2.0, 2.0, 12.0, 2.0, 12.0, 12.0, 2.0, 12.0]]]
    beside = [[[3.0, 3.0, 13.0, 3.0, 13.0, 13.0, 3.0, 13.0]]]
    for i in range(9):
        at[i] = next(number), next(number)
        kind = "object" if pixels else "label"
        drawn = [{"polygons": p} if pixels else {} for p in (shape, beside)]
        samples.append(
            Sample(
                f"i{i}",
                role="database",
                width=SIDE,
                height=SIDE,
                annotations=[Annotation(kind, annotation_id=at[i][0], **drawn[0])],
                layers={GUESS: [Annotation(kind, annotation_id=at[i][1], **drawn[1])]},
            )
        )
    for q in range(3):
        true = [
            Annotation("relation", c % 3, object=at[(q * 2 + c) % 9][0], annotation_id=next(number))
            for c in range(6)
        ]
        guess = [
            Annotation(
                "relation",
                object=at[(i * 2 + q) % 9][1],
                score=float(-i),
                annotation_id=next(number),
            )
            for i in range(9)
        ]
        samples.append(
            Sample(
                f"q{q}",
                role="query",
                width=SIDE,
                height=SIDE,
                annotations=true,
                layers={GUESS: guess},
            )
        )
    names = ("easy", "hard", "junk")
    return Dataset.from_rows(samples, [Category(n, space="relevance") for n in names])


def tasks() -> Dataset:
    """Two tasks of a stream, three classes each."""
    samples, groups, categories = [], [], []
    for g, name in enumerate(("mnist", "pets")):
        groups.append(Group(name, "dataset"))
        categories += [Category(str(c), space=name) for c in range(3)]
        for i in range(6):
            guess = [
                Annotation("label", 3 * g + c, score=0.9 if c == (i if i % 4 else 1) % 3 else 0.1)
                for c in range(3)
            ]
            samples.append(
                Sample(
                    f"{name}/{i}",
                    group=g,
                    split="test",
                    annotations=[Annotation("label", 3 * g + i % 3)],
                    layers={GUESS: guess},
                )
            )
    return Dataset.from_rows(samples, categories, groups)


Case = tuple[Callable[[], Dataset | tuple[Dataset, Dataset]], dict[str, Any]]

CASES: dict[str, Case] = {
    "anomaly": (defects, {}),
    "ava": (videos, {}),
    "boundary-iou": (lambda: objects(masks=True), {}),
    "boundary-pq": (lambda: objects(masks=True), {}),
    "change": (changes, {}),
    "classification": (labels, {}),
    "coco-bbox": (objects, {}),
    "coco-keypoints": (lambda: objects(points=True, overlap=False), {}),
    "coco-segm": (lambda: objects(masks=True), {}),
    "discovery": (clusters, {"known": ("a",)}),
    "interactive": (clicked, {}),
    "iqa": (quality, {}),
    "lvis": (lambda: objects(masks=True), {}),
    "mot": (videos, {}),
    "multisports": (videos, {}),
    "nested": (volumes, {}),
    "nested-images": (nested, {}),
    "obb": (objects, {}),
    "ood": (strange, {"positive": "ood"}),
    "open-images": (objects, {}),
    "panoptic-quality": (lambda: objects(masks=True), {}),
    "pixel-retrieval": (lambda: ranked(pixels=True), {}),
    "regions": (regions, {}),
    "retrieval": (ranked, {}),
    "semantic": (maps, {}),
    "stream": (tasks, {}),
    "ucf24": (videos, {}),
    "video-detection": (generated, {}),
    "voc": (objects, {}),
}
"""For each protocol what makes its data (one dataset, or truth and predictions apart), and its
parameters."""
