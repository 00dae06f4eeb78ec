"""Loaders: any start, any number of workers and ranks give the same samples; damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from granum.errors import UsageError
from granum.schema import rows
from granum.store.dataset import Dataset
from granum.train.augment import Augment
from tests.train.tiny import labelled, picture

torch = pytest.importorskip("torch")

from granum.train import _torch_dataset  # noqa: E402
from granum.train.dataset import loader, to_torch  # noqa: E402
from granum.train.decode import SampleError  # noqa: E402


def served(n: int = 23, **options: Any) -> Any:
    ds = labelled(n, val=0)
    return to_torch(ds, "classification", transform=Augment(0.5, 0.3), size=(8, 8), **options)


def seen(batches: Any) -> list[tuple[list[int], bytes]]:
    """The rows and pixels of each batch."""
    return [(b["index"].tolist(), b["image"].numpy().tobytes()) for b in batches]


def test_it_can_start_anywhere() -> None:
    data = served()
    whole = seen(loader(data, 4, seed=3, epochs=3))
    assert len(whole) == 18
    for start in (1, 5, 6, 11, 17):
        assert seen(loader(data, 4, seed=3, epochs=3, start_step=start)) == whole[start:]
    assert seen(loader(data, 4, seed=3, epoch=2)) == whole[12:]
    for epoch in range(3):
        rows_ = [i for b in whole[6 * epoch : 6 * epoch + 6] for i in b[0]]
        assert sorted(rows_) == list(range(23))
    assert whole[0][0] != whole[6][0]


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_change_nothing(start_method: str) -> None:
    data = served()
    alone = seen(loader(data, 4, seed=1, epochs=2, start_step=3))
    there = loader(
        data, 4, seed=1, epochs=2, start_step=3, workers=2, start_method=start_method
    )  # fmt: skip
    assert seen(there) == alone


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_what_one_would_see(world: int) -> None:
    data = served()
    alone = seen(loader(data, 6, seed=1))
    shares = [seen(loader(data, 6, seed=1, rank=r, world=world)) for r in range(world)]
    assert {len(s) for s in shares} == {len(alone)}
    for k, (index, pixels) in enumerate(alone):
        assert [i for s in shares for i in s[k][0]] == index
        assert b"".join(s[k][1] for s in shares) == pixels
    # A run of one rank goes on with several.
    later = [seen(loader(data, 6, seed=1, rank=r, world=world, start_step=2)) for r in range(world)]
    assert later == [s[2:] for s in shares]


def test_a_rank_without_samples_gets_a_stand_in() -> None:
    data = served(5)
    parts = [list(loader(data, 4, rank=r, world=4)) for r in range(4)]
    assert [len(p) for p in parts] == [2, 2, 2, 2]
    weights = [float(p[1]["weight"].sum()) for p in parts]
    assert sum(weights) == 1 and all(p[1]["image"].shape == (1, 3, 8, 8) for p in parts)
    idle = next(p[1] for p in parts if not p[1]["weight"].any())
    assert idle["index"].tolist() == [-1] and idle["label"].tolist() == [0]


def with_damage(tmp_path: Path, *bad: int, n: int = 12) -> Dataset:
    samples = []
    for i in range(n):
        content = picture(i, i % 2)
        (tmp_path / f"{i:02d}.png").write_bytes(content[:50] if i in bad else content)
        media, label = rows.Media(f"{i:02d}.png"), rows.Annotation("label", i % 2)
        samples.append(rows.Sample(f"{i:02d}.png", media, 8, 8, annotations=[label]))
    (tmp_path / "11.png").unlink()  # absent altogether
    return Dataset.from_rows(
        samples, [rows.Category("dark"), rows.Category("light")], media_root=tmp_path
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_damage_raises_a_typed_error(tmp_path: Path, workers: int) -> None:
    data = to_torch(with_damage(tmp_path, 3), "classification", size=(8, 8))
    with pytest.raises(SampleError, match=r"03\.png"):
        data[3]
    with pytest.raises(SampleError, match=r"11\.png.*cannot be read"):
        data[11]
    with pytest.raises(SampleError, match=r"sample '(03|11)\.png'"):
        list(loader(data, 4, workers=workers))


def test_damage_may_be_skipped_and_is_counted(tmp_path: Path) -> None:
    ds = with_damage(tmp_path, 3, 7)
    data = to_torch(ds, "classification", size=(8, 8), on_error="skip")
    for world in (1, 2, 3):
        ranks = [list(loader(data, 4, rank=r, world=world)) for r in range(world)]
        assert {len(r) for r in ranks} == {3}  # as many steps as without damage
        batches = [b for r in ranks for b in r]
        assert sorted(i for b in batches for i in b["faulty"]) == [3, 7, 11]
        good = [i for b in batches for i in b["index"].tolist() if i >= 0]
        assert sorted(good) == [0, 1, 2, 4, 5, 6, 8, 9, 10]


def test_damage_may_be_replaced(tmp_path: Path) -> None:
    data = to_torch(with_damage(tmp_path, 3, 7), "classification", size=(8, 8), on_error="replace")
    batches = list(loader(data, 4))
    assert [len(b["index"]) for b in batches] == [4, 4, 4]
    index = [i for b in batches for i in b["index"].tolist()]
    assert not {3, 7, 11} & set(index) and set(index) == set(range(12)) - {3, 7, 11}
    again = [i for b in loader(data, 4, workers=2) for i in b["index"].tolist()]
    assert again == index
    nothing = to_torch(
        with_damage(tmp_path, *range(11)), "classification", size=(8, 8), on_error="replace"
    )
    with pytest.raises(SampleError, match="12 samples in a row"):
        next(iter(loader(nothing, 4)))


@pytest.mark.parametrize("on_error", ["skip", "replace"])
@pytest.mark.parametrize("batch", [1, 3, 5, 12])
def test_loading_here_equals_torchs_own_loop(tmp_path: Path, on_error: Any, batch: int) -> None:
    ds = with_damage(tmp_path, 3, 7)
    data = to_torch(ds, "classification", transform=Augment(0.5, 0.3), on_error=on_error)
    ours = loader(data, batch, seed=2, epochs=2)
    theirs = torch.utils.data.DataLoader(
        data, batch_sampler=ours.batch_sampler, collate_fn=data.collate
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name, value in mine.items():
            same = torch.equal if isinstance(value, torch.Tensor) else lambda a, b: a == b
            assert same(value, other[name]), name


def test_batches_before_the_damage_come_first(tmp_path: Path) -> None:
    data = to_torch(with_damage(tmp_path, 3), "classification", size=(8, 8))
    batches = iter(loader(data, 1, shuffle=False))
    assert [next(batches)["index"].item() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SampleError, match=r"03\.png"):
        next(batches)


def test_kept_batches_stay_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("simplejpeg")
    samples = []
    for i in range(20):
        level = np.full((16 + i % 3, 24, 3), 10 * i, np.uint8)
        Image.fromarray(level).save(tmp_path / f"{i}.jpg", quality=95)
        samples.append(rows.Sample(f"{i}.jpg", rows.Media(f"{i}.jpg")))
    data = to_torch(Dataset.from_rows(samples, media_root=tmp_path), "image")
    kept = [b for _ in range(2) for b in loader(data, 3)]
    for batch in kept:
        for image, row in zip(batch["image"], batch["index"].tolist(), strict=True):
            assert (image.float() - 10 * row).abs().max() <= 1
    # Dropped, their memory is used again: two rounds need no more than one.
    del kept, batch, image
    held = sum(map(len, data.pool.idle.values()))
    assert 20 <= held <= 40
    list(loader(data, 3))
    assert sum(map(len, data.pool.idle.values())) == held


def test_big_images_are_not_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [rows.Sample(f"{i}", rows.Media("gone.png"), *s) for i, s in enumerate(
        [(10, 10), (10, 10), (40, 10), (5, 10), (None, None), (10, 10), (10, 10)]
    )]  # fmt: skip
    data = to_torch(Dataset.from_rows(made, media_root=tmp_path), "image")
    monkeypatch.setattr(_torch_dataset, "MOST", 250)
    monkeypatch.setattr(_torch_dataset, "AHEAD", 3)
    assert list(data._runs(data.rows)) == [(0, 2), (2, 3), (3, 6), (6, 7)]
    assert list(data._runs(data.rows[:0])) == []


@pytest.mark.parametrize("task", ["detection", "semantic", "anomaly", "classification", "image"])
def test_a_batch_of_damage_only_is_a_stand_in_of_no_weight(tmp_path: Path, task: str) -> None:
    box = rows.Annotation(category=0, bbox=(0.0, 0, 4, 4), polygons=[[[0.0, 0, 4, 0, 4, 4]]])
    label = rows.Annotation("label", 0)
    sample = rows.Sample("a", rows.Media("gone.png"), 8, 8, annotations=[box, label])
    ds = Dataset.from_rows([sample], [rows.Category("cat")], media_root=tmp_path)
    (batch,) = loader(to_torch(ds, task, size=(8, 6), on_error="skip"), 1)
    assert batch["weight"].tolist() == [0] and batch["faulty"] == [0]
    assert batch["image"].shape == (1, 3, 8, 6)
    if task == "detection":
        assert batch["boxes"][0].shape == (0, 4)
    if task in ("semantic", "anomaly"):
        assert batch["mask"].shape == (1, 8, 6) and not batch["mask"].any()


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(loader(served(), 4))
    assert torch.equal(torch.rand(3), expected)


def test_options_of_the_order() -> None:
    data = served(10)
    assert [b["index"].tolist() for b in loader(data, 4, shuffle=False)] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9],
    ]  # fmt: skip
    assert [len(b["index"]) for b in loader(data, 4, drop_last=True)] == [4, 4]
    assert len(loader(data, 4, epochs=2, start_step=1)) == 5
    with pytest.raises(UsageError, match=r"rank 2 is not in 0\.\.1"):
        loader(data, 4, rank=2, world=2)
    # Other data, another order; the same keys, the same order.
    order = [b["index"].tolist() for b in loader(data, 10)]
    relabelled = to_torch(labelled(10, val=0), "image", size=(4, 4))
    assert [b["index"].tolist() for b in loader(relabelled, 10)] == order
    fewer = to_torch(labelled(10, val=0).select(np.arange(9)), "image", size=(4, 4))
    assert next(iter(loader(fewer, 9)))["index"].tolist() != [i for i in order[0] if i < 9]
