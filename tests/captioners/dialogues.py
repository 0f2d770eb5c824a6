"""A tiny LLaVA with a processor, whose random weights say something else of every picture."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from vlground.data.sample import Sample

SPECIAL = ["<pad>", "<unk>", "</s>", "<image>"]
WORDS = [f"w{number}" for number in range(60)]
VOCABULARY = {word: i for i, word in enumerate([*SPECIAL, "Describe", "it", "ASSISTANT", *WORDS])}
TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endfor %} ASSISTANT"
)
TOWER = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
CONFIG: dict[str, Any] = {
    "vision_config": {
        **TOWER,
        "model_type": "clip_vision_model",
        "hidden_size": 24,
        "image_size": 32,
        "patch_size": 8,
    },
    "text_config": {
        **TOWER,
        "model_type": "llama",
        "hidden_size": 32,
        "vocab_size": len(VOCABULARY),
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "eos_token_id": 2,
    },
    "image_token_index": VOCABULARY["<image>"],
}


def write_llava(folder: Path, template: str | None = TEMPLATE, end: int = 2) -> str:
    """Random weights with which pictures count and texts end now and then."""
    torch.manual_seed(0)  # not all weights are drawn by `save`
    save(LlavaForConditionalGeneration(LlavaConfig(**CONFIG)), folder, end)
    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer_of(VOCABULARY, ["<image>"]),
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return str(folder)


def write_qwen(folder: Path) -> str:
    """Qwen2-VL: as many image tokens as the picture has patches, and positions of three axes."""
    torch.manual_seed(0)
    image = ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]
    vocabulary = {word: i for i, word in enumerate([*VOCABULARY, *image])}
    start, pad, end, video = (vocabulary[word] for word in image)
    rotary = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    text = {**CONFIG["text_config"], "vocab_size": len(vocabulary), "rope_parameters": rotary}
    del text["model_type"]
    config = Qwen2VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 4,
            "patch_size": 8,
            "mlp_ratio": 2,
        },
        image_token_id=pad,
        vision_start_token_id=start,
        vision_end_token_id=end,
        video_token_id=video,
    )
    save(Qwen2VLForConditionalGeneration(config), folder, 2)
    Qwen2VLProcessor(
        Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 256, "longest_edge": 4096}),
        tokenizer_of(vocabulary, image),
        Qwen2VLVideoProcessor(),
        chat_template=TEMPLATE.replace("<image>", " ".join(image[:3])),
    ).save_pretrained(folder)
    return str(folder)


def save(network: Any, folder: Path, end: int) -> None:
    """With weights of which every picture and word counts."""
    generator = torch.Generator().manual_seed(1)
    for weight in network.parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = 0.25 * noise if weight.ndim > 1 else weight.data + 0.2 * noise
    network.generation_config.eos_token_id = end
    network.generation_config.pad_token_id = 0
    network.save_pretrained(folder)


def tokenizer_of(vocabulary: dict[str, int], special: list[str]) -> PreTrainedTokenizerFast:
    """A word a token."""
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="</s>",
        additional_special_tokens=special,
    )


def pictures(count: int) -> list[Sample]:
    """Samples of noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 40, 48, 3), dtype=np.uint8)
    return [Sample(f"s{i}", f"i{i}", image, "") for i, image in enumerate(images)]
