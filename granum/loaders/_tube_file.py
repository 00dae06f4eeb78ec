"""The pickle of ground truth that ACT's code reads, and those of its successors.

``{"labels": [name], "gttubes": {video: {label: [array]}}, "nframes": {video: n}, "resolution":
{video: (height, width)}, "train_videos": [[video]], "test_videos": [[video]]}``: a label is a
number from 0, an array has shape (frames, 5), a row is a frame from 1, then x1, y1, x2, y2 in
pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from granum.errors import FormatError
from granum.loaders._pickles import load_pickle
from granum.loaders._tubes import TubeReader, Tubes
from granum.loaders.base import Intake
from granum.schema import rows

__all__ = ["Truth", "load_truth", "split_lists", "truth_tubes", "video_groups"]

Clip = Callable[[str], "str | None"]


@dataclass
class Truth:
    """The parts of such a file.

    Attributes:
        where: its name.
        labels: names of the classes.
        videos: names, in the order of the lists, then of the tubes.
        splits: of each video.
        frames, resolution, tubes: by video, as they stand there.
    """

    where: str
    labels: list[str]
    videos: list[str]
    splits: list[str | None]
    frames: Mapping[Any, Any] = field(default_factory=dict)
    resolution: Mapping[Any, Any] = field(default_factory=dict)
    tubes: Mapping[Any, Any] = field(default_factory=dict)


def split_lists(value: Any) -> list[list[str]] | None:
    """Lists of videos, one for each way to split; a flat list is one of them."""
    if not isinstance(value, list | tuple):
        return None
    if all(isinstance(v, str) for v in value):
        return [list(value)] if value else []
    if not all(isinstance(v, list | tuple) and all(isinstance(n, str) for n in v) for v in value):
        return None
    return [list(v) for v in value]


def load_truth(
    path: Path, where: str, intake: Intake, splits: tuple[str, str], way: int = 1
) -> Truth:
    """Load a file.

    Args:
        path: the file.
        where: its name in findings.
        intake: gets faults.
        splits: what ``train_videos`` and ``test_videos`` are.
        way: which of several ways to split counts, from 1.

    Raises:
        FormatError: it is no such pickle.
    """
    found = load_pickle(path, where)
    if not isinstance(found, Mapping) or "gttubes" not in found:
        raise FormatError(where, "no dictionary with the key gttubes")
    labels = found.get("labels")
    if not isinstance(labels, list | tuple) or not all(isinstance(n, str) for n in labels):
        intake.fault("missing-categories", where, "labels", "no list of names")
        labels = []
    by_split: dict[str, str] = {}
    for key, split in zip(("train_videos", "test_videos"), splits, strict=True):
        lists = split_lists(found.get(key))
        if lists is None:
            intake.fault("missing-key", where, key, "no lists of videos")
        elif lists and not 1 <= way <= len(lists):
            raise FormatError(where, f"{key} has {len(lists)} ways to split, not {way}")
        for name in lists[way - 1] if lists else ():
            if by_split.setdefault(name, split) != split:
                message = f"{name} is in train_videos as well"
                intake.fault("conflicting-records", where, key, message)
    facts = {k: _facts(found, k, intake, where) for k in ("nframes", "resolution", "gttubes")}
    videos = dict.fromkeys(by_split)
    for known in (facts["gttubes"], facts["nframes"]):
        for name in known:
            if isinstance(name, str):
                videos.setdefault(name)
            else:
                message = f"the video {name!r} is no text"
                intake.fault("bad-value", where, None, message[:200])
    names = list(videos)
    return Truth(where, list(labels), names, [by_split.get(n) for n in names], *facts.values())


def _facts(found: Mapping[Any, Any], key: str, intake: Intake, where: str) -> Mapping[Any, Any]:
    value = found.get(key)
    if isinstance(value, Mapping):
        return value
    intake.fault("missing-key", where, key, "no dictionary of videos")
    return {}


def video_groups(truth: Truth, intake: Intake, clip: Clip) -> Iterator[rows.Group]:
    """A group for each video; ``clip`` gives the path of its file, of its name."""
    for name, split in zip(truth.videos, truth.splits, strict=True):
        frames = _whole(truth.frames.get(name))
        if frames is None:
            stated = truth.frames.get(name)
            if stated is not None:
                place = f"nframes[{name!r}]"
                intake.fault("bad-value", truth.where, place, f"{str(stated)[:60]} frames")
        size = truth.resolution.get(name)
        height, width = (
            map(_whole, size)
            if isinstance(size, list | tuple | np.ndarray) and np.shape(size) == (2,)
            else (None, None)
        )
        if height is None or width is None:
            place = f"resolution[{name!r}]"
            intake.fault("missing-size", truth.where, place, f"{str(size)[:60]}, no height, width")
            height = width = None
        media = clip(name)
        attributes: dict[str, Any] = {"first_frame": 1}
        yield rows.Group(
            name,
            "video",
            media=None if media is None else rows.Media(path=media),
            width=width,
            height=height,
            frames=frames,
            attributes=attributes if split is None else {"split": split, **attributes},
        )


def _whole(value: Any) -> int | None:
    """A number of frames or pixels."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    good = 0 <= value < 2**31 and value == int(value)
    return int(value) if good else None


def truth_tubes(
    truth: Truth, intake: Intake, categories: list[int], names: list[str] | None = None
) -> Tubes:
    """The tubes of a file, in columns.

    Args:
        truth: the file.
        intake: gets faults; its groups are the videos.
        categories: the row of each label; rows for unknown ones are added.
        names: of the videos, by group; those of the file where not given.
    """
    reader = TubeReader(intake, truth.where, categories)
    videos = truth.videos if names is None else names
    for video, name in enumerate(videos):
        labels = truth.tubes.get(name, {})
        if not isinstance(labels, Mapping):
            reader.fault("bad-value", ("gttubes", name), "no dictionary of labels")
            continue
        for label, listed in labels.items():
            place = ("gttubes", name, label if isinstance(label, int | np.integer) else "?")
            if not reader.known(label, place):
                continue
            if not isinstance(listed, list | tuple):
                reader.fault("bad-value", place, "no list of tubes")
                continue
            for number, array in enumerate(listed):
                reader.add(video, int(label), array, (*place, number))
    length = [_whole(truth.frames.get(n)) for n in videos]
    return reader.tubes(np.array([10**9 if n is None else n for n in length], np.int64))
