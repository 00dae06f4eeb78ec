"""Drawing annotations: every kind, every column."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from granum.schema import rows, tables
from granum.schema.geometry import rle_encode_counts
from granum.testing import values
from granum.testing.media import png
from granum.testing.plan import Plan

__all__ = ["DRAWN", "draw_annotations", "draw_references", "draw_whole"]

DRAWN = [
    n
    for n in tables.ANNOTATIONS.names
    if n not in ("annotation_id", "origins", "ordinal", "sample", "kind", "shape", "group")
]
"""Columns of annotations that are drawn one by one."""

USUAL = {
    "object": ("bbox", "category"),
    "track": ("category", "track"),
    "label": ("category",),
    "caption": ("text",),
    "relation": ("subject", "object", "category"),
    "interval": ("interval", "category"),
    "field": ("map",),
}
"""What an annotation of a kind always has, where those columns are drawn."""


def draw_annotations(
    plan: Plan, sample: rows.Sample, most: int, layer: bool = False
) -> list[rows.Annotation]:
    count = plan.draw(st.integers(int(layer), most))
    return [_draw_annotation(plan, sample) for _ in range(count)]


def draw_whole(plan: Plan) -> list[rows.Annotation]:
    """Annotations of whole groups."""
    if plan.plain or not plan.groups or not plan.flag():
        return []
    kinds = [k for k in plan.kinds if k in ("track", "label", "caption", "interval")]
    if not kinds:
        return []
    nowhere = rows.Sample("", None, 8, 8)
    out = [_draw_annotation(plan, nowhere, plan.one(kinds)) for _ in range(plan.one([1, 2]))]
    for annotation in out:
        annotation.group = plan.one(range(len(plan.groups)))
    return sorted(out, key=lambda a: a.group or 0)


def _draw_annotation(plan: Plan, sample: rows.Sample, kind: str | None = None) -> rows.Annotation:
    kind = kind or plan.one(plan.kinds)
    out = rows.Annotation(kind)
    out.annotation_id = plan.draw(st.integers(1, 1000).filter(lambda i: i not in plan.numbers))
    plan.numbers.append(out.annotation_id)
    chosen = plan.subset(DRAWN) | plan.always | {*USUAL[kind]}
    for column in DRAWN:
        masked = out.polygons or out.rle or out.map
        if plan.plain and column in ("polygons", "rle", "map") and masked:
            continue
        if column in chosen and plan.has("annotations", column):
            _fill(plan, out, column, sample)
    return out


def _fill(plan: Plan, out: rows.Annotation, column: str, sample: rows.Sample) -> None:
    """Set one column of an annotation."""
    width, height = (sample.width or 20), (sample.height or 10)
    if sample.unit == "relative":
        width = height = 1
    match column:
        case "category":
            if plan.categories:
                out.category = plan.one(range(len(plan.categories)))
        case "bbox":
            out.bbox = _box(plan, width, height)
        case "polygons":
            out.polygons = _polygons(plan, width, height)
        case "polyline":
            out.polyline = [v for p in _points(plan, width, height, 2, 4) for v in p]
        case "rle":
            out.rle = _rle(plan, sample)
        case "map":
            out.map = _map(plan, sample)
        case "keypoints":
            out.keypoints = _keypoints(plan, out, width, height)
        case "keypoint_scores":
            if out.keypoints:
                n = len(out.keypoints) // 3
                out.keypoint_scores = [plan.one(values.SCORES) for _ in range(n)]
        case "interval":
            out.interval = rows.Interval(*plan.one(values.INTERVALS))
        case "text":
            out.text = plan.text()
        case "attributes" | "extra":
            setattr(out, column, plan.json("annotations", column))
        case "subject" | "object" | "parent":
            setattr(out, column, -1)  # chosen when all ids are known
        case "source_id":
            own = str(plan.numbers[-1])
            out.source_id = own if plan.plain else plan.one(["0", own, "00ab"])
        case _:
            setattr(out, column, plan.one(values.ANNOTATION_COLUMNS[column]))


def _box(plan: Plan, width: float, height: float) -> tuple[float, float, float, float]:
    if plan.plain:
        x, y = plan.one(values.LOW) * width, plan.one(values.LOW) * height
        return x, y, plan.one(values.LENGTHS) * width, plan.one(values.LENGTHS) * height
    x, y = plan.one(values.FRACTIONS) * width, plan.one(values.FRACTIONS) * height
    size = [0.0, *values.LENGTHS, 1.0]
    return x, y, plan.one(size) * width, plan.one(size) * height


def _points(
    plan: Plan, width: float, height: float, least: int, most: int
) -> list[tuple[float, float]]:
    pool = [*values.LOW, *values.HIGH] if plan.plain else values.FRACTIONS
    found = plan.some([(x, y) for x in pool for y in pool], least, most)
    return [(x * width, y * height) for x, y in found]


def _polygons(plan: Plan, width: float, height: float) -> list[list[list[float]]]:
    def ring() -> list[float]:
        return [v for p in _points(plan, width, height, 3, 5) for v in p]

    count = plan.draw(st.integers(1, plan.parts))
    return [[ring() for _ in range(1 + (plan.holes and plan.flag()))] for _ in range(count)]


def _rle(plan: Plan, sample: rows.Sample) -> rows.Rle:
    size = (sample.height or 4, sample.width or 5)
    cuts = sorted(plan.some(range(1, size[0] * size[1]), int(plan.plain), 5))
    bounds = [0, *([0] if plan.flag() else []), *cuts, size[0] * size[1]]
    runs = [b - a for a, b in pairwise(bounds)]
    return rows.Rle(size, rle_encode_counts(runs), plan.one(["compressed", "list"]))


def _map(plan: Plan, sample: rows.Sample) -> rows.LabelMap:
    if plan.plain:  # one map per sample, one value per annotation
        name = f"maps/{sample.key.rpartition('.')[0]}.png"
        return rows.LabelMap(name, None, "rgb24", 70 * len(plan.numbers))
    encoding = plan.one(["index", "rgb24", "ade", "nonzero", "greater"])
    value = None if encoding in ("nonzero", "greater") else plan.one(values.MAP_VALUES)
    out = rows.LabelMap(f"maps/{encoding}/{sample.key}.png", None, encoding, value)
    if plan.one([False, False, True]):
        out.path, out.bytes = None, png(sample.width or 5, sample.height or 4, value or 1)
    if encoding == "greater":
        out.threshold = plan.one([0.0, 127.5])
    if value is not None and plan.one([False, False, True]):
        out.value, out.space = None, plan.one([None, "object"])
    out.digest = plan.one([None, None, "d41d8cd98f00b204e9800998ecf8427e"])
    return out


def _keypoints(plan: Plan, out: rows.Annotation, width: float, height: float) -> list[float]:
    named = None if out.category is None else plan.categories[out.category].keypoints
    n = len(named) if named else 2 if plan.plain else plan.one([1, 2])
    pool = values.LOW if plan.plain else values.FRACTIONS
    found: list[float] = []
    for _ in range(n):
        v = plan.one([2, 1, 0])
        spot = [plan.one(pool) * width, plan.one(pool) * height] if v else [0.0, 0.0]
        found += [*spot, float(v)]
    return found


def draw_references(plan: Plan, annotations: list[rows.Annotation]) -> None:
    """Give each reference an annotation that is there (plain: in the same list, no chains)."""
    for i, annotation in enumerate(annotations):
        among = annotations[:i] if plan.plain else annotations
        others = [
            a.annotation_id
            for a in among
            if a is not annotation and not (plan.plain and a.parent is not None)
        ]
        for name in ("subject", "object", "parent"):
            if getattr(annotation, name) == -1:
                setattr(annotation, name, plan.one(others) if others else None)
