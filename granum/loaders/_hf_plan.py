"""Which columns the records of a dataset have.

Customary columns first (``image_id``, ``width``, ``height``, ``label``, ``text``, ``objects`` with
``id``, ``bbox``, ``category``, ``area``, ``iscrowd``), then whatever else the dataset holds by the
names of the schema. Annotations that are no objects go to ``annotations``, but for a class or
sentences that are all there is to tell: these are plain columns.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._hf_columns import (
    lengths_of,
    one,
)
from granum.loaders._hf_facts import (
    ALIASES,
    CAPTIONS,
    LABELS,
    OBJECTS,
    OTHERS,
    Facts,
    category_facts,
    unique_names,
)
from granum.schema.tables import ANNOTATIONS, CATEGORIES, SAMPLES, SOURCES, column
from granum.store.dataset import Dataset
from granum.store.parts import Batch

__all__ = ["DROPPED", "PLAIN", "Plan", "caption_column", "kind_codes", "make_plan", "of_samples"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Types = dict[str, pa.DataType]

BARE = frozenset({"annotation_id", "sample", "kind"})
DROPPED = frozenset({"origins", "ordinal", "shape", "sample"})
"""Where a record stood in files that are not written again."""

REFERENCES = ("subject", "object", "parent")
PLAIN = {"label": "category", "caption": "text"}
"""Kinds that may be plain columns, and all that such an annotation holds."""

_CHOICES: tuple[tuple[str, ...], ...] = ((), ("label",), ("caption",), ("label", "caption"))

_DEFAULTS = {"unit": "pixel", "media_kind": "image"}
_FIELD_NAMES = {"annotation_id": "id", "crowd": "iscrowd"}
_FIRST = ("annotation_id", "kind", "bbox", "category", "area", "crowd", "score")
_RESERVED = frozenset(
    {
        *(*SAMPLES.names, *LABELS, *CAPTIONS, OBJECTS, OTHERS, "image", "images", "image_id"),
        *("file_name", "file_names", "id", ""),
    }
)
_RESERVED_FIELDS = frozenset({*ANNOTATIONS.names, *ALIASES, "id", "segmentation", "position", ""})


@dataclass
class Plan:
    """Which columns the records of a dataset have.

    Attributes:
        samples: columns of the records and the sample columns that they are.
        objects: per column of annotations its fields, and the annotation columns that they are.
        plain: the columns of the kinds that are plain.
        listed: kinds of which an image has several.
        holes: whether polygons need parts of several rings.
        partial: whether some annotations lack values that others have.
        structs: whether annotations are lists of structs instead of structs of lists.
        position: whether the order among objects and others is to be noted.
        names: of the categories, each one once.
        by_name: whether records name categories instead of numbering them.
        numbered: whether ``image_id`` is the row of the sample.
        facts: what is noted beside the records.
    """

    samples: dict[str, str] = field(default_factory=dict)
    objects: dict[str, dict[str, str]] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    holes: bool = False
    partial: bool = False
    structs: bool = False
    position: bool = False
    names: list[str] = field(default_factory=list)
    by_name: bool = False
    numbered: bool = False
    facts: Facts = field(default_factory=Facts)


@dataclass
class _Scan:
    """What the batches of a dataset hold."""

    samples: Types = field(default_factory=dict)
    kinds: dict[str, Types] = field(default_factory=dict)
    filled: Counter[tuple[bool, str]] = field(default_factory=Counter)
    default: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(_DEFAULTS, True))
    whole: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(PLAIN, True))
    most: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PLAIN, 0))
    ordered: dict[frozenset[str], bool] = field(
        default_factory=lambda: {frozenset(p): True for p in _CHOICES}
    )
    holes: bool = False
    references: bool = False
    source_ids: list[Ints] | None = field(default_factory=list)
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=12))

    def look(self, batch: Batch) -> None:
        samples, table = batch.samples, batch.annotations
        for name, default in _DEFAULTS.items():
            values = column(samples, name).cast(pa.string())
            same = pc.fill_null(pc.equal(values, default), False)
            self.default[name] &= bool(pc.all(same, min_count=0).as_py())
        for name in samples.column_names:
            if samples[name].null_count < samples.num_rows and not name.startswith("col."):
                self.samples[name] = samples[name].type
        for key in samples["key"].to_pylist():
            self.digest.update(key.encode("utf-8", "surrogatepass") + b"\0")
        self._ids(column(samples, "source_id").combine_chunks())
        self.references |= any(
            n in table.column_names and table[n].null_count < table.num_rows for n in REFERENCES
        )
        table = of_samples(table)
        if table.num_rows:
            self._annotations(table, np.asarray(table["sample"], np.int64) - batch.start)

    def _ids(self, texts: pa.Array) -> None:
        if self.source_ids is None:
            return
        numeric = pc.match_substring_regex(texts, r"^(0|-?[1-9]\d{0,17})$")
        if texts.null_count or not pc.all(numeric, min_count=0).as_py():
            self.source_ids = None
        else:
            self.source_ids.append(np.asarray(texts.cast(pa.int64()), np.int64))

    def _annotations(self, table: pa.Table, at: Ints) -> None:
        codes, kinds = kind_codes(table)
        there = {
            n: np.asarray(table[n].is_valid())
            for n in table.column_names
            if n not in DROPPED and not n.startswith("col.")
        }
        for code, kind in enumerate(kinds):
            mask = codes == code
            found = self.kinds.setdefault(kind, {})
            filled = {n: int((valid & mask).sum()) for n, valid in there.items()}
            found.update({n: table[n].type for n, count in filled.items() if count})
            which = kind == "object"
            self.filled.update({(which, n): count for n, count in filled.items()})
            self.filled[which, ""] += int(mask.sum())
            if kind in PLAIN:
                held = there.get(PLAIN[kind], np.zeros(len(mask), bool))
                self.whole[kind] &= bool(held[mask].all())
                self.most[kind] = max(self.most[kind], int(np.bincount(at[mask]).max(initial=0)))
        for choice in self.ordered:
            ranks = np.array([_rank(k, choice) for k in kinds])[codes]
            wrong = (at[1:] == at[:-1]) & (ranks[1:] < ranks[:-1])
            self.ordered[choice] &= not wrong.any()
        if "polygons" in there and not self.holes:
            self.holes = bool((lengths_of(one(table["polygons"]).flatten()) != 1).any())


def _rank(kind: str, plain_kinds: Iterable[str]) -> int:
    """The order in which a record's annotations are read back."""
    if kind in plain_kinds:
        return 2 if kind == "label" else 3
    return 0 if kind == "object" else 1


def kind_codes(table: pa.Table) -> tuple[Ints, list[str]]:
    """For each annotation the number of its kind, and the kinds."""
    coded = one(column(table, "kind").cast(pa.string()).fill_null("")).dictionary_encode()
    return np.asarray(coded.indices, np.int64), coded.dictionary.to_pylist()


def of_samples(table: pa.Table) -> pa.Table:
    """Annotations of samples (those of whole groups apart)."""
    sample = column(table, "sample")
    return table.filter(sample.is_valid()) if sample.null_count else table


def make_plan(dataset: Dataset, *, by_name: bool, caption: str | None = None) -> Plan:
    """Go over a dataset once and say which columns its records have.

    Args:
        dataset: any.
        by_name: records name their categories.
        caption: the column that sentences came from.
    """
    scan = _Scan()
    for batch in dataset.iter_batches():
        scan.look(batch)
    plan = Plan(holes=scan.holes, by_name=by_name)
    plan.partial = any(0 < n < scan.filled[which, ""] for (which, _), n in scan.filled.items())
    plan.listed = frozenset(k for k, n in scan.most.items() if n > 1)
    _plan_annotations(plan, scan, caption)
    _plan_samples(plan, scan)
    spaces = column(dataset.categories, "space", CATEGORIES).cast(pa.string()).to_pylist()
    plan.names = unique_names(dataset.category_names(), spaces)
    facts = plan.facts
    facts.export, facts.ids, facts.names = scan.digest.hexdigest(), scan.references, plan.names
    facts.categories = category_facts(dataset.categories)
    return plan


def _plan_annotations(plan: Plan, scan: _Scan, caption: str | None) -> None:
    bare = frozenset(
        kind
        for kind, only in PLAIN.items()
        if kind in scan.kinds and scan.whole[kind] and scan.kinds[kind].keys() <= {*BARE, only}
    )
    if scan.references or not scan.ordered[bare]:
        bare = frozenset()
    plan.position = not scan.ordered[bare]
    for kind in sorted(bare):
        if kind == "label":
            plan.plain[kind] = "labels" if kind in plan.listed else "label"
        else:
            plan.plain[kind] = caption or ("captions" if kind in plan.listed else "text")
    plan.facts.texts = [c for k, c in plan.plain.items() if k not in plan.listed]
    others: Types = {}
    for kind in scan.kinds.keys() - bare - {"object"}:
        others.update(scan.kinds[kind])
    objects = scan.kinds.get("object", {})
    attributes = _attribute_names({**objects, **others}, _RESERVED_FIELDS)
    plan.facts.types |= _attribute_types({**objects, **others}, "a.")
    for which, found in ((OBJECTS, objects), (OTHERS, others)):
        if found:
            names = _field_names(plan, found, which)
            names |= {shown: n for shown, n in attributes.items() if n in found}
            plan.objects[which] = names
            plan.facts.objects |= names


def _field_names(plan: Plan, found: Types, which: str) -> dict[str, str]:
    """Fields of a column of annotations, the customary ones first; attributes apart."""
    rest = [n for n in ANNOTATIONS.names if n not in _FIRST]
    out = {}
    for name in (*_FIRST, *rest):
        if name not in found or (name == "kind" and which == OBJECTS):
            continue
        shown = _FIELD_NAMES.get(name, name)
        if name == "category" and plan.by_name:
            shown = "categories"
        elif name == "polygons" and not plan.holes:
            shown = "segmentation"
        out[shown] = name
    return out


def _attribute_names(found: Iterable[str], reserved: frozenset[str]) -> dict[str, str]:
    """Columns of attributes: their own names, unless these mean something else to a reader."""
    out: dict[str, str] = {}
    for name in sorted(n for n in found if n.startswith("attr.")):
        shown = name.removeprefix("attr.")
        if shown.lower() in reserved or shown.endswith(("file_name", "file_names")):
            shown = name
        while shown in out:
            shown += "_"
        out[shown] = name
    return out


def _attribute_types(found: Types, which: str) -> dict[str, str]:
    return {
        which + n.removeprefix("attr."): _type_name(t)
        for n, t in found.items()
        if n.startswith("attr.")
    }


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "int"
    return "float" if pa.types.is_floating(kind) else "str"


def _plan_samples(plan: Plan, scan: _Scan) -> None:
    ids = scan.source_ids
    if ids is not None and ids:
        joined = np.concatenate(ids)
        if len(np.unique(joined)) == len(joined):
            plan.samples["image_id"] = "source_id"
    if "image_id" not in plan.samples and OBJECTS in plan.objects and not plan.by_name:
        plan.numbered = True
        plan.facts.ignored.append("image_id")
    skipped = {*DROPPED, "media", "split", *(n for n, same in scan.default.items() if same)}
    wanted = [n for n in SAMPLES.names if n in scan.samples or n in _DEFAULTS]
    for name in wanted:
        if name not in skipped and name not in plan.samples.values():
            plan.samples[name] = name
    plan.samples |= _attribute_names(scan.samples, _RESERVED)
    plan.facts.types |= _attribute_types(scan.samples, "s.")
    plan.facts.samples = dict(plan.samples)


def caption_column(dataset: Dataset) -> str | None:
    """The column that captions were read from, where a source notes one."""
    for options in column(dataset.sources, "options", SOURCES).to_pylist():
        found = json.loads(options).get("caption") if options is not None else None
        if found in CAPTIONS:
            return str(found)
    return None
