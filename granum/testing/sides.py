"""A dataset as plain values that mean the same however it was numbered.

Rows are found by what people see: samples and groups by key, categories by label space and name,
annotations by their place in a sample. What refers to a row number or an id (category, group,
parent, subject, object, track) becomes the thing it refers to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from granum.schema import tables
from granum.schema.units import POINT_COLUMNS
from granum.store.dataset import Dataset

__all__ = ["Place", "Row", "Side", "Size", "gap", "side", "sizes"]

Row = dict[str, Any]
Size = tuple[int, int]
Place = tuple[str, str]
"""``("sample", key)``, ``("group", key)``, or ``("nowhere", "")``."""

REFERENCES = ("parent", "subject", "object")
_JSON = ("attributes", "extra")


@dataclass
class Side:
    """One of the two datasets of a comparison.

    Attributes:
        samples: by key, in order.
        groups: by key, in order.
        categories: by (space, name, how many of that name came before), in order.
        layers: per layer the rows of each place; a row has its raw ``annotation_id``, and under
            ``typed`` the names of those attributes that were in columns of their own.
    """

    samples: dict[str, Row]
    groups: dict[str, Row]
    categories: dict[tuple[str, str, int], Row]
    layers: dict[str, dict[Place, list[Row]]] = field(default_factory=dict)

    def rename(self, layer: str, name: str) -> None:
        """Call a layer by another name."""
        if layer != name and layer in self.layers:
            self.layers[name] = self.layers.pop(layer)

    def rows(self) -> Iterator[tuple[str, Place, int, Row]]:
        """Every annotation: layer, place, position, row; in an order of places, not of rows."""
        for layer in sorted(self.layers):
            for place in sorted(self.layers[layer]):
                for i, row in enumerate(self.layers[layer][place]):
                    yield layer, place, i, row

    def positions(self) -> dict[int, str]:
        """Where the annotation of each id stands."""
        return {r["annotation_id"]: f"{w[1]}[{i}] of {n}" for n, w, i, r in self.rows()}

    def tracks(self) -> dict[int, str]:
        """Where each track begins."""
        found: dict[int, str] = {}
        for layer, place, i, row in self.rows():
            if row.get("track") is not None:
                found.setdefault(row["track"], f"{place[1]}[{i}] of {layer}")
        return found

    def resolve(self, positions: Mapping[int, str], tracks: Mapping[int, str]) -> None:
        """Put places for the ids in references and tracks."""
        for _, _, _, row in self.rows():
            for name in REFERENCES:
                if row.get(name) is not None:
                    row[name] = positions.get(row[name], "an annotation that is not there")
            if row.get("track") is not None:
                row["track"] = tracks.get(row["track"], "a track that is not there")


def sizes(*datasets: Dataset) -> dict[str, Size]:
    """The sizes of samples by key, from the first dataset that knows each."""
    out: dict[str, Size] = {}
    for dataset in datasets:
        for row in dataset.samples(["key", "width", "height"]).to_pylist():
            if row["width"] is not None and row["height"] is not None:
                out.setdefault(row["key"], (row["width"], row["height"]))
    return out


def side(dataset: Dataset, known: Mapping[str, Size], named: pa.Table | None = None) -> Side:
    """``dataset`` in plain values; references and tracks still as ids (see ``resolve``).

    Args:
        dataset: any.
        known: sizes by key; relative coordinates of these samples are given in pixels.
        named: categories of the same rows, by whose names annotations are labelled.
    """
    samples = [_plain(r) for r in dataset.samples().to_pylist()]
    groups = [_plain(r) for r in dataset.groups.to_pylist()]
    group_keys = [g["key"] for g in groups]
    for row in samples:
        row["group"] = _at(group_keys, row.get("group"))
    labels, categories = _categories(dataset.categories)
    if named is not None and named.num_rows == len(labels):
        labels, _ = _categories(named)
    out = Side({s["key"]: s for s in samples}, {g["key"]: g for g in groups}, categories)
    for layer in dataset.meta.layers:
        places: dict[Place, list[Row]] = {}
        for raw in dataset.annotations(layer=layer).to_pylist():
            row = _plain(raw)
            row["group"] = _at(group_keys, row.get("group"))
            row["category"] = _at(labels, row.get("category"))
            place: Place = ("nowhere", "")
            if row.get("sample") is not None:
                sample = samples[row["sample"]]
                place = ("sample", sample["key"])
                if sample.get("unit") == "relative" and sample["key"] in known:
                    _to_pixels(row, known[sample["key"]])
            elif row["group"] is not None:
                place = ("group", row["group"])
            row["key"] = place[1]
            places.setdefault(place, []).append(row)
        if places:
            out.layers[layer] = places
    return out


def _categories(table: pa.Table) -> tuple[list[str], dict[tuple[str, str, int], Row]]:
    """A label per row, and the rows."""
    rows = [_plain(r) for r in tables.conform(table, tables.CATEGORIES, full=True).to_pylist()]
    # A format without label spaces means the objects'.
    spaces = [r["space"] or "object" for r in rows]
    labels = [
        r["name"] if space == "object" else f"{space}/{r['name']}"
        for r, space in zip(rows, spaces, strict=True)
    ]
    out: dict[tuple[str, str, int], Row] = {}
    for row, space in zip(rows, spaces, strict=True):
        if row["parents"] is not None:
            row["parents"] = [(_at(labels, p["index"]), p["relation"]) for p in row["parents"]]
        n = 0
        while (space, row["name"], n) in out:
            n += 1
        out[space, row["name"], n] = row
    return labels, out


def _at(values: list[str], row: int | None) -> str | None:
    if row is None:
        return None
    return values[row] if 0 <= row < len(values) else f"row {row}, which is not there"


def _plain(raw: Row) -> Row:
    """JSON decoded, typed attribute columns put back among the attributes."""
    row = {n: v for n, v in raw.items() if not n.startswith(("attr.", "col."))}
    for name in _JSON:
        if row.get(name) is not None:
            row[name] = json.loads(row[name])
    typed = {
        n.removeprefix("attr."): v
        for n, v in raw.items()
        if n.startswith("attr.") and v is not None
    }
    if typed:
        row["attributes"] = {**(row.get("attributes") or {}), **typed}
    row["typed"] = typed.keys()
    return row


def _to_pixels(row: Row, size: Size) -> None:
    for name in POINT_COLUMNS:
        if row.get(name) is not None:
            row[name] = _scaled(row[name], size, 3 if name == "keypoints" else 2)


def _scaled(value: Any, size: Size, stride: int) -> Any:
    if value and isinstance(value[0], list):
        return [_scaled(v, size, stride) for v in value]
    return [v * size[i % stride] if i % stride < 2 else v for i, v in enumerate(value)]


def gap(a: Any, b: Any) -> float:
    """How far two plain values are apart: 0 where equal, infinity where no number tells."""
    if a is None or b is None:
        return 0.0 if a is b else float("inf")
    if isinstance(a, bool) or isinstance(b, bool):
        return 0.0 if a is b else float("inf")
    if isinstance(a, int | float) and isinstance(b, int | float):
        if a == b or (a != a and b != b):
            return 0.0
        return float("inf") if a != a or b != b else abs(a - b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return float("inf")
        return max((gap(x, y) for x, y in zip(a, b, strict=True)), default=0.0)
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return float("inf")
        return max((gap(v, b[k]) for k, v in a.items()), default=0.0)
    return 0.0 if type(a) is type(b) and a == b else float("inf")
