"""Reading VisA: photos by ``Normal`` and ``Anomaly``, types in a CSV file per object, splits in
another for all; masks hold the number of the type.

https://github.com/amazon-science/spot-diff (numbers: ``utils/id2class.py``).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._mvtec_pairs import Masks, Reading, listed
from granum.loaders._paths import folders_in, split_suffix
from granum.schema import rows
from granum.schema.defects import SPACE

__all__ = ["read_visa", "visa_objects"]

NORMAL, ANOMALY = "Normal", "Anomaly"
LISTS = ("image_anno.csv", "image_annot.csv")
"""The first is what the archive holds, the second what its read-me says."""

_FRYUM = ("burnt", "corner or edge breakage", "different colour spot")
_PCB = ("bent", "melt", "scratch", "missing")

TYPES: Mapping[str, tuple[str, ...]] = {
    "candle": (
        *("chunk of wax missing", "damaged corner of packaging", "weird candle wick"),
        *("different colour spot", "extra wax in candle", "foreign particals on candle"),
        *("wax melded out of the candle", "other"),
    ),
    "capsules": ("bubble", "discolor", "scratch", "leak", "misshape"),
    "fryum": (
        *(*_FRYUM, "fryum stuck together", "middle breakage", "similar colour spot"),
        *("small scratches", "other"),
    ),
    "cashew": (
        *(*_FRYUM, "middle breakage", "small holes", "small scratches", "stuck together"),
        *("same colour spot", "other"),
    ),
    "chewinggum": (
        *("chunk of gum missing", "corner missing", "scratches", "similar colour spot"),
        *("small cracks", "other"),
    ),
    "macaroni1": (
        *("chip around edge and corner", "different colour spot", "middle breakage"),
        *("similar colour spot", "small cracks", "small scratches", "other"),
    ),
    "macaroni2": (
        *("breakage down the middle", "color spot similar to the object"),
        *("different color spot", "small chip around edge", "small cracks", "small scratches"),
        "other",
    ),
    **dict.fromkeys(("pcb1", "pcb2", "pcb3"), _PCB),
    "pcb4": ("burnt", "scratch", "missing", "damage", "extra", "wrong place", "dirt"),
    "pipe_fryum": (
        *("burnt", "corner and edge breakage", "different colour spot", "middle breakage"),
        *("similar colour spot", "small scratches", "stuck together", "small cracks", "other"),
    ),
}
"""Per object the types that the values 1, 2, 3… of its masks mean."""


def visa_objects(root: Path, limit: int = 10**6) -> list[str]:
    """Folders of objects below ``root``; ``.`` where it is one itself."""

    def fits(folder: Path) -> bool:
        images = folder / "Data" / "Images"
        return (images / NORMAL).is_dir() or (images / ANOMALY).is_dir()

    return ["."] if fits(root) else [n for n in folders_in(root, limit) if fits(root / n)]


def read_visa(reading: Reading, objects: Sequence[str], split_csv: str) -> Iterator[rows.Sample]:
    """The photos of all objects."""
    splits = _splits(reading, split_csv)
    reading.intake.category("normal", SPACE)
    for name in objects:
        folder = "" if name == "." else f"{name}/"
        types, known = _types(reading, folder), TYPES.get(name if folder else reading.root.name)
        for kind in (NORMAL, ANOMALY):
            place = f"{folder}Data/Images/{kind}"
            photos = reading.images(place, listed(reading.root / place)[0])
            below = f"{folder}Data/Masks/{kind}"
            files = reading.images(below, listed(reading.root / below)[0])
            masks = Masks.of(below, files, [split_suffix(p)[0] for p in photos])
            reading.orphans(masks.orphans)
            for photo in photos:
                path = f"{place}/{photo}"
                split = splits.pop(path, None) if splits is not None else None
                sample = reading.photo(path, split, folder[:-1])
                found = masks.found.get(split_suffix(photo)[0], [])
                if kind == NORMAL:
                    sample.annotations.append(reading.label("normal"))
                    reading.checked(path, found, good=True)
                else:
                    _draw(reading, sample, types.get(path, []), known or (), found)
                if splits is not None and split is None:
                    reading.fault("unlisted-image", path, f"{split_csv} does not name its split")
                yield sample
    for path in splits or ():
        reading.fault("file-missing", path, f"{split_csv} names it")


def _draw(
    reading: Reading,
    sample: rows.Sample,
    types: Sequence[str],
    known: Sequence[str],
    masks: Sequence[str],
) -> None:
    """Labels and objects of a photo with a defect: an object per type where all have numbers."""
    names = list(types) or ["anomaly"]
    sample.annotations += [reading.label(n) for n in names]
    if not masks:
        reading.missing(sample.key)
    reading.checked(sample.key, masks)
    numbers = [known.index(n) + 1 if n in known else None for n in names]
    for path in masks:
        if None in numbers or reading.threshold is not None:
            name = names[0] if len(names) == 1 else "anomaly"
            sample.annotations.append(reading.mask(path, reading.category(name)))
            continue
        for name, number in zip(names, numbers, strict=True):
            sample.annotations.append(reading.mask(path, reading.category(name), number))


def _table(reading: Reading, path: str, needed: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines of a CSV file with their numbers: the columns that are needed, by name."""
    try:
        with (reading.root / path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            head = [h.strip() for h in next(reader, [])]
            if not set(needed) <= set(head):
                raise FormatError(path, f"it has no columns {', '.join(needed)}", "line 1")
            at = [head.index(n) for n in needed]
            for line in reader:
                if not line:
                    continue
                if len(line) <= max(at):
                    message = f"{len(line)} columns of {len(head)}"
                    reading.fault("bad-value", path, message, f"line {reader.line_num}")
                    continue
                yield reader.line_num, [line[i].strip() for i in at]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(path, f"cannot be read: {error}") from error


def _types(reading: Reading, folder: str) -> dict[str, list[str]]:
    """Types by the path of the photo; names in lower case, as tables have them."""
    out: dict[str, list[str]] = {}
    for name in LISTS:
        if not (reading.root / folder / name).is_file():
            continue
        for _, (image, label) in _table(reading, f"{folder}{name}", ("image", "label")):
            # In the files paths begin with the object, be it the root or not.
            path = f"{folder}Data/{image.partition('Data/')[2]}"
            types = (t.strip().lower() for t in label.split(","))
            out[path] = [t for t in dict.fromkeys(types) if t and t != "normal"]
        break
    return out


def _splits(reading: Reading, split_csv: str) -> dict[str, str] | None:
    """Splits by the path of the photo; None where there is no list.

    Raises:
        FormatError: a list that was asked for is absent.
    """
    path = split_csv if split_csv.endswith(".csv") else f"split_csv/{split_csv}.csv"
    if not (reading.root / path).is_file():
        if split_csv != "1cls":
            raise FormatError(path, "no such list of splits")
        return None
    return {image: split for _, (image, split) in _table(reading, path, ("image", "split"))}
