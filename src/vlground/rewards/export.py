"""Winners as training data in the formats of others, each file with its data card.

    llava            LLaVA: a list of {id, image, conversations: human, gpt}
    llama_factory    LLaMA-Factory, sharegpt: a list of {messages, images}; see `dataset_info`
    trl_sft          TRL, prompt-completion, conversational, with images
    trl_dpo          TRL, preference: the winner beside the worst candidate
    trl_stepwise     TRL, stepwise supervision: a label a sentence; text only

The first two are JSON, the others JSON lines. `image` is written as it is given. Text is stripped
of white space around it; within it no character changes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from vlground.errors import VlgroundError
from vlground.rewards.data_card import Provenance, card
from vlground.whole import one_line_on_failure, replacing

Format = Literal["llava", "llama_factory", "trl_sft", "trl_dpo", "trl_stepwise"]


@dataclass(frozen=True)
class Winner:
    """The best candidate of an image.

    Attributes:
        id: Unique in the file.
        image: Path of the image, as a reader shall find it.
        prompt: That all candidates answer.
        caption: Refined; blank if it was emptied.
        worst: The worst candidate; None if no candidate has a higher penalty.
        sentences: Of the winner before refinement, so that wrong ones are there to learn from.
        labels: Whether each of them holds: true or false, or a probability 0..1.
    """

    id: str
    image: str
    prompt: str
    caption: str
    worst: str | None = None
    sentences: Sequence[str] = ()
    labels: Sequence[bool | float] = ()


class TrainingFile:
    """A file of one format that is written winner by winner; use it as a context.

    The file becomes whole when the context ends well, or does not become at all; `describe` then
    writes its card `NAME.card.md`.

    Args:
        style: See the module's docstring.
        path: Of the file; its folder is made.

    Attributes:
        records: How many are written.
        left_out: Reason -> number of winners that the format cannot hold.

    Raises:
        VlgroundError: The format is unknown, ids repeat or the folder cannot be written.
    """

    def __init__(self, style: Format, path: Path) -> None:
        if style not in get_args(Format):
            raise VlgroundError(f"export={style}: expected one of {', '.join(get_args(Format))}")
        self.style, self.path = style, path
        self.records, self.left_out = 0, Counter[str]()
        self._ids: set[str] = set()
        self._sum = hashlib.sha256()
        self._lines = style.startswith("trl_")

    def __enter__(self) -> Self:
        """Begin the file."""
        with one_line_on_failure(self.path), ExitStack() as stack:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = stack.enter_context(stack.enter_context(replacing(self.path)).open("wb"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> bool | None:  # noqa: ANN401 - of any error
        """End it, and put it into its place if nothing was raised."""
        if raised[0] is None and not self._lines:
            self._write("\n]\n" if self.records else "[]\n")
        return self._stack.__exit__(*raised)

    def add(self, winner: Winner) -> None:
        """Write a winner, or count why it cannot be."""
        if winner.id in self._ids:
            told = f"the id {winner.id} occurs twice; give each its own"
            raise VlgroundError(f"export={self.style}: {told}")
        self._ids.add(winner.id)
        convert, obstacle, _ = _STYLES[self.style]
        if reason := obstacle(winner):
            self.left_out[reason] += 1
            return
        # Escaped: half an emoji (a lone surrogate) cannot be written as UTF-8, but can as \uXXXX.
        if self._lines:
            self._write(json.dumps(convert(winner), allow_nan=False) + "\n")
        else:
            text = json.dumps(convert(winner), indent=1, allow_nan=False).replace("\n", "\n ")
            self._write(f"{',' if self.records else '['}\n {text}")
        self.records += 1

    def describe(self, provenance: Provenance) -> None:
        """Write the card of a file that is there.

        Args:
            provenance: Of what is in it.
        """
        words, sum_ = _STYLES[self.style][2], self._sum.hexdigest()
        told = card(provenance, self.path.name, words, self.records, sum_, self.left_out)
        with replacing(self.path.with_name(f"{self.path.name}.card.md")) as temporary:
            temporary.write_text(told, encoding="utf-8", errors="backslashreplace")

    def _write(self, text: str) -> None:
        content = text.encode()
        self._sum.update(content)
        with one_line_on_failure(self.path):
            self._file.write(content)


def export(
    winners: Iterable[Winner], style: Format, path: Path, provenance: Provenance
) -> dict[str, int]:
    """Write a file and its card `NAME.card.md`, each whole or not at all.

    Args:
        winners: What there is; what the format cannot hold is left out and counted.
        style: See the module's docstring.
        path: Of the file; its folder is made.
        provenance: For the card.

    Returns:
        `records` written, and reason -> number left out.

    Raises:
        VlgroundError: As `TrainingFile`.
    """
    with TrainingFile(style, path) as file:
        for winner in winners:
            file.add(winner)
    file.describe(provenance)
    return {"records": file.records, **file.left_out}


def dataset_info(name: str, file: str) -> dict[str, Any]:
    """The entry of a `llama_factory` file in LLaMA-Factory's `dataset_info.json`.

    Args:
        name: Of the data set.
        file: Name of the file beside `dataset_info.json`.
    """
    tags = {"role_tag": "role", "content_tag": "content"}
    tags |= {"user_tag": "user", "assistant_tag": "assistant"}
    columns = {"messages": "messages", "images": "images"}
    return {name: {"file_name": file, "formatting": "sharegpt", "columns": columns, "tags": tags}}


def _llava(winner: Winner) -> dict[str, Any]:
    asked = {"from": "human", "value": f"<image>\n{_prompt(winner)}"}
    answered = {"from": "gpt", "value": winner.caption.strip()}
    return {"id": winner.id, "image": winner.image, "conversations": [asked, answered]}


def _llama_factory(winner: Winner) -> dict[str, Any]:
    asked = {"role": "user", "content": f"<image>{_prompt(winner)}"}
    answered = {"role": "assistant", "content": winner.caption.strip()}
    return {"messages": [asked, answered], "images": [winner.image]}


def _trl_sft(winner: Winner) -> dict[str, Any]:
    return {**_asked(winner), "completion": _answer(winner.caption)}


def _trl_dpo(winner: Winner) -> dict[str, Any]:
    pair = {"chosen": _answer(winner.caption), "rejected": _answer(winner.worst or "")}
    return {**_asked(winner), **pair}


def _trl_stepwise(winner: Winner) -> dict[str, Any]:
    steps = {"completions": list(winner.sentences), "labels": list(winner.labels)}
    return {"prompt": _prompt(winner), **steps}


def _prompt(winner: Winner) -> str:
    # Every format puts its own placeholder for the image.
    return winner.prompt.replace("<image>", "").strip()


def _asked(winner: Winner) -> dict[str, Any]:
    content = [{"type": "image"}, {"type": "text", "text": _prompt(winner)}]
    return {"prompt": [{"role": "user", "content": content}], "images": [winner.image]}


def _answer(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text.strip()}]}]


def _emptied(winner: Winner) -> str:
    return "" if winner.caption.strip() else "emptied by refinement"


def _no_pair(winner: Winner) -> str:
    if winner.worst is None:
        return "no candidate is worse"
    if not winner.worst.strip():
        return "the worst candidate is empty"
    same = winner.worst.strip() == winner.caption.strip()
    return _emptied(winner) or ("winner and worst read the same" if same else "")


def _no_steps(winner: Winner) -> str:
    if not winner.sentences:
        return "no sentences"
    if len(winner.sentences) != len(winner.labels):
        return "not a label a sentence"
    known = all(label == label for label in winner.labels)  # NaN is not equal to itself
    return "" if known else "a sentence without a label"


_Convert = Callable[[Winner], dict[str, Any]]
_STYLES: dict[str, tuple[_Convert, Callable[[Winner], str], str]] = {
    "llava": (_llava, _emptied, "JSON for LLaVA"),
    "llama_factory": (_llama_factory, _emptied, "JSON for LLaMA-Factory (sharegpt)"),
    "trl_sft": (_trl_sft, _emptied, "JSON lines for TRL's SFTTrainer (prompt and completion)"),
    "trl_dpo": (_trl_dpo, _no_pair, "JSON lines for TRL's DPOTrainer (chosen and rejected)"),
    "trl_stepwise": (_trl_stepwise, _no_steps, "JSON lines for TRL, stepwise supervision"),
}
