"""UCF101-24 and JHMDB-21: tubes of actions in a pickle (read only).

::

    UCF101v2-GT.pkl  or  JHMDB-GT.pkl     as ACT, MOC and YOWO read them (below the root, or in
                                          annotations/)
    rgb-images/Basketball/v_Basketball_g01_c01/00001.jpg    (JHMDB: Frames/…/00001.png)

or the corrected annotations of G. Singh::

    splitfiles/pyannot.pkl                or pyannot_with_class_names.pkl; also beside the images
    splitfiles/trainlist01.txt  testlist01.txt     a video a line

**The first layout** is a dictionary: ``labels`` (names), ``train_videos`` and ``test_videos`` (a
list of videos for each way to split; ``--way`` chooses, 1 by default), ``nframes``, ``resolution``
(height first), ``gttubes[video][label]``: a list of arrays of shape (frames, 5), rows of frame
(from 1), x1, y1, x2, y2. **The second** maps a video to ``numf``, ``label`` and ``annotations``,
each with ``label``, ``sf`` and ``ef`` (first frame from 0, and the one after the last) and
``boxes`` (frames, 4): x, y, width, height. **Those boxes are unsigned bytes**: x + width overflows
unless they are widened first.

Videos are groups, an annotated frame is a sample (its ``order`` is the frame's number from 1), the
boxes of a tube share a ``track``, and each tube has one row of kind ``track`` on its group. Boxes
are absolute pixels, corners as they stand there, without the +1 that ACT's evaluation adds to
lengths. Frames are images where there is a folder of them; videos without tubes are groups without
samples.

Spec: https://github.com/vkalogeiton/caffe/tree/act-detector and
https://github.com/gurkirt/corrected-UCF101-Annots
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.errors import FormatError
from granum.loaders._clips import group_facts
from granum.loaders._image_tree import is_image
from granum.loaders._paths import names_in, split_suffix
from granum.loaders._pickles import load_pickle
from granum.loaders._texts import read_text
from granum.loaders._tube_file import load_truth, truth_tubes, video_groups
from granum.loaders._tubes import Frames, TubeReader, tube_batches
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows
from granum.store.builder import Incoming

__all__ = ["Ucf24"]

CLASSES = (
    *("Basketball", "BasketballDunk", "Biking", "CliffDiving", "CricketBowling", "Diving"),
    *("Fencing", "FloorGymnastics", "GolfSwing", "HorseRiding", "IceDancing", "LongJump"),
    *("PoleVault", "RopeClimbing", "SalsaSpin", "SkateBoarding", "Skiing", "Skijet"),
    *("SoccerJuggling", "Surfing", "TennisSwing", "TrampolineJumping", "VolleyballSpiking"),
    "WalkingWithDog",
)
"""The 24 classes, in the order of their numbers."""

SIZE = (320, 240)
"""Width and height of every video of UCF101."""

_FOLDERS = ("rgb-images", "Frames", "frames")
_INSIDE = (".", "annotations", "splitfiles")


@formats("ucf24")
class Ucf24(Format):
    """Reads the pickles of UCF101-24 and JHMDB-21."""

    name = "ucf24"
    title = "UCF101-24, JHMDB-21 (tubes in a pickle)"
    spec = "https://github.com/vkalogeiton/caffe/tree/act-detector"
    keeps = frozenset({"object", "track", "category", "bbox", "split", "group", "sample", "space"})

    def sniff(self, root: Path) -> str | None:
        path = _pickle_in(root)
        if path is None or not _is_pickle(path):
            return None
        return f"{path.name}: tubes of actions"

    def read(self, root: Path, intake: Intake, *, way: int = 1) -> Iterator[Incoming]:
        """Read a tree or its pickle.

        Args:
            root: a folder, or the pickle itself.
            intake: gets groups, categories and faults.
            way: which of the ways to split counts, from 1.

        Raises:
            FormatError: there is no such pickle.
        """
        path = root if root.is_file() else _pickle_in(root)
        if path is None:
            raise FormatError(root, "no …-GT.pkl or pyannot.pkl in it")
        base = intake.images or (root if root.is_dir() else root.parent)
        intake.media_root = base
        intake.source(path.name, self.name)
        intake.locate = lambda _, key: (path.name, key)
        if _is_annotated(path.name):
            yield from _read_annotated(path, base, intake, way)
            return
        truth = load_truth(path, path.name, intake, ("train", "test"), way)
        intake.groups += video_groups(truth, intake, lambda _: None)
        categories = [
            intake.add_category(rows.Category(n, "action", str(i)))
            for i, n in enumerate(truth.labels)
        ]
        tubes = truth_tubes(truth, intake, categories)
        frames = Frames(truth.splits, _images(base, truth.videos))
        yield from tube_batches(tubes, intake, frames, categories)


def _is_annotated(name: str) -> bool:
    return name.startswith("pyannot")


def _pickle_in(root: Path) -> Path | None:
    """The pickle of a tree, or the file itself where it has such a name."""

    def named(name: str) -> bool:
        return name.endswith("-GT.pkl") or (_is_annotated(name) and name.endswith(".pkl"))

    if root.suffix == ".pkl":
        return root if named(root.name) else None
    for folder in _INSIDE:
        for name in names_in(root / folder):
            if named(name):
                return root / folder / name
    return None


def _is_pickle(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except (OSError, ValueError):
        return False
    # A protocol from 2 on, or the dictionary that one of protocol 0 begins with.
    return head[:1] == b"\x80" or head == b"(d"


def _images(root: Path, videos: list[str]) -> Callable[[pa.Array, Any], pa.Array] | None:
    """Gives the paths of frames, where there are any below ``root``."""
    for folder in _FOLDERS:
        for video in videos[:20]:
            found = next((n for n in names_in(root / folder / video, 50) if is_image(n)), None)
            if found is None:
                continue
            stem, suffix = split_suffix(found)
            if not stem.isdigit():
                continue

            def paths(
                names: pa.Array,
                number: npt.NDArray[np.int64],
                parts: tuple[str, int, str] = (folder, len(stem), suffix),
            ) -> pa.Array:
                before, width, after = parts
                digits = pc.utf8_lpad(pa.array(number).cast(pa.string()), width, "0")
                files = pc.binary_join_element_wise(digits, after, "")
                return pc.binary_join_element_wise(before, names, files, "/")

            return paths
    return None


def _lists(root: Path, way: int) -> dict[str, str]:
    """The split of each video, from ``trainlist01.txt`` and ``testlist01.txt``."""
    found: dict[str, str] = {}
    for split in ("train", "test"):
        for folder in _INSIDE:
            path = root / folder / f"{split}list{way:02d}.txt"
            if path.is_file():
                for line in read_text(path, path).splitlines():
                    # Lines of UCF101's own lists end with a class number and a suffix.
                    words = line.split()
                    if words:
                        found[words[0].removesuffix(".avi")] = split
                break
    return found


def _read_annotated(path: Path, root: Path, intake: Intake, way: int) -> Iterator[Incoming]:
    """The corrected annotations: ``{video: {"numf", "label", "annotations"}}``."""
    where = path.name
    found = load_pickle(path, where)
    if not isinstance(found, Mapping):
        raise FormatError(where, "no dictionary of videos")
    splits = _lists(root if path.parent == root else path.parent.parent, way)
    categories = [
        intake.add_category(rows.Category(n, "action", str(i))) for i, n in enumerate(CLASSES)
    ]
    videos = [(n, v) for n, v in found.items() if isinstance(n, str) and isinstance(v, Mapping)]
    if len(videos) < len(found):
        intake.fault("bad-value", where, None, "a video that is no dictionary")
    for name, facts in videos:
        attributes: dict[str, Any] = {"first_frame": 1}
        if name in splits:
            attributes = {"split": splits[name], **attributes}
        frames: Any = facts.get("numf")
        known = isinstance(frames, int | np.integer) and 0 <= frames < 2**31
        width, height = SIZE
        intake.groups.append(
            rows.Group(
                name,
                "video",
                width=width,
                height=height,
                frames=int(frames) if known else None,
                attributes=attributes,
            )
        )
    reader = TubeReader(intake, where, categories)
    for video, (name, facts) in enumerate(videos):
        listed = facts.get("annotations")
        if not isinstance(listed, list | tuple | np.ndarray):
            reader.fault("missing-key", (name,), "no list of annotations")
            continue
        for number, one in enumerate(listed):
            _annotated(reader, video, one, (name, "annotations", number))
    names = [n for n, _ in videos]
    shown = Frames([splits.get(n) for n in names], _images(root, names))
    tubes = reader.tubes(group_facts(intake.groups, "frames", 10**9))
    yield from tube_batches(tubes, intake, shown, categories)


def _annotated(reader: TubeReader, video: int, one: Any, place: tuple[Any, ...]) -> None:
    """One annotation as a tube: frames from 1, corners."""
    if not isinstance(one, Mapping):
        reader.fault("bad-value", place, "no dictionary")
        return
    found: list[Any] = [one.get(k) for k in ("label", "sf", "ef", "boxes")]
    label, first, end, boxes = found
    if not reader.known(label, (*place, "label")):
        return
    whole = isinstance(first, int | np.integer) and 0 <= first < 10**9
    good = isinstance(boxes, np.ndarray) and boxes.ndim == 2 and boxes.dtype.kind in "iuf"
    if not whole or not good or boxes.shape[1] != 4:
        reader.fault("bad-value", place, "no first frame, or no boxes of shape (frames, 4)")
        return
    if not isinstance(end, int | np.integer) or end - first != len(boxes):
        message = f"{len(boxes)} boxes for frames {first} to {str(end)[:20]}"
        reader.fault("conflicting-records", place, message)
    # Widened before x + width is made: 200 + 100 is 44 in eight bits.
    wide = boxes.astype(np.float64)
    number = np.arange(first + 1, first + 1 + len(wide), dtype=np.float64)
    corners = np.hstack([wide[:, :2], wide[:, :2] + wide[:, 2:]])
    reader.add(video, int(label), np.column_stack([number, corners]), place)
