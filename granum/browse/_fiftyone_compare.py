"""What was changed in FiftyOne: labels as they are there against labels as they were sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from granum.browse._fiftyone_forms import form_of
from granum.browse._fiftyone_labels import Labels
from granum.browse._fiftyone_masks import unpacked
from granum.browse._fiftyone_plan import LayerPlan

__all__ = ["Edits", "compare", "labels_in"]

Document = dict[str, Any]

_NOT_COMPARED = frozenset({"_id", "_cls", "tags", "instance", "attributes", "granum_id"})
_FINAL = ("map", "heat")
"""Forms that do not come back: their pixels are in files."""


@dataclass(slots=True)
class Edits:
    """Changes to one layer, by annotation id.

    Attributes:
        changed: for each form that differs, the label as sent and as it is now (None: removed,
            while the annotation's primary label is still there).
        deleted: ids of annotations that are gone.
        added: dataset row of the sample, form key, label.
    """

    changed: dict[int, dict[str, tuple[Document, Document | None]]] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    added: list[tuple[int, str, Document]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changed or self.deleted or self.added)


def labels_in(document: Document, field_name: str, key: str, single: bool) -> list[Document]:
    """The labels that a sample has in a field."""
    value = document.get(field_name)
    if value is None:
        return []
    if key == "captions":
        return [{"text": text} for text in value]
    return [value] if single else list(value.get(form_of(key).inside) or ())


def compare(
    documents: list[Document],
    rows: list[int],
    plan: LayerPlan,
    sent: Labels,
    at: npt.NDArray[np.int64],
    ids: list[int],
    ignored: frozenset[str],
    edits: Edits,
) -> None:
    """Adds the changes of some samples to ``edits``.

    Args:
        documents: the samples as they are in FiftyOne.
        rows: their rows in the dataset.
        plan: the layer.
        sent: labels as they were sent.
        at: for each annotation the position of its sample in ``documents``.
        ids: of the annotations.
        ignored: names of fields that evaluations wrote.
        edits: is filled.
    """
    gone: dict[int, set[str]] = {}
    forms: dict[int, list[str]] = {}
    for key, field_name in plan.fields.items():
        if key.partition(":")[0] in _FINAL:
            continue
        mine = _mine(key, sent, at, ids, len(documents))
        for number in (n for of_sample in mine for n in of_sample):
            forms.setdefault(number, []).append(key)
        for position, document in enumerate(documents):
            theirs = labels_in(document, field_name, key, key in plan.single)
            match = _captions if key == "captions" else _labels
            for which, ours, now in match(mine[position], theirs):
                if which is None:
                    edits.added.append((rows[position], key, now or {}))
                    continue
                number = which
                if now is None:
                    gone.setdefault(number, set()).add(key)
                    edits.changed.setdefault(number, {})[key] = (ours, None)
                elif differing(ours, now, ignored):
                    edits.changed.setdefault(number, {})[key] = (ours, now)
    for number, keys in gone.items():
        if forms[number][0] in keys:
            edits.deleted.add(number)
            edits.changed.pop(number, None)


def _mine(
    key: str, sent: Labels, at: npt.NDArray[np.int64], ids: list[int], samples: int
) -> list[dict[int, Document]]:
    """For each sample, the labels that were sent by annotation id."""
    out: list[dict[int, Document]] = [{} for _ in range(samples)]
    rows = sent.rows.get(key, np.empty(0, np.int64)).tolist()
    for row, label in zip(rows, sent.documents.get(key, ()), strict=True):
        out[int(at[row])][ids[row]] = label
    return out


Matched = Iterator[tuple[int | None, Document, Document | None]]


def _labels(mine: dict[int, Document], theirs: list[Document]) -> Matched:
    """Pairs by our id; a second label of one id was copied and is new."""
    left = dict(mine)
    for now in theirs:
        number = now.get("granum_id")
        if number in left:
            yield number, left.pop(number), now
        else:
            yield None, {}, now
    for number, ours in left.items():
        yield number, ours, None


def _captions(mine: dict[int, Document], theirs: list[Document]) -> Matched:
    """Equal texts are one caption; what is left over pairs in order."""
    left, new = dict(mine), []
    for now in theirs:
        number = next((n for n, d in left.items() if d["text"] == now["text"]), None)
        if number is None:
            new.append(now)
        else:
            del left[number]
    for now in new:
        number = next(iter(left), None)
        yield number, {} if number is None else left.pop(number), now
    for number, ours in left.items():
        yield number, ours, None


def differing(ours: Document, now: Document, ignored: frozenset[str] = frozenset()) -> set[str]:
    """Names of the values that differ; an absent one and None are the same."""
    names = (ours.keys() | now.keys()) - _NOT_COMPARED - ignored
    return {n for n in names if not _same(n, ours.get(n), now.get(n))}


def _same(name: str, ours: Any, now: Any) -> bool:
    if ours is None or now is None:
        return ours is now
    if name == "mask":
        return bytes(ours) == bytes(now) or np.array_equal(unpacked(ours), unpacked(now))
    if name == "points":
        return _same_points(ours, now)
    return bool(ours == now) or (ours != ours and now != now)


def _same_points(ours: Any, now: Any) -> bool:
    if isinstance(ours, list) and isinstance(now, list):
        return len(ours) == len(now) and all(map(_same_points, ours, now))
    return bool(ours == now) or (ours != ours and now != now)
