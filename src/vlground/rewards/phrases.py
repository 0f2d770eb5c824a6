"""Claims of a sentence beyond its nouns: what an object is like, how it lies to another (ours).

ViGoR's automatic branch asks a detector for nouns, and names attributes and layouts as what it
cannot see. Here a sentence gives phrases instead, which take the place of nouns: each is looked for
as a whole, and what is not found is held against the sentence.

    "The red star is left of the small ring."
        nouns       star                                     ring
        attributes  a red star                               a small ring
        relations   a red star left of a small ring
    "The red star is at the top."
        relations   a red star at the top

A noun that the text links to a box (`vlground.data.links`) keeps its link in all phrases:
`a red star[12,30,28,46]`. Detectors that look for themselves do not read it.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, get_args

from vlground.data.links import part
from vlground.errors import VlgroundError
from vlground.rewards.nouns import Compounds, Noun, NounFinder, TaggerName
from vlground.rewards.words import WORD

VERSION = 1  # raised when other phrases are found

Phrases = Literal["nouns", "attributes", "relations", "all"]

_VERB = r"(?:(?:is|are|was|were|lies|lie|sits|sit|stands|stand) )?"
_ARTICLE = r"(?: (?:a|an|the))?"


class PhraseFinder(NounFinder):
    """Finds phrases in the place of nouns, by nouns and two lists of words.

    An attribute belongs to the noun that follows it, other attributes between them; `the star is
    red` and `it` are not read. A relation stands between two nouns, with or without a verb before
    it.

    Args:
        phrases: nouns: as `NounFinder`. attributes: nouns with an attribute before them, with all
            of them: `a small red star`. relations: two nouns with what is said between them, each
            with its attributes: `a red star left of a blue ring`. all: nouns (with their attributes
            where they have some) and relations.
        attributes: Words that say what an object is like.
        relations: How an object lies to another one, of one word or several.
        tagger: See `NounFinder`, as all that follow.
        vocabulary: Of tagger=vocabulary.
        compounds: Which nouns of several words are one.
        compound_list: File of those.
        stop_nouns: File of nouns that name no object.
        locations: Where in the image an object lies, of one word or several; they count with
            relations.

    Raises:
        VlgroundError: If an option is unknown, a file is not there or a tagger is not installed.

    >>> finder = PhraseFinder("relations", ["red"], ["left of"], "vocabulary", ["star", "ring"])
    >>> [noun.lemma for noun in finder.find("The red star is left of the ring.")]
    ['a red star left of a ring']
    """

    def __init__(
        self,
        phrases: Phrases,
        attributes: Sequence[str],
        relations: Sequence[str],
        tagger: TaggerName = "textblob",
        vocabulary: str | Sequence[str] | None = None,
        compounds: Compounds = "adjacent",
        compound_list: str | None = None,
        stop_nouns: str | None = None,
        locations: Sequence[str] = (),
    ) -> None:
        super().__init__(tagger, vocabulary, compounds, compound_list, stop_nouns)
        if phrases not in get_args(Phrases):
            expected = ", ".join(get_args(Phrases))
            raise VlgroundError(f"task.nouns.phrases={phrases}: expected one of {expected}")
        self._phrases = phrases
        self._attributes = frozenset(word.lower() for word in attributes)
        self._between: re.Pattern[str] | None = None
        if relations:
            said = "|".join(re.escape(one.lower()) for one in relations)
            self._between = re.compile(f"{_VERB}({said}){_ARTICLE}")
        self._behind: re.Pattern[str] | None = None
        if locations:
            said = "|".join(re.escape(one.lower()) for one in locations)
            self._behind = re.compile(rf" {_VERB}({said})\b", re.IGNORECASE)

    @property
    def tagger(self) -> str:
        """Who found the nouns and, since evidence depends on it, the release of the phrases."""
        return f"{super().tagger}, phrases {VERSION}"

    def find(self, sentence: str) -> list[Noun]:
        """Find the phrases of one sentence.

        Args:
            sentence: One sentence.

        Returns:
            Mentions in order of their beginning; the lemma is the phrase, lower case, its nouns
            singular and each with `a` or `an`. A relation overlaps what it relates.
        """
        parted = part(sentence)
        nouns = [
            Noun(one.start, one.end, one.lemma + parted.links.get(one.end, ""))
            for one in super().find(parted.text)
        ]
        found = self._phrases_of(parted.text, nouns)
        places = ((parted.behind(one.start), parted.before(one.end)) for one in found)
        return [Noun(*place, one.lemma) for place, one in zip(places, found, strict=True)]

    def _phrases_of(self, sentence: str, nouns: list[Noun]) -> list[Noun]:
        """Of a sentence without links, whose nouns have theirs."""
        if self._phrases == "nouns":
            return nouns
        words = [(one.start(), one.group().lower()) for one in WORD.finditer(sentence)]
        said = [self._described(sentence, noun, words) for noun in nouns]
        found: list[Noun] = []
        if self._phrases == "attributes":
            found = [one for one, noun in zip(said, nouns, strict=True) if one.start < noun.start]
        if self._phrases == "all":
            found = said
        if self._phrases in ("relations", "all"):
            found = [*found, *self._related(sentence, said), *self._located(sentence, said)]
        return sorted(found, key=lambda one: one.start)

    def _described(self, sentence: str, noun: Noun, words: Sequence[tuple[int, str]]) -> Noun:
        """A noun with the attributes that stand before it."""
        start, before = noun.start, list[str]()
        for place, word in reversed([one for one in words if one[0] < noun.start]):
            if word not in self._attributes:  # a comma is a word, too
                break
            start, before = place, [word, *before]
        return Noun(start, noun.end, _with_article(" ".join([*before, noun.lemma])))

    def _related(self, sentence: str, said: Sequence[Noun]) -> Iterator[Noun]:
        if self._between is None:
            return
        for one, other in pairwise(said):
            between = " ".join(sentence[one.end : other.start].lower().split())
            found = self._between.fullmatch(between)
            if found is not None:
                yield Noun(one.start, other.end, f"{one.lemma} {found.group(1)} {other.lemma}")

    def _located(self, sentence: str, said: Sequence[Noun]) -> Iterator[Noun]:
        for one in said:
            found = self._behind and self._behind.match(sentence, one.end)
            if found:
                yield Noun(one.start, found.end(), f"{one.lemma} {found.group(1).lower()}")


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
