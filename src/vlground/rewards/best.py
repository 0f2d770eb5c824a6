"""The best candidate of every image, refined, beside what it is compared with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vlground.rewards.arms import ARMS, Taken, drawn
from vlground.rewards.described import Described
from vlground.rewards.options import VigorReward
from vlground.rewards.refinement import Refined


@dataclass(frozen=True, eq=False)
class Best:
    """What was taken of one image.

    Attributes:
        winner: Number of the candidate with the lowest penalty.
        worst: Number of the one with the highest; None: no penalty is higher than the winner's.
        tied: Candidates that share the lowest penalty.
        able: Numbers of those that could be taken.
        written: Numbers of all that are captions, also of those that could not.
        candidates: Those that an arm takes, and the worst, by number.
        refined: The winner without what is held against it.
    """

    winner: int
    worst: int | None
    tied: int
    able: tuple[int, ...]
    written: tuple[int, ...]
    candidates: Mapping[int, Described]
    refined: Refined


@dataclass(frozen=True, slots=True)
class Outcome:
    """What stays in memory of an image: numbers.

    Attributes:
        winner: As in `Best`.
        worst: As in `Best`.
        tied: As in `Best`.
        removed: Sentences that refinement removed.
        spared: Sentences that it had to keep.
        emptied: Whether nothing is left.
    """

    winner: int
    worst: int | None
    tied: int
    removed: int
    spared: int
    emptied: bool


def outcome(best: Best) -> Outcome:
    """The numbers of what was taken."""
    refined = best.refined
    numbers = len(refined.removed), refined.spared, refined.emptied
    return Outcome(best.winner, best.worst, best.tied, *numbers)


def arms(image: str, one: Best, options: VigorReward, seed: int) -> Iterator[tuple[str, Taken]]:
    """What each arm takes of an image, see `vlground.rewards.arms`.

    Args:
        image: Its id.
        one: What was taken of it.
        options: What counts as wrong, and as not detected.
        seed: Of the random pick.
    """
    numbers = (min(one.written), drawn(seed, image, one.written), one.winner)
    for arm, index in zip(ARMS, numbers, strict=False):
        whole = one.candidates[index]
        everything = tuple(range(len(whole.sentences)))
        yield arm, _of(image, whole, whole.text, everything, options)
    whole, refined = one.candidates[one.winner], one.refined
    yield ARMS[-1], _of(image, whole, refined.text.strip(), refined.kept, options)


def _of(
    image: str, whole: Described, text: str, kept: tuple[int, ...], options: VigorReward
) -> Taken:
    return Taken(image, text, whole.wrong(kept, options), whole.missing(kept, options))


def why(one: Best, penalties: Mapping[int, float], options: VigorReward) -> str:
    """Why the winner won, in a sentence.

    Args:
        one: Of the image.
        penalties: Number -> penalty, of those that could be taken.
        options: The tie order.
    """
    lowest = penalties[one.winner]
    if len(one.able) == 1:
        return "It is the only candidate that could be taken."
    if one.tied == 1:
        second = min(value for index, value in penalties.items() if index != one.winner)
        return f"Its penalty {lowest:.3g} is the lowest; the next one is {second:.3g}."
    order = ", ".join({"grounded": "more detected nouns"}.get(n, n) for n in options.tie_order)
    decided = f"decided by {order}, then the lower number" if order else "the lower number decided"
    return f"{one.tied} candidates share the lowest penalty {lowest:.3g}; {decided}."
