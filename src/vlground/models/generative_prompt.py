"""The prompt of a generative model: what precedes the image, and which tokens are the text's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlground.errors import VlgroundError

IMAGE = "<image>"


@dataclass(frozen=True, eq=False)
class Asked:
    """What follows the image, of `q` texts.

    Attributes:
        ids: `(q, t)` int64, padded on the right.
        rows: `(q, 1 + w)` int64, places in `ids`: of the token that predicts the answer, or the
            text's first token; then of the text's own tokens. `t` where a text has fewer.
    """

    ids: Tensor
    rows: Tensor

    @property
    def token_mask(self) -> Tensor:
        """`(q, 1 + w)` bool, true where `rows` names a token."""
        return self.rows < self.ids.shape[1]


@dataclass(frozen=True)
class _Tokens:
    """Of one text: tokens after the image, places of the text's, and the text's part they end."""

    ids: list[int]
    text: list[int]
    ends: list[int]


class Prompt:
    """Writes a text into the prompt and finds its tokens again.

    A prompt that ends in white space is continued as it is, another one after a space. So after
    `ASSISTANT:` Llama's tokenizer makes `▁Yes` of an answer, and after `assistant` and a line break
    Qwen2's makes `Yes`, as in the dialogues that the models were trained on.

    Args:
        tokenizer: Of transformers, a fast one; it knows `<image>` as one token.
        prompt: Holds `<image>`, and later on `{}`, the place of the text.
        text_follows: The prompt holds no `{}`, and the text follows it.
        context: Longest text in tokens.

    Attributes:
        before: Ids before the image.
        length: Most tokens that are read beside the image's.

    Raises:
        VlgroundError: If the prompt or the tokenizer does not fit.
    """

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401 - of any class
        prompt: str,
        text_follows: bool,
        context: int,
    ) -> None:
        option = f"model.prompt={prompt!r}"
        if prompt.count(IMAGE) != 1:
            raise VlgroundError(f"{option}: expected one {IMAGE}")
        if prompt.count("{}") != (0 if text_follows else 1):
            expected = "no {}: the text follows" if text_follows else "one {}, the text's place"
            raise VlgroundError(f"{option}: expected {expected}")
        if context < 1:
            raise VlgroundError(f"model.context={context}: expected a positive number")
        self._template = f"{_open(prompt)}{{}}" if text_follows else prompt
        if self._template.index("{}") < self._template.index(IMAGE):
            raise VlgroundError(f"{option}: expected {IMAGE} before {{}}")
        if not tokenizer.is_fast:
            raise VlgroundError("model.tokenizer: not a fast one, which knows a text's tokens")
        self._tokenizer, self._option = tokenizer, option
        self._text_follows, self._context = text_follows, context
        self._image = tokenizer.convert_tokens_to_ids(IMAGE)
        written = tokenizer(self._template.replace("{}", "it")).input_ids
        if written.count(self._image) != 1 or self._image == tokenizer.unk_token_id:
            raise VlgroundError(f"model.tokenizer: does not know {IMAGE} as one token")
        self.before: list[int] = written[: written.index(self._image)]
        places = self._split("it").text
        self.length = len(written) - 1 - len(places) + context
        if text_follows and not places[0]:
            raise VlgroundError(f"{option}: expected words between {IMAGE} and the text")

    def read(self, texts: Sequence[str]) -> Asked:
        """Tokens of texts, each of which is known."""
        split = [self._split(self.truncated(text) or text) for text in texts]
        length = max(len(one.ids) for one in split)
        rows = []
        for one in split:
            first = one.text[0] - 1 if self._text_follows else len(one.ids) - 1
            rows.append([first, *(place for place in one.text if place != first)])
        return Asked(
            _padded([one.ids for one in split], length, 0),
            _padded(rows, max(map(len, rows)), length),
        )

    def answer(self, word: str) -> int:
        """The one token that an answer becomes after the prompt.

        Raises:
            VlgroundError: If it becomes several, or none that is known.
        """
        asked = self._template.replace("{}", "it")
        before = self._tokenizer(asked).input_ids
        after = self._tokenizer(_open(asked) + word).input_ids
        same = 0
        while same < min(len(before), len(after)) and before[same] == after[same]:
            same += 1
        new = after[same:]
        if same < len(before) or len(new) != 1 or new[0] == self._tokenizer.unk_token_id:
            became = " ".join(map(repr, self._tokenizer.convert_ids_to_tokens(new))) or "nothing"
            raise VlgroundError(
                f"model.answers={word}: expected one known token after the prompt, not {became}"
            )
        return new[0]

    def knows(self, text: str) -> bool:
        """Whether some token of the text is known, and none is the image's."""
        if not text.strip():
            return False
        tokens = self._split(text)
        ids = [tokens.ids[place] for place in tokens.text]
        return self._image not in ids and any(i != self._tokenizer.unk_token_id for i in ids)

    def truncated(self, text: str) -> str | None:
        """The part of a text that is read, if it is longer than the context."""
        ends = self._split(text).ends
        return text.strip()[: ends[self._context - 1]] if len(ends) > self._context else None

    def save(self, folder: Path) -> None:
        """Write the tokenizer, as transformers reads it."""
        self._tokenizer.save_pretrained(folder)

    def _split(self, text: str) -> _Tokens:
        text = text.strip()
        start = self._template.index("{}")
        written = self._tokenizer(self._template.replace("{}", text), return_offsets_mapping=True)
        image = written.input_ids.index(self._image)
        places, ends = [], []
        for place, (left, right) in enumerate(written.offset_mapping):
            if left < start + len(text) and right > start and place > image:
                places.append(place - image - 1)
                ends.append(right - start)
        return _Tokens(written.input_ids[image + 1 :], places, ends)


def _open(prompt: str) -> str:
    """The prompt, ready to be continued."""
    return prompt if prompt[-1:].isspace() else f"{prompt} "


def _padded(rows: Sequence[list[int]], length: int, filler: int) -> Tensor:
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])
