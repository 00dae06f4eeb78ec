"""The detector: targets, losses per image, boxes in stored pixels, eight images by heart."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("scipy")

from granum.errors import FormatError, UsageError  # noqa: E402
from granum.synthetic import generate  # noqa: E402
from granum.train._detection import detections, targets  # noqa: E402
from granum.train.base import Facts, hooks  # noqa: E402
from granum.train.detector import _rt_detr  # noqa: E402
from tests.train.batches import Says, batch  # noqa: E402

SIDE = 128
FACTS = Facts(["a", "b", "c"], [2, 0, 5], (SIDE, SIDE))

RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage2", "stage3", "stage4"],
}
DETR = {
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "auxiliary_loss": True,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 3,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_queries": 12,
    "backbone_config": {**RESNET, "out_features": ["stage4"]},
}
FAMILIES: dict[str, dict[str, Any] | None] = {
    "rt_detr": None,
    "rt_detr_v2": _rt_detr(32, (SIDE, SIDE)) | {"model_type": "rt_detr_v2"},
    "d_fine": _rt_detr(32, (SIDE, SIDE)) | {"model_type": "d_fine"},
    "detr": {"model_type": "detr", **DETR},
    "conditional_detr": {"model_type": "conditional_detr", **DETR},
    "deformable_detr": {
        "model_type": "deformable_detr",
        **DETR,
        "num_feature_levels": 3,
        "backbone_config": RESNET,
    },
    "yolos": {
        "model_type": "yolos",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": [SIDE, SIDE],
        "num_detection_tokens": 20,
    },
}


def _batch(boxes: list[Any], labels: list[list[int]]) -> dict[str, Any]:
    images = torch.rand(len(boxes), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    return batch(
        images,
        boxes=[torch.tensor(b, dtype=torch.float32).reshape(-1, 4) for b in boxes],
        labels=[torch.tensor(k, dtype=torch.int64) for k in labels],
        iscrowd=[torch.zeros(len(k), dtype=torch.int64) for k in labels],
    )


def _three() -> dict[str, Any]:
    """Two boxes, none, one."""
    return _batch(
        [[[10, 20, 60, 90], [70, 8, 120, 40]], [], [[30, 30, 100, 110]]], [[0, 2], [], [1]]
    )


def test_targets_by_hand() -> None:
    boxes = torch.tensor([[10.0, 20, 30, 60], [0, 0, 100, 50], [5, 5, 5, 9], [40, 10, 60, 40]])
    (made,) = targets(
        [boxes], [torch.tensor([1, 0, 2, 2])], [torch.tensor([0, 1, 0, 0])], (200, 100)
    )
    # The crowd and the box without width are left out.
    assert made["class_labels"].tolist() == [1, 2]
    wanted = np.array([[0.2, 0.2, 0.2, 0.2], [0.5, 0.125, 0.2, 0.15]])
    assert made["boxes"].numpy() == pytest.approx(wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_of_an_image_is_that_of_a_batch_of_one(family: str) -> None:
    """Three images and three decoder layers: the two axes must not be taken for each other."""
    torch.manual_seed(0)
    hook = hooks["detector"](config=FAMILIES[family])
    model = hook.model(FACTS).eval()
    assert model.network.config.model_type == family
    seen = _three()
    losses = hook.losses(model, seen).detach()
    assert losses.shape == (3,)
    for i in range(3):
        one = {k: v[i : i + 1] for k, v in seen.items()}
        wanted = targets(one["boxes"], one["labels"], one["iscrowd"], (SIDE, SIDE))
        alone = model(one["image"], labels=wanted).loss.detach()
        assert losses[i].item() == pytest.approx(alone.item(), rel=1e-4)
    model.train()
    hook.losses(model, seen).mean().backward()
    found = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters()]
    assert sum(found) > len(found) / 2
    rows = hook.predict(model.eval(), seen, FACTS)
    assert len(rows) == 3
    assert {r.category for image in rows for r in image} <= {2, 0, 5}


@pytest.mark.parametrize("family", ["rt_detr", "detr"])
def test_losses_are_matched_in_full_precision(family: str) -> None:
    torch.manual_seed(0)
    hook = hooks["detector"](config=FAMILIES[family])
    model = hook.model(FACTS)
    with torch.autocast("cpu", torch.bfloat16):
        losses = hook.losses(model, _three())
    assert losses.dtype == torch.float32
    assert losses.isfinite().all()


def test_a_batch_without_boxes_has_a_loss() -> None:
    torch.manual_seed(0)
    hook = hooks["detector"]()
    model = hook.model(FACTS)
    losses = hook.losses(model, _batch([[], []], [[], []]))
    losses.mean().backward()
    assert losses.isfinite().all()


def test_each_query_has_each_class_where_there_is_no_output_for_nothing() -> None:
    logits = torch.tensor([[[2.0, -1.0], [1.0, 3.0]]])
    boxes = torch.tensor([[[0.1] * 4, [0.2] * 4]])
    scores, kinds, found = detections(logits, boxes, 2, 3)
    assert scores[0].tolist() == pytest.approx(torch.tensor([3.0, 2.0, 1.0]).sigmoid().tolist())
    assert kinds.tolist() == [[1, 0, 0]]
    assert found[0, :, 0].tolist() == pytest.approx([0.2, 0.1, 0.2])


def test_each_query_has_one_class_where_there_is_an_output_for_nothing() -> None:
    shares = torch.tensor([[[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]])
    boxes = torch.tensor([[[0.1] * 4, [0.2] * 4]])
    scores, kinds, found = detections(shares.log(), boxes, 2, 10)
    assert scores[0].tolist() == pytest.approx([0.5, 0.2])
    assert kinds.tolist() == [[0, 1]]
    assert found[0, :, 0].tolist() == pytest.approx([0.2, 0.1])


def test_boxes_are_in_stored_pixels_and_inside_the_image() -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0.5, 0.25], [0.0, 0.9, 0.2, 0.4], [2.0, 2.0, 0.1, 0.1]]])
    logits = torch.tensor([[[4.0, -9, -9], [-9, 3.0, -9], [-9, -9, 2.0]]])
    says = Says(SimpleNamespace(logits=logits, pred_boxes=boxes))
    hook = hooks["detector"](floor=0.5)
    (rows,) = hook.predict(says, batch(torch.rand(1, 3, 64, 128), size=(100, 400)), FACTS)
    assert [r.category for r in rows] == [2, 0]  # the third lies outside, the rest is unlikely
    assert rows[0].bbox == pytest.approx((100, 37.5, 200, 25))
    assert rows[1].bbox == pytest.approx((0, 70, 40, 30))
    assert rows[0].score == pytest.approx(torch.tensor(4.0).sigmoid().item())


def test_what_was_filled_up_is_no_image() -> None:
    """A stored image of 50 x 100, doubled to 100 x 200, in the corner of a tensor of 200 x 200."""
    boxes = torch.tensor([[[0.5, 0.5, 0.5, 0.5]]])
    says = Says(SimpleNamespace(logits=torch.tensor([[[4.0, -9, -9]]]), pred_boxes=boxes))
    seen = {
        **batch(torch.rand(1, 3, 200, 200)),
        "size": torch.tensor([[50, 100]]),
        "scale": torch.tensor([[2.0, 2.0]]),
    }
    ((row,),) = hooks["detector"](floor=0.5).predict(says, seen, FACTS)
    assert row.bbox == pytest.approx((25, 25, 50, 25))


def test_small_images_have_fewer_queries() -> None:
    torch.manual_seed(0)
    facts = Facts(FACTS.classes, FACTS.categories, (32, 64))
    hook = hooks["detector"](width=32)
    model = hook.model(facts).eval()
    assert model.network.config.num_queries == 32 + 8 + 2
    assert len(hook.predict(model, batch(torch.rand(2, 3, 32, 64)), facts)) == 2


def test_sides_are_multiples_of_32() -> None:
    with pytest.raises(UsageError, match="multiples of 32"):
        hooks["detector"]().model(Facts(FACTS.classes, FACTS.categories, (120, 160)))


def test_local_checkpoint_with_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = hooks["detector"](width=32).model(FACTS)
    first.network.save_pretrained(tmp_path)
    hook = hooks["detector"](checkpoint=str(tmp_path))
    same = hook.model(FACTS)
    assert all(map(torch.equal, first.parameters(), same.parameters()))
    two = Facts(["x", "y"], [0, 1], (SIDE, SIDE))
    model = hook.model(two)
    seen = _batch([[[10, 20, 60, 90]], []], [[1], []])
    assert hook.losses(model, seen).isfinite().all()
    assert {r.category for rows in hook.predict(model.eval(), seen, two) for r in rows} <= {0, 1}


def test_checkpoints_that_cannot_be_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    hooks["detector"](width=32).model(FACTS).network.save_pretrained(tmp_path)
    with pytest.raises(FormatError):  # of no segmenter
        hooks["segmenter"](checkpoint=str(tmp_path)).model(FACTS)
    (tmp_path / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(FormatError, match=tmp_path.name):
        hooks["detector"](checkpoint=str(tmp_path)).model(FACTS)


def test_no_classes() -> None:
    with pytest.raises(UsageError, match="no object"):
        hooks["detector"]().model(Facts([], [], (SIDE, SIDE)))


def _scenes(root: Path) -> dict[str, Any]:
    """Eight scenes with 3 to 8 whole things each, the largest."""
    made = generate(root, scenes=8, frames=0, pairs=0, textures=0, size=(160, 120))
    images, boxes, labels = [], [], []
    for sample in made.samples:
        assert sample.media is not None
        with Image.open(root / str(sample.media.path)) as file:
            pixels = np.array(file.convert("RGB").resize((SIDE, SIDE)))
        images.append(torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)
        whole = [a for a in sample.annotations if a.kind == "object" and a.parent is None]
        whole.sort(key=lambda a: -a.bbox[2] * a.bbox[3])
        corners = [(x, y, x + w, y + h) for x, y, w, h in (a.bbox for a in whole[:8])]
        boxes.append(torch.tensor(corners) * torch.tensor([SIDE / 160, SIDE / 120] * 2))
        labels.append(torch.tensor([a.category for a in whole[:8]]))
    crowds = [torch.zeros(len(k), dtype=torch.int64) for k in labels]
    return batch(torch.stack(images), size=(120, 160), boxes=boxes, labels=labels, iscrowd=crowds)


def _ap50(rows: list[Any], seen: dict[str, Any], classes: int) -> float:
    """AP at an overlap of 0.5, by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: list[dict[str, Any]] = []
    for i, (boxes, labels) in enumerate(zip(seen["boxes"], seen["labels"], strict=True)):
        for (x0, y0, x1, y1), k in zip(boxes.tolist(), labels.tolist(), strict=True):
            x, w, y, h = x0 * 1.25, (x1 - x0) * 1.25, y0 * 0.9375, (y1 - y0) * 0.9375
            row = {"id": len(truth) + 1, "image_id": i, "category_id": k, "iscrowd": 0}
            truth.append({**row, "bbox": [x, y, w, h], "area": w * h})
    found = [
        {"image_id": i, "category_id": r.category, "bbox": list(r.bbox), "score": r.score}
        for i, image in enumerate(rows)
        for r in image
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(len(rows))],
            "categories": [{"id": k} for k in range(classes)],
            "annotations": truth,
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[1])


def test_learns_eight_images_by_heart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    seen = _scenes(tmp_path)
    assert all(3 <= len(k) <= 8 for k in seen["labels"])
    facts = Facts([str(k) for k in range(9)], list(range(9)), (SIDE, SIDE))
    hook = hooks["detector"]()
    model = hook.model(facts)
    optimizer = hook.optimizer(model, None)
    losses: list[float] = []
    ap50 = 0.0
    for step in range(320):
        loss = hook.losses(model.train(), seen).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 20 == 19 and np.mean(losses[-10:]) < losses[0] / 2:
            ap50 = _ap50(hook.predict(model.eval(), seen, facts), seen, 9)
            if ap50 > 0.3:
                break
    assert np.mean(losses[-10:]) < losses[0] / 2
    assert ap50 > 0.3
