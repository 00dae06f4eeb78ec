"""Attributes as typed columns and as JSON."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from granum.schema.attributes import attribute_dicts, promote


def table(*rows):
    texts = [None if r is None else json.dumps(r) for r in rows]
    return pa.table({"attributes": pa.array(texts, pa.string())})


def test_common_scalars_get_columns():
    types = {}
    found = promote(table({"c": "red", "n": 1}, {"c": "blue", "w": 0.5, "ok": True}, None), types)
    assert found.column_names == ["attr.c", "attr.n", "attr.ok", "attr.w"]
    assert found["attr.c"].to_pylist() == ["red", "blue", None]
    assert found["attr.n"].to_pylist() == [1, None, None]
    assert types == {"c": "str", "n": "int", "w": "float", "ok": "bool"}
    assert attribute_dicts(found) == [
        {"c": "red", "n": 1},
        {"c": "blue", "w": 0.5, "ok": True},
        None,
    ]


def test_what_does_not_fit_stays_in_its_row():
    rows = [{"n": 1}, {"n": 2}, {"n": "three"}, {"n": None}, {"n": 2**70}, {"n": [1]}, {"n": True}]
    found = promote(table(*rows), {})
    assert found["attr.n"].to_pylist() == [1, 2, None, None, None, None, None]
    assert attribute_dicts(found) == rows
    assert [type(r["n"]) for r in attribute_dicts(found)] == [type(r["n"]) for r in rows]


def test_nested_and_rare_values_stay():
    rows = [{"deep": {"a": [1, None]}, "c": i} for i in range(30)] + [{"rare": 1}]
    found = promote(table(*rows), {})
    assert found.column_names == ["attributes", "attr.c"]
    assert attribute_dicts(found) == rows


def test_absent_null_and_empty_differ():
    rows = [{"a": 1}, {"a": None}, {}, None, {"b": ""}, {"a": 0, "b": "x"}]
    assert attribute_dicts(promote(table(*rows), {})) == rows


def test_types_are_those_of_the_dataset():
    types = {}
    promote(table({"n": 1}), types)
    later = promote(table({"n": 1.5}, {"n": 2}), types)
    assert types == {"n": "int"}
    assert later["attr.n"].to_pylist() == [None, 2]
    assert attribute_dicts(later) == [{"n": 1.5}, {"n": 2}]


def test_whole_numbers_among_others_are_numbers():
    found = promote(table({"n": 1}, {"n": 1.5}, {"n": 2**60 + 1}), {})
    assert found["attr.n"].type == pa.float64()
    assert attribute_dicts(found)[:2] == [{"n": 1.0}, {"n": 1.5}]
    assert attribute_dicts(found)[2] == {"n": 2**60 + 1}  # a double could not hold it


def test_columns_that_come_along():
    types = {}
    brought = pa.table({"attr.n": pa.array([1, None], pa.int64()), "attributes": [None, '{"n":2}']})
    found = promote(brought, types)
    assert types == {"n": "int"}
    assert attribute_dicts(found) == [{"n": 1}, {"n": 2}]
    other = promote(pa.table({"attr.n": pa.array(["x", None])}), types)
    assert "attr.n" not in other.column_names
    assert attribute_dicts(other) == [{"n": "x"}, None]


def test_not_more_than_64():
    types = {}
    found = promote(table({f"a{i}": i for i in range(100)}), types)
    assert len(types) == 64
    assert attribute_dicts(found) == [{f"a{i}": i for i in range(100)}]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(
    st.lists(
        st.none()
        | st.dictionaries(st.sampled_from(["a", "b", "a.b", "", "ü"]), values, max_size=4),
        max_size=8,
    ),
    st.integers(0, 8),
)
def test_nothing_is_lost(rows, cut):
    """Any JSON, in two batches of one dataset."""
    types = {}
    found = [promote(table(*part), types) for part in (rows[:cut], rows[cut:]) if part]
    assert [d for t in found for d in attribute_dicts(t)] == rows


@pytest.mark.parametrize("text", ["[1]", "3", '"x"'])
def test_attributes_are_objects(text):
    """Other JSON is no set of attributes; readers do not make it."""
    with pytest.raises((AttributeError, ValueError, TypeError)):
        attribute_dicts(promote(pa.table({"attributes": [text]}), {}))
