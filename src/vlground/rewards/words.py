"""Words of a sentence with their offsets, and the singular of a noun (ours)."""

import re
from functools import cache, lru_cache
from pathlib import Path

WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*|[^\w\s]|_")

_SYLLABLE = re.compile(r"(?:ch|sh|x|ss|z|[^aeiou]o)es$")


def read_list(path: Path) -> list[str]:
    """Lines of a text file without comments (`#`) and empty ones."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line]


@cache
def _irregular() -> dict[str, str]:
    lines = read_list(Path(__file__).with_name("irregular_nouns.txt"))
    return dict(line.split() for line in lines)


@lru_cache(maxsize=1 << 16)
def singular(word: str) -> str:
    """The singular of an English noun, in lower case; an unknown or singular word as it is.

    Args:
        word: One word; of a compound with hyphens the last part is changed.

    >>> [singular(w) for w in ("Women", "glass", "boxes", "wine-glasses", "tomatoes", "skies")]
    ['woman', 'glass', 'box', 'wine-glass', 'tomato', 'sky']
    """
    lower = word.lower().replace("’", "'")
    lower = lower.removesuffix("'s")
    head, hyphen, last = lower.rpartition("-")
    if hyphen:
        return head + hyphen + ("glass" if last == "glasses" else singular(last))
    irregular = _irregular()
    if last in irregular:
        return irregular[last]
    for ending, one in (("women", "woman"), ("men", "man")):
        if last.endswith(ending) and len(last) > len(ending) + 1 and not last.endswith("cimen"):
            return last[: -len(ending)] + one
    return by_rule(last)


def by_rule(word: str) -> str:
    """What the rules alone make of a word, which is wrong of some (`glasses` may be a pair)."""
    if len(word) < 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if _SYLLABLE.search(word) else word[:-1]
