"""Evaluation as users call it, and what it leaves in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

import granum
from granum.errors import FindingsError, StoreError, UnknownNameError, UsageError
from granum.metrics.base import Context, Protocol, Result
from granum.metrics.evaluate import evaluate as run
from granum.metrics.joining import join_columns
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset
from granum.store.parts import Batch
from granum.verbs.convert import read
from granum.verbs.evaluate import evaluate
from tests.metrics.detections import case, written


@dataclass(frozen=True)
class Counting(Protocol):
    """A toy: how many rows each side has."""

    name: ClassVar[str] = "counting"
    reference: ClassVar[str] = "arithmetic"
    factor: int = 1

    def state(self, truth: Batch, predictions: Batch, context: Context) -> Any:
        n = np.diff(predictions.offsets())
        return truth.start, truth.samples["key"], truth.annotations.num_rows, n

    def result(self, states: Sequence[Any], context: Context) -> Result:
        keys = pa.chunked_array([c for s in states for c in s[1].chunks], pa.string())
        found = np.concatenate([s[3] for s in states])
        values = {"truth": sum(s[2] for s in states), "found": float(found.sum()) * self.factor}
        return Result(self.name, values, per_sample=pa.table({"key": keys, "n": found}))


def dataset() -> Dataset:
    samples = [
        Sample(
            key,
            width=10,
            height=10,
            annotations=[Annotation(category=0, bbox=(1.0, 1.0, 4.0, 4.0))],
            layers={
                "net": [
                    Annotation(category=0, score=0.9, bbox=(1.0, 1.0, 4.0, shift))
                    for shift in heights
                ]
            },
        )
        for key, heights in (("a", (4.0, 1.0)), ("b", (1.0,)), ("c", ()))
    ]
    return Dataset.from_rows(samples, [Category("cat")])


def test_facts_and_parameters() -> None:
    both = dataset()
    result = evaluate(both, protocol=Counting(), layer="net", parameters={"factor": 2})
    assert result.values == {"truth": 3, "found": 6.0}
    expected = {
        "reference": "arithmetic",
        "mode": "official",
        "parameters": {"factor": 2},
        "samples": 3,
        "truth_rows": 3,
        "prediction_rows": 3,
        "truths": 3,
        "predictions": 3,
        "truth_layer": "truth",
        "prediction_layer": "net",
    }
    assert dict(result.facts) == expected
    assert result.findings.counts == {"no-predictions": 1}
    assert json.loads(result.to_json())["values"]["found"] == 6.0


def test_curves_are_in_the_file_as_columns() -> None:
    curve = pa.table({"name": ["a", None], "x": [0.0, 1.0], "y": [0.5, np.nan]})
    told = json.loads(Result("toy", {"n": 1.0}, curves={"roc": curve}).to_json())
    assert told["curves"] == {"roc": {"name": ["a", None], "x": [0.0, 1.0], "y": [0.5, None]}}
    assert told["values"] == {"n": 1.0}


def test_a_report_of_the_file_shows_the_curves(tmp_path: Path) -> None:
    curve = pa.table({"fpr": [0.0, 0.1, 0.3], "pro": [0.0, 0.7, 0.9]})
    result = Result("toy", {"n": 1.0}, curves={"rocking": curve})
    (tmp_path / "e.json").write_text(result.to_json())
    for given in (result, tmp_path / "e.json"):
        page = tmp_path / "page.html"
        granum.report(dataset(), page, evaluations=[given], overwrite=True)
        assert "rocking: pro over fpr" in page.read_text("utf-8")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="coco-bbox"):
        evaluate(dataset(), protocol="coco-box")
    with pytest.raises(UsageError, match="max_detections"):
        evaluate(dataset(), protocol="coco-bbox", parameters={"max_detection": 1})
    with pytest.raises(UnknownNameError, match="net"):
        evaluate(dataset(), protocol=Counting(), layer="nett")


def test_the_layer_is_guessed_only_where_one_could_be_meant() -> None:
    both = dataset()
    assert evaluate(both, protocol=Counting()).facts["prediction_layer"] == "net"
    with pytest.raises(UsageError, match="no layer holds predictions"):
        evaluate(Dataset.from_rows([Sample("a")]), protocol=Counting())
    with pytest.raises(UsageError, match="by itself"):
        evaluate(both, protocol=Counting(), layer="truth")
    nothing = evaluate(both, Dataset.from_rows([Sample("a")]), protocol=Counting())
    assert nothing.facts["prediction_layer"] == "truth"  # the only one of a run that found nothing


class Backwards:
    """Works on the last item first."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> list[Any]:
        self.seen = list(items)[::-1]
        return [function(i) for i in self.seen][::-1]


def test_another_executor_counts_the_parts() -> None:
    both = dataset()
    parts = [*both.select([0]).parts, *both.select([1, 2]).parts]
    split = Dataset(parts, both.categories, meta=both.meta)
    executor = Backwards()
    result = run(split.layer("truth"), split.layer("net"), Counting(), executor=executor)
    assert executor.seen == [1, 0]
    assert result.per_sample is not None
    assert result.per_sample["n"].to_pylist() == [2, 1, 0]


# ------------------------------------------------------------------ joining


def test_numbers_join_back_as_columns(tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    dataset().save(tmp_path / "x.granum")
    evaluate(tmp_path / "x.granum", protocol="coco-bbox", layer="net", join=True)
    store = granum.open(tmp_path / "x.granum")
    table = store.samples()
    assert table["col.eval.coco_bbox.tp"].to_pylist() == [1, 0, 0]
    assert table["col.eval.coco_bbox.fp"].to_pylist() == [1, 1, 0]
    assert table["col.eval.coco_bbox.fn"].to_pylist() == [0, 1, 1]
    assert table["col.eval.coco_bbox.iou"].to_pylist() == [1.0, None, None]
    assert [s.key for s in store.filter("col.eval.coco_bbox.fn > 0")] == ["b", "c"]


def test_the_same_evaluation_again_is_a_cache_hit(tmp_path: Path) -> None:
    dataset().save(tmp_path / "x.granum")
    for _ in range(2):
        evaluate(tmp_path / "x.granum", protocol=Counting(), layer="net", join=True)
    assert len(list((tmp_path / "x.granum").rglob("part-*.arrow"))) == 4  # samples, layers, column
    with pytest.raises(UsageError, match="prefix"):
        other = granum.open(tmp_path / "x.granum")
        join_columns(other, run(other.layer("net"), other.layer("truth"), Counting()))
    joined = evaluate(
        tmp_path / "x.granum", protocol=Counting(), layer="net", join=True, prefix="mine"
    )
    assert joined.values["found"] == 3
    assert "col.mine.n" in granum.open(tmp_path / "x.granum").samples().column_names


def test_parameters_survive_the_manifest(tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    dataset().save(tmp_path / "x.granum")
    numbers = []
    for limits in ((1, 10), (1, 10), (2, 10)):
        parameters = {"max_detections": limits}
        evaluate(tmp_path / "x.granum", protocol="coco-bbox", parameters=parameters, join=True)
        store = granum.open(tmp_path / "x.granum").meta.store
        assert store is not None
        numbers.append(store.number)
    assert numbers[0] == numbers[1] < numbers[2]


def test_only_a_store_can_be_joined_to() -> None:
    with pytest.raises(StoreError):
        evaluate(dataset(), protocol=Counting(), layer="net", join=True)


def test_samples_beyond_the_evaluation_are_null(tmp_path: Path) -> None:
    store = dataset().save(tmp_path / "x.granum")
    some = store.select([1])
    store = join_columns(store, run(some.layer("truth"), some.layer("net"), Counting()))
    assert store.samples()["col.eval.counting.n"].to_pylist() == [None, 1, None]


# ------------------------------------------------------------------ sources


def test_results_of_a_file_are_joined_by_id(tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    paths = written(tmp_path, *case(3, "bbox"))
    as_layer = read(paths[0], "coco", results=str(paths[1]))
    expected = run(as_layer.layer("truth"), as_layer.layer("results"), "coco-bbox")
    store = read(paths[0], "coco").save(tmp_path / "x.granum")
    result = evaluate(store, paths[1], protocol="coco-bbox")
    assert result.values == expected.values
    assert result.per_sample is not None
    assert result.per_sample.equals(expected.per_sample)


def test_two_stores_whatever_their_order(tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    paths = written(tmp_path, *case(5, "bbox"))
    both = read(paths[0], "coco", results=str(paths[1]))
    expected = run(both.layer("truth"), both.layer("results"), "coco-bbox")
    order = np.random.default_rng(0).permutation(len(both))
    shuffled = both.select(order).save(tmp_path / "y.granum")
    result = evaluate(both, shuffled, protocol="coco-bbox", layer="results")
    assert result.values == expected.values


def test_workers_change_nothing(tmp_path: Path) -> None:
    pytest.importorskip("hotcoco")
    paths = written(tmp_path, *case(6, "segm"))
    store = read(paths[0], "coco", results=str(paths[1])).save(tmp_path / "x.granum")
    one = evaluate(store, protocol="coco-segm", layer="results")
    two = evaluate(store, protocol="coco-segm", layer="results", workers=2)
    assert one.values == two.values
    assert one.per_sample is not None
    assert one.per_sample.equals(two.per_sample)


def listed(tmp_path: Path, rows: Any, name: str = "found.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(rows))
    return path


def two_images(tmp_path: Path, **more: Any) -> Path:
    """Two images, each with one object of class 3."""
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 50, "height": 50} for i in (7, 8)]
    box = {"category_id": 3, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}
    annotations = [{"id": i, "image_id": i, **box, **more} for i in (7, 8)]
    document = {"images": images, "annotations": annotations}
    return listed(tmp_path, {**document, "categories": [{"id": 3, "name": "cat"}]}, "truth.json")


def of_image(image: Any, **more: Any) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": 3,
        "bbox": [5.0, 5.0, 20.0, 20.0],
        "score": 0.5,
        **more,
    }


@pytest.mark.parametrize("protocol", ["voc", "coco-bbox"])
def test_ids_of_results_are_the_same_in_any_form(tmp_path: Path, protocol: str) -> None:
    if protocol == "coco-bbox":
        pytest.importorskip("hotcoco")
    truth = two_images(tmp_path)
    for one, other in ((7, 8), ("7", "8"), (7.0, 8.0), (7, "8"), (7, 8.0)):
        # An image, and a class, that is named in two ways is one.
        both = [of_image(one), of_image(other, score=1), of_image("7", category_id="3", score=0.1)]
        result = evaluate(truth, listed(tmp_path, both), protocol=protocol)
        assert (
            result.values == evaluate(truth, truth_with_scores(tmp_path), protocol=protocol).values
        )
        assert not result.findings.errors


def truth_with_scores(tmp_path: Path) -> Path:
    return listed(
        tmp_path, [of_image(i, score=s) for i, s in ((7, 0.5), (8, 1), (7, 0.1))], "c.json"
    )


def test_faulty_records_of_results_are_left_out_and_told(tmp_path: Path) -> None:
    truth = two_images(tmp_path)
    bad = [
        of_image(8, score=float("nan")),
        of_image(8, score="high"),
        of_image(8, bbox=[1, 1, -2, 2]),
    ]
    unknown = [of_image(99), of_image(8, category_id=99)]
    result = evaluate(truth, listed(tmp_path, [of_image(7), *bad, *unknown]), protocol="voc")
    assert result["mAP"] == 0.5
    codes = ("nan-token", "bad-value", "negative-box", "unknown-sample", "unknown-category")
    assert {c: result.findings.counts[c] for c in codes} == dict.fromkeys(codes, 1)
    places = {f.code: (f.path, f.place) for f in result.findings.items}
    assert places["nan-token"] == ("found.json", "/1/score")


def test_results_of_a_run_that_found_nothing(tmp_path: Path) -> None:
    truth = two_images(tmp_path)
    result = evaluate(truth, listed(tmp_path, []), protocol="voc")
    assert result["mAP"] == 0.0
    assert result.findings.counts["nothing-to-compare"] == 1


def test_faults_of_the_truth_are_refused_unless_asked(tmp_path: Path) -> None:
    truth, found = two_images(tmp_path, id=1), listed(tmp_path, [of_image(7), of_image(8)])
    with pytest.raises(FindingsError):
        evaluate(truth, found, protocol="voc")
    for on_error, truths in (("skip", 1), ("fix", 2)):
        result = evaluate(truth, found, protocol="voc", on_error=on_error)  # type: ignore[arg-type]
        assert result.facts["truths"] == truths
        assert result.findings.counts["duplicate-annotation-id"] == 1


def test_files_of_results_of_which_all_is_left_out_have_no_number(tmp_path: Path) -> None:
    truth = two_images(tmp_path)
    folder = tmp_path / "results"
    folder.mkdir()
    file = folder / "comp4_det_test_cat.txt"
    file.write_text("7 nan 1 1 2 2\n9 0.5 1 1 2 2\n")
    result = evaluate(truth, folder, protocol="voc")
    assert result["mAP"] is None
    assert result.facts["prediction_layer"] == "predictions"
    codes = ("nan-score", "unknown-sample", "nothing-to-compare")
    assert [result.findings.counts[c] for c in codes] == [1, 1, 1]
    file.write_text("")  # nothing found is no fault of names
    assert evaluate(truth, folder, protocol="voc")["mAP"] == 0.0


def test_images_of_other_names_are_told(tmp_path: Path) -> None:
    found = listed(tmp_path, [of_image(9)])
    with pytest.raises(UsageError, match="'7' is a sample of the truth, '9' is a sample of the pr"):
        evaluate(two_images(tmp_path), found, protocol="voc")
    nameless = Dataset.from_rows([Sample("a.jpg", width=5, height=5)], [Category("cat")])
    with pytest.raises(UsageError, match=r"no sample of the truth has one .*'a.jpg'"):
        evaluate(nameless, found, protocol="voc")


def test_a_mask_that_is_no_mask_is_told_without_a_size_that_is_not_known(tmp_path: Path) -> None:
    short = {"size": [50, 50], "counts": [5, 5]}
    found = listed(tmp_path, [of_image(7), of_image(8, segmentation=short)])
    result = evaluate(two_images(tmp_path), found, protocol="voc")
    told = [f.message for f in result.findings.items if f.code == "rle-size-mismatch"]
    assert told == [
        "RLE of size [50, 50] (height, width) with 10 pixels in an image of unknown size"
    ]
