"""PASCAL VOC: the devkit's algorithm written out, cases worked by hand, real data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from granum.errors import UsageError
from granum.loaders._voc_classes import CLASSES as CLASS_NAMES
from granum.loaders.results.voc import VocResults
from granum.metrics.evaluate import evaluate
from granum.metrics.voc import Voc, voc_ap
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Sample
from granum.store.dataset import Dataset
from granum.verbs.convert import read
from tests.data import shared
from tests.metrics.boxes import CLASSES, check_parts, check_recount, pairs, random_boxes, run

Corners = tuple[float, float, float, float]


def devkit(
    truth: dict[str, list[tuple[str, Corners, bool]]],
    lines: list[tuple[str, str, float, Corners]],
    classes: list[str],
    *,
    eleven: bool = False,
    least: float = 0.5,
) -> dict[str, float | None]:
    """``VOCevaldet`` and ``VOCap`` of the development kit, step by step on its own corners."""
    out: dict[str, float | None] = {}
    for wanted in classes:
        real = {k: [(b, d) for c, b, d in rows if c == wanted] for k, rows in truth.items()}
        positives = sum(not d for rows in real.values() for _, d in rows)
        mine = sorted((r for r in lines if r[1] == wanted), key=lambda r: -r[2])
        found = {k: [False] * len(rows) for k, rows in real.items()}
        tp, fp = np.zeros(len(mine)), np.zeros(len(mine))
        for n, (image, _, _, bb) in enumerate(mine):
            most, at = -np.inf, -1
            for j, (gt, _) in enumerate(real[image]):
                wide = min(bb[2], gt[2]) - max(bb[0], gt[0]) + 1
                high = min(bb[3], gt[3]) - max(bb[1], gt[1]) + 1
                if wide > 0 and high > 0:
                    own = (bb[2] - bb[0] + 1) * (bb[3] - bb[1] + 1)
                    other = (gt[2] - gt[0] + 1) * (gt[3] - gt[1] + 1)
                    overlap = wide * high / (own + other - wide * high)
                    if overlap > most:
                        most, at = overlap, j
            if most >= least:
                if not real[image][at][1]:
                    if not found[image][at]:
                        tp[n], found[image][at] = 1, True
                    else:
                        fp[n] = 1
            else:
                fp[n] = 1
        if not positives:
            out[wanted] = None
            continue
        right, wrong = np.cumsum(tp), np.cumsum(fp)
        recall, precision = right / positives, right / np.maximum(right + wrong, 1e-300)
        if eleven:
            best = [max(precision[recall >= t], default=0) for t in np.arange(0, 1.1, 0.1)]
            out[wanted] = float(sum(best)) / 11
            continue
        r, p = np.array([0, *recall, 1]), np.array([0, *precision, 0])
        for i in range(len(p) - 2, -1, -1):
            p[i] = max(p[i], p[i + 1])
        steps = [i for i in range(1, len(r)) if r[i] != r[i - 1]]
        out[wanted] = float(sum((r[i] - r[i - 1]) * p[i] for i in steps))
    return out


def corners_of(row: Annotation) -> Corners:
    assert row.bbox is not None
    x, y, w, h = row.bbox
    return x, y, x + w, y + h


def as_files(
    truth: list[list[Annotation]], predicted: list[list[Annotation]]
) -> tuple[dict[str, Any], list[Any]]:
    """The rows as the devkit has them."""
    names = [c.name for c in CLASSES]
    real = {
        f"{i:03d}": [(names[a.category or 0], corners_of(a), bool(a.difficult)) for a in rows]
        for i, rows in enumerate(truth)
    }
    lines = [
        (f"{i:03d}", names[a.category or 0], a.score, corners_of(a))
        for i, rows in enumerate(predicted)
        for a in rows
    ]
    return real, lines


def hard(rng: np.random.Generator, row: Annotation, real: bool) -> None:
    if real:
        row.difficult = bool(rng.random() < 0.25) or None


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("interpolation", ["all-point", "11-point"])
def test_equal_to_the_devkit(seed: int, interpolation: str) -> None:
    truth, predicted = random_boxes(seed, hard)
    real, lines = as_files(truth, predicted)
    names = [c.name for c in CLASSES]
    for least in (0.5, 0.7):
        wanted = devkit(real, lines, names, eleven=interpolation == "11-point", least=least)
        result = run(pairs(truth, predicted), "voc", interpolation=interpolation, iou=least)
        assert result.per_class is not None
        got = dict(zip(names, result.per_class["AP"].to_pylist(), strict=True))
        assert got.keys() == wanted.keys()
        for name, value in wanted.items():
            assert got[name] == (None if value is None else pytest.approx(value, abs=1e-14))
        known = [v for v in wanted.values() if v is not None]
        assert result["mAP"] == pytest.approx(sum(known) / len(known), abs=1e-14)


def box(x: float, y: float, w: float, h: float, **more: Any) -> Annotation:
    return Annotation(bbox=(x, y, w, h), category=more.pop("category", 0), **more)


def test_a_pixel_more_decides() -> None:
    # Corners 0..9 and 0..4 by 0..9: 10 x 10 and 5 x 10 pixels, half of it; without the pixel
    # 9 x 9 and 4 x 9, less than half.
    data = pairs([[box(0, 0, 9, 9)]], [[box(0, 0, 4, 9, score=0.9)]])
    assert run(data, "voc")["mAP"] == 1.0
    assert run(data, "voc", inclusive=False)["mAP"] == 0.0


def test_both_ways_of_reading_a_tree_agree(tmp_path: Path) -> None:
    # xmin 11, xmax 20: as they stand x = 11, w = 9; counted from 1, x = 10, w = 10.
    xml = """<annotation><filename>a.jpg</filename><size><width>99</width><height>99</height>
      <depth>3</depth></size><object><name>cat</name><bndbox><xmin>11</xmin><ymin>11</ymin>
      <xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>"""
    (tmp_path / "tree" / "Annotations").mkdir(parents=True)
    (tmp_path / "tree" / "Annotations" / "a.xml").write_text(xml)
    (tmp_path / "comp4_det_test_cat.txt").write_text("a 0.5 11 11 15 20\n")
    values = []
    for origin, inclusive in (("keep", True), ("one", False), ("keep", False)):
        truth = read(tmp_path / "tree", "voc", box_origin=origin)
        found = VocResults().read(tmp_path, truth, Findings(on_error="skip"))
        result = evaluate(truth, found, "voc", parameters={"inclusive": inclusive})
        values.append(result["mAP"])
    assert values == [1.0, 1.0, 0.0]  # 5 x 10 of 10 x 10 pixels


def test_a_case_by_hand() -> None:
    """Two truths of three are found, by the first and the third of four detections."""
    truth = [[box(0, 0, 9, 9), box(50, 0, 9, 9)], [box(0, 0, 9, 9)]]
    predicted = [
        [
            box(0, 0, 9, 9, score=0.9),  # right
            box(1, 0, 9, 9, score=0.8),  # the same truth again: wrong
            box(50, 0, 9, 9, score=0.7),  # right
        ],
        [box(50, 50, 9, 9, score=0.6)],  # nothing there
    ]
    # Precision 1, 1/2, 2/3, 1/2 at recall 1/3, 1/3, 2/3, 2/3: 1/3 * 1 + 1/3 * 2/3.
    result = run(pairs(truth, predicted), "voc")
    assert result["mAP"] == pytest.approx(1 / 3 + 2 / 9)
    # Recalls 0 … 0.3 have 1, 0.4 … 0.6 have 2/3, the others 0.
    eleven = run(pairs(truth, predicted), "voc", interpolation="11-point")
    assert eleven["mAP"] == pytest.approx((4 + 3 * 2 / 3) / 11)
    assert result.per_sample is not None
    assert result.per_sample.to_pylist() == [
        {"key": "000", "tp": 2, "fp": 1, "fn": 0, "ap": pytest.approx(1 / 2 + 1 / 2 * 2 / 3)},
        {"key": "001", "tp": 0, "fp": 1, "fn": 1, "ap": 0.0},
    ]
    assert result.per_class is not None
    assert result.per_class.to_pylist()[0] == {
        "category": "cat",
        "AP": result["mAP"],
        "truths": 3,
        "tp": 2,
        "fp": 2,
    }
    assert result.curves["precision"].to_pydict() == {
        "category": ["cat"] * 4,
        "score": [0.9, 0.8, 0.7, 0.6],
        "recall": [1 / 3, 1 / 3, 2 / 3, 2 / 3],
        "precision": [1.0, 0.5, 2 / 3, 0.5],
    }


def test_only_the_truth_of_most_overlap_is_tried() -> None:
    # Both detections overlap both truths by half and more, and both most of all the first: the
    # second is wrong, though the second truth is still free.
    truth = [[box(0, 0, 9, 9), box(2, 0, 9, 9)]]
    predicted = [[box(0, 0, 9, 9, score=0.9), box(0, 0, 8, 9, score=0.8)]]
    result = run(pairs(truth, predicted), "voc")
    assert result["mAP"] == 0.5
    assert result.per_sample is not None
    assert result.per_sample.select(["tp", "fp", "fn"]).to_pylist() == [{"tp": 1, "fp": 1, "fn": 1}]


def test_difficult_truths_spare_what_hits_them_and_are_not_missed() -> None:
    truth = [[box(0, 0, 9, 9, difficult=True), box(50, 0, 9, 9)]]
    predicted = [
        [
            box(0, 0, 9, 9, score=0.9),
            box(0, 0, 9, 8, score=0.8),  # nor is a second one wrong
            box(50, 0, 9, 9, score=0.7),
        ]
    ]
    result = run(pairs(truth, predicted), "voc")
    assert result["mAP"] == 1.0
    assert result.facts["difficult"] == 1
    only = run(pairs([[box(0, 0, 9, 9, difficult=True)]], predicted), "voc")
    assert only["mAP"] is None
    assert only.findings.counts["undefined-number"] == 1


def test_equal_scores_go_by_key_then_row() -> None:
    right, wrong = box(0, 0, 9, 9, score=0.5), box(50, 0, 9, 9, score=0.5)
    assert run(pairs([[box(0, 0, 9, 9)]], [[right, wrong]]), "voc")["mAP"] == 1.0
    assert run(pairs([[box(0, 0, 9, 9)]], [[wrong, right]]), "voc")["mAP"] == 0.5
    names = ["b", "a"]
    samples = [
        Sample(names[0], annotations=[box(0, 0, 9, 9)], layers={"predicted": [right]}),
        Sample(names[1], layers={"predicted": [wrong]}),
    ]
    assert run(Dataset.from_rows(samples, CLASSES), "voc")["mAP"] == 0.5


def test_what_is_left_out_is_told() -> None:
    truth = [
        [
            box(0, 0, 9, 9, annotation_id=1),
            box(2, 2, 3, 3, category=1, parent=1),  # a part of it
            Annotation(category=0),  # no box
            Annotation(bbox=(0, 0, 5, 5)),  # no category
            Annotation(kind="label", category=0, present=True),
        ],
    ]
    predicted = [
        [
            box(0, 0, 9, 9, score=0.9),
            box(0, 0, 9, 9),
            box(0, 0, 9, 9, score=float("nan")),
            Annotation(bbox=(0, 0, 5, 5), score=0.1),
            box(0, 0, float("inf"), 5, score=0.3),
        ],
    ]
    result = run(pairs(truth, predicted), "voc")
    assert result["mAP"] == 1.0
    assert dict(result.findings.counts) == {
        "not-compared": 2,
        "missing-geometry": 2,
        "missing-category": 2,
        "missing-score": 1,
        "nan-score": 1,
    }
    assert (result.facts["truths"], result.facts["predictions"]) == (1, 1)


def test_unknown_samples_and_categories_are_told() -> None:
    truth = Dataset.from_rows([Sample("a", annotations=[box(0, 0, 9, 9)])], CLASSES[:1])
    other = Dataset.from_rows(
        [
            Sample(
                "a",
                annotations=[box(0, 0, 9, 9, score=0.4), box(0, 0, 9, 9, score=1.0, category=1)],
            ),
            Sample("b", annotations=[box(0, 0, 9, 9, score=1.0), box(5, 5, 9, 9, score=0.5)]),
        ],
        CLASSES[:2],
    )
    result = evaluate(truth, other, "voc")
    assert result["mAP"] == 1.0
    assert result.findings.counts["unknown-sample"] == 2
    assert result.findings.counts["unknown-category"] == 1


def test_nothing_predicted_and_nothing_true() -> None:
    nothing = run(pairs([[box(0, 0, 9, 9)]], [[]]), "voc")
    assert nothing["mAP"] == 0.0
    assert nothing.findings.counts["no-predictions"] == 1
    empty = run(pairs([[]], [[box(0, 0, 9, 9, score=1.0)]]), "voc")
    assert empty["mAP"] is None
    assert {"undefined-number", "nothing-to-compare"} <= set(empty.findings.counts)


def test_parts_and_recounts() -> None:
    truth, predicted = random_boxes(3, hard)
    data = pairs(truth, predicted)
    check_parts(Voc(), data)
    check_recount(Voc(), data, [0, 3, 4, 7, 11])
    check_recount(Voc(interpolation="11-point"), data, [1, 2, 5, 6])


def test_parameters_are_checked() -> None:
    with pytest.raises(UsageError, match="iou is 0"):
        Voc(iou=0)
    with pytest.raises(UsageError, match="interpolation is 'linear'"):
        Voc(interpolation="linear")  # type: ignore[arg-type]


def test_voc_ap_of_arrays() -> None:
    assert voc_ap([True, False, True], 4) == pytest.approx(1 / 4 + 1 / 4 * 2 / 3)
    assert voc_ap([True, False, True], 4, "11-point") == pytest.approx((3 + 3 * 2 / 3) / 11)
    assert voc_ap([], 3) == 0.0
    assert voc_ap([True], 0) is None


def test_real_detections(tmp_path: Path) -> None:
    """100 images of VOC 2012, 273 objects, 452 detections of a network."""
    root = shared("voc100")
    truth = read(root / "gts/pascalvoc_format", "voc", images=root / "images")
    classes = truth.categories["name"].to_pylist()
    real: dict[str, Any] = {}
    for sample in truth:
        rows = [a for a in sample.annotations if a.kind == "object" and a.parent is None]
        real[Path(sample.key).stem] = [
            (classes[a.category or 0], corners_of(a), bool(a.difficult)) for a in rows
        ]
    assert sum(map(len, real.values())) == 273
    lines = []
    for path in sorted((root / "dets/abs_xyx2y2").glob("*.txt")):
        for words in map(str.split, path.read_text().splitlines()):
            x1, y1, x2, y2 = map(float, words[2:])
            lines.append((path.stem, CLASS_NAMES[int(words[0])], float(words[1]), (x1, y1, x2, y2)))
    assert len(lines) == 452
    for name in CLASS_NAMES:
        mine = [(i, s, *b) for i, c, s, b in lines if c == name]
        text = "".join(" ".join(map(str, row)) + "\n" for row in mine)
        (tmp_path / f"comp4_det_val_{name}.txt").write_text(text)
    found = VocResults().read(tmp_path, truth, Findings(on_error="skip"))
    assert sum(len(s.annotations) for s in found) == 452
    for eleven in (False, True):
        wanted = devkit(real, lines, classes, eleven=eleven)
        how = "11-point" if eleven else "all-point"
        result = evaluate(truth, found, "voc", parameters={"interpolation": how})
        assert result.per_class is not None
        assert result.per_class["AP"].to_pylist() == [
            None if wanted[c] is None else pytest.approx(wanted[c], abs=1e-14) for c in classes
        ]
        assert result.facts["predictions"] == 452
    assert result["mAP"] == pytest.approx(0.6075105147, abs=1e-9)
