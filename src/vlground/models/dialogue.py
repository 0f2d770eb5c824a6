"""A network of transformers that is shown images and answers in words, with its processor."""

from typing import Any, Literal

import torch

from vlground.errors import VlgroundError

Dtype = Literal["float32", "bfloat16", "float16"]
# What a model comes with for sampling: that is said by options here, or not done.
_SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty")


def load_dialogue_model(
    option: str, pretrained: str, revision: str | None, dtype: torch.dtype
) -> tuple[Any, Any]:
    """Read an image-text-to-text model and its processor.

    Args:
        option: That names it, for messages (`judge.pretrained`).
        pretrained: Name on the hub, or a folder.
        revision: Commit on the hub.
        dtype: Of its weights.

    Returns:
        The network, which is evaluated and not trained, and its processor, which pads on the left:
        between question and answer there is no padding.

    Raises:
        VlgroundError: If there is none, or its processor has no chat template.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()  # in the middle of a sweep's lines
    option = f"{option}={pretrained}"
    try:
        processor = AutoProcessor.from_pretrained(pretrained, revision=revision)
        network = AutoModelForImageTextToText.from_pretrained(
            pretrained, revision=revision, dtype=dtype, use_safetensors=True
        )
    except Exception as error:  # every reader has its own for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise VlgroundError(f"{option}: no model with a processor there: {reason}") from error
    if getattr(processor, "chat_template", None) is None:
        raise VlgroundError(f"{option}: its processor has no chat template")
    processor.tokenizer.padding_side = "left"
    network.generation_config.update(**dict.fromkeys(_SAMPLING))
    return network.eval().requires_grad_(False), processor
