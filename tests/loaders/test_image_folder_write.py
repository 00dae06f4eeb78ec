"""Writing images in folders, and what the `datasets` library makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FormatError, GranumError, LossError, UsageError
from granum.schema.rows import Annotation, Category, Group, Media, Sample
from granum.store.dataset import Dataset
from granum.testing import assert_same
from tests.loaders.pictures import files, png, tree

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
        assert sample.image().getpixel((0, 0)) == (i, 0, 0)


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
