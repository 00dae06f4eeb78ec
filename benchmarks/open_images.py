"""Import Open Images boxes: granum against read_csv, Datumaro, FiftyOne; memory of large files.

    python benchmarks/open_images.py --peers PEERS_VENV --fiftyone FIFTYONE_VENV
    python benchmarks/open_images.py --large            # 14.6 million boxes, and six files, once

2 million boxes to a store, against `pyarrow.csv.read_csv` of the same file alone, on all threads.
Peers get fewer rows, as they take hours otherwise: what is compared is rows a second from call to
return (`import_s`), so that nobody's start-up counts; for read_csv it is the whole process
(`wall_s`). `--large` adds single runs of large files, for their peak of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import convert, python, remove
from make_open_images import make_open_images
from measure import Comparison, MeasureError, compare, measure
from report import RESULTS, save, table

BOXES = 2_000_000
LARGE = 14_610_229
PEER_BOXES = {"datumaro": 200_000, "fiftyone": 20_000}
CONVERT = (
    "import json, sys, time, granum, granum.verbs.convert; start = time.perf_counter(); "
    "granum.convert(sys.argv[1], sys.argv[2]); "
    "print(json.dumps({'import_s': time.perf_counter() - start}))"
)
READ = "import sys, pyarrow.csv as c; c.read_csv(sys.argv[1])"
BOX_FILE = "annotations/oidv6-train-annotations-bbox.csv"


def rows_of(folder: Path) -> int:
    """How many boxes a tree has."""
    with (folder / BOX_FILE).open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 24), b"")) - 1


def tree(folder: Path, boxes: int, **options: bool) -> Path:
    """A tree of this size, made once."""
    if not folder.exists():
        make_open_images(folder, 0, boxes, **options)
    return folder


def for_datumaro(folder: Path, boxes: int) -> Path:
    """A tree with the sizes that Datumaro would otherwise read from the images."""
    if not folder.exists():
        make_open_images(folder, 0, boxes)
        sizes = "".join(f"{i} 768 1024\n" for i in _ids(folder))
        (folder / "annotations" / "images.meta").write_text(sizes)
    return folder


def for_fiftyone(folder: Path, boxes: int) -> Path:
    """A tree in FiftyOne's layout, with empty images (nobody opens them)."""
    if not folder.exists():
        made = tree(folder.with_name(f"{folder.name}-plain"), boxes)
        for name, source in {
            "labels/detections.csv": BOX_FILE,
            "metadata/image_ids.csv": "annotations/image_ids_and_rotation.csv",
            "metadata/classes.csv": "annotations/oidv6-class-descriptions.csv",
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / source, folder / name)
        (folder / "data").mkdir()
        for image in _ids(made):
            (folder / "data" / f"{image}.jpg").touch()
        remove(made)
    return folder


def _ids(folder: Path) -> list[str]:
    lines = (folder / "annotations" / "image_ids_and_rotation.csv").read_text().splitlines()
    return [line.partition(",")[0] for line in lines[1:]]


def version(name: str, venv: Path) -> str:
    """The version of a package in a virtual environment."""
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    found = subprocess.run(
        [str(venv / "bin" / "python"), "-c", code], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def rates(comparison: Comparison, rows: dict[str, int]) -> dict[str, float]:
    """Rows a second of each command: medians, of peers by what they report."""
    out = {}
    for name in comparison.runs:
        spread = comparison.spread(name)
        seconds = spread.get("import_s", spread["wall_s"])["median"]
        out[name] = round(rows[name] / seconds)
    return out


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("/tmp/granum-open-images"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--peers", type=Path, help="a virtual environment that has datumaro")
    parser.add_argument("--fiftyone", type=Path, help="a virtual environment that has fiftyone")
    parser.add_argument("--large", action="store_true", help="also the large files, once")
    parser.add_argument("--small", action="store_true", help="100 times smaller, to try it")
    args = parser.parse_args()
    scale = 100 if args.small else 1
    data = args.data / "small" if args.small else args.data
    results = data / "results" if args.small else args.results
    # Modules are compiled once, as where a package is installed.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    store = data / "x.granum"
    plain = tree(data / "boxes", BOXES // scale)
    shuffled = tree(data / "shuffled", BOXES // scale, shuffled=True)
    commands = {
        "granum": python(CONVERT, plain, store),
        "read_csv": python(READ, plain / BOX_FILE),
        "granum shuffled": python(CONVERT, shuffled, store),
    }
    rows = dict.fromkeys(commands, rows_of(plain))
    script = str(Path(__file__).with_name("peer_open_images.py"))
    peers: dict[str, Path | None] = {"datumaro": args.peers, "fiftyone": args.fiftyone}
    for name, venv in peers.items():
        if venv is not None:
            make = for_datumaro if name == "datumaro" else for_fiftyone
            folder = make(data / name, PEER_BOXES[name] // scale)
            commands[name] = [str(venv / "bin" / "python"), script, name, str(folder)]
            rows[name] = PEER_BOXES[name] // scale
    slow = {"datumaro": 3, "fiftyone": 1}
    comparison = compare(
        commands,
        args.runs,
        args.warmup,
        reference="read_csv",
        before=lambda: remove(store),
        at_most=slow,
    )
    for name in PEER_BOXES:
        if name in comparison.runs:
            rows[name] = int(comparison.runs[name][0].reported["rows"])
    print(table(comparison))
    found = rates(comparison, rows)
    notes: dict[str, Any] = {
        "small": args.small,
        "input_mb": round((plain / BOX_FILE).stat().st_size / 1e6, 1),
        "rows": rows,
        "rows_per_s": found,
        "wall_over_read_csv": comparison.ratios("granum")["wall_s"],
        "granum_times_peer": {
            n: round(found["granum"] / found[n], 1) for n in PEER_BOXES if n in found
        },
        "left_out": [n for n in PEER_BOXES if n not in found],
        "peer_versions": {n: version(n, v) for n, v in peers.items() if v is not None},
    }
    if args.large:
        notes["large"] = large(data, store, scale, comparison)
    print(json.dumps({k: notes[k] for k in notes if k != "rows"}, indent=1))
    print(save("open_images", comparison, results, notes))


def large(data: Path, store: Path, scale: int, small: Comparison) -> dict[str, Any]:
    """One run each of the large files; they are removed at once."""
    out: dict[str, Any] = {
        "2 M boxes": {"private_mb": small.spread("granum")["private_mb"]["median"]}
    }
    for title, boxes, six in (
        ("2 M boxes, six files", BOXES, True),
        ("14.6 M boxes", LARGE, False),
        ("14.6 M boxes, six files", LARGE, True),
    ):
        folder = tree(data / "large", boxes // scale, six=six)
        lines = 0
        for path in (folder / "annotations").glob("*-annotations-*.csv"):
            with path.open("rb") as file:
                lines += sum(b.count(b"\n") for b in iter(lambda f=file: f.read(1 << 24), b"")) - 1  # type: ignore[misc]
        remove(store)
        try:
            run = measure(convert(folder, store))
            size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
            out[title] = {"rows": lines, **run.figures(), "store_mb": round(size / 1e6)}
        except MeasureError as error:
            out[title] = {"rows": lines, "failed": str(error)[-500:]}
        print(title, out[title], file=sys.stderr)
        remove(store, folder)
    return out


if __name__ == "__main__":
    main()
