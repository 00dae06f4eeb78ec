"""Turned boxes: overlaps by hand, by another algorithm, by a raster; DOTA's devkit written out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from granum.errors import UsageError
from granum.loaders.results.dota import DotaResults
from granum.metrics._detection.quads import Quads, quad_iou, turned_corners
from granum.metrics.evaluate import evaluate
from granum.metrics.obb import Obb, quadrilateral_iou
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.rows import Annotation
from granum.verbs.convert import read
from tests.metrics.boxes import CLASSES, check_parts, check_recount, pairs, random_boxes, run

Floats = npt.NDArray[np.float64]
Point = tuple[float, float]
SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])


def area(ring: list[Point]) -> float:
    after = ring[1:] + ring[:1]
    return sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(ring, after, strict=True)) / 2


def clipped_area(subject: list[Point], clip: list[Point]) -> float:
    """Sutherland and Hodgman, one polygon at a time; both go the same way round."""
    out = subject
    for a, b in zip(clip, clip[1:] + clip[:1], strict=True):
        ring, out = out, []

        def side(p: Point, a: Point = a, b: Point = b) -> float:
            return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])

        for p, q in zip(ring, ring[1:] + ring[:1], strict=True):
            if side(p) >= 0:
                out.append(p)
            if (side(p) >= 0) != (side(q) >= 0):
                t = side(p) / (side(p) - side(q))
                out.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
    return area(out) if out else 0.0


def literal_iou(a: Floats, b: Floats) -> float:
    rings = []
    for corners in (a, b):
        ring = [(float(x), float(y)) for x, y in corners]
        rings.append(ring if area(ring) > 0 else ring[::-1])
    inner = clipped_area(rings[0], rings[1])
    return inner / (area(rings[0]) + area(rings[1]) - inner)


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    return float(quadrilateral_iou([a], [b])[0, 0])


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (SQUARE, 1.0),
        (SQUARE[::-1], 1.0),  # the other way round
        (np.roll(SQUARE, 2, axis=0), 1.0),
        (SQUARE + [0.5, 0], 1 / 3),
        (SQUARE * 0.5 + 0.25, 0.25),  # inside
        (SQUARE + [1, 0], 0.0),  # touching along a side
        (SQUARE + [1, 1], 0.0),  # at a corner
        (SQUARE + [3, 3], 0.0),
        (SQUARE * 0, 0.0),
    ],
)
def test_known_overlaps(other: Floats, wanted: float) -> None:
    assert iou(SQUARE, other) == pytest.approx(wanted, abs=1e-15)
    assert iou(other, SQUARE) == pytest.approx(wanted, abs=1e-15)


@pytest.mark.parametrize("degrees", [5, 30, 45, 60, 90, 135, -45])
def test_a_square_and_itself_turned(degrees: float) -> None:
    # What they share is a regular figure of eight sides around the unit circle of diameter 1:
    # its area is 2 / (1 + sin + cos) for a square of side 1.
    angle = math.radians(degrees)
    turned = turned_corners(np.array([[0.0, 0, 1, 1]]), np.array([angle]))[0]
    inner = 2 / (1 + abs(math.sin(angle)) + abs(math.cos(angle)))
    inner = 1.0 if degrees % 90 == 0 else inner
    assert iou(SQUARE, turned) == pytest.approx(inner / (2 - inner), abs=1e-14)


def test_corners_are_those_of_the_schema() -> None:
    rng = np.random.default_rng(0)
    boxes, angles = rng.uniform(1, 50, (20, 4)), rng.uniform(-4, 4, 20)
    wanted = [
        geometry.box_to_corners(tuple(b), a) for b, a in zip(boxes.tolist(), angles, strict=True)
    ]
    assert turned_corners(boxes, angles) == pytest.approx(np.array(wanted), abs=1e-12)
    # A quarter turn clockwise on the screen: the top left corner of 4 x 2 goes to the top right.
    turned = turned_corners(np.array([[0.0, 0, 4, 2]]), np.array([math.pi / 2]))[0]
    assert turned[0] == pytest.approx([3, -1])


@pytest.mark.parametrize("far", [0.0, 30_000.0])
def test_convex_pairs_against_the_plain_algorithm(far: float) -> None:
    rng = np.random.default_rng(1)
    boxes = np.column_stack([rng.uniform(0, 20, (60, 2)), rng.uniform(3, 30, (60, 2))])
    quads = turned_corners(boxes + [far, far, 0, 0], rng.uniform(-3, 3, 60))
    quads[30:] += rng.uniform(-1, 1, (30, 4, 2))  # no rectangles any more
    got = quadrilateral_iou(quads, quads)
    for i in range(60):
        for j in range(0, 60, 3):
            wanted = literal_iou(quads[i] - far, quads[j] - far)
            assert got[i, j] == pytest.approx(wanted, abs=1e-9 if far else 1e-13)
    assert np.diag(got) == pytest.approx(np.ones(60), abs=1e-12)


def winding(quad: Floats, x: Floats, y: Floats) -> npt.NDArray[np.int64]:
    """How often an outline goes around points."""
    count = np.zeros(x.shape, np.int64)
    for (x1, y1), (x2, y2) in zip(quad, np.roll(quad, -1, axis=0), strict=True):
        left = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        count += ((y1 <= y) & (y2 > y) & (left > 0)).astype(np.int64)
        count -= ((y1 > y) & (y2 <= y) & (left < 0)).astype(np.int64)
    return count


def test_any_quadrilateral_against_a_raster() -> None:
    rng = np.random.default_rng(2)
    at = (np.arange(300) + 0.5) / 300
    x, y = np.meshgrid(at, at)
    kinds: set[tuple[int, ...]] = set()
    for number in range(60):
        a, b = rng.random((2, 4, 2))
        if number % 3:  # corners around the middle: mostly convex
            way = np.arctan2(*(b - b.mean(axis=0)).T)
            b = b[np.argsort(way)]
        times = [winding(q, x, y) for q in (a, b)]
        sizes = [float(t.mean()) for t in times]
        if min(map(abs, sizes)) < 0.1:
            continue
        inner = float((times[0] * times[1]).mean()) * np.sign(sizes[0]) * np.sign(sizes[1])
        union = abs(sizes[0]) + abs(sizes[1]) - inner
        assert iou(a, b) == pytest.approx(inner / union, abs=0.01)
        assert iou(b, a) == pytest.approx(inner / union, abs=0.01)
        pieces = np.count_nonzero(Quads.of([a, b]).sign, axis=1).tolist()
        kinds |= {tuple(pieces), tuple(pieces[::-1])}
    assert kinds == {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_blocks_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    quads = rng.random((20, 4, 2))
    whole = quadrilateral_iou(quads, quads)
    monkeypatch.setattr("granum.metrics._detection.quads._PAIRS", 7)
    assert (quadrilateral_iou(quads, quads) == whole).all()


def test_an_arrow() -> None:
    # Corners (0,0), (4,2), (0,4), (1,2): a triangle of area 8 less one of area 2.
    arrow = np.array([[0.0, 0], [4, 2], [0, 4], [1, 2]])
    for turn in range(4):
        quads = Quads.of([np.roll(arrow, turn, axis=0), [[0, 1], [1, 1], [1, 3], [0, 3]]])
        assert quads.area.tolist() == [6.0, 2.0]
        # Of the box the arrow has what lies right of y / 2 below the notch, and the same above:
        # twice the integral of 1 - y / 2 from 1 to 2.
        inner = 0.5
        got = quad_iou(quads, np.array([0]), quads, np.array([1]))[0]
        assert got == pytest.approx(inner / (8 - inner))


# ------------------------------------------------------------------ the protocol

Truth = dict[str, list[tuple[str, Floats, bool]]]
Lines = list[tuple[str, str, float, Floats]]


def devkit(truth: Truth, lines: Lines, name: str, eleven: bool, least: float) -> float | None:
    """``voc_eval`` of DOTA's task 1, step by step."""
    real = {k: [(q, d) for c, q, d in rows if c == name] for k, rows in truth.items()}
    found = {k: [False] * len(v) for k, v in real.items()}
    positives = sum(not d for v in real.values() for _, d in v)
    tp, fp = [], []
    for image, _, _, quad in sorted((r for r in lines if r[1] == name), key=lambda r: -r[2]):
        best, at = -math.inf, -1
        for j, (other, _) in enumerate(real[image]):
            overlap = literal_iou(other, quad)
            if overlap > best:
                best, at = overlap, j
        right = wrong = 0
        if best > least:
            if not real[image][at][1]:
                right, wrong = (0, 1) if found[image][at] else (1, 0)
                found[image][at] = True
        else:
            wrong = 1
        tp.append(right)
        fp.append(wrong)
    if not positives:
        return None
    hits, misses = np.cumsum(tp), np.cumsum(fp)
    recall = hits / positives
    precision = hits / np.maximum(hits + misses, np.finfo(np.float64).eps)
    if eleven:
        best_at = [max(precision[recall >= t], default=0.0) for t in np.arange(0.0, 1.1, 0.1)]
        return float(sum(p / 11 for p in best_at))
    r, p = np.array([0, *recall, 1]), np.array([0, *precision, 0])
    for i in range(len(p) - 1, 0, -1):
        p[i - 1] = max(p[i - 1], p[i])
    return float(sum((r[i + 1] - r[i]) * p[i + 1] for i in range(len(r) - 1) if r[i] != r[i + 1]))


def turn(rng: np.random.Generator, row: Annotation, real: bool) -> None:
    """A turned box, or a polygon of its corners, some of which are moved."""
    row.angle = float(rng.normal(0, 0.15))
    if real:
        row.difficult = bool(rng.random() < 0.2) or None
    if rng.random() < 0.5:
        assert row.bbox is not None
        corners = geometry.box_to_corners(row.bbox, row.angle) + rng.normal(0, 0.5, (4, 2))
        row.bbox = row.angle = None
        row.polygons = [[corners.ravel().tolist()]]
    row.score = None if real else float(rng.random())


def quad_of(row: Annotation) -> Floats:
    if row.polygons is not None:
        return np.reshape(row.polygons[0][0], (4, 2))
    assert row.bbox is not None
    return geometry.box_to_corners(row.bbox, row.angle or 0.0)


def as_files(
    truth: list[list[Annotation]], predicted: list[list[Annotation]]
) -> tuple[Truth, Lines]:
    names = [c.name for c in CLASSES]
    real = {
        f"{i:03d}": [(names[a.category or 0], quad_of(a), bool(a.difficult)) for a in rows]
        for i, rows in enumerate(truth)
    }
    lines = [
        (f"{i:03d}", names[a.category or 0], a.score or 0.0, quad_of(a))
        for i, rows in enumerate(predicted)
        for a in rows
    ]
    return real, lines


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_the_devkit(seed: int) -> None:
    truth, predicted = random_boxes(seed, turn)
    real, lines = as_files(truth, predicted)
    data = pairs(truth, predicted)
    for eleven, how in ((True, "11-point"), (False, "all-point")):
        result = run(data, "obb", interpolation=how, iou=0.6)
        wanted = [devkit(real, lines, c.name, eleven, 0.6) for c in CLASSES]
        assert result.per_class is not None
        assert result.per_class["AP"].to_pylist() == [
            None if w is None else pytest.approx(w, abs=1e-12) for w in wanted
        ]
        known = [w for w in wanted if w is not None]
        assert result["mAP"] == pytest.approx(sum(known) / len(known), abs=1e-12)


def test_eleven_points_are_the_default() -> None:
    truth, predicted = random_boxes(0, turn)
    data = pairs(truth, predicted)
    assert dict(run(data, "obb").values) == dict(run(data, "obb", interpolation="11-point").values)
    assert dict(run(data, "obb").values) != dict(run(data, "obb", interpolation="all-point").values)


def test_averaged_thresholds() -> None:
    truth, predicted = random_boxes(4, turn)
    real, lines = as_files(truth, predicted)
    result = run(pairs(truth, predicted), "obb", averaged=True)
    each = {
        t: [devkit(real, lines, c.name, True, t) for c in CLASSES[:3]]
        for t in (k / 100 for k in range(50, 100, 5))
    }
    assert all(v is not None for row in each.values() for v in row)
    means = {t: sum(v or 0.0 for v in row) / 3 for t, row in each.items()}
    assert list(result.values) == ["mAP", "AP50", "AP75"]
    assert result["AP50"] == pytest.approx(means[0.5], abs=1e-12)
    assert result["AP75"] == pytest.approx(means[0.75], abs=1e-12)
    assert result["mAP"] == pytest.approx(sum(means.values()) / 10, abs=1e-12)
    assert result.per_class is not None
    assert result.per_class.column_names[:4] == ["category", "AP", "AP50", "AP75"]


def box(x: float, y: float, w: float, h: float, **more: Any) -> Annotation:
    return Annotation(bbox=(x, y, w, h), category=more.pop("category", 0), **more)


def test_half_is_not_enough() -> None:
    truth = [[box(0, 0, 10, 10)]]
    assert run(pairs(truth, [[box(0, 0, 5, 10, score=0.9)]]), "obb")["mAP"] == 0.0
    assert run(pairs(truth, [[box(0, 0, 5.01, 10, score=0.9)]]), "obb")["mAP"] == 1.0


def test_a_case_by_hand() -> None:
    """A square turned by 45 degrees overlaps the upright one by 0.707; duplicates are wrong,
    difficult truths spare."""
    turned = math.pi / 4
    truth = [[box(0, 0, 10, 10), box(40, 0, 10, 10, difficult=True), box(80, 0, 10, 10)]]
    predicted = [
        [
            box(0, 0, 10, 10, angle=turned, score=0.9),  # right
            box(40, 0, 10, 10, angle=turned, score=0.8),  # spared
            box(0, 0, 10, 10, score=0.7),  # wrong: found before
            box(80, 0, 10, 10, score=0.6),  # right
        ]
    ]
    # Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1: 6 levels at 1, 5 at 2/3.
    assert run(pairs(truth, predicted), "obb")["mAP"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    # Above 0.707 the first is wrong, and so the third is right.
    result = run(pairs(truth, predicted), "obb", iou=0.71)
    assert result.per_sample is not None
    assert result.per_sample.select(["tp", "fp", "fn"]).to_pylist() == [{"tp": 2, "fp": 2, "fn": 0}]


def test_what_a_row_is() -> None:
    corners = geometry.box_to_corners((0, 0, 20, 4), 0.7).ravel().tolist()
    around = (-20.0, -20.0, 60.0, 60.0)
    truth = [[Annotation(category=0, polygons=[[corners]], bbox=around)]]
    same = box(0, 0, 20, 4, angle=0.7, score=0.5)
    assert run(pairs(truth, [[same]]), "obb")["mAP"] == 1.0  # the polygon, not the box around it
    truth = [[box(0, 0, 20, 4, angle=0.7, polygons=[[[0.0, 0, 1, 0, 1, 1, 0, 1]]])]]
    assert run(pairs(truth, [[same]]), "obb")["mAP"] == 1.0  # the turned box
    found = Annotation(category=0, polygons=[[[0.0, 0, 9, 0, 9, 9]]], score=0.1)
    two = Annotation(category=0, polygons=[[corners], [corners]], score=0.1)
    hole = Annotation(category=0, polygons=[[corners, corners]], score=0.1)
    result = run(pairs(truth, [[same, found, two, hole]]), "obb")
    assert result.findings.counts["missing-geometry"] == 3
    assert (result["mAP"], result.facts["predictions"]) == (1.0, 1)


def test_nothing_predicted_and_nothing_true() -> None:
    assert run(pairs([[box(0, 0, 9, 9)]], [[]]), "obb")["mAP"] == 0.0
    assert run(pairs([[]], [[box(0, 0, 9, 9, score=1.0)]]), "obb")["mAP"] is None


def test_parts_and_recounts() -> None:
    truth, predicted = random_boxes(3, turn)
    data = pairs(truth, predicted)
    for protocol in (Obb(), Obb(averaged=True), Obb(interpolation="all-point")):
        check_parts(protocol, data)
        check_recount(protocol, data, [0, 3, 4, 7, 11])


def test_parameters_are_checked() -> None:
    with pytest.raises(UsageError, match="iou is 1"):
        Obb(iou=1)
    with pytest.raises(UsageError, match="averaged"):
        Obb(iou=0.6, averaged=True)
    with pytest.raises(UsageError, match="interpolation"):
        Obb(interpolation="none")  # type: ignore[arg-type]


def test_files_of_dota_end_to_end(tmp_path: Path) -> None:
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "labelTxt" / "P1.txt").write_text(
        "imagesource:x\ngsd:0.5\n"
        "10 0 20 10 10 20 0 10 small-vehicle 0\n"  # a square on its corner
        "50 50 60 50 61 60 50 60 ship 1\n"
        "50 0 60 0 63 10 50 10 ship 0\n"
    )
    results = tmp_path / "results"
    results.mkdir()
    (results / "Task1_small-vehicle.txt").write_text(
        "P1 0.9 10 0 20 10 10 20 0 10\nP1 0.8 0 0 20 0 20 20 0 20\n"
    )
    (results / "Task1_ship.txt").write_text("P1 0.7 50 0 60 0 63 10 50 10\n")
    truth = read(tmp_path, "dota")
    findings = Findings(on_error="skip")
    found = DotaResults().read(results, truth, findings)
    assert not findings.counts
    result = evaluate(truth, found, "obb")
    assert result["mAP"] == pytest.approx(1.0)
    assert result.facts["difficult"] == 1
