"""Photos and their masks, found by name; what all trees of this family share when read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._map_masks import label_values
from granum.loaders._paths import split_suffix
from granum.loaders.base import Intake
from granum.schema import rows
from granum.schema.defects import GOOD, SPACE
from granum.store.media import image_size

__all__ = ["SUFFIX", "Masks", "Reading", "is_good", "listed"]

SUFFIX = "_mask"


def is_good(name: str) -> bool:
    """Whether a folder's name means the absence of a defect."""
    return name.lower() in GOOD


def listed(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in a folder, sorted, hidden ones left out; none where
    it is absent."""
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return sorted(files), sorted(folders)


@dataclass
class Masks:
    """The masks of one type: by the stem of their photo, one file or several.

    Attributes:
        found: paths of masks by stem.
        apart: stems whose masks lie in a folder of their own.
        orphans: masks of no photo.
    """

    found: dict[str, list[str]] = field(default_factory=dict)
    apart: set[str] = field(default_factory=set)
    orphans: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, folder: str, files: Iterable[str], stems: Iterable[str]) -> Masks:
        """Pair mask files of a folder with stems of photos: ``STEM_mask``, then ``STEM``."""
        known, out = set(stems), cls()
        named = {name: split_suffix(name)[0] for name in files}
        for name, stem in sorted(named.items(), key=lambda n: not n[1].endswith(SUFFIX)):
            owner = stem.removesuffix(SUFFIX)
            if owner == stem or owner not in known or owner in out.found:
                owner = stem
            if owner in known and owner not in out.found:
                out.found[owner] = [f"{folder}/{name}"]
            else:
                out.orphans.append(f"{folder}/{name}")
        return out


@dataclass
class Reading:
    """One reading of a tree: where, and how masks are taken.

    Attributes:
        root: the folder.
        intake: findings and tables.
        threshold: of masks; None where every pixel above 0 is one.
        check: whether to open masks and photos.
        named: categories by their names in paths, where our own notes tell them.
    """

    root: Path
    intake: Intake
    threshold: float | None
    check: bool
    named: dict[str, int] | None = None

    def fault(self, code: str, path: str, message: str, place: str | None = None) -> None:
        self.intake.fault(code, path, place, message)

    def photo(self, path: str, split: str | None, product: str | None) -> rows.Sample:
        """A sample without annotations; ``product`` empty for none."""
        attributes = {"product": product} if product else None
        return rows.Sample(path, rows.Media(path), split=split, attributes=attributes)

    def category(self, name: str) -> int:
        """The row of a type."""
        if self.named is None or name not in self.named:
            return self.intake.category(name, SPACE)
        return self.named[name]

    def label(self, name: str) -> rows.Annotation:
        return rows.Annotation("label", self.category(name))

    def mask(self, path: str, category: int, value: int | None = None) -> rows.Annotation:
        """An object drawn by a mask file: all of it, or the pixels of one value."""
        found = rows.LabelMap(path, encoding="nonzero")
        if self.threshold is not None:
            found = rows.LabelMap(path, encoding="greater", threshold=self.threshold)
        elif value is not None:
            found = rows.LabelMap(path, encoding="index", value=value)
        return rows.Annotation("object", category, map=found)

    def values(self, path: str) -> npt.NDArray[np.int64] | None:
        """The pixels of a mask; None, with a finding, where it cannot be read."""
        return label_values(path, self.root, self.intake, "nonzero")

    def images(self, folder: str, files: Iterable[str]) -> list[str]:
        """Those files that are images; the others are reported."""
        kept = []
        for name in files:
            if is_image(name):
                kept.append(name)
            else:
                self.fault("file-not-read", f"{folder}/{name}", "no image")
        return kept

    def orphans(self, paths: Iterable[str]) -> None:
        for path in sorted(paths):
            self.fault("orphan-mask", path, "no photo has the name of this mask")

    def missing(self, photo: str) -> None:
        self.fault("missing-mask", photo, "a defect without a mask")

    def checked(self, photo: str, masks: Iterable[str], *, good: bool = False) -> None:
        """Open masks, where that was asked for, and tell what is wrong with them."""
        for path in masks if self.check else ():
            values = self.values(path)
            if values is None:
                continue
            self._size(photo, path, (values.shape[1], values.shape[0]))
            if good:
                if values.any():
                    text = f"pixels of a defect, but {photo} is in a folder of good ones"
                    self.fault("conflicting-records", path, text)
            elif not (values > (self.threshold or 0)).any():
                self.fault("empty-mask", path, f"no pixel of the defect of {photo}")
            elif self.threshold is None and values.max() > 128 and len(np.unique(values)) > 2:
                text = "values between 0 and its highest; --threshold says which are the defect"
                self.fault("grey-mask", path, text)

    def _size(self, photo: str, mask: str, size: tuple[int, int]) -> None:
        try:
            there = image_size((self.intake.media_root or self.root) / photo)
        except FormatError as error:
            code = "file-missing" if "absent" in error.reason else "broken-media"
            self.fault(code, photo, error.reason)
            return
        if there != size:
            text = f"{size[0]} x {size[1]} pixels; {photo} has {there[0]} x {there[1]}"
            self.fault("mask-size-mismatch", mask, text)
