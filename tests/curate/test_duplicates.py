"""Planted duplicates are found, others are not; groups, chains, what is kept, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from granum.curate._clusters import Clusters, clustered, linked
from granum.curate._fingerprints import Criteria, Fingerprints
from granum.curate.duplicates import Duplicates, duplicates
from granum.curate.hashes import FileHash
from granum.curate.pictures import Picture
from granum.curate.selection import replay
from granum.errors import StoreError, UnknownNameError, UsageError
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.store.executor import executor
from tests.curate.planted import TWINS, drawn, picture, planted, precision_recall, store
from tests.data import shared

KINDS = [k for k in TWINS if k != "flip"]


def pairs(found: Duplicates) -> set[tuple[str, str]]:
    """All pairs of names within a group."""
    groups: dict[int, list[str]] = {}
    for row in found.groups.to_pylist():
        groups.setdefault(row["group"], []).append(row["key"])
    return {(a, b) for g in groups.values() for a in g for b in g if a < b}


def truth(twins: dict[str, str]) -> set[tuple[str, str]]:
    return {(min(p), max(p)) for p in twins.items()}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return tmp_path / "images"


def made(monkeypatch: Any, images: Path, samples: Any = None, **options: Any) -> Dataset:
    names = sorted(p.name for p in images.iterdir()) if samples is None else samples
    return store(monkeypatch, images.parent / "s.granum", images, names, **options)


@pytest.mark.parametrize("near", ["phash", "dhash", "both"])
def test_planted_duplicates_are_found(
    near: Any, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = planted(images, drawn(images, 50), KINDS)
    found = duplicates(made(monkeypatch, images), near=near)
    assert precision_recall(pairs(found), truth(twins)) == (1, 1)
    assert len(found) == len(twins) == 25
    # Brightness and size leave the kinds apart: what is equal is told as equal.
    kinds = {r["key"]: r["kind"] for r in found.groups.to_pylist() if not r["kept"]}
    assert {kinds[t] for t in twins if "copy" in t} == {"exact-file"}
    assert {kinds.get(t, kinds.get(s)) for t, s in twins.items() if "pixels" in t} == {
        "exact-pixels"
    }
    assert found.counts() == {"exact-file": 5, "exact-pixels": 5, "near": 15}


def test_planted_duplicates_of_photographs_are_found(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.mkdir()
    sources = []
    for file in sorted(shared("coco128").rglob("*.jpg")):
        sources.append(images / file.name)
        sources[-1].write_bytes(file.read_bytes())
    twins = planted(images, sources, KINDS)
    found = duplicates(made(monkeypatch, images))
    assert precision_recall(pairs(found), truth(twins)) == (1, 1)


def test_only_exact_duplicates_where_they_are_asked_for(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = planted(images, drawn(images, 20), KINDS)
    whole = made(monkeypatch, images)
    of_files = duplicates(whole, exact=["file"], near=None)
    assert pairs(of_files) == truth({t: s for t, s in twins.items() if "copy" in t})
    of_pixels = duplicates(whole, exact=["pixels"], near=None)
    assert pairs(of_pixels) == truth({t: s for t, s in twins.items() if t[5:9] in ("copy", "pixe")})
    assert of_pixels.groups["distance"].null_count == of_pixels.groups.num_rows


def test_mirrored_images_are_duplicates_if_asked(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = planted(images, drawn(images, 12), ["flip"])
    whole = made(monkeypatch, images)
    assert not pairs(duplicates(whole))
    assert pairs(duplicates(whole, flips=True)) == truth(twins)


def test_verification_parts_what_only_hashes_alike(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two images whose low frequencies agree in sign only: pHash is equal, correlation is not.
    images.mkdir()
    grid = np.asarray(picture(1, (64, 64)).convert("L"), float) - 128
    spot = np.zeros((64, 64))
    spot[20:40, 20:40] = 90
    for name, pixels in (("a", grid), ("b", grid * 0.15 + 3 * spot)):
        clipped = np.clip(pixels + 128, 0, 255).astype(np.uint8)
        Image.fromarray(clipped).save(images / f"{name}.png")
    whole = made(monkeypatch, images)
    everything = duplicates(whole, radius=64, similarity=None)
    assert len(pairs(everything)) == 1
    (row,) = [r for r in everything.groups.to_pylist() if not r["kept"]]
    assert row["similarity"] is None
    assert not pairs(duplicates(whole, radius=64))


def test_flat_images_are_compared_by_their_grey(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.mkdir()
    for name, grey in (("a", 100), ("b", 101), ("c", 200)):
        Image.new("L", (40, 40), grey).save(images / f"{name}.png")
    found = duplicates(made(monkeypatch, images))
    assert pairs(found) == {("a.png", "b.png")}


def test_frames_of_one_video_are_no_duplicates(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = drawn(images, 3)
    frames = []
    for number in range(8):  # two videos of the same still scene
        name = f"frame{number}.jpg"
        (images / name).write_bytes(sources[0].read_bytes())
        frames.append(rows.Sample(name, group=number // 4, order=number % 4))
    whole = made(monkeypatch, images, frames, part=4, groups=["one", "two"])
    found = duplicates(whole)
    # The k-th frame of the one with the k-th of the other.
    assert pairs(found) == {(f"frame{i}.jpg", f"frame{i + 4}.jpg") for i in range(4)}
    assert len(duplicates(whole, within_groups=True)) == 7


def test_an_image_joins_one_frame_only(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = drawn(images, 1)[0]
    samples = []
    for number, quality in enumerate((90, 80, 70, 60)):
        name = f"{number}.jpg"
        Image.open(source).save(images / name, quality=quality)
        samples.append(rows.Sample(name, group=0 if number < 3 else None))
    found = duplicates(made(monkeypatch, images, samples, groups=["video"]))
    assert len(pairs(found)) == 1
    assert "3.jpg" in next(iter(pairs(found)))


def test_what_is_kept(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = drawn(images, 1)[0]
    image = Image.open(source)
    image.resize((64, 48)).save(images / "a-small.jpg", quality=95)
    image.save(images / "b-large.jpg", quality=95)
    image.save(images / "c-light.jpg", quality=60)
    source.unlink()
    box = rows.Annotation(category=0, bbox=(1.0, 1.0, 5.0, 5.0))
    samples = [
        rows.Sample("a-small.jpg", annotations=[box]),
        rows.Sample("c-light.jpg"),
        rows.Sample("b-large.jpg"),
    ]
    whole = made(monkeypatch, images, samples, categories=["thing"])

    def kept(*keep: str) -> list[str]:
        table = duplicates(whole, keep=keep).groups
        return list(table["key"].filter(table["kept"]).to_pylist())

    assert kept("annotations", "resolution", "file_size") == ["a-small.jpg"]
    assert kept("resolution", "file_size") == ["b-large.jpg"]
    assert kept("resolution") == ["c-light.jpg"]  # the lowest row of the two large ones
    with pytest.raises(UnknownNameError, match="beauty"):
        kept("beauty")


def test_a_column_decides_what_is_kept_by_its_better_end(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from granum.curate.score import score

    source = drawn(images, 1)[0]
    Image.open(source).save(images / "a.jpg", quality=15)
    Image.open(source).save(images / "b.jpg", quality=90)
    source.unlink()
    whole = score(made(monkeypatch, images), ["sharpness"])
    values = whole.samples()["col.blockiness"].to_pylist()
    assert values[0] > values[1]
    found = duplicates(whole, keep=["blockiness"])  # lower is better
    assert found.groups.filter(found.groups["kept"])["key"].to_pylist() == ["b.jpg"]


def test_the_selection_says_what_was_dropped_and_is_made_again(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = planted(images, drawn(images, 10), ["copy", "q30"])
    whole = made(monkeypatch, images, part=4)
    found = duplicates(whole)
    keys = found.dataset.samples()["key"].to_pylist()
    gone = {keys[row]: why for row, why in found.selection.dropped.items()}
    assert len(gone) == len(twins)
    for twin, source in twins.items():
        name, other = (twin, source) if twin in gone else (source, twin)
        assert gone[name] == f"duplicate of {other}"
    assert sorted([*found.selection.rows, *found.selection.dropped]) == list(range(15))
    again = replay(found.dataset, found.selection.lineage)
    assert again.rows.tolist() == found.selection.rows.tolist()
    assert again.dropped == found.selection.dropped
    saved = found.selection.save(found.dataset, "unique")
    assert len(saved.view("unique")) == 10
    assert saved.meta.store is not None
    assert saved.meta.store.manifest["views"]["unique"]["lineage"]["dropped"] == gone
    smaller = drawn(images.parent / "others", 2)
    of_others = store(monkeypatch, images.parent / "o.granum", smaller[0].parent, ["0000.jpg"])
    with pytest.raises(StoreError, match="other data"):
        replay(of_others, found.selection.lineage)


def test_processes_give_the_same(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(images, drawn(images, 12), KINDS)
    first = duplicates(made(monkeypatch, images, part=5))
    names = sorted(p.name for p in images.iterdir())
    second = store(monkeypatch, images.parent / "t.granum", images, names, part=5)
    with executor(2) as two:
        assert duplicates(second, executor=two).to_dict()["rows"] == first.to_dict()["rows"]


def test_the_order_of_samples_does_not_matter(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(images, drawn(images, 20), KINDS)
    names = sorted(p.name for p in images.iterdir())
    first = pairs(duplicates(made(monkeypatch, images, names, part=7)))
    mixed = [names[i] for i in np.random.default_rng(0).permutation(len(names))]
    second = store(monkeypatch, images.parent / "t.granum", images, mixed, part=30)
    assert pairs(duplicates(second)) == first


def test_what_was_interrupted_goes_on(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(images, drawn(images, 12), KINDS)
    whole = made(monkeypatch, images, part=4)
    read: list[str] = []
    score_file = FileHash.score

    def counted(self: FileHash, picture: Picture) -> Any:
        assert isinstance(picture.source, Path)
        read.append(picture.source.name)
        if len(read) == 10:  # in the third part
            raise KeyboardInterrupt
        return score_file(self, picture)

    monkeypatch.setattr(FileHash, "score", counted)
    with pytest.raises(KeyboardInterrupt):
        duplicates(whole, near=None, exact=["file"])
    read[:] = [""] * 100
    found = duplicates(whole, near=None, exact=["file"])
    names = whole.samples()["key"].to_pylist()
    assert set(read[100:]) == set(names[8:])  # two parts were done
    assert found.groups.num_rows == 4  # two copies among six twins
    read.clear()
    duplicates(found.dataset, near=None, exact=["file"])
    assert not read


def test_unreadable_images_are_counted(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(images, 2)
    (images / "broken.jpg").write_bytes(b"nothing")
    (images / "broken-too.jpg").write_bytes(b"nothing")
    found = duplicates(made(monkeypatch, images))
    assert found.unreadable == 2
    assert pairs(found) == {("broken-too.jpg", "broken.jpg")}  # equal bytes
    assert "2 images could not be compared" in found.table()


def test_an_empty_store_has_none(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images.mkdir()
    found = duplicates(made(monkeypatch, images))
    assert len(found) == 0
    assert found.to_dict()["groups"] == 0


@pytest.mark.parametrize(
    "wrong",
    [{"exact": ["bytes"]}, {"near": "ahash"}, {"exact": (), "near": None}, {"radius": 65}],
)
def test_unknown_criteria_are_refused(
    wrong: dict[str, Any], images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(images, 1)
    with pytest.raises(UsageError):
        duplicates(made(monkeypatch, images), **wrong)


# ------------------------------------------------------------------- clusters, without images


def prints(hashes: list[int], radius: int = 4) -> Fingerprints:
    criteria = Criteria((), "phash", radius, None)
    none = np.full(len(hashes), -1, np.int64)
    values = np.array(hashes, np.uint64)
    return Fingerprints(criteria, none, none, values, None, None, np.ones(len(hashes), bool))


def test_a_chain_is_cut_where_it_gets_too_long() -> None:
    # Each is 3 bits from the next; the ends are 12 apart, more than 2 · 4.
    hashes = [(1 << 3 * i) - 1 for i in range(5)]
    found = prints(hashes)
    clusters = Clusters(found, np.full(5, -1), 8)
    joined = [clusters.join(i, i + 1) for i in range(4)]
    assert joined == [True, True, False, True]
    assert clusters.chains == 1
    assert clusters.labels().tolist() == [0, 0, 0, 3, 3]
    edges = np.array([[0, 1, 3], [1, 2, 3], [2, 3, 3], [3, 4, 3]])
    assert linked(np.arange(5), edges).tolist() == [0] * 5


def test_equal_hashes_are_one_cluster_at_once() -> None:
    found = prints([7, 9, 7, 7, 9, 1])
    assert clustered(found, np.full(6, -1)).labels().tolist() == [0, 1, 0, 0, 1, 5]
    apart = clustered(found, np.array([0, -1, 0, -1, -1, 0])).labels()
    assert apart.tolist() == [0, 1, 2, 0, 1, 5]


def test_long_chains_are_linked() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(500)
    edges = np.stack([order[:-1], order[1:], np.zeros(499, int)], 1)
    edges = np.delete(edges, 250, 0)
    found = linked(np.arange(500), edges)
    assert len(np.unique(found)) == 2
    assert len(np.unique(found[order[:251]])) == 1
    assert found[order[0]] == order[:251].min()
