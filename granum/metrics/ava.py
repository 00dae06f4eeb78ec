"""AVA: frame-mAP of atomic actions of people.

ActivityNet's evaluation of AVA v2.1 and v2.2 (activitynet/ActivityNet,
Evaluation/get_ava_performance.py, which is the PASCAL evaluator of TensorFlow's Object Detection
API; C. Gu et al., AVA, CVPR 2018).

- The 60 actions of the list for ActivityNet are scored (attribute ``scored`` of categories, which
  the reader of AVA's files sets where both lists are there; all of them where none says so).
- Frames that are excluded (attribute ``excluded`` of samples) do not count, nor what is on them.
- Of a frame the 50 detections of highest score count, of all scored actions together.
- Detections without width or height do not count.
- A detection tries only the truth of its action in its frame that it overlaps most, the first of
  equals, at least by 0.5; where that one was found before, it is wrong. Nothing is added to sides.
  Detections on frames without truth are wrong.
- AP is the area under the monotone curve; the mean is over scored actions that have truth.

Coordinates are fractions of an image or pixels, whichever both sides have. Ties: of equal scores
the row that comes first is kept, and chooses first; the script keeps the 50 in a heap, which
decides by action and corners. It names frames by whole seconds; here frames whose samples have no
whole second are told apart by key. Detections in videos that the truth does not have are a finding;
the script counts them as wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from granum.errors import UsageError
from granum.metrics._tubes.frame_ap import Boxes
from granum.metrics._tubes.protocol import TubeProtocol
from granum.metrics._tubes.rows import stated_flags
from granum.metrics.base import protocols
from granum.store.parts import Batch

__all__ = ["Ava", "highest_of_frames"]

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@protocols("ava")
@dataclass(frozen=True)
class Ava(TubeProtocol):
    """frame-mAP at 0.5 as ActivityNet counts it. A person who does three things has three boxes.

    Attributes:
        most: how many detections of a frame count; 0: all do.
    """

    name: ClassVar[str] = "ava"
    reference: ClassVar[str] = "activitynet/ActivityNet Evaluation/get_ava_performance.py (1212804)"
    kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    truth_kinds: ClassVar[tuple[str, ...] | None] = ("object",)
    scale_free: ClassVar[bool] = True

    split: str | None = "val"
    most: int = 50

    def __post_init__(self) -> None:
        if self.most < 0:
            raise UsageError(f"most is {self.most}; it must not be negative")

    def detections(self, found: Boxes) -> tuple[Ints, dict[str, int]]:
        kept = np.arange(len(found))
        if self.most:
            kept = highest_of_frames(found.frame, found.score, self.most)
        beyond = len(found) - len(kept)
        solid = (found.box[kept, 2:] > 0).all(axis=1)
        lost = {"not-compared": beyond, "zero-size-box": int((~solid).sum())}
        return kept[solid], {code: n for code, n in lost.items() if n}

    def spared(self, truth: Batch) -> Flags:
        return stated_flags(truth.samples, "excluded", super().spared(truth))


def highest_of_frames(frame: Ints, score: npt.NDArray[np.float64], most: int) -> Ints:
    """Rows of the ``most`` detections of highest score of each frame, ascending; of equal scores
    the first ones.

    Args:
        frame, score: shape (n,).
    """
    order = np.lexsort((-score, frame))
    begins = np.flatnonzero(np.diff(frame[order], prepend=-1))
    counts = np.diff(begins, append=len(order))
    rank = np.arange(len(order)) - np.repeat(begins, counts)
    return np.sort(order[rank < most])
