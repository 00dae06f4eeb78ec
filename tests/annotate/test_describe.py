"""Descriptions say what annotations say."""

from __future__ import annotations

from pathlib import Path

import pytest

from granum.annotate import _words
from granum.annotate.describe import Thing, add_descriptions, describe_sample, describe_thing
from granum.errors import SizeUnknownError, UsageError
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset

CATEGORIES = ["dog", "head", "traffic_light", "on", "indoor"]


def scene(path: Path, unit: str = "pixel", size: int | None = 100) -> Dataset:
    s = 0.01 if unit == "relative" else 1

    def box(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        return (x * s, y * s, w * s, h * s)

    rows = [
        Annotation(
            category=0,
            bbox=box(0, 0, 90, 90),
            annotation_id=1,
            attributes={"colour": "brown", "wet": True, "age": 3, "calm": False},
        ),
        Annotation(category=1, bbox=box(0, 0, 20, 20), annotation_id=2, parent=1),
        Annotation(category=2, bbox=box(90, 90, 3, 3), annotation_id=3),
        Annotation(kind="relation", category=3, subject=1, object=3, annotation_id=4),
        Annotation(category=2, present=False, annotation_id=5),
        Annotation(kind="label", category=4, annotation_id=6),
    ]
    samples = [
        Sample("a", width=size, height=size, unit=unit, annotations=rows),
        Sample("b", width=size, height=size, unit=unit),
    ]
    categories = [Category(n) for n in CATEGORIES]
    return Dataset.from_rows(samples, categories).save(path / "x.granum")


SENTENCE = (
    "An image labelled indoor with a dog and a traffic light: a large brown wet dog in the centre, "
    "with a head, on a traffic light; a tiny traffic light at the bottom right."
)


@pytest.mark.parametrize("unit", ["pixel", "relative"])
def test_a_sample_in_a_sentence(tmp_path: Path, unit: str) -> None:
    described = add_descriptions(scene(tmp_path, unit))
    assert [[a.text for a in s.annotations] for s in described] == [[SENTENCE], []]
    assert described[0].annotations[0].kind == "caption"
    assert described.meta.layers["descriptions"]["parent"] == "truth"
    again = add_descriptions(described, of="truth", layer="again")
    assert again[0].annotations[0].text == SENTENCE


def test_each_object_in_a_sentence(tmp_path: Path) -> None:
    store = scene(tmp_path)
    described = add_descriptions(store, each="annotation")
    assert [a.text for a in described[0].annotations] == [
        "A large brown wet dog in the centre, with a head, on a traffic light.",
        "A medium-sized head at the top left.",
        "A tiny traffic light at the bottom right.",
    ]
    # The subjects are the objects of the other layer, though the new rows had ids of their own.
    objects = [a.annotation_id for a in store[0].annotations if a.kind == "object"][:3]
    assert [a.subject for a in described[0].annotations] == objects
    with pytest.raises(UsageError):
        add_descriptions(store, each="word", layer="x")  # type: ignore[arg-type]


def test_boxes_need_the_size_of_the_image(tmp_path: Path) -> None:
    with pytest.raises(SizeUnknownError):
        add_descriptions(scene(tmp_path, size=None))


def test_the_largest_are_named_and_all_are_counted() -> None:
    things = [Thing(i, "dog", (0.1 * i, 0.4, 0.1, 0.1), 0.01 * (i + 1)) for i in range(3)]
    things.append(Thing(9, "cat", (0.8, 0.8, 0.1, 0.1), 0.5))
    said = describe_sample(things, most=2)
    assert said == (
        "An image with three dogs and a cat; among them a large cat at the bottom right; "
        "a small dog in the centre."
    ).replace("in the centre", "on the left")
    assert describe_sample(list(reversed(things)), most=2) == said
    assert describe_sample([]) is None
    assert describe_sample([], ["b", "a", "a"]) == "An image labelled a and b."
    assert describe_thing(Thing(1, "region")) == "a region"


def test_english() -> None:
    plurals = ["people", "glasses", "buses", "cities", "toys", "wine glasses", "sheep", "benches"]
    singles = ["person", "glass", "bus", "city", "toy", "wine glass", "sheep", "bench"]
    assert [_words.plural(w) for w in singles] == plurals
    assert _words.counted(["owl"] * 13 + ["ant"]) == "13 owls and an ant"
    assert _words.counted(["b", "a"]) == "a a and a b".replace("a a", "an a")
    assert _words.joined(["a", "b", "c"]) == "a, b and c" and _words.joined([]) == ""
    assert _words.place(0.5, 0.1) == "at the top" and _words.place(1.0, 0.5) == "on the right"
    assert [_words.size_word(g) for g in (0, 0.2, 0.5, 0.8, 1)] == [
        *("tiny", "small", "medium-sized", "large", "large")
    ]
    assert _words.plain("traffic_light ") == "traffic light" and _words.plain("") == "object"
