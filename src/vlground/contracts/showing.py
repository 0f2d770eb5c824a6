"""Masks and judges: what is shown of an image, and who says what it supports."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from torch import Tensor

from vlground.data.sample import Sample
from vlground.geometry import Frame

if TYPE_CHECKING:
    from vlground.judging.usage import Usage

Shows = Literal["masked", "overlay", "photo", "nothing"]


class Mask:
    """Which part of an image is shown, given the map for a text.

    Attributes:
        shows: What a judge is told that it sees: an image without what is hidden (`masked`), or
            colours over all of it (`overlay`).
        version: Raised when its numbers change.
    """

    shows: ClassVar[Shows] = "masked"
    version: ClassVar[int] = 1

    def weights(self, grid: Tensor, frame: Frame, sample: Sample) -> Tensor:
        """How much of each pixel is shown.

        Args:
            grid: `(gh, gw)` raw map, finite and not constant.
            frame: Where the map lies in the image.
            sample: Of the map; what draws by chance draws from its id.

        Returns:
            `(height, width)` float32 in 0-1, of the original image.
        """
        raise NotImplementedError

    def __call__(self, image: np.ndarray, grid: Tensor, frame: Frame, sample: Sample) -> np.ndarray:
        """The image as it is shown.

        Args:
            image: `(height, width, 3)` uint8.
            grid: See `weights`.
            frame: See `weights`.
            sample: See `weights`.

        Returns:
            An image of any size, uint8, RGB.
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class JudgeRequest:
    """What a judge is asked.

    Attributes:
        key: Of the sample and its setting, for messages and rows.
        fields: What the prompt's placeholders stand for (`object`: the predicted label).
        images: `(height, width, 3)` uint8, in the order in which the prompt speaks of them.
        shown: `(height, width)` float32 in 0-1, how much of each pixel of the original image the
            first picture shows; None if that is not known. Oracles read it.
        sample: Its truth; oracles read it, and nobody else.
    """

    key: str
    fields: Mapping[str, str]
    images: tuple[np.ndarray, ...]
    shown: np.ndarray | None = None
    sample: Sample | None = None


@dataclass(frozen=True)
class Verdict:
    """What a judge said: a score, or a refusal, or an error, and never one dressed as another.

    Attributes:
        outcome: Which of the three.
        score: 0 to the judge's `highest`, if there is one.
        description: What the judge sees, in its words.
        justification: Why it scores so.
        reason: Of a refusal or an error, in words that are counted (`429`, `time-out`, `no JSON`).
        model: Id of the model as the endpoint returned it; None of an oracle.
        tokens_in: That the request cost; None if not told.
        tokens_out: That the answer cost.
        cached: Whether it was given earlier, and nobody was asked now.
    """

    outcome: Literal["score", "refusal", "error"]
    score: float | None = None
    description: str = ""
    justification: str = ""
    reason: str = ""
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cached: bool = False


class Judge:
    """Scores how well what is shown supports a label, or how good an answer or a caption is.

    Attributes:
        shows: What its prompt says of the picture: see `Mask`, or the whole `photo`, or `nothing`
            where words alone are judged; None: it reads no prompt.
        highest: Best score.
        usage: What came of requests so far, and what they cost.
        version: Raised when its numbers change.
    """

    shows: Shows | None = None
    highest: int = 5
    usage: "Usage"
    version: ClassVar[int] = 1

    def judge(self, requests: Iterable[JudgeRequest]) -> Iterator[tuple[JudgeRequest, Verdict]]:
        """Answer requests, each as soon as it is known, in any order."""
        raise NotImplementedError
