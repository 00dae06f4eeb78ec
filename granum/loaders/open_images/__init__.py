"""Open Images V4 to V7 (older files, too, as far as their columns have the same names).

Tree, in the layout that is written::

    annotations/image_ids_and_rotation.csv                  all images, their split and origin
    annotations/oidv6-train-annotations-bbox.csv            {validation,test}-annotations-bbox.csv
    annotations/*-annotations-human-imagelabels.csv         *-annotations-machine-imagelabels.csv
    annotations/*-annotations-object-segmentation.csv       masks/<split>/*.png
    annotations/oidv6-*-annotations-vrd.csv                 relations of two boxes, or "is"
    annotations/oidv7-*-annotations-point-labels.csv        points
    annotations/open_images_*_localized_narratives-*.jsonl
    annotations/oidv6-class-descriptions.csv                oidv6-attributes-description.csv
    annotations/bbox_labels_600_hierarchy.json
    images/<split>/<ImageID>.jpg                            granum.json

Files are known by their columns, so they may as well lie at the root, in ``labels`` and
``metadata`` (FiftyOne), or in such folders of each split; split and kind of labels (human or
machine) are told by names. Columns are found by header; unknown ones become attributes.

Coordinates are fractions of width and height, kept as written (``unit = relative``): a box is
``XMin, XMax, YMin, YMax`` there, corner and size here.

- Flags are true, false, or null for -1. ``Confidence`` of a box is 1 for all official ones and then
  says nothing (null); of a human label 0 is verified absence (``present`` false); of a machine's
  it is the score.
- A relation names its boxes by class and corners: it is tied to the one box that has them. Where
  none or several have, a box with source ``relationship`` is made, and that is a finding.
  ``is`` gives a relation without an object, whose category (space ``attribute``) is what it is.
- A mask is a PNG; it goes to the box with its class and corners, else to an object of its own with
  source ``segmentation``. ``BoxID`` is its source id.
- A point is an object with one key point; ``EstimatedYesNo`` is ``present`` (null: unsure).
- A narrative is a caption; words in time and traces are in ``extra``, as written.
- The hierarchy gives ``parents``: ``Subcategory`` is_a, ``Part`` part_of; its root is no class.
- Decimal commas and names instead of ids are read, too.

Rows are put aside on disk by ranges of 4096 samples and read back a range at a time, so memory does
not grow with them (with images, by some 50 bytes each). That takes 62 bytes a box in the folder of
temporary files (``TMPDIR``), 126 where boxes have clicks: 1.8 GB for the 14.6 million of V6's
training split.

Written masks are PNGs of one object each, copied where they were such, else drawn. ``granum.json``
notes what no file holds: names of keys, facts of classes, types of attributes.

Spec: https://storage.googleapis.com/openimages/web/download_v7.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa

from granum.loaders.base import Format, Intake, formats
from granum.loaders.open_images import tree
from granum.loaders.open_images.plan import Plan
from granum.loaders.open_images.project import project
from granum.loaders.open_images.read import read_tree
from granum.loaders.open_images.write import write_tree
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["OpenImages"]


@formats("open_images")
class OpenImages(Format):
    """See the module."""

    name = "open_images"
    title = "Open Images V4 to V7"
    spec = "https://storage.googleapis.com/openimages/web/download_v7.html"
    keeps = frozenset(
        {
            *("object", "label", "caption", "relation", "bbox", "mask", "category", "score"),
            *("present", "source", "occluded", "truncated", "group_of", "depiction", "inside"),
            *("text", "attributes", "split", "space", "supercategory", "parents", "isthing"),
            *("colour", "skeleton", "synonyms"),
        }
    )
    # Pixels: divided by the size and multiplied again. A mask comes back as another map: the
    # same pixels, elsewhere.
    tolerance: ClassVar[dict[str, float]] = {
        "bbox": 1e-6,
        "keypoints": 1e-6,
        "map": float("inf"),
    }
    ordered = False  # files hold one kind of annotation each
    media_note = "images belong in images/<split>; --media copy puts them there"
    checked = "fixture"

    def __init__(self) -> None:
        self._planned: tuple[Dataset, Plan] | None = None
        self._recent: list[tuple[Batch, Batch]] = []

    def sniff(self, root: Path) -> str | None:
        return tree.sniff(root)

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        decimal: Literal["auto", "point", "comma"] = "auto",
        at_hand: bool = False,
    ) -> Iterator[Incoming]:
        """Read a tree, or one CSV file.

        Args:
            root: the folder or file.
            intake: gets findings, categories, sources.
            decimal: the decimal sign of coordinates; ``auto`` looks at the first rows.
            at_hand: only the images that are there (of a download of a part).
        """
        yield from read_tree(root, intake, decimal, at_hand)

    def project(self, batch: Batch, dataset: Dataset) -> Batch:
        for seen, done in self._recent:
            if seen.annotations is batch.annotations and seen.samples is batch.samples:
                return done
        if self._planned is None or self._planned[0] is not dataset:
            self._planned = dataset, Plan(dataset)
        done = project(batch, dataset, self._planned[1])
        self._recent = [*self._recent[-1:], (batch, done)]
        return done

    def project_categories(self, categories: pa.Table) -> pa.Table:
        """All of them: what files of classes do not hold stands in our notes."""
        return categories

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write all files.

        Args:
            dataset: projected.
            out: where to.
        """
        write_tree(dataset, out, self._plan(dataset))

    def _plan(self, dataset: Dataset) -> Plan:
        """The plan that the projection went by; it has the same samples."""
        return Plan(dataset) if self._planned is None else self._planned[1]

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        yield self._plan(dataset).files
