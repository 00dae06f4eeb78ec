"""COCO in and out again: equal JSON, lists in the same order, for every task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import granum
from tests.data import shared

Json = Any

TORTURE: Json = {
    "licenses": [],
    "info": {"year": 2017, "note": None},
    "extra_table": [{"a": 1}],
    "annotations": [
        {  # polygon, attributes, a key of its own, keys in an unusual order
            "iscrowd": 0,
            "id": 9007199254740993,
            "segmentation": [[10.25, 10, 30.5, 10.0, 30, 40]],
            "bbox": [10.25, 10, 20.25, 30],
            "area": 303.75,
            "image_id": 4294967297,
            "category_id": 7,
            "attributes": {"colour": "red", "n": 3, "deep": {"x": [1, None]}},
            "custom": {"x": [1.5, None, "ß"]},
        },
        {  # two parts, integer coordinates
            "id": 3,
            "image_id": 2,
            "category_id": 90,
            "segmentation": [[1, 1, 5, 1, 5, 5], [10, 10, 20, 10, 20, 20.125]],
            "bbox": [1, 1, 19, 19.125],
            "area": 70,
            "iscrowd": 0,
        },
        {  # crowd, uncompressed
            "id": 1,
            "image_id": 2,
            "category_id": 7,
            "segmentation": {"size": [4, 5], "counts": [3, 4, 13]},
            "bbox": [0, 0, 5, 4],
            "area": 4.0,
            "iscrowd": 1,
        },
        {  # not crowd, compressed, with a hole
            "id": 2,
            "image_id": 2,
            "category_id": 7,
            "segmentation": {"counts": "5111:", "size": [4, 5]},
            "bbox": [0.5, 0.25, 1.125, 2],
            "area": 6,
            "iscrowd": 0,
        },
        {  # keypoints
            "id": 40,
            "image_id": 2,
            "category_id": 1,
            "keypoints": [1, 2, 2, 0, 0, 0, 3.5, 4.5, 1],
            "num_keypoints": 2,
            "bbox": [1, 2, 2.5, 2.5],
            "area": 5,
            "iscrowd": 0,
            "segmentation": [],
        },
        {  # a count that is not that of the visible keypoints
            "id": 41,
            "image_id": 2,
            "category_id": 1,
            "keypoints": [1, 2, 2, 0, 0, 0, 3.5, 4.5, 1],
            "num_keypoints": 17,
            "bbox": [1, 2, 2.5, 2.5],
            "area": 5,
            "iscrowd": 0,
        },
        {"id": 5, "image_id": 2, "category_id": 7, "bbox": [1.1, 2.2, 3.3, 4.4], "area": 14.52,
         "iscrowd": 0, "track_id": 0, "score": 0.0, "rotation": 1.25, "ignore": 0},
        {"id": 6, "image_id": 2, "category_id": 7, "bbox": [0.5, 0.5, 0.5, 0.5], "area": None,
         "iscrowd": None, "segmentation": None, "keypoints": None, "caption": None, "score": None},
        {"id": 7, "image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0,
         "segmentation": {"size": [4, 5], "counts": [0, 20], "source": "tool"}, "occluded": 2},
    ],
    "images": [
        {"id": 4294967297, "file_name": "a/same.jpg", "width": 640, "height": 480},
        {"id": 2, "file_name": "b/same.jpg", "width": 5, "height": 4, "license": None, "tags": []},
        {"id": 1, "file_name": "größe ü.jpg", "width": 640, "height": 480, "date_captured": "2013"},
        {"id": 8, "file_name": "empty.jpg", "width": 640.0, "height": 480},
        {"id": 9, "file_name": "odd.jpg", "width": 640, "height": 480, "attributes": [1, "x"]},
    ],
    "categories": [
        {"id": 90, "name": "toothbrush", "supercategory": "indoor", "frequency": "r"},
        {"id": 7, "name": "train", "supercategory": None},
        {"id": 1, "name": "person", "keypoints": ["nose", "eye", "ear"], "skeleton": [[1, 2]]},
        {"id": 12, "name": "unused"},
    ],
}  # fmt: skip


def through_store(source: Path, tmp_path: Path) -> Json:
    store = tmp_path / "x.granum"
    granum.convert(source, store, from_="coco")
    granum.convert(store, tmp_path / "out.json", to="coco")
    return json.loads((tmp_path / "out.json").read_text())


def same(a: Json, b: Json) -> bool:
    """Equal, with integers and floats told apart for ids."""

    def ids(data: Json) -> list[tuple[type, Any]]:
        listed = [r for k in ("images", "annotations", "categories") for r in data.get(k, [])]
        values = [r[k] for r in listed for k in ("id", "image_id", "category_id") if k in r]
        return [(type(v), v) for v in values]

    return bool(a == b and ids(a) == ids(b))


def test_torture_file_comes_back_equal(tmp_path: Path) -> None:
    source = tmp_path / "in.json"
    source.write_text(json.dumps(TORTURE))
    back = through_store(source, tmp_path)
    for before, after in zip(TORTURE["annotations"], back["annotations"], strict=True):
        assert before == after
    assert same(TORTURE, back)


@pytest.mark.parametrize("indent", [None, 1, 4])
@pytest.mark.parametrize("ascii", [True, False])
def test_any_white_space_and_escapes(indent: int | None, ascii: bool, tmp_path: Path) -> None:
    source = tmp_path / "in.json"
    source.write_text("\ufeff" + json.dumps(TORTURE, indent=indent, ensure_ascii=ascii), "utf-8")
    assert same(TORTURE, through_store(source, tmp_path))


@pytest.mark.parametrize("ids", [["a", "b"], ["5", "6"], [5, "5"], [-1, 0], [2**70, 3], [1.5, 2.0]])
def test_ids_of_any_kind(ids: list[Any], tmp_path: Path) -> None:
    data = {
        "images": [
            {"id": i, "file_name": f"{k}.jpg", "width": 9, "height": 9} for k, i in enumerate(ids)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": i,
                "bbox": [0, 0, 1, 1],
                "area": 1,
                "iscrowd": 0,
            }
            for i in ids
        ],
        "categories": [{"id": i, "name": str(k)} for k, i in enumerate(ids)],
    }
    source = tmp_path / "in.json"
    source.write_text(json.dumps(data))
    assert same(data, through_store(source, tmp_path))


def test_big_files_are_cut_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunk borders may fall anywhere, also inside nested objects and strings."""
    from granum.loaders.coco import scan

    data = json.loads(json.dumps(TORTURE))
    data["images"][0]["note"] = "a }, { in a string"
    for i in range(60):
        data["annotations"].append({"id": 1000 + i, "image_id": 2, "category_id": 7, "area": 1,
                                    "bbox": [0, 0, 1, 1], "iscrowd": 0,
                                    "parts": [{"x": 1}, {"y": "}, {"}]})  # fmt: skip
    source = tmp_path / "in.json"
    source.write_text(json.dumps(data))
    for size in (1, 37, 200, 5000):
        monkeypatch.setattr(scan, "CHUNK", size)
        assert same(data, through_store(source, tmp_path / str(size)))


def test_results_become_a_prediction_layer(tmp_path: Path) -> None:
    truth, results = tmp_path / "gt.json", tmp_path / "dets.json"
    truth.write_text(json.dumps(TORTURE))
    detections = [
        {"image_id": 2, "category_id": 7, "bbox": [1, 2, 3.5, 4], "score": 0.25},
        {"image_id": 4294967297, "category_id": 90, "bbox": [1, 2, 3, 4], "score": 0.0},
        {"image_id": 2, "category_id": 1, "keypoints": [1, 2, 2, 3, 4, 1, 5, 6, 1], "score": 0.5},
        {
            "image_id": 2,
            "category_id": 7,
            "segmentation": {"size": [4, 5], "counts": "0d0"},
            "score": 1,
        },
    ]
    results.write_text(json.dumps(detections))
    ds = granum.read(truth, "coco", results=str(results))
    assert ds.num_annotations == len(TORTURE["annotations"])
    layer = ds.layer("dets")
    assert layer.num_annotations == 4
    assert [a.score for a in layer["b/same.jpg"].annotations] == [0.25, 0.5, 1.0]
    out = tmp_path / "out.json"
    granum.write(layer, out, "coco", results=True)
    by_score = sorted(json.loads(out.read_text()), key=lambda d: d["score"])
    assert by_score == sorted(detections, key=lambda d: d["score"])
    # Alone, a list knows its images by id only.
    alone = granum.read(results, "coco").layer("predictions")
    assert [s.key for s in alone] == ["2", "4294967297"]
    assert alone.num_annotations == 4


def test_tree_is_merged_by_image_and_written_back_as_the_same_files(tmp_path: Path) -> None:
    tree = tmp_path / "coco" / "annotations"
    tree.mkdir(parents=True)
    (tmp_path / "coco" / "val2017").mkdir()
    images = [
        {"id": 9, "file_name": "b.jpg", "width": 50, "height": 40, "license": 1},
        {"id": 4, "file_name": "a.jpg", "width": 50, "height": 40, "license": 2},
    ]
    person = {"id": 70, "image_id": 4, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 40.5,
              "iscrowd": 0, "segmentation": [[1, 1, 10, 1, 10, 10]]}  # fmt: skip
    dog = {**person, "id": 71, "category_id": 18, "image_id": 9}
    files = {
        "instances_val2017.json": {
            "info": {}, "images": images, "annotations": [dog, person],
            "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        },
        "person_keypoints_val2017.json": {
            "info": {}, "images": images[::-1],
            "annotations": [{**person, "keypoints": [2, 3, 2], "num_keypoints": 1}],
            "categories": [{"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": []}],
        },
        "captions_val2017.json": {
            "info": {}, "images": images,
            "annotations": [{"image_id": 4, "id": 70, "caption": "a \"person\"\nß"},
                            {"image_id": 4, "id": 72, "caption": ""}],
        },
        "instances_train2017.json": {"images": [], "annotations": [], "categories": []},
    }  # fmt: skip
    for name, data in files.items():
        (tree / name).write_text(json.dumps(data))
    granum.convert(tmp_path / "coco", tmp_path / "x.granum", from_="coco")
    ds = granum.open(tmp_path / "x.granum")
    assert [s.key for s in ds] == ["val2017/b.jpg", "val2017/a.jpg"]
    assert {s.split for s in ds} == {"val2017"}
    rows = ds["val2017/a.jpg"].annotations
    assert sorted(a.kind for a in rows) == ["caption", "caption", "object"]
    joined = next(a for a in rows if a.kind == "object")
    assert joined.keypoints == [2, 3, 2] and joined.polygons and len(joined.origins or []) == 2
    granum.convert(tmp_path / "x.granum", tmp_path / "out", to="coco")
    for name, data in files.items():
        assert json.loads((tmp_path / "out" / "annotations" / name).read_text()) == data


def test_twins_that_disagree_stay_apart(tmp_path: Path) -> None:
    tree = tmp_path / "coco" / "annotations"
    tree.mkdir(parents=True)
    images = [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}]
    base = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 4, "iscrowd": 0}
    for name, box in (("instances_val", [1, 1, 9, 9]), ("person_keypoints_val", [1, 1, 9, 8])):
        data = {"images": images, "annotations": [{**base, "bbox": box}],
                "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
        (tree / f"{name}.json").write_text(json.dumps(data))
    assert granum.read(tmp_path / "coco", "coco").num_annotations == 2


REAL = [
    "lvis_val_100/lvis_val_100.json",
    "panoptic_sample/panoptic_coco_detection_format.json",
    "format_fixtures/coco_dataset/coco/annotations/instances_val.json",
    "format_fixtures/coco_dataset/coco/annotations/person_keypoints_train.json",
    "format_fixtures/coco_dataset/coco/annotations/captions_val.json",
    "format_fixtures/coco_dataset/coco/annotations/stuff_train.json",
    "format_fixtures/roboflow_dataset/coco/train/_annotations.coco.json",
]


@pytest.mark.parametrize("name", REAL)
def test_real_files_come_back_equal(name: str, tmp_path: Path) -> None:
    source = shared(name)
    assert same(json.loads(source.read_text()), through_store(source, tmp_path))


@pytest.mark.parametrize(
    "name", ["coco", "coco_captions", "mmdet_coco", "coco_labels", "coco_roboflow"]
)
def test_real_trees_come_back_as_the_same_files(name: str, tmp_path: Path) -> None:
    tree = shared(f"format_fixtures/coco_dataset/{name}")
    granum.convert(tree, tmp_path / "x.granum", from_="coco")
    granum.convert(tmp_path / "x.granum", tmp_path / "out", to="coco")
    written = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.json")
    )
    there = sorted(p.relative_to(tree).as_posix() for p in tree.rglob("*.json"))
    assert written == [p for p in there if "panoptic" not in p]
    for path in written:
        assert json.loads((tmp_path / "out" / path).read_text()) == json.loads(
            (tree / path).read_text()
        )


_floats = st.floats(allow_nan=False, allow_infinity=False)
_texts = st.text(max_size=4)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | _floats | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_coord = st.floats(-1e6, 1e6) | st.integers(-10, 1000)
_polygon = st.lists(_coord, min_size=6, max_size=12).filter(lambda p: len(p) % 2 == 0)
_annotation = st.fixed_dictionaries(
    {"category_id": st.sampled_from([3, 5]), "area": _coord, "iscrowd": st.sampled_from([0, 1])},
    optional={
        "bbox": st.lists(st.integers(0, 50) | st.floats(0, 50), min_size=4, max_size=4),
        "segmentation": st.lists(_polygon, max_size=3),
        "attributes": st.dictionaries(st.text(max_size=3), _values, max_size=3),
        "score": st.none() | st.floats(0, 1),
        "unknown": _values,
    },
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.data())
def test_any_valid_file_comes_back_equal(data: st.DataObject) -> None:
    import tempfile

    n = data.draw(st.integers(0, 3))
    images = [
        {"id": 100 - i, "file_name": f"{i}.jpg", "width": 60, "height": 60,
         **data.draw(st.dictionaries(st.sampled_from(["x", "y"]), _values, max_size=2))}
        for i in range(n)
    ]  # fmt: skip
    annotations: list[Json] = []
    for i in range(data.draw(st.integers(0, 4)) if n else 0):
        record = data.draw(_annotation)
        annotations.append(
            {"id": i + 1, "image_id": 100 - data.draw(st.integers(0, n - 1)), **record}
        )
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 5, "name": "a"}, {"id": 3, "name": "b", "z": data.draw(_values)}],
        "top": data.draw(_values),
    }
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.json"
        source.write_text(json.dumps(document))
        assert same(document, through_store(source, Path(folder)))
