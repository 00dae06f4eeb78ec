"""COCONut: COCO and Objects365 images cut into segments anew, in the classes of COCO panoptic.

::

    coconut_s.json, coconut_s/000000000009.png        S, B, the relabelled validation set
    coco/annotations/panoptic_train2017.json, …       the same, as Detectron2 names it
    data/train-00000-of-00014.parquet                 the same, as rows of Hugging Face
    panseg_object365_train_v2.json                    L: what it adds of Objects365
    panoptic_object365/objects365_v2_00900001.png
    coconuts_xlarge/panseg_info/objects365_v2_00900001.json      XL: a list of segments per image
    coconuts_xlarge/panseg/objects365_v2_00900001.png

All of it is COCO panoptic, and is read like that: a segment is an object whose mask is a label map
(``rgb24``), a pixel belongs to segment R + 256 G + 65536 B, 0 is VOID. Segments have no box and say
``isthing``, as their class does; their ids are 1, 2, 3…, so that PNGs look black.

What differs:

* In L some annotations name the PNG in ``file_name``, others in ``object365_file_name``; both are
  read, and what ``file_name`` said is kept beside.
* XL names neither sizes nor classes: the 133 classes are known, sizes unknown. An image that L has
  already is left out of XL and reported, as the authors' merging does.
* Rows of Hugging Face hold the masks themselves, which become RLE. Their only split is called
  ``train``, of the validation set too, so none is taken from there: ``split_name``
  says it.
* Files merged for COCONut-val keep their ids: two images of one id are findings.
* ``extract_bbox.py`` writes ``x1, y1, x2, y2`` where it says ``bbox``, and the converter to
  instances boxes that lack a pixel of width and height. ``boxes`` reads the former's files;
  ``bbox_format`` says what boxes in the segments are; ``check_masks`` finds both.

Coordinates: boxes are x, y, width, height in pixels from the top-left corner.

Write it as COCO panoptic (``--to coco_panoptic``).

Spec: https://github.com/bytedance/coconut_cvpr2024
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from granum.errors import FormatError
from granum.loaders._coconut_json import NutReader
from granum.loaders._coconut_rows import RowReader, row_files
from granum.loaders._coconut_xl import XlReader, xl_folder
from granum.loaders._panoptic_tree import find_tree, has_panoptic, sniff_tree
from granum.loaders._panoptic_values import BoxForm
from granum.loaders.base import Format, Intake, formats
from granum.store.builder import Incoming

__all__ = ["Coconut"]


@formats("coconut")
class Coconut(Format):
    """See the module."""

    name = "coconut"
    title = "COCONut (S, B, L, XL, rows of Hugging Face)"
    spec = "https://github.com/bytedance/coconut_cvpr2024"
    checked = "real data"
    keeps = frozenset(
        {
            *("object", "mask", "bbox", "category", "crowd", "attributes", "supercategory"),
            *("isthing", "colour", "split", "record"),
        }
    )

    def sniff(self, root: Path) -> str | None:
        try:
            if (folder := xl_folder(root)) is not None:
                return f"{folder.name or '.'}/panseg_info: a list of segments per image"
            if files := row_files(root):
                return f"{files[0][1]}: columns mask, segments_info, image_info"
        except (OSError, ValueError):
            return None
        return sniff_tree(root, bare=True)

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        masks: str | None = None,
        check_masks: bool = False,
        boxes: str | None = None,
        bbox_format: BoxForm = "xywh",
        split_name: str | None = None,
    ) -> Iterator[Incoming]:
        """Read a file or folder; see the module.

        Args:
            root: the file or folder.
            intake: findings and tables.
            masks: the folder of the PNGs of a JSON file, where it is not found by its name.
            check_masks: open every mask and compare sizes, ids, areas and boxes with what is said.
            boxes: a file that ``extract_bbox.py`` wrote: its corners become the segments' boxes.
            bbox_format: what ``bbox`` of segments holds: ``xywh``, corners (``xyxy``), or
                ``short``, where width and height lack one pixel.
            split_name: the split of rows of Hugging Face and of XL.

        Raises:
            FormatError: there is nothing to read.
        """
        if not root.exists():
            raise FormatError(root, "no such file or folder")
        intake.media_root = intake.images or (root if root.is_dir() else None)
        found = None
        if files := row_files(root):
            intake.map_root = root if root.is_dir() else root.parent
            rows_ = RowReader(files, intake, split_name)
            rows_.box = bbox_format
            yield from rows_.read(check_masks)
            return
        folder = xl_folder(root)
        if folder is None or has_panoptic(root):
            found = NutReader(find_tree(root, intake, masks), intake, root.is_dir(), boxes)
            found.box = bbox_format
            intake.map_root = found.tree.map_root
            yield from found.read(check_masks)
        if folder is not None:
            intake.map_root = intake.map_root or root
            taken = set() if found is None else found.pngs()
            yield from XlReader(root, folder, intake, split_name, taken).read(
                check_masks, bbox_format
            )
