"""Trees of anomaly data sets, typed by hand from their specifications."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from granum.loaders.base import Intake, formats
from granum.loaders.reading import read_into
from granum.schema.findings import Findings, OnError
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset

Pixels = list[list[int]]

NONE: Pixels = [[0, 0, 0], [0, 0, 0]]
CORNER: Pixels = [[255, 255, 0], [0, 0, 0]]
RIGHT: Pixels = [[0, 0, 255], [0, 0, 255]]


def put(root: Path, name: str, pixels: Pixels | None = None) -> None:
    """An image of 3 x 2 pixels, or a mask."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        Image.new("RGB", (3, 2), (90, 60, 30)).save(path)
    else:
        Image.fromarray(np.array(pixels, np.uint8)).save(path)


def mvtec_ad(root: Path) -> Path:
    """Two products; ``train`` has stems that ``test`` has too."""
    for name in ("train/good/000.png", "train/good/001.png", "test/good/000.png"):
        put(root, f"bottle/{name}")
    for name in ("test/crack/000.png", "test/crack/001.png", "test/dent/000.png"):
        put(root, f"bottle/{name}")
    put(root, "bottle/ground_truth/crack/000_mask.png", CORNER)
    put(root, "bottle/ground_truth/crack/001_mask.png", RIGHT)
    put(root, "bottle/ground_truth/dent/000_mask.png", RIGHT)
    put(root, "grid/train/good/000.png")
    put(root, "grid/test/crack/000.png")
    put(root, "grid/ground_truth/crack/000_mask.png", CORNER)
    (root / "license.txt").write_text("…")
    (root / "bottle/readme.txt").write_text("…")
    return root


def loco(root: Path) -> Path:
    """MVTec LOCO: two masks of one photo, each with the value of its type."""
    put(root, "pins/train/good/000.png")
    put(root, "pins/test/good/000.png")
    put(root, "pins/test/logical_anomalies/000.png")
    put(root, "pins/test/structural_anomalies/000.png")
    put(root, "pins/ground_truth/logical_anomalies/000/000.png", [[254, 0, 0], [0, 0, 0]])
    put(root, "pins/ground_truth/logical_anomalies/000/001.png", [[0, 0, 0], [0, 250, 250]])
    put(root, "pins/ground_truth/structural_anomalies/000/000.png", [[0, 251, 0], [0, 0, 0]])
    records: list[Any] = [
        {"defect_name": "missing", "pixel_value": 254, "saturation_threshold": 7, "relative": False}
    ]
    records += [{"defect_name": n, "pixel_value": v} for n, v in (("extra", 250), ("broken", 251))]
    (root / "pins/defects_config.json").write_text(json.dumps(records))
    return root


def solid(root: Path) -> Path:
    """MVTec 3D-AD: points beside photos; good ones have masks, too."""
    for place in ("train/good", "validation/good", "test/good", "test/hole"):
        for stem in ("000", "001")[: 1 + (place == "test/hole")]:
            put(root, f"bagel/{place}/rgb/{stem}.png")
            path = root / f"bagel/{place}/xyz/{stem}.tiff"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"II*\0")  # points are not opened
            bad = place == "test/hole"
            put(root, f"bagel/{place}/gt/{stem}.png", CORNER if bad else NONE)
    return root


def visa(root: Path) -> Path:
    """VisA: masks hold numbers of types."""
    for n in ("0000", "0001", "0002"):
        put(root, f"pcb1/Data/Images/Normal/{n}.JPG")
    for n in ("000", "001", "002"):
        put(root, f"pcb1/Data/Images/Anomaly/{n}.JPG")
    put(root, "pcb1/Data/Masks/Anomaly/000.png", [[1, 1, 0], [0, 0, 3]])
    put(root, "pcb1/Data/Masks/Anomaly/001.png", [[0, 0, 2], [0, 0, 0]])
    put(root, "pcb1/Data/Masks/Anomaly/002.png", [[0, 9, 0], [0, 0, 0]])
    images, masks = "pcb1/Data/Images", "pcb1/Data/Masks/Anomaly"
    (root / "pcb1/image_anno.csv").write_text(
        "image,label,mask\n"
        f"{images}/Normal/0000.JPG,normal,\n"
        f'{images}/Anomaly/000.JPG,"Bent,scratch",{masks}/000.png\n'
        f"{images}/Anomaly/001.JPG,melt,{masks}/001.png\n"
        f"{images}/Anomaly/002.JPG,burnt,{masks}/002.png\n"
    )
    (root / "split_csv").mkdir()
    lines = [("train", "Normal/0000"), ("train", "Normal/0001"), ("test", "Normal/0002")]
    lines += [("test", f"Anomaly/00{i}") for i in range(3)]
    (root / "split_csv/1cls.csv").write_text(
        "object,split,label,image,mask\n"
        + "".join(f"pcb1,{s},x,{images}/{n}.JPG,\n" for s, n in lines)
    )
    return root


def tiles(root: Path) -> Path:
    """Magnetic tiles: photo and mask beside each other; masks are ramps."""
    for folder, mask in (("MT_Free", NONE), ("MT_Crack", [[255, 128, 127], [3, 0, 0]])):
        put(root, f"{folder}/Imgs/exp1_num_1.jpg")
        put(root, f"{folder}/Imgs/exp1_num_1.png", mask)
    return root


def read(root: Path, on_error: OnError = "fail", **options: Any) -> tuple[Dataset, Findings]:
    findings = Findings(on_error)
    reader = formats["mvtec"]()
    return read_into(MemoryBuilder(), reader, root, Intake(findings), options=options), findings


def drawn(dataset: Dataset) -> dict[str, list[tuple[str, list[list[int]]]]]:
    """Of each sample with objects their types and masks."""
    out: dict[str, list[tuple[str, list[list[int]]]]] = {}
    for sample in dataset:
        for k, one in enumerate(sample.annotations):
            if one.kind == "object" and one.category is not None:
                name = dataset.categories["name"][one.category].as_py()
                out.setdefault(sample.key, []).append((name, sample.mask(k).astype(int).tolist()))
    return out


def labels(dataset: Dataset) -> dict[str, list[str]]:
    names = dataset.categories["name"].to_pylist()
    return {
        s.key: [names[a.category or 0] for a in s.annotations if a.kind == "label"] for s in dataset
    }
