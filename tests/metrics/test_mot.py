"""HOTA, CLEAR, Identity and VACE: equal to TrackEval, and cases worked by hand."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import UsageError
from granum.metrics import mot
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.schema.rows import Annotation, Category, Group, Sample
from granum.store.dataset import Dataset
from granum.verbs.convert import read
from tests.metrics.tracks import Drawn, as_trackeval, dataset, drawn, rows_of, write_mot

trackeval = pytest.importorskip("trackeval")

METRICS = ("HOTA", "CLEAR", "Identity", "VACE")
MINE: dict[str, Callable[[mot.Tracked], dict[str, Any]]] = {
    "HOTA": mot.hota,
    "CLEAR": mot.clear,
    "Identity": mot.identity,
    "VACE": mot.vace,
}
SPECIAL = {
    "no truth": Drawn(4, np.empty((0, 6)), drawn(1, 4).found),
    "no predictions": Drawn(4, drawn(1, 4).truth, np.empty((0, 6))),
    "nothing": Drawn(4, np.empty((0, 6)), np.empty((0, 6))),
    "one box each": Drawn(1, np.array([[1, 5, 0, 0, 9, 9.0]]), np.array([[1, 3, 1, 0, 9, 9.0]])),
    "never together": Drawn(2, np.array([[1, 5, 0, 0, 9, 9.0]]), np.array([[2, 3, 1, 0, 9, 9.0]])),
    "far apart": Drawn(1, np.array([[1, 5, 0, 0, 9, 9.0]]), np.array([[1, 3, 50, 0, 9, 9.0]])),
}


def special(name: str) -> list[Drawn]:
    """TrackEval's VACE divides by zero where nothing is there."""
    return [d for key, d in SPECIAL.items() if key != "nothing" or name != "VACE"]


def quiet(call: Callable[..., Any], *arguments: Any) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return call(*arguments)


def official(name: str) -> Any:
    kind = getattr(trackeval.metrics, name)
    return quiet(kind) if name == "HOTA" else quiet(kind, {"PRINT_CONFIG": False})


def tracked(one: Drawn) -> mot.Tracked:
    return mot.tracked(one.side(one.truth), one.side(one.found), one.frames)


def equal(expected: dict[str, Any], found: dict[str, Any], fields: list[str]) -> None:
    """Bit for bit, but for sums of overlaps of a frame's boxes."""
    for field in fields:
        value = np.asarray(expected[field], float)
        if field in ("FDA", "SFDA"):
            assert found[field] == pytest.approx(value, abs=1e-12, nan_ok=True), field
        else:
            assert np.array_equal(value, found[field], equal_nan=True), field


# ---------------------------------------------------------------------- equal to TrackEval


@pytest.mark.parametrize("name", METRICS)
def test_drawn_sequences_are_trackevals(name: str) -> None:
    peer = official(name)
    cases = [drawn(s, tracks=3 + s % 12, grid=s % 3 == 0) for s in range(24)]
    for one in [*cases, *special(name)]:
        expected = quiet(peer.eval_sequence, as_trackeval(one))
        equal(expected, MINE[name](tracked(one)), peer.fields)


@pytest.mark.parametrize("name", METRICS)
def test_similarities_of_any_kind_are_trackevals(name: str) -> None:
    peer = official(name)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        one = drawn(seed)
        data = as_trackeval(one)
        data["similarity_scores"] = [
            np.round(rng.random(s.shape), 1) * (rng.random(s.shape) < 0.7)
            for s in data["similarity_scores"]
        ]
        pairs = mot.tracked_from_similarities(
            data["gt_ids"], data["tracker_ids"], data["similarity_scores"]
        )
        equal(quiet(peer.eval_sequence, data), MINE[name](pairs), peer.fields)


@pytest.mark.parametrize("name", METRICS)
def test_sequences_and_classes_combine_as_in_trackeval(name: str) -> None:
    peer = official(name)
    listed = [*special(name), *(drawn(s, tracks=6) for s in range(6))]
    expected = {str(i): quiet(peer.eval_sequence, as_trackeval(d)) for i, d in enumerate(listed)}
    found = [MINE[name](tracked(d)) for d in listed]
    equal(peer.combine_sequences(expected), mot.combine_sequences(found), peer.fields)

    halves = [peer.combine_sequences(dict(list(expected.items())[a::3])) for a in range(3)]
    halves.append(peer.combine_sequences({"x": expected["2"]}))  # a class without a box
    mine = [mot.combine_sequences(found[a::3]) for a in range(3)]
    mine.append(mot.combine_sequences([found[2]]))
    classes = dict(zip("abcd", halves, strict=True))
    boxes = peer.combine_classes_det_averaged(classes)
    fields = peer.summary_fields if name == "VACE" else peer.fields  # its counts are averaged
    equal(boxes, mot.combine_classes(mine, "box"), fields)
    for ignore in (False, True):
        averaged = peer.combine_classes_class_averaged(classes, ignore)
        equal(averaged, mot.combine_classes(mine, "class", ignore_empty=ignore), fields)


def test_overlaps_are_trackevals_bit_for_bit() -> None:
    rng = np.random.default_rng(5)
    one = drawn(5, frames=30, tracks=12)
    for rows in (one.truth, one.found):
        rows[:, 4:6] *= rng.choice([0, 1e-9, 1, 1, 1, 3, -1], (len(rows), 2))
    expected = np.concatenate([s.ravel() for s in as_trackeval(one)["similarity_scores"]])
    pairs = tracked(one)
    assert np.array_equal(expected[expected > 0], pairs.similarity)
    assert np.array_equal(np.flatnonzero(expected > 0), pairs.grid.cell)


@pytest.mark.parametrize("benchmark", ["MOT17", "MOT20"])
def test_files_of_motchallenge_give_the_published_numbers(tmp_path: Path, benchmark: str) -> None:
    names = [f"{benchmark}-{i:02d}" for i in (2, 11, 9)]
    sequences = {n: drawn(i, 30, 9, grid=i == 1) for i, n in enumerate(names)}
    gt, results = write_mot(tmp_path, sequences, seed=3)
    expected = of_trackeval(gt, results, benchmark, sequences)

    truth = read(gt, "mot")
    predictions = results_of(results, truth)
    result = evaluate(truth, predictions, "mot")
    assert result.facts["preprocess"] == benchmark.lower()
    assert result.facts["reference"] == f"trackeval {trackeval_version()}"
    same(expected["COMBINED"], dict(result.values))
    assert result.per_sample is not None
    keys = result.per_sample["key"].to_pylist()
    assert keys == sorted(sequences)
    for row in result.per_sample.to_pylist():
        same(expected[row["key"]], row)
    spared = [f for f in result.findings.items if "distractor" in f.message]
    assert len(spared) == 1
    assert spared[0].code == "not-compared"
    assert 0 < result.facts["predictions"] < sum(len(d.found) for d in sequences.values())


def test_mot20_spares_predictions_on_vehicles(tmp_path: Path) -> None:
    gt, results = write_mot(tmp_path, {"a": drawn(4, 30, 9)}, seed=3)
    truth = read(gt, "mot")
    counts = {
        rule: evaluate(
            truth, results_of(results, truth), "mot", parameters={"preprocess": rule}
        ).facts["predictions"]
        for rule in ("mot17", "mot20")
    }
    assert counts["mot20"] < counts["mot17"]


def test_without_preprocessing_all_boxes_are_one_class(tmp_path: Path) -> None:
    sequences = {"a": drawn(7, 25, 6), "b": drawn(8, 25, 6)}
    gt, results = write_mot(tmp_path, sequences, seed=3)
    expected = of_trackeval(gt, results, "MOT15", sequences)
    truth = read(gt, "mot")
    result = evaluate(truth, results_of(results, truth), "mot", parameters={"agnostic": True})
    assert result.facts["preprocess"] == "none"
    same(expected["COMBINED"], dict(result.values))
    assert result.per_class is not None
    assert result.per_class["category"].to_pylist() == [None]


def trackeval_version() -> str:
    from importlib.metadata import version

    return version("trackeval")


def results_of(folder: Path, truth: Dataset) -> Dataset:
    from granum.loaders.results.mot import MotResults
    from granum.schema.findings import Findings

    found = Findings(on_error="skip")
    predictions = MotResults().read(folder, truth, found)
    assert not found.counts
    return predictions


def of_trackeval(
    gt: Path, results: Path, benchmark: str, sequences: dict[str, Drawn]
) -> dict[str, dict[str, Any]]:
    """All fields of all sequences, and COMBINED."""
    config = {
        "GT_FOLDER": str(gt),
        "TRACKERS_FOLDER": str(results.parent),
        "TRACKERS_TO_EVAL": ["results"],
        "TRACKER_SUB_FOLDER": "",
        "BENCHMARK": benchmark,
        "SEQ_INFO": {name: one.frames for name, one in sequences.items()},
        "SKIP_SPLIT_FOL": True,
        "PRINT_CONFIG": False,
    }
    peer = quiet(trackeval.datasets.MotChallenge2DBox, config)
    out: dict[str, dict[str, Any]] = {}
    for name in METRICS:
        metric = official(name)
        each = {}
        for sequence in sorted(sequences):
            raw = quiet(peer.get_raw_seq_data, "results", sequence)
            data = quiet(peer.get_preprocessed_seq_data, raw, "pedestrian")
            each[sequence] = quiet(metric.eval_sequence, data)
        each["COMBINED"] = metric.combine_sequences(each)
        for sequence, values in each.items():
            out.setdefault(sequence, {}).update(values)
    return out


def same(expected: dict[str, Any], found: dict[str, Any]) -> None:
    """All numbers that are given; none is undefined."""
    assert len(found) > 30
    for name, value in found.items():
        if name != "key":
            assert value == pytest.approx(np.mean(expected[name]), abs=1e-12), name
            if isinstance(value, int):
                assert value == int(expected[name]), name


# ---------------------------------------------------------------------- worked by hand

BOX = (0.0, 0.0, 10.0, 10.0)
FAR = (50.0, 0.0, 10.0, 10.0)


def one_track(*found: tuple[int, int], frames: int = 4) -> Result:
    """A box in each frame; found exactly, as (frame, track)."""
    truth = dataset({"v": (frames, [(t, 1, *BOX) for t in range(1, frames + 1)])})
    return evaluate(truth, dataset({"v": (frames, [(t, i, *BOX) for t, i in found])}), "mot")


def test_a_perfect_tracker() -> None:
    result = one_track((1, 7), (2, 7), (3, 7), (4, 7))
    ones = ["HOTA", "DetA", "AssA", "LocA", "OWTA", "MOTA", "MOTP", "sMOTA", "MOTAL", "IDF1", "MTR"]
    assert {name: result[name] for name in ones} == dict.fromkeys(ones, 1.0)
    assert (result["IDSW"], result["Frag"], result["MT"], result["FP_per_frame"]) == (0, 0, 1, 0)


def test_an_identity_that_changes_halfway() -> None:
    result = one_track((1, 7), (2, 7), (3, 8), (4, 8))
    # Each match: TPA 2, of 4 true and 2 predicted boxes: 2 / (4 + 2 - 2).
    assert (result["DetA"], result["AssA"]) == (1.0, 0.5)
    assert (result["AssRe"], result["AssPr"]) == (0.5, 1.0)
    assert result["HOTA"] == pytest.approx(math.sqrt(0.5), abs=1e-15)
    assert (result["IDSW"], result["MOTA"], result["Frag"]) == (1, 3 / 4, 0)
    assert (result["IDTP"], result["IDF1"]) == (2, 0.5)


def test_accuracy_of_tracks_and_of_frames() -> None:
    """Two tracks are found in two and in one of four frames, and a box that is none."""
    truth = dataset({"v": (5, [(t, i, *b) for t in (1, 2, 3, 4) for i, b in ((1, BOX), (2, FAR))])})
    wide = (0.0, 0.0, 10.0, 16.0)  # its overlap with a true box is 10 / 16
    rows = [(1, 7, *BOX), (2, 7, *wide), (4, 8, *FAR), (4, 9, *BOX[:2], 1.0, 1.0)]
    result = evaluate(truth, dataset({"v": (5, rows)}), "mot")
    assert result["ATA"] == (2 / 4 + 1 / 4) / ((2 + 3) / 2)
    assert result["SFDA"] == (1 / 1.5 + 0.625 / 1.5 + 0 + (1 + 0.01) / 2) / 4
    strict = evaluate(truth, dataset({"v": (5, rows)}), "mot", parameters={"threshold": 0.7})
    assert strict["ATA"] == (1 / 4 + 1 / 4) / ((2 + 3) / 2)
    assert strict["SFDA"] == result["SFDA"]


def test_a_gap_is_a_fragment_only_where_the_frame_has_predictions() -> None:
    result = one_track((1, 7), (4, 7), frames=5)
    assert (result["CLR_FN"], result["PT"], result["IDSW"]) == (3, 1, 0)
    assert result["Frag"] == 0  # frames 2 and 3 are passed over
    truth = dataset({"v": (5, [(t, 1, *BOX) for t in range(1, 6)])})
    rows = [(1, 7, *BOX), (2, 9, *FAR), (4, 7, *BOX)]
    result = evaluate(truth, dataset({"v": (5, rows)}), "mot")
    assert (result["Frag"], result["CLR_FP"], result["FP_per_frame"]) == (1, 1, 1 / 5)
    corrected = {"mode": "corrected"}
    found = dataset({"v": (5, [(1, 7, *BOX), (4, 7, *BOX)])})
    assert evaluate(truth, found, "mot", parameters=corrected)["Frag"] == 1


def test_four_fifths_are_mostly_tracked_only_when_passed() -> None:
    assert one_track(*[(t, 7) for t in range(1, 5)], frames=5)["PT"] == 1  # 0.8 exactly
    assert one_track(*[(t, 7) for t in range(1, 6)], frames=6)["MT"] == 1
    assert one_track((1, 7), frames=5)["PT"] == 1  # 0.2 exactly
    assert one_track((1, 7), frames=6)["ML"] == 1


def test_the_track_of_the_frame_before_is_preferred_to_a_better_overlap() -> None:
    truth = dataset({"v": (2, [(1, 1, *BOX), (2, 1, *BOX)])})
    near = (1.0, 0.0, 10.0, 10.0)  # 9 of 11
    rows = [(1, 7, *BOX), (2, 7, *near), (2, 8, *BOX)]
    result = evaluate(truth, dataset({"v": (2, rows)}), "mot")
    assert (result["IDSW"], result["CLR_TP"], result["CLR_FP"]) == (0, 2, 1)
    assert result["MOTP"] == pytest.approx((1 + 9 / 11) / 2, abs=1e-15)


def test_half_an_overlap_matches_and_the_threshold_moves_it() -> None:
    truth = dataset({"v": (1, [(1, 1, *BOX)])})
    found = dataset({"v": (1, [(1, 7, 0.0, 0.0, 10.0, 5.0)])})  # IoU 0.5
    result = evaluate(truth, found, "mot")
    assert (result["CLR_TP"], result["IDTP"], result["LocA(0)"]) == (1, 1, 0.5)
    assert result["DetA"] == pytest.approx(10 / 19, abs=1e-15)  # 0.05 … 0.5 of 19 thresholds
    result = evaluate(truth, found, "mot", parameters={"threshold": 0.6})
    assert (result["CLR_TP"], result["IDTP"], result["MOTP"]) == (0, 0, None)
    assert result.findings.counts["undefined-number"] == 1


def test_localisation_of_thresholds_without_a_match() -> None:
    truth = dataset({"v": (1, [(1, 1, *BOX)])})
    found = dataset({"v": (1, [(1, 7, 0.0, 0.0, 10.0, 5.0)])})
    official_, corrected = (
        evaluate(truth, found, "mot", parameters={"mode": mode})
        for mode in ("official", "corrected")
    )
    assert official_["LocA"] == pytest.approx((10 * 0.5 + 9) / 19, abs=1e-15)
    assert corrected["LocA"] == 0.5
    assert (official_.facts["mode"], corrected.facts["mode"]) == ("official", "corrected")


def test_frames_of_sequences_with_one_side_only_count_when_corrected() -> None:
    truth = dataset({"a": (4, [(1, 1, *BOX)]), "b": (6, [])})
    found = dataset({"a": (4, [(1, 1, *BOX)]), "b": (6, [(1, 1, *BOX), (2, 2, *BOX)])})
    assert evaluate(truth, found, "mot")["FP_per_frame"] == 2 / 4
    result = evaluate(truth, found, "mot", parameters={"mode": "corrected"})
    assert (result["FP_per_frame"], result["CLR_Frames"]) == (2 / 10, 10)
    assert result.per_sample is not None
    assert result.per_sample["FP_per_frame"].to_pylist() == [0, 2 / 6]


# ---------------------------------------------------------------------- classes


def two_classes() -> tuple[Dataset, Dataset]:
    """People are found, of two cars one; another class has no box."""
    names = [Category("person"), Category("car"), Category("tram")]
    rows = [(1, 1, *BOX), (1, 2, *FAR), (2, 2, *FAR)]
    kinds = {0: 0, 1: 1, 2: 1}
    truth = dataset({"v": (2, rows)}, names, category=kinds)
    return truth, dataset({"v": (2, rows[:2])}, names, category=kinds)


def test_classes_are_compared_each_for_itself() -> None:
    result = evaluate(*two_classes(), "mot")
    assert result.per_class is not None
    assert result.per_class.select(["category", "CLR_TP", "CLR_FN"]).to_pylist() == [
        {"category": "person", "CLR_TP": 1, "CLR_FN": 0},
        {"category": "car", "CLR_TP": 1, "CLR_FN": 1},
    ]
    assert result["DetA"] == pytest.approx(2 / 3, abs=1e-15)  # over boxes
    assert result["DetA_cls_av"] == pytest.approx(3 / 4, abs=1e-15)  # over classes
    assert result["CLR_Frames"] == 4  # those of both classes, as TrackEval sums them
    corrected = evaluate(*two_classes(), "mot", parameters={"mode": "corrected"})
    assert corrected["CLR_Frames"] == 2
    truth, found = two_classes()
    assert "DetA_cls_av" not in evaluate(truth, found, "mot", parameters={"agnostic": True}).values


def test_a_box_of_another_class_is_no_match_unless_classes_do_not_matter() -> None:
    names = [Category("person"), Category("car")]
    truth = dataset({"v": (1, [(1, 1, *BOX)])}, names, category={0: 0})
    found = dataset({"v": (1, [(1, 1, *BOX)])}, names, category={0: 1})
    result = evaluate(truth, found, "mot")
    assert (result["CLR_TP"], result["CLR_FP"], result["CLR_FN"]) == (0, 1, 1)
    assert evaluate(truth, found, "mot", parameters={"agnostic": True})["CLR_TP"] == 1


def test_averages_over_classes_leave_undefined_numbers_out_when_corrected() -> None:
    names = [Category("person"), Category("car")]
    truth = dataset({"v": (1, [(1, 1, *BOX)])}, names, category={0: 0})
    found = dataset({"v": (1, [(1, 1, *BOX), (1, 2, *FAR)])}, names, category={0: 0, 1: 1})
    assert evaluate(truth, found, "mot")["MOTA_cls_av"] == 0.0  # car: -1 of none, as TrackEval
    corrected = evaluate(truth, found, "mot", parameters={"mode": "corrected"})
    assert corrected["MOTA_cls_av"] == 1.0


# ---------------------------------------------------------------------- left out


def test_boxes_that_cannot_be_compared_are_findings() -> None:
    good = Annotation(bbox=BOX, track=1)
    samples = [
        Sample("a", group=0, order=1, annotations=[good, Annotation(bbox=FAR, track=1)]),
        Sample("b", group=0, order=2, annotations=[good, Annotation(bbox=FAR)]),
        Sample("c", group=0, order=3, annotations=[good, Annotation(track=2)]),
        Sample("d", group=0, annotations=[Annotation(bbox=FAR, track=3)]),
        Sample("e", annotations=[Annotation(bbox=FAR, track=4)]),
    ]
    truth = Dataset.from_rows(samples, [], [Group("v", "video")])
    found = dataset({"v": (None, [(t, 1, *BOX) for t in (1, 2, 3)])})
    result = evaluate(truth, found, "mot")
    codes = ("repeated-track", "missing-track", "missing-geometry", "missing-order", "not-compared")
    assert {code: result.findings.counts[code] for code in codes} == dict.fromkeys(codes, 1)
    assert (result["CLR_TP"], result["CLR_FN"], result["HOTA"]) == (3, 0, 1.0)


def test_boxes_that_are_not_finite_are_findings() -> None:
    truth = dataset({"v": (1, [(1, 1, *BOX)])})
    found = dataset({"v": (1, [(1, 1, *BOX), (1, 2, math.nan, 0.0, 1.0, 1.0)])})
    result = evaluate(truth, found, "mot")
    assert (result.findings.counts["nan-box"], result["CLR_FP"]) == (1, 0)


def test_a_score_of_nan_does_not_matter() -> None:
    truth = dataset({"v": (1, [(1, 1, *BOX)])})
    found = dataset({"v": (1, [(1, 1, *BOX)])}, score={0: math.nan})
    assert evaluate(truth, found, "mot")["HOTA"] == 1.0


@pytest.mark.parametrize(("first", "frames"), [(1, (0, 4)), (0, (-1, 3))])
def test_predictions_beyond_the_sequence_are_findings(first: int, frames: tuple[int, int]) -> None:
    truth = dataset({"v": (3, [(first, 1, *BOX)])}, first=first)
    rows = [(first, 1, *BOX), *((t, 2, *FAR) for t in frames)]
    result = evaluate(truth, dataset({"v": (3, rows)}, first=first), "mot")
    assert result.findings.counts["unknown-sample"] == 2
    assert (result["CLR_FP"], result.facts["predictions"]) == (0, 1)
    unstated = dataset({"v": (None, [(first, 1, *BOX)])})
    result = evaluate(unstated, dataset({"v": (3, rows)}, first=first), "mot")
    assert (result["CLR_FP"], result.findings.counts["unknown-sample"]) == (2, 0)


def test_frames_that_only_predictions_have_count() -> None:
    truth = dataset({"v": (None, [(1, 1, *BOX), (3, 1, *BOX)])})
    found = dataset({"v": (None, [(1, 1, *BOX), (2, 1, *BOX), (3, 1, *BOX)])})
    result = evaluate(truth, found, "mot")
    assert (result["CLR_FP"], result["CLR_Frames"], result.facts["frames"]) == (1, 3, 3)


def test_true_boxes_to_be_ignored_count_neither_way() -> None:
    rows = [(1, 1, *BOX), (1, 2, *FAR)]
    truth = dataset({"v": (1, rows)}, ignore={1: True})
    result = evaluate(truth, dataset({"v": (1, rows)}), "mot")
    assert (result["CLR_TP"], result["CLR_FN"], result["CLR_FP"]) == (1, 0, 1)
    assert result.findings.counts["not-compared"] == 1


def test_a_sequence_without_predictions_is_missed() -> None:
    truth = dataset({"a": (2, [(1, 1, *BOX)]), "b": (2, [(1, 1, *BOX), (2, 1, *BOX)])})
    result = evaluate(truth, dataset({"a": (2, [(1, 1, *BOX)])}), "mot")
    assert (result["CLR_FN"], result["ML"], result["IDFN"]) == (2, 1, 2)
    assert result.findings.counts["no-predictions"] == 1
    assert result.per_sample is not None
    assert result.per_sample["CLR_FN"].to_pylist() == [0, 2]
    assert result.per_sample["MOTP"].to_pylist() == [1.0, None]


def test_what_is_predicted_in_a_sequence_without_truth_is_wrong() -> None:
    """Also where the truth has no sample of it, as a text without rows gives none."""
    samples = [Sample("a/1", group=0, order=1, annotations=[Annotation(bbox=BOX, track=1)])]
    groups = [Group("a", "video", frames=2), Group("b", "video", frames=3), Group("c", "video")]
    truth = Dataset.from_rows(samples, [], groups)
    rows = [(1, 1, *BOX)]
    found = dataset({"a": (2, rows), "b": (3, [*rows, (4, 1, *BOX)]), "c": (None, rows)})
    result = evaluate(truth, found, "mot")
    assert (result["CLR_TP"], result["CLR_FP"], result["IDFP"]) == (1, 2, 2)
    assert result.findings.counts["unknown-sample"] == 1  # the fourth of three frames
    assert result.findings.counts["no-truth"] == 2


def test_no_predictions_at_all() -> None:
    truth = dataset({"a": (2, [(1, 1, *BOX)])})
    result = evaluate(truth, dataset({"a": (2, [])}), "mot")
    assert (result["HOTA"], result["MOTA"], result["IDF1"], result["CLR_FN"]) == (0, 0, 0, 1)
    assert result["DetPr"] is None
    assert result.findings.counts["nothing-to-compare"] == 1


def test_unknown_categories_and_sequences_are_findings() -> None:
    truth = dataset({"a": (1, [(1, 1, *BOX)])}, [Category("person")], category={0: 0})
    rows = [(1, 1, *BOX), (1, 2, *FAR)]
    names = [Category("person"), Category("dog")]
    found = dataset({"a": (1, rows), "z": (1, [])}, names, category={0: 0, 1: 1})
    result = evaluate(truth, found, "mot")
    assert (result.findings.counts["unknown-category"], result["CLR_FP"]) == (1, 0)
    found = dataset({"a": (1, rows[:1]), "z": (1, rows[:1])}, names[:1], category={0: 0})
    assert evaluate(truth, found, "mot").findings.counts["unknown-sample"] == 1


def test_rows_without_a_category_are_of_the_only_one_or_findings() -> None:
    rows = [(1, 1, *BOX), (1, 2, *FAR)]
    truth = dataset({"a": (1, rows)}, [Category("person")], category={0: 0, 1: 0})
    assert evaluate(truth, dataset({"a": (1, rows)}), "mot")["HOTA"] == 1.0
    names = [Category("person"), Category("car")]
    truth = dataset({"a": (1, rows)}, names, category={0: 0})
    result = evaluate(truth, dataset({"a": (1, rows)}, names, category={0: 0}), "mot")
    assert result.findings.counts["missing-category"] == 2
    assert (result["HOTA"], result["CLR_TP"]) == (1.0, 1)


def test_motchallenge_compares_pedestrians_only() -> None:
    names = [Category("pedestrian"), Category("distractor"), Category("car")]
    rows = [(1, 1, *BOX), (1, 2, *FAR)]
    truth = dataset({"a": (1, rows)}, names, category={0: 0, 1: 1})
    found = dataset({"a": (1, rows)}, names, category={1: 0})
    result = evaluate(truth, found, "mot")
    assert result.facts["preprocess"] == "mot17"
    assert (result["CLR_TP"], result["CLR_FP"], result["CLR_FN"]) == (1, 0, 0)
    found = dataset({"a": (1, rows)}, names, category={0: 0, 1: 2})
    result = evaluate(truth, found, "mot")
    assert result.findings.counts["not-compared"] == 2  # the distractor and the predicted car


@pytest.mark.parametrize(
    ("other", "rule"), [("occluder_full", "mot17"), ("reflection", "mot17"), ("car", "none")]
)
def test_motchallenge_is_known_by_its_classes(other: str, rule: str) -> None:
    def known(*sequences: str) -> str:
        rows = {key: (1, [(1, 1, *BOX)]) for key in sequences}
        truth = dataset(rows, [Category("pedestrian"), Category(other)])  # type: ignore[arg-type]
        return str(evaluate(truth, truth, "mot").facts["preprocess"])

    assert known("a") == known("train/MOT20-01", "train/MOT17-02") == rule
    assert known("train/MOT20-01", "train/MOT20-02") == rule.replace("17", "20")


def test_parameters_are_checked() -> None:
    for wrong in (
        {"preprocess": "mot99"},
        {"mode": "other"},
        {"threshold": 0.0},
        {"preprocess": "mot17", "agnostic": True},
    ):
        with pytest.raises(UsageError):
            mot.Mot(**wrong)  # type: ignore[arg-type]


def test_arrays_are_checked() -> None:
    side = (np.array([1, 1]), np.array([4, 4]), np.zeros((2, 4)))
    with pytest.raises(UsageError, match="track 4 is twice in frame 1"):
        mot.tracked(side, side, 1)
    with pytest.raises(UsageError, match="shape"):
        mot.tracked_from_similarities([np.array([1])], [np.array([1])], [np.zeros((2, 1))])


# ---------------------------------------------------------------------- parts, recounts


def several() -> tuple[Dataset, Dataset, dict[str, Drawn]]:
    sequences = {f"s{i}": drawn(i, 20, 5) for i in (3, 1, 2, 0)}
    names = [Category("x"), Category("y")]
    kinds = {i: i % 2 for i in range(300)}
    sides = [
        dataset(
            {k: (d.frames, rows_of(getattr(d, n))) for k, d in sequences.items()},
            names,
            category=kinds,
        )
        for n in ("truth", "found")
    ]
    return sides[0], sides[1], sequences


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_parts_in_any_order_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    truth, found, _ = several()
    parameters = {"mode": mode}
    whole = evaluate(truth, found, "mot", parameters=parameters)
    monkeypatch.setattr("granum.metrics._group_pairing._ROWS", 1)
    parts = evaluate(truth, found, "mot", parameters=parameters, executor=Backwards())
    assert parts.values == whole.values
    assert parts.per_class is not None
    assert parts.per_class.equals(whole.per_class)
    assert parts.per_sample is not None
    assert parts.per_sample.equals(whole.per_sample)
    assert parts.curves["alpha"].equals(whole.curves["alpha"])


class Backwards:
    """Counts parts from the last to the first, and gives them in that order."""

    def map(self, function: Callable[[Any], Any], items: Any, /) -> list[Any]:
        listed = list(items)
        assert len(listed) > 3
        return [function(item) for item in reversed(listed)]


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_recounts_are_evaluations_of_what_counts(mode: str) -> None:
    truth, found, _ = several()
    parameters = {"mode": mode}
    result = evaluate(truth, found, "mot", parameters=parameters)
    assert result.recount is not None
    assert result.recount.unit == "group"
    assert result.recount.keys.to_pylist() == ["s0", "s1", "s2", "s3"]
    assert result.recount.values(np.ones(4, np.int64)) == result.values
    chosen = np.array([0, 1, 0, 1])
    keys = truth.samples(["key"])["key"].to_pylist()
    at = [i for i, key in enumerate(keys) if key[:2] in ("s1", "s3")]
    part = evaluate(truth.select(at), found, "mot", parameters=parameters)
    assert part.findings.counts["unknown-sample"]  # on sequences that are not chosen
    assert part.per_sample is not None
    assert part.per_sample["key"].to_pylist() == ["s1", "s3"]
    assert result.recount.values(chosen) == part.values
    none = result.recount.values(np.zeros(4, np.int64))
    assert none["HOTA"] is None
    assert none["CLR_TP"] == 0
    twice = result.recount.values(2 * np.ones(4, np.int64))
    assert twice["CLR_TP"] == 2 * (result["CLR_TP"] or 0)
    assert twice["HOTA"] == pytest.approx(result["HOTA"], abs=1e-12)


def test_curves_hold_all_thresholds() -> None:
    result = evaluate(*several()[:2], "mot")
    curve = result.curves["alpha"]
    assert curve["alpha"].to_pylist() == pytest.approx([0.05 * i for i in range(1, 20)])
    assert np.mean(curve["HOTA"]) == result["HOTA"]
    assert curve["HOTA"][0].as_py() == result["HOTA(0)"]


def test_end_to_end(tmp_path: Path) -> None:
    one = drawn(11, 20, 5)
    gt, results = write_mot(tmp_path, {"MOT17-02": one})
    truth = granum.read(gt)
    own = dataset({"MOT17-02": (one.frames, rows_of(one.found))})
    first = granum.evaluate(truth, own, protocol="mot")
    second = granum.evaluate(truth, results, protocol="mot")
    assert first.values == second.values
    assert first["HOTA"] is not None
    assert 0 < first["HOTA"] < 1
