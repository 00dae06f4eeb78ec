"""Comparing datasets by what they mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from granum.schema.geometry import encode_mask, rasterize
from granum.schema.rows import Annotation, Category, Group, LabelMap, Rle, Sample
from granum.store.dataset import Dataset
from granum.testing import assert_same, differences, small_datasets
from granum.testing.media import png


def box(**values):
    return Annotation(**{"category": 0, "bbox": (1.0, 2.0, 3.0, 4.0), **values})


def data(*annotations, categories=("cat", "dog"), **sample):
    one = Sample("a.jpg", annotations=list(annotations), **{"width": 20, "height": 10, **sample})
    return Dataset.from_rows([one], [Category(c) for c in categories])


def test_equal_to_itself_and_to_no_other():
    made = list(small_datasets().items())
    for (name, one), (other, two) in zip(made, [*made[1:], made[1]], strict=True):
        assert differences(one, one) == [], name
        assert differences(one, two, limit=1), (name, other)
        assert name == "box" or differences(one, made[1][1], limit=1), name


def test_differences_name_sample_annotation_and_column():
    before = data(box(), box(score=0.5))
    after = data(box(), box(score=0.25))
    assert differences(before, after) == [
        "sample 'a.jpg', annotation 1, score: 0.5 became 0.25 (by 0.25)"
    ]
    with pytest.raises(AssertionError, match="annotation 1, score"):
        assert_same(before, after)


def test_zero_is_not_absent():
    assert differences(data(box(score=0.0)), data(box())) == [
        "sample 'a.jpg', annotation 0, score: 0.0 became None"
    ]
    assert differences(data(box(crowd=False)), data(box()))
    assert differences(data(box(text="")), data(box()))
    assert differences(data(box(attributes={})), data(box()))
    assert differences(data(box(attributes={"a": None})), data(box(attributes={})))
    assert differences(data(box(attributes={"a": 1})), data(box(attributes={"a": True})))


def test_ids_do_not_count_but_what_they_refer_to_does():
    before = data(box(annotation_id=5), box(annotation_id=9, parent=5, track=3))
    assert (
        differences(before, data(box(annotation_id=1), box(annotation_id=2, parent=1, track=0)))
        == []
    )
    assert differences(before, data(box(annotation_id=1), box(annotation_id=2, parent=2, track=0)))
    assert differences(before, data(box(annotation_id=1), box(annotation_id=2, track=0)))


def test_tracks_are_who_is_with_whom():
    def tracks(*numbers):
        return data(*(box(track=n, annotation_id=i + 1) for i, n in enumerate(numbers)))

    assert differences(tracks(1, 2, 1), tracks(7, 0, 7)) == []
    assert differences(tracks(1, 2, 1), tracks(1, 2, 2))
    assert differences(tracks(1, 2, 1), tracks(1, 1, 1))
    assert differences(tracks(1, 2, None), tracks(1, 2, 3))


def test_categories_are_found_by_name():
    before = data(box(category=0), box(category=1))
    turned = data(box(category=1), box(category=0), categories=("dog", "cat"))
    assert differences(before, turned, ordered=False) == []
    assert differences(before, turned) == [
        "categories have another order: ['cat', 'dog'] became ['dog', 'cat']"
    ]
    assert "category: 'cat' became 'dog'" in differences(before, data(box(category=1), box()))[0]
    assert differences(
        before, data(box(category=0), box(category=1), categories=("cat", "dog", "x"))
    )


def test_spaces_tell_names_apart():
    def spaced(space):
        listed = [Category("run"), Category("run", space)]
        return Dataset.from_rows([Sample("a", annotations=[box(category=1)])], listed)

    assert differences(spaced("action"), spaced("scene"))
    assert differences(spaced("action"), spaced("action")) == []
    one = Dataset.from_rows([], [Category("a", None)])
    assert differences(one, Dataset.from_rows([], [Category("a", "object")])) == []


def test_order():
    before, turned = data(box(score=0.1), box(score=0.2)), data(box(score=0.2), box(score=0.1))
    assert len(differences(before, turned)) == 2
    assert differences(before, turned, ordered=False) == []
    assert differences(before, data(box(score=0.2), box(score=0.3)), ordered=False)
    samples = [Sample("a"), Sample("b")]
    one, two = Dataset.from_rows(samples), Dataset.from_rows(samples[::-1])
    assert differences(one, two) == ["samples have another order: ['a', 'b'] became ['b', 'a']"]
    assert differences(one, two, ordered=False) == []


def test_order_and_references_together():
    before = data(box(annotation_id=1), box(annotation_id=2, score=0.5, parent=1))
    turned = data(box(annotation_id=1, score=0.5, parent=2), box(annotation_id=2))
    assert differences(before, turned, ordered=False) == []
    assert differences(before, data(box(score=0.5), box()), ordered=False)


def test_units_in_pixels():
    pixels = data(box(bbox=(2.0, 1.0, 10.0, 5.0), polygons=[[[2.0, 1, 4, 1, 4, 5]]]))
    inside = box(bbox=(0.1, 0.1, 0.5, 0.5), polygons=[[[0.1, 0.1, 0.2, 0.1, 0.2, 0.5]]])
    assert differences(pixels, data(inside, unit="relative")) == []
    # the size may be known on one side only
    assert differences(pixels, data(inside, unit="relative", width=None), ignore=["width"]) == []
    nowhere = data(inside, unit="relative", width=None)
    assert differences(replaced_size(pixels), nowhere, ignore=["width"])


def replaced_size(dataset):
    return Dataset.from_rows(
        [replace(v.row, width=None) for v in dataset], [Category("cat"), Category("dog")]
    )


def test_tolerance():
    before, after = data(box()), data(box(bbox=(1.0, 2.0, 3.0, 4.01)))
    assert "(by 0.01)" in differences(before, after)[0]
    assert differences(before, after, tolerance={"bbox": 0.011}) == []
    assert differences(before, after, tolerance={"score": 1.0})
    assert differences(before, data(box(bbox=None)), tolerance={"bbox": 1.0})


def test_choosing_columns():
    before, after = data(box(score=0.5), split="train"), data(box(score=0.1), split="val")
    assert len(differences(before, after)) == 2
    assert differences(before, after, columns=["bbox", "category"]) == []
    assert len(differences(before, after, columns=["score"])) == 1
    assert differences(before, after, ignore=["score", "samples.split"]) == []
    assert len(differences(before, after, ignore=["annotations.split", "samples.score"])) == 2
    masks = data(box(polygons=[[[0.0, 0, 1, 0, 1, 1]]], score=0.5), split="train")
    assert differences(before, masks, columns=["mask"])
    assert differences(before, masks, ignore=["mask"]) == []


def test_kinds_are_no_columns():
    """``object`` names a kind; that the column of relations is called so, too, does not matter."""
    before = data(box(annotation_id=1), Annotation("relation", object=1, annotation_id=2))
    after = data(box(annotation_id=1), Annotation("relation", annotation_id=2))
    assert differences(before, after, columns=["object"]) == []
    assert differences(before, after, columns=["relation"])


def test_what_is_missing_and_new():
    two = Dataset.from_rows([Sample("a"), Sample("b")], groups=[Group("v")])
    one = Dataset.from_rows([Sample("a")])
    assert differences(two, one) == ["sample 'b' is missing", "group 'v' is missing"]
    assert differences(one, two) == [
        "sample 'b' was not there before",
        "group 'v' was not there before",
    ]
    assert differences(data(box(), box()), data(box())) == [
        "sample 'a.jpg': 2 annotations (object, object) became 1 (object)"
    ]


def test_layers():
    made = small_datasets()["layers"]
    only = made.layer("predictions")
    assert differences(made, made, ignore=["layers"]) == []
    # the current layers are compared, whatever they are called
    alone = data(box(bbox=(2.0, 1.0, 8.0, 5.0), score=0.0), categories=("cat",), media=None)
    found = differences(only, alone, ignore=["layers", "media"])
    assert found == []
    assert differences(made, alone, ignore=["layers", "media"])


def test_limit():
    before = data(*(box(score=0.5) for _ in range(30)))
    after = data(*(box(score=0.1) for _ in range(30)))
    assert len(differences(before, after)) == 20
    assert len(differences(before, after, limit=3)) == 3


RING = [2.0, 1.0, 10.0, 1.0, 10.0, 6.0, 2.0, 6.0]


def test_masks_in_another_form_by_their_pixels(tmp_path):
    mask = rasterize([[RING]], 10, 20)
    polygon, rle = data(box(polygons=[[RING]])), data(box(rle=Rle(*encode_mask(mask))))
    assert differences(polygon, rle) == differences(rle, polygon) == []
    mask[0, 0] = True
    assert differences(polygon, data(box(rle=Rle(*encode_mask(mask)))))
    # without a size there are no pixels
    unsized = data(box(polygons=[[RING]]), width=None)
    assert differences(unsized, data(box(rle=Rle(*encode_mask(mask))), width=None))
    Image.fromarray(np.where(rasterize([[RING]], 10, 20), 7, 3).astype(np.uint8)).save(
        tmp_path / "m.png"
    )
    mapped = Dataset.from_rows(
        [Sample("a.jpg", annotations=[box(map=LabelMap("m.png", value=7))], width=20, height=10)],
        [Category("cat"), Category("dog")],
        media_root=tmp_path,
    )
    assert differences(polygon, mapped) == []
    assert differences(data(box(map=LabelMap("other.png", value=7))), mapped)


def test_one_of_two_masks_dropped_is_a_difference():
    small = Rle(*encode_mask(rasterize([[[0.0, 0, 2, 0, 2, 2, 0, 2]]], 10, 20)))
    both = data(box(polygons=[[RING]], rle=small))
    assert differences(both, data(box(rle=small)))
    assert differences(both, data(box(polygons=[[RING]])))


def test_whole_maps_are_compared_by_their_values(tmp_path):
    sides = []
    for name, value in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").write_bytes(png(4, 3, value))
        whole = Annotation(map=LabelMap(f"{name}.png", space="object"))
        made = Dataset.from_rows([Sample("k", width=4, height=3, annotations=[whole])])
        sides.append(Dataset(made.parts, meta=replace(made.meta, map_root=str(tmp_path / name))))
    assert not differences(sides[0], sides[1])
    assert "map" in differences(sides[0], sides[2])[0]
