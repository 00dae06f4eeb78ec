"""FUSU: two dates of land use in pictures of 512 x 512, and monthly Sentinel rasters in between.

Both trees are read, each also below folders of splits::

    im1/6_255.png  im2/6_255.png  im1_label/6_255.png  im2_label/6_255.png      as the paper's
    A/8/6_255_A_8.png … C/12/6_255_C_12.png       years A, B, C and months      README has it
    train/{im1,im2,label1,label2,label_bin}/6_255.png  train/Times/…/6_255_….tif    its loader

A patch is a group of kind ``pair``: its pictures have the roles ``t1`` and ``t2``, its Sentinel
rasters ``s1`` or ``s2`` where a name or folder says so (``S1``, ``sentinel-2``…), else ``s1s2``:
the README's rasters hold twelve bands of Sentinel-2 and two of Sentinel-1. ``order`` counts from 0
within a role, in time. The label maps of the dates hang on their samples as whole maps of class
numbers; ``label_bin``, where it is there, is the mask of change on ``t2`` (category ``change``,
label space ``change``). The published data have none: ``derive_change`` makes it where both maps
differ, as the authors say.

*Traps.* The loader's class list swaps 8 and 9: ``class_order=loader`` takes that one. The printed
palette holds 514, so colours are never decoded. Rasters are taken in the order of their month or
date (the loader takes them as the disk lists them); the years behind A, B and C are not told:
``first_year`` gives them, else ``time`` is null and attributes say ``year`` and ``month``. The
README says 25 rasters a patch, but its months are 29. Rasters of a wrong shape and of zeros only
are known to be there; ``open_media`` opens everything and reports them. The loader reads ``train``
for every split, and patches touch one another: a random split leaks.

Reading is by columns. GeoTIFFs and world files tell ``samples.geo`` (``geo``).

Spec: https://github.com/yuanshuai0914/FUSU
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from granum.errors import FormatError, GranumError
from granum.loaders._change_read import Maps
from granum.loaders._geo import GeoMode, GeoTags, find_rasterio, open_raster
from granum.loaders._image_tree import files_below
from granum.loaders._paths import first_file, folders_in, natural
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows, tables
from granum.store.builder import Incoming
from granum.store.media import open_image

__all__ = ["CLASSES", "Fusu"]

CLASSES = (
    *("background", "traffic land", "inland water", "residential land", "cropland"),
    *("agriculture construction", "blank", "industrial land", "orchard", "park"),
    *("public management and service", "commercial land", "public construction", "special"),
    *("forest", "storage", "wetland", "grass"),
)
"""Names by class number, as the README lists them."""

PICTURE, RASTER = (512, 512), (128, 128)
_LABELS = (("im1_label", "im2_label"), ("label1", "label2"))
_PATCHES = 512
_MONTH = re.compile(r"_([A-Z])_(\d{1,2})$")
_DATE = re.compile(r"(?<!\d)(\d{4})[-_]?(\d{2})(?:[-_]?(\d{2}))?(?!\d)")
_SENSOR = re.compile(r"(?:^|[/_-])s(?:entinel)?-?([12])(?=[/_.-]|$)", re.IGNORECASE)
_YEAR = re.compile(r"[A-Z]")

When = tuple[int, int, int]


@dataclass(frozen=True)
class _Tree:
    folder: str
    labels: tuple[str, str]
    series: tuple[str, ...]


@dataclass
class _Columns:
    """Samples and annotations of some patches, column by column."""

    samples: dict[str, list[Any]] = field(default_factory=dict)
    annotations: list[tuple[int, rows.Annotation]] = field(default_factory=list)

    def add(self, **values: Any) -> int:
        for name, value in values.items():
            self.samples.setdefault(name, []).append(value)
        return len(self.samples["key"]) - 1


@formats("fusu")
class Fusu(Format):
    """See the module."""

    name = "fusu"
    title = "FUSU (land use at two dates, with Sentinel series)"
    spec = "https://github.com/yuanshuai0914/FUSU"
    keeps = frozenset({"object", "mask", "category", "group", "split", "time", "geo", "attributes"})
    checked = "spec"

    def sniff(self, root: Path) -> str | None:
        for tree in _trees(root):
            own = tree.labels == _LABELS[0] or tree.series
            path = first_file(root / tree.folder / "im1", (".png", ".tif", ".tiff"), 50)
            if own and path is not None:
                return f"{path.relative_to(root).as_posix()} and {', '.join(tree.labels)}"
        return None

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        class_order: Literal["readme", "loader"] = "readme",
        first_year: int | None = None,
        derive_change: Literal["differs"] | None = None,
        open_media: bool = False,
        geo: GeoMode = "auto",
    ) -> Iterator[Incoming]:
        """Read a tree.

        Args:
            root: the folder.
            intake: gets patches, classes and faults.
            class_order: whose list names the class numbers.
            first_year: the year called A.
            derive_change: ``differs`` makes the mask of change from both label maps, which reads
                them.
            open_media: open all images and report those that do not decode, are of another size
                than the README says, or hold zeros only.
            geo: see ``GeoMode``.

        Raises:
            FormatError: there is no im1, im2 with label maps.
        """
        trees = _trees(root)
        if not trees:
            raise FormatError(
                root, "no folders im1, im2 with im1_label, im2_label or label1, label2"
            )
        intake.media_root = intake.images or root
        intake.map_root = root
        options: dict[str, Any] = {"class_order": class_order, "first_year": first_year}
        options |= {"derive_change": derive_change}
        intake.source(".", self.name, options={k: v for k, v in options.items() if v is not None})
        names = list(CLASSES)
        if class_order == "loader":
            names[8], names[9] = names[9], names[8]
        for value, name in enumerate(names):
            intake.add_category(rows.Category(name, source_id=str(value)))
        maps = Maps(root, intake, derive=derive_change, every=open_media)
        reading = _Reading(root, intake, maps, GeoTags(root, geo, intake), first_year, open_media)
        for tree in trees:
            yield from reading.tree(tree)


def _trees(root: Path) -> list[_Tree]:
    """The root where it holds both dates, or the folders below it that do."""
    found = []
    for folder in ("", *folders_in(root)):
        held = set(folders_in(root / folder))
        labels = next((p for p in _LABELS if {*p} <= held), None)
        if labels is None or not {"im1", "im2"} <= held:
            continue
        series = sorted(n for n in held if n == "Times" or _YEAR.fullmatch(n))
        found.append(_Tree(folder, labels, tuple(series)))
        if not folder:
            break
    return found


@dataclass
class _Reading:
    root: Path
    intake: Intake
    maps: Maps
    geo: GeoTags
    first_year: int | None
    every: bool

    def tree(self, tree: _Tree) -> Iterator[Incoming]:
        """Patches in the order of their names, some hundred at a time."""
        before = f"{tree.folder}/" if tree.folder else ""

        def below(folder: str) -> dict[str, str]:
            return files_below(self.root, before + folder, self.intake)

        dates = [below("im1"), below("im2")]
        labels = [below(folder) for folder in tree.labels]
        held = set(folders_in(self.root / tree.folder))
        change = below("label_bin") if "label_bin" in held else None
        stems = sorted({*dates[0], *dates[1]})
        series = self._series(tree, stems)
        for one in (*labels, change or {}):
            for stem in sorted(one.keys() - {*stems}):
                self.intake.fault("orphan-image", one[stem], None, "no image of this name")
        for start in range(0, len(stems), _PATCHES):
            columns = _Columns()
            for stem in stems[start : start + _PATCHES]:
                self._patch(tree, stem, dates, labels, change, series.get(stem, []), columns)
            yield _incoming(columns)

    def _series(self, tree: _Tree, stems: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        """The rasters of each patch: those whose name is the patch's, then an underscore; each with
        the rest of its name."""
        known, found = {*stems}, dict[str, list[tuple[str, str]]]()
        before = f"{tree.folder}/" if tree.folder else ""
        for folder in tree.series:
            for name, path in files_below(self.root, before + folder, self.intake).items():
                name = name.rpartition("/")[2]
                words = name.split("_")
                heads = ("_".join(words[:n]) for n in range(len(words) - 1, 0, -1))
                stem = next((h for h in heads if h in known), None)
                if stem is None:
                    self.intake.fault("orphan-image", path, None, "no patch has this name")
                else:
                    found.setdefault(stem, []).append((name[len(stem) :], path))
        return found

    def _patch(
        self,
        tree: _Tree,
        stem: str,
        dates: Sequence[dict[str, str]],
        labels: Sequence[dict[str, str]],
        change: dict[str, str] | None,
        series: Sequence[tuple[str, str]],
        columns: _Columns,
    ) -> None:
        key = f"{tree.folder}/{stem}" if tree.folder else stem
        self.intake.groups.append(rows.Group(key, "pair", source_id=stem))
        facts = {"group": len(self.intake.groups) - 1, "split": tree.folder or None}
        last = None
        for order, role in enumerate(("t1", "t2")):
            path = dates[order].get(stem)
            if path is None:
                message = f"no image of {role} has this name"
                self.intake.fault("incomplete-group", dates[1 - order][stem], None, message)
                continue
            at = self._sample(columns, path, role, order, None, None, facts)
            last = (at, path) if order else None
            if stem in labels[order]:
                columns.annotations.append((at, self.maps.of_date(labels[order][stem], path)))
            else:
                message = f"{tree.labels[order]} has none of this name"
                self.intake.fault("missing-labels", path, None, message)
        if last is not None:
            self._change(stem, labels, change, last, columns)
        told = ((_when(rest), path) for rest, path in series)
        placed = sorted(told, key=lambda p: (p[0], natural(p[1])))
        counts: dict[str, int] = {}
        for when, path in placed:
            role = _role(path)
            order = counts[role] = counts.get(role, -1) + 1
            time, about = self._time(path, when)
            self._sample(columns, path, role, order, time, about, facts)

    def _change(
        self,
        stem: str,
        labels: Sequence[dict[str, str]],
        change: dict[str, str] | None,
        last: tuple[int, str],
        columns: _Columns,
    ) -> None:
        at, image = last
        if change is not None and stem in change:
            columns.annotations.append((at, self.maps.of_change(change[stem], "change", image)))
        elif change is not None:
            self.intake.fault("missing-labels", image, None, "label_bin has none of this name")
        elif self.maps.derive and all(stem in one for one in labels):
            derived = self.maps.derived(labels[0][stem], labels[1][stem])
            columns.annotations += [] if derived is None else [(at, derived)]

    def _sample(
        self,
        columns: _Columns,
        path: str,
        role: str,
        order: int,
        time: datetime | None,
        attributes: str | None,
        facts: dict[str, Any],
    ) -> int:
        picture = role in ("t1", "t2")
        if self.every:
            self._look(path, PICTURE if picture else RASTER)
        return columns.add(
            key=path,
            media={"path": path, "bytes": None},
            media_kind="image" if picture else "raster",
            unit="pixel",
            role=role,
            order=order,
            time=time,
            geo=self.geo(path),
            attributes=attributes,
            **facts,
        )

    def _time(self, path: str, when: When) -> tuple[datetime | None, str | None]:
        """The time of a raster, and its year and month where they are letters and numbers."""
        year, month, day = when
        if not year:
            return None, None
        told = None
        if year <= 26:  # the place of a letter
            told = f'{{"year": "{chr(64 + year)}", "month": {month}}}'
            if self.first_year is None:
                return None, told
            year += self.first_year - 1
        try:
            return datetime(year, month, day or 1), told
        except ValueError:
            self.intake.fault("bad-value", path, None, f"{year}-{month}-{day} is no date")
            return None, told

    def _look(self, path: str, expected: tuple[int, int]) -> None:
        """Report what does not decode, has another shape, or holds nothing."""
        try:
            size, bands, empty = _opened(self.root / path)
        except OSError as error:
            self.intake.fault("broken-media", path, None, str(error))
            return
        if size != expected:
            message = f"{size[0]} x {size[1]} with {bands} bands, not {expected[0]} x {expected[1]}"
            self.intake.fault("size-mismatch", path, None, message)
        if empty:
            self.intake.fault("empty-raster", path, None, "every value is 0")


def _opened(path: Path) -> tuple[tuple[int, int], int, bool]:
    """(width, height), bands, and whether all is 0; TIFFs of many bands need rasterio."""
    tiff, rasterio = path.suffix.lower() in (".tif", ".tiff"), find_rasterio()
    if tiff and rasterio is not None:
        with open_raster(rasterio, path) as raster:
            empty = not any(raster.read(i + 1).any() for i in range(raster.count))
            return (raster.width, raster.height), raster.count, empty
    try:
        with open_image(path) as image:
            pixels = np.asarray(image)
            return image.size, 1 if pixels.ndim == 2 else pixels.shape[2], not pixels.any()
    except (GranumError, OSError, ValueError, SyntaxError) as error:
        hint = "; TIFFs of many bands need granum[geo]" if tiff else ""
        raise OSError(f"{error}{hint}") from error


def _when(rest: str) -> When:
    """Year, month, day as far as the name of a raster tells them after that of its patch; the
    letter of a year is its place in the alphabet."""
    if found := _MONTH.search(rest):
        return ord(found[1]) - 64, int(found[2]), 0
    if dates := _DATE.findall(rest):
        year, month, day = dates[-1]
        return int(year), int(month), int(day or 0)
    return 0, 0, 0


def _role(path: str) -> str:
    found = _SENSOR.findall(path)
    return f"s{found[-1]}" if found else "s1s2"


def _incoming(columns: _Columns) -> Incoming:
    made = {
        name: rows.column_array(values, tables.SAMPLES.field(name).type)
        for name, values in columns.samples.items()
    }
    annotations = [a for _, a in columns.annotations]
    table = rows.annotations_to_table(annotations, [at for at, _ in columns.annotations])
    return Incoming(pa.table(made), {"truth": table} if annotations else {})
