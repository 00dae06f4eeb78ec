"""YouTube-VIS, from files typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as pycoco

import granum
from granum.errors import FindingsError, LossError
from granum.loaders.reading import sniff
from granum.schema.geometry import rle_decode, rle_encode_counts
from granum.schema.rows import Annotation, Category, Group, Rle, Sample
from granum.testing import assert_same

# 2 rows, 3 columns, column by column: 1 zero, 2 ones, 3 zeros.
LIST = {"size": [2, 3], "counts": [1, 2, 3]}
TEXT = {"size": [2, 3], "counts": "123"}


def document(**more: Any) -> dict[str, Any]:
    """Two videos, three tracks; the second is seen in no frame of its list but one."""
    return {
        "info": {"year": 2019},
        "licenses": [{"id": 1}],
        "videos": [
            {
                "id": 7, "width": 3, "height": 2, "length": 3, "license": 1,
                "file_names": ["0043f0/00000.jpg", "0043f0/00005.jpg", "0043f0/00010.jpg"],
            },
            {
                "id": 2, "width": 3, "height": 2, "length": 1, "license": 1,
                "file_names": ["ffff/00000.jpg"],
            },
        ],
        "categories": [
            {"id": 25, "name": "person", "supercategory": "object"},
            {"id": 4, "name": "dog", "supercategory": "object"},
        ],
        "annotations": [
            {
                "id": 11, "video_id": 7, "category_id": 4, "iscrowd": 0,
                "width": 3, "height": 2, "length": 3,
                "segmentations": [LIST, None, TEXT],
                "bboxes": [[0.0, 0.0, 2.0, 2.0], None, [0.0, 0.5, 2.0, 1.5]],
                "areas": [2, None, 2], "occlusion": ["no", None, "severe"],
            },
            {
                "id": 3, "video_id": 2, "category_id": 25, "iscrowd": 1,
                "width": 3, "height": 2, "length": 1,
                "segmentations": [[[0.0, 0.0, 3.0, 0.0, 3.0, 2.0], [0, 0, 1, 0, 1, 1]]],
                "bboxes": [[0.0, 0.0, 3.0, 2.0]], "areas": [3.5],
            },
            {
                "id": 12, "video_id": 7, "category_id": 4, "iscrowd": 0,
                "width": 3, "height": 2, "length": 3,
                "segmentations": [None, None, None], "bboxes": [None, None, None],
                "areas": [None, None, None],
            },
        ],
        **more,
    }  # fmt: skip


def placed(folder: Path, content: Any, name: str = "train/instances.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return folder


def with_images(folder: Path) -> Path:
    for video in document()["videos"]:
        for name in video["file_names"]:
            path = folder / "train/JPEGImages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    return folder


def test_tracks_and_frames(tmp_path: Path) -> None:
    found = granum.read(with_images(placed(tmp_path, document())))
    assert sniff(tmp_path).keys() == {"ytvis"}
    names = ["0043f0/00000", "0043f0/00005", "0043f0/00010", "ffff/00000"]
    assert [s.key for s in found] == [f"train/JPEGImages/{n}.jpg" for n in names]
    assert [(s.row.order, s.row.width, s.split) for s in found] == [
        (0, 3, "train"), (1, 3, "train"), (2, 3, "train"), (0, 3, "train"),
    ]  # fmt: skip
    groups = found.groups.to_pylist()
    assert [(g["source_id"], g["frames"], g["extra"]) for g in groups] == [
        ("7", 3, '{"license": 1}'),
        ("2", 1, '{"license": 1}'),
    ]
    one, last = found[0].annotations[0], found[2].annotations[0]
    assert found[1].annotations == []
    assert found[0].labels == ["dog"] and found[3].labels == ["person"]
    assert (one.track, last.track, found[3].annotations[0].track) == (0, 0, 1)
    assert (one.track_source_id, one.bbox, one.area) == ("11", (0, 0, 2, 2), 2.0)
    assert (one.crowd, found[3].annotations[0].crowd) == (False, True)
    for part in (one, last):
        assert part.rle is not None
        # Columns: (0, 1), (1, 0), (0, 0).
        pixels = rle_decode(part.rle.size, part.rle.counts).tolist()
        assert pixels == [[0, 1, 0], [1, 0, 0]]
    assert [one.rle.form, last.rle.form] == ["list", "compressed"]
    polygons = found[3].annotations[0].polygons
    assert polygons == [[[0, 0, 3, 0, 3, 2]], [[0, 0, 1, 0, 1, 1]]]
    table = found.annotations(["kind", "group", "track", "sample", "extra"]).to_pylist()
    whole = [r for r in table if r["kind"] == "track"]
    assert [(r["group"], r["track"], r["sample"]) for r in whole] == [
        (0, 0, None), (1, 1, None), (0, 2, None),
    ]  # fmt: skip
    assert whole[0]["extra"] == '{"occlusion": ["no", null, "severe"]}'


@pytest.mark.parametrize("name", ["train/instances.json", "instances.json"])
def test_equal_json(tmp_path: Path, name: str) -> None:
    found = granum.read(placed(tmp_path / "in", document(), name))
    granum.write(found, tmp_path / "out", "ytvis")
    written = json.loads((tmp_path / "out" / name).read_text())
    assert written == document()
    assert list(written) == list(document())
    assert_same(found, granum.read(tmp_path / "out"))
    (tmp_path / "out/granum.json").unlink()
    assert_same(found, granum.read(tmp_path / "out"))


def test_two_files(tmp_path: Path) -> None:
    placed(tmp_path / "in", document())
    other = document()
    for video in other["videos"]:
        video["file_names"] = [f"v{n}" for n in video["file_names"]]
    other["categories"].reverse()
    placed(tmp_path / "in", other, "valid/instances.json")
    found = granum.read(tmp_path / "in")
    assert (len(found), len(found.groups), len(found.categories)) == (8, 4, 2)
    assert [s.split for s in found] == ["train"] * 4 + ["valid"] * 4
    granum.write(found, tmp_path / "out", "ytvis")
    assert json.loads((tmp_path / "out/train/instances.json").read_text()) == document()
    assert json.loads((tmp_path / "out/valid/instances.json").read_text()) == other


def test_results(tmp_path: Path) -> None:
    """Alone they know their videos by number, as a layer beside the truth by name."""
    placed(tmp_path / "in", document())
    listed = [
        {"video_id": 7, "category_id": 4, "score": 0.5, "segmentations": [None, TEXT, None]},
        {"video_id": 2, "category_id": 25, "score": 1, "segmentations": [TEXT]},
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(listed))
    assert sniff(path).keys() == {"ytvis"}
    alone = granum.read(path)
    assert [s.key for s in alone] == ["7/00000", "7/00001", "7/00002", "2/00000"]
    assert [[a.score for a in s.annotations] for s in alone] == [[], [0.5], [], [1.0]]
    found = granum.read(tmp_path / "in", results=str(path))
    layer = found.layer("results")
    assert [[a.score for a in s.annotations] for s in layer] == [[], [0.5], [], [1.0]]
    assert layer[1].labels == ["dog"]
    granum.write(layer, tmp_path / "out", "ytvis", results=True, allow_loss=["layers"])
    written = json.loads((tmp_path / "out/results.json").read_text())
    assert written == [{**r, "score": float(r["score"])} for r in listed]


# ---------------------------------------------------------------------- other origins


def rle(*counts: int) -> Rle:
    return Rle((2, 3), rle_encode_counts(counts))


def video(*listed: list[Annotation], **more: Any) -> granum.Dataset:
    frames = [
        Sample(f"{i}.png", None, 3, 2, group=0, order=10 * i, annotations=annotations)
        for i, annotations in enumerate(listed)
    ]
    return granum.Dataset.from_rows(
        frames, [Category("cat"), Category("dog")], [Group("v")], **more
    )


def test_a_dataset_of_another_origin(tmp_path: Path) -> None:
    dataset = video(
        [Annotation(category=1, rle=rle(1, 2, 3), bbox=(0.0, 0.0, 2.0, 2.0), track=5)],
        [Annotation(category=0, bbox=(1.0, 0.0, 1.0, 1.0))],
        [Annotation(category=1, rle=rle(0, 6), track=5)],
    )
    granum.write(dataset, tmp_path / "out", "ytvis")
    written = json.loads((tmp_path / "out/instances.json").read_text())
    assert written["videos"] == [
        {
            "id": 1, "width": 3, "height": 2, "length": 3,
            "file_names": ["v/00000.png", "v/00001.png", "v/00002.png"],
        }
    ]  # fmt: skip
    dog, cat = written["annotations"]
    assert dog == {
        "id": 1, "video_id": 1, "category_id": 2, "iscrowd": 0,
        "width": 3, "height": 2, "length": 3,
        "segmentations": [
            {"counts": "123", "size": [2, 3]}, None, {"counts": "06", "size": [2, 3]},
        ],
        "bboxes": [[0, 0, 2, 2], None, None], "areas": [2, None, 6],
    }  # fmt: skip
    assert (cat["category_id"], cat["bboxes"]) == (1, [None, [1, 0, 1, 1], None])
    assert pycoco.area(dog["segmentations"][2]) == 6
    assert_same(dataset, granum.read(tmp_path / "out"), ignore=["media", "area", "source_id"])


def test_what_one_record_cannot_hold_is_several(tmp_path: Path) -> None:
    """Two boxes of a track in one frame, and a track that changes its class."""
    box = (0.0, 0.0, 1.0, 1.0)
    dataset = video(
        [Annotation(category=0, bbox=box, track=1), Annotation(category=0, bbox=box, track=1)],
        [Annotation(category=1, bbox=box, track=1)],
    )
    granum.write(dataset, tmp_path / "out", "ytvis")
    written = json.loads((tmp_path / "out/instances.json").read_text())
    assert [a["category_id"] for a in written["annotations"]] == [1, 1, 2]
    back = granum.read(tmp_path / "out")
    assert_same(dataset, back, ignore=["media", "area", "source_id"])
    assert {a.track for s in back for a in s.annotations} == {1}


def test_scores_are_of_tracks(tmp_path: Path) -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    own = [Annotation("track", 0, track=1, group=0, score=0.5)]
    frames = [[Annotation(category=0, bbox=box, track=1, score=s)] for s in (0.5, 0.25)]
    with pytest.raises(LossError, match="score"):
        granum.write(video(*frames, group_annotations=own), tmp_path / "out", "ytvis")
    bare = [[Annotation(category=0, bbox=box, track=1)] for _ in range(2)]
    dataset = video(*bare, group_annotations=own)
    granum.write(dataset, tmp_path / "out", "ytvis")
    assert_same(dataset, granum.read(tmp_path / "out"), ignore=["media", "area", "source_id"])
    assert (
        json.loads((tmp_path / "out/instances.json").read_text())["annotations"][0]["score"] == 0.5
    )


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (Annotation(category=0, polygons=[[[0, 0, 3, 0, 3, 2], [1, 0, 2, 0, 2, 1]]]), "object"),
        (Annotation(category=0, keypoints=[1.0, 1.0, 2.0], bbox=(0.0, 0.0, 1.0, 1.0)), "keypoints"),
        (Annotation(category=0, bbox=(0.0, 0.0, 1.0, 1.0), attributes={"a": 1}), "attributes"),
        (Annotation("label", 0), "label"),
    ],
)
def test_what_no_record_can_say_is_refused(
    tmp_path: Path, annotation: Annotation, name: str
) -> None:
    with pytest.raises(LossError, match=name):
        granum.write(video([annotation]), tmp_path / "out", "ytvis")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------- faults


def fault(tmp_path: Path, **annotation: Any) -> tuple[str, str, str | None]:
    content = document()
    content["annotations"][0].update(annotation)
    with pytest.raises(FindingsError) as caught:
        granum.read(placed(tmp_path, content))
    (one,) = caught.value.findings.items
    return one.code, one.path, one.place


@pytest.mark.parametrize(
    ("change", "code", "place"),
    [
        ({"video_id": 99}, "orphan-image", "video_id"),
        ({"category_id": 99}, "orphan-category", "category_id"),
        ({"iscrowd": 2}, "bad-value", "iscrowd"),
        ({"segmentations": [TEXT, None]}, "bad-value", "segmentations"),
        ({"bboxes": "none"}, "bad-value", "bboxes"),
        ({"bboxes": [[0, 0, 1], None, None]}, "bad-value", "bboxes/0"),
        ({"areas": ["x", None, None]}, "bad-value", "areas/0"),
        ({"segmentations": [None, {"size": [2, 3]}, None]}, "bad-value", "segmentations/1"),
        ({"segmentations": [{**LIST, "counts": [1, 2, 4]}, None, None]}, "rle-size-mismatch", ""),
    ],
)
def test_faults_name_file_and_record(
    tmp_path: Path, change: dict[str, Any], code: str, place: str
) -> None:
    where = f"/annotations/0/{place}".rstrip("/")
    assert fault(tmp_path, **change) == (code, "train/instances.json", where)


def test_videos_without_names_or_with_one_id(tmp_path: Path) -> None:
    content = document()
    content["videos"] += [{"id": 8}, {"id": 2, "file_names": []}]
    found = granum.validate(placed(tmp_path, content))
    assert [(f.code, f.place) for f in found.findings.items] == [
        ("missing-key", "/videos/2"),
        ("duplicate-image-id", "/videos/3/id"),
    ]


def test_an_unknown_category_is_made(tmp_path: Path) -> None:
    content = document()
    content["annotations"][1]["category_id"] = 99
    found = granum.read(placed(tmp_path, content), on_error="fix")
    assert found[3].labels == ["99"]


def test_coco_with_videos_stays_coco(tmp_path: Path) -> None:
    """TAO's files: images of videos, one annotation each."""
    content = {
        "videos": [{"id": 1, "name": "a"}],
        "images": [{"id": 1, "video_id": 1, "file_name": "a.jpg", "width": 3, "height": 2}],
        "annotations": [
            {"id": 1, "image_id": 1, "video_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1],
             "area": 1, "iscrowd": 0, "track_id": 4}
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }  # fmt: skip
    placed(tmp_path, content, "train.json")
    assert sniff(tmp_path / "train.json").keys() == {"coco"}
