"""COCO panoptic: images cut into segments, one PNG of ids per image and one JSON per split.

::

    coco/annotations/panoptic_{train,val}2017.json
    coco/annotations/panoptic_{train,val}2017/000000000139.png
    coco/{train,val}2017/000000000139.jpg

or ``NAME.json`` beside ``NAME/*.png`` (COCONut), or ``panoptic_NAME/`` one folder up (Detectron2).
The JSON has ``images``, ``categories`` (``isthing``, ``color``), and an annotation per image:
``image_id``, ``file_name`` of the PNG, ``segments_info`` of ``id, category_id, area, bbox,
iscrowd``. PNGs are RGB; a pixel belongs to segment R + 256 G + 65536 B, 0 is VOID. Boxes are
``[x, y, w, h]`` in absolute pixels, 0-based, w = xmax - xmin + 1.

A segment is an object whose mask is a label map (``rgb24``). Reading and writing back gives equal
JSON and the same PNGs. On writing, every object needs a mask (of any form) and a category, and
masks of one image must not share a pixel: the later one is lost. Of several forms of a mask the
label map (else RLE, else polygons) is painted, the others stand under ``granum_mask``. What COCO's
tools need and the dataset does not say (``bbox`` from the mask, ``iscrowd: 0``, ``isthing: 1``) is
filled in and listed under ``granum_filled``, and read back as absent.

Spec: https://cocodataset.org/#format-data and cocodataset/panopticapi.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from granum.errors import UsageError
from granum.loaders._panoptic_plan import Plan, category_ids, make_plan
from granum.loaders._panoptic_project import project
from granum.loaders._panoptic_read import read_panoptic
from granum.loaders._panoptic_tree import sniff_tree
from granum.loaders._panoptic_write import write_panoptic
from granum.loaders.base import Format, Intake, formats, keep_columns
from granum.loaders.coco.categories import CATEGORY_KEYS
from granum.loaders.coco.records import FLAGS
from granum.schema import tables
from granum.schema.tables import column, with_column
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["CocoPanoptic"]


@formats("coco_panoptic")
class CocoPanoptic(Format):
    """See the module."""

    name = "coco_panoptic"
    title = "COCO panoptic"
    spec = "https://cocodataset.org/#format-data"
    checked = "real data"
    keeps = frozenset(
        {
            *("object", "mask", "bbox", "category", "crowd", "score", "attributes", *FLAGS),
            *("supercategory", "isthing", "colour", "skeleton", "synonyms", "split", "record"),
        }
    )
    # A label map comes back as an id of another one: the same pixels, elsewhere.
    tolerance: ClassVar[dict[str, float]] = {"map": float("inf")}
    media_note = "images belong at their keys below the folder; --media copy puts them there"

    def __init__(self) -> None:
        self._plans: list[tuple[Dataset, Plan]] = []
        self._recent: list[tuple[Batch, Batch]] = []

    def sniff(self, root: Path) -> str | None:
        return sniff_tree(root)

    def read(
        self, root: Path, intake: Intake, *, masks: str | None = None, check_masks: bool = False
    ) -> Iterator[Incoming]:
        """Read a JSON file, or all panoptic ones of a folder and of its ``annotations``.

        Args:
            root: the file or folder.
            intake: findings and tables.
            masks: the folder of the PNGs, where it is not named like the JSON file.
            check_masks: open every PNG and compare sizes, ids, areas and boxes with the JSON.
        """
        yield from read_panoptic(root, intake, masks, check_masks)

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write JSON files and folders of PNGs.

        Raises:
            UsageError: the target is named like one file.
        """
        # The draft that is written to is called ".NAME.TOKEN".
        if out.single is not None or out.root.suffixes[-2:-1] == [".json"]:
            raise UsageError("COCO panoptic is a JSON file and a folder of PNGs: name a folder")
        write_panoptic(dataset, out, self._plan(dataset))

    def project(self, batch: Batch, dataset: Dataset) -> Batch:
        for seen, done in self._recent:
            if seen.annotations is batch.annotations and seen.samples is batch.samples:
                return done
        if not any(d is dataset for d, _ in self._plans):
            self._plans = [(dataset, make_plan(dataset))]
        done = project(keep_columns(batch, self.keeps), dataset, self._plans[0][1])
        self._recent = [*self._recent[-1:], (batch, done)]
        return done

    def _plan(self, dataset: Dataset) -> Plan:
        """The plan that the projection went by; it has the same rows."""
        return self._plans[0][1] if self._plans else make_plan(dataset)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        table = super().project_categories(categories)
        ids = pa.array([str(i) for i in category_ids(categories)], pa.string())
        table = with_column(table, "source_id", ids)
        extra = column(table, "extra", tables.CATEGORIES)
        if extra.null_count == len(extra):
            return table
        return with_column(table, "extra", pa.array(map(_unknown, extra.to_pylist()), pa.string()))


def _unknown(text: str | None) -> str | None:
    """``extra`` of a category without keys that a record types."""
    extra = {} if text is None else json.loads(text)
    left = {k: v for k, v in extra.items() if k not in {*CATEGORY_KEYS, "granum_filled"}}
    return json.dumps(left, ensure_ascii=False) if left else None
