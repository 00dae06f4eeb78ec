"""Samples of records: their keys, their images, and further images of the same record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from granum.loaders._hf_columns import is_list, lengths_of
from granum.loaders.base import Intake
from granum.schema import rows
from granum.schema.tables import SAMPLES, with_column
from granum.store.builder import Incoming

__all__ = ["Further", "Keys", "flat_images", "further", "incoming", "media_array"]

Ints = npt.NDArray[np.int64]
MEDIA = SAMPLES.field("media").type


class Keys:
    """Keys of which each is given once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def taken(self, key: str) -> bool:
        return key in self._seen

    def unique(self, wanted: str) -> str:
        """``wanted``, or where it is taken ``wanted#2``, ``#3``…"""
        key, n = wanted, 1
        while key in self._seen:
            n += 1
            key = f"{wanted}#{n}"
        self._seen.add(key)
        return key


def media_array(
    paths: pa.Array | Sequence[str | None], data: pa.Array | None = None
) -> pa.StructArray:
    """A ``media`` column of paths and, where given, bytes; null where neither is."""
    texts = paths if isinstance(paths, pa.Array) else pa.array(paths, pa.string())
    if data is None:
        data = pa.nulls(len(texts), pa.binary())
    neither = np.asarray(texts.is_null()) & np.asarray(data.is_null())
    return pa.StructArray.from_arrays([texts, data], fields=list(MEDIA), mask=pa.array(neither))


@dataclass(frozen=True, slots=True)
class Further:
    """Further images of records.

    Attributes:
        role: what they are (``depth``, ``mask``…).
        at: for each the number of its record.
        order: its rank among several of one role, or None where there is one only.
        media: the images.
    """

    role: str
    at: Ints
    order: Ints | None
    media: pa.StructArray


def flat_images(array: pa.Array) -> tuple[pa.Array, Ints, Ints | None]:
    """Images of a column of single images or of lists: flat, the record of each, and its rank in
    the list (None where there are no lists)."""
    at = np.arange(len(array))
    if not is_list(array.type):
        return array, at, None
    lengths = np.maximum(lengths_of(array), 0)
    at = np.repeat(at, lengths)
    order = np.arange(len(at)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return array.flatten(), at, order


def further(role: str, media: pa.StructArray, at: Ints, order: Ints | None) -> list[Further]:
    """The images that there are, as one entry or none."""
    there = np.asarray(media.is_valid())
    if not there.any():
        return []
    chosen = media.filter(pa.array(there))
    return [Further(role, at[there], None if order is None else order[there], chosen)]


def incoming(
    intake: Intake,
    columns: Mapping[str, pa.Array],
    keys: Sequence[str],
    media: pa.StructArray,
    splits: Sequence[str | None],
    annotations: pa.Table,
    *,
    unit: str,
    beside: Sequence[Further] = (),
    taken: Keys | None = None,
) -> Incoming:
    """One batch of samples, each followed by the further images of its record.

    Args:
        intake: gets a group for each record of several images.
        columns: of the samples.
        keys: of the samples.
        media: their images.
        splits: their splits, where ``columns`` have none.
        annotations: their ``sample`` is the number of the record.
        unit: of coordinates, where ``columns`` do not say.
        beside: further images of the records.
        taken: keys given so far.
    """
    n = len(keys)
    made = {**columns, "key": pa.array(keys, pa.string()), "media": media}
    if any(s is not None for s in splits) or "split" not in made:
        made["split"] = pa.array(splits, pa.string())
    for name, value in (("unit", unit), ("media_kind", "image")):
        made.setdefault(name, pa.array([value] * n, pa.string()))
    samples = pa.table(made)
    if not beside:
        return Incoming(samples, {"truth": annotations} if annotations.num_rows else {})
    return _with_further(intake, samples, annotations, beside, taken or Keys())


def _with_further(
    intake: Intake,
    samples: pa.Table,
    annotations: pa.Table,
    beside: Sequence[Further],
    taken: Keys,
) -> Incoming:
    keys = samples["key"].to_pylist()
    several = np.unique(np.concatenate([f.at for f in beside]))
    group_of = np.full(len(keys), -1)
    for record in several.tolist():
        group_of[record] = len(intake.groups)
        intake.groups.append(rows.Group(keys[record], "series"))
    alone = group_of < 0
    roles = pa.array([None if a else "image" for a in alone], pa.string())
    samples = with_column(samples, "group", pa.array(group_of, pa.int64(), mask=alone))
    samples = with_column(samples, "role", roles)
    pieces, at = [samples], [np.arange(len(keys))]
    for each in beside:
        ranks = pa.nulls(len(each.at), pa.int64()) if each.order is None else pa.array(each.order)
        names = [
            taken.unique(f"{keys[r]}:{each.role}" + ("" if o is None else f":{o}"))
            for r, o in zip(each.at.tolist(), ranks.to_pylist(), strict=True)
        ]
        shared = samples.select(["split", "unit", "media_kind", "origins", "ordinal", "group"])
        made = shared.take(pa.array(each.at))
        for name, values in (
            ("key", pa.array(names, pa.string())),
            ("media", each.media),
            ("role", pa.array([each.role] * len(names), pa.string())),
            (
                "order",
                pa.nulls(len(names), pa.int64()) if each.order is None else pa.array(each.order),
            ),
        ):
            made = with_column(made, name, values)
        pieces.append(made)
        at.append(each.at)
    records = np.concatenate(at)
    order = np.argsort(records, kind="stable")
    joined = pa.concat_tables(pieces, promote_options="default").take(pa.array(order))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    sample = place[: len(keys)][np.asarray(annotations["sample"], np.int64)]
    annotations = with_column(annotations, "sample", pa.array(sample, pa.int64()))
    return Incoming(joined, {"truth": annotations} if annotations.num_rows else {})
