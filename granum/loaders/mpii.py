"""MPII Human Pose: persons with sixteen joints, from the official .mat or from JSON.

::

    mpii_human_pose_v1_u12_1.mat       RELEASE: annolist, img_train, act
    mpii_annotations.json              [{"img_paths", "img_width", "img_height", "objpos",
                                         "joint_self": [[x, y, visible]…], "scale_provided",
                                         "isValidation"}]
    mpii_headboxes.npy                 beside the JSON: two corners for each of its entries, or for
                                       each of the validation
    images/000000001.jpg               (or beside)

A person is an object of class ``person`` with key points; ``scale`` (of 200 pixels) and ``objpos``
are attributes. A joint that no one marked (absent, or at 0, 0 in JSON) has visibility 0, a hidden
one 1, a visible one 2; the .mat says nothing of the visibility of head top and neck, which are
taken as visible. The box of the head is an object of class ``head`` whose ``parent`` is the person.
The activity of an image is a label of space ``action``, with its group as supercategory. Splits
are ``train`` and ``test`` (.mat), ``train`` and ``val`` (JSON). The ``joint_others`` of the JSON
are entries of their own there and not read again. Coordinates are pixels from the top-left corner.

Spec: http://human-pose.mpi-inf.mpg.de/
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from granum.errors import FormatError, MissingExtraError
from granum.loaders._json_files import bad_values, load_json, number, numbers, peek
from granum.loaders._paths import is_file, names_in
from granum.loaders._pickles import load_npy
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["Mpii"]

JOINTS = [
    *("r ankle", "r knee", "r hip", "l hip", "l knee", "l ankle", "pelvis", "thorax", "upper neck"),
    *("head top", "r wrist", "r elbow", "r shoulder", "l shoulder", "l elbow", "l wrist"),
]
BONES = [
    *([0, 1], [1, 2], [2, 6], [6, 3], [3, 4], [4, 5], [6, 7], [7, 8], [8, 9]),
    *([10, 11], [11, 12], [12, 7], [7, 13], [13, 14], [14, 15]),
]
MAT, HEADS = "mpii_human_pose", "mpii_headboxes.npy"


@formats("mpii")
class Mpii(Format):
    """Reads the .mat and the JSON."""

    name = "mpii"
    title = "MPII Human Pose"
    spec = "http://human-pose.mpi-inf.mpg.de/"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "bbox", "keypoints", "skeleton", "parent"),
            *("attributes", "split", "space", "supercategory"),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        path = _file(root)
        if path is None:
            return None
        return f"{path.name}: " + ("the official file" if path.suffix == ".mat" else "joint_self")

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read the JSON where there is one, else the .mat.

        Raises:
            FormatError: there is neither, or it cannot be read.
            MissingExtraError: a .mat without scipy.
        """
        path = _file(root)
        if path is None:
            raise FormatError(root, f"no JSON with joint_self and no {MAT}….mat")
        folder = root if root.is_dir() else root.parent
        intake.media_root = intake.images or folder
        intake.source(path.name, self.name)
        before = "images/" if (intake.media_root / "images").is_dir() else ""
        reading = _Reading(path, before, intake)
        yield from reading.mat() if path.suffix == ".mat" else reading.json()


def _file(root: Path) -> Path | None:
    """The JSON, or the .mat. Never raises."""
    names = [root] if is_file(root) else [root / n for n in names_in(root, 100)]
    for path in [n for n in names if n.suffix == ".json"][:20]:
        if peek(path, "joint_self", "img_paths"):
            return path
    return next((n for n in names if n.name.startswith(MAT) and n.suffix == ".mat"), None)


class _Reading:
    """One file; images are below ``before``."""

    def __init__(self, path: Path, before: str, intake: Intake) -> None:
        self.path, self.where, self.before, self.intake = path, path.name, before, intake
        self.ids = count()
        self.person, self.head = intake.category("person"), intake.category("head")
        category = intake.categories[self.person]
        category.keypoints, category.skeleton = JOINTS, BONES

    def sample(self, name: str) -> rows.Sample:
        if not name or name.startswith("/") or ".." in name:
            raise ValueError(f"the image is {name!r}")
        return rows.Sample(self.before + name, rows.Media(path=self.before + name))

    def add(
        self,
        sample: rows.Sample,
        joints: list[tuple[float, float, int]],
        facts: dict[str, Any],
        head: list[float] | None,
    ) -> None:
        """Add a person and the head."""
        one = rows.Annotation("object", self.person, annotation_id=next(self.ids))
        if any(v for *_, v in joints):
            one.keypoints = [float(v) for joint in joints for v in joint]
        one.attributes = facts or None
        sample.annotations.append(one)
        if head is not None:
            x1, y1, x2, y2 = head
            of = rows.Annotation("object", self.head, bbox=(x1, y1, x2 - x1, y2 - y1))
            of.parent, of.annotation_id = one.annotation_id, next(self.ids)
            sample.annotations.append(of)

    # ------------------------------------------------------------------ JSON

    def json(self) -> Iterator[rows.Sample]:
        entries = load_json(self.path, self.where)
        if not isinstance(entries, list):
            raise FormatError(self.where, "no list of persons")
        heads = self.heads(entries)
        samples: dict[str, rows.Sample] = {}
        for i, entry in enumerate(entries):
            with bad_values(self.intake, self.where, f"/{i}"):
                name = str(entry["img_paths"])
                sample = samples.get(name) or self.entry(entry, name)
                joints = [_joint(*numbers(j, 3)) for j in entry["joint_self"]]
                if len(joints) != len(JOINTS):
                    raise ValueError(f"{len(joints)} joints")
                facts: dict[str, Any] = {}
                if "scale_provided" in entry:
                    facts["scale"] = number(entry, "scale_provided")
                if "objpos" in entry:
                    facts["objpos"] = numbers(entry["objpos"], 2)
                self.add(sample, joints, facts, heads.get(i))
                samples[name] = sample
        yield from samples.values()

    def entry(self, entry: dict[str, Any], name: str) -> rows.Sample:
        """The sample of an entry.

        Raises:
            KeyError, TypeError, ValueError: a value that is absent or none.
        """
        sample = self.sample(name)
        if "img_width" in entry:
            size = number(entry, "img_width"), number(entry, "img_height")
            if not all(0 < v < 2**31 for v in size):
                raise ValueError(f"the size is {size}")
            sample.width, sample.height = int(size[0]), int(size[1])
        if "isValidation" in entry:
            sample.split = "val" if number(entry, "isValidation") else "train"
        return sample

    def heads(self, entries: list[Any]) -> dict[int, list[float]]:
        """Boxes of heads by entry, where there is one for each, or for each of the validation."""
        path = self.path.parent / HEADS
        if not is_file(path):
            return {}
        array = load_npy(path)
        of = [i for i, e in enumerate(entries) if isinstance(e, dict) and e.get("isValidation")]
        shape = getattr(array, "shape", None)
        fit = next((n for n in (range(len(entries)), of) if shape == (2, 2, len(n))), None)
        if fit is None or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            message = f"{shape} for {len(entries)} entries, {len(of)} of the validation"
            self.intake.fault("bad-value", HEADS, None, message)
            return {}
        return {i: array[:, :, n].ravel().astype(float).tolist() for n, i in enumerate(fit)}

    # ------------------------------------------------------------------ .mat

    def mat(self) -> Iterator[rows.Sample]:
        try:
            from scipy.io import loadmat
        except ImportError as error:
            raise MissingExtraError("reading .mat files", "eval", "scipy") from error
        try:
            found = loadmat(self.path, struct_as_record=False, squeeze_me=False)
        except MemoryError:
            raise
        except Exception as error:  # damaged bytes end anywhere in scipy's reader
            raise FormatError(self.where, f"no .mat file that scipy reads: {error}") from error
        release = next(iter(_structs(found.get("RELEASE"))), None)
        listed = _structs(getattr(release, "annolist", None))
        if not listed:
            raise FormatError(self.where, "no list of images", "RELEASE.annolist")
        train = getattr(release, "img_train", None)
        splits = train.ravel().tolist() if isinstance(train, np.ndarray) else []
        acts = _structs(getattr(release, "act", None))
        for i, entry in enumerate(listed):
            place = f"RELEASE.annolist({i + 1})"
            sample = None
            with bad_values(self.intake, self.where, place):
                image = _structs(entry.image)
                sample = self.sample(_text(image[0].name if image else None))
            if sample is None:
                continue
            if len(splits) == len(listed):
                sample.split = "train" if splits[i] == 1 else "test"
            if len(acts) == len(listed):
                self.act(acts[i], sample)
            for j, rect in enumerate(_structs(getattr(entry, "annorect", None))):
                with bad_values(self.intake, self.where, f"{place}.annorect({j + 1})"):
                    self.rect(rect, sample)
            yield sample

    def act(self, act: Any, sample: rows.Sample) -> None:
        name, above = (_text(getattr(act, n, None)) for n in ("act_name", "cat_name"))
        if name:
            row = self.intake.category(name, "action")
            self.intake.categories[row].supercategory = above or None
            one = rows.Annotation("label", row, annotation_id=next(self.ids))
            sample.annotations.append(one)

    def rect(self, rect: Any, sample: rows.Sample) -> None:
        """A person of the .mat, and the head.

        Raises:
            ValueError: a joint of another number than 0 to 15.
        """
        joints = [(0.0, 0.0, 0)] * len(JOINTS)
        for holder in _structs(getattr(rect, "annopoints", None)):
            for point in _structs(getattr(holder, "point", None)):
                at, x, y = (_value(getattr(point, n, None)) for n in ("id", "x", "y"))
                if at is None or x is None or y is None or not 0 <= at < len(JOINTS):
                    raise ValueError(f"the joint {at} at {x}, {y}")
                seen = _value(getattr(point, "is_visible", None))
                joints[int(at)] = (x, y, 1 if seen == 0 else 2)
        box = [_value(getattr(rect, n, None)) for n in ("x1", "y1", "x2", "y2")]
        head = [v for v in box if v is not None]
        facts: dict[str, Any] = {}
        scale = _value(getattr(rect, "scale", None))
        if scale is not None:
            facts["scale"] = scale
        for at in _structs(getattr(rect, "objpos", None)):
            facts["objpos"] = [_value(at.x), _value(at.y)]
        if facts or len(head) == 4 or any(v for *_, v in joints):
            self.add(sample, joints, facts, head if len(head) == 4 else None)


def _joint(x: float, y: float, visible: float) -> tuple[float, float, int]:
    if (x, y) == (0, 0) or visible not in (0, 1):
        return x, y, 0
    return x, y, int(visible) + 1


def _structs(value: Any) -> list[Any]:
    """The structs in a value of a .mat: one, or those in arrays (cells of them, too)."""
    if hasattr(value, "_fieldnames"):
        return [value]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [s for v in value.flat for s in _structs(v)]
    return []


def _value(value: Any) -> float | None:
    """The number in a value of a .mat, which may be text; None where it is empty."""
    while isinstance(value, np.ndarray):
        if not value.size:
            return None
        value = value.flat[0]
    if value is None:
        return None
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"the number {found}")
    return found


def _text(value: Any) -> str:
    while isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else ""
    return value if isinstance(value, str) else ""
