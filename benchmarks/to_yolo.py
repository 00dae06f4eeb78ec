"""Convert COCO to YOLO labels: granum against hotcoco, and the floor of writing such files.

Each run writes a new folder, and all are removed at the end: ext4 makes a file up to 15 times
slower where many were deleted in the last minutes, since it passes over their inodes one by one.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Options, convert, options, script

FLOOR = Path(__file__).with_name("write_files.py")
LOSSES = "mask,crowd,attributes"


def list_files(folder: Path, listing: Path) -> dict[str, int]:
    """Write size and path of every file of a folder as lines; return how many and how large."""
    lines = []
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            size = path.stat().st_size
            total += size
            lines.append(f"{size}\t{path.relative_to(folder)}\n")
    listing.write_text("".join(lines))
    return {"files": len(lines), "bytes": total}


def main() -> None:
    """Run the benchmark."""
    run = options(__doc__)
    with tempfile.TemporaryDirectory(prefix="yolo", dir=run.data) as folder:
        compare_in(run, Path(folder))


def compare_in(run: Options, folder: Path) -> None:
    """Run the benchmark with all that it writes in a folder."""
    path, listing = run.coco(), folder / "files.txt"
    task = ("--to", "yolo", "--task", "detect", "--allow-loss", LOSSES)
    other = ("convert", "--from", "coco", "--to", "yolo", "--input", str(path), "--output")
    commands = {
        "granum": convert(path, folder / "granum{run}", *task),
        "hotcoco": [script("coco"), *other, str(folder / "hotcoco{run}")],
        "floor": [sys.executable, str(FLOOR), str(listing), str(folder / "floor{run}")],
    }
    written = {}
    for name in ("hotcoco", "granum"):  # the floor writes what granum writes, if it is there
        if Path(commands[name][0]).exists():
            subprocess.run(commands[name], check=True, stdout=subprocess.DEVNULL)
            written[name] = list_files(folder / f"{name}{{run}}", listing)
    run.run("to_yolo", commands, notes={"written": written})


if __name__ == "__main__":
    main()
