"""Writing the tree of MVTec AD: where photos and masks go, and the masks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import GranumError
from granum.loaders._mvtec_pairs import SUFFIX, is_good
from granum.loaders._mvtec_read import CONFIG, CONFIG_KEY, TRUTH, folder_name, type_folders
from granum.loaders._notes import FILE, write_notes
from granum.loaders._paths import Names, split_suffix
from granum.loaders._rows import sample_rows
from granum.loaders._units import in_pixels
from granum.loaders.base import image_name, keep_columns
from granum.loaders.writing import with_sizes
from granum.schema import geometry, rows
from granum.store.dataset import Dataset
from granum.store.media import encode_png, map_mask, media_path, read_values
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["Plan", "make_plan", "write_tree"]

Mask = npt.NDArray[np.bool_]
Size = tuple[int, int]

VALUES = 255
"""Types that masks in a folder of their own can tell apart: a byte, without 0."""

_PNG = b"\x89PNG\r\n\x1a\n"
_WHOLE = "test"
"""The folder of photos without a split."""


@dataclass
class Plan:
    """What is written where.

    Attributes:
        dataset: what the plan is of: its masks are written.
        paths: where the photo of each sample belongs.
        files: of annotations that come back, by their ids, the path of the mask; empty for labels.
        apart: ids of objects whose mask lies in a folder, where its value means the type.
        sizes: width and height of samples with RLE or polygons, by key.
        products: whether all photos lie below folders of products.
    """

    dataset: Dataset
    paths: list[str] = field(default_factory=list)
    files: dict[int | None, str] = field(default_factory=dict)
    apart: set[int | None] = field(default_factory=set)
    sizes: dict[str, Size] = field(default_factory=dict)
    products: bool = False

    @property
    def map_root(self) -> str | None:
        return self.dataset.meta.map_root or self.dataset.meta.media_root


def product_of(sample: rows.Sample) -> str | None:
    found = (sample.attributes or {}).get("product")
    return found if isinstance(found, str) else None


def make_plan(dataset: Dataset, keeps: Collection[str]) -> Plan:
    """Look at all labels and masks.

    Raises:
        SizeUnknownError: polygons on a photo whose size is nowhere told.
    """
    categories = rows.categories_from_table(dataset.categories)
    plan = Plan(dataset)
    plan.products = any(product_of(s) is not None for s in _samples(dataset, keeps))
    places = _Places(categories, plan.products)
    for i, sample in enumerate(_samples(dataset, keeps)):
        labels = (a for a in sample.annotations if a.kind == "label" and a.category is not None)
        label = next(labels, None)
        objects = [a for a in sample.annotations if a.kind == "object" and a.category is not None]
        _measure(plan, i, sample, objects)
        size = plan.sizes.get(sample.key)
        masks = [(a, m) for a in objects if (m := mask_of(a, size, plan.map_root)) is not None]
        plain = len(masks) == 1 and label is not None and masks[0][0].category == label.category
        type_ = None if label is None else label.category
        plain = plain and type_ is not None and not is_good(categories[type_].name)
        if not plain:  # the value of a pixel tells the type
            masks = [(a, m) for a, m in masks if m.any() and (a.category or 0) < VALUES]
        path, truth = places(sample, type_, bool(masks))
        plan.paths.append(path)
        if label is not None:
            plan.files[label.annotation_id] = ""
        for n, (one, _) in enumerate(masks):
            name = f"{truth}{SUFFIX}.png" if plain else f"{truth}/{n:03d}.png"
            plan.files[one.annotation_id] = name
            if not plain:
                plan.apart.add(one.annotation_id)
    return plan


def _samples(dataset: Dataset, keeps: Collection[str]) -> Iterator[rows.Sample]:
    """Samples in pixels, with the rows that might come back."""

    def change(batch: Batch) -> Batch:
        return keep_columns(in_pixels(batch, dataset), keeps)

    return sample_rows(dataset.map_batches(change))


def _measure(plan: Plan, row: int, sample: rows.Sample, objects: list[rows.Annotation]) -> None:
    """Note the size of a sample that has RLE, which say it, or polygons, which need it."""
    drawn = [a for a in objects if a.polygons is not None or a.rle is not None]
    if not drawn:
        return
    size: tuple[Any, Any] = (sample.width, sample.height)
    if None in size and all(a.rle is not None for a in drawn):
        size = drawn[0].rle.size[::-1] if drawn[0].rle is not None else size
    elif None in size:
        found = with_sizes(plan.dataset.select([row]))
        size = tuple(found.samples([n])[n][0].as_py() for n in ("width", "height"))
    plan.sizes[sample.key] = size


class _Places:
    """Gives each sample the path of its photo, and what the path of its masks begins with.

    A photo with masks shares its name with no other photo of its type, in whatever split.
    """

    def __init__(self, categories: list[rows.Category], products: bool) -> None:
        self.types, self.products = type_folders(categories), products
        self._folders: dict[tuple[str, str | None], str] = {}
        # Of split folders, of products; what lies beside them is taken.
        self._names = Names([TRUTH, CONFIG, FILE, _WHOLE]), Names([FILE, "none"])
        self._taken: dict[tuple[str, str], set[str]] = {}
        self._masked: dict[str, set[str]] = {}

    def __call__(self, sample: rows.Sample, type_: int | None, masked: bool) -> tuple[str, str]:
        product = ""
        if self.products:
            product = self._folder("product", product_of(sample), "none") + "/"
        split = self._folder("split", sample.split, _WHOLE)
        below = "" if type_ is None else f"{self.types[type_]}/"
        stem, suffix = split_suffix(folder_name(image_name(sample.key).rpartition("/")[2]))
        place = f"{product}{below}"
        in_split = self._taken.setdefault((place, split), set())
        of_masks = self._masked.setdefault(place, set())
        others = [t for (p, _), t in self._taken.items() if p == place] if masked else []
        wanted, n = stem, 1
        while (
            wanted in in_split
            or wanted in of_masks
            or any(wanted in t for t in others)
            or (type_ is None and f"{wanted}{suffix}" in self.types)
            or (type_ is None and wanted in self.types)
        ):
            n += 1
            wanted = f"{stem}-{n}"
        in_split.add(wanted)
        if masked:
            of_masks.add(wanted)
        return f"{product}{split}/{below}{wanted}{suffix}", f"{product}{TRUTH}/{below}{wanted}"

    def _folder(self, of: str, name: str | None, absent: str) -> str:
        if name is None or (of == "split" and name == _WHOLE):
            return absent
        if (of, name) not in self._folders:
            names = self._names[of == "product"]
            self._folders[of, name] = names(folder_name(name))
        return self._folders[of, name]


# ------------------------------------------------------------------------- masks


def mask_of(one: rows.Annotation, size: Size | None, root: str | None) -> Mask | None:
    """The mask of an object, shape (height, width); None where it has none, where it cannot be
    read, or where two forms of it differ."""
    found: list[Mask] = []
    try:
        if one.rle is not None:
            found.append(geometry.rle_decode(one.rle.size, one.rle.counts))
        if one.map is not None:
            if one.map.value is None and one.map.encoding not in ("nonzero", "greater"):
                return None  # all of its values at once: no one defect
            found.append(map_mask(one.map, read_values(one.map, root)))
        if one.polygons is not None and size is not None:
            found.append(geometry.rasterize(one.polygons, size[1], size[0]))
    except (GranumError, OSError, SyntaxError, ValueError, OverflowError):
        return None
    if not found or not found[0].size:
        return None
    return found[0] if all(np.array_equal(found[0], m) for m in found[1:]) else None


def write_tree(dataset: Dataset, out: Out, plan: Plan, name: str, keeps: Collection[str]) -> None:
    """Write the masks of the dataset that was planned, and the notes of its projection."""
    categories = rows.categories_from_table(dataset.categories)
    folders = type_folders(categories)
    told: dict[str, set[int]] = {}
    for sample, path in zip(_samples(plan.dataset, keeps), plan.paths, strict=True):
        for one in sample.annotations:
            file = plan.files.get(one.annotation_id)
            if not file or one.category is None:
                continue
            value = 255
            if one.annotation_id in plan.apart:
                product, value = (
                    path.partition("/")[0] if plan.products else "",
                    VALUES - one.category,
                )
                told.setdefault(product, set()).add(one.category)
            out.bytes(file, _content(one, value, plan.sizes.get(sample.key), plan.map_root))
    for product, used in told.items():
        records = [_record(categories[c], folders[c], product, VALUES - c) for c in sorted(used)]
        text = json.dumps(records, ensure_ascii=False, indent=2) + "\n"
        out.text(f"{product}/{CONFIG}".strip("/"), text)
    masks = sum(f != "" for f in plan.files.values())
    kept = {"split", "attributes", "group", "time", "geo"}
    more = {"products": plan.products, "masks": masks}
    write_notes(out, name, dataset, plan.paths, kept, more=more)


def _content(one: rows.Annotation, value: int, size: Size | None, root: str | None) -> bytes:
    """A mask as a PNG of 0 and ``value``; copied where it is a file of 0 and something."""
    if value == 255 and one.map is not None and one.map.encoding == "nonzero":
        content = one.map.bytes
        if content is None:
            content = media_path(rows.Media(one.map.path), root).read_bytes()
        if content.startswith(_PNG):
            return content
    mask = mask_of(one, size, root)
    assert mask is not None
    return encode_png(mask.astype(np.uint8) * np.uint8(value))


def _record(category: rows.Category, name: str, product: str, value: int) -> dict[str, Any]:
    """What ``defects_config.json`` says of a type; thresholds as they were read."""
    known = (category.attributes or {}).get(CONFIG_KEY)
    told = known.get(product) if isinstance(known, dict) else None
    rest = told if isinstance(told, dict) else {}
    plain = {"saturation_threshold": 1.0, "relative_saturation": True}
    return {"defect_name": name, **plain, **rest, "pixel_value": value}
