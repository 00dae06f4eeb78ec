"""PASCAL VOC: reading a tree of annotation files, lists and masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from granum.errors import FormatError, GranumError
from granum.loaders._voc_classes import Classes
from granum.loaders._voc_names import stem
from granum.loaders._voc_parse import SCHEMA, Parsed, Parser, Row, lines_of
from granum.loaders._voc_sets import FLAGS, FOLDER, read_sets
from granum.loaders._voc_tree import (
    CLASS,
    OBJECT,
    SPLITS,
    Images,
    Tree,
    instances,
    mask_encoding,
    walk,
)
from granum.loaders._xml import read_xml
from granum.loaders.base import Intake
from granum.schema import rows, tables
from granum.store.builder import Incoming
from granum.store.media import IMAGE_SUFFIXES, image_size

__all__ = ["Reader"]

BATCH = 2048
MAPS = rows.LabelMap


@dataclass
class Reader:
    """Reads one dataset.

    Args:
        tree: where things lie.
        intake: gets rows' tables and faults.
        one: boxes are pixels counted from 1, both ends included.
        facts: whether to read the lists of classes.
        with_masks: whether to read masks.
    """

    tree: Tree
    intake: Intake
    one: bool
    facts: bool
    with_masks: bool
    labels: dict[str, str] = field(default_factory=dict)
    masks: dict[str, dict[str, str]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tree, beside = self.tree, not self.tree.labels
        below = list(walk(tree.base / tree.labels))
        self.labels = {n[:-4]: n for n in below if n.lower().endswith(".xml")}
        folder = tree.base / tree.images
        prefix = f"{tree.images}/" if tree.images else ""
        if self.intake.images is not None:
            folder, prefix = self.intake.images, ""
            self.images = Images(walk(folder))
        elif beside:
            self.images = Images(n for n in below if n.lower().endswith(IMAGE_SUFFIXES))
        else:
            self.images = Images(walk(folder))
        self.prefix = prefix
        self.intake.media_root = tree.base if self.intake.images is None else folder
        for name in (CLASS, OBJECT) if self.with_masks and not beside else ():
            found = {stem(n): n for n in walk(tree.base / name) if n.endswith(".png")}
            self.masks[name] = found
            if found:
                self.intake.map_root = tree.base

    def read(self) -> Iterator[Incoming]:
        """Batches of samples in the order of their names."""
        intake, base = self.intake, self.tree.base
        classes = Classes(base, intake, self._class_encoding())
        labelled = {*self.labels, *(n for found in self.masks.values() for n in found)}
        known = labelled | self.images.by_stem.keys()
        sets = read_sets(base, known, labelled, classes.names(), intake, self.facts)
        if not labelled and not sets.members and not (base / FOLDER).is_dir():
            raise FormatError(base, "no annotation file, list or mask of PASCAL VOC")
        intake.locate = self.locate
        parser = Parser(classes, intake, self.one)
        samples: list[rows.Sample] = []
        listed: list[Row] = []
        used: set[str] = set()
        read = 0
        for name in sorted(labelled | sets.names()):
            parsed = self._parse(parser, name)
            if parsed is None:
                used.add(self.images.by_stem.get(name, ""))
                continue
            if name in sets.places and name not in labelled:
                path, place = sets.places[name]
                file = Path(self.tree.labels, f"{name}.xml").as_posix()
                message = f"{name!r} is listed, but there is no {file}"
                intake.fault("missing-labels", path, place, message)
            sample = self._sample(name, parsed, used)
            if sample is None:
                continue
            if sets.members:
                sample.split, further = sets.of(name)
                if further is not None and "image_sets" not in (sample.extra or {}):
                    sample.extra = {**(sample.extra or {}), "image_sets": further}
            else:
                top = name.partition("/")[0]
                sample.split = top if "/" in name and top in SPLITS else None
            sample.origins, sample.ordinal = [0], [read]
            read += 1
            mine = [*parsed.rows, *self._maps(name, parsed, parser)]
            labels = [r for r in mine if r.kind == "label"]
            for of, flag in sets.facts.get(name, {}).items():
                row = classes.row(of, base / FOLDER / "Main", name)
                if row is not None and row not in parsed.labelled:
                    present, difficult = FLAGS[flag]
                    fact = Row(parser.new_id(), "label", 0, row)
                    fact.present, fact.difficult = present, difficult
                    labels.append(fact)
            labels.sort(key=lambda r: (r.category is None, r.category or 0))
            for row_ in (*(r for r in mine if r.kind != "label"), *labels):
                row_.sample = len(samples)
                listed.append(row_)
            samples.append(sample)
            if len(samples) >= BATCH:
                yield _incoming(samples, listed)
                samples, listed = [], []
        if samples:
            yield _incoming(samples, listed)
        classes.finish()
        if intake.images is None:
            for image in self.images.by_stem.values():
                if image not in used:
                    message = "no label file and no list names it; it is left out"
                    intake.fault("unlisted-image", base / self.prefix / image, None, message)

    # ---------------------------------------------------------------- samples

    def _parse(self, parser: Parser, name: str) -> Parsed | None:
        """What is known of the image ``name``; None where its file is left out."""
        if name not in self.labels:
            return Parsed()
        path = self._label(name)
        try:
            root = read_xml(path)
        except FormatError as error:
            # A broken file of this name is what macOS leaves beside each file.
            code = "file-not-read" if path.name.startswith("._") else "malformed-xml"
            self.intake.fault(code, path, error.place, error.reason)
            return None
        if root.tag != "annotation":
            message = f"the root element is <{root.tag}>, not <annotation>"
            self.intake.fault("file-not-read", path, f"line {root.line}", message)
            return None
        parsed = parser.file(root, str(path))
        return parsed if parsed.keep else None

    def _sample(self, name: str, parsed: Parsed, used: set[str]) -> rows.Sample | None:
        path = self._label(name)
        told = parsed.filename
        if parsed.key is not None:
            key, file = parsed.key, told or name
        else:
            key, other = self.images.key(name, told)
            file = key
            if other:
                message = f"<filename> is {told!r}; taken to be the image {key!r}"
                self.intake.fault("conflicting-records", path, None, message)
            last = key.rpartition("/")[2]
            if told is not None and told not in (key, last, stem(key), stem(last)):
                parsed.extra = {"filename": told, **(parsed.extra or {})}
        found = self.images.find(file, name, self.labels)
        media = file if found is None else found
        if key in self.keys:
            self.intake.fault("duplicate-key", path, None, f"a second sample {key!r}")
            if self.intake.on_error != "fix":
                return None
            n = 2
            while f"{key}#{n}" in self.keys:
                n += 1
            key = f"{key}#{n}"
        self.keys[key] = name
        if found is not None:
            used.add(found)
        width, height = parsed.width, parsed.height
        if (width is None or height is None) and self.intake.on_error == "fix" and found:
            try:
                width, height = image_size(self._image(found))
            except GranumError as error:
                self.intake.fault("broken-media", self._image(found), None, str(error))
        return rows.Sample(
            key,
            rows.Media(self.prefix + media),
            width,
            height,
            channels=parsed.channels,
            attributes=parsed.attributes,
            extra=parsed.extra,
        )

    def _label(self, name: str) -> Path:
        return self.tree.base / self.tree.labels / self.labels.get(name, f"{name}.xml")

    def _image(self, found: str) -> Path:
        return (self.intake.images or self.tree.base / self.tree.images) / found

    # ---------------------------------------------------------------- masks

    def _class_encoding(self) -> str | None:
        found = self.masks.get(CLASS)
        if not found:
            return None
        return mask_encoding(self.tree.base / CLASS / min(found.values()))

    def _maps(self, name: str, parsed: Parsed, parser: Parser) -> list[Row]:
        """Give objects their masks; rows for maps that belong to no object alone."""
        out = []
        if name in self.masks.get(CLASS, {}):
            file = self.masks[CLASS][name]
            encoding = mask_encoding(self.tree.base / CLASS / file)
            whole = MAPS(f"{CLASS}/{file}", encoding=encoding, space="object")
            out.append(Row(parser.new_id(), map=whole))
        if name in self.masks.get(OBJECT, {}):
            whole_map = self._instances(self.masks[OBJECT][name], name, parsed)
            if whole_map is not None:
                out.append(Row(parser.new_id(), map=whole_map))
        return out

    def _instances(self, file: str, name: str, parsed: Parsed) -> rows.LabelMap | None:
        """Give object ``k`` the pixels of value ``k``; the whole map where that does not fit."""
        path = self.tree.base / OBJECT / file
        where = f"{OBJECT}/{file}"
        stated = {i: value for i, (_, value) in parsed.masks.items() if value is not None}
        if stated:
            encoding = mask_encoding(path)
        else:
            try:
                encoding, values = instances(path)
            except FormatError as error:
                self.intake.fault("broken-media", path, None, error.reason)
                return None
            numbers = {number: i for i, (number, _) in parsed.masks.items() if number}
            if parsed.whole_mask:
                return MAPS(where, encoding=encoding)
            unclaimed = sorted(values.keys() - numbers.keys())
            if unclaimed:
                if name in self.labels:
                    message = (
                        f"it holds object {unclaimed[0]} of {len(values)}, but the annotation "
                        f"has {len(numbers)} objects; its objects are kept apart from those"
                    )
                    self.intake.fault("conflicting-records", path, None, message)
                return MAPS(where, encoding=encoding)
            stated = {numbers[number]: value for number, value in values.items()}
        for row in parsed.rows:
            if row.annotation_id in stated:
                row.map = MAPS(where, encoding=encoding, value=stated[row.annotation_id])
        return None

    # ---------------------------------------------------------------- places

    def locate(self, annotation: rows.Annotation, key: str) -> tuple[str, str]:
        """File and line of an annotation."""
        name = self.keys.get(key)
        if name is None or name not in self.labels:
            return str(self.tree.base), key
        path = self._label(name)
        lines = lines_of(read_xml(path)) if annotation.ordinal else []
        at = annotation.ordinal[0] if annotation.ordinal else 0
        return str(path), f"line {lines[at]}" if at < len(lines) else key


def _incoming(samples: list[rows.Sample], listed: list[Row]) -> Incoming:
    annotations = rows.objects_to_table(listed, SCHEMA)
    if not listed:
        annotations = pa.table({"sample": pa.array([], pa.int64())})
    return Incoming(rows.samples_to_table(samples), {tables.DEFAULT_LAYER: annotations})
