"""Whole groups beside each other: each side with its own frames, units, and an account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from granum.errors import SizeUnknownError, UsageError
from granum.metrics._group_pairing import GroupPairing
from granum.metrics.base import Context, Protocol, Result
from granum.metrics.evaluate import evaluate
from granum.metrics.joining import join_columns
from granum.schema.rows import Annotation, Category, Group, Sample
from granum.store.dataset import Dataset
from granum.store.parts import Batch


def videos(
    frames: dict[str, Sequence[int]],
    *,
    score: float | None = None,
    unit: str = "pixel",
    size: tuple[int, int] | None = (10, 20),
    whole: Sequence[Annotation] = (),
    loose: int = 0,
) -> Dataset:
    """A box on each frame of each video; ``loose`` samples in no group."""
    box = (0.1, 0.1, 0.3, 0.3) if unit == "relative" else (1.0, 2.0, 3.0, 6.0)
    samples = [
        Sample(
            f"{name}/{frame}",
            group=row,
            order=frame,
            unit=unit,
            width=size and size[0],
            height=size and size[1],
            annotations=[Annotation(category=0, bbox=box, track=row + 1, score=score)],
        )
        for row, name in enumerate(frames)
        for frame in frames[name]
    ]
    samples += [
        Sample(f"loose{i}", annotations=[Annotation(category=0, bbox=box, score=score)])
        for i in range(loose)
    ]
    groups = [Group(name, kind="video") for name in frames]
    return Dataset.from_rows(samples, [Category("p")], groups, group_annotations=whole)


def parts(pairing: GroupPairing) -> tuple[list[str], list[str], list[Any]]:
    """Keys of both sides, and findings."""
    found: tuple[list[str], list[str], list[Any]] = ([], [], [])
    for i in range(len(pairing)):
        truth, predictions, findings = pairing.part(i)
        found[0].extend(truth.samples["key"].to_pylist())
        found[1].extend(predictions.samples["key"].to_pylist())
        found[2].append(findings)
    return found


def test_each_side_keeps_its_own_frames() -> None:
    truth = videos({"a": [1, 2], "b": [1]})
    predictions = videos({"b": [1, 7], "c": [1], "a": [2]}, score=0.5)
    pairing = GroupPairing(truth, predictions, needs=("category", "score"))
    true, found, _ = pairing.part(0)
    assert true.samples["key"].to_pylist() == ["a/1", "a/2", "b/1"]
    assert found.samples["key"].to_pylist() == ["a/2", "b/1", "b/7"]
    # Groups are rows of the truth on both sides, of samples and of annotations.
    assert found.samples["group"].to_pylist() == [0, 1, 1]
    assert found.annotations["group"].to_pylist() == [0, 1, 1]
    assert found.annotations["sample"].to_pylist() == [0, 1, 2]
    (lost,) = pairing.unknown_samples().items
    assert lost.code == "unknown-sample"
    assert "1 predictions" in lost.message
    assert "'c/1'" in lost.message


def test_rows_of_whole_groups_come_along() -> None:
    whole = [
        Annotation(kind="track", group=1, category=0, track=2, score=0.7),
        Annotation(kind="label", group=2, category=0),
    ]
    truth = videos({"a": [1], "b": [1], "empty": []}, whole=whole)
    pairing = GroupPairing(truth, truth.layer("truth"))
    true, found, _ = pairing.part(0)
    for side in (true, found):
        assert side.annotations["sample"].to_pylist() == [0, 1, None, None]
        assert side.annotations["group"].to_pylist() == [0, 1, 1, 2]
    kinds = GroupPairing(truth, truth, kinds=(("track",), ("label",)))
    true, found, findings = kinds.part(0)
    assert true.annotations["group"].to_pylist() == [1]
    assert found.annotations["group"].to_pylist() == [2]
    assert findings.counts["not-compared"] == 6


def test_parts_hold_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {f"v{i}": range(i + 1) for i in range(6)}
    truth = videos(names)
    # A part of the dataset may end within a group.
    cut = Dataset(
        [
            p
            for n in (slice(0, 4), slice(4, 11), slice(11, 21))
            for p in truth.select(np.arange(21)[n]).parts
        ],
        truth.categories,
        truth.groups,
    )
    whole = parts(GroupPairing(truth, truth))
    monkeypatch.setattr("granum.metrics._group_pairing._ROWS", 8)
    pairing = GroupPairing(cut, cut)
    assert len(pairing) > 3
    held = [set(pairing.part(i)[0].samples["group"].to_pylist()) for i in range(len(pairing))]
    assert sum(map(len, held)) == 6  # no group is in two parts
    assert parts(pairing)[:2] == whole[:2]


def test_samples_in_no_group_are_told() -> None:
    truth = videos({"a": [1]}, loose=2)
    predictions = videos({"a": [1]}, score=0.5, loose=3)
    pairing = GroupPairing(truth, predictions)
    true, found, _ = parts(pairing)
    assert true == found == ["a/1"]
    counts = pairing.unknown_samples().counts
    assert (counts["not-compared"], counts["unknown-sample"]) == (2, 3)
    # Also where the truth has no group at all.
    assert GroupPairing(videos({}, loose=2), predictions).unknown_samples().counts == {
        "not-compared": 2,
        "unknown-sample": 4,
    }


def test_groups_without_predictions_are_told() -> None:
    pairing = GroupPairing(videos({"a": [1], "b": [1]}), videos({"a": [1]}, score=1.0))
    assert pairing.part(0)[2].counts["no-predictions"] == 1


def test_no_group_in_common() -> None:
    with pytest.raises(UsageError, match="no group in common"):
        GroupPairing(videos({"a": [1]}), videos({"b": [1]}))


def named(*groups: tuple[str, str | None]) -> Dataset:
    """Videos of these keys and source ids."""
    samples = [Sample(key, group=row, order=1) for row, (key, _) in enumerate(groups)]
    made = [Group(key, "video", source_id=source_id) for key, source_id in groups]
    return Dataset.from_rows(samples, [], made)


def test_groups_are_joined_by_key_or_by_the_names_of_the_source() -> None:
    def rows(truth: Dataset, predictions: Dataset) -> list[int]:
        return GroupPairing(truth, predictions).sides[1].to.tolist()

    truth = named(("train/a", "a"), ("train/b", "b"), ("a", None))
    assert rows(truth, named(("b", None), ("a", None), ("c", None))) == [1, 2, -1]
    assert rows(truth, named(("other/b", "b"))) == [1]
    twice = named(("train/a", "a"), ("test/a", "a"), ("b", "b"))
    assert rows(twice, named(("b", "b"), ("a", "a"))) == [2, -1]
    assert rows(named(("a", "a"), ("b", "b")), named(("b", "x"), ("c", "a"), ("d", "a"))) == [
        *(1, -1, -1)
    ]


def test_of_a_selection_only_its_groups_count() -> None:
    """The table of groups keeps those that were not chosen."""
    truth, found = (videos({"a": [1], "b": [1], "c": [1]}, score=s) for s in (None, 0.5))
    pairing = GroupPairing(truth.select([0, 1]), found.select([0, 2]))
    mine, theirs, findings = parts(pairing)
    assert (mine, theirs) == (["a/1", "b/1"], ["a/1"])
    assert [f.counts["no-predictions"] for f in findings] == [1]
    assert pairing.unknown_samples().counts["unknown-sample"] == 1


def test_units() -> None:
    pixels = videos({"a": [1], "b": [1]})
    fractions = videos({"a": [1], "b": [1]}, unit="relative")
    unknown = videos({"a": [1], "b": [1]}, unit="relative", size=None)

    def boxes(batch: Batch) -> list[list[float]]:
        return [[round(v, 9) for v in box] for box in batch.annotations["bbox"].to_pylist()]

    _, found, _ = GroupPairing(pixels, unknown, scale_free=True).part(0)
    assert boxes(found) == [[1.0, 2.0, 3.0, 6.0]] * 2  # sizes are those of the truth
    assert found.samples["unit"].to_pylist() == ["pixel"] * 2
    true, found, _ = GroupPairing(unknown, fractions, scale_free=True).part(0)
    assert boxes(true) == boxes(found) == [[0.1, 0.1, 0.3, 0.3]] * 2
    true, found, _ = GroupPairing(unknown, fractions).part(0)
    assert boxes(true) == boxes(found) == [[1.0, 2.0, 3.0, 6.0]] * 2
    with pytest.raises(SizeUnknownError):
        GroupPairing(unknown, unknown).part(0)


@dataclass(frozen=True)
class Frames(Protocol):
    """Counts frames of both sides, by group."""

    name: ClassVar[str] = "toy-frames"
    reference: ClassVar[str] = "arithmetic"
    whole_groups: ClassVar[bool] = True

    def state(self, truth: Batch, predictions: Batch, context: Context) -> dict[str, int]:
        assert context.groups is not None
        keys = context.groups["key"].to_pylist()
        found: dict[str, int] = {}
        for sign, batch in ((1, truth), (-1, predictions)):
            for group in batch.samples["group"].to_pylist():
                found[keys[group]] = found.get(keys[group], 0) + sign
        return found

    def result(self, states: Sequence[Any], context: Context) -> Result:
        joined = {k: v for state in states for k, v in state.items()}
        return Result(self.name, {k: float(joined[k]) for k in sorted(joined)})


def test_a_protocol_of_whole_groups() -> None:
    truth, predictions = videos({"a": [1, 2], "b": [1]}), videos({"b": [1, 2, 3]}, score=1.0)
    result = evaluate(truth, predictions, Frames())
    assert result.values == {"a": 2.0, "b": -2.0}
    assert result.facts["truths"] == 3
    assert result.facts["predictions"] == 3


def test_in_other_processes(tmp_path: Any) -> None:
    from granum.store.executor import executor

    truth = videos({"a": [1, 2], "b": [1]}).save(tmp_path / "t.granum")
    predictions = videos({"b": [1, 2, 3]}, score=1.0).save(tmp_path / "p.granum")
    with executor(2) as pool:
        result = evaluate(truth, predictions, Frames(), executor=pool)
    assert result.values == {"a": 2.0, "b": -2.0}


def test_numbers_are_not_joined_to_no_sample(tmp_path: Any) -> None:
    labels = [Annotation("label", 0, group=0)], [Annotation("label", 0, group=0, score=0.7)]
    truth, found = (
        Dataset.from_rows(
            [], [Category("fake", space="authenticity")], [Group("v")], group_annotations=a
        )
        for a in labels
    )
    store = truth.save(tmp_path / "a.granum")
    result = evaluate(store, found, "video-detection")
    assert result["accuracy"] == 1.0
    with pytest.raises(UsageError, match="no samples"):
        join_columns(store, result)


def test_numbers_of_a_group_are_joined_to_its_samples(tmp_path: Any) -> None:
    pytest.importorskip("scipy")
    import granum

    truth = videos({"a": [1, 2], "b": [1]}, loose=1).save(tmp_path / "t.granum")
    predictions = videos({"a": [1, 2], "b": []}, score=1.0)
    granum.evaluate(truth, predictions, protocol="mot", join=True)
    joined = granum.open(tmp_path / "t.granum").samples()
    assert joined["col.eval.mot.HOTA"].to_pylist() == [1.0, 1.0, 0.0, None]
