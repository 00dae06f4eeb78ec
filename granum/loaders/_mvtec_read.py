"""Reading trees of products: splits with a folder per type, and ``ground_truth`` beside them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from granum.loaders._image_tree import is_image
from granum.loaders._json_files import load_json
from granum.loaders._mvtec_pairs import SUFFIX, Masks, Reading, is_good, listed
from granum.loaders._notes import FILE, Notes, category_names, take_tables
from granum.loaders._paths import Names, folders_in, is_file, split_suffix, walk
from granum.schema import rows
from granum.schema.defects import SPACE
from granum.store.out import safe_relative

__all__ = [
    "CONFIG",
    "CONFIG_KEY",
    "TRUTH",
    "folder_name",
    "products_of",
    "read_noted",
    "read_products",
    "type_folders",
]

TRUTH = "ground_truth"
CONFIG = "defects_config.json"
"""Of MVTec LOCO: the names of the values that masks hold."""

CONFIG_KEY = "defects_config"
"""The attribute of categories that holds what ``defects_config.json`` says, by product."""

Config = dict[int, str]

_FIRST = ("train", "validation", "val", "test")


def products_of(root: Path, limit: int = 10**6) -> list[str]:
    """Folders of products below ``root``: ``.`` where it is one itself. Looks at ``limit`` folders,
    and into few of them."""
    if is_product(root):
        return ["."]
    return [n for n in folders_in(root, limit) if not n.startswith(".") and is_product(root / n)]


def is_product(folder: Path) -> bool:
    """Whether types have masks in ``ground_truth`` and photos in a split, or a split has types
    with ``rgb`` and ``xyz``."""
    below = [n for n in folders_in(folder, 50) if n != TRUTH]
    types = folders_in(folder / TRUTH, 50)
    if any((folder / split / one).is_dir() for split in below for one in types):
        return True
    return any(
        _is_3d(folder / split / one) for split in below for one in folders_in(folder / split, 20)
    )


def _is_3d(folder: Path) -> bool:
    return (folder / "rgb").is_dir() and (folder / "xyz").is_dir()


def read_products(reading: Reading, products: Sequence[str]) -> Iterator[rows.Sample]:
    """The samples of all products, in the order of product, split, type and name."""
    found = [Product.of(reading, "" if p == "." else p) for p in products]
    types = {t for one in found for t in one.types}
    for name in sorted(types, key=lambda n: (not is_good(n), n)):
        reading.intake.category(name, SPACE)
    for one in found:
        one.config = read_config(reading, one.path(CONFIG), one.folder)
    for one in found:
        yield from one.samples()
    if products != ["."]:
        for name in listed(reading.root)[1]:
            if name not in products:
                reading.fault("file-not-read", name, "no folder of a product")


@dataclass
class Product:
    """One product: its photos, as they lie in folders.

    Attributes:
        folder: its path below the root; empty where it is the root.
        photos: names of photos by split and type.
        solid: splits and types that have ``rgb`` and ``xyz``.
        config: names of types by the value in masks (MVTec LOCO).
    """

    reading: Reading
    folder: str
    photos: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    solid: list[tuple[str, str]] = field(default_factory=list)
    config: Config = field(default_factory=dict)

    @classmethod
    def of(cls, reading: Reading, folder: str) -> Product:
        out = cls(reading, folder)
        splits = [s for s in listed(reading.root / folder)[1] if s != TRUTH]
        for split in sorted(splits, key=lambda s: (_FIRST.index(s) if s in _FIRST else 9, s)):
            loose, types = listed(reading.root / folder / split)
            for name in loose:
                reading.fault("file-not-read", out.path(split, name), "it lies beside the types")
            for type_ in sorted(types, key=lambda t: (not is_good(t), t)):
                out._add(split, type_)
        return out

    def _add(self, split: str, type_: str) -> None:
        place = self.path(split, type_)
        if _is_3d(self.reading.root / place):
            self.solid.append((split, type_))
            return
        files, below = listed(self.reading.root / place)
        self.photos[split, type_] = self.reading.images(place, files)
        for name in below:
            self.reading.fault("file-not-read", f"{place}/{name}", "a folder among photos")

    def path(self, *parts: str) -> str:
        return "/".join(p for p in (self.folder, *parts) if p)

    @property
    def types(self) -> list[str]:
        return [t for _, t in (*self.photos, *self.solid)]

    def samples(self) -> Iterator[rows.Sample]:
        masks, owner = self._masks()
        for (split, type_), names in self.photos.items():
            for name in names:
                stem = split_suffix(name)[0]
                sample = self.reading.photo(self.path(split, type_, name), split, self.folder)
                sample.annotations.append(self.reading.label(type_))
                mine = owner.get((type_, stem)) == (split, name)
                found = masks[type_].found.get(stem, []) if mine else []
                apart = mine and stem in masks[type_].apart
                draw(self.reading, sample, type_, found, self.config if apart else None)
                yield sample
        for split, type_ in self.solid:
            yield from self._points(split, type_)

    def _masks(self) -> tuple[dict[str, Masks], dict[tuple[str, str], tuple[str, str]]]:
        """Masks by type, and which photo each name of a type means: that of ``test`` first, of
        ``train`` last."""
        owner: dict[tuple[str, str], tuple[str, str]] = {}
        order = sorted(self.photos, key=lambda p: (p[0] != "test", p[0] == "train"))
        for split, type_ in order:
            for name in self.photos[split, type_]:
                owner.setdefault((type_, split_suffix(name)[0]), (split, name))
        found = {}
        for type_ in dict.fromkeys(t for _, t in self.photos):
            stems = {stem for of, stem in owner if of == type_}
            found[type_] = masks_of(self.reading, self.path(TRUTH, type_), stems)
        loose, folders = listed(self.reading.root / self.path(TRUTH))
        orphans = [self.path(TRUTH, n) for n in (*loose, *(f for f in folders if f not in found))]
        self.reading.orphans([*orphans, *(p for m in found.values() for p in m.orphans)])
        return found, owner

    def _points(self, split: str, type_: str) -> Iterator[rows.Sample]:
        """Photos and points of MVTec 3D-AD, in groups."""
        reading, place = self.reading, self.path(split, type_)
        by_stem: dict[str, dict[str, str]] = {}
        for role in ("rgb", "xyz"):
            for name in reading.images(f"{place}/{role}", listed(reading.root / place / role)[0]):
                by_stem.setdefault(split_suffix(name)[0], {})[role] = f"{place}/{role}/{name}"
        photos = [stem for stem, roles in by_stem.items() if "rgb" in roles]
        masks = masks_of(reading, f"{place}/gt", photos)
        reading.orphans(masks.orphans)
        for stem, roles in sorted(by_stem.items()):
            reading.intake.groups.append(rows.Group(f"{place}/{stem}", "scene"))
            for order, role in enumerate(("rgb", "xyz")):
                if role not in roles:
                    reading.fault("file-missing", f"{place}/{role}/{stem}", f"no {role} of {stem}")
                    continue
                sample = reading.photo(roles[role], split, self.folder)
                sample.group, sample.role = len(reading.intake.groups) - 1, role
                sample.order = order
                if role == "rgb":
                    sample.annotations.append(reading.label(type_))
                    draw(reading, sample, type_, masks.found.get(stem, []), None)
                else:
                    sample.media_kind = "raster"
                yield sample


def masks_of(reading: Reading, folder: str, stems: Collection[str]) -> Masks:
    """The masks in a folder: files named like photos, and folders of several masks each."""
    files, folders = listed(reading.root / folder)
    out = Masks.of(folder, reading.images(folder, files), stems)
    for name in folders:
        below = f"{folder}/{name}"
        inside = reading.images(below, listed(reading.root / below)[0])
        if name in stems and name not in out.found:
            out.found[name] = [f"{below}/{n}" for n in inside]
            out.apart.add(name)
        else:
            out.orphans.append(below)
    return out


def draw(
    reading: Reading, sample: rows.Sample, type_: str, masks: Sequence[str], config: Config | None
) -> None:
    """Append the objects that masks show to a photo of a type.

    ``config``: for masks in a folder of their own, what their values mean; None for a mask beside
    others, which is of the photo's type, and nothing where that is none.
    """
    if config is None and is_good(type_):
        reading.checked(sample.key, masks, good=True)
        return
    if not masks:
        reading.missing(sample.key)
    reading.checked(sample.key, masks)
    for path in masks:
        if config:
            sample.annotations += of_values(reading, path, type_, config)
        else:
            sample.annotations.append(reading.mask(path, reading.category(type_)))


def of_values(reading: Reading, path: str, type_: str, config: Config) -> Iterator[rows.Annotation]:
    """The objects of a mask whose values mean types; ``type_`` where they mean none."""
    values = reading.values(path)
    found = [] if values is None else [int(v) for v in np.unique(values) if v]
    if not found:
        yield reading.mask(path, reading.category(type_))
    for value in found:
        name = config.get(value)
        if name is None:
            reading.fault("unknown-class", path, f"{CONFIG} does not name the value {value}")
        alone = len(found) == 1
        yield reading.mask(path, reading.category(name or type_), None if alone else value)


def read_config(reading: Reading, path: str, product: str) -> Config:
    """The names of values in masks; each becomes a category, with what else is said of it."""
    out: Config = {}
    if not is_file(reading.root / path):
        return out
    records = load_json(reading.root / path, path)
    for i, record in enumerate(records if isinstance(records, list) else [records]):
        name = record.get("defect_name") if isinstance(record, dict) else None
        value = record.get("pixel_value") if isinstance(record, dict) else None
        if not isinstance(name, str) or type(value) is not int:
            message = "neither a defect_name (text) nor a pixel_value (integer)"
            reading.fault("bad-value", path, message, f"/{i}")
            continue
        out[value] = name
        if reading.named is None:
            category = reading.intake.categories[reading.category(name)]
            told = dict((category.attributes or {}).get(CONFIG_KEY, {}))
            rest = {k: v for k, v in record.items() if k != "defect_name"}
            category.attributes = {CONFIG_KEY: {**told, product: rest}}
    return out


def read_noted(reading: Reading, notes: Notes) -> Iterator[rows.Sample]:
    """What our own writer wrote: samples as noted, their labels and masks by their places."""
    take_tables(notes, reading.intake)
    reading.named = {n: i for i, n in enumerate(type_folders(notes.categories))}
    configs: dict[str, Config] = {}
    seen, deep = 0, int(bool(notes.more.get("products")))
    for sample in notes.samples:
        path = sample.media.path if sample.media else None
        parts = safe_relative(path or "", reading.root).parts
        if not 2 <= len(parts) - deep <= 3:
            reading.fault("bad-value", FILE, f"{path!r} is no place of a photo", sample.key)
            continue
        product, type_ = "/".join(parts[:deep]), parts[-2] if len(parts) - deep == 3 else None
        if product not in configs:
            configs[product] = read_config(reading, f"{product}/{CONFIG}".strip("/"), product)
        if type_ is not None:
            sample.annotations.append(reading.label(type_))
        stem = split_suffix(parts[-1])[0]
        place = "/".join(p for p in (product, TRUTH, type_, stem) if p)
        inside, config = listed(reading.root / place)[0], configs[product]
        masks, apart = [f"{place}/{n}" for n in inside], bool(inside)
        if not inside and type_ is not None and (reading.root / f"{place}{SUFFIX}.png").is_file():
            masks = [f"{place}{SUFFIX}.png"]
        if masks:
            draw(reading, sample, type_ or "", masks, config if apart else None)
        seen += len(masks)
        yield sample
    told = notes.more.get("masks")
    if isinstance(told, int) and seen < told:
        reading.fault("missing-mask", FILE, f"{seen} of {told} masks are there")
    _unnoted(reading, notes)


def _unnoted(reading: Reading, notes: Notes) -> None:
    """Report photos that were put into a tree of ours."""
    for before, below, files in walk(reading.root):
        below[:] = [n for n in below if n != TRUTH]
        for name in filter(is_image, files):
            if before + name not in notes.by_path:
                reading.fault("unlisted-image", before + name, f"{FILE} does not name it")


def type_folders(categories: Sequence[rows.Category]) -> list[str]:
    """The folder of each category: its name where that can be one, and no two the same."""
    names = Names()
    return [names(folder_name(n)) for n in category_names(categories)]


def folder_name(name: str) -> str:
    """A name as one that a folder can have."""
    return re.sub(r"[\\/:*?\"<>|\x00-\x1f]", "_", name).strip(". ") or "_"
