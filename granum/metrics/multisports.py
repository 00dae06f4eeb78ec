"""MultiSports: frame-mAP and video-mAP of actions in sports.

The authors' script (MCG-NJU/MultiSports, evaluate_multisports.py; Y. Li et al., MultiSports: A
Multi-Person Video Dataset of Spatio-Temporally Localized Sports Actions, ICCV 2021).

- Of a class all frames (or tubes) of all videos are pooled, sorted by score; a detection tries only
  the truth of its class in its frame (its video) that it overlaps most, the first of equals, at
  least by the threshold; where that one was found before, it is wrong.
- AP is the area under the monotone curve (VOC 2010 on), the mean is over the scored classes that
  have truth; a class without detections has 0. **Six of the 66 classes are not scored**: those
  whose attribute ``scored`` is false, else by their names.
- The overlap of boxes adds nothing to their sides. That of tubes is the mean IoU of the frames that
  both have times the temporal IoU, **whose lengths are last minus first frame, without 1**: tubes
  that share one frame overlap by 0, two tubes of the same frame by 0 / 0, so a tube of one frame is
  never found (finding ``one-frame-tube``). ``mode=corrected`` adds 1 to both lengths, as the script
  of ACT it was made from.
- ``errors``, a threshold, splits the errors of tubes as the script's videoAP_error does (table
  ``errors`` of the curves).
- frame-mAP at 0.5; video-mAP at 0.2, at 0.5, and the means over 0.05:0.05:0.45, 0.1:0.1:0.9 and
  0.5:0.05:0.95.

The script prints percents; numbers here are fractions. Equal scores keep the order of videos by
key, then of rows (tubes: of tracks), where the script's order is that of an unstable sort. Overlaps
are computed in float64 of x, y, width, height; the script uses the floats of the files. Tubes with
gaps, on which the script fails, are compared in the frames that both have. Detections in videos
that the truth does not have are a finding; the script counts them as wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.errors import UsageError
from granum.metrics._detection.judged import Judged
from granum.metrics._tubes.errors import error_kinds, error_table
from granum.metrics._tubes.frame_ap import Boxes, frame_ap, video_ap
from granum.metrics._tubes.overlaps import Tubes, tube_iou, tube_overlaps
from granum.metrics._tubes.protocol import TubeProtocol, steps
from granum.metrics.base import protocols

__all__ = [
    "Boxes",
    "MultiSports",
    "Tubes",
    "error_kinds",
    "error_table",
    "frame_ap",
    "tube_iou",
    "tube_overlaps",
    "video_ap",
]

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

Mode = Literal["official", "corrected"]


@protocols("multisports")
@dataclass(frozen=True)
class MultiSports(TubeProtocol):
    """frame-mAP and video-mAP as MultiSports counts them.

    Truth: boxes with a class; those of one ``track`` are a tube. Predictions: the same with scores,
    a tube's on its row of kind ``track``, else the mean of its boxes'. Detections in frames are the
    boxes of no tube; where there is none, those of tubes, with their own scores or the tube's.

    Attributes:
        mode: ``official``, or ``corrected``: temporal lengths count both ends.
        errors: the threshold at which errors are split (the script's: 0.5); None: they are not.
    """

    name: ClassVar[str] = "multisports"
    reference: ClassVar[str] = "MCG-NJU/MultiSports evaluate_multisports.py (a29e291)"
    unscored: ClassVar[frozenset[str]] = frozenset(
        {
            *("aerobic kick jump", "aerobic off axis jump", "aerobic butterfly jump"),
            *("aerobic balance turn", "basketball save", "basketball jump ball"),
        }
    )
    videos: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "video_mAP@0.2": (0.2,),
        "video_mAP@0.5": (0.5,),
        "video_mAP@0.05:0.45": steps(0.05, 0.05, 9),
        "video_mAP@0.10:0.90": steps(0.1, 0.1, 9),
        "video_mAP@0.50:0.95": steps(0.5, 0.05, 10),
    }

    split: str | None = "val"
    mode: Mode = "official"
    errors: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")
        if self.errors is not None and not 0 < self.errors <= 1:
            raise UsageError(f"errors is {self.errors}; it must be above 0, at most 1, or null")

    @property
    def inclusive(self) -> bool:
        return self.mode == "corrected"

    def kinds_of(self, found: Tubes, true: Tubes) -> Ints:
        if self.errors is None:
            return super().kinds_of(found, true)
        return error_kinds(found, true, self.errors, inclusive=self.inclusive)

    def more_curves(
        self, tubes: Judged, kinds: Ints, scored: Flags, names: Sequence[str]
    ) -> Mapping[str, pa.Table]:
        if self.errors is None:
            return {}
        return {"errors": error_table(tubes, kinds, scored, names)}
