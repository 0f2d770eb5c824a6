"""A LLaVA-type network with a head that is read at the last token of each sentence.

    image, prompt ──▶ keys and values, once an image
                          └──▶ sentence 1 . sentence 2 . … ──▶ hidden states ──head──▶ logits
                                          ▲            ▲  one row of logits a sentence

Attention is causal, so a sentence is seen with those before it (ViGoR does not say what its reward
model sees; reconstructed).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlground.errors import VlgroundError
from vlground.models.dialogue import load_dialogue_model
from vlground.rewards.reading import Reading, Row, rows_of
from vlground.whole import one_line_on_failure, write_json

_OPTIONS, _HEAD = "reward.json", "reward_head.safetensors"
_SIDE = 64  # of the picture that stands for none


class SentenceReward(nn.Module):
    """Logits of error types for every sentence of a caption.

    Args:
        network: An image-text-to-text model of transformers; its language head is not used.
        processor: With a chat template.
        types: What each logit is about.
        reading: How captions are read.
    """

    offset: Tensor

    def __init__(
        self,
        network: Any,  # noqa: ANN401 - of transformers
        processor: Any,  # noqa: ANN401 - of transformers
        types: Sequence[str],
        reading: Reading,
    ) -> None:
        super().__init__()
        self.network, self.processor = network, processor
        self.types, self.reading = tuple(types), reading
        width = network.config.get_text_config().hidden_size
        self.head = nn.Linear(width, len(self.types))
        # Begins undecided; nothing is drawn, so a seed is a matter of the data's order alone.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # What weighting the classes adds to a logit, which is taken off again: see `probabilities`.
        self.register_buffer("offset", torch.zeros(len(self.types)))

    @classmethod
    def load(cls, folder: str, dtype: torch.dtype) -> Self:
        """Read what `save` wrote.

        Raises:
            VlgroundError: If there is no reward model.
        """
        option = f"reward.pretrained={folder}"
        try:
            options = json.loads((Path(folder) / _OPTIONS).read_text("utf-8"))
            head = load_file(Path(folder) / _HEAD)
            types, reading = options["types"], Reading(**options["reading"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise VlgroundError(f"{option}: no reward model there: {reason}") from error
        made = cls(*load_dialogue_model("reward.pretrained", folder, None, dtype), types, reading)
        with torch.no_grad():
            for name, tensor in {"weight": made.head.weight, "bias": made.head.bias}.items():
                if name not in head or head[name].shape != tensor.shape:
                    raise VlgroundError(f"{option}: {_HEAD} does not fit the network")
                tensor.copy_(head[name])
        made.offset.copy_(torch.tensor(options["offset"]))
        return made.eval().requires_grad_(False)

    def unfreeze(self, frozen: Sequence[str]) -> None:
        """Train all parts of the network but some; its language head is never asked.

        Args:
            frozen: Such as `vision_tower`.

        Raises:
            VlgroundError: If there is no such part.
        """
        model = self.network.base_model
        parts = [name for name, _ in model.named_children()]
        model.requires_grad_(True)
        for name in frozen:
            if name not in parts:
                raise VlgroundError(f"task.freeze={name}: expected some of {', '.join(parts)}")
            model.get_submodule(name).requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write network and processor as transformers does, head and options beside them.

        Raises:
            VlgroundError: If the folder cannot be written.
        """
        # Half of the space of weights that were trained in full precision, as other miniatures.
        state = {
            name: one.half() if one.dtype == torch.float32 else one
            for name, one in self.network.state_dict().items()
        }
        head = {name: one.detach().cpu().contiguous() for name, one in self.head.named_parameters()}
        options = {"types": self.types, "offset": self.offset.tolist()}
        with one_line_on_failure(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self.network.save_pretrained(folder, state_dict=state)
            self.processor.save_pretrained(folder)
            save_file(head, folder / _HEAD)
            write_json(folder / _OPTIONS, {**options, "reading": asdict(self.reading)})

    def read(self, image: Image.Image) -> dict[str, Tensor]:
        """Image and prompt as the network takes them, on the CPU."""
        if not self.reading.image:
            return self._nothing
        return self._read(image)

    @cached_property
    def _nothing(self) -> dict[str, Tensor]:
        """The mean image, whose size tells nothing either: 0 is the mean of normalised pixels."""
        with torch.inference_mode(False):  # kept, and trained with
            read = self._read(Image.new("RGB", (_SIDE, _SIDE)))
            return {k: v.mul(0) if v.is_floating_point() else v for k, v in read.items()}

    def _read(self, image: Image.Image) -> dict[str, Tensor]:
        content = [{"type": "image"}, {"type": "text", "text": self.reading.prompt}]
        dialogue = [{"role": "user", "content": content}]
        words = self.processor.apply_chat_template(dialogue, add_generation_prompt=True)
        return dict(self.processor(text=[words], images=[[image]], return_tensors="pt"))

    def forward(
        self,
        images: Sequence[Mapping[str, Tensor]],
        captions: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[Tensor]]:
        """Logits of all captions of some images.

        Args:
            images: What `read` made of each; a blind model does not look at them.
            captions: Of each image its captions, as sentences.

        Returns:
            Of each image and caption `(s, types)`, `(1, types)` of a whole one; NaN of a sentence
            that is not scored.
        """
        if not captions:
            return []
        if not self.reading.image:  # whatever another model was shown
            images = [self._nothing] * len(captions)
        whole = self.reading.level == "caption"
        nothing = self.head.weight.new_full((1, len(self.types)), torch.nan)
        found = [[[nothing] * (1 if whole else len(c)) for c in of_one] for of_one in captions]
        groups: dict[object, list[int]] = defaultdict(list)
        for place, one in enumerate(images):
            groups[_shape(one)].append(place)
        for places in groups.values():
            owned = [
                (number, place, index, row)
                for number, place in enumerate(places)
                for index, caption in enumerate(captions[place])
                for row in self._rows(caption)
            ]
            if not owned:
                continue
            numbers = torch.tensor([number for number, *_ in owned])
            blind = not self.reading.image
            hidden = self._hidden(
                _joined([images[place] for place in (places[:1] if blind else places)]),
                torch.zeros_like(numbers) if blind else numbers,
                [row.tokens for *_, row in owned],
            )
            ends = [(r, place) for r, (*_, row) in enumerate(owned) for place in row.ends.values()]
            at = torch.tensor(ends, device=hidden.device).T
            logits = iter(self.head(hidden[at[0], at[1]].to(self.head.weight.dtype)).split(1))
            for _, place, index, row in owned:
                for sentence in row.ends:
                    found[place][index][sentence] = next(logits)
        empty = nothing[:0]
        return [[torch.cat([empty, *caption]) for caption in of_one] for of_one in found]

    def probabilities(
        self,
        images: Sequence[Mapping[str, Tensor]],
        captions: Sequence[Sequence[Sequence[str]]],
    ) -> list[list[Tensor]]:
        """Probabilities of all captions of some images, a row a sentence; see `forward`.

        A class that was weighted by w in training has logits that are log w too high (King & Zeng
        2001); this is taken off. A whole caption's are those of all of its sentences.
        """
        with torch.inference_mode():
            logits = self(images, captions)
            return [
                [
                    (one - self.offset).sigmoid().expand(len(caption), -1)
                    for one, caption in zip(found, of_one, strict=True)
                ]
                for found, of_one in zip(logits, captions, strict=True)
            ]

    def scored(self, captions: Iterable[Sequence[Sequence[str]]]) -> Tensor:
        """Which rows of logits of all captions, one after the other, are not NaN, `(r, 1)` bool."""
        found: list[bool] = []
        for caption in (one for of_image in captions for one in of_image):
            ends = {number for row in self._rows(caption) for number in row.ends}
            rows = 1 if self.reading.level == "caption" else len(caption)
            found += [number in ends for number in range(rows)]
        return torch.tensor(found)[:, None]

    def _rows(self, sentences: Sequence[str]) -> list[Row]:
        return rows_of(self.processor.tokenizer, sentences, self.reading)

    def _hidden(
        self, prefix: Mapping[str, Tensor], owner: Tensor, rows: Sequence[list[int]]
    ) -> Tensor:
        """Final hidden states `(r, longest, width)` of rows after the prefix they belong to."""
        device, model = self.head.weight.device, self.network.base_model
        inputs = {
            name: one.to(device, self.network.dtype if one.is_floating_point() else None)
            for name, one in prefix.items()
        }
        owner = owner.to(device)
        # Padded on the right, where causal attention does not look, with what is no image token.
        tokens = nn.utils.rnn.pad_sequence(
            [torch.tensor(row, device=device) for row in rows], True, rows[0][0]
        )
        lengths = torch.tensor([len(row) for row in rows], device=device)
        mask = (torch.arange(tokens.shape[1], device=device) < lengths[:, None]).long()
        before = inputs["attention_mask"][owner]
        mask = torch.cat([before, mask], dim=1)
        if self.reading.prefix == "shared":
            cache = model(**inputs, use_cache=True)["past_key_values"]
            cache.batch_select_indices(owner)
            found = model(
                input_ids=tokens, attention_mask=mask, past_key_values=cache, use_cache=True
            )
            hidden: Tensor = found["last_hidden_state"]
            return hidden
        whole = {
            name: self._repeated(one, inputs["input_ids"].shape, owner, tokens)
            for name, one in inputs.items()
        }
        whole["attention_mask"] = mask
        whole["input_ids"] = torch.cat([inputs["input_ids"][owner], tokens], dim=1)
        hidden = model(**whole, use_cache=False)["last_hidden_state"]
        return hidden[:, before.shape[1] :]

    @staticmethod
    def _repeated(one: Tensor, shape: torch.Size, owner: Tensor, tokens: Tensor) -> Tensor:
        """An input for every row: what counts tokens grows by those of the caption."""
        if one.shape == shape:
            return torch.cat([one[owner], torch.zeros_like(tokens, dtype=one.dtype)], dim=1)
        # Patches of an image stand one after the other along the first axis.
        return one.unflatten(0, (shape[0], -1))[owner].flatten(0, 1)


def _joined(inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Every input has images, or patches of images, along its first axis."""
    return {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}


def _shape(inputs: Mapping[str, Tensor]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The same of images that can be read together without padding."""
    return tuple((name, tuple(tensor.shape)) for name, tensor in sorted(inputs.items()))
