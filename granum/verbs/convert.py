"""Open, read, write, convert: the main job."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from granum.errors import UsageError
from granum.loaders.base import Format, Intake, formats, options_of
from granum.loaders.reading import get_format, read_into
from granum.loaders.writing import write_dataset
from granum.schema import tables
from granum.schema.findings import Findings, OnError
from granum.schema.losses import LossReport
from granum.store.builder import MemoryBuilder, StoreBuilder
from granum.store.dataset import Dataset
from granum.store.disk import is_store
from granum.store.opening import open_dataset, save
from granum.verbs.opening import open

__all__ = ["Conversion", "convert", "open", "read", "write"]

STORE = "granum"
"""The name of our own store where a format is named."""


def read(
    path: str | Path,
    format: str | None = None,
    *,
    images: str | Path | None = None,
    on_error: OnError = "fail",
    layer: str = tables.DEFAULT_LAYER,
    findings: Findings | None = None,
    **options: Any,
) -> Dataset:
    """A dataset in memory from files of any format (a store is opened).

    Args:
        path: file or folder.
        format: its name; sniffed where None.
        images: the folder of its images, where the files do not tell.
        on_error: ``fail``, ``skip`` or ``fix`` faulty records.
        layer: name of the layer its annotations go to.
        findings: collects what was found (otherwise only errors are seen).
        options: the format's own reading options.

    Raises:
        FindingsError: faults under ``fail``.
        FormatError: it cannot be read at all.
        AmbiguousFormatError: the format must be named.
    """
    if format in (None, STORE) and is_store(path):
        return open_dataset(path, media_root=images)
    format_, _ = get_format(path, format)
    return _read_into(
        MemoryBuilder(), format_, Path(path), images, _policy(findings, on_error), layer, options
    )


def _policy(findings: Findings | None, on_error: OnError) -> Findings:
    if on_error not in ("fail", "skip", "fix"):
        raise UsageError(f"on_error is {on_error!r}; it must be fail, skip or fix")
    findings = findings if findings is not None else Findings()
    findings.on_error = on_error
    return findings


def _read_into(
    builder: MemoryBuilder | StoreBuilder,
    format_: Format,
    path: Path,
    images: str | Path | None,
    findings: Findings,
    layer: str,
    options: Mapping[str, Any],
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    intake = Intake(findings, None if images is None else Path(images), layer=layer)
    lineage = {
        "verb": "read",
        "source": path.name,
        "format": format_.name,
        "options": dict(options),
        "on_error": findings.on_error,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return read_into(
        builder, format_, path, intake, options=options, lineage=[lineage], progress=progress
    )


def write(
    dataset: Dataset,
    path: str | Path,
    format: str | None = None,
    *,
    allow_loss: Iterable[str] = (),
    media: str = "none",
    overwrite: bool = False,
    dry_run: bool = False,
    **options: Any,
) -> LossReport:
    """Write a dataset; all of it, or nothing.

    Args:
        dataset: what to write.
        path: a folder, or a file where the format writes one.
        format: its name; ``granum`` (or a path ending in ``.granum``) is our store.
        allow_loss: names of kinds and columns that may be lost.
        media: ``none``, ``copy``, ``link`` or ``hardlink``.
        overwrite: replace what is there.
        dry_run: only account.
        options: the format's own writing options.

    Raises:
        LossError: something else would be lost; nothing was written.
        ExistsError: the target exists.
    """
    if format == STORE or (format is None and Path(path).suffix == ".granum"):
        if not dry_run:
            save(dataset, path, overwrite=overwrite)
        return LossReport(STORE)
    if format is None:
        raise UsageError(f"name the format of {path}: --to {'|'.join(formats)}")
    return write_dataset(
        dataset,
        path,
        format,
        allow_loss=allow_loss,
        media=media,
        overwrite=overwrite,
        dry_run=dry_run,
        options=options,
    )


@dataclass
class Conversion:
    """What a conversion did.

    Attributes:
        read: how many samples, annotations and categories were read; ``why``: how the source's
            format was recognised.
        written: the same of what was written.
        findings: faults of the source.
        losses: the account of the writing.
        mapped: what ``map`` did to the categories, with counts.
    """

    source: str
    target: str
    format: str
    why: str
    to: str
    read: dict[str, int]
    written: dict[str, int]
    findings: Findings
    losses: LossReport
    seconds: float
    dry_run: bool = False
    mapped: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "target": self.target,
            "from": self.format,
            "why": self.why,
            "to": self.to,
            "read": self.read,
            "written": self.written,
            "dry_run": self.dry_run,
            **self.findings.to_dict(),
            "losses": self.losses.to_dict(),
            "mapped": self.mapped,
            "notes": self.losses.notes,
            "seconds": round(self.seconds, 3),
        }


def convert(
    source: str | Path,
    target: str | Path,
    *,
    from_: str | None = None,
    to: str | None = None,
    images: str | Path | None = None,
    on_error: OnError = "fail",
    allow_loss: Iterable[str] = (),
    media: str = "none",
    map: Mapping[str, str | None] | str | Path | None = None,
    categories: Sequence[str] | None = None,
    where: str | Sequence[str] = (),
    split: str | None = None,
    drop_empty: bool = False,
    layer: str | None = None,
    view: str | None = None,
    check_media: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Conversion:
    """Convert a dataset of any format to any other, or to a store, or from one.

    Args:
        source: file, folder or store.
        target: file, folder or store (``.granum``).
        from_: the source's format; sniffed where None.
        to: the target's format.
        images: the folder of images.
        on_error: ``fail``, ``skip`` or ``fix`` faulty records.
        allow_loss: what the target may lose.
        media: what to do with images: ``none``, ``copy``, ``link``, ``hardlink``.
        map: old category names to new ones (None drops), or a file of them.
        categories: keep only these.
        where: conditions (see ``Dataset.filter``).
        split: keep only this split.
        drop_empty: drop samples without annotations.
        layer: which layer to write, and what the conditions are about; a store keeps all layers.
        view: only the samples of this saved view of the source (a store), in its order; where it
            chooses annotations, only those of the layer that is written.
        check_media: also check that images exist, decode, and have the stated size.
        overwrite: replace the target.
        dry_run: write nothing.
        options: options of the source's and the target's formats; each goes to the one (or
            both) that has it.
        progress: called with the number of samples of each batch read.

    Raises:
        FindingsError, FormatError, AmbiguousFormatError: see ``read``.
        LossError, ExistsError: see ``write``.
        UnknownNameError: no such format, layer or view.
        UsageError: options that cannot be meant, or a view of what is no store.
    """
    began = time.perf_counter()
    target = Path(target)
    to = to or (STORE if target.suffix == ".granum" else None)
    if to is None:
        raise UsageError(f"name the format of {target}: --to {STORE}|{'|'.join(formats)}")
    if to != STORE:
        formats[to]  # an unknown name fails before anything is read
    conditions = [where] if isinstance(where, str) else list(where)
    chosen = bool(conditions or split or categories or map or drop_empty or view)
    findings = _policy(None, on_error)
    given = {k: v for k, v in (options or {}).items() if v is not None}
    from_store = from_ in (None, STORE) and is_store(source)
    if view is not None and not from_store:
        raise UsageError(f"{source} is no granum store: only a store has saved views")
    format_, why = (None, "a store") if from_store else get_format(source, from_)
    reading, writing = _options_for(format_, to, given)
    direct = to == STORE and not chosen and not from_store and not dry_run and not check_media

    counts_of_map: dict[str, Any] = {}

    def change(dataset: Dataset) -> Dataset:
        if layer is not None:
            dataset = dataset.layer(layer)
        if view is not None:
            dataset = dataset.view(view)
        if map is not None:
            from granum.verbs.taxonomy import apply_map, read_map

            dataset, mapped = apply_map(dataset, read_map(map))
            counts_of_map.update(mapped.to_dict())
        if split is not None:
            dataset = dataset.filter(f"split == {split!r}")
        for condition in conditions:
            dataset = dataset.filter(condition)
        if categories:
            dataset = dataset.select_categories(categories)
        return dataset.filter(drop_empty=True) if drop_empty else dataset

    def run(builder: MemoryBuilder | StoreBuilder) -> Dataset:
        assert format_ is not None
        return _read_into(
            builder,
            format_,
            Path(source),
            images,
            findings,
            tables.DEFAULT_LAYER,
            reading,
            progress,
        )

    losses = LossReport(STORE)
    if direct:
        builder = StoreBuilder(target, overwrite=overwrite)
        try:
            dataset = written = run(builder)
        except BaseException:
            builder.abort()
            raise
    else:
        with _opened(source, target, from_store, images, run) as dataset:
            if check_media:
                from granum.verbs.validate import check_media as check

                check(dataset, findings)
            written = change(dataset)
            losses = write(
                written,
                target,
                to,
                allow_loss=allow_loss,
                media=media,
                overwrite=overwrite,
                dry_run=dry_run,
                **writing,
            )
            counts = _counts(dataset), _counts(written)
    if direct:
        counts = _counts(dataset), _counts(written)
    return Conversion(
        str(source),
        str(target),
        STORE if format_ is None else format_.name,
        why,
        to,
        *counts,
        findings,
        losses,
        time.perf_counter() - began,
        dry_run,
        counts_of_map,
    )


def _options_for(
    source: Format | None, to: str, given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options for reading and for writing.

    Raises:
        UsageError: one that neither format has.
    """
    reads = {} if source is None else options_of(source.read)
    writes = {} if to == STORE else options_of(formats[to].write)
    unknown = given.keys() - reads.keys() - writes.keys()
    if unknown:
        raise UsageError(
            f"no option {', '.join(sorted(unknown))} in reading "
            f"{STORE if source is None else source.name} ({', '.join(reads) or 'none'}) or writing "
            f"{to} ({', '.join(writes) or 'none'})"
        )
    return (
        {k: v for k, v in given.items() if k in reads},
        {k: v for k, v in given.items() if k in writes},
    )


def _counts(dataset: Dataset) -> dict[str, int]:
    return {
        "samples": len(dataset),
        "annotations": dataset.num_annotations,
        "categories": dataset.categories.num_rows,
    }


@contextmanager
def _opened(
    source: str | Path,
    target: Path,
    from_store: bool,
    images: str | Path | None,
    run: Callable[[MemoryBuilder | StoreBuilder], Dataset],
) -> Iterator[Dataset]:
    """The source as a dataset: opened, or read into a temporary store beside the target."""
    if from_store:
        yield open_dataset(source, media_root=images)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.parent / f".{target.name}.reading-{secrets.token_hex(4)}"
    try:
        yield run(StoreBuilder(scratch, sync=False))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
