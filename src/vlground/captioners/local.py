"""A captioner that is an image-text-to-text model of transformers."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from vlground.captioners.caption import candidate_key
from vlground.captioners.decoding import Written, write_repeated, write_shared
from vlground.captioners.gumbel import choose
from vlground.contracts import Caption, Captioner
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.models.dialogue import Dtype, load_dialogue_model

Prefix = Literal["shared", "repeated"]


class LocalCaptioner(Captioner):
    """Samples captions; image and prompt are read once for all candidates of an image.

    What is random about a candidate is drawn from (seed, image id, index) alone, by noise that is
    added to the logits (see `vlground.captioners.gumbel`). So the number of candidates, the batch
    and its order change no text, but for two tokens that tie within the rounding of the network.

    Args:
        pretrained: Name on the hub, or a folder with a model and its processor, which has a chat
            template.
        revision: Commit on the hub; without one the weights may change behind your back.
        temperature: 0: the likeliest token each time; all candidates are then the same.
        top_p: In 0-1, see `choose`.
        max_tokens: Longest caption; one that reaches it is `cut_off`.
        prefix: `shared`: candidates continue from one reading of image and prompt. `repeated`: each
            reads them again in transformers' `generate`, for models that cannot continue from keys
            and values alone (with an encoder, or cross-attention to the image).
        dtype: Of weights: float32, bfloat16 or float16.
        device: Where it runs; None: a GPU if there is one.

    Raises:
        VlgroundError: If an option does not fit, or there is no such model, or its processor has no
            chat template.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        pretrained: str,
        revision: str | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 256,
        prefix: Prefix = "shared",
        dtype: Dtype = "float32",
        device: str | None = None,
    ) -> None:
        _check("prefix", prefix, get_args(Prefix))
        _check("dtype", dtype, get_args(Dtype))
        if not temperature >= 0:
            raise VlgroundError(f"model.temperature={temperature}: expected 0 or more")
        if not 0 < top_p <= 1:
            raise VlgroundError(f"model.top_p={top_p}: expected more than 0, at most 1")
        if max_tokens < 1:
            raise VlgroundError(f"model.max_tokens={max_tokens}: expected a positive number")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network, self.processor = load_dialogue_model(
            "model.pretrained", pretrained, revision, getattr(torch, dtype)
        )
        self.network.to(self.device)
        if prefix == "shared" and self.network.config.is_encoder_decoder:
            raise VlgroundError("model.prefix=shared: this model has an encoder; expected repeated")
        self._temperature, self._top_p, self._longest = temperature, top_p, max_tokens
        self._prefix = prefix
        self._ends = _ends(self.network, self.processor, pretrained)

    def caption(
        self, samples: Sequence[Sample], prompts: Sequence[str], n: int, seed: int, first: int = 0
    ) -> list[list[Caption]]:
        """Write the candidates `first` … `n - 1` of every sample's image.

        Args:
            samples: A batch; those whose image and prompt are of one shape are read together.
            prompts: What is asked of each; the chat template puts the image before it.
            n: Candidates of an image.
            seed: See `candidate_key`.
            first: Those before it are known already.

        Raises:
            ImageError: If an image cannot be read.
        """
        indices = range(first, n)
        found: dict[int, list[Caption]] = {place: [] for place in range(len(samples))}
        if not indices:
            return list(found.values())
        groups: dict[object, list[int]] = defaultdict(list)
        inputs = [self._read(*asked) for asked in zip(samples, prompts, strict=True)]
        for place, one in enumerate(inputs):
            groups[_shape(one)].append(place)
        for places in groups.values():
            keys = [
                candidate_key(seed, samples[place].image_id, index)
                for place in places
                for index in indices
            ]
            written = iter(self._decode([inputs[place] for place in places], keys))
            for place in places:
                found[place] = [self._caption(next(written)) for _ in indices]
        return list(found.values())

    def _read(self, sample: Sample, prompt: str) -> dict[str, Tensor]:
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        dialogue = [{"role": "user", "content": content}]
        words = self.processor.apply_chat_template(dialogue, add_generation_prompt=True)
        read = self.processor(text=[words], images=[[load_image(sample)]], return_tensors="pt")
        return dict(read.to(self.device, self.network.dtype))

    def _decode(self, inputs: Sequence[dict[str, Tensor]], keys: Sequence[int]) -> list[Written]:
        """All candidates of images that are read in the same shape."""
        copies = len(keys) // len(inputs)

        def pick(logits: Tensor, position: int) -> tuple[Tensor, Tensor]:
            return choose(logits, keys, position, self._temperature, self._top_p)

        if self._prefix == "shared":
            return write_shared(
                self.network, _joined(inputs), copies, pick, self._ends, self._longest
            )
        rows = [one for one in inputs for _ in range(copies)]
        return write_repeated(self.network, _joined(rows), pick, self._ends, self._longest)

    def _caption(self, written: Written) -> Caption:
        tokens, known, ended = written
        text = self.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return Caption(text.strip(), tuple(known), cut_off=not ended)


def _joined(inputs: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Every input has images, or patches of images, along its first axis."""
    return {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}


def _shape(inputs: dict[str, Tensor]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The same of images that can be read together without padding."""
    return tuple((name, tuple(tensor.shape)) for name, tensor in sorted(inputs.items()))


def _ends(network: Any, processor: Any, pretrained: str) -> list[int]:  # noqa: ANN401
    """Ids of tokens that end a text."""
    ends = network.generation_config.eos_token_id
    if ends is None:
        ends = processor.tokenizer.eos_token_id
    if ends is None:
        raise VlgroundError(f"model.pretrained={pretrained}: no token ends its texts")
    return list(ends) if isinstance(ends, list | tuple) else [int(ends)]


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise VlgroundError(f"model.{name}={value}: expected {', '.join(allowed)}")
