"""PASCAL VOC: masks of objects and classes, read and written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import granum
from granum.errors import FormatError, LossError
from granum.schema import rows
from granum.schema.findings import Findings
from granum.schema.rows import Annotation
from granum.store.dataset import Dataset
from granum.store.media import read_map
from tests.loaders.voc_tree import INSTANCES, TWO, box, kept, label, masked, tree


def read(root, **options):
    return granum.read(root, "voc", **options)


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_masks_of_objects(tmp_path, mode):
    dataset = read(tree(tmp_path, masked(INSTANCES, mode=mode)))
    person, plane, whole = dataset[0].annotations
    encoding = {"P": "index", "RGB": "rgb24"}[mode]
    assert (person.map.path, person.map.encoding) == ("SegmentationObject/a.png", encoding)
    root = dataset.meta.map_root
    assert read_map(person.map, root).tolist() == (np.array(INSTANCES) == 1).tolist()
    assert read_map(plane.map, root).tolist() == (np.array(INSTANCES) == 2).tolist()
    assert (whole.category, whole.bbox, whole.map.value) == (None, None, None)
    assert (whole.map.path, whole.map.space) == ("SegmentationClass/a.png", "object")
    # The values of the class mask are the ids of classes: 15 is person, 1 is aeroplane.
    ids = {c.name: int(c.source_id) for c in dataset[0].categories}
    expected = {"P": (15, 1), "RGB": (192 + 256 * 128 + 65536 * 128, 128)}[mode]
    assert (ids["person"], ids["aeroplane"]) == expected
    assert len(ids) == 20 and dataset[0].categories[0].colour == [192, 128, 128]


def test_an_object_without_pixels_has_no_mask(tmp_path):
    objects = (*TWO, f"<name>dog</name>{box(0, 0, 1, 1)}")
    dataset = read(tree(tmp_path, masked(INSTANCES, objects=objects)))
    assert [a.map and a.map.value for a in dataset[0].annotations] == [1, 2, None, None]


def test_masks_that_do_not_fit_stay_apart(tmp_path):
    findings = Findings()
    dataset = read(tree(tmp_path, masked(INSTANCES, objects=TWO[:1])), findings=findings)
    person, _, instances = dataset[0].annotations
    assert person.map is None
    assert (instances.map.path, instances.map.value) == ("SegmentationObject/a.png", None)
    assert dict(findings.counts) == {"conflicting-records": 1}
    assert findings.items[0].path.endswith("SegmentationObject/a.png")


def test_masks_can_be_left(tmp_path):
    dataset = read(tree(tmp_path, masked(INSTANCES)), masks=False)
    assert [a.map for a in dataset[0].annotations] == [None, None]


def test_masks_without_annotation_file(tmp_path):
    files = masked(INSTANCES)
    del files["Annotations/a.xml"]
    findings = Findings()
    dataset = read(tree(tmp_path, files), findings=findings)
    assert [a.map.path for a in dataset[0].annotations] == [
        "SegmentationClass/a.png",
        "SegmentationObject/a.png",
    ]
    assert not findings.counts and dataset[0].split == "val"


def test_broken_mask(tmp_path):
    files = masked(INSTANCES)
    files["SegmentationObject/a.png"] = files["SegmentationObject/a.png"][:60]
    findings = Findings()
    dataset = read(tree(tmp_path, files), findings=findings, on_error="skip")
    assert dict(findings.counts) == {"broken-media": 1}
    assert findings.items[0].path.endswith("SegmentationObject/a.png")
    assert [a.map is None for a in dataset[0].annotations] == [True, True, False]


# ------------------------------------------------------------------ masks


def test_masks_are_copied(tmp_path):
    source = tree(tmp_path / "in", masked(INSTANCES))
    dataset = granum.read(source, "voc")
    kept(dataset, tmp_path / "out")
    for name in ("SegmentationObject/a.png", "SegmentationClass/a.png"):
        assert (tmp_path / "out" / name).read_bytes() == (source / name).read_bytes()
    assert (tmp_path / "out/ImageSets/Segmentation/val.txt").read_text() == "a\n"


def test_masks_stay_with_their_objects(tmp_path):
    """Also where another object is gone: the file says which value is whose."""
    dataset = granum.read(tree(tmp_path / "in", masked(INSTANCES)), "voc")
    plane = dataset.select_categories(["aeroplane"])
    back = kept(plane, tmp_path / "out")
    assert [a.map.value for a in back[0].annotations] == [2, None]


def test_whole_masks_stay_whole(tmp_path):
    dataset = granum.read(tree(tmp_path / "in", masked(INSTANCES, objects=TWO[:1])), "voc")
    table = dataset.annotations()
    more = Annotation(category=0, bbox=(0, 0, 1, 1), annotation_id=99, sample=0)
    added = rows.annotations_to_table([more], [0])
    both = Dataset.from_arrow(
        dataset.samples(),
        rows.annotations_to_table(
            [*rows.annotations_from_table(table), *rows.annotations_from_table(added)],
            [0] * (table.num_rows + 1),
        ),
        dataset.categories,
        media_root=tmp_path / "in",
    )
    back = kept(both, tmp_path / "out")  # two objects now, as many as the mask has
    assert sum(a.map is not None and a.map.value is None for a in back[0].annotations) == 2


def test_masks_that_are_gone_are_refused(tmp_path):
    source = tree(tmp_path / "in", masked(INSTANCES))
    dataset = granum.read(source, "voc")
    shutil.rmtree(source / "SegmentationObject")
    with pytest.raises(LossError) as caught:
        granum.write(dataset, tmp_path / "out", "voc")
    assert caught.value.report.lost_names() == {"mask": 2}


def test_a_mask_is_never_put_to_another_image(tmp_path):
    """Two images of one stem: the label file, and so the mask, would be called otherwise."""
    files = masked(INSTANCES)
    files["Annotations/a.png.xml"] = label("a.png")
    dataset = granum.read(tree(tmp_path / "in", files), "voc")
    assert [s.key for s in dataset] == ["a.jpg", "a.png"]
    with pytest.raises(FormatError, match="whose name another image shares"):
        granum.write(dataset, tmp_path / "out", "voc")
