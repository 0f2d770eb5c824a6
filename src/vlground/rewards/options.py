"""Every choice between scores and a winner that ViGoR leaves open, as one set of options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal, get_args, get_origin, get_type_hints

from vlground.errors import VlgroundError

# Of ViGoR's annotators; the last is ours, for labels that name no type.
ERROR_TYPES = (
    "hallucination",
    "attribute",
    "relationship",
    "location",
    "conjecture",
    "unspecified",
)
_EQUAL = dict.fromkeys(ERROR_TYPES, 1.0)
STREAMS = ("sentences", "nouns")
TIES = ("grounded", "longer", "shorter")


@dataclass(frozen=True)
class VigorReward:
    """How scores become a penalty, a winner and a refined caption.

    The paper: "we aggregate all negative signals from the two streams … by normalizing their values
    with their respective variances and linearly combine them"; the lowest of 5 is kept, and its
    sentences with hallucinated nouns are removed. So, with the defaults,

        penalty = H / Var(H) + λ · D / Var(D)

    H the sentences called inaccurate, D the nouns not detected (reconstructed).

    Attributes:
        streams: Which of the two count: sentences (ViGoR's human branch), nouns (its automatic
            one), or both.
        sentence_score: A sentence counts 1 if an error's probability is above the threshold
            (binary), or by the probability itself (probabilistic) (the paper does not say).
        sentence_threshold: τ, of the binary score and of refinement.
        error_weights: Error type -> weight, from 0 on; 1 of types that are not named (ours).
        errors: Several errors of one sentence: the worst counts (max), so that H is a number of
            sentences, or all do (sum) (ours).
        noun_score: A noun counts 1 if its probability is not above it (binary, the paper),
            or by 1 - probability (probabilistic, ours).
        noun_threshold: Above it a noun is detected (paper: 0.25).
        nouns: A noun named twice counts once (distinct), or twice (mentions) (not stated).
        amount: counts (reconstructed), which favour short captions, or rates a sentence and a noun,
            which favour long ones.
        normalise: By the variance (paper's wording), the standard deviation, the rank in the pool
            in 0..1, or not at all. A constant stream contributes 0.
        pool: What the statistics are over: all candidates (global), those of the image, or a file
            measured before (frozen), with which a shard scores as the whole does.
        statistics: That file.
        noun_weight: λ, of the nouns' stream (not stated).
        tie_order: What decides between equal penalties, in this order: more grounded nouns, more
            words, fewer words. What is then still equal goes to the lower index (ours).
        unknown: What of a sentence that nobody scored, or a noun that the detector cannot tell: it
            does not count, unless all of a candidate's are like that (ignore), or the candidate
            cannot be taken (refuse) (ours).
        take_empty: Whether an empty caption, which no one holds anything against, may win (ours).
        refine: Which sentences of the winner are removed: those with an undetected noun (nouns,
            the paper), those that the sentence scorer calls inaccurate (sentences), either, none.
        keep_at_least: So many sentences stay, those with the least against them (ours; 0: a caption
            may become empty).

    >>> VigorReward(normalise="foo")
    Traceback (most recent call last):
    vlground.errors.VlgroundError: metric.normalise=foo: expected one of variance, std, rank, none
    """

    streams: Sequence[str] = STREAMS
    sentence_score: Literal["binary", "probabilistic"] = "binary"
    sentence_threshold: float = 0.5
    error_weights: Mapping[str, float] = field(
        default_factory=lambda: dict.fromkeys(ERROR_TYPES, 1)
    )
    errors: Literal["max", "sum"] = "max"
    noun_score: Literal["binary", "probabilistic"] = "binary"
    noun_threshold: float = 0.25
    nouns: Literal["distinct", "mentions"] = "distinct"
    amount: Literal["counts", "rates"] = "counts"
    normalise: Literal["variance", "std", "rank", "none"] = "variance"
    pool: Literal["global", "image", "frozen"] = "global"
    statistics: str | None = None
    noun_weight: float = 1.0
    tie_order: Sequence[str] = ("grounded", "longer")
    unknown: Literal["ignore", "refuse"] = "ignore"
    take_empty: bool = False
    refine: Literal["nouns", "sentences", "either", "none"] = "nouns"
    keep_at_least: int = 0

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                _refuse(name, getattr(self, name), f"one of {', '.join(get_args(kind))}")
        self._check_numbers()
        if not _distinct(self.streams, STREAMS) or not self.streams:
            _refuse("streams", self.streams, f"some of {', '.join(STREAMS)}")
        if not _distinct(self.tie_order, TIES) or {"longer", "shorter"} <= {*self.tie_order}:
            _refuse("tie_order", self.tie_order, "a list of grounded and of longer or shorter")
        if not isinstance(self.take_empty, bool):
            _refuse("take_empty", self.take_empty, "true or false")
        if (self.pool == "frozen") != (self.statistics is not None):
            _refuse("statistics", self.statistics, "a file with pool=frozen, and null without")

    def _check_numbers(self) -> None:
        for name in ("sentence_threshold", "noun_threshold"):
            if not _within(getattr(self, name), 1):
                _refuse(name, getattr(self, name), "a number from 0 to 1")
        if not _within(self.noun_weight, inf):
            _refuse("noun_weight", self.noun_weight, "a finite number from 0 on")
        if not isinstance(self.keep_at_least, int) or not _within(self.keep_at_least, inf):
            _refuse("keep_at_least", self.keep_at_least, "a whole number from 0 on")
        for name, weight in self.error_weights.items():
            if name not in ERROR_TYPES:
                _refuse("error_weights", name, f"types among {', '.join(ERROR_TYPES)}")
            if not _within(weight, inf):
                _refuse(f"error_weights.{name}", weight, "a finite number from 0 on")

    @property
    def counted(self) -> dict[str, object]:
        """The options on which the raw signals depend, which frozen statistics must share."""
        names = ("sentence_score", "sentence_threshold", "errors", "noun_score", "noun_threshold")
        counted: dict[str, object] = {name: getattr(self, name) for name in (*names, "nouns")}
        weights = {name: float(self.error_weights.get(name, 1)) for name in ERROR_TYPES}
        counted |= {"amount": self.amount, "unknown": self.unknown}
        return {**counted, "error_weights": weights}


def _within(value: object, highest: float) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value <= highest and value != inf  # type: ignore[operator]


def _distinct(given: object, known: Sequence[str]) -> bool:
    if isinstance(given, str) or not isinstance(given, Sequence):
        return False
    return set(given) <= set(known) and len(set(given)) == len(given)


def _refuse(name: str, value: object, expected: str) -> None:
    raise VlgroundError(f"metric.{name}={value}: expected {expected}")
