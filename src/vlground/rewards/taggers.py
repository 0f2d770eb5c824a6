"""Which words of a sentence are nouns: part-of-speech taggers behind one method.

ViGoR uses NLTK. Its data must be downloaded; TextBlob's and HanTa's come with their packages. They
disagree, so the name and release of the tagger are part of every result.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import ClassVar

from vlground.errors import VlgroundError


class Tagger:
    """Says of each word whether it is a noun.

    Attributes:
        package: The distribution that does it.
    """

    package: ClassVar[str]

    @property
    def name(self) -> str:
        """Package and release, for the record."""
        return f"{self.package} {version(self.package)}"

    def nouns(self, words: Sequence[str]) -> list[bool]:
        """Whether each word is a noun.

        Args:
            words: Words and punctuation marks of one sentence, in order; none is empty or holds
                white space.
        """
        raise NotImplementedError


class TextBlobTagger(Tagger):
    """The tagger of the library `pattern`, a lexicon and rules after Brill, inside TextBlob."""

    package = "textblob"

    def __init__(self) -> None:
        try:
            from textblob.en import tag  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError as error:
            raise _missing("textblob") from error
        self._tag = tag

    def nouns(self, words: Sequence[str]) -> list[bool]:
        """See `Tagger.nouns`."""
        tagged = self._tag(" ".join(words), tokenize=False)
        if len(tagged) != len(words):
            raise VlgroundError(
                f"task.nouns.tagger=textblob: {len(tagged)} tags of {len(words)} words; choose "
                "another"
            )
        return [tag.startswith("NN") for _, tag in tagged]


class HanTaTagger(Tagger):
    """The Hanover Tagger; its model is a pickle inside its package, which the package loads."""

    package = "HanTa"

    def __init__(self) -> None:
        try:
            from HanTa.HanoverTagger import HanoverTagger  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError as error:
            raise _missing("hanta") from error
        self._tagger = HanoverTagger("morphmodel_en.pgz")

    def nouns(self, words: Sequence[str]) -> list[bool]:
        """See `Tagger.nouns`."""
        if not words:
            return []
        return [tag.startswith("NN") for _, _, tag in self._tagger.tag_sent(list(words))]


class NLTKTagger(Tagger):
    """NLTK's averaged perceptron, as in the paper; needs its data."""

    package = "nltk"

    def __init__(self) -> None:
        try:
            from nltk import pos_tag  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError as error:
            raise _missing("nltk") from error
        self._pos_tag = pos_tag
        try:
            self.nouns(["cat"])
        except LookupError as error:
            raise VlgroundError(
                "task.nouns.tagger=nltk: its data averaged_perceptron_tagger_eng are not there; "
                "fetch them with nltk.download, or choose textblob, hanta or vocabulary"
            ) from error

    def nouns(self, words: Sequence[str]) -> list[bool]:
        """See `Tagger.nouns`."""
        return [tag.startswith("NN") for _, tag in self._pos_tag(list(words))]


class SpacyTagger(Tagger):
    """A pipeline of spaCy, `en_core_web_sm`."""

    package = "spacy"
    model: ClassVar[str] = "en_core_web_sm"

    def __init__(self) -> None:
        try:
            import spacy  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError as error:
            raise _missing("spacy") from error
        try:
            self._pipeline = spacy.load(self.model, exclude=["ner"])
        except OSError as error:
            raise VlgroundError(
                f"task.nouns.tagger=spacy: its model {self.model} is not installed; choose "
                "textblob, hanta or vocabulary"
            ) from error

    @property
    def name(self) -> str:
        """With the model's release."""
        return f"{super().name} {self.model} {self._pipeline.meta['version']}"

    def nouns(self, words: Sequence[str]) -> list[bool]:
        """See `Tagger.nouns`."""
        from spacy.tokens import Doc  # type: ignore[import-not-found,import-untyped,unused-ignore]

        document = self._pipeline(Doc(self._pipeline.vocab, words=list(words)))
        return [token.pos_ in ("NOUN", "PROPN") for token in document]


TAGGERS: dict[str, type[Tagger]] = {
    "textblob": TextBlobTagger,
    "hanta": HanTaTagger,
    "nltk": NLTKTagger,
    "spacy": SpacyTagger,
}


def _missing(option: str) -> VlgroundError:
    return VlgroundError(
        f"task.nouns.tagger={option}: the package {TAGGERS[option].package} is not installed; "
        "install it, or choose task.nouns.tagger=vocabulary with task.nouns.vocabulary=FILE"
    )
