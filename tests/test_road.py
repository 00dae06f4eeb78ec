"""The whole road on real photos, by the command line; and on real surfaces with defects.

24 photos of coco128 with their panoptic segments, and two twins of them: a copy, and one encoded
anew. Numbers that the source states are counted from its JSON, not by granum.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import granum
from benchmarks.magnetic_tile import KINDS, tiles
from granum.annotate.storing import tree_of
from granum.cli import main
from granum.curate.selection import replay
from granum.schema.fields import field_from_map
from granum.schema.tables import column, with_column
from granum.store.additions import add_layer
from granum.store.dataset import Dataset
from tests.curate.planted import store
from tests.data import shared

PHOTOS = 24
TINY = 142
"""A photo with a segment of four pixels."""


def say(*words: str | Path | int, code: int = 0) -> Any:
    """What a command answers with ``--json``."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        done = main([*map(str, words), "--json"])
    answer = json.loads(out.getvalue())
    assert done == code, answer
    return answer


def photos(source: Path, out: Path) -> dict[str, Any]:
    """A panoptic tree of some photos and two twins; what its JSON says."""
    document = json.loads((source / "panoptic/panoptic_train2017.json").read_text())
    images = sorted(document["images"], key=lambda i: (i["id"] != TINY, i["file_name"]))[:PHOTOS]
    segments = {a["image_id"]: a for a in document["annotations"]}
    said = [segments[i["id"]] for i in images]
    for folder in ("images", "panoptic_train2017"):
        (out / folder).mkdir(parents=True)
    for image, drawn in zip(images, said, strict=True):
        name = image["file_name"]
        (out / "images" / name).symlink_to(source / "images/train2017" / name)
        name = drawn["file_name"]
        (out / "panoptic_train2017" / name).symlink_to(
            source / "panoptic/panoptic_train2017" / name
        )
    for number, (twin, quality) in enumerate((("copy", None), ("again", 50))):
        image, drawn = images[number + 1], said[number + 1]
        path, into = out / "images" / image["file_name"], out / "images" / f"{twin}.jpg"
        if quality is None:
            into.write_bytes(path.read_bytes())
        else:
            Image.open(path).save(into, quality=quality)
        (out / "panoptic_train2017" / f"{twin}.png").symlink_to(
            out / "panoptic_train2017" / drawn["file_name"]
        )
        fresh = {"id": 10**6 + number, "file_name": f"{twin}.jpg"}
        images.append({**image, **fresh})
        said.append({**drawn, "image_id": fresh["id"], "file_name": f"{twin}.png"})
    document |= {"images": images, "annotations": said}
    (out / "panoptic_train2017.json").write_text(json.dumps(document))
    return dict(document)


@dataclass
class Road:
    """Where the road went, and what was said on it."""

    root: Path
    document: dict[str, Any]
    said: dict[str, Any]

    @property
    def store(self) -> Path:
        return self.root / "photos.granum"

    def keep(self, name: str, *words: str | Path | int) -> None:
        """Say something, and keep the answer, as a file too."""
        self.said[name] = say(*words)
        (self.root / f"{name}.json").write_text(json.dumps(self.said[name]))


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    """Every verb that needs no extra, in its turn."""
    root = tmp_path_factory.mktemp("road")
    road = Road(root, photos(shared("coco128"), root / "source"), {})
    store, small = road.store, root / "small.granum"
    tree = root / "source/panoptic_train2017.json"
    road.keep(
        "convert", "convert", tree, store, "--from", "coco_panoptic",
        "--images", root / "source/images",
    )  # fmt: skip
    road.keep("score", "score", store)
    road.keep("check", "check", store)
    road.keep("dedup", "dedup", store, "--save-as", "unique")
    shares = ("train=0.75", "val=0.25", "--into", "column")
    road.keep("split", "split", store, *shares, "--duplicates")
    road.keep("torn", "split", store, *shares, "--name", "torn", "--stratify", "none", "--seed", 1)
    road.keep("leakage", "leakage", store, "--split", "col.split")
    road.keep("leaking", "leakage", store, "--split", "col.torn", "--save-as", "tight")
    road.keep("stats", "stats", store, "--space", "descriptors")
    road.keep("varied", "select", store, "-n", 6, "--space", "descriptors", "--save-as", "varied")
    road.keep(
        "few", "select", store, "--method", "random", "-n", 2, "--where", "width < 500",
        "--seed", 4, "-o", small,
    )  # fmt: skip
    road.keep("crops", "crops", store, root / "objects.granum", "--categories", "person,bowl")
    return road


def stored(store: Path, name: str) -> Any:
    """The manifest's entry of a view."""
    found = granum.open(store).meta.store
    assert found is not None
    return found.manifest["views"][name]


# ------------------------------------------------------------------ what was said


def segments(road: Road) -> list[dict[str, Any]]:
    return [s for a in road.document["annotations"] for s in a["segments_info"]]


def test_convert_keeps_all(road: Road) -> None:
    counts = {"samples": 26, "annotations": len(segments(road)), "categories": 133}
    assert road.said["convert"]["read"] == road.said["convert"]["written"] == counts
    assert road.said["convert"]["losses"]["lost"] == {}


def test_scores_are_of_all_photos(road: Road) -> None:
    columns = road.said["score"]["columns"]
    assert {c["unknown"] for c in columns.values()} == {0}
    for name in ("width", "height"):
        sizes = [i[name] for i in road.document["images"]]
        assert columns[name]["mean"] == pytest.approx(np.mean(sizes))
        assert (columns[name]["min"], columns[name]["max"]) == (min(sizes), max(sizes))
    for name in ("brightness", "contrast", "sharp", "information"):
        assert 0 < columns[name]["min"] < columns[name]["median"] < columns[name]["max"] < 1.01
    assert columns["grey_as_rgb"]["mean"] == 0  # all are in colour


def test_check_finds_the_tiny_segment(road: Road) -> None:
    (found,) = road.said["check"]["findings"]
    (tiny,) = [s for s in segments(road) if s["area"] <= 4]
    assert (found["rule"], found["key"], found["value"]) == ("tiny", "000000000142.jpg", 4)
    row = granum.open(road.store)[found["key"]].annotations
    assert tiny["id"] in {
        int(a.source_id) for a in row if a.annotation_id == found["annotation_id"]
    }


def test_twins_are_found(road: Road) -> None:
    names = [i["file_name"] for i in road.document["images"]]
    found = road.said["dedup"]
    assert found["kinds"] == {"exact-file": 1, "exact-pixels": 0, "near": 1}
    assert (found["groups"], found["duplicates"], found["kept"]) == (2, 2, 24)
    together = {frozenset(r["key"] for r in found["rows"] if r["group"] == g) for g in (0, 1)}
    assert together == {frozenset(("copy.jpg", names[1])), frozenset(("again.jpg", names[2]))}
    assert len(granum.open(road.store).view("unique")) == 24


def test_splits_keep_twins_together_where_asked(road: Road) -> None:
    split = road.said["split"]["splits"]
    assert sum(s["samples"] for s in split.values()) == 26
    assert split["train"]["share"] == pytest.approx(0.75, abs=0.05)
    assert road.said["split"]["components"] == 24
    assert road.said["leakage"]["pairs"] == 0
    assert road.said["leakage"]["crossing"] == []


def test_what_is_torn_leaks(road: Road) -> None:
    store = granum.open(road.store)
    names = [i["file_name"] for i in road.document["images"]]
    table = store.samples(["key", "col.torn"]).to_pylist()
    side = {r["key"]: r["col.torn"] for r in table}
    pairs = {(a, b) for a, b in zip(names[1:3], names[24:], strict=True) if side[a] != side[b]}
    assert pairs  # this seed tears one at least
    found = road.said["leaking"]
    assert {(min(p), max(p)) for p in crossing(found)} == {(min(p), max(p)) for p in pairs}
    assert found["pairs"] == len(pairs)
    tight = store.view("tight").samples(["key"])["key"].to_pylist()
    assert len(tight) == 26 - len(pairs)
    assert not any(set(p) <= set(tight) for p in pairs)


def crossing(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(p["key"], p["other_key"]) for p in found["crossing"]]


def test_statistics_count_what_the_source_says(road: Road) -> None:
    said = road.said["stats"]
    names = {c["id"]: c["name"] for c in road.document["categories"]}
    counts = Counter(names[s["category_id"]] for s in segments(road))
    assert {r["category"]: r["instances"] for r in _table(said, "stats", "classes")} == counts
    values = said["stats"]["values"]
    assert values["categories used"] == len(counts)
    shares = np.array(list(counts.values())) / len(segments(road))
    assert values["hill_1 of classes"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert values["hill_2 of classes"] == pytest.approx(1 / (shares**2).sum())
    assert 0 < said["grade"]["values"]["grade"] < 1
    vendi = [said["vendi"]["values"][f"vendi_{q}"] for q in (1, 2, "inf")]
    assert 26 > vendi[0] > vendi[1] > vendi[2] > 1


def _table(said: dict[str, Any], summary: str, name: str) -> list[dict[str, Any]]:
    rows = said[summary]["tables"][name]
    return [r for r in rows if r["instances"]]


def test_the_varied_ones_are_farthest_from_each_other(road: Road) -> None:
    found = road.said["varied"]
    assert (found["samples"], found["selected"], found["method"]) == (26, 6, "k_center@1")
    gains = [p["gain"] for p in found["first"]]
    assert gains[1:] == sorted(gains[1:], reverse=True)
    store = granum.open(road.store)
    keys = [p["key"] for p in found["first"]]
    assert store.view("varied").samples(["key"])["key"].to_pylist() == keys
    vectors = np.array(store.samples(["col.descriptors"])["col.descriptors"].to_pylist())
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [store[k].index for k in keys]
    for n in range(1, 6):  # each is the farthest from those before it, whatever it is measured in
        nearest = (vectors @ vectors[rows[:n]].T).max(axis=1)
        assert nearest[rows[n]] == pytest.approx(nearest.min(), abs=1e-6)


def test_a_condition_and_a_seed_choose_the_few(road: Road) -> None:
    narrow = {i["file_name"] for i in road.document["images"] if i["width"] < 500}
    few = granum.open(road.root / "small.granum")
    assert set(few.samples(["key"])["key"].to_pylist()) <= narrow
    assert (len(few), road.said["few"]["samples"]) == (2, len(narrow))


@pytest.mark.parametrize("view", ["varied", "unique", "tight"])
def test_lineages_replay_to_the_same_bits(road: Road, view: str) -> None:
    """After all that was added to the store since."""
    store = granum.open(road.store)
    entry = stored(road.store, view)
    assert store.meta.store is not None
    kept = store.meta.store.read(entry)
    lineage = json.loads(json.dumps(entry["lineage"]))
    again = replay(store, lineage)
    assert again.rows.tolist() == kept["sample"].to_pylist()
    assert list(again.reason) == kept["reason"].to_pylist()
    if view == "varied":
        assert again.gain is not None
        gains = np.asarray(kept["gain"], np.float64)
        assert again.gain.tobytes() == gains.tobytes()
    dropped = {store[row].key: why for row, why in again.dropped.items()}
    assert dropped == lineage.get("dropped", {})


def test_the_same_road_gives_the_same_store(road: Road, tmp_path: Path) -> None:
    """Selected again from a store made again: equal rows and gains."""
    other = tmp_path / "photos.granum"
    tree = road.root / "source/panoptic_train2017.json"
    say("convert", tree, other, "--from", "coco_panoptic", "--images", road.root / "source/images")
    again = say("select", other, "-n", 6, "--space", "descriptors")
    assert again["first"] == road.said["varied"]["first"]


# ------------------------------------------------------------------ with extras


def test_hierarchy_of_photos(road: Road) -> None:
    for package in ("higra", "skimage"):
        pytest.importorskip(package)
    small, sheet = road.root / "small.granum", road.root / "sheet.png"
    found = say("hierarchy", small, "--set", "superpixels=40", "--sheet", sheet)
    dataset = granum.open(small)
    assert found["trees"] == len(dataset) == 2
    assert found["nodes"] == dataset.layer("regions").num_annotations
    for sample in dataset:
        tree = tree_of(dataset, sample.index, "regions")
        assert tree is not None
        width, height = sample.size
        assert tree.parent.tolist().count(-1) == 1
        assert tree.area[-1] == width * height
        for parts in (1, 5, 12):
            cut = tree.cut_regions(parts)
            assert cut.shape == (height, width)
            assert len(np.unique(cut)) == parts
    with Image.open(sheet) as drawn:
        assert min(drawn.size) > 100


def predicted(store: Path) -> None:
    """Two layers: the truth as predictions; and moved by a tenth, every fifth left out."""
    dataset = granum.open(store)
    truth = pa.concat_tables([p.layer("truth") for p in dataset.parts], promote_options="default")
    truth = truth.drop_columns([c for c in truth.column_names if c.startswith("col.")])
    same = with_column(truth, "score", pa.array(np.ones(truth.num_rows)))
    dataset = add_layer(dataset, "same", same, producer="the truth")
    boxes = np.array(column(truth, "bbox").to_pylist())
    boxes[:, :2] += 0.1 * boxes[:, 2:]
    moved = with_column(
        same, "bbox", pa.FixedSizeListArray.from_arrays(pa.array(boxes.reshape(-1)), 4)
    )
    kept = np.arange(truth.num_rows) % 5 > 0
    add_layer(dataset, "moved", moved.drop_columns(["map"]).filter(pa.array(kept)))


@pytest.fixture(scope="module")
def judged(road: Road) -> dict[str, Any]:
    """The numbers of the truth as predictions, by protocol."""
    predicted(road.store)
    kept = ("-o", road.root / "eval.json")
    return {p: evaluated(road, p, "same", *kept) for p in ("semantic", "panoptic-quality")}


def evaluated(road: Road, protocol: str, layer: str, *more: str | Path) -> Any:
    return say("eval", road.store, "--protocol", protocol, "--layer", layer, *more)["values"]


def test_truth_against_itself_is_perfect(road: Road, judged: dict[str, Any]) -> None:
    assert set(judged["panoptic-quality"].values()) == {1.0}
    assert set(judged["semantic"].values()) == {1.0}


def test_boxes_against_themselves_and_moved(road: Road, judged: dict[str, Any]) -> None:
    pytest.importorskip("hotcoco")
    for protocol in ("coco-bbox", "coco-segm"):
        same = evaluated(road, protocol, "same")
        assert {same[n] for n in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")} == {1.0}
    moved = evaluated(road, "coco-bbox", "moved", "--join")
    assert 0 < moved["AP"] < moved["AP50"] < 1
    assert moved["AP75"] < 0.05  # a box moved by a tenth overlaps by 0.81 / 1.19 = 0.68
    assert moved["AP"] == pytest.approx(0.4 * moved["AP50"], abs=0.03)  # at 4 of 10 overlaps
    joined = granum.open(road.store).samples().column_names
    assert any(name.startswith("col.eval.coco_bbox.") for name in joined)


@pytest.fixture(scope="module")
def trained(road: Road) -> dict[str, Any]:
    """A classifier of crops, on a view that holds whole photos."""
    pytest.importorskip("torch")
    objects = road.root / "objects.granum"
    say("split", objects, "train=0.7", "val=0.3", "--by", "attr.of", "--name", "of-")
    return dict(
        say(
            "train", objects, "--hook", "classifier", "-o", road.root / "run", "--view", "of-train",
            "--train-split", "none", "--val-split", "none", "--steps", 8, "--batch-size", 8,
            "--size", 32, "--lr", "3e-3", "--set", "width=8", "--device", "cpu",
        )
    )  # fmt: skip


def test_a_classifier_of_crops_writes_back(road: Road, trained: dict[str, Any]) -> None:
    objects = granum.open(road.root / "objects.granum")
    assert len(objects) == road.said["crops"]["crops"]
    view = objects.view("of-train")
    assert trained["data"]["classes"] == ["person", "bowl"]
    assert trained["data"]["counts"]["train"] == len(view)
    assert trained["steps"] == 8
    assert json.loads((road.root / "run/run.json").read_text()) == trained
    keys = view.samples(["key"])["key"].to_pylist()
    losses = objects.samples(["key", "col.loss.run"]).to_pylist()
    known = [r["key"] for r in losses if r["col.loss.run"] is not None]
    assert sorted(known) == sorted(keys)
    assert all(0 < r["col.loss.run"] < 10 for r in losses if r["col.loss.run"] is not None)
    guesses = objects.layer("run")
    assert [len(s.annotations) for s in guesses] == [int(s.key in keys) for s in guesses]
    photos = [{s.row.attributes["of"] for s in objects.view(f"of-{n}")} for n in ("train", "val")]
    assert photos[0] and photos[1] and not photos[0] & photos[1]


def test_the_report_shows_it_all(
    road: Road, judged: dict[str, Any], trained: dict[str, Any]
) -> None:
    page = road.root / "report.html"
    said = say(
        "report", road.store, page, "--duplicates", road.root / "dedup.json",
        "--leakage", road.root / "leaking.json", "--stats", road.root / "stats.json",
        "--run", road.root / "run", "--eval", road.root / "eval.json", "--pictures", 4,
    )  # fmt: skip
    assert said["sections"] == [
        "Summary", "Pictures", "Kinds of annotation", "Distributions", "Scores", "Findings",
        "Duplicates and leaks", "Diversity", "Selections", "Evaluation", "Training",
    ]  # fmt: skip
    assert said["unreadable"] == 0
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) == said["bytes"]
    assert text.count("<img") >= said["pictures"] >= 4
    for word in (
        "copy.jpg",
        "again.jpg",
        "varied",
        "unique",
        "person",
        "vendi_1",
        "panoptic-quality",
    ):
        assert word in text


# ------------------------------------------------------------------ sharding


def test_two_workers_give_the_same_columns(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several parts, in fresh processes."""
    names = ("file_hash", "pixel_hash", "phash", "thumbnail", "descriptors")
    keys = [i["file_name"] for i in road.document["images"]]
    found = []
    for workers in (1, 2):
        path = tmp_path / f"{workers}.granum"
        store(monkeypatch, path, road.root / "source/images", keys, part=10)
        say("score", path, *names, "--workers", workers)
        found.append(granum.open(path))
    one, two = found
    assert len(one.parts) == len(two.parts) == 3
    columns = [n for n in one.samples().column_names if n.startswith("col.")]
    assert len(columns) > len(names)  # the size of the file comes with its hash
    assert one.samples(["key", *columns]).equals(two.samples(["key", *columns]))
    whole = granum.open(road.store).samples(["key", "col.phash", "col.descriptors"])
    assert one.samples(["key", "col.phash", "col.descriptors"]).equals(whole)  # of one part


# ------------------------------------------------------------------ magnetic tiles


@pytest.fixture(scope="module")
def surfaces() -> Dataset:
    return tiles(shared("magnetic_tile"), train=8, of_each=2)


def test_masks_of_tiles_are_cut_at_127(surfaces: Dataset) -> None:
    root = shared("magnetic_tile")
    assert Counter(surfaces.samples(["split"])["split"].to_pylist()) == {"train": 8, "test": 12}
    assert surfaces.counts() == {k: 10 if k == "good" else 4 for k in KINDS}
    for sample in surfaces:
        objects = [k for k, a in enumerate(sample.annotations) if a.kind == "object"]
        assert len(objects) == ("MT_Free" not in sample.key)
        for k in objects:
            with Image.open(root / sample.key.replace(".jpg", ".png")) as ramp:
                pixels = np.asarray(ramp.convert("L"))
            assert 0 < sample.mask(k).sum() < pixels.size
            assert np.array_equal(sample.mask(k), pixels > 127)


def test_defects_of_tiles(surfaces: Dataset, tmp_path: Path) -> None:
    """EfficientAD learns a few steps from good tiles and is judged by AUPRO."""
    pytest.importorskip("torch")
    pytest.importorskip("scipy")
    from granum.verbs.training import train

    store = surfaces.save(tmp_path / "tiles.granum")
    done = train(
        store,
        "efficient_ad",
        out=tmp_path / "tiles",
        hook_options={"width": 0.0625, "distil_steps": 6},
        val_split="test",
        held_out=0.25,
        steps=6,
        batch_size=3,
        size=64,
        threads=1,
        device="cpu",
        evaluate_every=1000,
    )
    assert set(done.metrics) >= {"image_auroc", "pixel_auroc", "aupro"}
    assert all(v is not None and 0 <= v <= 1 for v in done.metrics.values())
    again = say("eval", tmp_path / "tiles.granum", "--protocol", "anomaly", "--layer", "tiles")
    counted = {"samples_scored": 20, "anomalous": 10, "maps_resized": 0}
    assert {n: again["facts"][n] for n in counted} == counted
    assert 0 <= again["values"]["aupro"] <= 1
    _written_back(granum.open(tmp_path / "tiles.granum"), done.record)


def _written_back(store: Dataset, record: dict[str, Any]) -> None:
    assert record["hook"]["prepared"]["teacher"] == "descriptors@1"
    assert record["hook"]["prepared"]["good"] == 6
    counts = {"samples": 20, "train": 6, "train_without_target": 0, "held_out": 2, "val": 12}
    assert record["data"]["counts"] == counts
    assert record["evaluation"]["protocol"] == "anomaly"
    assert record["steps"] == 6
    assert record["weights"] and record["code"]["hook"] and record["environment"]["packages"]
    for sample in store.layer("tiles"):
        (row,) = sample.annotations
        assert row.kind == "field" and row.map is not None and row.map.bytes is not None
        field = field_from_map(row.map.bytes, row.extra)
        assert field.shape == sample.size[::-1]
        assert field.max() == pytest.approx(row.score, abs=1e-3 * max(1, abs(row.score or 0)))
    columns = [f"col.loss.tiles{n}" for n in ("", ".last", ".mean", ".epochs")]
    nulls = [store.samples([c])[c].null_count for c in columns]
    assert nulls == [0, 14, 14, 14]  # all have a loss; six were learned from
