"""Nested regions: worked numbers, brute force, and every way regions are stored."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("scipy")

import granum
from granum.errors import FormatError, UsageError
from granum.metrics.base import Result
from granum.metrics.evaluate import evaluate
from granum.metrics.nested import (
    Nested,
    NestedImages,
    dice,
    hd95,
    surface_distances,
    violations,
)
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.volumes import read_label_volume
from tests.data import shared
from tests.metrics.groups import in_group_parts
from tests.metrics.made import dataset, in_parts, masked, same, whole

Labels = npt.NDArray[Any]

CATEGORIES = [
    rows.Category("WT"),
    rows.Category("TC"),
    rows.Category("ET", source_id="4"),
    rows.Category("NCR", source_id="1"),
    rows.Category("ED", source_id="2"),
]

# ------------------------------------------------------------------ on arrays


def border(mask: Labels) -> list[tuple[int, ...]]:
    """Elements with a direct neighbour outside, one by one."""
    found = []
    for at in np.argwhere(mask).tolist():
        for axis in range(mask.ndim):
            for step in (1, -1):
                near = [*at]
                near[axis] += step
                inside = 0 <= near[axis] < mask.shape[axis] and mask[tuple(near)]
                if not inside and tuple(at) not in found:
                    found.append(tuple(at))
    return found


def directed(a: Labels, b: Labels, spacing: Sequence[float]) -> list[float]:
    step = np.array(spacing)
    there = np.array(border(b)) * step
    return [float(np.sqrt(((np.array(p) * step - there) ** 2).sum(1)).min()) for p in border(a)]


@pytest.mark.parametrize("seed", range(12))
def test_distances_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = ((9, 11), (5, 6, 7))[seed % 2]
    spacing = rng.uniform(0.5, 3, len(shape)).tolist()
    a, b = (rng.random(shape) < rng.uniform(0.05, 0.9) for _ in range(2))
    there, back = directed(a, b, spacing), directed(b, a, spacing)
    assert np.sort(surface_distances(a, b, spacing)) == pytest.approx(np.sort(there), abs=1e-9)
    pooled = np.percentile(there + back, 95)
    assert hd95(a, b, spacing) == pytest.approx(pooled, abs=1e-9)
    larger = max(np.percentile(there, 95), np.percentile(back, 95))
    assert hd95(a, b, spacing, style="max") == pytest.approx(larger, abs=1e-9)


def test_a_distance_worked_by_hand() -> None:
    # One pixel against three in a row, two columns away: 2, and back 2, 3, 4 pixels of 0.5.
    a, b = np.zeros((3, 8), bool), np.zeros((3, 8), bool)
    a[1, 1], b[1, 3:6] = True, True
    assert surface_distances(a, b, (9, 0.5)).tolist() == [1.0]
    assert surface_distances(b, a, (9, 0.5)).tolist() == [1.0, 1.5, 2.0]
    # Of 1, 1, 1.5, 2 the place 0.95 · 3 = 2.85.
    assert hd95(a, b, (9, 0.5)) == pytest.approx(1.5 + 0.85 * 0.5)
    # Of 1, 1.5, 2 the place 1.9.
    assert hd95(a, b, (9, 0.5), style="max") == pytest.approx(1.95)
    assert hd95(a, np.zeros_like(a)) is None and hd95(a & False, a) is None
    # A mask up to the border of the image has a surface there.
    assert len(surface_distances(np.ones((4, 5)), np.ones((4, 5)))) == 14
    for wrong in ((a, b[:2], None), (a[0], b[0], None), (a, b, (1.0, 0.0)), (a, b, (1.0,))):
        with pytest.raises(UsageError):
            hd95(*wrong)


def test_dice_and_violations_worked_by_hand() -> None:
    assert dice([1, 1, 0, 0], [0, 1, 1, 1]) == 2 / 5
    assert dice([0, 0], [0, 0]) is None and dice([1, 0], [0, 0]) == 0
    # One of two outside the first, one of one outside the second: 2 of 3.
    assert violations([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]) == 2 / 3
    assert violations([[1, 1], [1, 0]]) == 0 and violations([[1, 1], [0, 0]]) is None
    with pytest.raises(UsageError):
        dice([1], [1, 0])
    with pytest.raises(UsageError):
        violations([[1], [1, 0]])


# ------------------------------------------------------------------ images

REAL = np.array([[2, 2, 2, 0], [2, 1, 4, 0], [2, 1, 4, 0]])
SAID = np.array([[2, 2, 0, 0], [2, 4, 4, 0], [1, 1, 4, 4]])
WT, TC, ET = (np.isin(REAL, v) for v in ([1, 2, 4], [1, 4], [4]))
SAID_WT, SAID_TC, SAID_ET = (np.isin(SAID, v) for v in ([1, 2, 4], [1, 4], [4]))


def scored(
    truth: list[Any], guess: list[Any], categories: Sequence[rows.Category] = CATEGORIES, **p: Any
) -> Result:
    data = dataset(truth, guess, categories)
    return evaluate(data, data.layer("predicted"), "nested-images", parameters=p)


def test_regions_of_an_image() -> None:
    result = scored([[whole(REAL)]], [[whole(SAID)]])
    assert result["dice_WT"] == 2 * 8 / (9 + 9)
    assert result["dice_TC"] == 2 * 4 / (4 + 6) and result["dice_ET"] == 2 * 2 / (2 + 4)
    assert result["dice"] == pytest.approx((16 / 18 + 0.8 + 2 / 3) / 3)
    for name, a, b in (("WT", WT, SAID_WT), ("TC", TC, SAID_TC), ("ET", ET, SAID_ET)):
        assert result[f"hd95_{name}"] == hd95(a, b)
    assert result["violation"] == 0 and result["violation_ET"] == 0
    first = result.per_class.to_pylist()[1]  # type: ignore[union-attr]
    assert first["category"] == "TC" and first["dice"] == 0.8 and first["violation"] == 0
    assert (first["shared_elements"], first["true_elements"]) == (4, 4)
    (own,) = result.per_sample.to_pylist()  # type: ignore[union-attr]
    assert own["key"] == "000" and own["dice_TC"] == 0.8 and own["hd95_ET"] == result["hd95_ET"]


def test_parts_as_masks_and_numbers_without_categories() -> None:
    expected = dict(scored([[whole(REAL)]], [[whole(SAID)]]).values)
    parts = [masked(SAID == 1, 3), masked(SAID == 2, 4), masked(SAID == 4, 2)]
    assert dict(scored([[whole(REAL)]], [parts]).values) == expected
    assert dict(scored([[whole(REAL)]], [[whole(SAID)]], []).values) == expected
    numbers = {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}
    given = scored([[whole(REAL)]], [[whole(SAID)]], [], regions=numbers)
    assert dict(given.values) == expected
    two = {"all": ["NCR", "ED", "ET"], "core": ["ET", "1"]}
    named = scored([[whole(REAL)]], [[whole(SAID)]], regions=two)
    assert named["dice_core"] == 0.8 and list(named.values)[:3] == ["dice", "dice_all", "dice_core"]


def test_masks_of_regions_may_break_containment() -> None:
    out = SAID_ET.copy()
    out[0, 3] = True
    guess = [masked(SAID_WT, 0), masked(SAID_TC, 1), masked(out, 2)]
    result = scored([[whole(REAL)]], [guess])
    assert result["dice_WT"] == 16 / 18 and result["dice_TC"] == 0.8
    assert result["dice_ET"] == 2 * 2 / (2 + 5)
    assert result["violation"] == 1 / (6 + 5)
    assert result["violation_TC"] == 0 and result["violation_ET"] == 1 / 5
    # Only ET: by itself a part, of which TC and WT are made; or, if asked, the region alone.
    alone = [masked(SAID_ET, 2)]
    assert scored([[whole(REAL)]], [alone])["violation_ET"] == 0
    asked = scored([[whole(REAL)], [masked(WT, 0)]], [alone, []], masks="regions")
    assert asked.findings.counts["not-compared"] == 1  # the label map of the truth
    result = scored([[masked(WT, 0), masked(TC, 1), masked(ET, 2)]], [alone], masks="regions")
    assert result["violation_ET"] == 1 and result["dice_WT"] == 0


def test_empty_regions() -> None:
    none = np.where(REAL == 4, 1, REAL)
    result = scored([[whole(none)], [whole(none)]], [[whole(none)], [whole(REAL)]])
    assert result["dice_ET"] == 0.5 and result["hd95_ET"] == 373.12866 / 2
    table = {r["category"]: r for r in result.per_class.to_pylist()}  # type: ignore[union-attr]
    assert table["ET"]["both_empty"] == 1 and table["ET"]["one_empty"] == 1
    one = scored([[whole(none)]], [[whole(REAL)]], penalty=7.0)
    assert one["dice_ET"] == 0 and one["hd95_ET"] == 7
    left = scored([[whole(none)], [whole(none)]], [[whole(none)], [whole(REAL)]], empty="undefined")
    assert left["dice_ET"] == 0 and left["hd95_ET"] is None and left["hd95"] is None
    assert left.findings.counts["undefined-number"] == 2  # hd95, hd95_ET
    missing = scored([[whole(REAL)]], [[]])
    assert missing["dice"] == 0 and missing["violation"] is None
    assert missing.findings.counts["no-predictions"] == 1


def test_faults_are_findings() -> None:
    good, bad = [whole(REAL)], [rows.Annotation(map=rows.LabelMap(bytes=b"no image"))]
    small = [whole(SAID[:2])]
    result = scored([good, good, bad, good, []], [[whole(SAID)], bad, good, small, good])
    counts = result.findings.counts
    assert result.facts["samples_scored"] == 1 and result["dice_TC"] == 0.8
    assert counts["broken-media"] == 2 and counts["mask-size-mismatch"] == 1
    assert counts["no-truth"] == 1
    odd = [whole(np.where(SAID == 2, 77, SAID)), rows.Annotation(category=2, bbox=(0, 0, 1, 1))]
    result = scored([good], [odd])
    assert result.findings.counts["unknown-category"] == 1
    assert result.findings.counts["missing-geometry"] == 1
    assert result["dice_TC"] == 0.8 and result["dice_WT"] < 16 / 18  # type: ignore[operator]
    result = scored([good], [[*good, masked(ET, 2, ignore=True)]])
    assert result.findings.counts["not-compared"] == 1 and result["dice"] == 1


def test_parameters_are_checked() -> None:
    for wrong in (
        *({"hd95": "x"}, {"empty": "x"}, {"masks": "x"}, {"regions": {}}, {"regions": {"a": 3}}),
        *({"spacing": (1, 2, 3)}, {"spacing": (1, 0)}),
    ):
        with pytest.raises(UsageError):
            NestedImages(**wrong)
    with pytest.raises(UsageError, match="outermost"):
        scored([[whole(REAL)]], [[]], regions={"ET": [4], "WT": [1, 2, 4]})
    with pytest.raises(UsageError, match="'XX'"):
        scored([[whole(REAL)]], [[]], regions={"a": ["XX"]})
    wide = scored([[whole(REAL)]], [[whole(SAID)]], spacing=(2.0, 5.0))
    assert wide["hd95_ET"] == hd95(ET, SAID_ET, (5, 2))


# ------------------------------------------------------------------ volumes


def nifti(path: Path, values: Labels) -> Path:
    """Values of shape (z, y, x) as a NIfTI-1 file."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, *values.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 4, 16)
    struct.pack_into("<8f", head, 76, 1, 1, 1, 3, 0, 0, 0, 0)
    struct.pack_into("<f", head, 108, 352)
    head[344:348] = b"n+1\0"
    data = bytes(head) + values.astype("<i2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def volumes(seed: int, n: int) -> tuple[Labels, Labels]:
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, 4], (n, 3, 4, 5))
    return truth, np.where(rng.random(truth.shape) < 0.7, truth, rng.choice([0, 1, 2], truth.shape))


def sliced(truth: Labels, guess: Labels, spacing: Any = (1.0, 1.0, 3.0)) -> Dataset:
    """Slices of volumes as images, with their label maps."""
    samples = [
        rows.Sample(
            f"v{v}/{z}",
            group=v,
            order=z,
            attributes={"spacing": list(spacing)} if spacing else None,
            annotations=[whole(truth[v, z])],
            layers={"predicted": [whole(guess[v, z])]},
        )
        for v in range(len(truth))
        for z in range(truth.shape[1])
    ]
    groups = [rows.Group(f"v{v}", "volume") for v in range(len(truth))]
    return Dataset.from_rows(samples, CATEGORIES, groups)


def expected_of(truth: Labels, guess: Labels) -> dict[str, float]:
    out = {}
    for name, parts in {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]}.items():
        pairs = [(np.isin(a, parts), np.isin(b, parts)) for a, b in zip(truth, guess, strict=True)]
        dices = [dice(a, b) for a, b in pairs]
        far = [hd95(a, b, (3, 1, 1)) for a, b in pairs]
        out[f"dice_{name}"] = sum(d for d in dices if d is not None) / len(dices)
        out[f"hd95_{name}"] = sum(d for d in far if d is not None) / len(far)
    return out


def test_slices_of_a_group_are_a_volume() -> None:
    truth, guess = volumes(0, 3)
    data = sliced(truth, guess)
    result = evaluate(data, data.layer("predicted"), "nested")
    for name, value in expected_of(truth, guess).items():
        assert result[name] == pytest.approx(value), name
    assert result.facts["volumes_scored"] == 3 and result.facts["predictions"] == 9
    table = result.per_sample.to_pylist()  # type: ignore[union-attr]
    assert len(table) == 9 and table[0]["dice_WT"] == table[2]["dice_WT"]
    plain = sliced(truth, guess, None)
    flat = evaluate(plain, plain.layer("predicted"), "nested", parameters={"spacing": [1, 1, 3]})
    assert dict(flat.values) == dict(result.values)
    odd = sliced(truth, guess, (1.0, 0.0, 3.0))
    assert evaluate(odd, odd.layer("predicted"), "nested").findings.counts["bad-value"] == 3


def test_slices_are_matched_by_their_order() -> None:
    truth, guess = volumes(1, 1)
    data = sliced(truth, guess)
    rest = [
        rows.Sample(f"p/{z}", group=0, order=z, annotations=[whole(guess[0, z % 3])])
        for z in (2, 0, 5)
    ]
    other = Dataset.from_rows(rest, CATEGORIES, [rows.Group("v0", "volume")])
    result = evaluate(data, other, "nested")
    assert result.findings.counts["unknown-sample"] == 1
    cut = guess.copy()
    cut[0, 1] = 0
    for name, value in expected_of(truth, cut).items():
        assert result[name] == pytest.approx(value), name


def test_volumes_in_files(tmp_path: Path) -> None:
    truth, guess = volumes(2, 2)
    for side, both in (("gt", truth), ("dt", guess)):
        for v, values in enumerate(both):
            for part in ("flair", "t1", "t1ce", "t2"):
                nifti(tmp_path / side / f"c{v}" / f"c{v}_{part}.nii.gz", values * 0)
            nifti(tmp_path / side / f"c{v}" / f"c{v}_seg.nii.gz", values)
    sides = [granum.read(tmp_path / side, "brats", numbering="2018") for side in ("gt", "dt")]
    result = evaluate(*sides, "nested")
    for name, value in expected_of(truth, guess).items():
        assert result[name] == pytest.approx(value), name
    assert len(result.per_sample) == 8  # type: ignore[arg-type]
    # The same prediction, numbered as in 2023: categories say what is what.
    for v, values in enumerate(guess):
        nifti(tmp_path / "dt" / f"c{v}" / f"c{v}_seg.nii.gz", np.where(values == 4, 3, values))
    later = granum.read(tmp_path / "dt", "brats", numbering="2023")
    assert dict(evaluate(sides[0], later, "nested").values) == dict(result.values)
    (tmp_path / "dt/c0/c0_seg.nii.gz").write_bytes(b"damaged")
    broken = evaluate(sides[0], later, "nested")
    assert broken.findings.counts["broken-media"] == 1 and broken.facts["volumes_scored"] == 1


def test_label_volumes_are_read_slices_first(tmp_path: Path) -> None:
    values = np.arange(24).reshape(2, 3, 4)
    nifti(tmp_path / "a.nii", values)
    np.save(tmp_path / "b.npy", values[None].astype(np.float32))
    for name in ("a.nii", "b.npy"):
        assert np.array_equal(read_label_volume(rows.LabelMap(name), str(tmp_path)), values)
    np.save(tmp_path / "c.npy", values + 0.5)
    np.save(tmp_path / "d.npy", values[0])
    np.save(tmp_path / "e.npy", np.array([{}], object))
    for name, message in (("c", "whole"), ("d", "no label volume"), ("e", "no array"), ("f", "no")):
        with pytest.raises(FormatError, match=message):
            read_label_volume(rows.LabelMap(f"{name}.npy"), str(tmp_path))


def test_parts_in_any_order_and_choices_of_volumes() -> None:
    truth, guess = volumes(3, 6)
    data = sliced(truth, guess)
    said = data.layer("predicted")
    one = in_group_parts(Nested(), data, said, [0, 6], 0)
    for seed, cuts in enumerate(([0, 1, 4, 6], [0, 2, 3, 5, 6])):
        assert same(one, in_group_parts(Nested(), data, said, cuts, seed))
    assert one.recount is not None and one.recount.unit == "group"
    assert dict(one.recount.values(np.ones(6, np.int64))) == dict(one.values)
    chosen = np.array([1, 0, 0, 1, 1, 0])
    few = sliced(truth[chosen > 0], guess[chosen > 0])
    part = evaluate(few, few.layer("predicted"), "nested")
    assert dict(one.recount.values(chosen)) == dict(part.values)
    images = dataset([[whole(v[0])] for v in truth], [[whole(v[0])] for v in guess], CATEGORIES)
    whole_set = in_parts(NestedImages(), images, [6], 0)
    assert same(whole_set, in_parts(NestedImages(), images, [1, 3, 2], 1))
    assert whole_set.recount is not None and whole_set.recount.unit == "sample"


def test_the_fixtures_of_brats() -> None:
    for name in ("brats_dataset", "brats_numpy_dataset"):
        found = granum.read(shared(f"format_fixtures/{name}"), "brats")
        result = evaluate(found, found, "nested")
        assert result["dice"] == 1 and result["hd95"] == 0
        table = result.per_class.to_pylist()  # type: ignore[union-attr]
        if name == "brats_dataset":
            # Of its two cases one has labels: edema 1, non-enhancing 2, enhancing 3.
            assert [r["true_elements"] for r in table] == [5, 2, 0]
            assert result.findings.counts["no-truth"] == 1 and table[2]["both_empty"] == 1
        else:
            assert result.facts["volumes_scored"] == 2
