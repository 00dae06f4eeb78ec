"""The main job on generated data: make, import, validate, convert, draw. No download."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from granum.browse.draw import draw, sheet
from granum.errors import ExistsError, LossError
from granum.store.dataset import Dataset
from granum.store.media import read_map
from granum.synthetic import generate
from granum.verbs.convert import convert, read, write
from granum.verbs.diff import diff
from granum.verbs.look import info
from granum.verbs.validate import validate

__all__ = ["demo"]


def demo(target: str | Path = "demo", *, seed: int = 0, overwrite: bool = False) -> dict[str, Any]:
    """Make a dataset of real kinds from a seed and walk the main job on it.

    Args:
        target: folder to make.
        seed: equal seeds make equal data.
        overwrite: replace the folder (only one that an earlier demo made).

    Returns:
        Paths and counts, and ``summary``: what was done, in lines.

    Raises:
        ExistsError: the folder is there.
    """
    out = Path(target)
    _make_room(out, overwrite)
    began = time.perf_counter()
    made = generate(out / "images", seed=seed)
    truth = Dataset.from_rows(
        made.samples,
        made.categories,
        made.groups,
        group_annotations=made.group_annotations,
        media_root=made.root.resolve(),
    ).save(out / "demo.granum")
    kinds = info(truth)["layers"]["truth"]["kinds"]
    lines = [
        f"made      {len(truth)} images in {truth.groups.num_rows} groups, seed {seed}: "
        + ", ".join(f"{n} {k}s" for k, n in kinds.items())
    ]
    scenes = truth.select([i for i, s in enumerate(truth) if s.key.startswith("scenes/")])
    lines += _coco(scenes, out)
    lines += _yolo(out)
    pictures = _draw(truth, out)
    lines.append(f"drawn     {pictures} (what was made, and what came back from COCO and YOLO)")
    lines.append(
        f"done in {time.perf_counter() - began:.0f} s. Next: granum info {out / 'demo.granum'}"
    )
    return {"target": str(out), "picture": str(pictures), "kinds": kinds, "summary": lines}


_MARK = "made-by-granum-demo"


def _make_room(out: Path, overwrite: bool) -> None:
    import shutil

    if out.exists() and any(out.iterdir()):
        if not overwrite or not (out / _MARK).exists():
            raise ExistsError(f"{out} exists; --overwrite replaces a folder that granum demo made")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).write_text("")


def _coco(scenes: Dataset, out: Path) -> list[str]:
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


def _yolo(out: Path) -> list[str]:
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


def _draw(truth: Dataset, out: Path) -> Path:
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
    root = dataset.meta.map_root or dataset.meta.media_root
    return draw(
        sample.image(),
        sample.row,
        sample.categories,
        load_map=lambda label_map: read_map(label_map, root),
    )
