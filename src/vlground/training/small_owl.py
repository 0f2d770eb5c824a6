"""A small OWLv2 with random weights, and the processor that reads the shapes world for it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vlground.data.shapes.language import WORDS
from vlground.errors import VlgroundError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Padding and the unknown word come first. OWLv2 reads a text at its token with the highest id.
_FIRST, _LAST = ("<pad>", "<unk>"), ("<start>", "<end>")
_LONGEST = 8  # tokens: "a small red star" has six
# A logit is (cosine + shift) · (1 + scale): -5 of a text at a right angle, 5 of one that fits.
_SCALE, _SHIFT = 9.0, -0.5


def random_owl(architecture: Mapping[str, Any]) -> tuple[Any, Any]:
    """Draw a network from torch's global generator, and build its processor.

    Args:
        architecture: Arguments of transformers' `Owlv2Config`, but for what the vocabulary says:
            ids of special tokens, how many tokens there are and how many a text may have.

    Returns:
        An `Owlv2ForObjectDetection`, and its processor.

    Raises:
        VlgroundError: If the architecture is none.
    """
    from transformers import (
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2ImageProcessor,
        Owlv2Processor,
    )

    tokenizer = word_tokenizer()
    known = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": _LONGEST,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    try:
        text = {**architecture["text_config"], **known}
        side = architecture["vision_config"]["image_size"]
        network = Owlv2ForObjectDetection(Owlv2Config(**{**architecture, "text_config": text}))
    except (KeyError, TypeError, ValueError) as error:
        raise VlgroundError(f"task.initial.architecture: not OWLv2's: {error!r}") from error
    _draw_heads(network)
    images = Owlv2ImageProcessor(size={"height": side, "width": side})
    return network, Owlv2Processor(images, tokenizer)


@torch.no_grad()
def _draw_heads(network: Any) -> None:  # noqa: ANN401 - of transformers
    """Begin with boxes as large as a patch, where it is, and with texts that hardly fit.

    transformers draws the heads with a deviation of 1: boxes of no extent, from which nothing is
    learnt.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear) and layer.weight.std() > 0.5:
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    nn.init.zeros_(network.box_head.dense2.weight)
    for head, start in (
        (network.class_head.logit_scale, _SCALE),
        (network.class_head.logit_shift, _SHIFT),
    ):
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, start)


def word_tokenizer() -> "PreTrainedTokenizerFast":
    """A word of the shapes world a token; all others are one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = [*_FIRST, *WORDS, *_LAST]
    ids = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[(one, ids[one]) for one in _LAST]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unk>",
        model_max_length=_LONGEST,
    )
