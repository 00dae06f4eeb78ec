"""Writing a projected dataset: CSV files as V6 names them, masks, classes, notes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._csv_write import CsvWriter
from granum.loaders.open_images.facts import (
    ATTRIBUTES,
    BOXES,
    CLICKS,
    CORNERS,
    FLAGS,
    IMAGES,
    LABELS,
    MASKS,
    POINTS,
    RELATIONS,
    file_name,
    split_of,
)
from granum.loaders.open_images.masks import map_root_of, write_masks
from granum.loaders.open_images.narratives import encode_narratives
from granum.loaders.open_images.notes import ATTRIBUTE, NOTES, PREDICATE
from granum.loaders.open_images.parse import IS
from granum.loaders.open_images.plan import Plan, roles_of
from granum.loaders.open_images.project import BESIDE, far_edge
from granum.schema import geometry
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["write_tree"]

FOLDER = "annotations"
BATCH = 8192
ROOT = "/m/0bl9f"
"""The root of the official hierarchy: everything."""
MOST = 100_000

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def write_tree(dataset: Dataset, out: Out, plan: Plan) -> None:
    """Write all files; ``dataset`` is what ``project`` left."""
    with ExitStack() as opened:
        writer = _Writer(dataset, out, plan, opened)
        writer.images()
        for batch in dataset.iter_batches(BATCH):
            writer.add(batch)
        boxed = writer.boxed
    _write_classes(out, plan)
    _write_hierarchy(out, plan, boxed)
    out.text(NOTES, plan.notes().text())


class _Writer:
    """Opens files as they are needed.

    Attributes:
        boxed: which categories have boxes.
    """

    def __init__(self, dataset: Dataset, out: Out, plan: Plan, opened: ExitStack) -> None:
        self.dataset, self.out, self.plan, self.opened = dataset, out, plan, opened
        self.root = map_root_of(dataset)
        self.boxed = np.zeros(len(plan.classes) + 1, bool)
        self._texts: dict[tuple[str, str], CsvWriter] = {}
        self._lines: dict[str, IO[bytes]] = {}
        self._names = pa.array([*plan.classes, None], pa.string())

    def _file(self, kind: str, token: str = "train", header: list[str] | None = None) -> CsvWriter:
        if (kind, token) not in self._texts:
            file = self.opened.enter_context(self.out.open(f"{FOLDER}/{file_name(kind, token)}"))
            self._texts[kind, token] = CsvWriter(file, header or self._header(kind, token))
        return self._texts[kind, token]

    def _header(self, kind: str, token: str = "train") -> list[str]:
        plain = "labels" if kind == "machine" else kind
        columns = {
            "images": IMAGES,
            "boxes": BOXES,
            "labels": LABELS,
            "masks": MASKS,
            "relations": RELATIONS,
            "points": POINTS,
        }[plain]
        more = [n for n in self.plan.columns.get(plain, []) if n not in columns]
        if kind == "boxes" and token not in self.plan.clicked:
            more = [n for n in more if n not in CLICKS]
        return [*columns, *more]

    # ------------------------------------------------------------------ images

    def images(self) -> None:
        """One file of all images, in order."""
        sized = any({"width", "height"} & {*p.samples().column_names} for p in self.dataset.parts)
        header = self._header("images") + (["Width", "Height"] if sized else [])
        file = self._file("images", header=header)
        for batch in self.dataset.iter_batches(BATCH):
            samples, n = batch.samples, batch.samples.num_rows
            ids = self.plan.ids[batch.start : batch.start + n]
            columns: dict[str, Any] = {"ImageID": pa.array(ids, pa.string())}
            columns["Subset"] = self._subsets(column(samples, "split").cast(pa.string()))
            for name in ("width", "height"):
                if name in samples.column_names:
                    columns[name.title()] = samples[name]
            columns |= _attributes(samples, header)
            file.write(columns)

    def _subsets(self, splits: pa.ChunkedArray) -> Any:
        """Splits as other tools know them."""
        for told, meant in self.plan.subsets.items():
            if meant is None:
                splits = splits.fill_null(told)
            else:
                same = pc.fill_null(pc.equal(splits, meant), False)
                splits = pc.if_else(same, told, splits)
        return splits

    # ------------------------------------------------------------------ annotations

    def add(self, batch: Batch) -> None:
        """Write the annotations of a batch."""
        table = batch.annotations
        if not table.num_rows:
            return
        at = np.asarray(table["sample"], np.int64)
        low, high = int(at.min()), int(at.max()) + 1
        coded = pa.array(self.plan.tokens[low:high]).dictionary_encode()
        token_of = np.asarray(coded.indices, np.int64)[at - low]
        ids = pa.array(self.plan.ids[low:high], pa.string()).take(pa.array(at - low))
        table = table.append_column("col.id", ids)
        roles = roles_of(table)
        roles["captions"] = np.asarray(pc.equal(table["kind"].cast(pa.string()), "caption"))
        ends = _ends(table) if roles["relations"].any() else None
        for number, token in enumerate(coded.dictionary.to_pylist()):
            here = token_of == number
            for role, where in roles.items():
                chosen = np.flatnonzero(where & here)
                if not len(chosen):
                    continue
                some = table.take(pa.array(chosen))
                match role:
                    case "boxes":
                        self._boxes(some, token, batch)
                    case "labels":
                        self._labels(some, token)
                    case "points":
                        self._points(some, token)
                    case "captions":
                        self._captions(some, token)
                    case "relations" if ends is not None:
                        rows_ = tuple(e[chosen] for e in ends)
                        self._relations(some, table, rows_, token)

    def _classes(self, table: pa.Table, name: str = "category") -> pa.Array:
        return self._names.take(column(table, name).fill_null(len(self._names) - 1))

    def _boxes(self, table: pa.Table, token: str, batch: Batch) -> None:
        self.boxed[np.asarray(table["category"], np.int64)] = True
        if "map" in table.column_names:
            masked = table.filter(table["map"].is_valid())
            if masked.num_rows:
                self._masks(masked, token, batch)
        if BESIDE in table.column_names:
            table = table.filter(pc.invert(pc.fill_null(table[BESIDE], False)))
        score = column(table, "score")
        columns: dict[str, Any] = {
            "ImageID": table["col.id"],
            "Source": column(table, "source"),
            "LabelName": self._classes(table),
            "Confidence": score if self.plan.scores else score.fill_null(1.0),
            **_corners(table),
        }
        for name, source in FLAGS.items():
            columns[name] = column(table, source).cast(pa.int8()).fill_null(-1)
        header = self._file("boxes", token).header
        columns |= _attributes(table, header)
        for name in CLICKS if CLICKS[0] in header else ():
            if self.plan.types["annotations"].get(name, "float") == "float":
                given = columns.get(name, pa.nulls(table.num_rows, pa.float64()))
                columns[name] = given.fill_null(-1.0)
        self._file("boxes", token).write(columns)

    def _masks(self, table: pa.Table, token: str, batch: Batch) -> None:
        at = np.asarray(table["sample"], np.int64) - batch.start
        sides = [
            np.asarray(column(batch.samples, n).fill_null(0), np.int64)[at].tolist()
            for n in ("height", "width")
        ]
        write_masks(table, list(zip(*sides, strict=True)), self.root, self.out)
        paths = pc.struct_field(table["map"].combine_chunks(), "path")
        columns = {
            "MaskPath": pc.replace_substring_regex(paths, ".*/", ""),
            "ImageID": table["col.id"],
            "LabelName": self._classes(table),
            "BoxID": table["source_id"],
            **{f"Box{n}": v for n, v in _corners(table).items()},
            **_attributes(table, list(ATTRIBUTES["masks"])),
        }
        self._file("masks", token).write(columns)

    def _labels(self, table: pa.Table, token: str) -> None:
        present = column(table, "present")
        machine = pc.and_(present.is_null(), column(table, "score").is_valid())
        for kind, where in (("labels", pc.invert(machine)), ("machine", machine)):
            some = table.filter(where)
            if not some.num_rows:
                continue
            value = column(some, "score")
            if kind == "labels":
                value = column(some, "present").cast(pa.int8())
            file = self._file(kind, token)
            columns = {
                "ImageID": some["col.id"],
                "Source": column(some, "source"),
                "LabelName": self._classes(some),
                "Confidence": value,
                **_attributes(some, file.header),
            }
            file.write(columns)

    def _points(self, table: pa.Table, token: str) -> None:
        flat = np.asarray(table["keypoints"].combine_chunks().flatten(), np.float64).reshape(-1, 3)
        present = column(table, "present")
        said = pc.if_else(present, "yes", "no").fill_null("unsure")
        file = self._file("points", token)
        columns = {
            "ImageId": table["col.id"],
            "X": pa.array(flat[:, 0]),
            "Y": pa.array(flat[:, 1]),
            "Label": self._classes(table),
            "EstimatedYesNo": said,
            "Source": column(table, "source"),
            "TextLabel": column(table, "text"),
            **_attributes(table, file.header),
        }
        file.write(columns)

    def _relations(
        self, table: pa.Table, whole: pa.Table, ends: tuple[Ints, ...], token: str
    ) -> None:
        is_ = ends[1] < 0
        first = whole.take(pa.array(ends[0]))
        second = whole.take(pa.array(np.where(is_, ends[0], ends[1])))
        own = self._classes(table)
        file = self._file("relations", token)
        columns = {
            "ImageID": table["col.id"],
            "LabelName1": self._classes(first),
            "LabelName2": pc.if_else(pa.array(is_), own, self._classes(second)),
            **{f"{n}1": v for n, v in _corners(first).items()},
            **{f"{n}2": v for n, v in _corners(second).items()},
            "RelationshipLabel": pc.if_else(pa.array(is_), IS, own),
            **_attributes(table, file.header),
        }
        file.write(columns)

    def _captions(self, table: pa.Table, token: str) -> None:
        name = file_name("narratives", token)
        if token not in self._lines:
            self._lines[token] = self.opened.enter_context(self.out.open(f"{FOLDER}/{name}"))
        full = pa.table({n: column(table, n) for n in ("text", "annotator", "extra")})
        ids = table["col.id"].to_pylist()
        encode_narratives(ids, full, split_of(name), self._lines[token])


def _ends(table: pa.Table) -> tuple[Ints, Ints]:
    """The rows that each row's relation refers to; -1 for none."""
    ids = table["annotation_id"].combine_chunks()
    found = [
        np.asarray(pc.index_in(column(table, n), value_set=ids).fill_null(-1), np.int64)
        for n in ("subject", "object")
    ]
    nobody = [np.asarray(column(table, n).is_null()) for n in ("subject", "object")]
    return np.where(nobody[0], -1, found[0]), np.where(nobody[1], -1, found[1])


def _corners(table: pa.Table) -> dict[str, pa.Array]:
    """Corners of boxes, as the file had them where they came from one."""
    _, boxes = geometry.fixed_list(table["bbox"])
    high = far_edge(boxes[:, :2], boxes[:, 2:])
    values = (boxes[:, 0], high[:, 0], boxes[:, 1], high[:, 1])
    return {n: pa.array(np.ascontiguousarray(v)) for n, v in zip(CORNERS, values, strict=True)}


def _attributes(table: pa.Table, header: list[str]) -> dict[str, Any]:
    named = {n: f"attr.{n}" for n in header}
    return {n: table[c] for n, c in named.items() if c in table.column_names}


# ---------------------------------------------------------------------- classes


def _write_classes(out: Out, plan: Plan) -> None:
    """Descriptions of classes, and of attributes where there are some."""
    spaces = [c.space for c in plan.categories]
    for name, header, where in (
        ("oidv6-class-descriptions.csv", ["LabelName", "DisplayName"],
         [s not in (ATTRIBUTE, PREDICATE) for s in spaces]),
        ("oidv6-attributes-description.csv", ["LabelName", "DisplayName"],
         [s == ATTRIBUTE for s in spaces]),
    ):  # fmt: skip
        chosen = [i for i, here in enumerate(where) if here]
        if not chosen and "attributes" in name:
            continue
        with out.open(f"{FOLDER}/{name}") as file:
            writer = CsvWriter(file, header)
            ids = [plan.classes[i] for i in chosen]
            names = [plan.categories[i].name for i in chosen]
            writer.write(
                {header[0]: pa.array(ids, pa.string()), header[1]: pa.array(names, pa.string())}
            )


def _write_hierarchy(out: Out, plan: Plan, boxed: Mask) -> None:
    """Classes below their parents; the root has those without a parent that have boxes or
    children. Nothing is written where no class has a parent."""
    below: dict[int, list[tuple[int, str]]] = {}
    has_parent = set()
    for row, category in enumerate(plan.categories):
        for link in category.parents or []:
            if link["index"] != row and plan.as_label[row]:
                below.setdefault(link["index"], []).append((row, link["relation"]))
                has_parent.add(row)
    if not below:
        return
    count = 0

    def node(row: int, above: frozenset[int]) -> dict[str, Any]:
        nonlocal count
        count += 1
        made: dict[str, Any] = {"LabelName": plan.classes[row]}
        inside = above | {row}
        if count < MOST and len(inside) < 100:
            for key, relation in (("Subcategory", "is_a"), ("Part", "part_of")):
                listed = [r for r, how in below.get(row, []) if how == relation]
                if listed:
                    made[key] = [node(r, inside) for r in listed if r not in inside]
        return made

    top = [
        r
        for r in range(len(plan.categories))
        if r not in has_parent and (boxed[r] or r in below) and plan.as_label[r]
    ]
    root = {"LabelName": ROOT, "Subcategory": [node(r, frozenset()) for r in top]}
    text = json.dumps(root, ensure_ascii=False, indent=1)
    out.text(f"{FOLDER}/bbox_labels_600_hierarchy.json", text + "\n")
