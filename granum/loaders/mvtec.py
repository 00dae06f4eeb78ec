"""MVTec AD and its relatives: photos of products with and without defects, and their masks.

::

    bottle/train/good/000.png                     MVTec AD, MPDD; 3CAD (mask: 000.png, no suffix)
    bottle/test/{good,broken_large}/000.png
    bottle/ground_truth/broken_large/000_mask.png
    01/{train,test}/{ok,ko}/0000.bmp              BTAD
    01/ground_truth/ko/0000.png
    pushpins/ground_truth/logical_anomalies/000/{000,001}.png   MVTec LOCO: several masks an image,
    pushpins/defects_config.json                  whose value says of what type each is
    bagel/{train,validation,test}/hole/{rgb/000.png,xyz/000.tiff,gt/000.png}    MVTec 3D-AD
    candle/Data/Images/{Normal,Anomaly}/000.JPG   VisA, with candle/image_anno.csv and
    candle/Data/Masks/Anomaly/000.png             split_csv/1cls.csv at the root
    MT_Crack/Imgs/exp1_num_1.{jpg,png}            magnetic tiles: photo and mask of one stem

The root is a folder of products or one product. A photo has a row of kind ``label`` whose category
is its folder's name, of the space ``defect``: a type, or one of the words for none (``good``,
``ok``, ``normal``; the tiles' ``Free`` is read as ``good``). A mask is an object of the type,
drawn by a label map that stays a file. The product is the sample's attribute ``product`` (absent
where the root is one product), the folder above the type its split.

Masks are found by name, never by their order: ``NAME_mask`` first, then ``NAME``; a mask that
photos of two splits could have belongs to ``test``. Masks of good photos are not read. A defect
without a mask, a mask without a photo and, with ``check_masks``, sizes that differ, masks without
a pixel and grey ones are findings. A pixel belongs to a mask where it is not 0, or with
``threshold`` where it is greater than that (``greater`` in the stored map). The tiles' masks are
ramps of grey and have the threshold 127 unless another one is given.

VisA's masks hold the number of the type, so that one mask is several objects; the types of a photo
are those of ``image_anno.csv``. Where one is in no table, the mask is one object. Of MVTec 3D-AD
the photo has the role ``rgb``, the points ``xyz`` (a TIFF of three floats a pixel), in one group;
take the photos alone to learn from: ``granum convert … --where "role == 'rgb'"``.

Written: the tree of MVTec AD. One mask of the photo's own type is ``NAME_mask.png``, others are
written as MVTec LOCO has them. A photo without a label lies in the folder of its split, one without
a split in ``test``. ``granum.json`` keeps keys, order, groups and facts of categories.

Spec: https://www.mvtec.com/company/research/datasets/mvtec-ad
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._mvtec_pairs import Reading
from granum.loaders._mvtec_read import products_of, read_noted, read_products
from granum.loaders._mvtec_tiles import TILE_THRESHOLD, read_tiles, tile_folders
from granum.loaders._mvtec_visa import read_visa, visa_objects
from granum.loaders._mvtec_write import Plan, make_plan, write_tree
from granum.loaders._notes import read_notes
from granum.loaders._rows import Context, RowFormat, bare
from granum.loaders.base import Intake, formats
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["Mvtec"]


@formats("mvtec")
class Mvtec(RowFormat):
    """See the module."""

    name = "mvtec"
    title = "MVTec AD (and 3CAD, BTAD, MPDD, LOCO, 3D-AD, VisA, magnetic tiles)"
    spec = "https://www.mvtec.com/company/research/datasets/mvtec-ad"
    keeps = frozenset(
        {
            *("sample", "label", "object", "category", "mask", "split", "attributes", "group"),
            *("time", "geo", "space", "supercategory", "parents", "isthing", "colour", "skeleton"),
            "synonyms",
        }
    )
    # A mask comes back as another file of the same pixels.
    tolerance = {"map": float("inf")}  # noqa: RUF012
    ordered = True
    media_is_data = True
    checked = "real data"

    def sniff(self, root: Path) -> str | None:
        try:
            if found := tile_folders(root, 50):
                return f"{found[0]}/Imgs: photos and masks of one stem"
            if found := visa_objects(root, 50):
                return f"{found[0]}/Data/Images, as VisA has it"
            if found := products_of(root, 50):
                return f"{found[0]}: types of defects below splits and beside them masks"
        except (OSError, ValueError):
            pass
        return None

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        threshold: float | None = None,
        split_csv: str = "1cls",
        check_masks: bool = False,
    ) -> Iterator[rows.Sample]:
        """Read a folder of products, or one product.

        Args:
            root: the folder.
            intake: findings and tables.
            threshold: pixels of masks above it are the defect; without one those above 0 are (of
                magnetic tiles: above 127).
            split_csv: of VisA the list of splits, by its name or path: ``1cls``, ``2cls_fewshot``…
            check_masks: open each mask and its photo, and compare sizes; look at values of masks.

        Raises:
            FormatError: there is no such tree.
        """
        if not root.is_dir():
            raise FormatError(root, "a dataset of this format is a folder")
        intake.media_root = intake.images or root
        intake.map_root = root
        notes = read_notes(root, self.name)
        tiles = [] if notes is not None else tile_folders(root)
        if tiles and threshold is None:
            threshold = TILE_THRESHOLD
        reading = Reading(root, intake, threshold, check_masks)
        intake.source(".", self.name, options={"threshold": threshold})
        if notes is not None:
            yield from read_noted(reading, notes)
        elif tiles:
            yield from read_tiles(reading, tiles)
        elif objects := visa_objects(root):
            yield from read_visa(reading, objects, split_csv)
        elif products := products_of(root):
            yield from read_products(reading, products)
        else:
            raise FormatError(root, "no product: no splits of types with ground_truth beside them")

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> Plan:
        """Where photos and masks go, and which rows come back."""
        return make_plan(dataset, self.keeps)

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """One label of a photo, and objects with a category and a mask, which comes back as a
        label map."""
        plan: Plan = context.plan
        if sample is None or annotation.annotation_id not in plan.files:
            return None
        left = bare(annotation)
        if annotation.kind == "object":
            path = plan.files[annotation.annotation_id]
            left.map = rows.LabelMap(path, encoding="nonzero")
        return left

    def keep_sample(self, sample: rows.Sample, context: Context) -> rows.Sample:
        """With the size that its masks needed or told."""
        if sample.key in context.plan.sizes:
            sample.width, sample.height = context.plan.sizes[sample.key]
        return sample

    def rank(self, annotation: rows.Annotation) -> int:
        return int(annotation.kind == "object")

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write masks and notes (the photos are placed afterwards)."""
        write_tree(dataset, out, self._made(dataset), self.name, self.keeps)

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        yield self._made(dataset).paths

    def _made(self, dataset: Dataset) -> Plan:
        """The plan that the projection went by; it has the same rows."""
        return self._context[1].plan if self._context else self.plan(dataset)
