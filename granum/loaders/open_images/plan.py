"""What holds for a whole dataset that is written: ids of images and classes, files, columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._paths import Names
from granum.loaders.base import image_name
from granum.loaders.open_images.facts import ATTRIBUTES, CLICKS, KINDS, TYPES, token_of
from granum.loaders.open_images.notes import ATTRIBUTE, Notes, role_lookups
from granum.loaders.open_images.parse import IS
from granum.schema import rows, tables
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.media import IMAGE_SUFFIXES

__all__ = ["Plan", "roles_of"]

Mask = npt.NDArray[np.bool_]

_KNOWN = {n for columns in KINDS.values() for n in columns} | {"Width", "Height", ""}
_PLAIN = "^[0-9A-Za-z_-]+$"
_TYPE_NAMES = {t: n for n, t in TYPES.items()}


class Plan:
    """See the module.

    Args:
        dataset: all of it.

    Attributes:
        ids: the ImageID of each sample.
        files: where each one's image belongs.
        tokens: what files of each one's split are called by.
        classes: what files call each category.
        as_label: which categories can be the class of something.
        as_attribute: which can be what something "is".
        scores: a box has a score of 1, which otherwise means that nothing is said.
        subsets: what ``Subset`` says, for splits that other tools would not know.
        clicked: tokens of which boxes have clicks.
        columns: per kind of file, the attributes that it has beyond the official columns.
        types: names of the types of attributes, of ``samples`` and ``annotations``.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._name_images(dataset)
        self._name_classes(dataset)
        self.scores = False
        self.clicked: set[str] = set()
        self.columns: dict[str, list[str]] = {k: [] for k in KINDS}
        self.types: dict[str, dict[str, str]] = {"samples": {}, "annotations": {}}
        for part in dataset.parts:
            self._look(part.samples(), part.layer(dataset.meta.layer))
        if set(CLICKS) & {*self.columns["boxes"]}:
            others = [n for n in self.columns["boxes"] if n not in CLICKS]
            self.columns["boxes"] = [*CLICKS, *others]

    # ------------------------------------------------------------------ images

    def _name_images(self, dataset: Dataset) -> None:
        table = dataset.samples(["key", "split", "media"])
        keys = table["key"].to_pylist()
        splits = table["split"].cast(pa.string()).to_pylist()
        paths = pc.struct_field(table["media"].combine_chunks(), "path").to_pylist()
        self.splits: dict[str | None, str] = {s: token_of(s) for s in dict.fromkeys(splits)}
        official = {"train", "validation", "test"} - {*self.splits}
        self.subsets = {t: s for s, t in self.splits.items() if t in official}
        self.tokens = [self.splits[s] for s in splits]
        self.ids: list[str] = []
        self.files: list[str] = []
        self.suffix = ""
        self.keys: dict[str, str] = {}
        self.odd_files: dict[str, str] = {}
        if pc.all(pc.match_substring_regex(table["key"], _PLAIN), min_count=0).as_py():
            self.ids = keys
            self.files = [
                f"images/{token}/{key}{_suffix(path) or '.jpg'}"
                for key, token, path in zip(keys, self.tokens, paths, strict=True)
            ]
        else:
            self._name_odd(keys, paths)

    def _name_odd(self, keys: list[str], paths: list[str | None]) -> None:
        """Ids and files for keys that may be any text."""
        ends: Counter[str] = Counter()
        taken: set[str] = set()
        names = Names()
        odd: dict[str, str] = {}
        for key, token, path in zip(keys, self.tokens, paths, strict=True):
            stem, suffix = _parted(key)
            own = _unused(stem, key, taken)
            taken.add(own)
            self.ids.append(own)
            ends[key[len(own) :] if key.startswith(own) else ""] += 1
            wanted = f"images/{token}/{own}{suffix or _suffix(path) or '.jpg'}"
            clean = image_name(wanted.replace("\n", "_").replace("\r", "_"))
            file = names(clean.replace("/.", "/_."))
            self.files.append(file)
            if file != wanted or own.lower().endswith(IMAGE_SUFFIXES):
                odd[own] = file
        self.suffix = ends.most_common(1)[0][0] if ends else ""
        self.keys = {i: k for i, k in zip(self.ids, keys, strict=True) if i + self.suffix != k}
        self.odd_files = odd

    # ------------------------------------------------------------------ classes

    def _name_classes(self, dataset: Dataset) -> None:
        conformed = tables.conform(dataset.categories, tables.CATEGORIES)
        self.categories = rows.categories_from_table(conformed)
        taken: dict[bool, set[str]] = {True: set(), False: set()}
        self.classes: list[str] = []
        for row, category in enumerate(self.categories):
            mine = taken[category.space == ATTRIBUTE]
            wanted = [category.source_id, category.name, f"{category.name}#{row}", f"/x/{row}"]
            free = (w for w in wanted if w and w != IS and w not in mine)
            self.classes.append(next(free, f"/x/{row}-{len(mine)}"))
            mine.add(self.classes[-1])
        of_label, of_attribute = role_lookups(self.classes, self.categories)
        n = len(self.classes)
        self.as_label = np.array([of_label[self.classes[i]] == i for i in range(n)] + [False])
        self.as_attribute = np.array(
            [of_attribute[self.classes[i]] == i for i in range(n)] + [False]
        )

    # ------------------------------------------------------------------ attributes

    def _look(self, samples: pa.Table, annotations: pa.Table) -> None:
        for name, kind in _attributes(samples):
            self._take("images", "samples", name, kind)
        found = list(_attributes(annotations))
        if not found and (self.scores or "score" not in annotations.column_names):
            return
        roles = roles_of(annotations)
        if "score" in annotations.column_names:
            certain = pc.fill_null(pc.equal(annotations["score"], 1.0), False)
            self.scores |= bool((roles["boxes"] & np.asarray(certain)).any())
        for name, kind in found:
            here = _valid(annotations, f"attr.{name}")
            for role, where in roles.items():
                if (here & where).any():
                    self._take(role, "annotations", name, kind)
            if name in CLICKS:
                at = annotations.filter(pa.array(here & roles["boxes"]))["sample"]
                self.clicked |= {self.tokens[i] for i in at.drop_null().unique().to_pylist()}

    def _take(self, kind: str, table: str, name: str, type_: str) -> None:
        if kind == "boxes" and name in ATTRIBUTES["masks"]:
            self.types[table].setdefault(name, type_)  # files of masks have it
        elif name not in _KNOWN or name in ATTRIBUTES[kind]:
            self.types[table].setdefault(name, type_)
            if name not in self.columns[kind]:
                self.columns[kind].append(name)

    # ------------------------------------------------------------------ notes

    def notes(self) -> Notes:
        """What is noted beside the files."""
        return Notes(
            suffix=self.suffix,
            keys=self.keys,
            subsets=self.subsets,
            folders=list(self.splits.items()),
            files=self.odd_files,
            ids=self.classes,
            categories=self.categories,
            scores=self.scores,
            **self.types,
        )


def roles_of(annotations: pa.Table) -> dict[str, Mask]:
    """Which rows may go to which kind of file, by their kind."""
    kinds = column(annotations, "kind").cast(pa.string())

    def of(kind: str) -> Mask:
        return np.asarray(pc.fill_null(pc.equal(kinds, kind), False))

    points = of("object") & ~_valid(annotations, "bbox")
    return {
        "boxes": of("object") & _valid(annotations, "bbox"),
        "points": points & _valid(annotations, "keypoints"),
        "labels": of("label"),
        "relations": of("relation"),
    }


def _attributes(table: pa.Table) -> Iterator[tuple[str, str]]:
    """Names and types of the attribute columns that have values."""
    for name in table.column_names:
        if name.startswith("attr.") and table[name].null_count < table.num_rows:
            kind = table[name].type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if kind in _TYPE_NAMES:
                yield name.removeprefix("attr."), _TYPE_NAMES[kind]


def _valid(table: pa.Table, name: str) -> Mask:
    return np.asarray(column(table, name).is_valid())


def _parted(key: str) -> tuple[str, str]:
    """A key without and with the suffix of an image."""
    suffix = _suffix(key)
    stem = key[: len(key) - len(suffix)]
    return (stem, suffix) if stem and not stem.endswith("/") else (key, "")


def _suffix(path: str | None) -> str:
    dot = -1 if path is None else path.rfind(".")
    found = "" if dot < 0 or path is None else path[dot:]
    return found if found.lower() in IMAGE_SUFFIXES else ""


def _unused(stem: str, key: str, taken: set[str]) -> str:
    """An ImageID that no other sample has."""
    found, n = stem, 1
    while found in taken:
        found, n = key if n == 1 else f"{key}#{n}", n + 1
    return found
