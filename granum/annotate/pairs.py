"""Training pairs of image and mask at a granularity, with the clicks that ask for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.annotate import granularity
from granum.annotate.clicks import deepest, distances
from granum.annotate.storing import stored_tree
from granum.annotate.tree import MaskTree
from granum.errors import UsageError
from granum.schema import geometry
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = ["PAIRS", "training_pairs"]

Mask = npt.NDArray[np.bool_]
Point = dict[str, Any]
Deepest = tuple[float, float, float]

_POINT = pa.struct([("x", pa.float64()), ("y", pa.float64())])
_NEGATIVE = pa.struct([("x", pa.float64()), ("y", pa.float64()), ("from", pa.string())])
_RLE = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.binary())])

PAIRS = pa.schema(
    [
        ("key", pa.string()),
        ("sample", pa.int64()),
        ("split", pa.string()),
        ("annotation_id", pa.int64()),
        ("node", pa.int32()),
        ("owner", pa.int64()),
        ("is_part", pa.bool_()),
        ("bbox", pa.list_(pa.float64(), 4)),
        ("area", pa.float64()),
        ("owner_area", pa.float64()),
        ("granularity", pa.float64()),
        ("area_ratio", pa.float64()),
        ("root_area", pa.float64()),
        ("graco", pa.float64()),
        ("graco_bin", pa.int64()),
        ("unsam", pa.float64()),
        ("positive", _POINT),
        ("negatives", pa.list_(_NEGATIVE)),
        ("rle", _RLE),
        ("bin", pa.int64()),
        ("weight", pa.float64()),
    ]
)
"""Columns of ``training_pairs``. ``owner`` is an annotation id, null where the image owns."""


def training_pairs(
    dataset: Dataset,
    layer: str | None = None,
    *,
    owner: Literal["root", "image"] = "root",
    min_area: float = 64,
    masks: bool = False,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    bins: int = granularity.OCTAVES,
) -> pa.Table:
    """One row per image and node of its tree.

    ``positive`` is the deepest pixel of the mask; ``negatives`` the deepest of the largest
    ``sibling``, of the ``parent`` outside the mask, and of the ``border``, a ring of width
    ``ceil(0.1 sqrt(area))`` around it as in RITM (Sofiiuk et al., 2022): those that there are.
    ``weight`` is one over how many rows share the bin of granularity (GraCo, CVPR 2024), 1 on
    average. All masks of an image, and all images of a group, are in one split: nested masks on
    both sides would leak.

    Args:
        dataset: with trees.
        layer: of the trees; the current one, where None.
        owner: whose area granularity is relative to.
        min_area: masks with fewer pixels are left out.
        masks: give each mask as RLE too; without, ``node`` of ``tree_of`` is it.
        fractions: share of images by split, 1 at most in all; the samples' own splits where None.
        seed: of the split.
        bins: of granularity, equally wide.

    Returns:
        The columns of ``PAIRS``; bins and owner are in the schema's metadata under ``pairs``.
    """
    splits = _splits(dataset, fractions, seed)
    pieces = [
        _rows(dataset, i, layer, owner, min_area, masks, splits[i]) for i in range(len(dataset))
    ]
    table = pa.concat_tables([PAIRS.empty_table(), *(p for p in pieces if p is not None)])
    which = granularity.octave_bins(np.asarray(table["granularity"], np.float64), bins)
    count = np.bincount(which, minlength=bins)
    weight = 1 / count[which]
    weight = weight / weight.mean() if len(weight) else weight
    for name, values in (("bin", which), ("weight", weight)):
        table = table.set_column(PAIRS.names.index(name), PAIRS.field(name), pa.array(values))
    facts = {"owner": owner, "bins": bins, "counts": count.tolist(), "octaves": granularity.OCTAVES}
    return table.replace_schema_metadata({"pairs": json.dumps(facts)})


def _rows(
    dataset: Dataset,
    sample: int,
    layer: str | None,
    owner: Literal["root", "image"],
    min_area: float,
    masks: bool,
    split: str | None,
) -> pa.Table | None:
    found = stored_tree(dataset, sample, layer)
    if found is None:
        return None
    tree, ids = found
    area = tree.area.astype(np.float64)
    owner_area = granularity.owner_areas(tree.parent, area, tree.size, owner)
    root = granularity.root_nodes(tree.parent)
    family = granularity.unsam(area, root)
    nodes = np.flatnonzero(area >= min_area)
    area, owner_area = area[nodes], owner_area[nodes]
    clicks = _Clicks(tree)
    n = len(nodes)
    views = {name: granularity.view(name, area, owner_area) for name in granularity.VIEWS}
    values: dict[str, Any] = {
        "key": [dataset[sample].key] * n,
        "sample": np.full(n, sample),
        "split": [split] * n,
        "annotation_id": ids[nodes],
        "node": nodes.astype(np.int32),
        "owner": ids[root[nodes]] if owner == "root" else [None] * n,
        "is_part": tree.parent[nodes] >= 0,
        "bbox": list(tree.bbox[nodes]),
        "area": area,
        "owner_area": owner_area,
        "granularity": views["octaves"],
        "area_ratio": views["area"],
        "root_area": views["root_area"],
        "graco": granularity.graco(area, owner_area),
        "graco_bin": granularity.graco_bins(area, owner_area),
        "unsam": family[nodes],
        "positive": [_point(clicks.inside(int(i))) for i in nodes],
        "negatives": [clicks.outside(int(i)) for i in nodes],
        "rle": [_rle(tree, int(i)) if masks else None for i in nodes],
        "bin": [None] * n,
        "weight": [None] * n,
    }
    return pa.table({f.name: pa.array(values[f.name], f.type) for f in PAIRS}, schema=PAIRS)


class _Clicks:
    """The clicks of a tree's nodes."""

    def __init__(self, tree: MaskTree) -> None:
        self.tree = tree
        self._inside: dict[int, Deepest] = {}

    def inside(self, node: int) -> Deepest:
        """The deepest pixel of a node; looked up again where it is a sibling."""
        if node not in self._inside:
            self._inside[node] = deepest(self.tree.mask(node))
        return self._inside[node]

    def outside(self, node: int) -> list[Point]:
        """The negative clicks of a node, each pixel once."""
        out: list[Point] = []
        for source, found in self._around(node):
            point = _point(found)
            if found[2] and all((p["x"], p["y"]) != (point["x"], point["y"]) for p in out):
                out.append({**point, "from": source})
        return out

    def _around(self, node: int) -> Iterator[tuple[str, Deepest]]:
        tree, mask = self.tree, self.tree.mask(node)
        up = int(tree.parent[node])
        if up >= 0:
            others = tree.children(up)
            others = others[others != node]
            if len(others):
                largest = int(others[np.argmax(tree.area[others])])
                apart = tree.leaves is not None  # siblings share no pixel
                yield (
                    "sibling",
                    self.inside(largest) if apart else deepest(tree.mask(largest) & ~mask),
                )
            if tree.leaves is None or len(others) > 1:  # else the sibling is all the rest
                yield "parent", deepest(tree.mask(up) & ~mask)
        width = int(np.ceil(0.1 * np.sqrt(tree.area[node])))
        ring = np.zeros(tree.size, bool)
        at = _window(tree.bbox[node], width, tree.size)
        near = distances(~mask[at], beyond=True)
        ring[at] = (near > 0) & (near <= width)
        yield "border", deepest(ring)


def _point(found: Deepest) -> Point:
    return {"x": found[0], "y": found[1]}


def _window(
    box: npt.NDArray[np.float64], margin: int, size: tuple[int, int]
) -> tuple[slice, slice]:
    x, y, w, h = box.astype(int).tolist()
    rows = slice(max(y - margin, 0), min(y + h + margin, size[0]))
    return rows, slice(max(x - margin, 0), min(x + w + margin, size[1]))


def _rle(tree: MaskTree, node: int) -> dict[str, Any]:
    if tree.rle is not None:
        return {"size": tree.size, "counts": tree.rle[node]}
    return {"size": tree.size, "counts": geometry.encode_mask(tree.mask(node))[1]}


def _splits(dataset: Dataset, fractions: Mapping[str, float] | None, seed: int) -> list[str | None]:
    """The split of each sample."""
    samples = dataset.samples(["key", "group", "split"])
    if fractions is None:
        return column(samples, "split").cast(pa.string()).to_pylist()
    if min(fractions.values(), default=0) < 0 or sum(fractions.values()) > 1 + 1e-9:
        raise UsageError("fractions must be 0 or more, and 1 at most in all")
    groups = dataset.groups["key"].to_pylist()
    owners = pc.fill_null(samples["group"], -1).to_pylist()
    names = [
        f"sample:{key}" if group < 0 else f"group:{groups[group]}"
        for key, group in zip(samples["key"].to_pylist(), owners, strict=True)
    ]
    edges, order = np.cumsum(list(fractions.values())), list(fractions)
    out: list[str | None] = []
    for name in names:
        drawn = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8]) / 2**64
        place = int(np.searchsorted(edges, drawn, side="right"))
        out.append(order[place] if place < len(order) else None)
    return out
