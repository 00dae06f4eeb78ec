"""Which annotation becomes which label of FiftyOne: the forms, and the rows of each.

One annotation may take several forms (a person with box, mask and keypoints is a detection and a
keypoint label); the first is its primary one, which carries all that is no geometry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.schema import tables
from granum.schema.tables import column
from granum.store.regions import inner_nodes

__all__ = ["FORMS", "Form", "Rows", "form_of", "names_of", "primary", "rows_by_form", "spaces_of"]

Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Form:
    """A way to show an annotation.

    Attributes:
        one: FiftyOne's class of a single label.
        many: its class of a list of them, and ``inside``: the list's name there; None where a
            sample has one label at most.
        suffix: what the name of the field adds to the layer's.
    """

    one: str
    many: str | None
    inside: str | None
    suffix: str


FORMS = {
    "detections": Form("Detection", "Detections", "detections", ""),
    "polygons": Form("Polyline", "Polylines", "polylines", "_polygons"),
    "polylines": Form("Polyline", "Polylines", "polylines", "_polylines"),
    "keypoints": Form("Keypoint", "Keypoints", "keypoints", "_keypoints"),
    "labels": Form("Classification", "Classifications", "classifications", "_labels"),
    "label": Form("Classification", None, None, "_label"),
    "absent": Form("Classification", "Classifications", "classifications", "_absent"),
    "map": Form("Segmentation", None, None, "_map"),
    "heat": Form("Heatmap", None, None, "_heat"),
    "captions": Form("", None, None, "_captions"),
}
"""``label`` is ``labels`` where no sample has more than one; ``captions`` are plain strings."""


def form_of(key: str) -> Form:
    """The form of a key such as ``labels:scene``."""
    return FORMS[key.partition(":")[0]]


def rows_by_form(table: pa.Table, categories: pa.Table, polygons: str) -> dict[str, Rows]:
    """Rows of ``table`` by form, primary forms first; rows of no sample have none.

    Keys of labels, maps and heat name their label space or category too (``labels:scene``;
    nothing after the colon for objects). ``polygons`` is ``masks``, ``polylines`` or ``both``. The
    root of a region tree, whose map is that of all leaves, is a detection as its other nodes are.
    """
    kinds = column(table, "kind").cast(pa.string()).fill_null("object")
    here = _given(table, "sample")
    thing, label = here & _equal(kinds, "object"), here & _equal(kinds, "label")
    mapped, outlined, boxed = (_given(table, n) for n in ("map", "polygons", "bbox"))
    whole = _whole_maps(table) if mapped.any() else mapped
    inner = inner_nodes(table)
    whole &= ~inner
    masked = outlined | _given(table, "rle") | (mapped & ~whole) | inner
    turned = boxed & ~_equal(column(table, "angle").fill_null(0.0), 0.0)
    absent = _equal(column(table, "present"), False)
    found = {
        "detections": thing & (boxed | masked),
        "polygons": thing & outlined & (polygons != "masks"),
        "polylines": thing & (_given(table, "polyline") | turned),
        "keypoints": thing & _given(table, "keypoints"),
        "captions": here & _equal(kinds, "caption") & _given(table, "text"),
    }
    if label.any():
        spaces = spaces_of(table, categories)
        found |= _keyed("labels", label & ~absent, spaces)
        found |= _keyed("absent", label & absent, spaces)
    if whole.any():
        found |= _keyed("map", thing & whole, _map_spaces(table, categories))
    heat = here & mapped & _equal(kinds, "field")
    if heat.any():
        found |= _keyed("heat", heat, names_of(table, categories))
    return {key: np.flatnonzero(mask) for key, mask in found.items() if mask.any()}


def primary(forms: dict[str, Rows]) -> dict[str, Bools]:
    """For each form, which of its rows have it as their first one."""
    seen = np.empty(0, np.int64)
    out = {}
    for key, rows in forms.items():
        out[key] = ~np.isin(rows, seen)
        seen = np.concatenate([seen, rows])
    return out


def names_of(table: pa.Table, categories: pa.Table) -> list[str | None]:
    """The category name of each row."""
    return _looked_up(table, categories["name"])


def spaces_of(table: pa.Table, categories: pa.Table) -> list[str | None]:
    """The label space of each row's category; None for objects."""
    spaces = column(categories, "space", tables.CATEGORIES).cast(pa.string())
    return [None if s == "object" else s for s in _looked_up(table, spaces)]


def _looked_up(table: pa.Table, values: pa.ChunkedArray) -> list[str | None]:
    rows = column(table, "category").combine_chunks()
    return list(values.combine_chunks().cast(pa.string()).take(rows).to_pylist())


def _map_spaces(table: pa.Table, categories: pa.Table) -> list[str | None]:
    named = _field(table, "space").cast(pa.string()).to_pylist()
    own = spaces_of(table, categories)
    return [
        s if m is None else None if m == "object" else m for m, s in zip(named, own, strict=True)
    ]


def _whole_maps(table: pa.Table) -> Bools:
    """Rows whose map is a whole label image."""
    encoding = _field(table, "encoding").cast(pa.string()).fill_null("index")
    binary = pc.is_in(encoding, value_set=pa.array(["nonzero", "greater"]))
    whole = pc.and_(pc.is_null(_field(table, "value")), pc.invert(binary))
    return _given(table, "map") & np.asarray(whole)


def _field(table: pa.Table, name: str) -> pa.Array:
    return pc.struct_field(column(table, "map").combine_chunks(), name)


def _given(table: pa.Table, name: str) -> Bools:
    if name not in table.column_names:
        return np.zeros(table.num_rows, bool)
    return np.asarray(table[name].is_valid())


def _equal(values: pa.ChunkedArray, to: object) -> Bools:
    return np.asarray(pc.fill_null(pc.equal(values, to), False))


def _keyed(form: str, mask: Bools, keys: list[str | None]) -> dict[str, Bools]:
    """One mask for each key among the rows of ``mask``."""
    found = {keys[i] for i in np.flatnonzero(mask).tolist()}
    wanted = np.array([k or "" for k in keys], object)
    return {f"{form}:{k or ''}": mask & (wanted == (k or "")) for k in sorted(found, key=str)}
