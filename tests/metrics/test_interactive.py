"""Clicks until a mask is good enough: RITM's rule written out, worked cases, stored sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from granum.errors import UsageError
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.interactive import (
    Interactive,
    auc,
    carried,
    failures,
    mean_iou,
    noc,
)
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.media import encode_png
from tests.metrics.made import dataset, in_parts, masked, same, whole

Mask = npt.NDArray[np.bool_]

# ------------------------------------------------------------------ on arrays


def ritm(all_ious: Sequence[Sequence[float]], threshold: float, most: int) -> tuple[float, int]:
    """The mean NoC and "≥20" as the authors' code counts them, an object at a time."""
    counts = []
    for ious in all_ious:
        count = most
        for i, value in enumerate(ious):
            if value >= threshold:
                count = i + 1
                break
        counts.append(count)
    return sum(counts) / len(counts), sum(c == most for c in counts)


@pytest.mark.parametrize("seed", range(15))
def test_noc_and_nof_equal_the_authors_rule(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # As their loop gives them: up to the first IoU of 0.9, or 20.
    sequences = []
    for _ in range(30):
        full = np.round(np.sort(rng.random(20)) * rng.uniform(0.7, 1.1), 2).clip(0, 1)
        met = np.flatnonzero(full >= 0.9)
        sequences.append(full[: met[0] + 1 if len(met) else 20].tolist())
    table = carried(sequences)
    for threshold in (0.8, 0.85, 0.9):
        mean, over = ritm(sequences, threshold, 20)
        assert noc(table, threshold).mean() == mean
        assert failures(table, threshold).sum() == over


def test_counts_worked_by_hand() -> None:
    ious = [[0.5, 0.8, 0.7, 0.95], [0.2, 0.3, 0.4, 0.85], [0.1, 0.2, 0.3, 0.4]]
    assert noc(ious, 0.8, 4).tolist() == [2, 4, 4]
    assert noc(ious, 0.95, 4).tolist() == [4, 4, 4]
    assert noc(ious, 0.8, 3).tolist() == [2, 3, 3]
    # The second is good at exactly the last click.
    assert failures(ious, 0.8, 4).tolist() == [0, 1, 1]
    assert failures(ious, 0.8, 4, mode="corrected").tolist() == [0, 0, 1]
    curve = mean_iou(ious)
    assert curve == pytest.approx([0.8 / 3, 1.3 / 3, 1.4 / 3, 2.2 / 3])
    assert auc([0.0, 0.5, 1.0]) == 0.5 and auc([0.2, 1.0]) == 0.6 and auc([0.3]) == 0.3
    assert carried([[0.5], [], [np.nan, 0.2, np.nan]], 3).tolist() == [
        [0.5, 0.5, 0.5],
        [0, 0, 0],
        [0, 0.2, 0.2],
    ]
    with pytest.raises(UsageError):
        noc([0.5, 0.7], 0.8)


# ------------------------------------------------------------------ on stores


def square(side: int, size: int = 12) -> Mask:
    mask = np.zeros((size, size), bool)
    mask[:side, :side] = True
    return mask


def after(mask: Mask, click: Any, of: Any = None, **more: Any) -> rows.Annotation:
    facts = {"click": click} if of is None else {"click": click, "of": of}
    return masked(mask, None, attributes=facts, **more)


def scored(
    truth: list[list[Any]], guess: list[list[Any]], categories: Any = (), **parameters: Any
) -> Result:
    data = dataset(truth, guess, categories or [rows.Category("a"), rows.Category("b")])
    return evaluate(data, data.layer("predicted"), "interactive", parameters=parameters)


def test_a_sequence_of_masks() -> None:
    guess = [after(square(s), k) for k, s in ((2, 9), (1, 5), (3, 10))]
    result = scored([[masked(square(10))]], [guess])
    assert result["iou_1"] == 0.25 and result["iou_5"] == 1
    assert result["noc_80"] == 2 and result["noc_85"] == 3 and result["nof_90"] == 0
    assert result["auc"] == pytest.approx(((0.25 + 0.81) / 2 + (0.81 + 1) / 2 + 17) / 19)
    assert result.curves["clicks"].to_pylist()[1] == {"click": 2, "iou": 0.81}
    assert result.facts["predictions"] == 3 and result.facts["sequences_ended_early"] == 1
    (own,) = result.per_sample.to_pylist()  # type: ignore[union-attr]
    assert own["key"] == "000" and own["objects"] == 1 and own["noc_80"] == 2
    (kind,) = result.per_class.to_pylist()  # type: ignore[union-attr]
    assert kind["category"] == "a" and kind["iou_1"] == 0.25


def test_objects_are_told_by_id_or_source_id() -> None:
    truth = [
        masked(square(10), 0, annotation_id=7),
        masked(~square(6), 1, annotation_id=9, source_id="x1"),
    ]
    guess = [
        after(square(10), 1, 7, annotation_id=20),
        after(~square(8), 1, "x1", annotation_id=21),
        after(~square(6), 2, 9, annotation_id=22),
    ]
    result = scored([truth], [guess])
    assert result["noc_90"] == 1.5 and result["iou_1"] == (1 + 80 / 108) / 2
    kinds = {r["category"]: r for r in result.per_class.to_pylist()}  # type: ignore[union-attr]
    assert kinds["b"]["noc_90"] == 2 and kinds["a"]["objects"] == 1


def test_success_at_the_last_click() -> None:
    guess = [after(square(2 + 2 * k), k) for k in (1, 2, 3, 4)]
    both = [[masked(square(10))], [masked(square(12))]]
    official = scored(both, [guess, guess], max_clicks=4, clicks=(1,))
    assert official["noc_90"] == 4 and official["nof_90"] == 2
    corrected = scored(both, [guess, guess], max_clicks=4, clicks=(1,), mode="corrected")
    assert corrected["noc_90"] == 4 and corrected["nof_90"] == 1
    assert (official.facts["mode"], corrected.facts["mode"]) == ("official", "corrected")


def test_ignored_pixels_do_not_count() -> None:
    void = masked(square(10) & ~square(5), None, ignore=True)
    result = scored([[masked(square(10)), void]], [[after(square(8), 1)]])
    assert result["iou_1"] == 1 and result.facts["truths"] == 1
    gone = scored([[masked(square(10) & ~square(5)), void]], [[after(square(8), 1)]])
    assert gone.findings.counts["empty-mask"] == 1 and gone["noc_80"] is None


def test_what_is_wrong_is_a_finding() -> None:
    good = [masked(square(10))]
    odd = [
        *(
            after(square(9), 0),
            after(square(9), "1"),
            after(square(9), 1.5),
            after(square(9), True),
        ),
        *(masked(square(9), None), after(square(9), 1, 12345), after(square(9), 1, [3])),
        after(square(9), 21),
        *(after(square(10), 2), after(square(9), 2)),
        rows.Annotation(bbox=(0, 0, 1, 1), attributes={"click": 3}),
    ]
    result = scored([good], [odd])
    counts = result.findings.counts
    assert counts["bad-value"] == 7 and counts["not-compared"] == 1
    assert counts["duplicate-annotation"] == 1 and counts["missing-geometry"] == 1
    assert counts["incomplete-group"] == 1  # no mask after the first click
    assert result["noc_90"] == 2 and result["iou_1"] == 0
    bare = [*good, rows.Annotation(category=0, bbox=(0, 0, 1, 1))]
    assert scored([bare], [[after(square(10), 1)]])["noc_90"] == 1
    for truth, guess in (
        ([whole(np.zeros((3, 3)))], [after(square(10), 1)]),
        (good, [after(square(10, 11), 1)]),
    ):
        result = scored([good, truth], [[after(square(10), 1)], guess])
        assert set(result.findings.counts) & {"empty-mask", "mask-size-mismatch"}


def test_objects_without_an_answer_are_failures_and_are_said() -> None:
    truth = [masked(square(10), annotation_id=1), masked(~square(10), annotation_id=2)]
    other = [masked(square(10), annotation_id=3)]
    result = scored([truth, other], [[after(square(10), 1, 1, annotation_id=5)], []])
    assert result["noc_90"] == (1 + 20 + 20) / 3 and result["nof_90"] == 2
    assert result.findings.counts["no-predictions"] == 2
    assert result.facts["objects_without_prediction"] == 2


def test_parameters_are_checked() -> None:
    for wrong in (
        *({"max_clicks": 0}, {"thresholds": ()}, {"thresholds": (1.2,)}, {"clicks": (0,)}),
        *({"clicks": (21,)}, {"mode": "x"}),
    ):
        with pytest.raises(UsageError):
            Interactive(**wrong)
    result = scored([[masked(square(10))]], [[after(square(9), 1)]], thresholds=[0.825])
    assert result["noc_82.5"] == 20


def drawn(seed: int, n: int) -> tuple[list[list[Any]], list[list[Any]]]:
    rng = np.random.default_rng(seed)
    truth: list[list[Any]] = []
    guess: list[list[Any]] = []
    for i in range(n):
        ids = [10 * i + k + 1 for k in range(int(rng.integers(1, 4)))]
        sides = rng.integers(4, 12, len(ids)).tolist()
        truth.append(
            [
                masked(square(s), k % 2, annotation_id=a)
                for k, (s, a) in enumerate(zip(sides, ids, strict=True))
            ]
        )
        guess.append([])
        for side, number in zip(sides, ids, strict=True):
            for click in range(1, int(rng.integers(2, 6))):
                grown = square(min(12, max(1, side - 4 + click + int(rng.integers(2)))))
                guess[-1].append(after(grown, click, number, annotation_id=1000 * click + number))
    return truth, guess


def test_parts_in_any_order_and_choices_of_samples() -> None:
    truth, guess = drawn(0, 8)
    data = dataset(truth, guess, [rows.Category("a"), rows.Category("b")])
    one = in_parts(Interactive(), data, [8], 0)
    for seed, sizes in enumerate(([1, 3, 4], [2, 2, 1, 3])):
        assert same(one, in_parts(Interactive(), data, sizes, seed))
    assert one.recount is not None
    assert dict(one.recount.values(np.ones(8, np.int64))) == dict(one.values)
    chosen = np.array([1, 0, 0, 1, 1, 0, 1, 0])
    some = [i for i in range(8) if chosen[i]]
    part = scored([truth[i] for i in some], [guess[i] for i in some])
    assert dict(one.recount.values(chosen)) == dict(part.values)
    assert set(one.recount.values(np.zeros(8, np.int64)).values()) == {None}


# ------------------------------------------------------------------ the simulated annotator


def test_a_layer_of_clicks_is_what_the_annotator_did(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    from granum.annotate.clicking import add_clicks
    from granum.annotate.clicks import Click, clicks_needed, simulate
    from granum.store.opening import open_dataset

    image = encode_png(np.zeros((12, 12, 3), np.uint8))
    objects = [square(10), np.roll(square(5), (7, 6), (0, 1))]
    samples = [
        rows.Sample(
            "a",
            rows.Media(bytes=image),
            width=12,
            height=12,
            annotations=[masked(m) for m in objects],
        ),
        rows.Sample("b", rows.Media(bytes=image), width=12, height=12),
    ]
    Dataset.from_rows(samples, [rows.Category("a")]).save(tmp_path / "s.granum")

    def predictor(pixels: npt.NDArray[np.uint8]) -> Callable[[Sequence[Click]], Mask]:
        def predict(clicks: Sequence[Click]) -> Mask:
            out = np.zeros(pixels.shape[:2], bool)
            for click in clicks:
                y, x = int(click.y), int(click.x)
                out[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = click.positive
            return out

        return predict

    store = open_dataset(tmp_path / "s.granum")
    made = add_clicks(store, predictor, max_clicks=20)
    assert made.meta.layer == "clicks"
    result = evaluate(store, made, "interactive")
    ious = [simulate(predictor(np.zeros((12, 12, 3), np.uint8)), m) for m in objects]
    assert result["noc_85"] == sum(clicks_needed(i, 0.85) for i in ious) / 2
    assert result["iou_1"] == sum(i[0] for i in ious) / 2
    first = made[0].annotations[0]
    assert first.attributes["click"] == 1 and first.attributes["positive"] is True
