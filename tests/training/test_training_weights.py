"""What is trained: frozen parts, adapters, rates; and the update's refusals."""

import importlib.util
from typing import Any

import pytest
import torch
from tests.captioners.dialogues import CONFIG
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration

from vlground.errors import VlgroundError
from vlground.training.update import check_finite
from vlground.training.weights import Adapter, freeze, optimizers_of, rate_at, with_adapter

OPTIONS = {"learning_rate": 0.5, "warmup": 10, "schedule": "cosine"}


def network() -> Any:
    torch.manual_seed(0)
    return LlavaForConditionalGeneration(LlavaConfig(**CONFIG))


def test_what_is_frozen_is_what_is_named() -> None:
    made = network()
    freeze(made, ["vision_tower", "layers.0.mlp"])
    for name, weight in made.named_parameters():
        held = "vision_tower" in name or ".language_model.layers.0.mlp." in name
        assert weight.requires_grad != held, name
    freeze(made, [])
    assert all(weight.requires_grad for weight in made.parameters())


def test_a_part_that_is_not_there_or_all_parts_are_refused() -> None:
    with pytest.raises(VlgroundError, match=r"task\.freeze=tower: .*vision_tower"):
        freeze(network(), ["tower"])
    with pytest.raises(VlgroundError, match="nothing is left"):
        freeze(network(), ["model", "lm_head"])


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_matrices_decay_and_all_that_is_trained_is_in_one_optimizer(kind: str) -> None:
    made = network()
    freeze(made, ["vision_tower"])
    *muon, adamw = optimizers_of(made, kind, 0.1)
    decayed, plain = adamw.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert all(weight.ndim == 1 for weight in plain["params"])
    held = [w for one in (*muon, adamw) for group in one.param_groups for w in group["params"]]
    assert len(held) == len({id(w) for w in held})
    assert {id(w) for w in held} == {id(w) for w in made.parameters() if w.requires_grad}
    if kind == "muon":
        inner = {id(w) for group in muon[0].param_groups for w in group["params"]}
        ends = [made.lm_head.weight, made.model.language_model.embed_tokens.weight]
        assert inner.isdisjoint(id(w) for w in ends)
        assert id(made.model.language_model.layers[0].mlp.up_proj.weight) in inner
    else:
        assert not muon


def test_the_rate_rises_and_falls() -> None:
    rates = [rate_at(step, 110, OPTIONS) for step in range(110)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == rates[9] == rates[10] == 0.5
    assert rates[60] == pytest.approx(0.25)
    assert 0 < rates[-1] < 1e-3
    assert rate_at(109, 110, {**OPTIONS, "schedule": "constant"}) == 0.5


def test_what_is_no_number_stops_with_what_was_learnt_from() -> None:
    check_finite("task.learning_rate", torch.tensor(3.0), 4, ["a"])
    for value in (float("nan"), float("inf")):
        with pytest.raises(VlgroundError, match=r"step 4: .*learning from a, b$"):
            check_finite("task.learning_rate", torch.tensor(value), 4, ["a", "b"])
    names = [f"i{n}" for n in range(20)]
    with pytest.raises(VlgroundError, match=r"i7 and 12 more$"):
        check_finite("task.learning_rate", torch.tensor(float("nan")), 4, names)


def test_adapters_are_refused_where_they_cannot_be() -> None:
    with pytest.raises(VlgroundError, match=r"task\.adapter\.kind=dora"):
        Adapter("dora")  # type: ignore[arg-type]
    with pytest.raises(VlgroundError, match=r"task\.adapter\.r=0"):
        Adapter("lora", r=0)
    if importlib.util.find_spec("peft") is None:
        with pytest.raises(VlgroundError, match=r"vlground\[finetuning\]"):
            with_adapter(network(), Adapter("lora"))


def test_an_adapter_alone_is_trained_and_merges_away() -> None:
    pytest.importorskip("peft", reason="peft is not installed: adapters are not tested")
    made = with_adapter(network(), Adapter("lora", modules=["q_proj"], r=2))
    trained = [name for name, weight in made.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name and "q_proj" in name for name in trained)
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    inputs = {"input_ids": torch.tensor([[4, 5, 6]])}
    expected = made(**inputs).logits
    torch.testing.assert_close(made.merge_and_unload()(**inputs).logits, expected)
