"""Make an Open Images tree of any size from a seed.

    python benchmarks/make_open_images.py OUT --boxes 2000000 --six

Ids, columns and proportions are those of the training split of V6: 8.38 boxes an image, files
sorted by image. `--six` adds labels, a machine's labels, masks, relations and points; `--shuffled`
puts the boxes in no order. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from granum.loaders._csv_write import CsvWriter
from granum.loaders.open_images.facts import BOXES, IMAGES, LABELS, MASKS, POINTS, RELATIONS

PER_IMAGE = 8.38
CLASSES = 601
CHUNK = 1 << 18
MIDS = [f"/m/0{i:04x}" for i in range(CLASSES)]
SHARES = {"labels": 0.62, "machine": 1.0, "masks": 0.18, "relations": 0.22, "points": 1.0}
"""Rows of the other files for each box."""

Columns = dict[str, Any]


def _pick(random: np.random.Generator, texts: list[str], n: int) -> pa.Array:
    return pa.array(texts).take(pa.array(random.integers(0, len(texts), n)))


def _corners(random: np.random.Generator, n: int) -> Columns:
    """Corners with six decimals, as in the files."""
    low = random.integers(0, 900_000, (2, n))
    high = np.minimum(low + random.integers(2_000, 600_000, (2, n)), 1_000_000)
    values = (low[0], high[0], low[1], high[1])
    return {
        c: pa.array(v / 1e6) for c, v in zip(("XMin", "XMax", "YMin", "YMax"), values, strict=True)
    }


def _boxes(random: np.random.Generator, ids: pa.Array) -> Columns:
    n = len(ids)
    flags = random.choice(np.array([-1, 0, 1], np.int8), (5, n), p=[0.05, 0.7, 0.25])
    names = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
    return {
        "ImageID": ids,
        "Source": _pick(random, ["xclick", "activemil"], n),
        "LabelName": _pick(random, MIDS, n),
        "Confidence": pa.array(np.ones(n, np.int8)),
        **_corners(random, n),
        **{name: pa.array(f) for name, f in zip(names, flags, strict=True)},
    }


def _labels(random: np.random.Generator, ids: pa.Array, machine: bool = False) -> Columns:
    n = len(ids)
    sure = pa.array(random.integers(0, 2, n).astype(np.int8))
    score = pa.array(random.integers(1, 10, n) / 10)
    source = pa.array(["machine" if machine else "verification"]).take(pa.array(np.zeros(n, int)))
    return {
        "ImageID": ids,
        "Source": source,
        "LabelName": _pick(random, MIDS, n),
        "Confidence": score if machine else sure,
    }


def _points(random: np.random.Generator, ids: pa.Array) -> Columns:
    n = len(ids)
    return {
        "ImageId": ids,
        **{c: pa.array(random.integers(0, 1_000_000, n) / 1e6) for c in "XY"},
        "Label": _pick(random, MIDS, n),
        "EstimatedYesNo": _pick(random, ["yes", "no", "unsure"], n),
        "Source": _pick(random, ["cc", "ih"], n),
        **{f"{v}Votes": pa.array(random.integers(0, 4, n)) for v in ("Yes", "No", "Unsure")},
    }


def _of_boxes(random: np.random.Generator, boxes: Columns) -> tuple[Columns, Columns]:
    """Masks of some boxes, and relations of some boxes to the next one."""
    n = len(boxes["ImageID"])
    masked = pa.array(np.flatnonzero(random.random(n) < SHARES["masks"]))
    taken = {k: v.take(masked) for k, v in boxes.items()}
    number = pa.array([f"{i:08x}" for i in random.integers(0, 1 << 32, len(masked)).tolist()])
    masks = {
        "MaskPath": number,
        "ImageID": taken["ImageID"],
        "LabelName": taken["LabelName"],
        "BoxID": number,
        **{f"Box{c}": taken[c] for c in ("XMin", "XMax", "YMin", "YMax")},
        "PredictedIoU": pa.array(random.integers(0, 100, len(masked)) / 100),
    }
    ids = np.asarray(boxes["ImageID"].dictionary_encode().indices)
    pairs = np.flatnonzero(
        (ids[1:] == ids[:-1]) & (random.random(n - 1) < SHARES["relations"] * 1.13)
    )
    ends = [{k: v.take(pa.array(pairs + i)) for k, v in boxes.items()} for i in (0, 1)]
    relations: Columns = {"ImageID": ends[0]["ImageID"]}
    for i, end in enumerate(ends, 1):
        relations[f"LabelName{i}"] = end["LabelName"]
        relations |= {f"{c}{i}": end[c] for c in ("XMin", "XMax", "YMin", "YMax")}
    relations["RelationshipLabel"] = _pick(random, ["at", "on", "holds", "inside_of"], len(pairs))
    return masks, relations


def _image_ids(random: np.random.Generator, count: int) -> Iterator[pa.Array]:
    """Sorted ids, some at a time."""
    values = np.sort(random.choice(1 << 62, count, replace=False) if count < 1 << 20 else
                     np.unique(random.integers(0, 1 << 62, count)))  # fmt: skip
    for at in range(0, len(values), CHUNK // 8):
        yield pa.array([f"{i:016x}" for i in values[at : at + CHUNK // 8].tolist()])


def make_open_images(
    out: Path, seed: int = 0, boxes: int = 2_000_000, six: bool = False, shuffled: bool = False
) -> None:
    """Write a tree.

    Args:
        out: The folder, made anew, in the layout of Datumaro and granum.
        seed: Of the random numbers.
        boxes: About how many boxes; images follow from that.
        six: Whether there are the other five files, too.
        shuffled: Whether boxes are in no order.
    """
    random = np.random.default_rng(seed)
    out = out / "annotations"
    out.mkdir(parents=True)
    headers: Mapping[str, tuple[str, list[str]]] = {
        "images": ("image_ids_and_rotation.csv", list(IMAGES)),
        "boxes": ("oidv6-train-annotations-bbox.csv", list(BOXES)),
        "labels": ("oidv6-train-annotations-human-imagelabels.csv", list(LABELS)),
        "machine": ("oidv6-train-annotations-machine-imagelabels.csv", list(LABELS)),
        "masks": ("train-annotations-object-segmentation.csv", list(MASKS)),
        "relations": ("oidv6-train-annotations-vrd.csv", list(RELATIONS)),
        "points": ("oidv7-train-annotations-point-labels.csv", list(POINTS)),
    }
    kinds = list(headers) if six else ["images", "boxes"]
    files = {k: (out / headers[k][0]).open("wb") for k in kinds}
    writers = {k: CsvWriter(f, headers[k][1]) for k, f in files.items()}
    described = "".join(f"{m},Class {i}\n" for i, m in enumerate(MIDS))
    (out / "oidv6-class-descriptions.csv").write_text(f"LabelName,DisplayName\n{described}")
    kept: list[Columns] = []
    for ids in _image_ids(random, round(boxes / PER_IMAGE)):
        m = len(ids)
        train = pa.array(["train"]).take(pa.array(np.zeros(m, int)))
        rotation = pa.array(np.zeros(m))
        writers["images"].write({"ImageID": ids, "Subset": train, "Rotation": rotation})

        def owners(share: float, m: int = m, ids: pa.Array = ids) -> pa.Array:
            count = round(m * PER_IMAGE * share)
            return ids.take(pa.array(np.sort(random.integers(0, m, count))))

        columns = _boxes(random, owners(1))
        if shuffled:
            kept.append(columns)
        else:
            writers["boxes"].write(columns)
        if six:
            writers["labels"].write(_labels(random, owners(SHARES["labels"])))
            writers["machine"].write(_labels(random, owners(SHARES["machine"]), machine=True))
            masks, relations = _of_boxes(random, columns)
            writers["masks"].write(masks)
            writers["relations"].write(relations)
            writers["points"].write(_points(random, owners(SHARES["points"])))
    if kept:
        whole = pa.concat_tables([pa.table(c) for c in kept]).combine_chunks()
        order = random.permutation(whole.num_rows)
        for at in range(0, whole.num_rows, CHUNK):
            some = whole.take(pa.array(order[at : at + CHUNK]))
            writers["boxes"].write({n: some[n].combine_chunks() for n in some.column_names})
    for opened in files.values():
        opened.close()


def main() -> None:
    """Make a tree from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--boxes", type=int, default=2_000_000)
    parser.add_argument("--six", action="store_true", help="with the other five files")
    parser.add_argument("--shuffled", action="store_true", help="boxes in no order")
    args = parser.parse_args()
    make_open_images(args.out, args.seed, args.boxes, args.six, args.shuffled)


if __name__ == "__main__":
    main()
