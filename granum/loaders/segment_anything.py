"""SA-1B: masks without classes, one JSON file beside each image.

::

    sa_223750.jpg
    sa_223750.json   {"image": {"image_id", "width", "height", "file_name"},
                      "annotations": [{"id", "segmentation": {"size", "counts"}, "bbox", "area",
                                       "predicted_iou", "stability_score", "crop_box",
                                       "point_coords"}]}

Masks are compressed run lengths of COCO, boxes x, y, width, height in pixels from the top-left
corner. ``predicted_iou`` is the score; the other facts are attributes. No mask has a class.

Spec: https://ai.meta.com/datasets/segment-anything-downloads/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._json_files import (
    bad_values,
    entries,
    load_json,
    number,
    numbers,
    peek,
    take_size,
)
from granum.loaders._paths import is_file, names_in
from granum.loaders.base import Format, Intake, formats
from granum.schema import geometry, rows

__all__ = ["SegmentAnything"]


@formats("segment_anything")
class SegmentAnything(Format):
    """Reads folders of SA-1B."""

    name = "segment_anything"
    title = "Segment Anything (SA-1B)"
    spec = "https://ai.meta.com/datasets/segment-anything-downloads/"
    keeps = frozenset({"sample", "object", "bbox", "mask", "score", "attributes"})
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        names = [n for n in names_in(root, 20) if n.endswith(".json")]
        path = root if is_file(root) else root / names[0] if names else None
        if peek(path, "image", "image_id", "file_name", "annotations"):
            return f"{Path(str(path)).name}: one image and its annotations"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a file, or all in a folder.

        Raises:
            FormatError: there is none.
        """
        folder = root if root.is_dir() else root.parent
        found = sorted(root.glob("*.json")) if root.is_dir() else [root]
        if not found:
            raise FormatError(root, "no JSON file")
        intake.media_root = intake.images or folder
        intake.source(".", self.name)
        for path in found:
            record = load_json(path, path.name)
            image = record.get("image") if isinstance(record, dict) else None
            name = image.get("file_name") if isinstance(image, dict) else None
            if not isinstance(image, dict) or not isinstance(name, str) or not name:
                intake.fault("file-not-read", path.name, None, "no image with a name")
                continue
            if not isinstance(record.get("annotations"), list):
                intake.fault("file-not-read", path.name, None, "no list of annotations")
                continue
            sample = rows.Sample(name, rows.Media(path=name))
            take_size(sample, image, intake, path.name, "/image")
            identity = image.get("image_id")
            sample.source_id = None if identity is None else str(identity)
            for place, entry in entries(record, "annotations", intake, path.name):
                with bad_values(intake, path.name, place):
                    sample.annotations.append(_mask(entry))
            yield sample


def _mask(entry: dict[str, Any]) -> rows.Annotation:
    """One mask.

    Raises:
        as ``bad_values`` reports: a value that is absent or none.
    """
    segmentation = entry["segmentation"]
    height, width = map(int, numbers(segmentation["size"], 2))
    if not (0 < height < 2**31 and 0 < width < 2**31):
        raise ValueError(f"the size is {segmentation['size']}")
    counts = segmentation["counts"].encode("ascii")
    geometry.rle_counts(counts)
    x, y, w, h = numbers(entry["bbox"], 4)
    left = {"predicted_iou", "segmentation", "bbox", "area", "id"}
    return rows.Annotation(
        "object",
        bbox=(x, y, w, h),
        rle=rows.Rle((height, width), counts),
        area=number(entry, "area") if "area" in entry else None,
        score=number(entry, "predicted_iou") if "predicted_iou" in entry else None,
        attributes={k: v for k, v in entry.items() if k not in left} or None,
        source_id=str(entry["id"]) if "id" in entry else None,
    )
