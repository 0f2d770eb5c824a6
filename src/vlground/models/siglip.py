"""SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343) of transformers, and SigLIP 2.

A pair of image and text is decided by itself: σ(scale × cosine + bias) is the probability that they
belong together.
"""

import string
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from vlground.contracts import Encoded, Scorer, TargetLayer
from vlground.errors import VlgroundError
from vlground.models.attention import VisionAttention
from vlground.models.clip import check_prompt
from vlground.models.pretrained import load_pretrained, load_tokenizer
from vlground.preprocess import Preprocess

if TYPE_CHECKING:
    from transformers import SiglipModel

Cleaning = Literal["canonicalize", "none"]


class SiglipScorer(Scorer):
    """The logit of SigLIP, with the numbers of transformers' `SiglipModel`.

    Its target layers are, from input to output, `vision.K` (with `vision_attention`) and
    `post_layernorm`, the image's tokens before they are pooled by attention; there is no class
    token.

    Args:
        pretrained: Name on the hub, or a folder that `save_pretrained` wrote; of SigLIP 2 the
            models of one resolution. None: random weights of `architecture`, drawn from torch's
            global generator.
        architecture: Arguments of transformers' `SiglipConfig`; read only without `pretrained`.
        tokenizer: Name on the hub, or a folder; None: beside the weights.
        revision: Commit on the hub; without one the weights may change behind your back.
        cleaning: canonicalize, as both were trained: see there; or none.
        prompt: What is read for a text, which takes the place of `{}`.
        vision_attention: Whether the image tower's attention can be read too. The image is then
            encoded up to its patches only, and the tower runs once a text.
        preprocess: None: the squash to the model's size. At another size its position embeddings
            are interpolated.

    Raises:
        VlgroundError: If an option does not fit.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        tokenizer: str | None = None,
        revision: str | None = None,
        cleaning: Cleaning = "canonicalize",
        prompt: str = "{}",
        vision_attention: bool = False,
        preprocess: Preprocess | None = None,
    ) -> None:
        super().__init__()
        if cleaning not in get_args(Cleaning):
            raise VlgroundError(f"model.cleaning={cleaning}: expected canonicalize or none")
        self.cleaning = cleaning
        self.prompt = check_prompt(prompt)
        network = _load(pretrained, revision) if pretrained else _random(architecture)
        self.network = network.eval().requires_grad_(False)
        at = revision if tokenizer is None else None
        self.tokenizer = load_tokenizer(tokenizer or pretrained, at)
        text, vision = network.config.text_config, network.config.vision_config
        if len(self.tokenizer) > text.vocab_size:
            told = f"has {len(self.tokenizer)} tokens, but the model knows {text.vocab_size}"
            raise VlgroundError(f"model.tokenizer: {told}")
        self.context = text.max_position_embeddings
        half = (0.5, 0.5, 0.5)
        own = Preprocess(size=vision.image_size, mean=half, std=half)
        self.preprocess = own if preprocess is None else preprocess
        cells, rest = divmod(self.preprocess.size, vision.patch_size)
        if rest:
            told = f"expected a multiple of the patches' {vision.patch_size}"
            raise VlgroundError(f"model.preprocess.size={self.preprocess.size}: {told}")
        self.vision_attention = vision_attention
        tower, grid = network.vision_model, (cells, cells)
        attention = _readable(network, grid) if vision_attention else []
        last = TargetLayer("post_layernorm", tower.post_layernorm, "features", grid)
        self.target_layers = (*attention, last)

    def encode(self, pixels: Tensor) -> Encoded:
        """Run the image tower, or with `vision_attention` embed the patches (see the base)."""
        embed = self.network.vision_model.embeddings
        patches = embed(pixels, interpolate_pos_encoding=True)
        return Encoded(pixels, patches if self.vision_attention else self._see(patches))

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """exp(scale) × cosine + bias (see the base class)."""
        network, tower = self.network, self.network.vision_model
        hidden = encoded.features[owner.to(encoded.features.device)]
        hidden = self._see(hidden) if self.vision_attention else hidden
        image = tower.head(tower.post_layernorm(hidden))
        cosine = nn.functional.cosine_similarity(image, self._read(texts, image.device))
        return network.logit_scale.exp() * cosine + network.logit_bias

    def match(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """Probabilities that the texts fit (see the base class)."""
        return self.score(encoded, texts, owner).sigmoid()

    def knows(self, text: str) -> bool:
        """Whether some word that is read is in the vocabulary."""
        clean = canonicalize(text) if self.cleaning == "canonicalize" else text.strip()
        ids = self.tokenizer(clean, add_special_tokens=False).input_ids if clean else []
        return any(token != self.tokenizer.unk_token_id for token in ids)

    def truncated(self, text: str) -> str | None:
        """See the base class."""
        written = self._write(text)
        if len(self.tokenizer(written).input_ids) <= self.context:
            return None
        read = self.tokenizer(written, truncation=True, max_length=self.context).input_ids
        return self.tokenizer.decode(read, skip_special_tokens=True)

    def _write(self, text: str) -> str:
        prompt = self.prompt.replace("{}", text)
        return canonicalize(prompt) if self.cleaning == "canonicalize" else prompt

    def _read(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """Features `(q, width)`; each different text is read once."""
        place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        # The last token is read, so padding is part of the text, and is attended to.
        ids = self.tokenizer(
            [self._write(text) for text in place],
            padding="max_length",
            truncation=True,
            max_length=self.context,
            return_tensors="pt",
        ).input_ids.to(device)
        features = self.network.text_model(input_ids=ids).pooler_output
        return features[[place[text] for text in texts]]

    def _see(self, hidden: Tensor) -> Tensor:
        for layer in self.network.vision_model.encoder.layers:
            hidden = layer(hidden, None)
        return hidden


def canonicalize(text: str) -> str:
    """Clean a text as big_vision does for SigLIP: lower case, no punctuation, single spaces.

    >>> canonicalize("The man's  half_open 'hat'!")
    'the mans half open hat'
    """
    text = text.replace("_", " ").translate(str.maketrans("", "", string.punctuation))
    return " ".join(text.lower().split())


def _readable(network: "SiglipModel", grid: tuple[int, int]) -> list[TargetLayer]:
    """Put attention that can be read in the place of the image tower's."""
    targets = []
    for number, layer in enumerate(network.vision_model.encoder.layers):
        own = layer.self_attn
        parts = (own.q_proj, own.k_proj, own.v_proj)
        qkv = nn.Linear(own.embed_dim, 3 * own.embed_dim, device="meta")
        qkv.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
        qkv.bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)
        layer.self_attn = VisionAttention(qkv, own.out_proj, own.num_heads)
        tap = layer.self_attn.read()
        targets.append(TargetLayer(f"vision.{number}", tap, "self_attention", grid))
    return targets


def _load(pretrained: str, revision: str | None) -> "SiglipModel":
    from transformers import SiglipModel

    network: SiglipModel = load_pretrained(SiglipModel, "SigLIP", pretrained, revision)
    return network


def _random(architecture: Mapping[str, Any] | None) -> "SiglipModel":
    from transformers import SiglipConfig, SiglipModel

    if architecture is None:
        raise VlgroundError("model.pretrained=null: needs model.architecture")
    return SiglipModel(SiglipConfig(**architecture))
