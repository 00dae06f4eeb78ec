"""Panoptic quality: cases worked by hand, and equal to hotcoco, which agrees with panopticapi."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from granum.metrics.evaluate import evaluate
from granum.metrics.panoptic import PanopticQuality
from granum.schema import geometry
from granum.schema.rows import Annotation, Category, Rle, Sample
from granum.store.dataset import Dataset
from granum.verbs.convert import read
from tests.data import shared
from tests.metrics.made import dataset as made
from tests.metrics.made import in_parts, masked, same

Ids = npt.NDArray[np.int64]
CATEGORIES = [
    Category("cat", isthing=True),
    Category("dog", isthing=True),
    Category("sky", isthing=False),
]


def dataset(*samples: list[tuple[Ids, int, bool]]) -> Dataset:
    """Samples of (mask, category, crowd)."""
    rows = []
    for number, segments in enumerate(samples):
        annotations = []
        for mask, category, crowd in segments:
            size, counts = geometry.encode_mask(mask)
            annotations.append(
                Annotation(category=category, crowd=crowd or None, rle=Rle(size, counts))
            )
        rows.append(Sample(f"{number}.png", width=10, height=10, annotations=annotations))
    return Dataset.from_rows(rows, CATEGORIES)


def columns(first: int, last: int) -> Ids:
    mask = np.zeros((10, 10), np.int64)
    mask[:, first:last] = 1
    return mask


def test_a_hand_worked_case() -> None:
    truth = dataset([(columns(0, 4), 0, False), (columns(4, 8), 2, False)])
    found = dataset([(columns(0, 5), 0, False), (columns(5, 8), 2, False)])
    result = evaluate(truth, found, "panoptic-quality")
    # cat: 40 of 50 pixels; sky: 30 of 40.
    assert result["PQ_th"] == pytest.approx(0.8)
    assert result["PQ_st"] == pytest.approx(0.75)
    assert result["PQ"] == pytest.approx(0.775)
    assert (result["RQ"], result["SQ"]) == (1.0, pytest.approx(0.775))
    assert result.per_class is not None
    assert result.per_class.to_pylist()[1]["PQ"] is None  # no dog anywhere


def test_areas_of_the_truth_are_those_stated() -> None:
    size, counts = geometry.encode_mask(columns(0, 4))
    stated = Annotation(category=0, area=60.0, rle=Rle(size, counts))
    truth = Dataset.from_rows(
        [Sample("0.png", width=10, height=10, annotations=[stated])], CATEGORIES
    )
    # 40 shared pixels of a union of 40 + 60 - 40.
    result = evaluate(truth, dataset([(columns(0, 4), 0, False)]), "panoptic-quality")
    assert result["PQ"] == pytest.approx(40 / 60)


def test_half_is_no_match() -> None:
    truth = dataset([(columns(0, 4), 0, False), (columns(4, 10), 2, False)])
    found = dataset([(columns(0, 2), 0, False)])  # IoU 0.5 exactly
    result = evaluate(truth, found, "panoptic-quality")
    assert result.per_sample is not None
    assert result.per_sample.to_pylist() == [{"key": "0.png", "pq": 0.0, "tp": 0, "fp": 1, "fn": 2}]
    assert result["SQ_st"] == 0.0


def test_void_is_not_in_the_union_and_spares_what_lies_on_it() -> None:
    truth = dataset([(columns(0, 4), 0, False)])  # the rest is void
    found = dataset([(columns(0, 8), 0, False), (columns(8, 10), 1, False)])
    result = evaluate(truth, found, "panoptic-quality")
    assert result["PQ"] == 1.0
    assert result.per_sample is not None
    assert result.per_sample["fp"].to_pylist() == [0]


def test_a_crowd_is_not_missed_and_spares_its_own_category_only() -> None:
    truth = dataset([(columns(0, 6), 0, True), (columns(6, 10), 2, False)])
    found = dataset([(columns(0, 3), 0, False), (columns(3, 6), 1, False)])
    result = evaluate(truth, found, "panoptic-quality")
    assert result.per_class is not None
    cat, dog, sky = result.per_class.to_pylist()
    assert (cat["tp"], cat["fp"], cat["fn"]) == (0, 0, 0)
    assert (dog["tp"], dog["fp"], dog["fn"]) == (0, 1, 0)
    assert (sky["tp"], sky["fp"], sky["fn"]) == (0, 0, 1)


def test_of_several_crowds_the_last_one_spares_and_corrected_all() -> None:
    crowds = [(columns(0, 4), 0, True), (columns(4, 6), 0, True), (columns(6, 10), 2, False)]
    found = dataset([(columns(0, 4), 0, False), (columns(4, 6), 0, False)])
    for mode, wrong in (("official", 1), ("corrected", 0)):
        result = evaluate(dataset(crowds), found, "panoptic-quality", parameters={"mode": mode})
        assert result.per_class is not None
        assert result.per_class["fp"].to_pylist() == [wrong, 0, 0]
        assert result.facts["mode"] == mode


def test_the_last_crowd_is_the_one_that_is_listed_last(tmp_path: Path) -> None:
    ids = np.repeat([[9, 4]], 8, axis=0).repeat(4, axis=1)  # 9 is left, and listed first
    path = panoptic_files(tmp_path / "truth", [ids], 0, crowds=False)
    content = json.loads(path.read_text())
    for segment in content["annotations"][0]["segments_info"]:
        segment |= {"iscrowd": 1, "category_id": 1}
    found = panoptic_files(tmp_path / "found", [ids], 0, crowds=False)
    guess = json.loads(found.read_text())
    for segment in guess["annotations"][0]["segments_info"]:
        segment["category_id"] = 1 if segment["id"] == 4 else 2
    found.write_text(json.dumps(guess))
    for order, wrong in ((1, 1), (-1, 0)):  # the prediction of class 1 lies on 4
        content["annotations"][0]["segments_info"].sort(key=lambda s: order * s["id"])
        path.write_text(json.dumps(content))
        result = evaluate(*(read(p, "coco_panoptic") for p in (path, found)), "panoptic-quality")
        assert result.per_class is not None
        assert result.per_class["fp"].to_pylist()[:2] == [wrong, 1]


def test_nothing_anywhere_is_undefined() -> None:
    result = evaluate(dataset([]), dataset([]), "panoptic-quality")
    assert set(result.values.values()) == {None}
    assert result.per_sample is not None
    assert result.per_sample["pq"].to_pylist() == [None]


def test_pixels_of_two_masks_are_the_first_ones_and_a_finding() -> None:
    truth = dataset([(columns(0, 10), 0, False)])
    found = dataset([(columns(0, 10), 0, False), (columns(0, 5), 1, False)])
    result = evaluate(truth, found, "panoptic-quality")
    assert result.findings.counts["overlapping-masks"] == 1
    assert result.per_class is not None
    assert result.per_class["fp"].to_pylist() == [0, 1, 0]
    assert result["SQ_th"] == pytest.approx(0.5)  # mean of cat 1 and dog 0


def test_predictions_of_another_size_are_a_finding_and_count_as_none() -> None:
    truth = dataset(*[[(columns(0, 10), 0, False)]] * 2)
    found = dataset([(np.ones((5, 5), np.int64), 0, False)], [(columns(0, 10), 0, False)])
    result = evaluate(truth, found, "panoptic-quality")
    assert result.findings.counts["mask-size-mismatch"] == 1
    assert result.per_sample is not None
    assert result.per_sample["fn"].to_pylist() == [1, 0]
    assert (result.facts["truths"], result.facts["predictions"]) == (2, 1)


def test_ids_that_no_segment_has_are_a_finding_and_no_void(tmp_path: Path) -> None:
    pictures = [np.repeat([[5, 5, 9, 9]], 4, axis=0)] * 2
    paths = [panoptic_files(tmp_path / str(i), [p], 0, False) for i, p in enumerate(pictures)]
    content = json.loads(paths[0].read_text())
    segments = content["annotations"][0]["segments_info"]
    content["annotations"][0]["segments_info"] = [s for s in segments if s["id"] == 5]
    paths[0].write_text(json.dumps(content))
    truth, found = read(paths[0], "coco_panoptic", on_error="skip"), read(paths[1], "coco_panoptic")
    result = evaluate(truth, found, "panoptic-quality")
    assert result.findings.counts["unlisted-segment"] == 1
    assert result.per_sample is not None
    assert result.per_sample.to_pylist()[0] == {
        "key": "1.jpg",
        "pq": 0.5,
        "tp": 1,
        "fp": 1,
        "fn": 0,
    }


def test_parts_change_nothing(tmp_path: Path) -> None:
    pictures = random_pictures(np.random.default_rng(9), 0.3)
    names = ("truth", "found")
    paths = [panoptic_files(tmp_path / n, p, 9, True) for n, p in zip(names, pictures, strict=True)]
    truth, found = (read(p, "coco_panoptic") for p in paths)
    expected = evaluate(truth, found, "panoptic-quality")
    parts = [*truth.select([0, 1]).parts, *truth.select([2, 3, 4, 5]).parts]
    split = Dataset(parts, truth.categories, meta=truth.meta)
    result = evaluate(split, found, "panoptic-quality")
    assert result.values == expected.values
    assert result.per_class is not None
    assert result.per_class.equals(expected.per_class)
    assert result.per_sample is not None
    assert expected.per_sample is not None
    assert result.per_sample.to_pylist() == expected.per_sample.to_pylist()


def drawn_blocks(seed: int, samples: int) -> Dataset:
    """Truth, and predictions in which some blocks belong to another segment."""
    rng = np.random.default_rng(seed)
    layers: list[list[list[Annotation]]] = [[], []]
    for _ in range(samples):
        truth = rng.integers(0, 5, (3, 4))
        noise = np.where(rng.random((3, 4)) < 0.3, rng.integers(0, 5, (3, 4)), truth)
        for rows, blocks in zip(layers, (truth, noise), strict=True):
            picture = np.kron(blocks, np.ones((5, 5), np.int64))
            rows.append([masked(picture == v, (v - 1) % 3) for v in range(1, 5)])
    return made(*layers, CATEGORIES)


def test_merging_in_any_order_gives_the_same_bits() -> None:
    data = drawn_blocks(5, 12)
    expected = in_parts(PanopticQuality(), data, [12], 0)
    for seed, sizes in enumerate(([4, 4, 4], [1, 11], [6, 1, 5])):
        assert same(in_parts(PanopticQuality(), data, sizes, seed), expected)
    assert 0 < (expected["PQ"] or 0) < 1


def test_counted_again_samples_give_the_numbers_of_those_samples() -> None:
    data = drawn_blocks(6, 9)
    result = evaluate(data, data.layer("predicted"), "panoptic-quality")
    recount = pickle.loads(pickle.dumps(result)).recount
    assert recount is not None
    assert recount.values(np.ones(9, np.int64)) == result.values
    chosen = [1, 4, 5, 8]
    some = data.select(chosen)
    alone = evaluate(some, some.layer("predicted"), "panoptic-quality")
    at = recount.keys.to_pylist()
    weights = np.array([int(k) in chosen for k in at], np.int64)
    assert recount.values(weights) == alone.values != result.values
    assert recount.values(3 * weights) == pytest.approx(alone.values)
    assert set(recount.values(0 * weights).values()) == {None}


# ------------------------------------------------------------------ against hotcoco


def random_pictures(rng: np.random.Generator, noise: float) -> tuple[list[Ids], list[Ids]]:
    """Truth and predictions: pictures of ids, 0 is void, blocks of 8 pixels."""
    truth, found = [], []
    for _ in range(6):
        blocks = rng.integers(0, 7, (6, 7)) * 1000
        other = np.where(
            rng.random(blocks.shape) < noise, rng.integers(0, 9, blocks.shape) * 777, blocks
        )
        truth.append(np.kron(blocks, np.ones((8, 8), np.int64)))
        found.append(np.kron(other, np.ones((8, 8), np.int64)))
    return truth, found


def panoptic_files(folder: Path, pictures: list[Ids], seed: int, crowds: bool) -> Path:
    """A panoptic JSON and its PNGs; the category of a segment follows from its id."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    images, annotations = [], []
    for number, ids in enumerate(pictures, 1):
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        Image.fromarray(rgb).save(folder / f"{number}.png")
        segments = []
        for value in np.unique(ids[ids > 0]).tolist():
            rows, cols = np.nonzero(ids == value)
            box = [int(cols.min()), int(rows.min()), int(np.ptp(cols)) + 1, int(np.ptp(rows)) + 1]
            segments.append(
                {
                    "id": value,
                    "category_id": 1 + value % 5,
                    "area": len(rows),
                    "bbox": box,
                    "iscrowd": int(crowds and rng.random() < 0.3),
                }
            )
        images.append({"id": number, "file_name": f"{number}.jpg", "width": 56, "height": 48})
        annotations.append(
            {"image_id": number, "file_name": f"{number}.png", "segments_info": segments}
        )
    categories = [
        {"id": i, "name": f"c{i}", "isthing": int(i < 4), "supercategory": "x"} for i in range(1, 7)
    ]
    path = folder.with_suffix(".json")
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


def reference(truth: Path, found: Path) -> dict[str, Any]:
    panoptic = pytest.importorskip("hotcoco.panoptic")
    run = panoptic.PanopticEval(str(truth), str(found))
    run.evaluate()
    return dict(run.results())


@pytest.mark.parametrize("noise", [0.1, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_hotcoco_on_random_pictures(tmp_path: Path, seed: int, noise: float) -> None:
    pictures = random_pictures(np.random.default_rng(seed), noise)
    paths = [
        panoptic_files(tmp_path / name, p, seed, crowds=name == "truth")
        for name, p in zip(("truth", "found"), pictures, strict=True)
    ]
    expected = reference(*paths)
    result = evaluate(*(read(p, "coco_panoptic") for p in paths), "panoptic-quality")
    for group, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st")):
        for name in ("PQ", "SQ", "RQ"):
            assert result[name + suffix] == pytest.approx(expected[group][name.lower()], abs=1e-12)
    assert 0 < (result["PQ"] or 0) < 1


@pytest.mark.parametrize("name", ["panoptic_sample/panoptic_examples.json", "coco128/panoptic"])
def test_real_truth_against_itself_is_one(name: str) -> None:
    truth = read(shared(name), "coco_panoptic")
    truth = truth.select(range(min(len(truth), 8)))
    result = evaluate(truth, truth, "panoptic-quality")
    assert result["PQ"] == result["PQ_th"] == result["PQ_st"] == 1.0


def test_real_truth_against_a_perturbed_copy(tmp_path: Path) -> None:
    source = shared("panoptic_sample/panoptic_examples.json")
    content = json.loads(source.read_text())
    folder = tmp_path / "perturbed"
    folder.mkdir()
    for annotation in content["annotations"]:
        pixels = np.asarray(
            Image.open(source.with_suffix("") / annotation["file_name"]).convert("RGB")
        )
        Image.fromarray(np.roll(pixels, 9, axis=1)).save(folder / annotation["file_name"])
    path = tmp_path / "perturbed.json"
    path.write_text(json.dumps(content))
    expected = reference(source, path)["All"]
    result = evaluate(
        read(source, "coco_panoptic"), read(path, "coco_panoptic"), "panoptic-quality"
    )
    assert result["PQ"] == pytest.approx(expected["pq"], abs=1e-12)
    assert 0.3 < expected["pq"] < 0.95
