"""Change pairs in the layout of OSCD: a folder per city, labels in trees of their own.

::

    … - Images/abudhabi/{pair/img1.png, pair/img2.png, imgs_1_rect/B01.tif…, dates.txt}
    … - Images/train.txt            abudhabi,aguasclaras,…
    … - Train Labels/abudhabi/cm/cm.png      (beside it abudhabi-cm.tif: 1 unchanged, 2 changed)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._change_read import ROLES, Maps, dated
from granum.loaders._geo import GeoTags
from granum.loaders._image_tree import is_image
from granum.loaders._paths import folders_in, names_in, split_suffix
from granum.loaders._texts import read_text
from granum.loaders.base import Intake
from granum.schema import rows

__all__ = ["find_cities", "read_cities"]

_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})\s*$")


def find_cities(root: Path) -> list[str]:
    """Folders of cities: those with ``pair`` or ``imgs_1_rect``, relative to the root."""
    found = []
    for folder in folders_in(root):
        below = folders_in(root / folder)
        if _is_city(below):
            found.append(folder)
        else:
            cities = (f"{folder}/{n}" for n in below)
            found += [c for c in cities if _is_city(folders_in(root / c))]
    return found


def _is_city(below: list[str]) -> bool:
    return "pair" in below or {"imgs_1_rect", "imgs_2_rect"} <= {*below}


def read_cities(
    root: Path, cities: list[str], intake: Intake, maps: Maps, geo: GeoTags
) -> Iterator[rows.Sample]:
    """Samples of each city: the pictures of both dates, then the rasters of their bands."""
    splits = _splits(root, cities)
    labels = _labels(root)
    for city in cities:
        name = city.rpartition("/")[2]
        map_path, split = labels.get(name, (None, None))
        split = splits.get(name, split)
        times = _dates(root, city, intake)
        intake.groups.append(rows.Group(name, "pair", source_id=name))
        group, last = len(intake.groups) - 1, None
        listed = list(_images(root, city))
        for order, path in listed:
            sample = dated(path, order, split, group, geo)
            sample.time = times[order]
            if "/imgs_" in path:
                sample.attributes = {"band": split_suffix(path.rpartition("/")[2])[0]}
            if order == 1 and last is None:
                last = sample
                if map_path is None:
                    intake.fault("missing-labels", path, None, f"no cm/cm.png of {name}")
                elif map_path.lower().endswith(".png"):
                    sample.annotations.append(maps.of_change(map_path, "change", path))
                else:
                    category = intake.category("change", "change")
                    tif = rows.LabelMap(map_path, encoding="greater", threshold=1.0)
                    sample.annotations.append(rows.Annotation(category=category, map=tif))
            yield sample
        for order in {0, 1} - {o for o, _ in listed}:
            message = f"no image of {ROLES[order]}"
            intake.fault("incomplete-group", city, None, message)


def _images(root: Path, city: str) -> Iterator[tuple[int, str]]:
    for order in (0, 1):
        picture = f"{city}/pair/img{order + 1}.png"
        if (root / picture).is_file():
            yield order, picture
    for order in (0, 1):
        folder = f"{city}/imgs_{order + 1}_rect"
        for name in names_in(root / folder):
            if is_image(name):
                yield order, f"{folder}/{name}"


def _labels(root: Path) -> dict[str, tuple[str, str | None]]:
    """By city its map of change, and the split that the folder of labels is called by."""
    found: dict[str, tuple[str, str | None]] = {}
    for folder in ("", *folders_in(root)):
        lower = folder.lower()
        split = next((s for s in ("train", "test", "val") if s in re.split(r"\W+", lower)), None)
        before = f"{folder}/" if folder else ""
        for city in folders_in(root / folder):
            for path in (f"{before}{city}/cm/cm.png", f"{before}{city}/cm/{city}-cm.tif"):
                if city not in found and (root / path).is_file():
                    found[city] = path, split
    return found


def _splits(root: Path, cities: list[str]) -> dict[str, str]:
    """Cities by the lists ``train.txt`` and ``test.txt``: names with commas between them."""
    found: dict[str, str] = {}
    for folder in dict.fromkeys(("", *(c.rpartition("/")[0] for c in cities))):
        for split in ("train", "val", "test"):
            path = root / folder / f"{split}.txt"
            if not path.is_file():
                continue
            for word in re.split(r"[\s,]+", read_text(path, path)):
                if word:
                    found.setdefault(word, split)
    return found


def _dates(root: Path, city: str, intake: Intake) -> list[datetime | None]:
    """Both dates of ``dates.txt`` (``date_1: 20160120``)."""
    path = root / city / "dates.txt"
    found: list[datetime | None] = [None, None]
    if not path.is_file():
        return found
    where = f"{city}/dates.txt"
    try:
        lines = read_text(path, where).splitlines()
    except FormatError as error:
        intake.fault("bad-value", where, None, error.reason)
        return found
    told = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    for i, (number, line) in enumerate(told[:2]):
        words = _DATE.search(line)
        try:
            found[i] = datetime(*map(int, words.groups())) if words else None  # type: ignore[arg-type]
        except ValueError:
            words = None
        if words is None:
            intake.fault("bad-value", where, f"line {number}", f"no date: {line!r}")
    return found
