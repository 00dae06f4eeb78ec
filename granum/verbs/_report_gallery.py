"""Of a report: pictures with their annotations, some that stand for the rest, and one a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.browse import page
from granum.browse.draw import sheet
from granum.schema import rows
from granum.schema.tables import column
from granum.store.view import SampleView
from granum.verbs._report_album import Shot, rows_of_group, with_media
from granum.verbs._report_asked import Asked

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["gallery", "kinds", "spread"]

Bools = npt.NDArray[np.bool_]

_ENOUGH = 10
"""A picture of a kind need not show more of it: the first with so many is taken."""
_MEMBERS = 4


def gallery(asked: Asked) -> list[str]:
    """Pictures of every split and role, then the richest, then some at random."""
    chosen = representative(asked)
    if not chosen:
        return []
    shots = [
        asked.album.shot(
            i, f"{why} · {n} annotation{'s' * (n != 1)}\n{asked.keys[i].as_py()}", size=480
        )
        for i, why, n in chosen
    ]
    return asked.album.gallery(shots)


def representative(asked: Asked) -> list[tuple[int, str, int]]:
    """Rows of samples to show, why each, and how many annotations it has."""
    there = with_media(asked.dataset)
    counts, rng = asked.counts, asked.rng("gallery")
    if not len(there) or not asked.pictures:
        return []
    drawn = there[rng.permutation(len(there))]
    chosen: dict[int, str] = {}
    for name, members in _parts_of(asked, drawn):
        filled = members[counts[members] > 0]
        chosen.setdefault(int((filled if len(filled) else members)[0]), name)
    chosen = dict(list(chosen.items())[: asked.pictures])
    richest = drawn[np.argsort(-counts[drawn], kind="stable")]
    rich = [i for i in richest.tolist() if i not in chosen and counts[i]]
    for i in rich[: (asked.pictures - len(chosen)) // 3]:
        chosen[i] = "rich"
    for i in drawn.tolist():
        if len(chosen) >= asked.pictures:
            break
        chosen.setdefault(i, "random")
    return [(i, why, int(counts[i])) for i, why in chosen.items()]


def _parts_of(
    asked: Asked, drawn: npt.NDArray[np.int64]
) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """The samples of each split and role that occur together, in the order they were drawn."""
    split, splits = asked.splits
    encoded = asked.dataset.samples(["role"])["role"].combine_chunks().cast("string")
    encoded = encoded.dictionary_encode()
    role, roles = np.asarray(encoded.indices.fill_null(-1)), encoded.dictionary.to_pylist()
    code = split[drawn] * (len(roles) + 1) + role[drawn]
    for value in np.unique(code).tolist():
        members = drawn[code == value]
        first = int(members[0])
        names = [splits[split[first]]] if split[first] >= 0 else []
        names += [roles[role[first]]] if role[first] >= 0 else []
        yield ", ".join(names) or "random", members


# ---------------------------------------------------------------------- kinds


def _kind(name: str) -> Callable[[pa.Table], Bools]:
    def said(table: pa.Table) -> Bools:
        kind = column(table, "kind").cast(pa.string())
        return np.asarray(pc.equal(kind, name).fill_null(False))

    return said


def _filled(*names: str) -> Callable[[pa.Table], Bools]:
    def said(table: pa.Table) -> Bools:
        there = [np.asarray(column(table, n).is_valid()) for n in names]
        return _kind("object")(table) & np.logical_or.reduce(there)

    return said


_masks = _filled("polygons", "rle", "map")


def _boxes(table: pa.Table) -> Bools:
    return _filled("bbox")(table) & ~_masks(table)


KINDS: dict[str, Callable[[pa.Table], Bools]] = {
    "boxes": _boxes,
    "masks": _masks,
    "parts": _filled("parent"),
    "keypoints": _filled("keypoints"),
    "lines": _filled("polyline"),
    "relations": _kind("relation"),
    "labels": _kind("label"),
    "captions": _kind("caption"),
    "fields (heat, depth)": _kind("field"),
}
"""What can be shown, and which rows of a layer are of it."""


def kinds(asked: Asked) -> list[str]:
    """For each kind of annotation a picture with just that, then groups: clips, pairs, series."""
    if not asked.pictures:
        return []
    shots = [_one_kind(asked, name, index, most) for name, index, most in richest_of(asked, KINDS)]
    blocks = asked.album.gallery(shots) if shots else []
    together = list(_groups(asked))
    if together:
        blocks += [page.heading("Groups"), *asked.album.gallery(together, "wide", most=900)]
    return blocks


def richest_of(
    asked: Asked, wanted: dict[str, Callable[[pa.Table], Bools]]
) -> list[tuple[str, int, int]]:
    """For each kind that occurs a sample that has enough of it, and how many that has."""
    best: dict[str, tuple[int, int]] = {}
    for part in asked.dataset.parts:
        table = part.layer(asked.dataset.meta.layer)
        table = table.slice(0, int(part.offsets(asked.dataset.meta.layer)[-1]))
        place = np.asarray(column(table, "sample"), np.int64) - part.start
        shown = np.asarray(column(part.samples(), "media").is_valid())
        for name, of in wanted.items():
            if name in best and best[name][1] >= _ENOUGH:
                continue
            counts = np.bincount(place[of(table)], minlength=part.rows) * shown
            at = int(np.argmax(np.minimum(counts, _ENOUGH))) if len(counts) else 0
            if len(counts) and counts[at] > best.get(name, (0, 0))[1]:
                best[name] = part.start + at, int(counts[at])
    return [(name, *best[name]) for name in wanted if name in best]


def _one_kind(asked: Asked, name: str, index: int, many: int) -> Shot:
    """A picture of the rows of a kind, and of those they refer to."""
    view = asked.dataset[index]
    table = rows.annotations_to_table(view.annotations)
    meant = [a for a, of in zip(view.annotations, KINDS[name](table), strict=True) if of]
    about = {i for a in meant for i in (a.subject, a.object, a.parent) if i is not None}
    meant += [a for a in view.annotations if a.annotation_id in about and a not in meant]
    return asked.album.shot(index, f"{name} ({many})\n{view.key}", annotations=meant, size=480)


# --------------------------------------------------------------------- groups


def _groups(asked: Asked) -> Iterator[Shot]:
    """The first group of each kind that has media: some of its samples side by side."""
    groups = asked.dataset.groups
    if not groups.num_rows:
        return
    said = column(groups, "kind").cast(pa.string()).to_pylist()
    of = np.asarray(asked.dataset.samples(["group"])["group"].fill_null(-1), np.int64)
    there = with_media(asked.dataset)
    for kind in dict.fromkeys(said):
        wanted = [g for g, k in enumerate(said) if k == kind]
        members = there[np.isin(of[there], wanted[:1000])]
        if not len(members):
            continue
        group = int(of[members[0]])
        members = members[of[members] == group]
        order = asked.dataset.select(members).samples(["order"])["order"].fill_null(0)
        members = spread(members[np.argsort(np.asarray(order), kind="stable")], _MEMBERS)
        caption = f"{kind or 'group'}\n{groups['key'][group].as_py()}"
        yield partial(_side_by_side, asked, members.tolist(), group), caption


def spread(values: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """At most so many of some values, at equal distances, the first and the last among them."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).round().astype(np.int64)]


def _side_by_side(asked: Asked, members: Sequence[int], group: int) -> Image | None:
    """Samples of a group; what is said of the whole group is drawn on the last one."""
    loose = [
        a
        for a in rows_of_group(asked.dataset, group)
        if a.polygons or a.rle or a.map or a.bbox or a.kind in ("caption", "interval", "label")
    ]
    pictures, titles = [], []
    for i in members:
        view = asked.dataset[i]
        annotations = [*view.annotations, *(loose if i == members[-1] else [])]
        found = asked.album.drawn(view, annotations, size=480)
        if found is not None:
            pictures.append(found)
            titles.append(_title(view))
    return sheet(pictures, columns=2, titles=titles) if pictures else None


def _title(view: SampleView) -> str:
    order = None if view.row.order is None else f"frame {view.row.order}"
    return view.row.role or order or view.key.rpartition("/")[2]
