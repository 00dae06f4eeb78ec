"""Whether two datasets say the same, and if not, where they differ."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from granum.schema import tables
from granum.schema.losses import KINDS, name_of
from granum.store.dataset import Dataset
from granum.testing.masks import FORMS, remade
from granum.testing.sides import Place, Row, Size, gap, side, sizes

__all__ = ["NUMBERING", "assert_same", "differences"]

NUMBERING = frozenset(
    {*("annotation_id", "sample", "key", "name", "space", "unit"), "origins", "ordinal", "shape"}
)
"""Columns by which rows are found, that number them, or that point into files."""

LIMIT = 20


def assert_same(
    a: Dataset,
    b: Dataset,
    *,
    columns: Collection[str] | None = None,
    tolerance: Mapping[str, float] | None = None,
    ignore: Collection[str] = (),
    ordered: bool = True,
) -> None:
    """Fail with the first differences of two datasets; see ``differences``."""
    found = differences(a, b, columns=columns, tolerance=tolerance, ignore=ignore, ordered=ordered)
    if found:
        raise AssertionError("the datasets differ:\n  " + "\n  ".join(found))


def differences(
    a: Dataset,
    b: Dataset,
    *,
    columns: Collection[str] | None = None,
    tolerance: Mapping[str, float] | None = None,
    ignore: Collection[str] = (),
    ordered: bool = True,
    limit: int = LIMIT,
) -> list[str]:
    """Where ``b`` says something else than ``a``: sample, annotation, column, both values.

    Samples and groups are found by key, categories by label space and name, annotations by
    their order in the sample. Ids are not compared: what refers to one (category, group, parent,
    subject, object, track) is compared by what it refers to. Attributes are compared in either
    form, relative coordinates in pixels where a size is known, a mask that is there in another
    form by its pixels.

    Args:
        a: what is expected.
        b: what came.
        columns: compare only these (columns, names of ``losses.NAMES``, or ``table.column``).
        tolerance: per column, how far a number may be away.
        ignore: columns, names, ``table.column`` or whole tables not to compare; ``layers``
            for all but the current layer of ``a``.
        ordered: whether the order of samples, of categories and of the annotations of a sample
            counts; otherwise annotations are matched to those most like them.
        limit: at most so many lines.
    """
    return list(islice(_Comparison(a, b, columns, tolerance or {}, ignore, ordered).run(), limit))


class _Comparison:
    def __init__(
        self,
        a: Dataset,
        b: Dataset,
        columns: Collection[str] | None,
        tolerance: Mapping[str, float],
        ignore: Collection[str],
        ordered: bool,
    ) -> None:
        self.columns, self.ignore = columns, frozenset(ignore)
        self.tolerance, self.ordered = tolerance, ordered
        known = sizes(a, b)
        self.known = known
        self.roots = [d.meta.map_root or d.meta.media_root for d in (a, b)]
        self.a, self.b = side(a, known), side(b, known)
        self.current = a.meta.layer
        self.b.rename(b.meta.layer, self.current)
        for one in (self.a, self.b):
            if "layers" in self.ignore:
                one.layers = {n: v for n, v in one.layers.items() if n == self.current}
        if not ordered:
            self._match()
        for one in (self.a, self.b):
            one.resolve(one.positions(), one.tracks())

    def run(self) -> Iterator[str]:
        for table, what in (("samples", "sample"), ("groups", "group")):
            if table not in self.ignore:
                yield from self._keyed(table, what, getattr(self.a, table), getattr(self.b, table))
        if "categories" not in self.ignore:
            yield from self._categories()
        if "annotations" not in self.ignore:
            for layer in sorted({*self.a.layers, *self.b.layers}):
                yield from self._layer(layer)

    def wanted(self, table: str, column: str) -> bool:
        """Whether a column is compared."""
        names = {name_of(table, column) or column, f"{table}.{column}"}
        if column not in KINDS:  # "object" is a kind, and a column
            names.add(column)
        if names & self.ignore or column in NUMBERING:
            return False
        return self.columns is None or bool(names & set(self.columns))

    def _keyed(
        self, table: str, what: str, a: Mapping[str, Row], b: Mapping[str, Row]
    ) -> Iterator[str]:
        for key, row in a.items():
            if key not in b:
                yield f"{what} {key!r} is missing"
            else:
                yield from self._row(table, f"{what} {key!r}", row, b[key])
        yield from (f"{what} {key!r} was not there before" for key in b if key not in a)
        both = [k for k in a if k in b], [k for k in b if k in a]
        if self.ordered and both[0] != both[1]:
            yield f"{table} have another order: {both[0]} became {both[1]}"

    def _categories(self) -> Iterator[str]:
        if self.columns is not None and not {"category", "categories"} & set(self.columns):
            return
        a, b = self.a.categories, self.b.categories
        for (space, name, n), row in a.items():
            title = f"category {name!r}" + (f" of {space!r}" if space != "object" else "")
            if (space, name, n) in b:
                yield from self._row("categories", title, row, b[space, name, n])
            else:
                yield f"{title} is missing"
        yield from (f"category {k[1]!r} was not there before" for k in b if k not in a)
        both = [k for k in a if k in b], [k for k in b if k in a]
        if self.ordered and both[0] != both[1]:
            yield "categories have another order: " + " became ".join(
                str([k[1] for k in keys]) for keys in both
            )

    def _layer(self, layer: str) -> Iterator[str]:
        a, b = self.a.layers.get(layer, {}), self.b.layers.get(layer, {})
        title = "" if layer == self.current else f"layer {layer!r}, "
        for place in [*a, *(p for p in b if p not in a)]:
            before, after = a.get(place, []), b.get(place, [])
            where = f"{title}{place[0]} {place[1]!r}"
            if len(before) != len(after):
                kinds = [str(r.get("kind")) for r in before], [str(r.get("kind")) for r in after]
                yield (
                    f"{where}: {len(before)} annotations ({', '.join(kinds[0])}) became "
                    f"{len(after)} ({', '.join(kinds[1])})"
                )
            for i, (x, y) in enumerate(zip(before, after, strict=False)):
                size = self.known.get(place[1])
                yield from self._row("annotations", f"{where}, annotation {i}", x, y, size)

    def _row(
        self, table: str, title: str, a: Row, b: Row, size: Size | None = None
    ) -> Iterator[str]:
        for name in tables.TABLES[table].names:
            if not self.wanted(table, name):
                continue
            away = gap(a.get(name), b.get(name))
            within = self.tolerance.get(name, 0.0)
            if away and name in FORMS:
                alone = a.get(name) is None or b.get(name) is None
                if (alone or name == "map") and remade(name, a, b, size, self.roots):
                    away = 0.0
                within = 0.0 if name == "map" else within
            if away and away > within:
                by = "" if away == float("inf") else f" (by {away:.3g})"
                yield f"{title}, {name}: {_short(a.get(name))} became {_short(b.get(name))}{by}"

    # ------------------------------------------------------------------ matching

    def _match(self) -> None:
        """Put the rows of ``b`` in the order of the rows of ``a`` that are like them."""
        for layer, places in self.b.layers.items():
            for place, after in places.items():
                before = self.a.layers.get(layer, {}).get(place, [])
                places[place] = self._in_order_of(before, after, place)

    def _in_order_of(self, before: Sequence[Row], after: list[Row], place: Place) -> list[Row]:
        left = list(range(len(after)))
        chosen: list[int | None] = []
        for row in before:
            found = next((i for i in left if self._alike(row, after[i])), None)
            if found is not None:
                left.remove(found)
            chosen.append(found)
        # Those without a match stand in for each other, in order.
        order = [i if i is not None else (left.pop(0) if left else None) for i in chosen]
        return [after[i] for i in order if i is not None] + [after[i] for i in left]

    def _alike(self, a: Row, b: Row) -> bool:
        names = {*tables.ANNOTATIONS.names} - {"parent", "subject", "object", "track", *FORMS}
        return all(
            gap(a.get(n), b.get(n)) <= self.tolerance.get(n, 0.0)
            for n in names
            if self.wanted("annotations", n)
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:110]} … {text[-8:]}"
