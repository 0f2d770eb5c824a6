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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from vlground.errors import VlgroundError
from vlground.rewards.data_card import Provenance, card
from vlground.store import replacing

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


def export(
    winners: Sequence[Winner], style: Format, path: Path, provenance: Provenance
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
        VlgroundError: The format is unknown, ids repeat or the folder cannot be written.
    """
    if style not in get_args(Format):
        raise VlgroundError(f"export={style}: expected one of {', '.join(get_args(Format))}")
    twice = [name for name, n in Counter(winner.id for winner in winners).items() if n > 1]
    if twice:
        raise VlgroundError(f"export={style}: the id {twice[0]} occurs twice; give each its own")
    convert, obstacle, words = _STYLES[style]
    left_out: Counter[str] = Counter()
    records = []
    for winner in winners:
        reason = obstacle(winner)
        if reason:
            left_out[reason] += 1
        else:
            records.append(convert(winner))
    content = _encoded(records, lines=style.startswith("trl_"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    told = card(
        provenance, path.name, words, len(records), hashlib.sha256(content).hexdigest(), left_out
    )
    with replacing(path.with_name(f"{path.name}.card.md")) as temporary:
        temporary.write_text(told, encoding="utf-8", errors="backslashreplace")
    return {"records": len(records), **left_out}


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


def _encoded(records: Sequence[Mapping[str, Any]], lines: bool) -> bytes:
    # Escaped: half an emoji (a lone surrogate) cannot be written as UTF-8, but can as \uXXXX.
    if lines:
        text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
    else:
        text = json.dumps(records, indent=1, allow_nan=False) + "\n"
    return text.encode()


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
