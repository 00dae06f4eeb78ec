"""Drawn LVIS cases, and their official numbers."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.metrics import detections
from tests.metrics.detections import Json

CLASSES = {7: "r", 2: "c", 31: "f", 90: "f", 4: "c", 5: "r"}


def case(seed: int, iou_type: str, images: int = 14) -> tuple[Json, list[Json]]:
    """Truth and results: ids out of order, a class without truth (5), images without truth, without
    predictions, with more than 300, equal scores, `ignore`, rows of no area, negative and partial
    lists, predictions of classes that are on neither side."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.arange(5, 5 + 3 * images, 3))[:images].tolist()
    shown, truths, results = [], [], []
    for number, image in enumerate(ids):
        mine = [_truth(rng, image) for _ in range(int(rng.integers(0, 8)) if number else 0)]
        truths += mine
        there = {t["category_id"] for t in mine}
        away = [c for c in CLASSES if c not in there]
        for _ in range({1: 0, 2: 420}.get(number, int(rng.integers(1, 25)))):
            results.append(_result(rng, image, iou_type, mine))
        shown.append(
            {
                "id": image,
                "coco_url": f"http://images.cocodataset.org/val2017/{image}.jpg",
                "height": detections.SIZE[0],
                "width": detections.SIZE[1],
                "neg_category_ids": [c for c in away if rng.random() < 0.4],
                "not_exhaustive_category_ids": [c for c in there if rng.random() < 0.3],
            }
        )
    for number, truth in enumerate(truths):
        truth["id"] = number + 1
    classes = [
        {"id": i, "name": f"c{i}", "synset": f"c.n.{i}", "frequency": f} for i, f in CLASSES.items()
    ]
    return {"images": shown, "annotations": truths, "categories": classes}, results


def _truth(rng: np.random.Generator, image: int) -> Json:
    box = detections._box(rng)
    area = round(box[2] * box[3] * float(rng.uniform(0.6, 1.4)), 2)
    out: Json = {
        "image_id": image,
        "category_id": int(rng.choice([7, 2, 31, 90, 4])),
        "bbox": box,
        "area": 0.0 if rng.random() < 0.06 else area,
        "segmentation": [detections._ring(box, rng)],
    }
    if rng.random() < 0.1:
        out["ignore"] = 1
    return out


def _result(rng: np.random.Generator, image: int, iou_type: str, truths: list[Json]) -> Json:
    near = truths[int(rng.integers(len(truths)))] if truths and rng.random() < 0.7 else None
    box = detections._box(rng)
    if near is not None:
        box = [round(v + float(rng.normal(0, 3)), 2) for v in near["bbox"]]
        box[2:] = [max(1.0, v) for v in box[2:]]
    empty = rng.random() < 0.05
    right = near is not None and rng.random() < 0.85
    out: Json = {
        "image_id": image,
        "category_id": near["category_id"] if right and near else int(rng.choice([*CLASSES])),
        "score": round(float(rng.random()), 1),
    }
    if iou_type == "bbox":
        out["bbox"] = [*box[:2], 0.0, box[3]] if empty else box
    else:
        ring = [-9.0, -9.0, -5.0, -9.0, -5.0, -5.0] if empty else detections._ring(box, rng)
        out["segmentation"] = detections._encoded(ring)
    return out


def official(
    paths: tuple[Path, Path],
    iou_type: str,
    monkeypatch: pytest.MonkeyPatch,
    fixed: int | None = None,
) -> Any:
    """The run of lvis-api on the files; ``fixed``: with so many predictions of each class instead
    of 300 of each image."""
    lvis = pytest.importorskip("lvis")
    monkeypatch.setattr(np, "float", float, raising=False)  # lvis 0.5.3 is of NumPy before 1.24
    logging.getLogger("lvis").setLevel(logging.ERROR)
    truth = lvis.LVIS(str(paths[0]))
    if fixed is None:
        found = lvis.LVISResults(truth, str(paths[1]))
    else:
        by_class: dict[int, list[Json]] = {}
        for row in json.loads(paths[1].read_text()):
            by_class.setdefault(row["category_id"], []).append(row)
        best: list[Json] = []
        for rows in by_class.values():
            best += sorted(rows, key=lambda r: r["score"], reverse=True)[:fixed]
        chosen = paths[1].with_name("best.json")
        chosen.write_text(json.dumps(best))
        found = lvis.LVISResults(truth, str(chosen), max_dets=-1)
    run = lvis.LVISEval(truth, found, iou_type)
    run.run()
    return run
