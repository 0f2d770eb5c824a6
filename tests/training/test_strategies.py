"""Strategies of several processes: composed by name, refused in one line where they cannot be."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vlground.errors import VlgroundError
from vlground.run import CONF
from vlground.training.strategies import check_strategy


def check(*overrides: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = compose("run", ["task=finetuning", "model.pretrained=x", *overrides])
    made: Any = OmegaConf.to_container(node, resolve=False)
    check_strategy(made["trainer"], made["task"])


def test_what_every_weight_gets_a_gradient_in_may_be_shared_out() -> None:
    check()
    check("trainer=ddp")
    check("trainer=ddp", "task.freeze=[]", "trainer.strategy=ddp_find_unused_parameters_true")
    check("trainer=ddp", "task.freeze=[]", "task.adapter.kind=lora")


@pytest.mark.parametrize("override", ["task.freeze=[]", "task.pretraining={steps: 3}"])
def test_ddp_that_would_wait_for_gradients_is_refused(override: str) -> None:
    with pytest.raises(VlgroundError, match=r"^trainer\.strategy=ddp: .*find_unused") as raised:
        check("trainer=ddp", override)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_needs_gpus_is_refused_in_one_line() -> None:
    with pytest.raises(VlgroundError, match=r"^trainer\.strategy=fsdp: needs GPUs"):
        check("trainer=fsdp")
    if find_spec("deepspeed") is None:
        with pytest.raises(
            VlgroundError, match=r"^trainer\.strategy=deepspeed_stage_2: needs deep"
        ):
            check("trainer=deepspeed")


def test_pieces_of_matrices_are_not_for_muon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check("trainer=fsdp")
    with pytest.raises(VlgroundError, match=r"^trainer\.strategy=fsdp: not with task\.optimizer"):
        check("trainer=fsdp", "task.optimizer=muon")
