"""Several datasets as one: what is united, what is kept apart, what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

import granum
import granum.store.builder
from granum.errors import ExistsError, GranumError, UnknownNameError, UsageError
from granum.schema import rows, tables
from granum.schema.rows import Annotation, Category, Group, LabelMap, Media, Sample, Source
from granum.store.builder import Incoming, MemoryBuilder, StoreBuilder
from granum.store.dataset import Dataset
from granum.store.opening import open_dataset
from granum.testing import assert_same, datasets
from granum.testing.keep import snapshot
from granum.verbs.convert import write
from granum.verbs.diff import diff
from granum.verbs.merge import MergeError, merge
from tests.data import shared

FAST = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def box(x: float = 1.0, **values: Any) -> Annotation:
    return Annotation(**{"category": 0, "bbox": (x, 2, 3, 4), **values})


def sample(key: str, *annotations: Annotation, **values: Any) -> Sample:
    sized = {"media": Media(key), "width": 100, "height": 50, **values}
    return Sample(key, annotations=list(annotations), **sized)


def dataset(*samples: Sample, names: Sequence[str] = ("cat",), **tables_: Any) -> Dataset:
    return Dataset.from_rows(samples, [Category(n) for n in names], **tables_)


def of_categories(*categories: Category) -> Dataset:
    return Dataset.from_rows([sample(c.name) for c in categories], categories)


def with_meta(d: Dataset, sources: Sequence[Source] = (), **changes: Any) -> Dataset:
    table = rows.objects_to_table(sources, tables.SOURCES)
    return Dataset(d.parts, d.categories, d.groups, table, replace(d.meta, **changes))


def column(d: Dataset, name: str, layer: str | None = None) -> list[Any]:
    return list(d.annotations([name], layer)[name].to_pylist())


def names_of(d: Dataset) -> list[str | None]:
    """The category name of each annotation."""
    return [None if c is None else d.category_names()[c] for c in column(d, "category")]


def keys(d: Dataset) -> list[str]:
    return list(d.samples(["key"])["key"].to_pylist())


# ---------------------------------------------------------------------- categories


def test_categories_are_united_by_space_and_name() -> None:
    a = dataset(sample("a", box(), box(category=1)), names=("cat", "dog"))
    b = dataset(sample("b", box(), box(category=1)), names=("dog", "fox"))
    merged, report = merge([a, b])
    assert merged.category_names() == ["cat", "dog", "fox"]
    assert names_of(merged) == ["cat", "dog", "dog", "fox"]
    assert (report.categories["united"], report.categories["new"]) == (1, 3)
    assert report.result["annotations"] == {"truth": 4}
    other = Dataset.from_rows([sample("c", box())], [Category("cat", "action")])
    assert merge([a, other])[0].category_names() == ["cat", "dog", "cat"]
    stated, unstated = Category("cat"), Category("cat", None)  # no space means object
    merged, _ = merge([of_categories(stated), of_categories(unstated)], on_key="first")
    assert merged.category_names() == ["cat"]


def test_repeated_names_go_together_by_source_id_then_by_order() -> None:
    def twice(*ids: str) -> Dataset:
        listed = [Category("cat", source_id=i) for i in ids]
        return Dataset.from_rows(
            [sample(ids[0], *(box(category=i) for i in range(len(ids))))], listed
        )

    merged, _ = merge([twice("1", "2"), twice("2", "3", "4")])
    assert merged.categories["source_id"].to_pylist() == ["1", "2", "4"]
    # "2" goes to "2"; "3" to what is left, "1"; "4" is a third category of that name.
    assert column(merged, "category") == [0, 1, 1, 0, 2]


def test_the_first_facts_win_and_absent_ones_are_filled() -> None:
    a = of_categories(Category("cat", supercategory="pet"), Category("animal"))
    parents = [{"index": 0, "relation": "is_a"}]
    b = of_categories(
        Category("animal", source_id="9"),
        Category("cat", supercategory="feline", colour=[1, 2, 3], parents=parents),
    )
    merged, report = merge([a, b], on_key="first")
    cat, animal = rows.categories_from_table(merged.categories)
    assert (cat.supercategory, cat.colour) == ("pet", [1, 2, 3])
    assert cat.parents == [{"index": 1, "relation": "is_a"}]  # animal is row 1 here
    assert animal.source_id is None  # ids of another numbering are not taken over
    assert report.categories["conflicts"] == [
        {
            "category": "cat",
            "fact": "supercategory",
            "kept": "pet",
            "left": "feline",
            "dataset": "dataset-2",
        }
    ]
    assert "supercategory 'feline' of dataset-2; kept 'pet'" in report.table()


def pose(*points: str, skeleton: list[list[int]] | None = None, drawn: bool = True) -> Dataset:
    annotations = [Annotation(category=0, keypoints=[1, 1, 2] * len(points))] * drawn
    category = Category("person", keypoints=list(points), skeleton=skeleton)
    return Dataset.from_rows([sample("-".join(points), *annotations)], [category])


def test_other_keypoints_are_refused_where_they_are_used() -> None:
    with pytest.raises(MergeError, match="'person' has other keypoints"):
        merge([pose("nose", "tail"), pose("tail", "nose")])
    with pytest.raises(MergeError, match="other skeleton"):
        bones = [[0, 1]], [[1, 0]]
        merge([pose("a", "b", skeleton=b) for b in bones], on_key="rename")
    merged, report = merge([pose("nose", "tail"), pose("tail", "nose")], conflict="first")
    assert rows.categories_from_table(merged.categories)[0].keypoints == ["nose", "tail"]
    assert report.categories["conflicts"][0]["fact"] == "keypoints"
    merged, report = merge([pose("a", drawn=False), pose("b", drawn=False)])
    assert len(report.categories["conflicts"]) == 1


def test_names_that_look_alike_are_reported_and_stay_apart() -> None:
    a = of_categories(*(Category(n) for n in ("traffic light", "bus", "berry", "glass", "as")))
    b = of_categories(
        *(Category(n) for n in ("Traffic_Light", "buses", "berries", "glasses", "a", "car"))
    )
    merged, report = merge([a, b])
    assert merged.categories.num_rows == 11
    assert report.categories["look_alikes"] == [
        ["traffic light", "Traffic_Light"],
        ["bus", "buses"],
        ["berry", "berries"],
        ["glass", "glasses"],
    ]
    assert "'bus', 'buses': one class?" in report.table()


# ---------------------------------------------------------------------- maps


def test_a_map_for_all() -> None:
    a = dataset(sample("a", box(), box(category=1)), names=("puppy", "cat"))
    b = dataset(sample("b", box(), box(category=1)), names=("dog", "junk"))
    merged, report = merge([a, b], map={"puppy": "dog", "junk": None})
    assert merged.category_names() == ["dog", "cat"]
    assert names_of(merged) == ["dog", "cat", "dog"]
    assert report.maps["dataset-2"]["dropped"] == {"junk": 1}
    assert report.datasets[1]["annotations"] == {"truth": 1}
    assert "1 dropped (junk)" in report.table()
    with pytest.raises(UnknownNameError, match=r"kitten.*Did you mean|kitten"):
        merge([a, b], map={"kitten": "cat"})


def test_a_map_for_one_dataset(tmp_path: Path) -> None:
    a = dataset(sample("a", box()), names=("cat",))
    b = dataset(sample("b", box()), names=("cat",))
    b.save(tmp_path / "b.granum")
    for name in (1, "1", "b", "b.granum", str(tmp_path / "b.granum")):
        merged, report = merge([a, tmp_path / "b.granum"], map={name: {"cat": "lynx"}})
        assert names_of(merged) == ["cat", "lynx"]
        assert list(report.maps) == ["b"]
    file = tmp_path / "classes.yaml"
    file.write_text("b.granum:\n  categories:\n    cat: lynx\n  only: true\n")
    assert names_of(merge([a, tmp_path / "b.granum"], map=file)[0]) == ["cat", "lynx"]
    file.write_text("cat: lynx\n")
    assert names_of(merge([a, b], map=file)[0]) == ["lynx", "lynx"]
    assert names_of(merge([a, b], map={0: file})[0]) == ["lynx", "cat"]
    with pytest.raises(UnknownNameError, match="dataset 'c'"):
        merge([a, b], map={"c": {"cat": "lynx"}})
    with pytest.raises(UnknownNameError, match="category"):
        merge([a, b], map={0: {"dog": "lynx"}})
    with pytest.raises(UsageError, match="not both"):
        merge([a, b], map={0: {"cat": "lynx"}, "cat": "dog"})
    with pytest.raises(UsageError, match="two maps"):
        merge([a, b], map={0: {"cat": "x"}, "dataset-1": {"cat": "y"}})


# ---------------------------------------------------------------------- keys


def test_colliding_keys_are_refused_with_advice() -> None:
    a = dataset(*(sample(f"{i}.jpg") for i in range(5)))
    b = dataset(*(sample(f"{i}.jpg", width=100 + (i == 4)) for i in range(1, 6)))
    with pytest.raises(MergeError) as caught:
        merge([a, b])
    text = str(caught.value)
    assert "4 samples have a key of an earlier dataset (1.jpg, 2.jpg, 3.jpg …)" in text
    assert "3 of them are the same image" in text
    assert "--on-key rename" in text and "join" in text
    assert isinstance(caught.value, GranumError)
    assert caught.value.details()["keys"]["colliding"] == 4
    assert json.loads(json.dumps(caught.value.details()))["keys"]["same_image"] == 3


def test_rename_puts_the_later_ones_in_a_folder() -> None:
    a = dataset(sample("x", box(1)), sample("dataset-2/x"))
    b = dataset(sample("x", box(2)), sample("y", box(3)))
    merged, report = merge([a, b], on_key="rename")
    assert keys(merged) == ["x", "dataset-2/x", "dataset-2-2/x", "y"]
    assert (report.keys["colliding"], report.keys["renamed"]) == (1, 1)
    assert merged["dataset-2-2/x"].annotations[0].bbox == (2, 2, 3, 4)


def test_first_leaves_the_later_ones_out() -> None:
    a = dataset(sample("x", box(1)))
    b = dataset(sample("x", box(2), box(3)), sample("y", box(4)))
    merged, report = merge([a, b], on_key="first")
    assert keys(merged) == ["x", "y"]
    assert [r[0] for r in column(merged, "bbox")] == [1, 4]
    assert report.annotations["left_out"] == 2
    assert report.result["annotations"] == {"truth": merged.num_annotations}


def test_prefixes() -> None:
    a = dataset(sample("x"), groups=[Group("v")])
    b = dataset(sample("x"), groups=[Group("v")])
    merged, report = merge([a, b], prefix=["one", "two/"])
    assert keys(merged) == ["one/x", "two/x"]
    assert merged.groups["key"].to_pylist() == ["one/v", "two/v"]
    assert report.keys["colliding"] == 0
    assert keys(merge([a, b], prefix=[None, "two"])[0]) == ["x", "two/x"]
    with pytest.raises(UsageError, match="list of 2"):
        merge([a, b], prefix=["one"])


# ---------------------------------------------------------------------- ids


def test_colliding_ids_move_with_every_reference() -> None:
    def linked(key: str) -> Dataset:
        return dataset(
            sample(
                key,
                box(annotation_id=5),
                box(annotation_id=7, parent=5),
                Annotation("relation", category=0, annotation_id=9, subject=5, object=7),
            )
        )

    merged, report = merge([linked("a"), linked("b")])
    assert column(merged, "annotation_id") == [5, 7, 9, 14, 16, 18]
    assert column(merged, "parent") == [None, 5, None, None, 14, None]
    assert column(merged, "subject") == [None, None, 5, None, None, 14]
    assert column(merged, "object") == [None, None, 7, None, None, 16]
    assert report.annotations["renumbered"] == 3


def test_ids_apart_stay() -> None:
    a, b = (dataset(sample(str(i), box(annotation_id=i))) for i in (3, 4))
    merged, report = merge([a, b])
    assert column(merged, "annotation_id") == [3, 4]
    assert report.annotations["renumbered"] == 0


def test_a_dangling_reference_does_not_reach_into_another_dataset() -> None:
    a = dataset(sample("a", box(annotation_id=1, parent=99)))
    b = dataset(sample("b", box(annotation_id=99)))
    merged, _ = merge([a, b])
    ids, parents = column(merged, "annotation_id"), column(merged, "parent")
    assert parents == [99, None] and 99 not in ids
    zero = dataset(sample("c", box(annotation_id=1, parent=0)))
    merged, _ = merge([dataset(sample("a", box(annotation_id=1))), zero])
    assert column(merged, "parent")[1] not in column(merged, "annotation_id")


def test_ids_that_cannot_be_moved_are_an_error() -> None:
    a, b = (dataset(sample(k, box(annotation_id=2**62))) for k in "ab")
    with pytest.raises(GranumError, match="too high"):
        merge([a, b])


def test_tracks_stay_apart() -> None:
    a = dataset(sample("a", box(track=0), box(track=4, track_source_id="x")))
    b = dataset(sample("b", box(track=4), box(), box(track=1)))
    merged, report = merge([a, b])
    tracks = column(merged, "track")
    assert tracks[:2] == [0, 4] and tracks[3] is None
    assert len({*tracks[:2], tracks[2], tracks[4]}) == 4
    assert report.tracks_renumbered == 2
    assert column(merged, "track_source_id") == [None, "x", None, None, None]


def test_source_ids_that_collide_are_counted() -> None:
    def of(key: str, number: str, *ids: str) -> Dataset:
        listed = [box(i, source_id=x) for i, x in enumerate(ids)]
        return Dataset.from_rows(
            [sample(key, *listed, source_id=number)], [Category(key, source_id="1")]
        )

    merged, report = merge([of("a", "1", "1", "2"), of("b", "1", "2", "3"), of("c", "2", "3")])
    assert report.source_ids == {"samples": 1, "annotations": 2, "categories": 2}
    assert column(merged, "source_id") == ["1", "2", "2", "3", "3"]
    assert merged.categories["source_id"].to_pylist() == ["1", "1", "1"]
    assert "--ids renumber" in report.notes[0]
    merged, report = merge(
        [of("a", "1", "1", "2"), of("b", "1", "2", "3"), of("c", "2", "3")], ids="renumber"
    )
    # The ids of b are cleared, so that those of c collide with none.
    assert column(merged, "source_id") == ["1", "2", None, None, "3"]
    assert merged.samples(["source_id"])["source_id"].to_pylist() == ["1", None, "2"]
    assert merged.categories["source_id"].to_pylist() == ["1", None, None]
    assert report.source_ids == {"samples": 1, "annotations": 1, "categories": 2}


# ---------------------------------------------------------------------- groups, layers, sources


def clip(key: str, name: str, text: str, **values: Any) -> Dataset:
    whole = Annotation("caption", text=text, group=0)
    return dataset(
        sample(f"{key}/0", box(), group=0, order=0),
        groups=[Group(name, "video", **values)],
        group_annotations=[whole],
    )


def test_groups_follow_each_other() -> None:
    merged, _ = merge([clip("a", "v1", "runs"), clip("b", "v2", "walks"), clip("c", "v3", "sits")])
    assert merged.groups["key"].to_pylist() == ["v1", "v2", "v3"]
    assert merged.samples(["group"])["group"].to_pylist() == [0, 1, 2]
    texts = dict(zip(column(merged, "text"), column(merged, "group"), strict=True))
    assert {t: g for t, g in texts.items() if t} == {"runs": 0, "walks": 1, "sits": 2}


def test_colliding_groups() -> None:
    pair = [clip("a", "v", "runs", fps=25.0), clip("b", "v", "walks", fps=30.0, frames=9)]
    with pytest.raises(MergeError, match=r"1 groups have a key of an earlier dataset \(v\)"):
        merge(pair)
    merged, report = merge(pair, on_key="rename")
    assert merged.groups["key"].to_pylist() == ["v", "dataset-2/v"]
    assert report.groups["renamed"] == 1
    merged, report = merge(pair, on_key="first")
    assert merged.groups.num_rows == 1
    assert merged.samples(["group"])["group"].to_pylist() == [0, 0]
    assert [t for t in column(merged, "text") if t] == ["runs"]
    assert report.annotations["left_out"] == 1
    merged, report = merge(pair, on_key="join")
    assert [t for t in column(merged, "text") if t] == ["runs", "walks"]
    assert rows.groups_from_table(merged.groups) == [Group("v", "video", fps=25.0, frames=9)]
    assert report.groups["differ"] == {"fps": 1}
    assert report.result["annotations"] == {"truth": merged.num_annotations}
    same, report = merge([pair[0], pair[0]], on_key="join")
    assert report.annotations["duplicates"] == 2  # the box and the caption of the clip
    assert_same(pair[0], same)


def test_layers_are_united_by_name() -> None:
    one, two = sample("a", box()), sample("b", box())
    one.layers, two.layers = {"model": [box(9)]}, {"model": [box(8)], "human": [box(7)]}
    a, b = dataset(one), dataset(two)
    a = with_meta(a, layers={**a.meta.layers, "model": {"producer": "x"}})
    b = with_meta(b, layers={**b.meta.layers, "model": {"producer": "y"}})
    merged, report = merge([a, b])
    assert list(merged.meta.layers) == ["truth", "model", "human"]
    assert [r[0] for r in column(merged, "bbox", "model")] == [9, 8]
    assert [r[0] for r in column(merged, "bbox", "human")] == [7]
    ids = [i for n in merged.meta.layers for i in column(merged, "annotation_id", n)]
    assert len(set(ids)) == 5
    assert merged.meta.layers["model"] == {"producer": "x"}
    assert any("'model'" in n for n in report.notes)
    assert report.result["annotations"] == {"truth": 2, "model": 2, "human": 1}


def recorded(key: str, names: Sequence[str], shapes: Sequence[Any]) -> Dataset:
    """A dataset that came from one file."""
    record: dict[str, Any] = {"origins": [0], "ordinal": [0], "shape": len(shapes) - 1}
    d = dataset(sample(key, box(**record), **record), names=names)
    listed = [[i, {"id": i + 1}] for i in range(len(names))]
    return with_meta(d, [Source(f"{key}.json", "coco", categories=listed)], shapes=shapes)


def test_sources_and_sets_of_keys_follow_each_other() -> None:
    a = recorded("a", ("cat", "dog"), [[["id"]]])
    b = recorded("b", ("fox", "cat"), [[["id"]], [["id", "bbox"]]])
    merged, _ = merge([a, b, b], on_key="rename")
    assert merged.sources["path"].to_pylist() == ["a.json", "b.json", "b.json"]
    assert column(merged, "origins") == [[0], [1], [2]]
    assert merged.samples(["origins"])["origins"].to_pylist() == [[0], [1], [2]]
    shapes = [merged.meta.shapes[s] for s in column(merged, "shape")]
    assert shapes == [[["id"]], [["id", "bbox"]], [["id", "bbox"]]]
    # The category records of b.json are of fox and cat: rows 2 and 0 here.
    records = json.loads(merged.sources["categories"][1].as_py())
    assert records == [[2, {"id": 1}], [0, {"id": 2}]]


def test_forgotten_sources() -> None:
    merged, _ = merge([recorded("a", ("cat",), [[["id"]]])] * 2, on_key="rename", sources="forget")
    assert merged.sources.num_rows == 0
    assert set(column(merged, "origins")) == set(column(merged, "shape")) == {None}
    assert list(merged.meta.shapes) == []


# ---------------------------------------------------------------------- files


def pictures(folder: Path, colour: int, *keys_: str, root: Path | None = None) -> Dataset:
    for key in keys_:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), colour).save(folder / key)
    listed = [Sample(k, Media((folder / k).relative_to(root or folder).as_posix())) for k in keys_]
    return dataset(*listed, media_root=root or folder)


def colours(d: Dataset) -> list[int]:
    return [s.image().getpixel((0, 0)) for s in d]  # type: ignore[misc]


def test_images_open_from_one_root(tmp_path: Path) -> None:
    a = pictures(tmp_path / "one" / "images", 10, "x.png")
    b = pictures(tmp_path / "two", 20, "deep/y.png")
    merged, _ = merge([a, b])
    assert merged.meta.media_root == str(tmp_path)
    paths = [s.row.media.path for s in merged if s.row.media]
    assert paths == ["one/images/x.png", "two/deep/y.png"]
    assert colours(merged) == [10, 20]
    saved, _ = merge([a, b], out=tmp_path / "m.granum")
    assert colours(open_dataset(tmp_path / "m.granum")) == colours(saved) == [10, 20]
    same, _ = merge([a, pictures(tmp_path / "one" / "images", 30, "z.png")])
    assert same.meta.media_root == a.meta.media_root
    below, _ = merge([pictures(tmp_path, 5, "w.png"), b])
    assert below.meta.media_root == str(tmp_path)
    assert colours(below) == [5, 20]


def test_paths_without_a_root_are_not_looked_up_elsewhere(tmp_path: Path) -> None:
    a = pictures(tmp_path, 10, "x.png")
    b = dataset(sample("y", media=Media("x.png")))  # some other x.png
    merged, report = merge([a, b])
    assert merged.meta.media_root is None
    assert "dataset-2" in report.notes[0] and str(tmp_path) in report.notes[0]
    bare = dataset(sample("z", media=None))
    assert merge([a, bare])[0].meta.media_root == str(tmp_path)
    assert merge([b, bare])[0].meta.media_root is None
    assert merge([b, bare])[1].notes == []


def test_label_maps_and_clips_follow_their_roots(tmp_path: Path) -> None:
    def mapped(name: str, value: int) -> Dataset:
        (tmp_path / name).mkdir()
        Image.new("L", (4, 3), value).save(tmp_path / name / "m.png")
        d = dataset(
            Sample(
                name,
                width=4,
                height=3,
                annotations=[Annotation(category=0, map=LabelMap("m.png", value=1))],
            ),
            groups=[Group(name, media=Media("clip.mp4"))],
        )
        return with_meta(d, map_root=str(tmp_path / name), media_root=str(tmp_path / name))

    merged, _ = merge([mapped("one", 1), mapped("two", 2)])
    assert [bool(s.mask(0).any()) for s in merged] == [True, False]
    assert [g["path"] for g in merged.groups["media"].to_pylist()] == [
        "one/clip.mp4",
        "two/clip.mp4",
    ]


# ---------------------------------------------------------------------- join


def test_join_unites_annotations_and_drops_exact_duplicates() -> None:
    a = dataset(sample("x", box(1), box(1), box(2)), sample("y"), names=("cat", "dog"))
    b = dataset(
        sample("x", box(2, category=1), box(1, category=1), box(3, category=1), box(2)),
        names=("dog", "cat"),
    )
    merged, report = merge([a, b], on_key="join")
    assert keys(merged) == ["x", "y"]
    # b's cats at 2 and 1 are a's; its cat at 3 and its dog at 2 are new.
    assert sorted(zip([r[0] for r in column(merged, "bbox")], names_of(merged), strict=True)) == [
        (1, "cat"),
        (1, "cat"),
        (2, "cat"),
        (2, "dog"),
        (3, "cat"),
    ]
    assert report.annotations["duplicates"] == 2
    assert (report.keys["joined"], report.keys["same_image"]) == (1, 1)
    assert report.result["annotations"] == {"truth": 5} == {"truth": merged.num_annotations}


def test_joining_three() -> None:
    a, b, c = (dataset(sample("x", *(box(i) for i in r))) for r in ((1, 2), (2, 3), (3, 1, 4)))
    merged, report = merge([a, b, c], on_key="join")
    assert [r[0] for r in column(merged, "bbox")] == [1, 2, 3, 4]
    assert report.annotations["duplicates"] == 3
    assert len(set(column(merged, "annotation_id"))) == 4


@pytest.mark.parametrize(
    ("values", "joins"),
    [
        ({}, True),
        ({"width": None, "height": None}, True),
        ({"media": None}, True),
        ({"width": 101}, False),
        ({"orientation": 6}, True),  # the other does not say
        ({"media": Media("other.jpg")}, False),
        ({"media": Media(bytes=b"1")}, False),
    ],
)
def test_only_one_image_is_joined(values: dict[str, Any], joins: bool) -> None:
    a, b = dataset(sample("x", box(1))), dataset(sample("x", box(2), **values))
    if joins:
        assert len(merge([a, b], on_key="join")[0]) == 1
    else:
        with pytest.raises(MergeError, match="1 samples cannot be joined"):
            merge([a, b], on_key="join")
    assert merge([a, b], on_key="rename")[1].keys["same_image"] == int(joins)


def test_embedded_images_are_compared_by_bytes() -> None:
    def of(content: bytes) -> Dataset:
        return dataset(sample("x", media=Media(bytes=content)))

    assert len(merge([of(b"1"), of(b"1")], on_key="join")[0]) == 1
    with pytest.raises(MergeError):
        merge([of(b"1"), of(b"2")], on_key="join")


def test_join_knows_paths_below_two_roots(tmp_path: Path) -> None:
    a = pictures(tmp_path / "one", 10, "x.png")
    b = pictures(tmp_path / "two", 10, "x.png")  # a copy of the images
    c = pictures(tmp_path / "one", 10, "x.png", root=tmp_path)  # the same file, further up
    for other in (b, c):
        merged, _ = merge([a, other], on_key="join")
        assert len(merged) == 1
        assert colours(merged) == [10]
    assert merge([a, b, c], on_key="join")[1].keys["joined"] == 2


def test_joined_samples_fill_each_other() -> None:
    a = dataset(
        sample("x", split="train", width=None, height=None, attributes={"n": 1}, extra={"u": 1})
    )
    b = dataset(
        sample("x", split="val", source_id="7", attributes={"n": 2, "m": 3}, extra={"u": 2, "v": 0})
    )
    merged, report = merge([a, b], on_key="join")
    one = merged["x"].row
    assert (one.split, one.width, one.height, one.source_id) == ("train", 100, 50, "7")
    assert one.attributes == {"n": 1, "m": 3}
    assert one.extra == {"u": 1, "v": 0}
    assert report.sample_conflicts == {"split": 1, "attributes": 1}
    assert "split 1" in report.table()


def test_references_to_a_dropped_duplicate_lead_to_the_one_kept() -> None:
    a = dataset(sample("x", box(1, annotation_id=1)))
    b = dataset(sample("x", box(1, annotation_id=1), box(2, annotation_id=2, parent=1)))
    merged, _ = merge([a, b], on_key="join")
    assert [r[0] for r in column(merged, "bbox")] == [1, 2]
    assert column(merged, "parent") == [None, 1]


def test_equal_parts_of_different_things_are_no_duplicates() -> None:
    def tree(root: float) -> Dataset:
        return dataset(sample("x", box(root, annotation_id=1), box(5, annotation_id=2, parent=1)))

    assert merge([tree(1), tree(1)], on_key="join")[1].annotations["duplicates"] == 2
    merged, report = merge([tree(1), tree(2)], on_key="join")
    assert report.annotations["duplicates"] == 0
    assert merged.num_annotations == 4


def test_a_track_that_goes_on_in_another_dataset_stays_one() -> None:
    def frames(*numbers: int, track: int) -> Dataset:
        listed = [sample(f"{i}", box(i, track=track), group=0, order=i) for i in numbers]
        return dataset(*listed, groups=[Group("v", "video")])

    merged, _ = merge([frames(0, 1, 2, track=3), frames(2, 3, track=3)], on_key="join")
    assert column(merged, "track") == [3, 3, 3, 3]
    merged, _ = merge([frames(0, 1, track=3), frames(2, 3, track=3)], on_key="join")
    assert len(set(column(merged, "track"))) == 2  # nothing says that they are one


def test_joined_annotations_come_in_one_unit() -> None:
    pixels = dataset(sample("x", box(50, bbox=(50, 25, 10, 5))))
    fractions = dataset(
        sample("x", box(bbox=(0.5, 0.5, 0.1, 0.1)), unit="relative", width=None, height=None)
    )
    for pair, unit, box_ in (
        ((pixels, fractions), "pixel", [50, 25, 10, 5]),
        ((fractions, pixels), "relative", [0.5, 0.5, 0.1, 0.1]),
    ):
        merged, _ = merge(pair, on_key="join")
        assert merged["x"].row.unit == unit
        assert column(merged, "bbox")[-1] == pytest.approx(box_)
    unsized = dataset(sample("x", box(), width=None, height=None))
    with pytest.raises(MergeError, match="cannot be joined"):
        merge([unsized, fractions], on_key="join")


def test_joined_rows_know_both_records() -> None:
    a = recorded("x", ("cat",), [[["id"]]])
    b = recorded("x", ("cat",), [[["id", "bbox"]]])
    merged, _ = merge([a, b], on_key="join")
    assert merged.samples(["origins"])["origins"].to_pylist() == [[0, 1]]
    shape = merged.meta.shapes[merged.samples(["shape"])["shape"][0].as_py()]
    assert shape == [["id"], ["id", "bbox"]]
    assert column(merged, "origins") == [[0]]  # no source ids: each file has its own record

    def with_id(d: Dataset) -> Dataset:
        def change(batch: Any) -> Any:
            table = tables.with_column(batch.annotations, "source_id", pa.array(["5"]))
            return replace(batch, annotations=table)

        return d.map_batches(change)

    merged, _ = merge([with_id(a), with_id(b)], on_key="join")
    assert column(merged, "origins") == [[0, 1]]
    assert merged.meta.shapes[column(merged, "shape")[0]] == [["id"], ["id", "bbox"]]


# ---------------------------------------------------------------------- the whole


def test_attributes_of_two_types_are_kept() -> None:
    def of(key: str, value: Any) -> Dataset:
        return dataset(sample(key, box(attributes={"n": value}), attributes={"s": value}))

    merged, _ = merge([of("a", 1), of("b", "x"), of("c", 2.5)])
    assert [s.annotations[0].attributes for s in merged] == [{"n": 1}, {"n": "x"}, {"n": 2.5}]
    assert [s.row.attributes for s in merged] == [{"s": 1}, {"s": "x"}, {"s": 2.5}]
    assert merged.num_annotations == merged.annotations().num_rows


def test_derived_columns_are_left_behind() -> None:
    a = dataset(sample("a"))
    part = a.parts[0]
    hashed = tables.with_column(part.samples(), "col.hash", pa.array([1.0]))
    b = Dataset([granum.store.parts.Part(0, 1, lambda: hashed, part.layer)], a.categories)
    merged, _ = merge([b, dataset(sample("b"))])
    assert "col.hash" not in merged.samples().column_names


def test_empty_datasets() -> None:
    nothing = Dataset([])
    d = dataset(sample("a", box()))
    for listed in ([nothing, d], [d, nothing], [nothing, d, nothing]):
        merged, _ = merge(listed, on_key="join")
        assert_same(d, merged)
    merged, report = merge([nothing, nothing])
    assert (len(merged), report.result["samples"]) == (0, 0)
    with pytest.raises(UsageError, match="at least one"):
        merge([])
    with pytest.raises(UsageError, match="list"):
        merge(d)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="on_key is 'both'"):
        merge([d], on_key="both")  # type: ignore[arg-type]


def test_inputs_stay_and_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    a, b = dataset(sample("x", box(1))), dataset(sample("x", box(2)), sample("y"))
    before = snapshot(a), snapshot(b)
    target = tmp_path / "m.granum"
    merged, report = merge([a, b], on_key="join", out=target, dry_run=True)
    assert not target.exists()
    assert report.dry_run and report.result["annotations"] == {"truth": 2}
    refused, report = merge([a, b], out=target, dry_run=True)
    assert len(refused) == 0 and "--on-key" in report.refused[0]
    assert report.refused[0] in report.table()
    merged, _ = merge([a, b], on_key="join", out=target)
    assert merged.meta.store is not None
    assert_same(merge([a, b], on_key="join")[0], open_dataset(target))
    with pytest.raises(ExistsError):
        merge([a, b], on_key="join", out=target)
    merge([a], out=target, overwrite=True)
    assert len(open_dataset(target)) == 1
    assert (snapshot(a), snapshot(b)) == before


def test_lineage_tells_where_it_came_from() -> None:
    a = with_meta(dataset(sample("a")), lineage=[{"verb": "read", "source": "a.json"}])
    b = with_meta(dataset(sample("b")), lineage=[{"verb": "read", "source": "b.json"}])
    merged, report = merge([a, b], map={"cat": "lynx"})
    first, *_, last = merged.meta.lineage
    assert first == {"verb": "read", "source": "a.json"}
    assert (last["verb"], last["on_key"], last["map"]) == ("merge", "fail", {"cat": "lynx"})
    assert [i["name"] for i in last["inputs"]] == ["a", "b"]
    assert last["inputs"][1]["lineage"][0] == {"verb": "read", "source": "b.json"}
    assert [d["name"] for d in report.datasets] == ["a", "b"]
    json.dumps(merged.meta.lineage), json.dumps(report.to_dict())


def test_selecting_from_a_merged_dataset() -> None:
    a = dataset(*(sample(f"a{i}", box(i)) for i in range(4)))
    b = dataset(*(sample(f"b{i}", box(10 + i)) for i in range(4)))
    merged, _ = merge([a, b])
    assert diff(merged.select([5, 0]), merged.filter("key == 'b1' or key == 'a0'")).same
    assert [r[0] for r in column(merged.select([5, 0]), "bbox")] == [11, 0]
    assert merged["b3"].annotations[0].bbox == (13, 2, 3, 4)


def parted(d: Dataset, path: Path | None, size: int = 1) -> Dataset:
    """The dataset in parts of one sample each; on disk where a path is given."""
    builder: Any = MemoryBuilder() if path is None else StoreBuilder(path)
    for row in range(0, len(d), size):
        one = d.select(np.arange(row, min(row + size, len(d))))
        builder.add(Incoming(one.samples(), {"truth": one.annotations()}))
    made: Dataset = builder.finish(categories=d.categories, groups=d.groups)
    return made


def test_parts_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granum.store.builder, "PART_SAMPLES", 2)
    monkeypatch.setattr("granum.verbs._twins.BLOCK", 3)
    monkeypatch.setattr("granum.verbs._settling.BLOCK", 3)
    a = dataset(*(sample(f"{i}", box(i), box(i + 50)) for i in range(9)))
    b = dataset(*(sample(f"{i}", box(i), box(i + 70)) for i in (7, 3, 11, 0, 12)))
    whole, one = merge([a, b], on_key="join")
    stored = parted(a, tmp_path / "a.granum"), parted(b, tmp_path / "b.granum")
    assert len(stored[0].parts) > 3
    merged, two = merge([tmp_path / "a.granum", stored[1]], on_key="join")
    assert_same(whole, merged)
    assert diff(whole, merged).same
    assert (one.annotations, one.keys) == (two.annotations, two.keys)
    assert one.annotations["duplicates"] == 3
    report = diff(a, merged)
    assert (report.samples.added, report.annotations.added, report.annotations.removed) == (2, 3, 0)


@FAST
@given(datasets())
def test_one_dataset_merges_to_itself(d: Dataset) -> None:
    before = snapshot(d)
    merged, report = merge([d])
    assert_same(d, merged)
    assert snapshot(d) == before
    assert sum(report.result["annotations"].values()) == sum(
        d.annotations(layer=n).num_rows for n in d.meta.layers
    )


@FAST
@given(datasets())
def test_a_dataset_joined_to_itself_is_itself(d: Dataset) -> None:
    merged, report = merge([d, d], on_key="join")
    assert diff(d, merged).same
    assert_same(d, merged, ordered=False)
    total = sum(d.annotations(layer=n).num_rows for n in d.meta.layers)
    assert report.annotations["duplicates"] == total


@FAST
@given(datasets(min_samples=1), datasets(min_samples=1))
def test_both_come_back_out_of_a_merged_dataset(d: Dataset, e: Dataset) -> None:
    merged, report = merge([d, e], prefix=["d", "e"], conflict="first")
    assert len(merged) == len(d) + len(e)
    for name, n in report.result["annotations"].items():
        assert merged.annotations(layer=name).num_rows == n
    ids = [i for n in merged.meta.layers for i in column(merged, "annotation_id", n)]
    assert len(ids) == len(set(ids))
    own, _ = merge([d], prefix=["d"])
    ignore = ("categories", "layers", "groups")
    back = merged.select(np.arange(len(d)))
    assert_same(own.select(np.arange(len(d))), back, ignore=ignore)
    own, _ = merge([e], prefix=["e"])
    back = merged.select(len(d) + np.arange(len(e)))
    if d.meta.media_root == e.meta.media_root:
        assert_same(own.select(np.arange(len(e))), back, ignore=ignore)


THREE = ("a.jpg", "b.jpg", "c.jpg")


@FAST
@given(
    datasets(min_samples=1, keys=THREE),
    datasets(min_samples=1, keys=THREE),
    st.sampled_from(["join", "first", "rename"]),
    st.sampled_from(["keep", "renumber"]),
    st.sampled_from(["keep", "forget"]),
)
def test_any_two_datasets_with_common_keys(
    d: Dataset, e: Dataset, on_key: Any, ids: Any, sources: Any
) -> None:
    before = snapshot(d), snapshot(e)
    rules = {"on_key": on_key, "ids": ids, "sources": sources, "conflict": "first"}
    try:
        merged, report = merge([d, e], **rules)
    except MergeError as error:
        assert on_key == "join" and "cannot be joined" in str(error)
        return
    assert (snapshot(d), snapshot(e)) == before
    rows_of = {n: merged.annotations(layer=n).num_rows for n in merged.meta.layers}
    assert rows_of == report.result["annotations"]
    gone = report.annotations["duplicates"] + report.annotations["left_out"]
    assert sum(rows_of.values()) + gone == sum(
        x.annotations(layer=n).num_rows for x in (d, e) for n in x.meta.layers
    )
    numbers = [i for n in rows_of for i in column(merged, "annotation_id", n)]
    assert len(set(numbers)) == len(numbers)
    assert len(set(keys(merged))) == len(merged)
    # What the first dataset holds is there, as it was.
    found = diff(d, merged)
    assert not (found.samples.removed or found.groups.removed or found.annotations.removed)
    assert found.annotations.changed == 0
    if on_key != "join":
        assert found.samples.changed == 0
    # Samples of a part are in order, so that each one's annotations are a slice.
    for part in merged.parts:
        for name in rows_of:
            if part.layer(name).num_rows:
                at = np.asarray(part.layer(name)["sample"].fill_null(len(merged)))
                assert (np.diff(at) >= 0).all()


def test_merged_coco_files_are_one_file_for_pycocotools(tmp_path: Path) -> None:
    for name, files, classes in (("a", "12", ("cat", "dog")), ("b", "23", ("dog", "fox"))):
        content = {
            "images": [
                {"id": i, "file_name": f"{f}.jpg", "width": 90, "height": 80}
                for i, f in enumerate(files)
            ],
            "annotations": [
                {
                    "id": i,
                    "image_id": i,
                    "category_id": i,
                    "bbox": [i, 2, 3, 4],
                    "area": 12,
                    "iscrowd": 0,
                }
                for i in range(2)
            ],
            "categories": [{"id": i, "name": n} for i, n in enumerate(classes)],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    merged, report = merge(
        [tmp_path / "a.json", tmp_path / "b.json"], on_key="join", ids="renumber", sources="forget"
    )
    write(merged, tmp_path / "out.json", "coco")
    found = COCO(str(tmp_path / "out.json"))
    names = {c["id"]: c["name"] for c in found.dataset["categories"]}
    assert sorted(names.values()) == ["cat", "dog", "fox"]
    per_image = {
        i["file_name"]: sorted(names[a["category_id"]] for a in found.imgToAnns[i["id"]])
        for i in found.dataset["images"]
    }
    assert per_image == {"1.jpg": ["cat"], "2.jpg": ["dog", "dog"], "3.jpg": ["fox"]}
    assert len(found.anns) == 4  # no id twice
    assert report.datasets[0]["name"] == "a"


def test_real_files_of_other_taxonomies() -> None:
    """TACO (1,500 photos, 60 classes) and LVIS (100 photos, 1,230 classes)."""
    taco = granum.read(shared("taco") / "annotations.json", "coco", on_error="skip")
    lvis = granum.read(next(shared("lvis_val_100").rglob("*.json")), on_error="skip")
    merged, report = merge([taco, lvis])
    assert (len(merged), merged.categories.num_rows) == (1600, 1290)
    # 977 objects, and a label for each class that is absent (942) or not exhaustive (16).
    assert lvis.num_annotations == 977 + 942 + 16
    assert merged.num_annotations == taco.num_annotations + lvis.num_annotations
    assert report.categories["look_alikes"] == [
        ["Battery", "battery"],
        ["Shoe", "shoe"],
        ["Cigarette", "cigarette"],
    ]
    mapped, report = merge(
        [taco, lvis], map={n: n.lower() for n in ("Battery", "Shoe", "Cigarette")}
    )
    assert report.categories["united"] == 3
    assert mapped.categories.num_rows == 1287
    assert diff(taco, merged).annotations.same == taco.num_annotations
    twice, report = merge([taco, taco], on_key="join")
    assert report.annotations["duplicates"] == taco.num_annotations
    assert diff(taco, twice).same
