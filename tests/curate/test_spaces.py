"""Vectors of images and of crops: descriptors, networks, callables."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from granum.curate.crop_spaces import CropDescriptors
from granum.curate.descriptors import DIMENSION, Descriptors, describe
from granum.curate.embedding import Called, Embedding, weights_fingerprint
from granum.curate.pictures import Picture
from granum.curate.score import resolve, score, vectors
from granum.curate.spaces import present
from granum.errors import FormatError, MissingExtraError, UnknownNameError, UsageError
from granum.schema.rows import Annotation, Category, Media, Sample
from granum.store.columns import column_identity
from granum.store.dataset import Dataset
from granum.store.executor import executor
from tests.curate.planted import picture
from tests.data import shared


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def described(*images: Image.Image) -> np.ndarray:
    return Descriptors().embed([Picture(encoded(i)) for i in images])


def saved(path: Path, images: Sequence[bytes], annotations: Any = None) -> Dataset:
    samples = [
        Sample(
            f"{i}.png", media=Media(bytes=data), annotations=annotations[i] if annotations else []
        )
        for i, data in enumerate(images)
    ]
    return Dataset.from_rows(samples, [Category("thing")]).save(path)


# ---------------------------------------------------------------- descriptors


def test_descriptors_have_their_shape_and_length() -> None:
    rows = described(*(picture(i) for i in range(3)), Image.new("L", (5, 200), 7))
    assert rows.shape == (4, DIMENSION) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_an_image_does_not_hang_on_the_others_in_its_batch() -> None:
    images = [picture(i) for i in range(4)]
    alone = np.concatenate([described(i) for i in images])
    np.testing.assert_array_equal(described(*images), alone)
    np.testing.assert_array_equal(described(*images[::-1])[::-1], alone)


def test_changed_copies_stay_nearer_than_other_images() -> None:
    images = [picture(i) for i in range(8)]
    rows = described(*images)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    unlike = apart[~np.eye(8, dtype=bool)].min()
    for image, row in zip(images, rows, strict=True):
        copies = [
            Image.open(io.BytesIO(encoded(image, "JPEG", quality=40))),
            image.resize((image.width // 2, image.height // 2)),
            ImageEnhance.Brightness(image).enhance(1.1),
        ]
        assert np.linalg.norm(described(*copies) - row, axis=1).max() < 0.7 * unlike


def test_each_block_sees_what_it_is_for() -> None:
    base = np.zeros((96, 96, 3), np.uint8) + 128
    red = base.copy()
    red[..., 1:] = 20
    stripes = base.copy()
    stripes[:, ::8] = 250
    turned = np.ascontiguousarray(stripes.transpose(1, 0, 2))
    rows = describe(np.stack([base, red, stripes, turned]))
    colour, edges = rows[:, :48], rows[:, 78:206]
    assert np.linalg.norm(colour[0] - colour[1]) > 0.2
    assert np.linalg.norm(edges[2] - edges[3]) > 0.3
    np.testing.assert_allclose(rows[2, :48], rows[3, :48], atol=1e-6)


def test_unreadable_images_have_no_vector(tmp_path: Path) -> None:
    dataset = saved(tmp_path / "s", [encoded(picture(0)), b"no image", encoded(picture(1))])
    rows = vectors(score(dataset, ["descriptors"]), "descriptors")
    assert np.isnan(rows[1]).all() and np.isfinite(rows[[0, 2]]).all()


def test_descriptors_of_photographs(tmp_path: Path) -> None:
    from granum.curate.selection import select
    from granum.verbs.convert import convert

    root = shared("coco128")
    convert(root / "object_detection", tmp_path / "s.granum", images=root / "images")
    import granum

    dataset = score(granum.open(tmp_path / "s.granum"), ["descriptors"])
    rows = vectors(dataset, "descriptors")
    assert rows.shape == (98, DIMENSION) and np.isfinite(rows).all()
    # Unlike photographs are near to orthogonal: the space tells them apart.
    assert abs(np.median((rows @ rows.T)[~np.eye(98, dtype=bool)])) < 0.2
    found = select(dataset, "k_center", 20)
    assert found.gain is not None and 0.5 < found.gain[-1] < found.gain[0] < 2
    again = score(dataset, ["descriptors"])
    assert column_identity(again, "descriptors") == column_identity(dataset, "descriptors")


def test_what_counts_as_a_vector() -> None:
    rows = np.array([[1e-30, 0], [1e25, 1], [0, 0], [np.nan, 1], [np.inf, 1]], np.float32)
    assert present(rows).tolist() == [True, True, False, False, False]


# ---------------------------------------------------------------- crops


def test_crops_are_described_as_images_of_their_own(tmp_path: Path) -> None:
    big = Image.new("RGB", (200, 100))
    small = picture(3, (60, 40))
    big.paste(small, (100, 50))
    boxes = [
        Annotation(category=0, bbox=(100, 50, 60, 40)),
        Annotation(category=0, bbox=(300, 50, 10, 10)),
        Annotation(kind="label", category=0),
        Annotation(category=0),
        Annotation(category=0, bbox=(100.2, 50.2, 59.5, 39.5)),
    ]
    dataset = saved(tmp_path / "s", [encoded(small), encoded(big)], [[], boxes])
    rows = vectors(score(dataset, ["crop_descriptors"]), "crop_descriptors", "annotations")
    np.testing.assert_array_equal(rows[0], described(small)[0])
    np.testing.assert_array_equal(rows[4], rows[0])
    np.testing.assert_array_equal(rows[2], described(big)[0])
    assert np.isnan(rows[[1, 3]]).all()


def test_relative_boxes_are_fractions_of_the_image(tmp_path: Path) -> None:
    big = Image.new("RGB", (200, 100))
    big.paste(picture(3, (60, 40)), (100, 50))
    box = [Annotation(category=0, bbox=(0.5, 0.5, 0.3, 0.4))]
    sample = Sample("a", media=Media(bytes=encoded(big)), unit="relative", annotations=box)
    dataset = Dataset.from_rows([sample], [Category("thing")]).save(tmp_path / "s")
    rows = vectors(score(dataset, [CropDescriptors()]), "crop_descriptors", "annotations")
    np.testing.assert_array_equal(rows[0], described(picture(3, (60, 40)))[0])


def test_workers_give_the_same_crops(tmp_path: Path) -> None:
    images = [encoded(picture(i)) for i in range(4)]
    boxes = [[Annotation(category=0, bbox=(3.0 * i, 4, 50, 60))] for i in range(4)]
    one = score(saved(tmp_path / "a", images, boxes), ["crop_descriptors", "descriptors"])
    with executor(2) as ex:
        two = score(
            saved(tmp_path / "b", images, boxes), ["crop_descriptors", "descriptors"], executor=ex
        )
    for space, of in (("crop_descriptors", "annotations"), ("descriptors", "samples")):
        np.testing.assert_array_equal(vectors(one, space, of), vectors(two, space, of))


# ---------------------------------------------------------------- callables


def mean_colour(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [i.mean(axis=(0, 1)) for i in images]


def test_any_callable_is_a_space(tmp_path: Path) -> None:
    images = [Image.new("RGB", (9, 9), colour) for colour in ("red", "lime", "blue")]
    dataset = saved(tmp_path / "s", [encoded(i) for i in images])
    space = Called(mean_colour, 3, "colour", "mean@1")
    assert pickle.loads(pickle.dumps(space)) == space
    dataset = score(dataset, [space])
    assert vectors(dataset, "colour").tolist() == (np.eye(3) * 255).tolist()
    before = column_identity(dataset, "colour")
    dataset = score(dataset, [Called(mean_colour, 3, "colour", "mean@2")])
    assert column_identity(dataset, "colour") != before


def test_a_callable_that_breaks_its_promise_is_refused(tmp_path: Path) -> None:
    dataset = saved(tmp_path / "s", [encoded(picture(0))])
    with pytest.raises(UsageError, match=r"shape \(1, 3\)"):
        score(dataset, [Called(mean_colour, 4, "colour", "mean@1")])


def test_two_spaces_of_one_kind_are_two_columns(tmp_path: Path) -> None:
    dataset = saved(tmp_path / "s", [encoded(picture(0))])
    spaces = [Called(mean_colour, 3, name, "mean@1") for name in ("one", "two")]
    dataset = score(dataset, spaces)
    assert vectors(dataset, "one").shape == vectors(dataset, "two").shape == (1, 3)
    with pytest.raises(UnknownNameError, match="one, two"):
        vectors(dataset, "three")


# ---------------------------------------------------------------- backbones


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny ViT (with its processor) and a tiny ResNet, with random weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    vit = transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=32,
            patch_size=16,
        )
    )
    vit.save_pretrained(root / "vit")
    (root / "vit" / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "ViTImageProcessor",
                "size": {"height": 32, "width": 32},
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
            }
        )
    )
    resnet = transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1])
    )
    resnet.save_pretrained(root / "resnet")
    return {"vit": root / "vit", "resnet": root / "resnet"}


@pytest.mark.parametrize(
    ("name", "pooling", "dimension"),
    [
        ("vit", "auto", 16),
        ("vit", "cls", 16),
        ("vit", "mean", 16),
        ("resnet", "auto", 12),
        ("resnet", "mean", 12),
    ],
)
def test_backbone_by_path(
    backbones: dict[str, Path], tmp_path: Path, name: str, pooling: Any, dimension: int
) -> None:
    data = [encoded(picture(i)) for i in range(3)] + [b"no image"]
    space = Embedding(str(backbones[name]), pooling)
    assert pickle.loads(pickle.dumps(space)) == space
    rows = vectors(score(saved(tmp_path / "s", data), [space]), "embedding")
    assert rows.shape == (4, dimension)
    assert np.isfinite(rows[:3]).all() and np.isnan(rows[3]).all()
    alone = space.embed([Picture(data[1])])
    np.testing.assert_allclose(rows[1], alone[0], atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


def test_pooled_resnet_is_the_mean_of_its_places(backbones: dict[str, Path]) -> None:
    pictures = [Picture(encoded(picture(0)))]
    pooled = Embedding(str(backbones["resnet"]), "pooled").embed(pictures)
    mean = Embedding(str(backbones["resnet"]), "mean").embed(pictures)
    np.testing.assert_allclose(pooled, mean, atol=1e-5)
    with pytest.raises(UsageError, match="tokens"):
        Embedding(str(backbones["resnet"]), "cls").embed(pictures)


def test_other_weights_are_another_column(backbones: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(backbones["resnet"], copy)
    assert weights_fingerprint(copy) == weights_fingerprint(backbones["resnet"])
    file = copy / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    assert weights_fingerprint(copy) != weights_fingerprint(backbones["resnet"])


def test_embedding_is_asked_for_by_its_own_name_only(backbones: dict[str, Path]) -> None:
    found = resolve([f"embedding:path={backbones['resnet']},column=tiny"])
    assert list(found[0].given()) == ["tiny"]
    assert "embedding" not in {s.name for s in resolve(["e*", "d*"])}
    with pytest.raises(FormatError, match=r"config\.json"):
        Embedding("/nowhere")
    with pytest.raises(UsageError, match="pooling"):
        Embedding(str(backbones["vit"]), "max")  # type: ignore[arg-type]


def test_without_transformers_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"granum\[train\]"):
        _ = Embedding(str(tmp_path)).dimension
