"""Nouns of a sentence with their offsets: what a detector is asked to find (reconstructed).

ViGoR extracts nouns with NLTK and asks Grounding DINO for each. What it does about plurals, nouns
of several words and nouns that name no object is not stated; here each is an option.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from vlground.errors import VlgroundError
from vlground.metrics.chair_vocabulary import OFFICIAL
from vlground.rewards.taggers import TAGGERS, Tagger
from vlground.rewards.words import WORD, by_rule, read_list, singular

VERSION = 2  # raised when other nouns are found

TaggerName = Literal["textblob", "hanta", "nltk", "spacy", "vocabulary"]
Compounds = Literal["adjacent", "listed", "none"]


@dataclass(frozen=True, slots=True)
class Noun:
    """A mention of something in a sentence.

    Attributes:
        start: Offset of its first character in the sentence.
        end: Offset behind its last one.
        lemma: Lower case, singular; of a vocabulary the name of the term.
    """

    start: int
    end: int
    lemma: str


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    end: int
    lower: str
    lemma: str

    @property
    def latin(self) -> bool:
        """Whether it begins with a Latin letter; the taggers call what they do not know a noun."""
        return self.lower[0].isalpha() and self.lower[0] < "\u0250"


class NounFinder:
    """Finds nouns.

    Args:
        tagger: Who says what a noun is; vocabulary: the terms of a list and nothing else.
        vocabulary: Of tagger=vocabulary: the terms, or a file with one a line. A term may be
            followed by its synonyms after commas: `person, man, woman`. coco: CHAIR's words for
            COCO's 80 classes.
        compounds: adjacent: neighbouring nouns are one (`kitchen counter`); listed: those of the
            list are (`wine glass`), all others are alone; none: each word is alone. A vocabulary's
            terms of several words are always one.
        compound_list: File of those nouns, one a line; None: the one shipped.
        stop_nouns: File of nouns that name no object, one a line; None: the one shipped; "": none
            are left out. A vocabulary's terms are never left out.

    Raises:
        VlgroundError: If an option is unknown, a file is not there or a tagger is not installed.

    >>> finder = NounFinder("vocabulary", ["person, man, woman", "wine glass"])
    >>> [(noun.start, noun.lemma) for noun in finder.find("Two men drink from wine glasses.")]
    [(4, 'person'), (19, 'wine glass')]
    """

    def __init__(
        self,
        tagger: TaggerName = "textblob",
        vocabulary: str | Sequence[str] | None = None,
        compounds: Compounds = "adjacent",
        compound_list: str | None = None,
        stop_nouns: str | None = None,
    ) -> None:
        for option, value, kind in (
            ("tagger", tagger, TaggerName),
            ("compounds", compounds, Compounds),
        ):
            if value not in get_args(kind):
                expected = ", ".join(get_args(kind))
                raise VlgroundError(f"task.nouns.{option}={value}: expected one of {expected}")
        if (tagger == "vocabulary") != (vocabulary is not None):
            wants = "expected a list or a file with tagger=vocabulary, and null with another"
            raise VlgroundError(f"task.nouns.vocabulary={vocabulary}: {wants}")
        self.compounds = compounds
        self._tagger: Tagger | None = None
        self._stop: frozenset[str] = frozenset()
        if vocabulary is not None:
            listed = str(OFFICIAL) if vocabulary == "coco" else vocabulary
            self._terms = _named(_lines("vocabulary", listed))
            if not self._terms:
                raise VlgroundError(f"task.nouns.vocabulary={vocabulary}: no term in it")
        else:
            self._tagger = TAGGERS[tagger]()
            self._stop = frozenset(_shipped("stop_nouns", stop_nouns))
            listed = _shipped("compound_list", compound_list, "compounds")
            self._terms = {} if compounds == "none" else _named(listed)
        self._longest = max((term.count(" ") + 1 for term in self._terms), default=0)

    @property
    def tagger(self) -> str:
        """Who found the nouns, with the release: to be recorded, since nouns differ."""
        return "vocabulary" if self._tagger is None else self._tagger.name

    def find(self, sentence: str) -> list[Noun]:
        """Find the nouns of one sentence.

        Args:
            sentence: One sentence; the context of a tagger.

        Returns:
            Mentions in order, without overlap; a noun named twice is there twice.
        """
        words = [_word(found.start(), found.group()) for found in WORD.finditer(sentence)]
        if not words:
            return []
        tagged = [False] * len(words)
        if self._tagger is not None:
            tagged = self._tagger.nouns([sentence[word.start : word.end] for word in words])
        return [
            noun for noun in self._walk(sentence, words, tagged) if noun.lemma not in self._stop
        ]

    def _walk(
        self, sentence: str, words: Sequence[_Word], tagged: Sequence[bool]
    ) -> Iterator[Noun]:
        i = 0
        while i < len(words):
            length, name = self._term(words, i)
            if not length and tagged[i] and words[i].latin:
                length = self._run(sentence, words, tagged, i)
                rest = [word.lower for word in words[i : i + length - 1]]
                name = " ".join([*rest, words[i + length - 1].lemma])
            if length:
                yield Noun(words[i].start, words[i + length - 1].end, name)
            i += max(1, length)

    def _term(self, words: Sequence[_Word], i: int) -> tuple[int, str]:
        """Number of words of the longest listed term that begins at word i, and its name."""
        for length in range(min(self._longest, len(words) - i), 0, -1):
            *rest, last = words[i : i + length]
            for lemma in (last.lemma, by_rule(last.lower)):  # `glasses` of `wine glasses`
                term = " ".join([*(word.lower for word in rest), lemma]).replace("-", " ")
                if term in self._terms:
                    return length, self._terms[term]
        return 0, ""

    def _run(self, sentence: str, words: Sequence[_Word], tagged: Sequence[bool], i: int) -> int:
        """Number of neighbouring nouns from word i on that are one."""
        last = i
        if self.compounds != "adjacent" or words[i].lemma in self._stop:
            return 1
        # Only white space may lie between two words that are one.
        while (
            last + 1 < len(words)
            and tagged[last + 1]
            and words[last + 1].latin
            and words[last + 1].lemma not in self._stop
            and not sentence[words[last].end : words[last + 1].start].strip()
            and not self._term(words, last + 1)[0]
        ):
            last += 1
        return last + 1 - i


def _word(start: int, text: str) -> _Word:
    lemma = singular(text)
    end = start + len(text)
    if text.lower().endswith(("'s", "’s")) and len(text) > 2:
        end -= 2  # `dog's`
    return _Word(start, end, text.lower().replace("’", "'").removesuffix("'s"), lemma)


def _named(lines: Sequence[str]) -> Mapping[str, str]:
    """Term or synonym -> name; singular, without hyphens."""
    names: dict[str, str] = {}
    for line in lines:
        terms = [term.strip().lower() for term in line.split(",") if term.strip()]
        for term in terms:
            *rest, last = term.replace("-", " ").split() or [term]
            names.setdefault(" ".join([*rest, singular(last)]), terms[0])
    return names


def _lines(option: str, given: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(given, str):
        return [str(line) for line in given]
    try:
        return read_list(Path(given).expanduser())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise VlgroundError(f"task.nouns.{option}={given}: cannot read: {reason}") from error


def _shipped(option: str, given: str | None, name: str | None = None) -> Sequence[str]:
    if given == "":
        return []
    if given is None:
        return read_list(Path(__file__).with_name(f"{name or option}.txt"))
    return _lines(option, given)
