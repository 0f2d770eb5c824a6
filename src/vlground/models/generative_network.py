"""The network and the tokenizer of a LLaVA-type model, and what of its parts can be read."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from vlground.errors import VlgroundError

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


def load_tokenizer(name: str | None, revision: str | None) -> Any:  # noqa: ANN401 - of any class
    """Read a tokenizer from a folder or the hub.

    Raises:
        VlgroundError: If there is none.
    """
    from transformers import AutoTokenizer

    if name is None:
        raise VlgroundError("model.tokenizer=null: random weights have none beside them; give one")
    try:
        return AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError, ImportError) as error:
        told = f"no tokenizer there, nor in the hub's cache: {_line(error)}"
        raise VlgroundError(f"model.tokenizer={name}: {told}") from error


def load_network(
    pretrained: str, revision: str | None, dtype: torch.dtype
) -> "LlavaForConditionalGeneration":
    """Read a network from a folder or the hub.

    Raises:
        VlgroundError: If there is none, or its tensors are not exactly those of LLaVA, or one of
            its parts is of a kind that is not known here.
    """
    from transformers import LlavaForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()  # in the middle of a sweep's lines
    option = f"model.pretrained={pretrained}"
    try:
        network, report = LlavaForConditionalGeneration.from_pretrained(
            pretrained,
            revision=revision,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by their names
        )
    except OSError as error:
        told = "not a folder of LLaVA, not in the hub's cache, and could not be fetched"
        raise VlgroundError(f"{option}: {told}") from error
    except Exception as error:  # every reader has its own for a damaged file
        raise VlgroundError(f"{option}: cannot be read: {_line(error)}") from error
    for complaint in ("missing", "unexpected", "mismatched"):
        names = sorted(map(str, report[f"{complaint}_keys"]))
        if names:
            told = f"{complaint}: {', '.join(names[:5])}"
            raise VlgroundError(f"{option}: not LLaVA; {told}")
    _check_parts(network.config, option)
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


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
