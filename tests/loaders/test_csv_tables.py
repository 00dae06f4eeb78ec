"""CSV tables of boxes and classes, of several makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from tests.data import shared


def table(folder: Path, text: str, name: str = "train.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax\n1.jpg,9,8,dog,1,2,4,6\n", {}),
        ("image_name,label_name,x1,y1,w,h\n1,dog,1,2,3,4\n", {}),
        ('"image","xmin","ymin","xmax","ymax","label"\n"1.jpg",1,2,4,6,"dog"\n', {}),
        ('Image,Label,bbox\n1.jpg,dog,"[1, 2, 4, 6]"\n', {}),
        ('Image,Label,bbox\n1.jpg,dog,"1 2 3 4"\n', {"bbox_format": "xywh"}),
        ("path,x,y,width,height,category\nimages/1.jpg,1,2,3,4,dog\n", {}),
    ],
)
def test_one_box_in_six_spellings(tmp_path: Path, text: str, options: Any) -> None:
    root = table(tmp_path / "t", text)
    (root / "images").mkdir()
    (root / "images" / "1.jpg").write_bytes(b"")
    assert list(sniff(root)) == ["csv"]
    (sample,) = granum.read(root, **options)
    assert (sample.key, sample.split, sample.labels) == ("images/1.jpg", "train", ["dog"])
    assert sample.annotations[0].bbox == (1, 2, 3, 4)
    if "width,height,class" in text:
        assert sample.size == (9, 8)


def test_classes_as_columns(tmp_path: Path) -> None:
    root = table(tmp_path / "t", "filename, cat, dog\na.jpg, 1, 0\nb.jpg, 0, 1\n", "_classes.csv")
    one, two = granum.read(root)
    assert [(n, a.present) for n, a in zip(one.labels, one.annotations, strict=True)] == [
        ("cat", True), ("dog", False)
    ]  # fmt: skip
    assert [a.present for a in two.annotations] == [False, True]


def test_scores_attributes_and_images_without_anything(tmp_path: Path) -> None:
    text = "filename,class,x1,y1,x2,y2,conf,weather\na.jpg,dog,0,0,1,1,0.5,rain\nb.jpg,,,,,,,\n"
    one, two = granum.read(table(tmp_path / "t", text))
    assert one.annotations[0].score == 0.5
    assert one.annotations[0].attributes == {"weather": "rain"}
    assert two.annotations == []


def test_what_is_written_is_a_plain_table(tmp_path: Path) -> None:
    text = "filename,class,xmin,ymin,xmax,ymax,split\na.jpg,dog,1,2,4,6.5,val\nb.jpg,,,,,,val\n"
    granum.write(granum.read(table(tmp_path / "t", text)), tmp_path / "out", "csv")
    assert (tmp_path / "out" / "annotations.csv").read_text().splitlines() == [
        "filename,class,xmin,ymin,xmax,ymax,split",
        "a.jpg,dog,1,2,4,6.5,val",
        "b.jpg,,,,,,val",
    ]


@pytest.mark.parametrize("cells", ["a.jpg,dog,1,x,3,4", "a.jpg,dog,1,,3,4", ",dog,1,2,3,4"])
def test_faults_name_file_and_line(tmp_path: Path, cells: str) -> None:
    text = f"filename,class,xmin,ymin,xmax,ymax\nb.jpg,dog,1,2,3,4\n{cells}\n"
    with pytest.raises(FindingsError, match=r"train\.csv line 3"):
        granum.read(table(tmp_path / "t", text))
    assert granum.read(tmp_path / "t", on_error="skip").num_annotations == 1


def test_tables_without_a_header(tmp_path: Path) -> None:
    root = table(tmp_path / "t", "1.jpg,dog,1,2,4,6\n1.jpg,cat,0,0,1,x\n", "boxes.txt")
    findings = Findings(on_error="skip")
    names = "image,class,x1,y1,x2,y2"
    (sample,) = granum.read(
        root / "boxes.txt", "csv", header=names, on_error="skip", findings=findings
    )
    assert (sample.key, sample.labels) == ("1.jpg", ["dog"])  # the first line is a row
    assert sample.annotations[0].bbox == (1, 2, 3, 4)
    assert [(f.path, f.place) for f in findings.items] == [("boxes.txt", "line 2")]


def test_fixtures_without_a_header() -> None:
    root = shared("format_fixtures/kaggle_dataset/image_txt_det")
    named = granum.read(root / "ann.txt", "csv", header="image, class, x1, y1, x2, y2")
    plain = granum.read(root / "ann_single_obj.txt", "csv", header="image,x,y,w,h")
    assert (len(named), named.num_annotations, named.categories.num_rows) == (3, 6, 2)
    a, b = (d.annotations(["bbox"])["bbox"].to_pylist() for d in (named, plain))
    assert a == b


def test_the_fixtures() -> None:
    root = shared("format_fixtures")
    for name, counts in {
        "kaggle_dataset/image_csv_det/ann.csv": (3, 6, 2),
        "kaggle_dataset/image_csv_det/ann2.csv": (3, 6, 2),
        "kaggle_dataset/image_csv_det/ann3.csv": (3, 6, 2),
        "kaggle_dataset/image_csv/ann_wo_ext.csv": (5, 5, 2),
        "kaggle_dataset/image_csv_multi_label/ann.csv": (6, 18, 3),
        "vott_csv_dataset/dataset": (4, 5, 2),
        "vott_csv_dataset/dataset_with_meta_file": (2, 2, 2),
        "roboflow_dataset/multiclass": (3, 6, 2),
    }.items():
        assert list(sniff(root / name)) == ["csv"], name
        found = granum.read(root / name)
        read = (len(found), found.num_annotations, found.categories.num_rows)
        assert read == counts, name
    boxes = [
        granum.read(root / "kaggle_dataset/image_csv_det" / n) for n in ("ann.csv", "ann2.csv")
    ]
    a, b = (d.annotations(["bbox"])["bbox"].to_pylist() for d in boxes)
    assert a == b
