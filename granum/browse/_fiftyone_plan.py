"""What goes where: one pass over the columns that finds the fields a dataset needs in FiftyOne.

The plan is kept in the dataset's ``info``, so that labels can be made again to see what changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from granum.browse._fiftyone_forms import FORMS, Rows, primary, rows_by_form
from granum.errors import UnknownNameError
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["LayerPlan", "Plan", "Value", "json_rows", "survey"]

JSON = "attributes:"
"""Before the name of an attribute that is in the JSON of its row."""

_LABEL_COLUMNS = {
    **{n: n for n in ("source_id", "area", "angle", "shape_kind", "text", "present", "exhaustive")},
    "crowd": "iscrowd",  # the name that FiftyOne's evaluation looks for
    **{n: n for n in ("ignore", "group_of", "occluded", "truncated", "depiction", "inside")},
    **{n: n for n in ("difficult", "keyframe", "outside", "visibility", "z_order")},
    **{n: n for n in ("track_source_id", "parent", "granularity", "level", "source", "annotator")},
    "extra": "extra",
}
_SAMPLE_COLUMNS = ("source_id", "role", "order", "time", "extra")
_OWN = {
    *("granum_id", "granum_key", "granum_sent", "group", "label", "confidence", "index", "mask"),
    *("instance", "bounding_box", "mask_path", "points", "closed", "filled", "visible", "holes"),
    *("relations", "map", "map_path", "range", "logits", "tags", "id", "attributes", "metadata"),
    *("score", "track"),
}


@dataclass(frozen=True, slots=True)
class Value:
    """A column, or an attribute in the JSON of rows, that is a field of its own in FiftyOne.

    ``type``: ``bool``, ``int``, ``float``, ``str``, ``json``, ``time``, ``vector``, ``instance``;
    of 64-bit numbers without sign, which MongoDB does not have, ``hex`` (of derived columns, which
    are hashes: 16 digits) or ``digits`` (of any other with one of 2**63 or more).
    """

    source: str
    field: str
    type: str


@dataclass(slots=True)
class LayerPlan:
    """One layer: the field of each form, and what its labels carry beside their geometry.

    ``single`` are the forms whose field holds one label and not a list of them; ``related`` says
    that there are relations.
    """

    layer: str
    fields: dict[str, str] = field(default_factory=dict)
    values: dict[str, list[Value]] = field(default_factory=dict)
    single: list[str] = field(default_factory=list)
    related: bool = False


@dataclass(slots=True)
class Plan:
    """All fields of an exported dataset; ``polygons`` is ``masks``, ``polylines`` or ``both``."""

    polygons: str
    layers: list[LayerPlan]
    samples: list[Value]
    unheld: list[str]


class _Names:
    """Names of fields: letters, digits and underscores, each given once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = {*taken, *_OWN}

    def take(self, wanted: str) -> str:
        base = re.sub(r"\W", "_", wanted).strip("_")
        if not base or base[0].isdigit() or base in self.taken:
            base = f"attr_{base}"
        name, number = base, 2
        while name in self.taken:
            name, number = f"{base}_{number}", number + 1
        self.taken.add(name)
        return name


@dataclass(slots=True)
class _Seen:
    """What the rows of one layer were seen to hold."""

    per_sample: dict[str, int] = field(default_factory=dict)
    columns: dict[str, set[str]] = field(default_factory=dict)
    types: dict[str, set[str]] = field(default_factory=dict)
    arrow: dict[str, pa.DataType] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)

    def see(self, name: str, values: pa.ChunkedArray) -> None:
        """Notes the type of a column, and whether it has integers beyond those with a sign."""
        self.arrow[name] = values.type
        if pa.types.is_uint64(values.type) and (pc.max(values).as_py() or 0) >= 2**63:
            self.large.add(name)


def survey(
    dataset: Dataset,
    layers: Sequence[str],
    *,
    polygons: str,
    columns: Sequence[str] | None,
    sample_names: Iterable[str],
    label_names: Iterable[str],
) -> Plan:
    """The plan of ``layers``.

    Args:
        dataset: what is exported.
        layers: which layers.
        polygons: how polygons are shown.
        columns: derived columns of samples to show (None: all that hold one number or text).
        sample_names: names that a field of samples must not have.
        label_names: names that a field of labels must not have.

    Raises:
        UnknownNameError: no such derived column.
    """
    names = _Names(sample_names)
    plans = [_layer_plan(dataset, layer, polygons, names, label_names) for layer in layers]
    values, unheld = _sample_values(dataset, columns, names)
    return Plan(polygons, plans, values, unheld)


def _layer_plan(
    dataset: Dataset, layer: str, polygons: str, names: _Names, taken: Iterable[str]
) -> LayerPlan:
    seen = _Seen()
    for part in dataset.parts:
        table = part.layer(layer)
        if table.num_rows:
            _look(table, rows_by_form(table, dataset.categories, polygons), seen)
    plan = LayerPlan(layer, related="relation" in seen.kinds)
    base = names.take(layer)
    for key in sorted(seen.per_sample, key=lambda k: (_position(k), k)):
        form, _, space = key.partition(":")
        if form == "labels" and seen.per_sample[key] == 1:
            form = "label"
        if FORMS[form].many is None:
            plan.single.append(key)
        name = f"{base}{FORMS[form].suffix}{'_' if space else ''}{space}"
        plan.fields[key] = base if name == base else names.take(name)
    own = _Names({*taken, *_LABEL_COLUMNS.values()})
    named: dict[str, Value] = {}
    for key in plan.fields:
        plan.values[key] = [
            named.setdefault(source, value)
            for source in sorted(seen.columns.get(key, set()) - {"track"})
            if (value := named.get(source) or _value(source, seen, own)) is not None
        ]
        if "track" in seen.columns.get(key, ()):
            shape = key in ("detections", "polygons", "polylines", "keypoints")
            plan.values[key].append(
                Value("track", "instance", "instance") if shape else Value("track", "track", "int")
            )
    return plan


def _position(key: str) -> int:
    return list(FORMS).index(key.partition(":")[0])


def _look(table: pa.Table, forms: dict[str, Rows], seen: _Seen) -> None:
    valid = {
        name: np.asarray(table[name].is_valid())
        for name in table.column_names
        if name in _LABEL_COLUMNS or name.startswith(("attr.", "col."))
    }
    for name in valid:
        seen.see(name, table[name])
    seen.kinds |= set(column(table, "kind").cast(pa.string()).unique().to_pylist())
    attributes = json_rows(table)
    tracked = np.asarray(column(table, "track").is_valid())
    samples = np.asarray(column(table, "sample").fill_null(-1), np.int64)
    firsts = primary(forms)
    for key, rows in forms.items():
        most = int(np.unique(samples[rows], return_counts=True)[1].max())
        seen.per_sample[key] = max(seen.per_sample.get(key, 0), most)
        if key == "captions":
            continue
        own = rows[firsts[key]]
        found = seen.columns.setdefault(key, set())
        found |= {name for name, mask in valid.items() if mask[own].any()}
        if tracked[rows].any():
            found.add("track")
        if attributes is not None:
            found |= _types_of((attributes[i] for i in own.tolist()), seen.types)


def _types_of(rows: Iterable[dict[str, Any] | None], types: dict[str, set[str]]) -> set[str]:
    """Notes the types of all JSON attributes; returns their sources."""
    found = set()
    for row in rows:
        for name, value in (row or {}).items():
            if value is not None:
                types.setdefault(name, set()).add(_type(value))
                found.add(JSON + name)
    return found


def _type(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return "json"
    return {bool: "bool", int: "int", float: "float", str: "str"}.get(type(value), "json")


def _value(source: str, seen: _Seen, names: _Names) -> Value | None:
    """The field of a column or attribute; None where FiftyOne has no type for it."""
    kind: str | None
    if source.startswith(JSON):
        types = seen.types[source.removeprefix(JSON)]
        types = {"float"} if types == {"int", "float"} else types
        kind = next(iter(types)) if len(types) == 1 else "json"
    else:
        kind = _arrow_type(seen.arrow[source])
        if source.startswith("col.") and pa.types.is_uint64(seen.arrow[source]):
            kind = "hex"
        elif source in seen.large:
            kind = "digits"
    if kind is None:
        return None
    return Value(source, _LABEL_COLUMNS.get(source) or names.take(_plain(source)), kind)


def _plain(source: str) -> str:
    for prefix in (JSON, "attr.", "col."):
        source = source.removeprefix(prefix)
    return source


def _arrow_type(kind: pa.DataType) -> str | None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = {
        "bool": pa.types.is_boolean,
        "int": pa.types.is_integer,
        "float": pa.types.is_floating,
        "time": pa.types.is_timestamp,
    }
    for name, test in tests.items():
        if test(kind):
            return name
    return "str" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None


def _sample_values(
    dataset: Dataset, columns: Sequence[str] | None, names: _Names
) -> tuple[list[Value], list[str]]:
    """Values of samples, and the columns that get no field."""
    seen, found = _Seen(), set[str]()
    for part in dataset.parts:
        table = part.samples()
        for name in table.column_names:
            known = name in _SAMPLE_COLUMNS or name.startswith(("attr.", "col."))
            if known and table[name].null_count < table.num_rows:
                seen.see(name, table[name])
                found.add(name)
        found |= _types_of(json_rows(table) or (), seen.types)
    derived = {n for n in seen.arrow if n.startswith("col.")}
    asked = None if columns is None else {f"col.{c.removeprefix('col.')}" for c in columns}
    for name in sorted((asked or set()) - derived):
        raise UnknownNameError("column", name, derived)
    values, unheld = [], []
    for source in sorted(found):
        skipped = asked is not None and source in derived - asked
        value = None if skipped else _value(source, seen, names)
        if value is None and asked and source in asked and _is_vector(seen.arrow[source]):
            value = Value(source, names.take(_plain(source)), "vector")
        if value is None:
            unheld.append(source)
        else:
            values.append(value)
    return values, unheld


def _is_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)
    return lists and pa.types.is_floating(kind.value_type)


def json_rows(table: pa.Table) -> list[dict[str, Any] | None] | None:
    """The JSON attributes of each row; None where no row has any."""
    texts = column(table, "attributes")
    if texts.null_count == len(texts):
        return None
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    return [None if t is None else decode(t) for t in texts.to_pylist()]
