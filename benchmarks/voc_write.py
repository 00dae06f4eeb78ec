"""Convert COCO to PASCAL VOC: granum against Datumaro, and the floor of writing such files.

5,000 images with 36,781 polygons, as many as COCO's val2017. VOC's XML has boxes only: granum
refuses the polygons, so their loss is allowed and the boxes are written; Datumaro drops them unsaid
and writes boxes too, and masks of what is RLE. Neither has images. granum's time is the whole run,
from its start through reading the JSON to the end; Datumaro's import and export are timed apart.
Each run writes a new folder (see ``to_yolo.py``).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Options, convert, options
from export_coco import version
from to_yolo import FLOOR, list_files

PEER = Path(__file__).with_name("peer_datumaro.py")
LOSSES = "mask,crowd,attributes"
PUBLISHED = {
    "measured_here": False,
    "export_s": 99.5,
    "source": "published figure for a machine of 2 cores under load; not measured here",
}


def made(run: Options) -> Path:
    """The COCO file, made on the first call."""
    path = run.data / "val.json"
    if not path.exists():
        maker = Path(__file__).with_name("make_coco.py")
        sizes = ("50", "368") if run.small else ("5000", "36781")
        command = [sys.executable, str(maker), str(path), "--images", sizes[0]]
        subprocess.run([*command, "--annotations", sizes[1]], check=True)
    return path


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__, runs=3)
    with tempfile.TemporaryDirectory(prefix="voc", dir=run.data) as folder:
        compare_in(run, Path(folder))


def compare_in(run: Options, folder: Path) -> None:
    """Run the benchmark with all that it writes in a folder."""
    path, listing = made(run), folder / "files.txt"
    commands = {
        "granum": convert(path, folder / "granum{run}", "--to", "voc", "--allow-loss", LOSSES),
        "floor": [sys.executable, str(FLOOR), str(listing), str(folder / "floor{run}")],
    }
    notes: dict[str, Any] = {"datumaro": PUBLISHED}
    if run.peers and version(run.peers):
        notes["datumaro"] = version(run.peers)
        root = folder / "coco"
        for name in ("annotations", "images"):
            (root / name).mkdir(parents=True)
        (root / "annotations/instances_val2017.json").symlink_to(path.resolve())
        peer = [str(run.peers / "bin/python"), str(PEER), str(root), str(folder / "datumaro{run}")]
        commands["datumaro"] = [*peer, "voc"]
    subprocess.run(commands["granum"], check=True, stdout=subprocess.DEVNULL)
    notes["written"] = {"granum": list_files(folder / "granum{run}", listing)}
    found = run.run("voc_write", commands, notes=notes, at_most={"datumaro": 1})
    if "datumaro" in found.runs:
        own, other = (found.spread(name) for name in ("granum", "datumaro"))
        ratio = other["export_s"]["median"] / own["wall_s"]["median"]
        print(f"datumaro's export without its import takes {ratio:.1f} times granum's whole run")


if __name__ == "__main__":
    main()
