"""A detector that knows what is in the image and errs at set rates (ours).

Each answer is drawn from (seed, image id, noun) alone: the same noun of another candidate gets the
same answer, and at a higher rate every error made at a lower one is made again.
"""

import hashlib
from collections.abc import Mapping, Sequence, Set

import numpy as np

from vlground.errors import VlgroundError


def draw(seed: int, image_id: str, noun: str) -> float:
    """A number in 0..1 that depends on its arguments alone.

    >>> draw(0, "1", "cat") == draw(0, "1", "cat"), draw(0, "1", "cat") == draw(0, "2", "cat")
    (True, False)
    """
    # The length keeps ("1", "2cat") apart from ("12", "cat").
    name = f"{seed}\x1f{len(image_id)}\x1f{image_id}\x1f{noun}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") / 2**64


def presence(
    image_ids: Sequence[str],
    nouns: Sequence[str],
    truth: Mapping[str, Set[str]],
    miss: float = 0.0,
    false_alarm: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Ask for nouns, one image id each.

    Args:
        image_ids: `(m,)` ids.
        nouns: `(m,)` nouns, in the words of the truth.
        truth: Image id -> what is in it.
        miss: Probability, 0..1, that something there is not detected.
        false_alarm: Probability, 0..1, that something not there is.
        seed: Of the errors.

    Returns:
        `(m,)` 1.0 detected or 0.0 not; NaN of an image whose truth is not known.

    Raises:
        VlgroundError: If a rate is not in 0..1.
    """
    for name, rate in (("miss", miss), ("false_alarm", false_alarm)):
        if not 0 <= rate <= 1:
            raise VlgroundError(f"detector.{name}={rate}: expected a number from 0 to 1")
    answers = np.full(len(nouns), np.nan)
    for i, (image_id, noun) in enumerate(zip(image_ids, nouns, strict=True)):
        if image_id in truth:
            number = draw(seed, image_id, noun)
            answers[i] = number >= miss if noun in truth[image_id] else number < false_alarm
    return answers
