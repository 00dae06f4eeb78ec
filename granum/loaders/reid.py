"""Persons to find again: Market-1501, DukeMTMC-reID and MARS, named by their files.

::

    bounding_box_train/0002_c1s3_000151_00.jpg    Market-1501: identity, camera and sequence, frame,
    bounding_box_test/…  query/…  gt_bbox/…       box
    bounding_box_train/0001_c2_f0046182.jpg       DukeMTMC-reID: identity, camera, frame
    bbox_train/0001/0001C1T0002F003.jpg           MARS: identity, camera, tracklet, frame
    bbox_test/…

The identity is a label of space ``identity``; camera, sequence, frame and box are attributes of the
sample. Identity -1 (00-1) is junk: no label, attribute ``junk``. In the test folders, identity 0000
is anyone but the persons asked for: no label, attribute ``distractor``. A tracklet of MARS is a
group, its images are in the order of their frames. The splits are ``train``, ``test`` (the
gallery), ``query``, and ``gt_bbox`` (boxes drawn by hand). Files of MATLAB beside are not read.

Spec: https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._paths import folders_in, names_in
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows

__all__ = ["ReId"]

FLAT = {
    "bounding_box_train": "train",
    "bounding_box_test": "test",
    "query": "query",
    "gt_bbox": "gt_bbox",
}
NESTED = {"bbox_train": "train", "bbox_test": "test"}
FLAT_NAME = re.compile(r"(-1|\d{4,5})_c(\d{1,3})(?:s(\d{1,3}))?_f?(\d{1,9})(?:_(\d{1,3}))?\.\w+")
NESTED_NAME = re.compile(r"(00-1|\d{4})C(\d)T(\d{4})F(\d{3})\.\w+")
FACTS = ("camera", "sequence", "frame", "box")
JUNK, OTHERS = ("-1", "00-1"), "0000"
ALL = 10**7


@formats("reid")
class ReId(Format):
    """Reads the names of the images."""

    name = "reid"
    title = "Re-identification (Market-1501, DukeMTMC-reID, MARS)"
    spec = "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html"
    keeps = frozenset({"sample", "label", "category", "space", "attributes", "split", "group"})
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for folder in FLAT:
            for name in names_in(root / folder, 5):
                if FLAT_NAME.fullmatch(name):
                    return f"{folder}/{name}"
        for folder in NESTED:
            for person in folders_in(root / folder, 5)[:1]:
                for name in names_in(root / folder / person, 5):
                    if NESTED_NAME.fullmatch(name):
                        return f"{folder}/{person}/{name}"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read all folders.

        Raises:
            FormatError: there is none.
        """
        held = {*folders_in(root)}
        if not held & (FLAT.keys() | NESTED.keys()):
            raise FormatError(root, "no folder bounding_box_train or bbox_train")
        intake.source(".", self.name)
        intake.media_root = intake.images or root
        for folder, split in FLAT.items():
            for name in names_in(root / folder, ALL):
                found = FLAT_NAME.fullmatch(name)
                if found is not None:
                    yield _sample(f"{folder}/{name}", split, found.groups(), intake)
                elif is_image(name):
                    intake.fault("file-not-read", f"{folder}/{name}", None, "no name of an image")
        for folder, split in NESTED.items():
            for person in folders_in(root / folder, ALL):
                yield from _tracklets(root, f"{folder}/{person}", split, intake)


def _tracklets(root: Path, folder: str, split: str, intake: Intake) -> Iterator[rows.Sample]:
    """The images of a person; names are sorted, so those of a tracklet follow each other."""
    rank, before = 0, ""
    for name in names_in(root / folder, ALL):
        found = NESTED_NAME.fullmatch(name)
        if found is None:
            if is_image(name):
                intake.fault("file-not-read", f"{folder}/{name}", None, "no name of an image")
            continue
        identity, camera, tracklet, frame = found.groups()
        sample = _sample(f"{folder}/{name}", split, (identity, camera, None, frame, None), intake)
        key = f"{folder}/{identity}C{camera}T{tracklet}"
        if key != before:
            attributes = {"camera": int(camera), "tracklet": int(tracklet)}
            intake.groups.append(rows.Group(key, kind="sequence", attributes=attributes))
            rank, before = 0, key
        sample.group, sample.order = len(intake.groups) - 1, rank
        rank += 1
        yield sample


def _sample(key: str, split: str, parts: tuple[Any, ...], intake: Intake) -> rows.Sample:
    identity, *numbers = parts
    facts: dict[str, Any] = {
        n: int(v) for n, v in zip(FACTS, numbers, strict=True) if v is not None
    }
    sample = rows.Sample(key, rows.Media(path=key), split=split)
    if identity in JUNK:
        facts["junk"] = True
    elif identity == OTHERS and split == "test":
        facts["distractor"] = True
    else:
        row = intake.category(identity, "identity")
        sample.annotations.append(rows.Annotation("label", row))
    sample.attributes = facts
    return sample
