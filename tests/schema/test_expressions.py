"""The language of ``--where``."""

from __future__ import annotations

import pyarrow as pa
import pytest

from granum.errors import UsageError
from granum.schema.expressions import Expression
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset


@pytest.fixture(scope="module")
def data():
    one = [
        Annotation(
            category=0,
            bbox=(0.0, 1.0, 30.0, 40.0),
            area=1200.0,
            score=0.0,
            crowd=False,
            text="a 'dog'",
            attributes={"colour": "red", "n": 1, "deep": {"x": 1}},
        ),
        Annotation(
            category=1,
            bbox=(5.0, 5.0, 5.0, 5.0),
            area=25.0,
            score=0.9,
            crowd=True,
            attributes={"colour": "blue", "n": 2.5},
        ),
        Annotation("caption", text="two cats"),
        Annotation(category=2, area=1024.0, attributes={"colour": 3}),
    ]
    samples = [
        Sample("a.jpg", width=640, height=480, split="train", annotations=one),
        Sample("b.jpg", width=1280, height=720, split="val", attributes={"weather": "rain"}),
        Sample("c.jpg", split=None, attributes={"weather": "sun"}),
    ]
    return Dataset.from_rows(samples, [Category(n) for n in ("dog", "cat", "traffic light")])


def found(data, text):
    expression = Expression(text)
    table = data.samples() if expression.table == "samples" else data.annotations()
    return [i for i, yes in enumerate(expression.mask(table, data.categories).tolist()) if yes]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("category == 'dog'", [0]),
        ("category != 'dog'", [1, 3]),  # absent: neither equal nor unequal
        ("category in ('dog', 'cat')", [0, 1]),
        ("category not in ('dog', 'cat')", [3]),
        ("category in ['traffic light']", [3]),
        ("category is None", [2]),
        ("category is not None", [0, 1, 3]),
        ("kind == 'caption'", [2]),
        ("area >= 32**2", [0, 3]),
        ("area > 32**2", [0]),
        ("0 < area <= 25", [1]),
        ("score == 0", [0]),
        ("score >= 0", [0, 1]),
        ("not score >= 0.5", [0]),
        ("crowd", [1]),
        ("not crowd", [0]),
        ("crowd == False", [0]),
        ("crowd is None", [2, 3]),
        ("bbox.w < 10", [1]),
        ("bbox.w * bbox.h == area", [0, 1]),
        ("bbox.x + bbox.w > 10 - 1", [0, 1]),
        ("bbox is None", [2, 3]),
        ("bbox.y == 1 or text == 'two cats'", [0, 2]),
        ("text is None or crowd", [1, 3]),
        ("area / 2 > 600 or area % 2 == 1", [1]),
        ("score > -1", [0, 1]),
        ("attr.colour == 'red'", [0]),
        ("attr.n > 1", [1]),
        ("attr.n in (1, 2.5)", [0, 1]),
        ("attr.nothing is None", [0, 1, 2, 3]),
        ("annotation.attr.colour == 'blue'", [1]),
        ("score > 0 and category == 'cat' and bbox.w == 5", [1]),
        ("True", None),
    ],
)
def test_annotations(data, text, rows):
    if rows is None:
        assert found(data, text) == [0, 1, 2, 3]
    else:
        assert found(data, text) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("width > 640", [1]),
        ("width >= 640 and split == 'train'", [0]),
        ("split in ('train', 'val')", [0, 1]),
        ("split is None", [2]),
        ("width is None or height < 500", [0, 2]),
        ("key == 'b.jpg'", [1]),
        ("width / height > 1.5", [1]),
        ("sample.attr.weather == 'rain'", [1]),
    ],
)
def test_samples(data, text, rows):
    assert Expression(text).table == "samples"
    assert found(data, text) == rows


@pytest.mark.parametrize(
    "text",
    [
        "category = 'dog'",
        "category ==",
        "__import__('os').system('true')",
        "(lambda: 1)()",
        "open('x')",
        "[x for x in (1,)]",
        "category[0] == 'd'",
        "f'{category}' == 'dog'",
        "category if crowd else 1",
        "score @ 2",
        "score << 2",
        "width > 1 and score > 1",
        "sample.score > 1",
        "annotation.width > 1",
        "colour == 'red'",
        "bbox.q > 1",
        "score > 'a'",
        "text < 3",
        "-text == 1",
        "text + 1 == 2",
        "",
    ],
)
def test_what_is_no_condition(data, text):
    with pytest.raises(UsageError):
        found(data, text)


def test_unknown_columns_are_listed():
    with pytest.raises(UsageError, match="no column 'nonsense'; samples have key, source_id"):
        Expression("nonsense == 1")


def test_no_rows(data):
    empty = data.annotations().slice(0, 0)
    for text in ("category == 'dog'", "attr.n > 1", "bbox.w > 1", "not crowd"):
        assert Expression(text).mask(empty, data.categories).tolist() == []


def test_no_categories():
    dataset = Dataset.from_rows([Sample("a", annotations=[Annotation()])])
    assert found(dataset, "category == 'dog'") == []
    assert found(dataset, "category is None") == [0]


def test_columns_that_are_not_stored(data):
    few = data.annotations(["annotation_id", "kind"])
    assert Expression("score > 0").mask(few, data.categories).tolist() == [False] * 4
    assert Expression("score is None").mask(few, data.categories).tolist() == [True] * 4


def test_attributes_in_either_form():
    table = pa.table(
        {
            "attributes": ['{"a": 1}', '{"a": 5}', None, '{"b": 2}'],
            "attr.a": pa.array([None, None, 7, 2], pa.int64()),
        }
    )
    categories = pa.table({"name": pa.array([], pa.string())})
    assert Expression("attr.a >= 2").mask(table, categories).tolist() == [False, True, True, True]
    assert Expression("attr.a is None").mask(table, categories).tolist() == [False] * 4
    assert Expression("attr.b == 2").mask(table, categories).tolist() == [False] * 3 + [True]
