"""MVTec AD and its relatives: trees typed by hand, real ones, and what was written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import granum
from granum.errors import FindingsError, FormatError, LossError
from granum.loaders.reading import sniff
from granum.schema.rows import Annotation, Category, LabelMap, Media, Sample
from granum.store.dataset import Dataset
from granum.testing.same import assert_same
from tests.data import shared
from tests.loaders.anomaly_trees import (
    CORNER,
    NONE,
    RIGHT,
    drawn,
    labels,
    loco,
    mvtec_ad,
    put,
    read,
    solid,
    tiles,
    visa,
)

LEFT = [[1, 1, 0], [0, 0, 0]]
EDGE = [[0, 0, 1], [0, 0, 1]]


def splits(dataset: Dataset) -> Counter[str | None]:
    return Counter(dataset.samples(["split"])["split"].to_pylist())


# ------------------------------------------------------------------ MVTec AD


def test_mvtec_ad(tmp_path: Path) -> None:
    dataset, findings = read(mvtec_ad(tmp_path), check_masks=True)
    assert not findings.counts
    names = [("good", "defect"), ("crack", "defect"), ("dent", "defect")]
    assert [(c["name"], c["space"]) for c in dataset.categories.to_pylist()] == names
    assert [s.key for s in dataset] == [
        *("bottle/train/good/000.png", "bottle/train/good/001.png", "bottle/test/good/000.png"),
        *("bottle/test/crack/000.png", "bottle/test/crack/001.png", "bottle/test/dent/000.png"),
        *("grid/train/good/000.png", "grid/test/crack/000.png"),
    ]
    assert splits(dataset) == {"train": 3, "test": 5}
    products = [s.row.attributes for s in dataset]
    assert products == [{"product": "bottle"}] * 6 + [{"product": "grid"}] * 2
    assert {k: v[0] for k, v in labels(dataset).items()} == {
        s.key: s.key.split("/")[2] for s in dataset
    }
    assert drawn(dataset) == {
        "bottle/test/crack/000.png": [("crack", LEFT)],
        "bottle/test/crack/001.png": [("crack", EDGE)],
        "bottle/test/dent/000.png": [("dent", EDGE)],
        "grid/test/crack/000.png": [("crack", LEFT)],
    }
    (one,) = [a for a in dataset["bottle/test/dent/000.png"].annotations if a.kind == "object"]
    assert one.map == LabelMap("bottle/ground_truth/dent/000_mask.png", encoding="nonzero")


def test_a_product_alone_has_no_name(tmp_path: Path) -> None:
    dataset, _ = read(mvtec_ad(tmp_path) / "grid")
    assert [(s.key, s.row.attributes) for s in dataset] == [
        ("train/good/000.png", None),
        ("test/crack/000.png", None),
    ]
    assert list(drawn(dataset)) == ["test/crack/000.png"]


def test_masks_are_found_by_name_not_by_order(tmp_path: Path) -> None:
    """Of three photos the first has no mask: sorted lists would pair each with its neighbour's."""
    for stem in ("000", "001", "002"):
        put(tmp_path, f"p/test/dent/{stem}.png")
    put(tmp_path, "p/ground_truth/dent/001_mask.png", CORNER)
    put(tmp_path, "p/ground_truth/dent/002.png", RIGHT)  # as 3CAD has it
    dataset, findings = read(tmp_path)
    assert drawn(dataset) == {
        "p/test/dent/001.png": [("dent", LEFT)],
        "p/test/dent/002.png": [("dent", EDGE)],
    }
    assert findings.counts == {"missing-mask": 1}
    assert findings.items[0].path == "p/test/dent/000.png"


def test_a_photo_may_be_named_like_a_mask(tmp_path: Path) -> None:
    put(tmp_path, "p/test/dent/a.png")
    put(tmp_path, "p/test/dent/a_mask.png")
    put(tmp_path, "p/ground_truth/dent/a_mask.png", CORNER)
    put(tmp_path, "p/ground_truth/dent/a_mask_mask.png", RIGHT)
    dataset, _ = read(tmp_path)
    assert drawn(dataset) == {
        "p/test/dent/a.png": [("dent", LEFT)],
        "p/test/dent/a_mask.png": [("dent", EDGE)],
    }


def test_a_mask_belongs_to_the_test_photo(tmp_path: Path) -> None:
    """Two splits have a photo of the mask's name and type."""
    put(tmp_path, "p/train/dent/000.png")
    put(tmp_path, "p/test/dent/000.png")
    put(tmp_path, "p/ground_truth/dent/000_mask.png", CORNER)
    dataset, findings = read(tmp_path)
    assert list(drawn(dataset)) == ["p/test/dent/000.png"]
    assert [f.path for f in findings.items] == ["p/train/dent/000.png"]


def test_3cad_has_no_suffix(tmp_path: Path) -> None:
    name = "Aluminum_Camera_Cover"
    put(tmp_path, f"{name}/train/good/000395.png")
    put(tmp_path, f"{name}/test/good/000049.png")
    put(tmp_path, f"{name}/test/huashang/000001.png")
    put(tmp_path, f"{name}/ground_truth/huashang/000001.png", CORNER)
    dataset, findings = read(tmp_path)
    assert not findings.counts
    assert drawn(dataset) == {f"{name}/test/huashang/000001.png": [("huashang", LEFT)]}


def test_btad_calls_them_ok_and_ko(tmp_path: Path) -> None:
    for name in ("train/ok/0000.bmp", "test/ok/0001.bmp", "test/ko/0002.bmp"):
        put(tmp_path, f"01/{name}")
    put(tmp_path, "01/ground_truth/ko/0002.png", CORNER)
    dataset, findings = read(tmp_path)
    assert not findings.counts
    assert dataset.categories["name"].to_pylist() == ["ok", "ko"]
    assert drawn(dataset) == {"01/test/ko/0002.bmp": [("ko", LEFT)]}


def test_a_colour_mask_is_where_it_is_not_black(tmp_path: Path) -> None:
    put(tmp_path, "p/test/dent/0.png")
    (tmp_path / "p/ground_truth/dent").mkdir(parents=True)
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 1, 2] = 200  # blue
    Image.fromarray(pixels).save(tmp_path / "p/ground_truth/dent/0_mask.png")
    dataset, _ = read(tmp_path, check_masks=True)
    assert drawn(dataset) == {"p/test/dent/0.png": [("dent", [[0, 1, 0], [0, 0, 0]])]}


# ------------------------------------------------------------------ relatives


def test_loco_tells_types_by_values(tmp_path: Path) -> None:
    dataset, findings = read(loco(tmp_path), check_masks=True)
    assert not findings.counts
    assert drawn(dataset) == {
        "pins/test/logical_anomalies/000.png": [
            ("missing", [[1, 0, 0], [0, 0, 0]]),
            ("extra", [[0, 0, 0], [0, 1, 1]]),
        ],
        "pins/test/structural_anomalies/000.png": [("broken", [[0, 1, 0], [0, 0, 0]])],
    }
    assert labels(dataset)["pins/test/logical_anomalies/000.png"] == ["logical_anomalies"]
    (facts,) = [c for c in dataset[0].categories if c.name == "missing"]
    told = {"pixel_value": 254, "saturation_threshold": 7, "relative": False}
    assert facts.attributes == {"defects_config": {"pins": told}}


def test_loco_without_names_takes_the_folder(tmp_path: Path) -> None:
    (loco(tmp_path) / "pins/defects_config.json").unlink()
    dataset, _ = read(tmp_path)
    names = [n for n, _ in drawn(dataset)["pins/test/logical_anomalies/000.png"]]
    assert names == ["logical_anomalies"] * 2


def test_a_value_that_nothing_names(tmp_path: Path) -> None:
    path = loco(tmp_path) / "pins/defects_config.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:2]))
    dataset, findings = read(tmp_path, "skip")
    assert findings.counts == {"unknown-class": 1}
    assert findings.items[0].path == "pins/ground_truth/structural_anomalies/000/000.png"
    found = drawn(dataset)["pins/test/structural_anomalies/000.png"]
    assert [n for n, _ in found] == ["structural_anomalies"]


@pytest.mark.parametrize("text", ["{", '[{"defect_name": 3, "pixel_value": 9}]', "\xff"])
def test_a_bad_list_of_values_is_named(tmp_path: Path, text: str) -> None:
    path = loco(tmp_path) / "pins/defects_config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises((FormatError, FindingsError), match=r"pins/defects_config\.json"):
        read(tmp_path)


def test_3d_points_are_samples_of_a_group(tmp_path: Path) -> None:
    dataset, findings = read(solid(tmp_path), check_masks=True)
    assert not findings.counts
    assert splits(dataset) == {"train": 2, "validation": 2, "test": 6}
    keys = dataset.groups["key"].to_pylist()
    assert keys[-1] == "bagel/test/hole/001" and len(keys) == 5
    last = [(s.key, s.row.role, s.row.order, s.row.media_kind) for s in dataset][-2:]
    assert last == [
        ("bagel/test/hole/rgb/001.png", "rgb", 0, "image"),
        ("bagel/test/hole/xyz/001.tiff", "xyz", 1, "raster"),
    ]
    assert [s.row.group for s in dataset] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert drawn(dataset) == {f"bagel/test/hole/rgb/00{i}.png": [("hole", LEFT)] for i in range(2)}
    assert labels(dataset)["bagel/test/hole/xyz/001.tiff"] == []


def test_3d_points_that_are_absent(tmp_path: Path) -> None:
    (solid(tmp_path) / "bagel/test/hole/xyz/001.tiff").unlink()
    dataset, findings = read(tmp_path, "skip")
    assert findings.counts == {"file-missing": 1}
    assert len(dataset) == 9


def test_visa_values_are_types(tmp_path: Path) -> None:
    dataset, findings = read(visa(tmp_path))
    assert not findings.counts
    assert splits(dataset) == {"train": 2, "test": 4}
    place = "pcb1/Data/Images/Anomaly"
    assert labels(dataset) == {
        **{f"pcb1/Data/Images/Normal/000{i}.JPG": ["normal"] for i in range(3)},
        f"{place}/000.JPG": ["bent", "scratch"],
        f"{place}/001.JPG": ["melt"],
        f"{place}/002.JPG": ["burnt"],
    }
    assert drawn(dataset) == {
        f"{place}/000.JPG": [("bent", LEFT), ("scratch", [[0, 0, 0], [0, 0, 1]])],
        f"{place}/001.JPG": [("melt", [[0, 0, 1], [0, 0, 0]])],
        # ``pcb1`` has no number for it: whatever is not 0.
        f"{place}/002.JPG": [("burnt", [[0, 1, 0], [0, 0, 0]])],
    }


def test_visa_splits_are_chosen_by_their_list(tmp_path: Path) -> None:
    root = visa(tmp_path)
    text = (root / "split_csv/1cls.csv").read_text().replace(",test,", ",val,")
    (root / "split_csv/mine.csv").write_text(text + "pcb1,val,x,pcb1/Data/Images/Normal/9.JPG,\n")
    dataset, findings = read(root, "skip", split_csv="mine")
    assert splits(dataset) == {"train": 2, "val": 4}
    assert [(f.code, f.path) for f in findings.items] == [
        ("file-missing", "pcb1/Data/Images/Normal/9.JPG")
    ]
    with pytest.raises(FormatError, match=r"split_csv/2cls\.csv: no such list"):
        read(root, split_csv="2cls")


def test_visa_photo_without_a_split(tmp_path: Path) -> None:
    put(visa(tmp_path), "pcb1/Data/Images/Normal/0003.JPG")
    dataset, findings = read(tmp_path)
    assert splits(dataset)[None] == 1
    assert [(f.code, f.path) for f in findings.items] == [
        ("unlisted-image", "pcb1/Data/Images/Normal/0003.JPG")
    ]


def test_visa_object_alone(tmp_path: Path) -> None:
    dataset, findings = read(visa(tmp_path) / "pcb1")
    assert not findings.counts
    assert [n for n, _ in drawn(dataset)["Data/Images/Anomaly/000.JPG"]] == ["bent", "scratch"]
    assert splits(dataset) == {None: 6}


def test_visa_tables_that_are_none(tmp_path: Path) -> None:
    (visa(tmp_path) / "split_csv/1cls.csv").write_text("image\nx\n")
    with pytest.raises(FormatError, match=r"1cls\.csv \(line 1\): it has no columns image, split"):
        read(tmp_path)


def test_tiles_have_ramps(tmp_path: Path) -> None:
    dataset, findings = read(tiles(tmp_path), check_masks=True)
    assert not findings.counts
    assert dataset.categories["name"].to_pylist() == ["good", "Crack"]
    assert drawn(dataset) == {"MT_Crack/Imgs/exp1_num_1.jpg": [("Crack", LEFT)]}
    low, _ = read(tmp_path, threshold=2)
    assert drawn(low) == {"MT_Crack/Imgs/exp1_num_1.jpg": [("Crack", [[1, 1, 1], [1, 0, 0]])]}
    assert json.loads(low.sources["options"][0].as_py()) == {"threshold": 2}
    (one,) = [a for a in low["MT_Crack/Imgs/exp1_num_1.jpg"].annotations if a.map]
    assert one.map is not None and (one.map.encoding, one.map.threshold) == ("greater", 2)


# ------------------------------------------------------------------ findings


@pytest.mark.parametrize(
    ("code", "path", "pixels"),
    [
        ("orphan-mask", "bottle/ground_truth/crack/007_mask.png", CORNER),
        ("orphan-mask", "bottle/ground_truth/rust/000_mask.png", CORNER),
        ("mask-size-mismatch", "bottle/ground_truth/crack/000_mask.png", [[255, 0]]),
        ("empty-mask", "bottle/ground_truth/crack/000_mask.png", NONE),
        ("grey-mask", "bottle/ground_truth/crack/000_mask.png", [[255, 90, 0], [0, 0, 0]]),
        ("conflicting-records", "bottle/ground_truth/good/000_mask.png", CORNER),
    ],
)
def test_faulty_masks(tmp_path: Path, code: str, path: str, pixels: Any) -> None:
    put(mvtec_ad(tmp_path), path, pixels)
    _, findings = read(tmp_path, "skip", check_masks=True)
    assert findings.counts == {code: 1}
    assert path.startswith(findings.items[0].path)


def test_broken_files_are_named(tmp_path: Path) -> None:
    root = mvtec_ad(tmp_path)
    (root / "bottle/ground_truth/crack/000_mask.png").write_bytes(b"no image")
    (root / "bottle/test/crack/001.png").write_bytes(b"no image")
    _, findings = read(root, "skip", check_masks=True)
    assert [(f.code, f.path) for f in findings.items] == [
        ("broken-media", "bottle/ground_truth/crack/000_mask.png"),
        ("broken-media", "bottle/test/crack/001.png"),
    ]


def test_files_that_are_not_read_are_told(tmp_path: Path) -> None:
    root = mvtec_ad(tmp_path)
    put(root, "bottle/test/loose.png")
    put(root, "bottle/test/crack/more/000.png")
    (root / "bottle/test/crack/Thumbs.db").write_bytes(b"")
    (root / "spare").mkdir()
    dataset, findings = read(root)
    assert len(dataset) == 8
    assert sorted(f.path for f in findings.items) == [
        *("bottle/test/crack/Thumbs.db", "bottle/test/crack/more", "bottle/test/loose.png"),
        "spare",
    ]
    assert set(findings.counts) == {"file-not-read"}


@pytest.mark.parametrize("make", [mvtec_ad, loco, solid, visa, tiles])
def test_trees_are_recognised(tmp_path: Path, make: Any) -> None:
    assert list(sniff(make(tmp_path / "one"))) == ["mvtec"]


# ------------------------------------------------------------------ real data


def test_fixture() -> None:
    dataset, findings = read(shared("format_fixtures/mvtec_dataset"))
    assert labels(dataset) == {
        f"category_0/default/label_{i}/000.png": [f"label_{i}"] for i in range(3)
    }
    assert list(drawn(dataset)) == [f"category_0/default/label_{i}/000.png" for i in (1, 2)]
    assert splits(dataset) == {"default": 3}
    assert findings.counts == {"missing-mask": 1}  # label_0 is what others call good


def test_magnetic_tiles() -> None:
    """Ten photos in each of six folders; masks as the benchmark's own reader has them."""
    from benchmarks.magnetic_tile import tiles as benchmark

    root = shared("magnetic_tile")
    dataset, findings = read(root, check_masks=True)
    assert not findings.counts
    names = ("good", "Blowhole", "Break", "Crack", "Fray", "Uneven")
    assert Counter(n for (n,) in labels(dataset).values()) == dict.fromkeys(names, 10)
    assert dataset.num_annotations == 110
    other = {s.key: s for s in benchmark(root)}
    for sample in dataset:
        masks = [sample.mask(k) for k, a in enumerate(sample.annotations) if a.map]
        theirs = other.pop(sample.key)
        assert [m.sum() for m in masks] == [
            theirs.mask(k).sum() for k, a in enumerate(theirs.annotations) if a.map
        ]
    assert not other


# ------------------------------------------------------------------ writing


def written(dataset: Dataset, out: Path, **options: Any) -> list[str]:
    granum.write(dataset, out, "mvtec", media="copy", **options)
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())


def test_mvtec_ad_is_written_as_it_was(tmp_path: Path) -> None:
    root = mvtec_ad(tmp_path / "in")
    dataset, _ = read(root)
    made = written(dataset, tmp_path / "out")
    source = {p.relative_to(root).as_posix() for p in root.rglob("*.png")}
    assert {*made} == source | {"granum.json"}
    for name in source:
        assert (tmp_path / "out" / name).read_bytes() == (root / name).read_bytes()
    back, findings = read(tmp_path / "out", check_masks=True)
    assert not findings.counts
    assert_same(dataset, back)
    # Without our notes it says the same, as other readers see it.
    (tmp_path / "out/granum.json").unlink()
    bare, _ = read(tmp_path / "out")
    assert_same(dataset, bare)


def test_several_types_are_written_as_loco_has_them(tmp_path: Path) -> None:
    dataset, _ = read(loco(tmp_path / "in"))
    made = written(dataset, tmp_path / "out")
    masks = [n for n in made if "ground_truth" in n]
    assert masks == [
        "pins/ground_truth/logical_anomalies/000/000.png",
        "pins/ground_truth/logical_anomalies/000/001.png",
        "pins/ground_truth/structural_anomalies/000/000.png",
    ]
    records = json.loads((tmp_path / "out/pins/defects_config.json").read_text())
    by_name = {r["defect_name"]: r for r in records}
    assert by_name["missing"]["saturation_threshold"] == 7
    with Image.open(tmp_path / "out" / masks[0]) as image:
        assert np.unique(image).tolist() == [0, by_name["missing"]["pixel_value"]]
    assert_same(dataset, read(tmp_path / "out")[0])
    (tmp_path / "out/granum.json").unlink()
    bare, _ = read(tmp_path / "out")
    assert drawn(bare) == drawn(dataset) and labels(bare) == labels(dataset)


def test_ramps_are_written_as_they_are_cut(tmp_path: Path) -> None:
    dataset, _ = read(tiles(tmp_path / "in"))
    made = written(dataset, tmp_path / "out")
    assert made == [
        *("granum.json", "ground_truth/Crack/exp1_num_1_mask.png", "test/Crack/exp1_num_1.jpg"),
        "test/good/exp1_num_1.jpg",
    ]
    with Image.open(tmp_path / "out" / made[1]) as image:
        assert np.asarray(image).tolist() == CORNER
    back, _ = read(tmp_path / "out")
    assert drawn(back) == drawn(dataset)
    assert splits(back) == {None: 2}


def test_polygons_are_drawn_and_names_made_apart(tmp_path: Path) -> None:
    """Two photos of one name; a label that is no folder; a photo that nothing is said of."""
    put(tmp_path, "media/a/0.png")
    put(tmp_path, "media/b/0.png")
    ring = [0.0, 0.0, 2.0, 0.0, 2.0, 1.0, 0.0, 1.0]
    said = [Annotation("label", 0), Annotation("object", 0, polygons=[[ring]])]
    samples = [
        Sample("a/0.png", Media("a/0.png"), split="test", annotations=said),
        Sample("b/0.png", Media("b/0.png"), split="train", annotations=said),
        Sample("c/0.png", Media("b/0.png")),
    ]
    dataset = Dataset.from_rows(
        samples, [Category("cut/torn", "defect")], media_root=tmp_path / "media"
    )
    made = written(dataset, tmp_path / "out")
    assert made == [
        *("granum.json", "ground_truth/cut_torn/0-2_mask.png", "ground_truth/cut_torn/0_mask.png"),
        *("test/0.png", "test/cut_torn/0.png", "train/cut_torn/0-2.png"),
    ]
    back, _ = read(tmp_path / "out")
    assert drawn(back) == {k: [("cut/torn", LEFT)] for k in ("a/0.png", "b/0.png")}
    assert labels(back)["c/0.png"] == []


def test_boxes_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "0.png")
    one = Sample("0.png", Media("0.png"), annotations=[Annotation(category=0, bbox=(0, 0, 1, 1))])
    dataset = Dataset.from_rows([one], [Category("dent", "defect")], media_root=tmp_path)
    with pytest.raises(LossError, match="object"):
        written(dataset, tmp_path / "out")


def test_masks_that_went_are_missed(tmp_path: Path) -> None:
    written(read(mvtec_ad(tmp_path / "in"))[0], tmp_path / "out")
    (tmp_path / "out/grid/ground_truth/crack/000_mask.png").unlink()
    put(tmp_path / "out", "grid/test/crack/007.png")
    _, findings = read(tmp_path / "out")
    assert [(f.code, f.path, f.message) for f in findings.items] == [
        ("missing-mask", "granum.json", "3 of 4 masks are there"),
        ("unlisted-image", "grid/test/crack/007.png", "granum.json does not name it"),
    ]
