"""KITTI: boxes in 2D and 3D of cars, pedestrians, cyclists; and label images of its segmentation.

::

    training/image_2/000001.png   training/label_2/000001.txt   (testing/image_2/… has no labels)
    training/image_2/000030_10.png   training/instance/000030_10.png
    ImageSets/{train,val,test}.txt    lists of stems, as many toolboxes have them
    results/000001.txt                results: lines with a score

A line is ``type truncated occluded alpha left top right bottom height width length x y z
rotation_y`` and, in results, ``score``. Boxes are corners in pixels that count from 0.

- ``DontCare`` are regions to ``ignore``, without a class.
- ``box3d`` is x, y, z of the *bottom* centre in camera coordinates (metres; x right, y down, z
  ahead), length (along x where nothing is turned), height, width, then the turns about x, y, z:
  0, ``rotation_y``, 0.
- ``truncated`` and ``occluded`` are flags where KITTI says 0 or 1. A share of truncation, and the
  states 2 (largely occluded) and 3 (unknown), stand in the attributes ``truncation`` and
  ``occlusion`` beside them. ``alpha``, the angle of observation, is an attribute.
- -1, -1000 and -10, where KITTI writes them for what is not known, are absent. A text of boxes
  alone has -1 throughout; its ``alpha`` is absent too.
- ``calib`` and point clouds are left where they are.
- ``instance`` holds 16-bit images of 256 * class + instance, classes numbered as Cityscapes'; each
  value is a row with ``map``. They are read, not written.

Splits are ``train`` for ``training``, ``test`` for ``testing``, or those of ``ImageSets``. Written
are ``image_2`` and ``label_2``; classes are single words, blanks become ``_``.

Spec: https://www.cvlibs.net/datasets/kitti/eval_object.php (readme of the development kit).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from granum.errors import FormatError
from granum.loaders._image_tree import is_image
from granum.loaders._kitti_lines import (
    LABELS,
    Categories,
    annotation_of,
    class_words,
    kept,
    says_ignore,
    words_of,
)
from granum.loaders._notes import read_notes, take_tables, write_notes
from granum.loaders._paths import folders_in, names_in, split_folders, split_suffix, unique_paths
from granum.loaders._rows import Context, RowFormat, sample_rows
from granum.loaders.base import Intake, formats
from granum.schema import rows
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.media import read_values
from granum.store.out import Out

__all__ = ["Kitti"]

_SPLITS = {"training": "train", "testing": "test"}
_FOLDERS = {"train": "training", "test": "testing"}
_ALL = 10**7
NOTED = {"split", "group", "time", "geo", "attributes"}
LINE = re.compile(rb"[A-Za-z]\S*(\s+-?[\d.eE+-]+){14,15}")


@formats("kitti")
class Kitti(RowFormat):
    """Reads and writes trees of objects; reads results and label images."""

    name = "kitti"
    title = "KITTI object"
    spec = "https://www.cvlibs.net/datasets/kitti/eval_object.php"
    keeps = frozenset(
        {
            *("sample", "object", "bbox", "category", "score", "ignore", "truncated", "occluded"),
            *("box3d", "attributes", "split", "group", "time", "geo", "space", "supercategory"),
            *("parents", "isthing", "colour", "skeleton", "synonyms"),
        }
    )
    tolerance = {"bbox": 1e-6}  # noqa: RUF012  (corners and back)
    media_note = "labels only: put the images beside them with --media copy|link|hardlink"
    ordered = True
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for folder in (".", *folders_in(root, 50)):
            home = root / folder
            for name in names_in(home / "label_2", 3):
                if LINE.fullmatch(_first_line(home / "label_2" / name)):
                    return f"{folder}/label_2/{name}: type, box, 3D box"
            if names_in(home / "image_2", 1) and names_in(home / "instance", 1):
                return f"{folder}/instance beside image_2"
        texts = [n for n in names_in(root, 50) if n.endswith(".txt")]
        if texts and all(LINE.fullmatch(_first_line(root / n)) for n in texts[:3]):
            return f"{texts[0]}: type, box, 3D box"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a tree, one part of it, or a folder of results.

        Raises:
            FormatError: there is nothing to read.
        """
        if not root.is_dir():
            raise FormatError(root, "a KITTI dataset is a folder")
        intake.source(".", self.name)
        intake.media_root = intake.images or root
        intake.map_root = root
        notes = read_notes(root, self.name)
        if notes is not None:
            take_tables(notes, intake)
            says = notes.more.get("ignore") is True
            categories = Categories(intake, class_words(notes.categories), says)
            for path, sample in notes.by_path.items():
                _read_labels(root, _label_path(path), sample, intake, categories)
                yield sample
            return
        categories = Categories(intake)
        found = False
        for sample, labels, instances in _listed(root, intake):
            found = True
            if labels is not None:
                _read_labels(root, labels, sample, intake, categories)
            if instances is not None:
                _read_instances(root, instances, sample, intake)
            yield sample
        if not found:
            raise FormatError(root, "no label_2, image_2 or results below it")

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> bool:
        return says_ignore(dataset)

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Objects with a box."""
        return None if sample is None else kept(annotation, context.plan)

    def paths(self, dataset: Dataset) -> list[str]:
        table = dataset.samples(["key", "split"])
        splits = column(table, "split").to_pylist()
        others = split_folders(s for s in splits if s not in _FOLDERS)
        homes = [_FOLDERS.get(s) or others[s] or "training" for s in splits]
        below = [f"{home}/image_2" for home in homes]
        return unique_paths(table["key"].to_pylist(), below, flat=True, stems=True)

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write a text for every image."""
        paths = self.paths(dataset)
        words = class_words(rows.categories_from_table(dataset.categories))
        more = {"ignore": self.plan(dataset)}
        write_notes(out, self.name, dataset, paths, NOTED, more=more)
        for sample, path in zip(sample_rows(dataset), paths, strict=True):
            lines = [" ".join(words_of(a, words, 2, False)) for a in sample.annotations]
            out.text(_label_path(path), "".join(f"{line}\n" for line in lines))


def _label_path(image: str) -> str:
    folder, _, name = image.rpartition("/image_2/")
    return f"{folder}/label_2/{split_suffix(name)[0]}.txt"


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline(4096).strip()
    except (OSError, ValueError):
        return b""


# ---------------------------------------------------------------------- reading


def _listed(root: Path, intake: Intake) -> Iterator[tuple[rows.Sample, str | None, str | None]]:
    """Samples with their text and label image, as paths below the root."""
    lists = _lists(root)
    found = False
    for folder in (".", *folders_in(root)):
        home = root / folder
        images, texts, maps = (
            {split_suffix(n)[0]: n for n in names_in(home / f, _ALL) if n.endswith(suffix)}
            for f, suffix in (("image_2", ""), ("label_2", ".txt"), ("instance", ".png"))
        )
        images = {s: n for s, n in images.items() if is_image(n)}
        before = "" if folder == "." else f"{folder}/"
        for stem in sorted({*images, *texts, *maps}):
            found = True
            key = f"{before}image_2/{images.get(stem, stem + '.png')}"
            split = lists.get((folder == "testing", stem), _SPLITS.get(folder))
            yield (
                rows.Sample(key, rows.Media(key), split=split),
                f"{before}label_2/{texts[stem]}" if stem in texts else None,
                f"{before}instance/{maps[stem]}" if stem in maps else None,
            )
    if not found:
        for name in names_in(root, _ALL):
            if name.endswith(".txt") and name.lower() != "readme.txt":
                key = f"{name[:-4]}.png"
                yield rows.Sample(key, rows.Media(key)), name, None


def _lists(root: Path) -> dict[tuple[bool, str], str]:
    """The split of each stem of ``ImageSets``, for training and testing."""
    out = {}
    for split in ("train", "val", "test"):
        path = root / "ImageSets" / f"{split}.txt"
        try:
            stems = path.read_text(encoding="utf-8-sig").split()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(path, f"cannot be read: {error}") from error
        out.update({(split == "test", stem): split for stem in stems})
    return out


def _read_labels(
    root: Path, name: str, sample: rows.Sample, intake: Intake, categories: Categories
) -> None:
    try:
        text = (root / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        intake.fault("missing-labels", name, None, f"{sample.key} has no text")
        return
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(root / name, f"cannot be read: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if words := line.split():
            try:
                sample.annotations.append(annotation_of(words, categories))
            except ValueError as error:
                intake.fault("bad-value", name, f"line {number}", str(error))


def _read_instances(root: Path, name: str, sample: rows.Sample, intake: Intake) -> None:
    """A row for each value of a label image; 0 is unlabelled."""
    try:
        values = np.unique(read_values(rows.LabelMap(name), str(root))).tolist()
    except FormatError as error:
        intake.fault("broken-media", name, None, str(error))
        return
    for value in values:
        number, instance = divmod(value, 256)
        if value <= 0:
            continue
        if number not in LABELS:
            message = f"value {value} is of class {number}, which there is not"
            intake.fault("unknown-class", name, None, message)
            if intake.on_error != "fix":
                continue
        title, isthing = LABELS.get(number, (f"class {number}", None))
        row = next((i for i, c in enumerate(intake.categories) if c.source_id == str(number)), None)
        if row is None:
            one = rows.Category(title, source_id=str(number), isthing=isthing)
            row = intake.add_category(one)
        annotation = rows.Annotation("object", row, map=rows.LabelMap(name, value=value))
        # Of classes that are told apart, 0 is a group.
        annotation.crowd = (instance == 0) if isthing else None
        sample.annotations.append(annotation)
