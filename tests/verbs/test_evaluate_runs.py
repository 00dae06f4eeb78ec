"""``evaluate``: slices by columns, intervals, another run, files of results and of the result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

import granum
from granum.cli import main
from granum.errors import FormatError, UnknownNameError, UsageError
from granum.loaders.results.base import Results, named_samples, on_truth, results
from granum.metrics.base import Result
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Group, Sample
from granum.schema.tables import without_columns
from granum.store.dataset import Dataset
from granum.store.parts import Batch
from granum.verbs._result_files import write_result
from granum.verbs._slicing import labels_of

NAMES = ["cat", "dog"]
WEATHER = ["rain", "sun", "sun", None]


def labelled(wrong: Sequence[int], *, layer: str = "net", more: Sequence[Sample] = ()) -> Dataset:
    """Twenty samples; the predictions of ``wrong`` are of the other class."""
    samples = []
    for i in range(20):
        weather = WEATHER[i % 4]
        guess = i % 2 if i not in wrong else 1 - i % 2
        scores = [0.9, 0.1] if guess == 0 else [0.1, 0.9]
        samples.append(
            Sample(
                f"{i:02}",
                split="train" if i < 12 else "test",
                attributes=None if weather is None else {"weather": weather},
                width=100 + i,
                annotations=[Annotation("label", category=i % 2)],
                layers={layer: [Annotation("label", category=c, score=scores[c]) for c in (0, 1)]},
            )
        )
    return Dataset.from_rows([*samples, *more], [Category(n) for n in NAMES])


def judged(dataset: Dataset, **more: Any) -> Result:
    return granum.evaluate(dataset, layer="net", protocol="classification", **more)


def test_slices_by_columns() -> None:
    result = judged(labelled([0, 1, 12]), by=["split", "attr.weather", "width"])
    split = {
        r["slice"]: (r["units"], r["top1_accuracy"]) for r in result.slices["split"].to_pylist()
    }
    assert split == {"train": (12, pytest.approx(10 / 12)), "test": (8, pytest.approx(7 / 8))}
    weather = result.slices["attr.weather"].to_pylist()
    assert [(r["slice"], r["units"]) for r in weather] == [("rain", 5), ("sun", 10), (None, 5)]
    width = result.slices["width"].to_pylist()
    assert [r["units"] for r in width] == [4, 4, 4, 4, 4]
    assert width[0]["slice"] == "1: 100 to 103.8"
    assert width[0]["top1_accuracy"] == 0.5
    with pytest.raises(UnknownNameError, match="colour"):
        judged(labelled([]), by=["colour"])


def test_labels_of_groups() -> None:
    groups = [Group("a", attributes={"court": "clay"}), Group("b"), Group("c")]
    samples = [
        Sample(f"{g}{i}", group=row, split=split)
        for row, (g, splits) in enumerate([("a", "xx"), ("b", "xy"), ("c", "")])
        for i, split in enumerate(splits)
    ]
    dataset = Dataset.from_rows(samples, [], groups)
    assert labels_of(dataset, "attr.court", groups=True) == {"a": "clay", "b": None, "c": None}
    # What only samples have counts where all of a group agree.
    assert labels_of(dataset, "split", groups=True) == {"a": "x", "b": None, "c": None}


def with_attributes(values: Sequence[Any], **more: Any) -> Dataset:
    samples = []
    for i, value in enumerate(values):
        rows = [Annotation("label", category=i % 2, score=1.0)]
        samples.append(
            Sample(
                f"{i:02}",
                attributes={"x": value},
                annotations=rows,
                layers={"net": rows},
                **{name: column[i] for name, column in more.items() if name != "groups"},
            )
        )
    return Dataset.from_rows(samples, [Category(n) for n in NAMES], more.get("groups", ()))


def slices_of(dataset: Dataset, name: str) -> list[tuple[str | None, int]]:
    table = judged(dataset, by=[name]).slices[name]
    return list(zip(table["slice"].to_pylist(), table["units"].to_pylist(), strict=True))


def test_values_of_any_kind_make_slices() -> None:
    # Of mixed types, whether they are in the typed column or in the JSON.
    mixed = with_attributes([1, "x", 2, "x", 10, "y"])
    assert slices_of(mixed, "attr.x") == [("1", 1), ("2", 1), ("10", 1), ("x", 2), ("y", 1)]
    flags = with_attributes([True, False, True, 1])
    assert slices_of(flags, "attr.x") == [("false", 1), ("1", 1), ("true", 2)]
    holes = with_attributes([None, 0.5, None, 2.5])
    assert slices_of(holes, "attr.x") == [("0.5", 1), ("2.5", 1), (None, 2)]
    many = [*range(20), None]
    assert [n for _, n in slices_of(with_attributes(many), "attr.x")] == [4, 4, 4, 4, 4, 1]
    with pytest.raises(UsageError, match="lists or objects"):
        slices_of(with_attributes([[1], [2]]), "attr.x")


def test_samples_are_what_their_groups_are() -> None:
    groups = [Group("a", attributes={"court": "clay"}), Group("b"), Group("c")]
    data = with_attributes("uuuu", groups=groups, group=[0, 0, 1, None])
    assert slices_of(data, "attr.court") == [("clay", 2), (None, 2)]
    assert slices_of(data, "group") == [("a", 2), ("b", 1), (None, 1)]
    assert labels_of(data, "group", groups=True) == {"a": "a", "b": "b", "c": "c"}
    with pytest.raises(UnknownNameError, match=r"attr\.court.*attr\.x"):
        slices_of(data, "attr.city")


def test_texts_do_not_break_a_table() -> None:
    lines = judged(with_attributes(["a|b\nc"]), by=["attr.x"]).markdown().splitlines()
    assert lines[-1].startswith("| a\\|b c | 1 |")


def test_intervals() -> None:
    rows = judged(labelled([0, 1, 12]), draws=200, level=0.9).intervals.to_pylist()  # type: ignore[union-attr]
    top = next(r for r in rows if r["name"] == "top1_accuracy")
    assert top["value"] == pytest.approx(0.85)
    assert top["low"] < 0.85 < top["high"]


def test_against_a_layer_and_a_dataset() -> None:
    both = labelled([0, 1, 12])
    better = labelled([0])
    told = granum.evaluate(
        both, better, layer="net", protocol="classification", against=both.layer("net")
    )
    assert told.difference is not None
    row = next(r for r in told.difference.to_pylist() if r["name"] == "top1_accuracy")
    assert row["difference"] == pytest.approx(-0.1)


def test_against_another_layer(tmp_path: Path) -> None:
    store = labelled([0, 1, 12]).save(tmp_path / "s.granum")
    other = labelled([0], layer="other").save(tmp_path / "o.granum")
    tables = {"other": other.layer("other").annotations()}
    from granum.store.additions import add_layer

    store = add_layer(store, "other", [tables["other"]])
    told = judged(store, against="other", draws=50)
    row = next(r for r in told.difference.to_pylist() if r["name"] == "top1_accuracy")  # type: ignore[union-attr]
    assert (row["value"], row["other"]) == (pytest.approx(0.85), pytest.approx(0.95))
    assert row["above"] > 0.8
    assert told.facts["against"] == "other"
    assert "| against other | value | other |" in told.markdown()
    write_result(told, tmp_path / "r.html")
    assert "Against other" in (tmp_path / "r.html").read_text()


def test_what_is_wrong_with_the_other_run_is_told() -> None:
    both = labelled([0, 1])
    strange = Sample("nowhere", layers={"net": [Annotation("label", category=0, score=1.0)]})
    other = labelled([], more=[strange])
    told = judged(both, against=other)
    assert told.difference is not None
    (item,) = [f for f in told.findings.items if f.path.startswith("against")]
    assert (item.code, told.findings.counts["unknown-sample"]) == ("unknown-sample", 1)
    assert not judged(both, against=both).findings.counts


def test_another_store_with_several_layers(tmp_path: Path) -> None:
    store = labelled([0, 1, 12]).save(tmp_path / "s.granum")
    labelled([0]).save(tmp_path / "o.granum")
    told = judged(store, against=tmp_path / "o.granum", draws=5)
    row = next(r for r in told.difference.to_pylist() if r["name"] == "top1_accuracy")  # type: ignore[union-attr]
    assert row["difference"] == pytest.approx(0.1)
    with pytest.raises(UsageError, match=r"nor a layer \(layers: net, truth\)"):
        judged(store, against="nett")


def test_nothing_to_compare_is_told_whatever_is_asked() -> None:
    data = labelled([0, 1])
    bare = data.layer("net").map_batches(without_scores)
    result = granum.evaluate(
        data, bare, protocol="classification", layer="net", by=["split"], draws=5, against=data
    )
    assert result.findings.counts["nothing-to-compare"] == 1
    assert result.slices == {} and result.intervals is None and result.difference is None


def without_scores(batch: Batch) -> Batch:
    table = without_columns(batch.annotations, ["score"])
    return Batch(batch.samples, table, batch.start)


def test_what_is_asked_wrongly_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("granum.verbs.evaluate.run", None)  # nothing may be counted before
    data = labelled([])
    for wrong in ({"draws": -1}, {"draws": 5, "level": 95}, {"results": "voc"}):
        with pytest.raises(UsageError):
            judged(data, **wrong)
    for unknown in ({"by": ["colour"]}, {"results": "vox"}):
        with pytest.raises(UnknownNameError):
            judged(data, **unknown)
    with pytest.raises(FormatError, match="no such file"):
        judged(data, predictions="absent.txt", results="voc")


@pytest.fixture
def lines_form() -> Any:
    """A form of results: a line per sample, ``key class``."""

    class Lines(Results):
        name: ClassVar[str] = "toy-lines"
        title: ClassVar[str] = "Lines"
        spec: ClassVar[str] = "here"
        protocols: ClassVar[tuple[str, ...]] = ("classification",)

        def sniff(self, path: Path) -> bool:
            return path.suffix == ".lines"

        def read(self, path: Path, truth: Dataset, findings: Findings) -> Dataset:
            at = named_samples(truth)
            names = truth.category_names()
            rows = []
            for number, line in enumerate(path.read_text().splitlines(), 1):
                key, name = line.split()
                if key not in at:
                    findings.add("unknown-sample", path.name, f"line {number}", key)
                    continue
                rows.append((at[key], names.index(name)))
            return on_truth(
                truth,
                pa.table(
                    {
                        "sample": pa.array([r[0] for r in rows], pa.int64()),
                        "category": pa.array([r[1] for r in rows], pa.int32()),
                        "kind": pa.array(["label"] * len(rows)).dictionary_encode(),
                        "score": pa.array([1.0] * len(rows)),
                    }
                ),
            )

    results("toy-lines")(Lines)
    yield Lines
    del results._things["toy-lines"]


@pytest.mark.usefixtures("lines_form")
def test_results_in_the_benchmark_s_own_form(tmp_path: Path) -> None:
    truth = labelled([])
    lines = [f"{i:02} {NAMES[i % 2] if i else 'dog'}" for i in range(20)] + ["99 cat"]
    (tmp_path / "run.lines").write_text("\n".join(lines))
    (tmp_path / "run.txt").write_text("\n".join(lines))
    for name, form in (("run.lines", None), ("run.txt", "toy-lines")):
        result = granum.evaluate(truth, tmp_path / name, protocol="classification", results=form)
        assert result["top1_accuracy"] == pytest.approx(0.95)
        assert result.findings.counts["unknown-sample"] == 1
        assert result.findings.items[0].place == "line 21"


def test_a_result_as_files(tmp_path: Path) -> None:
    result = judged(labelled([0, 1]), by=["split"], draws=20)
    for name in ("r.json", "r.md", "r.html", "r.csv"):
        write_result(result, tmp_path / name)
    assert json.loads((tmp_path / "r.json").read_text())["slices"]["split"][1]["units"] == 12
    assert "| split | units |" in (tmp_path / "r.md").read_text()
    page = (tmp_path / "r.html").read_text()
    assert "Intervals by the bootstrap" in page
    assert "By split" in page
    assert (tmp_path / "r.csv").read_text().startswith('"key"')
    with pytest.raises(UsageError, match=r"\.json"):
        write_result(result, tmp_path / "r.txt")
    with pytest.raises(UsageError, match="no folder"):
        write_result(result, tmp_path / "absent" / "r.json")
    with pytest.raises(UsageError, match="per sample"):
        write_result(Result("toy", {"n": 1.0}), tmp_path / "n.csv")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled([0, 1, 12]).save(tmp_path / "s.granum")
    code = main(
        [
            *("eval", str(tmp_path / "s.granum"), "--layer", "net"),
            *("--protocol", "classification", "--by", "split", "--bootstrap", "30"),
            *("-o", str(tmp_path / "r.json")),
        ]
    )
    shown = capsys.readouterr().out
    assert code == 0
    assert "| classification | | low | high |" in shown
    assert "| test | 8 | 0.875" in shown
    assert json.loads((tmp_path / "r.json").read_text())["intervals"][0]["draws"] == 30


def test_places_to_write_are_checked_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.granum"
    labelled([0]).save(path)
    asked = ["eval", str(path), "--layer", "net", "--protocol", "classification"]
    assert main([*asked, "-o", str(tmp_path / "r.txt"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"
    assert main([*asked, "-o", str(tmp_path / "no" / "r.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_draws_are_reproducible() -> None:
    one, two = (judged(labelled([0, 1]), draws=25, seed=3).intervals for _ in range(2))
    assert one is not None
    assert one.equals(two)
    assert np.isfinite(one["low"].to_pylist()[0])


def test_sizes_are_read_only_for_what_looks_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def sized(dataset: Dataset) -> Dataset:
        asked.append(dataset.meta.layer)
        return dataset

    monkeypatch.setattr("granum.verbs.evaluate.with_sizes", sized)
    data = labelled([1])
    granum.evaluate(data, protocol="classification", layer="net")
    assert not asked
    granum.evaluate(data, protocol="semantic", layer="net")
    assert asked == ["truth", "net"]
    rows = [Sample(f"{i:02}", unit="relative") for i in range(len(data))]
    truth = Dataset.from_rows(rows, [Category(n) for n in NAMES])
    granum.evaluate(truth, data, protocol="classification", layer="net")
    assert asked == ["truth", "net", "truth"]


@pytest.mark.usefixtures("lines_form")
def test_columns_of_other_results_are_not_replaced(tmp_path: Path) -> None:
    store = labelled([]).save(tmp_path / "s.granum")
    for name, wrong in (("one", 0), ("two", 1)):
        lines = [f"{i:02} {NAMES[i % 2 if i != wrong else 1 - i % 2]}" for i in range(20)]
        (tmp_path / f"{name}.lines").write_text("\n".join(lines))

    def join(name: str, **more: Any) -> Result:
        return granum.evaluate(
            tmp_path / "s.granum", tmp_path / name, protocol="classification", join=True, **more
        )

    assert store.num_annotations
    join("one.lines")
    join("one.lines")  # again, the same
    with pytest.raises(UsageError, match="--prefix"):
        join("two.lines")
    join("two.lines", prefix="second")
    samples = granum.open(tmp_path / "s.granum").samples()
    assert samples["col.eval.classification.correct"][0].as_py() is False
    assert samples["col.second.correct"][0].as_py() is True
    with pytest.raises(UsageError, match="tells of classification"):
        granum.evaluate(
            tmp_path / "s.granum",
            protocol="discovery",
            layer="net",
            join=True,
            prefix="second",
            parameters={"known": ["cat"]},
        )
