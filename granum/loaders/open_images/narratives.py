"""Localized narratives: JSON lines of a caption, its words in time, and the traces of a mouse."""

from __future__ import annotations

from typing import IO, Any

import msgspec
import pyarrow as pa

from granum.loaders.open_images.facts import file_name, split_of
from granum.loaders.open_images.parse import Parser
from granum.loaders.open_images.spill import Spill
from granum.loaders.open_images.tree import File

__all__ = ["OWN_KEYS", "dataset_id", "encode_narratives", "kept_extra", "read_narratives"]

LINES = 1024
OWN_KEYS = ("image_id", "annotator_id", "caption")
"""Keys that have columns of their own; all others stand in ``extra`` as they are."""

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.encode


def dataset_id(split: str | None) -> str:
    """What files of a split give as ``dataset_id``; a record of another keeps it in ``extra``."""
    return f"open_images_{split or 'train'}"


def read_narratives(file: File, parser: Parser, spill: Spill) -> None:
    """Put the records of a file aside."""
    with file.path.open("rb") as lines:
        waiting: list[tuple[str, str | None, str | None, str | None, int]] = []
        for number, line in enumerate(lines):
            text = line.removeprefix(b"\xef\xbb\xbf").strip() if not number else line.strip()
            if not text:
                continue
            record = _record(text, line, file, number, parser)
            if record is not None:
                waiting.append(record)
            if len(waiting) >= LINES:
                _put(waiting, file, parser, spill)
                waiting = []
        _put(waiting, file, parser, spill)


def _record(
    text: bytes, line: bytes, file: File, number: int, parser: Parser
) -> tuple[str, str | None, str | None, str | None, int] | None:
    """Image, caption, annotator, and the rest of a record as JSON."""
    place = f"line {number + 1}"
    try:
        record = _decode(text)
        image, annotator = (_plain(record.get(k)) for k in ("image_id", "annotator_id"))
        caption = msgspec.json.decode(record.get("caption", b"null"), type=str | None)
        others = {k: v for k, v in record.items() if k not in OWN_KEYS}
        for value in others.values():
            str(value, "utf-8")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        code = "bad-value" if line.endswith(b"\n") else "truncated-json"
        parser.intake.fault(code, file.name, place, f"no narrative: {error}")
        return None
    if not image:
        parser.intake.fault("missing-image-id", file.name, place, "no image_id")
        return None
    own = _encode(dataset_id(file.split))
    if bytes(others.get("dataset_id", b"")) == own:
        del others["dataset_id"]
    extra = _encode(others).decode() if others else None
    return image, caption, annotator, extra, number


def _plain(raw: msgspec.Raw | None) -> str | None:
    """An id, which may be a number, as text."""
    if raw is None:
        return None
    value = msgspec.json.decode(raw, type=str | int | None)
    return None if value is None else str(value)


def _put(
    records: list[tuple[str, str | None, str | None, str | None, int]],
    file: File,
    parser: Parser,
    spill: Spill,
) -> None:
    if not records:
        return
    images, captions, annotators, extras, numbers = zip(*records, strict=True)
    split = -1 if file.split is None else parser.codes.number(file.split)
    rows, new = parser.ids.rows(pa.array(images, pa.string()), split)
    if new:
        parser.unlisted[file.name] = parser.unlisted.get(file.name, 0) + new
    table = pa.table(
        {
            "sample": pa.array(rows, pa.int32()),
            "ordinal": pa.array(numbers, pa.uint32()),
            "text": pa.array(captions, pa.string()),
            "annotator": pa.array(annotators, pa.string()),
            "extra": pa.array(extras, pa.string()),
        }
    )
    keep = rows >= 0
    spill.add(rows[keep], table.filter(pa.array(keep)))


def encode_narratives(
    images: list[str], table: pa.Table, split: str | None, file: IO[bytes]
) -> None:
    """Write rows of captions as JSON lines."""
    annotators = table["annotator"].cast(pa.string()).to_pylist()
    extras = table["extra"].to_pylist()
    own = _encode(dataset_id(split))
    for image, text, annotator, extra in zip(
        images, table["text"].to_pylist(), annotators, extras, strict=True
    ):
        others = {} if extra is None else _decode(extra)
        record: dict[str, Any] = {
            "dataset_id": others.pop("dataset_id", msgspec.Raw(own)),
            "image_id": image,
        }
        if annotator is not None:
            record["annotator_id"] = int(annotator) if _is_number(annotator) else annotator
        record["caption"] = text
        file.write(_encode({**record, **others}) + b"\n")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 18 and str(int(text)) == text


def kept_extra(text: str, token: str) -> str | None:
    """What of unknown keys comes back: not those that have columns, nor the usual dataset."""
    record = _decode(text)
    own = _encode(dataset_id(split_of(file_name("narratives", token))))
    kept = {
        k: v
        for k, v in record.items()
        if k not in OWN_KEYS and not (k == "dataset_id" and bytes(v) == own)
    }
    if len(kept) == len(record):
        return text if kept else None
    return _encode(kept).decode() if kept else None
