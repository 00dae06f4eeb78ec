"""The 10k set of COCO-Stuff: a .mat file per image, in two releases of different numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError, MissingExtraError
from granum.loaders._coco_stuff_labels import ABSENT, NAMES, THINGS, first_release
from granum.loaders._paths import names_in
from granum.loaders._texts import read_text
from granum.loaders.base import Intake
from granum.loaders.reading import ImageFinder
from granum.schema import rows
from granum.store.media import encode_png

__all__ = ["Release", "mat_files", "read_mats"]

Release = Literal["auto", "1.0", "1.1"]

PREFIX, LISTS = "COCO_", "imageLists"


def mat_files(root: Path, limit: int) -> list[str]:
    """Names of the .mat files of COCO images in ``annotations``."""
    found = names_in(root / "annotations", limit)
    return [n for n in found if n.startswith(PREFIX) and n.endswith(".mat")]


@dataclass
class _Numbers:
    """What values of maps mean: the release, and the unlabelled value."""

    release: str
    unlabelled: int
    names: Mapping[int, str]


def read_mats(
    root: Path, names: Sequence[str], intake: Intake, release: Release
) -> Iterator[rows.Sample]:
    """The images of all files.

    Raises:
        FormatError: a file cannot be read.
        MissingExtraError: scipy is absent.
    """
    splits = _splits(root, intake)
    source = intake.source("annotations", "coco_stuff")
    finder = None if intake.images is None else ImageFinder(intake.images)
    numbers: _Numbers | None = None
    for i, name in enumerate(names):
        path = f"annotations/{name}"
        stem = name.removesuffix(".mat")
        key = f"images/{stem}.jpg"
        place = None if finder is None else finder.find(f"{stem}.jpg")
        sample = rows.Sample(
            key,
            rows.Media(place or key),
            split=splits.pop(stem, None),
            source_id=_image_id(stem),
            origins=[source],
            ordinal=[i],
        )
        content = _load(root, path, intake)
        if content is None:
            yield sample
            continue
        own = _numbers(content, release, path, intake)
        if numbers is None:
            numbers = own
            _add_categories(own, intake)
            intake.sources[source].options = {"release": own.release}
        elif own.release != numbers.release:
            text = f"release {own.release} among files of {numbers.release}: other numbers"
            intake.fault("conflicting-records", path, "/names", text)
        values = _values(content, path, intake)
        if values is not None:
            _check(values, numbers, path, intake)
            sample.height, sample.width = values.shape
            found = rows.LabelMap(bytes=encode_png(values), encoding="index", space="object")
            sample.annotations.append(rows.Annotation("object", map=found))
        for text in _texts(content.get("captions")):
            sample.annotations.append(rows.Annotation("caption", text=text))
        yield sample
    for stem, split in splits.items():
        text = f"{LISTS} name it for {split}"
        intake.fault("file-missing", f"annotations/{stem}.mat", None, text)


def _image_id(stem: str) -> str | None:
    digits = stem.rpartition("_")[2]
    return str(int(digits)) if digits.isascii() and digits.isdecimal() else None


def _splits(root: Path, intake: Intake) -> dict[str, str]:
    """Split by name of the image; ``all`` is none."""
    out: dict[str, str] = {}
    for name in names_in(root / LISTS):
        split, dot, suffix = name.rpartition(".")
        if not dot or suffix != "txt" or split == "all":
            continue
        text = read_text(root / LISTS / name, f"{LISTS}/{name}")
        for number, line in enumerate(text.splitlines(), 1):
            stem = line.strip()
            if stem and out.setdefault(stem, split) != split:
                message = f"{stem} is of {out[stem]} already"
                intake.fault("conflicting-records", f"{LISTS}/{name}", f"line {number}", message)
    return out


def _load(root: Path, path: str, intake: Intake) -> dict[str, Any] | None:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingExtraError("reading .mat files", "eval", "scipy") from error
    try:
        with (root / path).open("rb") as file:
            found: dict[str, Any] = loadmat(file, squeeze_me=False)
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error}") from error
    except Exception as error:  # damaged bytes end anywhere in scipy's reader
        intake.fault("bad-value", path, None, f"no .mat file that scipy reads: {error}")
        return None
    return found


def _numbers(content: Mapping[str, Any], release: Release, path: str, intake: Intake) -> _Numbers:
    """The numbers that a file's ``names`` tell, or its release."""
    names = _texts(content.get("names"))
    told = {172: "1.0", 182: "1.1", 183: "1.1"}.get(len(names))
    if told is None and release == "auto":
        text = f"{len(names)} names tell no release; 1.1 is taken, or say --release"
        intake.fault("missing-key", path, "/names", text)
    if (release if release != "auto" else told or "1.1") == "1.0":
        listed = dict(enumerate(names[1:], 2)) if told == "1.0" else first_release()
        return _Numbers("1.0", 1, listed)
    return _Numbers("1.1", 0, NAMES)


def _add_categories(numbers: _Numbers, intake: Intake) -> None:
    ids = {name: id_ for id_, name in NAMES.items()}
    for value, name in numbers.names.items():
        id_ = value if numbers.release == "1.1" else ids.get(name)
        attributes = None if id_ is None else {"id": id_, "used": id_ not in ABSENT}
        isthing = value <= (THINGS if numbers.release == "1.1" else 81)
        category = rows.Category(name, source_id=str(value), isthing=isthing)
        category.attributes = attributes
        intake.add_category(category)


def _values(content: Mapping[str, Any], path: str, intake: Intake) -> npt.NDArray[np.uint8] | None:
    """The map ``S``, shape (height, width)."""
    found = content.get("S")
    good = isinstance(found, np.ndarray) and found.ndim == 2 and found.size > 0
    if not good or found is None or found.dtype.kind not in "uif":
        intake.fault("missing-key", path, "/S", "the file has no map S of numbers")
        return None
    values = found.astype(np.float64)
    if not ((values >= 0) & (values <= 255) & (values == np.floor(values))).all():
        intake.fault("bad-value", path, "/S", "the map holds values that are no labels")
        return None
    return values.astype(np.uint8)


def _check(values: npt.NDArray[np.uint8], numbers: _Numbers, path: str, intake: Intake) -> None:
    for value in np.unique(values).tolist():
        if value not in numbers.names and value != numbers.unlabelled:
            intake.fault("unknown-class", path, "/S", f"no label has the value {value}")


def _texts(found: Any) -> list[str]:
    """The texts of a cell array, in whatever shape."""
    if isinstance(found, str):
        return [found]
    if not isinstance(found, np.ndarray):
        return []
    if found.dtype.kind == "U":
        return [str(v).strip() for v in found.ravel()]
    return [t for v in found.ravel() for t in _texts(v)] if found.dtype == object else []
