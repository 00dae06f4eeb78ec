"""COCONut's JSON files: COCO panoptic, with two ways of naming a PNG, and boxes in another file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._json_files import bad_values, load_json, numbers
from granum.loaders._panoptic_read import PanopticFile, Reader
from granum.loaders._panoptic_records import Records
from granum.loaders._panoptic_tree import Tree
from granum.loaders._rows import Box, box_of
from granum.loaders.base import Intake
from granum.loaders.coco.records import Array
from granum.schema import tables
from granum.schema.tables import column, with_column

__all__ = ["NutReader", "read_boxes"]

OTHER_NAME = "object365_file_name"
"""The key of some annotations of L that names the PNG, without suffix."""

KEPT_NAME = "original_file_name"
"""What ``file_name`` of such an annotation said."""

OTHER_FOLDER = "panoptic_object365"

Boxes = dict[tuple[str, str], Box]


class NutReader(Reader):
    """Reads JSON files as COCO panoptic; mends names of PNGs and adds boxes.

    Args:
        boxes: a file of boxes, see ``read_boxes``.
    """

    def __init__(self, tree: Tree, intake: Intake, below: bool, boxes: str | None) -> None:
        super().__init__(tree, intake, below)
        self.boxes = boxes
        self.told = read_boxes(boxes, tree.base, intake) if boxes is not None else {}

    def mend(self, records: Records) -> None:
        for i, unknown in records.unknown.items():
            other = unknown.get(OTHER_NAME)
            if not isinstance(other, str) or not other:
                continue
            name = records.file_name[i]
            png = f"{other.removesuffix('.png')}.png"
            if name != png:
                if type(name) is str:
                    unknown[KEPT_NAME] = name
                records.file_name[i] = png

    def mask_folder(self, path: Path, first: str | None) -> Path:
        found = super().mask_folder(path, first)
        other = self.tree.base / OTHER_FOLDER
        if other.is_dir() and (not found.is_dir() or found in (path.parent, self.tree.base)):
            return other
        return found

    def pngs(self) -> set[str]:
        """Stems of all PNGs that annotations name."""
        return {PurePosixPath(p).stem for item in self.files for p in item.pngs if p}

    def finish(self, item: PanopticFile, at: Array, start: int, table: pa.Table) -> pa.Table:
        """With the boxes of the other file."""
        if not self.told or not table.num_rows:
            return table
        images = {int(item.rows[i]) - start: str(item.records.image_id[i]) for i in at.tolist()}
        found: list[Any] = column(table, "bbox").to_pylist()
        rows_ = zip(table["sample"].to_pylist(), table["source_id"].to_pylist(), strict=True)
        for k, (sample, segment) in enumerate(rows_):
            box = self.told.pop((images[sample], str(segment)), None)
            if box is not None:
                found[k] = box
        kind = tables.ANNOTATIONS.field("bbox").type
        return with_column(table, "bbox", pa.array(found, kind))

    def note_sources(self) -> None:
        super().note_sources()
        for item in self.files:
            if item.masks == f"{OTHER_FOLDER}/":  # what is written anew has the file's own name
                options = self.intake.sources[item.origin].options
                options["masks"] = f"{item.file.name.removesuffix('.json')}/"
        for image, segment in self.told:
            text = f"image {image} has no segment {segment}"
            self.intake.fault("orphan-box", self.boxes or "", None, text)


def read_boxes(name: str, base: Path, intake: Intake) -> Boxes:
    """Boxes by the ids of image and segment, of a file that ``extract_bbox.py`` wrote: a list of
    ``image_id, file_name, bbox_infos: [{id, category_id, isthing, bbox: x1, y1, x2, y2}]``.

    Raises:
        FormatError: it cannot be read.
    """
    path = next((p for p in (Path(name), base / name) if p.is_file()), None)
    if path is None:
        raise FormatError(name, "no such file (of boxes)")
    listed = load_json(path, name)
    out: Boxes = {}
    for i, record in enumerate(listed if isinstance(listed, list) else [listed]):
        infos = record.get("bbox_infos") if isinstance(record, dict) else None
        if not isinstance(infos, list):
            intake.fault("missing-key", name, f"/{i}", "the record has no list bbox_infos")
            continue
        for k, info in enumerate(infos):
            with bad_values(intake, name, f"/{i}/bbox_infos/{k}/bbox"):
                x1, y1, x2, y2 = numbers(info["bbox"], 4)
                key = str(record.get("image_id")), str(info.get("id"))
                out[key] = box_of((x1, y1, x2, y2))
    return out
