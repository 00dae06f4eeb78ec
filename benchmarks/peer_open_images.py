"""Import an Open Images tree by a peer; prints the time from call to return.

    PEERS/bin/python benchmarks/peer_open_images.py datumaro FOLDER
    FIFTYONE/bin/python benchmarks/peer_open_images.py fiftyone FOLDER

FiftyOne's database is started before the clock; its tree is `data`, `labels`, `metadata`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def by_datumaro(folder: Path) -> dict[str, Any]:
    """Datumaro's importer, until all items are there."""
    import datumaro  # type: ignore[import-not-found, unused-ignore]

    start = time.perf_counter()
    dataset = datumaro.Dataset.import_from(str(folder), "open_images")
    dataset.init_cache()
    seconds = time.perf_counter() - start
    return {"import_s": seconds, "rows": sum(len(item.annotations) for item in dataset)}


def by_fiftyone(folder: Path) -> dict[str, Any]:
    """FiftyOne's importer, into its database."""
    os.environ["FIFTYONE_DATABASE_DIR"] = str(folder / "db")
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"
    import fiftyone as fo

    fo.list_datasets()
    start = time.perf_counter()
    dataset = fo.Dataset.from_dir(
        dataset_dir=str(folder),
        dataset_type=fo.types.OpenImagesV7Dataset,
        label_types=["detections"],
        load_hierarchy=False,
        progress=False,
    )
    seconds = time.perf_counter() - start
    name = next(n for n, f in dataset.get_field_schema().items() if "Detections" in str(f))
    return {"import_s": seconds, "rows": dataset.count(f"{name}.detections")}


if __name__ == "__main__":
    ways = {"datumaro": by_datumaro, "fiftyone": by_fiftyone}
    print(json.dumps(ways[sys.argv[1]](Path(sys.argv[2]))))
