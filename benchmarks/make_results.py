"""Make COCO truth of val2017's size with results of boxes and of masks, eight for each truth.

    python benchmarks/make_results.py FOLDER --seed 0

Writes ``truth.json`` (polygons, a few crowds), ``bbox.json`` and ``segm.json`` (results as COCO's
server takes them: boxes alone, masks alone).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from make_coco import Maker, write_list
from numpy.typing import NDArray

IMAGES, TRUTHS, EACH = 5_000, 36_781, 8
VERTICES = 18.6


def results(maker: Maker, rng: np.random.Generator, folder: Path) -> None:
    """Write results: truths moved and stretched, one in five of a wrong category."""
    from pycocotools import mask as coco_mask

    of = rng.permutation(np.repeat(np.arange(len(maker.ids)), EACH))
    of = of[~maker.is_crowd[of]]
    names = np.array([c["id"] for c in maker.categories])
    wrong = rng.random(len(of)) < 0.2
    category = np.where(wrong, rng.choice(names, len(of)), maker.category_of[of])
    score = np.clip(rng.beta(1.2, 3, len(of)) + 0.3 * ~wrong * rng.random(len(of)), 0, 1).round(5)
    shift, stretch = rng.normal(0, 0.06, (len(of), 2)), rng.normal(1, 0.08, (len(of), 2))
    boxes, masks = [], []
    for row, truth in enumerate(of.tolist()):
        ring, corner, side = outline(maker, truth)
        size = side * np.maximum(stretch[row], 0.5)
        start = corner + shift[row] * side
        moved = (ring - corner) * np.maximum(stretch[row], 0.5) + start
        image = maker.image_of[truth]
        height, width = int(maker.heights[image]), int(maker.widths[image])
        rle = coco_mask.frPyObjects([moved.ravel().tolist()], height, width)[0]
        head = (
            f'{{"image_id": {maker.image_ids[image]}, "category_id": {category[row]}, '
            f'"score": {score[row]}'
        )
        box = ", ".join(f"{v:.2f}" for v in (*start, *size))
        counts = json.dumps(rle["counts"].decode())
        boxes.append(f'{head}, "bbox": [{box}]}}')
        masks.append(
            f'{head}, "segmentation": {{"size": [{height}, {width}], "counts": {counts}}}}}'
        )
    for name, texts in (("bbox", boxes), ("segm", masks)):
        (folder / f"{name}.json").write_text("[" + ", ".join(texts) + "]")


def outline(
    maker: Maker, row: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The largest polygon of an object in pixels, its top-left corner and its size."""
    from make_coco import BLOCK

    block, at = divmod(row, BLOCK)
    drawn = maker.blocks[block]
    starts = drawn.starts[drawn.firsts[at] : drawn.firsts[at + 1] + 1]
    longest = int(np.argmax(np.diff(starts)))
    ring = drawn.xy[starts[longest] : starts[longest + 1]].reshape(-1, 2) / 100
    corner = ring.min(axis=0)
    return ring, corner, ring.max(axis=0) - corner


def make_results(folder: Path, seed: int, images: int, truths: int) -> None:
    """Write the three files; the same arguments give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    maker = Maker(seed, images, truths, VERTICES)
    results(maker, np.random.default_rng([seed, 2]), folder)
    with (folder / "truth.json").open("w", encoding="ascii") as file:
        file.write("{")
        write_list(file, "images", maker.image_texts())
        file.write(", ")
        write_list(file, "annotations", maker.annotation_texts("shuffled"))
        file.write(", ")
        write_list(file, "categories", map(json.dumps, maker.categories))
        file.write("}")


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--truths", type=int, default=TRUTHS)
    args = parser.parse_args()
    make_results(args.folder, args.seed, args.images, args.truths)


if __name__ == "__main__":
    main()
