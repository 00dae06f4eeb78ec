"""PASCAL VOC: one XML file per image, lists of images, palette masks.

::

    Annotations/2007_000027.xml       objects with boxes; below folders too (Annotations/a/b.xml)
    JPEGImages/2007_000027.jpg        (also images/, or images and XML files side by side)
    ImageSets/Main/train.txt          names of images; which sets an image is in
    ImageSets/Main/dog_train.txt      name and flag: 1 present, -1 absent, 0 difficult ones only
    ImageSets/{Segmentation,Layout,Action}/*.txt
    SegmentationClass/2007_000032.png   value = class, 255 void
    SegmentationObject/2007_000032.png  value k = the k-th object of the XML file
    labelmap.txt, labelmap.json       classes (not of the devkit; see ``_voc_classes``)

Corners are pixels. The devkit counts them from 1 and includes both (its boxes are ``xmax - xmin +
1`` wide); nearly all tools take them as they stand. ``box_origin`` chooses, see ``Voc.read``.
``size/depth`` is the number of channels. Parts are annotations with a ``parent``; ``pose``,
``actions`` and ``<attributes>`` are attributes; elements that are not known are ``extra`` and are
written back. A class mask is one row without a category: the whole map, whose values are the
``source_id`` of classes. See https://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa

from granum.loaders._voc_names import file_name
from granum.loaders._voc_project import project
from granum.loaders._voc_read import Reader
from granum.loaders._voc_tree import find_tree, looks_like
from granum.loaders._voc_write import write_tree
from granum.loaders.base import Format, Intake, formats
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["Voc"]

BoxOrigin = Literal["keep", "one"]


@formats("voc")
class Voc(Format):
    """PASCAL VOC, both ways.

    Masks: ``map`` rows that came from such a tree go back to it, their files copied; polygons
    and run-length masks have no place in it. What VOC has no element for but other readers pass
    over (classes of whole images with attributes, objects without a box, parts of parts) is kept
    in elements of our own, see ``_voc_parse``.
    """

    name = "voc"
    title = "PASCAL VOC (XML files, ImageSets, masks)"
    spec = "https://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html"
    keeps = frozenset(
        {
            *("sample", "object", "label", "category", "bbox", "present", "difficult"),
            *("truncated", "occluded", "parent", "attributes", "split"),
            *("space", "supercategory", "parents", "isthing", "colour", "skeleton", "synonyms"),
        }
    )
    checked = "real data"

    def sniff(self, root: Path) -> str | None:
        return looks_like(root)

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        box_origin: BoxOrigin = "keep",
        class_lists: bool = True,
        masks: bool = True,
    ) -> Iterator[Incoming]:
        """Read a tree, a folder of XML files, or a ``VOCdevkit`` of one edition.

        Args:
            root: the folder.
            intake: findings and tables.
            box_origin: ``keep`` takes corners as they stand: x = xmin, width = xmax - xmin, as
                Datumaro, CVAT, LabelImg and most training code do, so that numbers agree with
                theirs and tools that write fractions lose nothing. ``one`` is the devkit's
                meaning, pixels counted from 1 and both included: x = xmin - 1, width = xmax -
                xmin + 1.
            class_lists: read ``<class>_<set>.txt`` as labels of the whole image; they follow
                from the boxes where all objects are annotated.
            masks: read ``SegmentationObject`` (each mask is decoded, to see whether its values
                fit the objects) and ``SegmentationClass``.

        Raises:
            FormatError: no such folder, nothing to read in it, or several datasets.
        """
        tree = find_tree(root)
        options = {"box_origin": box_origin, "class_lists": class_lists, "masks": masks}
        intake.source(tree.labels or ".", self.name, options=options)
        yield from Reader(tree, intake, box_origin == "one", class_lists, masks).read()

    def write(self, dataset: Dataset, out: Out, *, box_origin: BoxOrigin = "keep") -> None:
        """Write ``Annotations``, ``ImageSets``, ``labelmap.txt`` and the masks that there are.

        Args:
            dataset: what ``project`` left.
            out: where to.
            box_origin: what corners mean, as in ``read``.

        Raises:
            FormatError: a mask is gone, or its name is another image's.
        """
        write_tree(dataset, out, box_origin == "one")

    def project(self, batch: Batch, dataset: Dataset, *, box_origin: BoxOrigin = "keep") -> Batch:
        return project(batch, dataset, self.keeps)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        return categories

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        for batch in dataset.iter_batches():
            yield [f"JPEGImages/{file_name(k)}" for k in batch.samples["key"].to_pylist()]
