"""The segmenter: its loss by hand, masks at stored size, a few images learned by heart."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from granum.errors import UsageError  # noqa: E402
from granum.schema.geometry import rle_decode  # noqa: E402
from granum.train.base import Facts, hooks  # noqa: E402
from tests.train.batches import Says, batch, fit  # noqa: E402

FACTS = Facts(["road", "tree", "sky"], [3, 8, 5], (64, 64))


def _says(logits: torch.Tensor) -> Says:
    return Says(SimpleNamespace(logits=logits))


def test_loss_by_hand() -> None:
    logits = torch.zeros(3, 2, 1, 2)
    logits[0, 1] = math.log(3)  # 1 : 3 in both pixels
    mask = torch.tensor([[[0, 1]], [[255, 1]], [[255, 255]]])
    losses = hooks["segmenter"]().losses(_says(logits), batch(torch.rand(3, 3, 1, 2), mask=mask))
    first = (math.log(4) + math.log(4 / 3)) / 2
    assert losses.tolist() == pytest.approx([first, math.log(2), 0.0], abs=1e-6)


def test_coarse_logits_are_interpolated_to_the_mask() -> None:
    logits = torch.tensor([[[[0.0, 4.0]], [[0.0, 0.0]]]])
    mask = torch.zeros(1, 1, 4, dtype=torch.int64)
    losses = hooks["segmenter"]().losses(_says(logits), batch(torch.rand(1, 3, 1, 4), mask=mask))
    cells = [0.0, 1.0, 3.0, 4.0]  # half a cell beyond the centres is constant
    wanted = sum(math.log(1 + math.exp(-v)) for v in cells) / 4
    assert losses.item() == pytest.approx(wanted, abs=1e-6)


def _decoded(rows: list) -> dict[int, np.ndarray]:
    return {r.category: rle_decode(r.rle.size, r.rle.counts) for r in rows}


def test_masks_are_at_stored_size_by_nearest_neighbour() -> None:
    logits = torch.full((1, 3, 2, 2), 0.0)
    for (y, x), k in zip(((0, 0), (0, 1), (1, 0), (1, 1)), (0, 2, 2, 2), strict=True):
        logits[0, k, y, x] = math.log(8)  # 8 of 10
    seen = batch(torch.rand(1, 3, 2, 2), size=(3, 6))
    (rows,) = hooks["segmenter"]().predict(_says(logits), seen, FACTS)
    masks = _decoded(rows)
    assert set(masks) == {3, 5}
    # The middle row's centre lies between the two rows: nearest takes the lower one.
    assert masks[3].tolist() == [[True] * 3 + [False] * 3, [False] * 6, [False] * 6]
    assert (masks[3] ^ masks[5]).all()
    assert [r.score for r in rows] == pytest.approx([0.8, 0.8])
    assert [r.area for r in rows] == [3.0, 15.0]


def test_what_was_filled_up_is_cut_off() -> None:
    """A stored image of 2 x 4 in a tensor of 4 x 4: its lower half is no image."""
    logits = torch.zeros(1, 3, 4, 4)
    logits[0, 1, :2] = 5
    logits[0, 2, 2:] = 5
    seen = {
        **batch(torch.rand(1, 3, 4, 4)),
        "size": torch.tensor([[2, 4]]),
        "scale": torch.ones(1, 2),
    }
    (rows,) = hooks["segmenter"]().predict(_says(logits), seen, FACTS)
    masks = _decoded(rows)
    assert list(masks) == [8]
    assert masks[8].shape == (2, 4)


def test_no_classes() -> None:
    with pytest.raises(UsageError, match="no mask"):
        hooks["segmenter"]().model(Facts([], [], (64, 64)))


def test_learns_by_heart() -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    noise = torch.Generator().manual_seed(0)
    images = 0.3 * torch.rand(4, 3, 64, 64, generator=noise)
    mask = torch.zeros(4, 64, 64, dtype=torch.int64)
    for i, (y, x) in enumerate(((0, 0), (32, 16), (16, 32), (8, 8))):
        images[i, 1, y : y + 24, x : x + 32] += 0.6
        mask[i, y : y + 24, x : x + 32] = 1
        images[i, 2, 60:] += 0.5
        mask[i, 60:] = 2
    mask[0, 30:34] = 255
    seen = batch(images, mask=mask)
    hook = hooks["segmenter"]()
    model = hook.model(FACTS)
    losses = fit(hook, model, lambda _: seen, 80, 1e-3)
    assert losses[-1] < losses[0] / 4
    for rows, truth in zip(hook.predict(model, seen, FACTS), mask.numpy(), strict=True):
        masks = _decoded(rows)
        found = np.full((64, 64), -1)
        for k, category in enumerate(FACTS.categories):
            found[masks.get(category, np.zeros((64, 64), bool))] = k
        known = truth != 255
        assert (found[known] == truth[known]).mean() > 0.95
        for k, category in enumerate(FACTS.categories):
            here = (truth == k) & known
            both = (masks[category] & here).sum() / (masks[category] & known | here).sum()
            assert both > 0.6


def test_other_networks_by_configuration() -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    convnext = {
        "model_type": "convnext",
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    config = {
        "model_type": "upernet",
        "backbone_config": convnext,
        "hidden_size": 16,
        "pool_scales": [1, 2],
        "use_auxiliary_head": False,
    }
    hook = hooks["segmenter"](config=config)
    model = hook.model(FACTS)
    mask = torch.randint(0, 3, (2, 64, 64))
    losses = hook.losses(model, batch(torch.rand(2, 3, 64, 64), mask=mask))
    assert losses.shape == (2,)
    losses.mean().backward()
    assert all(rows for rows in hook.predict(model.eval(), batch(torch.rand(2, 3, 64, 64)), FACTS))
