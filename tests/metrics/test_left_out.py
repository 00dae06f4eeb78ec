"""What a protocol cannot compare is told: a code, a count, examples, and no number made of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("hotcoco")

import granum
from granum.annotate.storing import tree_rows
from granum.annotate.tree import MaskTree
from granum.cli import main
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.schema.fields import field_to_map
from granum.schema.findings import CODES
from granum.schema.rows import Annotation, Category, Group, LabelMap, Sample
from granum.store.additions import add_layer
from granum.store.dataset import Dataset
from tests.metrics.made import masked, png, whole

HEIGHT, WIDTH = 12, 16
SQUARE = np.zeros((HEIGHT, WIDTH), bool)
SQUARE[2:8, 3:9] = True
BOX = (3.0, 2.0, 6.0, 6.0)
POINTS = [5.0, 5.0, 2.0] * 17
HALVES = np.where(np.arange(WIDTH) < 8, 1, 2) * np.ones((HEIGHT, 1), np.int64)
HEAT, HEAT_FACTS = field_to_map(SQUARE * 3.0)

COCO = ("coco-bbox", "coco-segm", "coco-keypoints")
ALL = (*COCO, "panoptic-quality", "semantic", "anomaly", "regions")


def drawn(protocol: str, **values: Any) -> Annotation:
    """A row that the protocol can compare, but for ``values``."""
    given: dict[str, Any] = {"category": 0, "score": 0.5}
    if protocol == "coco-bbox":
        given["bbox"] = BOX
    elif protocol == "coco-keypoints":
        given |= {"keypoints": POINTS, "bbox": BOX}
    elif protocol == "anomaly":
        given |= {"kind": "field", "map": LabelMap(bytes=HEAT), "extra": HEAT_FACTS}
        given |= {"category": None}
    else:
        given["rle"] = masked(SQUARE).rle
    return Annotation(**{**given, **values})


def true(protocol: str) -> Annotation:
    return masked(SQUARE) if protocol == "anomaly" else drawn(protocol, score=None)


def layers(truth: list[Annotation], found: list[Annotation], samples: int = 2) -> Dataset:
    """Samples of which the first has the rows; the truth of the others is the first's."""
    made = [
        Sample(
            f"{i}.png",
            width=WIDTH,
            height=HEIGHT,
            annotations=truth if i == 0 else [],
            layers={"found": found if i == 0 else []},
        )
        for i in range(samples)
    ]
    categories = [Category("cat", source_id="1", isthing=True), Category("dog", source_id="2")]
    return Dataset.from_rows(made, categories)


def judged(protocol: str, data: Dataset, **parameters: Any) -> Result:
    return evaluate(data, data.layer("found"), protocol, parameters=parameters)


def message(result: Result, code: str) -> str:
    return next(f.message for f in result.findings.items if f.code == code)


def row_counts(result: Result) -> Counter[str]:
    """Findings that are of rows."""
    other = "no-predictions no-truth nothing-to-compare overlapping-masks undefined-number"
    return Counter({c: n for c, n in result.findings.counts.items() if c not in other.split()})


BARE = {"bbox": None, "rle": None, "keypoints": None, "map": None}
FAULTS = {
    "missing-category": [(p, {"category": None}) for p in (*COCO, "panoptic-quality", "semantic")],
    "missing-score": [(p, {"score": None}) for p in COCO],
    "nan-score": [*((p, {"score": np.nan}) for p in COCO), ("anomaly", {"score": np.inf})],
    "missing-geometry": [
        *((p, BARE) for p in ALL if p != "anomaly"),
        ("coco-bbox", {"bbox": (1.0, np.nan, 2.0, 2.0)}),
        ("anomaly", {**BARE, "score": None}),
    ],
    "not-compared": [(p, {"kind": "label"}) for p in ALL],
}
CASES = [(code, *case) for code, cases in FAULTS.items() for case in cases]


@pytest.mark.parametrize(("code", "protocol", "values"), CASES)
def test_rows_left_out_are_counted_beside_those_that_count(
    code: str, protocol: str, values: dict[str, Any]
) -> None:
    good = [drawn(protocol, annotation_id=7)]
    bad = [drawn(protocol, annotation_id=n, **values) for n in (11, 12, 13, 14)]
    if code == "nan-score" and protocol == "anomaly":
        bad, good = bad[:1], []
    result = judged(protocol, layers([true(protocol)], [*good, *bad]))
    assert row_counts(result) == {code: len(bad)}
    assert result.facts["prediction_rows"] == len(good) + len(bad)
    assert result.facts["predictions"] == len(good)
    (finding,) = [f for f in result.findings.items if f.code == code]
    assert (finding.path, finding.place) == ("predictions", "0.png")
    assert ("annotations 11, 12, 13, …" in finding.message) == (len(bad) > 1)
    assert CODES[code].severity == ("info" if code == "not-compared" else "error")
    if good:
        expected = judged(protocol, layers([true(protocol)], good))
        assert result.values == expected.values


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("seed", range(3))
def test_every_row_counts_or_is_told(protocol: str, seed: int) -> None:
    """Each row is wrong in some ways, or in none: it counts, or is left out once."""
    rng = np.random.default_rng(seed)
    ways: list[dict[str, Any]] = [{"category": None}, {"score": None}, {"score": np.nan}, BARE]
    ways.append({"kind": "label"})
    odd = []
    for _ in range(12):
        chosen = [way for way in ways if rng.random() < 0.2]
        odd.append(drawn(protocol, **{k: v for way in chosen for k, v in way.items()}))
    result = judged(protocol, layers([true(protocol)], odd))
    assert result.facts["prediction_rows"] == 12
    assert result.facts["predictions"] + sum(row_counts(result).values()) == 12
    assert row_counts(result)


@pytest.mark.parametrize("protocol", ALL)
def test_a_layer_with_nothing_to_compare_has_no_numbers(protocol: str) -> None:
    odd = [Annotation(kind="label", category=0, score=0.5) for _ in range(3)]
    result = judged(protocol, layers([true(protocol)], odd))
    assert set(result.values.values()) == {None}
    assert result.per_class is result.per_sample is None and not result.curves
    assert result.findings.counts["nothing-to-compare"] == 1 and result.findings.errors
    assert "'found': none of its 3 rows" in message(result, "nothing-to-compare")
    assert result.findings.counts["undefined-number"]


@pytest.mark.parametrize("protocol", ALL)
def test_a_layer_without_a_row_is_told(protocol: str) -> None:
    result = judged(protocol, layers([true(protocol)], []))
    assert "'found': it has no row" in message(result, "nothing-to-compare")
    first = next(iter(result.values.values()))
    assert first == (None if protocol in ("anomaly", "regions") else 0)
    assert result.per_sample is not None


@pytest.mark.parametrize("protocol", [p for p in ALL if p != "anomaly"])
def test_truth_with_nothing_to_compare_is_told(protocol: str) -> None:
    for truth in ([], [Annotation(category=0)], [Annotation(kind="caption", text="x")]):
        result = judged(protocol, layers(truth, [drawn(protocol)]))
        assert "layer 'truth'" in message(result, "nothing-to-compare")
        assert set(result.values.values()) == {None}
        assert result.facts["truths"] == 0
        left = row_counts(result)
        assert sum(left.values()) == len(truth)


def test_truth_that_says_no_category_is_told() -> None:
    for protocol in (*COCO, "panoptic-quality", "semantic"):
        unnamed = drawn(protocol, score=None, category=None)
        result = judged(protocol, layers([true(protocol), unnamed], [drawn(protocol)]))
        assert row_counts(result) == {"missing-category": 1}, protocol
        assert result.facts["truths"] == 1
    label = Annotation(kind="label")
    result = judged("anomaly", layers([label], [drawn("anomaly")]))
    assert row_counts(result) == {"missing-category": 1}
    assert result.per_sample is not None
    assert result.per_sample["anomalous"].to_pylist() == [False]


def test_rows_of_whole_groups_are_told() -> None:
    tube = Annotation(category=0, bbox=BOX, score=0.5, group=0)
    sample = Sample("a", width=9, height=9, group=0, annotations=[true("coco-bbox")])
    data = Dataset.from_rows([sample], [Category("cat")], [Group("c")], group_annotations=[tube])
    again = Dataset.from_rows([sample], [Category("cat")], [Group("c")], group_annotations=[tube])
    for found in (data, again.select([0])):
        result = evaluate(data, found, "coco-keypoints")
        assert result.findings.counts["not-compared"] == 3, "two tubes, a true box"


# ------------------------------------------------------------------ label maps


@pytest.mark.parametrize("protocol", ["coco-segm", "panoptic-quality", "semantic"])
def test_a_shared_map_outlives_the_row_that_holds_it(protocol: str) -> None:
    """A tree's map is held by its root: where that row is left out, the leaves keep the map."""
    name = {"digest": "d" * 32}
    root = Annotation(map=LabelMap(bytes=png(HALVES), **name))
    leaves = [
        Annotation(category=k, score=0.9, map=LabelMap(value=k + 1, **name)) for k in range(2)
    ]
    truth = [masked(np.equal(HALVES, k + 1), k) for k in range(2)]
    result = judged(protocol, layers(truth, [*leaves, root]))
    first = next(iter(result.values.values()))
    assert first == pytest.approx(1, abs=1e-5)
    assert result.facts["predictions"] == 2


@pytest.mark.parametrize("protocol", ["coco-segm", "panoptic-quality", "semantic", "regions"])
@pytest.mark.parametrize("side", ["truth", "predictions"])
def test_a_map_that_cannot_be_read_is_a_finding(protocol: str, side: str) -> None:
    bad = [
        Annotation(category=0, score=0.5, map=LabelMap(bytes=b"no image", value=k)) for k in (1, 2)
    ]
    good = [drawn(protocol)]
    result = judged(protocol, layers(*((bad, good) if side == "truth" else (good, bad))))
    assert result.findings.counts["broken-media"]
    assert {f.path for f in result.findings.items if f.code == "broken-media"} == {side}
    assert result.findings.counts["nothing-to-compare"]
    assert set(result.values.values()) == {None}


def test_a_heat_map_that_cannot_be_read_is_a_finding() -> None:
    broken = [Annotation(kind="field", map=LabelMap(bytes=b"no image"))]
    result = judged("anomaly", layers([true("anomaly")], broken))
    assert result.findings.counts["broken-media"] == 1
    assert result.facts["samples_scored"] == 0 and set(result.values.values()) == {None}


@pytest.mark.parametrize("protocol", ["coco-segm", "panoptic-quality", "semantic", "regions"])
def test_masks_of_another_size_are_findings(protocol: str) -> None:
    small = [masked(SQUARE[:5], score=0.5)]
    result = judged(protocol, layers([true(protocol)], small))
    assert row_counts(result) == {"mask-size-mismatch": 1}
    if protocol == "coco-segm":  # official code counts them as wrong
        assert result["AP"] == 0 and result.facts["predictions"] == 1
    else:
        assert set(result.values.values()) == {None}


def test_values_that_are_no_category_are_told() -> None:
    guess = HALVES.copy()
    guess[:2] = 77
    result = judged("semantic", layers([whole(HALVES)], [whole(guess)]))
    assert row_counts(result) == {"unknown-category": 1}
    assert f"{2 * WIDTH} pixels" in message(result, "unknown-category")
    assert "77" in message(result, "unknown-category")
    assert result["pixel_accuracy"] == pytest.approx(10 / 12)
    none = judged("semantic", layers([whole(HALVES)], [whole(HALVES + 50)]))
    assert none["miou"] is None and none.findings.counts["nothing-to-compare"] == 1


def test_a_map_of_regions_is_not_one_of_categories(tmp_path: Path) -> None:
    data = layers([whole(HALVES)], []).save(tmp_path / "x.granum")
    rows = tree_rows(MaskTree.partition(HALVES - 1, [2, 2, -1]), 0, 100)
    data = add_layer(data, "regions", rows, producer="test@1")
    result = evaluate(data, data.layer("regions"), "semantic")
    assert result["miou"] is None
    assert row_counts(result) == {"missing-category": 2, "not-compared": 1}


def test_more_than_one_map_of_regions_is_told() -> None:
    maps = [whole(HALVES), whole(HALVES * 0)]
    result = judged("regions", layers([whole(HALVES)], maps))
    assert row_counts(result) == {"duplicate-annotation": 1}
    assert result["covering_ods"] == pytest.approx(1)
    doubled = judged("regions", layers(maps, [whole(HALVES)]))
    assert row_counts(doubled) == {"duplicate-annotation": 1}


# ------------------------------------------------------------------ the command


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a layer of predictions, and one of region trees without categories."""
    path = tmp_path / "x.granum"
    truth, found = masked(SQUARE, bbox=BOX), masked(SQUARE, score=0.5, bbox=BOX)
    data = layers([truth], [found]).save(path)
    rows = tree_rows(MaskTree.partition(HALVES - 1, [2, 2, -1]), 0, 100)
    add_layer(data, "regions", rows, producer="test@1")
    return path


@pytest.mark.parametrize("protocol", ["coco-bbox", "coco-segm", "panoptic-quality", "semantic"])
def test_trees_of_regions_are_no_silent_zero(
    store: Path, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", str(store), "--protocol", protocol, "--layer", "regions"]
    assert main(words) == 3
    said = capsys.readouterr().out
    assert "nothing-to-compare" in said and "missing-category" in said
    assert "undefined" in said and "| 0 |" not in said
    assert main([*words, "--fail-on", "never", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["values"].values()) == {None}
    assert told["findings"]["counts"]["missing-category"] >= 2


def test_nothing_compared_is_not_joined(store: Path) -> None:
    result = granum.evaluate(store, protocol="coco-segm", layer="regions", join=True)
    assert result["AP"] is None
    assert not [n for n in granum.open(store).samples().column_names if n.startswith("col.")]


def test_a_clean_evaluation_exits_with_zero(store: Path) -> None:
    words = ["eval", str(store), "--protocol", "coco-segm", "--layer", "found"]
    assert main(words) == 0
