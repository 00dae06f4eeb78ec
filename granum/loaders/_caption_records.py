"""Records of images and texts: JSON lines, or a JSON list, and the samples they are about."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from granum.errors import FormatError
from granum.loaders._hf_files import known_split
from granum.loaders._json_files import decode_record, load_json, number, peek
from granum.loaders._notes import FILE as OWN
from granum.loaders._notes import Notes
from granum.loaders._paths import folders_in, is_file, names_in, split_suffix
from granum.loaders._rows import box_of
from granum.loaders.base import Intake
from granum.schema import rows
from granum.store.out import safe_relative

__all__ = ["RESERVED", "BoxFormat", "Documents", "Reader", "documents", "sniff_documents"]

BoxFormat = Literal["xywh", "xyxy"]

IMAGES = ("file_name", "image", "image_path", "filename", "filepath", "img")
TEXTS = ("caption", "text", "captions")
CLASSES = ("label", "labels")
BOXES = ("boxes", "bboxes")
RESERVED = frozenset(
    {
        *(*IMAGES, *TEXTS, *CLASSES, *BOXES),
        *("id", "image_id", "width", "height", "objects", "categories", "attributes"),
    }
)
"""Keys with a meaning; others are attributes."""

_OTHERS = frozenset({OWN, "metadata.jsonl", "pairs.jsonl", "views.jsonl"})
"""Files of other formats."""


# ---------------------------------------------------------------------- files


def documents(root: Path) -> list[Path]:
    """The files to read: one, or those of a folder and of its folders of splits."""
    if is_file(root):
        return [root] if _is_document(root) else []
    folders = [root, *(root / f for f in folders_in(root) if known_split(f) or f == "annotations")]
    return [f / n for f in folders for n in names_in(f) if _is_document(f / n)]


def sniff_documents(root: Path) -> str | None:
    """Why a path looks like it, or None. Never raises."""
    found = documents(root)
    return f"{found[0].name}: images and texts in JSON" if found else None


def _is_document(path: Path) -> bool:
    """Whether the first record of a file has an image and texts. Never raises."""
    name = path.name.lower()
    if name in _OTHERS or not name.endswith((".jsonl", ".json")):
        return False
    if name.endswith(".json"):
        return peek(path, "image", "conversations", "from", "value") and _begins_list(path)
    try:
        with path.open("rb") as file:
            line = file.readline(1 << 20).removeprefix(b"\xef\xbb\xbf")
        record = json.loads(line)
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(record, dict):
        return False
    texts = any(k in record for k in (*TEXTS, "conversations"))
    return texts and any(isinstance(record.get(k), str) for k in IMAGES)


def _begins_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"[")


@dataclass
class Documents:
    """The records of a file, by number.

    Attributes:
        where: what faults call the file.
        places: where each record stands.
        get: the record of a number; None, with a fault the first time, where it is none.
    """

    where: str
    places: Callable[[int], str]
    get: Callable[[int, bool], dict[str, Any] | None]
    number: int
    stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def of(cls, path: Path, where: str, intake: Intake) -> Documents:
        """Open a file.

        Raises:
            FormatError: it cannot be read, or is a JSON value that is no list.
        """
        if path.suffix.lower() == ".json":
            return cls._of_list(path, where, intake)
        try:
            offsets, lines = _lines(path)
        except OSError as error:
            raise FormatError(where, f"cannot be read: {error}") from error
        stack, unheard = ExitStack(), Intake()
        file = stack.enter_context(path.open("rb"))

        def get(i: int, tell: bool) -> dict[str, Any] | None:
            file.seek(offsets[i])
            raw = file.readline()
            heard = intake if tell else unheard
            text = raw.removeprefix(b"\xef\xbb\xbf").strip()
            return decode_record(text, where, places(i), heard, not raw.endswith(b"\n"))

        def places(i: int) -> str:
            return f"line {lines[i]}"

        return cls(where, places, get, len(offsets), stack)

    @classmethod
    def _of_list(cls, path: Path, where: str, intake: Intake) -> Documents:
        listed = load_json(path, where)
        if not isinstance(listed, list):
            raise FormatError(where, "no list of records")
        try:
            json.dumps(listed, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            raise FormatError(where, f"no text that can be written: {error}") from error

        def get(i: int, tell: bool) -> dict[str, Any] | None:
            found = listed[i]
            if isinstance(found, dict):
                return found
            if tell:
                intake.fault("bad-value", where, f"/{i}", "no JSON object")
            return None

        return cls(where, lambda i: f"/{i}", get, len(listed))


def _lines(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Where each line that holds something begins, and its number."""
    offsets, lines, at = [], [], 0
    with path.open("rb") as file:
        for i, raw in enumerate(file, 1):
            if raw.removeprefix(b"\xef\xbb\xbf").strip():
                offsets.append(at)
                lines.append(i)
            at += len(raw)
    return np.array(offsets, np.int64), np.array(lines, np.int64)


# ---------------------------------------------------------------------- samples


class Reader:
    """Makes samples of records."""

    def __init__(
        self, intake: Intake, root: Path, bbox_format: BoxFormat, notes: Notes | None
    ) -> None:
        self.intake, self.root, self.bbox_format = intake, root, bbox_format
        self.noted: Mapping[str, rows.Sample] = {} if notes is None else notes.by_path
        self.names = None if notes is None else notes.category_rows
        self.met: set[str] = set()

    def samples(self, found: Documents, path: Path) -> Iterator[rows.Sample]:
        """The samples of a file, each when its image is named first."""
        with found.stack:
            together, example = _together(found)
            before, split = self._before(path, example), _split_of(found.where)
            done = {i for listed in together.values() for i in listed[1:]}
            for i in range(found.number):
                if i in done:
                    continue
                sample = self._sample(together.get(i, [i]), before, split, found)
                if sample is not None:
                    yield sample

    def _before(self, path: Path, name: str | None) -> str:
        """The folder, relative to the root of images, that paths are relative to."""
        if self.intake.images is not None or name is None:
            return ""
        folder = path.parent.relative_to(self.root).as_posix()
        here = "" if folder == "." else f"{folder}/"
        for before in dict.fromkeys((here, "", f"{here}images/", "images/")):
            if is_file(self.root / f"{before}{name}"):
                return before
        return here

    def _sample(
        self, which: list[int], before: str, split: str | None, found: Documents
    ) -> rows.Sample | None:
        """The sample of all records of one image; None where none can be read."""
        sample: rows.Sample | None = None
        for i in which:
            record, place = found.get(i, True), found.places(i)
            if record is None:
                continue
            if sample is None:
                sample = self._begin(record, before, split, (found.where, place))
            try:
                self._add(sample, record, (found.where, place))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                message = f"no {error}" if isinstance(error, KeyError) else str(error)
                self.intake.fault("bad-value", found.where, place, message)
        return sample

    def _begin(
        self,
        record: dict[str, Any],
        before: str,
        split: str | None,
        where: tuple[str, str],
    ) -> rows.Sample:
        name, told = _image(record), record.get("id", record.get("image_id"))
        source_id = None if told is None else str(told)
        if name is None:
            key = source_id or f"{where[0]}#{where[1]}"
            return rows.Sample(key, media_kind="text", split=split, source_id=source_id)
        path: str | None = f"{before}{name}"
        if path in self.noted:
            self.met.add(str(path))
            return replace(self.noted[str(path)], source_id=source_id)
        if "://" in name:
            return rows.Sample(name, None, split=split, source_id=source_id)
        try:
            path = PurePosixPath(safe_relative(str(path), where[0])).as_posix()
            if "\0" in path:
                raise FormatError(where[0], "NUL")
        except FormatError:
            self.intake.fault("bad-value", *where, f"{name!r} leaves the folder of the images")
            path = None
        media = None if path is None else rows.Media(path)
        return rows.Sample(path or name, media, split=split, source_id=source_id)

    def _add(self, sample: rows.Sample, record: dict[str, Any], where: tuple[str, str]) -> None:
        """Add what a record says.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: a value that is absent or none.
        """
        self._attributes(sample, record, where)
        for name in ("width", "height"):
            value = record.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
                raise ValueError(f"{name} is {value!r}")
            setattr(sample, name, value)
        for key in TEXTS:
            for text in _listed(record, key):
                if not isinstance(text, str):
                    raise ValueError(f"{key} is no text: {text!r:.60}")
                sample.annotations.append(rows.Annotation("caption", text=text))
        for key in CLASSES:
            sample.annotations += [
                rows.Annotation("label", self._category(c)) for c in _listed(record, key)
            ]
        for one in _listed(record, "objects"):
            name = one.get("category", one.get("label"))
            phrase = one.get("phrase")
            sample.annotations.append(
                rows.Annotation(
                    "object",
                    None if name is None else self._category(name),
                    bbox=self._box(one["bbox"]),
                    text=None if phrase is None else str(phrase),
                    score=None if one.get("score") is None else number(one, "score"),
                )
            )
        for key in BOXES:
            boxes, classes = _listed(record, key), _listed(record, "categories")
            if classes and boxes and len(classes) != len(boxes):
                raise ValueError(f"{len(boxes)} {key} and {len(classes)} categories")
            for i, box in enumerate(boxes):
                category = self._category(classes[i]) if classes else None
                sample.annotations.append(rows.Annotation("object", category, bbox=self._box(box)))

    def _attributes(
        self, sample: rows.Sample, record: dict[str, Any], where: tuple[str, str]
    ) -> None:
        given = record.get("attributes")
        found = {k: v for k, v in record.items() if k not in RESERVED}
        if given is not None:
            found |= given if isinstance(given, dict) else {"attributes": given}
        before = sample.attributes
        if before is None:
            sample.attributes = found if found or given == {} else None
            return
        for name, value in found.items():
            if name == "conversations" and name in before:
                n = 2
                while f"{name}_{n}" in before:
                    n += 1
                before[f"{name}_{n}"] = value
            elif name in before and before[name] != value:
                message = f"{name} is {value!r:.60} here, {before[name]!r:.60} before"
                self.intake.fault("conflicting-records", *where, message)
            else:
                before[name] = value

    def _category(self, name: Any) -> int:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise ValueError(f"{name!r:.60} is no class")
        known = None if self.names is None else self.names.get(str(name))
        return self.intake.category(str(name)) if known is None else known

    def _box(self, values: Any) -> tuple[float, float, float, float]:
        if not isinstance(values, list) or len(values) != 4:
            raise ValueError(f"a box of other than four numbers: {values!r:.60}")
        a, b, c, d = (number({"box": v}, "box") for v in values)
        return (a, b, c, d) if self.bbox_format == "xywh" else box_of((a, b, c, d))


def _together(found: Documents) -> tuple[dict[int, list[int]], str | None]:
    """Records of one image, where there are several, by the first of them; and the first name.

    Names are held as 64 bits of each, so that memory is small; those that agree are read again.
    """
    hashes = np.zeros(found.number, np.int64)
    named = np.zeros(found.number, bool)
    example: str | None = None
    for i in range(found.number):
        name = _image(found.get(i, False) or {})
        if name is not None:
            hashes[i], named[i], example = hash(name), True, example or name
    order = np.flatnonzero(named)
    order = order[np.argsort(hashes[order], kind="stable")]
    edges = np.flatnonzero(np.diff(hashes[order])) + 1
    out: dict[int, list[int]] = {}
    for run in np.split(order, edges) if len(edges) + 1 < len(order) else []:
        if len(run) > 1:
            by_name: dict[str | None, list[int]] = {}
            for i in run.tolist():
                by_name.setdefault(_image(found.get(i, False) or {}), []).append(i)
            out.update({listed[0]: listed for listed in by_name.values() if len(listed) > 1})
    return out, example


def _image(record: Mapping[str, Any]) -> str | None:
    return next((str(v) for k in IMAGES if isinstance(v := record.get(k), str) and v), None)


def _listed(record: Mapping[str, Any], key: str) -> list[Any]:
    value = record.get(key)
    return value if isinstance(value, list) else [] if value is None else [value]


def _split_of(where: str) -> str | None:
    folder, _, name = where.rpartition("/")
    words = split_suffix(name)[0].replace("-", "_").split("_")
    found = (words[0], words[-1], folder.rpartition("/")[2])
    return next((w for w in found if known_split(w)), None)
