"""What BLIP-ITM and ALBEF have in common: a text is read beside an image, and matches it or not.

pixels ─ patches ─ vision blocks ─┐ image tokens, once an image
text ─── words ─── text layers ───┴── first token ── head ── (no match, match)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vlground.contracts import Encoded, Scorer, TargetLayer
from vlground.errors import VlgroundError
from vlground.models.attention import CrossAttention, SelfAttention, VisionAttention, share_image
from vlground.models.bert_text import BertTokens
from vlground.preprocess import Preprocess

Target = Literal["match_logit", "margin"]


@dataclass(frozen=True, eq=False)
class Parts:
    """The modules of a matching network, in the order in which they run.

    Attributes:
        patches: Pixels `(b, 3, size, size)` to `(b, 1 + patches, width)`, a class token first.
        blocks: Vision layers.
        attentions: Their attention, in the same order.
        norm: Of the vision tower's output.
        words: Ids `(q, t)` to `(q, t, text width)`.
        layers: BERT's layers, as transformers builds them.
        fusion: The first of them that reads the image.
        heads: Attention heads of the layers.
        head: From the first token to the logits of no match and of match.
        patch: Side of a patch in pixels.
    """

    patches: nn.Module
    blocks: Sequence[nn.Module]
    attentions: Sequence[VisionAttention]
    norm: nn.Module
    words: nn.Module
    layers: Sequence[Any]
    fusion: int
    heads: int
    head: nn.Module
    patch: int


class ImageTextMatching(Scorer):
    """A scorer of how well a text matches an image.

    Its target layers are, from input to output, `vision.K` (with `vision_attention`), and of each
    text layer `text.K` (its self-attention) and `crossattention.K`.

    Args:
        network: Holds all weights; frozen and put in eval mode.
        parts: Its modules.
        tokens: The vocabulary.
        preprocess: From the original image to `pixels`.
        layer: The text layer, from 0, whose cross-attention CAMs take; None: the last one.
        target: What a text's score is: match_logit, as LAVIS and ALBEF differentiate it, or
            margin, which is the match logit minus the other.
        vision_attention: Whether vision layers are target layers too. The image is then encoded up
            to its patches only, and the vision tower runs once a text.

    Raises:
        VlgroundError: If an option does not fit the network.
    """

    def __init__(
        self,
        network: nn.Module,
        parts: Parts,
        tokens: BertTokens,
        preprocess: Preprocess,
        layer: int | None,
        target: Target,
        vision_attention: bool,
    ) -> None:
        super().__init__()
        first, last, size = parts.fusion, len(parts.layers) - 1, preprocess.size
        if layer is not None and not first <= layer <= last:
            raise VlgroundError(f"model.layer={layer}: expected {first} to {last}")
        if target not in get_args(Target):
            raise VlgroundError(f"model.target={target}: expected match_logit or margin")
        if size % parts.patch:
            told = f"expected a multiple of the patches' {parts.patch}"
            raise VlgroundError(f"model.preprocess.size={size}: {told}")
        self.preprocess = preprocess
        self.tokens = tokens
        self.target = target
        self.vision_attention = vision_attention
        self.parts = parts
        grid = (size // parts.patch, size // parts.patch)
        self.target_layers = (
            *(_vision_targets(parts, grid) if vision_attention else ()),
            *_text_targets(parts, grid, layer, tokens.end_token),
        )
        self.network = network.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write weights and vocabulary as the class reads them, in half precision."""
        raise NotImplementedError

    def encode(self, pixels: Tensor) -> Encoded:
        """Run the vision tower, or with `vision_attention` embed the patches (see the base)."""
        patches = self.parts.patches(pixels)
        return Encoded(pixels, patches if self.vision_attention else self._see(patches))

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """Match texts with images (see the base class)."""
        logits = self.logits(encoded, texts, owner)
        return logits[:, 1] - logits[:, 0] if self.target == "margin" else logits[:, 1]

    def match(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """Probabilities that the texts match (see the base class)."""
        return self.logits(encoded, texts, owner).softmax(dim=-1)[:, 1]

    def logits(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """`(q, 2)` logits of no match and of match; arguments as of `score`."""
        image = encoded.features
        ids, mask = (tensor.to(image.device) for tensor in self.tokens.tokenize(texts))
        owner = owner.to(image.device)
        if self.vision_attention:  # a graph of its own for every text
            image, owner = self._see(image[owner]), torch.arange(len(ids), device=image.device)
        share_image(self, owner, len(image))
        for target in self.target_layers:
            if target.kind != "self_attention":
                target.token_mask = mask
        hidden = self.parts.words(ids)
        padding = hidden.new_zeros(mask.shape).masked_fill(~mask, float("-inf"))[:, None, None]
        for layer in self.parts.layers:
            hidden = layer(hidden, attention_mask=padding, encoder_hidden_states=image)
        return self.parts.head(hidden[:, 0])

    def knows(self, text: str) -> bool:
        """Whether some word that is read is in the vocabulary."""
        return self.tokens.knows(text)

    def truncated(self, text: str) -> str | None:
        """See the base class."""
        return self.tokens.truncated(text)

    def _see(self, patches: Tensor) -> Tensor:
        for block in self.parts.blocks:
            patches = block(patches)
        return self.parts.norm(patches)


def clip_preprocess(size: int) -> Preprocess:
    """The squash to a square, with CLIP's mean and deviation, of BLIP and ALBEF."""
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return Preprocess(size=size, mean=mean, std=std)


def check_vocabulary(tokens: BertTokens, words: int) -> None:
    """Make sure that a network embeds every id of a vocabulary.

    Raises:
        VlgroundError: If the vocabulary is another model's.
    """
    if len(tokens.vocabulary) > words:
        told = f"has {len(tokens.vocabulary)} tokens, but the model knows {words}"
        raise VlgroundError(f"model.tokenizer: {told}")


def _vision_targets(parts: Parts, grid: tuple[int, int]) -> list[TargetLayer]:
    cells = torch.arange(1 + grid[0] * grid[1]) > 0
    targets = []
    for number, attention in enumerate(parts.attentions):
        tap = attention.read()
        targets.append(TargetLayer(f"vision.{number}", tap, "self_attention", grid, cells))
    return targets


def _text_targets(
    parts: Parts, grid: tuple[int, int], chosen: int | None, end_token: bool
) -> list[TargetLayer]:
    """Put attention that can be read in the place of the layers' own."""
    targets = []
    for number, layer in enumerate(parts.layers):
        own = SelfAttention(layer.attention.self, parts.heads)
        layer.attention.self = own
        targets.append(TargetLayer(f"text.{number}", own.tap, "text_attention", grid))
        if number >= parts.fusion:
            cross = CrossAttention(layer.crossattention.self, parts.heads)
            layer.crossattention.self = cross
            name = f"crossattention.{number}"
            target = TargetLayer(name, cross.tap, "cross_attention", grid)
            target.default = number == chosen
            targets.append(target)
    for target in targets:
        target.end_token = end_token
    return targets
