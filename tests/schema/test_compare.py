"""How far two columns differ."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from granum.schema.compare import JSON_COLUMNS, differences
from granum.schema.tables import ANNOTATIONS
from granum.testing import datasets

INF = float("inf")


def diff(kind, before, after, **options):
    return differences(pa.array(before, kind), pa.array(after, kind), **options).tolist()


@pytest.mark.parametrize(
    ("kind", "before", "after", "expected"),
    [
        (
            pa.float64(),
            [1.0, 1.0, None, 0.0, None, float("nan")],
            [1.0, 1.5, None, None, 0.0, float("nan")],
            [0, 0.5, 0, INF, INF, 0],
        ),
        (
            pa.float64(),
            [1.0, float("nan"), float("inf"), float("inf")],
            [float("nan"), 1.0, float("inf"), 1.0],
            [INF, INF, 0, INF],
        ),
        (pa.int64(), [1, 2, None], [1, 3, 0], [0, INF, INF]),
        (pa.bool_(), [True, True, None, False], [True, False, False, None], [0, INF, INF, INF]),
        (pa.string(), ["a", "b", None, ""], ["a", "B", None, None], [0, INF, 0, INF]),
        (pa.binary(), [b"\0", b""], [b"\0", b"\0"], [0, INF]),
        (
            pa.list_(pa.float64()),
            [[1.0, 2], [1.0, 2], [1.0], [], None, []],
            [[1.0, 2], [1.25, 1], [1.0, 1], [], [], None],
            [0, 1, INF, 0, INF, INF],
        ),
        (
            pa.list_(pa.float64(), 4),
            [[0.0, 0, 1, 1], None, [0.0, 0, 1, 1], [1.0, 2, 3, 4]],
            [[0.0, 0, 1, 1], None, None, [1.0, 2, 3.5, 4]],
            [0, 0, INF, 0.5],
        ),
        (
            pa.list_(pa.list_(pa.list_(pa.float64()))),
            [[[[0.0, 0, 1]], [[5.0]]], [[[1.0]]], [[[1.0]], [[2.0]]], None],
            [[[[0.0, 0.5, 1]], [[5.0]]], [[[1.0], [1.0]]], [[[1.0]], [[2.0]]], None],
            [0.5, INF, 0, 0],
        ),
        (
            pa.struct([("start", pa.float64()), ("end", pa.float64())]),
            [{"start": 0.0, "end": 1.0}, {"start": 0.0, "end": None}, None],
            [{"start": 0.0, "end": 1.5}, {"start": 0.0, "end": 0.0}, {"start": 0.0, "end": 0.0}],
            [0.5, INF, INF],
        ),
        (pa.list_(pa.string()), [["a", "b"], ["a"]], [["a", "b"], ["b"]], [0, INF]),
    ],
)
def test_by_type(kind, before, after, expected):
    assert diff(kind, before, after) == expected


def test_dictionaries_by_their_values():
    kind = ANNOTATIONS.field("kind").type
    before = pa.array(["a", "b", None]).dictionary_encode().cast(kind)
    after = pa.array(["b", "b", None]).dictionary_encode().cast(kind)
    assert differences(before, after).tolist() == [INF, 0, 0]
    inside = ANNOTATIONS.field("rle").type
    one = pa.array([{"size": [2, 3], "counts": b"6", "form": "list"}] * 2, inside)
    other = pa.array(
        [
            {"size": [2, 3], "counts": b"6", "form": "list"},
            {"size": [2, 3], "counts": b"6", "form": "compressed"},
        ],
        inside,
    )
    assert differences(one, other).tolist() == [0, INF]


def test_json_by_its_values():
    before = ['{"a": 1, "b": [1, null]}', '{"a": 1}', None, "{}", '{"a": 1}', '{"a": true}']
    after = ['{"b":[1,null],"a":1}', '{"a": 2}', None, None, '{"a": 1.0}', '{"a": 1}']
    assert diff(pa.string(), before, after, as_json=True) == [0, INF, 0, INF, 0, INF]
    assert {"attributes", "extra"} == JSON_COLUMNS


def test_chunks_and_slices():
    whole = pa.chunked_array([[1.0, 2.0], [3.0, None]])
    assert differences(whole, pa.array([1.0, 2.0, 3.0, None])).tolist() == [0, 0, 0, 0]
    lists = pa.array([[1.0], [2.0, 3.0], None, [4.0]])
    assert differences(lists.slice(1, 3), pa.array([[2.0, 3.5], None, [4.0]])).tolist() == [
        0.5,
        0,
        0,
    ]
    boxes = pa.array([[0.0] * 4, [1.0] * 4, None, [2.0] * 4], pa.list_(pa.float64(), 4))
    other = pa.array([[1.0] * 4, None, [2.5] * 4], pa.list_(pa.float64(), 4))
    assert differences(boxes.slice(1), other).tolist() == [0, 0, 0.5]
    assert differences(pa.array([], pa.float64()), pa.array([], pa.float64())).tolist() == []


@settings(derandomize=True, max_examples=20, deadline=None, database=None)
@given(datasets())
def test_anything_equals_itself_and_not_its_neighbour(dataset):
    table = dataset.annotations()
    forward = np.arange(table.num_rows)
    for name in table.column_names:
        column, as_json = table[name], name in JSON_COLUMNS
        assert not differences(column, column.take(forward), as_json=as_json).any()
        turned = column.take(forward[::-1])
        found = differences(column, turned, as_json=as_json)
        values = column.to_pylist()
        for away, x, y in zip(found, values, values[::-1], strict=True):
            assert (away == 0) == (x == y), (name, x, y, away)


def test_numbers_are_no_truths():
    assert np.isinf(diff(pa.string(), ['{"a": [0]}'], ['{"a": [false]}'], as_json=True)).all()
