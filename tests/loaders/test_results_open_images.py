"""Results of the Open Images challenges: boxes and masks, faults with file and line."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import granum
from granum.errors import FormatError, SizeUnknownError
from granum.loaders.results.base import results
from granum.loaders.results.open_images import OpenImagesResults, mask_text
from granum.metrics.evaluate import evaluate
from granum.schema import geometry
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Rle, Sample
from granum.store.dataset import Dataset

CATEGORIES = [Category("Car", source_id="/m/0k4j"), Category("Dog", source_id="/m/0bt9lr")]
TRUTH = Dataset.from_rows(
    [Sample("00aa", unit="relative"), Sample("00bb", unit="relative")], CATEGORIES
)
HEAD = "ImageID,LabelName,Score,XMin,XMax,YMin,YMax\n"


def read(path: Path, truth: Dataset = TRUTH) -> tuple[Dataset, Findings]:
    findings = Findings(on_error="skip")
    return OpenImagesResults().read(path, truth, findings), findings


def written(folder: Path, text: str) -> Path:
    path = folder / "predictions.csv"
    path.write_text(text)
    return path


def faults(findings: Findings) -> list[tuple[str, str, str | None]]:
    return [(f.code, f.path, f.place) for f in findings.items]


def test_boxes_are_xmin_xmax_ymin_ymax(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        HEAD + "00bb,/m/0k4j,0.5,0.25,0.5,0.125,0.25\n"
        "00aa,Dog,0.75,0,1,0,1\n"  # by name, too
        "00bb,/m/0bt9lr,1,0,0.5,0,0.5\n",
    )
    found, findings = read(path)
    assert not findings.items
    first, second = found
    assert [(a.category, a.score, a.bbox) for a in first.annotations] == [(1, 0.75, (0, 0, 1, 1))]
    assert [(a.kind, a.category, a.score, a.bbox) for a in second.annotations] == [
        ("object", 0, 0.5, (0.25, 0.125, 0.25, 0.125)),
        ("object", 1, 1.0, (0, 0, 0.5, 0.5)),
    ]
    assert found.samples(["unit"])["unit"].to_pylist() == ["relative"] * 2


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "YMax,YMin,XMax,XMin,IsGroupOf,Conf,ImageID,LabelName\n0.5,0.25,1,0.5,0,0.9,00aa,/m/0k4j\n",
    )
    assert OpenImagesResults().sniff(path)
    found, _ = read(path)
    (one,) = next(iter(found)).annotations
    assert (one.score, one.bbox) == (0.9, (0.5, 0.25, 0.5, 0.25))


def test_truth_in_pixels(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "00aa,/m/0k4j,0.5,0.25,0.5,0.5,1\n")
    truth = Dataset.from_rows([Sample("00aa", width=200, height=100)], CATEGORIES)
    (one,) = next(iter(read(path, truth)[0])).annotations
    assert one.bbox == (50.0, 50.0, 50.0, 50.0)
    with pytest.raises(SizeUnknownError):
        read(path, Dataset.from_rows([Sample("00aa")], CATEGORIES))


def test_sniffing(tmp_path: Path) -> None:
    assert OpenImagesResults().sniff(written(tmp_path, HEAD))
    assert results["open_images"] is OpenImagesResults
    found, findings = read(tmp_path / "predictions.csv")
    assert (sum(len(s.annotations) for s in found), len(findings.items)) == (0, 0)
    for text in ("", "ImageID,LabelName,Score\n", "a,b\n1,2\n"):
        assert not OpenImagesResults().sniff(written(tmp_path, text))
    # Of the truth's own files.
    boxes = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n"
    assert not OpenImagesResults().sniff(written(tmp_path, boxes))
    with pytest.raises(FormatError, match="XMin"):
        read(tmp_path / "predictions.csv")
    assert not OpenImagesResults().sniff(tmp_path / "absent.csv")
    with pytest.raises(FormatError, match="cannot be read"):
        read(tmp_path / "absent.csv")


def test_faults_are_told_with_their_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        HEAD + "00aa,/m/0k4j,0.5,0,1,0,1\n"
        "00aa,/m/0xxx,0.5,0,1,0,1\n"
        "00cc,/m/0k4j,0.5,0,1,0,1\n"
        "00aa,/m/0k4j,nan,0,1,0,1\n"
        "00aa,/m/0k4j,0.5,0,inf,0,1\n"
        "00aa,/m/0k4j,,0,1,0,1\n"
        "00aa,/m/0k4j,much,0,1,0,1\n"
        "00aa,/m/0k4j,0.5\n",
    )
    found, findings = read(path)
    assert sum(len(s.annotations) for s in found) == 1
    assert sorted(faults(findings)) == [
        ("bad-value", "predictions.csv", "line 8"),
        ("bad-value", "predictions.csv", "line 9"),
        ("missing-key", "predictions.csv", "line 7"),
        ("nan-box", "predictions.csv", "line 6"),
        ("nan-score", "predictions.csv", "line 5"),
        ("unknown-category", "predictions.csv", "line 3"),
        ("unknown-sample", "predictions.csv", "line 4"),
    ]


# ------------------------------------------------------------------ masks

MASK_HEAD = "ImageID,ImageWidth,ImageHeight,LabelName,Score,Mask\n"


def packed(mask: np.ndarray) -> str:
    """As the page of the challenge does it."""
    counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return base64.b64encode(zlib.compress(counts, zlib.Z_BEST_COMPRESSION)).decode()


def drawn(left: int, right: int) -> np.ndarray:
    mask = np.zeros((8, 16), bool)
    mask[2:4, left:right] = True
    return mask


def test_masks(tmp_path: Path) -> None:
    path = written(tmp_path, MASK_HEAD + f"00bb,16,8,/m/0k4j,0.5,{packed(drawn(2, 6))}\n")
    assert OpenImagesResults().sniff(path)
    found, findings = read(path)
    assert not findings.items
    (one,) = list(found)[1].annotations
    assert one.rle is not None
    assert (tuple(one.rle.size), one.rle.form) == ((8, 16), "compressed")
    assert (geometry.rle_decode(one.rle.size, one.rle.counts) == drawn(2, 6)).all()
    assert one.bbox == (0.125, 0.25, 0.25, 0.25)
    again = zlib.decompress(base64.b64decode(mask_text(one.rle.counts)))
    assert again == one.rle.counts


def test_faulty_masks(tmp_path: Path) -> None:
    good = packed(drawn(2, 6))
    lines = [
        f"00aa,16,8,/m/0k4j,0.5,{good}",
        "00aa,16,8,/m/0k4j,0.5,***",  # no base64
        f"00aa,16,8,/m/0k4j,0.5,{base64.b64encode(b'plain').decode()}",  # no zlib
        f"00aa,16,9,/m/0k4j,0.5,{good}",  # of another size
        f"00aa,16.5,8,/m/0k4j,0.5,{good}",
        f"00aa,0,8,/m/0k4j,0.5,{good}",
        f"00aa,16,8,/m/0k4j,0.5,{mask_text(b'~~~')}",  # no RLE
        f"00aa,16,8,/m/0k4j,0.5,{base64.b64encode(zlib.compress(b'0' * 99)[:-6]).decode()}",
        f"00zz,16,8,/m/0k4j,0.5,{good}",
        "00aa,16,8,/m/0k4j,0.5,",
    ]
    found, findings = read(written(tmp_path, MASK_HEAD + "\n".join(lines) + "\n"))
    assert sum(len(s.annotations) for s in found) == 1
    assert sorted(faults(findings)) == [
        *[("bad-value", "predictions.csv", f"line {n}") for n in (3, 4, 5, 6, 7, 8, 9)],
        ("missing-key", "predictions.csv", "line 11"),
        ("unknown-sample", "predictions.csv", "line 10"),
    ]


def test_masks_and_boxes_end_to_end(tmp_path: Path) -> None:
    size, counts = geometry.encode_mask(drawn(2, 6))
    row = Annotation(category=0, rle=Rle(size, counts), bbox=(0.125, 0.25, 0.25, 0.25))
    truth = Dataset.from_rows([Sample("00aa", unit="relative", annotations=[row])], CATEGORIES)
    # 4 of 8 pixels: half.
    for right, wanted in ((4, 1.0), (3, 0.0)):
        path = written(tmp_path, MASK_HEAD + f"00aa,16,8,/m/0k4j,0.5,{packed(drawn(2, right))}\n")
        found, _ = read(path, truth)
        for compared in ("mask", "box"):
            result = evaluate(truth, found, "open-images", parameters={"compared": compared})
            assert result["mAP"] == wanted


def test_a_tree_and_a_file_of_results(tmp_path: Path) -> None:
    """What the reader of Open Images makes of boxes, labels, groups and the hierarchy is what the
    protocol goes by."""
    folder = tmp_path / "tree" / "annotations"
    folder.mkdir(parents=True)
    (folder / "class-descriptions-boxable.csv").write_text(
        "/m/animal,Animal\n/m/cat,Cat\n/m/dog,Dog\n"
    )
    cat, dog = {"LabelName": "/m/cat"}, {"LabelName": "/m/dog"}
    animal = {"LabelName": "/m/animal", "Subcategory": [cat, dog]}
    hierarchy = {"LabelName": "/m/0bl9f", "Subcategory": [animal]}
    (folder / "bbox_labels_600_hierarchy.json").write_text(json.dumps(hierarchy))
    (folder / "validation-annotations-bbox.csv").write_text(
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
        "IsDepiction,IsInside\n"
        "000000000000000a,xclick,/m/cat,1,0,0.5,0,0.5,0,0,0,0,0\n"
        "000000000000000a,xclick,/m/cat,1,0.5,1,0.5,1,0,0,1,0,0\n"
    )
    (folder / "validation-annotations-human-imagelabels.csv").write_text(
        "ImageID,Source,LabelName,Confidence\n"
        "000000000000000a,verification,/m/cat,1\n"
        "000000000000000b,verification,/m/animal,0\n"
    )
    (folder / "validation-annotations-machine-imagelabels.csv").write_text(
        "ImageID,Source,LabelName,Confidence\n000000000000000a,machine,/m/dog,0.9\n"
    )
    path = written(
        tmp_path,
        HEAD + "000000000000000a,/m/cat,0.9,0,0.5,0,0.5\n"  # right
        "000000000000000a,/m/cat,0.5,0.6,0.8,0.6,0.8\n"  # in the group: right once
        "000000000000000a,/m/cat,0.4,0.6,0.8,0.6,0.7\n"  # in the group: not counted
        "000000000000000a,/m/dog,0.8,0,0.5,0,0.5\n"  # what a machine says verifies nothing
        "000000000000000b,/m/cat,0.7,0,0.5,0,0.5\n",  # no animal, so no cat: wrong
    )
    truth = granum.read(tmp_path / "tree", "open_images")
    found, findings = read(path, truth)
    assert not findings.items
    result = evaluate(truth, found, "open-images")
    assert result.per_class is not None
    # Cat: right, wrong, right of 2; animal: nothing detected of 2.
    assert dict(
        zip(
            result.per_class["category"].to_pylist(),
            result.per_class["AP"].to_pylist(),
            strict=True,
        )
    ) == {
        "Animal": 0.0,
        "Cat": pytest.approx(1 / 2 + 1 / 2 * 2 / 3),
        "Dog": None,
    }
    assert result.facts["unverified_predictions"] == 1
