"""What holds for every protocol, on a small case of each (``small.py``)."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from granum.errors import MissingExtraError
from granum.metrics.accumulate import Accumulator
from granum.metrics.base import Result, protocols
from granum.metrics.evaluate import evaluate, protocol_of
from granum.metrics.resampling import difference, intervals
from granum.schema.findings import CODES
from granum.schema.tables import column, with_column
from granum.store.dataset import Dataset
from granum.store.parts import Batch
from granum.verbs._result_files import write_result
from tests.metrics.made import same
from tests.metrics.small import CASES, GUESS

UNSCORED = ("boundary-pq", "discovery", "mot", "panoptic-quality")
"""Protocols that have no use for scores."""

EXTRA = all(find_spec(name) for name in ("hotcoco", "scipy"))
NAMES = [n for n in protocols.table if EXTRA or protocols[n].extra is None]
"""Where the packages of ``granum[eval]`` are absent, the protocols that can do without them."""

ALL = pytest.mark.parametrize("name", NAMES)
SELECTED = pytest.mark.parametrize("name", [n for n in NAMES if n != "video-detection"])
"""Those whose data can be selected by sample: generated videos have none."""


@lru_cache(maxsize=64)
def case(name: str) -> tuple[Dataset, Dataset]:
    made = CASES[name][0]()
    return made if isinstance(made, tuple) else (made, made.layer(GUESS))


def judged(name: str, truth: Dataset, guess: Dataset, executor: Any = None) -> Result:
    return evaluate(truth, guess, name, parameters=CASES[name][1], executor=executor)


@lru_cache(maxsize=64)
def result_of(name: str) -> Result:
    return judged(name, *case(name))


def cut(dataset: Dataset, rows: Iterable[int]) -> Dataset:
    """The same samples in other parts."""
    edges = [0, *sorted({r for r in rows if 0 < r < len(dataset)}), len(dataset)]
    pieces = [part for a, b in pairwise(edges) for part in dataset.select(np.arange(a, b)).parts]
    return dataset._with(parts=pieces)


class Backwards:
    """Counts the last part first, and pickles what it gives, as other processes do."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        listed = list(items)
        given = {i: pickle.dumps(function(i)) for i in reversed(listed)}
        return [pickle.loads(given[i]) for i in listed]


@pytest.mark.skipif(EXTRA, reason="the packages are there")
@pytest.mark.parametrize("name", sorted(set(protocols.table) - set(NAMES)))
def test_what_is_absent_is_told(name: str) -> None:
    with pytest.raises(MissingExtraError, match=r"granum\[eval\]"):
        result_of(name)


def test_every_protocol_has_a_case() -> None:
    assert CASES.keys() == set(protocols.table)


@ALL
def test_it_gives_numbers_and_no_faults(name: str) -> None:
    result = result_of(name)
    assert any(v is not None for v in result.values.values())
    assert all(v is None or np.isfinite(v) for v in result.values.values())
    faults = {c for c in result.findings.counts if CODES[c].severity == "error"}
    assert not faults
    assert result.facts["truths"] > 0
    assert result.facts["predictions"] > 0
    assert result.facts["mode"] in ("official", "corrected")


@ALL
def test_parts_in_any_order_give_the_same_bits(name: str) -> None:
    truth, guess = case(name)
    whole = result_of(name)
    for rows in ([2, 4, 6, 8, 12], [1, 5]):
        cut_truth, cut_guess = cut(truth, rows), cut(guess, rows)
        if truth.num_annotations and not len(truth):
            cut_truth, cut_guess = truth, guess  # groups without samples
        again = judged(name, cut_truth, cut_guess, Backwards())
        assert dict(again.values) == dict(whole.values)
        assert again.per_class == whole.per_class
        assert again.per_sample == whole.per_sample
        assert dict(again.findings.counts) == dict(whole.findings.counts)


@ALL
def test_a_recount_of_all_is_the_result(name: str) -> None:
    result = result_of(name)
    recount = result.recount
    assert recount is not None
    assert (recount.unit == "group") == protocols[name].whole_groups
    keys = recount.keys.to_pylist()
    assert len(keys) == len(set(keys)) > 1
    again = recount.values(np.ones(len(keys), np.int64))
    assert again
    assert {n: result.values[n] for n in again} == dict(again)
    none = recount.values(np.zeros(len(keys), np.int64))
    assert all(v is None or np.isfinite(v) for v in none.values())


@SELECTED
def test_a_slice_is_what_its_samples_give(name: str) -> None:
    truth, guess = case(name)
    recount = result_of(name).recount
    assert recount is not None
    keys = recount.keys.to_pylist()
    if recount.unit == "group":
        known = truth.groups["key"].to_pylist()
        chosen = set(keys[: max(len(keys) // 2, 1)])
        of = column(truth.samples(), "group").to_pylist()
        rows = [i for i, g in enumerate(of) if known[g] in chosen]
    else:
        chosen = set(keys[: len(keys) // 2])
        listed = truth.samples(["key"])["key"].to_pylist()
        # What is no unit (images of a collection) belongs to every slice.
        rows = [i for i, k in enumerate(listed) if k in chosen or k not in keys]
    weights = np.array([k in chosen for k in keys], np.int64)
    part = judged(name, truth.select(rows), guess.select(rows))
    mine = recount.values(weights)
    assert {n: part.values[n] for n in mine} == pytest.approx(dict(mine), abs=1e-12, nan_ok=True)


@SELECTED
def test_updates_merge_to_the_whole(name: str) -> None:
    truth, guess = case(name)
    if name in ("retrieval", "pixel-retrieval"):
        halves = [np.arange(len(truth))]  # a query needs its collection
    elif protocols[name].whole_groups:
        of = np.asarray(column(truth.samples(), "group"))
        halves = [np.flatnonzero(of < 1), np.flatnonzero(of >= 1)]
    else:
        halves = [np.arange(2), np.arange(2, len(truth))]
    pieces = []
    for rows in halves:
        one = Accumulator(name, **CASES[name][1])
        one.update(truth.select(rows), guess.select(rows))
        pieces.append(pickle.dumps(one))
    for order in (pieces, pieces[::-1]):
        joined = Accumulator(name, **CASES[name][1])
        for piece in order:
            joined.merge(pickle.loads(piece))
        result = joined.compute()
        assert dict(result.values) == dict(result_of(name).values)
        assert result.per_sample.sort_by("key") == result_of(name).per_sample.sort_by("key")  # type: ignore[union-attr]


@ALL
def test_numbers_per_sample_are_of_samples_or_groups(name: str) -> None:
    truth, _ = case(name)
    table = result_of(name).per_sample
    assert table is not None
    assert table.column_names[0] == "key"
    keys = table["key"].to_pylist()
    assert len(keys) == len(set(keys))
    known = {*truth.samples(["key"])["key"].to_pylist(), *truth.groups["key"].to_pylist()}
    assert set(keys) <= known
    for number in table.column_names[1:]:
        values = table[number].to_pylist()
        assert not any(isinstance(v, float) and np.isnan(v) for v in values)  # undefined is null


@ALL
def test_a_result_can_be_written(name: str, tmp_path: Path) -> None:
    result = result_of(name)
    result = result.with_tables(
        intervals=intervals(result, draws=3), difference=difference(result, result, draws=2)
    )
    for suffix in ("json", "md", "html", "csv"):
        write_result(result, tmp_path / f"r.{suffix}")
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["values"] == dict(result.values)
    assert "NaN" not in (tmp_path / "r.json").read_text()


@ALL
def test_without_predictions(name: str) -> None:
    truth, guess = case(name)
    empty = guess.filter_annotations(lambda table: np.zeros(table.num_rows, bool))
    result = judged(name, truth, empty)
    assert result.findings.counts["nothing-to-compare"] >= 1
    assert all(v is None or (np.isfinite(v) and v != -1) for v in result.values.values())


@ALL
def test_scores_that_are_no_numbers(name: str) -> None:
    truth, guess = case(name)

    def spoiled(batch: Batch) -> Batch:
        scores = column(batch.annotations, "score").to_pylist()
        known = [i for i, s in enumerate(scores) if s is not None]
        if not known:
            return batch
        scores[known[0]] = np.nan
        table = with_column(batch.annotations, "score", pa.array(scores, pa.float64()))
        return Batch(batch.samples, table, batch.start)

    broken = guess.map_batches(spoiled)
    result = judged(name, truth, broken)
    assert all(v is None or np.isfinite(v) for v in result.values.values())
    column_ = broken.annotations(["score"])["score"].to_pylist()
    spoilt = any(s is not None and np.isnan(s) for s in column_)
    assert bool(result.findings.counts["nan-score"]) == (spoilt and name not in UNSCORED)


@pytest.mark.parametrize(
    "name", sorted({"coco-bbox", "classification", "mot", "change", "anomaly"} & {*NAMES})
)
def test_on_a_cluster(name: str, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    from granum.store.executor import executor

    truth, _ = case(name)
    store = truth.save(tmp_path / "s.granum")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        executor(scheduler=cluster.scheduler_address) as remote,
    ):
        there = judged(name, store, store.layer(GUESS), remote)
    assert same(there, judged(name, store, store.layer(GUESS)))


def mean(values: Any) -> float:
    return float(np.mean([v for v in values.to_pylist() if v is not None]))


def f1_of(table: Any, names: tuple[str, str, str] = ("tp", "fp", "fn")) -> float:
    tp, fp, fn = (sum(table[n].to_pylist()) for n in names)
    return 2 * tp / (2 * tp + fp + fn)


PIXELS = ("tp_pixels", "fp_pixels", "fn_pixels")

TOTALS: dict[str, Callable[[Any], dict[str, float]]] = {
    "change": lambda t: {"f1": f1_of(t, PIXELS)},
    "classification": lambda t: {"top1_accuracy": mean(t["correct"])},
    "discovery": lambda t: {"acc_all": mean(t["correct"])},
    "interactive": lambda t: {n: mean(t[n]) for n in ("noc_80", "noc_90", "iou_1")},
    "iqa": lambda t: {"rmse": float(np.sqrt(np.mean(np.square(t["error"].to_pylist()))))},
    "nested-images": lambda t: {n: mean(t[n]) for n in ("dice_WT", "hd95_ET")},
    "pixel-retrieval": lambda t: {"mIoU_mask_M": mean(t["IoU_mask_M"])},
    "retrieval": lambda t: {"mAP_M": mean(t["AP_M"]), "mP@5_E": mean(t["mP_at_5_E"])},
    "semantic": lambda t: {"pixel_accuracy": mean(t["pixel_accuracy"])},
    "stream": lambda t: {"final_accuracy": mean(t["final_correct"])},
    "video-detection": lambda t: {"accuracy": mean(t["correct"])},
}
"""How numbers per sample make numbers of the whole, where the definition allows (samples of these
cases weigh the same)."""


@pytest.mark.parametrize("name", [n for n in TOTALS if n in NAMES])
def test_numbers_per_sample_make_the_whole(name: str) -> None:
    result = result_of(name)
    for number, total in TOTALS[name](result.per_sample).items():
        assert result.values[number] == pytest.approx(total), number


@pytest.mark.parametrize("name", ["voc", "obb", "open-images", "panoptic-quality", "boundary-pq"])
def test_hits_per_sample_are_those_of_the_classes(name: str) -> None:
    result = result_of(name)
    assert result.per_class is not None
    for count in ("tp", "fp"):
        total = sum(result.per_sample[count].to_pylist())  # type: ignore[index]
        assert total == sum(result.per_class[count].to_pylist())


@pytest.mark.parametrize("name", sorted({"ava", "coco-bbox", "coco-segm", "lvis"} & {*NAMES}))
def test_found_and_missed_truths_are_all(name: str) -> None:
    result = result_of(name)
    table = result.per_sample
    assert table is not None
    tp, fp, fn = (sum(table[n].to_pylist()) for n in ("tp", "fp", "fn"))
    assert tp + fn == result.facts["truths"]
    assert tp + fp == result.facts["predictions"]


def test_parameters_by_name() -> None:
    assert protocol_of("ood", {"positive": "id"}).parameters()["positive"] == "id"
