"""Make a synthetic COCO instances file of train2017's size and shape.

    python benchmarks/make_coco.py OUT.json --seed 0 --order shuffled

The three orders hold the same images and annotations, so they may be compared with each other.
Numbers are drawn with numpy for the whole file; text is encoded and written block by block.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from shapes import Polygons, crowd, draw_polygons

Order = Literal["shuffled", "sorted", "annotations-first"]

ORDERS: tuple[Order, ...] = ("shuffled", "sorted", "annotations-first")
IMAGES, ANNOTATIONS = 118_287, 860_001
VERTICES = 18.6  # mean per annotation: what makes a file of 416 MB at full size
CROWDS = 0.012
BLOCK = 50_000
UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
SIZES = ((640, 480, 0.45), (480, 640, 0.2), (640, 427, 0.2), (427, 640, 0.1), (500, 375, 0.05))
TEXT = [repr(i / 100) for i in range(100 * 640 + 1)]  # every coordinate a file can hold

NAMES = {
    "person": "person",
    "vehicle": "bicycle,car,motorcycle,airplane,bus,train,truck,boat",
    "outdoor": "traffic light,fire hydrant,stop sign,parking meter,bench",
    "animal": "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe",
    "accessory": "backpack,umbrella,handbag,tie,suitcase",
    "sports": "frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,"
    "surfboard,tennis racket",
    "kitchen": "bottle,wine glass,cup,fork,knife,spoon,bowl",
    "food": "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake",
    "furniture": "chair,couch,potted plant,bed,dining table,toilet",
    "electronic": "tv,laptop,mouse,remote,keyboard,cell phone",
    "appliance": "microwave,oven,toaster,sink,refrigerator",
    "indoor": "book,clock,vase,scissors,teddy bear,hair drier,toothbrush",
}
INFO = {
    "description": "Synthetic data set in the form of COCO 2017",
    "url": "http://cocodataset.org",
    "version": "1.0",
    "year": 2017,
    "contributor": "granum benchmarks",
    "date_created": "2017/09/01",
}
LICENSES = [
    {"url": f"http://creativecommons.org/licenses/{name}/2.0/", "id": i + 1, "name": name}
    for i, name in enumerate(("by-nc-sa", "by-nc", "by-nc-nd", "by", "by-sa", "by-nd", "cc0", "pd"))
]


def write_list(file: TextIO, key: str, texts: Iterable[str]) -> None:
    """Write the JSON `texts` as the list `key`, a few thousand at a time."""
    file.write(f'"{key}": [')
    batch: list[str] = []
    lead = ""
    for text in texts:
        batch.append(text)
        if len(batch) == 4096:
            file.write(lead + ", ".join(batch))
            batch, lead = [], ", "
    file.write((lead if batch else "") + ", ".join(batch) + "]")


class Maker:
    """All the numbers of one file, and the ways to write them."""

    def __init__(self, seed: int, images: int, annotations: int, vertices: float) -> None:
        """Draw everything but the fields of an image that nothing else depends on."""
        self.seed = seed
        self.rng = rng = np.random.default_rng(seed)
        sizes = np.array(SIZES)
        kind = rng.choice(len(SIZES), images, p=sizes[:, 2])
        self.widths, self.heights = sizes[kind, :2].astype(np.int64).T
        self.image_ids = rng.permutation(np.cumsum(rng.integers(1, 9, images)))
        weights = rng.gamma(3.0, 1.0, images)
        self.image_of = rng.choice(images, annotations, p=weights / weights.sum())

        names = [(name, group) for group, text in NAMES.items() for name in text.split(",")]
        ids = [i for i in range(1, 91) if i not in UNUSED_IDS]
        self.categories = [
            {"supercategory": group, "id": i, "name": name}
            for i, (name, group) in zip(ids, names, strict=True)
        ]
        popular = 1 / np.arange(1.0, 81.0)
        self.category_of = rng.choice(np.array(ids), annotations, p=popular / popular.sum())
        self.is_crowd = np.zeros(annotations, bool)
        self.is_crowd[rng.choice(annotations, round(CROWDS * annotations), replace=False)] = True
        ids_ = rng.permutation(np.cumsum(rng.integers(1, 6, annotations)))
        self.ids = np.where(self.is_crowd, 900_100_000 + ids_, ids_)

        self.crowds: dict[int, dict[str, Any]] = {}
        for i in np.flatnonzero(self.is_crowd).tolist():
            image = self.image_of[i]
            self.crowds[i] = crowd(rng, int(self.widths[image]), int(self.heights[image]))
        self.blocks: list[Polygons] = []
        for start in range(0, annotations, BLOCK):
            of = self.image_of[start : start + BLOCK]
            self.blocks.append(draw_polygons(rng, self.widths[of], self.heights[of], vertices))

    def image_texts(self) -> Iterator[str]:
        """Yield every image as JSON."""
        rng = np.random.default_rng([self.seed, 1])
        n = len(self.image_ids)
        low = [1, 1, 2000, 10**9, 0, 0, 1, 0, 0, 0]
        high = [9, 10, 9000, 10**10, 1 << 20, 1 << 20, 29, 24, 60, 60]
        draws = rng.integers(low, high, (n, len(low))).tolist()
        columns = (self.image_ids.tolist(), self.widths.tolist(), self.heights.tolist(), draws)
        for i, w, h, draw in zip(*columns, strict=True):
            licence, farm, server, photo, secret, more, day, hour, minute, second = draw
            yield (
                f'{{"license": {licence}, "file_name": "{i:012d}.jpg", "coco_url": '
                f'"http://images.cocodataset.org/train2017/{i:012d}.jpg", '
                f'"height": {h}, "width": {w}, "date_captured": '
                f'"2013-11-{day:02d} {hour:02d}:{minute:02d}:{second:02d}", "flickr_url": '
                f'"http://farm{farm}.staticflickr.com/{server}/{photo}_{secret:05x}{more:05x}_z.jpg"'
                f', "id": {i}}}'
            )

    def segmentation(self, row: int) -> tuple[str, str, str]:
        """Return the segmentation, area and box of an annotation as JSON."""
        if row in self.crowds:
            found = self.crowds[row]
            return json.dumps(found["segmentation"]), str(found["area"]), json.dumps(found["bbox"])
        block, at = divmod(row, BLOCK)
        drawn = self.blocks[block]
        starts = drawn.starts[drawn.firsts[at] : drawn.firsts[at + 1] + 1].tolist()
        polygons = [
            "[" + ", ".join(map(TEXT.__getitem__, drawn.xy[a:b].tolist())) + "]"
            for a, b in pairwise(starts)
        ]
        x0, y0, x1, y1 = drawn.boxes[at].tolist()
        box = f"[{TEXT[x0]}, {TEXT[y0]}, {TEXT[x1 - x0]}, {TEXT[y1 - y0]}]"
        return f"[{', '.join(polygons)}]", repr(round(int(drawn.areas[at]) / 20_000, 4)), box

    def annotation_texts(self, order: Order) -> Iterator[str]:
        """Yield every annotation as JSON, in the order of the images if `order` says so."""
        rows = np.arange(len(self.ids))
        if order == "sorted":
            rows = np.argsort(self.image_of, kind="stable")
        image_ids = self.image_ids[self.image_of]
        for row in rows.tolist():
            segmentation, area, box = self.segmentation(row)
            yield (
                f'{{"segmentation": {segmentation}, "area": {area}, '
                f'"iscrowd": {int(self.is_crowd[row])}, "image_id": {image_ids[row]}, '
                f'"bbox": {box}, "category_id": {self.category_of[row]}, "id": {self.ids[row]}}}'
            )


def make_coco(
    path: Path,
    seed: int = 0,
    images: int = IMAGES,
    annotations: int = ANNOTATIONS,
    order: Order = "shuffled",
    vertices: float = VERTICES,
) -> None:
    """Write a COCO instances file; the same arguments give the same bytes."""
    maker = Maker(seed, images, annotations, vertices)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="ascii", newline="") as file:
        file.write(f'{{"info": {json.dumps(INFO)}, "licenses": {json.dumps(LICENSES)}, ')
        lists = [("images", maker.image_texts()), ("annotations", maker.annotation_texts(order))]
        for key, texts in lists[::-1] if order == "annotations-first" else lists:
            write_list(file, key, texts)
            file.write(", ")
        write_list(file, "categories", map(json.dumps, maker.categories))
        file.write("}")
    partial.rename(path)


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, metavar="OUT.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--annotations", type=int, default=ANNOTATIONS)
    parser.add_argument("--order", choices=ORDERS, default="shuffled")
    parser.add_argument("--vertices", type=float, default=VERTICES, help="mean per annotation")
    args = parser.parse_args()
    start = time.perf_counter()
    make_coco(args.path, args.seed, args.images, args.annotations, args.order, args.vertices)
    seconds = time.perf_counter() - start
    print(f"{args.path}: {args.path.stat().st_size / 1e6:.1f} MB in {seconds:.1f} s")


if __name__ == "__main__":
    main()
