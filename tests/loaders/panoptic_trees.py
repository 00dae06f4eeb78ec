"""Panoptic trees typed by hand, and a reader of them that shares nothing with ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

import granum
from granum.schema.findings import Findings, OnError
from granum.store.dataset import Dataset

Json = Any
Ids = npt.NDArray[np.int64]

CATEGORIES: Json = [
    {"id": 1, "name": "person", "supercategory": "human", "isthing": 1, "color": [220, 20, 60]},
    {"id": 200, "name": "rug", "supercategory": "textile", "isthing": 0, "color": [250, 141, 255]},
]

# 4 columns, 3 rows; 65794 = 2 + 256 * 1 + 65536 * 1.
RED = [
    [0, 7, 7, 2],
    [0, 7, 2, 2],
    [0, 0, 2, 2],
]
GREEN = [
    [0, 0, 0, 1],
    [0, 0, 1, 1],
    [0, 0, 1, 1],
]
BLUE = GREEN

GOLDEN: Json = {
    "info": {"year": 2018},
    "licenses": [],
    "images": [{"id": 139, "file_name": "000139.jpg", "width": 4, "height": 3, "license": 2}],
    "annotations": [
        {
            "image_id": 139,
            "file_name": "000139.png",
            "segments_info": [
                {"id": 65794, "category_id": 200, "area": 5, "bbox": [2, 0, 2, 3], "iscrowd": 0},
                {"id": 7, "category_id": 1, "area": 3, "bbox": [1, 0, 2, 2], "iscrowd": 1},
            ],
        }
    ],
    "categories": CATEGORIES,
}


def golden(root: Path) -> Path:
    """The official layout: ``annotations/panoptic_val2017.json`` and ``…/000139.png``."""
    home = root / "annotations" / "panoptic_val2017"
    home.mkdir(parents=True)
    pixels = np.stack([np.array(c, np.uint8) for c in (RED, GREEN, BLUE)], axis=-1)
    Image.fromarray(pixels).save(home / "000139.png")
    (home.parent / "panoptic_val2017.json").write_text(json.dumps(GOLDEN))
    return root


def document(n: int, segments: int = 2, **changes: Json) -> Json:
    """``n`` images of 6 x 4 pixels, ``segments`` each."""
    return {
        "images": [
            {"id": 10 + i, "file_name": f"{i}.jpg", "width": 6, "height": 4} for i in range(n)
        ],
        "annotations": [
            {
                "image_id": 10 + i,
                "file_name": f"{i}.png",
                "segments_info": [
                    {"id": k + 1, "category_id": 1, "area": 4, "bbox": [k, 0, 1, 4], "iscrowd": 0}
                    for k in range(segments)
                ],
            }
            for i in range(n)
        ],
        "categories": [{"id": 1, "name": "person"}],
        **changes,
    }


def save(path: Path, made: Json, folder: str | None = None) -> Path:
    """Write a document and a PNG for each of its annotations: column k has id k + 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made if isinstance(made, str) else json.dumps(made))
    home = path.parent / (folder or path.stem)
    for annotation in [] if isinstance(made, str) else made["annotations"]:
        ids = np.zeros((4, 6), np.int64)
        for k in range(len(annotation["segments_info"])):
            ids[:, k % 6] = k + 1
        put(home / annotation["file_name"], ids)
    return path


def put(path: Path, ids: Ids) -> None:
    """Write a PNG of ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def ids_of(path: Path) -> Ids:
    """``rgb2id`` of panopticapi."""
    color = np.asarray(Image.open(path), np.int64)
    return np.asarray(color[:, :, 0] + 256 * color[:, :, 1] + 256 * 256 * color[:, :, 2])


def load(path: Path) -> dict[str, list[tuple[str, int, int, list[int], int]]]:
    """What panopticapi's evaluation reads of a file: by image, name and area of each segment, its
    pixels, box and crowd flag; and the errors that it raises, raised."""
    data = json.loads(path.read_text())
    images = {i["id"]: i for i in data["images"]}
    categories = {c["id"]: c for c in data["categories"]}
    assert all(c["isthing"] in (0, 1) for c in categories.values())
    out = {}
    for annotation in data["annotations"]:
        image = images[annotation["image_id"]]
        ids = ids_of(path.with_suffix("") / annotation["file_name"])
        assert ids.shape == (image["height"], image["width"])
        listed = {s["id"]: s for s in annotation["segments_info"]}
        assert len(listed) == len(annotation["segments_info"])
        assert set(np.unique(ids).tolist()) - {0} == listed.keys()
        out[image["file_name"]] = [
            (
                categories[s["category_id"]]["name"],
                s["area"],
                int((ids == s["id"]).sum()),
                s["bbox"],
                s["iscrowd"],
            )
            for s in annotation["segments_info"]
        ]
    return out


def read(path: Path, on_error: OnError = "fail", **options: Any) -> tuple[Dataset, Findings]:
    """What our reader makes of a path, and what it found wrong."""
    findings = Findings()
    dataset = granum.read(path, "coco_panoptic", on_error=on_error, findings=findings, **options)
    return dataset, findings


def files(root: Path) -> dict[str, bytes]:
    """All files below a folder."""
    found = sorted(p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}
