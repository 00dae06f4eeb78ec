"""Registered pairs of images and of patches in them, by a manifest (VL-CMIM, KAIST, LLVIP…).

VL-CMIM has no public layout; this manifest is ours, for any such data. ``pairs.jsonl`` or
``pairs.csv`` in a folder, or such a file by itself; a line is a pair::

    {"visible_path": "v/1.png", "infrared_path": "i/1.png", "split": "train"}
    {"visible_path": "v/1.png", "infrared_path": "i/1.png", "x": 8, "y": 4, "size": 64, …}

    visible_path,infrared_path,visible_x,visible_y,infrared_x,infrared_y,size,label

Columns: two ``ROLE_path``, as the first line has them (or ``path1``, ``path2`` with ``role1``,
``role2``); ``x``, ``y``, ``width``, ``height`` or ``size`` of the patch, for both, or of each
(``visible_x``, ``x1``…); ``label``, ``score``, ``split``, ``id``; all else becomes attributes. A
line without second path is one image or patch with a class.

Read as: an image is a sample, whatever lines name it. A line without coordinates makes its images a
group of kind ``pair``, and its label one of that group; a line of patches does so, too, where its
label is ``same_label`` and the coordinates are the same in both. A line of patches is an object
with a box in each image, and a relation between them whose category is the label (label space
``pair``). Images without coordinates that are in other pairs already are related without boxes.

Coordinates: pixels from the top-left corner of the image; x, y is the patch's own corner.

Trees are read as well: folders ``visible`` and ``infrared`` (``lwir``, ``thermal``, ``ir``) side by
side with images of the same names, as LLVIP (``visible/train/1.jpg``) and KAIST
(``set00/V000/lwir/I0.jpg``) have them. Their boxes are not read.

Reading a manifest is by columns, writing by rows. Written: ``pairs.jsonl`` (``manifest=csv``: no
attributes) with ``path1``, ``role1``, ``x1``… and ``granum.json``; of an object that is in a
relation no more than its box.

Spec of the data that it is for: https://arxiv.org/abs/2308.04880
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._csv import CsvWriter
from granum.loaders._notes import read_notes, take_tables, write_notes
from granum.loaders._pair_lines import COLUMNS, columns_of, manifest_of
from granum.loaders._pair_plan import Plan, planned
from granum.loaders._pair_read import Reading
from granum.loaders._pair_trees import find_twins, read_twins
from granum.loaders._rows import Context, RowFormat
from granum.loaders.base import Intake, formats
from granum.schema import rows
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["PairedImages"]

Manifest = Literal["jsonl", "csv"]


@formats("paired_images")
class PairedImages(RowFormat):
    """See the module."""

    name = "paired_images"
    title = "Registered pairs of images and patches (a manifest; visible and infrared trees)"
    spec = "https://arxiv.org/abs/2308.04880"
    keeps = frozenset(
        {
            *("sample", "object", "label", "relation", "bbox", "category", "score", "group"),
            *("split", "time", "geo", "attributes", "space", "supercategory", "parents"),
            *("isthing", "colour", "skeleton", "synonyms"),
        }
    )
    media_note = "the manifest only: put the images beside it with --media copy|link|hardlink"
    ordered = True
    checked = "spec"

    def sniff(self, root: Path) -> str | None:
        path = manifest_of(root)
        if path is not None:
            columns = {*columns_of(path)}
            named = [c for c in columns if c.endswith("_path")]
            if "path1" in columns or len(named) == 2:
                return f"{path.name} has two columns of paths"
            return None
        twins = find_twins(root)
        return None if twins is None else f"{twins[0]} and {twins[1]}"

    def read(
        self, root: Path, intake: Intake, *, same_label: str = "same"
    ) -> Iterator[Incoming | rows.Sample]:
        """Read a manifest or a tree.

        Args:
            root: the folder, or the manifest.
            intake: gets pairs, labels and faults.
            same_label: the label of patches that show the same place.

        Raises:
            FormatError: there is neither.
        """
        path = manifest_of(root)
        folder = root if root.is_dir() else root.parent
        if path is None:
            if not root.is_dir() or find_twins(root) is None:
                raise FormatError(root, "no pairs.jsonl or pairs.csv, no visible beside infrared")
            intake.media_root = root
            intake.source(".", self.name)
            yield from read_twins(root, intake)
            return
        intake.media_root = intake.images or folder
        name = path.name
        intake.source(name, self.name, options={"same_label": same_label})
        notes = read_notes(folder, self.name)
        if notes is not None:
            take_tables(notes, intake)
        reading = Reading(path, name, intake, notes, same_label)
        intake.locate = reading.locate
        yield reading.read()

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> Plan:
        """Which rows make which line."""
        return planned(dataset, attributes=options.get("manifest", "jsonl") == "jsonl")

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """What the lines of the plan say."""
        plan: Plan = context.plan
        return plan.left(annotation)

    def rank(self, annotation: rows.Annotation) -> tuple[int, int]:
        assert self._context is not None
        plan: Plan = self._context[1].plan
        return plan.ranks[annotation.annotation_id or -1]

    def elsewhere(self, context: Context) -> Collection[int]:
        plan: Plan = context.plan
        return plan.ranks.keys()

    def write(self, dataset: Dataset, out: Out, *, manifest: Manifest = "jsonl") -> None:
        """Write the manifest and the notes; the images are placed afterwards.

        Args:
            dataset: what to write.
            out: where to.
            manifest: ``jsonl``, or ``csv``, which has no attributes.
        """
        for _ in dataset.iter_batches():  # the plan is made when the first batch is looked at
            break
        paths = self.paths(dataset)
        write_notes(out, self.name, dataset, paths, self.keeps)
        context = None if self._context is None else self._context[1]
        lines = [] if context is None else context.plan.lines(dataset, paths, context.names)
        with out.open(f"pairs.{manifest}") as file:
            if manifest == "csv":
                columns = {n: pa.array([x.get(n) for x in lines], t) for n, t in COLUMNS.items()}
                CsvWriter(file, list(COLUMNS)).write(columns)
            else:
                for line in lines:
                    file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
