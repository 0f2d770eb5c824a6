"""Which words of a caption stand for which object class (CHAIR, arXiv 1809.02156)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from vlground.errors import VlgroundError
from vlground.metrics.chair_words import RULES, singular, tokens

OFFICIAL = Path(__file__).with_name("chair_vocabulary.txt")
_PAIRS: Mapping[str, str] = {
    **{pair: pair for pair in RULES["pairs"]},
    **{f"{age} {name}": name for age in ("baby", "adult") for name in RULES["animals"].split()},
    **RULES["meant"],
}


@dataclass(frozen=True)
class Mention:
    """A word that stands for an object.

    Attributes:
        word: As it is looked up: lower case, singular, one word or two.
        name: Of the class.
        start: First character in the caption.
        end: End in the caption, half-open.
    """

    word: str
    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Vocabulary:
    """Words and their classes.

    Attributes:
        classes: Word, or two words -> name of the class.
        pairs: Two words that follow each other -> the word that they count as.
    """

    classes: Mapping[str, str]
    pairs: Mapping[str, str] = field(default_factory=dict)

    def known(self, names: Iterable[str]) -> set[str]:
        """The classes of names, or of words for them; what is no class is left out."""
        return {self.classes[name] for name in names if name in self.classes}

    def mentions(self, caption: str) -> list[Mention]:
        """Every word of a caption that stands for an object, repeated ones too, in order.

        >>> [m.name for m in vocabulary().mentions("A baby elephant and two men on a bow tie.")]
        ['elephant', 'person', 'tie']
        """
        words = [(singular(token), start, end) for token, start, end in tokens(caption)]
        read: list[tuple[str, int, int]] = []
        at = 0
        while at < len(words):
            word, start, end = words[at]
            both = f"{word} {words[at + 1][0]}" if at + 1 < len(words) else ""
            if both in self.pairs:
                word, end = self.pairs[both], words[at + 1][2]
                at += 1
            read.append((word, start, end))
            at += 1
        # The seat of a toilet is no chair (official).
        said = {word for word, _, _ in read}
        dropped = "seat" if {"toilet", "seat"} <= said else None
        return [
            Mention(word, self.classes[word], start, end)
            for word, start, end in read
            if word in self.classes and word != dropped
        ]


def vocabulary(synonyms: str | None = None, repaired: bool = False) -> Vocabulary:
    """The official words, or your own.

    Args:
        synonyms: A file like the official one: a class a line, its name first, then other words,
            with commas between; `#` begins a comment. Two words of it count as one wherever they
            follow each other. None: the official list with its own rules for two words.
        repaired: Take terms without the stray spaces and the capital that keep `motor bike`,
            `cheesecake` and `iphone` of the official list from being found (ours).

    Raises:
        VlgroundError: The file is not there, or holds no class.
    """
    path = Path(synonyms).expanduser() if synonyms else OFFICIAL
    try:
        status = path.stat()
        return _read(path, synonyms is None, repaired, status.st_mtime_ns, status.st_size)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise VlgroundError(
            f"metric.synonyms={synonyms}: expected a file with a class a line: {reason}"
        ) from error


@lru_cache(maxsize=8)
def _read(path: Path, official: bool, repaired: bool, changed: int, size: int) -> Vocabulary:
    clean = repaired or not official
    classes: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        terms = line.strip().split("," if clean else ", ")
        terms = [" ".join(term.lower().split()) if clean else term for term in terms]
        for term in terms:
            if term:
                classes[term] = terms[0]
    if not classes:
        raise VlgroundError(f"metric.synonyms={path}: it holds no class")
    if official:
        return Vocabulary(classes, _PAIRS)
    return Vocabulary(classes, {term: term for term in classes if term.count(" ") == 1})
