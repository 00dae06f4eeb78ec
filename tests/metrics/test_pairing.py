"""Predictions beside the truth: what is joined, what is left out, and that it is told."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import granum
from granum.errors import SizeUnknownError, UsageError
from granum.metrics.pairing import Pairing
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset

NAMES = ("cat", "dog", "sky")


def sample(key: str, *categories: int | None, score: float | None = 0.5, **more: object) -> Sample:
    rows = [
        Annotation(category=c, score=score, bbox=(k, 0.0, 2.0, 4.0))
        for k, c in enumerate(categories)
    ]
    return Sample(key, annotations=rows, **{"width": 10, "height": 20, **more})  # type: ignore[arg-type]


def dataset(*samples: Sample, names: tuple[str, ...] = NAMES) -> Dataset:
    return Dataset.from_rows(samples, [Category(n) for n in names])


def paired(truth: Dataset, found: Dataset, **more: object) -> tuple[list[pa.Table], Findings]:
    """Predictions of all parts, and what was found."""
    pairing = Pairing(truth, found, **more)  # type: ignore[arg-type]
    out, findings = [], pairing.unknown_samples()
    for _, predictions, noted in pairing:
        out.append(predictions.annotations)
        findings.counts.update(noted.counts)
    return out, findings


def rows(tables: list[pa.Table]) -> list[tuple[int, int | None, float]]:
    return [(r["sample"], r.get("category"), r["bbox"][0]) for t in tables for r in t.to_pylist()]


def test_samples_are_joined_by_key_in_the_order_of_the_truth() -> None:
    truth = dataset(sample("a"), sample("b"), sample("c"), sample("d"))
    found = dataset(sample("d", 0, 1), sample("b", 2), sample("x"))
    tables, findings = paired(truth, found)
    assert rows(tables) == [(1, 2, 0.0), (3, 0, 0.0), (3, 1, 1.0)]
    assert dict(findings.counts) == {"no-predictions": 2}


def test_layers_of_one_dataset_are_aligned() -> None:
    both = Dataset.from_rows(
        [Sample("a", annotations=[], layers={"net": [Annotation(category=0, score=1.0)]})],
        [Category("cat")],
    )
    pairing = Pairing(both.layer("truth"), both.layer("net"))
    assert pairing.aligned
    truth, predictions, _ = pairing.part(0)
    assert (truth.annotations.num_rows, predictions.annotations.num_rows) == (0, 1)
    assert predictions.samples is truth.samples


def test_categories_are_mapped_by_name() -> None:
    truth = dataset(sample("a"))
    found = dataset(sample("a", 0, 1, 2), names=("sky", "cat", "dog"))
    assert [r[1] for r in rows(paired(truth, found)[0])] == [2, 0, 1]


def test_a_space_tells_categories_of_one_name_apart() -> None:
    spaces = [Category("run", space="action"), Category("run", space="object")]
    truth = Dataset.from_rows([sample("a")], spaces)
    found = Dataset.from_rows([sample("a", 0, 1)], spaces[::-1])
    assert [r[1] for r in rows(paired(truth, found)[0])] == [1, 0]
    other = Dataset.from_rows([sample("a", 0)], [Category("run", space="scene")])
    tables, findings = paired(truth, other, needs=["category"])
    assert rows(tables) == []  # two could be meant
    assert findings.counts["unknown-category"] == 1


def test_unknown_categories_are_null_and_left_out_where_they_are_needed() -> None:
    truth = dataset(sample("a"))
    found = dataset(sample("a", 0, 1), names=("cat", "wolf"))
    tables, findings = paired(truth, found)
    assert [r[1] for r in rows(tables)] == [0, None]
    assert findings.counts["unknown-category"] == 1
    tables, findings = paired(truth, found, needs=["category"])
    assert [r[1] for r in rows(tables)] == [0]
    assert findings.counts["unknown-category"] == 1


def test_predictions_on_unknown_samples_are_counted() -> None:
    truth = dataset(sample("a"))
    found = dataset(sample("a", 0), sample("b", 0, 1), sample("c"))
    tables, findings = paired(truth, found)
    assert len(rows(tables)) == 1
    assert dict(findings.counts) == {"unknown-sample": 2}


@pytest.mark.parametrize(("score", "code"), [(None, "missing-score"), (np.nan, "nan-score")])
def test_rows_without_a_score_are_left_out_where_it_is_needed(
    score: float | None, code: str
) -> None:
    truth = dataset(sample("a"), sample("b"))
    found = dataset(sample("a", 0, 1, score=score), sample("b", 0))
    tables, findings = paired(truth, found, needs=["score"])
    assert rows(tables) == [(1, 0, 0.0)]
    assert findings.counts[code] == 2
    assert len(rows(paired(truth, found)[0])) == 3


def test_nothing_in_common_is_an_error_that_shows_both() -> None:
    with pytest.raises(UsageError, match=r"'a\.jpg'.*'train/a\.jpg'"):
        Pairing(dataset(sample("a.jpg")), dataset(sample("train/a.jpg")))


def test_fractions_become_pixels_of_the_truth() -> None:
    truth = dataset(sample("a", 0), sample("b"))
    found = dataset(sample("a", 0, 1, unit="relative", width=None, height=None), sample("b", 0))
    true, predictions, _ = Pairing(truth, found).part(0)
    assert predictions.annotations["bbox"].to_pylist() == [
        [0.0, 0.0, 20.0, 80.0],
        [10.0, 0.0, 20.0, 80.0],
        [0.0, 0.0, 2.0, 4.0],
    ]
    assert true.annotations["bbox"].to_pylist() == [[0.0, 0.0, 2.0, 4.0]]
    assert predictions.samples["unit"].to_pylist() == ["pixel", "pixel"]


def test_fractions_of_an_unknown_size_are_refused() -> None:
    found = dataset(sample("a", 0, unit="relative", width=None))
    with pytest.raises(SizeUnknownError):
        Pairing(dataset(sample("a", width=None)), found).part(0)


def test_parts_of_the_truth_need_not_be_those_of_the_predictions() -> None:
    keys = [f"{i}" for i in range(7)]
    whole = dataset(*(sample(k, i % 3) for i, k in enumerate(keys)))
    pieces = [whole.select(range(3)), whole.select(range(3, 7))]
    truth = Dataset([p for d in pieces for p in d.parts], whole.categories)
    found = whole.select([6, 0, 3, 1, 5, 2, 4])
    pairing = Pairing(truth, found)
    assert [t.start for t, _, _ in pairing] == [0, 3]
    expected = [(i, i % 3, 0.0) for i in range(7)]
    assert [r for _, p, _ in pairing for r in rows([p.annotations])] == expected


def test_a_pairing_of_stores_travels(tmp_path: Path) -> None:
    truth = dataset(sample("a", 0), sample("b")).save(tmp_path / "truth.granum")
    found = dataset(sample("b", 1), names=NAMES[::-1]).save(tmp_path / "found.granum")
    pairing = Pairing(truth, found, needs=["score"])
    again = pickle.loads(pickle.dumps(pairing))
    assert again.needs == ("score",)
    assert rows([again.part(0)[1].annotations]) == [(1, 1, 0.0)]


def test_joining_by_source_id_takes_categories_by_id() -> None:
    categories = [Category("cat", source_id="17"), Category("dog", source_id="18")]
    truth = Dataset.from_rows([sample("a.jpg", source_id="4")], categories)
    ids = [Category("18", source_id="18"), Category("17", source_id="17")]
    found = Dataset.from_rows([sample("4", 0, 1, source_id="4")], ids)
    tables, findings = paired(truth, found, by="source_id")
    assert [r[1] for r in rows(tables)] == [1, 0]
    assert not findings.counts


def test_a_store_opened_twice_is_aligned(tmp_path: Path) -> None:
    dataset(sample("a", 0)).save(tmp_path / "x.granum")
    one, two = granum.open(tmp_path / "x.granum"), granum.open(tmp_path / "x.granum")
    assert Pairing(one, two).aligned


def test_rows_of_other_kinds_are_in_neither_batch() -> None:
    box = Annotation(category=0, score=0.5, bbox=(0.0, 0.0, 2.0, 4.0))
    label = Annotation(kind="label", score=None)
    caption = Annotation(kind="caption", text="x")
    both = Dataset.from_rows(
        [Sample("a", annotations=[box, caption], layers={"net": [label, box, label]})],
        [Category("cat")],
    )
    kinds = ("object", "caption"), ("object",)
    pairing = Pairing(both.layer("truth"), both.layer("net"), needs=["category"], kinds=kinds)
    truth, predictions, findings = pairing.part(0)
    assert (truth.annotations.num_rows, predictions.annotations.num_rows) == (2, 1)
    assert findings.counts == {"not-compared": 2}  # they lack a category, but are no fault
    assert "kind other than object" in findings.items[0].message


def test_predictions_without_a_category_are_told_apart_from_those_of_unknown_ones() -> None:
    truth = dataset(sample("a"), sample("b"))
    found = dataset(sample("a", 0, 1, None), sample("b", None), names=("cat", "wolf"))
    tables, findings = paired(truth, found, needs=["category"])
    assert [r[1] for r in rows(tables)] == [0]
    assert findings.counts["unknown-category"] == 1
    assert findings.counts["missing-category"] == 2
    tables, findings = paired(truth, found, needs=["known"])
    assert [r[1] for r in rows(tables)] == [0, None, None]
    assert findings.counts == {"unknown-category": 1}
