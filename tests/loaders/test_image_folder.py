"""Images in folders: class folders, metadata files, ImageNet lists."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import granum
from granum.errors import FindingsError, FormatError, GranumError, LossError, UsageError
from granum.loaders.base import formats
from granum.schema.findings import Findings
from granum.schema.losses import KINDS, NAMES
from granum.schema.rows import Annotation, Category, Group, Media, Sample
from granum.store.dataset import Dataset
from granum.testing import FormatSuite, assert_same
from granum.testing.suite import Keeps
from tests.data import shared


class TestSuite(FormatSuite):
    name = "image_folder"
    least = (Keeps(NAMES - {"layers", "record"}, KINDS), Keeps({"category", "split"}, {"label"}))
    examples = 15


def png(value: int = 0, size: tuple[int, int] = (8, 6)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(out, "PNG")
    return out.getvalue()


def tree(root: Path, *names: str, **texts: str) -> Path:
    """Images, and text files (``metadata_csv`` is metadata.csv; ``__`` stands for a folder)."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i))
    for name, text in texts.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


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


# ---------------------------------------------------------------------- writing


def labelled(*rows: tuple[str, str | None, str | None], names: list[str]) -> Dataset:
    """Samples of (key, split, class)."""
    samples = [
        Sample(
            key,
            Media(bytes=png(i)),
            8,
            6,
            split=split,
            annotations=[] if c is None else [Annotation("label", category=names.index(c))],
        )
        for i, (key, split, c) in enumerate(rows)
    ]
    return Dataset.from_rows(samples, [Category(n) for n in names])


def files(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_writes_class_folders(tmp_path: Path) -> None:
    """Unused classes and the order of classes survive, without folders that are empty."""
    ds = labelled(
        *(("a.png", "train", "dog"), ("b.png", "train", "cat"), ("c.png", "val", "dog")),
        ("sub/d.png", "val", None),
        names=["dog", "unused", "cat"],
    )
    report = granum.write(ds, tmp_path / "w", "image_folder", media="copy")
    assert not report.lost_names()
    assert files(tmp_path / "w") == [
        *("granum.json", "train/cat/b.png", "train/dog/a.png", "val/dog/c.png", "val/sub/d.png"),
    ]
    back = granum.read(tmp_path / "w")
    ignored = ["samples.media", "samples.width", "samples.height"]
    assert_same(ds, back, ignore=ignored, ordered=False)
    assert back.category_names() == ["dog", "unused", "cat"]
    assert back["a.png"].image().getpixel((0, 0)) == (0, 0, 0)


def test_what_was_read_is_written_as_it_was(tmp_path: Path) -> None:
    tree(tmp_path / "a", "train/dog/1.png", "train/cat/x/2.png", "val/cat/1.png", "val/3.png")
    granum.write(granum.read(tmp_path / "a"), tmp_path / "b", "image_folder", media="copy")
    assert files(tmp_path / "b") == ["granum.json", *files(tmp_path / "a")]
    for name in files(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        (labelled(("a", None, "x"), names=["x"]), "cannot be the path"),
        (labelled(("a.png", None, "x/y"), names=["x/y"]), "cannot be a folder"),
        (labelled(("a.png", "x", "x"), names=["x"]), "has the name of a class"),
        (labelled(("x/a.png", None, None), ("b.png", None, "x"), names=["x"]), "has no class"),
        (
            Dataset.from_rows(
                [Sample("a.png", annotations=[Annotation("label", category=0)] * 2)],
                [Category("x")],
            ),
            "several labels",
        ),
        (
            Dataset.from_rows([Sample("a.png", annotations=[Annotation(bbox=(0, 0, 1, 1))])]),
            "not only labels",
        ),
        (Dataset.from_rows([Sample("a.png", attributes={"a": 1})]), "attr.a"),
        (Dataset.from_rows([Sample("a.png")], groups=[Group("g")]), "groups"),
    ],
)
def test_what_is_no_class_folder(tmp_path: Path, dataset: Dataset, why: str) -> None:
    """Auto then writes metadata; asking for class folders is refused."""
    from granum.testing.media import with_media

    dataset = with_media(dataset, tmp_path / "m")
    granum.write(dataset, tmp_path / "w", "image_folder", media="copy")
    assert "metadata.jsonl" in {Path(n).name for n in files(tmp_path / "w")}
    back = granum.read(tmp_path / "w")
    assert_same(dataset, back, ignore=["samples.media"])
    with pytest.raises(GranumError):
        granum.write(dataset, tmp_path / "c", "image_folder", media="copy", layout="classes")
    assert not (tmp_path / "c").exists()


def test_class_folders_on_demand_say_what_is_lost(tmp_path: Path) -> None:
    annotations = [
        Annotation("label", category=1, score=0.5),
        Annotation("label", category=0),
        Annotation(bbox=(0, 0, 1, 1), category=0),
    ]
    negative = [Annotation("label", category=0, present=False)]
    samples = [
        Sample("a.png", Media(bytes=png()), 8, 6, annotations=annotations),
        Sample("b.png", Media(bytes=png(1)), 8, 6, annotations=negative),
    ]
    ds = Dataset.from_rows(samples, [Category("x"), Category("y")])
    options: dict[str, Any] = {"media": "copy", "layout": "classes"}
    with pytest.raises(LossError) as raised:
        granum.write(ds, tmp_path / "w", "image_folder", **options)
    assert {"label", "object", "score"} <= set(raised.value.refused)
    granum.write(ds, tmp_path / "w", "image_folder", allow_loss=["all"], **options)
    assert files(tmp_path / "w") == ["b.png", "granum.json", "y/a.png"]
    assert [s.labels for s in granum.read(tmp_path / "w")] == [[], ["y"]]


def rich() -> Dataset:
    categories = [Category("cat", supercategory="animal"), Category("unused"), Category("dog")]
    a = Sample(
        "a.png",
        Media(bytes=png(1)),
        8,
        6,
        split="train",
        attributes={"code": "007", "iso": 100},
        annotations=[
            Annotation(bbox=(1, 1, 3.25, 2), category=2, area=6.5, crowd=False, score=0.1),
            Annotation(polygons=[[[1, 1, 4, 1, 4, 4]]], category=0, attributes={"c": "red"}),
            Annotation("caption", text='a cat, "quoted"\nand [more]'),
        ],
    )
    b = Sample("x/b.png", Media(bytes=png(2)), 8, 6, split="val")
    return Dataset.from_rows([a, b], categories)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_metadata_keeps_all(tmp_path: Path, form: str) -> None:
    ds = rich()
    report = granum.write(ds, tmp_path / "w", "image_folder", media="copy", metadata=form)
    assert not report.lost_names()
    assert files(tmp_path / "w") == [
        *("granum.json", "train/a.png", f"train/metadata.{form}"),
        *(f"val/metadata.{form}", "val/x/b.png"),
    ]
    assert_same(ds, granum.read(tmp_path / "w"), ignore=["samples.media"])


def test_metadata_by_the_letter(tmp_path: Path) -> None:
    granum.write(rich(), tmp_path / "w", "image_folder", media="copy")
    (line,) = (tmp_path / "w/train/metadata.jsonl").read_text().splitlines()
    record = json.loads(line)
    objects = record.pop("objects")
    assert record == {
        "file_name": "a.png",
        "key": "a.png",
        "width": 8,
        "height": 6,
        "text": 'a cat, "quoted"\nand [more]',
        "code": "007",
        "iso": 100,
    }
    # Not all objects have the same values: a list of objects.
    names = ["id", "bbox", "categories", "area", "iscrowd", "score", "segmentation", "c"]
    first = [1, [1, 1, 3.25, 2], "dog", 6.5, False, 0.1, None, None]
    second = [2, None, "cat", None, None, None, [[1, 1, 4, 1, 4, 4]], "red"]
    assert objects == [dict(zip(names, v, strict=True)) for v in (first, second)]
    # They have: the customary dict of lists.
    granum.write(rich().filter("category == 'dog'"), tmp_path / "d", "image_folder", media="copy")
    (line,) = (tmp_path / "d/train/metadata.jsonl").read_text().splitlines()
    assert json.loads(line)["objects"] == {
        "id": [1],
        "bbox": [[1, 1, 3.25, 2]],
        "categories": ["dog"],
        "area": [6.5],
        "iscrowd": [False],
        "score": [0.1],
    }


def test_captions_go_back_to_their_column(tmp_path: Path) -> None:
    line = '{"file_name": "a.png", "caption": "one"}\n{"file_name": "b.png", "caption": null}\n'
    ds = granum.read(tree(tmp_path / "a", "a.png", "b.png", metadata_jsonl=line))
    granum.write(ds, tmp_path / "b", "image_folder", media="copy")
    assert (tmp_path / "b/metadata.jsonl").read_text().splitlines() == [
        '{"file_name":"a.png","caption":"one"}',
        '{"file_name":"b.png","caption":null}',
    ]


def test_names_of_files(tmp_path: Path) -> None:
    """Keys that are no paths of images get one; none takes another's place."""
    keys = ["1", "1.png", "../1", "/etc/x.png", "metadata.jsonl", "a.png", "a.png/b.png", "ü ß.jpg"]
    samples = [
        Sample(k, Media(bytes=png(i)), 8, 6, attributes={"n": i}) for i, k in enumerate(keys)
    ]
    ds = Dataset.from_rows(samples)
    granum.write(ds, tmp_path / "w", "image_folder", media="copy")
    assert files(tmp_path / "w") == sorted(
        [
            *("1.png", "1-2.png", "1-3.png", "etc/x.png", "metadata.jsonl.png", "a.png"),
            *("a.png-2/b.png", "ü ß.jpg", "granum.json", "metadata.jsonl"),
        ]
    )
    back = granum.read(tmp_path / "w")
    assert_same(ds, back, ignore=["samples.media"])
    for i, sample in enumerate(back):
        assert sample.image().getpixel((0, 0))[0] == i


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    sample = Sample(
        "a.png",
        Media(bytes=png()),
        8,
        6,
        annotations=[
            Annotation(bbox=(0, 0, 1, 1), score=float("nan")),
        ],
    )
    ds = Dataset.from_rows([sample])
    with pytest.raises(LossError) as raised:
        granum.write(ds, tmp_path / "w", "image_folder", media="copy")
    assert raised.value.refused == ["score"]
    granum.write(ds, tmp_path / "p", "image_folder", media="copy", metadata="parquet")
    score = granum.read(tmp_path / "p")[0].annotations[0].score
    assert score is not None and score != score


def test_empty_texts_in_csv(tmp_path: Path) -> None:
    sample = Sample("a.png", Media(bytes=png()), 8, 6, annotations=[Annotation("caption", text="")])
    ds = Dataset.from_rows([sample])
    with pytest.raises(LossError, match="text"):
        granum.write(ds, tmp_path / "w", "image_folder", media="copy", metadata="csv")
    granum.write(ds, tmp_path / "w", "image_folder", media="copy")
    assert granum.read(tmp_path / "w")[0].annotations[0].text == ""


def test_splits_that_are_no_folders(tmp_path: Path) -> None:
    samples = [
        Sample(f"{i}.png", Media(bytes=png(i)), 8, 6, split=s, attributes={"i": i})
        for i, s in enumerate(["a/b", None, "train", "..", "split"])
    ]
    ds = Dataset.from_rows(samples)
    granum.write(ds, tmp_path / "w", "image_folder", media="copy")
    back = granum.read(tmp_path / "w")
    assert {s.key: s.split for s in back} == {s.key: s.split for s in ds}


def test_images_are_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--media copy"):
        granum.write(rich(), tmp_path / "w", "image_folder")


def test_damaged_notes_are_told(tmp_path: Path) -> None:
    granum.write(rich(), tmp_path / "w", "image_folder", media="copy")
    (tmp_path / "w" / "granum.json").write_text('{"names": ["x"]}')
    with pytest.raises(FormatError, match=r"granum\.json: 1 names of 0 categories"):
        granum.read(tmp_path / "w")
    (tmp_path / "w" / "granum.json").unlink()
    back = granum.read(tmp_path / "w")
    assert back["train/a.png"].labels == ["dog", "cat", None]


# ---------------------------------------------------------------------- the library


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``load_dataset("imagefolder", data_dir=…)`` of the `datasets` library, offline."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    datasets.disable_progress_bars()

    def load(folder: Path, name: str = "imagefolder") -> Any:
        if name == "imagefolder":
            where: dict[str, Any] = {"data_dir": str(folder)}
        else:
            name, where = str(folder), {}
        return datasets.load_dataset(name, **where, cache_dir=str(tmp_path / "cache"))

    return load


@pytest.mark.parametrize("name", ["imagefolder", "by itself"])
def test_the_library_loads_class_folders(tmp_path: Path, load: Any, name: str) -> None:
    rows = [(f"{i}.png", "train" if i < 4 else "test", "cat" if i % 2 else "dog") for i in range(7)]
    ds = labelled(*rows, names=["dog", "owl", "cat"])
    granum.write(ds, tmp_path / "w", "image_folder", media="copy")
    made = load(tmp_path / "w", name)
    assert {s: len(d) for s, d in made.items()} == {"train": 4, "test": 3}
    assert made["train"].features["label"].names == ["cat", "dog"]
    assert sorted(made["train"]["label"]) == [0, 0, 1, 1]
    assert {made["test"][i]["image"].getpixel((0, 0))[0] for i in range(3)} == {4, 5, 6}


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("name", ["imagefolder", "by itself"])
def test_the_library_loads_metadata(tmp_path: Path, load: Any, form: str, name: str) -> None:
    granum.write(rich(), tmp_path / "w", "image_folder", media="copy", metadata=form)
    if form != "parquet":
        # The library infers the types of each split and demands that they agree, so a split of
        # which a column is empty throughout is for Parquet only (see the module).
        for path in (tmp_path / "w/val").rglob("*.*"):
            path.unlink()
    made = load(tmp_path / "w", name)
    row = made["train"][0]
    assert row["image"].size == (8, 6)
    assert row["text"] == 'a cat, "quoted"\nand [more]'
    objects = json.loads(row["objects"]) if form == "csv" else row["objects"]
    if form == "jsonl":
        objects = {n: [o[n] for o in objects] for n in objects[0]}
    assert objects["bbox"] == [[1, 1, 3.25, 2], None]
    assert objects["categories"] == ["dog", "cat"]
    if form == "parquet":
        assert len(made["validation"]) == 1
        assert made["validation"][0]["objects"]["bbox"] == []
