"""BraTS, from volumes written byte by byte, and the fixtures."""

from __future__ import annotations

import gzip
import json
import math
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import granum
from granum.errors import FindingsError, FormatError, UsageError
from granum.loaders.brats import NUMBERINGS, nested
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.store.nifti import read_header, read_volume
from granum.testing.suite import ReaderSuite
from tests.data import shared

MODALITIES = ("flair", "t1", "t1ce", "t2")
# x runs fastest: the first three numbers are y = 0.
LABELS = [0, 1, 2, 4, 4, 0]


def nifti(
    path: Path,
    shape: Sequence[int],
    values: Sequence[float] = (),
    *,
    code: int = 4,
    kind: str = "h",
    order: str = "<",
    changes: Sequence[tuple[int, str, Sequence[float]]] = (),
) -> Path:
    """A NIfTI-1 file by the offsets of nifti1.h; ``changes`` are (offset, type, numbers)."""
    head = bytearray(352)

    def put(at: int, form: str, *numbers: Any) -> None:
        struct.pack_into(f"{order}{len(numbers)}{form}", head, at, *numbers)

    put(0, "i", 348)
    put(40, "h", len(shape), *shape, *[1] * (7 - len(shape)))
    put(70, "h", code)
    put(72, "h", struct.calcsize(kind) * 8)
    put(76, "f", 1.0, 1.0, 1.5, 3.0, 0.0, 0.0, 0.0, 0.0)
    put(108, "f", 352.0)
    head[344:348] = b"n+1\0"
    for at, form, numbers in changes:
        put(at, form, *numbers)
    listed = list(values) or [7] * math.prod(shape)
    data = bytes(head) + struct.pack(f"{order}{len(listed)}{kind}", *listed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def folders(root: Path) -> Path:
    for name in MODALITIES:
        nifti(root / f"HGG/Brats18_A_1/Brats18_A_1_{name}.nii.gz", (3, 2, 1))
    nifti(root / "HGG/Brats18_A_1/Brats18_A_1_seg.nii.gz", (3, 2, 1), LABELS)
    return root


def decathlon(root: Path, facts: dict[str, Any] | None = None) -> Path:
    nifti(root / "imagesTr/BRATS_001.nii.gz", (3, 2, 1, 4))
    nifti(root / "imagesTr/._BRATS_001.nii.gz", (1, 1))  # what an archiver leaves
    nifti(root / "labelsTr/BRATS_001.nii.gz", (3, 2, 1), [0, 1, 2, 3, 3, 0])
    nifti(root / "imagesTs/BRATS_002.nii.gz", (3, 2, 1, 4))
    if facts is not None:
        (root / "dataset.json").write_text(json.dumps(facts))
    return root


FACTS = {
    "name": "BRATS",
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {
        "0": "background",
        "1": "edema",
        "2": "non-enhancing tumor",
        "3": "enhancing tumour",
    },
}


class TestBrats(ReaderSuite):
    name = "brats"

    def make(self, folder: Path) -> Path:
        return decathlon(folder / "data", FACTS)


# ------------------------------------------------------------------ volumes


@pytest.mark.parametrize("order", "<>")
def test_a_header_in_either_byte_order(tmp_path: Path, order: str) -> None:
    path = nifti(tmp_path / "a.nii", (3, 2, 1), LABELS, order=order)
    values, header = read_volume(path)
    assert (header.shape, header.spacing) == ((3, 2, 1), (1.0, 1.5, 3.0))
    # x runs fastest: values[x, y, z].
    assert values[:, 0, 0].tolist() == [0, 1, 2] and values[:, 1, 0].tolist() == [4, 4, 0]
    assert header.affine == [[1, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 3, 0]]


def test_sform_and_qform(tmp_path: Path) -> None:
    rows = [-1.0, 0.0, 0.0, 120.0], [0.0, -1.0, 0.0, 119.0], [0.0, 0.0, 1.0, -3.0]
    flat = [v for row in rows for v in row]
    path = nifti(tmp_path / "s.nii", (2, 2, 2), changes=[(252, "h", [0, 1]), (280, "f", flat)])
    assert read_header(path).affine == [*map(list, rows)]
    # A quarter turn about z: (0, 0, sin 45°). x goes along y, y against x.
    half = math.sqrt(0.5)
    turned = [(252, "h", [1, 0]), (256, "f", [0.0, 0.0, half, 5.0, 6.0, 7.0])]
    affine = read_header(nifti(tmp_path / "q.nii", (2, 2, 2), changes=turned)).affine
    expected = [[0, -1.5, 0, 5], [1, 0, 0, 6], [0, 0, 3, 7]]
    assert np.allclose(affine, expected, atol=1e-6)


def test_scaled_values(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", (2, 1, 1), [3, 4], changes=[(112, "f", [0.5, 10.0])])
    assert read_volume(path)[0].ravel().tolist() == [11.5, 12.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, "i", [540]), "348"),
        ((40, "h", [9]), "dimensions"),
        ((42, "h", [-3]), "dimensions"),
        ((40, "h", [3, 32000, 32000, 32000]), "refused"),
        ((70, "h", [128]), "type 128"),
        ((108, "f", [float("nan")]), "begin at nan"),
        ((80, "f", [float("inf")]), "not finite"),
        ((344, "B", [110, 105, 49]), "single-file"),
    ],
)
def test_bad_headers(tmp_path: Path, change: Any, message: str) -> None:
    path = nifti(tmp_path / "a.nii.gz", (2, 1, 1), changes=[change])
    with pytest.raises(FormatError, match=message):
        read_header(path)


def test_short_and_broken_files(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz", (3, 2, 1), [1, 2])
    with pytest.raises(FormatError, match="ends after 356 of 364"):
        read_volume(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FormatError, match="decompressed"):
        read_header(path)


# ------------------------------------------------------------------ regions


def test_regions_are_nested_by_hand() -> None:
    values = np.array(LABELS)
    found = nested(values, NUMBERINGS["2018"])
    assert found["WT"].tolist() == [False, True, True, True, True, False]
    assert found["TC"].tolist() == [False, True, False, True, True, False]
    assert found["ET"].tolist() == [False, False, False, True, True, False]
    # The same tumour, numbered by the decathlon: edema 1, non-enhancing 2, enhancing 3.
    other = nested(np.array([0, 2, 1, 3, 3, 0]), NUMBERINGS["msd"])
    assert all((other[r] == found[r]).all() for r in ("WT", "TC", "ET"))


def test_folders_of_cases(tmp_path: Path) -> None:
    root = folders(tmp_path)
    assert list(sniff(root)) == ["brats"]
    found = granum.read(root, numbering="2018")
    assert [(s.row.role, s.row.order) for s in found] == [
        ("t1", 0),
        ("t1c", 1),
        ("t2", 2),
        ("flair", 3),
    ]
    one = found[1].row
    assert one.key == "HGG/Brats18_A_1/Brats18_A_1_t1ce.nii.gz" == one.media.path
    assert (one.width, one.height, one.depth, one.media_kind) == (3, 2, 1, "volume")
    assert one.attributes["spacing"] == [1.0, 1.5, 3.0]
    (group,) = found.groups.to_pylist()
    assert (group["key"], group["kind"]) == ("Brats18_A_1", "series")
    assert group["attributes"] == '{"grade": "HGG"}'
    (label,) = found.annotations().to_pylist()
    assert (label["sample"], label["group"]) == (None, 0)
    assert label["map"]["path"] == "HGG/Brats18_A_1/Brats18_A_1_seg.nii.gz"
    assert label["map"]["value"] is None and label["map"]["space"] == "object"
    categories = found[0].categories
    assert [(c.name, c.source_id) for c in categories] == [
        ("WT", None),
        ("TC", None),
        ("ET", "4"),
        ("NCR", "1"),
        ("ED", "2"),
    ]
    above = [(c.parents or [{"index": None, "relation": None}])[0] for c in categories]
    assert [p["index"] for p in above] == [None, 0, 1, 1, 0]
    assert {p["relation"] for p in above[1:]} == {"part_of"}
    options = json.loads(found.sources["options"][0].as_py())
    assert options["numbering"] == {"NCR": 1, "ED": 2, "ET": 4}


def test_numbers_are_not_guessed(tmp_path: Path) -> None:
    root = folders(tmp_path)
    with pytest.raises(UsageError, match=r"--numbering 2018\|2023\|msd"):
        granum.read(root)
    with pytest.raises(FindingsError, match=r"seg\.nii\.gz: the numbering .* has no 4"):
        granum.read(root, numbering="2023", open_media=True)
    skipped = granum.read(root, numbering="2023", open_media=True, on_error="skip")
    assert not skipped.num_annotations
    fixed = granum.read(root, numbering="2023", open_media=True, on_error="fix")
    assert fixed.num_annotations == 1 and fixed[0].categories[-1].source_id == "4"
    assert granum.read(root, numbering="2018", open_media=True).num_annotations == 1


def test_names_of_2023(tmp_path: Path) -> None:
    case = tmp_path / "BraTS-GLI-00001-000"
    for word in ("t1n", "t1c", "t2w", "t2f", "seg"):
        nifti(case / f"BraTS-GLI-00001-000-{word}.nii.gz", (2, 2, 2))
    found = granum.read(tmp_path, numbering="2023")
    assert [s.row.role for s in found] == ["t1", "t1c", "t2", "flair"]
    assert found.groups["key"].to_pylist() == ["BraTS-GLI-00001-000"]


def test_the_decathlon_names_modalities_and_numbers(tmp_path: Path) -> None:
    found = granum.read(decathlon(tmp_path, FACTS))
    assert [(s.key, s.split) for s in found][3:5] == [
        ("imagesTr/BRATS_001.nii.gz#t2", "train"),
        ("imagesTs/BRATS_002.nii.gz#flair", "test"),
    ]
    assert [s.row.role for s in found][:4] == ["flair", "t1", "t1c", "t2"]
    assert [s.row.attributes["channel"] for s in found] == [0, 1, 2, 3] * 2
    assert {s.row.media.path for s in found} == {
        "imagesTr/BRATS_001.nii.gz",
        "imagesTs/BRATS_002.nii.gz",
    }
    assert [c.source_id for c in found[0].categories] == [None, None, "3", "2", "1"]
    # What the file says and what was asked for differ: it is told, and what was asked for counts.
    findings = Findings()
    other = granum.read(tmp_path, numbering="2023", findings=findings)
    assert [(f.code, f.path) for f in findings.items] == [("conflicting-records", "dataset.json")]
    assert [c.source_id for c in other[0].categories] == [None, None, "3", "1", "2"]


def test_modalities_are_not_guessed(tmp_path: Path) -> None:
    root = decathlon(tmp_path)
    found = granum.read(root, numbering="msd")
    assert [(s.key, s.row.role, s.row.channels) for s in found] == [
        ("imagesTr/BRATS_001.nii.gz", None, 4),
        ("imagesTs/BRATS_002.nii.gz", None, 4),
    ]
    named = granum.read(root, numbering="msd", modalities="flair,t1,t1c,t2")
    assert [s.row.role for s in named] == ["flair", "t1", "t1c", "t2"] * 2
    with pytest.raises(FindingsError, match=r"BRATS_001.*4 channels, but 2 names"):
        granum.read(root, numbering="msd", modalities="flair,t1")
    with pytest.raises(UsageError, match="names of modalities"):
        granum.read(root, numbering="msd", modalities="t1,t1")


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    root = folders(tmp_path / "a")
    case = root / "HGG/Brats18_A_1"
    nifti(case / "Brats18_A_1_t2.nii.gz", (3, 3, 1))
    nifti(case / "Brats18_A_1_seg.nii.gz", (3, 2, 2))
    (case / "Brats18_A_1_flair.nii.gz").write_bytes(b"no gzip")
    (case / "Brats18_A_1_t1.nii.gz").unlink()
    (case / "survival.nii").write_bytes(b"")
    findings = Findings("skip")
    found = granum.read(root, numbering="2018", on_error="skip", findings=findings)
    assert {(f.code, f.path.rpartition("_")[2]) for f in findings.items} == {
        ("size-mismatch", "t2.nii.gz"),
        ("mask-size-mismatch", "seg.nii.gz"),
        ("broken-media", "flair.nii.gz"),
        ("incomplete-group", "flair.nii.gz"),
        ("file-not-read", "1/survival.nii"),
    }
    assert found[-1].row.width is None
    root = decathlon(tmp_path / "b", FACTS)
    nifti(root / "labelsTr/BRATS_009.nii.gz", (3, 2, 1))
    (root / "labelsTr/BRATS_001.nii.gz").unlink()
    findings = Findings("skip")
    granum.read(root, on_error="skip", findings=findings)
    assert {(f.code, f.path) for f in findings.items} == {
        ("missing-labels", "imagesTr/BRATS_001.nii.gz"),
        ("orphan-image", "labelsTr/BRATS_009.nii.gz"),
    }
    (root / "dataset.json").write_text("{")
    with pytest.raises(FormatError, match=r"dataset\.json"):
        granum.read(root)


def arrays(root: Path, ids: object) -> Path:
    root.mkdir()
    for name in ("H1", "H2"):
        np.save(root / f"{name}_data_cropped.npy", np.ones((1, 4, 2, 3, 5)))
        np.save(root / f"{name}_label_cropped.npy", np.zeros((1, 2, 3, 5)))
    (root / "val_ids.p").write_bytes(pickle.dumps(ids))
    (root / "labels").write_text("overall tumor\nnecrotic tumor\nedema\nenhancing tumor\n")
    return root


def test_cropped_arrays(tmp_path: Path) -> None:
    root = arrays(tmp_path / "a", ["H1", "H2"])
    (root / "val_brain_bbox.p").write_bytes(pickle.dumps(np.arange(12).reshape(2, 2, 3)))
    found = granum.read(root)
    one = found[1].row
    assert (one.key, one.split, one.channels) == ("H2_data_cropped.npy", "val", 4)
    assert (one.width, one.height, one.depth) == (5, 3, 2)
    boxes = [json.loads(a)["brain_bbox"] for a in found.groups["attributes"].to_pylist()]
    assert boxes == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    findings = Findings("skip")
    granum.read(root, open_media=True, findings=findings)
    assert findings.counts == {"empty-mask": 2}


def test_bad_arrays(tmp_path: Path) -> None:
    root = arrays(tmp_path / "a", ["H1", "../H2", "H1", "H3"])
    np.save(root / "H1_label_cropped.npy", np.zeros((2, 3)))
    (root / "val_brain_bbox.p").write_bytes(pickle.dumps([1]))
    findings = Findings("skip")
    found = granum.read(root, on_error="skip", findings=findings)
    assert len(found) == 2
    assert {(f.code, f.path, f.place) for f in findings.items} == {
        ("bad-value", "val_ids.p", "[1]"),
        ("duplicate-row", "val_ids.p", "[2]"),
        ("file-missing", "H3_data_cropped.npy", None),
        ("missing-labels", "H3_data_cropped.npy", None),
        ("broken-media", "H1_label_cropped.npy", None),
        ("bad-value", "val_brain_bbox.p", None),
    }
    (root / "val_ids.p").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(FormatError, match=r"val_ids\.p.*os\.system"):
        granum.read(root)


# ------------------------------------------------------------------ fixtures


def test_the_decathlon_fixture() -> None:
    root = shared("format_fixtures/brats_dataset")
    assert list(sniff(root)) == ["brats"]
    found = granum.read(root, modalities="flair,t1,t1c,t2", open_media=True)
    assert (len(found), found.num_annotations, found.groups.num_rows) == (8, 1, 2)
    assert {(s.row.width, s.row.height, s.row.depth) for s in found} == {(1, 5, 2)}
    # Its file ``labels`` says: edema 1, non-enhancing 2, enhancing 3.
    assert [c.source_id for c in found[0].categories] == [None, None, "3", "2", "1"]
    values, _ = read_volume(root / "labelsTr/BRATS_001.nii.gz")
    regions = nested(values, NUMBERINGS["msd"])
    assert {r: int(m.sum()) for r, m in regions.items()} == {"WT": 5, "TC": 2, "ET": 0}


def test_the_fixture_of_arrays() -> None:
    root = shared("format_fixtures/brats_numpy_dataset")
    assert list(sniff(root)) == ["brats"]
    found = granum.read(root, open_media=True)
    assert (len(found), found.num_annotations) == (2, 2)
    assert [s.row.channels for s in found] == [4, 4]
    assert {(s.row.width, s.row.height, s.row.depth) for s in found} == {(1, 5, 2)}
    # ``labels``: necrotic 1, edema 2, enhancing 3.
    assert [c.source_id for c in found[0].categories] == [None, None, "3", "1", "2"]
    box = json.loads(found.groups["attributes"][0].as_py())["brain_bbox"]
    assert box == [[1, 1, 1], [2, 2, 2]]
