"""Of a report: how classes, objects, boxes and images are spread, over all and by split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.browse import page
from granum.browse.charts import bars, histogram
from granum.schema import geometry
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.parts import Part
from granum.verbs._report_asked import CHART, Asked

__all__ = ["distributions", "measured"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CLASSES = 30
_COMMON = 15
_SIZES = 8


@dataclass
class Measured:
    """Numbers of the current layer, gathered part by part.

    Attributes:
        classes: annotations by category and split, shape (categories, splits + 1); the last column
            is of samples without a split.
        objects: objects of each sample.
        pixels: areas of boxes, in square pixels, where they are known.
        share: the same as shares of the image.
        aspect: width over height of boxes, where it is known.
        sizes: how many samples are of a width and height.
        unsized: samples of unknown size.
    """

    classes: Ints
    objects: list[Ints] = field(default_factory=list)
    pixels: list[Floats] = field(default_factory=list)
    share: list[Floats] = field(default_factory=list)
    aspect: list[Floats] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    unsized: int = 0


def measured(dataset: Dataset, split: Ints, splits: int) -> Measured:
    """One pass over the parts; no media are opened.

    Args:
        dataset: its current layer is measured.
        split: the number of the split of each sample, -1: none.
        splits: how many there are.
    """
    out = Measured(np.zeros((dataset.categories.num_rows, splits + 1), np.int64))
    for part in dataset.parts:
        table = part.layer(dataset.meta.layer)
        table = table.slice(0, int(part.offsets(dataset.meta.layer)[-1]))
        place = np.asarray(column(table, "sample"), np.int64) - part.start
        category = np.asarray(column(table, "category").fill_null(-1), np.int64)
        known = category >= 0
        np.add.at(out.classes, (category[known], split[part.start + place[known]]), 1)
        is_object = column(table, "kind").cast(pa.string())
        objects = np.asarray(pc.equal(is_object, "object").fill_null(False))
        out.objects.append(np.bincount(place[objects], minlength=part.rows))
        _boxes(out, part, table.filter(pa.array(objects)), place[objects])
    return out


def _boxes(out: Measured, part: Part, table: pa.Table, place: Ints) -> None:
    samples = part.samples()
    sizes = np.column_stack(
        [
            np.asarray(column(samples, n).cast(pa.float64()).fill_null(np.nan))
            for n in ("width", "height")
        ]
    )
    known = np.isfinite(sizes).all(axis=1)
    out.unsized += int((~known).sum())
    values, counts = np.unique(sizes[known], axis=0, return_counts=True)
    for (w, h), n in zip(values.tolist(), counts.tolist(), strict=True):
        out.sizes[int(w), int(h)] += n
    unit = column(samples, "unit").cast(pa.string())
    relative = np.asarray(pc.equal(unit, "relative").fill_null(False))[place]
    box = geometry.aabb(table)[:, 2:]
    there = np.isfinite(box).all(axis=1) & (box > 0).all(axis=1)
    box, relative, size = box[there], relative[there], sizes[place[there]]
    pixels = np.where(relative[:, None], box * size, box)
    share = np.where(relative[:, None], box, box / size)
    for listed, given in ((out.pixels, pixels), (out.share, share)):
        area = given.prod(axis=1)
        listed.append(area[np.isfinite(area)])
    ratio = pixels[:, 0] / pixels[:, 1]
    out.aspect.append(ratio[np.isfinite(ratio)])


def distributions(asked: Asked) -> list[str]:
    """Bars of classes by label space, histograms of objects and boxes, sizes, a table of splits."""
    if not len(asked.dataset):
        return []
    split, splits = asked.splits
    found = measured(asked.dataset, split, len(splits))
    blocks = [*_classes(asked, found), *_histograms(found)]
    if splits:
        blocks += _splits(asked, found)
    return blocks


def _classes(asked: Asked, found: Measured) -> list[str]:
    """A chart per label space, the most frequent first."""
    total = found.classes.sum(axis=1)
    if not total.any():
        return []
    spaces = column(asked.dataset.categories, "space").cast(pa.string()).to_pylist()
    charts = []
    for space in dict.fromkeys(spaces):
        members = np.array([i for i, s in enumerate(spaces) if s == space])
        used = members[total[members] > 0]
        order = used[np.argsort(-total[used], kind="stable")]
        if not len(order):
            continue
        values = {asked.classes[i]: int(total[i]) for i in order.tolist()}
        unused = len(members) - len(used)
        title = f"Classes: {space or 'of no space'} ({len(used)}"
        title += f", and {unused} without annotation)" if unused else ")"
        charts.append((title, bars(values, most=_CLASSES, width=CHART)))
    return [page.beside(charts)]


def _joined(listed: list[Floats] | list[Ints]) -> Floats:
    return np.concatenate([*listed, np.empty(0)]).astype(np.float64)


def _histograms(found: Measured) -> list[str]:
    objects, pixels, share = _joined(found.objects), _joined(found.pixels), _joined(found.share)
    aspect = _joined(found.aspect)
    charts = []
    if objects.any():
        title = f"Objects in an image: {objects.mean():.3g} on average, none in "
        charts.append((f"{title}{int((objects == 0).sum()):,}", histogram(objects, width=CHART)))
    if pixels.size:
        charts.append(("Area of boxes, pixels²", histogram(pixels, log=True, width=CHART)))
    if share.size:
        title = f"Area of boxes, share of the image: {np.median(share):.2g} in the middle"
        charts.append((title, histogram(share, log=True, width=CHART)))
    if aspect.size:
        charts.append(
            ("Boxes: width over height", histogram(aspect, log=True, mark=1.0, width=CHART))
        )
    if found.sizes:
        listed = dict(found.sizes.most_common())
        shown = {f"{w} × {h}": float(n) for (w, h), n in listed.items()}
        title = f"Image sizes ({len(listed)})"
        charts.append((title, bars(shown, most=_SIZES, width=CHART)))
    if found.unsized:
        known = sum(found.sizes.values())
        note = f"{found.unsized:,} of {found.unsized + known:,} images have no size on record."
        return [page.beside(charts), page.text(note, soft=True)] if charts else []
    return [page.beside(charts)] if charts else []


def _splits(asked: Asked, found: Measured) -> list[str]:
    """A row per split, then the common classes' counts in each."""
    split, splits = asked.splits
    objects = _joined(found.objects)
    names = [*splits, *(["(none)"] if (split < 0).any() else [])]
    table = []
    for i, name in enumerate(names):
        number = i if i < len(splits) else -1
        members = split == number
        table.append(
            [
                name,
                int(members.sum()),
                int(asked.counts[members].sum()),
                round(float(objects[members].mean()), 2),
                int((asked.counts[members] == 0).sum()),
                int((found.classes[:, number] > 0).sum()),
            ]
        )
    columns = ["split", "samples", "annotations", "objects each", "without any", "classes"]
    blocks = [page.heading("Splits"), page.table(table, columns)]
    total = found.classes.sum(axis=1)
    order = [i for i in np.argsort(-total, kind="stable")[:_COMMON].tolist() if total[i]]
    if len(splits) > 1 and order:
        rows = [
            [asked.classes[i], *(int(n) for n in found.classes[i, : len(names)])] for i in order
        ]
        rest = f" ({len(order)} of {int((total > 0).sum())})"
        blocks += [page.heading(f"Common classes by split{rest}"), page.table(rows, ["", *names])]
    return blocks
