"""Images in folders: one folder per class, or ``metadata.{jsonl,csv,parquet}`` beside them.

Layouts read::

    train/cat/1.jpg  train/dog/a/2.jpg  val/cat/…   class folders below split folders
    cat/1.jpg  dog/2.jpg                            class folders
    1.jpg  sub/2.jpg                                images without classes
    train/metadata.jsonl  train/0001.png            as ImageFolder of the `datasets` library has it
    images/1.jpg  train.txt  synsets.txt            ImageNet lists: path and class numbers a line

Rules for folders: those at the root are splits when all of them have names of splits (train, val,
test, dev…). The first folder below is the class, at whatever depth the image lies; images beside
the class folders have no class. Classes are inferred only where there are two such folders at
least, not all named like containers (``images``, ``data``…), and no metadata file is there; an
empty class folder is a class without images. (`datasets` takes the last folder, and only where all
lie equally deep.) ``labels=False`` takes none.

Metadata: ``file_name`` relative to the file's folder; ``*_file_name`` and ``*_file_names`` name
further images of the record, which become samples of one group with the role ``*``; ``text`` or
``caption(s)`` are captions, ``label`` the class, ``objects`` lists of ``bbox``, ``categories`` or
``category`` (names or numbers), ``area``, ``iscrowd``…; other columns become attributes. Images
that no record names are kept and reported.

Coordinates: ``bbox`` is x, y, width, height in pixels from the top-left corner, unless
``bbox_format`` says otherwise.

Written: class folders where the dataset holds one class per image and nothing else; otherwise
metadata files beside the images. ``granum.json`` at the root keeps what neither can tell
(categories without images, their facts); other readers ignore it.

Spec: https://huggingface.co/docs/datasets/image_dataset
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from granum.errors import FormatError, UsageError
from granum.loaders._hf_project import Kept, Pixels
from granum.loaders._hf_read import BoxFormat
from granum.loaders._image_lists import class_lists, read_lists, sniff_lists
from granum.loaders._image_read import Records, read_folders, sniff_metadata
from granum.loaders._image_tree import Tree, sniff_tree
from granum.loaders._image_write import (
    Layout,
    Metadata,
    class_folders,
    require_classes,
    to_classes,
    write_classes,
    write_metadata,
)
from granum.loaders._metadata_write import sayable
from granum.loaders.base import Format, Intake, formats
from granum.schema import losses
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["ImageFolder"]


@formats("image_folder")
class ImageFolder(Format):
    """See the module."""

    name = "image_folder"
    title = "Images in class folders, or with metadata files (HF ImageFolder)"
    spec = "https://huggingface.co/docs/datasets/image_dataset"
    keeps = losses.NAMES - {"layers"}
    ordered = False  # samples of one split come together
    tolerance = {"bbox": 1e-6, "polygons": 1e-6, "polyline": 1e-6, "keypoints": 1e-6}  # noqa: RUF012
    media_is_data = True
    checked = "fixture"

    def __init__(self) -> None:
        self._kept, self._pixels = Kept(), Pixels()
        self._chosen: tuple[Dataset, str] | None = None
        self._paths: list[list[str]] | None = None

    def sniff(self, root: Path) -> str | None:
        return sniff_metadata(root) or sniff_lists(root) or sniff_tree(root)

    # ------------------------------------------------------------------ reading

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        labels: bool = True,
        bbox_format: BoxFormat = "xywh",
        synsets: str = "synsets.txt",
    ) -> Iterator[Incoming]:
        """Read a folder of images.

        Args:
            root: the folder.
            intake: gets categories, sources and faults.
            labels: take folders as classes, by the rules of the module.
            bbox_format: what ``bbox`` of the metadata holds; our own files know it.
            synsets: the file of class names of ImageNet lists.
        """
        if not root.is_dir():
            raise FormatError(root, "no folder")
        intake.media_root = root
        tree = Tree.of(root)
        read: set[str] = set()
        if tree.metadata:
            yield from Records(root, tree, intake, bbox_format, self.name).read()
        elif lists := class_lists(root, tree, synsets):
            yield from read_lists(root, tree, lists, synsets, intake, self.name)
            read = {*lists, synsets}
        else:
            yield from read_folders(root, tree, intake, labels=labels, name=self.name)
        for path in tree.others:
            if path not in read:
                intake.fault("file-not-read", path, None, "no image, and no metadata file")
        for path in tree.links:
            intake.fault("file-not-read", path, None, "a link to a folder is not followed")

    # ------------------------------------------------------------------ writing

    def project(
        self,
        batch: Batch,
        dataset: Dataset,
        *,
        layout: Layout = "auto",
        metadata: Metadata = "jsonl",
        unit: Literal["pixel", "keep"] = "pixel",
    ) -> Batch:
        if self._layout(dataset, layout) == "classes":
            if dataset.groups.num_rows:
                raise UsageError("class folders cannot hold groups; --layout metadata")
            return to_classes(batch)
        batch = self._kept(batch, dataset)
        if unit == "pixel":
            batch = self._pixels(batch, dataset)
        if metadata == "parquet":
            return batch
        annotations = sayable(batch.annotations, metadata)
        return Batch(sayable(batch.samples, metadata), annotations, batch.start)

    def _layout(self, dataset: Dataset, layout: str) -> str:
        """The layout, chosen once per dataset."""
        if layout != "auto":
            return layout
        if self._chosen is None or self._chosen[0] is not dataset:
            fits = not isinstance(class_folders(dataset), str)
            self._chosen = dataset, "classes" if fits else "metadata"
        return self._chosen[1]

    def write(
        self,
        dataset: Dataset,
        out: Out,
        *,
        layout: Layout = "auto",
        metadata: Metadata = "jsonl",
        unit: Literal["pixel", "keep"] = "pixel",
    ) -> None:
        """Write what stands beside the images (they are placed afterwards).

        Args:
            dataset: what to write.
            out: where to.
            layout: ``classes`` for class folders, ``metadata`` for metadata files; ``auto`` takes
                class folders where the dataset holds one class per image and nothing else.
            metadata: form of the metadata files. `datasets` infers the types of JSON lines and CSV
                split by split and refuses splits that differ (a column that is empty in one);
                Parquet says its types.
            unit: ``pixel`` turns relative coordinates to pixels, as readers of ``bbox`` expect;
                ``keep`` leaves them, and the column ``unit`` says so.
        """
        if self._layout(dataset, layout) == "classes":
            fit = require_classes(dataset)
            write_classes(dataset, out, fit)
            self._paths = fit.paths
        else:
            self._paths = write_metadata(dataset, out, kind=metadata)

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        if self._paths is None:
            raise UsageError("the names of images are known once the dataset is written")
        yield from self._paths
