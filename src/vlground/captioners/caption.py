"""`Caption`, one candidate of an image, and what it depends on."""

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Caption:
    """What was written about an image, or why nothing was.

    Attributes:
        text: As it was written, without special tokens and without space around it.
        log_probabilities: Natural, of the text's tokens in order, each given those before it, of
            the model as it is: before temperature and top-p. The end token is not among them. None
            where they are not known.
        cut_off: It reached the longest length before its end.
        problem: Why there is no caption, in words that are counted (`429`, `refusal`); then `text`
            is "" and says nothing. "" if there is one, even an empty one.
        model: Id of the model as a server returned it; None elsewhere.
    """

    text: str
    log_probabilities: tuple[float, ...] | None = None
    cut_off: bool = False
    problem: str = ""
    model: str | None = None


def candidate_key(seed: int, image_id: str, index: int) -> int:
    """The 64 bits from which everything random about a candidate is drawn.

    That is the one seed policy: a candidate depends on (seed, image, index), never on how many
    there are, on other images, or on their order (ours).

    >>> candidate_key(0, "cat", 1) == candidate_key(0, "cat", 1) != candidate_key(0, "cat", 2)
    True
    """
    text = json.dumps(["candidate", seed, image_id, index])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
