"""Rows that were put aside, as the samples and annotations of one range."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.open_images.columns import (
    attribute,
    boxes_of,
    categories,
    constant,
    flags,
    keys_of,
    lists,
    maps,
)
from granum.loaders.open_images.facts import CLICKS, CORNERS, FLAGS
from granum.loaders.open_images.notes import Notes
from granum.loaders.open_images.parse import Parser
from granum.loaders.open_images.spill import RANGE, Spill
from granum.loaders.open_images.ties import tie_ends, tie_masks
from granum.loaders.open_images.tree import File, Images, Tree, find_masks, read_sizes
from granum.schema import tables
from granum.store.builder import Incoming
from granum.store.parts import concat

__all__ = ["RELATIONSHIP", "SEGMENTATION", "Aside", "Assembler"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RELATIONSHIP, SEGMENTATION = "relationship", "segmentation"
"""Sources of boxes that stand in no file of boxes: ends of relations, and boxes of masks."""


@dataclass(slots=True)
class Aside:
    """A file whose rows were put aside."""

    file: File
    origin: int
    spill: Spill
    masks: tuple[str, bool] | None = None


class Assembler:
    """Makes batches of ranges of samples.

    Args:
        tree: what there is.
        notes: of our own writer, or empty ones.
        images: where images lie.
        parser: the images, classes and sources that were met.
        aside: the rows, by file.
    """

    def __init__(
        self, tree: Tree, notes: Notes, images: Images, parser: Parser, aside: Sequence[Aside]
    ) -> None:
        self.tree, self.notes, self.images, self.parser = tree, notes, images, parser
        self.aside = aside
        self.sizes = read_sizes(tree, parser.intake)
        self._numbered = any(a.file.kind == "relations" for a in aside)
        self._next_id = 1
        self._unsure: Counter[str] = Counter()
        self._boxes = any(a.file.kind == "boxes" for a in aside)

    def report(self) -> None:
        """Say what had no box, or several."""
        for name, count in self._unsure.items():
            message = "no box, or several, with the class and corners named; one was made"
            self.parser.intake.findings.add("unmatched-box", name, None, message, count)

    def range(self, start: int, stop: int) -> Incoming:
        """The samples of rows ``start`` to ``stop``."""
        bucket = start // RANGE
        found: dict[str, list[tuple[Aside, pa.Table]]] = {}
        for one in self.aside:
            table = one.spill.read(bucket)
            if table is not None:
                found.setdefault(one.file.kind, []).append((one, table))
        samples = self._samples(start, stop, found.pop("images", []))
        boxes = [self._of_boxes(o, t) for o, t in found.get("boxes", [])]
        keys = self._joined([t for _, t in found.get("boxes", [])])
        pieces, keys = self._with_masks(boxes, keys, found.get("masks", []))
        relations = found.get("relations", [])
        ends: list[tuple[Ints, Ints]] = []
        if relations:
            made, ends = self._tied(keys, relations)
            pieces += made
        pieces += [self._of_points(o, t) for o, t in found.get("points", [])]
        pieces += [self._of_labels(o, t) for o, t in found.get("labels", [])]
        before = sum(p.num_rows for p in pieces)
        pieces += [self._of_relations(o, t) for o, t in relations]
        pieces += [self._of_captions(o, t) for o, t in found.get("narratives", [])]
        if not pieces:
            return Incoming(samples, {})
        table = concat(pieces, tables.ANNOTATIONS)
        at = np.asarray(table["sample"], np.int64) - start
        order = None
        if (at[1:] < at[:-1]).any():
            order = np.argsort(at, kind="stable")
            table = table.unify_dictionaries().combine_chunks()
            table, at = table.take(pa.array(order)), at[order]
        table = tables.with_column(table, "sample", pa.array(at))
        for name, kind in (("origins", pa.int16()), ("ordinal", pa.int64())):
            if name in table.column_names:
                table = tables.with_column(table, name, lists(table[name], kind))
        if self._numbered:
            table = self._with_ids(table, order, ends, before)
        return Incoming(samples, {tables.DEFAULT_LAYER: table})

    # ------------------------------------------------------------------ samples

    def _samples(self, start: int, stop: int, found: list[tuple[Aside, pa.Table]]) -> pa.Table:
        n = stop - start
        names = self.parser.ids.names(start, stop)
        numbers = self.parser.ids.splits(start, stop)
        keys = names
        if self.notes.suffix or self.notes.keys:
            keys = pa.array([self.notes.key(i) for i in names.to_pylist()], pa.string())
        paths = self._paths(names, numbers)
        kind = tables.SAMPLES.field("media").type
        media = pa.StructArray.from_arrays([paths, pa.nulls(n, pa.binary())], fields=list(kind))
        columns: dict[str, Any] = {
            "key": keys,
            "source_id": names,
            "media": media,
            "media_kind": constant("image", n),
            "unit": constant("relative", n),
            "split": self.parser.codes.column(numbers),
        }
        if found:
            columns |= self._facts(start, n, found)
        for i, side in enumerate(("height", "width") if self.sizes else ()):
            found_ = [self.sizes.get(n, (None, None))[i] for n in names.to_pylist()]
            told = pa.array(found_, pa.int32())
            columns[side] = pc.coalesce(columns[side], told) if side in columns else told
        return pa.table(columns)

    def _paths(self, names: pa.Array, splits: Ints) -> pa.Array:
        """Paths of images; each is looked for only where there are images."""
        texts = [*self.parser.codes.texts, None]
        folders = {i: self.images.folder(texts[i]) for i in _numbers(splits)}
        usual = not self.notes.files and not any(there for _, there in folders.values())
        if usual and not pc.any(pc.match_substring(names, ".")).as_py():
            known = [*range(len(texts) - 1), -1]
            prefixes = pa.array([folders[i][0] if i in folders else "" for i in known])
            chosen = prefixes.take(pa.array(splits % len(known)))
            return pc.binary_join_element_wise(chosen, names, ".jpg", "")
        files = self.notes.files
        return pa.array(
            [
                files[name] if name in files else self.images.path(texts[i], name)
                for name, i in zip(names.to_pylist(), splits.tolist(), strict=True)
            ],
            pa.string(),
        )

    def _facts(self, start: int, n: int, found: list[tuple[Aside, pa.Table]]) -> dict[str, Any]:
        """Columns of the files of images; of several rows of one image the first counts."""
        whole = concat(
            [
                t.append_column("origin", pa.array(np.full(t.num_rows, o.origin, np.int16)))
                for o, t in found
            ],
            tables.empty(tables.SAMPLES).schema,
        )
        place = np.full(n, -1)
        rows = np.asarray(whole["sample"], np.int64) - start
        place[rows[::-1]] = np.arange(len(rows))[::-1]
        taken = whole.take(pa.array(place, mask=place < 0))
        out: dict[str, Any] = {
            "origins": lists(taken["origin"], pa.int16()),
            "ordinal": lists(taken["ordinal"], pa.int64()),
        }
        for name in taken.column_names:
            if name in ("width", "height"):
                out[name] = taken[name]
            elif name.startswith("attr."):
                out[name] = attribute(taken[name])
        return {k: v for k, v in out.items() if v.null_count < n}

    # ------------------------------------------------------------------ annotations

    def _base(self, kind: str, one: Aside, table: pa.Table) -> dict[str, Any]:
        """What rows of all kinds have."""
        n = table.num_rows
        out: dict[str, Any] = {
            "origins": pa.array(np.full(n, one.origin, np.int16)),  # lists of one, later on
            "ordinal": table["ordinal"],
            "sample": table["sample"].cast(pa.int64()),
            "kind": constant(kind, n),
        }
        if "category" in table.column_names:
            out["category"] = categories(table["category"])
        if "source" in table.column_names:
            out["source"] = self.parser.codes.column(table["source"])
        for name in table.column_names:
            if name.startswith("attr.") and table[name].null_count < n:
                values = table[name]
                if name.removeprefix("attr.") in CLICKS and values.type == pa.float64():
                    none = pc.fill_null(pc.equal(values, -1.0), True)
                    values = pc.if_else(none, pa.scalar(None, pa.float64()), values)
                out[name] = attribute(values)
        return out

    def _of_boxes(self, one: Aside, table: pa.Table) -> pa.Table:
        out = self._base("object", one, table)
        out["bbox"] = boxes_of(table)
        if "score" in table.column_names:
            out["score"] = table["score"]
        for name in FLAGS.values():
            if name in table.column_names:
                out[name] = flags(table[name])
        return pa.table(out)

    def _joined(self, found: list[pa.Table]) -> Floats:
        """The keys of boxes: sample, class, corners."""
        return np.vstack([np.empty((0, 6)), *(keys_of(t, "category") for t in found)])

    def _with_masks(
        self, boxes: list[pa.Table], keys: Floats, found: list[tuple[Aside, pa.Table]]
    ) -> tuple[list[pa.Table], Floats]:
        """Boxes with their masks; masks without a box follow as objects of their own.

        Returns:
            The rows, and the keys of all of them.
        """
        if not found:
            return boxes, keys
        whole = concat(boxes, tables.ANNOTATIONS)
        extra = concat([self._of_masks(o, t) for o, t in found], tables.ANNOTATIONS)
        own = self._joined([t for _, t in found])
        tied = tie_masks(keys, own)
        alone = np.flatnonzero(tied < 0)
        if self._boxes:
            origins = np.repeat(
                np.arange(len(found)), [t.num_rows for _, t in found]
            )[alone]  # fmt: skip
            for number, count in enumerate(np.bincount(origins, minlength=len(found)).tolist()):
                if count:
                    self._unsure[found[number][0].file.name] += count
        place = np.full(len(keys), -1)
        place[tied[tied >= 0]] = np.flatnonzero(tied >= 0)
        at = pa.array(place, mask=place < 0)
        names = ["map", "source_id", *(n for n in extra.column_names if n.startswith("attr."))]
        for name in names if len(keys) else []:
            if name in extra.column_names and name not in whole.column_names:
                values = extra[name].take(at)
                whole = whole.append_column(name, values)
        left = extra.take(pa.array(alone))
        return [t for t in (whole, left) if t.num_rows], np.vstack([keys, own[alone]])

    def _of_masks(self, one: Aside, table: pa.Table) -> pa.Table:
        out = self._base("object", one, table)
        if "source" not in out:
            out["source"] = constant(SEGMENTATION, table.num_rows)
        out["bbox"] = boxes_of(table)
        if "source_id" in table.column_names:
            out["source_id"] = table["source_id"]
        if one.masks is None:
            one.masks = find_masks(self.tree.root, one.file, table["path"][0].as_py())
        folder, shared = one.masks
        paths = table["path"]
        if shared:
            letters = pc.utf8_upper(pc.utf8_slice_codeunits(paths, 0, 1))
            paths = pc.binary_join_element_wise(letters, paths, "/")
        out["map"] = maps(pc.binary_join_element_wise(folder, paths, ""))
        return pa.table(out)

    def _tied(
        self, keys: Floats, found: list[tuple[Aside, pa.Table]]
    ) -> tuple[list[pa.Table], list[tuple[Ints, Ints]]]:
        """Boxes that were made for ends; and per file the rows (in the range) of the ends."""
        sides = [(keys_of(t, "first", "1"), keys_of(t, "second", "2")) for _, t in found]
        second = [np.asarray(t["second"], np.int64) >= 0 for _, t in found]
        asked = [np.vstack([a, b[has]]) for (a, b), has in zip(sides, second, strict=True)]
        ends = tie_ends(keys, np.vstack(asked))
        owner = np.repeat(np.arange(len(found)), [len(a) for a in asked])
        for number in _numbers(owner[ends.unsure]):
            name = found[number][0].file.name
            self._unsure[name] += int((owner[ends.unsure] == number).sum())
        out, begin = [], 0
        for has, all_of in zip(second, asked, strict=True):
            rows = ends.rows[begin : begin + len(all_of)]
            target = np.full(len(has), -1)
            target[has] = rows[len(has) :]
            out.append((rows[: len(has)], target))
            begin += len(all_of)
        made = np.vstack(asked)[ends.made]
        return [self._made(made)] if len(made) else [], out

    def _made(self, keys: Floats) -> pa.Table:
        n = len(keys)
        corners = {c: pa.array(keys[:, 2 + i]) for i, c in enumerate(CORNERS)}
        return pa.table(
            {
                "sample": pa.array(keys[:, 0].astype(np.int64)),
                "kind": constant("object", n),
                "category": pa.array(keys[:, 1].astype(np.int32)),
                "source": constant(RELATIONSHIP, n),
                "bbox": boxes_of(pa.table(corners)),
            }
        )

    def _of_points(self, one: Aside, table: pa.Table) -> pa.Table:
        n = table.num_rows
        out = self._base("object", one, table)
        flat = np.full((n, 3), 2.0)
        flat[:, 0], flat[:, 1] = np.asarray(table["x"]), np.asarray(table["y"])
        offsets = pa.array(np.arange(n + 1, dtype=np.int32) * 3)
        out["keypoints"] = pa.ListArray.from_arrays(offsets, pa.array(flat.ravel()))
        out["shape_kind"] = constant("point", n)
        out.update({c: table[c] for c in ("present", "text") if c in table.column_names})
        return pa.table(out)

    def _of_labels(self, one: Aside, table: pa.Table) -> pa.Table:
        out = self._base("label", one, table)
        out.update({c: table[c] for c in ("present", "score") if c in table.column_names})
        return pa.table(out)

    def _of_relations(self, one: Aside, table: pa.Table) -> pa.Table:
        return pa.table(self._base("relation", one, table))

    def _of_captions(self, one: Aside, table: pa.Table) -> pa.Table:
        out = self._base("caption", one, table)
        out.update({c: table[c] for c in ("text", "extra")})
        out["annotator"] = attribute(table["annotator"])
        return pa.table(out)

    def _with_ids(
        self, table: pa.Table, order: Ints | None, ends: list[tuple[Ints, Ints]], before: int
    ) -> pa.Table:
        """Numbered rows; relations name the numbers of their ends.

        Args:
            table: in the order of samples.
            order: where its rows stood before.
            ends: rows of ends, before ordering.
            before: rows that stood before the relations.
        """
        n = table.num_rows
        place = np.arange(n)
        if order is not None:
            place[order] = np.arange(n)
        table = table.append_column("annotation_id", pa.array(self._next_id + np.arange(n)))
        if ends:
            for side, name in enumerate(("subject", "object")):
                values = np.full(n, -1)
                rows = np.concatenate([e[side] for e in ends])
                own = place[before : before + len(rows)]
                values[own[rows >= 0]] = self._next_id + place[rows[rows >= 0]]
                table = table.append_column(name, pa.array(values, mask=values < 0))
        self._next_id += n
        return table


def _numbers(values: Ints) -> list[int]:
    """The different values, from -1 on."""
    return (np.flatnonzero(np.bincount(values + 1)) - 1).tolist()
