"""Category maps: what files say, and what becomes of annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from granum.errors import FormatError, UnknownNameError, UsageError
from granum.schema import rows
from granum.schema.rows import Annotation, Category, Sample
from granum.store.dataset import Dataset
from granum.testing import assert_same, datasets
from granum.testing.keep import snapshot
from granum.verbs.taxonomy import CategoryMap, apply_map, read_map

FAST = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def dataset(names: Sequence[str], *annotations: Annotation, **layers: list[Annotation]) -> Dataset:
    sample = Sample("a", annotations=list(annotations), layers=layers)
    return Dataset.from_rows([sample], [Category(n) for n in names])


def thing(category: int | None, **values: Any) -> Annotation:
    return Annotation(category=category, bbox=(1, 2, 3, 4), **values)


def of(d: Dataset, layer: str = "truth") -> list[str | None]:
    names = d.category_names()
    found = d.annotations(["category"], layer)["category"].to_pylist()
    return [None if c is None else names[c] for c in found]


# ---------------------------------------------------------------------- reading


def test_yaml_words_are_names(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text('no: yes\n012: null\n1.0: on\n"null": ~\n"~x": ""\n')
    with pytest.raises(FormatError, match="'~x': ''"):
        read_map(path)
    path.write_text('no: yes\n012: null\n1.0: on\n"null": ~\n')
    assert read_map(path) == CategoryMap({"no": "yes", "012": None, "1.0": "on", "null": None})


@pytest.mark.parametrize(("name", "only"), [("m.yaml", "true"), ("m.json", True)])
def test_the_long_form(tmp_path: Path, name: str, only: Any) -> None:
    path = tmp_path / name
    content: dict[str, Any] = {"categories": {"a": "b", "c": None}, "only": only}
    path.write_text(json.dumps(content))
    assert read_map(str(path)) == CategoryMap({"a": "b", "c": None}, True)


def test_a_map_on_one_line(tmp_path: Path) -> None:
    assert read_map("a=b,c=d e,f=") == CategoryMap({"a": "b", "c": "d e", "f": None})
    assert read_map({"a": None}) == CategoryMap({"a": None})
    with pytest.raises(FormatError, match="'a' is named twice"):
        read_map("a=b,a=c")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("m.yaml", "a: b\nc: d\na: e\n", r"line 3\): 'a' is named twice"),
        ("m.yaml", "a: b\n  c: d\n", "line 2"),
        ("m.yaml", "- a\n- b\n", "lines old: new"),
        ("m.yaml", "", "lines old: new"),
        ("m.yaml", "a: [b]\n", "not a name"),
        ("m.yaml", "categories:\n  a: b\nonly: perhaps\n", "only is 'perhaps'"),
        ("m.yaml", "categories:\n  a: b\nother: 1\n", "unknown key other"),
        ("m.yaml", "a: !!python/object/apply:os.system [ls]\n", "could not determine"),
        ("m.json", '{"a": "b",\n "a": "c"}', "named twice"),
        ("m.json", '{"a": "b",\n', "line 2"),
        ("m.json", '{"a": 3}', "not a name"),
    ],
)
def test_faulty_files_name_file_and_place(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FormatError, match=reason) as caught:
        read_map(tmp_path / name)
    assert caught.value.path == str(tmp_path / name)


def test_a_missing_file_and_faulty_mappings(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_map(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(FormatError, match="cannot be read"):
        read_map(tmp_path / "bad.yaml")
    listed: list[Any] = [{}, {1: "a"}, {"a": ""}, {"": "a"}]
    for wrong in listed:
        with pytest.raises(UsageError, match="map"):
            read_map(wrong)


# ---------------------------------------------------------------------- applying


def test_renaming_uniting_dropping_in_all_layers() -> None:
    d = dataset(
        ("puppy", "cat", "junk", "dog"),
        thing(0),
        thing(1),
        thing(2),
        thing(3),
        thing(None),
        model=[thing(2), thing(0)],
    )
    before = snapshot(d)
    mapped, counts = apply_map(d, {"puppy": "dog", "cat": "lynx", "junk": None})
    assert mapped.category_names() == ["lynx", "dog"]
    assert of(mapped) == ["dog", "lynx", "dog", None]
    assert of(mapped, "model") == ["dog"]
    assert counts.to_dict() == {
        "moved": {"puppy": 2, "cat": 1},
        "dropped": {"junk": 2},
        "annotations_dropped": 2,
        "united": {"dog": ["puppy", "dog"]},
        "negatives_dropped": 0,
        "references_cleared": 0,
        "conflicts": [],
    }
    assert snapshot(d) == before
    assert mapped.meta.lineage[-1]["verb"] == "map"


def test_names_may_be_swapped() -> None:
    d = dataset(("a", "b"), thing(0), thing(1))
    mapped, counts = apply_map(d, {"a": "b", "b": "a"})
    assert of(mapped) == ["b", "a"]
    assert counts.united == {}


def test_only_what_is_named() -> None:
    d = dataset(("a", "b", "c"), thing(0), thing(1), thing(2), thing(None))
    mapped, counts = apply_map(d, {"categories": {"a": "x", "c": "c"}, "only": True})
    assert of(mapped) == ["x", "c", None]
    assert counts.dropped == {"b": 1}


def test_names_that_are_not_there() -> None:
    d = dataset(("cat",), thing(0))
    with pytest.raises(UnknownNameError, match="Did you mean 'cat'"):
        apply_map(d, {"cats": "dog"})
    same, counts = apply_map(d, {"cats": "dog"}, strict=False)
    assert same is d
    assert counts.moved == {}


def test_one_name_in_two_spaces_and_twice_in_one() -> None:
    listed = [Category("a"), Category("a", "action"), Category("b"), Category("b"), Category("c")]
    d = Dataset.from_rows([Sample("x", annotations=[thing(i) for i in range(5)])], listed)
    mapped, _ = apply_map(d, {"a": "z"})
    assert mapped.category_names() == ["z", "z", "b", "b", "c"]  # nothing was united
    assert mapped.categories["space"].to_pylist()[:2] == ["object", "action"]
    mapped, counts = apply_map(d, {"c": "b"})
    assert mapped.category_names() == ["a", "a", "b", "b"]
    assert counts.united == {"b": ["b", "c"]}
    assert mapped.annotations(["category"])["category"].to_pylist() == [0, 1, 2, 3, 2]


def test_facts_of_united_categories() -> None:
    animal = [{"index": 2, "relation": "is_a"}]
    d = Dataset.from_rows(
        [Sample("x")],
        [
            Category("puppy", supercategory="young", colour=[1, 2, 3], parents=animal),
            Category("dog", supercategory="pet"),
            Category("animal"),
        ],
    )
    mapped, counts = apply_map(d, {"puppy": "dog"})
    dog, _ = rows.categories_from_table(mapped.categories)
    assert (dog.supercategory, dog.colour) == ("pet", [1, 2, 3])  # dog had the name
    assert dog.parents == [{"index": 1, "relation": "is_a"}]
    assert counts.conflicts == [
        {"category": "dog", "fact": "supercategory", "kept": "pet", "left": "young", "of": "puppy"}
    ]
    mapped, _ = apply_map(d, {"animal": "puppy"})
    assert rows.categories_from_table(mapped.categories)[0].parents == []  # not its own parent


def test_keypoints_that_differ_are_not_united() -> None:
    def of_points(*annotations: Annotation) -> Dataset:
        listed = [Category("a", keypoints=["x", "y"]), Category("b", keypoints=["y", "x"])]
        return Dataset.from_rows([Sample("s", annotations=list(annotations))], listed)

    drawn = Annotation(category=1, keypoints=[1, 1, 2, 3, 3, 2])
    with pytest.raises(UsageError, match="'a' and 'b', whose keypoints differ"):
        apply_map(of_points(drawn), {"b": "a"})
    _, counts = apply_map(of_points(), {"b": "a"})
    assert counts.conflicts[0]["fact"] == "keypoints"


def test_references_to_dropped_annotations_are_cleared() -> None:
    d = dataset(
        ("a", "b"),
        thing(0, annotation_id=1),
        thing(1, annotation_id=2, parent=1),
        Annotation("relation", category=1, annotation_id=3, subject=1, object=2),
        thing(1, annotation_id=6, parent=5),
        deeper=[thing(1, annotation_id=4, parent=1), thing(0, annotation_id=5)],
    )
    mapped, counts = apply_map(d, {"a": None})
    table = mapped.annotations(["parent", "subject", "object"])
    assert table.to_pylist() == [
        {"parent": None, "subject": None, "object": None},
        {"parent": None, "subject": None, "object": 2},
        {"parent": None, "subject": None, "object": None},  # it was of another layer
    ]
    assert mapped.annotations(["parent"], "deeper")["parent"].to_pylist() == [None]
    assert counts.references_cleared == 4


def test_a_part_that_is_absent_does_not_make_the_whole_absent() -> None:
    def labels(*said: tuple[int, bool]) -> Dataset:
        return dataset(
            ("cat", "dog", "car"),
            *(Annotation("label", category=c, present=p) for c, p in said),
        )

    to = {"cat": "animal", "dog": "animal"}
    mapped, counts = apply_map(labels((0, False), (1, True), (2, False)), to)
    assert mapped.annotations(["present"])["present"].to_pylist() == [True, False]
    assert of(mapped) == ["animal", "car"]
    assert counts.negatives_dropped == 1
    assert counts.to_dict()["annotations_dropped"] == 1
    mapped, counts = apply_map(labels((0, False), (1, False)), to)
    assert mapped.annotations(["present"])["present"].to_pylist() == [False, False]
    mapped, counts = apply_map(labels((0, False)), {"cat": "feline"})  # only another name
    assert of(mapped) == ["feline"]


@FAST
@given(datasets())
def test_renaming_there_and_back_changes_nothing(d: Dataset) -> None:
    names = [n for n in d.category_names() if n]
    if not names:
        return
    there = {n: f"{n} renamed" for n in names}
    away, counts = apply_map(d, there)
    back, _ = apply_map(away, {v: k for k, v in there.items()})
    if not counts.united:
        assert_same(d, back)
    total = sum(away.annotations(layer=n).num_rows for n in away.meta.layers)
    assert total + sum(counts.dropped.values()) + counts.negatives_dropped == sum(
        d.annotations(layer=n).num_rows for n in d.meta.layers
    )
