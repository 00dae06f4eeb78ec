"""Images in folders: class folders, metadata files, ImageNet lists."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import granum
from granum.errors import FindingsError, FormatError
from granum.loaders.base import formats
from granum.schema.findings import Findings
from granum.store.dataset import Dataset
from tests.data import shared
from tests.loaders.pictures import tree


def seen(ds: Dataset) -> dict[str, tuple[str | None, list[str | None]]]:
    """Split and class names of each key."""
    return {s.key: (s.split, s.labels) for s in ds}


# ---------------------------------------------------------------------- folders


def test_classes_below_splits(tmp_path: Path) -> None:
    tree(tmp_path, "train/dog/1.jpg", "train/cat/deep/2.jpg", "val/cat/1.jpg", "train/3.jpg")
    (tmp_path / "train" / "owl").mkdir()
    ds = granum.read(tmp_path)
    assert ds.category_names() == ["cat", "dog", "owl"]
    assert {c["space"] for c in ds.categories.to_pylist()} == {"object"}
    assert seen(ds) == {
        "train/3.jpg": ("train", []),
        "train/cat/deep/2.jpg": ("train", ["cat"]),
        "train/dog/1.jpg": ("train", ["dog"]),
        "val/cat/1.jpg": ("val", ["cat"]),
    }
    (label,) = ds["val/cat/1.jpg"].annotations
    assert (label.kind, label.present) == ("label", None)
    assert ds.meta.media_root == str(tmp_path)
    assert ds["train/dog/1.jpg"].size == (8, 6)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # Two folders are classes.
        (["cat/1.png", "dog/1.png"], {"cat/1.png": (None, ["cat"]), "dog/1.png": (None, ["dog"])}),
        # One is not, and containers are not.
        (["cat/1.png"], {"cat/1.png": (None, [])}),
        (
            ["images/1.png", "Photos/2.png"],
            {"Photos/2.png": (None, []), "images/1.png": (None, [])},
        ),
        # A folder named "test" beside a class is a class.
        (
            ["cat/1.png", "test/1.png"],
            {"cat/1.png": (None, ["cat"]), "test/1.png": (None, ["test"])},
        ),
        # Splits alone have no classes.
        (["Train/1.png", "dev/2.png"], {"Train/1.png": ("Train", []), "dev/2.png": ("dev", [])}),
        # A folder of other files is no class.
        (
            ["a/1.png", "b/1.png", "docs/x.pdf"],
            {"a/1.png": (None, ["a"]), "b/1.png": (None, ["b"])},
        ),
        # Hidden files and copies of folders made by archivers are none of ours.
        ([".t/a.png", "__MACOSX/a.png", "1.png"], {"1.png": (None, [])}),
    ],
)
def test_rules_for_folders(
    tmp_path: Path, names: list[str], expected: dict[str, tuple[str | None, list[str]]]
) -> None:
    assert seen(granum.read(tree(tmp_path, *names), "image_folder")) == expected


def test_labels_may_be_switched_off(tmp_path: Path) -> None:
    ds = granum.read(tree(tmp_path, "a/1.png", "b/2.png"), labels=False)
    assert (len(ds), ds.num_annotations, ds.categories.num_rows) == (2, 0, 0)


def test_other_files_are_told(tmp_path: Path) -> None:
    findings = Findings()
    tree(tmp_path, "a/1.png", "b/2.png", notes_xml="<a/>", README_md="x", LICENSE_txt="y")
    ds = granum.read(tmp_path, "image_folder", findings=findings)
    assert len(ds) == 2
    assert [(f.code, f.path) for f in findings.items] == [("file-not-read", "notes.xml")]


def test_links_to_folders_are_told(tmp_path: Path) -> None:
    """A link may lead anywhere, also to itself: it is not followed, and that is said."""
    tree(tmp_path / "d", "a/1.png", "b/2.png")
    (tmp_path / "d" / "c").symlink_to(tmp_path / "d")
    (tmp_path / "d" / "a" / "3.png").symlink_to(tmp_path / "d" / "a" / "1.png")
    findings = Findings()
    ds = granum.read(tmp_path / "d", "image_folder", findings=findings)
    assert ds.samples()["key"].to_pylist() == ["a/1.png", "a/3.png", "b/2.png"]
    assert [(f.code, f.path) for f in findings.items] == [("file-not-read", "c")]


def test_fixtures() -> None:
    """Counts of Datumaro's fixtures."""
    root = shared("format_fixtures")
    ds = granum.read(root / "imagenet_dataset")
    assert seen(ds) == {
        "label_0/label_0_1.jpg": (None, ["label_0"]),
        "label_0_2.jpg": (None, []),
        "label_1/label_1_1.jpg": (None, ["label_1"]),
        "label_1/label_1_1/label_1_1.jpg": (None, ["label_1"]),
    }
    ds = granum.read(root / "imagenet_subsets_dataset")
    assert (len(ds), ds.num_annotations) == (12, 9)
    assert {s: len(d) for s, d in ds.split().items()} == {"test": 4, "train": 4, "val": 4}
    assert ds.counts() == {"label_0": 3, "label_1": 6}
    ds = granum.read(root / "image_dir_dataset")
    assert (len(ds), ds.num_annotations) == (2, 0)


def test_recognises_only_its_own() -> None:
    """Of all fixtures only folders of nothing but images, and lists with class names."""
    root = shared("format_fixtures")
    for name in ("hf", "image_folder"):
        format_ = formats[name]()
        found = {p.name for p in root.iterdir() if format_.sniff(p)}
        assert found == (
            {"image_dir_dataset", "imagenet_dataset", "imagenet_subsets_dataset"}
            | {"synthetic_dataset"}
            if name == "image_folder"
            else set()
        )
        for other in ("coco128", "voc100", "taco", "magnetic_tile", "mot15_det", "panoptic_sample"):
            assert format_.sniff(shared(other)) is None
    assert formats["image_folder"]().sniff(root / "imagenet_txt_dataset" / "basic")


@pytest.mark.parametrize(
    "names",
    [
        ["images/1.png", "masks/1.png"],
        ["a/1.jpg", "a/1.png"],
        ["a/1.png", "b/x.json"],
        ["a/1.png", "labels.csv"],
        ["a/1.png", "b/1.txt"],
        ["HR/1.png", "LR/1.png"],
        ["leftImg8bit/a/1.png", "gtFine/a/1.png"],
    ],
)
def test_leaves_other_trees_alone(tmp_path: Path, names: list[str]) -> None:
    assert formats["image_folder"]().sniff(tree(tmp_path, *names)) is None


# ---------------------------------------------------------------------- ImageNet lists


def test_imagenet_lists(tmp_path: Path) -> None:
    tree(
        tmp_path,
        *("images/1.jpg", "images/a b.jpg", "images/3.jpg"),
        train_txt='1.jpg 2\n"a b.jpg" 0 2\n\n',
        synsets_txt="cat\ndog\nowl\n",
    )
    findings = Findings()
    ds = granum.read(tmp_path, findings=findings)
    assert seen(ds) == {
        "images/1.jpg": ("train", ["owl"]),
        "images/a b.jpg": ("train", ["cat", "owl"]),
    }
    assert ds.category_names() == ["cat", "dog", "owl"]
    assert [(f.code, f.path) for f in findings.items] == [("unlisted-image", "images/3.jpg")]


def test_faults_in_imagenet_lists(tmp_path: Path) -> None:
    lines = "1.jpg 0\n2.jpg 5\ngone.jpg 0\n../1.jpg 0\n1.jpg 0\nnothing\n"
    tree(tmp_path, "images/1.jpg", "images/2.jpg", val_txt=lines, synsets_txt="cat\n")
    with pytest.raises(FindingsError) as raised:
        granum.read(tmp_path)
    found = {(f.code, f.place) for f in raised.value.findings.items}
    assert found == {
        ("unknown-class", "line 2"),
        ("file-missing", "line 3"),
        ("bad-value", "line 4"),
        ("duplicate-key", "line 5"),
        ("bad-value", "line 6"),
    }
    assert {f.path for f in raised.value.findings.items} == {"val.txt"}
    fixed = granum.read(tmp_path, on_error="fix")
    assert fixed["images/2.jpg"].labels == ["5"]
    assert len(fixed) == 4


def test_fixtures_of_lists() -> None:
    root = shared("format_fixtures/imagenet_txt_dataset")
    with pytest.raises(FindingsError) as raised:
        granum.read(root / "basic")
    assert [(f.code, f.place) for f in raised.value.findings.items] == [
        ("file-missing", "line 3"),
        ("file-missing", "line 4"),
    ]
    ds = granum.read(root / "basic", on_error="skip")
    assert [s.labels for s in ds] == [["label_0"], ["label_5"], ["label_3"], ["label_5"]]
    assert len(ds.category_names()) == 10
    ds = granum.read(
        root / "custom_labels", "image_folder", on_error="skip", synsets="synsets-alt.txt"
    )
    assert [s.labels for s in ds] == [["alt_label_0"]]
    assert len(ds.category_names()) == 10
    ds = granum.read(root / "no_labels", "image_folder", on_error="skip")
    assert [(s.labels, ds.categories["source_id"][0].as_py()) for s in ds] == [(["4"], "4")]


# ---------------------------------------------------------------------- metadata

GOLDEN = (
    '{"file_name": "0001.png", "text": "a red square", "width": 8, "height": 6, "iso": 100, '
    '"objects": {"bbox": [[302.0, 109.0, 73.0, 52.0], [1, 2, 3, 4]], "categories": [0, 1], '
    '"area": [3796.0, 12], "iscrowd": [0, 1], "id": [7, 8]}}\n'
    '{"file_name": "sub/0002.png", "text": null, "width": 8, "height": 6, "iso": null, '
    '"objects": {"bbox": [], "categories": []}}\n'
)


def test_json_lines_by_hand(tmp_path: Path) -> None:
    """The example of the documentation, and more columns."""
    tree(tmp_path, "train/0001.png", "train/sub/0002.png", train__metadata_jsonl=GOLDEN)
    ds = granum.read(tmp_path)
    assert ds.samples()["key"].to_pylist() == ["train/0001.png", "train/sub/0002.png"]
    assert ds.samples()["split"].to_pylist() == ["train", "train"]
    assert ds.samples()["attr.iso"].to_pylist() == [100, None]
    first = ds[0].annotations
    assert [a.kind for a in first] == ["object", "object", "caption"]
    assert [a.bbox for a in first[:2]] == [(302, 109, 73, 52), (1, 2, 3, 4)]
    assert [a.area for a in first[:2]] == [3796, 12]
    assert [a.crowd for a in first[:2]] == [False, True]
    assert [a.source_id for a in first[:2]] == ["7", "8"]
    assert first[2].text == "a red square"
    assert ds.categories.select(["name", "source_id"]).to_pylist() == [
        {"name": "0", "source_id": "0"},
        {"name": "1", "source_id": "1"},
    ]
    assert ds[1].annotations == []
    assert ds[0].image().getpixel((0, 0)) == (0, 0, 0)


def test_csv_by_hand(tmp_path: Path) -> None:
    """Types are told from the text of a column; objects are JSON."""
    text = (
        "file_name,label,caption,number,code,share,good,objects\n"
        'a.png,cat,"one, two",1,007,0.5,true,"{""bbox"": [[1,2,3,4]], ""category"": [""dog""]}"\n'
        "b.png,dog,,,008,,FALSE,\n"
    )
    tree(tmp_path, "a.png", "b.png", metadata_csv=text)
    ds = granum.read(tmp_path)
    assert ds.category_names() == ["cat", "dog"]
    assert [s.labels for s in ds] == [["dog", "cat", None], ["dog"]]
    assert [a.text for a in ds[0].annotations] == [None, None, "one, two"]
    assert ds[0].row.attributes == {"number": 1, "code": "007", "share": 0.5, "good": True}
    assert ds[1].row.attributes == {"code": "008", "good": False}


def test_parquet_by_hand(tmp_path: Path) -> None:
    tree(tmp_path, "a.png")
    table = pa.table({"file_name": ["a.png"], "label": ["cat"], "caption": [["x", "y"]]})
    pq.write_table(table, tmp_path / "metadata.parquet")
    assert formats["hf"]().sniff(tmp_path) is None
    ds = granum.read(tmp_path)
    assert [(a.kind, a.text) for a in ds[0].annotations] == [
        ("label", None),
        ("caption", "x"),
        ("caption", "y"),
    ]


def test_box_format(tmp_path: Path) -> None:
    line = '{"file_name": "a.png", "objects": {"bbox": [[10, 20, 40, 60]], "category": ["x"]}}\n'
    tree(tmp_path, "a.png", metadata_jsonl=line)
    ds = granum.read(tmp_path, bbox_format="xyxy")
    assert ds[0].boxes().tolist() == [[10, 20, 30, 40]]
    options = json.loads(ds.sources["options"][0].as_py())
    assert options == {"bbox_format": "xyxy", "caption": None}


def test_further_images(tmp_path: Path) -> None:
    line = (
        '{"file_name": "a.png", "depth_file_name": "d/a.png", '
        '"view_file_names": ["v1.png", "v2.png"], "label": "cat"}\n'
    )
    tree(tmp_path, "a.png", "d/a.png", "v1.png", "v2.png", metadata_jsonl=line)
    ds = granum.read(tmp_path)
    rows = ds.samples(["key", "role", "order", "group"]).to_pylist()
    assert [tuple(r.values()) for r in rows] == [
        ("a.png", "image", None, 0),
        ("a.png:depth", "depth", None, 0),
        ("a.png:view:0", "view", 0, 0),
        ("a.png:view:1", "view", 1, 0),
    ]
    assert [m["path"] for m in ds.samples()["media"].to_pylist()] == [
        *("a.png", "d/a.png", "v1.png", "v2.png"),
    ]
    assert [s.labels for s in ds] == [["cat"], [], [], []]


def test_images_and_records_that_do_not_meet(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "a.png",
        "more.png",
        metadata_jsonl='{"file_name": "a.png"}\n{"file_name": "b.png"}\n',
    )
    with pytest.raises(FindingsError) as raised:
        granum.read(tmp_path)
    assert [(f.code, f.path, f.place) for f in raised.value.findings.items] == [
        ("file-missing", "metadata.jsonl", "line 2"),
        ("unlisted-image", "more.png", None),
    ]
    ds = granum.read(tmp_path, on_error="skip")
    assert ds.samples()["key"].to_pylist() == ["a.png", "b.png", "more.png"]


def test_faulty_json_lines(tmp_path: Path) -> None:
    lines = [
        '{"file_name": "a.png", "label": "x"}',
        '{"file_name": "b.png", "label": ',
        "[1, 2]",
        '{"file_name": "../../etc/passwd"}',
        '{"file_name": "/etc/passwd"}',
        '{"label": "x"}',
        '{"file_name": "a.png", "label": "y"}',
        '{"file_name": "c.png", "score": NaN}',
        '{"file_name": "d.png", "objects": {"bbox": [[1, 2, 3, 4], ["a"]]}}',
        '{"file_name": "b.png", "lab',
    ]
    tree(tmp_path, "a.png", "b.png", "c.png", "d.png", metadata_jsonl="\n".join(lines))
    with pytest.raises(FindingsError) as raised:
        granum.read(tmp_path)
    found = [(f.code, f.place) for f in raised.value.findings.items if f.severity == "error"]
    assert sorted(found, key=lambda f: int(str(f[1]).split()[1])) == [
        ("bad-value", "line 2"),
        ("bad-value", "line 3"),
        ("bad-value", "line 4"),
        ("bad-value", "line 5"),
        ("missing-key", "line 6"),
        ("duplicate-key", "line 7"),
        ("nan-token", "line 8"),
        ("bad-value", "line 9"),
        ("truncated-json", "line 10"),
    ]
    kept = granum.read(tmp_path, on_error="skip")
    assert seen(kept)["a.png"] == (None, ["x"])
    fixed = granum.read(tmp_path, on_error="fix")
    assert seen(fixed)["a.png#2"] == (None, ["y"])
    assert fixed["c.png"].row.attributes is None
    # Nothing outside of the folder is ever named.
    assert all(m is None or "etc" not in m["path"] for m in fixed.samples()["media"].to_pylist())


def test_values_of_mixed_types_are_kept_as_json(tmp_path: Path) -> None:
    lines = '{"file_name": "a.png", "v": 1}\n{"file_name": "b.png", "v": {"w": ["x"]}}\n'
    ds = granum.read(tree(tmp_path, "a.png", "b.png", metadata_jsonl=lines))
    assert [s.row.attributes for s in ds] == [{"v": 1}, {"v": {"w": ["x"]}}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,label\na.png,x\n", "line 1.*file_name"),
        ("", "line 1.*empty"),
        ("file_name,a,a\n", "two columns have one name"),
        ('file_name,a\na.png,"x', "no CSV"),
    ],
)
def test_unreadable_csv(tmp_path: Path, text: str, reason: str) -> None:
    tree(tmp_path, "a.png", metadata_csv=text)
    with pytest.raises(FormatError, match=rf"metadata\.csv.*{reason}"):
        granum.read(tmp_path, "image_folder")


def test_faulty_csv_rows(tmp_path: Path) -> None:
    text = 'file_name,objects,note\na.png,{oops,"two\nlines"\nb.png,,x,y\nc.png,,\n'
    tree(tmp_path, "a.png", "b.png", "c.png", metadata_csv=text)
    with pytest.raises(FindingsError) as raised:
        granum.read(tmp_path)
    found = [(f.code, f.place) for f in raised.value.findings.items if f.severity == "error"]
    assert sorted(found) == [("bad-value", "line 2"), ("bad-value", "line 4")]
    # A file that is no UTF-8 cannot be read at all.
    (tmp_path / "metadata.csv").write_bytes(b"file_name\n\xff.png\n")
    with pytest.raises(FormatError, match=r"metadata\.csv \(byte 10\)"):
        granum.read(tmp_path, "image_folder")
