"""TFRecord files of the TensorFlow object detection API, as Roboflow exports them, too.

::

    label_map.pbtxt                          item { id: 1 name: 'cat' }
    train.tfrecord   val.tfrecord            or train/train.tfrecord with its label_map.pbtxt,
    coco_train.record-00000-of-00010         .record, .tfrec, .tfrecords, …-00000-of-00010, .gz

Features of an Example: ``image/encoded``, ``image/filename``, ``image/source_id``, ``image/width``,
``image/height``; ``image/object/bbox/{xmin,xmax,ymin,ymax}``, fractions of width and height, kept
as they are; ``image/object/class/{text,label}``; ``image/object/mask``, a PNG for each object;
``image/object/{difficult,truncated,occluded,group_of,depiction,is_crowd}``; ``image/class/{text,
label}`` and ``image/caption`` of the whole image. Further features are attributes, of objects where
there is one value for each.

The name of a class counts before its number; numbers are looked up in the label map beside the
file, or at the root; number 0 is the background's, so an object with it has no class. Images are
embedded in the dataset; where there is none in the file, it is looked for beside it. Both checksums
of each record are checked. Key points and masks in numbers are not read, and reported.

Spec: https://github.com/tensorflow/models/blob/master/research/object_detection/g3doc/using_your_own_dataset.md
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from granum.errors import FormatError
from granum.loaders._hf_files import known_split
from granum.loaders._paths import folders_in, is_file, names_in
from granum.loaders._tfrecord import Values, first_example, numbers, parse_example, records
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows
from granum.store.out import safe_relative

__all__ = ["TfRecord"]

FLAGS = {
    **{n: n for n in ("difficult", "truncated", "occluded", "group_of", "depiction")},
    "is_crowd": "crowd",
}
EDGES = tuple(f"image/object/bbox/{n}" for n in ("xmin", "ymin", "xmax", "ymax"))

_FILE = re.compile(r".+\.(tfrecords?|tfrec|record)(\.gz)?(-\d+-of-\d+)?(\.gz)?", re.IGNORECASE)
_TOKEN = re.compile(r"""#[^\n]*|'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([{}])|([^\s{}:'"#,;]+)""")
_KNOWN = frozenset(
    {
        *("image/encoded", "image/filename", "image/source_id", "image/width", "image/height"),
        *("image/format", "image/key/sha256", "image/colorspace", "image/channels"),
        *("image/caption", "image/class/text", "image/class/label", *EDGES),
        *("image/object/class/text", "image/object/class/label", "image/object/mask"),
        *(f"image/object/{n}" for n in FLAGS),
    }
)


@formats("tfrecord")
class TfRecord(Format):
    """Reads TFRecord files."""

    name = "tfrecord"
    title = "TFRecord (TensorFlow object detection API)"
    spec = "https://github.com/tensorflow/models/tree/master/research/object_detection"
    keeps = frozenset(
        {
            *("sample", "object", "label", "caption", "category", "bbox", "mask", "text", "split"),
            *("attributes", "crowd", *FLAGS.values()),
        }
    )
    checked = "fixture"

    def sniff(self, root: Path) -> str | None:
        for path in _files(root)[:4]:
            found = first_example(path)
            names = [n for n in ("image/encoded", "image/filename", *EDGES) if n in found]
            if names:
                return f"{path.name}: Examples with {names[0]}"
        return None

    def read(self, root: Path, intake: Intake) -> Iterator[rows.Sample]:
        """Read a file, or those of a folder and of its folders of splits.

        Raises:
            FormatError: there is none.
        """
        files = _files(root)
        if not files:
            raise FormatError(root, "no TFRecord file")
        folder = root if root.is_dir() else root.parent
        intake.media_root = intake.images or folder
        maps = {f: _label_map(f, intake, folder) for f in {folder, *(p.parent for p in files)}}
        for path in files:
            where = path.relative_to(folder).as_posix()
            intake.source(where, self.name)
            reader = _Reader(intake, where, maps[path.parent] or maps[folder])
            for number, (offset, data) in enumerate(records(path, where, intake)):
                try:
                    features = parse_example(data)
                except ValueError as error:
                    intake.fault("bad-value", where, f"byte {offset}", f"no Example: {error}")
                    continue
                yield reader.sample(features, number, f"byte {offset}")


def _files(root: Path) -> list[Path]:
    """The files to read. Never raises."""
    if is_file(root):
        return [root] if _FILE.fullmatch(root.name) else []
    folders = [root, *(root / f for f in folders_in(root) if known_split(f))]
    return [f / n for f in folders for n in names_in(f, 100_000) if _FILE.fullmatch(n)]


def _label_map(folder: Path, intake: Intake, root: Path) -> dict[int, str]:
    """Names of classes by number, of the label map in a folder; empty where there is none."""
    listed = [n for n in names_in(folder) if n.endswith(".pbtxt")]
    if not listed:
        return {}
    path = folder / listed[0]
    where = path.relative_to(root).as_posix()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(where, f"cannot be read: {error}") from error
    found: dict[int, str] = {}
    for line, item in _items(text):
        number, name = item.get("id", ""), item.get("name", item.get("display_name"))
        if not re.fullmatch(r"\d{1,9}", number) or not name:
            intake.fault("bad-value", where, f"line {line}", f"an item without id or name: {item}")
        elif int(number) in found:
            message = f"two items have the id {number}"
            intake.fault("duplicate-category-id", where, f"line {line}", message)
        else:
            found[int(number)] = name
            row = intake.category(name)
            intake.categories[row].source_id = intake.categories[row].source_id or number
    return found


def _items(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The items of a label map and their lines, in the text format of protocol buffers."""
    item: dict[str, str] = {}
    depth, line, key = 0, 1, ""
    for token in _TOKEN.finditer(text):
        single, double, brace, word = token.groups()
        if brace == "{":
            depth += 1
            if depth == 1:
                item, key, line = {}, "", text.count("\n", 0, token.start()) + 1
        elif brace == "}":
            depth -= 1
            if depth == 0:
                yield line, item
        elif depth == 1:
            quoted = single if single is not None else double
            value = word if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            if value is not None and key:
                item.setdefault(key, value)
                key = ""
            else:
                key = value or ""


class _Reader:
    """Makes samples of the Examples of a file."""

    def __init__(self, intake: Intake, where: str, names: Mapping[int, str]) -> None:
        self.intake, self.where, self.names = intake, where, names
        folder, _, name = where.rpartition("/")
        words = re.split(r"[-_.]", name)
        self.split = next((w for w in (*words, folder.rpartition("/")[2]) if known_split(w)), None)

    def sample(self, features: Mapping[str, Values], number: int, place: str) -> rows.Sample:
        """The sample of an Example."""
        told = {n: self._text(features, f"image/{n}", place) for n in ("filename", "source_id")}
        sample = rows.Sample(
            self._key(told, number),
            self._media(features, told["filename"], place),
            split=self.split,
            unit="relative",
            source_id=told["source_id"] or None,
        )
        steps = (self._size, self._objects, self._whole, self._attributes)
        for step in steps:
            try:
                step(sample, features, place)
            except ValueError as error:
                self._fault("bad-value", place, f"{sample.key}: {error}")
        return sample

    def _fault(self, code: str, place: str, message: str) -> None:
        self.intake.fault(code, self.where, place, message)

    def _text(self, features: Mapping[str, Values], name: str, place: str) -> str | None:
        found = features.get(name)
        if not isinstance(found, list) or not found:
            return None
        try:
            return found[0].decode()
        except UnicodeDecodeError:
            self._fault("bad-value", place, f"{name} is no UTF-8 text")
            return None

    def _key(self, told: Mapping[str, str | None], number: int) -> str:
        name = told["filename"] or told["source_id"]
        if not name:
            return f"{self.where}#{number}"
        before = "" if self.split is None else f"{self.split}/"
        return name if name.startswith(before) else before + name

    def _media(
        self, features: Mapping[str, Values], name: str | None, place: str
    ) -> rows.Media | None:
        data = features.get("image/encoded")
        if isinstance(data, list) and data and data[0]:
            return rows.Media(bytes=data[0])
        try:
            if name and "\0" not in name:
                path = PurePosixPath(self.where).parent / safe_relative(name, self.where)
                return rows.Media(path.as_posix())
        except FormatError as error:
            self._fault("bad-value", place, str(error))
            return None
        self._fault("file-missing", place, "neither an image nor the name of one")
        return None

    def _size(self, sample: rows.Sample, features: Mapping[str, Values], place: str) -> None:
        for column in ("width", "height"):
            value = next(iter(numbers(features, f"image/{column}")), None)
            if value is not None and not (0 < value < 2**31 and value == int(value)):
                raise ValueError(f"{column} is {value}")
            setattr(sample, column, None if value is None else int(value))

    def _objects(self, sample: rows.Sample, features: Mapping[str, Values], place: str) -> None:
        edges = [numbers(features, n) for n in EDGES]
        n = len(edges[0])
        texts = self._texts(features, "image/object/class/text", place)
        labels = numbers(features, "image/object/class/label")
        lengths = {*map(len, edges), *(len(x) for x in (texts, labels) if x)}
        if lengths != {n}:
            counts = ", ".join(str(len(e)) for e in edges)
            raise ValueError(f"{counts} edges, {len(texts)} names and {len(labels)} classes")
        if any(k.startswith("image/object/keypoint/") for k in features):
            self._fault("unknown-shape", place, f"{sample.key}: key points are not read")
        masks = features.get("image/object/mask", [])
        if not isinstance(masks, list):
            self._fault("unknown-shape", place, f"{sample.key}: masks in numbers are not read")
            masks = []
        if masks and len(masks) != n:
            raise ValueError(f"{len(masks)} masks of {n} boxes")
        columns = self._per_object(features, n)
        for i in range(n):
            x1, y1, x2, y2 = (float(e[i]) for e in edges)
            one = rows.Annotation(
                "object",
                self._category(texts[i] if texts else None, labels[i] if labels else None, place),
            )
            if all(map(math.isfinite, (x1, y1, x2, y2))):
                one.bbox = (x1, y1, x2 - x1, y2 - y1)
            else:
                self._fault("nan-box", place, f"{sample.key}: box {i} holds NaN or infinity")
            if masks and masks[i]:
                one.map = rows.LabelMap(bytes=masks[i], encoding="nonzero")
            facts = {k: v[i] for k, v in columns.items()}
            for name, column in FLAGS.items():
                if name in facts:
                    value = facts.pop(name)
                    setattr(one, column, None if value not in (0, 1) else bool(value))
            one.attributes = facts or None
            sample.annotations.append(one)

    def _per_object(self, features: Mapping[str, Values], n: int) -> dict[str, list[Any]]:
        """Further features with a value for each object, by name."""
        out: dict[str, list[Any]] = {}
        for name, values in features.items():
            plain = name.removeprefix("image/object/")
            known = name in _KNOWN and plain not in FLAGS
            if plain == name or known or plain.startswith("keypoint/") or not len(values):
                continue
            if len(values) != n:
                raise ValueError(f"{len(values)} values of {name}, {n} boxes")
            out[plain] = _plain(values)
        return out

    def _whole(self, sample: rows.Sample, features: Mapping[str, Values], place: str) -> None:
        texts = self._texts(features, "image/class/text", place)
        labels = numbers(features, "image/class/label")
        if texts and labels and len(texts) != len(labels):
            raise ValueError(f"{len(texts)} names and {len(labels)} numbers of classes")
        for i in range(max(len(texts), len(labels))):
            name, number = texts[i] if texts else None, labels[i] if labels else None
            category = self._category(name, number, place)
            if category is not None:
                sample.annotations.append(rows.Annotation("label", category))
        for text in self._texts(features, "image/caption", place):
            sample.annotations.append(rows.Annotation("caption", text=text))

    def _attributes(self, sample: rows.Sample, features: Mapping[str, Values], place: str) -> None:
        found: dict[str, Any] = {}
        for name, values in features.items():
            if name in _KNOWN or name.startswith("image/object/") or not len(values):
                continue
            listed = _plain(values)
            found[name.removeprefix("image/")] = listed[0] if len(listed) == 1 else listed
        sample.attributes = found or None

    def _texts(self, features: Mapping[str, Values], name: str, place: str) -> list[str]:
        found = features.get(name, [])
        if not isinstance(found, list):
            raise ValueError(f"{name} holds numbers, no text")
        try:
            return [t.decode() for t in found]
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} is no UTF-8 text") from error

    def _category(self, name: str | None, number: int | None, place: str) -> int | None:
        """The class that a name or a number tells; None where neither does."""
        listed = None if number is None else self.names.get(int(number))
        if name:
            if listed is not None and listed != name:
                message = f"class {number} is {listed!r} in the label map, {name!r} here"
                self._fault("conflicting-records", place, message)
            row = self.intake.category(name)
            if number is not None and self.intake.categories[row].source_id is None:
                self.intake.categories[row].source_id = str(number)
            return row
        if number is None:
            return None
        if listed is not None:
            return self.intake.category(listed)
        if number == 0 and (self.names or name is not None):
            return None  # that of the background
        if self.names:
            self._fault("unknown-class", place, f"class {number} is not in the label map")
            if self.intake.on_error != "fix":
                return None
        row = self.intake.category(str(number))
        self.intake.categories[row].source_id = str(number)
        return row


def _plain(values: Values) -> list[Any]:
    """Values that JSON has; bytes that are no text are told by their length.

    Raises:
        ValueError: a number that is none.
    """
    if isinstance(values, list):
        return [_decoded(v) for v in values]
    out: list[Any] = values.tolist()
    return [None if isinstance(v, float) and not math.isfinite(v) else v for v in out]


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"<{len(value)} bytes>"
