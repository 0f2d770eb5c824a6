"""Words of a caption as CHAIR's scripts see them: NLTK's tokens, pattern.en's singulars.

Both are written anew (ours) to do what the two libraries do, as far as a token can be an object: a
word of letters alone. What they do to other tokens (`cannot`, `mother-in-law`) is not followed.
NLTK finds sentences with a trained model; here a full stop ends one where a space follows it, or
closing marks and a space.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

_MARK = '"«»“”‘’„`;@#$%&?!*()\\[\\]{}<>\u2012-\u2015'
_LAST_STOP = "\\.(?=[\\])}>\"'»”’]*(?:\\s|$))"  # marks may follow the last stop of a sentence
_TOKEN = re.compile(
    rf"\.{{2,}}|--|''|[{_MARK}]|[:,](?!\d)|{_LAST_STOP}"
    # Inside a word: the stops of U.S., the marks of 3,36 and 12:30, hyphens, apostrophes.
    rf"|(?:[^\s{_MARK}.,:'-]|(?!{_LAST_STOP})\.(?!\.)|[:,](?=\d)|-(?!-)|'(?!'))+"
)
_OPENING = re.compile(r"(?i)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)")
_CLITIC = re.compile(r"(?i)(?<=[^'])(?:'ll|'re|'ve|n't|'s|'m|'d|')$")

RULES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_UNCHANGED: list[str] = RULES["unchanged"].split()
_WHOLE = {f"{word}s": word for word in RULES["add_s"].split()} | {
    f"{word}es": word for word in RULES["add_es"].split()
}
_IRREGULAR = dict(pair.split("/") for pair in RULES["irregular"].split())
_ENDINGS = [
    (re.compile(f"({stays}){ending}$"), replaced)
    for stays, ending, replaced in (rule.split("/") for rule in RULES["endings"].split())
]


def tokens(caption: str) -> Iterator[tuple[str, int, int]]:
    """Tokens of a caption, as NLTK's tokenizer cuts them.

    Yields:
        Token in lower case, its first character and its end in the caption as given (half-open).

    >>> [token for token, _, _ in tokens("Two dogs' hot-dog, isn't it?")]
    ['two', 'dogs', "'", 'hot-dog', ',', 'is', "n't", 'it', '?']
    """
    for match in _TOKEN.finditer(caption):
        start, end = match.span()
        if "'" not in match.group():
            yield match.group().lower(), start, end
            continue
        if _OPENING.match(caption, start, end):
            yield "'", start, start + 1
            start += 1
        clitic = _CLITIC.search(caption, start + 1, end)
        middle = clitic.start() if clitic else end
        yield caption[start:middle].lower(), start, middle
        if middle < end:
            yield caption[middle:end].lower(), middle, end


@lru_cache(maxsize=1 << 16)
def singular(word: str) -> str:
    """Singular of a word in lower case, as pattern.en has it, its errors included.

    Its errors are part of the published figures: `bus` has no plural s, yet loses it.

    >>> [singular(word) for word in ("women", "knives", "skis", "bus", "buses", "ties")]
    ['woman', 'knife', 'ski', 'bu', 'bus', 'ty']
    """
    if any(kept.endswith(word) for kept in _UNCHANGED):
        return word
    for ending, replaced in _WHOLE.items():
        if word.endswith(ending):
            return replaced
    for ending, replaced in _IRREGULAR.items():
        if word.endswith(ending):
            return word[: len(word) - len(ending)] + replaced
    for rule, replaced in _ENDINGS:
        match = rule.search(word)
        if match:
            return word[: match.end(1)] + replaced
    return word
