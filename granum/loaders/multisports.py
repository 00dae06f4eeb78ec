"""MultiSports: tubes of actions in sports, in one pickle of ground truth.

::

    multisports_GT.pkl                               (also in annotations/ or trainval/)
    trainval/aerobic_gymnastics/v_crsi07chcV8_c004.mp4
    test/…                                           clips whose labels are withheld

The pickle is a dictionary: ``labels`` (66 names, with blanks), ``train_videos`` and
``test_videos`` (a list that holds one list), ``nframes``, ``resolution`` (**height first**) and
``gttubes[video][label]``: a list of float32 arrays of shape (frames, 5), rows of frame (from 1),
x1, y1, x2, y2. A video is named by sport and clip, without suffix; a label is a number from 0.
**``test_videos`` of the released file is the validation set**, and is read as split ``val``.

Videos are groups, a frame is a sample only where a box is (its ``order`` is the frame's number
from 1; nothing is extracted, the image is decoded from the clip where asked for). The boxes of a
tube are objects that share a ``track``, and a row of kind ``track`` on the group says the tube's
own label. Coordinates are absolute pixels, corners as they stand there, nothing added. Of the 66
classes the official evaluation leaves 6 out: their attribute ``scored`` is false.

**Results** are read as predictions, with ``--from multisports``; they number videos and labels,
so the ground truth is needed (``--gt``, or ``multisports_GT.pkl`` beside them). Of frames: an
array (detections, 8) of video (its place in ``test_videos``), frame, label, score, x1, y1, x2, y2.
Of tubes: ``{label: [(video, score, array (frames, 6) of frame, corners and score)]}``.

Written are ``train_videos`` (split ``train``) and ``test_videos`` (split ``val``), boxes without a
track as tubes of one frame, samples without a group as frames of one more video. Arrays are float32
where those hold every number. What the pickle cannot say is in ``granum.json``; a released file is
written as it was, without notes.

Spec: https://github.com/MCG-NJU/MultiSports
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from granum.errors import FormatError
from granum.loaders._clips import Clips, clips_of, held, noted_clips, told_by_files
from granum.loaders._notes import Notes, category_names, read_notes, take_tables, write_notes
from granum.loaders._paths import is_file, unique_paths
from granum.loaders._pickles import load_pickle
from granum.loaders._tube_file import Truth, load_truth, truth_tubes, video_groups
from granum.loaders._tube_plan import TubePlan, plan_tubes
from granum.loaders._tube_results import are_results, read_results
from granum.loaders._tubes import Frames, object_table, tube_batches, whole_table
from granum.loaders._units import in_pixels
from granum.loaders.base import Format, Intake, formats
from granum.schema import rows, tables
from granum.schema.tables import column
from granum.store.builder import Incoming
from granum.store.dataset import Dataset
from granum.store.out import Out
from granum.store.parts import Batch

__all__ = ["UNSCORED", "MultiSports"]

UNSCORED = frozenset(
    {
        *("aerobic kick jump", "aerobic off axis jump", "aerobic butterfly jump"),
        *("aerobic balance turn", "basketball save", "basketball jump ball"),
    }
)
"""Classes that the official evaluation leaves out."""

FILE = "multisports_GT.pkl"
_FOLDERS = (".", "annotations", "trainval")
_SPLITS = ("train", "val")


@formats("multisports")
class MultiSports(Format):
    """Reads and writes the ground truth; reads results."""

    name = "multisports"
    title = "MultiSports (tubes of actions in a pickle)"
    spec = "https://github.com/MCG-NJU/MultiSports"
    keeps = frozenset(
        {
            *("sample", "object", "track", "category", "bbox", "split", "group", "time", "geo"),
            *("attributes", "space", "supercategory", "parents", "isthing", "colour"),
            *("skeleton", "synonyms"),
        }
    )
    tolerance = {"bbox": 1e-6}  # noqa: RUF012  (the far corner and back)
    ordered = False  # the boxes of a frame come in the order of their tubes
    media_note = "tubes only: frames go beside them with --media copy|link|hardlink"

    def __init__(self) -> None:
        self._planned: tuple[Dataset, Clips, TubePlan] | None = None

    def sniff(self, root: Path) -> str | None:
        path = _pickle_in(root)
        if path is not None and path.name == FILE:
            return f"{FILE}: tubes of actions"
        if path is not None and root.suffix == ".pkl" and b"aerobic push up" in _head(path):
            return "a pickle with the classes of MultiSports"
        return None

    # ------------------------------------------------------------------ reading

    def read(self, root: Path, intake: Intake, *, gt: str | None = None) -> Iterator[Incoming]:
        """Read a tree, its pickle, or a pickle of results.

        Args:
            root: a folder, or the pickle itself.
            intake: gets groups, categories and faults.
            gt: of results: the pickle of the ground truth.

        Raises:
            FormatError: there is no such pickle.
        """
        path = root if root.is_file() else _pickle_in(root)
        if path is None:
            raise FormatError(root, f"no {FILE} in it")
        base = root if root.is_dir() else root.parent
        intake.media_root = intake.images or base
        intake.source(path.name, self.name)
        intake.locate = lambda _, key: (path.name, key)
        notes = read_notes(root, self.name) if root.is_dir() else None
        if notes is not None:
            yield from _read_noted(path, notes, intake)
        elif path.name == FILE or b"gttubes" in path.read_bytes():
            truth = load_truth(path, path.name, intake, _SPLITS)
            categories = _describe(truth, intake)
            tubes = truth_tubes(truth, intake, categories)
            yield from tube_batches(tubes, intake, Frames(truth.splits), categories)
        else:
            found, truth = self._results(path, Path(gt) if gt else base / FILE, intake)
            yield from read_results(found, path.name, truth, intake, _describe(truth, intake))

    def _results(self, path: Path, gt: Path, intake: Intake) -> tuple[Any, Truth]:
        """Results and the ground truth that they number."""
        found = load_pickle(path, path.name)
        if not are_results(found):
            raise FormatError(path.name, "neither ground truth nor results of frames or tubes")
        if not gt.is_file():
            message = f"results need the ground truth: no {gt.name}; name it with --gt"
            raise FormatError(path.name, message)
        return found, load_truth(gt, gt.name, intake, _SPLITS)

    # ------------------------------------------------------------------ writing

    def _plan(self, dataset: Dataset) -> tuple[Clips, TubePlan]:
        """Made once for a dataset."""
        if self._planned is None or self._planned[0] is not dataset:
            clips = clips_of(dataset, 1)
            self._planned = dataset, clips, plan_tubes(dataset, clips)
        return self._planned[1:]

    def project(self, batch: Batch, dataset: Dataset) -> Batch:
        return self._plan(dataset)[1].project(in_pixels(batch, dataset), self.keeps)

    def project_categories(self, categories: pa.Table) -> pa.Table:
        return categories

    def write(self, dataset: Dataset, out: Out) -> None:
        """Write the pickle, and notes where it does not say all."""
        dataset = held(dataset)
        clips, plan = self._plan(dataset)
        content = _content(dataset, clips, plan)
        with out.open(FILE) as file:
            pickle.dump(content, file, protocol=4)
        more = plan.notes()
        if more or not told_by_files(self, out.root, dataset):
            has_media = np.asarray(column(dataset.samples(["media"]), "media").is_valid())
            paths = [
                path if there else None
                for path, there in zip(_paths(dataset), has_media.tolist(), strict=True)
            ]
            write_notes(out, self.name, dataset, paths, self.keeps, more=more)

    def image_names(self, dataset: Dataset) -> Iterator[Sequence[str]]:
        yield _paths(dataset)


def _paths(dataset: Dataset) -> list[str]:
    return unique_paths(dataset.samples(["key"])["key"].to_pylist(), "frames")


def _pickle_in(root: Path) -> Path | None:
    if root.suffix == ".pkl":
        return root
    return next((root / f / FILE for f in _FOLDERS if is_file(root / f / FILE)), None)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(65_536)
    except (OSError, ValueError):
        return b""
    return head if head[:1] == b"\x80" else b""


def _describe(truth: Truth, intake: Intake) -> list[int]:
    """Hand groups and categories to the intake; the row of each category."""
    base = intake.media_root or Path()
    # Clips may lie beside the pickle as well, as they do in trainval/.
    first = truth.videos[0] if truth.videos else ""
    loose = not (base / "trainval").is_dir() and is_file(base / f"{first}.mp4")
    folder = "" if loose else "trainval/"
    intake.groups += video_groups(truth, intake, lambda name: f"{folder}{name}.mp4")
    known = set(truth.labels) >= UNSCORED
    return [
        intake.add_category(
            rows.Category(
                name,
                "action",
                str(number),
                attributes={"scored": name not in UNSCORED} if known else None,
            )
        )
        for number, name in enumerate(truth.labels)
    ]


# ---------------------------------------------------------------------- our own trees


def _read_noted(path: Path, notes: Notes, intake: Intake) -> Iterator[Incoming]:
    """A pickle with notes beside it: samples as noted, tubes put on them.

    Raises:
        FormatError: the notes do not fit the pickle.
    """
    take_tables(notes, intake)
    truth = load_truth(path, path.name, intake, _SPLITS)
    clips = noted_clips(notes, 1)
    categories = list(range(len(notes.categories)))
    if truth.labels != category_names(notes.categories):
        raise FormatError(path.name, "its labels are not those that granum.json notes")
    tubes = truth_tubes(truth, intake, categories, clips.names)
    owner = tubes.owner()
    sample = clips.rows_of(tubes.video[owner], tubes.frame)
    missing = np.flatnonzero(sample < 0)
    for row in missing.tolist():
        name = clips.names[tubes.video[owner[row]]]
        message = "a frame that granum.json does not note"
        intake.fault("orphan-image", path.name, f"{name}/{tubes.frame[row]:06d}", message)
    n = len(tubes)
    track, bare = _noted_tracks(notes, n, path)
    chosen = np.flatnonzero(sample >= 0)
    chosen = chosen[np.lexsort((owner[chosen], sample[chosen]))]
    objects = object_table(tubes, chosen, owner, sample[chosen], track, categories)
    own = np.flatnonzero(~bare & (tubes.video < len(notes.groups)) & (track >= 0))
    whole = whole_table(tubes, own, track[own], categories)
    yield Incoming(
        rows.samples_to_table(notes.samples),
        {tables.DEFAULT_LAYER: pa.concat_tables([objects, whole], promote_options="default")},
    )


def _noted_tracks(notes: Notes, n: int, path: Path) -> tuple[Any, Any]:
    """The track of each tube (-1: none), and which have no row of their own."""
    try:
        track = np.asarray(notes.more.get("tracks", range(n)), np.int64)
        bare = np.zeros(n, bool)
        bare[np.asarray(notes.more.get("bare", []), np.int64)] = True
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise FormatError(path, f"damaged notes of a granum export: {error}") from error
    if track.shape != (n,):
        raise FormatError(path, f"{n} tubes, of which granum.json notes {track.size}")
    return track, bare


def _content(dataset: Dataset, clips: Clips, plan: TubePlan) -> dict[str, Any]:
    """What the pickle holds."""
    groups: list[rows.Group] = rows.groups_from_table(dataset.groups)
    samples = dataset.samples(["split", "width", "height"])
    used = len(clips.names) if (clips.video == len(groups)).any() else len(groups)
    names = clips.names[:used]
    known = column(samples, "split").cast(pa.string()).combine_chunks().dictionary_encode()
    split = np.asarray(known.indices.fill_null(-1), np.int64)
    named = [*known.dictionary.to_pylist(), None]
    height, width = (
        np.asarray(column(samples, n).fill_null(-1), np.int64) for n in ("height", "width")
    )
    lists: dict[str, list[str]] = {s: [] for s in _SPLITS}
    nframes: dict[str, int] = {}
    resolution: dict[str, tuple[int, int]] = {}
    members = np.argsort(clips.video, kind="stable")
    begin = np.searchsorted(clips.video[members], np.arange(used + 1))
    for video, name in enumerate(names):
        group = groups[video] if video < len(groups) else rows.Group(name)
        own = members[begin[video] : begin[video + 1]]
        stated = {named[c] for c in np.unique(split[own]).tolist()}
        stated = stated or {(group.attributes or {}).get("split")}
        if len(stated) == 1 and (one := next(iter(stated))) in lists:
            lists[one].append(name)
        last = int(clips.number[own].max(initial=0))
        nframes[name] = last if group.frames is None else group.frames
        size = (group.height, group.width)
        if None in size and len(own):
            size = (int(height[own[0]]), int(width[own[0]]))
        if size[0] is not None and size[1] is not None and min(size[0], size[1]) >= 0:
            resolution[name] = (size[0], size[1])
    tubes: dict[str, dict[int, list[Any]]] = {name: {} for name in names}
    for video, label, array in zip(
        plan.video.tolist(), plan.label.tolist(), plan.arrays(dataset, clips), strict=True
    ):
        tubes[clips.names[video]].setdefault(label, []).append(array)
    return {
        "labels": category_names(rows.categories_from_table(dataset.categories)),
        "train_videos": [lists["train"]],
        "test_videos": [lists["val"]],
        "nframes": nframes,
        "resolution": resolution,
        "gttubes": tubes,
    }
