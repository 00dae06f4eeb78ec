"""Check a dataset: every fault, with its place, and what could be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from granum.errors import FormatError, GranumError
from granum.loaders.base import Intake
from granum.loaders.checks import check_batch
from granum.loaders.reading import get_format, read_into
from granum.schema.findings import Findings
from granum.schema.rows import Media
from granum.schema.tables import column
from granum.store.builder import Incoming, MemoryBuilder
from granum.store.dataset import Dataset
from granum.store.disk import is_store
from granum.store.media import media_path, open_image
from granum.store.opening import open_dataset

__all__ = ["Validation", "check_media", "validate"]


@dataclass
class Validation:
    """What was checked, and the findings."""

    path: str
    format: str
    samples: int
    annotations: int
    findings: Findings

    @property
    def ok(self) -> bool:
        return not self.findings.errors

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "format": self.format,
            "samples": self.samples,
            "annotations": self.annotations,
            "ok": self.ok,
            **self.findings.to_dict(),
        }


def validate(
    path: str | Path | Dataset,
    format: str | None = None,
    *,
    images: str | Path | None = None,
    check_media: bool = False,
    **options: Any,
) -> Validation:
    """Check files of any format, a store, or a dataset; writes nothing.

    All faults are reported in one run; none hides another. What cannot be read at all (truncated
    JSON, binary junk) raises ``FormatError`` with the offset.

    Args:
        path: what to check.
        format: its format; sniffed where None.
        images: the folder of images: their names are looked up there.
        check_media: also check that every image exists, decodes, and has the stated size.
        options: the format's own reading options.
    """
    findings = Findings("skip")
    if isinstance(path, Dataset) or (format in (None, "granum") and is_store(path)):
        dataset = path if isinstance(path, Dataset) else open_dataset(path, media_root=images)
        _check_store(dataset, findings)
        name = "granum"
    else:
        format_, _ = get_format(path, format)
        name = format_.name
        intake = Intake(findings, None if images is None else Path(images))
        dataset = read_into(MemoryBuilder(), format_, Path(path), intake, options=options)
    if check_media:
        _check_media(dataset, findings)
    # Nothing was done about the findings: this only looked.
    for item in findings.items:
        item.action = "none"
    where = repr(path) if isinstance(path, Dataset) else str(path)
    return Validation(where, name, len(dataset), dataset.num_annotations, findings)


def _check_store(dataset: Dataset, findings: Findings) -> None:
    intake = Intake(findings)
    intake.locate = lambda annotation, key: (key, f"annotation {annotation.source_id}")
    for batch in dataset.iter_batches():
        table = batch.annotations
        sample = pa.compute.subtract(column(table, "sample"), batch.start)
        if "sample" in table.column_names:
            table = table.set_column(table.column_names.index("sample"), "sample", sample)
        check_batch(Incoming(batch.samples, {dataset.meta.layer: table}), intake, "granum")


def _check_media(dataset: Dataset, findings: Findings) -> None:
    """Every image: is it there, does it decode, has it the stated size."""
    from concurrent.futures import ThreadPoolExecutor

    root = dataset.meta.media_root

    def one(row: dict[str, Any]) -> tuple[str, str] | None:
        media = Media(**row["media"]) if row["media"] else Media()
        try:
            source = media.bytes if media.bytes is not None else media_path(media, root)
            if isinstance(source, Path) and not source.is_file():
                return "file-missing", f"{source} is absent"
            with open_image(source) as image:
                image.load()
                found = image.size
        except (GranumError, OSError, SyntaxError, ValueError) as error:
            code = "broken-media" if isinstance(error, FormatError | OSError) else "file-missing"
            return code, str(error)
        stated = (row["width"], row["height"])
        if None not in stated and stated != found:
            return (
                "size-mismatch",
                f"the file is {found[0]} x {found[1]}, stated {stated[0]} x {stated[1]}",
            )
        return None

    with ThreadPoolExecutor(4) as pool:
        for batch in dataset.iter_batches(4096):
            listed = pa.table(
                {n: column(batch.samples, n) for n in ("key", "media", "width", "height")}
            ).to_pylist()
            for row, said in zip(listed, pool.map(one, listed), strict=True):
                if said is not None and not (
                    said[0] == "file-missing" and _known_missing(findings, row)
                ):
                    findings.add(said[0], row["key"], None, said[1])


def _known_missing(findings: Findings, row: dict[str, Any]) -> bool:
    """Whether the reader has told already that this file is absent."""
    path = (row["media"] or {}).get("path")
    return path is not None and any(
        f.code == "file-missing" and f.message.startswith(f"{path} is not below")
        for f in findings.items
    )


check_media = _check_media
