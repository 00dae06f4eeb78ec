"""What differs between two datasets: samples, annotations, categories, groups, layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from granum.errors import UnknownNameError, UsageError
from granum.schema import tables
from granum.store.dataset import Dataset
from granum.verbs._inputs import named, opened, some

__all__ = ["DiffReport", "Tally", "diff"]

By = Literal["key", "source_id", "name"]

COLUMNS = {n for schema in tables.TABLES.values() for n in schema.names}


@dataclass
class Tally:
    """What became of the rows of one table.

    Attributes:
        same, changed, added, removed: ``same + changed + removed`` are the rows of a (of the
            samples that both have, for annotations); ``same + changed + added`` those of b.
        columns: for each column in how many changed rows it differs.
        examples: a few rows for ``changed``, ``added`` and ``removed``.
    """

    same: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        return bool(self.changed or self.added or self.removed)

    def example(self, what: str, row: dict[str, Any], most: int) -> None:
        """Keep an example, up to ``most`` of a kind."""
        listed = self.examples.setdefault(what, [])
        if len(listed) < most:
            listed.append(row)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "columns": dict(self.columns.most_common())}

    def line(self) -> str:
        columns = ", ".join(f"{n} {c}" for n, c in self.columns.most_common())
        return (
            f"{self.same} same, {self.changed} changed{f' ({columns})' if columns else ''}, "
            f"{self.added} added, {self.removed} removed"
        )


@dataclass
class DiffReport:
    """The differences between a and b, as seen from a.

    Attributes:
        a, b: name, layer and numbers of rows of each.
        by: what samples were matched by.
        tolerance: in pixels; differences up to this are none.
        ignored: columns that were not compared.
        samples: samples by key; ``columns`` are their own.
        moved: samples that stand in another place among those common to both.
        annotations: of samples that both have, and of whole groups.
        annotated: samples (and groups) whose annotations differ.
        annotations_apart: annotations of samples that only a or only b has.
        matched: how changed samples' annotations were recognised: ``source_id``, ``content``,
            ``overlap`` (of boxes), ``alone`` (the only one of its kind and category).
        boxes: of boxes that differ: ``moved``, ``max_shift``, ``mean_shift`` of the corner that
            moved most, in pixels (in the sample's unit where its size is unknown).
        masks: of masks that differ: ``changed``, ``compared`` (those that could be drawn),
            ``mean_iou``, ``min_iou``.
        attributes: in how many annotations each attribute differs.
        category_changes: for annotations, ``from``, ``to``, ``count``.
        categories: names ``added`` and ``removed``, ``renamed`` (from, to, why), ``changed``
            (name, facts), ``moved`` (whether the order differs).
        groups: groups by key.
        layers: names that only b (``added``) or only a (``removed``) has annotations in.
        notes: remarks for people.
    """

    a: dict[str, Any]
    b: dict[str, Any]
    by: str
    tolerance: float
    ignored: list[str] = field(default_factory=list)
    samples: Tally = field(default_factory=Tally)
    moved: int = 0
    annotations: Tally = field(default_factory=Tally)
    annotated: int = 0
    annotations_apart: dict[str, int] = field(default_factory=lambda: {"added": 0, "removed": 0})
    matched: Counter[str] = field(default_factory=Counter)
    boxes: dict[str, float] = field(
        default_factory=lambda: {"moved": 0, "max_shift": 0.0, "mean_shift": 0.0}
    )
    masks: dict[str, Any] = field(
        default_factory=lambda: {"changed": 0, "compared": 0, "mean_iou": None, "min_iou": None}
    )
    attributes: Counter[str] = field(default_factory=Counter)
    category_changes: list[dict[str, Any]] = field(default_factory=list)
    categories: dict[str, Any] = field(
        default_factory=lambda: {
            "same": 0, "added": [], "removed": [], "renamed": [], "changed": [], "moved": False
        }
    )  # fmt: skip
    groups: Tally = field(default_factory=Tally)
    layers: dict[str, list[str]] = field(default_factory=lambda: {"added": [], "removed": []})
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing differs (the order of samples, annotations, categories apart)."""
        return not (
            self.samples.differs
            or self.annotations.differs
            or self.groups.differs
            or any(self.categories[n] for n in ("added", "removed", "renamed", "changed"))
            or any(self.layers.values())
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        tallies = {n: getattr(self, n).to_dict() for n in ("samples", "annotations", "groups")}
        return {
            "same": self.same,
            **{k: v for k, v in asdict(self).items() if k not in tallies},
            "matched": dict(self.matched.most_common()),
            "attributes": dict(self.attributes.most_common()),
            **tallies,
        }

    def table(self) -> str:
        """For people."""
        lines = [_side("a", self.a), _side("b", self.b)]
        if self.same:
            lines.append("no difference" + (f"; {self._order()}" if self._order() else ""))
            return "\n".join([*lines, *self.notes])
        lines.append(f"samples      {self.samples.line()}")
        lines += _keys(self.samples, ("added", "removed"))
        lines += [
            f"  changed    {e['key']}: {', '.join(e['columns'])}"
            for e in self.samples.examples.get("changed", [])[:3]
        ]
        lines.append(f"annotations  {self.annotations.line()}; in {self.annotated} samples")
        if any(self.annotations_apart.values()):
            lines.append(
                f"  and {self.annotations_apart['added']} of added, "
                f"{self.annotations_apart['removed']} of removed samples"
            )
        lines += self._details()
        lines += self._category_lines()
        if self.groups.differs:
            lines += [
                f"groups       {self.groups.line()}",
                *_keys(self.groups, ("added", "removed")),
            ]
        for what, names in self.layers.items():
            if names:
                lines.append(f"layers       {what}: {', '.join(names)}")
        if self._order():
            lines.append(f"order        {self._order()}")
        return "\n".join([*lines, *self.notes])

    def _order(self) -> str:
        said = [f"{self.moved} samples stand in another place"] if self.moved else []
        said += ["categories are in another order"] if self.categories["moved"] else []
        return "; ".join(said)

    def _details(self) -> list[str]:
        lines = []
        for e in self.annotations.examples.get("changed", [])[:3]:
            shift = f" by {e['shift']:g} px" if e.get("shift") is not None else ""
            lines.append(f"  changed    {e['key']} #{e['a']}: {', '.join(e['columns'])}{shift}")
        for what in ("added", "removed"):
            for e in self.annotations.examples.get(what, [])[:3]:
                lines.append(f"  {what:<10} {e['key']} #{e['id']} {e['category'] or e['kind']}")
        if self.boxes["moved"]:
            lines.append(
                f"  boxes      {self.boxes['moved']:g} moved, by up to "
                f"{self.boxes['max_shift']:.4g} px, {self.boxes['mean_shift']:.4g} on average"
            )
        if self.masks["changed"]:
            iou = self.masks["mean_iou"]
            said = (
                ""
                if iou is None
                else f", IoU {iou:.4g} on average, {self.masks['min_iou']:.4g} at least"
            )
            lines.append(f"  masks      {self.masks['changed']} changed{said}")
        if self.attributes:
            lines.append(
                f"  attributes {', '.join(f'{n} {c}' for n, c in self.attributes.most_common())}"
            )
        if self.category_changes:
            listed = [f"{c['from']} -> {c['to']} {c['count']}" for c in self.category_changes]
            lines.append(f"  categories {some(listed)}")
        return lines

    def _category_lines(self) -> list[str]:
        lines = []
        for what in ("added", "removed"):
            if self.categories[what]:
                lines.append(f"categories   {what}: {some(self.categories[what])}")
        for entry in self.categories["renamed"]:
            lines.append(f"categories   renamed: {entry['from']} -> {entry['to']} ({entry['why']})")
        for entry in self.categories["changed"][:3]:
            lines.append(f"categories   changed: {entry['name']}: {', '.join(entry['facts'])}")
        return lines


def _side(letter: str, facts: dict[str, Any]) -> str:
    return (
        f"{letter}: {facts['name']} ({facts['samples']} samples, {facts['annotations']} "
        f"annotations, {facts['categories']} categories, layer {facts['layer']})"
    )


def _keys(tally: Tally, what: Sequence[str]) -> list[str]:
    lines = []
    for name in what:
        keys = [e["key"] for e in tally.examples.get(name, [])]
        if keys:
            lines.append(f"  {name:<10} {some(keys, getattr(tally, name))}")
    return lines


def diff(
    a: Dataset | str | Path,
    b: Dataset | str | Path,
    *,
    layer: str | None = None,
    by: By = "key",
    tolerance: float = 0.0,
    ignore: Sequence[str] = (),
    examples: int = 10,
) -> DiffReport:
    """Compare two datasets, sample by sample, in one layer.

    Samples belong together by ``by``. Within a sample annotations belong together where source
    ids are equal and the content or the place agrees, else by equal content, else by overlap of
    their boxes (IoU of 0.5 at least, one category preferred), else by source id, else where each
    is the only one of its kind and category; the rest was added or removed. Numbers that granum
    gives (annotation ids, tracks, rows of groups and categories) may differ as long as they mean
    the same; ``origins``, ``ordinal`` and ``shape``, which say where a record stood in its file,
    are not compared.

    A category of a that b lacks is *renamed* where at least nine tenths of its annotations are
    annotations of one category that a lacks, or where one has its source id and the
    annotations do not speak against it.

    Args:
        a: a dataset, or the path of a store or of a source of any format.
        b: what it is compared with.
        layer: the layer to compare; where None each dataset's current one.
        by: ``key``, ``source_id`` or ``name`` (the file name: the last part of the key); other
            than keys they must be there and unique in both.
        tolerance: how far coordinates may differ, in pixels (boxes: how far a corner may move).
        ignore: columns not to compare, such as ``source_id`` or ``extra`` between formats.
        examples: how many examples to keep of each kind of difference.

    Raises:
        UnknownNameError: a dataset does not have the layer, or no table has an ignored column.
        UsageError: source ids or names to match by are absent or repeated.
    """
    if by not in ("key", "source_id", "name"):
        raise UsageError(f"by is {by!r}; it must be key, source_id or name")
    if isinstance(ignore, str):
        raise UsageError("ignore takes a list of columns")
    for name in ignore:
        if name not in COLUMNS:
            raise UnknownNameError("column", name, COLUMNS)
    if not tolerance >= 0 or examples < 0:
        raise UsageError("tolerance and examples must not be negative")
    left, right = opened(a), opened(b)
    counted = layer is None and not (left.meta.chosen or right.meta.chosen)
    if layer is not None:
        left, right = left.layer(layer), right.layer(layer)
    report = DiffReport(
        _facts(left, named(a, 1)),
        _facts(right, named(b, 2)),
        by=by,
        tolerance=tolerance,
        ignored=sorted(ignore),
    )
    from granum.verbs._comparison import compare

    compare(left, right, report, examples, layers=counted)
    return report


def _facts(dataset: Dataset, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "layer": dataset.meta.layer,
        "samples": len(dataset),
        "annotations": dataset.num_annotations,
        "categories": dataset.categories.num_rows,
    }
