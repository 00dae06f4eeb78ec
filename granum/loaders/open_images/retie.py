"""Which relations and masks of a dataset would be tied to just their boxes when read back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders.open_images.assemble import RELATIONSHIP, SEGMENTATION
from granum.loaders.open_images.facts import FLAGS
from granum.loaders.open_images.masks import Masks
from granum.loaders.open_images.plan import Plan
from granum.loaders.open_images.ties import numbered, ranks
from granum.schema.tables import column

__all__ = ["Ties"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Ties:
    """Ties of the rows of a batch.

    Args:
        table: the rows.
        roles: which of them can be written as what.
        at: the sample of each.
        category: the category of each; -1 for none.
        plan: of the dataset.
    """

    def __init__(
        self, table: pa.Table, roles: dict[str, Mask], at: Ints, category: Ints, plan: Plan
    ) -> None:
        self.table, self.roles, self.at = table, roles, at
        self.category, self.plan = category, plan

    def tie(self, keys: Floats, masks: Masks) -> tuple[Mask, tuple[Ints, Ints]]:
        """Which boxes follow from relations and masks; and the rows that relations refer to.

        Relations that reading would not tie to just these rows are left out of ``roles``, masks
        out of ``masks``.

        Args:
            keys: sample, class and corners of each row, shape (n, 6).
            masks: of the rows.
        """
        roles = self.roles
        boxes, n = roles["boxes"], self.table.num_rows
        beside = np.zeros(n, bool)
        nobody = np.full(n, -1), np.full(n, -1)
        if not n or not (masks.found.any() or roles["relations"].any()):
            roles["relations"][:] = False
            return beside, nobody
        groups = numbered(keys)
        count = int(groups.max()) + 1
        bare = boxes & self._is_bare()
        # Boxes of masks: where no other box has the key.
        of_mask = bare & masks.found & self._has_source(SEGMENTATION)
        subject, object_ = self._referred("subject"), self._referred("object")
        named = np.zeros(n + 1, bool)
        named[subject] = named[object_] = True
        of_end = bare & ~masks.found & self._has_source(RELATIONSHIP) & named[:n]
        of_end &= self._without_attributes()
        many = np.bincount(groups[boxes & ~of_mask & ~of_end], minlength=count)
        of_mask &= many[groups] == 0
        plain = boxes & ~of_mask & ~of_end
        masks.drop(_out_of_turn(groups, plain, masks.found, count))
        known = np.bincount(groups[boxes & ~of_end], minlength=count)
        made = np.bincount(groups[of_end], minlength=count)
        of_end &= (known[groups] != 1) & (made[groups] == 1)
        known = np.bincount(groups[boxes & ~of_end], minlength=count)
        sure = boxes & np.where(of_end, True, known[groups] == 1)
        good = self._relations(subject, object_, np.append(sure, False))
        used = np.zeros(n + 1, bool)
        used[subject[good]] = used[object_[good]] = True
        of_end &= used[:n]
        roles["relations"] = good
        beside = of_mask | of_end
        ends = np.where(good, subject, -1), np.where(good, object_, -1)
        return beside, ends

    def _relations(self, subject: Ints, object_: Ints, sure: Mask) -> Mask:
        """Relations whose ends are found again: two boxes of the sample, or one that is
        something."""
        stated = np.asarray(column(self.table, "object").is_valid())
        at = np.append(self.at, -1)
        good = self.roles["relations"] & sure[subject] & (at[subject] == self.at)
        two = stated & sure[object_] & (at[object_] == self.at)
        two &= self.plan.as_label[self.category]
        one = ~stated & self.plan.as_attribute[self.category]
        return np.asarray(good & (two | one))

    def _referred(self, name: str) -> Ints:
        """The row that each relation refers to; -1 for none."""
        asked = column(self.table, name)
        if asked.null_count == len(asked):
            return np.full(len(asked), -1)
        ids = self.table["annotation_id"].combine_chunks()
        found = np.asarray(pc.index_in(asked, value_set=ids).fill_null(-1), np.int64)
        return np.where(self.roles["relations"], found, -1)

    def _has_source(self, source: str) -> Mask:
        given = column(self.table, "source").cast(pa.string())
        return np.asarray(pc.fill_null(pc.equal(given, source), False))

    def _is_bare(self) -> Mask:
        """Rows without a score or flags."""
        out = np.ones(self.table.num_rows, bool)
        for name in ("score", *FLAGS.values()):
            if name in self.table.column_names:
                out &= np.asarray(self.table[name].is_null())
        for name in self.plan.columns["boxes"]:
            if f"attr.{name}" in self.table.column_names:
                out &= np.asarray(self.table[f"attr.{name}"].is_null())
        return out

    def _without_attributes(self) -> Mask:
        out = np.ones(self.table.num_rows, bool)
        for name in self.table.column_names:
            if name.startswith("attr.") or name == "source_id":
                out &= np.asarray(self.table[name].is_null())
        return out


def _out_of_turn(groups: Ints, boxes: Mask, masked: Mask, count: int) -> Mask:
    """Masks that would go to another box of the same key: those of a key must come before its
    boxes without one."""
    some = np.flatnonzero(boxes)
    many = np.bincount(groups[boxes & masked], minlength=count)
    late = np.zeros(len(groups), bool)
    rank = ranks(groups[some])
    late[some] = masked[some] & (rank >= many[groups[some]])
    wrong = np.zeros(count, bool)
    wrong[groups[late]] = True
    return boxes & masked & wrong[groups]
