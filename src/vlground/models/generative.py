"""LLaVA-type models (Liu et al. 2023, https://arxiv.org/abs/2304.08485) of transformers.

pixels ─ vision tower ─ projector ┐
prompt up to the image ───────────┴─ prefix, once an image ┐
question, text ────────────────────────────────────────────┴─ log-probability of an answer
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vlground.contracts import Encoded, Scorer, TargetLayer
from vlground.errors import VlgroundError
from vlground.models.attention import find_places
from vlground.models.generative_attention import Suffix, run_suffix
from vlground.models.generative_network import (
    load_network,
    pixel_statistics,
    random_network,
)
from vlground.models.generative_prompt import Asked, Prompt
from vlground.models.pretrained import load_tokenizer
from vlground.preprocess import Preprocess

Target = Literal["answer_log_probability", "margin", "text_log_probability"]
Dtype = Literal["float32", "bfloat16", "float16"]

QUESTION = 'USER: <image>\nDoes this figure show "{}"? Please answer yes or no. ASSISTANT:'


class GenerativeScorer(Scorer):
    """The log-probability of an answer, with the numbers of `LlavaForConditionalGeneration`.

    Its target layers are, from input to output, `projector` (with `features`), the image tokens
    that the language model reads, and of each of its layers `crossattention.K`: the attention from
    text to image tokens inside its self-attention. The first token of those is the one from which
    the answer is predicted, as [CLS] is in BLIP; the others are the text's own. In the last layer
    only the first one reaches an answer. Attention among text tokens is not offered, so generic
    attention and rollout keep the identity for it.

    An image is kept as keys and values of every layer: of LLaVA-1.5 7B 2 × 32 × 4096 numbers a
    token, 1 MiB in float32.

    Args:
        pretrained: Name on the hub, or a folder that `save_pretrained` wrote. None: random weights
            of `architecture`, drawn from torch's global generator.
        architecture: Arguments of transformers' `LlavaConfig`; read only without `pretrained`. The
            vision tower is CLIP's or SigLIP's, the language model Llama or Qwen2.
        tokenizer: Name on the hub, or a folder; None: beside the weights.
        revision: Commit on the hub; without one the weights may change behind your back.
        prompt: What is read: `<image>`, and after it `{}`, the place of the text. With
            text_log_probability there is no `{}`: the text follows the prompt.
        answers: What stands for yes and no, each one token after the prompt, see `Prompt`.
        target: What a text's score is. answer_log_probability: log P(yes | image, prompt), the
            logarithm of VQAScore (Lin et al. 2024, https://arxiv.org/abs/2404.01291). margin:
            log P(yes) - log P(no) (ours). text_log_probability: the mean of the log-probabilities
            of the text's tokens, each after those before it (ours).
        layer: The language layer, from 0, whose attention CAMs take. None: the middle one, of 32
            the seventeenth (ours): through the middle layers flows most of what text learns of
            the image (Kaduri et al. 2024, https://arxiv.org/abs/2411.17491); which grounds best is
            open.
        context: Longest text in tokens.
        dtype: Of weights and prefixes: float32, bfloat16 or float16. Attention that is read, and
            scores, are float32.
        features: Whether the projector's output can be read too. The image is then encoded up to
            there only, and the language model reads prompt and image once a text.
        preprocess: None: the squash to the model's size, so that all of a photo is seen; LLaVA's
            own pads it to a square, and transformers' processor crops it. At another size the
            vision tower's positions are interpolated.

    Raises:
        VlgroundError: If an option does not fit.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        tokenizer: str | None = None,
        revision: str | None = None,
        prompt: str = QUESTION,
        answers: Sequence[str] = ("Yes", "No"),
        target: Target = "answer_log_probability",
        layer: int | None = None,
        context: int = 64,
        dtype: Dtype = "float32",
        features: bool = False,
        preprocess: Preprocess | None = None,
    ) -> None:
        super().__init__()
        _check("target", target, get_args(Target))
        _check("dtype", dtype, get_args(Dtype))
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.network = (
            load_network(pretrained, revision, self.dtype)
            if pretrained
            else random_network(architecture, self.dtype)
        )
        self.network.eval().requires_grad_(False)
        config = self.network.config
        text, vision = config.text_config, config.vision_config
        at = revision if tokenizer is None else None
        tokens = load_tokenizer(tokenizer or pretrained, at)
        if len(tokens) > text.vocab_size:
            told = f"has {len(tokens)} tokens, but the model knows {text.vocab_size}"
            raise VlgroundError(f"model.tokenizer: {told}")
        self.target = target
        self.prompt = Prompt(tokens, prompt, target == "text_log_probability", context)
        self.answers = _answers(self.prompt, answers) if target != "text_log_probability" else []
        patch, (mean, std) = vision.patch_size, pixel_statistics(vision.model_type)
        own = Preprocess(size=vision.image_size // patch * patch, mean=mean, std=std)
        self.preprocess = own if preprocess is None else preprocess
        side, rest = divmod(self.preprocess.size, patch)
        if rest:
            told = f"expected a multiple of the patches' {patch}"
            raise VlgroundError(f"model.preprocess.size={self.preprocess.size}: {told}")
        longest = self.prompt.length + _class_token(config) + side * side
        room = text.max_position_embeddings
        if longest > room:
            told = f"with the prompt and the image {longest} tokens, but the model reads {room}"
            raise VlgroundError(f"model.context={context}: {told}")
        self.features = features
        self.projected = nn.Identity()
        self.taps = nn.ModuleList(nn.Identity() for _ in range(text.num_hidden_layers))
        self.target_layers = _targets(self, (side, side), layer)

    def encode(self, pixels: Tensor) -> Encoded:
        """Run vision tower, projector and the language model up to the image (see the base).

        `Encoded.features` are keys and values, `(b, layers, 2, key-value heads, p, head size)`;
        with the option `features` what the projector gives, `(b, n, width)`.
        """
        found = self.network.model.get_image_features(
            pixels.to(self.dtype), interpolate_pos_encoding=True
        )
        image = torch.stack(tuple(found.pooler_output))
        return Encoded(pixels, image if self.features else self._prefix(image))

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """A log-probability, or a difference of two (see the base class)."""
        asked = self.prompt.read(texts)
        logits = self._predict(encoded, asked, owner)
        if self.target == "text_log_probability":
            return _mean_log_probability(logits, asked)
        logits = logits[:, 0]
        yes, no = self.answers
        if self.target == "margin":
            return logits[:, yes] - logits[:, no]
        return logits.log_softmax(dim=-1)[:, yes]

    def match(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor | None:
        """P(yes) / (P(yes) + P(no)); None from text_log_probability, which only ranks."""
        if self.target == "text_log_probability":
            return None
        logits = self.answer_logits(encoded, texts, owner)
        return logits[:, self.answers].softmax(dim=-1)[:, 0]

    def answer_logits(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """`(q, vocabulary)` float32 logits of the answer; none from text_log_probability.

        Arguments are as of `score`; the ids of yes and no are `answers`. Prompt and image are read
        once an image, also with the option `features`, whose target layer is not passed.
        """
        prefix = self._prefix(encoded.features) if self.features else encoded.features
        return self._follow(prefix, self.prompt.read(texts), owner)[:, 0]

    def save(self, folder: Path) -> None:
        """Write weights in half precision, and the tokenizer, as transformers reads them."""
        state = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in self.network.state_dict().items()
        }
        network: Any = self.network
        network.save_pretrained(folder, state_dict=state)
        self.prompt.save(folder)

    def knows(self, text: str) -> bool:
        """Whether some token of the text is in the vocabulary."""
        return self.prompt.knows(text)

    def truncated(self, text: str) -> str | None:
        """See the base class."""
        return self.prompt.truncated(text)

    def _predict(self, encoded: Encoded, asked: Asked, owner: Tensor) -> Tensor:
        """`_follow` the prefixes, or with `features` what the projector gives."""
        if not self.features:
            prefix = encoded.features
            if torch.is_grad_enabled() and prefix.is_inference():
                prefix = prefix.clone()  # or the graph could not hold it
            return self._follow(prefix, asked, owner)
        # A graph of its own for every text.
        image = self.projected(encoded.features[owner.to(encoded.features.device)])
        return self._follow(self._prefix(image), asked, torch.arange(len(owner)))

    def _follow(self, prefix: Tensor, asked: Asked, owner: Tensor) -> Tensor:
        """Logits `(q, r, vocabulary)` after the tokens from which something is predicted.

        That is one token, or with text_log_probability those before each of the text's.
        """
        device, language = prefix.device, self.network.model.language_model
        owner = owner.to(device)
        ids, rows = asked.ids.to(device), asked.rows.to(device)
        for target in self.target_layers:
            if target.kind == "cross_attention":
                target.token_mask = asked.token_mask.to(device)
        hidden = language.embed_tokens(ids)
        places = torch.arange(ids.shape[1], device=device)[None] + prefix.shape[-2]
        rotation = language.rotary_emb(hidden, places)
        cells = self.target_layers[-1].grid[0] * self.target_layers[-1].grid[1]
        suffix = Suffix(find_places(owner, len(prefix)), rows, rotation, cells)
        hidden = run_suffix(language, hidden, prefix, suffix, list(self.taps))
        from_token = rows[:, :1]
        if self.target == "text_log_probability":
            from_token = (rows[:, 1:] - 1).clamp(max=ids.shape[1] - 1)
        index = from_token[:, :, None].expand(-1, -1, hidden.shape[-1])
        logits: Tensor = self.network.lm_head(language.norm(hidden.gather(1, index)))
        return logits.float()

    def _prefix(self, image: Tensor) -> Tensor:
        """Keys and values of the prompt up to the image, of image tokens `(b, n, width)`."""
        language = self.network.model.language_model
        ids = torch.tensor([self.prompt.before], dtype=torch.long, device=image.device)
        before = language.embed_tokens(ids).expand(len(image), -1, -1)
        cache = language(
            inputs_embeds=torch.cat([before, image.to(before)], dim=1), use_cache=True
        ).past_key_values
        kept = [torch.stack((layer.keys, layer.values)) for layer in cache.layers]
        # Each layer lies in one piece, so that reading its keys copies nothing.
        return torch.stack(kept).movedim(2, 0)


def _mean_log_probability(logits: Tensor, asked: Asked) -> Tensor:
    words, counts = asked.rows[:, 1:].to(logits.device), asked.token_mask[:, 1:].to(logits.device)
    ids = asked.ids.to(logits.device).gather(1, words.clamp(max=asked.ids.shape[1] - 1))
    each = logits.log_softmax(dim=-1).gather(2, ids[:, :, None])[:, :, 0]
    return each.masked_fill(~counts, 0).sum(dim=1) / counts.sum(dim=1)


def _targets(
    scorer: GenerativeScorer, grid: tuple[int, int], chosen: int | None
) -> tuple[TargetLayer, ...]:
    last = len(scorer.taps) - 1
    if chosen is not None and not 0 <= chosen <= last:
        raise VlgroundError(f"model.layer={chosen}: expected 0 to {last}")
    targets = []
    if scorer.features:
        class_token = _class_token(scorer.network.config)
        cells = torch.arange(1 + grid[0] * grid[1]) > 0 if class_token else None
        target = TargetLayer("projector", scorer.projected, "features", grid, cells)
        target.default = True
        targets.append(target)
    for number, tap in enumerate(scorer.taps):
        target = TargetLayer(f"crossattention.{number}", tap, "cross_attention", grid)
        target.end_token = False
        target.default = number == (len(scorer.taps) // 2 if chosen is None else chosen)
        targets.append(target)
    return tuple(targets)


def _class_token(config: Any) -> bool:  # noqa: ANN401 - of transformers
    """Whether the language model reads the vision tower's class token, before the patches."""
    full = config.vision_feature_select_strategy == "full"
    return full and config.vision_config.model_type == "clip_vision_model"


def _answers(prompt: Prompt, answers: Sequence[str]) -> list[int]:
    """Ids of yes and no."""
    words = list(answers)
    if len(words) != 2 or not all(isinstance(word, str) for word in words):
        raise VlgroundError(f"model.answers={words}: expected two words, in quotes")
    ids = [prompt.answer(word) for word in words]
    if ids[0] == ids[1]:
        raise VlgroundError(f"model.answers={words}: both are the same token")
    return ids


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise VlgroundError(f"model.{name}={value}: expected {', '.join(allowed)}")
