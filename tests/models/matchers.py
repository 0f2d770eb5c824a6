"""Tiny BLIP and ALBEF of random weights, and a vocabulary for them."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlground.models.albef import AlbefMatching
from vlground.models.blip import BlipMatching
from vlground.preprocess import Preprocess

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["red", "blue", "green", "star", "##s", "ring", "small", "a", "left", "of", "the"]
TEXTS = ["red star", "a small blue ring left of the red stars", "green"]
SIZE, PATCH, CELLS = 32, 8, 4
ENC = len(SPECIAL) + len(WORDS)  # one more than the vocabulary has, as LAVIS's
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
BLIP: dict[str, Any] = {  # towers of different widths, as in BLIP-large
    "vision_config": {**TOWER, "hidden_size": 48, "image_size": SIZE, "patch_size": PATCH},
    "text_config": {
        **TOWER,
        "vocab_size": ENC + 1,
        "max_position_embeddings": 16,
        "bos_token_id": 2,
        "sep_token_id": 3,
        "eos_token_id": 3,
    },
    "image_text_hidden_size": 16,
}
ALBEF: dict[str, Any] = {
    "image_size": SIZE,
    "patch_size": PATCH,
    "width": 32,
    "heads": 4,
    "vision_layers": 2,
    "text_layers": 4,
    "fusion_layer": 2,
    "vocabulary": ENC,
    "positions": 16,
}


def write_vocabulary(folder: Path) -> str:
    """A BERT vocabulary of a few words."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]) + "\n")
    return str(folder)


def stir(network: nn.Module) -> None:
    """Weights with which attention is far from uniform, and no bias or norm is idle."""
    generator = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = 0.25 * noise if weight.ndim > 1 else weight.data + 0.2 * noise


def tiny_blip(folder: Path, **options: Any) -> BlipMatching:
    """BLIP of three layers."""
    chosen = {"layer": 1, "context": 16, "enc_token_id": ENC, **options}
    torch.manual_seed(0)
    scorer = BlipMatching(architecture=BLIP, tokenizer=write_vocabulary(folder), **chosen)
    stir(scorer.network)
    return scorer


def tiny_albef(folder: Path, **options: Any) -> AlbefMatching:
    """ALBEF of four text layers, two of which read the image."""
    chosen = {"architecture": ALBEF, "layer": 2, **options}
    torch.manual_seed(0)
    scorer = AlbefMatching(tokenizer=write_vocabulary(folder), **chosen)
    if "checkpoint" not in options:
        stir(scorer.network)
    return scorer


def noise(images: int = 2, size: int = SIZE) -> torch.Tensor:
    """Pixels `(images, 3, size, size)`."""
    return torch.randn(images, 3, size, size, generator=torch.Generator().manual_seed(2))


def at_size(size: int) -> Preprocess:
    """The input at another size."""
    return Preprocess(size=size)
