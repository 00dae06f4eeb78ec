"""COCO: instances, keypoints, captions, stuff, and result files.

One JSON file of ``info, licenses, images, annotations, categories``; or a tree::

    coco/annotations/{instances,person_keypoints,captions,stuff}_{train,val}2017.json
    coco/{train2017,val2017}/000000000139.jpg

All files of a tree are merged by image: equal ids on one image whose shared keys agree are one row
(so instances and person_keypoints join), and are written back as the same files. Boxes are
``[x, y, w, h]`` in absolute pixels, 0-based, continuous edges; polygons are parts of one ring each;
``keypoints`` are x, y, v. Reading and writing back gives equal JSON, lists in the same order.

Spec: https://cocodataset.org/#format-data and cocodataset/cocoapi.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa

from granum.loaders.base import Format, Intake, formats, keep_columns
from granum.loaders.coco.project import project, project_categories
from granum.loaders.coco.read import ends, read_coco
from granum.loaders.coco.records import FLAGS
from granum.loaders.coco.write import write_coco
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["Coco", "has_negatives", "has_videos", "look"]

_KEYS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_RESULT = re.compile(rb'^\s*\[\s*\{[^{}]*"(image_id|category_id)"')


@formats("coco")
class Coco(Format):
    """See the module."""

    name = "coco"
    title = "COCO"
    spec = "https://cocodataset.org/#format-data"
    checked = "real data"
    single = (".json",)
    ordered = False  # a tree of other origin is written per split and kind
    keeps = frozenset(
        {
            *("object", "caption", "label", "bbox", "mask", "keypoints", "skeleton", "text"),
            *(
                "category",
                "supercategory",
                "isthing",
                "colour",
                "space",
                "synonyms",
                "crowd",
                "score",
            ),
            *("attributes", "track", "split", "record", *FLAGS),
        }
    )

    def sniff(self, root: Path) -> str | None:
        try:
            return look(root, _sniff_file)
        except OSError:
            return None

    def read(self, root: Path, intake: Intake, *, results: str | None = None) -> Iterator[Incoming]:
        """Read a file or tree.

        Args:
            root: the file or folder.
            intake: findings and tables.
            results: result files (comma-separated) to add as prediction layers.
        """
        listed = [Path(r) for r in results.split(",")] if results else []
        yield from read_coco(root, intake, listed)

    def write(
        self,
        dataset: Dataset,
        out: Out,
        *,
        results: bool = False,
        holes: Literal["refuse", "rle"] = "refuse",
    ) -> None:
        """Write one file or a tree.

        Args:
            dataset: what to write.
            out: where to.
            results: write a list of predictions (with scores) instead.
            holes: a mask with a hole is no COCO polygon: ``refuse`` it, or write it as ``rle``
                (sizes must be known).
        """
        write_coco(dataset, out, results)

    def project(
        self,
        batch: Batch,
        dataset: Dataset,
        *,
        results: bool = False,
        holes: Literal["refuse", "rle"] = "refuse",
    ) -> Batch:
        return project(keep_columns(batch, self.keeps), dataset, holes)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        return project_categories(super().project_categories(categories))


def look(root: Path, judge: Callable[[Path], str | None]) -> str | None:
    """What ``judge`` says of a file, or of the first file of a tree of which it says anything."""
    if root.is_file():
        return judge(root)
    home = root / "annotations" if (root / "annotations").is_dir() else root
    for path in [*sorted(home.glob("*.json"))[:20], *sorted(root.glob("*/*.coco.json"))[:3]]:
        why = judge(path)
        if why:
            return f"{path.relative_to(root)}: {why}"
    return None


def has_negatives(text: bytes) -> bool:
    """Whether it is of a file with lists of absent classes, which is a format of its own."""
    return b'"neg_category_ids"' in text or (b'"synset"' in text and b'"frequency"' in text)


def has_videos(text: bytes) -> bool:
    """Whether it is of a file of videos with lists of a value per frame, another format's."""
    lists = (b'"file_names"', b'"segmentations"', b'"bboxes"')
    return (b'"videos"' in text or b'"video_id"' in text) and any(k in text for k in lists)


def _sniff_file(path: Path) -> str | None:
    if path.suffix.lower() != ".json" or path.name.startswith("panoptic_"):
        return None
    try:
        head, tail = ends(path)
    except OSError:
        return None
    text = head + tail
    if b'"segments_info"' in text or has_negatives(text) or has_videos(text):
        return None
    if _RESULT.match(head):
        return "a list of objects with image_id and category_id"
    keys = {m.decode() for m in _KEYS.findall(head) + _KEYS.findall(tail)}
    if len(keys) > 1:
        return f"a JSON object with {', '.join(sorted(keys))}"
    return None
