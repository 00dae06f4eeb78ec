"""Out-of-fold probabilities: no model saw what it predicts; wrong labels stand out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from granum.errors import UsageError
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.train.folds import fold_of, out_of_fold
from tests.train.tiny import CLASSES, Linear, labelled, picture

torch = pytest.importorskip("torch")

PLAN: dict[str, Any] = {
    "epochs": 6, "batch_size": 4, "size": 8, "lr": 1e-2, "seed": 1, "threads": 1, "device": "cpu",
}  # fmt: skip


@dataclass(frozen=True)
class Watched(Linear):
    """Remembers what each model was trained on."""

    dropout: float = 0.0
    seen: ClassVar[list[tuple[int, set[int]]]] = []

    def losses(self, model: Any, batch: Any) -> Any:
        self.seen.append((id(model) if model.training else 0, set(batch["index"].tolist())))
        return super().losses(model, batch)


def test_no_model_sees_what_it_predicts() -> None:
    ds = labelled(30, val=0, unlabelled=4)
    Watched.seen.clear()
    table = out_of_fold(ds, Watched(), folds=3, **{**PLAN, "epochs": 1})
    assert table.column_names == ["key", "sample", "fold", "label", "probabilities", "loss"]
    assert table["sample"].to_pylist() == list(range(30))  # unlabelled ones are left out
    assert table["key"][3].as_py() == "003.png"
    fold = np.asarray(table["fold"])
    assert np.bincount(fold).tolist() == [10, 10, 10]
    held: list[set[int]] = []
    trained: set[int] = set()
    for model, index in Watched.seen:
        if model:
            trained |= index
        elif trained:
            held.append(set(range(30)) - trained)
            trained = set()
    assert held == [set(np.flatnonzero(fold == k).tolist()) for k in range(3)]


def test_probabilities_sum_to_one_and_find_wrong_labels() -> None:
    ds = labelled(60, val=0)
    samples = [v.row for v in ds]
    wrong = [7, 20, 41]
    for i in wrong:
        samples[i].annotations[0].category = 1 - i % 2
    noisy = Dataset.from_rows(samples, [rows.Category(c) for c in CLASSES])
    plan = {**PLAN, "epochs": 15}
    table = out_of_fold(noisy, Linear(dropout=0.0), **plan)
    shares = np.asarray(table["probabilities"].to_pylist())
    assert shares.shape == (60, 2) and np.allclose(shares.sum(1), 1)
    label = np.asarray(table["label"])
    assert label[7] == 0  # as given, not as it is
    margin = shares[np.arange(60), label]
    right = np.delete(margin, wrong)
    assert (margin[wrong][:, None] < right).mean() > 0.95
    assert np.allclose(np.asarray(table["loss"]), -np.log(margin), atol=1e-4)
    assert json.loads(table.schema.metadata[b"classes"]) == list(CLASSES)
    again = out_of_fold(noisy, Linear(dropout=0.0), **plan)
    assert again.equals(table)


def test_a_classifier_that_tells_several_classes() -> None:
    from granum.train.classifier import Classifier

    plan = {**PLAN, "epochs": 1, "folds": 2}
    one, both = (out_of_fold(labelled(8), Classifier(width=4, best=n), **plan) for n in (1, 2))
    assert one.equals(both)


def test_folds_keep_groups_and_spread_classes() -> None:
    samples = [
        rows.Sample(f"{i}", rows.Media(bytes=picture(i, 0)), group=i // 4, annotations=[])
        for i in range(48)
    ]
    groups = [rows.Group(f"g{i}") for i in range(12)]
    ds = Dataset.from_rows(samples, [], groups)
    labels = np.arange(48) // 4 % 2
    fold = fold_of(ds, np.arange(48), labels, 3, seed=0)
    assert all(len(set(fold[4 * g : 4 * g + 4])) == 1 for g in range(12))
    assert np.bincount(fold[labels == 0]).tolist() == np.bincount(fold[labels == 1]).tolist()
    assert np.bincount(fold).tolist() == [16, 16, 16]
    # The fold hangs on keys and seed, not on the order of the samples.
    order = np.random.default_rng(0).permutation(48)
    assert fold_of(ds.select(order), np.arange(48), labels[order], 3, 0).tolist() == [
        fold[i] for i in order
    ]
    assert fold_of(ds, np.arange(48), labels, 3, seed=1).tolist() != fold.tolist()
    with pytest.raises(UsageError, match="12 samples or groups"):
        fold_of(ds, np.arange(48), labels, 13, 0)


def test_what_cannot_be_meant() -> None:
    from granum.train.rotation import Rotation

    with pytest.raises(UsageError, match="at least 2"):
        out_of_fold(labelled(), Linear(), folds=1, **PLAN)
    with pytest.raises(UsageError, match="rotation gives no probability"):
        out_of_fold(labelled(), Rotation(), **PLAN)
