"""What the columns of a label row mean, by task.

========  =======================================  ===============================
task      columns                                  with one more
========  =======================================  ===============================
detect    class cx cy w h                          confidence, or number of a track
seg       class x1 y1 x2 y2 x3 y3 …; or a box      likewise
pose      class cx cy w h, then x y [v] per point  likewise
obb       class x1 y1 x2 y2 x3 y3 x4 y4            likewise
========  =======================================  ===============================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from granum.errors import FormatError
from granum.loaders.yolo.config import Config
from granum.loaders.yolo.parse import Lines, Mask, ragged

__all__ = ["Kind", "decide"]


@dataclass(frozen=True, slots=True)
class Kind:
    """The task of a tree and how its rows are read. ``points`` are (number, 2 or 3);
    ``tracks`` says that a column more is a track; ``why`` is for people."""

    task: str
    why: str
    points: tuple[int, int] = (0, 3)
    tracks: bool = False

    @property
    def columns(self) -> str:
        """How many columns a row has, for messages."""
        if self.task == "seg":
            return "an odd number from 7 on (5 for a box; one more with a confidence)"
        n = self.plain
        return f"{n} ({n + 1} with a confidence)"

    @property
    def plain(self) -> int:
        """Columns of a row without confidence (not for seg)."""
        return {"obb": 9, "pose": 5 + self.points[0] * self.points[1]}.get(self.task, 5)

    def trailing(self, lines: Lines) -> Mask:
        """Which rows have a column more."""
        if self.task == "seg":
            return lines.count % 2 == 0
        return lines.count == self.plain + 1

    def fits(self, lines: Lines) -> Mask:
        """Which rows have a right number of columns."""
        if self.task == "seg":
            return lines.count >= 5
        return (lines.count == self.plain) | (lines.count == self.plain + 1)


def decide(task: str | None, config: Config, sample: Lines) -> Kind:
    """The task of a tree: as asked, else as its data file says, else by the columns of its rows.

    Args:
        task: what the user asked for.
        config: the data file.
        sample: rows of some label files.

    Raises:
        FormatError: pose is asked for, and the number of points cannot be told.
    """
    rows = sample.take(~sample.bad)
    if task is not None:
        kind = Kind(task, "as asked")
    elif config.task is not None:
        kind = Kind(config.task, "the data file says so")
    elif config.points is not None:
        kind = Kind("pose", "kpt_shape")
    else:
        kind = _by_columns(rows)
    if kind.task == "pose" and not kind.points[0]:
        points = config.points or _points(rows)
        if points is None:
            raise FormatError(config.file or ".", "kpt_shape is needed to read points")
        kind = Kind("pose", kind.why, points)
    more = rows.take(kind.trailing(rows) & kind.fits(rows))
    last = more.values[more.first + more.count - 1]
    tracks = bool(len(last) and (last == np.rint(last)).all() and last.max() > 1)
    tracks &= config.notes.task is None  # our writer writes no tracks
    return Kind(kind.task, kind.why, kind.points, tracks)


def _by_columns(rows: Lines) -> Kind:
    found = {n for n in rows.count.tolist() if n >= 5}
    if not found:
        return Kind("detect", "no label rows")
    why = f"all rows looked at have {' or '.join(map(str, sorted(found)[:3]))} columns"
    if found <= {5, 6}:
        return Kind("detect", why)
    if found <= {9, 10}:
        return Kind("obb", f"{why}; task=seg if they are polygons")
    if len(found) == 1 and (points := _points(rows)) is not None and points[1] == 3:
        return Kind("pose", f"{why}, with visibilities", points)
    return Kind("seg", f"rows have up to {max(found)} columns")


def _points(rows: Lines) -> tuple[int, int] | None:
    """How many points rows of one length have, where their visibilities tell."""
    counts = np.unique(rows.count)
    if len(counts) != 1 or counts[0] <= 6:
        return None
    n = int(counts[0]) - 5
    if n % 3 == 0:
        seen = rows.values[ragged(rows.first + 5, rows.count - 5)].reshape(-1, 3)[:, 2]
        if np.isin(seen, (0, 1, 2)).all():
            return n // 3, 3
    return (n // 2, 2) if n % 2 == 0 else None
