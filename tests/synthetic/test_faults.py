"""Planted faults are where the ledger says, and nowhere else."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from granum.store.dataset import Dataset
from granum.synthetic import generate
from granum.synthetic.faults import Planted, found, plant
from granum.synthetic.generate import Generated


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generated, Generated, list[Planted]]:
    """What was rendered, the same with faults, and the ledger."""
    clean = generate(
        tmp_path_factory.mktemp("made"), scenes=24, frames=0, pairs=0, textures=0, size=(96, 72)
    )
    faulty = copy.deepcopy(clean)
    return clean, faulty, plant(faulty, seed=1, share=0.2)


def test_every_kind_is_planted_and_rows_stay_valid(
    made: tuple[Generated, Generated, list[Planted]],
) -> None:
    clean, faulty, ledger = made
    kinds = Counter(p.kind for p in ledger)
    assert kinds["duplicate"] == kinds["leak"] == kinds["blurred"] == 5
    assert kinds["wrong-label"] > 10 and kinds["double-box"] == kinds["box-outside"] > 0
    assert len(faulty.samples) == len(clean.samples) + 10
    ids = [a.annotation_id for s in faulty.samples for a in s.annotations]
    assert len(set(ids)) == len(ids)
    data = Dataset.from_rows(faulty.samples, faulty.categories, media_root=faulty.root)
    for sample in data:
        assert sample.image().size == (sample.row.width, sample.row.height)
        known = {a.annotation_id for a in sample.annotations}
        assert {a.parent for a in sample.annotations} - {None} <= known


def test_copies_look_like_their_originals_and_leaks_cross_splits(
    made: tuple[Generated, Generated, list[Planted]],
) -> None:
    _, faulty, ledger = made
    by_key = {s.key: s for s in faulty.samples}
    blurred = {p.key for p in ledger if p.kind == "blurred"}

    def thumb(key: str) -> np.ndarray:
        with Image.open(faulty.root / key) as image:
            small = np.asarray(image.convert("L").resize((16, 16)), float)
        return (small - small.mean()) / small.std()

    for p in ledger:
        if p.kind in ("duplicate", "leak"):
            assert p.of is not None and p.of not in blurred
            assert (thumb(p.key) * thumb(p.of)).mean() > 0.97
            assert (by_key[p.key].split != by_key[p.of].split) == (p.kind == "leak")


def test_wrong_labels_are_those_of_the_ledger_only(
    made: tuple[Generated, Generated, list[Planted]],
) -> None:
    clean, faulty, ledger = made
    before = {a.annotation_id: a.category for s in clean.samples for a in s.annotations}
    after = {a.annotation_id: a.category for s in faulty.samples for a in s.annotations}
    changed = {i for i, c in before.items() if after[i] != c}
    assert changed == {p.annotation for p in ledger if p.kind == "wrong-label"}
    for p in ledger:
        if p.kind == "wrong-label":
            assert clean.categories[before[p.annotation] or 0].name == p.of


def test_a_score_counts_hits_once() -> None:
    score = found(["a", "b", "c"], ["b", "b", "x"])
    assert (score.planted, score.found, score.hit) == (3, 2, 1)
    assert score.precision == 0.5 and score.recall == pytest.approx(1 / 3)
    assert found([], []).precision is None and found([], []).recall is None
