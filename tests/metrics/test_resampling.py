"""Slices, intervals and the comparison of two runs, on a protocol that is a mean."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from granum.errors import UsageError
from granum.metrics.base import Recount, Result
from granum.metrics.resampling import difference, intervals, slices
from granum.schema.findings import Findings


def mean_of(values: dict[str, float], **facts: object) -> Result:
    """A protocol whose number is the mean over samples."""
    keys, numbers = list(values), np.array(list(values.values()))

    def again(weights: np.ndarray) -> dict[str, float | None]:
        n = int(weights.sum())
        return {"mean": float((numbers * weights).sum() / n) if n else None}

    return Result(
        "mean",
        again(np.ones(len(keys), np.int64)),
        facts={"parameters": {}, **facts},
        recount=Recount(pa.array(keys, pa.string()), again),
    )


RUN = {f"i{k}": float(k % 7) for k in range(40)}


def test_slices_by_label() -> None:
    labels = {key: ("even" if int(key[1:]) % 2 == 0 else "odd") for key in RUN}
    del labels["i0"]
    table = slices(mean_of(RUN), labels)
    assert table["slice"].to_pylist() == ["even", "odd", None]
    assert table["units"].to_pylist() == [19, 20, 1]
    even = np.mean([v for k, v in RUN.items() if labels.get(k) == "even"])
    assert table["mean"][0].as_py() == pytest.approx(even)
    assert table["mean"][2].as_py() == 0.0


def test_an_interval_is_near_the_normal_one() -> None:
    table = intervals(mean_of(RUN), draws=4000).to_pylist()
    (row,) = table
    error = np.std(list(RUN.values())) / np.sqrt(len(RUN))
    assert row["value"] == pytest.approx(np.mean(list(RUN.values())))
    assert row["standard_error"] == pytest.approx(error, rel=0.06)
    assert row["low"] == pytest.approx(row["value"] - 1.96 * error, abs=0.06)
    assert row["high"] == pytest.approx(row["value"] + 1.96 * error, abs=0.06)
    assert row["draws"] == 4000
    narrow = intervals(mean_of(RUN), draws=4000, level=0.5).to_pylist()[0]
    assert narrow["high"] - narrow["low"] < 0.5 * (row["high"] - row["low"])


def test_the_error_of_two_draws() -> None:
    row = intervals(mean_of(RUN), draws=2, level=0.5).to_pylist()[0]
    width = row["high"] - row["low"]  # half of what the two draws are apart
    assert width > 0
    assert row["standard_error"] == pytest.approx(2 * width / np.sqrt(2))


def test_one_sample_has_no_interval() -> None:
    one = mean_of({"i0": 3.0})
    row = intervals(one, draws=50).to_pylist()[0]
    assert (row["value"], row["low"], row["high"], row["draws"]) == (3.0, None, None, 0)
    row = difference(one, mean_of({"i0": 4.0}), draws=50).to_pylist()[0]
    assert (row["difference"], row["low"], row["above"]) == (1.0, None, None)


def test_equal_seeds_draw_equally() -> None:
    one, same, other = (intervals(mean_of(RUN), draws=50, seed=s) for s in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_two_runs_on_the_same_draws() -> None:
    better = {key: value + 0.25 for key, value in reversed(RUN.items())}
    (row,) = difference(mean_of(RUN), mean_of(better), draws=200).to_pylist()
    # Each draw has the same difference, however much the mean itself moves.
    assert row["difference"] == pytest.approx(0.25)
    assert row["low"] == pytest.approx(0.25)
    assert row["high"] == pytest.approx(0.25)
    assert row["above"] == 1.0
    (same,) = difference(mean_of(RUN), mean_of(RUN), draws=20).to_pylist()
    assert same["above"] == 0.5
    assert same["difference"] == 0.0


def test_runs_that_cannot_be_compared() -> None:
    run = mean_of(RUN)
    fewer = mean_of({k: v for k, v in RUN.items() if k != "i3"})
    with pytest.raises(UsageError, match="'i3'"):
        difference(run, fewer)
    with pytest.raises(UsageError, match="parameters"):
        difference(run, mean_of(RUN, parameters={"iou": 0.7}))
    for wrong in ({"draws": 0}, {"level": 1.0}):
        with pytest.raises(UsageError):
            intervals(run, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="count again"):
        intervals(Result("toy", {"n": 1.0}))


def test_undefined_draws_are_told() -> None:
    def rare(weights: np.ndarray) -> dict[str, float | None]:
        return {"n": 1.0 if weights[0] else None, "never": None}

    result = Result(
        "rare",
        {"n": 1.0, "never": None, "other": 2.0},
        recount=Recount(pa.array(["a", "b", "c"]), rare),
    )
    rows = intervals(result, draws=300).to_pylist()
    assert [r["name"] for r in rows] == ["n", "never"]  # of other nothing can be counted again
    assert 0 < rows[0]["draws"] < 300
    assert rows[1] == {
        **dict.fromkeys(("value", "low", "high", "standard_error")),
        "name": "never",
        "draws": 0,
    }


def test_tables_are_in_the_json_and_the_text() -> None:
    run = mean_of(RUN)
    full = run.with_tables(
        intervals=intervals(run, draws=20),
        slices={"split": slices(run, dict.fromkeys(RUN, "train"))},
        difference=difference(run, run, draws=20),
    )
    told = json.loads(full.to_json())
    assert told["intervals"][0]["name"] == "mean"
    assert told["slices"]["split"] == [{"slice": "train", "units": 40, "mean": run["mean"]}]
    assert told["difference"][0]["above"] == 0.5
    text = full.markdown().splitlines()
    assert text[0] == "| mean | | low | high |"
    assert text[1] == "|---|---|---|---|"
    assert text[2].startswith(f"| mean | {run['mean']:.6g} | ")
    assert "| split | units | mean |" in text
    assert "slices" not in run.to_dict()


def test_account_keeps_the_tables() -> None:
    run = mean_of(RUN)
    kept = run.with_tables(intervals=intervals(run, draws=5)).with_account({}, Findings())
    assert kept.intervals is not None
    assert kept.recount is run.recount


def test_an_undefined_number_has_no_interval() -> None:
    def partly(weights: np.ndarray) -> dict[str, float | None]:
        return {"n": None if weights.all() else 1.0}

    result = Result(
        "partly", {"n": None}, recount=Recount(pa.array(["a", "b", "c"], pa.string()), partly)
    )
    (row,) = intervals(result, draws=50).to_pylist()
    assert row["low"] is None and row["draws"] == 0
