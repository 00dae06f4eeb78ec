"""Rotation prediction: exact turns, the loss by hand, glyphs learned, blobs not."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from granum.train.base import Facts, hooks  # noqa: E402
from granum.train.rotation import four_rotations  # noqa: E402
from tests.train.batches import Says, batch, fit  # noqa: E402

FACTS = Facts([], [], (32, 32))


def test_turns_move_pixels_and_change_none() -> None:
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1, 3, 2, 2)
    turned = four_rotations(image)[:, 0].tolist()
    assert turned == [
        [[1, 2], [3, 4]],
        [[2, 4], [1, 3]],
        [[4, 3], [2, 1]],
        [[3, 1], [4, 2]],
    ]


def test_four_turns_are_none() -> None:
    image = torch.rand(2, 3, 8, 8)
    once = four_rotations(image).view(2, 4, 3, 8, 8)[:, 1]
    for _ in range(3):
        once = four_rotations(once).view(2, 4, 3, 8, 8)[:, 1]
    assert torch.equal(once, image)


@pytest.mark.parametrize("shape", [(6, 10), (10, 6)])
def test_oblong_images_give_their_middle(shape: tuple[int, int]) -> None:
    image = torch.rand(3, 3, *shape)
    copies = four_rotations(image)
    assert copies.shape == (12, 3, 6, 6)
    middle = image[..., :, 2:8] if shape[1] == 10 else image[..., 2:8, :]
    assert torch.equal(copies[4], middle[1])  # the copies of one image are together


def test_loss_is_the_mean_over_the_copies() -> None:
    sure, unsure = math.log(7), 0.0
    logits = torch.zeros(8, 4)
    logits[torch.arange(4), torch.arange(4)] = sure  # right each time: 7 of 10
    logits[4:, 0] = torch.tensor([sure, sure, unsure, unsure])  # right once, wrong once, unsure
    losses = hooks["rotation"]().losses(Says(logits), batch(torch.rand(2, 3, 4, 4)))
    second = (math.log(10 / 7) + math.log(10) + 2 * math.log(4)) / 4
    assert losses.tolist() == pytest.approx([math.log(10 / 7), second], abs=1e-6)


def _glyphs(n: int, seed: int) -> torch.Tensor:
    """Bright above, with a bar on the left, noisy."""
    noise = torch.Generator().manual_seed(seed)
    images = 0.2 * torch.rand(n, 3, 32, 32, generator=noise)
    for image in images:
        top, left = torch.randint(2, 6, (2,), generator=noise).tolist()
        image[:, top : top + 5, left : left + 22] += 0.7
        image[:, top : top + 24, left : left + 4] += 0.4
    return images.clamp(0, 1)


def test_upright_is_learned_and_turned_images_are_found() -> None:
    torch.manual_seed(0)
    hook = hooks["rotation"](width=8)
    model = hook.model(FACTS)
    seen = _glyphs(32, 0)
    losses = fit(hook, model, lambda k: batch(seen[k % 4 * 8 :][:8]), 40, 3e-3)
    assert losses[-1] < 0.3 < losses[0]
    others = _glyphs(24, 1)
    for k in range(4):
        turned = batch(torch.rot90(others, k, (-2, -1)))
        rows = [row for (row,) in hook.predict(model, turned, FACTS)]
        right = [row.attributes["rotation"] == 90 * k for row in rows]
        assert sum(right) > 0.95 * len(rows)
        upright = [row.attributes["upright"] > 0.5 for row in rows]
        assert upright == [row.attributes["rotation"] == 0 for row in rows]


def test_probabilities_agree_over_the_turned_copies() -> None:
    """An image and its turned copy get the same numbers, moved by one."""
    torch.manual_seed(0)
    hook = hooks["rotation"](width=4)
    model = hook.model(FACTS).eval()
    image = torch.rand(3, 3, 32, 32)
    plain, turned = (
        [row for (row,) in hook.predict(model, batch(x), FACTS)]
        for x in (image, torch.rot90(image, 1, (-2, -1)))
    )
    for before, after in zip(plain, turned, strict=True):
        assert before.kind == "label"
        assert before.category is None
        assert after.score == pytest.approx(before.score)
        assert after.attributes["rotation"] == (before.attributes["rotation"] + 90) % 360


def test_what_has_no_upright_stays_at_the_logarithm_of_four() -> None:
    torch.manual_seed(0)
    hook = hooks["rotation"](width=8)
    model = hook.model(FACTS)
    y, x = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(32) - 15.5, indexing="ij")
    radius = torch.rand(16, 1, 1) * 8 + 4
    blobs = torch.exp(-(x**2 + y**2) / radius**2)[:, None].repeat(1, 3, 1, 1)
    losses = fit(hook, model, lambda _: batch(blobs), 40, 3e-3)
    assert losses[-1] == pytest.approx(math.log(4), rel=0.01)
