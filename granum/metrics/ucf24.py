"""UCF101-24 and JHMDB-21: frame-mAP and video-mAP of actions, as ACT and MOC count them.

The script of MOC (MCG-NJU/MOC-Detector, src/ACT.py and src/ACT_utils; Y. Li et al., Actions as
Moving Points, ECCV 2020), which is that of ACT (V. Kalogeiton et al., Action Tubelet Detector,
ICCV 2017) but for its frames.

- Detections of a class are sorted by score over all videos; one tries the truths of its class in
  its frame (its video) **that are not yet found**, and takes the one it overlaps most, the first of
  equals, where that is at least the threshold.
- A side from x1 to x2 is x2 - x1 + 1 long, and frames 3 to 5 are three long. The overlap of tubes
  is the mean IoU of the frames that both have times the temporal IoU.
- Before tubes are judged, each takes away those of its video and class that overlap it by more than
  ``suppress`` (0.3) and have a lower score.
- AP is the area under straight lines between the points of precision and recall, from precision 1
  at recall 0 to the last point. ``mode=corrected`` takes the monotone curve of VOC 2010 instead:
  straight lines are too high where points are few (J. Davis, M. Goadrich, ICML 2006).
- frame-mAP at 0.5; video-mAP at 0.2, 0.5, 0.75 and the mean over 0.5:0.05:0.95. The mean is over
  classes that have truth (the script fails on others); a class without detections has 0.

The script prints percents; numbers here are fractions. It keeps precision and recall in float32,
which moves the seventh digit; here they are float64. Equal scores keep the order of videos by key,
then of rows. Detections in videos that the truth does not have are a finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from granum.errors import UsageError
from granum.metrics._detection.judged import Style
from granum.metrics._tubes.frame_ap import Matching, suppressed
from granum.metrics._tubes.overlaps import Tubes
from granum.metrics._tubes.protocol import TubeProtocol, steps
from granum.metrics.base import protocols

__all__ = ["Ucf24", "suppressed"]

Mode = Literal["official", "corrected"]


@protocols("ucf24")
@dataclass(frozen=True)
class Ucf24(TubeProtocol):
    """frame-mAP and video-mAP as ACT and MOC count them; truth and predictions as of
    ``multisports``.

    Attributes:
        mode: ``official``, or ``corrected``: AP under the monotone curve.
        suppress: overlap above which a tube takes away those of lower scores; None: none is.
    """

    name: ClassVar[str] = "ucf24"
    reference: ClassVar[str] = "MCG-NJU/MOC-Detector src/ACT.py (26ba317)"
    matching: ClassVar[Matching] = "remaining"
    inclusive_boxes: ClassVar[bool] = True
    videos: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "video_mAP@0.2": (0.2,),
        "video_mAP@0.5": (0.5,),
        "video_mAP@0.75": (0.75,),
        "video_mAP@0.50:0.95": steps(0.5, 0.05, 10),
    }

    split: str | None = "test"
    mode: Mode = "official"
    suppress: float | None = 0.3

    def __post_init__(self) -> None:
        if self.mode not in ("official", "corrected"):
            raise UsageError(f"mode is {self.mode!r}; it must be official or corrected")
        if self.suppress is not None and not 0 <= self.suppress <= 1:
            raise UsageError(f"suppress is {self.suppress}; it must be from 0 to 1, or null")

    @property
    def inclusive(self) -> bool:
        return True

    @property
    def style(self) -> Style:
        return "trapezoid" if self.mode == "official" else "area"

    def detected_tubes(self, found: Tubes) -> Tubes:
        if self.suppress is None:
            return found
        return found.take(suppressed(found, self.suppress, inclusive=True, inclusive_boxes=True))
