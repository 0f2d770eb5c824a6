"""The network and the tokenizer of a LLaVA-type model, and what of its parts can be read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from vlground.errors import VlgroundError
from vlground.models.pretrained import load_pretrained

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

_TOWERS = {  # vision tower -> mean and deviation of its pixels
    "clip_vision_model": (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
    "siglip_vision_model": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
_LANGUAGES = ("llama", "qwen2")
_SHIFTING = ("dynamic", "longrope")  # rotary positions that depend on the longest of a batch


def pixel_statistics(tower: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the pixels that a vision tower was trained on."""
    return _TOWERS[tower]


def load_network(
    pretrained: str, revision: str | None, dtype: torch.dtype
) -> "LlavaForConditionalGeneration":
    """Read a network from a folder or the hub.

    Raises:
        VlgroundError: If there is none, or its tensors are not exactly those of LLaVA, or one of
            its parts is of a kind that is not known here.
    """
    from transformers import LlavaForConditionalGeneration

    network: LlavaForConditionalGeneration
    network = load_pretrained(LlavaForConditionalGeneration, "LLaVA", pretrained, revision, dtype)
    _check_parts(network.config, f"model.pretrained={pretrained}")
    return network


def random_network(
    architecture: Mapping[str, Any] | None, dtype: torch.dtype
) -> "LlavaForConditionalGeneration":
    """Draw a network from torch's global generator.

    Raises:
        VlgroundError: If there is no architecture, or one of its parts is of a kind that is not
            known here.
    """
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    if architecture is None:
        raise VlgroundError("model.pretrained=null: needs model.architecture")
    config = LlavaConfig(**architecture)
    _check_parts(config, "model.architecture")
    return LlavaForConditionalGeneration(config).to(dtype)


def _check_parts(config: Any, option: str) -> None:  # noqa: ANN401 - of transformers
    """Refuse what would be read wrongly."""
    text, vision = config.text_config, config.vision_config
    default = config.vision_feature_select_strategy == "default"
    sliding = "sliding_attention" in (text.to_dict().get("layer_types") or ())
    for what, found, wrong in (
        ("vision tower", vision.model_type, vision.model_type not in _TOWERS),
        ("language model", text.model_type, text.model_type not in _LANGUAGES),
        ("language model's attention", "sliding", sliding),
    ):
        if wrong:
            raise VlgroundError(f"{option}: cannot read a {what} of type {found}")
    rotary = text.rope_parameters["rope_type"]
    if rotary in _SHIFTING:
        raise VlgroundError(f"{option}: cannot read rotary positions of type {rotary}")
    if default and vision.model_type == "siglip_vision_model":
        told = "SigLIP has no class token to drop; expected full"
        raise VlgroundError(f"{option}: vision_feature_select_strategy=default: {told}")
