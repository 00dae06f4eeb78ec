"""Descriptions by template: one English sentence for a sample, or for each annotation.

What an annotation says is put into words: category, size against the image, place on a grid of
3 by 3, attributes, parts, relations. Nothing is guessed, and equal annotations give equal words: a
baseline for captioners, and text for training where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from granum.annotate import _words
from granum.annotate.granularity import octaves
from granum.errors import UsageError
from granum.schema import geometry, tables
from granum.schema.attributes import attribute_dicts
from granum.schema.tables import column
from granum.store.additions import add_layer
from granum.store.dataset import Dataset
from granum.store.view import SampleView

__all__ = ["Thing", "add_descriptions", "describe_sample", "describe_thing", "things_of"]

PRODUCER = "describe_template@1"


@dataclass
class Thing:
    """What the words are made of.

    Attributes:
        annotation_id: of the row.
        name: of its category, or "region".
        box: xywh as fractions of the image; None where it has no geometry.
        share: of the image's area; None likewise.
        attributes: words before the name.
        parts: names of what lies in it.
        relations: "on a table" and the like.
        part_of: the annotation it lies in.
    """

    annotation_id: int
    name: str
    box: tuple[float, float, float, float] | None = None
    share: float | None = None
    attributes: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    part_of: int | None = None


def describe_thing(thing: Thing, *, parts: bool = True) -> str:
    """A noun phrase: "a large brown dog on the left, with a head and two ears, on a sofa"."""
    words = [] if thing.share is None else [_words.size_word(float(octaves(thing.share, 1.0)))]
    phrase = _words.article(" ".join([*words, *thing.attributes, thing.name]))
    if thing.box is not None:
        x, y, w, h = thing.box
        phrase += f" {_words.place(x + w / 2, y + h / 2)}"
    if parts and thing.parts:
        phrase += f", with {_words.counted(thing.parts)}"
    return "".join([phrase, *(f", {r}" for r in thing.relations)])


def describe_sample(
    things: Sequence[Thing], labels: Sequence[str] = (), *, most: int = 5
) -> str | None:
    """One sentence of a sample; None where nothing is annotated.

    Args:
        things: its objects.
        labels: categories of the whole image.
        most: so many wholes are described one by one, the largest first; of all, the numbers.
    """
    known = {t.annotation_id for t in things}
    wholes = [t for t in things if t.part_of not in known]
    about = f"An image labelled {_words.joined(sorted(set(labels)))}" if labels else "An image"
    if not wholes:
        return f"{about}." if labels else None
    wholes.sort(key=lambda t: (-(t.share or 0), t.name, t.box or (), t.annotation_id))
    shown = [describe_thing(t) for t in wholes[:most]]
    if len(wholes) == 1:
        return f"{about} with {shown[0]}."
    whole = _words.counted(t.name for t in wholes)
    more = "; among them " if len(wholes) > most else ": "
    return f"{about} with {whole}{more}{'; '.join(shown)}."


def things_of(table: pa.Table, view: SampleView) -> tuple[list[Thing], list[str]]:
    """The objects of a sample as facts, and the labels of the whole image.

    Args:
        table: annotations of one sample.
        view: the sample.

    Raises:
        SizeUnknownError: boxes in pixels, and the size of the image is not known.
    """
    names = [_words.plain(n) for n in view.dataset.category_names()]
    wanted = ("annotation_id", "kind", "category", "present", "parent", "subject", "object")
    columns = {n: column(table, n).to_pylist() for n in wanted}
    called = ["region" if c is None else names[c] for c in columns["category"]]
    rows = [i for i, p in enumerate(columns["present"]) if p is not False]
    boxes, areas = _fractions(table, view)
    attributes = attribute_dicts(table)
    things = {
        columns["annotation_id"][i]: Thing(
            columns["annotation_id"][i],
            called[i],
            None if np.isnan(boxes[i]).any() else tuple(boxes[i].tolist()),
            None if np.isnan(areas[i]) else float(areas[i]),
            _adjectives(attributes[i]),
            part_of=columns["parent"][i],
        )
        for i in rows
        if columns["kind"][i] == "object"
    }
    for thing in things.values():
        if thing.part_of in things:
            things[thing.part_of].parts.append(thing.name)
    for i in rows:
        subject, other = things.get(columns["subject"][i]), things.get(columns["object"][i])
        if columns["kind"][i] == "relation" and subject is not None and other is not None:
            subject.relations.append(f"{called[i]} {_words.article(other.name)}")
    labels = [called[i] for i in rows if columns["kind"][i] == "label"]
    return list(things.values()), labels


def add_descriptions(
    dataset: Dataset,
    *,
    of: str | None = None,
    layer: str = "descriptions",
    each: Literal["sample", "annotation"] = "sample",
    most: int = 5,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """A sentence of each sample, or of each object, as captions in a new layer of a store.

    Args:
        dataset: a whole store.
        of: the layer that is described; the current one, where None.
        layer: name of the new layer.
        each: ``sample``, or ``annotation``: the caption's ``subject`` is then the object's id.
        most: see ``describe_sample``.
        progress: called with 1 for each sample.

    Returns:
        The store, reopened, with the new layer chosen.
    """
    if each not in ("sample", "annotation"):
        raise UsageError(f"each is {each!r}; it must be sample or annotation")
    source = dataset if of is None else dataset.layer(of)
    sample: list[int] = []
    text: list[str] = []
    subject: list[int | None] = []
    for view, table in _samples(source):
        things, labels = things_of(table, view)
        if each == "sample":
            said: list[tuple[str | None, int | None]] = [
                (describe_sample(things, labels, most=most), None)
            ]
        else:
            said = [(_sentence(describe_thing(t)), t.annotation_id) for t in things]
        for sentence, whose in said:
            if sentence is not None:
                sample.append(view.index)
                text.append(sentence)
                subject.append(whose)
        if progress is not None:
            progress(1)
    kind = pa.array(["caption"] * len(text), pa.string()).dictionary_encode()
    rows = pa.table(
        {
            # Ids below 0 are given anew; ids of the layer that is described stay what they are.
            "annotation_id": pa.array(-np.arange(1, len(text) + 1)),
            "sample": pa.array(sample, pa.int64()),
            "kind": kind.cast(tables.ANNOTATIONS.field("kind").type),
            "text": pa.array(text, pa.string()),
            "subject": pa.array(subject, pa.int64()),
        }
    )
    added = add_layer(dataset, layer, rows, producer=PRODUCER, parent=source.meta.layer)
    return added.layer(layer)


def _samples(dataset: Dataset) -> Iterator[tuple[SampleView, pa.Table]]:
    for part in dataset.parts:
        table, offsets = part.layer(dataset.meta.layer), part.offsets(dataset.meta.layer)
        for local in range(part.rows):
            first, last = int(offsets[local]), int(offsets[local + 1])
            yield SampleView(dataset, part.start + local), table.slice(first, last - first)


def _sentence(phrase: str) -> str:
    return f"{phrase[:1].upper()}{phrase[1:]}."


def _fractions(table: pa.Table, view: SampleView) -> tuple[Any, Any]:
    """Boxes and areas as fractions of the image, NaN where there are none."""
    boxes, areas = geometry.aabb(table), geometry.areas(table)
    stored = column(table, "area").fill_null(np.nan)
    areas = np.where(np.isnan(stored), areas, stored)
    if view.row.unit == "relative" or np.isnan(boxes).all():
        return boxes, areas
    width, height = view.size
    return boxes / [width, height, width, height], areas / (width * height)


def _adjectives(attributes: dict[str, Any] | None) -> list[str]:
    """Attributes that read as words: texts, and the names of what is true."""
    out = []
    for name, value in sorted((attributes or {}).items()):
        if value is True:
            out.append(_words.plain(name))
        elif isinstance(value, str) and value:
            out.append(_words.plain(value))
    return out
