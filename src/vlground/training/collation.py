"""Dialogues to tensors: image, question and answer, of which only the answer is learnt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from vlground.data.images import load_image
from vlground.errors import ImageError, VlgroundError
from vlground.training.dialogues import Dialogue

IGNORED = -100  # a label that cross entropy leaves out


@dataclass(frozen=True)
class Collated:
    """Dialogues that go through the network together, padded on the right.

    Attributes:
        ids: Of the dialogues, for messages.
        inputs: As the network reads them: `input_ids` `(b, t)`, `attention_mask`, pixels and all
            else that the processor makes.
        labels: `(b, t)` int64: the tokens of answers and their ends; `IGNORED` elsewhere.
        cut: How many answers were longer than allowed.
    """

    ids: tuple[str, ...]
    inputs: dict[str, Tensor]
    labels: Tensor
    cut: int = 0

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """The same on another device, pixels in the type of the network."""
        moved = {
            name: tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)
            for name, tensor in self.inputs.items()
        }
        return replace(self, inputs=moved, labels=self.labels.to(device))


class Collator:
    """Writes dialogues by a processor's chat template, as a captioner will read them.

    Args:
        processor: Of transformers, with a chat template.
        ends: Ids of tokens that end a text. Where the template puts one after an answer, that one
            is learnt; else the first.
        longest: Tokens of an answer; longer ones lose their end.

    Raises:
        VlgroundError: If no token ends a text.
    """

    def __init__(self, processor: Any, ends: Sequence[int], longest: int) -> None:  # noqa: ANN401
        if not ends:
            raise VlgroundError("model.pretrained: no token ends its texts")
        if longest < 1:
            raise VlgroundError(f"task.max_tokens={longest}: expected a positive number")
        self.processor, self.longest = processor, longest
        self._ends: list[str] = processor.tokenizer.convert_ids_to_tokens(list(ends))

    def __call__(self, dialogues: Sequence[Dialogue]) -> Collated:
        """Read images and write texts.

        Raises:
            VlgroundError: If an image cannot be read.
        """
        tokenizer = self.processor.tokenizer
        tokenizer.padding_side = "right"
        written = [self._write(one) for one in dialogues]
        images = [[_image(one)] for one in dialogues]
        texts = [answers[-1][1] for answers in written]
        read = dict(self.processor(text=texts, images=images, return_tensors="pt", padding=True))
        labels = torch.full_like(read["input_ids"], IGNORED)
        lengths = read["attention_mask"].sum(dim=1).tolist()
        cut = 0
        for row, (length, answers, text) in enumerate(zip(lengths, written, texts, strict=True)):
            tokens = tokenizer(text).input_ids
            for before, after in answers:
                # From the end, for the image's one placeholder becomes many tokens before it.
                start = length - _differing(tokenizer(before).input_ids, tokens)
                stop = length - _differing(tokenizer(after).input_ids, tokens)
                cut += stop > start + self.longest
                stop = min(stop, start + self.longest)
                labels[row, start:stop] = read["input_ids"][row, start:stop]
        return Collated(tuple(one.id for one in dialogues), read, labels, cut)

    def texts(self, one: Dialogue) -> tuple[str, str]:
        """The text up to the first answer, and that answer with its end."""
        before, after = self._write(one)[0]
        return before, after[len(before) :]

    def _write(self, one: Dialogue) -> list[tuple[str, str]]:
        """Of each answer the text up to it, and the text up to its end."""
        template = self.processor.apply_chat_template
        messages: list[dict[str, Any]] = []
        known, text = "", ""  # what the template has written, and that with the ends of answers
        found: list[tuple[str, str]] = []
        for asked, answer in ((one.question, one.answer), *one.further):
            image = [] if messages else [{"type": "image"}]
            messages.append({"role": "user", "content": [*image, {"type": "text", "text": asked}]})
            written: str = template(messages, add_generation_prompt=True)
            if not written.startswith(known):
                raise VlgroundError("model.pretrained: its chat template allows one question alone")
            before = written if written.startswith(text) else text + written[len(known) :]
            said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
            messages.append(said)
            known = template(messages)
            text = before + self._said(written, known, answer)
            found.append((before, text))
        return found

    def _said(self, prompt: str, whole: str, answer: str) -> str:
        """An answer as it follows a prompt, with its end."""
        before, said, after = whole.rpartition(answer)
        if not said or not before.startswith(prompt):
            space = "" if prompt[-1:].isspace() else " "
            return space + answer + self._ends[0]  # as the captioner itself goes on
        own = (end for end in self._ends if after.lstrip().startswith(end))
        return before[len(prompt) :] + answer + next(own, self._ends[0])


def _differing(prompt: Sequence[int], whole: Sequence[int]) -> int:
    """How many tokens of `whole` follow the last that it begins with as `prompt` does."""
    same = 0
    for one, other in zip(prompt, whole, strict=False):
        if one != other:
            break
        same += 1
    return len(whole) - same


def _image(one: Dialogue) -> Any:  # noqa: ANN401 - of Pillow
    try:
        return load_image(one.image)
    except ImageError as error:
        raise VlgroundError(f"task.data: {one.id}: {error}") from error
