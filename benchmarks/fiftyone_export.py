"""COCO into FiftyOne: its own importer against granum, from the same file and from a store.

    python benchmarks/fiftyone_export.py --small     # 500 images
    python benchmarks/fiftyone_export.py             # 5,000 images, 36,781 annotations

Each run is a process with FiftyOne's database started before the clock: `export_s` is the time from
call to return, `labels` what FiftyOne then counts. Boxes alone and boxes with masks are two pairs.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FULL = (5_000, 36_781)
SMALL = (500, 3_678)
CASES = ("boxes", "masks")


def make(folder: Path, images: int, annotations: int) -> None:
    """A COCO folder of this size, once, with empty images (nobody opens them), and its store."""
    from make_coco import make_coco

    import granum

    labels, media = folder / "labels.json", folder / "data"
    if not labels.exists():
        media.mkdir(parents=True, exist_ok=True)
        make_coco(labels, 0, images, annotations)
        for image in json.loads(labels.read_text())["images"]:
            (media / image["file_name"]).touch()
    if not (folder / "coco.granum").exists():
        granum.read(labels, format="coco", images=media).save(folder / "coco.granum")


def by_fiftyone(fo: Any, folder: Path, case: str) -> Any:
    """FiftyOne's own COCO importer."""
    types = {"boxes": ["detections"], "masks": ["segmentations"]}[case]
    return fo.Dataset.from_dir(
        dataset_type=fo.types.COCODetectionDataset,
        data_path=str(folder / "data"),
        labels_path=str(folder / "labels.json"),
        label_types=types,
        progress=False,
    )


def by_granum(fo: Any, folder: Path, case: str) -> Any:
    """From a store."""
    import granum

    return _exported(granum.open(folder / "coco.granum"), case)


def by_granum_from_json(fo: Any, folder: Path, case: str) -> Any:
    """From the COCO file, read in the same run."""
    import granum

    return _exported(
        granum.read(folder / "labels.json", format="coco", images=folder / "data"), case
    )


def _exported(dataset: Any, case: str) -> Any:
    from granum.browse.fiftyone import to_fiftyone

    if case == "boxes":
        dataset = dataset.map_batches(_boxes_only)
    return to_fiftyone(dataset, polygons="masks").dataset


def _boxes_only(batch: Any) -> Any:
    from granum.schema.tables import without_columns

    table = without_columns(batch.annotations, ["polygons", "rle"])
    return type(batch)(batch.samples, table, batch.start)


WAYS: dict[str, Callable[[Any, Path, str], Any]] = {
    "fiftyone": by_fiftyone,
    "granum": by_granum,
    "granum_from_json": by_granum_from_json,
}


def child(way: str, case: str, folder: Path) -> None:
    """One timed run; prints its figures."""
    os.environ["FIFTYONE_DATABASE_DIR"] = str(folder / "db")
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"
    import fiftyone as fo

    fo.list_datasets()
    start = time.perf_counter()
    dataset = WAYS[way](fo, folder, case)
    seconds = time.perf_counter() - start
    field = (
        "truth"
        if way != "fiftyone"
        else next(n for n, f in dataset.get_field_schema().items() if "Detections" in str(f))
    )
    masks = len(
        [m for m in dataset.values(f"{field}.detections.mask", unwind=True) if m is not None]
    )
    print(
        json.dumps(
            {
                "export_s": seconds,
                "samples": len(dataset),
                "labels": dataset.count(f"{field}.detections"),
                "masks": masks,
            }
        )
    )


def times_faster(comparison: Any) -> dict[str, float]:
    """FiftyOne's median time over that of each other way, case by case."""
    median = {name: comparison.spread(name)["export_s"]["median"] for name in comparison.runs}
    return {
        f"{way}_{case}": round(median[f"fiftyone_{case}"] / median[f"{way}_{case}"], 2)
        for case in CASES
        for way in list(WAYS)[1:]
    }


def main() -> None:
    """Make the data, run all ways in turn."""
    from common import options
    from measure import compare
    from report import save, table

    chosen = options(__doc__, runs=3)
    folder = (chosen.data / "fiftyone").resolve()
    make(folder, *(SMALL if chosen.small else FULL))
    script = str(Path(__file__).resolve())
    commands = {
        f"{way}_{case}": [sys.executable, script, "--child", way, case, str(folder)]
        for case in CASES
        for way in WAYS
    }
    comparison = compare(commands, chosen.runs, chosen.warmup)
    faster = times_faster(comparison)
    print(table(comparison))
    print(json.dumps(faster))
    notes = {
        "small": chosen.small,
        "fiftyone": importlib.metadata.version("fiftyone"),
        "times_faster_than_fiftyone": faster,
    }
    print(save("fiftyone_export", comparison, chosen.results, notes))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main()
