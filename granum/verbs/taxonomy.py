"""Other names for categories: renaming, uniting and dropping them by a map.

A map says ``old: new``; several old names may become one; ``old: null`` drops the category and
its annotations (which is counted). As a file, YAML or JSON::

    categories:            # or these lines alone, without the word
      puppy: dog
      dog_: dog
      background: null
    only: true             # drop every category that is not named here

Names stand for themselves in every label space; all lines apply at once, so that names may be
swapped. Words such as ``yes``, ``no`` and ``012`` are names, not booleans or numbers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from granum.errors import FormatError, UnknownNameError, UsageError
from granum.schema.rows import Category
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset
from granum.store.parts import Part
from granum.verbs._categories import keypoint_categories, read_categories, table_of, title, unite
from granum.verbs._content import REFERENCES, combine

__all__ = ["CategoryMap", "MapCounts", "MapSource", "apply_map", "read_map"]

MapSource = Mapping[str, Any] | str | Path
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CategoryMap:
    """Old names to new ones (None drops); ``only``: names that are not listed are dropped."""

    names: Mapping[str, str | None]
    only: bool = False

    def of(self, name: str) -> str | None:
        return self.names.get(name, None if self.only else name)


@dataclass
class MapCounts:
    """What a map did.

    Attributes:
        moved: annotations that go by another name, by old name.
        dropped: annotations dropped with their category, by name.
        united: new names that several categories go by.
        negatives_dropped: annotations that say ``present = false`` of a category that became
            part of another, where not all parts are said to be absent.
        references_cleared: parents, subjects and objects that were dropped.
        conflicts: facts that united categories do not share: the first one's is kept.
    """

    moved: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    united: dict[str, list[str]] = field(default_factory=dict)
    negatives_dropped: int = 0
    references_cleared: int = 0
    conflicts: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "moved": dict(self.moved),
            "dropped": dict(self.dropped),
            "annotations_dropped": sum(self.dropped.values()) + self.negatives_dropped,
            "united": self.united,
            "negatives_dropped": self.negatives_dropped,
            "references_cleared": self.references_cleared,
            "conflicts": self.conflicts,
        }


# ---------------------------------------------------------------------- reading


def read_map(source: MapSource | CategoryMap) -> CategoryMap:
    """A map from a mapping, a YAML or JSON file, or ``old=new,old=new`` (``old=`` drops).

    Raises:
        FormatError: the file cannot be read, or holds something else.
        UsageError: the mapping holds something else than names.
    """
    if isinstance(source, CategoryMap):
        return source
    if isinstance(source, Mapping):
        return _checked(source, None)
    path = Path(source)
    if isinstance(source, str) and "=" in source and not path.exists():
        pairs = [item.partition("=") for item in source.split(",")]
        return _checked(dict(_once(((o, n or None) for o, _, n in pairs), source)), None)
    return _checked(load(path), path)


def load(path: Path) -> Any:
    """What a YAML or JSON file holds; scalars stay strings, apart from null.

    Raises:
        FormatError: it is absent, malformed, or gives one key twice.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise FormatError(path, "no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(path, f"cannot be read: {error}") from error
    try:
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=lambda pairs: dict(_once(pairs, path)))
        return yaml.load(text, Loader=_Names)
    except json.JSONDecodeError as error:
        raise FormatError(path, error.msg, f"line {error.lineno}") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else None
        raise FormatError(path, str(error.problem or "not YAML"), line) from error
    except yaml.YAMLError as error:
        raise FormatError(path, f"not YAML: {error}") from error


def _once(pairs: Iterable[tuple[str, Any]], where: str | Path) -> Iterable[tuple[str, Any]]:
    seen = set()
    for key, value in pairs:
        if key in seen:
            raise FormatError(where, f"{key!r} is named twice")
        seen.add(key)
        yield key, value


class _Names(yaml.SafeLoader):
    """Safe YAML whose plain words are strings, but for null; a repeated key is an error."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as the base class has it)
        first: [(tag, pattern) for tag, pattern in listed if tag == "tag:yaml.org,2002:null"]
        for first, listed in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is named twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _checked(value: Any, path: Path | None) -> CategoryMap:
    def wrong(reason: str) -> FormatError | UsageError:
        return UsageError(f"map: {reason}") if path is None else FormatError(path, reason)

    only: Any = False
    if isinstance(value, Mapping) and isinstance(value.get("categories"), Mapping):
        extra = value.keys() - {"categories", "only"}
        if extra:
            raise wrong(f"unknown key {', '.join(sorted(map(str, extra)))} beside categories")
        only, value = value.get("only", False), value["categories"]
    if only not in (True, False, "true", "false"):
        raise wrong(f"only is {only!r}; it must be true or false")
    if not isinstance(value, Mapping) or not value:
        raise wrong("it must hold lines old: new")
    for old, new in value.items():
        if not isinstance(old, str) or not isinstance(new, str | None) or old == "" or new == "":
            raise wrong(f"{old!r}: {new!r} is not a name and a name (or null)")
    return CategoryMap(dict(value), only in (True, "true"))


# ---------------------------------------------------------------------- applying


def apply_map(
    dataset: Dataset, mapping: CategoryMap | MapSource, *, strict: bool = True
) -> tuple[Dataset, MapCounts]:
    """A dataset with categories renamed, united and dropped, in all layers.

    Categories that come to share space and name are one: the facts are those of the one that
    had the name already, else of the first; what it does not state is filled from the others.

    Args:
        dataset: stays as it is.
        mapping: see ``read_map``.
        strict: an old name that no category has is an error.

    Raises:
        UnknownNameError: such a name.
        UsageError: categories with keypoint annotations would be united whose keypoints differ.
    """
    mapping = read_map(mapping)
    categories = read_categories(dataset.categories)
    known = {c.name for c in categories}
    for name in mapping.names if strict else ():
        if name not in known:
            raise UnknownNameError("category", name, known)
    if all(mapping.of(c.name) == c.name for c in categories):
        return dataset, MapCounts()
    counts = MapCounts()
    made, to = _targets(categories, mapping, keypoint_categories(dataset), counts)
    dropping = _Dropping(dataset, to)
    for part in dataset.parts:
        for layer in dataset.meta.layers:
            dropping.count(part, layer, categories, mapping, counts)
    if (to < 0).any() or dropping.united.any():
        dataset = _with_parts(dataset, [dropping.applied(p) for p in dataset.parts])
    mapped = dataset.with_categories(table_of(made), to)
    listed = [
        replace(c, parents=_parents(c, i)) for i, c in enumerate(read_categories(mapped.categories))
    ]
    done = {"verb": "map", "map": dict(mapping.names), "only": mapping.only}
    meta = replace(mapped.meta, lineage=[*mapped.meta.lineage, done])
    return Dataset(mapped.parts, table_of(listed), mapped.groups, mapped.sources, meta), counts


def _with_parts(dataset: Dataset, parts: Sequence[Part]) -> Dataset:
    return Dataset(parts, dataset.categories, dataset.groups, dataset.sources, dataset.meta)


def _parents(category: Category, row: int) -> list[dict[str, Any]] | None:
    """Without itself and repetitions, which uniting leaves."""
    if category.parents is None:
        return None
    listed = {(p["index"], p["relation"]): p for p in category.parents if p["index"] != row}
    return list(listed.values())


def _targets(
    categories: Sequence[Category], mapping: CategoryMap, drawn: set[int], counts: MapCounts
) -> tuple[list[Category], Ints]:
    """The new categories (parents still by old rows) and for each old row its new one or -1."""
    members: dict[Any, list[int]] = {}
    for row, category in enumerate(categories):
        new = mapping.of(category.name)
        if new is not None:
            same_name = new == category.name
            # Rows that only share a name stay apart; those that are mapped go to the first.
            apart = same_name and any(
                categories[r].name == new for r in members.get((title(category)[0], new), [])
            )
            key = (title(category)[0], new, row) if apart else (title(category)[0], new)
            members.setdefault(key, []).append(row)
    to = np.full(len(categories), -1)
    made: list[tuple[int, Category]] = []
    for key, listed in members.items():
        owner = next((r for r in listed if categories[r].name == key[1]), listed[0])
        one = replace(categories[owner], name=key[1])
        for row in listed:
            to[row] = owner
            if row == owner:
                continue
            one, other = unite(one, categories[row])
            for fact, (kept, left) in other.items():
                if fact in ("keypoints", "skeleton") and {owner, row} & drawn:
                    raise UsageError(
                        f"the map unites {categories[owner].name!r} and {categories[row].name!r}, "
                        f"whose {fact} differ: their keypoint annotations cannot be of one category"
                    )
                said = {"category": key[1], "fact": fact, "kept": kept, "left": left}
                counts.conflicts.append({**said, "of": categories[row].name})
        if len(listed) > 1:
            counts.united[key[1]] = [categories[r].name for r in listed]
        made.append((owner, one))
    made.sort(key=lambda m: m[0])
    place = {owner: i for i, (owner, _) in enumerate(made)}
    return [c for _, c in made], np.array([place.get(t, -1) for t in to.tolist()], np.int64)


class _Dropping:
    """Leaves out what a map drops.

    Attributes:
        united: for each old category whether it becomes one with others.
    """

    def __init__(self, dataset: Dataset, to: Ints) -> None:
        self.layers, self.to = tuple(dataset.meta.layers), to
        sizes = np.bincount(to[to >= 0], minlength=1)
        self.united = np.zeros(len(to), bool)
        self.united[to >= 0] = sizes[to[to >= 0]] > 1
        self.sizes = sizes

    def count(
        self,
        part: Part,
        layer: str,
        categories: Sequence[Category],
        mapping: CategoryMap,
        counts: MapCounts,
    ) -> None:
        """Add what becomes of a part's layer to ``counts``."""
        table = part.layer(layer)
        gone, negative = self._gone(table)
        numbers = _numbers(table)
        for mask, counter in ((gone, counts.dropped), (~gone & ~negative, counts.moved)):
            of = np.bincount(numbers[mask & (numbers >= 0)], minlength=len(categories))
            for row in np.flatnonzero(of).tolist():
                name = categories[row].name
                if mask is gone or mapping.of(name) != name:
                    counter[name] += int(of[row])
        counts.negatives_dropped += int(negative.sum())
        counts.references_cleared += sum(
            int(m.sum())
            for m in self._lost(part, table.filter(pa.array(~(gone | negative)))).values()
        )

    def _gone(self, table: pa.Table) -> tuple[Mask, Mask]:
        """Rows of dropped categories; and rows that deny a part of what is now one."""
        numbers = _numbers(table)
        gone = np.zeros(len(numbers), bool)
        gone[numbers >= 0] = self.to[numbers[numbers >= 0]] < 0
        denied = np.asarray(pc.equal(column(table, "present"), False).fill_null(False))
        rows = np.flatnonzero(denied & (numbers >= 0) & ~gone)
        rows = rows[self.united[numbers[rows]]]
        negative = np.zeros(len(numbers), bool)
        if len(rows):
            target = self.to[numbers[rows]]
            owner = combine(*(_filled(table, n)[rows] for n in ("sample", "group")), target)
            said = np.unique(np.column_stack([owner, numbers[rows]]), axis=0)
            parts = np.bincount(said[:, 0])[owner]
            negative[rows] = parts < self.sizes[target]
        return gone, negative

    def _lost(self, part: Part, table: pa.Table) -> dict[str, Mask]:
        """References of ``table`` to rows of the part that are left out."""
        used = [n for n in REFERENCES if column(table, n).null_count < table.num_rows]
        if not used:
            return {}
        lost = []
        for name in self.layers:
            other = part.layer(name)
            ids = other["annotation_id"].filter(pa.array(np.logical_or(*self._gone(other))))
            lost += ids.chunks
        value_set = pa.chunked_array(lost, pa.int64()).combine_chunks()
        return {n: np.asarray(pc.is_in(column(table, n), value_set=value_set)) for n in used}

    def applied(self, part: Part) -> Part:
        def layer(name: str) -> pa.Table:
            table = part.layer(name)
            table = table.filter(pa.array(~np.logical_or(*self._gone(table))))
            for reference, mask in self._lost(part, table).items():
                values = pc.if_else(pa.array(mask), pa.scalar(None, pa.int64()), table[reference])
                table = with_column(table, reference, values)
            return table

        return Part(part.start, part.rows, part.samples, layer)


def _numbers(table: pa.Table) -> Ints:
    return _filled(table, "category")


def _filled(table: pa.Table, name: str) -> Ints:
    return np.asarray(column(table, name).fill_null(-1), np.int64)
