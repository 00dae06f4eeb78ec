"""Change pairs, from trees typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import granum
from granum.errors import FindingsError, FormatError, LossError, UsageError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.schema.geometry import rle_decode
from granum.schema.rows import Annotation, Category, Group, LabelMap, Media, Rle, Sample
from granum.store.dataset import Dataset
from granum.store.media import read_map, read_values
from granum.testing.keep import refuse_or_keep

FIRST = [[1, 1, 2], [0, 0, 0]]
SECOND = [[1, 3, 2], [0, 0, 1]]
CHANGED = [[0, 255, 0], [0, 0, 255]]


def put(root: Path, files: dict[str, Sequence[Sequence[int]] | None]) -> Path:
    """Images of 3 x 2 pixels by path; None is a grey picture."""
    for name, values in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((2, 3), 90) if values is None else np.asarray(values)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


def levir(root: Path) -> Path:
    files: dict[str, Sequence[Sequence[int]] | None] = {}
    for split, names in {"train": "ab", "test": "c"}.items():
        for name in names:
            files |= {f"{split}/{d}/{name}.png": None for d in "AB"}
            files[f"{split}/label/{name}.png"] = CHANGED
    return put(root, files)


def second(root: Path) -> Path:
    """Label maps of both dates, no map of change."""
    dates = {f"{d}/1.png": None for d in ("im1", "im2")}
    put(root, {**dates, "label1/1.png": FIRST, "label2/1.png": SECOND})
    (root / "classes.txt").write_text("0 ground\n1 low vegetation\n2 water\n3 building\n")
    return root


def test_splits_as_folders(tmp_path: Path) -> None:
    root = levir(tmp_path)
    assert list(sniff(root)) == ["change_pairs"]
    found = granum.read(root)
    assert [(s.key, s.split, s.row.role, s.row.order, s.row.group) for s in found] == [
        ("test/A/c.png", "test", "t1", 0, 0),
        ("test/B/c.png", "test", "t2", 1, 0),
        ("train/A/a.png", "train", "t1", 0, 1),
        ("train/B/a.png", "train", "t2", 1, 1),
        ("train/A/b.png", "train", "t1", 0, 2),
        ("train/B/b.png", "train", "t2", 1, 2),
    ]
    assert found.groups["key"].to_pylist() == ["test/c", "train/a", "train/b"]
    assert found.groups["kind"].to_pylist() == ["pair"] * 3
    before, after = found["train/A/a.png"], found["train/B/a.png"]
    (change,) = after.annotations
    assert not before.annotations and after.labels == ["change"]
    assert after.categories[0].space == "change"
    assert (change.map.path, change.map.encoding) == ("train/label/a.png", "nonzero")
    mask = read_map(change.map, found.meta.media_root)
    assert mask.tolist() == [[False, True, False], [False, False, True]]


def test_splits_as_lists(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    put(tmp_path, {f"{f}/{n}.png": None for f in ("A", "B", "label") for n in names})
    (tmp_path / "list").mkdir()
    (tmp_path / "list/train.txt").write_text("a.png\nb\n\n")
    (tmp_path / "list/test.txt").write_text("A/c.png B/c.png label/c.png\n")
    (tmp_path / "list/demo.txt").write_text("b\ngone.png\n")
    findings = Findings("skip")
    found = granum.read(tmp_path, on_error="skip", findings=findings)
    assert {s.key: s.split for s in found if s.row.role == "t1"} == {
        "A/a.png": "train",
        "A/b.png": "train",
        "A/c.png": "test",
        "A/d.png": None,
    }
    assert '{"lists": ["demo"]}' in found.groups["attributes"].to_pylist()
    told = {(f.code, f.path, f.message) for f in findings.items}
    assert told == {
        ("unlisted-image", "A/d.png", "no list names it"),
        ("file-missing", "A/gone", "listed in demo"),
    }


def test_label_maps_of_both_dates(tmp_path: Path) -> None:
    found = granum.read(second(tmp_path))
    one, two = found
    for sample, path, values in ((one, "label1", FIRST), (two, "label2", SECOND)):
        (whole,) = sample.annotations
        assert (whole.category, whole.map.value, whole.map.space) == (None, None, "object")
        assert whole.map.path == f"{path}/1.png"
        assert read_values(whole.map, found.meta.media_root).tolist() == values
    listed = [(c.source_id, c.name) for c in one.categories]
    assert listed == [("0", "ground"), ("1", "low vegetation"), ("2", "water"), ("3", "building")]


def test_a_change_that_is_not_stored_is_derived_as_asked(tmp_path: Path) -> None:
    root = second(tmp_path)
    _, change = granum.read(root, derive_change="differs")[1].annotations
    # They differ where 1 became 3 and where 0 became 1.
    mask = rle_decode(change.rle.size, change.rle.counts)
    assert mask.tolist() == [[0, 1, 0], [0, 0, 1]]
    found = granum.read(root, derive_change="nonzero")
    _, change = found[1].annotations
    mask = read_map(change.map, found.meta.media_root)
    assert mask.tolist() == [[True, True, True], [False, False, True]]


def test_maps_of_other_sizes_give_no_change(tmp_path: Path) -> None:
    root = second(tmp_path)
    Image.new("L", (4, 2)).save(root / "label2/1.png")
    with pytest.raises(FindingsError, match=r"label2/1\.png: is \(4, 2\), but label1"):
        granum.read(root, derive_change="differs")


def test_labels_of_s2looking_are_what_was_built_and_demolished(tmp_path: Path) -> None:
    dates = {f"val/{d}/1.png": None for d in ("Image1", "Image2", "label")}
    put(tmp_path, dates)
    for folder, colour in (("label1", (0, 0, 255)), ("label2", (255, 0, 0))):
        (tmp_path / "val" / folder).mkdir()
        image = Image.new("RGB", (3, 2))
        image.putpixel((1, 0), colour)
        image.save(tmp_path / "val" / folder / "1.png")
    assert list(sniff(tmp_path)) == ["change_pairs"]
    found = granum.read(tmp_path)
    before, after = found
    assert not before.annotations
    assert after.labels == ["change", "newly built", "demolished"]
    assert [a.map.path for a in after.annotations[1:]] == ["val/label1/1.png", "val/label2/1.png"]
    for one in after.annotations[1:]:
        assert read_map(one.map, found.meta.media_root).tolist() == [
            [False, True, False],
            [False] * 3,
        ]
    as_dates = granum.read(tmp_path, label_meaning="dates", label_values="rgb24")
    assert as_dates[0].annotations[0].map.path == "val/label1/1.png"
    assert as_dates[0].annotations[0].map.encoding == "rgb24"


def test_colours_are_not_taken_for_numbers(tmp_path: Path) -> None:
    root = second(tmp_path)
    Image.new("RGB", (3, 2), (0, 128, 0)).save(root / "label1/1.png")
    with pytest.raises(FindingsError, match=r"bad-value[\s\S]*label1/1\.png: colours"):
        granum.read(root)
    Image.new("RGB", (3, 2), (0, 0, 128)).save(root / "label2/1.png")
    (root / "classes.txt").write_text("0 128 0 trees\n0,0,128,water\n")
    found = granum.read(root, label_values="rgb24")
    assert [(c.source_id, c.colour) for c in found[0].categories] == [
        (str(256 * 128), [0, 128, 0]),
        (str(65536 * 128), [0, 0, 128]),
    ]
    (whole,) = found[0].annotations
    values = read_values(whole.map, found.meta.media_root)
    assert np.unique(values).tolist() == [256 * 128]


def test_folders_of_other_names_are_named(tmp_path: Path) -> None:
    folders = ("2006", "2012", "cover_2006", "cover_2012", "difference")
    put(tmp_path, {f"{f}/x.tif": None for f in folders})
    with pytest.raises(FormatError, match="two dates"):
        granum.read(tmp_path, "change_pairs")
    named = {"label_folders": "cover_2006,cover_2012", "change_folder": "difference"}
    found = granum.read(tmp_path, "change_pairs", date_folders="2006,2012", **named)
    assert [[a.map.path for a in s.annotations] for s in found] == [
        ["cover_2006/x.tif"],
        ["cover_2012/x.tif", "difference/x.tif"],
    ]
    assert found.samples()["media_kind"].to_pylist() == ["raster", "raster"]
    with pytest.raises(UsageError, match="two names"):
        granum.read(tmp_path, "change_pairs", date_folders="2006")


def test_cities_of_oscd(tmp_path: Path) -> None:
    images, labels = "OSCD - Images", "OSCD - Train Labels"
    city = f"{images}/abudhabi"
    put(
        tmp_path,
        {
            **{f"{city}/pair/img{i}.png": None for i in (1, 2)},
            **{f"{city}/imgs_{i}_rect/{b}.tif": None for i in (1, 2) for b in ("B02", "B01")},
            f"{labels}/abudhabi/cm/cm.png": CHANGED,
            f"{images}/paris/pair/img1.png": None,
        },
    )
    (tmp_path / city / "dates.txt").write_text("date_1: 20160120\ndate_2: 20180328\n")
    (tmp_path / images / "train.txt").write_text("abudhabi,beirut")
    assert list(sniff(tmp_path)) == ["change_pairs"]
    findings = Findings("skip")
    found = granum.read(tmp_path, findings=findings)
    assert [(s.key.removeprefix(f"{city}/"), s.row.role) for s in found][:6] == [
        ("pair/img1.png", "t1"),
        ("pair/img2.png", "t2"),
        ("imgs_1_rect/B01.tif", "t1"),
        ("imgs_1_rect/B02.tif", "t1"),
        ("imgs_2_rect/B01.tif", "t2"),
        ("imgs_2_rect/B02.tif", "t2"),
    ]
    assert found[2].row.attributes == {"band": "B01"} and found[0].split == "train"
    assert [s.row.time for s in found][:2] == [datetime(2016, 1, 20), datetime(2018, 3, 28)]
    assert [len(s.annotations) for s in found] == [0, 1, 0, 0, 0, 0, 0]
    assert found[1].annotations[0].map.path == f"{labels}/abudhabi/cm/cm.png"
    assert [(f.code, f.path) for f in findings.items] == [("incomplete-group", f"{images}/paris")]


def test_a_bad_date_names_its_line(tmp_path: Path) -> None:
    put(tmp_path, {f"Images/a/pair/img{n}.png": None for n in (1, 2)})
    (tmp_path / "Images/a/dates.txt").write_text("date_1: 20160120\n\ndate_2: 20189928\n")
    findings = Findings("skip")
    granum.read(tmp_path, "change_pairs", on_error="skip", findings=findings)
    assert ("Images/a/dates.txt", "line 3") in [(f.path, f.place) for f in findings.items]


def test_oscd_without_png_counts_from_one(tmp_path: Path) -> None:
    put(tmp_path, {f"paris/pair/img{i}.png": None for i in (1, 2)})
    put(tmp_path, {"paris/cm/paris-cm.tif": [[1, 2, 1], [1, 1, 2]]})
    found = granum.read(tmp_path, "change_pairs")
    mask = read_map(found[1].annotations[0].map, found.meta.media_root)
    assert mask.tolist() == [[False, True, False], [False, False, True]]


# ------------------------------------------------------------------ faults


def test_what_lacks_its_other_date_or_its_map_is_told(tmp_path: Path) -> None:
    root = levir(tmp_path)
    (root / "train/B/a.png").unlink()
    (root / "train/label/b.png").unlink()
    put(root, {"test/label/stray.png": CHANGED, "test/A/c.tif": None})
    findings = Findings("skip")
    found = granum.read(root, on_error="skip", findings=findings)
    assert {(f.code, f.path) for f in findings.items} == {
        ("incomplete-group", "train/A/a.png"),
        ("missing-labels", "train/B/b.png"),
        ("orphan-image", "test/label/stray.png"),
        ("file-not-read", "test/A/c.tif"),
    }
    assert found["train/A/a.png"].row.group is None
    assert found.groups["key"].to_pylist() == ["test/c", "train/b"]


def test_maps_are_opened_when_asked(tmp_path: Path) -> None:
    root = levir(tmp_path)
    Image.new("L", (5, 2)).save(root / "train/label/b.png")
    broken = (root / "test/label/c.png").read_bytes()[:50]
    (root / "test/label/c.png").write_bytes(broken)
    assert len(granum.read(root)) == 6
    findings = Findings("skip")
    granum.read(root, on_error="skip", open_media=True, findings=findings)
    assert {(f.code, f.path) for f in findings.items} == {
        ("mask-size-mismatch", "train/label/b.png"),
        ("broken-media", "test/label/c.png"),
    }


@pytest.mark.parametrize("line", ["water", "1", "x water", "1 ground\n1 water"])
def test_a_bad_class_is_told(tmp_path: Path, line: str) -> None:
    root = second(tmp_path)
    (root / "classes.txt").write_text(f"0 none\n{line}\n")
    with pytest.raises(FindingsError, match=r"classes\.txt.*line [23]"):
        granum.read(root)


def test_class_folders_called_a_and_b_are_no_pairs(tmp_path: Path) -> None:
    put(tmp_path, {"A/1.png": None, "B/2.png": None, "C/3.png": None})
    assert list(sniff(tmp_path)) == ["image_folder"]


# ------------------------------------------------------------------ writing


def test_written_and_read_again(tmp_path: Path) -> None:
    root = second(tmp_path / "in")
    found = granum.read(root, derive_change="differs")
    granum.write(found, tmp_path / "out", "change_pairs", media="copy")
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert files == {
        *("A/1.png", "B/1.png", "label/1.png", "label1/1.png", "label2/1.png"),
        *("classes.txt", "granum.json"),
    }
    assert (tmp_path / "out/classes.txt").read_text() == (root / "classes.txt").read_text()
    assert np.asarray(Image.open(tmp_path / "out/label/1.png")).tolist() == CHANGED
    # Without the notes it is a tree as others make them.
    (tmp_path / "out/granum.json").unlink()
    plain = granum.read(tmp_path / "out")
    assert [[a.map.path for a in s.annotations] for s in plain] == [
        ["label1/1.png"],
        ["label2/1.png", "label/1.png"],
    ]


def pair(*annotations: Annotation, categories: Sequence[Category] = ()) -> Dataset:
    size = {"width": 3, "height": 2, "group": 0, "split": "train"}
    one = Sample("p/1.png", Media("p/1.png"), role="t1", order=0, **size)  # type: ignore[arg-type]
    two = Sample("p/2.png", Media("p/2.png"), role="t2", order=1, **size)  # type: ignore[arg-type]
    two.annotations = list(annotations)
    listed = categories or [Category("change", "change")]
    return Dataset.from_rows([one, two], listed, [Group("train/p", "pair")])


@pytest.mark.parametrize(
    "mask",
    [
        {"rle": Rle((2, 3), b"132")},
        {"polygons": [[[0.0, 0.0, 2.0, 0.0, 2.0, 1.0, 0.0, 1.0]]]},
        {"map": LabelMap("m/c.png", encoding="nonzero")},
        {"map": LabelMap("m/c.png", value=7)},
    ],
)
def test_masks_of_change_in_any_form(tmp_path: Path, mask: dict[str, object]) -> None:
    made = pair(Annotation(category=0, **mask))  # type: ignore[arg-type]
    assert refuse_or_keep("change_pairs", made, tmp_path, must_keep=True)


def test_several_changes_and_whole_maps_of_change(tmp_path: Path) -> None:
    listed = [Category(n, "change") for n in ("built", "gone")]
    both = [Annotation(category=i, rle=Rle((2, 3), b"132")) for i in (0, 1)]
    whole = Annotation(map=LabelMap("m/w.png", space="change"))
    cover = Annotation(map=LabelMap("m/v.png", space="object"))
    made = pair(cover, whole, *both, categories=listed)
    assert refuse_or_keep("change_pairs", made, tmp_path, must_keep=True)


def test_what_files_cannot_tell_is_refused(tmp_path: Path) -> None:
    twice = pair(*(Annotation(category=0, rle=Rle((2, 3), b"132")) for _ in range(2)))
    thing = pair(
        Annotation(category=0, rle=Rle((2, 3), b"132")), categories=[Category("house", "object")]
    )
    for made in (twice, thing):
        with pytest.raises(LossError, match=r"(?m)^ +(mask|object) "):
            granum.write(made, tmp_path / "out", "change_pairs")
