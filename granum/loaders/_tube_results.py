"""Results of detecting actions, of frames or tubes, as predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.errors import FormatError
from granum.loaders._clips import group_facts
from granum.loaders._tube_file import Truth
from granum.loaders._tubes import Frames, TubeReader, Tubes, tube_batches
from granum.loaders.base import Intake
from granum.schema import tables
from granum.schema.tables import column
from granum.store.builder import Incoming

__all__ = ["are_results", "read_results"]


def are_results(found: Any) -> bool:
    """Whether a pickle's object may be results: an array (detections, 8), or tubes by label."""
    if isinstance(found, np.ndarray):
        return found.ndim == 2 and found.shape[1] == 8
    return isinstance(found, Mapping)


def read_results(
    found: Any,
    where: str,
    truth: Truth,
    intake: Intake,
    categories: list[int],
    scored: str | None = "val",
) -> Iterator[Incoming]:
    """Detections as predictions: objects with scores, and rows of tubes with theirs.

    Args:
        found: the pickle's object.
        where: its name.
        truth: the ground truth, whose videos are the intake's groups.
        intake: gets faults.
        categories: the row of each label.
        scored: the split whose videos detections in frames number.

    Raises:
        FormatError: an array that holds no numbers.
    """
    reader, frames = TubeReader(intake, where, categories, 6), Frames(truth.splits)
    if isinstance(found, Mapping):
        _take_tubes(found, truth.videos, reader)
        tubes = reader.tubes(group_facts(intake.groups, "frames", 10**9))
        tubes = _reordered(tubes, np.argsort(tubes.video, kind="stable"))
        yield from tube_batches(tubes, intake, frames, categories)
        return
    listed = [i for i, split in enumerate(truth.splits) if split == scored]
    tubes = _frame_results(found, listed, reader)
    for batch in tube_batches(tubes, intake, frames, categories):
        table = batch.layers[tables.DEFAULT_LAYER]
        # Each detection stands alone.
        alone = table.slice(0, table.num_rows - column(table, "sample").null_count)
        batch.layers[tables.DEFAULT_LAYER] = tables.without_columns(alone, ["track", "group"])
        yield batch


def _take_tubes(found: Mapping[Any, Any], videos: Sequence[str], reader: TubeReader) -> None:
    """Gather ``{label: [(video, score, array)]}``."""
    rows_of = {name: i for i, name in enumerate(videos)}
    for label, listed in found.items():
        place: tuple[Any, ...] = ("label", label if isinstance(label, int | np.integer) else "?")
        if not reader.known(label, place):
            continue
        if not isinstance(listed, list | tuple):
            reader.fault("bad-value", place, "no list of tubes")
            continue
        for number, one in enumerate(listed):
            at = (*place, number)
            if not isinstance(one, list | tuple) or len(one) != 3:
                reader.fault("bad-value", at, "not (video, score, array)")
            elif not isinstance(one[0], str) or one[0] not in rows_of:
                message = f"the ground truth has no video {str(one[0])[:80]!r}"
                reader.fault("unknown-sample", at, message)
            elif not _is_number(one[1]):
                reader.fault("nan-score", at, f"the score is {str(one[1])[:40]}")
            else:
                reader.add(rows_of[one[0]], int(label), one[2], at, float(one[1]))


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float | np.integer | np.floating)
        and not isinstance(value, bool)
        and bool(np.isfinite(value))
    )


def _reordered(tubes: Tubes, order: npt.NDArray[np.int64]) -> Tubes:
    """Tubes in another order."""
    counts = np.diff(tubes.begin)[order]
    begin = np.concatenate([[0], np.cumsum(counts)])
    rows_ = np.repeat(tubes.begin[:-1][order] - begin[:-1], counts) + np.arange(counts.sum())
    return replace(
        tubes,
        video=tubes.video[order],
        label=tubes.label[order],
        begin=begin,
        frame=tubes.frame[rows_],
        boxes=tubes.boxes[rows_],
        score=None if tubes.score is None else tubes.score[order],
        box_score=None if tubes.box_score is None else tubes.box_score[rows_],
    )


def _frame_results(found: Any, scored: Sequence[int], reader: TubeReader) -> Tubes:
    """Detections (n, 8) as tubes of one frame each; ``scored`` are the videos they number."""
    try:
        values = found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError(reader.where, f"an array of {found.dtype}, not of numbers") from error
    video, frame, label, score = values[:, :4].T
    good = np.ones(len(values), bool)
    for code, name, numbers, lowest, highest in (
        ("unknown-sample", "video", video, 0, len(scored) - 1),
        ("bad-value", "frame", frame, 1, 10**9 - 1),
        ("unknown-class", "label", label, 0, len(reader.categories) - 1),
    ):
        with np.errstate(invalid="ignore"):
            fits = (numbers >= lowest) & (numbers <= highest) & (numbers == np.floor(numbers))
        _report(reader, code, good & ~fits, name, numbers)
        good &= fits
    finite = np.isfinite(score)
    _report(reader, "nan-score", good & ~finite, "the score is", score)
    at = np.flatnonzero(good & finite)
    videos = np.array([*scored, -1], np.int64)[video[at].astype(np.int64)]
    at = at[np.argsort(videos, kind="stable")]
    boxes = values[at, 4:].copy()
    boxes[:, 2:] -= boxes[:, :2]
    return Tubes(
        np.sort(videos),
        label[at].astype(np.int64),
        np.arange(len(at) + 1),
        frame[at].astype(np.int64),
        boxes,
        None,
        score[at],
    )


def _report(
    reader: TubeReader,
    code: str,
    where: npt.NDArray[np.bool_],
    name: str,
    numbers: npt.NDArray[np.float64],
) -> None:
    """Rows of an array that are left out."""
    for row in np.flatnonzero(where).tolist():
        reader.fault(code, ("row", row), f"{name} {numbers[row]:g}")
