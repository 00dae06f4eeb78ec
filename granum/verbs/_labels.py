"""The categories of several datasets as one list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.store.dataset import Dataset
from granum.verbs._categories import keypoint_categories, match, read_categories, title, unite
from granum.verbs.merge import MergeReport, Rules

__all__ = ["Labels"]


class Labels:
    """Categories so far.

    Attributes:
        rows: the categories.
        drawn: those that have annotations with keypoints.
    """

    def __init__(self, first: Dataset, rules: Rules, report: MergeReport) -> None:
        self.rules, self.report = rules, report
        self.rows = read_categories(first.categories)
        self.drawn = keypoint_categories(first)
        report.categories["new"] = len(self.rows)

    def add(self, name: str, dataset: Dataset) -> npt.NDArray[np.int64]:
        """Unite a dataset's categories with those of their space and name, append the others.

        Returns:
            For each of its categories the row here.
        """
        mine = read_categories(dataset.categories)
        drawn = keypoint_categories(dataset)
        matches = match(self.rows, mine)
        following = iter(range(len(self.rows), len(self.rows) + len(mine)))
        to = [next(following) if m is None else m for m in matches]
        used = {(title(c)[0], c.source_id) for c in self.rows if c.source_id is not None}
        out = self.report.categories
        for row, (category, matched) in enumerate(zip(mine, matches, strict=True)):
            if category.parents is not None:
                moved = [{**p, "index": to[p["index"]]} for p in category.parents]
                category = replace(category, parents=moved)
            if matched is not None:
                self.rows[matched], other = unite(self.rows[matched], category)
                out["united"] += 1
                points = matched in self.drawn or row in drawn
                for fact, values in other.items():
                    self._conflict(name, category.name, fact, values, points)
                continue
            if (title(category)[0], category.source_id) in used:
                self.report.source_ids["categories"] += 1
                if self.rules.ids == "renumber":
                    category = replace(category, source_id=None)
            self.rows.append(category)
            out["new"] += 1
        self.drawn |= {to[r] for r in drawn}
        return np.array(to, np.int64)

    def _conflict(
        self, dataset: str, name: str, fact: str, values: tuple[Any, Any], points: bool
    ) -> None:
        said = {"category": name, "fact": fact, "kept": values[0], "left": values[1]}
        self.report.categories["conflicts"].append({**said, "dataset": dataset})
        if fact in ("keypoints", "skeleton") and points and self.rules.conflict != "first":
            self.report.refused.append(
                f"{dataset}: {name!r} has other {fact} than in an earlier dataset, and keypoint "
                "annotations: map it to another name, or --conflict first"
            )
