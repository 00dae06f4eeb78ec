"""BraTS, its three trees: which files are the volumes of a case."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError
from granum.loaders._image_tree import LOOKS
from granum.loaders._json_files import load_json
from granum.loaders._paths import folders_in, names_in, walk
from granum.loaders._pickles import load_npy, load_pickle
from granum.loaders.base import Intake
from granum.store.nifti import SUFFIXES, read_header, read_volume
from granum.store.out import safe_relative

__all__ = ["Case", "Volume", "cases_of", "told_names", "tree_of", "values_of"]

_SPELLINGS = {
    "t1": ("t1", "t1n", "t1w"),
    "t1c": ("t1c", "t1ce", "t1gd"),
    "t2": ("t2", "t2w"),
    "flair": ("flair", "t2f"),
}
ROLES = tuple(_SPELLINGS)
_ROLE_OF = {word: role for role, words in _SPELLINGS.items() for word in words}
_WORDS = "|".join(sorted(_ROLE_OF, key=len, reverse=True))
_PART = re.compile(rf"(.+?)[_-]({_WORDS}|seg)\.nii(\.gz)?", re.IGNORECASE)
_DATA, _LABEL, _BOXES = "_data_cropped.npy", "_label_cropped.npy", "_brain_bbox.p"
_GRADES = ("hgg", "lgg")


@dataclass
class Volume:
    """One modality, or a label volume.

    Attributes:
        shape: width, height, depth; None where the header cannot be read.
        channel: its place on the fourth axis of a file with several modalities.
        channels: how many are in it, where they are not told apart.
    """

    path: str
    role: str | None = None
    shape: tuple[int, int, int] | None = None
    channel: int | None = None
    channels: int | None = None
    spacing: tuple[float, float, float] | None = None
    affine: list[list[float]] | None = None

    def facts(self) -> dict[str, Any] | None:
        """Its attributes."""
        found = {
            "spacing": None if self.spacing is None else list(self.spacing),
            "affine": self.affine,
            "channel": self.channel,
        }
        return {k: v for k, v in found.items() if v is not None} or None


@dataclass
class Case:
    """A patient at one time."""

    name: str
    key: str
    volumes: list[Volume]
    label: Volume | None = None
    split: str | None = None
    grade: str | None = None
    box: list[Any] | None = None


def tree_of(root: Path) -> tuple[str, str] | None:
    """Which of the trees it is (``folders``, ``decathlon``, ``arrays``), and a file that says so.
    Looks at some hundred entries; never raises."""
    try:
        return _tree_of(root)
    except (OSError, ValueError):
        return None


def _tree_of(root: Path) -> tuple[str, str] | None:
    names = names_in(root, LOOKS)
    if any(n.endswith("_ids.p") for n in names):
        data = next((n for n in names if n.endswith(_DATA)), None)
        return ("arrays", data) if data else None
    for folder in ("imagesTr", "imagesTs"):
        for name in _volumes_in(root / folder, 20):
            named = name if "brats" in name.lower() else str(_facts(root).get("name", ""))
            if "brats" in named.lower():
                return "decathlon", f"{folder}/{name}"
    for folder in folders_in(root, 200)[:50]:
        for inner in (folder, *(f"{folder}/{n}" for n in folders_in(root / folder, 200)[:3])):
            parts = [_PART.fullmatch(n) for n in _volumes_in(root / inner, 50)]
            roles = {p[2].lower() for p in parts if p}
            # Of two dates of a head there may be a t1; a tumour has more than that.
            if len(roles & {*_ROLE_OF}) >= 2:
                return "folders", f"{inner}/{next(p[0] for p in parts if p)}"
    return None


def _volumes_in(folder: Path, limit: int = 10**6) -> list[str]:
    """NIfTI files of a folder; those that begin with a dot are of the archiver."""
    return [
        n for n in names_in(folder, limit) if n.lower().endswith(SUFFIXES) and not n.startswith(".")
    ]


def cases_of(
    root: Path, kind: str, modalities: Sequence[str] | None, intake: Intake
) -> Iterator[Case]:
    """All cases of a tree, headers read."""
    if kind == "folders":
        yield from _in_folders(root, intake)
    elif kind == "decathlon":
        yield from _decathlon(root, modalities, intake)
    else:
        yield from _arrays(root, modalities, intake)


def _facts(root: Path) -> dict[str, Any]:
    """What ``dataset.json`` says; nothing where it is absent.

    Raises:
        FormatError: it is damaged.
    """
    path = root / "dataset.json"
    if not path.is_file():
        return {}
    found = load_json(path, "dataset.json")
    if not isinstance(found, dict):
        raise FormatError("dataset.json", "no object")
    return found


def told_names(root: Path) -> tuple[str, dict[int, str]] | None:
    """The file that names the classes, and the name of each number; None where none does.

    Raises:
        FormatError: ``dataset.json`` is damaged.
    """
    labels = _facts(root).get("labels")
    if labels is not None:
        try:
            return "dataset.json", {int(k): str(v) for k, v in labels.items()}
        except (ValueError, AttributeError) as error:
            raise FormatError("dataset.json", f"no names of numbers: {error}", "/labels") from error
    try:
        lines = (root / "labels").read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return "labels", {i: n.strip() for i, n in enumerate(lines) if n.strip()}


# ---------------------------------------------------------------------- folders of cases


def _in_folders(root: Path, intake: Intake) -> Iterator[Case]:
    found: dict[tuple[str, str], dict[str, str]] = {}
    for before, _, names in walk(root):
        inside = before[:-1] or "."
        for name in names:
            if not name.lower().endswith(SUFFIXES):
                continue
            part = _PART.fullmatch(name)
            if part is None:
                intake.fault("file-not-read", before + name, None, "no modality in its name")
                continue
            role = part[2].lower()
            role = role if role == "seg" else _ROLE_OF[role]
            held = found.setdefault((inside, part[1]), {})
            if role in held:
                intake.fault("file-not-read", before + name, None, f"{held[role]} is its {role}")
            else:
                held[role] = before + name
    names_of = [name for _, name in found]
    for (inside, name), held in found.items():
        grade = next((w for w in inside.lower().split("/") if w in _GRADES), None)
        key = name if names_of.count(name) == 1 else f"{inside}/{name}"
        case = Case(name, key, [], grade=None if grade is None else grade.upper())
        for role in ROLES:
            if role in held:
                case.volumes.append(_volume(root, Volume(held[role], role), intake))
        if missing := [r for r in ROLES if r not in held]:
            message = f"the case {key} has no {', '.join(missing)}"
            intake.fault("incomplete-group", next(iter(held.values())), None, message)
        if "seg" in held:
            case.label = _volume(root, Volume(held["seg"]), intake)
        yield case


def _volume(root: Path, volume: Volume, intake: Intake) -> Volume:
    """With what its header says."""
    try:
        header = read_header(root / volume.path)
    except FormatError as error:
        intake.fault("broken-media", volume.path, error.place, error.reason)
        return volume
    x, y, z, *further = (*header.shape, 1, 1, 1)[: max(3, len(header.shape))]
    volume.shape = (x, y, z)
    volume.spacing, volume.affine = header.spacing, header.affine
    if math.prod(further) > 1:
        volume.channels = math.prod(further)
    return volume


# ---------------------------------------------------------------------- the decathlon


def _decathlon(root: Path, modalities: Sequence[str] | None, intake: Intake) -> Iterator[Case]:
    names = modalities or _modalities_of(_facts(root))
    labels = {*_volumes_in(root / "labelsTr")}
    for folder, split in (("imagesTr", "train"), ("imagesTs", "test")):
        for file in _volumes_in(root / folder):
            name = file[: -len(next(s for s in SUFFIXES if file.lower().endswith(s)))]
            volume = _volume(root, Volume(f"{folder}/{file}"), intake)
            case = Case(name, name, _apart(volume, names, intake), split=split)
            if folder == "imagesTr":
                if file in labels:
                    case.label = _volume(root, Volume(f"labelsTr/{file}"), intake)
                else:
                    message = f"labelsTr has no {file}"
                    intake.fault("missing-labels", volume.path, None, message)
                labels.discard(file)
            yield case
    for file in sorted(labels):
        intake.fault("orphan-image", f"labelsTr/{file}", None, "imagesTr has none of this name")


def _modalities_of(facts: dict[str, Any]) -> list[str] | None:
    told = facts.get("modality")
    if not isinstance(told, dict) or not all(str(i) in told for i in range(len(told))):
        return None
    found = [str(told[str(i)]).lower() for i in range(len(told))]
    return [_ROLE_OF.get(n, n) for n in found] or None


def _apart(volume: Volume, names: Sequence[str] | None, intake: Intake) -> list[Volume]:
    """A volume for each modality of a file, where they are named; else the file as it is."""
    if names is None or volume.shape is None:
        return [volume]
    channels = volume.channels or 1
    if len(names) != channels:
        message = f"{channels} channels, but {len(names)} names ({', '.join(names)})"
        intake.fault("bad-value", volume.path, None, message)
        return [volume]
    return [
        Volume(volume.path, role, volume.shape, i, spacing=volume.spacing, affine=volume.affine)
        for i, role in enumerate(names)
    ]


# ---------------------------------------------------------------------- cropped arrays


def _arrays(root: Path, modalities: Sequence[str] | None, intake: Intake) -> Iterator[Case]:
    seen: set[str] = set()
    for listed in [n for n in names_in(root, 10**7) if n.endswith("_ids.p")]:
        split = listed.removesuffix("_ids.p")
        ids = load_pickle(root / listed, listed)
        ids = ids.tolist() if isinstance(ids, np.ndarray) else ids
        if not isinstance(ids, list | tuple) or not all(isinstance(i, str) for i in ids):
            raise FormatError(listed, "no list of names")
        boxes = _boxes(root, f"{split}{_BOXES}", len(ids), intake)
        for i, name in enumerate(ids):
            place = f"[{i}]"
            try:
                path = f"{safe_relative(name, listed)}{_DATA}"
            except FormatError as error:
                intake.fault("bad-value", listed, place, error.reason)
                continue
            if name in seen:
                intake.fault("duplicate-row", listed, place, f"{name!r} is listed before")
                continue
            seen.add(name)
            if not (root / path).is_file():
                intake.fault("file-missing", path, None, f"listed in {listed}")
            volume = _array(root, Volume(path), 5, intake)
            case = Case(name, name, _apart(volume, modalities, intake), split=split, box=boxes[i])
            label = f"{name}{_LABEL}"
            if (root / label).is_file():
                case.label = _array(root, Volume(label), 4, intake)
            else:
                intake.fault("missing-labels", path, None, f"no {label}")
            yield case


def _array(root: Path, volume: Volume, axes: int, intake: Intake) -> Volume:
    """With the shape that the header of a ``.npy`` file says."""
    if not (root / volume.path).is_file():
        return volume
    try:
        with (root / volume.path).open("rb") as file:
            version = np.lib.format.read_magic(file)
            one = version == (1, 0)
            read = np.lib.format
            shape = (read.read_array_header_1_0 if one else read.read_array_header_2_0)(file)[0]
        if len(shape) != axes or shape[0] != 1:
            raise ValueError(f"shape {shape}, not (1, {'channels, ' * (axes - 4)}z, y, x)")
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        intake.fault("broken-media", volume.path, None, f"no such array: {error}")
        return volume
    depth, height, width = shape[-3:]
    volume.shape = (width, height, depth)
    volume.channels = shape[1] if axes == 5 else None
    return volume


def _boxes(root: Path, name: str, count: int, intake: Intake) -> list[list[Any] | None]:
    """For each case the corners of the brain in the uncropped volume; None where not told."""
    if not (root / name).is_file():
        return [None] * count
    found = load_pickle(root / name, name)
    try:
        boxes = np.asarray(found)
        good = boxes.shape == (count, 2, 3) and boxes.dtype.kind in "iuf"
    except (ValueError, TypeError):
        good = False
    if not good:
        intake.fault("bad-value", name, None, f"not two corners of three numbers for {count} cases")
        return [None] * count
    return [box.tolist() for box in boxes]


def values_of(path: Path) -> npt.NDArray[Any]:
    """The values of a label volume.

    Raises:
        FormatError: it cannot be read.
    """
    if path.suffix == ".npy":
        values = load_npy(path)
        if values.dtype.kind not in "iufb":
            raise FormatError(path, f"an array of {values.dtype}")
        return np.asarray(values)
    return read_volume(path)[0]
