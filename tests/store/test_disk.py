"""The store on disk: manifests, fingerprints, damage, writers at the same time."""

from __future__ import annotations

import json
import os
import time

import pyarrow as pa
import pytest

from granum.errors import ConflictError, ExistsError, SchemaVersionError, StoreError
from granum.schema import tables
from granum.store import disk
from granum.store.builder import StoreBuilder, batch_of_rows
from granum.store.dataset import Dataset
from granum.store.opening import open_dataset
from granum.testing import assert_same
from tests.store.make import CATEGORIES, box, in_parts, keys, sample, seven


@pytest.fixture
def stored(tmp_path, monkeypatch):
    return in_parts(monkeypatch, tmp_path / "s.granum", seven())


@pytest.fixture
def path(stored, tmp_path):
    return tmp_path / "s.granum"


def names(path):
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def manifest(path, number=1):
    return json.loads((path / f"manifest-{number:06d}.json").read_text())


def test_files(path):
    found = [n.rsplit("-", 1)[0] for n in names(path)]
    assert found == [
        *(f"layers/truth/part-0000{i}" for i in range(3)),
        "manifest",
        *(f"samples/part-0000{i}" for i in range(4)),
        *(f"tables/{t}" for t in ("categories", "groups", "sources")),
    ]
    assert sorted(disk.Store.open(path).files()) == [n for n in names(path) if "manifest" not in n]


def test_the_manifest_says_what_is_there(path):
    said = manifest(path)
    assert said["granum_schema"] == tables.VERSION == 1
    assert said["rows"] == 7
    assert [p["rows"] for p in said["parts"]] == [2, 2, 2, 1]
    assert [p and p["rows"] for p in said["layers"]["truth"]["parts"]] == [1, 2, 3, None]
    assert said["attributes"] == {"samples": {}, "annotations": {"n": "int"}}


def test_others_read_a_part(path, stored):
    entry = manifest(path)["parts"][0]["file"]
    with pa.memory_map(str(path / entry)) as source:
        table = pa.ipc.open_file(source).read_all()
    assert table["key"].to_pylist() == ["0.jpg", "1.jpg"]
    assert table.schema.field("split").type == pa.dictionary(pa.int32(), pa.string())
    # null throughout: not stored
    assert "orientation" not in table.column_names
    polars = pytest.importorskip("polars")
    frame = polars.read_ipc(path / manifest(path)["layers"]["truth"]["parts"][1]["file"])
    assert frame["score"].to_list() == [2.0, 2.1]
    assert frame["bbox"].to_list() == [[1.0, 2.0, 3.0, 4.0]] * 2


def test_dictionaries_may_differ_by_part(tmp_path, monkeypatch):
    samples = [sample(f"{i}", split=s) for i, s in enumerate(["a", "b", None, "c", "a"])]
    stored = in_parts(monkeypatch, tmp_path / "d.granum", samples, 1)
    assert stored.samples(["split"])["split"].to_pylist() == ["a", "b", None, "c", "a"]
    assert keys(stored.filter("split == 'a'")) == ["0", "4"]


def test_fingerprints_are_of_the_content(tmp_path, monkeypatch, path):
    again = in_parts(monkeypatch, tmp_path / "again.granum", seven())
    assert manifest(path)["fingerprint"] == manifest(tmp_path / "again.granum")["fingerprint"]
    assert names(path) != names(tmp_path / "again.granum")  # tokens differ
    samples = seven()
    samples[5].annotations[0].score = 5.0000001
    in_parts(monkeypatch, tmp_path / "other.granum", samples)
    assert manifest(path)["fingerprint"] != manifest(tmp_path / "other.granum")["fingerprint"]
    assert_same(again, open_dataset(path))


def test_saving_a_store_again_gives_the_same_fingerprint(path, tmp_path):
    one = open_dataset(path).save(tmp_path / "one.granum")
    two = one.save(tmp_path / "two.granum")
    prints = [manifest(tmp_path / f"{n}.granum")["fingerprint"] for n in ("one", "two")]
    assert prints[0] == prints[1]
    assert_same(one, two)


def test_a_store_is_not_overwritten_unasked(path, stored):
    before = {n: (path / n).read_bytes() for n in names(path)}
    with pytest.raises(ExistsError, match="--overwrite"):
        Dataset.from_rows([sample("new")]).save(path)
    assert {n: (path / n).read_bytes() for n in names(path)} == before
    new = Dataset.from_rows([sample("new")]).save(path, overwrite=True)
    assert keys(new) == keys(open_dataset(path)) == ["new"]
    # who opened the old state still reads it
    assert keys(stored) == [f"{i}.jpg" for i in range(7)]


def test_a_store_can_be_saved_onto_itself(path, stored):
    stored.select([2, 1]).save(path, overwrite=True)
    assert keys(open_dataset(path)) == ["2.jpg", "1.jpg"]


def test_other_folders_are_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("…")
    with pytest.raises(ExistsError, match="no granum store"):
        Dataset.from_rows([]).save(tmp_path / "mine", overwrite=True)
    assert names(tmp_path / "mine") == ["thesis.tex"]


def test_what_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="no granum store"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(StoreError, match="no granum store"):
        open_dataset(tmp_path)
    assert not disk.is_store(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="no granum store"):
        open_dataset(tmp_path / "file")


def test_an_unfinished_store_is_told_apart(tmp_path):
    builder = StoreBuilder(tmp_path / "u.granum")
    builder.add(batch_of_rows([sample("a")]))
    builder._flush()
    builder._written[0].result()
    with pytest.raises(StoreError, match="interrupted"):
        open_dataset(tmp_path / "u.granum")
    # a new import may use the folder
    Dataset.from_rows([sample("b")]).save(tmp_path / "u.granum")
    assert keys(open_dataset(tmp_path / "u.granum")) == ["b"]


def test_aborting_leaves_nothing(tmp_path):
    builder = StoreBuilder(tmp_path / "u.granum")
    builder.add(batch_of_rows([sample("a")]))
    builder._flush()
    builder.abort()
    assert not (tmp_path / "u.granum").exists()


def test_a_failing_save_leaves_what_was_there(path, stored):
    def broken(table):
        raise RuntimeError("a bug in a filter")

    before = names(path)
    with pytest.raises(RuntimeError):
        stored.filter_annotations(broken).save(path, overwrite=True)
    assert names(path) == before
    assert_same(open_dataset(path), stored)


def test_newer_versions_are_refused(path):
    said = {**manifest(path), "granum_schema": tables.VERSION + 1}
    (path / "manifest-000002.json").write_text(json.dumps(said))
    with pytest.raises(SchemaVersionError, match=r"schema version 2.*pip install --upgrade"):
        open_dataset(path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"rows": 1}', "null", '{"granum_schema": "x"}']
)
def test_damaged_manifests(path, content):
    (path / "manifest-000002.json").write_text(content)
    with pytest.raises(StoreError, match=r"manifest-000002\.json is damaged"):
        open_dataset(path)


def test_the_highest_manifest_counts(path):
    for number in (9, 10, 1000000):
        said = {**manifest(path), "media_root": f"/media/{number}"}
        (path / f"manifest-{number:06d}.json").write_text(json.dumps(said))
        assert open_dataset(path).meta.media_root == f"/media/{number}"


def test_missing_and_damaged_files(path):
    said = manifest(path)
    (path / said["parts"][0]["file"]).unlink()
    broken = path / said["layers"]["truth"]["parts"][1]["file"]
    broken.write_bytes(broken.read_bytes()[:100])
    dataset = open_dataset(path)  # parts are read when needed
    with pytest.raises(StoreError, match="named by the manifest but missing"):
        dataset.samples()
    with pytest.raises(StoreError, match="damaged"):
        dataset.annotations()
    (path / said["parts"][1]["file"]).write_bytes(b"")
    with pytest.raises(StoreError, match="damaged"):
        open_dataset(path).parts[1].samples()


def test_manifests_are_exclusive(path):
    said = manifest(path)
    assert not disk.publish(path, {"other": 1}, 1)
    assert manifest(path) == said
    assert disk.publish(path, said, 2)
    assert disk.Store.open(path).number == 2
    assert not list(path.glob(".manifest*"))


def adding(name):
    def change(said):
        if name in said["layers"]:
            raise ConflictError(f"a layer {name!r} already")
        said["layers"][name] = {"producer": None, "parts": []}

    return change


def test_writers_that_add_are_merged(path):
    one, two = disk.Store.open(path), disk.Store.open(path)
    one.commit(adding("a"))
    merged = two.commit(adding("b"))
    assert merged.number == 3
    assert list(merged.manifest["layers"]) == ["truth", "a", "b"]
    assert list(disk.Store.open(path).manifest["layers"]) == ["truth", "a", "b"]
    # those who opened it before see what they opened
    assert list(one.manifest["layers"]) == ["truth"]


def test_one_name_added_twice_is_a_conflict(path):
    one, two = disk.Store.open(path), disk.Store.open(path)
    one.commit(adding("a"))
    with pytest.raises(ConflictError, match="'a' already"):
        two.commit(adding("a"))


def test_adding_to_what_was_replaced_is_a_conflict(path):
    before = disk.Store.open(path)
    Dataset.from_rows([sample("new")]).save(path, overwrite=True)
    with pytest.raises(ConflictError, match="changed by another writer"):
        before.commit(adding("a"))
    assert keys(open_dataset(path)) == ["new"]


def test_replacing_what_was_added_to_is_a_conflict(path):
    builder = StoreBuilder(path, overwrite=True)
    builder.add(batch_of_rows([sample("new")]))
    disk.Store.open(path).commit(adding("a"))
    with pytest.raises(ConflictError):
        builder.finish()
    builder.abort()
    assert list(open_dataset(path).meta.layers) == ["truth", "a"]
    assert len(open_dataset(path)) == 7


def test_two_writers_of_a_new_store(tmp_path):
    builders = [StoreBuilder(tmp_path / "n.granum") for _ in range(2)]
    for i, builder in enumerate(builders):
        builder.add(batch_of_rows([sample(f"{i}", box())]))
    builders[1].finish()
    with pytest.raises(ExistsError, match="another writer"):
        builders[0].finish()
    builders[0].abort()
    assert keys(open_dataset(tmp_path / "n.granum")) == ["1"]
    assert open_dataset(tmp_path / "n.granum").num_annotations == 1


def test_gc_removes_what_no_manifest_names(path, stored):
    named = names(path)
    for name in ("samples/part-00000-dead.arrow", ".manifest-dead", "views/x.arrow"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(b"")
    (path / "notes.txt").write_text("mine")
    store = disk.Store.open(path)
    assert store.gc() == []  # young files may be a writer's at work
    old = time.time() - 7200
    for name in names(path):
        os.utime(path / name, (old, old))
    dead = [".manifest-dead", "samples/part-00000-dead.arrow", "views/x.arrow"]
    assert store.gc(dry_run=True) == dead
    assert store.gc() == dead
    assert names(path) == sorted([*named, "notes.txt"])
    assert_same(open_dataset(path), stored)


def test_gc_of_old_states(path):
    Dataset.from_rows([sample("new", box())], CATEGORIES).save(path, overwrite=True)
    store = disk.Store.open(path)
    assert store.gc(older_than=-1) == []  # the first manifest still names its files
    removed = store.gc(keep=1, older_than=-1)
    assert "manifest-000001.json" in removed
    assert sorted([*store.files(), "manifest-000002.json"]) == names(path)
    assert keys(open_dataset(path)) == ["new"]


def test_roots_are_found_again(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    dataset = Dataset.from_rows([sample("a")], media_root=tmp_path / "images")
    dataset.save(tmp_path / "r.granum")
    back = open_dataset(tmp_path / "r.granum")
    assert back.meta.media_root == str(tmp_path / "images")
    moved = open_dataset(tmp_path / "r.granum", media_root="/elsewhere", map_root="/maps")
    assert (moved.meta.media_root, moved.meta.map_root) == ("/elsewhere", "/maps")
