"""A miniature of the miniature."""

from typing import Any

import torch

from vlground.training.miniature import random_captioner

TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
ARCHITECTURE: dict[str, Any] = {
    "vision_feature_layer": -1,
    "vision_config": {
        **TOWER,
        "model_type": "clip_vision_model",
        "image_size": 96,
        "patch_size": 24,
        "projection_dim": 16,
    },
    "text_config": {
        **TOWER,
        "model_type": "llama",
        "max_position_embeddings": 256,
        "num_key_value_heads": 2,
    },
}


def tiny_captioner() -> tuple[Any, Any]:
    torch.manual_seed(1)
    return random_captioner(ARCHITECTURE)
