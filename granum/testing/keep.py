"""Refuse or keep: the promise that every writer is held to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from granum.errors import GranumError, LossError, SizeUnknownError
from granum.loaders.base import Format, Intake, formats
from granum.loaders.reading import read_into
from granum.loaders.writing import _projected, write_dataset
from granum.schema.findings import Findings, OnError
from granum.schema.losses import BOOKKEEPING, LossReport
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset
from granum.testing.media import with_maps, with_media
from granum.testing.recount import recount
from granum.testing.same import differences

__all__ = ["read_back", "refuse_or_keep", "snapshot"]

NOT_DATA = BOOKKEEPING - {"kind"}


def read_back(
    format_name: str,
    path: Path,
    options: Mapping[str, Any] | None = None,
    on_error: OnError = "fail",
) -> Dataset:
    """What the format's reader makes of ``path``.

    Raises:
        FindingsError, FormatError: as reading does.
    """
    return read_into(
        MemoryBuilder(),
        formats[format_name](),
        path,
        Intake(Findings(on_error)),
        options=options or {},
    )


def snapshot(dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, copied."""
    return {
        "samples": dataset.samples().to_pylist(),
        "categories": dataset.categories.to_pylist(),
        "groups": dataset.groups.to_pylist(),
        "sources": dataset.sources.to_pylist(),
        **{f"layer {n}": dataset.annotations(layer=n).to_pylist() for n in dataset.meta.layers},
    }


def refuse_or_keep(
    format_name: str,
    dataset: Dataset,
    tmp_path: Path,
    *,
    target: str = "out",
    media: str | None = None,
    must_keep: bool = False,
    read_options: Mapping[str, Any] | None = None,
    **write_options: Any,
) -> bool:
    """Hold a format to its promise for one dataset.

    With no loss allowed it refuses and writes nothing, or reading back gives the same data within
    the declared tolerance. With every loss allowed it writes, the account adds up, and reading
    back gives what ``project`` promised, value by value as the account says. The dataset itself
    stays as it was.

    Args:
        format_name: a registered format that writes.
        dataset: any; formats that are made of images get tiny ones.
        tmp_path: a folder to work in.
        target: name of the folder or file to write.
        media: the media mode; ``copy`` by default where the format is made of images.
        must_keep: refusing is no way out.
        read_options: options of the reader.
        write_options: options of the writer.

    Returns:
        Whether it was kept.

    Raises:
        AssertionError: the promise was broken.
    """
    format_ = formats[format_name]()
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    dataset = with_maps(dataset, folder / "maps")
    if format_.media_is_data or media not in (None, "none"):
        dataset = with_media(dataset, folder / "media")
    check = _Check(
        format_,
        dataset,
        media or ("copy" if format_.media_is_data else "none"),
        dict(read_options or {}),
        write_options,
        must_keep,
    )
    before = snapshot(dataset)
    try:
        kept = check.run(folder, target)
    except SizeUnknownError:
        # Pixels can be had: show that with images at hand it works.
        _require(_some_size_unknown(dataset), "SizeUnknownError, but every size is known")
        _nothing_in(folder / "strict", folder / "lenient")
        (folder / "sized").mkdir()
        check.dataset = with_media(dataset, folder / "media")
        before = snapshot(check.dataset)
        kept = check.run(folder / "sized", target)
    _require(snapshot(check.dataset) == before, "writing changed the dataset itself")
    return kept


class _Check:
    def __init__(
        self,
        format_: Format,
        dataset: Dataset,
        media: str,
        read_options: dict[str, Any],
        write_options: dict[str, Any],
        must_keep: bool,
    ) -> None:
        self.must_keep = must_keep
        self.format, self.dataset, self.media = format_, dataset, media
        self.read_options, self.write_options = read_options, write_options

    def write(self, target: Path, allow: Iterable[str]) -> LossReport:
        target.parent.mkdir(exist_ok=True)
        return write_dataset(
            self.dataset,
            target,
            self.format.name,
            allow_loss=allow,
            media=self.media,
            options=self.write_options,
        )

    def read(self, target: Path) -> Dataset:
        try:
            return read_back(self.format.name, target, self.read_options)
        except GranumError as error:
            raise AssertionError(
                f"{self.format.name} cannot read what it wrote: {error}"
            ) from error

    def run(self, folder: Path, target: str) -> bool:
        """Whether it was kept."""
        kept = self.strict(folder / "strict" / target)
        if kept is None:
            path = folder / "lenient" / target
            report = self.write(path, ["all"])
            _only(path)
            self.agree(report, self.read(path))
        else:
            self.agree(*kept)
        return kept is not None

    def strict(self, target: Path) -> tuple[LossReport, Dataset] | None:
        """No loss allowed: the account and what was read back, or None where it refused."""
        name = self.format.name
        try:
            report = self.write(target, ())
        except LossError as error:
            _require(bool(error.refused), "LossError without a name of what is lost")
            _nothing_in(target.parent)
            _require(not self.must_keep, f"{name} must keep this, but refuses it: {error}")
            return None
        _require(target.exists(), f"{name} wrote nothing at {target.name}")
        _only(target)
        back = self.read(target)
        found = differences(
            self.dataset,
            back,
            tolerance=self.format.tolerance,
            ignore=NOT_DATA,
            ordered=_ordered(self.format),
        )
        _none(found, f"{name} wrote without refusing, but read back:")
        _require(not report.lost_names(), f"{name} lost {report.lost_names()} without refusing")
        return report, back

    def agree(self, report: LossReport, back: Dataset) -> None:
        """What comes back is what was said."""
        name = self.format.name
        for row in report.rows:
            said = f"{row.table} {row.kind or ''} {row.column}: {row}"
            _require(row.kept + row.changed + row.lost == row.total, f"does not add up: {said}")
        promised = _projected(self.dataset, self.format, self.write_options)
        keeps = self.format.keeps
        if "layers" not in keeps:  # what is not written need not be projected
            current = promised.meta.layer
            promised = promised._with(meta=replace(promised.meta, layers={current: {}}))
        ignore = {
            *NOT_DATA,
            *(() if "group" in keeps else ["groups"]),
            *(() if "layers" in keeps else ["layers"]),
        }
        found = differences(promised, back, ignore=ignore, ordered=_ordered(self.format))
        _none(found, f"{name} promised (project) something else than it read back:")
        wrong = recount(report, self.format, self.dataset, promised, back)
        _none(wrong, f"{name} accounts for something else than it read back:")


def _some_size_unknown(dataset: Dataset) -> bool:
    sizes = dataset.samples(["width", "height"])
    return bool(sizes["width"].null_count or sizes["height"].null_count)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _none(found: list[str], title: str) -> None:
    _require(not found, title + "".join(f"\n  {line}" for line in found))


def _nothing_in(*folders: Path) -> None:
    left = [str(p) for f in folders if f.exists() for p in f.rglob("*")]
    _require(not left, f"it refused, but left {left}")


def _only(target: Path) -> None:
    beside = [p.name for p in target.parent.iterdir() if p != target]
    _require(not beside, f"beside {target.name} it left {beside}")


def _ordered(format_: Format) -> bool:
    """Whether the format promises the order of rows."""
    return "record" in format_.keeps if format_.ordered is None else format_.ordered
