"""Registered pairs, from manifests and trees typed by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import granum
from granum.errors import FindingsError, FormatError, LossError
from granum.loaders.reading import sniff
from granum.schema.findings import Findings
from granum.schema.rows import Annotation, Category, Group, Media, Sample
from granum.store.dataset import Dataset
from granum.testing.keep import refuse_or_keep
from granum.testing.small import small_datasets

CSV = """id,visible_path,infrared_path,x,y,infrared_x,infrared_y,size,label,split,scene
,vis/1.png,ir/1.png,8,4,8,4,64,same,train,field
,vis/1.png,ir/2.png,8,4,100,50,64,different,train,water
p7,vis/2.png,ir/2.png,,,,,,,test,
,vis/1.png,,0,0,,,16,street,train,
"""


def lines(*records: Any) -> str:
    return "".join(json.dumps(r) + "\n" for r in records)


def rows_of(found: Dataset) -> list[dict[str, Any]]:
    return found.annotations().to_pylist()


def test_a_manifest_of_patches(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(CSV)
    assert list(sniff(tmp_path)) == ["paired_images"]
    found = granum.read(tmp_path)
    assert [(s.key, s.row.role, s.split, s.row.group) for s in found] == [
        ("vis/1.png", "visible", "train", 0),
        ("ir/1.png", "infrared", "train", 0),
        ("ir/2.png", "infrared", "train", 1),
        ("vis/2.png", "visible", "test", 1),
    ]
    groups = found.groups.to_pylist()
    assert [(g["key"], g["kind"], g["source_id"]) for g in groups] == [
        ("vis/1.png", "pair", None),
        ("p7", "pair", "p7"),
    ]
    one, second, third, _ = found
    assert [(a.kind, a.bbox) for a in one.annotations] == [
        ("object", (8, 4, 64, 64)),
        ("relation", None),
        ("object", (8, 4, 64, 64)),
        ("relation", None),
        ("object", (0, 0, 16, 16)),
    ]
    names = [(c.name, c.space) for c in one.categories]
    same, different = one.annotations[1], one.annotations[3]
    assert names[same.category or 0] == ("same", "pair")
    assert names[different.category or 0] == ("different", "pair")
    assert names[one.annotations[4].category or 0] == ("street", "object")
    assert (same.subject, same.object) == (
        one.annotations[0].annotation_id,
        second.annotations[0].annotation_id,
    )
    assert different.object == third.annotations[0].annotation_id
    assert third.annotations[0].bbox == (100, 50, 64, 64)
    assert found.annotations()["attr.scene"].to_pylist().count("water") == 1


def test_an_image_in_two_splits_is_told(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(CSV)
    findings = Findings()
    granum.read(tmp_path, findings=findings)
    (finding,) = findings.items
    assert (finding.code, finding.path, finding.place) == (
        "conflicting-records",
        "pairs.csv",
        "line 4",
    )
    assert finding.message == "split of an image is 'test', before 'train'"


def test_pairs_of_whole_images_and_their_labels(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(
        lines(
            {"path1": "a.png", "role1": "rgb", "path2": "b.png", "label": 1, "id": "x"},
            {"path1": "a.png", "path2": "b.png", "label": "day"},
            {"path1": "a.png", "path2": "c.png", "label": 0},
            {"path1": "d.png", "label": "dusk"},
            {"path1": "e.png"},
        )
    )
    assert list(sniff(tmp_path / "pairs.jsonl")) == ["paired_images"]
    found = granum.read(tmp_path / "pairs.jsonl")
    assert [s.key for s in found] == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert [s.row.group for s in found] == [0, 0, None, None, None]
    assert found[0].row.role == "rgb" and found.groups["key"].to_pylist() == ["x"]
    names = found.categories["name"].to_pylist()
    told = [(r["kind"], r["sample"], r["group"], r["category"]) for r in rows_of(found)]
    # The label of a pair is of its group; a is in a pair already when it meets c.
    assert [(k, s, g, None if c is None else names[c]) for k, s, g, c in told] == [
        ("object", 0, None, None),
        ("relation", 0, None, "0"),
        ("object", 2, None, None),
        ("label", 3, None, "dusk"),
        ("label", None, 0, "1"),
        ("label", None, 0, "day"),
    ]


def test_only_patches_of_one_place_make_a_pair(tmp_path: Path) -> None:
    patch = {"vis_path": "v1.png", "lwir_path": "l9.png", "x": 0, "y": 0, "size": 8}
    moved = {"vis_path": "v2.png", "lwir_path": "l2.png", "x": 0, "y": 0, "size": 8, "lwir_x": 3}
    yes = {"vis_path": "v1.png", "lwir_path": "l1.png", "x": 0, "y": 0, "size": 8, "label": "+"}
    (tmp_path / "pairs.jsonl").write_text(
        lines({**patch, "label": "-", "lwir_x": 0}, {**moved, "label": "+"}, {**yes, "lwir_x": 0})
    )
    assert not granum.read(tmp_path).groups.num_rows
    found = granum.read(tmp_path, same_label="+")
    assert {s.key: s.row.group for s in found} == {
        "v1.png": 0,
        "l1.png": 0,
        "l9.png": None,
        "v2.png": None,
        "l2.png": None,
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "no JSON object"),
        ('{"path1": "a', "no JSON"),
        ('{"path1": null, "path2": "b.png"}', "no path of the first image"),
        ('{"path1": "../a.png"}', "no path below"),
        ('{"path1": 1.5}', "path1 is 1.5"),
        ('{"path1": "a.png", "x1": "8"}', "x1 is '8'"),
        ('{"path1": "a.png", "x1": 8, "y1": 4}', "no place of a patch"),
        ('{"path1": "a.png", "x1": NaN}', "NaN is no JSON number"),
    ],
)
def test_a_bad_line_is_told(tmp_path: Path, line: str, message: str) -> None:
    good = lines({"path1": "z.png"})
    (tmp_path / "pairs.jsonl").write_text(f"{good}\n{line}\n{lines({'path1': 'y.png'})}")
    with pytest.raises(FindingsError, match=rf"pairs\.jsonl line 3: .*{message}"):
        granum.read(tmp_path)
    found = granum.read(tmp_path, on_error="skip")
    assert [s.key for s in found][:1] == ["z.png"] and found[-1].key == "y.png"


def test_bad_lines_of_csv_are_told(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(
        "path1,path2,x1,y1,width1,height1,attributes\n"
        "a.png,b.png,1,x,3,4,\n"
        'c.png,d.png,,,,,"[1]"\n'
        "e.png,f.png,1,2,nan,4,\n"
    )
    findings = Findings("skip")
    granum.read(tmp_path, on_error="skip", findings=findings)
    assert [(f.code, f.place) for f in findings.items] == [
        ("bad-value", "line 2"),
        ("bad-value", "line 3"),
        ("bad-value", "line 4"),
    ]


def test_a_manifest_without_paths(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("first,second,label\na,b,1\n")
    assert not sniff(tmp_path)
    with pytest.raises(FormatError, match=r"pairs\.csv.*path1"):
        granum.read(tmp_path, "paired_images")
    with pytest.raises(FormatError, match="no pairs"):
        granum.read(tmp_path / "absent", "paired_images")


# ------------------------------------------------------------------ trees


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_the_tree_of_llvip(tmp_path: Path) -> None:
    sides = ("visible", "infrared")
    touch(tmp_path, *(f"{s}/{p}" for s in sides for p in ("train/1.jpg", "test/2.jpg")))
    touch(tmp_path, "visible/test/3.jpg", "notes.doc")
    assert list(sniff(tmp_path)) == ["paired_images"]
    findings = Findings()
    found = granum.read(tmp_path, findings=findings)
    assert [(s.key, s.row.role, s.split, s.row.group) for s in found] == [
        ("visible/test/2.jpg", "visible", "test", 0),
        ("infrared/test/2.jpg", "infrared", "test", 0),
        ("visible/test/3.jpg", "visible", "test", None),
        ("visible/train/1.jpg", "visible", "train", 1),
        ("infrared/train/1.jpg", "infrared", "train", 1),
    ]
    assert found.groups["key"].to_pylist() == ["test/2", "train/1"]
    assert {(f.code, f.path) for f in findings.items} == {
        ("incomplete-group", "visible/test/3.jpg"),
        ("file-not-read", "notes.doc"),
    }


def test_the_tree_of_kaist(tmp_path: Path) -> None:
    below = "images/set00/V000"
    touch(tmp_path, *(f"{below}/{s}/I00000.jpg" for s in ("visible", "lwir")))
    assert list(sniff(tmp_path)) == ["paired_images"]
    found = granum.read(tmp_path)
    assert [s.row.role for s in found] == ["visible", "infrared"]
    assert found.groups["key"].to_pylist() == [f"{below}/I00000"]


# ------------------------------------------------------------------ writing


def made(relation: bool = True, second: Sequence[Annotation] = ()) -> Dataset:
    """A pair with a relation of patches across it, a label of the pair, and a lone image."""
    size = {"width": 40, "height": 30}
    box = (1.0, 2.0, 16.0, 16.0)
    one = Sample("v.png", Media("v.png"), group=0, role="vis", split="train", **size)  # type: ignore[arg-type]
    two = Sample("l.png", Media("l.png"), group=0, role="ir", split="train", **size)  # type: ignore[arg-type]
    alone = Sample("s.png", Media("s.png"), **size)  # type: ignore[arg-type]
    one.annotations = [
        Annotation(bbox=(0.0, 0.0, 5.0, 5.0), category=2, annotation_id=4),
        Annotation(bbox=box, annotation_id=1),
        Annotation("relation", 0, subject=1, object=2, score=0.25, annotation_id=3),
    ]
    two.annotations = [Annotation(bbox=box, annotation_id=2), *second]
    if not relation:
        one.annotations = [one.annotations[1]]
    categories = [Category("same", "pair"), Category("day", "pair"), Category("same", "object")]
    day = Annotation("label", 1, group=0, annotation_id=9, attributes={"by": ["x"]})
    pair = Group("p 1", "pair", source_id="p1", attributes={"days": 3})
    return Dataset.from_rows([one, two, alone], categories, [pair], group_annotations=[day])


def test_written_lines(tmp_path: Path) -> None:
    granum.write(made(), tmp_path / "out", "paired_images")
    text = (tmp_path / "out/pairs.jsonl").read_text()
    found = [{k: v for k, v in json.loads(x).items() if v is not None} for x in text.splitlines()]
    ends = {"path1": "images/v.png", "role1": "vis", "path2": "images/l.png", "role2": "ir"}
    patch = {f"{n}{i}": v for i in (1, 2) for n, v in zip("xy", (1.0, 2.0), strict=True)}
    size = {f"{n}{i}": 16.0 for i in (1, 2) for n in ("width", "height")}
    lone = {"path1": "images/v.png", "role1": "vis", "split": "train", "label": "same (object)"}
    lone |= {"x1": 0.0, "y1": 0.0, "width1": 5.0, "height1": 5.0}
    assert found[0] | {"label": ""} == lone | {"label": ""}
    assert found[1:] == [
        {**ends, **patch, **size, "split": "train", "label": found[1]["label"], "score": 0.25},
        {**ends, "split": "train", "label": "day", "attributes": {"by": ["x"]}},
    ]
    assert found[0]["label"] != found[1]["label"]  # two classes of one name stay apart


@pytest.mark.parametrize("manifest", ["jsonl", "csv"])
def test_relations_come_back(tmp_path: Path, manifest: str) -> None:
    dataset = made()
    if manifest == "csv":  # which has no attributes
        with pytest.raises(LossError, match="attributes"):
            granum.write(dataset, tmp_path / "x", "paired_images", manifest="csv")
        return
    assert refuse_or_keep("paired_images", dataset, tmp_path, must_keep=True)


def test_relations_come_back_from_csv(tmp_path: Path) -> None:
    dataset = small_datasets()["relation"]
    # There both objects have classes, which are refused; without them the relation is kept.
    assert not refuse_or_keep("paired_images", dataset, tmp_path, manifest="csv")
    ends = [Annotation(bbox=(1.0, 1.0, 2.0, 3.0), annotation_id=i) for i in (1, 2)]
    between = Annotation("relation", 0, subject=2, object=1, annotation_id=3)
    one = Sample("a.png", width=9, height=9, annotations=[ends[1], ends[0], between])
    plain = Dataset.from_rows([one], [Category("same", "pair")])
    assert refuse_or_keep("paired_images", plain, tmp_path, must_keep=True, manifest="csv")


def test_relations_across_parts_come_back(tmp_path: Path) -> None:
    dataset = made()
    parts = [dataset.select([i]).parts[0] for i in range(3)]
    assert len(parts) == 3
    apart = Dataset(parts, dataset.categories, dataset.groups, dataset.sources, dataset.meta)
    granum.write(apart, tmp_path / "out", "paired_images", allow_loss=["group", "label"])
    kinds = [r["kind"] for r in rows_of(granum.read(tmp_path / "out"))]
    assert kinds.count("relation") == 1 and kinds.count("object") == 3


def test_what_lines_cannot_tell_is_refused(tmp_path: Path) -> None:
    twice = Annotation("relation", 0, subject=2, object=1, annotation_id=7)
    outline = Annotation(polygons=[[[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]]], annotation_id=8)
    for dataset, name in (
        (made(second=[twice]), "relation"),
        (made(second=[outline]), "object"),
    ):
        with pytest.raises(LossError) as error:
            granum.write(dataset, tmp_path / "out", "paired_images")
        assert name in error.value.refused
