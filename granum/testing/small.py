"""One small dataset for each thing that may be lost on the way: what breaks is named by its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from granum.schema.geometry import rle_encode_counts
from granum.schema.rows import (
    Annotation,
    Category,
    Group,
    Interval,
    LabelMap,
    Media,
    Rle,
    Sample,
)
from granum.store.dataset import Dataset

__all__ = ["small_datasets"]

WIDTH, HEIGHT = 20, 10
BOX = (2.0, 1.0, 8.0, 5.0)
RING = [2.0, 1.0, 10.0, 1.0, 10.0, 6.0, 2.0, 6.0]
SMALL = [12.0, 2.0, 18.0, 2.5, 15.0, 9.0]
HOLE = [4.0, 2.0, 6.0, 2.0, 6.0, 4.0]
POINTS = [3.0, 2.0, 2.0, 5.5, 4.0, 1.0, 0.0, 0.0, 0.0]

Make = Callable[[], Dataset]


def thing(**values: Any) -> Annotation:
    """An object with a box and a category."""
    return Annotation(**{"category": 0, "bbox": BOX, **values})


def sample(*annotations: Annotation, key: str = "a.jpg", **values: Any) -> Sample:
    named = {"media": Media(path=key), "width": WIDTH, "height": HEIGHT, **values}
    return Sample(key, annotations=list(annotations), **named)


def one(*annotations: Annotation, **category: Any) -> Make:
    """One sample; two categories, of which the first has further columns."""
    listed = [Category("cat", **category), Category("dog")]
    return lambda: Dataset.from_rows([sample(*annotations)], listed)


def of(*samples: Sample, categories: tuple[str, ...] = ("cat", "dog"), **tables: Any) -> Make:
    listed = [Category(c) for c in categories]
    return lambda: Dataset.from_rows(samples, listed, **tables)


def box(*values: float, **others: Any) -> Annotation:
    return thing(bbox=tuple(float(v) for v in values), **others)


def rle(form: str) -> Annotation:
    return thing(rle=Rle((HEIGHT, WIDTH), rle_encode_counts([21, 5, 4, 5, 165]), form))


def only(kind: str, **values: Any) -> Annotation:
    return Annotation(kind, **values)


class _Made(Mapping[str, Dataset]):
    """Datasets that are made anew whenever one is asked for."""

    def __init__(self, makers: Mapping[str, Make]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> Dataset:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def small_datasets() -> Mapping[str, Dataset]:
    """Datasets by what they hold beside a box and a category."""
    return _Made({**_OBJECTS, **_COLUMNS, **_KINDS, **_TABLES})


_FLAGS = (
    *("crowd", "ignore", "group_of", "occluded", "truncated", "depiction", "inside"),
    *("difficult", "keyframe", "outside", "exhaustive", "present"),
)

_OBJECTS: dict[str, Make] = {
    "nothing": lambda: Dataset.from_rows([]),
    "box": one(thing()),
    "boxes in order": one(
        thing(category=1), box(1, 1, 2, 3), thing(), box(0, 0, 2.25, 3, category=1)
    ),
    "exact box": one(box(1 / 3, 2 / 3, 0.1 + 0.2, 7.123456789012345)),
    "box outside": one(box(-1.5, 8, 30, 4)),
    "whole image": one(box(0, 0, WIDTH, HEIGHT)),
    "zero-size box": one(box(3, 3, 0, 2)),
    "no category": one(thing(category=None)),
    "no box": one(thing(bbox=None)),
    "same box twice": one(thing(), thing()),
    "polygon": one(thing(polygons=[[RING]])),
    "polygon without box": one(thing(bbox=None, polygons=[[RING]])),
    "two parts": one(thing(polygons=[[RING], [SMALL]])),
    "hole": one(thing(polygons=[[RING, HOLE]])),
    "parts and holes": one(thing(polygons=[[RING, HOLE], [SMALL]])),
    "rle compressed": one(rle("compressed")),
    "rle list": one(rle("list")),
    "polygon and rle": one(thing(polygons=[[RING]], rle=rle("compressed").rle)),
    "label map": one(
        thing(map=LabelMap("m/a.png", encoding="rgb24", value=7)),
        thing(map=LabelMap("m/a.png", encoding="rgb24", value=300), category=1),
    ),
    "label map and flags": one(
        thing(
            map=LabelMap("m/a.png", encoding="rgb24", value=7),
            score=0.5,
            **dict.fromkeys(_FLAGS, True),
        )
    ),
    "label map of value 0": one(thing(map=LabelMap("m/a.png", value=0))),
    "whole label map": one(only("object", map=LabelMap("m/a.png", space="object"))),
    "keypoints": one(
        thing(keypoints=POINTS, category=0),
        keypoints=["nose", "ear", "tail"],
        skeleton=[[0, 1], [1, 2]],
    ),
    "keypoint scores": one(
        thing(keypoints=POINTS, keypoint_scores=[0.5, 1.0, 0.0]), keypoints=["nose", "ear", "tail"]
    ),
    "keypoints without names": one(thing(keypoints=POINTS)),
    "a point": one(thing(bbox=None, keypoints=[3.0, 2.5, 2.0], shape_kind="point")),
    "a circle": one(box(2, 1, 4, 4, shape_kind="circle")),
    "angle": one(thing(angle=0.5)),
    "angle 0": one(thing(angle=0.0)),
    "polyline": one(thing(bbox=None, polyline=[1.0, 2.0, 3.5, 4.0, 9.0, 1.0])),
    "box3d": one(thing(box3d=tuple(float(i) for i in range(9)))),
    "box3d turned once": one(thing(box3d=(1.0, 2.0, 9.0, 4.0, 1.5, 2.0, 0.0, -0.5, 0.0))),
}

_COLUMNS: dict[str, Make] = {
    **{
        f"{name} {value}": one(thing(**{name: value}), thing())
        for name in _FLAGS
        for value in (True, False)
    },
    **{
        f"{name} {value}": one(thing(**{name: value}), thing())
        for name, values in {
            "score": (0.0, 0.123456789012345678, 1.0),
            "visibility": (0.0, 0.25),
            "area": (0.0, 12.5),
            "z_order": (0, -1),
            "granularity": (0.0, 0.5),
            "level": (0, 2),
            "source": ("human",),
            "annotator": ("anna",),
            "text": ("a <b> & c", ""),
            "shape_kind": ("ellipse",),
            "source_id": ("0", "x 7"),
        }.items()
        for value in values
    },
    "attributes": one(thing(attributes={"colour": "red", "n": 0, "w": 0.5, "ok": False}), thing()),
    "nested attributes": one(thing(attributes={"a": {"b": [1, None, "x"]}, "none": None})),
    "no attributes": one(thing(attributes={})),
    "unknown keys": one(thing(extra={"x-note": [1, {"y": None}]})),
}

_KINDS: dict[str, Make] = {
    "label": one(only("label", category=1)),
    "two labels": one(only("label", category=1), only("label", category=0)),
    "negative label": one(
        only("label", category=0, present=False), only("label", category=1, present=True)
    ),
    "label that is not exhaustive": one(only("label", category=0, exhaustive=False)),
    "label with score 0": one(only("label", category=0, score=0.0)),
    "caption": one(only("caption", text="zwei Hunde,\n„laut“")),
    "captions": one(only("caption", text="a dog"), only("caption", text="a dog")),
    "interval": one(only("interval", category=0, interval=Interval(0.0, 1.5))),
    "field": one(only("field", map=LabelMap("m/d.png", encoding="index"))),
    "relation": one(
        thing(annotation_id=5),
        box(1, 1, 2, 3, category=1, annotation_id=9),
        only("relation", category=1, subject=9, object=5, annotation_id=2),
    ),
    "parent": one(thing(annotation_id=3, parent=8), box(0, 0, 20, 10, annotation_id=8, level=0)),
    "track": of(
        sample(thing(track=0, annotation_id=1), box(1, 1, 2, 2, track=4, annotation_id=2)),
        sample(box(3, 1, 2, 2, track=4, annotation_id=3), key="b.jpg"),
    ),
    "track ids of the source": one(thing(track=1, track_source_id="t-0")),
}


def _sizes() -> Dataset:
    return Dataset.from_rows(
        [sample(thing(), width=None, height=None), sample(thing(), key="b.jpg")],
        [Category("cat")],
    )


def _relative(**size: Any) -> Make:
    inside = thing(bbox=(0.1, 0.2, 1 / 3, 0.5), polygons=[[[0.1, 0.2, 0.5, 0.2, 0.5, 0.75]]])
    return of(sample(inside, unit="relative", **size))


def _layers() -> Dataset:
    both = sample(thing(annotation_id=1))
    both.layers = {"predictions": [thing(annotation_id=2, score=0.0)]}
    return Dataset.from_rows([both], [Category("cat")])


def _spaces() -> Dataset:
    listed = [Category("cat"), Category("run", "action"), Category("cat", "action")]
    run = only("label", category=1)
    return Dataset.from_rows([sample(thing(), run, thing(category=2))], listed)


def _video() -> Dataset:
    frames = [
        sample(thing(track=0, annotation_id=i + 1), key=f"v/{i}.jpg", group=0, order=i, role="rgb")
        for i in range(2)
    ]
    video = Group("v", "video", frames=2, fps=25.0, media=Media("v.mp4"), width=20, height=10)
    whole = only("track", track=0, group=0, category=1, annotation_id=9)
    return Dataset.from_rows(
        frames, [Category("cat"), Category("run")], [video], group_annotations=[whole]
    )


_TABLES: dict[str, Make] = {
    "empty sample": of(sample(thing()), sample(key="b.jpg")),
    "no annotation": of(sample()),
    "unused category": of(sample(thing()), categories=("cat", "never", "dog")),
    "no size": _sizes,
    "relative": _relative(),
    "relative without size": _relative(width=None, height=None),
    "splits": of(
        sample(thing(), split="train"),
        sample(key="b.jpg", split="val"),
        sample(key="c.jpg", split="test"),
    ),
    "split and none": of(sample(thing(), split="train"), sample(key="b.jpg")),
    "other split": of(sample(thing(), split="holdout 2")),
    "same base name": of(sample(thing(), key="x/a.jpg"), sample(thing(category=1), key="y/a.jpg")),
    "same stem": of(sample(thing(), key="a.jpg"), sample(thing(category=1), key="a.png")),
    "unicode key": of(sample(thing(), key="sub dir/ü 日本.jpg")),
    "odd keys": of(
        *(sample(thing(), key=k) for k in ("a,b;c.jpg", "#1 'q' \"d\".jpg", "<&>.jpg", "x.tar.gz"))
    ),
    "key without suffix": of(sample(thing(), key="000000000139")),
    "keys that climb": of(sample(thing(), key="../a.jpg"), sample(thing(), key="/b.jpg")),
    "odd category names": of(
        *(sample(thing(category=i), key=f"{i}.jpg") for i in range(6)),
        categories=("traffic light", "a, b", "0", "ü: 'x'", "<b>&", "a/b"),
    ),
    "sample facts": of(
        sample(thing(), source_id="0", channels=3, depth=8, orientation=6, media_kind="raster")
    ),
    "time": of(sample(thing(), time=datetime(2024, 2, 29, 12, 30, 1, 250_000))),
    "geo": of(sample(thing(), geo={"crs": "EPSG:4326", "transform": [1.0, 0, 5, 0, -1, 9]})),
    "sample attributes": of(sample(thing(), attributes={"weather": "rain", "n": 0})),
    "unknown sample keys": of(sample(thing(), extra={"x-licence": 3})),
    "category ids": one(thing(), source_id="17"),
    "supercategory": one(thing(), supercategory="animal"),
    "isthing": one(thing(), isthing=False),
    "colour": one(thing(), colour=[0, 128, 255]),
    "synonyms": one(thing(), synonyms=["kitty", "ca t"]),
    "category attributes": one(thing(), attributes={"a": [1]}, extra={"x-b": 0}),
    "is a": one(thing(), parents=[{"index": 1, "relation": "is_a"}]),
    "part of": one(
        thing(), parents=[{"index": 1, "relation": "part_of"}, {"index": 1, "relation": "is_a"}]
    ),
    "label spaces": _spaces,
    "layers": _layers,
    "video": _video,
    "unused group": of(sample(thing()), groups=[Group("v 1", "video")]),
    "pair": of(
        sample(thing(), key="a1.jpg", group=0, role="t1", order=0),
        sample(key="a2.jpg", group=0, role="t2", order=1),
        groups=[Group("p", "pair", attributes={"days": 3})],
    ),
}
