"""Random COCO cases, and their official numbers."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Json = dict[str, Any]
SIZE = (120, 160)  # height, width


def case(seed: int, compared: str, images: int = 14) -> tuple[Json, list[Json]]:
    """Truth and results: image ids out of order, unused categories, crowds, images without truth,
    without predictions, with more than 100, equal scores, `ignore`, areas that are not the box's.
    """
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.arange(5, 5 + 3 * images, 3))[:images]
    categories = [{"id": int(i), "name": f"c{i}"} for i in (7, 2, 31, 90)]
    truths, results = [], []
    for number, image in enumerate(ids.tolist()):
        for _ in range(0 if number == 0 else int(rng.integers(1, 8))):
            truths.append(_truth(rng, image, compared, len(truths) + 1))
        mine = [t for t in truths if t["image_id"] == image]
        count = {1: 0, 2: 230}.get(number, int(rng.integers(1, 25)))
        for _ in range(count):
            results.append(_result(rng, image, compared, mine))
    shown = [{"id": i, "file_name": f"{i}.jpg", "height": 120, "width": 160} for i in ids.tolist()]
    return {"images": shown, "annotations": truths, "categories": categories}, results


def _truth(rng: np.random.Generator, image: int, compared: str, number: int) -> Json:
    box = _box(rng)
    out: Json = {
        "id": number,
        "image_id": image,
        "category_id": int(rng.choice([7, 2, 31])),
        "bbox": box,
        "area": round(box[2] * box[3] * float(rng.uniform(0.6, 1.4)), 2),
        "iscrowd": int(rng.random() < 0.12),
        "ignore": int(rng.random() < 0.1),
    }
    if compared == "segm":
        out["segmentation"] = _run_lengths(box) if out["iscrowd"] else [_ring(box, rng)]
    if compared == "keypoints":
        points = _points(rng, box)
        if rng.random() < 0.2:
            points[:, :] = 0
        out["keypoints"] = points.ravel().tolist()
        out["num_keypoints"] = int((points[:, 2] > 0).sum())
    return out


def _result(rng: np.random.Generator, image: int, compared: str, truths: list[Json]) -> Json:
    near = truths[int(rng.integers(len(truths)))] if truths and rng.random() < 0.7 else None
    box = _box(rng)
    if near is not None:
        box = [round(v + float(rng.normal(0, 3)), 2) for v in near["bbox"]]
        box[2:] = [max(1.0, v) for v in box[2:]]
    out: Json = {
        "image_id": image,
        "category_id": near["category_id"] if near and rng.random() < 0.85 else 2,
        "score": round(float(rng.random()), 1),
    }
    if compared == "bbox":
        out["bbox"] = box
    elif compared == "segm":
        out["segmentation"] = _encoded(_ring(box, rng))
    else:
        points = _points(rng, box)
        if near is not None:
            points = np.reshape(near["keypoints"], (17, 3)) + rng.normal(0, 3, (17, 3)).round(2)
        points[:, 2] = 1
        out["keypoints"] = points.ravel().tolist()
    return out


def _box(rng: np.random.Generator) -> list[float]:
    w, h = rng.choice([12.0, 40.0, 100.0], 2) * rng.uniform(0.5, 1.1, 2)
    x, y = rng.uniform(0, 160 - w), rng.uniform(0, 120 - min(h, 110))
    return [round(float(v), 2) for v in (x, y, w, h)]


def _ring(box: list[float], rng: np.random.Generator) -> list[float]:
    x, y, w, h = box
    angle = np.sort(rng.random(9)) * 2 * np.pi
    at = np.column_stack([x + w / 2 * (1 + np.cos(angle)), y + h / 2 * (1 + np.sin(angle))])
    return [float(v) for v in at.round(2).ravel()]


def _encoded(ring: list[float]) -> Json:
    rle = coco_mask.frPyObjects([ring], *SIZE)[0]
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def _run_lengths(box: list[float]) -> Json:
    x, y, w, h = (int(v) for v in box)
    mask = np.zeros(SIZE, bool)
    mask[y : y + h, x : x + w] = True
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=False))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]]))
    return {"size": list(SIZE), "counts": counts.tolist()}


def _points(rng: np.random.Generator, box: list[float]) -> np.ndarray[Any, Any]:
    x, y, w, h = box
    points = np.column_stack([rng.uniform(x, x + w, 17), rng.uniform(y, y + h, 17)]).round(1)
    return np.column_stack([points, rng.integers(0, 3, 17)])


def written(folder: Path, truth: Json, results: list[Json]) -> tuple[Path, Path]:
    """The two files."""
    paths = folder / "truth.json", folder / "results.json"
    for path, content in zip(paths, (truth, results), strict=True):
        path.write_text(json.dumps(content))
    return paths


def official(paths: tuple[Path, Path], compared: str) -> COCOeval:
    """What pycocotools says of the files."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(paths[0]))
        run = COCOeval(truth, truth.loadRes(str(paths[1])), compared)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


def official_hits(run: COCOeval) -> dict[int, tuple[int, int, int]]:
    """Right, wrong and missed at IoU 0.5 of each image id, from its matches."""
    out: dict[int, tuple[int, int, int]] = {}
    for found in run.evalImgs:
        if found is None or found["aRng"] != run.params.areaRng[0]:
            continue
        hit, spared = found["dtMatches"][0] > 0, found["dtIgnore"][0].astype(bool)
        real = ~found["gtIgnore"].astype(bool)
        tp, fp = int((hit & ~spared).sum()), int((~hit & ~spared).sum())
        fn = int((found["gtMatches"][0][real] == 0).sum())
        old = out.get(found["image_id"], (0, 0, 0))
        out[found["image_id"]] = (old[0] + tp, old[1] + fp, old[2] + fn)
    return out
