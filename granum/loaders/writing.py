"""Running a writer: account for losses, refuse or write, place the media."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from granum.errors import FormatError, GranumError, LossError, UsageError
from granum.loaders.base import Format, formats
from granum.loaders.reading import checked_options
from granum.schema import losses, tables
from granum.schema.tables import column
from granum.store.dataset import Dataset
from granum.store.media import media_path
from granum.store.out import Out, atomic_output, safe_relative
from granum.store.parts import Batch

__all__ = ["MEDIA_MODES", "account", "write_dataset"]

MEDIA_MODES = ("none", "copy", "link", "hardlink")


def account(dataset: Dataset, format_: Format, options: Mapping[str, Any]) -> losses.LossReport:
    """What writing ``dataset`` would keep, change and lose; writes nothing."""
    report = losses.LossReport(format_.name)
    turned = format_.turned_rings
    meter = losses.Meter(report, format_.keeps, format_.tolerance, turned_rings=turned)
    layer = dataset.meta.layer
    for batch in dataset.iter_batches():
        kept = format_.project(batch, dataset, **options)
        meter.samples(batch.samples, kept.samples)
        meter.annotations(
            batch.samples, batch.start, batch.annotations, kept.annotations, kept.samples
        )
    meter.categories(dataset.categories, format_.project_categories(dataset.categories))
    groups = _groups(dataset)
    meter.whole(
        "groups", "group", len(groups), 0 if "group" in format_.keeps else len(groups), groups
    )
    others = [n for n in dataset.meta.layers if n != layer and _filled(dataset, n)]
    if others and not dataset.meta.chosen:
        kept_layers = "layers" in format_.keeps
        meter.whole("layers", "layers", len(others), 0 if kept_layers else len(others), others)
    return report


def _groups(dataset: Dataset) -> list[str]:
    """Keys of the groups that matter: of a selection, those that its rows refer to."""
    keys: list[str] = dataset.groups["key"].to_pylist()
    if not dataset.meta.selected or not keys:
        return keys
    used = {*dataset.samples(["group"])["group"].unique().to_pylist()}
    used |= {*dataset.annotations(["group"])["group"].unique().to_pylist()}
    return [key for row, key in enumerate(keys) if row in used]


def _filled(dataset: Dataset, layer: str) -> bool:
    return any(p.layer(layer).num_rows for p in dataset.parts)


def write_dataset(
    dataset: Dataset,
    target: str | Path,
    to: str,
    *,
    allow_loss: Iterable[str] = (),
    media: str = "none",
    overwrite: bool = False,
    dry_run: bool = False,
    options: Mapping[str, Any] | None = None,
) -> losses.LossReport:
    """Write ``dataset`` in format ``to``; all of it or nothing.

    Args:
        dataset: what to write (its current layer).
        target: a folder, or a file where the format writes one (by suffix).
        to: name of the format.
        allow_loss: names of kinds and columns that may be lost; ``all`` for any.
        media: ``none``, ``copy``, ``link`` (symbolic) or ``hardlink``.
        overwrite: replace what is there.
        dry_run: only account for losses.
        options: the writer's own options.

    Returns:
        The account of what was kept, changed and lost.

    Raises:
        LossError: something that was not allowed would be lost; nothing was written.
        ExistsError: the target exists.
        UsageError: an option or media mode that the format does not have.
    """
    if media not in MEDIA_MODES:
        raise UsageError(f"unknown media mode {media!r}; known: {', '.join(MEDIA_MODES)}")
    format_ = formats[to]()
    if not format_.writes():
        raise UsageError(f"granum does not write {to}")
    given = checked_options(format_.write, options or {}, f"writing {to}")
    if format_.media_is_data and media == "none":
        raise UsageError(f"{to} is made of the images themselves: --media copy|link|hardlink")
    if format_.media_inside and media not in ("none", "copy"):
        raise UsageError(f"{to} puts images into its own files: --media copy")
    target = Path(target)
    single = target.suffix.lower() in format_.single
    report = account(dataset, format_, given)
    report.allowed = sorted(losses.expand(allow_loss))
    refused = report.refused(allow_loss)
    if refused:
        raise LossError(report, refused)
    if media == "none" and format_.media_note:
        report.notes.append(format_.media_note)
    if dry_run:
        return report
    projected = _projected(dataset, format_, given)
    with atomic_output(target, overwrite=overwrite, single=single) as out:
        out.embed = media != "none"
        format_.write(projected, out, **given)
        if media != "none" and not format_.media_inside:
            if single:
                raise UsageError(f"{target} is one file; name a folder to place media in")
            _place(dataset, projected, format_, out, media, target)
    return report


def _projected(dataset: Dataset, format_: Format, options: Mapping[str, Any]) -> Dataset:
    def change(batch: Batch) -> Batch:
        return format_.project(batch, dataset, **options)

    changed = dataset.map_batches(change)
    return Dataset(
        changed.parts,
        format_.project_categories(dataset.categories),
        dataset.groups,
        dataset.sources,
        dataset.meta,
    )


def _place(
    dataset: Dataset, projected: Dataset, format_: Format, out: Out, mode: str, target: Path
) -> None:
    """Copy or link each image to where the format wants it."""
    names = (name for batch in format_.image_names(projected) for name in batch)
    media = column(dataset.samples(["media"]), "media")
    root = dataset.meta.media_root
    missing = []
    for entry, name in zip(media, names, strict=True):
        value = entry.as_py()
        if value is not None and value["bytes"] is not None:
            out.bytes(name, value["bytes"])
            continue
        if value is None or value["path"] is None:
            raise GranumError(f"{name}: the sample has no media path; --media none")
        if root is None:
            raise GranumError("no media root is known: name the images' folder with --images")
        source = Path(root) / safe_relative(value["path"], root)
        if not source.is_file():
            missing.append(str(source))
            continue
        path = out.path(name)
        if mode == "copy":
            shutil.copyfile(source, path)
        elif mode == "hardlink":
            os.link(source.resolve(), path)
        else:
            path.symlink_to(source.resolve())
    if missing:
        raise FormatError(
            missing[0],
            f"{len(missing)} image(s) are absent; use --media none, or name their folder",
        )


def with_sizes(dataset: Dataset) -> Dataset:
    """``dataset`` with the width and height of every sample, from image headers where unknown.

    Raises:
        SizeUnknownError: some are neither stored nor readable.
    """
    from granum.errors import SizeUnknownError
    from granum.schema.rows import Media
    from granum.store.media import image_sizes

    table = dataset.samples(["key", "media", "width", "height"])
    width = np.asarray(table["width"].fill_null(-1), np.int64).copy()
    height = np.asarray(table["height"].fill_null(-1), np.int64).copy()
    unknown = np.flatnonzero((width < 0) | (height < 0))
    if not len(unknown):
        return dataset
    root = dataset.meta.media_root
    sources: list[Path | bytes] = []
    failed: list[str] = []
    for i in unknown.tolist():
        value = table["media"][i].as_py()
        try:
            if value is not None and value["bytes"] is not None:
                sources.append(value["bytes"])
            else:
                sources.append(media_path(Media(**(value or {})), root))
        except GranumError:
            failed.append(table["key"][i].as_py())
    if failed:
        raise SizeUnknownError(failed)
    for i, size in zip(unknown.tolist(), image_sizes(sources), strict=True):
        if isinstance(size, GranumError):
            failed.append(table["key"][i].as_py())
        else:
            width[i], height[i] = size
    if failed:
        raise SizeUnknownError(failed)

    def change(batch: Batch) -> Batch:
        stop = batch.start + batch.samples.num_rows
        samples = batch.samples
        for name, values in (("width", width), ("height", height)):
            samples = tables.with_column(
                samples, name, pa.array(values[batch.start : stop], pa.int32())
            )
        return Batch(samples, batch.annotations, batch.start)

    return dataset.map_batches(change)
