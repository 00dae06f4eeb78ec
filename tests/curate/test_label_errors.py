"""Wrong classes are found: by a model's probabilities, or by what neighbours are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from granum.curate.confident import calibrated, confident_joint, label_quality, votes
from granum.curate.score import score
from granum.store.additions import add_column
from granum.store.dataset import Dataset
from granum.synthetic import generate
from tests.curate.spaces import store


def test_joint_counts_what_is_confidently_something_else() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6]])
    # Thresholds: 0.6 for class 0, 0.7667 for class 1.
    assert confident_joint(p, labels).tolist() == [[2, 1], [0, 2]]
    assert calibrated(np.array([[2, 1], [0, 2]]), labels).tolist() == [[2, 1], [0, 3]]
    found = label_quality(p, labels)
    assert found.issue.tolist() == [False, False, True, False, False, False]
    np.testing.assert_allclose(found.quality, p[np.arange(6), labels])


def test_calibration_keeps_the_number_of_labels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(0, 4, 50)
        joint = calibrated(rng.integers(0, 9, (4, 4)), labels)
        assert joint.sum(axis=1).tolist() == np.bincount(labels, minlength=4).tolist()


def planted(n: int, classes: int, share: float, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """True classes, and given ones of which some are wrong."""
    true = rng.integers(0, classes, n)
    wrong = rng.random(n) < share
    given = np.where(wrong, (true + rng.integers(1, classes, n)) % classes, true)
    return true, given


def test_good_probabilities_find_planted_errors() -> None:
    rng = np.random.default_rng(1)
    true, given = planted(600, 4, 0.1, rng)
    p = rng.dirichlet(np.ones(4), 600) * 0.6 + np.eye(4)[true] * 0.4
    found = label_quality(p, given)
    wrong = true != given
    assert (found.issue & wrong).sum() / found.issue.sum() > 0.85
    assert (found.issue & wrong).sum() / wrong.sum() > 0.85
    assert not found.issue[found.suggested == given].any()
    order = np.random.default_rng(2).permutation(600)
    moved = label_quality(p[order], given[order])
    assert (moved.issue == found.issue[order]).mean() > 0.99  # ties may fall otherwise


def test_nothing_to_judge_is_no_error() -> None:
    assert len(label_quality(np.empty((0, 0)), np.empty(0, np.int64)).issue) == 0


def test_votes_leave_absent_neighbours_out() -> None:
    near = np.array([[1, 2], [0, -1], [-1, -1]])
    far = np.array([[0.1, 0.1], [0.2, np.inf], [np.inf, np.inf]], np.float32)
    p = votes(near, far, np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(p, [[1.25 / 2.5, 1.25 / 2.5], [1.25 / 1.5, 0.25 / 1.5], [0.5, 0.5]])


def objects(path: Path, share: float, scenes: int = 16) -> tuple[Dataset, np.ndarray]:
    """Generated scenes; some objects have a wrong class."""
    made = generate(path / "images", scenes=scenes, frames=0, pairs=0, textures=0, seed=3)
    rng = np.random.default_rng(4)
    shown = [
        a
        for s in made.samples
        for a in s.annotations
        if a.kind == "object" and a.category is not None and a.bbox is not None
    ]
    classes = sorted({a.category for a in shown if a.category is not None})
    wrong = set()
    for a in shown:
        if rng.random() < share:
            a.category = int(rng.choice([c for c in classes if c != a.category]))
            wrong.add(a.annotation_id)
    data = Dataset.from_rows(made.samples, made.categories, made.groups, media_root=made.root)
    ids = np.array([a.annotation_id in wrong for s in made.samples for a in s.annotations])
    return data.save(path / "s"), ids


def test_planted_wrong_labels_are_found_on_crops(tmp_path: Path) -> None:
    dataset, wrong = objects(tmp_path, 0.05)
    dataset = score(dataset, ["crop_descriptors", "label_suspect"])
    names = ["label_quality", "label_issue", "label_suggested", "label_agreement"]
    table = dataset.annotations([f"col.{n}" for n in names])
    flagged = np.asarray(table["col.label_issue"].fill_null(False))
    hits = int((flagged & wrong).sum())
    assert hits / flagged.sum() > 0.6 and hits / wrong.sum() > 0.7
    quality = np.asarray(table["col.label_quality"].fill_null(2.0))
    worst = np.argsort(quality, kind="stable")[: wrong.sum()]
    assert wrong[worst].mean() > 0.75
    agreement = np.asarray(table["col.label_agreement"].fill_null(np.nan), float)
    assert np.nanmean(agreement[wrong]) < 0.2 < 0.5 < np.nanmean(agreement[~wrong])
    kinds = dataset.annotations(["kind"])["kind"].to_pylist()
    assert {k for k, q in zip(kinds, quality.tolist(), strict=True) if q == 2.0} >= {"caption"}


def test_probabilities_column_is_used_where_it_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    true, given = planted(60, 3, 0.1, rng)
    dataset = store(tmp_path / "s", 60, classes=[[int(c)] for c in given], parts=2)
    p = (np.eye(3)[true] * 0.7 + 0.1).astype(np.float32)

    def column(batch: Any) -> pa.Array:
        rows = np.asarray(batch.annotations["sample"])
        return pa.FixedSizeListArray.from_arrays(pa.array(p[rows].reshape(-1)), 3)

    dataset = add_column(dataset, "oof", column, layer="truth")
    dataset = score(dataset, ["label_suspect:probabilities=oof"])
    table = dataset.annotations(["col.label_issue", "col.label_suggested", "col.label_agreement"])
    assert table["col.label_issue"].to_pylist() == (true != given).tolist()
    assert table["col.label_suggested"].to_pylist() == true.tolist()
    assert table["col.label_agreement"].null_count == 60


@pytest.mark.parametrize("classes", [[], [[0]], [[0], [0], [1]]])
def test_few_or_no_annotations(tmp_path: Path, classes: list[list[int]]) -> None:
    dataset = store(tmp_path / "s", 4, classes=[*classes, *([[]] * (4 - len(classes)))])

    def column(batch: Any) -> pa.Array:
        flat = np.arange(2 * batch.annotations.num_rows, dtype=np.float32) + 1
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), 2)

    dataset = add_column(dataset, "v", column, layer="truth")
    dataset = score(dataset, ["label_suspect:space=v"])
    found = dataset.annotations(["col.label_quality"])["col.label_quality"]
    assert len(found) == len(classes)
