"""Writing COCO panoptic: from any masks, read by others, and what cannot be held."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

import granum
from granum.errors import LossError, SizeUnknownError, UsageError
from granum.schema import tables
from granum.schema.geometry import encode_mask
from granum.schema.rows import Annotation, Category, LabelMap, Media, Rle, Sample
from granum.schema.tables import with_column
from granum.store.dataset import Dataset
from granum.store.parts import Batch
from granum.testing import FormatSuite
from granum.testing.suite import Keeps
from tests.data import shared
from tests.loaders.panoptic_trees import files, ids_of, load, put

FORMAT = "coco_panoptic"
TWO = [Category("person", isthing=True), Category("sky", isthing=False)]


def square(x: float, y: float, w: float, h: float) -> list[list[list[float]]]:
    return [[[x, y, x + w, y, x + w, y + h, x, y + h]]]


def thing(**values: Any) -> Annotation:
    return Annotation(**{"category": 0, **values})


def image(key: str, *annotations: Annotation, **values: Any) -> Sample:
    named = {"width": 12, "height": 8, **values}
    return Sample(key, Media(key), annotations=list(annotations), **named)


def rle(mask: Any) -> Rle:
    return Rle(*encode_mask(np.asarray(mask, bool)))


def written(dataset: Dataset, target: Path, **options: Any) -> Any:
    """The JSON that a dataset without splits is written as."""
    granum.write(dataset, target, FORMAT, **options)
    return json.loads((target / "annotations/panoptic_all.json").read_text())


# ---------------------------------------------------------------------- from other forms


def test_polygons_become_ids(tmp_path: Path) -> None:
    """Golden output, worked out by hand: two squares, ids 1 and 2, boxes and areas of pixels."""
    dataset = Dataset.from_rows(
        [
            image(
                "a.jpg",
                thing(polygons=square(1, 2, 3, 4)),
                thing(
                    polygons=square(6, 0, 2, 2),
                    category=1,
                    bbox=(6, 0, 2.5, 2),
                    area=4.5,
                    crowd=True,
                ),
            )
        ],
        TWO,
    )
    made = written(dataset, tmp_path / "out")
    assert made["images"] == [{"id": 1, "width": 12, "height": 8, "file_name": "a.jpg"}]
    assert made["annotations"] == [
        {
            "image_id": 1,
            "file_name": "a.png",
            "segments_info": [
                {
                    "id": 1,
                    "category_id": 1,
                    "area": 12,
                    "bbox": [1, 2, 3, 4],
                    "iscrowd": 0,
                    "granum_filled": ["bbox", "iscrowd"],
                },
                {"id": 2, "category_id": 2, "area": 4.5, "bbox": [6, 0, 2.5, 2], "iscrowd": 1},
            ],
        }
    ]
    assert made["categories"] == [
        {"id": 1, "name": "person", "isthing": 1},
        {"id": 2, "name": "sky", "isthing": 0},
    ]
    ids = ids_of(tmp_path / "out/annotations/panoptic_all/a.png")
    expected = np.zeros((8, 12), int)
    expected[2:6, 1:4], expected[0:2, 6:8] = 1, 2
    assert ids.tolist() == expected.tolist()
    back = granum.read(tmp_path / "out")
    assert [a.bbox for a in back[0].annotations] == [None, (6, 0, 2.5, 2)]
    assert [a.crowd for a in back[0].annotations] == [None, True]
    assert (back[0].mask(0) == (expected == 1)).all()


def test_every_form_of_mask(tmp_path: Path) -> None:
    """RLE, label maps of all encodings, polygons with a hole, embedded maps: the same pixels."""
    from granum.loaders._panoptic_pixels import encode_png

    ids = np.repeat(np.arange(8)[:, None], 12, axis=1)
    put(tmp_path / "maps/rgb.png", ids)
    stripes = [(ids == k) for k in range(8)]
    hole = [[[0, 6, 12, 6, 12, 8, 0, 8], [2, 6, 4, 6, 4, 7, 2, 7]]]
    sample = image(
        "a.jpg",
        thing(map=LabelMap("rgb.png", encoding="rgb24", value=3)),
        thing(rle=rle(stripes[1])),
        thing(map=LabelMap("rgb.png", encoding="index", value=2)),
        thing(map=LabelMap(None, encode_png((ids == 4) * 9), "nonzero")),
        thing(map=LabelMap(None, encode_png((ids == 5) * 9), "greater", threshold=4)),
        thing(polygons=hole),
    )
    dataset = Dataset.from_rows([sample], TWO, media_root=tmp_path / "maps")
    before = [dataset[0].mask(k) for k in range(6)]
    report = granum.write(dataset, tmp_path / "out", FORMAT)
    assert report.lost_names() == {}
    assert {r.column: r.changed for r in report.rows if r.changed} == {
        "map": 4,
        "rle": 1,
        "polygons": 1,
    }
    back = granum.read(tmp_path / "out", FORMAT)
    # The id of the panoptic PNG stays; the others get the lowest free ones.
    assert [a.source_id for a in back[0].annotations] == ["3", "1", "2", "4", "5", "6"]
    for k, mask in enumerate(before):
        assert mask.any()
        assert (back[0].mask(k) == mask).all(), k


def test_ids_of_three_bytes_are_painted(tmp_path: Path) -> None:
    """R = 3, G = 2, B = 1, beside an object that makes the PNG be painted anew."""
    ids = np.zeros((8, 12), int)
    ids[:, :4] = 3 + 256 * 2 + 65536 * 1
    put(tmp_path / "maps/a.png", ids)
    named = thing(map=LabelMap("a.png", encoding="rgb24", value=66051))
    sample = image("a.jpg", named, thing(polygons=square(6, 0, 2, 8)))
    dataset = Dataset.from_rows([sample], TWO, media_root=tmp_path / "maps")
    granum.write(dataset, tmp_path / "out", FORMAT)
    ids[:, 6:8] = 1
    found = ids_of(tmp_path / "out/annotations/panoptic_all/a.png")
    assert found.tolist() == ids.tolist()


def test_further_forms_are_kept_beside(tmp_path: Path) -> None:
    both = thing(polygons=square(1, 1, 2.25, 2), rle=rle(np.eye(8, 12)), bbox=(1, 1, 2, 2))
    dataset = Dataset.from_rows([image("a.jpg", both)], TWO)
    granum.write(dataset, tmp_path / "out", FORMAT)
    back = granum.read(tmp_path / "out", FORMAT)
    (one,) = back[0].annotations
    assert one.polygons == both.polygons
    assert one.rle is None
    assert (back[0].mask(0) == np.eye(8, 12, dtype=bool)).all()
    granum.write(back, tmp_path / "again", FORMAT)
    assert files(tmp_path / "again") == files(tmp_path / "out")


@pytest.mark.parametrize(
    ("annotations", "lost"),
    [
        ([thing(polygons=square(0, 0, 4, 4)), thing(polygons=square(3, 3, 4, 4))], 1),
        ([thing(polygons=square(0, 0, 4, 4)), thing(polygons=square(4, 0, 4, 4))], 0),
        ([thing(bbox=(0, 0, 1, 1))], 1),
        ([thing(polygons=square(0, 0, 4, 4), category=None)], 1),
        ([thing(rle=rle(np.ones((3, 3))))], 1),
        ([thing(map=LabelMap("absent.png", encoding="rgb24", value=1))], 1),
        ([thing(map=LabelMap("../up.png", encoding="rgb24", value=1))], 1),
        ([thing(map=LabelMap("one.png", encoding="rgb24", value=1))] * 2, 1),
        ([thing(map=LabelMap("one.png", encoding="rgb24"))], 1),
    ],
)
def test_what_cannot_be_held_is_refused(
    tmp_path: Path, annotations: Sequence[Annotation], lost: int
) -> None:
    put(tmp_path / "up.png", np.ones((8, 12), int))
    put(tmp_path / "maps/one.png", np.ones((8, 12), int))
    dataset = Dataset.from_rows([image("a.jpg", *annotations)], TWO, media_root=tmp_path / "maps")
    if not lost:
        assert granum.write(dataset, tmp_path / "out", FORMAT).lost_names() == {}
        return
    with pytest.raises(LossError) as caught:
        granum.write(dataset, tmp_path / "out", FORMAT)
    assert "object" in caught.value.refused
    assert not (tmp_path / "out").exists()
    granum.write(dataset, tmp_path / "out", FORMAT, allow_loss=["all"])
    assert granum.read(tmp_path / "out").num_annotations == len(annotations) - lost


def test_relative_coordinates_and_unknown_sizes(tmp_path: Path) -> None:
    inside = thing(polygons=square(0.25, 0.25, 0.5, 0.5), bbox=(0.25, 0.25, 0.5, 0.5))
    sized = Dataset.from_rows([image("a.jpg", inside, unit="relative")], TWO)
    made = written(sized, tmp_path / "out")["annotations"][0]["segments_info"][0]
    assert (made["bbox"], made["area"]) == ([3, 2, 6, 4], 24)
    bare = image("a.jpg", inside, unit="relative", width=None, height=None)
    with pytest.raises(SizeUnknownError):
        granum.write(Dataset.from_rows([bare], TWO), tmp_path / "none", FORMAT)


# ---------------------------------------------------------------------- files


def test_names_stay_apart(tmp_path: Path) -> None:
    keys = ["a.jpg", "a.png", "sub/a.jpg", "../a.jpg", "/x/b.jpg", "b", "C:\\c.jpg"]
    samples = [image(k, thing(polygons=square(i, 0, 1, 8))) for i, k in enumerate(keys)]
    granum.write(Dataset.from_rows(samples, TWO), tmp_path / "out", FORMAT)
    pngs = [n.split("/", 2)[2] for n in files(tmp_path / "out") if n.endswith(".png")]
    assert pngs == sorted(
        ["C:/c.png", "a.jpg.png", "a.png", "a.png.png", "b.png", "sub/a.png", "x/b.png"]
    )
    back = granum.read(tmp_path / "out")
    assert [s.key for s in back] == keys
    assert [np.flatnonzero(s.mask(0).any(axis=0)).tolist() for s in back] == [[i] for i in range(7)]


def test_splits_and_their_order(tmp_path: Path) -> None:
    """One file per split; names, folders of images and the order of samples come back."""
    keys = [
        *(("val", "val/1.jpg"), ("train", "images/train/1.jpg"), (None, "n.jpg")),
        *(("holdout 2", "h.jpg"), ("val", "val/2.jpg"), ("a/b", "x/y.jpg"), ("a_b", "z.jpg")),
    ]
    samples = [image(k, thing(polygons=square(0, 0, 2, 2)), split=s) for s, k in keys]
    granum.write(Dataset.from_rows(samples, TWO), tmp_path / "out", FORMAT)
    names = [n for n in files(tmp_path / "out") if n.endswith(".json")]
    assert names == [
        *("annotations/panoptic_a_b-2.json", "annotations/panoptic_a_b.json"),
        *("annotations/panoptic_all.json", "annotations/panoptic_holdout_2.json"),
        *("annotations/panoptic_train.json", "annotations/panoptic_val.json"),
    ]
    val = json.loads((tmp_path / "out/annotations/panoptic_val.json").read_text())
    assert [i["file_name"] for i in val["images"]] == ["1.jpg", "2.jpg"]
    assert (tmp_path / "out/val").is_dir()
    back = granum.read(tmp_path / "out")
    assert [(s.split, s.key) for s in back] == keys


def test_copies_images_to_where_they_are_found(tmp_path: Path) -> None:
    put(tmp_path / "media/val/1.png", np.zeros((8, 12), int))
    dataset = Dataset.from_rows(
        [image("val/1.png", thing(polygons=square(0, 0, 2, 2)), split="val")],
        TWO,
        media_root=tmp_path / "media",
    )
    granum.write(dataset, tmp_path / "out", FORMAT, media="copy")
    back = granum.read(tmp_path / "out")
    assert (back[0].key, back[0].image().size) == ("val/1.png", (12, 8))


def test_ids_of_images_and_categories_stay(tmp_path: Path) -> None:
    categories = [Category("a", source_id="90"), Category("b"), Category("c", source_id="x")]
    samples = [
        image("1.jpg", thing(polygons=square(0, 0, 2, 2), category=1), source_id="7"),
        image("2.jpg", thing(polygons=square(0, 0, 2, 2), category=2)),
        image("3.jpg", thing(polygons=square(0, 0, 2, 2)), source_id="7"),
    ]
    made = written(Dataset.from_rows(samples, categories), tmp_path / "out")
    assert [i["id"] for i in made["images"]] == [7, 1, 2]
    assert [c["id"] for c in made["categories"]] == [90, 1, "x"]
    used = [a["segments_info"][0]["category_id"] for a in made["annotations"]]
    assert used == [1, "x", 90]


def test_a_flag_that_is_not_stated_comes_back_so(tmp_path: Path) -> None:
    sample = image("a.jpg", thing(polygons=square(0, 0, 2, 2), category=1))
    categories = [Category("a", isthing=False), Category("b"), Category("c", isthing=True)]
    made = written(Dataset.from_rows([sample], categories), tmp_path / "out")
    assert [c["isthing"] for c in made["categories"]] == [0, 1, 1]
    back = granum.read(tmp_path / "out")
    assert [c.isthing for c in back[0].categories] == [False, None, True]
    assert [c.extra for c in back[0].categories] == [None, None, None]


def test_one_file_is_refused(tmp_path: Path) -> None:
    dataset = Dataset.from_rows([image("a.jpg", thing(polygons=square(0, 0, 2, 2)))], TWO)
    with pytest.raises(UsageError, match="name a folder"):
        granum.write(dataset, tmp_path / "out.json", FORMAT)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- other readers


def random_dataset(n: int, folder: Path) -> Dataset:
    """``n`` images of blocks: ids of a PNG, RLE or polygons."""
    rng = np.random.default_rng(7)
    samples = []
    for i in range(n):
        grid = rng.integers(0, 6, (4, 4))
        ids = np.kron(grid, np.ones((5, 6), int)) * 5000
        values = [v for v in np.unique(ids).tolist() if v]
        listed = []
        put(folder / f"{i}.png", ids)
        for v in values:
            category = int(rng.integers(0, 2))
            if i % 3 == 0:
                one = thing(map=LabelMap(f"{i}.png", encoding="rgb24", value=v))
            elif i % 3 == 1:
                one = thing(rle=rle(ids == v))
            else:
                cells = np.argwhere(grid * 5000 == v).tolist()
                one = thing(polygons=[square(6.0 * x, 5.0 * y, 6.0, 5.0)[0] for y, x in cells])
            # PQ remembers one crowd per class and image only.
            one.category, one.crowd = category, not listed and category == 0
            listed.append(one)
        samples.append(image(f"{i:03d}.jpg", *listed, width=24, height=20, split="val"))
    return Dataset.from_rows(samples, TWO, media_root=folder)


def test_others_read_what_we_write(tmp_path: Path) -> None:
    """200 images by panopticapi's rules and by hotcoco: counts, classes, areas, boxes, masks."""
    dataset = random_dataset(200, tmp_path / "maps")
    granum.write(dataset, tmp_path / "out", FORMAT)
    path = tmp_path / "out/annotations/panoptic_val.json"
    found = load(path)
    assert len(found) == sum(bool(s.annotations) for s in dataset) > 190
    for i, sample in enumerate(dataset):
        segments = found.get(sample.key, [])
        assert [s[0] for s in segments] == sample.labels
        assert [s[4] for s in segments] == [int(bool(a.crowd)) for a in sample.annotations]
        for k, (_, area, pixels, box, _) in enumerate(segments):
            if i % 10:
                break
            mask = sample.mask(k)
            ys, xs = np.nonzero(mask)
            assert area == pixels == mask.sum()
            assert box == [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]
    evaluation = pytest.importorskip("hotcoco.panoptic").PanopticEval(str(path), str(path))
    evaluation.evaluate()
    results = evaluation.results()
    assert results["All"] == {"pq": 1.0, "sq": 1.0, "rq": 1.0, "n": 2}
    plain = sum(not a.crowd for s in dataset for a in s.annotations)
    assert sum(c["tp"] for c in results["per_class"].values()) == plain


def with_segments(dataset: Dataset) -> Dataset:
    """Every object as an id of its image's map."""

    def change(batch: Batch) -> Batch:
        listed: list[dict[str, Any]] = []
        count: dict[int, int] = {}
        table = batch.annotations
        for sample in table["sample"].to_pylist() if table.num_rows else []:
            count[sample] = n = count.get(sample, 0) + 1
            listed.append({"path": f"seg/{sample}.png", "encoding": "rgb24", "value": 70000 * n})
        values = pa.array(listed, tables.ANNOTATIONS.field("map").type)
        return Batch(batch.samples, with_column(table, "map", values), batch.start)

    return dataset.map_batches(change)


class Segments(FormatSuite):
    """Usual datasets that have a mask for every object."""

    name = FORMAT
    least: ClassVar[Sequence[Keeps]] = (
        Keeps(("bbox", "category")),
        Keeps(("bbox", "category", "crowd", "score", "ignore", "attributes", "annotations.extra")),
        Keeps(("category", "supercategory", "isthing", "colour", "skeleton", "synonyms", "split")),
    )

    def ordinary(self, needed: Keeps, limits: Any) -> Any:
        return super().ordinary(needed, limits).map(with_segments)


def test_keeps_what_it_says(tmp_path: Path) -> None:
    """Nothing is refused of objects with masks of their own, and all comes back."""
    Segments().test_keeps_the_least(tmp_path)


def test_detections_become_the_segments_that_they_came_from(tmp_path: Path) -> None:
    """panopticapi's sample: 50 RLE made from two PNGs give the same partition of pixels."""
    root = shared("panoptic_sample")
    dataset = granum.read(root / "panoptic_coco_detection_format.json", "coco")
    report = granum.write(dataset, tmp_path / "out", FORMAT)
    assert report.lost_names() == {}
    before, after = granum.read(root, FORMAT), granum.read(tmp_path / "out", FORMAT)
    assert (len(after), after.num_annotations) == (2, 50)
    for sample in before:
        other = after[sample.key]
        masks = [other.mask(k) for k in range(len(other.annotations))]
        for k, label in enumerate(sample.labels):
            same = [i for i, m in enumerate(masks) if np.array_equal(m, sample.mask(k))]
            assert [other.labels[i] for i in same] == [label]
