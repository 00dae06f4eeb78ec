"""Read and write tracks of the size of SportsMOT's train and val; how much of it is parsing.

90 sequences, 55,544 frames, 608,152 boxes (SportsMOT's own counts), made from a seed in its form:
nine columns between a comma and a blank. ``parse`` reads the same numbers by Arrow's CSV reader
and stops; ``pandas`` does so as most tools of the field do. Both make no dataset.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import Options, convert, options, python, remove

SEQUENCES, FRAMES, BOXES = 90, 55_544, 608_152

READ = """
import json, sys, time
import granum.loaders._mot_read as mot
from granum.loaders import _number_rows
spent = 0.0
def timed(*arguments, read=_number_rows.read_numbers):
    global spent
    start = time.perf_counter()
    found = read(*arguments)
    spent += time.perf_counter() - start
    return found
mot.read_numbers = timed
import granum
start = time.perf_counter()
dataset = granum.read(sys.argv[1], format="mot")
read_s = time.perf_counter() - start
rows = dataset.num_annotations
print(json.dumps({"read_s": read_s, "parse_s": spent, "parse_share": spent / read_s,
                  "rows": rows, "rows_per_s": rows / read_s}))
"""
PARSE = """
import json, sys, time
from pathlib import Path
from granum.loaders._number_rows import read_numbers
from granum.loaders.base import Intake
start = time.perf_counter()
rows = 0
for path in sorted(Path(sys.argv[1]).glob("*/*/gt/gt.txt")):
    rows += len(read_numbers(path, path.name, Intake(), 6).line)
read_s = time.perf_counter() - start
print(json.dumps({"read_s": read_s, "rows": rows, "rows_per_s": rows / read_s}))
"""
PANDAS = """
import json, sys, time
from pathlib import Path
import pandas
start = time.perf_counter()
rows = 0
for path in sorted(Path(sys.argv[1]).glob("*/*/gt/gt.txt")):
    rows += len(pandas.read_csv(path, header=None, sep=r"\\s*,\\s*|\\s+", engine="python"))
read_s = time.perf_counter() - start
print(json.dumps({"read_s": read_s, "rows": rows, "rows_per_s": rows / read_s}))
"""


def make(folder: Path, small: bool) -> dict[str, int]:
    """Write the tree, the same for the same sizes; returns what it holds."""
    source = np.random.default_rng(0)
    share = 100 if small else 1
    sequences = max(2, SEQUENCES // share)
    frames, boxes = FRAMES // share, BOXES // share
    ends = np.linspace(0, frames, sequences + 1).astype(int)
    # Each box on a frame of its own choice, no track twice in one; rows of a sequence by track, as
    # SportsMOT's are.
    frame = np.sort(source.integers(0, frames, boxes))
    size = 0
    for number in range(sequences):
        home = folder / ("train" if number % 2 else "val") / f"v_{number:03d}_c001"
        (home / "gt").mkdir(parents=True, exist_ok=True)
        length = int(ends[number + 1] - ends[number])
        here = frame[(frame >= ends[number]) & (frame < ends[number + 1])] - ends[number] + 1
        track = np.arange(len(here)) - np.searchsorted(here, here)
        order = np.lexsort((here, track))
        box = source.integers([0, 0, 20, 40], [1180, 560, 100, 160], (len(here), 4))
        rows = np.column_stack([here, track, box, np.ones((len(here), 3), int)])[order]
        text = "".join(", ".join(map(str, row)) + "\n" for row in rows.tolist())
        (home / "gt/gt.txt").write_text(text)
        (home / "seqinfo.ini").write_text(
            f"[Sequence]\nname={home.name}\nimDir=img1\nframeRate=25\nseqLength={length}\n"
            "imWidth=1280\nimHeight=720\nimExt=.jpg\n"
        )
        size += len(text)
    return {"sequences": sequences, "boxes": boxes, "bytes": size}


def main() -> None:
    """Run the benchmark."""
    run: Options = options(__doc__)
    tree = run.data / "sportsmot"
    remove(tree)
    made = make(tree, run.small)
    store, out = run.data / "mot.granum", run.data / "mot_out"
    commands = {
        "granum": python(READ, tree),
        "granum_store": convert(tree, store, "--from", "mot"),
        "granum_write": convert(store, out, "--to", "mot"),
        "parse": python(PARSE, tree),
        "pandas": python(PANDAS, tree),
    }
    run.run("mot", commands, notes={"made": made}, at_most={"pandas": 2})
    remove(tree, store, out)


if __name__ == "__main__":
    main()
