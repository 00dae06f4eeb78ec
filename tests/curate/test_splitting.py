"""Splits by whole groups: nothing torn, shares of samples and labels near, equal seeds equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import granum
from granum.curate.duplicates import duplicates
from granum.curate.leakage import leakage
from granum.curate.splitting import GroupSplit, components, group_split
from granum.errors import StoreError, UnknownNameError, UsageError
from granum.schema import rows
from granum.store.dataset import Dataset
from tests.curate.planted import TWINS, drawn, planted, store
from tests.data import shared


def labelled(count: int, seed: int = 0, groups: int = 0, classes: int = 6) -> Dataset:
    """Boxes of classes that get rarer, in groups of unequal size."""
    rng = np.random.default_rng(seed)
    weights = 1 / 2.0 ** np.arange(classes)
    samples = []
    for i in range(count):
        chosen = rng.choice(classes, rng.integers(0, 4), p=weights / weights.sum())
        boxes = [rows.Annotation(category=int(c), bbox=(0.0, 0.0, 2.0, 2.0)) for c in chosen]
        group = int(groups * rng.random() ** 2) if groups else None
        samples.append(
            rows.Sample(f"{i}", annotations=boxes, group=group, attributes={"site": f"s{i % 7}"})
        )
    return Dataset.from_rows(
        samples,
        [rows.Category(f"c{i}") for i in range(classes)],
        [rows.Group(f"g{i}") for i in range(groups)],
    )


def owners(found: GroupSplit) -> list[str | None]:
    return list(found.split.to_pylist())


def test_labels_are_in_proportion() -> None:
    found = group_split(labelled(2000), {"train": 0.7, "val": 0.2, "test": 0.1})
    for name, wanted in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        assert found.facts[name]["share"] == pytest.approx(wanted, abs=0.005)
        assert found.facts[name]["worst"] < 0.02
    # At random it is worse: the rarest class has some 60 boxes.
    assert found.labels["label"].to_pylist() == [f"c{i}" for i in range(6)]
    assert sum(found.labels["total"].to_pylist()) == labelled(2000).num_annotations


def test_a_rare_label_is_in_every_split() -> None:
    data = labelled(300, classes=9)
    found = group_split(data, {"train": 0.6, "val": 0.2, "test": 0.2})
    for row in found.labels.to_pylist():
        if row["total"] >= 5:
            assert min(row["train"], row["val"], row["test"]) > 0, row


def test_groups_stay_whole() -> None:
    data = labelled(600, groups=60)
    found = group_split(data, {"train": 0.8, "val": 0.2})
    group = data.samples()["group"].to_pylist()
    assert len({*zip(group, owners(found), strict=True)}) == len(set(group))
    assert found.facts["val"]["share"] == pytest.approx(0.2, abs=0.02)
    # Where groups do not count, they are torn.
    torn = owners(group_split(data, {"train": 0.8, "val": 0.2}, groups=()))
    assert len({*zip(group, torn, strict=True)}) > len(set(group))


def test_groups_of_several_kinds_are_joined() -> None:
    data = labelled(210, groups=3)
    labels = np.full(210, -1)
    labels[[5, 100]] = 3
    found = components(data, ["attr.site", labels])
    assert len(np.unique(found)) == 6  # samples 5 and 100 join sites 5 and 2
    assert found[5] == found[100] == found[2] == 2
    assert len(np.unique(components(data, ["attr.site", "group"]))) == 1
    assert components(data, []).tolist() == list(range(210))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(-1, 5), min_size=14, max_size=14), min_size=1, max_size=4))
def test_components_are_those_of_the_graph(listed: list[list[int]]) -> None:
    data = Dataset.from_rows([rows.Sample(str(i)) for i in range(14)])
    found = components(data, [np.array(codes) for codes in listed])
    root = list(range(14))
    for _ in range(14):
        for codes in listed:
            for i in range(14):
                for j in range(14):
                    if codes[i] == codes[j] >= 0:
                        root[i] = root[j] = min(root[i], root[j])
    assert found.tolist() == root


def test_equal_seeds_give_equal_splits() -> None:
    data = labelled(300)
    first, second, third = (
        owners(group_split(data, {"a": 0.5, "b": 0.5}, seed=s)) for s in (1, 1, 2)
    )
    assert first == second != third


def test_the_rest_is_in_no_split() -> None:
    data = labelled(400)
    found = group_split(data, {"train": 0.5, "val": 0.1})
    assert found.split.null_count == pytest.approx(160, abs=2)
    assert len(found.rows("train")) == found.facts["train"]["samples"]
    assert "samples are in no split" in found.table()


@pytest.mark.parametrize("stratify", ["attr.site", None])
def test_other_labels_or_none(stratify: str | None) -> None:
    data = labelled(280)
    found = group_split(data, {"a": 0.75, "b": 0.25}, stratify=stratify)
    assert found.facts["b"]["samples"] == 70
    if stratify:
        assert set(found.labels["b"].to_pylist()) == {0.25}


@pytest.mark.parametrize("wrong", [{}, {"a": 0.0}, {"a": 0.7, "b": 0.7}, {"a": -1.0, "b": 2.0}])
def test_fractions_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="fractions"):
        group_split(labelled(5), wrong)


def test_unknown_groups_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="patient"):
        group_split(labelled(5), {"a": 1.0}, groups=["attr.patient"])
    with pytest.raises(UsageError, match="3 group labels for 5"):
        group_split(labelled(5), {"a": 1.0}, groups=[np.zeros(3)])


def test_nothing_can_be_split() -> None:
    found = group_split(Dataset.from_rows([]), {"a": 0.5, "b": 0.5})
    assert len(found.split) == 0
    assert found.facts["a"]["share"] is None


def test_a_split_is_kept_as_views_or_as_a_column(tmp_path: Path) -> None:
    data = labelled(50).save(tmp_path / "s.granum")
    found = group_split(data, {"train": 0.6, "val": 0.4})
    viewed = found.save_views(data, "seven-")
    for name in ("train", "val"):
        keys = viewed.view(f"seven-{name}").samples()["key"].to_pylist()
        assert keys == [str(i) for i in found.rows(name)]
    columned = found.save_column(data)
    assert columned.samples()["col.split"].to_pylist() == owners(found)
    assert len(columned.filter("col.split == 'val'")) == len(found.rows("val"))
    other = group_split(data, {"train": 0.6, "val": 0.4}, seed=5)
    changed = other.save_column(columned)
    assert changed.samples()["col.split"].to_pylist() == owners(other)
    with pytest.raises(UsageError, match="split of 50"):
        found.apply(labelled(51))
    with pytest.raises(StoreError):
        found.save_views(labelled(50))


def test_a_split_applied_sets_the_column_of_the_schema() -> None:
    data = labelled(50)
    found = group_split(data, {"train": 0.6, "val": 0.4})
    parts = found.apply(data).split()
    assert sorted(parts) == ["train", "val"]
    assert len(parts["val"]) == len(found.rows("val"))
    assert set(parts["val"].samples()["split"].cast("string").to_pylist()) == {"val"}


def test_a_split_by_duplicates_does_not_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    planted(images, drawn(images, 30), [k for k in TWINS if k != "flip"])
    listed = sorted(p.name for p in images.iterdir())
    whole = store(monkeypatch, tmp_path / "s.granum", images, listed)
    fractions = {"train": 0.6, "test": 0.4}

    def leaks(groups: Any) -> int:
        split = group_split(whole, fractions, groups=groups)
        return len(leakage(split.save_column(whole), "col.split").pairs["row"])

    assert leaks(()) > 0
    assert leaks([duplicates(whole, within_groups=True)]) == 0


def test_real_labels_are_in_proportion() -> None:
    folder = shared("taco")
    data = granum.read(folder / "annotations.json", on_error="fix")
    found = group_split(data, {"train": 0.8, "val": 0.2})
    assert found.facts["val"]["worst"] < 0.05
    at_random = data.split({"train": 0.8, "val": 0.2}, seed=0)["val"]
    total, some = data.counts(), at_random.counts()
    worst = max(abs(some[n] / t - 0.2) for n, t in total.items() if t >= 20)
    assert found.facts["val"]["worst"] < worst / 2
