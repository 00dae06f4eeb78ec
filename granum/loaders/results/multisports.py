"""Results of detecting actions in videos, as the scripts of MultiSports and MOC take them: pickles.

::

    frame_detections.pkl    array (detections, 8): video, frame, label, score, x1, y1, x2, y2
    video_detections.pkl    {label: [(video, score, array (frames, 6) of frame, corners, score)]}

In frames a video is its place among those that are scored (``test_videos``: the split ``val`` of
the truth, where it has one, else ``test``, else all of its videos); tubes name it. A label is the
``source_id`` of a category, which readers of such truth number from 0. Detections may be in frames
that the truth has no sample for. Corners are absolute pixels, nothing added.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._pickles import load_pickle
from granum.loaders._tube_file import Truth
from granum.loaders._tube_results import are_results, read_results
from granum.loaders.base import Intake
from granum.loaders.results.base import Results, results
from granum.schema import rows, tables
from granum.schema.findings import Findings
from granum.schema.tables import column
from granum.store.builder import MemoryBuilder
from granum.store.dataset import Dataset

__all__ = ["MultiSportsResults"]

_HEAD = 65_536


@results("multisports")
class MultiSportsResults(Results):
    """Pickles of detections in frames, or of tubes."""

    name: ClassVar[str] = "multisports"
    title: ClassVar[str] = "MultiSports results (pickles of frames or tubes)"
    spec: ClassVar[str] = "https://github.com/MCG-NJU/MultiSports"
    protocols: ClassVar[tuple[str, ...]] = ("multisports", "ucf24")

    def sniff(self, path: Path) -> bool:
        if path.suffix != ".pkl" or not path.is_file():
            return False
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
        except OSError:
            return False
        return head[:1] == b"\x80" and b"gttubes" not in head

    def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
        """Detections in frames, or tubes, on frames of their own in the truth's videos.

        Videos and labels that the truth does not have, scores that are no numbers, and rows that
        cannot be read are findings with their place in the pickle.

        Raises:
            FormatError: the pickle cannot be read, or holds something else.
        """
        found = load_pickle(path, path.name)
        if not are_results(found):
            raise FormatError(path.name, "neither detections in frames nor tubes by label")
        groups = rows.groups_from_table(truth.groups)
        splits = [(g.attributes or {}).get("split") for g in groups]
        scored = next((s for s in ("val", "test") if s in splits), None)
        if scored is None:
            splits = [None] * len(groups)
        videos = Truth(path.name, [], [g.key for g in groups], splits)
        intake = Intake(findings, groups=groups)
        labels = _labels(truth.categories)
        known, builder = [i for i in labels if i >= 0], MemoryBuilder()
        lost = 0
        for batch in read_results(found, path.name, videos, intake, labels, scored):
            table = batch.layers[tables.DEFAULT_LAYER]
            if len(known) < len(labels):
                keep = np.asarray(column(table, "category").fill_null(-1), np.int64) >= 0
                lost += int((~keep).sum())
                batch.layers[tables.DEFAULT_LAYER] = table.filter(pa.array(keep))
            builder.add(batch)
        if lost:
            message = f"{lost} detections of labels that no category of the truth has"
            findings.add("unknown-category", path.name, None, message, lost)
        return builder.finish(categories=truth.categories, groups=truth.groups)


def _labels(categories: pa.Table) -> list[int]:
    """The category of each label, -1: of none. Where ids are no numbers, labels are rows."""
    ids = column(categories, "source_id", tables.CATEGORIES).to_pylist()
    if not all(i is not None and i.isdecimal() and len(i) < 5 for i in ids):
        return list(range(len(ids)))
    numbers = {int(i): row for row, i in enumerate(ids)}
    return [numbers.get(n, -1) for n in range(max(numbers, default=-1) + 1)]
