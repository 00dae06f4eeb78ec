"""Running a reader: sniff the format, apply the policy, build the dataset."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from granum.errors import AmbiguousFormatError, FindingsError, FormatError, UsageError
from granum.loaders._notes import FILE as NOTES
from granum.loaders._notes import noted_format
from granum.loaders.base import Format, Intake, formats, options_of
from granum.loaders.checks import check_batch
from granum.schema import rows, tables
from granum.store.builder import Incoming, MemoryBuilder, StoreBuilder, batch_of_rows
from granum.store.dataset import Dataset, Meta
from granum.store.media import list_images

__all__ = ["checked_options", "get_format", "read_into", "sniff"]

ROWS_PER_BATCH = 2048
BYTES_PER_BATCH = 1 << 26
"""Of embedded images."""


def sniff(path: str | Path) -> dict[str, str]:
    """Formats that recognise ``path``, and why each does. A tree whose writer noted its format
    is of that one alone."""
    root = Path(path)
    own = noted_format(root)
    if own is not None and own in formats:
        return {own: f"{NOTES} says so"}
    found = {}
    for name in formats:
        format_ = formats[name]
        if format_.reads():
            why = format_().sniff(root)
            if why:
                found[name] = why
    return found


def get_format(path: str | Path, name: str | None) -> tuple[Format, str]:
    """The format of a source, and why it was chosen.

    Raises:
        FormatError: nothing is there.
        AmbiguousFormatError: several formats, or none, recognise it.
    """
    root = Path(path)
    if name is not None:
        return formats[name](), "as asked"
    if not root.exists():
        raise FormatError(root, "no such file or folder")
    found = sniff(root)
    if len(found) == 1:
        (only, why), *_ = found.items()
        return formats[only](), why
    if not found:
        raise AmbiguousFormatError(_unknown(root), {})
    listed = "\n".join(f"  --from {n:<14} {why}" for n, why in found.items())
    raise AmbiguousFormatError(f"{root} looks like several formats:\n{listed}", found)


def _unknown(root: Path) -> str:
    """That no format recognises a path: what was looked at, and what it resembles."""
    from granum.loaders.resembling import looked_at, nearest

    near = nearest(root)
    told = [f"  --from {name:<14} has {', '.join(shared)} as well" for name, shared in near]
    resembles = "\nIt resembles:\n" + "\n".join(told) if told else ""
    return (
        f"no format recognises {root}: {looked_at(root)}.{resembles}\n"
        f"Name one of them (granum formats), or the folder that holds the dataset."
    )


def checked_options(method: Any, options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """``options`` that ``method`` takes; None means not given.

    Raises:
        UsageError: one that it does not take.
    """
    known = options_of(method)
    given = {k: v for k, v in options.items() if v is not None}
    unknown = given.keys() - known.keys()
    if unknown:
        raise UsageError(
            f"{what} has no option {', '.join(sorted(unknown))}; it has: "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    hints = get_type_hints(method) if given else {}
    for name, value in given.items():
        choices = _choices(hints[name])
        if choices and value not in choices:
            listed = ", ".join(map(str, choices))
            raise UsageError(f"{what}: {name} is {value!r}; it must be one of {listed}")
        if isinstance(value, bool) != (hints[name] in (bool, bool | None)) and not choices:
            wanted = "a value" if isinstance(value, bool) else "yes or no"
            raise UsageError(f"{what}: {name} is {value!r}; it takes {wanted}")
    return given


def _choices(hint: Any) -> list[Any]:
    """The values that a hint allows, where it lists them all."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    inside = [a for a in get_args(hint) if a is not type(None)]
    return _choices(inside[0]) if len(inside) == 1 else []


def read_into(
    builder: MemoryBuilder | StoreBuilder,
    format_: Format,
    root: Path,
    intake: Intake,
    *,
    options: Mapping[str, Any],
    check: bool = True,
    lineage: Sequence[Mapping[str, Any]] = (),
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Read ``root`` into ``builder``.

    Args:
        builder: where batches go.
        format_: the format.
        root: file or folder.
        intake: findings and tables; its policy applies.
        options: the reader's own options.
        check: run the general checks on every batch (they are cheap).
        lineage: what to record about this reading; what was found is recorded with it.
        progress: called with the number of samples of each batch.

    Raises:
        FindingsError: there are findings of severity error and the policy is ``fail``.
        FormatError: the source cannot be read at all.
    """
    given = checked_options(format_.read, options, f"reading {format_.name}")
    with _collector_paused():
        _fill(builder, format_.read(root, intake, **given), intake, format_, check, progress)
    if intake.group_annotations:
        empty = rows.samples_to_table([])
        table = rows.annotations_to_table(
            intake.group_annotations, [None] * len(intake.group_annotations)
        )
        builder.add(Incoming(empty, {intake.layer: table}))
    if intake.on_error == "fail" and intake.findings.errors:
        raise FindingsError(intake.findings)
    builder.layers.update({n: {**builder.layers.get(n, {}), **i} for n, i in intake.layers.items()})
    return builder.finish(
        categories=rows.objects_to_table(intake.categories, tables.CATEGORIES),
        groups=rows.objects_to_table(intake.groups, tables.GROUPS),
        sources=rows.objects_to_table(intake.sources, tables.SOURCES),
        meta=Meta(
            shapes=intake.shapes,
            media_root=None if intake.media_root is None else str(intake.media_root.resolve()),
            map_root=None if intake.map_root is None else str(intake.map_root.resolve()),
            lineage=[{**step, "findings": intake.findings.account()} for step in lineage],
        ),
    )


def _fill(
    builder: MemoryBuilder | StoreBuilder,
    read: Iterable[Incoming | rows.Sample],
    intake: Intake,
    format_: Format,
    check: bool,
    progress: Callable[[int], None] | None,
) -> None:
    """Check what the reader yields and hand it to the builder."""
    for incoming in _batches(read, intake):
        if check:
            incoming = check_batch(incoming, intake, format_.name)
        builder.add(incoming)
        if progress is not None:
            progress(incoming.samples.num_rows)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile: readers make millions of objects and no cycles, and going
    over them again and again took a third of the time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _batches(read: Iterable[Incoming | rows.Sample], intake: Intake) -> Iterator[Incoming]:
    """Samples gathered to batches; keys made unique, annotations moved to the intake's layer."""
    seen: set[str] = set()
    waiting: list[rows.Sample] = []

    def unique(sample: rows.Sample) -> rows.Sample:
        if sample.key not in seen:
            seen.add(sample.key)
            return sample
        n = 2
        while f"{sample.key}#{n}" in seen:
            n += 1
        intake.fault("duplicate-key", sample.key, None, "a second sample has this key")
        seen.add(f"{sample.key}#{n}")
        return replace(sample, key=f"{sample.key}#{n}")

    def gathered() -> Incoming:
        batch = batch_of_rows(waiting)
        waiting.clear()
        return _to_layer(batch, intake.layer)

    finder = None if intake.images is None else ImageFinder(intake.images)
    size = 0
    for item in read:
        if isinstance(item, rows.Sample):
            path = getattr(item.media, "path", None)
            if finder is not None and path is not None and intake.media_root == intake.images:
                # Files name images by their own tree; the user may have them elsewhere.
                item = replace(item, media=rows.Media(path=finder.find(path) or path))
            waiting.append(unique(item))
            size += len(getattr(item.media, "bytes", None) or b"")
            if len(waiting) >= ROWS_PER_BATCH or size >= BYTES_PER_BATCH:
                size = 0
                yield gathered()
        else:
            if waiting:
                yield gathered()
            yield _to_layer(item, intake.layer)
    if waiting:
        yield gathered()


def _to_layer(batch: Incoming, layer: str) -> Incoming:
    if layer != tables.DEFAULT_LAYER and tables.DEFAULT_LAYER in batch.layers:
        batch.layers[layer] = batch.layers.pop(tables.DEFAULT_LAYER)
    return batch


class ImageFinder:
    """Finds images by file name under the folder that the user named.

    A name is looked up as written, then by its last component where that is unique.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, str | None] | None = None

    def find(self, name: str) -> str | None:
        """The path relative to ``root``, or None."""
        try:
            if (self.root / name).is_file():
                return name
        except (OSError, ValueError):
            return None
        if self._by_name is None:
            self._by_name = {}
            for path in list_images(self.root):
                base = path.rpartition("/")[2]
                self._by_name[base] = None if base in self._by_name else path
        return self._by_name.get(name.rpartition("/")[2])
