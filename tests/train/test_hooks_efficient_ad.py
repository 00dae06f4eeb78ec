"""EfficientAD-S: networks, losses, teacher, maps by the paper's numbers; defects are found."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from granum.errors import FormatError, UsageError  # noqa: E402
from granum.schema.fields import field_from_map  # noqa: E402
from granum.train._efficient_ad_descriptors import DESCRIPTORS, descriptors, lab  # noqa: E402
from granum.train._efficient_ad_losses import adjusted, hard_loss, quantile  # noqa: E402
from granum.train._efficient_ad_networks import Autoencoder, Pdn, ladder  # noqa: E402
from granum.train._efficient_ad_penalty import coloured_noise, from_folder  # noqa: E402
from granum.train._efficient_ad_teacher import Moments  # noqa: E402
from granum.train.base import Facts, hooks  # noqa: E402
from tests.data import shared  # noqa: E402
from tests.train.batches import Says, batch, fit  # noqa: E402

SMALL = Facts([], [], (64, 64))


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _hook(**options: Any) -> Any:
    return hooks["efficient_ad"](**{"width": 0.125, "distil_steps": 0, **options})


class TestNetworks:
    def test_of_256_pixels_are_the_papers(self) -> None:
        torch.manual_seed(0)
        made = hooks["efficient_ad"]().model(Facts([], [], (256, 256))).eval().network
        assert _count(made.teacher) == 2_694_144
        assert _count(made.student) == 4_267_392
        assert _count(made.autoencoder) == 1_096_320
        with torch.no_grad():
            image = torch.rand(1, 3, 256, 256)
            bare, around = made.teacher(image), made.teacher.padded(image)
            assert bare.shape == made.autoencoder(image).shape == (1, 384, 56, 56)
            assert made.student(image).shape == (1, 768, 56, 56)
            assert around.shape == (1, 384, 64, 64)
            assert torch.equal(around[..., 4:-4, 4:-4], bare)
            assert made(image).shape == (1, 64, 64)

    def test_decoder_of_256_pixels(self) -> None:
        made = Autoencoder(8, (256, 256), (56, 56), 0.125)
        assert [h for h, _ in made.steps] == [3, 8, 15, 32, 63, 127]
        code, sides = torch.rand(1, 3, 256, 256), []
        for layer in made.encoder:
            code = layer(code)
            if isinstance(layer, torch.nn.Conv2d):
                sides.append(code.shape[-1])
        assert sides == [128, 64, 32, 16, 8, 1]

    @pytest.mark.parametrize(
        ("size", "steps"),
        [
            ((64, 64), [(3, 3), (8, 8), (15, 15), (32, 32)]),
            ((512, 256), [(7, 3), (16, 8), (31, 15), (64, 32), (127, 63), (255, 127)]),
            ((128, 96), [(7, 5), (16, 12), (31, 23), (64, 48)]),
        ],
    )
    def test_decoder_of_other_sizes(
        self, size: tuple[int, int], steps: list[tuple[int, int]]
    ) -> None:
        assert ladder(size) == steps

    @pytest.mark.parametrize("size", [(40, 40), (64, 80), (97, 66), (130, 51), (71, 92)])
    def test_maps_agree_at_any_size(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        made = _hook().model(Facts([], [], size)).eval().network
        image = torch.rand(2, 3, *size)
        cells = (math.ceil(size[0] / 4) - 8, math.ceil(size[1] / 4) - 8)
        with torch.no_grad():
            assert made.teacher(image).shape[-2:] == made.autoencoder(image).shape[-2:] == cells
            assert torch.equal(made.teacher.padded(image)[..., 4:-4, 4:-4], made.teacher(image))
            assert made(image).shape == (2, cells[0] + 8, cells[1] + 8)

    def test_a_feature_sees_33_pixels(self) -> None:
        torch.manual_seed(0)
        image = torch.rand(1, 3, 69, 69, requires_grad=True)
        Pdn(8, 0.125)(image)[0, :, 3, 5].sum().backward()
        seen = image.grad[0].abs().sum(0) > 0
        rows, columns = (np.flatnonzero(seen.any(axis).numpy()) for axis in (1, 0))
        assert (rows[0], rows[-1]) == (12, 44)
        assert (columns[0], columns[-1]) == (20, 52)

    def test_too_small(self) -> None:
        with pytest.raises(UsageError, match="40 pixels"):
            _hook().model(Facts([], [], (39, 64)))


class TestLosses:
    @pytest.mark.parametrize("n", [7, 1000, 1001, 2500])
    @pytest.mark.parametrize("q", [0.0, 0.5, 0.9, 0.995, 0.999, 1.0])
    def test_quantile_is_numpys(self, n: int, q: float) -> None:
        values = torch.randn(2, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        wanted = np.quantile(values.numpy(), q, axis=1)
        assert quantile(values, q).numpy() == pytest.approx(wanted, abs=1e-12)

    def test_quantile_of_more_than_torch_takes(self) -> None:
        values = torch.zeros(1, 2**24 + 1)
        values[0, :3] = torch.tensor([5.0, 7.0, 6.0])
        assert quantile(values, 1 - 2 / 2**24).item() == pytest.approx(5.0)
        assert quantile(values, 1.0).item() == 7.0

    @pytest.mark.parametrize("n", [1000, 2000, 2500])
    def test_hard_loss_is_the_mean_of_the_hardest_thousandth(self, n: int) -> None:
        values = torch.randperm(n, generator=torch.Generator().manual_seed(0)).float()
        hardest = math.ceil(0.001 * n)
        wanted = sum(range(n - hardest, n)) / hardest
        found = hard_loss(torch.stack([values, values / 2]).view(2, 5, 5, -1))
        assert found.tolist() == pytest.approx([wanted, wanted / 2])

    def test_only_the_hardest_get_a_gradient(self) -> None:
        values = torch.arange(1000.0).view(1, 10, 10, 10).requires_grad_()
        hard_loss(values).sum().backward()
        assert values.grad.flatten().nonzero().flatten().tolist() == [999]

    def test_sum_by_hand(self) -> None:
        """Hard: 9 of 1, 9; penalty: mean of squares of 1, 3; then 4 and 0.25."""
        local = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)
        others = [torch.full((1, 1, 1, 2), 2.0), torch.full((1, 1, 1, 2), 0.5), local]
        hook = hooks["efficient_ad"]()
        says = Says((local, *others))
        seen = batch(torch.rand(1, 3, 64, 64), label=torch.tensor([0]))
        assert hook.losses(says.train(), seen).item() == pytest.approx(9 + 4 + 0.25 + 5)

    def test_parts_are_those_of_the_networks(self) -> None:
        torch.manual_seed(0)
        hook = _hook(penalty="none")
        model = hook.model(SMALL).eval()
        seen = batch(torch.rand(3, 3, 64, 64), label=torch.zeros(3, dtype=torch.int64))
        x, ours = (seen["image"] - model.mean) / model.std, model.network
        teacher, rebuilt = ours.teacher(x), ours.autoencoder(x)
        first, second = ours.student(x).chunk(2, 1)
        local = (teacher - first).square().flatten(1)
        cut = torch.quantile(local, 0.999, dim=1, keepdim=True)
        wanted = [d[d >= c].mean() for d, c in zip(local, cut, strict=True)]
        wanted = torch.stack(wanted) + (teacher - rebuilt).square().mean((1, 2, 3))
        wanted = wanted + (rebuilt - second).square().mean((1, 2, 3))
        assert torch.allclose(hook.losses(model, seen), wanted, rtol=1e-5)

    def test_defects_teach_nothing(self) -> None:
        torch.manual_seed(0)
        hook = _hook()
        model = hook.model(SMALL).train()
        seen = batch(torch.rand(2, 3, 64, 64), label=torch.tensor([0, 1]))
        losses = hook.losses(model, seen)
        assert losses[0] > 0
        assert losses[1] == 0
        assert (hook.losses(model.eval(), seen) > 0).all()  # but their loss is told

    def test_teacher_is_frozen(self) -> None:
        torch.manual_seed(0)
        hook = _hook()
        model = hook.model(SMALL)
        before = [p.clone() for p in model.network.teacher.parameters()]
        seen = batch(torch.rand(2, 3, 64, 64), label=torch.zeros(2, dtype=torch.int64))
        fit(hook, model, lambda _: seen, 3, 1e-2)
        assert all(map(torch.equal, before, model.network.teacher.parameters()))
        group = hook.optimizer(model, None).param_groups[0]
        assert (group["lr"], group["weight_decay"]) == (1e-4, 1e-5)

    def test_low_precision(self) -> None:
        torch.manual_seed(0)
        hook = _hook()
        seen = batch(torch.rand(2, 3, 64, 64), label=torch.zeros(2, dtype=torch.int64))
        with torch.autocast("cpu", torch.bfloat16):
            losses = hook.losses(hook.model(SMALL), seen)
        assert losses.dtype == torch.float32
        assert losses.isfinite().all()


class TestAugmentation:
    def test_one_of_three_changes_by_hand(self) -> None:
        pixel = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
        image = torch.cat([pixel, pixel * 0.5], 3).repeat(200, 1, 1, 1)
        found = adjusted(image, torch.Generator().manual_seed(0))
        luma = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
        kinds = set()
        for before, after in zip(image, found, strict=True):
            bases = {
                "brightness": torch.zeros(3, 1, 2),
                "contrast": torch.full((3, 1, 2), 0.75 * luma),
                "saturation": torch.tensor([luma, 0.5 * luma]).expand(3, 1, 2),
            }
            for kind, base in bases.items():
                factors = (after - base) / (before - base)
                if factors.max() - factors.min() < 1e-3:
                    kinds.add(kind)
                    assert 0.8 - 1e-3 <= factors.mean() <= 1.2 + 1e-3
                    break
            else:
                raise AssertionError("no change of the three")
        assert kinds == {"brightness", "contrast", "saturation"}

    def test_stays_in_range(self) -> None:
        found = adjusted(torch.rand(50, 3, 4, 4).round())
        assert found.min() >= 0
        assert found.max() <= 1


class TestPenalty:
    def test_noise_is_coloured(self) -> None:
        torch.manual_seed(0)
        noise = coloured_noise(4, (64, 48))
        assert noise.shape == (4, 3, 64, 48)
        assert noise.amin((1, 2, 3)).tolist() == [0.0] * 4
        assert noise.amax((1, 2, 3)).tolist() == pytest.approx([1.0] * 4)
        steps = noise.diff(dim=-1).square().mean()
        assert steps < noise.var() / 2  # neighbours are alike

    def test_folder_gives_the_middle_of_photos(self, tmp_path: Path) -> None:
        pixels = np.zeros((40, 80, 3), np.uint8)
        pixels[10:30, 20:60] = 200
        (tmp_path / "below").mkdir()
        Image.fromarray(pixels).save(tmp_path / "below" / "one.png")
        torch.manual_seed(0)
        found = from_folder(str(tmp_path), 3, (20, 40))
        assert found.shape == (3, 3, 20, 40)
        assert torch.allclose(found, torch.tensor(200 / 255), atol=2e-3)

    def test_sources(self, tmp_path: Path) -> None:
        Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "a.png")
        seen = batch(torch.rand(2, 3, 64, 64), label=torch.zeros(2, dtype=torch.int64))
        losses = {}
        for source in ("none", "generated", str(tmp_path)):
            torch.manual_seed(0)
            hook = _hook(penalty=source)
            model = hook.model(SMALL).train()
            torch.manual_seed(1)
            losses[source] = hook.losses(model, seen).sum().item()
        assert len(set(losses.values())) == 3

    def test_empty_folder(self, tmp_path: Path) -> None:
        torch.manual_seed(0)
        hook = _hook(penalty=str(tmp_path))
        with pytest.raises(UsageError, match="no images"):
            hook.prepare(hook.model(SMALL), [], SMALL)


class TestDescriptors:
    def test_lab_by_the_books(self) -> None:
        colours = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]]).T
        found = 100 * lab(colours.reshape(1, 3, 1, 4))[0, :, 0].T
        wanted = [[100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [0, 0, 0]]
        assert found.numpy() == pytest.approx(np.array(wanted), abs=0.05)

    def test_an_even_image_has_colour_only(self) -> None:
        found = descriptors(torch.full((1, 3, 64, 64), 0.5), (16, 16))
        assert found.shape == (1, DESCRIPTORS, 16, 16)
        per_scale = found.view(3, -1, 16, 16)
        assert per_scale[:, :3].std((2, 3)).max() < 1e-6
        assert per_scale[:, 3:].abs().max() < 1e-4

    def test_edges_have_directions(self) -> None:
        image = torch.zeros(1, 3, 64, 64)
        image[..., 32:] = 1  # brighter to the right: along 0 radians
        along = descriptors(image, (16, 16)).view(3, -1, 16, 16)[:, 3:11, 8, 7]
        for scale in along:
            assert scale.argmax() == 0
            assert scale[4] < 1e-6  # against it: cut off
            assert scale[1].item() == pytest.approx(
                scale[0].item() * math.cos(math.pi / 4), rel=1e-3
            )


def _texture(n: int, seed: int, defect: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Woven stripes with noise, (n, 3, 64, 64), and the masks of pasted squares."""
    noise = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    images, masks = [], torch.zeros(n, 64, 64, dtype=torch.int64)
    for i in range(n):
        a, b = (torch.rand(2, generator=noise) * 6.28).tolist()
        weave = 0.5 + 0.25 * torch.sin(x / 2 + a) + 0.1 * torch.sin(y / 3 + b)
        image = torch.stack([weave, 0.9 * weave, 0.7 * weave])
        image = image + 0.02 * torch.randn(3, 64, 64, generator=noise)
        if defect:
            top, left = torch.randint(12, 44, (2,), generator=noise).tolist()
            image[:, top : top + 8, left : left + 8] = 0.3 + 0.3 * torch.rand(
                3, 1, 1, generator=noise
            )
            masks[i, top : top + 8, left : left + 8] = 1
        images.append(image.clamp(0, 1))
    return torch.stack(images), masks


def _batches(images: torch.Tensor, label: int = 0, of: int = 8) -> list[dict[str, Any]]:
    return [
        batch(x, label=torch.full((len(x),), label, dtype=torch.int64)) for x in images.split(of)
    ]


class TestTeacher:
    def test_channels_are_normalised_over_good_images(self) -> None:
        torch.manual_seed(0)
        hook = _hook()
        model = hook.model(SMALL)
        good, _ = _texture(10, 0, False)
        bad = torch.rand(4, 3, 64, 64)
        said = hook.prepare(model, [*_batches(good), *_batches(bad, 1)], SMALL)
        assert said == {
            "teacher": "random",
            "steps": 0,
            "loss": None,
            "good": 10,
            "penalty": "generated",
        }
        found = model.network.taught((good - model.mean) / model.std)
        assert found.mean((0, 2, 3)).abs().max() < 1e-4
        assert (found.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-3

    def test_moments_by_hand(self) -> None:
        moments = Moments()
        moments.add(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1))
        moments.add(torch.tensor([5.0, 7.0]).view(1, 1, 1, 2))
        mean, std = moments.mean_std()
        assert (mean.item(), std.item()) == (4.0, pytest.approx(math.sqrt(5)))
        still = Moments()
        still.add(torch.full((1, 2, 3, 3), 0.7))
        assert still.mean_std()[1].flatten().tolist() == [1.0, 1.0]

    def test_descriptors_are_distilled(self) -> None:
        torch.manual_seed(0)
        hook = _hook(distil_steps=40)
        model = hook.model(SMALL)
        before = model.network.teacher[0].weight.clone()
        said = hook.prepare(model, _batches(_texture(16, 0, False)[0]), SMALL)
        assert said["teacher"] == "descriptors@1"
        assert (said["steps"], said["good"]) == (40, 16)
        assert said["loss"] < 0.7 * said["first_loss"]
        assert not torch.equal(before, model.network.teacher[0].weight)
        assert not any(p.requires_grad for p in model.network.teacher.parameters())

    @pytest.mark.parametrize("kind", ["resnet", "vit"])
    def test_a_local_backbone_is_distilled(self, kind: str, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        torch.manual_seed(0)
        if kind == "resnet":
            config = transformers.ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, layer_type="basic"
            )
            transformers.ResNetModel(config).save_pretrained(tmp_path)
        else:
            config = transformers.ViTConfig(
                hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
                intermediate_size=16, image_size=48, patch_size=8,
            )  # fmt: skip
            transformers.ViTModel(config).save_pretrained(tmp_path)
        hook = _hook(distil_steps=20, backbone=str(tmp_path))
        said = hook.prepare(hook.model(SMALL), _batches(_texture(8, 0, False)[0]), SMALL)
        assert said["teacher"] == f"{kind} {tmp_path}"
        assert 0 < said["loss"] < said["first_loss"]

    def test_backbones_that_cannot_be_read(self, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        good = _batches(_texture(4, 0, False)[0])
        with pytest.raises(UsageError, match="is not a folder"):
            hook = _hook(distil_steps=2, backbone="facebook/dinov2-small")
            hook.prepare(hook.model(SMALL), good, SMALL)
        with pytest.raises(FormatError):
            hook = _hook(distil_steps=2, backbone=str(tmp_path))
            hook.prepare(hook.model(SMALL), good, SMALL)

    def test_nothing_good(self) -> None:
        for steps in (0, 5):
            hook = _hook(distil_steps=steps)
            with pytest.raises(UsageError, match="good images"):
                hook.prepare(hook.model(SMALL), _batches(torch.rand(4, 3, 64, 64), 1), SMALL)


class TestMaps:
    def test_quantiles_of_held_out_images_become_0_and_a_tenth(self) -> None:
        torch.manual_seed(0)
        hook = _hook()
        model = hook.model(SMALL).eval()
        good = torch.rand(6, 3, 64, 64)
        bad = torch.zeros(2, 3, 64, 64)
        hook.calibrate(model, [*_batches(good, 0, 4), *_batches(bad, 1)], SMALL)
        ours = model.network
        with torch.no_grad():
            maps = ours.maps((good - model.mean) / model.std).numpy()
            for k in range(2):
                low, high = np.quantile(maps[:, k], [0.9, 0.995])
                assert ours.low[k].item() == pytest.approx(low, rel=1e-5)
                assert ours.high[k].item() == pytest.approx(high, rel=1e-5)
            scaled = 0.1 * (maps - ours.low.view(1, 2, 1, 1).numpy())
            scaled /= (ours.high - ours.low).view(1, 2, 1, 1).numpy()
            found = model(good).numpy()
        assert found[:, 4:-4, 4:-4] == pytest.approx((scaled[:, 0] + scaled[:, 1]) / 2, abs=1e-5)
        assert (found[:, :4] == 0).all()
        assert (found[:, :, -4:] == 0).all()

    def test_without_held_out_images_maps_stay(self) -> None:
        torch.manual_seed(0)
        hook = _hook()
        model = hook.model(SMALL).eval()
        hook.calibrate(model, [], SMALL)
        image = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            maps = model.network.maps((image - model.mean) / model.std)
            assert torch.allclose(model(image)[:, 4:-4, 4:-4], maps.mean(1), atol=1e-6)

    def test_field_is_at_stored_size_and_its_highest_is_the_score(self) -> None:
        cells = torch.zeros(2, 4, 4)
        cells[0, 1, 2] = 3.0
        seen = batch(torch.rand(2, 3, 16, 16), size=(32, 8))
        rows = hooks["efficient_ad"]().predict(Says(cells), seen, SMALL)
        first, second = (row for (row,) in rows)
        field = field_from_map(first.map.bytes, first.extra)
        assert first.kind == "field"
        assert field.shape == (32, 8)
        # 4 cells to 8 columns: the peak lies between two pixels in x (weights 3/4), and in y
        # (8 rows a cell) between two at 15/16.
        assert first.score == pytest.approx(3 * 0.75 * 15 / 16)
        assert field.max() == pytest.approx(first.score, abs=1e-4)
        assert np.unravel_index(field.argmax(), field.shape) in {
            (y, x) for y in (11, 12) for x in (4, 5)
        }
        assert second.score == 0

    def test_what_was_filled_up_is_cut_off(self) -> None:
        cells = torch.zeros(1, 8, 8)
        cells[0, 6:] = 5.0
        seen = {
            **batch(torch.rand(1, 3, 32, 32)),
            "size": torch.tensor([[16, 32]]),
            "scale": torch.ones(1, 2),
        }
        ((row,),) = hooks["efficient_ad"]().predict(Says(cells), seen, SMALL)
        assert field_from_map(row.map.bytes, row.extra).shape == (16, 32)
        assert row.score == 0


def _maps(hook: Any, model: Any, batches: list[dict[str, Any]]) -> tuple[list[float], list[Any]]:
    rows = [row for b in batches for (row,) in hook.predict(model, b, SMALL)]
    return [r.score for r in rows], [field_from_map(r.map.bytes, r.extra) for r in rows]


def test_pasted_squares_are_found() -> None:
    from granum.metrics.anomaly import aupro, auroc

    torch.manual_seed(0)
    hook = _hook(distil_steps=100)
    model = hook.model(SMALL)
    train = _batches(_texture(32, 0, False)[0])
    hook.prepare(model, train, SMALL)
    losses = fit(hook, model, lambda k: train[k % len(train)], 130, 1e-3)
    assert losses[-1] < losses[0] / 2
    hook.calibrate(model, _batches(_texture(8, 1, False)[0]), SMALL)
    clean, _ = _texture(20, 2, False)
    torn, masks = _texture(20, 3, True)
    scores, fields = _maps(hook, model, [*_batches(clean), *_batches(torn, 1)])
    assert auroc(scores, [False] * 20 + [True] * 20) > 0.9
    truth = [np.zeros((64, 64), bool)] * 20 + list(masks.numpy() > 0)
    assert aupro(fields, truth) > 0.7
    assert np.median(scores[:20]) < 0.3 < np.median(scores[20:])


def test_magnetic_tiles() -> None:
    """Real surfaces: a few steps on good ones, then maps at stored size and their AUPRO."""
    from granum.metrics.anomaly import aupro

    root = shared("magnetic_tile")
    torch.manual_seed(0)

    def read(path: Path) -> torch.Tensor:
        with Image.open(path) as file:
            pixels = np.array(file.convert("RGB").resize((64, 64)))
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255

    good = [read(p) for p in sorted((root / "MT_Free").rglob("*.jpg"))]
    train, held = _batches(torch.stack(good[:-2]), of=4), _batches(torch.stack(good[-2:]))
    hook = _hook(distil_steps=20)
    model = hook.model(SMALL)
    hook.prepare(model, train, SMALL)
    losses = fit(hook, model, lambda k: train[k % len(train)], 20, 1e-3)
    assert losses[-1] < losses[0]
    hook.calibrate(model, held, SMALL)
    fields, masks = [], []
    for path in sorted((root / "MT_Blowhole").rglob("*.jpg"))[:5]:
        with Image.open(path.with_suffix(".png")) as file:
            mask = np.array(file.convert("L")) > 127
        one = batch(read(path)[None], size=mask.shape, label=torch.ones(1, dtype=torch.int64))
        ((row,),) = hook.predict(model, one, SMALL)
        fields.append(field_from_map(row.map.bytes, row.extra))
        assert fields[-1].shape == mask.shape
        masks.append(mask)
    assert 0 < aupro(fields, masks) <= 1
