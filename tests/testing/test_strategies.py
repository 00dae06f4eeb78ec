"""The strategies draw everything, and what is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from granum.loaders.base import Format, Intake
from granum.loaders.checks import check_batch
from granum.schema import tables
from granum.schema.findings import Findings
from granum.schema.losses import KINDS
from granum.store.builder import Incoming
from granum.testing import datasets, datasets_of, small_datasets
from granum.testing.keep import snapshot


def drawn(strategy, examples=60):
    found = []

    @settings(
        derandomize=True,
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def look(dataset):
        found.append(dataset)

    look()
    return found


@pytest.fixture(scope="module")
def some():
    return drawn(datasets())


NEVER = {"origins", "ordinal", "shape"}
"""Where a record stood in a file: readers fill that."""


def filled(found, table):
    names = Counter()
    for dataset in found:
        tables_ = {
            "samples": dataset.samples(),
            "groups": dataset.groups,
            "categories": dataset.categories,
            "annotations": dataset.annotations(),
        }[table]
        names.update(n for n in tables_.column_names if tables_[n].null_count < tables_.num_rows)
    return names


@pytest.mark.parametrize("table", ["samples", "groups", "categories", "annotations"])
def test_every_column_is_drawn(some, table):
    names = filled([*some, *small_datasets().values()], table)
    missing = {n for n in tables.TABLES[table].names if not names[n]} - NEVER
    assert not missing
    assert {n for n in names if n.startswith("attr.")} or table in ("groups", "categories")


def test_every_kind_is_drawn(some):
    kinds = Counter(
        k for d in [*some, *small_datasets().values()] for k in d.to_pandas()["kind"].tolist()
    )
    assert set(kinds) == KINDS


def test_the_values_that_get_lost_are_drawn(some):
    # The small datasets hold what chance may leave out of a few dozen drawn ones.
    some = [*some, *small_datasets().values()]
    rows = [a for d in some for v in d for a in v.annotations]
    assert any(a.score == 0 for a in rows)
    assert any(a.track == 0 for a in rows)
    assert any(a.present is False for a in rows)
    assert any(a.text == "" for a in rows)
    assert any(a.category is None for a in rows)
    assert any(a.polygons and len(a.polygons) > 1 for a in rows)
    assert any(a.polygons and any(len(p) > 1 for p in a.polygons) for a in rows)
    assert {a.rle.form for a in rows if a.rle} == {"compressed", "list"}
    assert {a.map.encoding for a in rows if a.map} >= {"index", "rgb24", "nonzero", "greater"}
    assert any(not v.annotations for d in some for v in d)
    assert any(d.groups.num_rows and d.annotations()["sample"].null_count for d in some)
    units = {(v.row.unit, v.row.width is None) for d in some for v in d}
    assert units >= {("pixel", False), ("pixel", True), ("relative", False), ("relative", True)}
    assert any(0 in d.counts().values() for d in some)
    assert any(len(d.meta.layers) > 1 for d in some)
    assert any(len(d) == 0 for d in some)


def test_what_is_drawn_has_no_faults(some):
    """Readers would refuse a dataset with faults that are errors."""
    for dataset in [*some, *small_datasets().values()]:
        findings = Findings()
        layers = {n: dataset.annotations(layer=n) for n in dataset.meta.layers}
        check_batch(Incoming(dataset.samples(), layers), Intake(findings), "any")
        assert not findings.errors, findings.table()


def test_only_what_is_asked_for():
    found = drawn(datasets(["object", "bbox", "categories.supercategory", "category"], ["object"]))
    names = filled(found, "annotations")
    bookkeeping = {"annotation_id", "sample", "kind", "area", "source_id"}
    assert set(names) == {*bookkeeping, "bbox", "category"}
    columns = set(filled(found, "categories"))
    assert columns == {"name", "space", "source_id", "supercategory"}
    assert not any(d.groups.num_rows or len(d.meta.layers) > 1 for d in found)
    assert {s for d in found for s in d.categories["space"].to_pylist()} == {"object"}


def test_what_a_format_keeps():
    class Some(Format):
        keeps = frozenset({"object", "caption", "text", "bbox", "mask", "split"})

    found = drawn(datasets_of(Some))
    assert set(filled(found, "annotations")) - {"source_id", "area"} == {
        *("annotation_id", "sample", "kind", "text", "bbox", "polygons", "rle", "map")
    }
    assert "split" in filled(found, "samples")
    assert {k for d in found for k in d.to_pandas()["kind"].tolist()} == {"object", "caption"}


def test_plain_datasets():
    columns = ["object", "bbox", "category", "mask", "keypoints", "skeleton", "parent", "split"]
    found = drawn(datasets(columns, ["object"], plain=True, parts=1, holes=False, min_samples=1))
    assert all(len(d) for d in found)
    for dataset in found:
        for view in dataset:
            width, height = view.row.width, view.row.height
            assert view.row.unit == "pixel"
            assert view.split is not None
            for annotation in view.annotations:
                x, y, w, h = annotation.bbox
                assert 0 <= x < x + w <= width + 1e-9
                assert 0 <= y < y + h <= height + 1e-9
                assert annotation.category is not None
                masks = (annotation.polygons, annotation.rle, annotation.map)
                assert sum(m is not None for m in masks) <= 1
                if annotation.polygons:
                    assert [len(p) for p in annotation.polygons] == [1]
                if annotation.keypoints:
                    names = view.categories[annotation.category].keypoints
                    assert len(annotation.keypoints) == 3 * len(names)
                if annotation.parent:
                    (parent,) = (
                        a for a in view.annotations if a.annotation_id == annotation.parent
                    )
                    assert parent.parent is None


def test_limits():
    found = drawn(
        datasets(max_samples=2, max_annotations=1, keys=["a", "b", "c"], splits=["x"]), 30
    )
    assert {len(d) for d in found} == {0, 1, 2}
    assert {v.key for d in found for v in d} == {"a", "b", "c"}
    assert {v.split for d in found for v in d} <= {"x", None}
    assert all(len(v.annotations) <= 1 for d in found for v in d)


def test_the_same_every_time():
    one, two = (drawn(datasets(), 10) for _ in range(2))
    assert [snapshot(d) for d in one] == [snapshot(d) for d in two]


WITHOUT = """
import sys
sys.modules["hypothesis"] = None
import granum.testing
from granum.testing import assert_same, small_datasets, refuse_or_keep
made = small_datasets()["box"]
assert_same(made, made)
from granum.errors import MissingExtraError
for name in ("datasets", "FormatSuite"):
    try:
        getattr(granum.testing, name)
    except MissingExtraError as error:
        assert "needs hypothesis: pip install granum[dev]" in str(error), error
    else:
        raise SystemExit(f"{name} without hypothesis?")
"""


def test_without_hypothesis_it_is_said_what_is_missing():
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)
