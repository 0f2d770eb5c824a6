"""LoRA and QLoRA through peft itself: what is trained, saved, and resumed."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.captioners.dialogues import write_llava
from tests.training.commands import command, prepare, run_folder
from tests.training.parts import tiny_captioner
from tests.training.tuning import carry_out, task
from torch import Tensor
from transformers import AutoModelForImageTextToText

from vlground.errors import VlgroundError
from vlground.tasks.finetuning import Finetuning
from vlground.training.loading import network_of
from vlground.training.weights import Adapter, with_adapter

LORA = {"kind": "lora", "modules": ["q_proj", "v_proj"], "r": 4, "alpha": 8, "dropout": 0.2}
OPTIONS: dict[str, Any] = {"adapter": LORA, "pretraining": None, "freeze": ["vision_tower"]}

needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")
needs_bitsandbytes = pytest.mark.skipif(
    find_spec("peft") is None or find_spec("bitsandbytes") is None,
    reason="peft or bitsandbytes is not installed",
)


class Stop(lightning.Callback):
    """Ends the process's work in a step."""

    def on_train_batch_start(self, *arguments: Any) -> None:
        if arguments[2].number == 4:
            raise SystemExit(143)


def logits(network: Any, made: Finetuning) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(**made.collator(made.mixture.step(0)).inputs).logits
    return found


@needs_peft
def test_an_adapter_is_all_that_is_trained_and_none_is_in_what_is_frozen() -> None:
    made = with_adapter(tiny_captioner()[0], Adapter("lora", ["q_proj"], r=2), ["vision_tower"])
    trained = [name for name, weight in made.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name and "language_model" in name for name in trained)
    everywhere = with_adapter(tiny_captioner()[0], Adapter("lora", ["q_proj"], r=2))
    assert any("vision_tower" in n for n, w in everywhere.named_parameters() if w.requires_grad)


@needs_peft
def test_what_is_merged_says_what_the_adapter_said_and_loads_without_peft(tmp_path: Path) -> None:
    from peft import PeftModel

    made = task(tmp_path, **OPTIONS)
    carry_out(made)
    base = tiny_captioner()[0].eval()
    before = logits(base, made)
    after = logits(AutoModelForImageTextToText.from_pretrained(tmp_path / "model"), made)
    adapted = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(logits(adapted, made), after, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before, after, atol=1e-3)
    fresh, saved = tiny_captioner()[0].state_dict(), made.network.state_dict()
    changed = {name for name, weight in fresh.items() if not torch.equal(weight, saved[name])}
    assert changed
    assert all(n.endswith(("q_proj.weight", "v_proj.weight")) for n in changed)
    assert not any("vision_tower" in name for name in changed)


@needs_peft
def test_an_adapter_that_was_interrupted_ends_as_one_that_was_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = task(tmp_path / "whole", **OPTIONS)
    carry_out(whole)
    torch.manual_seed(0)
    with pytest.raises(SystemExit):
        carry_out(task(tmp_path / "broken", **OPTIONS), [Stop()])
    kept = torch.load(tmp_path / "broken" / "checkpoints" / "last.ckpt", weights_only=True)
    assert all("lora_" in name for name in kept["state_dict"]), "the base is not copied"
    torch.manual_seed(5)  # adapters begin elsewhere: all must come from the checkpoint
    resumed = task(tmp_path / "broken", **OPTIONS)
    carry_out(resumed)
    found, expected = resumed.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert resumed.details() == whole.details()


@needs_bitsandbytes
def test_four_bits_are_trained_beside_and_merged_in_full_width(tmp_path: Path) -> None:
    prepare(tmp_path)
    model = {"pretrained": str(tmp_path / "base"), "revision": None}
    loaded, _ = network_of(model, None, "32-true", True)
    assert any(weight.dtype == torch.uint8 for weight in loaded.parameters())
    options = ("task.adapter.kind=qlora", "task.adapter.modules=[q_proj,v_proj]")
    assert command(tmp_path, *options, "task.freeze=[vision_tower]") == 0
    folder = run_folder(tmp_path)
    saved = AutoModelForImageTextToText.from_pretrained(folder / "model").state_dict()
    base = AutoModelForImageTextToText.from_pretrained(tmp_path / "base").state_dict()
    changed = {name for name in base if not torch.equal(base[name], saved[name])}
    assert changed
    assert all("language_model" in n and n.endswith("_proj.weight") for n in changed)
    kept = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert all("lora_" in name for name in kept["state_dict"])


def test_four_bits_without_bitsandbytes_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("bitsandbytes") is not None:
        pytest.skip("bitsandbytes is installed")
    model = {"pretrained": write_llava(tmp_path / "base"), "revision": None}
    with pytest.raises(VlgroundError, match=r"not in 4 bits: .*bitsandbytes") as raised:
        network_of(model, None, "32-true", True)
    assert "\n" not in str(raised.value)
