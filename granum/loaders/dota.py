"""DOTA: turned boxes in aerial images, one text file per image.

::

    images/P0001.png      labelTxt/P0001.txt      (also labelTxt-v1.0/…, labelTxt-v1.5/…)
    train/images/…        train/labelTxt/…        splits as folders
    Task1_plane.txt       results: image score x1 y1 … x4 y4

A text begins with ``imagesource:…`` and ``gsd:…``, which may be absent, then one object a line:
``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``, the last of which may be absent. Any line of fewer than
nine words is passed over by the development kit; here it is a finding where it is no header.
Names of classes are single words; blanks are written as ``_``.

Coordinates are pixels from the top-left corner, clockwise from the object's own top left corner.
Four corners that form a rectangle (within a thousandth of a pixel) are read as box and angle,
others as a polygon of four points.

Spec: https://captain-whu.github.io/DOTA/dataset.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._corners import (
    corners_of_turned,
    finite,
    short_corners,
    stable_turned,
    turned_of,
)
from granum.loaders._image_tree import files_below
from granum.loaders._notes import Notes, read_notes, take_tables, write_notes
from granum.loaders._paths import Names, first_file, folders_in, is_file, names_in, split_suffix
from granum.loaders._rows import Context, RowFormat, sample_rows
from granum.loaders._texts import read_text
from granum.loaders.base import Intake, formats
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["Dota"]

_RESULTS = re.compile(r"Task1_(.+)\.txt")
_HEADER = re.compile(r"(imagesource|gsd)\s*:\s*(.*)", re.IGNORECASE)


@formats("dota")
class Dota(RowFormat):
    """Reads and writes DOTA trees; reads result files of task 1."""

    name = "dota"
    title = "DOTA (turned boxes in labelTxt)"
    spec = "https://captain-whu.github.io/DOTA/dataset.html"
    keeps = frozenset(
        {
            *("sample", "object", "category", "bbox", "angle", "mask", "difficult", "split"),
            *("attributes", "space", "supercategory", "parents", "isthing", "colour"),
            *("skeleton", "synonyms"),
        }
    )
    tolerance = {"bbox": 1e-6, "angle": 1e-9}  # noqa: RUF012  (corners and back)
    media_note = "labels only: put the images beside them with --media copy|link|hardlink"
    ordered = True
    by_split = True
    flat = True
    stems = True
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        if results := [n for n in names_in(root) if _RESULTS.fullmatch(n)]:
            return f"{results[0]}: results of task 1"
        for folder in (".", *folders_in(root)):
            for labels in _label_folders(root / folder):
                if (root / folder / "data.yaml").exists() or (root / "data.yaml").exists():
                    return None  # Roboflow's, which are read with their classes
                path = first_file(root / folder / labels, (".txt",))
                if path is not None and _looks_like_labels(path):
                    return f"{folder}/{labels}/{path.name}: corners, class"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a tree, one split of it, or a folder of results.

        Raises:
            FormatError: there is nothing to read.
        """
        if not root.is_dir():
            raise FormatError(root, "a DOTA dataset is a folder")
        intake.source(".", self.name)
        intake.media_root = intake.images or root
        if any(_RESULTS.fullmatch(n) for n in names_in(root)):
            yield from _results(root, intake)
            return
        notes = read_notes(root, self.name)
        if notes is not None:
            take_tables(notes, intake)
        found = False
        for sample, path in _listed(root, intake, notes):
            found = True
            if path is not None:
                _read_labels(root, path, sample, intake, notes)
            yield sample
        if not found and notes is None:
            raise FormatError(root, "no labelTxt folder with labels below it")

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> Plan:
        """Whether corners are boxes or polygons, and whether all boxes have angles."""
        boxes = polygons = upright = 0
        for part in dataset.parts:
            table = part.layer(dataset.meta.layer)
            names = table.column_names
            held = {n: table.num_rows - table[n].null_count for n in names}
            boxes += held.get("bbox", 0)
            polygons += held.get("polygons", 0)
            upright += held.get("bbox", 0) - held.get("angle", 0)
        return Plan(polygons=bool(polygons) and not boxes, angles=boxes > 0 and upright <= 0)

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Objects with a class, whose four corners come back."""
        plan: Plan = context.plan
        if sample is None or annotation.category is None:
            return None
        left = rows.Annotation(
            "object",
            annotation.category,
            difficult=annotation.difficult,
            annotation_id=annotation.annotation_id,
            sample=annotation.sample,
        )
        if annotation.bbox is not None and not plan.polygons:
            found = stable_turned(annotation.bbox, annotation.angle)
            if found is None:
                return None
            left.bbox, angle = found
            left.angle = angle if angle or plan.angles else None
            return left
        parts = annotation.polygons or []
        if len(parts) != 1 or len(parts[0]) != 1 or len(parts[0][0]) != 8:
            return None
        return None if finite(parts[0][0]) is None else _shaped(left, parts[0][0], plan)

    def keep_sample(self, sample: rows.Sample, context: Context) -> rows.Sample:
        """The two header lines are attributes of the image."""
        sample.attributes = _header_of(sample.attributes)
        sample.extra = None
        return sample

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write ``labelTxt`` for every image, in folders of splits where there are any."""
        paths = self.paths(dataset)
        plan = self.plan(dataset)
        classes = _words(rows.categories_from_table(dataset.categories))
        more = {"polygons": plan.polygons, "angles": plan.angles}
        write_notes(out, self.name, dataset, paths, {"split"}, more=more)
        for sample, path in zip(sample_rows(dataset), paths, strict=True):
            header = sample.attributes or {}
            lines = [f"{k}:{header[k]}" for k in ("imagesource", "gsd") if k in header]
            for one in sample.annotations:
                assert one.category is not None
                words = [repr(c).removesuffix(".0") for c in _written(one)]
                words.append(classes[one.category])
                if one.difficult is not None:
                    words.append(str(int(one.difficult)))
                lines.append(" ".join(words))
            out.text(_label_path(path), "".join(line + "\n" for line in lines))


class Plan:
    """How corners are read back: all as polygons, and boxes with or without an angle of 0."""

    def __init__(self, *, polygons: bool, angles: bool) -> None:
        self.polygons, self.angles = polygons, angles


FOREIGN = Plan(polygons=False, angles=True)


def _words(categories: Sequence[rows.Category]) -> list[str]:
    """Each category's name as one word, no two the same."""
    names = Names()
    return [names(re.sub(r"[\s/]", "_", c.name) or "_") for c in categories]


def _label_path(image: str) -> str:
    folder, _, name = image.rpartition("/")
    head = folder.rpartition("/")[0]
    return f"{head + '/' if head else ''}labelTxt/{split_suffix(name)[0]}.txt"


def _header_of(attributes: dict[str, Any] | None) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    source, gsd = (attributes or {}).get("imagesource"), (attributes or {}).get("gsd")
    if isinstance(source, str) and source == source.strip() and source and "\n" not in source:
        found["imagesource"] = source
    if isinstance(gsd, float) and math.isfinite(gsd):
        found["gsd"] = gsd
    return found or None


def _written(one: rows.Annotation) -> list[float]:
    """The eight numbers of an object that ``keep`` went over."""
    if one.bbox is None:
        assert one.polygons is not None
        return one.polygons[0][0]
    corners = corners_of_turned(one.bbox, one.angle)
    assert corners is not None
    return short_corners(corners)


def _shaped(one: rows.Annotation, corners: list[float], plan: Plan) -> rows.Annotation:
    """The annotation with what four corners are read as."""
    found = None if plan.polygons else turned_of(corners)
    if found is None:
        one.polygons = [[list(corners)]]
    else:
        one.bbox, angle = found
        one.angle = angle if angle or plan.angles else None
    return one


# ---------------------------------------------------------------------- reading


def _label_folders(folder: Path) -> list[str]:
    return [n for n in folders_in(folder) if n.lower().startswith("labeltxt")]


def _looks_like_labels(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = [line for line in file.read(4096).splitlines() if line.strip()]
    except (OSError, ValueError):
        return False
    return all(_HEADER.match(line) or _object(line) for line in lines[:3])


def _object(line: str) -> tuple[list[float], str, bool | None] | None:
    """Corners, class and difficulty of a line; None where it is none."""
    words = line.split()
    if len(words) not in (9, 10):
        return None
    try:
        corners = [float(w) for w in words[:8]]
    except ValueError:
        return None
    if len(words) == 9:
        return corners, words[8], None
    return (corners, words[8], words[9] != "0") if words[9].isdigit() else None


def _listed(
    root: Path, intake: Intake, notes: Notes | None
) -> Iterator[tuple[rows.Sample, Path | None]]:
    """Samples and their label files."""
    if notes is not None:
        for path, sample in notes.by_path.items():
            yield sample, root / _label_path(path)
        return
    for folder in (".", *folders_in(root)):
        base = root / folder
        before = "" if folder == "." else f"{folder}/"
        split = None if folder == "." else folder
        versions = _label_folders(base)
        for labels in versions[1:]:
            message = f"labels of another version than {versions[0]}, which is read"
            intake.fault("file-not-read", before + labels, None, message)
        for labels in versions[:1]:
            images = files_below(root, f"{before}images", intake)
            stems = {n[:-4] for n in names_in(base / labels, 10**7) if n.endswith(".txt")}
            for stem in sorted({*images, *stems}):
                name = images.get(stem, f"{before}images/{stem}.png")
                sample = rows.Sample(name, rows.Media(path=name), split=split)
                yield sample, base / labels / f"{stem}.txt" if stem in stems else None


def _read_labels(
    root: Path, path: Path, sample: rows.Sample, intake: Intake, notes: Notes | None
) -> None:
    where = path.relative_to(root).as_posix()
    if not is_file(path):
        intake.fault("missing-labels", where, None, f"{sample.key} has no label file")
        return
    text = read_text(path, where)
    plan, rows_of = FOREIGN, {}
    if notes is not None:
        plan = Plan(
            polygons=bool(notes.more.get("polygons")), angles=bool(notes.more.get("angles"))
        )
        rows_of = {n: i for i, n in enumerate(_words(notes.categories))}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if header := _HEADER.match(line):
            _take_header(header[1].lower(), header[2].strip(), sample, intake, where, number)
            continue
        found = _object(line)
        if found is None or finite(found[0]) is None:
            intake.fault("bad-value", where, f"line {number}", f"no corners and class: {line!r}")
            continue
        corners, word, difficult = found
        category = rows_of[word] if word in rows_of else intake.category(word)
        sample.annotations.append(
            _shaped(rows.Annotation("object", category, difficult=difficult), corners, plan)
        )


def _take_header(
    name: str, value: str, sample: rows.Sample, intake: Intake, where: str, number: int
) -> None:
    kept: Any = value
    if name == "gsd":
        try:
            kept = float(value)
        except ValueError:
            kept = None
        if kept is None or not math.isfinite(kept):
            if value.lower() not in ("", "null", "none"):
                intake.fault("bad-value", where, f"line {number}", f"gsd is {value!r}")
            return
    if kept:
        sample.attributes = {**(sample.attributes or {}), name: kept}


def _results(root: Path, intake: Intake) -> Iterator[rows.Sample]:
    """Samples of ``Task1_<class>.txt`` files, by image name."""
    found: dict[str, rows.Sample] = {}
    for name in names_in(root):
        named = _RESULTS.fullmatch(name)
        if named is None:
            continue
        category = intake.category(named[1])
        with (root / name).open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                words = line.split()
                values = None
                if len(words) == 10:
                    try:
                        values = finite([float(w) for w in words[1:]])
                    except ValueError:
                        values = None
                if values is None:
                    if words:
                        message = f"no image, score and corners: {line.strip()!r}"
                        intake.fault("bad-value", name, f"line {number}", message)
                    continue
                key = words[0]
                sample = found.setdefault(key, rows.Sample(key, rows.Media(path=f"{key}.png")))
                one = rows.Annotation("object", category, score=values[0])
                sample.annotations.append(_shaped(one, values[1:], FOREIGN))
    yield from found.values()
