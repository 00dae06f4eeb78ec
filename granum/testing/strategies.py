"""Hypothesis strategies: any dataset that the schema allows.

``datasets()`` draws every kind of annotation and every column, with the values that get lost in
practice: zeros, empty texts, nulls beside missing keys, keys of one base name, several polygons
with holes, both forms of RLE, negative labels, samples without annotations, categories without
any. ``datasets_of(format)`` draws what a format declares to keep.

Characters that XML 1.0 cannot hold, NaN and carriage returns are not drawn.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from granum.errors import MissingExtraError
from granum.loaders.base import Format
from granum.schema import rows, tables
from granum.store.dataset import Dataset
from granum.testing import values
from granum.testing.media import png

try:
    from hypothesis import strategies as st

    from granum.testing.drawn import DRAWN, draw_annotations, draw_references, draw_whole
    from granum.testing.plan import Plan
except ImportError as error:  # pragma: no cover (there is nothing to test it with)
    raise MissingExtraError("granum.testing.strategies", "dev", "hypothesis") from error

__all__ = ["datasets", "datasets_of"]


@st.composite
def datasets(
    draw: Any,
    columns: Collection[str] | None = None,
    kinds: Collection[str] | None = None,
    max_samples: int = 4,
    max_annotations: int = 4,
    *,
    min_samples: int = 0,
    plain: bool = False,
    parts: int = 3,
    holes: bool = True,
    always: Collection[str] = (),
    keys: Collection[str] | None = None,
    splits: Collection[str | None] | None = None,
) -> Dataset:
    """Any dataset that the schema allows.

    Args:
        draw: given by hypothesis.
        columns: draw only these: names of ``losses.NAMES``, columns, or ``table.column``
            (bookkeeping columns are always drawn); all, where None.
        kinds: kinds of annotations; all, where None.
        max_samples: at most so many samples.
        max_annotations: at most so many annotations in a sample.
        min_samples: at least so many samples.
        plain: only what is usual: sizes known, pixels, boxes and categories for all objects,
            everything inside the image, a mask in one form only, parents one level deep in the same
            sample, simple texts and keys, scalar attributes.
        parts: at most so many parts in a polygon.
        holes: whether polygons have holes.
        always: columns that every annotation has, beside those that its kind makes usual.
        keys: keys of samples to choose from.
        splits: splits to choose from.
    """
    # ``columns`` are kept as they are: a raw column is narrower than the name it goes by.
    wanted = None if columns is None else frozenset(columns)
    plan = Plan(
        draw,
        wanted,
        tuple(sorted(kinds or tables.ANNOTATION_KINDS)),
        plain,
        parts,
        holes,
        frozenset(always),
    )
    if not plain and plan.flag():  # a random choice of the columns, so that each is alone at times
        few = {f"annotations.{n}" for n in plan.subset(DRAWN)}
        others = {
            f"{t}.{n}"
            for t in ("samples", "groups", "categories")
            for n in tables.TABLES[t].names
            if plan.has(t, n)
        }
        special = {n for n in ("layers", "space", "group", "role", "order") if _named(wanted, n)}
        plan.columns = (
            frozenset(c for c in few if plan.has("annotations", c.partition(".")[2]))
            | others
            | special
        )
    _draw_categories(plan)
    _draw_groups(plan)
    pool = list(keys) if keys is not None else values.PLAIN_KEYS if plain else values.KEYS
    counts = [n for n in (*range(1, max_samples + 1), 0) if n >= min_samples]
    count = min(plan.one(counts), len(pool))
    chosen = plan.some(pool, count, count)
    samples = [_draw_sample(plan, key, i, splits) for i, key in enumerate(chosen)]
    for sample in samples:
        sample.annotations = draw_annotations(plan, sample, max_annotations)
        if not plain and _named(wanted, "layers") and plan.one([False, False, True]):
            sample.layers = {plan.one(values.LAYERS): draw_annotations(plan, sample, 2, layer=True)}
    whole = draw_whole(plan)
    together = [[a for s in samples for a in _all_of(s)] + whole]
    for listed in [_all_of(s) for s in samples] if plain else together:
        draw_references(plan, listed)
    return Dataset.from_rows(samples, plan.categories, plan.groups, group_annotations=whole)


def datasets_of(format_: Format | type[Format], **limits: Any) -> st.SearchStrategy[Dataset]:
    """Datasets that hold only what a format declares to keep.

    ``keeps`` knows names only, not the finer limits of a format (a category for every box, one
    polygon each): ``limits`` are further arguments of ``datasets``.
    """
    kinds = frozenset(tables.ANNOTATION_KINDS) & format_.keeps
    strategy: st.SearchStrategy[Dataset] = datasets(
        **{"columns": format_.keeps, "kinds": kinds or {"object"}, **limits}
    )
    return strategy


def _named(columns: frozenset[str] | None, name: str) -> bool:
    return columns is None or name in columns


def _all_of(sample: rows.Sample) -> list[rows.Annotation]:
    return [*sample.annotations, *(a for listed in sample.layers.values() for a in listed)]


# ---------------------------------------------------------------------- tables


def _draw_categories(plan: Plan) -> None:
    if not (plan.has("annotations", "category") or plan.has("categories", "space")):
        return
    pool = values.PLAIN_CATEGORY_NAMES if plan.plain else values.CATEGORY_NAMES
    names = plan.some(pool, 1 if plan.plain else plan.one([1, 2, 0]), 4)
    spaces = ["object"]
    if not plan.plain and _named(plan.columns, "space"):
        spaces = plan.some(values.SPACES, 1, 2)
    has = {n: plan.has("categories", n) for n in tables.CATEGORIES.names}
    chosen = [n for n in has if has[n] and (plan.plain or plan.flag())]
    points = plan.some(values.POINT_NAMES, 1, 3) if "keypoints" in chosen else None
    for space in spaces:
        for i, name in enumerate(names):
            category = rows.Category(name, space)
            if "source_id" in chosen:
                category.source_id = plan.one([str(i), str(i * 7 + 3), f"/m/{i}"][: 2 - plan.plain])
            for column, pool in values.CATEGORY_COLUMNS.items():
                if column in chosen:
                    setattr(category, column, plan.one([None, *pool]))
            if "colour" in chosen:
                category.colour = plan.one([None, [i, 0, 0], [250, 128 + i, 255]])
            if points is not None:
                _draw_skeleton(plan, category, points, chosen)
            if "synonyms" in chosen:
                category.synonyms = plan.one([None, ["a b", "ç"], ["x"]])
            if "parents" in chosen and i and plan.flag():
                relation = plan.one(["is_a", "part_of"])
                before = len(plan.categories) - 1
                category.parents = [{"index": plan.one([before, 0]), "relation": relation}]
            category.attributes = plan.json("categories", "attributes")
            category.extra = plan.json("categories", "extra")
            plan.categories.append(category)


def _draw_skeleton(
    plan: Plan, category: rows.Category, points: list[str], chosen: list[str]
) -> None:
    category.keypoints = points if plan.plain else plan.one([None, points])
    if category.keypoints and "skeleton" in chosen and len(points) > 1:
        category.skeleton = plan.one([None, [[0, 1]], [[0, 1], [1, len(points) - 1]]])


def _draw_groups(plan: Plan) -> None:
    if not _named(plan.columns, "group"):
        return
    for key in plan.some(values.GROUP_KEYS, 0, 2):
        group = rows.Group(key)
        for column, pool in values.GROUP_COLUMNS.items():
            if plan.flag():
                setattr(group, column, plan.one(pool))
        if plan.flag():
            group.media = rows.Media(path=f"clips/{key}.mp4")
        group.attributes = plan.json("groups", "attributes")
        group.extra = plan.json("groups", "extra")
        plan.groups.append(group)


def _draw_sample(
    plan: Plan, key: str, number: int, splits: Collection[str | None] | None
) -> rows.Sample:
    sample = rows.Sample(
        key,
        rows.Media(path=key),
        *plan.one(values.SIZES if plan.plain else [*values.SIZES, values.TINY]),
    )
    if not plan.plain:
        match plan.one(["size", "size", "no size", "width", "relative", "relative no size"]):
            case "no size":
                sample.width = sample.height = None
            case "width":
                sample.height = None
            case "relative":
                sample.unit = "relative"
            case "relative no size":
                sample.unit, sample.width, sample.height = "relative", None, None
        match plan.one(["path", "path", "none", "bytes"]):
            case "none":
                sample.media = None
            case "bytes":
                sample.media = rows.Media(None, png(sample.width or 5, sample.height or 4, number))
        for column, pool in values.SAMPLE_COLUMNS.items():
            setattr(sample, column, plan.maybe("samples", column, pool))
    if plan.has("samples", "split"):
        usual = values.SPLITS if plan.plain else [None, *values.SPLITS, "holdout 2"]
        sample.split = plan.one(list(splits or usual))
    if plan.groups and plan.flag():
        sample.group = plan.one(range(len(plan.groups)))
        sample.role = plan.maybe("samples", "role", ["t1", "t2", "rgb"])
        sample.order = plan.maybe("samples", "order", [0, number, 1000])
    sample.attributes = plan.json("samples", "attributes")
    sample.extra = plan.json("samples", "extra")
    return sample
