"""The classifier: its loss by hand, networks of our own and of transformers, labels out of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from granum.errors import FormatError, UsageError  # noqa: E402
from granum.train.base import Facts, hooks  # noqa: E402
from tests.train.batches import Says, batch, fit  # noqa: E402

FACTS = Facts(["cat", "dog", "owl"], [4, 7, 9], (32, 32))
RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "layer_type": "basic",
}


def _images(n: int) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3), 0.0], [0.0, math.log(2), -math.inf], [5.0, 1.0, 2.0]])
    labels = torch.tensor([0, 1, -1])
    losses = hooks["classifier"]().losses(Says(logits), batch(_images(3), label=labels))
    # 1 of 1 + 3 + 1; 2 of 1 + 2; no label.
    assert losses.tolist() == pytest.approx([math.log(5), math.log(3 / 2), 0.0], abs=1e-6)


def test_learns_by_heart_and_says_so() -> None:
    torch.manual_seed(0)
    hook = hooks["classifier"](probabilities=True)
    model = hook.model(FACTS)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    seen = batch(_images(8), label=labels)
    losses = fit(hook, model, lambda _: seen, 40, 3e-3)
    assert losses[-1] < losses[0] / 4
    rows = [row for (row,) in hook.predict(model, seen, FACTS)]
    assert [r.category for r in rows] == [FACTS.categories[k] for k in labels.tolist()]
    assert {r.kind for r in rows} == {"label"}
    for row in rows:
        shares = row.attributes["probabilities"]
        assert list(shares) == ["cat", "dog", "owl"]
        assert sum(shares.values()) == pytest.approx(1)
        assert row.score == max(shares.values())


def test_probabilities_are_kept_on_demand_only() -> None:
    said = Says(torch.tensor([[0.0, 1.0, 2.0]]))
    ((row,),) = hooks["classifier"]().predict(said, batch(_images(1)), FACTS)
    assert row.attributes is None
    assert row.score == pytest.approx(math.e**2 / (1 + math.e + math.e**2))


def test_several_of_the_likeliest_classes() -> None:
    said = Says(torch.tensor([[0.0, 2.0, 1.0], [1.0, 1.0, 0.0]]))
    hook = hooks["classifier"](best=2, probabilities=True)
    found = hook.predict(said, batch(_images(2)), FACTS)
    assert [[r.category for r in rows] for rows in found] == [[7, 9], [4, 7]]  # ties: in order
    assert found[0][0].score > found[0][1].score
    assert [r.attributes is None for r in found[0]] == [False, True]
    (every, _) = hooks["classifier"](best=99).predict(said, batch(_images(2)), FACTS)
    assert sum(r.score for r in every) == pytest.approx(1)
    with pytest.raises(UsageError, match="best is 0"):
        hooks["classifier"](best=0)


def test_weights_depend_on_the_seed_only() -> None:
    hook = hooks["classifier"]()
    made = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        made.append(torch.cat([p.flatten() for p in hook.model(FACTS).parameters()]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_no_classes() -> None:
    with pytest.raises(UsageError, match="no sample of this view has a label"):
        hooks["classifier"]().model(Facts([], [], (32, 32)))


class TestTransformers:
    @pytest.fixture(autouse=True)
    def _needed(self) -> None:
        pytest.importorskip("transformers")

    def test_configuration_as_dict_and_as_file_are_one(self, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        file.write_text(json.dumps({**RESNET, "num_labels": 1000, "id2label": {"0": "x"}}))
        said = []
        for config in (RESNET, str(file)):
            torch.manual_seed(3)
            hook = hooks["classifier"](config=config)
            model = hook.model(FACTS).eval()
            said.append(hook.losses(model, batch(_images(2), label=torch.tensor([0, 2]))))
            assert model.network.config.id2label == {0: "cat", 1: "dog", 2: "owl"}
        assert said[0].shape == (2,)
        assert torch.equal(said[0], said[1])

    def test_images_are_normalised_as_imagenet(self) -> None:
        torch.manual_seed(3)
        model = hooks["classifier"](config=RESNET).model(FACTS).eval()
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (
            (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        ))  # fmt: skip
        image = _images(2)
        direct = model.network((image - mean) / std).logits
        assert torch.allclose(model(image).logits, direct, atol=1e-6)

    def test_local_checkpoint(self, tmp_path: Path) -> None:
        torch.manual_seed(3)
        first = hooks["classifier"](config=RESNET).model(FACTS).eval()
        first.network.save_pretrained(tmp_path)
        statistics = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.25]}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(statistics))
        hook = hooks["classifier"](checkpoint=str(tmp_path))
        again = hook.model(FACTS).eval()
        assert again.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
        image = _images(2)
        plain = torch.rand(2, 3, 32, 32)
        assert torch.allclose(again.network(plain).logits, first.network(plain).logits)
        assert not torch.allclose(again(image).logits, first(image).logits)
        two = hook.model(Facts(["a", "b"], [0, 1], (32, 32))).eval()  # its last layer is new
        assert two(image).logits.shape == (2, 2)
        body = "resnet.embedder.embedder.convolution.weight"
        assert torch.equal(two.network.state_dict()[body], first.network.state_dict()[body])

    def test_names_of_a_hub_are_not_looked_up(self) -> None:
        with pytest.raises(UsageError, match="is not a folder"):
            hooks["classifier"](checkpoint="microsoft/resnet-18").model(FACTS)

    def test_pickled_weights_are_refused(self, tmp_path: Path) -> None:
        torch.manual_seed(3)
        made = hooks["classifier"](config=RESNET).model(FACTS)
        made.network.config.save_pretrained(tmp_path)
        torch.save(made.network.state_dict(), tmp_path / "pytorch_model.bin")
        with pytest.raises(FormatError, match="safetensors"):
            hooks["classifier"](checkpoint=str(tmp_path)).model(FACTS)

    def test_what_cannot_be_meant(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="not both"):
            hooks["classifier"](config=RESNET, checkpoint=str(tmp_path)).model(FACTS)
        with pytest.raises(UsageError, match="model_type"):
            hooks["classifier"](config={"hidden_sizes": [8]}).model(FACTS)
        with pytest.raises(UsageError, match="llama cannot be built"):
            hooks["classifier"](config={"model_type": "llama"}).model(FACTS)
        broken = tmp_path / "broken.json"
        broken.write_text("[1, 2")
        with pytest.raises(FormatError, match=r"broken\.json"):
            hooks["classifier"](config=str(broken)).model(FACTS)
