"""Errors at set rates, for detectors that know the truth (ours)."""

import hashlib
from dataclasses import dataclass

import numpy as np

from vlground.contracts import Detection
from vlground.errors import VlgroundError


@dataclass(frozen=True)
class SetErrors:
    """How often, and about what, an oracle errs.

    Each answer is drawn from (seed, image id, name) alone, by one number that is compared with the
    rates: the same name gets the same answer in every caption of an image, and what is missed at a
    rate is missed at every higher one.

    Attributes:
        miss: Of what is there, the part that is not found, in 0-1.
        false_alarm: Of what is not there, the part that is found, in 0-1; without boxes.
        seed: Of the errors.

    Raises:
        VlgroundError: If a rate is not in 0-1.
    """

    miss: float
    false_alarm: float
    seed: int

    def __post_init__(self) -> None:
        for name, rate in (("miss", self.miss), ("false_alarm", self.false_alarm)):
            if not 0 <= rate <= 1:
                raise VlgroundError(f"detector.{name}={rate}: expected 0 to 1")

    def answer(
        self, there: bool, image_id: str, name: str, boxes: np.ndarray | None = None
    ) -> Detection:
        """What is said of a thing: probability 1 or 0.

        Args:
            there: The truth.
            image_id: Of the image.
            name: Of the thing, the same for all its synonyms.
            boxes: `(k, 4)` of the thing, in pixels of the original image; None: not known.
        """
        drawn = _uniform(self.seed, image_id, name)
        if not (drawn >= self.miss if there else drawn < self.false_alarm):
            return Detection(0.0)
        if not there or boxes is None:
            return Detection(1.0)
        return Detection(1.0, np.asarray(boxes, np.float32), np.ones(len(boxes), np.float32))


def _uniform(seed: int, image_id: str, name: str) -> float:
    """In [0, 1), of 53 bits."""
    # The length keeps ("1", "2cat") apart from ("12", "cat").
    text = f"detector/{seed}/{len(image_id)}/{image_id}/{name}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53
