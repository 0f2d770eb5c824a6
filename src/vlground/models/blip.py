"""BLIP image-text matching (Li et al. 2022, https://arxiv.org/abs/2201.12086) of transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from vlground.errors import VlgroundError
from vlground.models.attention import VisionAttention
from vlground.models.bert_text import BertTokens, Cleaning
from vlground.models.matching import (
    ImageTextMatching,
    Parts,
    Target,
    check_vocabulary,
    clip_preprocess,
)
from vlground.models.pretrained import load_pretrained
from vlground.preprocess import Preprocess

if TYPE_CHECKING:
    from transformers import BlipForImageTextRetrieval


class BlipMatching(ImageTextMatching):
    """BLIP-ITM, with the numbers of transformers' `BlipForImageTextRetrieval`.

    Args:
        pretrained: Name on the hub, or a folder that `save` or `save_pretrained` wrote. None:
            random weights of `architecture`, drawn from torch's global generator.
        architecture: Arguments of transformers' `BlipConfig`; read only without `pretrained`.
        tokenizer: See `BertTokens`; None: beside the weights.
        revision: Commit on the hub; without one the weights may change behind your back.
        layer: See `ImageTextMatching`.
        context: Longest text in tokens; LAVIS reads 35 of them.
        enc_token_id: LAVIS puts its token [ENC] in the place of [CLS] to match, which transformers
            leaves to its user. None: [CLS] stays.
        cleaning: See `BertTokens`.
        max_words: See `BertTokens`.
        target: See `ImageTextMatching`.
        vision_attention: See `ImageTextMatching`.
        preprocess: None: the squash of CLIP's mean and deviation to the model's size. At another
            size its position embeddings are interpolated.

    Raises:
        VlgroundError: If an option does not fit.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        tokenizer: str | None = None,
        revision: str | None = None,
        layer: int | None = 6,
        context: int = 35,
        enc_token_id: int | None = 30523,
        cleaning: Cleaning = "none",
        max_words: int | None = None,
        target: Target = "match_logit",
        vision_attention: bool = False,
        preprocess: Preprocess | None = None,
    ) -> None:
        network = _load(pretrained, revision) if pretrained else _random(architecture)
        beside = tokenizer or pretrained
        if beside is None:
            raise VlgroundError("model.tokenizer=null: random weights have none beside them")
        text, vision = network.config.text_config, network.config.vision_config
        if context > text.max_position_embeddings:
            told = f"the model reads {text.max_position_embeddings} tokens"
            raise VlgroundError(f"model.context={context}: {told}")
        if enc_token_id is not None and not 0 <= enc_token_id < text.vocab_size:
            told = f"the model knows {text.vocab_size} tokens"
            raise VlgroundError(f"model.enc_token_id={enc_token_id}: {told}")
        at = revision if tokenizer is None else None
        tokens = BertTokens(beside, context, cleaning, max_words, enc_token_id, revision=at)
        check_vocabulary(tokens, text.vocab_size)
        own = clip_preprocess(vision.image_size) if preprocess is None else preprocess
        super().__init__(network, _parts(network), tokens, own, layer, target, vision_attention)

    def save(self, folder: Path) -> None:
        """Write weights in half precision, and the vocabulary, as transformers reads them."""
        state = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in self.network.state_dict().items()
        }
        network: Any = self.network
        network.save_pretrained(folder, state_dict=state)
        self.tokens.save(folder)


class _Patches(nn.Module):
    """Embeds patches; at another size than the model's own its positions are interpolated."""

    def __init__(self, embeddings: nn.Module) -> None:
        super().__init__()
        self.embeddings = embeddings

    def forward(self, pixels: Tensor) -> Tensor:
        return self.embeddings(pixels, interpolate_pos_encoding=True)


def _load(pretrained: str, revision: str | None) -> "BlipForImageTextRetrieval":
    from transformers import BlipForImageTextRetrieval

    network: BlipForImageTextRetrieval
    network = load_pretrained(BlipForImageTextRetrieval, "BLIP", pretrained, revision)
    return network


def _random(architecture: Mapping[str, Any] | None) -> "BlipForImageTextRetrieval":
    from transformers import BlipConfig, BlipForImageTextRetrieval

    if architecture is None:
        raise VlgroundError("model.pretrained=null: needs model.architecture")
    # transformers' own deviation of 1e-10 leaves an image tower in which nothing can be seen.
    vision = {"initializer_range": 0.02, **architecture.get("vision_config", {})}
    config = BlipConfig(**{**architecture, "vision_config": vision})
    return BlipForImageTextRetrieval(config)


def _parts(network: "BlipForImageTextRetrieval") -> Parts:
    """Put attention that can be read in the place of the vision tower's, and name the parts."""
    vision, text = network.vision_model, network.text_encoder
    attentions = []
    for block in vision.encoder.layers:
        own = block.self_attn
        block.self_attn = VisionAttention(own.qkv, own.projection, own.num_heads)
        attentions.append(block.self_attn)
    return Parts(
        patches=_Patches(vision.embeddings),
        blocks=list(vision.encoder.layers),
        attentions=attentions,
        norm=vision.post_layernorm,
        words=text.embeddings,
        layers=list(text.encoder.layer),
        fusion=0,
        heads=network.config.text_config.num_attention_heads,
        head=network.itm_head,
        patch=network.config.vision_config.patch_size,
    )
