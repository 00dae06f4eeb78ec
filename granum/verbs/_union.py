"""The work of ``merge``: one dataset after the other is added to what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.schema import tables
from granum.schema.tables import with_column
from granum.store.dataset import Dataset
from granum.store.parts import Part, concat
from granum.verbs._categories import look_alikes, table_of
from granum.verbs._content import gather_samples
from granum.verbs._inputs import some
from granum.verbs._joining import (
    conflicts,
    fill_rows,
    joined_part,
    same_images,
    sample_conflicts,
)
from granum.verbs._labels import Labels
from granum.verbs._prepare import common_roots, forgetful, prefixed, rerooted
from granum.verbs._shift import Shift
from granum.verbs._survey import Survey, distinct, meet, survey
from granum.verbs._taken import SourceIds, kept_part, left_out, new_keys, places, room
from granum.verbs._twins import Shapes, Twins, learn, twins
from granum.verbs.merge import MergeReport, Rules

__all__ = ["merged"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

CHOICES = (
    "--on-key rename (the later ones), first (leave the later ones out) or join (one with the "
    "annotations of all, where it is one image); or give each dataset a prefix"
)


def merged(
    datasets: Sequence[Dataset],
    names: Sequence[str],
    rules: Rules,
    report: MergeReport,
    prefix: Sequence[str | None] | None,
    *,
    forget: bool,
) -> Dataset:
    """The merged dataset; incomplete where ``report.refused`` then says why."""
    if forget:
        datasets = [forgetful(d) for d in datasets]
    surveys = [survey(d) for d in datasets]
    roots = common_roots(datasets, surveys, names)
    report.notes += roots.notes
    union: Union | None = None
    for i, dataset in enumerate(datasets):
        dataset = rerooted(dataset, roots.media_below[i], roots.map_below[i])
        if prefix is not None and prefix[i]:
            dataset = prefixed(dataset, prefix[i])
            surveys[i].keys = dataset.samples(["key"])["key"]
        report.datasets.append({"name": names[i], **_facts(dataset, surveys[i].annotations)})
        if union is None:
            union = Union(dataset, surveys[i], roots.media_below, rules, report)
        else:
            union.add(i, names[i], dataset, surveys[i])
    assert union is not None
    result = union.finish(roots.media, roots.map)
    report.result = _facts(result, dict(union.annotations))
    report.categories["look_alikes"] = look_alikes(union.labels.rows)
    _note_ids(report, rules)
    return result


def _facts(dataset: Dataset, annotations: dict[str, int]) -> dict[str, object]:
    return {
        "samples": len(dataset),
        "annotations": annotations,
        "categories": dataset.categories.num_rows,
        "groups": dataset.groups.num_rows,
    }


def _note_ids(report: MergeReport, rules: Rules) -> None:
    listed = ", ".join(f"{c} {n}" for n, c in report.source_ids.items() if c)
    if listed:
        done = (
            "kept, so that a file with one list of ids would hold them twice; --ids renumber "
            "gives new ones"
            if rules.ids == "keep"
            else "those of the later datasets are cleared, so that writers give new ones"
        )
        report.notes.append(f"source ids that an earlier dataset uses, too: {listed}; {done}")


class Union:
    """What has been put together so far; ``add`` adds a dataset.

    Attributes:
        data: samples, groups and sources; categories and layers are beside it.
        owner: for each sample the number of the dataset that its row came from.
    """

    def __init__(
        self,
        first: Dataset,
        found: Survey,
        below: Sequence[str | None],
        rules: Rules,
        report: MergeReport,
    ) -> None:
        self.data, self.below, self.rules, self.report = first, below, rules, report
        self.labels = Labels(first, rules, report)
        self.keys, self.ids, self.tracks, self.types = (
            found.keys,
            found.ids,
            found.tracks,
            found.types,
        )
        self.owner = np.zeros(len(first), np.int64)
        self.annotations = Counter(found.annotations)
        self.layers = dict(first.meta.layers)
        self.shapes = Shapes(first.meta.shapes)
        self.known = SourceIds()
        self.known.add(first, np.ones(len(first), bool), drop=False, clear=False)

    def finish(self, media_root: str | None, map_root: str | None) -> Dataset:
        """The dataset."""
        meta = replace(
            self.data.meta,
            layers=self.layers,
            shapes=self.shapes.listed,
            media_root=media_root,
            map_root=map_root,
            store=None,
        )
        table = table_of(self.labels.rows)
        return Dataset(self.data.parts, table, self.data.groups, self.data.sources, meta)

    def add(self, number: int, name: str, dataset: Dataset, found: Survey) -> None:
        """Add a dataset, or say in the report why it cannot be added."""
        report, rule = self.report, self.rules.on_key
        refused = len(report.refused)
        categories = self.labels.add(name, dataset)
        rows, keys = self._samples(number, name, dataset, found.keys)
        groups_to, groups, united = self._groups(name, dataset)
        if len(report.refused) > refused:
            return
        shift = replace(self._shift(categories, groups_to, dataset, found), keys=keys)
        keep = np.ones(len(dataset), bool)
        if rule in ("join", "first"):
            keep[rows[1]] = False
        before = self.annotations.total()
        self.annotations.update(found.annotations)
        twin = Twins()
        if rule == "first":
            shift = replace(shift, without_groups=united)
            gone = left_out(dataset, keep, united)
            report.annotations["left_out"] += gone.total()
            self.annotations.subtract(gone)
        elif rule == "join":
            twin = self._twins(shift.applied(dataset), rows, groups_to[united])
            shift = replace(shift, same=twin.same, same_tracks=twin.tracks)
        if shift.ids:
            report.annotations["renumbered"] += self.annotations.total() - before
        clear = self.rules.ids == "renumber"
        taken = self.known.add(shift.applied(dataset), keep, drop=rule == "first", clear=clear)
        report.source_ids["samples"] += taken[0]
        report.source_ids["annotations"] += taken[1]
        if clear:
            shift = replace(shift, no_sample_ids=taken[0] > 0, no_annotation_ids=taken[1] > 0)
        self._put(number, name, shift.applied(dataset), keep, rows, twin, groups, categories)

    # ------------------------------------------------------------------ collisions

    def _samples(
        self, number: int, name: str, dataset: Dataset, keys: pa.ChunkedArray
    ) -> tuple[tuple[Ints, Ints], dict[int, str]]:
        """Rows (there, here) of samples with one key, and new keys by row."""
        place = places(keys, self.keys)
        here = np.flatnonzero(place >= 0)
        rows = place[here], here
        if not len(here):
            return rows, {}
        folders = [self.below[o] for o in self.owner[rows[0]].tolist()]
        same = same_images(self.data, dataset, rows, (folders, self.below[number]))
        listed = keys.take(pa.array(here)).to_pylist()
        self._collide(self.report.keys, listed)
        self.report.keys["same_image"] += int(same.sum())
        if self.rules.on_key == "fail":
            self.report.refused.append(
                f"{name}: {len(here)} samples have a key of an earlier dataset ({some(listed)}); "
                f"{int(same.sum())} of them are the same image by size and media. Say {CHOICES}"
            )
        elif self.rules.on_key == "join" and not same.all():
            other = [k for k, s in zip(listed, same.tolist(), strict=True) if not s]
            self.report.refused.append(
                f"{name}: {len(other)} samples cannot be joined, as size, orientation or media "
                f"are not those of the sample with that key ({some(other)}): --on-key rename or "
                "first"
            )
        if self.rules.on_key == "rename":
            return rows, new_keys(name, keys, self.keys, here)
        return rows, {}

    def _collide(self, out: dict[str, object], listed: list[str]) -> None:
        done = {"rename": "renamed", "join": "joined", "first": "left_out"}
        for what in ("colliding", done.get(self.rules.on_key)):
            if what is not None:
                out[what] = int(str(out[what])) + len(listed)
        known = out["examples"]
        assert isinstance(known, list)
        out["examples"] = [*known, *listed][: self.rules.examples]

    def _groups(self, name: str, dataset: Dataset) -> tuple[Ints, pa.Table, Ints]:
        """For each group its new row; all groups; and the rows that are united with others."""
        own, more, rule = self.data.groups, dataset.groups, self.rules.on_key
        place = places(more["key"], own["key"])
        at = np.flatnonzero(place >= 0)
        if len(at):
            listed = more["key"].take(pa.array(at)).to_pylist()
            self._collide(self.report.groups, listed)
            if rule == "fail":
                self.report.refused.append(
                    f"{name}: {len(at)} groups have a key of an earlier dataset ({some(listed)}). "
                    f"Say {CHOICES}"
                )
            elif rule == "rename":
                keys = more["key"].to_pylist()
                for row, key in new_keys(name, more["key"], own["key"], at).items():
                    keys[row] = key
                more = with_column(more, "key", pa.array(keys, pa.string()))
                place[at], at = -1, at[:0]
            elif rule == "join":
                mine = more.take(pa.array(at))
                differ = conflicts(own.take(pa.array(place[at])), mine, {"key", "media"})
                self.report.groups["differ"] = dict(differ + Counter(self.report.groups["differ"]))
                own = fill_rows(own, mine, place[at], {"key"})
        fresh = np.flatnonzero(place < 0)
        place[fresh] = own.num_rows + np.arange(len(fresh))
        if len(fresh):
            own = concat([own, more.take(pa.array(fresh))], tables.GROUPS)
        return place, own, at

    def _twins(self, moved: Dataset, rows: tuple[Ints, Ints], groups: Ints) -> Twins:
        """What joined samples and groups have twice."""
        self.report.sample_conflicts.update(sample_conflicts(self.data, moved, rows))
        learn(gather_samples(self.data, rows[0]), gather_samples(moved, rows[1]), self.shapes)
        layers = [n for n in moved.meta.layers if n in self.layers]
        found, counts = twins(self.data, moved, rows, groups, layers, self.shapes)
        self.report.annotations["duplicates"] += counts.total()
        self.annotations.subtract(counts)
        return found

    # ------------------------------------------------------------------ putting together

    def _shift(self, categories: Ints, groups: Ints, dataset: Dataset, found: Survey) -> Shift:
        """How the dataset's numbers change so that they are apart from those there."""
        ids = tracks = 0
        if meet(self.ids, found.ids):
            ids = room(self.ids, found.ids, "annotation ids")
        if meet(self.tracks, found.tracks):
            tracks = room(self.tracks, found.tracks, "tracks")
            self.report.tracks_renumbered += len(found.tracks)
        in_json = [
            frozenset(n for n, t in found.types[w].items() if self.types[w].setdefault(n, t) != t)
            for w in ("samples", "annotations")
        ]
        shapes = len(self.shapes.listed)
        self.shapes.listed += dataset.meta.shapes
        self.ids = distinct(self.ids, found.ids + ids)
        self.tracks = distinct(self.tracks, found.tracks + tracks)
        return Shift(
            categories,
            groups,
            ids,
            tracks,
            self.data.sources.num_rows,
            shapes,
            in_json=(in_json[0], in_json[1]),
        )

    def _put(
        self,
        number: int,
        name: str,
        moved: Dataset,
        keep: Mask,
        rows: tuple[Ints, Ints],
        twin: Twins,
        groups: pa.Table,
        categories: Ints,
    ) -> None:
        """The parts of both; samples with one key are joined to those there, or left out."""
        parts = list(self.data.parts)
        if self.rules.on_key == "join":
            parts = self._joined(moved, rows, twin)
        fresh = []
        for part in moved.parts:
            kept = keep[part.start : part.start + part.rows]
            fresh.append(part if kept.all() else kept_part(part, kept))
        sources = self.data.sources
        if moved.sources.num_rows:
            # ``with_categories`` also renumbers the category records of sources.
            bare = Dataset([], moved.categories, sources=moved.sources)
            more = bare.with_categories(moved.categories, categories).sources
            sources = concat([sources, more], tables.SOURCES) if sources.num_rows else more
        for layer, facts in moved.meta.layers.items():
            if dict(self.layers.setdefault(layer, facts)) != dict(facts):
                self.report.notes.append(
                    f"layer {layer!r}: {name} says other things of it; the first one's are kept"
                )
        meta = replace(self.data.meta, layers=self.layers)
        self.data = Dataset([*parts, *fresh], self.data.categories, groups, sources, meta)
        self.owner = np.concatenate([self.owner, np.full(int(keep.sum()), number)])
        keys = moved.samples(["key"])["key"].filter(pa.array(keep))
        self.keys = pa.chunked_array([*self.keys.chunks, *keys.chunks], pa.string())

    def _joined(self, moved: Dataset, rows: tuple[Ints, Ints], twin: Twins) -> list[Part]:
        order = np.argsort(rows[0], kind="stable")
        there, here = rows[0][order], rows[1][order]
        parts = []
        for part in self.data.parts:
            low, high = np.searchsorted(there, [part.start, part.start + part.rows])
            if high > low or (twin.whole and twin.records is not None):
                local = there[low:high] - part.start
                part = joined_part(part, moved, local, here[low:high], twin, self.shapes)
            parts.append(part)
        return parts
