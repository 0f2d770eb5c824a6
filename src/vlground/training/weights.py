"""Which weights are trained, and how: frozen parts, adapters, the optimizer and its rates."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from vlground.errors import VlgroundError
from vlground.whole import one_line_on_failure

Kind = Literal["none", "lora", "qlora"]
Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Adapter:
    """Options of low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    Attributes:
        kind: none: all weights are trained; lora; qlora: beside weights of 4 bits (Dettmers et al.
            2023, https://arxiv.org/abs/2305.14314).
        modules: Names of the linear layers that get one.
        r: Rank.
        alpha: Scale; what is added is multiplied by alpha / r.
        dropout: Of what an adapter reads, 0 to 1.

    Raises:
        VlgroundError: If an option does not fit.
    """

    kind: Kind = "none"
    modules: Sequence[str] = ("q_proj", "k_proj", "v_proj", "o_proj")
    r: int = 16
    alpha: float = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            expected = ", ".join(get_args(Kind))
            raise VlgroundError(f"task.adapter.kind={self.kind}: expected {expected}")
        if self.r < 1:
            raise VlgroundError(f"task.adapter.r={self.r}: expected a positive number")
        if self.kind != "none" and not self.modules:
            raise VlgroundError("task.adapter.modules=[]: expected names of linear layers")


def freeze(network: nn.Module, names: Iterable[str]) -> None:
    """Let all weights be trained but those of some modules.

    Args:
        network: Changed in place.
        names: Of modules, such as `vision_tower`, or a path of them (`language_model.layers.0`).

    Raises:
        VlgroundError: If there is no such module, or nothing is left.
    """
    for weight in network.parameters():
        weight.requires_grad_(weight.is_floating_point())  # those of 4 bits are not
    modules = dict(network.named_modules())
    for name in names:
        found = [m for path, m in modules.items() if f".{path}".endswith(f".{name}")]
        if not found:
            known = sorted({part for path in modules for part in path.split(".")[:2] if part})
            raise VlgroundError(f"task.freeze={name}: no such part; there are {', '.join(known)}")
        for module in found:
            module.requires_grad_(False)
            module.zero_grad()  # or what it learnt before would count when gradients are clipped
    if not any(weight.requires_grad for weight in network.parameters()):
        raise VlgroundError(f"task.freeze={list(names)}: nothing is left to train")


def with_adapter(network: Any, adapter: Adapter, frozen: Sequence[str] = ()) -> Any:  # noqa: ANN401
    """The network with an adapter, which alone is trained; without one, the network itself.

    Args:
        network: Of transformers.
        adapter: Its options.
        frozen: Modules that get none, see `freeze`; attention of a vision tower has layers of the
            same names.

    Raises:
        VlgroundError: If peft is not installed, or no layer has such a name.
    """
    if adapter.kind == "none":
        return network
    options = lora_of(adapter, frozen)
    import peft

    if adapter.kind == "qlora":
        network = peft.prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)
    try:
        return peft.get_peft_model(network, options)
    except ValueError as error:
        told = str(error).splitlines()[0]
        raise VlgroundError(f"task.adapter.modules={list(adapter.modules)}: {told}") from error


def lora_of(adapter: Adapter, frozen: Sequence[str] = ()) -> Any:  # noqa: ANN401 - of peft
    """The options of an adapter in the words of peft.

    Args:
        adapter: Of kind lora or qlora.
        frozen: See `with_adapter`.

    Raises:
        VlgroundError: If peft is not installed.
    """
    try:
        import peft
    except ImportError as error:
        told = "needs peft (and bitsandbytes, for qlora): pip install 'vlground[finetuning]'"
        raise VlgroundError(f"task.adapter.kind={adapter.kind}: {told}") from error
    named = "|".join(map(re.escape, frozen))
    return peft.LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=list(adapter.modules),
        exclude_modules=rf"(.*\.)?({named})(\..*)?" if frozen else None,
    )


def optimizers_of(network: Any, kind: str, decay: float) -> list[torch.optim.Optimizer]:  # noqa: ANN401
    """What makes the loss small; all that is trained is in exactly one of them.

    Args:
        network: Of transformers.
        kind: adamw; or muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/) for the
            matrices between embeddings and output, AdamW for all else: for random weights.
        decay: Of matrices; gains and biases do not decay.
    """
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    plain = [network.get_input_embeddings(), network.get_output_embeddings()]
    ends = {id(w) for module in plain if module is not None for w in module.parameters()}
    found: list[torch.optim.Optimizer] = []
    matrices = [w for w in trained if w.ndim == 2 and id(w) not in ends] if kind == "muon" else []
    if matrices:
        found.append(torch.optim.Muon(matrices, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    known = {id(weight) for weight in matrices}
    others = [weight for weight in trained if id(weight) not in known]
    groups = [
        {"params": [w for w in others if w.ndim > 1], "weight_decay": decay},
        {"params": [w for w in others if w.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return [*found, torch.optim.AdamW(groups, betas=(0.9, 0.98))] if groups else found


def rate_at(step: int, steps: int, options: Mapping[str, Any]) -> float:
    """The learning rate of a step.

    Args:
        step: Its number.
        steps: How many there are.
        options: `learning_rate`, the highest; `warmup`, steps in which it rises from zero; then it
            falls to zero as `schedule` says: cosine (half a wave), linear; constant: it stays.

    >>> options = {"learning_rate": 1.0, "warmup": 2, "schedule": "linear"}
    >>> [rate_at(step, 6, options) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    highest, warmup = float(options["learning_rate"]), int(options["warmup"])
    if step < warmup:
        return highest * (step + 1) / warmup
    through = (step - warmup) / max(1, steps - warmup)
    falls = {"cosine": 0.5 * (1 + math.cos(math.pi * through)), "linear": 1 - through}
    return highest * falls.get(options["schedule"], 1.0)


def merged(network: Any, adapter: Adapter, folder: str, load: Callable[[], Any]) -> Any:  # noqa: ANN401
    """The network with its adapter in its weights, so that it loads without peft.

    Args:
        network: As `with_adapter` made it.
        adapter: Its options.
        folder: Where the adapter is also saved by itself.
        load: Loads the network that was adapted, with weights of full width: those of 4 bits are
            not merged with.
    """
    if adapter.kind == "none":
        return network
    with one_line_on_failure(Path(folder)):
        network.save_pretrained(folder)
    if adapter.kind == "lora":
        return network.merge_and_unload()
    import peft

    return peft.PeftModel.from_pretrained(load(), folder).merge_and_unload()
