"""Several views of one object: a folder for each object, or a manifest.

Folders, where asked for (``--from multi_view``; by themselves they look like class folders)::

    OBJECT/VIEW.png    train/OBJECT/VIEW.png    train/CLASS/OBJECT/VIEW.png (``folder_labels``)

Any other naming is said by ``pattern``, a regular expression that a whole path below the folder
matches, with the groups ``object`` and, as far as they are told, ``view``, ``order``, ``split`` and
``label``: ``(?P<object>obj\\d+)_(?P<view>[a-z]+)(?P<order>\\d*)\\.png``.

Manifest, ``views.jsonl`` or ``views.csv``, one view a line; in JSON a line without path is about
the object itself::

    {"path": "car-1/000.png", "object": "car-1", "view": "front", "order": 0, "split": "train"}
    {"object": "car-1", "kind": "bag", "labels": ["sedan"]}
    object,path,view,order,split,label

An object is a group (of ``group_kind``: ``bag`` or ``scene``), its views are samples with the role
``view``; ``order`` is what is told, or in folders the rank of the name (numbers by their value).
The class of an object (``label``, ``labels``) is a label of the group; ``labels`` of a line with a
path are of that view. There are no coordinates.

Written: a folder for each object, ``views.jsonl`` and ``granum.json``.

No published layout; this page is the specification.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from granum.errors import FormatError
from granum.loaders._notes import read_notes, take_tables, write_notes
from granum.loaders._paths import Names, plain
from granum.loaders._rows import Context, RowFormat, bare, group_rows, sample_rows
from granum.loaders._view_records import (
    Objects,
    columns_of,
    manifest_of,
    matched,
    noted,
    records_of,
)
from granum.loaders.base import Intake, formats, image_name
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.out import Out

__all__ = ["MultiView"]


@formats("multi_view")
class MultiView(RowFormat):
    """See the module."""

    name = "multi_view"
    title = "Several views of one object (folders, or a manifest)"
    keeps = frozenset(
        {
            *("sample", "label", "category", "group", "split", "time", "geo", "attributes"),
            *("space", "supercategory", "parents", "isthing", "colour", "skeleton", "synonyms"),
        }
    )
    media_note = "the manifest only: put the images beside it with --media copy|link|hardlink"
    ordered = True
    unit = None
    checked = "spec"

    def sniff(self, root: Path) -> str | None:
        try:
            path = manifest_of(root)
            good = path is not None and {"path", "object"} <= columns_of(path)
        except (OSError, ValueError, RecursionError):
            return None
        return f"{path.name} has paths and objects" if path and good else None

    def read(
        self,
        root: Path,
        intake: Intake,
        *,
        pattern: str | None = None,
        group_kind: Literal["bag", "scene"] = "bag",
        folder_labels: bool = False,
    ) -> Iterator[rows.Sample]:
        """Read a manifest, or folders.

        Args:
            root: the folder.
            intake: gets objects, classes and faults.
            pattern: of paths; a manifest is not looked at then.
            group_kind: what objects are, where the manifest does not say.
            folder_labels: the folder that an object's folder is in is its class.

        Raises:
            FormatError: there is no such folder.
            UsageError: ``pattern`` is no regular expression with the group ``object``.
        """
        if not root.is_dir():
            raise FormatError(root, "views of objects are a folder")
        intake.media_root = intake.images or root
        path = manifest_of(root)
        if path is None or pattern is not None:
            options = {"pattern": pattern, "folder_labels": folder_labels}
            intake.source(".", self.name, options=options)
            records = matched(root, pattern, folder_labels, intake)
            yield from Objects(intake, group_kind, ".").samples(records, ranked=True)
            return
        intake.source(path.name, self.name)
        notes = read_notes(root, self.name)
        records = records_of(path, intake)
        if notes is not None:
            take_tables(notes, intake)
            yield from noted(notes, records, path.name, intake)
        else:
            yield from Objects(intake, group_kind, path.name).samples(records)

    # ------------------------------------------------------------------ writing

    def plan(self, dataset: Dataset, **options: Any) -> frozenset[int]:
        """The groups whose labels a line can tell: of two with one key the first."""
        first: dict[str, int] = {}
        for row, key in enumerate(dataset.groups["key"].to_pylist()):
            first.setdefault(key, row)
        return frozenset(first.values())

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Classes of views and of objects."""
        if annotation.kind != "label" or annotation.category is None:
            return None
        if sample is None and annotation.group not in context.plan:
            return None
        left = bare(annotation)
        left.group = annotation.group if sample is None else None
        return left

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write the manifest and the notes; the images are placed afterwards."""
        paths = self.paths(dataset)
        write_notes(out, self.name, dataset, paths, self.keeps)
        groups = rows.groups_from_table(dataset.groups)
        names = self.context(dataset, {}).names
        lines: list[dict[str, Any]] = []
        for sample, path in zip(sample_rows(dataset), paths, strict=True):
            line: dict[str, Any] = {"path": path}
            if sample.group is not None:
                line["object"] = groups[sample.group].key
            line |= {"view": sample.role, "order": sample.order, "split": sample.split}
            line["labels"] = [names[a.category or 0] for a in sample.annotations] or None
            lines.append(line)
        told: dict[int, list[str]] = {i: [] for i in range(len(groups))}
        for one in group_rows(dataset):
            told[one.group or 0].append(names[one.category or 0])
        for row, labels in told.items():
            line = {"object": groups[row].key, "kind": groups[row].kind, "labels": labels or None}
            lines.append(line)
        texts = ({k: v for k, v in line.items() if v is not None} for line in lines)
        out.text("views.jsonl", "".join(json.dumps(t, ensure_ascii=False) + "\n" for t in texts))

    def paths(self, dataset: Dataset) -> list[str]:
        """A folder for each object; what is in none is in ``images``."""
        names, found = Names(files=("views.jsonl", "granum.json")), []
        groups = dataset.groups["key"].to_pylist()
        folders = Names(files=("images", "views.jsonl", "granum.json"))
        of_group = [folders(plain(image_name(g))) for g in groups]
        for batch in dataset.iter_batches():
            for sample in rows.samples_from_table(batch.samples):
                name = plain(image_name(sample.key))
                folder = "images" if sample.group is None else of_group[sample.group]
                if sample.group is not None:
                    name = name.rpartition("/")[2]
                found.append(names(f"{folder}/{name}"))
        return found
