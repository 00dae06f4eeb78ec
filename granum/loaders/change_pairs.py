"""Change pairs: two images of a place at two dates, and maps of what changed.

Trees read (LEVIR-CD, WHU-CD, S2Looking, SECOND, and others alike)::

    train/A/1.png  train/B/1.png  train/label/1.png    a folder per split
    A/1.png  B/1.png  label/1.png  list/train.txt      or lists of names
    Image1/  Image2/  label/  label1/  label2/         S2Looking
    im1/  im2/  label1/  label2/                       SECOND: a label map of each date
    … - Images/CITY/{pair,imgs_1_rect,imgs_2_rect}  … - Train Labels/CITY/cm/cm.png     OSCD

Folders of dates: A B, Image1 Image2, im1 im2, T1 T2, time1 time2, before after, pre post, in any
case; others are named by ``date_folders``, ``label_folders`` (of the dates) and ``change_folder``.
Images of one name, whatever their suffix, are a pair.

Each pair is a group of kind ``pair``; its samples have the roles ``t1`` (order 0) and ``t2``
(order 1). The map of change hangs on the sample ``t2``: one object of the category ``change``
(label space ``change``) whose mask is every pixel that is not 0 (``change_values=index``: one whole
map, whose values are categories of that space). A label map of a date hangs on the sample of that
date: one object without category, the whole map, whose values are the ``source_id`` of categories.

*Traps.* Values are never decoded by a palette: ``label_values`` says whether maps hold class
numbers (``index``) or colours (``rgb24``: the value is R + 256 G + 65536 B). Names of classes come
from ``class_file`` (lines ``VALUE NAME`` or ``R G B NAME``). ``label1`` and ``label2`` of S2Looking
are no dates: they are what was built and what was demolished, both of them maps of change
(``label_meaning``). Where no map of change is stored, ``derive_change`` makes one: ``differs`` (the
label maps differ; reads both) or ``nonzero`` (label maps of changed pixels only, as in SECOND).
OSCD's ``-cm.tif`` says 1 for unchanged and 2 for changed; it is read where ``cm.png`` is absent.

Written: ``A``, ``B``, ``label``, ``label1``, ``label2`` below a folder for each split; images that
are in no pair go to ``images``, their label maps to ``labels``; ``classes.txt``. Masks of change in
other forms become images of 0 and 255.

Geo tags (GeoTIFF, world files) are kept in ``samples.geo``.

Spec: https://justchenhao.github.io/LEVIR/ , https://github.com/S2Looking/Dataset ,
https://captain-whu.github.io/SCD/ , https://rcdaudt.github.io/oscd/
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from granum.errors import FormatError, UsageError
from granum.loaders._change_cities import find_cities, read_cities
from granum.loaders._change_plan import Place, Plan, places_of, planned
from granum.loaders._change_read import (
    SPACE,
    Derive,
    Maps,
    find_trees,
    looks_paired,
    read_classes,
    read_trees,
)
from granum.loaders._geo import GeoMode, GeoTags
from granum.loaders._image_tree import is_image
from granum.loaders._notes import Notes, read_notes, take_tables, write_notes
from granum.loaders._paths import folders_in, names_in, split_suffix
from granum.loaders._rows import Context, RowFormat, sample_rows
from granum.loaders.base import Intake, formats
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.media import encode_png
from granum.store.out import Out

__all__ = ["ChangePairs"]


@formats("change_pairs")
class ChangePairs(RowFormat):
    """See the module."""

    name = "change_pairs"
    title = "Change detection: pairs of dates and maps of change (LEVIR-CD, S2Looking, SECOND)"
    spec = "https://justchenhao.github.io/LEVIR/"
    keeps = frozenset(
        {
            *("sample", "object", "mask", "category", "group", "split", "time", "geo"),
            *("attributes", "space", "supercategory", "parents", "isthing", "colour", "skeleton"),
            "synonyms",
        }
    )
    tolerance = {"map": float("inf")}  # noqa: RUF012  (the same pixels, in another file)
    media_note = "maps only: put the images beside them with --media copy|link|hardlink"
    ordered = True
    unit = None
    checked = "spec"

    def sniff(self, root: Path) -> str | None:
        held = {n.lower() for n in folders_in(root)}
        if {"im1_label", "im2_label"} & held:
            return None
        for tree in find_trees(root):
            beside = {n.lower() for n in folders_in(root / tree.folder)}
            if {"times", "im1_label", "im2_label"} & beside:
                return None
            named = tree.labels or tree.changes or (not tree.folder and (root / "list").is_dir())
            name = looks_paired(root, tree)
            if named and name:
                return f"{tree.dates[0]}/{name} and {tree.dates[1]}/{name}"
        cities = find_cities(root)
        return f"{cities[0]}: two dates of a city" if cities else None

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        label_values: Literal["index", "rgb24"] = "index",
        change_values: Literal["nonzero", "index"] = "nonzero",
        derive_change: Derive | None = None,
        label_meaning: Literal["dates", "directions"] | None = None,
        date_folders: str | None = None,
        label_folders: str | None = None,
        change_folder: str | None = None,
        class_file: str = "classes.txt",
        open_media: bool = False,
        geo: GeoMode = "auto",
    ) -> Iterator[rows.Sample]:
        """Read a tree.

        Args:
            root: the folder.
            intake: gets pairs, categories and faults.
            label_values: what maps of a date hold.
            change_values: what maps of change hold.
            derive_change: how a change is made where no map of it is stored.
            label_meaning: what ``label1`` and ``label2`` are; by default by the names of the dates.
            date_folders, label_folders: two names with a comma, where the known ones are not it.
            change_folder: likewise.
            class_file: names of classes, in the folder.
            open_media: decode every map and compare its size with its image; otherwise only the
                header of the first map of each folder is looked at.
            geo: see ``GeoMode``.

        Raises:
            FormatError: there are no two dates.
        """
        if not root.is_dir():
            raise FormatError(root, "change pairs are a folder")
        intake.media_root = root
        tags = GeoTags(root, geo, intake)
        options: dict[str, Any] = {"label_values": label_values, "change_values": change_values}
        options |= {"derive_change": derive_change, "label_meaning": label_meaning}
        notes = read_notes(root, self.name)
        if notes is not None:
            intake.source(".", self.name)
            intake.media_root, intake.map_root = intake.images or root, root
            take_tables(notes, intake)
            yield from _read_noted(root, notes, intake)
            return
        intake.source(".", self.name, options={k: v for k, v in options.items() if v is not None})
        read_classes(root, class_file, intake)
        maps = Maps(root, intake, label_values, change_values, derive_change, open_media)
        directions = None if label_meaning is None else label_meaning == "directions"
        dates, labels = _two(date_folders), _two(label_folders)
        trees = find_trees(root, dates, labels, change_folder, directions)
        cities = [] if trees else find_cities(root)
        if not trees and not cities:
            raise FormatError(root, "no folders of two dates (A and B, Image1 and Image2…)")
        if cities:
            yield from read_cities(root, cities, intake, maps, tags)
        else:
            yield from read_trees(root, trees, intake, maps, tags)

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> Plan:
        """Where images and maps go."""
        return planned(dataset)

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Label maps of dates, and masks of change."""
        plan: Plan = context.plan
        item = plan.items.get(annotation.annotation_id or -1)
        if item is None:
            return None
        return rows.Annotation(
            "object",
            item.category,
            map=item.stored,
            annotation_id=annotation.annotation_id,
            sample=annotation.sample,
        )

    def rank(self, annotation: rows.Annotation) -> int:
        assert self._context is not None
        plan: Plan = self._context[1].plan
        return plan.items[annotation.annotation_id or -1].rank

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write maps, classes and notes; the images are placed afterwards."""
        kept = [a for s in sample_rows(dataset) for a in s.annotations]
        plan: Plan = Plan() if self._context is None else self._context[1].plan
        write_notes(out, self.name, dataset, self.paths(dataset), self.keeps, more=plan.facts())
        for one in kept:
            item = plan.items[one.annotation_id or -1]
            path = str(item.stored.path)
            if isinstance(item.content, Path):
                shutil.copyfile(item.content, out.path(path))
            elif isinstance(item.content, bytes):
                out.bytes(path, item.content)
            else:
                out.bytes(path, encode_png(item.content))
        listed = rows.categories_from_table(dataset.categories)
        classes = [c for c in listed if c.space != SPACE and (c.source_id or "").isdecimal()]
        if plan.encoding and classes:
            lines = (f"{c.source_id} {c.name}".replace("\n", " ") + "\n" for c in classes)
            out.text("classes.txt", "".join(lines))

    def paths(self, dataset: Dataset) -> list[str]:
        """``A``, ``B`` or ``images``, below the folder of the split where there is one."""
        samples = [s for b in dataset.iter_batches() for s in rows.samples_from_table(b.samples)]
        return [p.image for p in places_of(samples, rows.groups_from_table(dataset.groups))]


def _two(names: str | None) -> list[str] | None:
    if names is None:
        return None
    found = [n.strip() for n in names.split(",")]
    if len(found) != 2 or not all(found):
        raise UsageError(f"two names of folders with a comma between them, not {names!r}")
    return found


# ---------------------------------------------------------------------- reading what was written


def _read_noted(root: Path, notes: Notes, intake: Intake) -> Iterator[rows.Sample]:
    labels, changes = _facts(root, notes.more, len(notes.categories))
    listed: dict[str, Mapping[str, str]] = {}

    def file_of(place: Place, folder: str) -> str | None:
        below, _, name = f"{place.before}{folder}/{place.stem}".rpartition("/")
        if below not in listed:
            names = [n for n in names_in(root / below, 10**7) if is_image(n)]
            listed[below] = {split_suffix(n)[0]: f"{below}/{n}" for n in names}
        return listed[below].get(name)

    for sample, place in zip(notes.samples, places_of(notes.samples, notes.groups), strict=True):
        path = file_of(place, place.maps) if labels[0] else None
        if path is not None:
            whole = rows.LabelMap(path, encoding=str(labels[0]), space=labels[1])
            sample.annotations.append(rows.Annotation(map=whole))
        for folder, category in changes if place.date == 1 else ():
            path = file_of(place, folder)
            if path is not None:
                mask = rows.LabelMap(path, encoding="nonzero")
                if category is None:
                    mask.encoding, mask.space = "index", SPACE
                sample.annotations.append(rows.Annotation(category=category, map=mask))
        yield sample


def _facts(
    root: Path, more: Mapping[str, Any], categories: int
) -> tuple[tuple[str | None, str | None], list[tuple[str, int | None]]]:
    try:
        encoding, space = more["labels"]
        changes = [(str(f), c) for f, c in more["changes"]]
        good = encoding in (None, "index", "rgb24") and (space is None or isinstance(space, str))
        good = good and all(c is None or 0 <= c < categories for _, c in changes)
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise FormatError(root / "granum.json", "damaged notes: what maps mean")
    return (encoding, space), changes
