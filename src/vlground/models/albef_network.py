"""ALBEF's network, of transformers' layers of ViT and BERT."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from vlground.errors import VlgroundError
from vlground.models.attention import VisionAttention


@dataclass(frozen=True)
class AlbefArchitecture:
    """Sizes; the defaults are those of the published checkpoints (config_bert.json, vit.py).

    Attributes:
        image_size: Side of the input in pixels.
        patch_size: Side of a patch in pixels.
        width: Of both towers.
        heads: Attention heads of both towers.
        vision_layers: Layers of the ViT.
        text_layers: Layers of BERT.
        fusion_layer: The first of them that reads the image.
        vocabulary: Tokens.
        positions: Longest text in tokens.
        mlp_ratio: Width of hidden layers over that of the towers.
    """

    image_size: int = 384
    patch_size: int = 16
    width: int = 768
    heads: int = 12
    vision_layers: int = 12
    text_layers: int = 12
    fusion_layer: int = 6
    vocabulary: int = 30522
    positions: int = 512
    mlp_ratio: int = 4


class AlbefNetwork(nn.Module):
    """A ViT, a BERT whose upper layers read the image, and a head; random weights.

    Attributes:
        vision: `embeddings`, `layers` and `norm`.
        text: `embeddings` and `layers`.
        itm_head: From the first token to the logits of no match and of match.
        architecture: Its sizes.
    """

    def __init__(self, architecture: AlbefArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.vision = _Vision(architecture)
        self.text = _Text(architecture)
        self.itm_head = nn.Linear(architecture.width, 2)
        self.apply(_initialise)


class _Vision(nn.Module):
    def __init__(self, sizes: AlbefArchitecture) -> None:
        from transformers import ViTConfig
        from transformers.models.vit.modeling_vit import ViTEmbeddings, ViTLayer

        super().__init__()
        config = ViTConfig(
            hidden_size=sizes.width,
            num_hidden_layers=sizes.vision_layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.width * sizes.mlp_ratio,
            image_size=sizes.image_size,
            patch_size=sizes.patch_size,
            layer_norm_eps=1e-6,
        )
        self.embeddings = ViTEmbeddings(config)
        nn.init.trunc_normal_(self.embeddings.position_embeddings, std=0.02)
        nn.init.trunc_normal_(self.embeddings.cls_token, std=0.02)
        self.layers = nn.ModuleList(ViTLayer(config) for _ in range(sizes.vision_layers))
        for layer in self.layers:  # queries, keys and values in one, as in the checkpoints
            qkv = nn.Linear(sizes.width, 3 * sizes.width)
            projection = nn.Linear(sizes.width, sizes.width)
            layer.attention = VisionAttention(qkv, projection, sizes.heads)
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)


class _Text(nn.Module):
    def __init__(self, sizes: AlbefArchitecture) -> None:
        from transformers import BertConfig
        from transformers.models.bert.modeling_bert import BertEmbeddings, BertLayer

        super().__init__()

        def layer(reads_image: bool) -> nn.Module:
            config = BertConfig(
                vocab_size=sizes.vocabulary,
                hidden_size=sizes.width,
                num_attention_heads=sizes.heads,
                intermediate_size=sizes.width * sizes.mlp_ratio,
                max_position_embeddings=sizes.positions,
                layer_norm_eps=1e-12,
                is_decoder=reads_image,  # what transformers asks of a layer with cross-attention
                add_cross_attention=reads_image,
            )
            return BertLayer(config)

        config = BertConfig(
            vocab_size=sizes.vocabulary,
            hidden_size=sizes.width,
            max_position_embeddings=sizes.positions,
            layer_norm_eps=1e-12,
        )
        self.embeddings = BertEmbeddings(config)
        self.layers = nn.ModuleList(
            layer(number >= sizes.fusion_layer) for number in range(sizes.text_layers)
        )


def _initialise(module: nn.Module) -> None:
    """BERT's and ALBEF's own start: normal, of deviation 0.02."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def read_architecture(architecture: Mapping[str, Any]) -> AlbefArchitecture:
    """The published sizes, but for those that are given.

    Raises:
        VlgroundError: If there is no such size, or a value is impossible.
    """
    names = [field.name for field in fields(AlbefArchitecture)]
    for name, value in architecture.items():
        if name not in names:
            raise VlgroundError(f"model.architecture.{name}: expected one of {', '.join(names)}")
        if not isinstance(value, int) or value < (0 if name == "fusion_layer" else 1):
            raise VlgroundError(f"model.architecture.{name}={value}: expected a whole number > 0")
    sizes = AlbefArchitecture(**architecture)
    if sizes.width % sizes.heads:
        raise VlgroundError(f"model.architecture.width={sizes.width}: no multiple of its heads")
    if sizes.fusion_layer >= sizes.text_layers:
        told = f"expected less than text_layers={sizes.text_layers}"
        raise VlgroundError(f"model.architecture.fusion_layer={sizes.fusion_layer}: {told}")
    return sizes
