"""YOLO trees: Ultralytics, Roboflow, darknet.

Tree::

    data.yaml                     train: images/train   names: {0: person, 1: dog}
    images/train/a/1.jpg          labels/train/a/1.txt    (the last ``images`` becomes ``labels``)
    train/images/2.jpg            train/labels/2.txt      (Roboflow)
    obj.data obj.names train.txt  obj_train_data/3.jpg obj_train_data/3.txt      (darknet)

One text per image, one row per object; a missing or empty text is an image without objects.
Coordinates are fractions of width and height (``unit = relative``), kept as written; a box is
its centre and size there, its corner and size here. Columns of the rows by task:
:mod:`granum.loaders.yolo.kinds`. Written beside, for us alone: ``granum.yaml`` (facts of
classes, names of splits) and ``images.txt`` (all images in order, with their suffixes).

Spec: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa

from granum.errors import UsageError
from granum.loaders.base import Format, Intake, formats
from granum.loaders.yolo import sniff as sniffing
from granum.loaders.yolo.classify import first_labels, write_classes
from granum.loaders.yolo.config import find_config, read_config
from granum.loaders.yolo.layout import list_items
from granum.loaders.yolo.named import has_names, read_named
from granum.loaders.yolo.project import Projector, project_samples
from granum.loaders.yolo.read import Classes, Reader
from granum.loaders.yolo.write import Places, write_tree
from granum.schema import rows
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["Yolo"]

Task = Literal["detect", "seg", "pose", "obb", "classify"]


@formats("yolo")
class Yolo(Format):
    """Reads and writes YOLO trees.

    What survives depends on the task: always boxes and classes; one polygon of one ring per
    object with ``seg``, points with ``pose``, four corners with ``obb``, scores with ``conf``.
    """

    name = "yolo"
    title = "YOLO (Ultralytics, Roboflow, darknet)"
    spec = "https://docs.ultralytics.com/datasets/detect/"
    keeps = frozenset(
        {
            *("object", "bbox", "category", "split", "space", "supercategory", "parents"),
            *("isthing", "colour", "skeleton", "synonyms"),
        }
    )
    # Pixels. Divided by the size and multiplied again; with seg a box is its polygon's extent,
    # and sources round both to two decimals.
    tolerance: ClassVar[Mapping[str, float]] = {"bbox": 0.02, "polygons": 1e-6, "keypoints": 1e-6}
    turned_rings = True
    media_note = "labels only: trainers expect the images beside them (--media copy|link|hardlink)"
    checked = "real data"

    def __init__(self) -> None:
        self._projector: Projector | None = None
        self._asked: tuple[object, ...] = ()
        self._places: tuple[Dataset, Places] | None = None
        self._classify = False

    def sniff(self, root: Path) -> str | None:
        return sniffing.sniff(root)

    # ------------------------------------------------------------------ reading

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        task: Literal["detect", "seg", "pose", "obb"] | None = None,
    ) -> Iterator[Incoming | rows.Sample]:
        """Yield the samples of a tree.

        Args:
            root: the folder, or its data file where there are several.
            intake: gets findings, categories, the source.
            task: how rows are read; None: as the data file says, else by their columns.
        """
        path = root if root.is_file() else None
        folder = root if path is None else root.parent
        config = read_config(folder, path or find_config(folder), intake)
        items = list_items(folder, config, intake)
        intake.media_root = intake.images or folder
        labels: dict[str, str] = {}

        def locate(annotation: rows.Annotation, key: str) -> tuple[str, str]:
            if not labels:
                pairs = zip(items.keys, items.labels, strict=True)
                labels.update((k, name) for k, name in pairs if name is not None)
            line = annotation.ordinal[0] + 1 if annotation.ordinal else "?"
            return labels.get(key, key), f"line {line}"

        intake.locate = locate
        if task in (None, "obb") and has_names(folder, items):
            self._note(intake, config.file, config.top, "obb", "rows of labelTxt name their class")
            yield from read_named(folder, items, Classes(config, intake), intake)
            return
        reader = Reader(folder, items, config, intake, task)
        self._note(intake, config.file, config.top, reader.kind.task, reader.kind.why)
        yield from reader.batches()

    def _note(self, intake: Intake, file: str, top: object, task: str, why: str) -> None:
        options = {"task": task, "why": why}
        intake.source(file or ".", self.name, top=top, options=options)

    # ------------------------------------------------------------------ writing

    def project(
        self,
        batch: Batch,
        dataset: Dataset,
        *,
        task: Task | None = None,
        conf: bool = False,
        skip_crowd: bool = False,
    ) -> Batch:
        """What reading back gives; see :class:`Projector`."""
        if task == "classify":
            samples = project_samples(batch.samples)
            chosen = first_labels(batch.annotations, dataset.categories)
            table = batch.annotations.filter(pa.array(chosen))
            if table.num_rows:
                table = table.select(["annotation_id", "sample", "kind", "category"])
            return Batch(samples, table, batch.start)
        asked = (dataset, task, conf, skip_crowd)
        if self._projector is None or any(
            a is not b for a, b in zip(asked, self._asked, strict=True)
        ):
            self._projector = Projector(dataset, task, conf=conf, skip_crowd=skip_crowd)
            self._asked = asked
        return self._projector.batch(batch)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        """All of them: those of objects are the classes, the others stand in our notes."""
        return categories

    def write(
        self,
        dataset: Dataset,
        out: Out,
        *,
        task: Task | None = None,
        conf: bool = False,
        skip_crowd: bool = False,
    ) -> None:
        """Write labels, ``data.yaml`` and our notes.

        Args:
            dataset: projected.
            out: where to.
            task: None: ``pose`` where there are key points, ``obb`` where boxes are turned,
                ``seg`` where there are polygons, else ``detect``. ``classify`` copies the images
                to ``split/class/image`` (``image_folder`` reads that).
            conf: write scores as a last column, as for predictions; trainers stumble over it.
            skip_crowd: leave crowds out; otherwise they become plain objects.
        """
        self._classify = task == "classify"
        if self._classify:
            write_classes(dataset, out)
            return
        projector = self._projector
        if projector is None:  # not a part was there to project
            projector = Projector(dataset, task, conf=conf, skip_crowd=skip_crowd)
        write_tree(dataset, out, projector.plan, self._placed(dataset))

    def _placed(self, dataset: Dataset) -> Places:
        if self._places is None or self._places[0] is not dataset:
            self._places = (dataset, Places(dataset))
        return self._places[1]

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        """Where each image belongs: ``images/<split>/<key>``, or where the key says already."""
        if self._classify:
            raise UsageError("task classify copies the images itself: leave out --media")
        yield self._placed(dataset).images
