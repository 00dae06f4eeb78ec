"""Views of objects: what paths and manifests say, as records; and records as samples."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from granum.errors import FormatError, UsageError
from granum.loaders._csv import first_record
from granum.loaders._hf_files import known_split
from granum.loaders._image_tree import files_below
from granum.loaders._json_files import decode_record
from granum.loaders._notes import Notes
from granum.loaders._paths import natural, split_suffix
from granum.loaders.base import Intake
from granum.schema import rows
from granum.store.out import safe_relative

__all__ = ["Objects", "columns_of", "manifest_of", "matched", "noted", "records_of"]

_MANIFESTS = ("views.jsonl", "views.csv")
_TEXTS = ("path", "object", "view", "split", "label", "kind")
Record = dict[str, Any]
"""Keys are those of the manifest."""


# ---------------------------------------------------------------------- folders


def matched(
    root: Path, pattern: str | None, folder_labels: bool, intake: Intake
) -> Iterator[tuple[str, Record]]:
    """What paths say, in the order of objects and of the numbers in names."""
    wanted = None if pattern is None else _compiled(pattern)
    found = []
    for path in files_below(root, "", intake).values():
        record = _by_folders(path, folder_labels) if wanted is None else _by_pattern(path, wanted)
        if record is not None and isinstance(record.get("order"), str):
            intake.fault("bad-value", path, None, f"order is {record.pop('order')!r}")
        if record is None:
            what = "it is in no folder" if wanted is None else "the pattern does not match it"
            intake.fault("file-not-read", path, None, what)
        else:
            found.append(record)
    for record in sorted(found, key=lambda r: (natural(r["object"]), natural(r["path"]))):
        yield record["path"], record


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{pattern!r} is no regular expression: {error}") from error
    if "object" not in found.groupindex:
        raise UsageError(f"{pattern!r} has no group (?P<object>…)")
    return found


def _by_pattern(path: str, wanted: re.Pattern[str]) -> Record | None:
    found = wanted.fullmatch(path)
    if found is None or not found["object"]:
        return None
    told = {k: v for k, v in found.groupdict().items() if v}
    return {**told, **_order(told.get("order")), "path": path}


def _order(text: str | None) -> Record:
    return {"order": int(text)} if text and re.fullmatch(r"-?\d{1,18}", text) else {"order": text}


def _by_folders(path: str, folder_labels: bool) -> Record | None:
    *folders, name = path.split("/")
    split = folders.pop(0) if len(folders) > 1 and known_split(folders[0]) else None
    if not folders:
        return None
    record = {"path": path, "object": "/".join(folders), "view": split_suffix(name)[0]}
    if split is not None:
        record["split"] = split
    if folder_labels and len(folders) > 1:
        record["label"] = folders[-2]
    return record


# ---------------------------------------------------------------------- manifests


def manifest_of(root: Path) -> Path | None:
    """The manifest of a folder."""
    return next((root / n for n in _MANIFESTS if (root / n).is_file()), None)


def columns_of(path: Path) -> set[str]:
    """Names of the columns by the first line."""
    if path.suffix == ".csv":
        return {*first_record(path)}
    with path.open("rb") as file:
        found = json.loads(file.readline(1 << 20))
    return {*found} if isinstance(found, dict) else set()


def records_of(path: Path, intake: Intake) -> Iterator[tuple[str, Record]]:
    """Lines that are sound, with their place."""
    for number, found in _lines(path, intake):
        place = f"line {number}"
        record = {k: v for k, v in found.items() if v is not None}
        bad = [n for n in _TEXTS if not isinstance(record.get(n, ""), str)]
        order = record.get("order", 0)
        if type(order) is not int or not -(2**63) <= order < 2**63:
            bad.append("order")
        labels = record.get("labels", [])
        if not isinstance(labels, list) or not all(isinstance(n, str) for n in labels):
            bad.append("labels")
        if "path" in record and not bad:
            try:
                safe_relative(record["path"], path.name)
                bad += ["path"] if "\0" in record["path"] else []
            except FormatError:
                bad.append("path")
        for name in bad:
            intake.fault("bad-value", path.name, place, f"{name} is {record[name]!r}")
        if bad and intake.on_error != "fix":
            continue
        for name in bad:
            del record[name]
        if "path" in record or "object" in record:
            yield place, record
        else:
            intake.fault("missing-key", path.name, place, "neither a path nor an object")


def _lines(path: Path, intake: Intake) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if path.suffix == ".csv":
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                for row in reader:
                    record: Record = {k: v or None for k, v in row.items() if k is not None}
                    if None in row:
                        message = f"more fields than {len(reader.fieldnames or ())}"
                        intake.fault("bad-value", path.name, f"line {reader.line_num}", message)
                        continue
                    yield reader.line_num, {**record, **_order(record.get("order"))}
        except (UnicodeDecodeError, csv.Error) as error:
            raise FormatError(path, f"no CSV: {error}") from error
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                cut = not line.endswith(b"\n")
                found = decode_record(line, path.name, f"line {number}", intake, cut)
                if found is not None:
                    yield number, found


class Objects:
    """Groups by the names of objects, and what lines say of them."""

    def __init__(self, intake: Intake, kind: str, name: str) -> None:
        self.intake, self.kind, self.name = intake, kind, name
        self._rows: dict[str, int] = {}
        self._paths: set[str] = set()
        self._labels: dict[int, list[str]] = {}
        self._class: dict[int, str | None] = {}
        self._members: dict[int, int] = {}

    def samples(
        self, records: Iterator[tuple[str, Record]], *, ranked: bool = False
    ) -> Iterator[rows.Sample]:
        """A sample for each line with a path; ``ranked``: the order of lines is that of views."""
        for place, record in records:
            group = self._group(record)
            labels = record.get("labels", [])
            path = record.get("path")
            if group is not None:
                of_group = labels if path is None else []
                self._label(group, record.get("label"), of_group, place)
            if path is None:
                continue
            if path in self._paths:
                self.intake.fault("duplicate-row", self.name, place, f"{path} is named before")
                continue
            self._paths.add(path)
            order = record.get("order")
            if group is not None:
                self._members[group] = rank = self._members.get(group, -1) + 1
                order = rank if order is None and ranked else order
            yield rows.Sample(
                path,
                rows.Media(path),
                split=record.get("split"),
                group=group,
                role=record.get("view"),
                order=order,
                annotations=[_label(self.intake, n) for n in labels],
            )

    def _group(self, record: Record) -> int | None:
        name = record.get("object")
        if name is None:
            return None
        if name not in self._rows:
            self._rows[name] = len(self.intake.groups)
            self.intake.groups.append(rows.Group(name, self.kind))
        row = self._rows[name]
        self.intake.groups[row].kind = record.get("kind", self.intake.groups[row].kind)
        return row

    def _label(self, group: int, word: str | None, labels: Sequence[str], place: str) -> None:
        """Labels of an object, each once; a second class by ``label`` is reported."""
        known = self._labels.setdefault(group, [])
        before = self._class.setdefault(group, word) or word
        self._class[group] = before
        if word is not None and word != before:
            message = f"the object is {word!r}, before {before!r}"
            self.intake.fault("conflicting-records", self.name, place, message)
        for name in (*([] if word is None else [word]), *labels):
            if name not in known:
                known.append(name)
                one = _label(self.intake, name)
                one.group = group
                self.intake.group_annotations.append(one)


def _label(intake: Intake, name: str) -> rows.Annotation:
    return rows.Annotation("label", intake.category(name))


def noted(
    notes: Notes, records: Iterator[tuple[str, Record]], name: str, intake: Intake
) -> Iterator[rows.Sample]:
    """Our own manifest: samples and objects are those of the notes."""
    groups: dict[str, int] = {}
    for row, group in enumerate(notes.groups):
        groups.setdefault(group.key, row)

    def label(word: str) -> rows.Annotation:
        row = notes.category_rows.get(word)
        return _label(intake, word) if row is None else rows.Annotation("label", row)

    for place, record in records:
        labels = [label(word) for word in record.get("labels", [])]
        if "path" in record:
            sample = notes.by_path.get(record["path"])
            if sample is None:
                intake.fault("orphan-image", name, place, f"{record['path']} is not in granum.json")
            else:
                sample.annotations += labels
            continue
        if record["object"] not in groups:
            intake.fault("orphan-image", name, place, f"{record['object']} is not in granum.json")
            continue
        for one in labels:
            one.group = groups[record["object"]]
        intake.group_annotations += labels
    yield from notes.samples
