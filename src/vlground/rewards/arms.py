"""What selection and refinement gained: the same images, each with four captions (ours).

first     candidate 0, or the first that is a caption at all
random    one of all captions, drawn from (seed, image): the control
winner    the lowest penalty
refined   the winner without the sentences that were held against it
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlground.data.sample import Sample
from vlground.metrics import chair
from vlground.metrics.chair import Chair
from vlground.metrics.statistics import Estimate, bootstrap_mean

if TYPE_CHECKING:
    import pandas

ARMS = ("first", "random", "winner", "refined")


@dataclass(frozen=True)
class Taken:
    """A caption that an arm takes.

    Attributes:
        image_id: Of its image.
        text: The caption.
        wrong: Of each of its sentences whether the sentence scorer calls it wrong; NaN: not told.
        missing: Of each noun mentioned whether the detector misses it; NaN: not told.
    """

    image_id: str
    text: str
    wrong: tuple[float, ...] = ()
    missing: tuple[float, ...] = ()


def drawn(seed: int, image_id: str, candidates: Sequence[int]) -> int:
    """One of an image's candidates by chance, from (seed, image) alone.

    >>> drawn(0, "7", [1, 3]) == drawn(0, "7", [1, 3])
    True
    """
    text = f"random pick/{seed}/{image_id}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return candidates[number % len(candidates)]


def estimates(
    arms: Mapping[str, Sequence[Taken]], objects: Mapping[str, frozenset[str]], options: Chair
) -> dict[str, Estimate]:
    """What the captions of arms are like.

    Args:
        arms: Arm -> what it takes of every image.
        objects: Image id -> what is in it; empty: not known.
        options: Of CHAIR.

    Returns:
        `ARM/…`: where objects are known `chair_i`, `chair_s` and `recall`; `words`; `empty`, a
        share; `wrong_sentences` and `undetected_nouns`, shares by what the branches said, so
        neither is a truth.
    """
    rows = _chair_rows(arms, objects, options)
    found: dict[str, Estimate] = {}
    for arm, taken in arms.items():
        of_arm = _told(taken)
        keys = [(one.image_id, one.text) for one in taken if one.image_id in objects]
        if keys:
            of_arm |= chair.estimates(rows.loc[keys])
        found |= {f"{arm}/{name}": one for name, one in of_arm.items()}
    return found


def _told(taken: Sequence[Taken]) -> dict[str, Estimate]:
    """What needs no truth."""
    images = [one.image_id for one in taken]
    words = np.array([len(one.text.split()) for one in taken], dtype=float)
    found = {"words": bootstrap_mean(words, images), "empty": bootstrap_mean(words == 0, images)}
    shares = {
        "wrong_sentences": [one.wrong for one in taken],
        "undetected_nouns": [one.missing for one in taken],
    }
    for name, values in shares.items():
        owners = [image for image, mine in zip(images, values, strict=True) for _ in mine]
        found[name] = bootstrap_mean(np.array([v for mine in values for v in mine], float), owners)
    return found


def _chair_rows(
    arms: Mapping[str, Sequence[Taken]], objects: Mapping[str, frozenset[str]], options: Chair
) -> "pandas.DataFrame":
    """CHAIR of every caption by image and text; arms often take the same one."""
    keys = {(one.image_id, one.text) for taken in arms.values() for one in taken}
    known = sorted(key for key in keys if key[0] in objects)
    samples = [Sample(image, image, Path(), text) for image, text in known]
    return chair.rows_of(samples, objects, options).set_index(["image_id", "text"], drop=False)
