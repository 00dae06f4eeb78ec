"""GenVideo (DeMamba): generated and real videos, listed in CSV files.

::

    train.csv   val_id.csv   val_ood.csv   …
        content_path,image_path,type_id,label,frame_len,frame_seq[,activity_id]
    fake/Sora/vid_1/1.jpg …     real/…        frames <content_path>/<n>.jpg, counted from 1

A row is a video: a group with the number of its frames and, as attributes, ``type`` (text as it
stands there), ``image_path``, the numbers of ``frame_seq``, ``split`` (the list's name), and
``generator``, the folder below ``fake``. ``label`` 1 is ``fake``, 0 is ``real``: an annotation of
kind ``label`` of the whole video, in the label space ``authenticity``. No frame is a sample, since
none is annotated. ``frame_seq`` is the text of a list; it is parsed, never evaluated. A video of
several lists is one group, and the splits are all noted.

The paper's F1 counts with fixed sizes of its validation set; nothing here does.

Spec: https://github.com/chenhaoxing/DeMamba
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._csv import CsvFile, first_record
from granum.loaders._paths import is_file, names_in, split_suffix
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows, tables
from granum.store.builder import Incoming

__all__ = ["GenVideo"]

NEEDED = {"content_path", "type_id", "label", "frame_seq"}
SPACE = "authenticity"

_LIST = re.compile(r"\s*\[\s*(?:\d{1,9}\s*(?:,\s*\d{1,9}\s*)*,?\s*)?\]\s*")
_NUMBER = re.compile(r"\d+")


@formats("genvideo")
class GenVideo(Format):
    """Reads the lists."""

    name = "genvideo"
    title = "GenVideo (DeMamba)"
    spec = "https://github.com/chenhaoxing/DeMamba"
    keeps = frozenset({"label", "category", "group", "space", "attributes"})

    def sniff(self, root: Path) -> str | None:
        lists = _lists(root)
        return f"{lists[0].name}: content_path, label, frame_seq" if lists else None

    def read(self, root: Path, intake: Intake) -> Iterator[Incoming]:
        """Read a list, or all in a folder.

        Raises:
            FormatError: there is none.
        """
        lists = _lists(root)
        if not lists:
            raise FormatError(root, "no list with content_path, label and frame_seq")
        intake.media_root = intake.images or (root if root.is_dir() else root.parent)
        known: dict[str, tuple[int, int | None]] = {}
        labels: list[rows.Annotation] = []
        for path in lists:
            intake.source(path.name, self.name)
            file = CsvFile(path, path.name)
            types = {h: pa.string() for h in file.header}
            for block in file.blocks(types, intake):
                for number, record in enumerate(block.table.to_pylist()):
                    place = f"line {block.line(number)}"
                    _take(record, (path.name, place), known, labels, intake)
        table = rows.annotations_to_table(labels, [None] * len(labels))
        yield Incoming(rows.samples_to_table([]), {tables.DEFAULT_LAYER: table})


def _lists(root: Path) -> list[Path]:
    """The lists at the root. Never raises."""
    if is_file(root):
        found = [root] if root.suffix.lower() == ".csv" else []
    else:
        found = [root / n for n in names_in(root) if n.lower().endswith(".csv")]
    out = []
    for path in found:
        try:
            header = {*first_record(path)}
        except (OSError, ValueError):
            continue
        if header >= NEEDED:
            out.append(path)
    return out


def _take(
    record: dict[str, Any],
    where: tuple[str, str],
    known: dict[str, tuple[int, int | None]],
    labels: list[rows.Annotation],
    intake: Intake,
) -> None:
    """Add the video of a row, or the split to one that is known."""
    name, place = where
    path = record["content_path"]
    if not path:
        intake.fault("missing-key", name, place, "a row without content_path")
        return
    label = {"0": "real", "1": "fake"}.get((record["label"] or "").strip())
    if label is None:
        message = f"label is {record['label']!r}, neither 0 nor 1"
        intake.fault("bad-value", name, place, message)
        return
    category = intake.category(label, SPACE)
    split = split_suffix(name)[0]
    if path in known:
        group = intake.groups[known[path][0]]
        assert group.attributes is not None
        if known[path][1] != category:
            message = f"{path} is real in one row and fake in another"
            intake.fault("conflicting-records", name, place, message)
        elif split not in group.attributes["splits"]:
            group.attributes["splits"].append(split)
        else:
            intake.fault("duplicate-row", name, place, f"{path} stands there twice")
        return
    known[path] = (len(intake.groups), category)
    intake.groups.append(_group(record, path, split, where, intake))
    labels.append(rows.Annotation("label", category, group=known[path][0]))


def _group(
    record: dict[str, Any], path: str, split: str, where: tuple[str, str], intake: Intake
) -> rows.Group:
    """The video of a row."""
    folders = path.replace("\\", "/").strip("/").split("/")
    attributes: dict[str, Any] = {"type": record["type_id"], "splits": [split]}
    if "fake" in folders[:-1]:
        attributes["generator"] = "/".join(folders[folders.index("fake") + 1 : -1]) or folders[-1]
    for column in ("image_path", "activity_id"):
        if record.get(column) is not None:
            attributes[column] = record[column]
    sequence = record["frame_seq"] or ""
    if _LIST.fullmatch(sequence):
        attributes["frame_seq"] = [int(n) for n in _NUMBER.findall(sequence)]
    else:
        intake.fault("bad-value", *where, f"frame_seq is no list of numbers: {sequence[:60]!r}")
    count = (record.get("frame_len") or "").strip()
    if count and not (count.isdecimal() and len(count) < 10):
        intake.fault("bad-value", *where, f"frame_len is {count!r}")
        count = ""
    return rows.Group(
        path,
        "video",
        media=rows.Media(path=path),
        frames=int(count) if count else None,
        attributes={k: v for k, v in attributes.items() if v is not None},
    )
