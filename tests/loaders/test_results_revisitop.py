"""Files of ranks and of polygons of pairs, read beside a truth made by hand."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FormatError
from granum.loaders.results import _ranks
from granum.loaders.results.base import results
from granum.metrics.evaluate import evaluate
from granum.metrics.retrieval import mean_average_precision
from granum.schema.findings import Findings
from granum.store.dataset import Dataset
from tests.metrics.retrieved import ok_and_junk

GND: list[dict[str, Any]] = [
    {"bbx": [0, 0, 5, 5], "easy": [0, 2], "hard": [5], "junk": [3]},
    {"bbx": [0, 0, 5, 5], "easy": [], "hard": [1], "junk": []},
]
IMAGES = 6


@pytest.fixture
def truth(tmp_path: Path) -> Dataset:
    root = tmp_path / "truth"
    root.mkdir()
    names = [f"x{i}" for i in range(IMAGES)]
    held = {"imlist": names, "qimlist": ["q0", "q1"], "gnd": GND}
    (root / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(held))
    labels = {}
    for q, i in ((0, 0), (0, 2), (0, 5), (1, 1)):
        shape = {"points": [[1, 1], [9, 1], [9, 5], [1, 5]]}
        (root / f"{q}_{i}.json").write_text(json.dumps({"shapes": [shape]}))
        labels[f"{q}_{i}"] = f"{q}_{i}.json"
    np.save(root / "oxford_pair2labelpath.npy", np.array(labels, object), allow_pickle=True)
    (root / "revisitop1m").mkdir()
    (root / "revisitop1m" / "revisitop1m.txt").write_text("d0.jpg\nd1.jpg\n")
    return granum.read(root)


def read(form: str, path: Path, truth: Dataset) -> tuple[Dataset, Findings]:
    findings = Findings(on_error="skip")
    return results[form]().read(path, truth, findings), findings


def saved(path: Path, array: Any) -> Path:
    np.save(path, np.array(array))
    return path


RANKS = np.array([[3, 2, 6, 0, 4, 5, 1, 7], [1, 0, 2, 3, 4, 5, 6, 7]]).T


def numbers(found: Dataset, truth: Dataset) -> dict[str, float | None]:
    return dict(evaluate(truth, found, "retrieval").values)


def official() -> list[float | None]:
    """mAP of Easy, Medium and Hard from the ranks themselves."""
    return [mean_average_precision(RANKS, ok_and_junk(GND, p)).mean for p in "EMH"]


def test_ranks(tmp_path: Path, truth: Dataset) -> None:
    path = saved(tmp_path / "ranks.npy", RANKS)
    found, findings = read("revisitop", path, truth)
    assert not findings.counts
    values = numbers(found, truth)
    assert [values[f"mAP_{p}"] for p in "EMH"] == official()
    assert values["mAP_E"] == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)  # 2, d0, 0 after junk
    (query,) = [s for s in found if s.key == "query/q0"]
    first = query.annotations[0]
    at = {a.annotation_id: s.key for s in found for a in s.annotations if a.kind == "label"}
    assert (first.kind, first.score, at[first.object]) == ("relation", 0.0, "jpg/x3.jpg")
    assert "revisitop1m/jpg/d0.jpg" in at.values()


def test_negatives_beyond_the_first_ranks_are_left_out(
    tmp_path: Path, truth: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ranks, "KEPT", 1)
    found, _ = read("revisitop", saved(tmp_path / "r.npy", RANKS), truth)
    kept = [a for s in found for a in s.annotations if a.kind == "relation"]
    assert len(kept) == 5  # 3, 2, 0, 5 of the first query, 1 of the second
    values = numbers(found, truth)
    assert [values[f"mAP_{p}"] for p in "EMH"] == official()


def test_numbers_of_no_image_are_told(tmp_path: Path, truth: Dataset) -> None:
    path = saved(tmp_path / "r.npy", [[8, 1], [0, -1]])  # there are 6 images and 2 distractors
    found, findings = read("revisitop", path, truth)
    assert findings.counts["unknown-sample"] == 2
    assert [(f.path, f.place) for f in findings.items] == [("r.npy", "[0, 0]"), ("r.npy", "[1, 1]")]
    assert numbers(found, truth)["mAP_E"] == 0.25 / 2  # image 0 at rank 1, of two


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (RANKS.T, "it is turned"),
        (RANKS[:, :1], r"of shape \(8, 1\) for 2 queries"),
        (RANKS.astype(float), "whole numbers"),
        ([1, 2], "whole numbers"),
    ],
)
def test_no_ranks_of_this_truth(tmp_path: Path, truth: Dataset, array: Any, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        read("revisitop", saved(tmp_path / "r.npy", array), truth)


def test_a_truth_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="roles query and database"):
        read("revisitop", saved(tmp_path / "r.npy", RANKS), Dataset.from_rows([]))


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, ("made",)


def test_a_hostile_pickle_runs_nothing(
    tmp_path: Path, truth: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    held = np.array({"qimlist_0_imlist_0": Hostile()}, object)
    np.save("bad.npy", held, allow_pickle=True)
    for form, said in (("revisitop", "no table of ranks"), ("pixel_retrieval", "mkdir")):
        with pytest.raises(FormatError, match=said):
            read(form, tmp_path / "bad.npy", truth)
    assert not (tmp_path / "made").exists()


# ------------------------------------------------------------------ polygons


def polygons(folder: Path, pairs: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / "proxford.npy", np.array(pairs, object), allow_pickle=True)
    return folder


# Points are y, x: columns 1..9, rows 1..5, as the truth.
DRAWN = [[1, 1], [1, 9], [5, 9], [5, 1]]


def test_polygons_and_ranks(tmp_path: Path, truth: Dataset) -> None:
    pairs = {
        "qimlist_0_imlist_0": DRAWN,
        "qimlist_0_imlist_2": [],
        "qimlist_0_imlist_5": np.array(DRAWN, float),
        "qimlist_1_imlist_1": [(a, b / 3) for a, b in DRAWN],
    }
    folder = polygons(tmp_path / "found", pairs)
    saved(folder / "roxford.npy", RANKS)
    found, findings = read("pixel_retrieval", folder, truth)
    assert not findings.counts
    objects = {s.key: a.polygons for s in found for a in s.annotations if a.kind == "object"}
    assert objects["jpg/x5.jpg"] == [[[1, 1, 9, 1, 9, 5, 1, 5]]]
    result = evaluate(truth, found, "pixel-retrieval")
    assert result.facts["pairs_without_prediction"] == 1
    assert result.facts["queries_skipped"] == []  # keys tell no collection, and there are 2 queries
    # Raster of side 9: columns 1 to 8 of 5 rows; 0 to 3 of the second query, 15 of 45 pixels.
    assert result["mIoU_box_H"] == pytest.approx((1 + 15 / 45) / 2)
    assert result["mIoU_box_M"] == pytest.approx((1 + 15 / 45) / 2)
    # Without junk 2, 6, 0, 4, 5: relevant are 0 and 5, at ranks 2 and 4; the second query has none.
    steps = (0 + 1 / 3) / 2, (1 / 4 + 2 / 5) / 2
    assert result["mAP_M"] == pytest.approx(sum(steps) / 2)


def test_polygons_alone(tmp_path: Path, truth: Dataset) -> None:
    folder = polygons(tmp_path / "found", {"qimlist_0_imlist_5": DRAWN})
    found, _ = read("pixel_retrieval", folder / "proxford.npy", truth)
    result = evaluate(truth, found, "pixel-retrieval")
    assert result["mIoU_mask_H"] == 0.5 and result["mAP_H"] is None


def test_faults_of_polygons(tmp_path: Path, truth: Dataset) -> None:
    pairs = {
        "qimlist_0_imlist_0": [1, 2, 3],
        "qimlist_0_imlist_2": [[1, float("nan")]],
        "qimlist_0_imlist_5": "text",
        "qimlist_9_imlist_0": DRAWN,
        "0_1": DRAWN,
    }
    found, findings = read("pixel_retrieval", polygons(tmp_path / "found", pairs), truth)
    assert findings.counts == {"bad-value": 4, "unknown-sample": 1}
    assert {(f.path, f.place) for f in findings.items} == {("proxford.npy", key) for key in pairs}
    result = evaluate(truth, found, "pixel-retrieval")
    assert result.facts["pairs_failing"] == 3


def test_which_files_are_taken(tmp_path: Path, truth: Dataset) -> None:
    folder = polygons(tmp_path / "found", {"qimlist_0_imlist_5": DRAWN})
    ranks = saved(folder / "roxford.npy", RANKS)
    pixel, image = results["pixel_retrieval"](), results["revisitop"]()
    assert pixel.sniff(folder) and pixel.sniff(folder / "proxford.npy")
    assert image.sniff(ranks) and not image.sniff(folder)
    assert not pixel.sniff(ranks) and not image.sniff(folder / "proxford.npy")
    assert not pixel.sniff(tmp_path / "absent") and not image.sniff(tmp_path / "absent.npy")
    saved(folder / "rparis.npy", RANKS)
    with pytest.raises(FormatError, match="2 of ranks"):
        read("pixel_retrieval", folder, truth)
    with pytest.raises(FormatError, match="0 files of polygons"):
        read("pixel_retrieval", tmp_path, truth)
