"""The rendered data is deterministic, complete, and true to the pixel."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from granum.schema import geometry, rows
from granum.synthetic import Generated, generate
from granum.synthetic import scene as scene_module
from granum.synthetic.catalogue import Ids, index, number
from granum.synthetic.shapes import (
    Canvas,
    Piece,
    Shape,
    box,
    capsule,
    coverage,
    cut,
    ellipse,
    intersect,
    polygon,
    union,
)
from granum.synthetic.stage import Stage
from granum.synthetic.things import Thing
from granum.synthetic.trace import bounds, trace

Mask = npt.NDArray[np.bool_]
SIZE = (200, 150)
SMALL = {"scenes": 12, "frames": 6, "pairs": 2, "textures": 8, "size": SIZE}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(tmp_path_factory.mktemp("made"), seed=0, **SMALL)  # type: ignore[arg-type]


def part_of(made: Generated, folder: str) -> list[rows.Sample]:
    return [s for s in made.samples if s.key.startswith(folder + "/")]


def all_rows(made: Generated) -> list[rows.Annotation]:
    return [a for s in made.samples for a in s.annotations] + made.group_annotations


def mask_of(row: rows.Annotation, size: tuple[int, int], root: Path) -> Mask | None:
    if row.polygons is not None:
        return geometry.rasterize(row.polygons, size[1], size[0])
    if row.rle is not None:
        return geometry.rle_decode(row.rle.size, row.rle.counts)
    if row.map is not None and row.map.path is not None:
        values = np.asarray(Image.open(root / row.map.path))
        return np.asarray(values > 0 if row.map.encoding == "nonzero" else values == row.map.value)
    return None


def test_same_seed_same_bytes_and_rows(tmp_path: Path) -> None:
    few = {"scenes": 2, "frames": 2, "pairs": 1, "textures": 4, "size": (96, 72)}
    one = generate(tmp_path / "a", seed=5, **few)  # type: ignore[arg-type]
    two = generate(tmp_path / "b", seed=5, **few)  # type: ignore[arg-type]
    other = generate(tmp_path / "c", seed=6, **few)  # type: ignore[arg-type]
    files = sorted(p.relative_to(one.root) for p in one.root.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(two.root) for p in two.root.rglob("*") if p.is_file())
    assert all((one.root / p).read_bytes() == (two.root / p).read_bytes() for p in files)
    assert (one.samples, one.groups, one.categories) == (two.samples, two.groups, two.categories)
    assert one.group_annotations == two.group_annotations
    for a, b in zip(one.samples, other.samples, strict=True):
        assert (one.root / a.key).read_bytes() != (other.root / b.key).read_bytes()


def test_a_scene_does_not_depend_on_their_number(tmp_path: Path) -> None:
    none = {"frames": 0, "pairs": 0, "textures": 0, "size": (96, 72)}
    one = generate(tmp_path / "a", scenes=1, **none)  # type: ignore[arg-type]
    two = generate(tmp_path / "b", scenes=3, **none)  # type: ignore[arg-type]
    assert (len(one.samples), len(two.samples), one.groups) == (1, 3, [])
    key = one.samples[0].key
    assert (one.root / key).read_bytes() == (two.root / key).read_bytes()
    assert one.samples[0] == two.samples[0]


def test_counts_and_media(made: Generated) -> None:
    counts = Counter(s.key.split("/")[0] for s in made.samples)
    assert counts == {"scenes": 12, "video": 6, "pairs": 4, "textures": 8}
    assert len({s.key for s in made.samples}) == len(made.samples)
    for sample in made.samples:
        assert sample.media is not None and sample.media.path == sample.key
        with Image.open(made.root / sample.key) as image:
            assert image.size == (sample.width, sample.height) and image.mode == "RGB"
            assert image.format == ("JPEG" if sample.key.endswith(".jpg") else "PNG")
    assert {s.split for s in part_of(made, "scenes")} == {"train", "val", "test"}
    for row in all_rows(made):
        if row.map is not None:
            with Image.open(made.root / str(row.map.path)) as image:
                assert image.mode == "L"


def test_ids_and_references(made: Generated) -> None:
    ids = [a.annotation_id for a in all_rows(made)]
    assert None not in ids and len(set(ids)) == len(ids) and min(i or 0 for i in ids) >= 1
    spaces = {"label": {"scene", "defect"}, "relation": {"predicate"}, "interval": {"action"}}
    for sample in made.samples:
        own = {a.annotation_id: a for a in sample.annotations}
        for row in sample.annotations:
            for name in ("parent", "subject", "object"):
                assert getattr(row, name) is None or getattr(row, name) in own
            if row.category is not None:
                space = made.categories[row.category].space
                assert space in spaces.get(row.kind, {"object", "landcover", "defect"})
            if row.parent is not None:
                assert row.category is not None
                above = made.categories[row.category].parents or []
                assert own[row.parent].category in [p["index"] for p in above]
                assert (row.level, own[row.parent].level) == (1, 0)
        assert sample.group is None or 0 <= sample.group < len(made.groups)
    assert all(a.sample is None and a.group is not None for a in made.group_annotations)
    kinds = [made.groups[a.group or 0].kind for a in made.group_annotations if a.kind == "object"]
    assert set(kinds) == {"pair"}


def test_the_schema_takes_every_row(made: Generated) -> None:
    every = all_rows(made)
    table = rows.annotations_to_table(every)
    back = rows.annotations_from_table(table)
    assert table["annotation_id"].to_pylist() == [a.annotation_id for a in every]
    assert [a.polygons for a in back] == [a.polygons for a in every]
    assert [a.attributes for a in back] == [a.attributes for a in every]
    assert rows.samples_to_table(made.samples).num_rows == len(made.samples)


def test_boxes_areas_flags_and_parts_are_exact(made: Generated) -> None:
    seen: Counter[str] = Counter()
    for sample in part_of(made, "scenes") + part_of(made, "video"):
        taken = np.zeros((SIZE[1], SIZE[0]), int)
        masks = {}
        for row in sample.annotations:
            mask = mask_of(row, SIZE, made.root)
            if mask is None:
                assert row.kind != "object"
                continue
            masks[row.annotation_id] = mask
            assert row.area == mask.sum() > 0 and row.bbox == bounds(mask)
            seen["rle" if row.rle else "polygons"] += 1
            seen["parts"] += len(row.polygons or []) > 1
            seen["holes"] += any(len(part) > 1 for part in row.polygons or [])
            if row.parent is not None:
                assert not (mask & ~masks[row.parent]).any()
                seen["inner"] += 1
                continue
            taken += mask
            assert row.visibility is not None and 0 < row.visibility <= 1
            assert (row.visibility == 1) == (not row.occluded and not row.truncated)
            seen["crowd"] += bool(row.crowd)
            seen["occluded"] += bool(row.occluded)
            if row.truncated:
                seen["truncated"] += 1
                edge = [mask[0], mask[-1], mask[:, 0], mask[:, -1]]
                assert any(side.any() for side in edge)
            if row.crowd:
                assert row.rle is not None
        assert taken.max() == 1
    for what in ("rle", "polygons", "parts", "holes", "inner", "crowd", "occluded", "truncated"):
        assert seen[what] > 0, what


def test_rows_are_what_the_canvas_shows() -> None:
    stage, _ = scene_module._arrange(np.random.default_rng([0, 1, 0]), SIZE, False)
    found, numbers = stage.annotate(Ids(1))
    left = stage.canvas.owner.copy()
    inner = stage.canvas.part.copy()
    position = {number: place for place, number in numbers.items()}
    for row in found:
        mask = mask_of(row, SIZE, Path())
        assert mask is not None
        if row.parent is None:
            assert row.annotation_id is not None
            assert (mask == (stage.canvas.owner == position[row.annotation_id] + 1)).all()
            left[mask] = 0
        else:
            assert len(np.unique(stage.canvas.part[mask])) == 1
            inner[mask] = 0
    assert not left.any() and not inner.any()


SHAPES = {
    "ellipse": ellipse(20, 15.5, 11, 7.3),
    "box": box(5.2, 6.1, 30.7, 22, 4),
    "capsule": capsule((6, 6), (30, 20), 4, 2),
    "polygon": polygon([(4, 4), (34, 8), (20, 25), (18, 12)]),
    "union": union(ellipse(10, 10, 6, 6), box(20, 12, 33, 20)),
    "cut": cut(ellipse(20, 15, 12, 12), ellipse(20, 15, 6, 6)),
    "intersect": intersect(ellipse(20, 15, 12, 12), box(20, 0, 40, 30)),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_colour_and_truth_agree(shape: Shape) -> None:
    canvas = Canvas(np.zeros((30, 40, 3)))
    canvas.paint(Piece(shape, (1.0, 1.0, 1.0), shade="flat"), 3)
    assert ((canvas.owner == 3) == (canvas.rgb[..., 0] >= 0.5)).all()
    assert 40 < (canvas.owner == 3).sum() < 900
    x, y, mask = coverage([shape])
    whole = np.zeros((60, 60), bool)
    whole[10 + y : 10 + y + mask.shape[0], 10 + x : 10 + x + mask.shape[1]] = mask
    assert (whole[10:40, 10:50] == (canvas.owner == 3)).all()


def test_occlusion_and_truncation_are_counted() -> None:
    stage = Stage(np.zeros((30, 40, 3)))
    for span in ((-5, 5, 15, 25), (10, 0, 20, 40)):
        stage.add(Thing("ball", [Piece(box(*span), (1, 0, 0))]))
    back, front = stage.annotate(Ids(7))[0]
    assert (back.annotation_id, front.annotation_id) == (7, 8)
    assert (back.bbox, back.area) == ((0, 5, 10, 20), 200)
    assert (back.occluded, back.truncated, back.visibility) == (True, True, 200 / 400)
    assert (front.bbox, front.occluded, front.truncated) == ((10, 0, 10, 30), False, True)
    assert stage.in_front() == [(1, 0)]
    assert not stage.add(Thing("ball", [Piece(box(0, 0, 40, 30), (0, 1, 0))]), keep=0.1)


def test_keypoints_lie_on_their_person(made: Generated) -> None:
    shown: Counter[int] = Counter()
    skeleton = made.categories[index("person")].skeleton or []
    assert {i for pair in skeleton for i in pair} == set(range(7))
    for sample in part_of(made, "scenes") + part_of(made, "video"):
        for row in sample.annotations:
            if row.category != index("person"):
                assert row.keypoints is None
                continue
            mask = mask_of(row, SIZE, made.root)
            assert mask is not None and row.keypoints is not None and len(row.keypoints) == 21
            for x, y, seen in np.reshape(row.keypoints, (7, 3)):
                shown[int(seen)] += 1
                assert (seen == 0) == (x == 0 and y == 0)
                assert 0 <= x < SIZE[0] and 0 <= y < SIZE[1]
                if seen:
                    assert mask[int(y), int(x)] == (seen == 2)
    assert shown[2] > shown[1] > 0


def test_captions_labels_and_relations_are_true(made: Generated) -> None:
    predicates: Counter[str] = Counter()
    for sample in part_of(made, "scenes"):
        own = {a.annotation_id: a for a in sample.annotations}
        wholes = Counter(
            made.categories[a.category or 0].name
            for a in own.values()
            if a.level == 0 and not a.crowd
        )
        first = next(a.text for a in own.values() if a.kind == "caption") or ""
        for name, plural in (("car", "cars"), ("person", "people"), ("bench", "benches")):
            expected = f"{number(wholes[name])} {name if wholes[name] == 1 else plural}"
            assert (expected in first) == (wholes[name] > 0)
        assert ("flock" in first) == any(a.crowd for a in own.values())
        stated = {
            made.categories[a.category or 0].name: a.present
            for a in own.values()
            if a.kind == "label"
        }
        dusk = "dusk" in first
        assert stated == {"day": not dusk, "dusk": dusk, "rain": False}
        assert dusk == ((sample.attributes or {})["light"] == "dusk")
        if not dusk:
            assert not any((a.attributes or {}).get("lit") for a in own.values())
        for row in own.values():
            if row.kind != "relation":
                continue
            name = made.categories[row.category or 0].name
            subject, thing = own[row.subject], own[row.object]
            assert subject.bbox and thing.bbox and subject is not thing
            predicates[name] += 1
            if name == "left of":
                assert subject.bbox[0] + subject.bbox[2] <= thing.bbox[0]
            else:
                assert (subject.z_order or 0) > (thing.z_order or 0)
            if name == "in front of":
                assert thing.occluded
    assert set(predicates) == {"left of", "in front of", "on"}


def test_video_tubes_and_action(made: Generated) -> None:
    frames = part_of(made, "video")
    assert [s.order for s in frames] == list(range(6)) and {s.group for s in frames} == {0}
    clip = made.groups[0]
    assert (clip.kind, clip.frames, clip.fps) == ("video", 6, 8.0)
    tubes = {a.track: a for a in made.group_annotations if a.kind == "track"}
    seen: dict[int, set[int]] = {}
    hips: list[float] = []
    for sample in frames:
        found = [a for a in sample.annotations if a.track is not None]
        assert len({a.track for a in found}) == len(found) > 3
        for row in found:
            assert row.track is not None and row.category is not None
            seen.setdefault(row.track, set()).add(row.category)
            if row.keypoints:
                hips.append(row.keypoints[12])
    assert set(tubes) == set(seen) and all(len(c) == 1 for c in seen.values())
    assert all(seen[t] == {tubes[t].category} for t in seen if t is not None)
    action = next(a for a in made.group_annotations if a.kind == "interval")
    assert action.interval is not None and action.track is not None
    assert tubes[action.track].category == index("person")
    start, end = action.interval.start * 8, action.interval.end * 8
    moves = [hips[i + 1] != hips[i] for i in range(5)]
    assert moves == [start <= i < end for i in range(5)]


def test_pairs_change_where_the_covers_differ(made: Generated) -> None:
    samples = part_of(made, "pairs")
    for group, clip in enumerate(made.groups):
        if clip.kind != "pair":
            continue
        before, after = (s for s in samples if s.group == group)
        assert (before.role, after.role, before.order, after.order) == ("t1", "t2", 0, 1)
        covers = []
        for sample in (before, after):
            paths = {str(a.map.path) for a in sample.annotations if a.map}
            assert len(paths) == 1
            covers.append(np.asarray(Image.open(made.root / paths.pop())))
            assert covers[-1].min() > 0
            assert sum(a.area or 0 for a in sample.annotations) == covers[-1].size
        changes = [a for a in made.group_annotations if a.group == group]
        union = np.zeros(covers[0].shape, bool)
        for row in [*before.annotations, *after.annotations, *changes]:
            mask = mask_of(row, SIZE, made.root)
            assert mask is not None and row.map is not None and row.area == mask.sum() > 0
            category = made.categories[row.category or 0]
            assert category.source_id == str(row.map.value) and category.space == row.map.space
            if row in changes:
                union |= mask
                name = {"new building": "roof", "clearing": "grass"}[category.name]
                value = int(made.categories[index(name, "landcover")].source_id or 0)
                assert (covers[1][mask] == value).all()
        assert union.any() and (union == (covers[0] != covers[1])).all()


def test_textures_and_their_defects(made: Generated) -> None:
    kinds: Counter[str] = Counter()
    for sample in part_of(made, "textures"):
        kind = sample.key.split("/")[3]
        kinds[f"{sample.split} {kind}"] += 1
        stated = {
            made.categories[a.category or 0].name: a.present
            for a in sample.annotations
            if a.kind == "label"
        }
        assert stated == {name: name == kind for name in ("scratch", "hole", "stain")}
        objects = [a for a in sample.annotations if a.kind == "object"]
        assert bool(objects) == (kind != "good")
        picture = np.asarray(Image.open(made.root / sample.key).convert("L"), float)
        for row in objects:
            assert row.category == index(kind, "defect")
            mask = mask_of(row, (SIZE[1], SIZE[1]), made.root)
            assert mask is not None and row.area == mask.sum() and row.bbox == bounds(mask)
            change = picture[mask].mean() - picture.mean()
            assert change > 25 if kind == "scratch" else change < -25
        forms = {"scratch": "map", "hole": "polygons", "stain": "rle"}
        assert all(getattr(row, forms[kind]) is not None for row in objects)
    assert kinds["train good"] == 4 and not [k for k in kinds if re.match("train [^g]", k)]
    assert all(kinds[f"test {k}"] == 1 for k in ("good", "scratch", "hole", "stain"))


def test_trace_gives_any_mask_back() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        height, width = (int(v) for v in rng.integers(1, 14, 2))
        mask = rng.random((height, width)) < rng.random()
        parts = trace(mask)
        assert (geometry.rasterize(parts, height, width) == mask).all()
        signed = [
            geometry.polygon_area(part[0]) - sum(geometry.polygon_area(r) for r in part[1:])
            for part in parts
        ]
        assert sum(signed) == mask.sum() and all(a > 0 for a in signed)


def test_trace_parts_holes_and_corners() -> None:
    assert trace(np.zeros((3, 4), bool)) == []
    assert trace(np.ones((2, 3), bool)) == [[[0, 0, 3, 0, 3, 2, 0, 2]]]
    for corners_only in (np.eye(3, dtype=bool), np.eye(3, dtype=bool)[::-1]):
        assert len(trace(corners_only)) == 3
    target = np.ones((7, 7), bool)
    target[1:6, 1:6] = False
    target[3, 3] = True
    assert [len(part) for part in trace(target)] == [2, 1]
    with pytest.raises(ValueError, match="empty mask"):
        bounds(np.zeros((2, 2), bool))


@pytest.mark.parametrize("bad", [{"scenes": -1}, {"seed": -2}, {"size": (63, 200)}])
def test_bad_arguments(tmp_path: Path, bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least"):
        generate(tmp_path / "x", **bad)  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()
