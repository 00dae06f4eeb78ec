"""The masks and label maps of whole groups: pairs of dates, slices of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from granum.metrics._maps.drawn import DrawnSample, drawn_samples
from granum.schema import tables
from granum.schema.attributes import attribute_dicts
from granum.schema.tables import column
from granum.store.parts import Batch

__all__ = ["DrawnGroup", "Member", "drawn_groups"]


_DRAWN = ("annotation_id", "kind", "rle", "map", "polygons")


@dataclass(frozen=True)
class Member:
    """A sample of a group, with its annotations.

    Attributes:
        role, order, depth, attributes: as stored.
    """

    drawn: DrawnSample
    role: str | None
    order: int | None
    depth: int | None
    attributes: dict[str, Any]


@dataclass
class DrawnGroup:
    """A group of one side.

    Attributes:
        key: of the group.
        members: its samples, by ``order``, then as stored.
        whole: the rows that are of the group and of no sample.
    """

    key: str
    whole: DrawnSample
    members: list[Member] = field(default_factory=list)


def drawn_groups(
    batch: Batch, columns: Sequence[str], root: str | None, groups: pa.Table
) -> dict[int, DrawnGroup]:
    """The groups of a batch by their row in ``groups``; those without sample and row are absent.

    Args:
        batch: of whole groups (see ``Protocol.whole_groups``).
        columns: that rows have beside kind and geometry.
        root: the folder of label maps.
        groups: the table that ``group`` of samples and annotations refers to.
    """
    keys = column(groups, "key", tables.GROUPS).to_pylist()
    found: dict[int, DrawnGroup] = {}

    def at(row: int) -> DrawnGroup:
        if row not in found:
            found[row] = DrawnGroup(keys[row], DrawnSample(keys[row], None, [], root))
        return found[row]

    names = ("group", "role", "order", "depth")
    of, roles, orders, depths = (
        column(batch.samples, n, tables.SAMPLES).to_pylist() for n in names
    )
    about = attribute_dicts(batch.samples)
    for i, drawn in enumerate(drawn_samples(batch, columns, root)):
        if of[i] is not None:
            member = Member(drawn, roles[i], orders[i], depths[i], about[i] or {})
            at(of[i]).members.append(member)
    for group in found.values():
        group.members.sort(key=lambda m: (m.order is None, m.order or 0))
    rest = batch.annotations.slice(int(batch.offsets()[-1]))
    wanted = [*dict.fromkeys((*_DRAWN, *columns, "group"))]
    table = pa.table({n: column(rest, n) for n in wanted})
    for row in table.filter(np.asarray(column(table, "group").is_valid())).to_pylist():
        at(row["group"]).whole.rows.append(row)
    return dict(sorted(found.items()))
