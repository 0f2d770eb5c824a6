"""POPE's questions for any annotated data set (Li et al., arXiv 2305.10355)."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vlground.data.sample import DataSet, KnownObjects, Sample
from vlground.errors import VlgroundError

Strategy = Literal["random", "popular", "adversarial"]
# Said with a consonant first ("a unicycle"), or with a vowel ("an hourglass").
_A = re.compile(r"(?:uni(?!nt|nf|ns|nv)|us[aeiu]|ut[ei]|uri|ukulele|eu|ew|one\b|once\b)")
_ARTICLE = re.compile(r"(?i)^\s*(?:an?|the)\s+")
_AN = re.compile(r"(?:[aeiou]|hour|hono|heir)")


def article(name: str) -> str:
    """`a` or `an`, by how a word sounds (ours: the vowels, and the exceptions we know).

    >>> [article(name) for name in ("apple", "dog", "unicycle", "umbrella", "hourglass")]
    ['an', 'a', 'a', 'an', 'an']
    """
    word = name.strip().lower()
    return "an" if _AN.match(word) and not _A.match(word) else "a"


def question_about(name: str) -> str:
    """POPE's question, with the right article (the older official files say `imange`)."""
    return f"Is there {article(name)} {name} in the image?"


class ExistenceQuestions:
    """Asks of each image about things that are in it, and as often about things that are not.

    What is in an image is what the source says that it holds, if it knows (`KnownObjects`); else
    what its samples' texts name, which should be names of classes; an article before them is taken
    away.
    What is not there is drawn from all of them (random), or the most frequent one (popular), or the
    one that is most often in images with the thing asked about before it (adversarial), each time
    without what the image was asked about already; where nothing is left, at random. All of this is
    the published procedure. Ours: images are not sampled, everything is drawn from (seed, image),
    what is there is drawn too instead of taken in the order of the annotations, and equally
    frequent names are taken by the alphabet.

    Args:
        source: An annotated data set.
        strategies: Which questions to build; each is a category.
        pairs: Questions about things that are there, an image; and as many about others.
        seed: Of all draws.

    Attributes:
        skipped: Reason -> number of images without questions.

    Raises:
        VlgroundError: An option is impossible, or no image has enough objects.
    """

    def __init__(
        self,
        source: DataSet,
        strategies: Sequence[Strategy] = get_args(Strategy),
        pairs: int = 3,
        seed: int = 0,
    ) -> None:
        unknown = [name for name in strategies if name not in get_args(Strategy)]
        if unknown or not strategies:
            legal = ", ".join(get_args(Strategy))
            raise VlgroundError(f"dataset.strategies={list(strategies)}: expected any of {legal}")
        if pairs < 1:
            raise VlgroundError(f"dataset.pairs={pairs}: expected a number from 1 on")
        self.skipped: Counter[str] = Counter()
        first, objects = self._images(source, pairs)
        truth = Frequencies.of(objects)
        self._samples: list[Sample] = []
        numbers: Counter[str] = Counter()
        for image, names in objects.items():
            if len(truth.names - names) < pairs:
                self.skipped["image with too few absent objects"] += 1
                continue
            for strategy in strategies:
                for name, label in _asked(truth, image, names, strategy, pairs, seed):
                    numbers[strategy] += 1
                    number, text = f"{strategy}/{numbers[strategy]}", question_about(name)
                    self._samples.append(Sample(number, image, first[image], text, label=label))
        if not self._samples:
            raise VlgroundError(
                f"dataset.pairs={pairs}: no image has so many objects and lacks as many others"
            )

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def _images(
        self, source: DataSet, pairs: int
    ) -> tuple[dict[str, Path | np.ndarray], dict[str, set[str]]]:
        """The pixels and the objects of every image that has enough of them."""
        first: dict[str, Path | np.ndarray] = {}
        objects: dict[str, set[str]] = {}
        for index in range(len(source)):
            sample = source[index]
            first.setdefault(sample.image_id, sample.image)
            known = objects.setdefault(sample.image_id, set())
            if isinstance(source, KnownObjects):
                known |= source.objects.get(sample.image_id, frozenset())
            else:
                known.add(_ARTICLE.sub("", sample.text))
        enough = {image: names for image, names in objects.items() if len(names) >= pairs}
        if len(enough) < len(objects):
            self.skipped[f"image with fewer than {pairs} objects"] = len(objects) - len(enough)
        return first, enough


@dataclass(frozen=True)
class Frequencies:
    """How often things are in images, and together.

    Attributes:
        names: Of all things.
        popular: By the number of images, most frequent first.
        together: Thing -> others by the number of images with both, most frequent first.
    """

    names: frozenset[str]
    popular: tuple[str, ...]
    together: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, objects: Mapping[str, set[str]]) -> "Frequencies":
        """Count the objects of images.

        >>> counted = Frequencies.of({"1": {"cup", "dog"}, "2": {"cup"}})
        >>> counted.popular, counted.together["cup"]
        (('cup', 'dog'), ('dog',))
        """
        alone: Counter[str] = Counter()
        both: dict[str, Counter[str]] = {}
        for names in objects.values():
            alone.update(names)
            for name in names:
                both.setdefault(name, Counter()).update(names - {name})
        together = {name: _ordered(counts) for name, counts in both.items()}
        return cls(frozenset(alone), _ordered(alone), together)


def _ordered(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))


def _asked(
    truth: Frequencies, image: str, names: set[str], strategy: Strategy, pairs: int, seed: int
) -> list[tuple[str, str]]:
    """Names and labels of the questions about one image, a yes and a no in turns."""
    # Without the strategy: all three ask about the same things that are there.
    there = _drawn(names, seed, image, "there")[:pairs]
    absent = _drawn(truth.names - names, seed, image, strategy)
    asked: list[tuple[str, str]] = []
    for name in there:
        wanted = {
            "random": absent,
            "popular": truth.popular,
            "adversarial": truth.together[name],
        }[strategy]
        used = {one for one, _ in asked} | names
        other = next(one for one in (*wanted, *absent) if one not in used)
        asked += [(name, "yes"), (other, "no")]
    return asked


def _drawn(names: set[str] | frozenset[str], seed: int, image: str, purpose: str) -> list[str]:
    """Names in an order drawn from (seed, image, purpose)."""
    key = repr((seed, image, purpose))
    return sorted(names, key=lambda name: hashlib.sha256(f"{key}{name}".encode()).hexdigest())
