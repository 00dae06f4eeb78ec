"""COCONut XL: of each image a JSON file that is a list of segments, and a PNG of the same name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Raw

from granum.errors import FormatError
from granum.loaders._panoptic_classes import panoptic_records
from granum.loaders._panoptic_segments import Listed, segment_table
from granum.loaders._panoptic_values import BoxForm
from granum.loaders._paths import names_in
from granum.loaders.base import Intake
from granum.loaders.coco.categories import CategoryRows, read_categories
from granum.loaders.coco.scan import JsonFile
from granum.loaders.reading import ImageFinder
from granum.schema import rows, tables
from granum.store.builder import Incoming

__all__ = ["XlReader", "xl_folder"]

INFO, MASKS, NESTED = "panseg_info", "panseg", "coconuts_xlarge"
BATCH = 2048
_MANY = 10**8


def xl_folder(root: Path) -> Path | None:
    """The folder with ``panseg_info`` and ``panseg``: the root, or ``coconuts_xlarge`` in it."""
    for folder in (root, root / NESTED):
        found = names_in(folder / INFO, 50)
        if any(n.endswith(".json") for n in found) and (folder / MASKS).is_dir():
            return folder
    return None


class XlReader:
    """Reads the images of a folder.

    Args:
        root: what paths are relative to.
        folder: with ``panseg_info``.
        intake: findings and tables.
        split: of all samples.
        taken: names of images that another file has already.
    """

    def __init__(
        self, root: Path, folder: Path, intake: Intake, split: str | None, taken: set[str]
    ) -> None:
        self.intake, self.split, self.taken = intake, split, taken
        self.folder = folder
        self.below = folder.relative_to(root).as_posix().removeprefix(".")
        self.below += "/" if self.below else ""
        map_root = intake.map_root or root
        self.masks = (folder / MASKS).relative_to(map_root).as_posix()
        self.origin = intake.source(f"{self.below}{INFO}", "coconut", options={"split": split})
        self.finder = ImageFinder(intake.images) if intake.images is not None else None
        data = json.dumps({"categories": panoptic_records()}).encode()
        self.file = JsonFile.of(folder / INFO, f"{self.below}{INFO}", data, intake.findings)
        self.categories = self._categories()

    def _categories(self) -> CategoryRows:
        """The known classes; those that a file told of already stay the same."""
        by_name: dict[str, list[int]] = {}
        for row, category in enumerate(self.intake.categories):
            by_name.setdefault(f"{category.space} {category.name}", []).append(row)
        return read_categories(self.file, self.intake, by_name)

    def read(self, check_masks: bool, box: BoxForm) -> Iterator[Incoming]:
        before = self.intake.locate
        self.intake.locate = lambda a, key: (
            self._place(a, key) if a.origins == [self.origin] or before is None else before(a, key)
        )
        pngs = set(names_in(self.folder / MASKS, _MANY))
        stems = []
        for name in names_in(self.folder / INFO, _MANY):
            stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
            if suffix != ".json":
                self._fault("file-not-read", name, "no list of segments")
            elif stem in self.taken:
                self._fault("duplicate-annotation", name, f"{stem} is in another file already")
            else:
                stems.append(stem)
                if f"{stem}.png" not in pngs:
                    self._fault("file-missing", name, f"{self.masks}/{stem}.png is not there")
        for name in sorted(pngs - {f"{s}.png" for s in (*stems, *self.taken)}):
            self.intake.fault("orphan-mask", f"{self.masks}/{name}", None, f"no {INFO} of it")
        for start in range(0, len(stems), BATCH):
            yield self._batch(stems[start : start + BATCH], start, check_masks, box)

    def _fault(self, code: str, name: str, message: str) -> None:
        self.intake.fault(code, f"{self.below}{INFO}/{name}", None, message)

    def _batch(self, stems: Sequence[str], start: int, check_masks: bool, box: BoxForm) -> Incoming:
        texts, counts = [], []
        for stem in stems:
            text, count = self._segments(f"{stem}.json")
            texts.append(text)
            counts.append(count)
        listed = Listed(
            self.file,
            self.origin,
            b"[%b]" % b",".join(t for t, n in zip(texts, counts, strict=True) if n),
            np.array(counts, np.int64),
            list(range(start, start + len(stems))),
            np.arange(len(stems)),
            [f"{self.masks}/{s}.png" for s in stems],
            [(None, None)] * len(stems),
            [f"{self.below}{INFO}/{s}.json" for s in stems],
            box,
        )
        table = segment_table(listed, self.categories, self.intake, check_masks)
        return Incoming(self._samples(stems, start), {tables.DEFAULT_LAYER: table})

    def _segments(self, name: str) -> tuple[bytes, int]:
        """The segments of a file as text without brackets, and how many they are."""
        path = self.folder / INFO / name
        try:
            text = path.read_bytes()
            found = msgspec.json.decode(text, type=list[Raw])
        except OSError as error:
            raise FormatError(path, f"cannot be read: {error}") from error
        except msgspec.DecodeError as error:
            self._fault("bad-value", name, f"no JSON list of segments: {error}")
            return b"", 0
        return text.strip().removeprefix(b"\xef\xbb\xbf").strip()[1:-1], len(found)

    def _samples(self, stems: Sequence[str], start: int) -> pa.Table:
        """Images of unknown sizes, which are called as their PNGs are."""
        listed = []
        for i, stem in enumerate(stems):
            name = f"{stem}.jpg"
            found = None if self.finder is None else self.finder.find(name)
            if self.finder is not None and found is None:
                self._fault("file-missing", f"{stem}.json", f"{name} is not among the images")
            sample = rows.Sample(name, rows.Media(found or name), split=self.split)
            sample.source_id, sample.origins = stem, [self.origin]
            sample.ordinal = [start + i]
            listed.append(sample)
        return rows.samples_to_table(listed)

    def _place(self, annotation: rows.Annotation, key: str) -> tuple[str, str]:
        segment: Any = annotation.ordinal[0] if annotation.ordinal else "?"
        return f"{self.below}{INFO}/{PurePosixPath(key).stem}.json", f"/{segment}"
