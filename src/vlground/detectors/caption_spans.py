"""Phrases joined into the captions that Grounding DINO reads, and which tokens are whose.

A phrase's tokens are found by where they stand in the caption, never by comparing decoded words:
labels that are decoded from tokens come out merged or cut ("car taxi", "##van").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlground.data.links import unlinked

_ENDS = str.maketrans(".?", "  ")  # they part phrases, so they cannot be within one


@dataclass(frozen=True)
class Spans:
    """A caption and the tokens of its phrases.

    Attributes:
        caption: `cat . dog .`
        phrases: As they were asked; one that is too long stands there cut.
        tokens: Of each phrase, places among the caption's tokens, [CLS] being 0; none of a phrase
            of which the tokenizer keeps nothing.
    """

    caption: str
    phrases: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]


def plain(phrase: str) -> str:
    """A phrase as Grounding DINO reads it: in lower case, without full stops and links.

    >>> plain(" St. Bernard  dog.")
    'st bernard dog'
    """
    return " ".join(unlinked(phrase).lower().translate(_ENDS).split())


def join_phrases(
    phrases: Sequence[str],
    tokenizer: Any,  # noqa: ANN401 - of any class
    longest: int,
    joint: bool,
) -> list[Spans]:
    """Write captions that hold each phrase once.

    Args:
        phrases: Plain ones, not empty.
        tokenizer: Of BERT, a fast one.
        longest: Tokens of a caption, [CLS] and [SEP] among them. A single phrase that is longer is
            cut.
        joint: As many phrases in a caption as fit. They are sorted first, so captions depend on
            the set of phrases and not on its order. Otherwise one each.
    """
    captions: list[dict[str, str]] = []
    room = 0
    for phrase in sorted(set(phrases)):
        written = _cut(phrase, tokenizer, longest - 3)
        needs = 1 + len(tokenizer(written, add_special_tokens=False).input_ids)
        if not joint or not captions or needs > room:
            captions.append({})
            room = longest - 2
        captions[-1][phrase] = written
        room -= needs
    return [_spans(parts, tokenizer) for parts in captions]


def _spans(parts: Mapping[str, str], tokenizer: Any) -> Spans:  # noqa: ANN401
    """Of phrases and how they are written."""
    caption = " ".join(f"{written} ." for written in parts.values())
    offsets = tokenizer(caption, return_offsets_mapping=True).offset_mapping
    tokens, start = [], 0
    for written in parts.values():
        end = start + len(written)
        tokens.append(tuple(n for n, (a, b) in enumerate(offsets) if a < end and start < b > a))
        start = end + len(" . ")
    return Spans(caption, tuple(parts), tuple(tokens))


def _cut(phrase: str, tokenizer: Any, longest: int) -> str:  # noqa: ANN401
    read = tokenizer(phrase, add_special_tokens=False, return_offsets_mapping=True)
    ends = [end for _, end in read.offset_mapping]
    return phrase if len(ends) <= longest else phrase[: ends[longest - 1]]
