"""How a reward model reads captions: what of them follows an image, and where it is scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from vlground.errors import VlgroundError

Context = Literal["preceding", "caption", "none"]
Level = Literal["sentence", "caption"]
Prefix = Literal["shared", "repeated"]


@dataclass(frozen=True)
class Reading:
    """How captions are read.

    Attributes:
        prompt: What the caption answers; the chat template puts the image before it.
        context: What a sentence is seen with: those before it (preceding); the whole caption, which
            is then read twice, and scored at the second reading (caption); nothing (none).
        level: A row of logits a sentence, or one a caption (holistic), read at its last token.
        image: false: every image is the mean image, which tells nothing (blind baseline).
        max_tokens: Of a caption; what lies behind is not scored.
        prefix: `shared`: image and prompt are read once, and every caption continues from there.
            `repeated`: every caption reads them again, for models whose positions do not simply
            count tokens.

    Raises:
        VlgroundError: If an option has another value.
    """

    prompt: str
    context: Context = "preceding"
    level: Level = "sentence"
    image: bool = True
    max_tokens: int = 512
    prefix: Prefix = "shared"

    def __post_init__(self) -> None:
        for name, kind in (("context", Context), ("level", Level), ("prefix", Prefix)):
            if getattr(self, name) not in get_args(kind):
                expected = f"one of {', '.join(get_args(kind))}"
                raise VlgroundError(f"task.{name}={getattr(self, name)}: expected {expected}")
        if self.level == "caption" and self.context != "preceding":
            told = "task.level=caption reads all of it; expected preceding"
            raise VlgroundError(f"task.context={self.context}: {told}")
        if not isinstance(self.max_tokens, int) or self.max_tokens < 1:
            raise VlgroundError(f"task.max_tokens={self.max_tokens}: expected a positive number")


@dataclass(frozen=True)
class Row:
    """What is read after image and prompt.

    Attributes:
        tokens: At least one.
        ends: Sentence (0 of a whole caption) -> place of the token at which it is read.
    """

    tokens: list[int]
    ends: dict[int, int]


def rows_of(
    tokenizer: Any,  # noqa: ANN401 - of transformers
    sentences: Sequence[str],
    reading: Reading,
) -> list[Row]:
    """What is read of a caption; nothing of a sentence that is blank or too far behind.

    Sentences are cut into tokens one by one, so that the last token of each is known whatever the
    tokenizer, and is the same in every context.

    Args:
        tokenizer: Of the network.
        sentences: Of one caption, white space around them aside.
        reading: How they are read.
    """
    pieces = [
        tokenizer(f" {text}", add_special_tokens=False)["input_ids"] if text else []
        for text in (sentence.strip() for sentence in sentences)
    ]
    if reading.context == "none":
        alone = ((number, piece[: reading.max_tokens]) for number, piece in enumerate(pieces))
        return [Row(piece, {number: len(piece) - 1}) for number, piece in alone if piece]
    tokens = [token for piece in pieces for token in piece]
    if reading.level == "caption":
        tokens = tokens[: reading.max_tokens]
        return [Row(tokens, {0: len(tokens) - 1})] if tokens else []
    before = tokens if reading.context == "caption" else []
    ends, place = {}, len(before) - 1
    for number, piece in enumerate(pieces):
        place += len(piece)
        if piece and place < reading.max_tokens:
            ends[number] = place
    kept = [*before, *tokens][: max(ends.values(), default=-1) + 1]
    return [Row(kept, ends)] if kept else []
