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


def arms(best: Mapping[str, Best], options: VigorReward, seed: int) -> dict[str, list[Taken]]:
    """What each arm takes of every image, see `vlground.rewards.arms`.

    Args:
        best: Image id -> what was taken.
        options: What counts as wrong, and as not detected.
        seed: Of the random pick.
    """
    found: dict[str, list[Taken]] = {arm: [] for arm in ARMS}
    for image, one in best.items():
        for arm, taken in zip(ARMS, _taken(image, one, options, seed), strict=True):
            found[arm].append(taken)
    return found


def _taken(image: str, one: Best, options: VigorReward, seed: int) -> Iterator[Taken]:
    for index in (min(one.written), drawn(seed, image, one.written), one.winner):
        whole = one.candidates[index]
        everything = tuple(range(len(whole.sentences)))
        yield _of(image, whole, whole.text, everything, options)
    whole, refined = one.candidates[one.winner], one.refined
    yield _of(image, whole, refined.text.strip(), refined.kept, options)


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
