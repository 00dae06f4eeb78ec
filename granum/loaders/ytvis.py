"""YouTube-VIS: videos with a mask per track and frame; also OVIS and others of its form.

::

    train/instances.json                    valid/instances.json (or annotations/…, one file alone)
    train/JPEGImages/0043f083b5/00000.jpg   frames, as videos[].file_names tell

A JSON of ``videos`` (``id, width, height, length, file_names``), ``categories`` as COCO's, and
``annotations``, one for each track: ``video_id``, ``category_id``, ``iscrowd``, and lists with a
value per frame, null where the object is not seen: ``segmentations`` (RLEs with counts as a list
or COCO's string, or polygons), ``bboxes`` (``[x, y, w, h]`` in pixels), ``areas``. Results are a
list of ``video_id, category_id, segmentations, score``: alone, or as layers with ``--results``.

- A video is a group, each of its file names a sample, whose ``order`` is its place from 0.
- An annotation is a row of kind ``track`` on the group (its score, unknown keys, such as OVIS's
  ``occlusion``, and attributes) and a row of kind ``object`` for each frame with a mask or box.
  Category, crowd flag and score stand on all of them.
- ``track`` numbers them through; ``track_source_id`` is the id.
- Written back are the files that were read, with the same records in their order; of other datasets
  one ``instances.json`` for each split. Rows without a track are tracks of one frame, a second box
  of a track in a frame is a record of its own (``granum.json`` knows that they are one).
- Polygons with holes have no place; masks in label images become RLEs. A frame's score is that of
  its track, or it has none.

Spec: https://youtube-vos.org/dataset/vis and youtubevos/cocoapi; OVIS: https://songbai.site/ovis
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._notes import read_notes
from granum.loaders._ytvis_plan import project
from granum.loaders._ytvis_read import find_files, locate, read_noted, read_videos
from granum.loaders._ytvis_write import image_paths, write_videos
from granum.loaders.base import Format, Intake, formats, keep_columns
from granum.loaders.coco import has_videos
from granum.loaders.coco.read import ends
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["YoutubeVis"]


@formats("ytvis")
class YoutubeVis(Format):
    """Reads and writes videos of tracks; see the module."""

    name = "ytvis"
    title = "YouTube-VIS, OVIS"
    spec = "https://youtube-vos.org/dataset/vis"
    checked = "spec"
    ordered = False  # annotations of a frame come in the order of their records
    media_note = "labels only: put the frames beside them with --media copy|link|hardlink"
    keeps = frozenset(
        {
            *("sample", "object", "track", "bbox", "mask", "category", "crowd", "score"),
            *("group", "split", "time", "geo", "attributes", "space", "supercategory", "parents"),
            *("isthing", "colour", "skeleton", "synonyms"),
        }
    )

    def sniff(self, root: Path) -> str | None:
        try:
            found = find_files(root)
        except (OSError, ValueError):
            return None
        if not found or (root.is_file() and not _is_of_videos(root)):
            return None
        name = root.name if root.is_file() else found[0].relative_to(root).as_posix()
        return f"{name}: videos with a value per frame"

    def read(self, root: Path, intake: Intake, *, results: str | None = None) -> Iterator[Incoming]:
        """Read a file or tree.

        Args:
            root: the file or folder.
            intake: findings and tables.
            results: result files (comma-separated) to add as prediction layers.

        Raises:
            FormatError: there is nothing to read.
        """
        if not root.exists():
            raise FormatError(root, "no such file or folder")
        intake.media_root = intake.images or (root if root.is_dir() else root.parent)
        intake.locate = locate(intake)
        notes = read_notes(root, self.name) if root.is_dir() else None
        if notes is not None:
            yield from read_noted(root, notes, intake)
        else:
            listed = [Path(r) for r in results.split(",")] if results else []
            yield from read_videos(root, intake, listed)

    def write(self, dataset: Dataset, out: Out, *, results: bool = False) -> None:
        """Write a tree.

        Args:
            dataset: what to write.
            out: where to.
            results: write one list of predictions, ``results.json``, instead.
        """
        write_videos(dataset, out, results)

    def project(self, batch: Batch, dataset: Dataset, *, results: bool = False) -> Batch:
        """See ``Format.project``."""
        return project(keep_columns(batch, self.keeps), dataset)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        """All of them: the notes hold what the files do not."""
        return categories

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        yield image_paths(dataset)


def _is_of_videos(path: Path) -> bool:
    return path.suffix.lower() == ".json" and has_videos(b"".join(ends(path)))
