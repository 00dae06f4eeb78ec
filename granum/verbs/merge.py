"""Several datasets as one: categories united by name, keys and ids kept apart or joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from granum.errors import GranumError, UnknownNameError, UsageError
from granum.store.dataset import Dataset, Meta
from granum.verbs._inputs import Given, named, opened, some
from granum.verbs.taxonomy import CategoryMap, MapSource, apply_map, load, read_map

__all__ = ["MergeError", "MergeReport", "merge"]

OnKey = Literal["fail", "rename", "first", "join"]
Conflict = Literal["fail", "first"]
Ids = Literal["keep", "renumber"]
Sources = Literal["keep", "forget"]
Maps = Mapping[Any, Any] | str | Path


class MergeError(GranumError, ValueError):
    """Datasets that cannot be merged as asked. Nothing was written."""

    code = "merge"

    def __init__(self, report: MergeReport) -> None:
        self.report = report
        super().__init__("the datasets were not merged.\n" + "\n".join(report.refused))

    def details(self) -> dict[str, Any]:
        return self.report.to_dict()


@dataclass
class MergeReport:
    """What a merge did, or (``dry_run``) would do.

    Attributes:
        datasets: name, samples, annotations by layer, categories, groups of each (after maps).
        result: the same of the merged one.
        maps: by dataset what its map did (see ``MapCounts``).
        categories: ``united`` with one of an earlier dataset, ``new``, ``conflicts`` (facts that
            differ: the first dataset's is kept), ``look_alikes`` (names that differ only in case,
            blanks, underscores, hyphens or plural: a map could unite them).
        keys: samples whose key an earlier dataset has: ``colliding``, ``same_image`` (nothing
            known of size, media, orientation differs), and what became of them: ``joined``,
            ``renamed``, ``left_out``; ``examples``.
        groups: the same of groups; ``differ``: columns in which joined ones do (the first
            dataset's is kept).
        sample_conflicts: columns in which joined samples differ (the first dataset's is kept).
        annotations: ``renumbered`` ids, ``duplicates`` (of joined samples, dropped), ``left_out``
            (with samples left out).
        tracks_renumbered: how many tracks got a new number.
        source_ids: ids of ``samples``, ``annotations``, ``categories`` that an earlier dataset
            has for another row.
        notes: remarks for people.
        refused: why it cannot be merged as asked, and what to do.
    """

    datasets: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    maps: dict[str, dict[str, Any]] = field(default_factory=dict)
    categories: dict[str, Any] = field(
        default_factory=lambda: {"united": 0, "new": 0, "conflicts": [], "look_alikes": []}
    )
    keys: dict[str, Any] = field(default_factory=lambda: _collisions())
    groups: dict[str, Any] = field(default_factory=lambda: {**_collisions(), "differ": {}})
    sample_conflicts: Counter[str] = field(default_factory=Counter)
    annotations: dict[str, int] = field(
        default_factory=lambda: {"renumbered": 0, "duplicates": 0, "left_out": 0}
    )
    tracks_renumbered: int = 0
    source_ids: dict[str, int] = field(
        default_factory=lambda: {"samples": 0, "annotations": 0, "categories": 0}
    )
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable."""
        return {**asdict(self), "sample_conflicts": dict(self.sample_conflicts)}

    def table(self) -> str:
        """For people."""
        width = max(len(d["name"]) for d in [*self.datasets, {"name": "merged"}])
        lines = [_row(d, width) for d in self.datasets]
        if self.result:
            lines.append(_row({**self.result, "name": "merged"}, width))
        for name, counts in self.maps.items():
            lines.append(
                f"map         {name}: {sum(counts['moved'].values())} annotations renamed, "
                f"{counts['annotations_dropped']} dropped"
                + (f" ({some(sorted(counts['dropped']))})" if counts["dropped"] else "")
            )
        lines.append(f"categories  {self.categories['united']} united by name")
        other = [c for c in self.categories["conflicts"] if c["fact"] != "source_id"]
        for c in other[:5]:
            lines.append(
                f"  differ    {c['category']}: {c['fact']} {c['left']!r} of {c['dataset']}; "
                f"kept {c['kept']!r}"
            )
        if len(other) > 5:
            lines.append(f"            … {len(other) - 5} more")
        if len(self.categories["conflicts"]) > len(other):
            n = len(self.categories["conflicts"]) - len(other)
            lines.append(f"  differ    source ids of {n}; the first dataset's are kept")
        alike = self.categories["look_alikes"]
        for names in alike[:10]:
            lines.append(
                f"  alike     {', '.join(map(repr, names))}: one class? (--map unites them)"
            )
        if len(alike) > 10:
            lines.append(f"            … {len(alike) - 10} more")
        for what, counts in (("keys", self.keys), ("groups", self.groups)):
            if counts["colliding"]:
                done = ", ".join(
                    f"{counts[n]} {n.replace('_', ' ')}"
                    for n in ("joined", "renamed", "left_out")
                    if counts[n]
                )
                found = f"{counts['colliding']} in several datasets ({some(counts['examples'])})"
                lines.append(f"{what:<12}{found}{f': {done}' if done else ''}")
        lines += [
            f"annotations {n} {what}"
            for what, n in (
                ("renumbered", self.annotations["renumbered"]),
                ("exact duplicates dropped", self.annotations["duplicates"]),
                ("left out with their samples", self.annotations["left_out"]),
            )
            if n
        ]
        if self.sample_conflicts:
            listed = ", ".join(f"{n} {c}" for n, c in self.sample_conflicts.most_common())
            lines.append(f"samples     joined ones differ in {listed}; the first dataset's is kept")
        return "\n".join([*lines, *self.notes, *self.refused])


def _collisions() -> dict[str, Any]:
    return {
        "colliding": 0, "same_image": 0, "joined": 0, "renamed": 0, "left_out": 0, "examples": []
    }  # fmt: skip


def _row(facts: Mapping[str, Any], width: int) -> str:
    annotations = ", ".join(f"{n} {layer}" for layer, n in facts["annotations"].items())
    return (
        f"{facts['name']:<{width}}  {facts['samples']} samples, annotations: {annotations}; "
        f"{facts['categories']} categories, {facts['groups']} groups"
    )


@dataclass(frozen=True)
class Rules:
    """How collisions are dealt with."""

    on_key: OnKey = "fail"
    conflict: Conflict = "fail"
    ids: Ids = "keep"
    examples: int = 10


def merge(
    datasets: Sequence[Given],
    *,
    map: Maps | None = None,
    on_key: OnKey = "fail",
    conflict: Conflict = "fail",
    ids: Ids = "keep",
    sources: Sources = "keep",
    prefix: Sequence[str | None] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    examples: int = 10,
) -> tuple[Dataset, MergeReport]:
    """One dataset of the samples of several, with all their layers.

    Categories are united by space and name; the first dataset's facts win where they differ,
    which is reported. Layers are united by name. Annotation ids and tracks that collide are
    renumbered, with every reference to them. Paths are put under one root. The inputs stay as
    they are, and nothing is copied until the result is saved.

    Args:
        datasets: datasets, or paths of stores or of sources of any format.
        map: other names for categories, before they are united: ``{old: new}`` or a file (see
            ``granum.verbs.taxonomy``) for all datasets; or ``{dataset: map}``, where a dataset
            is named by its position (0, 1, …), its name or its path's last part, and its map is
            a mapping (or, in Python, a ``Path``).
        on_key: what to do where several datasets have a key (of a sample or a group): ``fail``;
            ``rename`` the later ones, to ``NAME/key``; ``first``: leave the later ones out, with
            their annotations; ``join``: one sample with the annotations of all (exact duplicates
            once), which must be one image (equal key; size, orientation and media equal where
            known).
        conflict: ``fail`` where categories with keypoint annotations have other keypoints or
            another skeleton; ``first``: the first dataset's are kept.
        ids: source ids that collide with those of other rows: ``keep`` them (they are counted),
            or ``renumber``: the later dataset's are cleared, so that writers give new ones.
        sources: ``keep`` which file each record came from and stood where, so that formats of
            several files give these back; ``forget``: they are written as one new dataset.
        prefix: a folder to put before all keys of each dataset (None or "": none).
        out: also save the result as a store there, and give that back.
        overwrite: replace the store at ``out``.
        dry_run: write nothing; what would be refused is in the report instead of raised, and
            the dataset is then empty.
        examples: how many examples to keep of each kind.

    Returns:
        The merged dataset and the report.

    Raises:
        MergeError: keys collide, images or keypoints differ, and no rule was given for that.
        UnknownNameError: a map names a category or dataset that is not there.
        UsageError: an unknown rule, no dataset, or prefixes of another number.
    """
    rules = Rules(on_key, conflict, ids, examples)
    _check(rules, sources, datasets, prefix)
    names = _names(datasets)
    report = MergeReport(dry_run=dry_run)
    found = [opened(d) for d in datasets]
    found = _mapped(found, names, datasets, map, report)

    from granum.verbs._union import merged

    result = merged(found, names, rules, report, prefix, forget=sources == "forget")
    if report.refused:
        if not dry_run:
            raise MergeError(report)
        return Dataset([]), report
    options = {"on_key": on_key, "conflict": conflict, "ids": ids, "sources": sources}
    result = _with_lineage(result, found, names, options, map)
    if out is not None and not dry_run:
        result = result.save(out, overwrite=overwrite)
    return result, report


def _check(
    rules: Rules, sources: str, datasets: Sequence[Given], prefix: Sequence[str | None] | None
) -> None:
    allowed = {
        "on_key": (rules.on_key, ("fail", "rename", "first", "join")),
        "conflict": (rules.conflict, ("fail", "first")),
        "ids": (rules.ids, ("keep", "renumber")),
        "sources": (sources, ("keep", "forget")),
    }
    for name, (value, known) in allowed.items():
        if value not in known:
            raise UsageError(f"{name} is {value!r}; it must be {', '.join(known)}")
    if isinstance(datasets, str | Path | Dataset) or not datasets:
        raise UsageError("merge takes a list of at least one dataset")
    if prefix is not None and (isinstance(prefix, str) or len(prefix) != len(datasets)):
        raise UsageError(f"prefix must be a list of {len(datasets)}, one for each dataset")


def _names(datasets: Sequence[Given]) -> list[str]:
    """Names of the datasets, told apart where they repeat."""
    out: list[str] = []
    for i, given in enumerate(datasets, 1):
        name = base = named(given, i)
        n = 2
        while name in out:
            name, n = f"{base}-{n}", n + 1
        out.append(name)
    return out


# ---------------------------------------------------------------------- maps


def _mapped(
    found: Sequence[Dataset],
    names: Sequence[str],
    given: Sequence[Given],
    map: Maps | None,
    report: MergeReport,
) -> list[Dataset]:
    """The datasets with their maps applied."""
    if map is None:
        return list(found)
    raw = map
    if isinstance(raw, str | Path) and not (isinstance(raw, str) and "=" in raw):
        raw = load(Path(raw))
    if isinstance(raw, Mapping) and _is_per_dataset(raw):
        maps = _per_dataset(raw, names, given)
        strict = True
    else:
        one = read_map(map)
        known = {n for d in found for n in d.category_names()}
        for old in one.names:
            if old not in known:
                raise UnknownNameError("category", old, known)
        maps, strict = dict.fromkeys(range(len(found)), one), False
    out = []
    for i, dataset in enumerate(found):
        if i in maps:
            dataset, counts = apply_map(dataset, maps[i], strict=strict)
            report.maps[names[i]] = counts.to_dict()
        out.append(dataset)
    return out


def _is_per_dataset(raw: Mapping[Any, Any]) -> bool:
    values = [v for k, v in raw.items() if not (k == "categories" and isinstance(v, Mapping))]
    own = [isinstance(v, Mapping | Path | CategoryMap) for v in values]
    if any(own) and not all(own):
        raise UsageError("map: either lines old: new, or one map for each dataset; not both")
    return any(own)


def _per_dataset(
    raw: Mapping[Any, MapSource], names: Sequence[str], given: Sequence[Given]
) -> dict[int, CategoryMap]:
    """The map of each dataset, by position."""
    places: dict[str, int] = {}
    for i, (name, one) in enumerate(zip(names, given, strict=True)):
        for key in (
            str(i),
            name,
            *([] if isinstance(one, Dataset) else [str(one), Path(one).name]),
        ):
            places.setdefault(key, i)
    out: dict[int, CategoryMap] = {}
    for key, value in raw.items():
        if str(key) not in places:
            raise UnknownNameError("dataset", str(key), places)
        if places[str(key)] in out:
            raise UsageError(f"map: two maps for dataset {names[places[str(key)]]!r}")
        out[places[str(key)]] = read_map(value)
    return out


# ---------------------------------------------------------------------- lineage


def _with_lineage(
    result: Dataset,
    found: Sequence[Dataset],
    names: Sequence[str],
    options: Mapping[str, str],
    map: Maps | None,
) -> Dataset:
    inputs = [
        {"name": n, "samples": len(d), **({"lineage": list(d.meta.lineage)} if i else {})}
        for i, (n, d) in enumerate(zip(names, found, strict=True))
    ]
    entry = {
        "verb": "merge",
        "inputs": inputs,
        **options,
        "map": _plain(map),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    meta: Meta = replace(result.meta, lineage=[*found[0].meta.lineage, entry])
    return Dataset(result.parts, result.categories, result.groups, result.sources, meta)


def _plain(value: Any) -> Any:
    """A map as JSON holds it."""
    if isinstance(value, CategoryMap):
        return {"categories": dict(value.names), "only": value.only}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return str(value) if isinstance(value, Path) else value
