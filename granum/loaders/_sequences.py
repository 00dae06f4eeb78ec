"""Samples as frames of sequences, as formats of tracks have them: a folder for each, and a number
for each frame."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from granum.loaders._image_tree import is_image
from granum.loaders._paths import split_folders, split_suffix, unique_paths
from granum.schema import rows
from granum.schema.tables import column
from granum.store.dataset import Dataset

__all__ = [
    "Sequences",
    "Tracks",
    "boxed",
    "noted_tracks",
    "sequences_of",
    "track_arrays",
    "track_notes",
    "tracks_of",
]

Ints = npt.NDArray[np.int64]
Tracks = dict[tuple[int, int], tuple[int, str | None]]
"""Of each sequence and track its id in files, and the one that the source wrote."""


@dataclass(frozen=True)
class Sequences:
    """Which sequence each sample belongs to, and its place there.

    Attributes:
        folders: a path for each sequence, all different: split and group key.
        groups: the group that each is; None for samples without one (those of a split are one).
        splits: of the first sample of each.
        of: for each sample its sequence.
        frame: for each sample its number there: ``order``, where those of a sequence are all
            given, different and not too low; else samples are counted as they come.
        suffixes: for each sample the suffix of its image.
    """

    folders: list[str]
    groups: list[int | None]
    splits: list[str | None]
    of: Ints
    frame: Ints
    suffixes: list[str]

    def members(self) -> list[Ints]:
        """The samples of each sequence, as they come."""
        order = np.argsort(self.of, kind="stable")
        cuts = np.searchsorted(self.of[order], np.arange(1, len(self.folders)))
        return list(np.split(order, cuts)) if self.folders else []


@lru_cache(maxsize=4)
def sequences_of(
    dataset: Dataset, first: int, homes: tuple[tuple[str | None, str], ...] = ()
) -> Sequences:
    """The sequences of a dataset, in the order in which they come; frames count from ``first``.

    ``homes`` names the folders of some splits; others are named by themselves.
    """
    table = dataset.samples(["key", "media", "group", "order", "split"])
    group = np.asarray(column(table, "group").fill_null(-1), np.int64)
    splits = column(table, "split").to_pylist()
    numbers = {s: i for i, s in enumerate(dict.fromkeys(splits))}
    # The groupless of a split go by a number below 0.
    code = np.where(group >= 0, group, -1 - np.array([numbers[s] for s in splits], np.int64))
    _, begin, inverse = np.unique(code, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(begin))
    of = rank[inverse].astype(np.int64)
    firsts = np.sort(begin).tolist()
    groups = [None if code[i] < 0 else int(code[i]) for i in firsts]
    known: list[rows.Group] = rows.groups_from_table(dataset.groups)
    named = {**split_folders(splits), **dict(homes)}
    keys = ["frames" if g is None else known[g].key for g in groups]
    below = [named[splits[i]] for i in firsts]
    # A key that tells the split already stays as it is.
    below = ["" if b in k.split("/")[:-1] else b for k, b in zip(keys, below, strict=True)]
    folders = unique_paths(keys, below)
    first_splits = [splits[i] for i in firsts]
    frame = np.empty(len(of), np.int64)
    out = Sequences(folders, groups, first_splits, of, frame, _suffixes(table))
    order = np.asarray(column(table, "order").fill_null(first - 1), np.int64)
    for number, members in enumerate(out.members()):
        given = order[members]
        fits = groups[number] is not None and given.min(initial=first) >= first
        fits = fits and given.max(initial=0) < 10**9 and len(np.unique(given)) == len(given)
        out.frame[members] = given if fits else np.arange(first, first + len(members))
    return out


def _suffixes(table: pa.Table) -> list[str]:
    def suffix(key: str, media: dict[str, str | None] | None) -> str:
        for name in (key, (media or {}).get("path") or ""):
            if is_image(name):
                return split_suffix(name)[1]
        return ".jpg"

    pairs = zip(table["key"].to_pylist(), column(table, "media").to_pylist(), strict=True)
    return [suffix(key, media) for key, media in pairs]


def boxed(annotations: pa.Table) -> pa.Table:
    """Objects with a box on a sample."""
    fits = pc.equal(column(annotations, "kind").cast(pa.string()), "object")
    for name in ("sample", "bbox"):
        fits = pc.and_(pc.fill_null(fits, False), column(annotations, name).is_valid())
    return annotations if pc.all(fits, min_count=0).as_py() else annotations.filter(fits)


def tracks_of(dataset: Dataset, sequences: Sequences) -> tuple[Tracks, bool]:
    """Ids for the tracks of boxed objects, unique in their sequence: those that the source wrote,
    where all of a sequence are different whole numbers, else they are counted from 1.

    Returns:
        The ids, and whether there are tracks whose rows differ in what the source wrote; that is
        None then.
    """
    pieces = []
    for batch in dataset.iter_batches():
        table = boxed(batch.annotations)
        table = table.filter(pc.fill_null(pc.greater_equal(column(table, "track"), 0), False))
        if table.num_rows:
            of = sequences.of[np.asarray(table["sample"], np.int64)]
            source = column(table, "track_source_id")
            pieces.append(pa.table({"of": of, "track": table["track"], "source": source}))
    if not pieces:
        return {}, False
    found = pa.TableGroupBy(pa.concat_tables(pieces), ["of", "track"], use_threads=False).aggregate(
        [("source", "count_distinct", pc.CountOptions(mode="all")), ("source", "min")]
    )
    members: dict[int, list[tuple[int, str | None]]] = {}
    mixed = False
    for row in found.to_pylist():
        same = row["source_count_distinct"] == 1
        mixed |= not same
        own = row["source_min"] if same else None
        members.setdefault(row["of"], []).append((row["track"], own))
    out: Tracks = {}
    for sequence, listed in members.items():
        given = [s for _, s in listed if s is not None and re.fullmatch(r"0|[1-9]\d{0,14}", s)]
        own_ids = len(set(given)) == len(listed)
        for i, (track, source_id) in enumerate(sorted(listed, key=lambda m: m[0]), 1):
            out[sequence, track] = (int(source_id or 0) if own_ids else i, source_id)
    return out, mixed


def track_notes(tracks: Tracks) -> dict[int, list[list[int | str | None]]]:
    """For each sequence id, track and source's id of its tracks, for the notes."""
    out: dict[int, list[list[int | str | None]]] = {}
    for (sequence, track), (id_, source) in tracks.items():
        out.setdefault(sequence, []).append([id_, track, source])
    return out


def noted_tracks(listed: Any) -> dict[int, tuple[int, str | None]]:
    """Track and source's id by the id in files, from ``track_notes``.

    Raises:
        ValueError, TypeError: they are damaged.
    """
    out = {int(i): (int(t), None if x is None else str(x)) for i, t, x in listed}
    if any(not 0 <= t < 2**62 for t, _ in out.values()):
        raise ValueError("a track number out of range")
    return out


def track_arrays(ids: Iterable[Ints]) -> tuple[list[Ints], int]:
    """Track numbers for ids that are unique in their sequence only: those of each sequence follow
    those before, in the order of the ids; and how many there are. An id below 0 is no track, and
    has the number -1."""
    out, following = [], 0
    for listed in ids:
        found, inverse = np.unique(listed, return_inverse=True)
        below = int((found < 0).sum())
        number = inverse - below
        out.append(np.where(number < 0, -1, number + following).astype(np.int64))
        following += len(found) - below
    return out, following
