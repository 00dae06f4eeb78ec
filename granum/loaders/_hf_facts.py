"""What a table of records does not say by itself: class names, and which column is which.

``features`` in the schema metadata (key ``huggingface``) are those of the `datasets` library:
types, images, class names. Our own writers add ``Facts`` beside it (key ``granum``), so that what
they wrote reads back exactly; other readers ignore them, and a table without them is read by the
names of its columns.

Spec: https://huggingface.co/docs/datasets/about_dataset_features
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
import pyarrow as pa

from granum.loaders._hf_columns import ATTRIBUTE_TYPES, is_list, plain_type
from granum.schema import rows, tables

__all__ = [
    "ALIASES",
    "CAPTIONS",
    "LABELS",
    "Facts",
    "class_names",
    "features_json",
    "features_of",
    "image_columns",
    "unique_names",
]

HF_KEY, OWN_KEY = b"huggingface", b"granum"

ALIASES = {
    "annotation_id": "id",
    "bbox_id": "id",
    "bboxes": "bbox",
    "box": "bbox",
    "boxes": "bbox",
    "categories": "category",
    "category_id": "category",
    "class": "category",
    "class_id": "category",
    "confidence": "score",
    "ids": "id",
    "is_crowd": "crowd",
    "iscrowd": "crowd",
    "label": "category",
    "labels": "category",
    "name": "category",
    "scores": "score",
}
"""Names that fields of objects go by, and the column meant."""

LABELS = ("label", "labels")
"""Columns that hold the class of the image."""

CAPTIONS = ("text", "caption", "captions")
"""Columns that hold sentences about the image."""

OBJECTS, OTHERS = "objects", "annotations"
"""Columns of our own tables: things that are somewhere; and annotations of other kinds."""


VERSION = 1


@dataclass
class Facts:
    """What our own writers note beside a table of records.

    Attributes:
        version: of these notes.
        export: identifies one export: annotation ids and categories agree in all of its files.
        categories: the category table, as row objects.
        names: for each category the name that the records use, each one once.
        samples: columns of the table and the sample columns that they are.
        objects: fields of objects and the annotation columns that they are.
        types: for each ``attr.*`` column of the samples (``s.``) or annotations (``a.``) its type.
        ignored: columns that are for other readers only.
        texts: columns that are text, whatever it looks like.
        splits: names of files or folders and the splits that they are, in order.
        ids: whether ``id`` of the objects are annotation ids that other objects name.
        layout: how an image folder is laid out.
        prefixed: whether keys leave out the split and class folders before them.
    """

    version: int = VERSION
    export: str = ""
    categories: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    samples: dict[str, str] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    splits: dict[str, str | None] = field(default_factory=dict)
    ids: bool = False
    layout: str | None = None
    prefixed: bool = False

    def to_json(self) -> str:
        """One JSON object, keys in a fixed order."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Facts:
        """Facts of a JSON text.

        Raises:
            ValueError: it holds none that this version understands.
        """
        try:
            facts = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"no notes of a granum export: {error}") from error
        if facts.version != VERSION:
            raise ValueError(f"notes of version {facts.version}; this granum reads {VERSION}")
        facts._check()
        return facts

    def _check(self) -> None:
        """Whether names and columns are what they claim.

        Raises:
            ValueError: one is not.
        """
        for columns, schema in ((self.samples, tables.SAMPLES), (self.objects, tables.ANNOTATIONS)):
            for name in columns.values():
                if name not in schema.names and not name.startswith("attr."):
                    raise ValueError(f"there is no column {name!r}")
        if len(self.names) != len(self.categories):
            raise ValueError(f"{len(self.names)} names of {len(self.categories)} categories")
        if set(self.types.values()) - set(ATTRIBUTE_TYPES):
            raise ValueError("attributes of a type that there is not")
        try:
            table = rows.objects_to_table(self.category_rows(), tables.CATEGORIES)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"categories: {error}") from error
        for listed in table["parents"].to_pylist():
            places = [-1 if p is None or p["index"] is None else p["index"] for p in listed or ()]
            if any(not 0 <= place < len(self.names) for place in places):
                raise ValueError("a category has a parent that is not there")

    def category_rows(self) -> list[rows.Category]:
        return [rows.Category(**{"space": None, **c}) for c in self.categories]


def category_facts(table: pa.Table) -> list[dict[str, Any]]:
    """Categories as JSON-serialisable objects without what is absent."""
    return [
        {k: v for k, v in asdict(c).items() if v is not None}
        for c in rows.categories_from_table(table)
    ]


def unique_names(names: Sequence[str], spaces: Sequence[str | None]) -> list[str]:
    """Each category's name, told apart where several have it: by label space, then by number."""
    out: list[str] = []
    taken: set[str] = set()
    for name, space in zip(names, spaces, strict=True):
        found, n = name, 1
        if found in taken and space is not None:
            found = f"{space}/{name}"
        while found in taken:
            n += 1
            found = f"{name}#{n}"
        taken.add(found)
        out.append(found)
    return out


# ---------------------------------------------------------------------- features


def features_of(schema: pa.Schema) -> Mapping[str, Any]:
    """The features in a schema's metadata; empty where there are none."""
    text = (schema.metadata or {}).get(HF_KEY)
    if text is None:
        return {}
    try:
        found = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _inner(feature: Any) -> Any:
    """The feature inside lists."""
    while True:
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif isinstance(feature, dict) and feature.get("_type") in (
            "Sequence",
            "List",
            "LargeList",
        ):
            feature = feature.get("feature")
        else:
            return feature


def class_names(features: Mapping[str, Any], *path: str) -> list[str] | None:
    """Names of the ClassLabel at ``path``, lists on the way skipped; None where it is none."""
    found: Any = features
    for name in path:
        found = _inner(found)
        found = found.get(name) if isinstance(found, dict) else None
    found = _inner(found)
    if not isinstance(found, dict) or found.get("_type") != "ClassLabel":
        return None
    names = found.get("names")
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        return None
    return names


def image_columns(schema: pa.Schema, features: Mapping[str, Any]) -> list[str]:
    """Columns that hold images or lists of images, the main one first."""
    typed = [n for n in schema.names if _is_image(_inner(features.get(n)))]
    kinds = {f.name: plain_type(f.type) for f in schema}
    single = [n for n, k in kinds.items() if _is_media(k)]
    listed = [n for n, k in kinds.items() if is_list(k) and _is_media(k.value_type)]
    found = typed or [*single, *listed]
    if not found:
        named = ("image", "file_name", "image_path", "path")
        found = [n for n in named if n in schema.names and pa.types.is_string(kinds[n])][:1]
    return sorted(found, key=lambda n: (n != "image", is_list(kinds[n])))


def _is_image(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == "Image"


def _is_media(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {f.name for f in kind} == {"bytes", "path"}


_DTYPES = {"double": "float64", "float": "float32", "halffloat": "float16"}


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {f.name: _feature(f.type) for f in kind}
    if is_list(kind):
        size = kind.list_size if pa.types.is_fixed_size_list(kind) else -1
        return {"feature": _feature(kind.value_type), "length": size, "_type": "Sequence"}
    return {"dtype": _DTYPES.get(str(kind), str(kind)), "_type": "Value"}


def features_json(schema: pa.Schema, images: Iterable[str], names: Sequence[str]) -> str:
    """The ``huggingface`` metadata of a table of records.

    ``Sequence`` of a dict is a struct of lists, the form that every version of the library reads.

    Args:
        schema: of the table.
        images: columns that are images.
        names: class names, for ``label``, ``labels`` and the categories of objects.
    """
    label = {"names": list(names), "_type": "ClassLabel"}
    out: dict[str, Any] = {}
    for column in schema:
        if column.name in images:
            out[column.name] = {"_type": "Image"}
        elif column.name in LABELS:
            listed = {"feature": label, "length": -1, "_type": "Sequence"}
            out[column.name] = listed if is_list(column.type) else label
        elif column.name in (OBJECTS, OTHERS):
            inside = {f.name: _feature(f.type.value_type) for f in column.type}
            if "category" in inside:
                inside["category"] = label
            out[column.name] = {"feature": inside, "length": -1, "_type": "Sequence"}
        else:
            out[column.name] = _feature(column.type)
    return json.dumps({"info": {"features": out}}, ensure_ascii=False)
