"""Pairs, written: which rows make which line of the manifest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from granum.loaders._rows import group_rows, sample_rows
from granum.schema import rows
from granum.store.dataset import Dataset

__all__ = ["Plan", "planned"]

RELATION = 2


@dataclass
class Plan:
    """Where rows go.

    Attributes:
        ranks: by annotation id its line, and its place there: 0 and 1 are the sides, 2 is the
            relation between them. A line of one image has its label in place 0.
        attributes: whether they are kept.
        ends: ids of the sides of relations, which are boxes and nothing else.
        members: of each group that is a pair, its two samples.
    """

    attributes: bool
    ranks: dict[int, tuple[int, int]] = field(default_factory=dict)
    ends: set[int] = field(default_factory=set)
    members: dict[int, tuple[int, int]] = field(default_factory=dict)

    def left(self, one: rows.Annotation) -> rows.Annotation | None:
        """What comes back of a row, in pixels as it is here."""
        key = one.annotation_id or -1
        if key not in self.ranks:
            return None
        out = rows.Annotation(one.kind, annotation_id=one.annotation_id, sample=one.sample)
        if one.kind == "object":
            out.bbox = one.bbox
        if key not in self.ends:
            out.category, out.score = one.category, one.score
            out.attributes = one.attributes if self.attributes else None
        if one.kind == "relation":
            out.subject, out.object = one.subject, one.object
        if one.sample is None:
            out.group = one.group
        return out

    def lines(
        self, dataset: Dataset, paths: Sequence[str], names: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The lines of a dataset that was projected; keys without a value are left out."""
        found: dict[int, dict[str, Any]] = {}
        samples = list(sample_rows(dataset))

        def side(line: dict[str, Any], n: int, at: int, box: Any = None) -> None:
            line[f"path{n}"], line[f"role{n}"] = paths[at], samples[at].role
            if n == 1:
                line["split"] = samples[at].split
            for name, value in zip(("x", "y", "width", "height"), box or (), strict=False):
                line[f"{name}{n}"] = value

        def told(line: dict[str, Any], one: rows.Annotation) -> None:
            line["label"] = None if one.category is None else names[one.category]
            line["score"], line["attributes"] = one.score, one.attributes

        for at, sample in enumerate(samples):
            for one in sample.annotations:
                number, place = self.ranks[one.annotation_id or -1]
                line = found.setdefault(number, {})
                if place != RELATION:
                    side(line, place + 1, at, one.bbox)
                if one.annotation_id not in self.ends:
                    told(line, one)
        bare = dict(self.members)
        for one in group_rows(dataset):
            number, _ = self.ranks[one.annotation_id or -1]
            line = found.setdefault(number, {})
            for n, at in enumerate(self.members[one.group or 0], 1):
                side(line, n, at)
            told(line, one)
            bare.pop(one.group or 0, None)
        listed = [found[n] for n in sorted(found)]
        groups = dataset.groups["key"].to_pylist()
        for group, members in bare.items():
            line = {"id": groups[group]}
            for n, at in enumerate(members, 1):
                side(line, n, at)
            listed.append(line)
        return [{k: v for k, v in line.items() if v is not None} for line in listed]


def planned(dataset: Dataset, *, attributes: bool) -> Plan:
    """First the lines of one image, then those of relations, then those of whole pairs."""
    plan = Plan(attributes)
    groups = rows.groups_from_table(dataset.groups)
    samples = list(sample_rows(dataset))
    held: dict[int, list[int]] = {}
    for at, sample in enumerate(samples):
        if sample.group is not None and groups[sample.group].kind == "pair":
            held.setdefault(sample.group, []).append(at)
    plan.members = {g: (m[0], m[1]) for g, m in sorted(held.items()) if len(m) == 2}
    listed = [(at, a) for at, s in enumerate(samples) for a in s.annotations]
    listed = [(at, a) for at, a in listed if a.present is not False]
    objects = {a.annotation_id: (at, a) for at, a in listed if a.kind == "object" and _finite(a)}
    relations = []
    for at, one in listed:
        first, second = objects.get(one.subject), objects.get(one.object)
        if one.kind != "relation" or first is None or second is None or first[0] != at:
            continue
        ends = {one.subject or -1, one.object or -1}
        if len(ends) < 2 or ends & plan.ends:
            continue
        whole = first[1].bbox is None and second[1].bbox is None
        if whole and at != second[0] and _same_pair(samples[at], samples[second[0]], groups):
            continue  # its line would be that of the pair
        plan.ends |= ends
        relations.append(one)
    number = 0
    for _, one in listed:
        lone = one.kind == "object" and one.bbox is not None and one.annotation_id in objects
        lone = lone and one.annotation_id not in plan.ends
        if lone or (one.kind == "label" and one.category is not None):
            plan.ranks[one.annotation_id or -1] = (number, 0)
            number += 1
    for one in relations:
        for place, key in enumerate((one.subject, one.object, one.annotation_id)):
            plan.ranks[key or -1] = (number, place)
        number += 1
    for one in group_rows(dataset):
        told = one.kind == "label" and one.category is not None and one.present is not False
        if told and one.group in plan.members:
            plan.ranks[one.annotation_id or -1] = (number, 0)
            number += 1
    return plan


def _finite(one: rows.Annotation) -> bool:
    return one.bbox is None or all(map(math.isfinite, one.bbox))


def _same_pair(one: rows.Sample, two: rows.Sample, groups: Sequence[rows.Group]) -> bool:
    return one.group is not None and one.group == two.group and groups[one.group].kind == "pair"
