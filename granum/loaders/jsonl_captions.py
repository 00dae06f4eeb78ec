"""Images and texts in JSON lines; conversations about images, as LLaVA has them.

::

    train.jsonl   val.jsonl        {"file_name": "images/a.jpg", "caption": "a dog", "id": "7", …}
    llava_instruct.json            [{"id", "image": "a.jpg", "conversations": [{"from", "value"}]}]
    images/a.jpg

Keys read: the image is ``file_name``, ``image``, ``image_path``, ``filename``, ``filepath`` or
``img``; captions are ``caption``, ``text`` or ``captions``, one or a list; ``id`` or ``image_id``;
``width``, ``height``; ``label`` or ``labels``; ``objects``, a list of ``bbox``, ``category`` (or
``label``), ``phrase``, ``score``, or ``boxes`` (``bboxes``), a list of four numbers each, with
``categories`` of as many classes. Everything else is an attribute, ``conversations`` as they are.

Boxes are x, y, width, height in pixels from the top-left corner; no file says so, and
``bbox_format=xyxy`` says otherwise.

Images are looked for beside the file, at the root, and in ``images`` there, by the first record
that names one; ``--images`` names another folder. Records of one image are one sample: their
captions and boxes follow each other, and a second conversation is ``conversations_2``. A record
without an image is a sample of kind ``text``. Lines are read one at a time; a JSON list is held in
memory. The split is what the name of the file, or its folder, tells.

Written: a file for each split (``captions.jsonl`` where there is none), images below ``images``.

Spec: https://github.com/haotian-liu/LLaVA/blob/main/docs/Finetune_Custom_Data.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from granum.errors import FormatError
from granum.loaders._caption_records import (
    RESERVED,
    BoxFormat,
    Documents,
    Reader,
    documents,
    sniff_documents,
)
from granum.loaders._corners import finite
from granum.loaders._notes import Notes, read_notes, take_tables, write_notes
from granum.loaders._paths import Names, is_file, split_folders
from granum.loaders._rows import Context, RowFormat, sample_rows
from granum.loaders.base import Intake, formats
from granum.schema import rows
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.out import Out, safe_relative

__all__ = ["JsonlCaptions"]


@formats("jsonl_captions")
class JsonlCaptions(RowFormat):
    """Reads and writes JSON lines of images and texts."""

    name = "jsonl_captions"
    title = "Images and texts in JSON lines (captions, LLaVA)"
    spec = "https://github.com/haotian-liu/LLaVA/blob/main/docs/Finetune_Custom_Data.md"
    keeps = frozenset(
        {
            *("sample", "object", "label", "caption", "category", "bbox", "score", "text"),
            *("attributes", "split", "group", "time", "geo"),
            *("space", "supercategory", "parents", "isthing", "colour", "skeleton", "synonyms"),
        }
    )
    ordered = False  # samples of one split come together
    media_note = "texts only: the images belong into images/ (--media copy|link|hardlink)"
    checked = "spec"

    def sniff(self, root: Path) -> str | None:
        return sniff_documents(root)

    def read(
        self, root: Path, intake: Intake, *, bbox_format: BoxFormat = "xywh"
    ) -> Iterator[rows.Sample]:
        """Read a file, or all of a folder.

        Args:
            root: the file or folder.
            intake: gets categories and faults.
            bbox_format: what boxes are: corner and size, or two corners.

        Raises:
            FormatError: there is no such file, or a JSON list cannot be read.
        """
        notes = read_notes(root, self.name) if root.is_dir() else None
        listed = documents(root) if notes is None else _noted(notes, root)
        if not listed and notes is None:
            raise FormatError(root, "no JSON lines of images and texts")
        folder = root if root.is_dir() else root.parent
        intake.media_root = intake.images or folder
        if notes is not None:
            take_tables(notes, intake)
        reader = Reader(intake, folder, bbox_format, notes)
        for path in listed:
            where = path.relative_to(folder).as_posix()
            intake.source(where, self.name, options={"bbox_format": bbox_format})
            yield from reader.samples(Documents.of(path, where, intake), path)
        if notes is not None:
            for place, sample in notes.by_path.items():
                if place not in reader.met:
                    message = f"no line is about {sample.key!r}"
                    intake.fault("missing-labels", place, None, message)
                    yield sample

    # ------------------------------------------------------------------ writing

    def keep(
        self, annotation: rows.Annotation, sample: rows.Sample | None, context: Context
    ) -> rows.Annotation | None:
        """Classes and sentences bare; objects with a box."""
        if sample is None:
            return None
        left = rows.Annotation(
            annotation.kind, annotation_id=annotation.annotation_id, sample=annotation.sample
        )
        if annotation.kind == "label":
            left.category = annotation.category
            return None if annotation.category is None else left
        left.text = annotation.text
        if annotation.kind == "caption":
            return None if annotation.text is None else left
        left.category = annotation.category
        if annotation.score is not None and finite([annotation.score]):
            left.score = annotation.score
        if annotation.bbox is None or not finite(annotation.bbox):
            return None
        left.bbox = annotation.bbox
        return left

    def keep_sample(self, sample: rows.Sample, context: Context) -> rows.Sample:
        sample.extra = None
        return sample

    def rank(self, annotation: rows.Annotation) -> Any:
        return ("caption", "label", "object").index(annotation.kind)

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write a file for each split, and our notes."""
        paths = self.paths(dataset)
        context = self.context(dataset, {})
        splits = column(dataset.samples(["key", "split"]), "split").to_pylist()
        folders = split_folders(dict.fromkeys(splits))
        taken = Names(folders=(self.folder,))
        names = {s: taken(f"{folders[s] or 'captions'}.jsonl") for s in dict.fromkeys(splits)}
        with ExitStack() as stack:
            files = {s: stack.enter_context(out.open(name)) for s, name in names.items()}
            for sample, path in zip(sample_rows(dataset), paths, strict=True):
                text = json.dumps(_record(sample, path, context), ensure_ascii=False)
                files[sample.split].write(f"{text}\n".encode())
        more = {"files": list(names.values())}
        write_notes(out, self.name, dataset, paths, self.keeps, more=more)


def _noted(notes: Notes, root: Path) -> list[Path]:
    """The files that we wrote and that are there; any may lack texts."""
    listed = notes.more.get("files")
    if not isinstance(listed, list) or not all(isinstance(n, str) for n in listed):
        raise FormatError("granum.json", "damaged notes of a granum export", "/more/files")
    paths = [root / safe_relative(n, "granum.json") for n in listed]
    return [p for p in paths if is_file(p)]


def _record(sample: rows.Sample, path: str, context: Context) -> dict[str, Any]:
    record: dict[str, Any] = {
        "file_name": path,
        "id": sample.source_id,
        "width": sample.width,
        "height": sample.height,
    }
    texts = [one.text for one in sample.annotations if one.kind == "caption"]
    names = [
        context.names[one.category]
        for one in sample.annotations
        if one.kind == "label" and one.category is not None
    ]
    objects = [
        {
            "bbox": one.bbox,
            "category": None if one.category is None else context.names[one.category],
            "phrase": one.text,
            "score": one.score,
        }
        for one in sample.annotations
        if one.kind == "object"
    ]
    record["caption" if len(texts) == 1 else "captions"] = texts[0] if len(texts) == 1 else texts
    record["label" if len(names) == 1 else "labels"] = names[0] if len(names) == 1 else names
    record["objects"] = [{k: v for k, v in one.items() if v is not None} for one in objects]
    record = {k: v for k, v in record.items() if v is not None and v != []}
    if sample.attributes is not None:
        plain = {k: v for k, v in sample.attributes.items() if k not in RESERVED}
        record.update(plain)
        rest = {k: v for k, v in sample.attributes.items() if k in RESERVED}
        if rest or not plain:
            record["attributes"] = rest
    return record
