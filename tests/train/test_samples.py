"""What a sample is for each task: closed cases, resizing, augmentation, batches."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from granum.errors import UnknownNameError, UsageError
from granum.schema import geometry, rows
from granum.store.dataset import Dataset
from granum.train.augment import Augment
from tests.data import shared
from tests.train.tiny import labelled, png

torch = pytest.importorskip("torch")

from granum.train.dataset import to_torch  # noqa: E402
from granum.train.decode import SampleError  # noqa: E402

CATEGORIES = [rows.Category("cat"), rows.Category("dog"), rows.Category("sky", isthing=False)]


def ramp(height: int, width: int) -> bytes:
    y, x = np.mgrid[:height, :width]
    return png(np.stack([10 * x, 10 * y, 0 * x], -1))


def sample(*annotations: rows.Annotation, key: str = "a.png", **values: Any) -> rows.Sample:
    media = rows.Media(bytes=ramp(10, 20))
    given = {"width": 20, "height": 10, "media": media, **values}
    return rows.Sample(key, annotations=list(annotations), **given)


def one(*annotations: rows.Annotation, **values: Any) -> Dataset:
    return Dataset.from_rows([sample(*annotations, **values)], CATEGORIES)


def thing(category: int = 0, **values: Any) -> rows.Annotation:
    return rows.Annotation(category=category, **values)


def test_detection_is_torchvisions_reference() -> None:
    square = [[[2.0, 2.0, 6.0, 2.0, 6.0, 6.0, 2.0, 6.0]]]
    ds = one(
        thing(1, bbox=(1.0, 2.0, 3.0, 4.0), area=7.0),
        thing(0, polygons=square),
        thing(0, bbox=(0.0, 0.0, 9.0, 9.0), crowd=True),
        thing(0, bbox=(5.0, 5.0, 0.0, 2.0)),  # no area
        thing(0, bbox=(5.0, 5.0, 1.0, 2.0), present=False),  # verified absent
        rows.Annotation("label", 1),
    )
    got = to_torch(ds, "detection")[0]
    assert got["image"].dtype == torch.uint8 and got["image"].shape == (3, 10, 20)
    assert got["image"][:, 3, 7].tolist() == [70, 30, 0]
    assert got["boxes"].dtype == torch.float32
    assert got["boxes"].tolist() == [[1, 2, 4, 6], [2, 2, 6, 6]]
    assert got["labels"].tolist() == [1, 0] and got["labels"].dtype == torch.int64
    assert got["area"].tolist() == [7, 16]
    assert got["iscrowd"].tolist() == [0, 0]
    assert got["image_id"].tolist() == [0]
    assert (got["key"], got["index"]) == ("a.png", 0)
    assert got["size"].tolist() == [10, 20] and got["scale"].tolist() == [1, 1]
    kept = to_torch(ds, "detection", crowd=True)[0]
    assert kept["iscrowd"].tolist() == [0, 0, 1]
    only = to_torch(ds, "detection", classes=["dog"])
    assert only[0]["labels"].tolist() == [0] and only.classes.rows == (1,)


def test_no_boxes_is_an_empty_target() -> None:
    ds = Dataset.from_rows([sample(thing(bbox=(0.0, 0, 1, 1))), sample(key="b.png")], CATEGORIES)
    got = to_torch(ds)[1]
    assert got["boxes"].shape == (0, 4) and got["boxes"].dtype == torch.float32
    assert got["labels"].shape == got["iscrowd"].shape == got["area"].shape == (0,)


def test_resizing_is_recorded_and_moves_boxes() -> None:
    ds = one(thing(bbox=(2.0, 4.0, 10.0, 3.0), area=30.0))
    got = to_torch(ds, size=(30, 10))[0]
    assert got["image"].shape == (3, 30, 10)
    assert got["scale"].tolist() == [3.0, 0.5]  # y, x
    assert got["boxes"].tolist() == [[1, 12, 6, 21]]
    assert got["area"].tolist() == [45]
    back = got["boxes"].double() / got["scale"].flip(0).repeat(2)
    assert back.tolist() == [[2, 4, 12, 7]]


def test_fractions_become_pixels() -> None:
    square = [[[0.1, 0.2, 0.3, 0.2, 0.3, 0.6, 0.1, 0.6]]]
    ds = one(
        thing(bbox=(0.1, 0.2, 0.5, 0.3)), thing(1, polygons=square),
        unit="relative", width=None, height=None,
    )  # fmt: skip
    got = to_torch(ds)[0]
    assert np.allclose(got["boxes"], [[2, 2, 12, 5], [2, 2, 6, 6]])
    assert np.allclose(got["area"], [30, 16])
    mask = to_torch(ds, "semantic")[0]["mask"]
    assert (mask == 0).sum() == 16 and mask[2, 2] == 0 and mask[5, 5] == 0


def test_classification_needs_one_label() -> None:
    def said(*categories: int) -> list[rows.Annotation]:
        return [rows.Annotation("label", c, present=True if c else None) for c in categories]

    samples = [
        sample(*said(1), key="one"),
        sample(*said(0, 1), key="two"),
        sample(key="none"),
        sample(*said(0), rows.Annotation("label", 1, present=False), key="absent"),
    ]
    ds = Dataset.from_rows(samples, CATEGORIES)
    with pytest.raises(UsageError, match=r"2 of 4 samples have no target .*'two'"):
        to_torch(ds, "classification")
    kept = to_torch(ds, "classification", missing="keep")
    assert [int(kept[i]["label"]) for i in range(4)] == [1, -1, -1, 0]
    served = to_torch(ds, "classification", missing="skip")
    assert [s["key"] for s in (served[0], served[1])] == ["one", "absent"]
    assert served[1]["index"] == 3 and served.left_out.tolist() == [1, 2]
    assert served.classes.names == ("cat", "dog")
    dog = to_torch(ds, "classification", classes=["dog"], missing="keep")
    assert [int(dog[i]["label"]) for i in range(4)] == [0, 0, -1, -1]
    with pytest.raises(UnknownNameError, match="cow"):
        to_torch(ds, "classification", classes=["cow"])


def test_the_single_object_may_be_the_label() -> None:
    samples = [sample(thing(2, bbox=(0.0, 0, 1, 1))), sample(thing(0), thing(1), key="b")]
    ds = Dataset.from_rows(samples, CATEGORIES)
    got = to_torch(ds, "classification", label_from="object", missing="keep")
    assert [int(got[i]["label"]) for i in range(2)] == [2, -1]
    with pytest.raises(UsageError, match="label rows"):
        to_torch(ds, "classification")


def test_semantic_masks_in_every_form(tmp_path: Path) -> None:
    low = np.zeros((10, 20), bool)
    low[8:] = True
    Image.fromarray((low * 7).astype(np.uint8)).save(tmp_path / "map.png")
    square = [[[0.0, 0, 4, 0, 4, 4, 0, 4]]]
    size, counts = geometry.encode_mask(~low & (np.arange(20) > 15))
    ds = Dataset.from_rows(
        [
            sample(
                thing(0, polygons=square),
                thing(1, rle=rows.Rle(size, counts)),
                thing(2, map=rows.LabelMap("map.png", value=7)),
                thing(0, bbox=(0.0, 0, 20, 10)),  # a box has no pixels
            )
        ],
        CATEGORIES,
        media_root=tmp_path,
    )
    got = to_torch(ds, "semantic")[0]["mask"].numpy()
    expected = np.full((10, 20), 255)
    expected[:4, :4] = 0
    expected[:8, 16:] = 1
    expected[8:] = 2
    assert got.dtype == np.int64 and np.array_equal(got, expected)
    doubled = to_torch(ds, "semantic", size=(20, 40))[0]["mask"].numpy()
    assert np.array_equal(doubled, expected.repeat(2, 0).repeat(2, 1))
    few = to_torch(ds, "semantic", classes=["sky"])[0]["mask"].numpy()
    assert np.array_equal(few == 0, low) and (few[~low] == 255).all()


def test_whole_maps_are_read_by_source_id(tmp_path: Path) -> None:
    values = np.tile(np.asarray([3, 5, 9, 3], np.uint8).repeat(5), (10, 1))
    Image.fromarray(values).save(tmp_path / "m.png")
    land = [rows.Category(n, "land", source_id=str(i)) for n, i in (("water", 5), ("grass", 3))]
    ds = Dataset.from_rows(
        [sample(rows.Annotation(map=rows.LabelMap("m.png", space="land")))],
        [*CATEGORIES, *land],
        media_root=tmp_path,
    )
    served = to_torch(ds, "semantic")
    assert served.classes.names == ("water", "grass")
    mask = served[0]["mask"][0].tolist()
    assert mask == [1] * 5 + [0] * 5 + [255] * 5 + [1] * 5


def test_ignored_rows_are_ignored_pixels() -> None:
    square = [[[0.0, 0, 4, 0, 4, 4, 0, 4]]]
    inner = [[[1.0, 1, 3, 1, 3, 3, 1, 3]]]
    ds = one(thing(0, polygons=square), thing(0, polygons=inner, ignore=True))
    mask = to_torch(ds, "semantic")[0]["mask"]
    assert (mask == 0).sum() == 12 and mask[1, 1] == 255


def test_one_number_is_a_square() -> None:
    ds = one(thing(bbox=(4.0, 2, 8, 4)))
    both, single = to_torch(ds, size=(30, 30))[0], to_torch(ds, size=30)[0]
    assert single["image"].shape == (3, 30, 30)
    assert torch.equal(single["boxes"], both["boxes"])
    for wrong in (0, -1, (30,), (30, 0), (1, 2, 3), "30", 2.5):
        with pytest.raises(UsageError, match="size is"):
            to_torch(ds, size=wrong)  # type: ignore[arg-type]


def test_anomaly_is_any_defect() -> None:
    square = [[[0.0, 0, 4, 0, 4, 4, 0, 4]]]
    bad = sample(thing(0, polygons=square), key="bad")
    ds = Dataset.from_rows([bad, sample(key="good")], CATEGORIES)
    served = to_torch(ds, "anomaly", size=(20, 40))
    assert [int(served[i]["label"]) for i in (0, 1)] == [1, 0]
    assert served[0]["mask"].sum() == 64 and served[1]["mask"].sum() == 0
    assert served[1]["mask"].shape == (20, 40) and served.classes.names == ()
    # With a space of defects, other objects are no defects; label rows may say it.
    spaces = [*CATEGORIES, rows.Category("hole", "defect"), rows.Category("good", "defect")]
    samples = [
        bad,
        sample(thing(3, polygons=square), key="hole"),
        sample(rows.Annotation("label", 3), key="said"),
        sample(rows.Annotation("label", 4), key="well"),
    ]
    served = to_torch(Dataset.from_rows(samples, spaces), "anomaly")
    assert [int(served[i]["label"]) for i in range(4)] == [0, 1, 1, 0]


def test_orientation_of_the_store_is_obeyed() -> None:
    media = rows.Media(bytes=ramp(20, 10))  # stored lying; the coordinates' raster is 10 x 20
    ds = one(thing(bbox=(0.0, 0, 2, 2)), media=media, orientation=6)
    got = to_torch(ds)[0]
    assert got["image"].shape == (3, 10, 20) and got["size"].tolist() == [10, 20]
    assert got["image"][:, 0, 0].tolist() == [0, 190, 0]  # the lower left corner of what is stored


def test_a_wrong_size_is_told() -> None:
    ds = one(thing(bbox=(0.0, 0, 2, 2)), width=21)
    with pytest.raises(SampleError, match=r"'a\.png'.*20 x 10.*21 x 10"):
        to_torch(ds)[0]


def test_flips_move_everything() -> None:
    square = [[[0.0, 0, 4, 0, 4, 4, 0, 4]]]
    ds = one(thing(0, polygons=square))
    still, turned = (to_torch(ds, transform=Augment(flip=f))[0] for f in (0.0, 1.0))
    assert torch.equal(turned["image"], still["image"].flip(2))
    assert turned["boxes"].tolist() == [[16, 0, 20, 4]]
    masks = [to_torch(ds, "semantic", transform=Augment(flip=f))[0]["mask"] for f in (0.0, 1.0)]
    assert torch.equal(masks[1], masks[0].flip(1))


def test_chance_depends_on_seed_epoch_and_key_only() -> None:
    ds = labelled(6)
    served = to_torch(ds, "classification", missing="skip", transform=Augment(0.5, 0.4))
    turned = to_torch(
        ds.select(np.arange(12)[::-1]), "classification", missing="skip",
        transform=Augment(0.5, 0.4),
    )  # fmt: skip
    assert torch.equal(served[7, 3, 2]["image"], served[7, 3, 2]["image"])
    assert torch.equal(served[7, 3, 2]["image"], turned[7, 3, 9]["image"])
    others = [served[v]["image"] for v in ((7, 4, 2), (8, 3, 2))]
    assert not any(torch.equal(served[7, 3, 2]["image"], o) for o in others)
    flipped = [
        bool((Augment(0.5)({"image": np.arange(6).reshape(1, 2, 3)}, r)["image"][0, 0] == 3).any())
        for r in map(np.random.default_rng, range(400))
    ]
    assert 150 < sum(flipped) < 250


def test_batches_stack_what_has_one_shape() -> None:
    other = rows.Sample("b.png", rows.Media(bytes=ramp(8, 8)), 8, 8)
    ds = Dataset.from_rows([sample(thing(bbox=(0.0, 0, 1, 1))), other], CATEGORIES)
    ragged = to_torch(ds)
    batch = ragged.collate([ragged[0], ragged[1]])
    assert [tuple(i.shape) for i in batch["image"]] == [(3, 10, 20), (3, 8, 8)]
    assert [len(b) for b in batch["boxes"]] == [1, 0]
    sized = to_torch(ds, size=(8, 8))
    batch = sized.collate(sized.__getitems__([0, 1]))
    assert batch["image"].shape == (2, 3, 8, 8)
    assert torch.equal(batch["image"][1], sized[1]["image"])
    assert batch["size"].tolist() == [[10, 20], [8, 8]]
    assert batch["key"] == ["a.png", "b.png"] and batch["index"].tolist() == [0, 1]
    assert batch["weight"].tolist() == [1, 1] and batch["faulty"] == []


def test_it_can_be_pickled_and_holds_columns_only() -> None:
    served = to_torch(labelled(8), "classification", missing="skip")
    again = pickle.loads(pickle.dumps(served))
    assert torch.equal(again[3]["image"], served[3]["image"])
    assert again.fingerprint == served.fingerprint


def test_splits_keep_rows_of_the_dataset() -> None:
    ds = labelled(4, val=3)
    val = to_torch(ds, "classification", split="val")
    assert [val[i]["index"] for i in range(3)] == [4, 5, 6] and len(val) == 3
    assert val.fingerprint != to_torch(ds, "classification", split="train").fingerprint
    with pytest.raises(UnknownNameError, match="test"):
        to_torch(ds, "classification", split="test")


def test_what_cannot_be_meant() -> None:
    ds = labelled(2)
    for options in ({"task": "boxes"}, {"task": "classification", "label_from": "caption"}):
        with pytest.raises(UsageError, match="must be"):
            to_torch(ds, **options)
    with pytest.raises(UsageError, match="raise, skip or replace"):
        to_torch(ds, "image", on_error="ignore")
    with pytest.raises(IndexError):
        to_torch(ds, "image")[8]
    with pytest.raises(UsageError, match="detection needs boxes"):
        to_torch(ds, "detection")


def test_real_photos_and_masks() -> None:
    import granum

    images = shared("coco128/images")
    ds = granum.read(shared("coco128/panoptic"), images=images)
    served = to_torch(ds, "semantic")
    got = served[0]
    label = ds[0]
    expected = np.full(got["mask"].shape, 255)
    for k, annotation in enumerate(label.annotations):
        expected[label.mask(k)] = served.classes.rows.index(annotation.category)
    assert np.array_equal(got["mask"].numpy(), expected)
    photo = np.asarray(ds[0].image().convert("RGB")).astype(int)
    assert np.abs(photo - got["image"].permute(1, 2, 0).numpy()).mean() <= 2
