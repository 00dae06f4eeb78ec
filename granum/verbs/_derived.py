"""What a dataset holds beside its tables: derived columns and views, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from granum.schema.attributes import PREFIX
from granum.store.columns import column_facts, column_identity
from granum.store.dataset import Dataset

__all__ = ["columns_of", "derived_text", "views_of"]

_LISTED = ("col.", PREFIX)


def columns_of(dataset: Dataset) -> list[dict[str, Any]]:
    """Derived columns (``col.``) and attributes (``attr.``) of the samples and of each layer:
    ``name``, ``of`` (``samples``, or the layer), ``type``, ``rows`` that have a value, ``unknown``;
    ``min`` and ``max`` of numbers, ``true`` of flags; of derived ones in a store also ``producer``,
    ``parameters`` and ``about``."""
    parts = dataset.parts
    found = _listed(dataset, "samples", None, [p.samples() for p in parts])
    for layer in dataset.meta.layers:
        found += _listed(dataset, layer, layer, [p.layer(layer) for p in parts])
    return found


def _listed(
    dataset: Dataset, of: str, layer: str | None, tables: list[pa.Table]
) -> list[dict[str, Any]]:
    names = dict.fromkeys(n for t in tables for n in t.column_names if n.startswith(_LISTED))
    out = []
    for name in names:
        chunks = [c for t in tables if name in t.column_names for c in t[name].chunks]
        rows = sum(t.num_rows for t in tables)
        filled = sum(len(c) - c.null_count for c in chunks)
        told = {"name": name, "of": of, "type": _type(chunks)}
        counts = {"rows": filled, "unknown": rows - filled}
        out.append({**told, **counts, **_numbers(chunks), **_made(dataset, name, layer)})
    return out


def _type(chunks: list[pa.Array]) -> str:
    kind = chunks[0].type if chunks else pa.null()
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.value_type}[{kind.list_size}]"
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _numbers(chunks: list[pa.Array]) -> dict[str, Any]:
    """The range of numbers; hashes (uint64) and row numbers in lists are no quantities."""
    kind = chunks[0].type if chunks else pa.null()
    if pa.types.is_boolean(kind):
        return {"true": sum(pc.sum(c).as_py() or 0 for c in chunks)}
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and not pa.types.is_uint64(kind)):
        known = [c.filter(pc.is_finite(c)) for c in chunks]
        ends = [pc.min_max(c).as_py() for c in known if len(c)]
        if ends:
            return {"min": min(e["min"] for e in ends), "max": max(e["max"] for e in ends)}
    return {}


def _made(dataset: Dataset, name: str, layer: str | None) -> dict[str, Any]:
    identity = column_identity(dataset, name, layer)
    if identity is None:
        return {}
    parameters = dict(identity["parameters"])
    own, _, version = identity["name"].rpartition("@")
    told: dict[str, Any] = {"producer": f"{parameters.pop('scorer', own)}@{version}"}
    if parameters:
        told["parameters"] = parameters
    about = column_facts(dataset, name, layer).get("about")
    return told if about is None else {**told, "about": about}


def views_of(dataset: Dataset) -> dict[str, Any]:
    """The saved views of a store by name: ``samples``, ``producer`` (the method or operation),
    ``lineage``; empty where there is no store."""
    store = dataset.meta.store
    if store is None:
        return {}
    out = {}
    for name, entry in store.manifest["views"].items():
        lineage = entry.get("lineage") or {}
        out[name] = {
            "samples": entry["rows"],
            "producer": lineage.get("method") or lineage.get("operation"),
            "lineage": {k: v for k, v in lineage.items() if k != "dropped"},
        }
    return out


def derived_text(facts: Mapping[str, Any]) -> list[str]:
    """``columns`` and ``views`` of ``granum.verbs.look.info``, for people."""
    lines = []
    listed = facts["columns"]
    for of in dict.fromkeys(c["of"] for c in listed):
        mine = [c for c in listed if c["of"] == of]
        lines.append("columns of samples:" if of == "samples" else f"columns of layer {of}:")
        wide = max(len(c["name"]) for c in mine)
        lines += [f"  {c['name']:<{wide}}  {_column_text(c)}" for c in mine]
    if facts["views"]:
        lines.append("views:")
        wide = max(map(len, facts["views"]))
        for name, view in facts["views"].items():
            by = f", by {view['producer']}" if view["producer"] else ""
            lines.append(f"  {name:<{wide}}  {view['samples']} samples{by}")
    return lines


def _column_text(facts: Mapping[str, Any]) -> str:
    told = f"{facts['rows']} of {facts['rows'] + facts['unknown']} rows"
    if "true" in facts:
        told += f", {facts['true']} true"
    elif "min" in facts:
        told += f", {facts['min']:.4g} to {facts['max']:.4g}"
    else:
        told += f", {facts['type']}"
    if "producer" not in facts:
        return told
    set_to = ", ".join(f"{k}={v}" for k, v in facts.get("parameters", {}).items())
    return f"{told}, by {facts['producer']}" + (f" ({_short(set_to)})" if set_to else "")


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
