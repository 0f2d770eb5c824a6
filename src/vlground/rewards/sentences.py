"""The one sentence splitter: annotation, reward model, scorer and refiner all use it (ours).

ViGoR does not say how its descriptions were split. Here a text is cut into pieces that follow each
other without a gap, each with the white space after it, so that joining the pieces gives the text
again, to the character; dropping a piece drops nothing else.

A cut is made after a full stop, an exclamation or question mark (also those of Chinese and
Japanese), with the quotes, brackets and emoji that close it; at an empty line; and before the item
of a list. No cut is made after an abbreviation, inside a number, or after the number of an item.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

VERSION = 1  # raised when a text is cut elsewhere

# Never the end of a sentence.
_TITLES = ("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "gen", "rep", "sen", "capt", "lt")
_ALWAYS = frozenset(
    (*_TITLES, "col", "sgt", "rev", "hon", "mt", "vs", "e.g", "i.e", "cf", "approx", "fig", "figs")
)
# The end of one only before a capital letter.
_UNITS = ("oz", "lb", "lbs", "ft", "sq", "hr", "hrs", "min")
_BEFORE_LOWER = frozenset(
    (*_UNITS, "etc", "inc", "ltd", "co", "corp", "dept", "est", "ave", "blvd", "rd")
)
_BEFORE_DIGIT = frozenset({"no", "nos", "p", "pp", "vol", "ch"})

# After initials (`J. Smith`, `U.S. Navy`) only these begin a sentence.
_STARTERS = re.compile(
    r"(?:The|A|An|It|Its|There|This|That|These|They|He|She|His|Her|In|On|At|Some|One|Two|Overall)\b"
)

_EMOJI = "\u2600-\u27bf\ufe0f\u200d\U0001f1e6-\U0001faff"
_CLOSE = rf"[\"'”’»)\]}}*_{_EMOJI}]*+"
_WIDE = "。！？｡．"  # of Chinese and Japanese
_ITEM = r"(?:[-*•‣◦–]|\d{1,3}[.)])[ \t]"
# Possessive, and begun only where a run begins: linear in any text. The look ahead is for speed.
_CUT = re.compile(
    rf"(?=[\s.!?…{_WIDE}])(?:"
    rf"(?P<wide>[{_WIDE}]++[」』）】〉》\"'”’]*+\s*+)"
    rf"|(?P<stop>(?<![.!?…])[.!?…]++{_CLOSE}(?:\s++|$))"
    r"|(?P<glued>(?<=[a-z]{2})[.!?](?=[A-Z][a-z ]))"
    r"|(?P<paragraph>(?<![ \t])(?:[ \t]*+\r?\n){2,}+\s*+)"
    rf"|(?P<item>(?<![ \t])[ \t]*+\r?\n[ \t]*+(?={_ITEM})))"
)
_LAST_WORD = re.compile(r"[^\s\"'“‘(\[{]+$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_NUMBER = re.compile(r"\d{1,3}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of a text.

    Attributes:
        start: Offset of its first character in the text.
        text: `text[start : start + len(text)]`, with the white space after it.
    """

    start: int
    text: str

    @property
    def end(self) -> int:
        """Offset behind its last character."""
        return self.start + len(self.text)

    @property
    def content(self) -> str:
        """Without white space around it; empty only if the whole text is blank."""
        return self.text.strip()


def split(text: str) -> list[Sentence]:
    """Cut a text into sentences.

    Args:
        text: Any text, also an empty one.

    Returns:
        Sentences in order whose `text`s join to `text` exactly; none of an empty text. White space
        before the first sentence belongs to it.

    >>> [s.content for s in split("Mr. Li ate 3.5 pies. 'Good!' he said.")]
    ['Mr. Li ate 3.5 pies.', "'Good!' he said."]
    >>> [(s.start, s.content) for s in split("猫。狗。")]
    [(0, '猫。'), (2, '狗。')]
    """
    sentences = []
    start = 0
    for end in (*_cuts(text), len(text)):
        # A piece of white space alone goes to the next one, or to the one before at the end.
        if text[start:end].strip():
            sentences.append(Sentence(start, text[start:end]))
            start = end
    if start < len(text):
        last = sentences.pop() if sentences else Sentence(0, "")
        sentences.append(Sentence(last.start, text[last.start :]))
    return sentences


def _cuts(text: str) -> Iterator[int]:
    start = 0
    for found in _CUT.finditer(text):
        if found.lastgroup != "stop" or _ends(text, start, found):
            start = found.end()
            yield start


def _ends(text: str, start: int, found: re.Match[str]) -> bool:
    """Whether a full stop, exclamation or question mark ends the sentence that begins at start."""
    mark, space = found.group().rstrip(), found.group()
    after = text[found.end() : found.end() + 12].lstrip("\"'“‘«([{")
    if space.count("\n") > 1 or not after:
        return True
    if mark != ".":
        # `"Stop!" she said`, `a boat ... on a lake`
        quoted = mark[-1] in "\"'”’»" or mark.startswith(("...", "…"))
        return not (quoted and after[0].islower())
    # A window, since an endless sentence may have a million abbreviations.
    found_word = _LAST_WORD.search(text[max(start, found.start() - 40) : found.start()])
    word = found_word.group() if found_word else ""
    listed = _NUMBER.fullmatch(word) and not text[start : found.start() - len(word)].strip()
    return not listed and not _abbreviated(word, after)


def _abbreviated(word: str, after: str) -> bool:
    lower = word.lower()
    if lower in _ALWAYS:
        return True
    if lower in _BEFORE_DIGIT:
        return after[0].isdigit()
    if lower in _BEFORE_LOWER or ("." in word and word == lower and _INITIALS.fullmatch(word)):
        return not after[0].isupper()
    initials = word != "I" and word.isupper() and _INITIALS.fullmatch(word) is not None
    return initials and _STARTERS.match(after) is None
