"""A small reward model: a sentence's words, crossed with the objects that its image holds (ours).

    "A man rides a horse"  +  {person, dog}  ──▶  man, man × person, man × dog, rides, …  ──▶  p

A word alone tells what language makes likely, a word with an object what the image says. That `man`
names a person is nowhere written: it is learnt from labels. Without the objects the same model is
the blind baseline.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy import sparse
from scipy.special import expit

from vlground.contracts import SentenceScorer
from vlground.data.captions import read_objects
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.rewards.words import WORD, singular
from vlground.whole import one_line_on_failure, replacing

Evidence = Literal["objects", "none"]

BUCKETS = 1 << 20  # 12,000 captions and COCO's classes fill an eighth
_FORMAT = "words and objects 1"  # another one if other columns are made of a sentence


@dataclass(frozen=True, eq=False)
class WordWeights:
    """What a word, or a word in the presence of an object, adds to the logit of an error.

    Attributes:
        weights: `(BUCKETS,)` float32.
        bias: Added to every logit.
        evidence: objects, or none: words alone are read.
        facts: How it was trained; kept in the file.
    """

    weights: np.ndarray
    bias: float
    evidence: Evidence
    facts: Mapping[str, str] = field(default_factory=dict)

    def probabilities(self, columns: sparse.csr_array) -> np.ndarray:
        """`(n,)` probability of an error in 0-1, of sentences as `columns_of` makes them."""
        return np.asarray(expit(columns @ self.weights.astype(np.float64) + self.bias))

    def save(self, path: Path) -> None:
        """Write what is not zero.

        Raises:
            VlgroundError: If it cannot be written.
        """
        places = np.flatnonzero(self.weights)
        arrays: dict[str, np.ndarray] = {
            "places": places.astype(np.int32),
            "weights": self.weights[places].astype(np.float32),
            "bias": np.array([self.bias], dtype=np.float64),
        }
        # One entry: safetensors writes several in any order, and the file stands for a stage.
        told = {**self.facts, "format": _FORMAT, "evidence": self.evidence}
        metadata = {"model": json.dumps(told, sort_keys=True)}
        with one_line_on_failure(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(save(arrays, metadata))

    @classmethod
    def load(cls, file: str) -> "WordWeights":
        """Read what `save` wrote.

        Raises:
            VlgroundError: If it is not there, or not of this kind.
        """
        path = Path(file).expanduser()
        if not path.is_file():
            raise VlgroundError(f"reward.file={file}: no such file")
        try:
            with safe_open(path, framework="numpy") as content:
                facts = json.loads((content.metadata() or {})["model"])
                if facts.pop("format") != _FORMAT:
                    raise ValueError("of another release")
                evidence: Evidence = facts.pop("evidence")
                if evidence not in get_args(Evidence):
                    raise ValueError(f"evidence {evidence}")
                weights = np.zeros(BUCKETS, dtype=np.float32)
                weights[content.get_tensor("places")] = content.get_tensor("weights")
                bias = float(content.get_tensor("bias")[0])
        except (SafetensorError, OSError, KeyError, ValueError, IndexError) as error:
            told = "no weights that task=word_reward wrote"
            raise VlgroundError(f"reward.file={file}: {told}: {error}") from error
        return cls(weights, bias, evidence, facts)


class WordsAndObjects(SentenceScorer):
    """Scores sentences by their words and by the objects in the image, see `WordWeights`.

    Args:
        file: `words_and_objects.safetensors` in the `model` folder of a run of `task=word_reward`.
        objects: JSON, image id -> names of the objects in the image; a blind model does not read
            it.

    Raises:
        VlgroundError: If a file is not there or not of its kind, or the objects are missing.
    """

    version: ClassVar[int] = 1

    def __init__(self, file: str, objects: str | None = None) -> None:
        self._weights = WordWeights.load(file)
        self._objects: Mapping[str, frozenset[str]] | None = None
        if self._weights.evidence == "objects":
            if objects is None:
                told = "expected a JSON file, image id -> names: the model in reward.file reads it"
                raise VlgroundError(f"reward.objects=None: {told}")
            self._objects, _ = read_objects(objects, "reward.objects")

    def score(
        self, samples: Sequence[Sample], sentences: Sequence[Sequence[str]]
    ) -> list[list[dict[str, float]]]:
        """Score all sentences.

        Args:
            samples: n samples, of which the image id is read.
            sentences: Of each, the sentences of one caption.

        Returns:
            n lists, one entry a sentence: `unspecified` (of all types that it was trained on) ->
            probability in 0-1; empty of an image whose objects are not known.
        """
        scores = []
        for sample, pieces in zip(samples, sentences, strict=True):
            names: frozenset[str] | None = frozenset()
            if self._objects is not None:
                names = self._objects.get(sample.image_id)
            if names is None:
                scores.append([dict[str, float]() for _ in pieces])
                continue
            columns = columns_of(pieces, [names] * len(pieces))
            told = self._weights.probabilities(columns).tolist()
            scores.append([{"unspecified": chance} for chance in told])
        return scores


def columns_of(sentences: Iterable[str], objects: Iterable[Collection[str]]) -> sparse.csr_array:
    """Sentences as rows of ones and zeros.

    Args:
        sentences: n of them.
        objects: Of each, the names of what its image holds; empty: words alone.

    Returns:
        `(n, BUCKETS)` float64: 1 for each different word (lower case, singular) and for each word
        with each object, hashed.
    """
    starts, columns = [0], list[int]()
    for sentence, names in zip(sentences, objects, strict=True):
        found = {
            singular(one.group()) for one in WORD.finditer(sentence) if one.group()[0].isalnum()
        }
        terms = {_bucket(word) for word in found}
        terms |= {_bucket(f"{word} × {name}") for word in found for name in names}
        columns += sorted(terms)
        starts.append(len(columns))
    ones = np.ones(len(columns))
    return sparse.csr_array((ones, columns, starts), shape=(len(starts) - 1, BUCKETS))


@lru_cache(maxsize=1 << 20)
def _bucket(term: str) -> int:
    content = term.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") % BUCKETS
