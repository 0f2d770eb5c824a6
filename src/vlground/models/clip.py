"""CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020) of open_clip.

pixels ─ vision tower ─ image feature ┐
                                      cosine × exp(logit scale)
text ─── text tower ─── text feature ─┘
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vlground.contracts import Encoded, Scorer, TargetLayer
from vlground.errors import VlgroundError
from vlground.models.attention import VisionAttention
from vlground.models.checkpoint import load_checkpoint, save_weights
from vlground.preprocess import Preprocess

if TYPE_CHECKING:
    from open_clip import CLIP, SimpleTokenizer
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.transformer import VisionTransformer


class ClipScorer(Scorer):
    """The logit of CLIP, with the numbers of open_clip.

    Of a ResNet the target layer is `layer4`, the feature map before attention pooling. Of a ViT it
    is `layer_norm1`, the tokens as the last block normalises them for its attention, after which
    the class token reads no other; with `vision_attention` also every `vision.K`.

    Args:
        architecture: open_clip's name of a ResNet or ViT beside CLIP's own text tower, or its
            configuration. OpenAI's weights were trained with QuickGELU: `RN50x16-quickgelu`.
        pretrained: open_clip's tag of weights, from the hub or its cache. None: a checkpoint's, or
            random ones, drawn from torch's global generator.
        checkpoint: A file of weights, see `load_checkpoint`.
        tokenizer: A gzipped file of byte pair merges as open_clip reads it; None: CLIP's own.
        prompt: What is read for a text, which takes the place of `{}`.
        vision_attention: Whether a ViT's attention can be read too. The image is then encoded up to
            its patches only, and the vision tower runs once a text.
        preprocess: None: the squash to the model's size, with the mean and deviation of its
            weights.

    Raises:
        VlgroundError: If an option does not fit.
    """

    def __init__(
        self,
        architecture: str | Mapping[str, Any],
        pretrained: str | None = None,
        checkpoint: str | None = None,
        tokenizer: str | None = None,
        prompt: str = "{}",
        vision_attention: bool = False,
        preprocess: Preprocess | None = None,
    ) -> None:
        super().__init__()
        if pretrained is not None and checkpoint is not None:
            raise VlgroundError("model.checkpoint: needs model.pretrained=null")
        self.prompt = check_prompt(prompt)
        if pretrained is not None and not isinstance(architecture, str):
            raise VlgroundError(f"model.pretrained={pretrained}: model.architecture is no name")
        network = _build(architecture)
        self.tokenizer = _tokenizer(tokenizer, network)
        own = _own_preprocess(network, architecture, pretrained)
        self.preprocess = check_size(preprocess or own, own.size)
        if pretrained is not None:
            _download(network, str(architecture), pretrained)
        elif checkpoint is not None:
            load_checkpoint(network, checkpoint)
        self.network = network.eval().requires_grad_(False)
        self.tower = _tower(network.visual, vision_attention)
        self.target_layers = self.tower.targets

    def encode(self, pixels: Tensor) -> Encoded:
        """Run the vision tower up to its earliest target layer (see the base class)."""
        return Encoded(pixels, self.tower.below(pixels))

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """exp(logit scale) × cosine of image and text (see the base class)."""
        features = encoded.features
        image = self.tower.above(features[owner.to(features.device)])
        cosine = nn.functional.cosine_similarity(image, self._read(texts, features.device))
        return self.network.logit_scale.exp() * cosine

    def scores_of_all(self, encoded: Encoded, texts: Sequence[str]) -> Tensor:
        """Scores `(b, q)` of every text against every image; what contrastive training needs."""
        image = nn.functional.normalize(self.tower.above(encoded.features), dim=-1)
        text = nn.functional.normalize(self._read(texts, image.device), dim=-1)
        return self.network.logit_scale.exp() * image @ text.T

    def save(self, folder: Path) -> None:
        """Write the weights as `checkpoint` reads them, in half precision."""
        save_weights(self.network, folder / "model.safetensors")

    def knows(self, text: str) -> bool:
        """Whether there is anything to read."""
        return bool(self.tokenizer.encode(text))

    def truncated(self, text: str) -> str | None:
        """What is read of a prompt that is too long, in lower case (see the base class)."""
        tokens = self.tokenizer.encode(self.prompt.replace("{}", text))
        room = self.tokenizer.context_length - 2  # beside the start and the end of the text
        return self.tokenizer.decode(tokens[:room]).strip() if len(tokens) > room else None

    def _read(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """Features `(q, width)`; each different text is read once."""
        place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        ids = self.tokenizer([self.prompt.replace("{}", text) for text in place])
        # No text token looks ahead, so what comes after the ends of all texts can be left out.
        ends = ids.argmax(dim=1).to(device)  # the end has the highest id
        length = int(ends.max()) + 1
        network = self.network
        hidden = network.token_embedding(ids[:, :length].to(device))
        hidden = hidden + network.positional_embedding[:length]
        hidden = network.transformer(hidden, attn_mask=network.attn_mask[:length, :length])
        hidden = network.ln_final(hidden)[torch.arange(len(ids), device=device), ends]
        return (hidden @ network.text_projection)[[place[text] for text in texts]]


class _ResNet:
    """A ResNet of CLIP, cut after its last feature map."""

    def __init__(self, visual: "ModifiedResNet") -> None:
        self._visual = visual
        self._tap = nn.Identity()
        grid = (visual.image_size // 32, visual.image_size // 32)
        self.targets: tuple[TargetLayer, ...] = (
            TargetLayer("layer4", self._tap, "features", grid),
        )

    def below(self, pixels: Tensor) -> Tensor:
        visual = self._visual
        stages = (visual.stem, visual.layer1, visual.layer2, visual.layer3, visual.layer4)
        for stage in stages:
            pixels = stage(pixels)
        return pixels

    def above(self, features: Tensor) -> Tensor:
        return self._visual.attnpool(self._tap(features))


class _Transformer:
    """A ViT of CLIP, cut before its last block, or with `attention` before the first."""

    def __init__(self, visual: "VisionTransformer", attention: bool) -> None:
        self._visual = visual
        blocks = list(visual.transformer.resblocks)
        self._cut = 0 if attention else len(blocks) - 1
        grid = tuple(visual.grid_size)
        cells = torch.arange(1 + grid[0] * grid[1]) > 0
        targets = []
        for number, block in enumerate(blocks):
            if number == len(blocks) - 1:
                name = "layer_norm1"
                targets.append(TargetLayer(name, block.ln_1, "features", grid, cells))
            if attention:
                block.attn = _Attention(block.attn)
                tap = block.attn.inner.read()
                name = f"vision.{number}"
                targets.append(TargetLayer(name, tap, "self_attention", grid, cells))
        self.targets: tuple[TargetLayer, ...] = tuple(targets)

    def below(self, pixels: Tensor) -> Tensor:
        hidden = self._visual._embeds(pixels)
        for block in self._visual.transformer.resblocks[: self._cut]:
            hidden = block(hidden)
        return hidden

    def above(self, features: Tensor) -> Tensor:
        for block in self._visual.transformer.resblocks[self._cut :]:
            features = block(features)
        pooled, _ = self._visual._pool(features)
        return pooled @ self._visual.proj


class _Attention(nn.Module):
    """Attention that can be read, in the place of torch's, for which it is called."""

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        width = original.embed_dim
        qkv = nn.Linear(width, 3 * width, device="meta")
        assert original.in_proj_weight is not None
        qkv.weight, qkv.bias = original.in_proj_weight, original.in_proj_bias
        self.inner = VisionAttention(qkv, original.out_proj, original.num_heads)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool, attn_mask: None
    ) -> tuple[Tensor, None]:
        return self.inner(query)


def check_prompt(prompt: str) -> str:
    """Make sure that a prompt has one place for the text.

    Raises:
        VlgroundError: If it has none, or several.
    """
    if prompt.count("{}") != 1:
        raise VlgroundError(f"model.prompt={prompt}: expected one {{}}, the place of the text")
    return prompt


def check_size(preprocess: Preprocess, size: int) -> Preprocess:
    """Make sure that a model gets images of its own size.

    Raises:
        VlgroundError: If it would not.
    """
    if preprocess.size != size:
        raise VlgroundError(f"model.preprocess.size={preprocess.size}: the model's is {size}")
    return preprocess


def _build(architecture: str | Mapping[str, Any]) -> "CLIP":
    """The network, of random weights."""
    import open_clip

    option = f"model.architecture={architecture}"
    if isinstance(architecture, str):
        known = open_clip.list_models()
        if architecture not in known:
            near = ", ".join(difflib.get_close_matches(architecture, known)) or ", ".join(known)
            raise VlgroundError(f"{option}: open_clip has none of this name; near are {near}")
        config = open_clip.get_model_config(architecture)
    else:
        config = dict(architecture)
    others = {"timm_model_name", "hf_model_name", "hf_tokenizer_name", "multimodal_cfg"}
    others |= {"init_logit_bias", "nonscalar_logit_scale"}  # the score would be another one
    if {"custom_text", *others} & {
        *config,
        *config.get("vision_cfg", ()),
        *config.get("text_cfg", ()),
    }:
        told = "only ResNets and ViTs of open_clip itself, with CLIP's text tower, can be read"
        raise VlgroundError(f"{option}: {told}")
    try:
        return open_clip.CLIP(**config)
    except (TypeError, ValueError) as error:  # of a name or a value in a user's configuration
        raise VlgroundError(f"{option}: {_line(error)}") from error


def _tokenizer(file: str | None, network: "CLIP") -> "SimpleTokenizer":
    import open_clip

    if file is None:
        tokenizer = open_clip.SimpleTokenizer(context_length=network.context_length)
    else:
        try:
            tokenizer = open_clip.SimpleTokenizer(file, context_length=network.context_length)
        except (OSError, ValueError, EOFError) as error:
            told = f"no gzipped file of merges: {_line(error)}"
            raise VlgroundError(f"model.tokenizer={file}: {told}") from error
    if tokenizer.vocab_size != network.vocab_size:
        told = f"has {tokenizer.vocab_size} tokens, the network knows {network.vocab_size}"
        raise VlgroundError(f"model.tokenizer={file or 'null'}: {told}")
    return tokenizer


def _own_preprocess(
    network: "CLIP", architecture: str | Mapping[str, Any], pretrained: str | None
) -> Preprocess:
    """The squash with the mean and deviation of a tag's weights; without one CLIP's."""
    import open_clip

    size, tag = network.visual.image_size, {}
    if pretrained is not None:
        tag = open_clip.get_pretrained_cfg(str(architecture), pretrained)
    mean = tag.get("mean") or open_clip.OPENAI_DATASET_MEAN
    std = tag.get("std") or open_clip.OPENAI_DATASET_STD
    side = size if isinstance(size, int) else size[0]
    return Preprocess(size=side, mean=mean, std=std)


def _download(network: nn.Module, architecture: str, tag: str) -> None:
    """Fill a network with open_clip's weights of this tag."""
    import open_clip

    option = f"model.pretrained={tag}"
    known = open_clip.get_pretrained_cfg(architecture, tag)
    if not known:
        offered = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
        raise VlgroundError(f"{option}: open_clip's weights of {architecture} are {offered}")
    quick = open_clip.get_model_config(architecture).get("quick_gelu", False)
    if known.get("quick_gelu", False) != quick:  # open_clip only warns, and scores differently
        other = architecture.removesuffix("-quickgelu") if quick else f"{architecture}-quickgelu"
        told = f"trained with another activation: take model.architecture={other}"
        raise VlgroundError(f"{option}: {told}")
    try:
        file = open_clip.download_pretrained(known)
    except Exception as error:  # of whatever carries it
        told = f"not in the hub's cache, and could not be fetched: {_line(error)}"
        raise VlgroundError(f"{option}: {told}; model.checkpoint=FILE reads yours") from error
    try:
        open_clip.load_checkpoint(network, file, weights_only=True)
    except Exception as error:  # every reader has its own for a damaged file
        raise VlgroundError(f"{option}: {file} cannot be read: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _tower(visual: nn.Module, attention: bool) -> _ResNet | _Transformer:
    from open_clip.modified_resnet import ModifiedResNet

    if not isinstance(visual, ModifiedResNet):
        return _Transformer(visual, attention)
    if attention:
        raise VlgroundError("model.vision_attention=true: a ResNet has none")
    return _ResNet(visual)
