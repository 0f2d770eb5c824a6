"""Which of n candidates a sentence scorer takes, beside chance and beside the labels (ours).

random    one by chance, as in `vlground.rewards.arms`
sum       the lowest sum of probabilities over its sentences, which favours few sentences
mean      the lowest mean
labels    the lowest sum of the labels themselves: what a scorer without errors would take
"""

from dataclasses import replace

import numpy as np

from vlground.rewards.arms import Taken, drawn
from vlground.rewards.gathering import Gathered, Scored, errors_of, gather
from vlground.rewards.options import VigorReward
from vlground.rewards.selection import rank
from vlground.rewards.sentence_labels import LabelledSentences

ARMS = ("random", "sum", "mean", "labels")


def best_of_n(
    sentences: LabelledSentences,
    probabilities: np.ndarray,
    options: VigorReward,
    n: int,
    seed: int,
) -> dict[str, list[tuple[str, int]]]:
    """Take one candidate of every image.

    Args:
        sentences: Of all candidates.
        probabilities: `(sentences,)` of an error, in 0-1.
        options: Tie order, weights, what of empty captions.
        n: Candidates that are chosen from: those with a smaller number.
        seed: Of the random pick.

    Returns:
        Arm -> image id and number of what it takes, of images of which one can be taken.
    """
    asked = replace(options, streams=("sentences",), sentence_score="probabilistic")
    asked = replace(asked, pool="global", statistics=None)
    told, labelled = (_pool(sentences, of, n) for of in (probabilities, sentences.labels))
    found = {
        "sum": _taken(told, replace(asked, amount="counts")),
        "mean": _taken(told, replace(asked, amount="rates")),
        "labels": _taken(labelled, replace(asked, amount="counts")),
    }
    able: dict[str, list[int]] = {image: [] for image, _ in found["sum"]}
    filled = told.candidates.words > 0
    rows = zip(told.candidates.image, told.candidates.index, filled, strict=True)
    for image, index, words in rows:
        name = told.image_ids[int(image)]
        if name in able and (words or options.take_empty):
            able[name].append(int(index))
    random = [(image, drawn(seed, image, sorted(mine))) for image, mine in able.items()]
    return {"random": random, **found}


def taken(
    sentences: LabelledSentences, arms: dict[str, list[tuple[str, int]]]
) -> dict[str, list[Taken]]:
    """The captions that arms take, with what the labels say of their sentences.

    Args:
        sentences: Of all candidates.
        arms: As `best_of_n` makes them.
    """
    texts: dict[tuple[str, int], str] = {}
    wrong: dict[tuple[str, int], tuple[float, ...]] = {}
    marked = np.where(np.isnan(sentences.labels), np.nan, sentences.labels > 0.5)
    for key, start, end in sentences.spans:
        texts[key] = "".join(sentences.texts[start:end])
        wrong[key] = tuple(marked[start:end].tolist())
    return {
        arm: [Taken(key[0], texts[key].strip(), wrong[key]) for key in keys]
        for arm, keys in arms.items()
    }


def _pool(sentences: LabelledSentences, told: np.ndarray, n: int) -> Gathered:
    """The candidates with a number below n, scored by one number a sentence."""
    nothing = np.zeros(0)
    return gather(
        Scored(
            image,
            number,
            sum(len(text.split()) for text in sentences.texts[start:end]),
            _errors(told[start:end]),
            (),
            nothing,
        )
        for (image, number), start, end in sentences.spans
        if number < n
    )


def _errors(told: np.ndarray) -> np.ndarray:
    return errors_of([{} if np.isnan(p) else {"unspecified": float(p)} for p in told])


def _taken(pool: Gathered, options: VigorReward) -> list[tuple[str, int]]:
    winners = rank(pool.candidates, options)[2].winner
    rows = winners[winners >= 0]
    images = pool.candidates.image[rows].tolist()
    numbers = pool.candidates.index[rows].tolist()
    return [(pool.image_ids[i], number) for i, number in zip(images, numbers, strict=True)]
