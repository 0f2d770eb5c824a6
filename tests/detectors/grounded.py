"""A tiny Grounding DINO and OWLv2 with their processors, of random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SwinConfig,
)

from vlground.data.sample import Sample

# Where BERT has them: Grounding DINO knows its delimiters by number.
PLACES = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
WORDS = ["cat", "dog", "ping", "pong", "wine", "glass", "##es", "table", "car", "taxi", "a", "of"]
LONGEST = 16


def write_vocabulary(folder: Path) -> str:
    """BERT's tokenizer of a few words."""
    words = [f"[unused{number}]" for number in range(1030 + len(WORDS))]
    for word, place in {**PLACES, **{w: 1030 + i for i, w in enumerate(WORDS)}}.items():
        words[place] = word
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return str(folder)


def stir(network: nn.Module) -> None:
    """Weights with which the image and every word count."""
    generator = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = noise * weight.shape[-1] ** -0.5 if weight.ndim > 1 else weight + 0.1 * noise


def write_grounding_dino(folder: Path, longest: int = LONGEST) -> str:
    """Two layers of width 32, ten queries."""
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            patch_size=4,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_indices=[2, 3, 4],
        ),
        text_config={
            "model_type": "bert",
            "vocab_size": 1030 + len(WORDS),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 64,
        },
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_queries=10,
        max_text_len=longest,
    )
    network = GroundingDinoForObjectDetection(config)
    stir(network)
    network.save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    tokenizer = BertTokenizer.from_pretrained(write_vocabulary(folder / "words"))
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return str(folder)


def photo(name: str = "a", height: int = 60, width: int = 100, **truth: Any) -> Sample:
    """Smooth noise, drawn from the name."""
    rng = np.random.default_rng(sum(map(ord, name)))
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Sample(f"sample-{name}", f"image-{name}", pixels, truth.pop("text", ""), **truth)
