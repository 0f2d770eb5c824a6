"""The network that is fine-tuned, with its processor."""

from collections.abc import Mapping
from typing import Any

import torch

from vlground.config import build
from vlground.errors import VlgroundError
from vlground.models.dialogue import load_dialogue_model
from vlground.weights import pinned


def network_of(
    model: Mapping[str, Any], initial: Mapping[str, Any] | None, precision: str, four_bits: bool
) -> tuple[Any, Any]:
    """Load the network of a model node, or draw a new one.

    Args:
        model: With `pretrained` and `revision`.
        initial: A node that makes network and processor, such as `random_captioner`; None: the
            model's are loaded.
        precision: Of the trainer; `bf16-true` loads weights in bfloat16.
        four_bits: Whether linear layers are loaded in 4 bits (NF4, double quantisation: QLoRA's).

    Raises:
        VlgroundError: If there is none, or the precision is one that loses small gradients.
    """
    from transformers.utils import logging

    if str(precision) not in ("32-true", "32", "bf16-mixed", "bf16-true"):
        told = "expected 32-true, bf16-mixed or bf16-true"
        raise VlgroundError(f"trainer.precision={precision}: {told}")
    logging.disable_progress_bar()  # in the middle of a sweep's lines
    if initial is not None:
        network, processor = build(initial)
        return network, processor
    node = pinned(model)
    if not isinstance(node.get("pretrained"), str):
        told = "expected model=captioner model.pretrained=NAME, an image-text-to-text model"
        raise VlgroundError(f"model: nothing to fine-tune; {told}")
    dtype = torch.bfloat16 if precision == "bf16-true" or four_bits else torch.float32
    where = ("model.pretrained", node["pretrained"], node.get("revision"))
    if four_bits:
        return _in_four_bits(*where)
    return load_dialogue_model(*where, dtype)


def ends_of(network: Any, processor: Any) -> list[int]:  # noqa: ANN401 - of transformers
    """Ids of tokens that end a text; empty if none is known."""
    ends = network.generation_config.eos_token_id
    if ends is None:
        ends = processor.tokenizer.eos_token_id
    if ends is None:
        return []
    return list(ends) if isinstance(ends, list | tuple) else [int(ends)]


def _in_four_bits(option: str, pretrained: str, revision: str | None) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig

    quantised = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    try:
        processor = AutoProcessor.from_pretrained(pretrained, revision=revision)
        network = AutoModelForImageTextToText.from_pretrained(
            pretrained,
            revision=revision,
            dtype=torch.bfloat16,
            quantization_config=quantised,
            use_safetensors=True,
        )
    except Exception as error:  # bitsandbytes is missing, there is no GPU, no such model
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise VlgroundError(f"{option}={pretrained}: not in 4 bits: {reason}") from error
    return network, processor
