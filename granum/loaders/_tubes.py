"""Tubes of actions as columns: gathered from arrays of frames and corners, given as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._clips import group_facts
from granum.loaders._columns import constant
from granum.loaders.base import Intake
from granum.schema import rows, tables
from granum.store.builder import Incoming

__all__ = [
    "Frames",
    "TubeReader",
    "Tubes",
    "frame_keys",
    "object_table",
    "tube_batches",
    "whole_table",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BATCH = 65_536
"""Boxes of a batch, of whole videos."""


@dataclass
class Tubes:
    """Tubes, those of a video together, in the order of the groups.

    Attributes:
        video, label: of each tube: row of the group, number of the label.
        begin: where the rows of each tube begin, and where the last one ends.
        frame: of each row, as the file numbers it.
        boxes: of each row, shape (rows, 4): x, y, width, height in pixels.
        score: of each tube; box_score: of each row. None where there are none.
    """

    video: Ints
    label: Ints
    begin: Ints
    frame: Ints
    boxes: Floats
    score: Floats | None = None
    box_score: Floats | None = None

    def __len__(self) -> int:
        return len(self.video)

    def owner(self) -> Ints:
        """For each row its tube."""
        return np.repeat(np.arange(len(self)), np.diff(self.begin))


@dataclass
class TubeReader:
    """Gathers tubes, one array at a time, and reports those that are none.

    Args:
        intake: gets faults.
        where: name of the file.
        columns: of each array: 5, or 6 with a score.
        labels: how many there are; ``categories`` is the row of each.
    """

    intake: Intake
    where: str
    categories: list[int]
    columns: int = 5
    _video: list[int] = field(default_factory=list)
    _label: list[int] = field(default_factory=list)
    _score: list[float] = field(default_factory=list)
    _arrays: list[npt.NDArray[Any]] = field(default_factory=list)
    _places: list[tuple[Any, ...]] = field(default_factory=list)

    def fault(self, code: str, place: tuple[Any, ...], message: str) -> None:
        shown = "".join(f"[{p!r}]" if isinstance(p, str) else f"[{p}]" for p in place[1:])
        self.intake.fault(code, self.where, f"{place[0]}{shown}", message)

    def known(self, label: Any, place: tuple[Any, ...]) -> bool:
        """Whether there is such a label; ``fix`` makes those that are missing."""
        if not isinstance(label, int | np.integer) or isinstance(label, bool) or label < 0:
            self.fault("bad-value", place, f"the label {_short(label)} is no number from 0")
            return False
        n = len(self.categories)
        if label < n:
            return True
        self.fault("unknown-class", place, f"label {label}; {n} are named")
        if self.intake.on_error != "fix" or label >= n + 10_000:
            return False
        for number in range(n, int(label) + 1):
            made = rows.Category(f"label {number}", "action", str(number))
            self.categories.append(self.intake.add_category(made))
        return True

    def add(
        self, video: int, label: int, array: Any, place: tuple[Any, ...], score: float = np.nan
    ) -> None:
        """Take one tube, whose label is known."""
        good = isinstance(array, np.ndarray) and array.dtype.kind in "iuf"
        if not good or array.ndim != 2 or array.shape[1] != self.columns:
            shape = (
                f" of {array.dtype}, shape {array.shape}" if isinstance(array, np.ndarray) else ""
            )
            wanted = f"numbers of shape (frames, {self.columns})"
            self.fault("bad-value", place, f"{type(array).__name__}{shape}, not {wanted}")
            return
        self._video.append(video)
        self._label.append(int(label))
        self._score.append(score)
        self._arrays.append(array)
        self._places.append(place)

    def tubes(self, length: Ints) -> Tubes:
        """All of them in columns; rows without a frame are left out, and told once a tube.

        ``length``: of each video, in frames.
        """
        counts = np.array([len(a) for a in self._arrays], np.int64)
        # Each as float64 before any arithmetic: integers of eight bits would overflow.
        values = np.concatenate(
            [np.empty((0, self.columns)), *self._arrays], dtype=np.float64, casting="unsafe"
        )
        frame = values[:, 0]
        with np.errstate(invalid="ignore"):
            good = (frame >= 1) & (frame == np.floor(frame)) & (frame < 10**9)
        owner = np.repeat(np.arange(len(counts)), counts)
        for tube in np.unique(owner[~good]).tolist():
            bad = frame[(owner == tube) & ~good]
            message = f"{len(bad)} rows without a frame from 1 (first: {bad[0]:g})"
            self.fault("bad-value", self._places[tube], message)
        values, owner = values[good], owner[good]
        corners = values[:, 1:5]
        boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        begin = np.searchsorted(owner, np.arange(len(counts) + 1))
        score = np.array(self._score)
        out = Tubes(
            np.array(self._video, np.int64),
            np.array(self._label, np.int64),
            begin.astype(np.int64),
            values[:, 0].astype(np.int64),
            boxes,
            None if np.isnan(score).all() else score,
            values[:, 5] if self.columns > 5 else None,
        )
        self._check(out, length[out.video])
        return out

    def _check(self, tubes: Tubes, length: Ints) -> None:
        """A frame twice in a tube, and frames beyond the end of the video."""
        owner = tubes.owner()
        order = np.lexsort((tubes.frame, owner))
        of, frame = owner[order], tubes.frame[order]
        twice = np.flatnonzero((of[1:] == of[:-1]) & (frame[1:] == frame[:-1]))
        for row in twice.tolist():
            self.fault("duplicate-track", self._places[of[row]], f"frame {frame[row]} twice")
        for tube in np.unique(owner[tubes.frame > length[owner]]).tolist():
            last = tubes.frame[owner == tube].max()
            message = f"frame {last} of a video of {length[tube]}"
            self.fault("frame-out-of-range", self._places[tube], message)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


# ---------------------------------------------------------------------- as tables


@dataclass(frozen=True)
class Frames:
    """What is known of the samples.

    Attributes:
        splits: of each group.
        files: gives the paths of images, of the videos' names and frames; None where there are
            none.
    """

    splits: Sequence[str | None]
    files: Any = None


def tube_batches(
    tubes: Tubes, intake: Intake, frames: Frames, categories: Sequence[int]
) -> Iterator[Incoming]:
    """Samples for all frames that have boxes, in the order of groups and frames, and the tubes:
    rows of their boxes, and one row of kind ``track`` on the group for each tube.

    Args:
        tubes: all of them.
        intake: its groups are the videos.
        frames: of the samples.
        categories: the row of each label.
    """
    groups = intake.groups
    owner = tubes.owner()
    video = tubes.video[owner]
    order = np.lexsort((owner, tubes.frame, video))
    video, frame = video[order], tubes.frame[order]
    new = np.append(True, (video[1:] != video[:-1]) | (frame[1:] != frame[:-1]))[: len(video)]
    sample = np.cumsum(new) - 1
    of, number = video[new], frame[new]
    ends = np.searchsorted(video, np.arange(len(groups)), side="right")
    facts = _Facts(groups, frames)
    first = 0
    while first < len(groups):
        begin = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, begin + BATCH)), first + 1)
        end = int(ends[min(last, len(groups)) - 1])
        lowest, highest = np.searchsorted(of, [first, last])
        objects = object_table(
            tubes, order[begin:end], owner, sample[begin:end] - lowest, None, categories
        )
        chosen = np.arange(*np.searchsorted(tubes.video, [first, last]))
        whole = whole_table(tubes, chosen, chosen, categories)
        yield Incoming(
            facts.samples(of[lowest:highest], number[lowest:highest]),
            {tables.DEFAULT_LAYER: pa.concat_tables([objects, whole], promote_options="default")},
        )
        first = last


def object_table(
    tubes: Tubes,
    chosen: Ints,
    owner: Ints,
    sample: Ints,
    track: Ints | None,
    categories: Sequence[int],
) -> pa.Table:
    """Rows of tubes as objects.

    Args:
        tubes: all of them.
        chosen: which rows.
        owner: the tube of each row of ``tubes``.
        sample: the sample of each chosen row.
        track: the number of each tube's track, -1 for none; that of the tube where not given.
        categories: the row of each label.
    """
    tube = owner[chosen]
    numbers = tube if track is None else track[tube]
    out = {
        "sample": pa.array(sample),
        "kind": constant("object", len(chosen)),
        "category": pa.array(np.array(categories, np.int32)[tubes.label[tube]]),
        "bbox": pa.FixedSizeListArray.from_arrays(pa.array(tubes.boxes[chosen].ravel()), 4),
        "track": pa.array(numbers, mask=numbers < 0),
    }
    if tubes.box_score is not None:
        out["score"] = pa.array(tubes.box_score[chosen])
    return tables.conform(pa.table(out), tables.ANNOTATIONS)


def whole_table(tubes: Tubes, chosen: Ints, track: Ints, categories: Sequence[int]) -> pa.Table:
    """Tubes as rows of their groups; ``track`` is the number of each chosen one."""
    out = {
        "sample": pa.nulls(len(chosen), pa.int64()),
        "group": pa.array(tubes.video[chosen]),
        "kind": constant("track", len(chosen)),
        "category": pa.array(np.array(categories, np.int32)[tubes.label[chosen]]),
        "track": pa.array(track),
    }
    if tubes.score is not None:
        out["score"] = pa.array(tubes.score[chosen], mask=np.isnan(tubes.score[chosen]))
    return tables.conform(pa.table(out), tables.ANNOTATIONS)


def frame_keys(names: pa.Array, number: Ints) -> pa.Array:
    """``video/000012`` for each video's name and frame."""
    digits = pc.utf8_lpad(pa.array(number).cast(pa.string()), 6, "0")
    return pc.binary_join_element_wise(names, digits, "/")


class _Facts:
    """Samples of groups."""

    def __init__(self, groups: Sequence[rows.Group], frames: Frames) -> None:
        self.names = pa.array([g.key for g in groups], pa.string())
        self.sizes = {n: group_facts(groups, n, -1) for n in ("width", "height")}
        self.splits = pa.array(frames.splits, pa.string()).dictionary_encode()
        self.files = frames.files

    def samples(self, group: Ints, number: Ints) -> pa.Table:
        n, at = len(group), pa.array(group)
        names = self.names.take(at)
        out: dict[str, Any] = {
            "key": frame_keys(names, number),
            "media_kind": constant("frame", n),
            "unit": constant("pixel", n),
            "group": at,
            "order": pa.array(number),
            "split": self.splits.take(at),
        }
        for name, sizes in self.sizes.items():
            size = sizes[group]
            out[name] = pa.array(size.astype(np.int32), mask=size < 0)
        if self.files is not None:
            paths = self.files(names, number)
            fields = ["path", "bytes"]
            out["media"] = pa.StructArray.from_arrays([paths, pa.nulls(n, pa.binary())], fields)
        return tables.conform(pa.table(out), tables.SAMPLES)
