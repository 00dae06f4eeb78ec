"""Declares the fields of a plan in a FiftyOne dataset, with classes, skeletons, views."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from granum.browse._fiftyone_forms import form_of
from granum.browse._fiftyone_plan import LayerPlan, Plan
from granum.schema import rows, tables
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["FLAT", "INFO", "declare", "describe", "save_flat_view", "save_group_view"]

INFO = "granum"
"""Where in the dataset's ``info`` we keep what from_fiftyone needs."""

FLAT = "without trees"
"""The saved view that the App opens with, where there is one."""

_HIDDEN = frozenset({"absent", "captions", "polygons"})
"""Forms that the App shows when asked for only (outlines: where masks show the same)."""

_MOST_CATEGORIES = 4_000_000
"""Characters of category records; a document of MongoDB holds 16 MB in all."""


def declare(package: Any, target: Any, plan: Plan, dataset: Dataset) -> None:
    """Adds all fields of ``plan`` to the empty dataset ``target``."""
    target.media_type = "image"
    target.add_sample_field("granum_key", package.StringField, read_only=True)
    target.add_sample_field(
        "granum_sent",
        package.ListField,
        subfield=package.IntField,
        read_only=True,
        description="ids of the annotations that were sent",
    )
    if dataset.groups.num_rows:
        target.add_sample_field("group", package.StringField)
    for value in plan.samples:
        _add(package, target, value.field, value.type)
    for layer in plan.layers:
        for key in layer.fields:
            _declare_form(package, target, layer, key)


def _declare_form(package: Any, target: Any, layer: LayerPlan, key: str) -> None:
    field, form = layer.fields[key], form_of(key)
    note = f"granum layer {layer.layer}, {key.rstrip(':')}"
    if key == "captions":
        text = package.StringField
        target.add_sample_field(field, package.ListField, subfield=text, description=note)
        return
    single = key in layer.single
    cls = getattr(package, form.one if single else str(form.many))
    embedded = package.EmbeddedDocumentField
    target.add_sample_field(field, embedded, embedded_doc_type=cls, description=note)
    inside = field if single else f"{field}.{form.inside}"
    values = {v.field: v.type for v in layer.values.get(key, ())}
    related = {"relations": "texts"} if layer.related and form.one in _SHAPES else {}
    for name, kind in {"granum_id": "int", **_EXTRA[form.one], **related, **values}.items():
        _add(package, target, f"{inside}.{name}", kind)


_SHAPES = ("Detection", "Polyline", "Keypoint")
_EXTRA: dict[str, dict[str, str]] = {
    "Detection": {},
    "Polyline": {"holes": "ints"},
    "Keypoint": {"visible": "ints", "score": "float"},
    "Classification": {},
    "Segmentation": {"label": "str", "confidence": "float"},
    "Heatmap": {"label": "str", "confidence": "float"},
}
"""Fields of labels beyond those that their classes declare themselves."""


def _add(package: Any, target: Any, path: str, kind: str) -> None:
    types = {
        "bool": package.BooleanField,
        "int": package.IntField,
        "float": package.FloatField,
        "str": package.StringField,
        **dict.fromkeys(("json", "hex", "digits"), package.StringField),
        "time": package.DateTimeField,
        "vector": package.VectorField,
    }
    if kind == "instance":
        document = package.EmbeddedDocumentField
        target.add_sample_field(path, document, embedded_doc_type=package.Instance)
    elif kind in types:
        target.add_sample_field(path, types[kind])
    else:
        inner = {"ints": package.IntField, "texts": package.StringField}[kind]
        target.add_sample_field(path, package.ListField, subfield=inner)


def describe(
    package: Any,
    target: Any,
    plan: Plan,
    dataset: Dataset,
    facts: dict[str, Any],
    coloured: Collection[str],
) -> bool:
    """Sets classes, mask targets, skeletons and our own record.

    ``coloured`` are forms whose label images have colours for values. Returns whether the records
    of the categories were short enough to be kept.
    """
    categories = rows.categories_from_table(dataset.categories)
    target.default_classes = [c.name for c in categories if c.space in (None, "object")]
    targets, skeletons = {}, {}
    for layer in plan.layers:
        for key, field in layer.fields.items():
            form, _, space = key.partition(":")
            if form == "map":
                found = _mask_targets(categories, space, key in coloured)
                if found:
                    targets[field] = found
            elif form == "keypoints":
                skeleton = _skeleton(categories)
                if skeleton is not None:
                    skeletons[field] = package.KeypointSkeleton(
                        labels=skeleton.keypoints, edges=skeleton.skeleton
                    )
    target.mask_targets, target.skeletons = targets, skeletons
    records = [_filled(c) for c in dataset.categories.to_pylist()]
    fits = len(msgspec.json.encode(records)) <= _MOST_CATEGORIES
    target.info = {
        INFO: {
            **facts,
            "plan": msgspec.json.encode(plan).decode(),
            "categories": records if fits else [],
        }
    }
    hidden = _HIDDEN if plan.polygons == "both" else _HIDDEN - {"polygons"}
    filled = [p for p in plan.layers if p.fields]
    flat = [p for p in filled if not _is_tree(p)]
    first = [
        f for p in flat or filled for k, f in p.fields.items() if k.partition(":")[0] not in hidden
    ]
    active = package.core.odm.dataset.ActiveFields(exclude=False, paths=first)
    target.app_config.active_fields = active
    if any(map(_is_tree, _first(plan))):  # masks upon masks: by field all would have one colour
        target.app_config.color_scheme = package.ColorScheme(color_by="instance")
    target.save()
    return fits


def _first(plan: Plan) -> list[LayerPlan]:
    """The layers that the App shows at first: those of mask trees only where there are no others,
    for their hundreds of nested masks would hide everything else."""
    filled = [p for p in plan.layers if p.fields]
    return [p for p in filled if not _is_tree(p)] or filled


def _is_tree(layer: LayerPlan) -> bool:
    return any(v.source == "granularity" for v in layer.values.get("detections", ()))


def _filled(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if v is not None}


def _mask_targets(categories: list[rows.Category], space: str, coloured: bool) -> dict[Any, str]:
    """Names of the values of label images; of colours where three channels make the value."""
    found: dict[Any, str] = {}
    for category in categories:
        same = (category.space or "object") == (space or "object")
        if same and category.source_id is not None and category.source_id.isdecimal():
            value = int(category.source_id)
            if coloured:
                colour = (value & 255, value >> 8 & 255, value >> 16 & 255)
                found["#{:02x}{:02x}{:02x}".format(*colour)] = category.name
            elif value > 0:  # FiftyOne keeps 0 for background
                found[value] = category.name
    return found


def _skeleton(categories: list[rows.Category]) -> rows.Category | None:
    """The category whose skeleton is shown: a field has one."""
    return next((c for c in categories if c.keypoints and c.skeleton), None)


def save_group_view(package: Any, target: Any, dataset: Dataset) -> None:
    """A saved view of FiftyOne in which pairs and frames of videos stay together."""
    grouped = column(dataset.samples(["group"]), "group", tables.SAMPLES)
    if grouped.null_count == len(grouped):
        return
    ordered = "order" in target.get_field_schema()
    view = target.exists("group").group_by("group", order_by="order" if ordered else None)
    target.save_view("groups", view, description="pairs and videos of granum, grouped")


def save_flat_view(target: Any, plan: Plan) -> None:
    """A saved view without the layers of mask trees, where there are others: FiftyOne sends all
    labels of a sample to the App, also hidden ones, and trees have hundreds (about 0.4 s a sample).
    """
    trees = [f for p in plan.layers if p not in _first(plan) for f in p.fields.values()]
    if trees:
        view = target.exclude_fields(trees)
        target.save_view(FLAT, view, description=f"all but {', '.join(trees)} of granum")
