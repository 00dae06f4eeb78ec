"""The demo's conversions: refused, allowed, written, read back, drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from granum.browse.draw import draw, sheet
from granum.errors import LossError
from granum.store.dataset import Dataset
from granum.verbs.convert import convert, read, write
from granum.verbs.diff import diff
from granum.verbs.validate import validate

__all__ = ["pictures", "to_coco", "to_yolo"]


def to_coco(scenes: Dataset, out: Path) -> list[str]:
    """To COCO, saying what it cannot hold; back in; and checked."""
    tree = out / "coco"
    allowed: list[str] = []
    try:
        write(scenes, tree, "coco", holes="rle")
    except LossError as error:
        allowed = error.refused
    report = write(scenes, tree, "coco", holes="rle", allow_loss=allowed, media="link")
    (out / "coco-loss.json").write_text(json.dumps(report.to_dict(), indent=1))
    lost = ", ".join(f"{n} {c}" for n, c in report.lost_names().items())
    found = validate(tree)
    done = convert(tree, out / "coco.granum")
    return [
        f"to COCO   refused at first, then with --allow-loss {','.join(allowed)}: {lost}",
        f"imported  {done.read['samples']} images, {done.read['annotations']} annotations "
        f"from {tree} in {done.seconds:.2f} s",
        f"validated {found.findings.errors} errors, "
        f"{found.findings.at_least('warning') - found.findings.errors} warnings",
    ]


def to_yolo(out: Path) -> list[str]:
    """From the imported store to YOLO polygons and back; and what changed."""
    source, tree = out / "coco.granum", out / "yolo"
    allowed = []
    try:
        convert(source, tree, to="yolo", options={"task": "seg"})
    except LossError as error:
        allowed = error.refused
    done = convert(
        source, tree, to="yolo", allow_loss=allowed, media="link", options={"task": "seg"}
    )
    lost = ", ".join(f"{n} {c}" for n, c in done.losses.lost_names().items())
    (out / "yolo-loss.json").write_text(json.dumps(done.losses.to_dict(), indent=1))
    back = convert(tree, out / "yolo.granum")
    same = diff(out / "coco.granum", out / "coco.granum").same
    return [
        f"to YOLO   {done.written['samples']} images; lost, as allowed: {lost}",
        f"read back {back.read['annotations']} objects; a store equals itself: {same}",
    ]


def pictures(truth: Dataset, out: Path) -> Path:
    """A sheet: scenes, a video frame, a pair, a defect; then the same scene after each format."""
    coco, yolo = read(out / "coco.granum"), read(out / "yolo.granum")
    scene = _richest(truth)
    name = scene.rpartition("/")[2]

    def find(dataset: Dataset) -> str:
        keys = dataset.samples(["key"])["key"].to_pylist()
        return str(next(k for k in keys if k.endswith(name)))

    keys = truth.samples(["key"])["key"].to_pylist()
    frame = next(k for k in keys if k.startswith("video/"))
    pair = next(k for k in keys if k.startswith("pairs/") and k.endswith("t2.png"))
    defect = next((k for k in keys if "/test/hole/" in k), keys[-1])
    shown = [
        (truth, scene, "made: a scene"),
        (truth, frame, "made: a frame of a video"),
        (truth, pair, "made: after a change"),
        (coco, find(coco), "the scene, back from COCO"),
        (yolo, find(yolo), "the scene, back from YOLO"),
        (truth, defect, "made: a defect"),
    ]
    pictures = [_picture(dataset, key) for dataset, key, _ in shown]
    path = out / "demo.png"
    sheet(pictures, columns=3, titles=[title for _, _, title in shown]).save(path)
    return path


def _richest(truth: Dataset) -> str:
    """The scene with most annotations."""
    best, most = "", -1
    for part in truth.parts:
        counts = np.diff(part.offsets(truth.meta.layer))
        for key, n in zip(part.samples()["key"].to_pylist(), counts.tolist(), strict=True):
            if key.startswith("scenes/") and n > most:
                best, most = key, n
    return best


def _picture(dataset: Dataset, key: str) -> Any:
    sample = dataset[key]
    return draw(
        sample.image(),
        sample.row,
        sample.categories,
        load_map=sample.read_map,
    )
