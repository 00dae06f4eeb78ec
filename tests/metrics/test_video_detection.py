"""GenVideo's numbers, with the fixed sizes of its F1 and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import granum
from granum.errors import UnknownNameError, UsageError
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.video_detection import REAL, SIZES, VideoDetection, official_f1
from granum.schema.rows import Annotation, Category, Group, Sample
from granum.store.dataset import Dataset
from tests.metrics.made import same

Floats = npt.NDArray[np.float64]

CATEGORIES = [Category("real", space="authenticity"), Category("fake", space="authenticity")]


def videos(
    generators: list[str | None], scores: Any, category: int | None = 1, **more: Any
) -> tuple[Dataset, Dataset]:
    """Whole groups without a sample: of a generator, or real (None); and their scores."""
    groups = [
        Group(f"v{i:03d}", "video", attributes=None if g is None else {"generator": g})
        for i, g in enumerate(generators)
    ]
    truth = [Annotation("label", int(g is not None), group=i) for i, g in enumerate(generators)]
    guess = [Annotation("label", category, group=i, score=float(s)) for i, s in enumerate(scores)]
    return (
        Dataset.from_rows([], CATEGORIES, groups, group_annotations=truth),
        Dataset.from_rows([], CATEGORIES, groups, group_annotations=guess),
    )


def scored(pair: tuple[Dataset, Dataset], **parameters: Any) -> Result:
    return evaluate(*pair, "video-detection", parameters=parameters)


def by_name(result: Result) -> dict[str, dict[str, Any]]:
    assert result.per_class is not None
    return {row.pop("category"): row for row in result.per_class.to_pylist()}


def drawn(seed: int, n: int = 60) -> tuple[list[str | None], Floats]:
    rng = np.random.default_rng(seed)
    generators = [None, "Sora", "Gen2", "Morph"]
    chosen = [generators[i] for i in rng.integers(0, 4, n)]
    lean = np.array([0.0 if g is None else 0.25 for g in chosen])
    return chosen, np.round(np.clip(rng.random(n) * 0.8 + lean, 0, 1), 2)


def as_official(chosen: list[str | None], scores: Floats) -> dict[str, tuple[float, float, float]]:
    """The steps of the official code, generator by generator."""
    sk = pytest.importorskip("sklearn.metrics")
    fake = np.array([g is not None for g in chosen])
    correct = (scores > 0.5) == fake
    out = {}
    for name in ("Sora", "Gen2", "Morph"):
        own = np.array([g == name for g in chosen])
        accuracy = correct[own].mean()
        false = int((1 - correct[~fake].mean()) * 10000)
        true, missed = int(accuracy * SIZES[name]), int((1 - accuracy) * SIZES[name])
        p, r = true / (true + false), true / (true + missed)
        both = own | ~fake
        ap = sk.average_precision_score(fake[both], scores[both])
        out[name] = (accuracy, 2 * p * r / (p + r), ap)
    return out


@pytest.mark.parametrize("seed", range(6))
def test_official_numbers_equal_the_official_steps(seed: int) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    chosen, scores = drawn(seed)
    found = scored(videos(chosen, scores))
    fake = np.array([g is not None for g in chosen])
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(fake, scores > 0.5))
    assert found["auc"] == pytest.approx(sk.roc_auc_score(fake, scores), abs=1e-12)
    assert found["ap"] == pytest.approx(sk.average_precision_score(fake, scores), abs=1e-12)
    expected = as_official(chosen, scores)
    rows = by_name(found)
    for name, numbers in expected.items():
        assert [rows[name][n] for n in ("recall", "f1", "ap")] == pytest.approx(numbers, abs=1e-12)
    for k, name in enumerate(("recall", "f1", "ap")):
        mean = np.mean([numbers[k] for numbers in expected.values()])
        assert found[f"mean_{name}"] == pytest.approx(mean, abs=1e-12)


def test_f1_of_fixed_sizes_and_of_the_videos_there_are() -> None:
    # Sora: 2 of 3 found; of 4 real ones 1 is taken for fake.
    generators: list[str | None] = ["Sora"] * 3 + [None] * 4
    pair = videos(generators, [0.9, 0.6, 0.5, 0.7, 0.1, 0.2, 0.5])
    official, corrected = scored(pair), scored(pair, mode="corrected")
    # int(2/3 * 56) = 37 hits, int(1/3 * 56) = 18 misses, int(1/4 * 10000) = 2500 false.
    p, r = 37 / 2537, 37 / 55
    assert by_name(official)["Sora"]["f1"] == 2 * p * r / (p + r)
    assert by_name(corrected)["Sora"]["f1"] == 2 * 2 / (3 + 3)
    assert official.facts["mode"] == "official" and corrected.facts["mode"] == "corrected"
    assert official["accuracy"] == 5 / 7 and official["real_accuracy"] == 3 / 4
    assert by_name(official)["Sora"]["videos"] == 3


def test_sizes_cut_to_whole_numbers() -> None:
    assert official_f1("Gen2", 1.0, 1.0) == 1
    assert official_f1("Gen2", 0.3333, 0.99999) == pytest.approx(2 * 459 / (2 * 459 + 920))
    assert official_f1("Gen2", 0.0, 1.0) is None and official_f1("Other", 1.0, 1.0) is None
    assert sum(SIZES.values()) == 8588 and REAL == 10_000


def test_generators_are_known_by_the_beginning_of_their_names() -> None:
    generators = ["MorphStudio/a", "Morph", None, "Unheard", "Unheard"]
    pair = videos(generators, [0.9, 0.1, 0.2, 0.8, 0.9])
    found = scored(pair)
    rows = by_name(found)
    assert rows["Morph"]["videos"] == 2 and rows["Morph"]["recall"] == 0.5
    assert rows["Unheard"]["f1"] is None and rows["Unheard"]["ap"] == 1
    (one,) = [f for f in found.findings.items if f.code == "undefined-number"]
    assert "'Unheard'" in one.message
    corrected = by_name(scored(pair, mode="corrected"))
    assert set(corrected) == {"Morph", "MorphStudio/a", "Unheard"}
    assert corrected["Unheard"]["f1"] == 1


def test_per_sample_is_by_video() -> None:
    found = scored(videos(["Sora", None], [0.5, 0.5]))
    assert found.per_sample is not None
    assert found.per_sample.to_pylist() == [
        {"key": "v000", "score": 0.5, "fake": True, "correct": False},
        {"key": "v001", "score": 0.5, "fake": False, "correct": True},
    ]


def test_real_only_is_undefined() -> None:
    found = scored(videos([None, None], [0.1, 0.9]))
    assert found["accuracy"] == 0.5 and found["auc"] is None and found["mean_f1"] is None
    assert found.findings.counts["undefined-number"] == 5


def test_what_is_left_out_is_told() -> None:
    groups = [Group(f"v{i}", "video") for i in range(5)]
    categories = [*CATEGORIES, Category("running", space="action")]
    truth = Dataset.from_rows(
        [Sample("f0", group=0, annotations=[Annotation("label", 1)])],
        categories,
        groups,
        group_annotations=[
            Annotation("label", 1, group=0),
            Annotation("label", 0, group=0),
            Annotation("label", 2, group=0),
            Annotation("label", 0, group=1),
            Annotation("label", 1, group=2),
            Annotation("label", 1, group=3),
        ],
    )
    guess = Dataset.from_rows(
        [],
        categories,
        [*groups, Group("other", "video")],
        group_annotations=[
            Annotation("label", 0, group=0, score=0.2),
            Annotation("label", 1, group=0, score=0.8),
            Annotation("label", group=0, score=0.1),
            Annotation("label", group=1, score=0.4),
            Annotation("label", 1, group=2, score=float("nan")),
            Annotation("label", 1, group=5, score=0.4),
        ],
    )
    found = scored((truth, guess))
    assert found["accuracy"] == 1 and found.facts["videos_scored"] == 2
    counts = found.findings.counts
    # A frame, an action, a prediction of ``real``, and a fake video of no generator.
    assert counts["not-compared"] == 4 and counts["duplicate-annotation"] == 2
    assert counts["nan-score"] == 1 and counts["unknown-sample"] == 1 and counts["no-truth"] == 1
    assert counts["no-predictions"] == 3
    assert found.facts["without_generator"] == 1


def test_without_predictions_there_is_no_number() -> None:
    truth, _ = videos(["Sora", None], [0.5, 0.5])
    empty = Dataset.from_rows([], CATEGORIES, [Group("v000", "video"), Group("v001", "video")])
    found = scored((truth, empty))
    assert set(found.values.values()) == {None}
    assert found.findings.counts["nothing-to-compare"] == 1


def test_unknown_categories_and_modes_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="synthetic"):
        scored(videos(["Sora", None], [0.5, 0.5]), fake="synthetic")
    with pytest.raises(UsageError):
        VideoDetection(mode="both")  # type: ignore[arg-type]


def test_parts_in_any_order_give_the_same_bits() -> None:
    from granum.metrics.base import Context

    truth, guess = videos(*drawn(3, 30))
    protocol = VideoDetection()
    context = Context(truth.categories, None, None, 0, groups=truth.groups)
    whole = [d.parts[0].batch("truth") for d in (truth, guess)]
    one = protocol.result([protocol.state(*whole, context)], context)
    pieces = []
    for rows in ([*range(20, 30)], [*range(5)], [*range(5, 20)]):
        some = [type(b)(b.samples, b.annotations.take(rows), 0) for b in whole]
        pieces.append(protocol.state(*some, context))
    assert same(one, protocol.result(pieces, context))


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_counting_again_equals_evaluating_again(mode: str) -> None:
    chosen, scores = drawn(4, 40)
    whole = scored(videos(chosen, scores), mode=mode)
    assert whole.recount is not None and whole.recount.unit == "group"
    assert dict(whole.recount.values(np.ones(40, np.int64))) == dict(whole.values)
    often = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40))
    for weights in (np.minimum(often, 1), often):
        names = [g for g, w in zip(chosen, weights.tolist(), strict=True) for _ in range(w)]
        part = scored(videos(names, np.repeat(scores, weights)), mode=mode)
        assert dict(whole.recount.values(weights)) == dict(part.values)


def test_the_lists_of_genvideo(tmp_path: Path) -> None:
    (tmp_path / "val_ood.csv").write_text(
        "content_path,image_path,type_id,label,frame_len,frame_seq\n"
        'fake/Sora/a,x,t,1,8,"[1]"\nfake/Gen2/b,x,t,1,8,"[1]"\nreal/c,x,t,0,8,"[1]"\n'
    )
    truth = granum.read(tmp_path, "genvideo")
    groups = [Group(k, "video") for k in ("fake/Gen2/b", "real/c", "fake/Sora/a")]
    rows = [Annotation("label", 0, group=i, score=s) for i, s in enumerate((0.9, 0.2, 0.1))]
    categories = [Category("fake", space="authenticity")]
    guess = Dataset.from_rows([], categories, groups, group_annotations=rows)
    found = granum.evaluate(truth, guess, protocol="video-detection")
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert by_name(found)["Gen2"]["recall"] == 1 and by_name(found)["Sora"]["recall"] == 0
