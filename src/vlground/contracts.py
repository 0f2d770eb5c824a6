"""The contracts between rooms: what scorers, target layers, CAMs and the others promise each other.

    pixels ──encode──▶ Encoded ──score(texts, owner)──▶ (q,)     a differentiable score
                                    ▲
             TargetLayer: a module inside `score` whose output a CAM reads and differentiates

No CAM knows a model and no model knows a CAM. `owner[q]` says which image text `q` belongs to, so
an image is encoded once however many texts are asked of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from vlground.data.sample import Sample
from vlground.errors import ImpossiblePairError
from vlground.geometry import Frame
from vlground.preprocess import Preprocess

if TYPE_CHECKING:
    from vlground.judging.usage import Usage

Kind = Literal["features", "self_attention", "cross_attention", "text_attention"]
Shows = Literal["masked", "overlay"]


@dataclass(eq=False)
class TargetLayer:
    """A place inside `Scorer.score` that a CAM can read.

    Attributes:
        name: What the user calls it (`bn2`, `crossattention.8`).
        module: Its output, one tensor, is read and differentiated. features: `(q, c, gh, gw)` or
            tokens `(q, n, c)`; attention: probabilities `(q, heads, to, from)`.
        kind: features; self_attention (of image tokens); cross_attention (of text tokens to image
            tokens); text_attention (of text tokens to each other).
        grid: `(gh, gw)`, the image cells behind it, in row-major order.
        token_mask: Which tokens count. features and self-attention: `(n,)` bool, true for image
            tokens, None for all. cross- and text-attention: `(q, to)` bool, true for the text
            tokens of the texts scored last, which `score` sets; the first of them is a special
            one. The image tokens of cross-attention are the last `gh * gw`.
        end_token: Of cross- and text-attention: the last text token is a special one too.
        default: CAMs that can read it take it rather than the last layer that they can read.
    """

    name: str
    module: nn.Module
    kind: Kind
    grid: tuple[int, int]
    token_mask: Tensor | None = None
    end_token: bool = True
    default: bool = False


@dataclass(frozen=True, eq=False)
class Encoded:
    """Images after the part of the model that no text reaches.

    Attributes:
        pixels: `(b, 3, height, width)`, kept for CAMs that mask the image and encode it again.
        features: First axis `b`; whatever `score` continues from.
    """

    pixels: Tensor
    features: Tensor


class Scorer(nn.Module):
    """A differentiable score of (image, text).

    A subclass raises `version` when its numbers change, so that stored evidence is made anew.

    Attributes:
        preprocess: From the original image to `pixels`.
        target_layers: From input to output; CAMs take the last one that they can read, unless
            another one is marked as `default`.
    """

    version: ClassVar[int] = 1
    preprocess: Preprocess
    target_layers: tuple[TargetLayer, ...]

    def encode(self, pixels: Tensor) -> Encoded:
        """Run everything below the earliest target layer, once an image.

        Args:
            pixels: `(b, 3, height, width)` as `preprocess` makes them.
        """
        raise NotImplementedError

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """Score each text against the image it belongs to.

        Args:
            encoded: `b` images.
            texts: `q` texts, each known (see `knows`).
            owner: `(q,)` int64, the index of each text's image.

        Returns:
            `(q,)` scores; row `q` depends on text `q` and image `owner[q]` alone.
        """
        raise NotImplementedError

    def knows(self, text: str) -> bool:
        """Whether the text can be scored at all; a classifier has no class for some words."""
        return bool(text.strip())

    def truncated(self, text: str) -> str | None:
        """What the model reads of a text beyond its context; None if it reads all of it."""
        return None

    def match(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor | None:
        """Decide whether each text fits its image.

        Args:
            encoded: `b` images.
            texts: `q` texts, each known.
            owner: `(q,)` int64, the index of each text's image.

        Returns:
            `(q,)` probabilities that the text fits; None from a model that ranks texts but does
            not decide, such as a classifier.
        """
        return None


class CAM(nn.Module):
    """An activation map as a function of a scorer's score.

    Attributes:
        needs: Kinds of target layer it can use, any of them; empty if it needs none.
        normalised: Maps come min-max normalised (the library's do), not raw.
        constant: The map is constant on purpose; it is not a degenerate one.
        version: Raised when its numbers change.
    """

    needs: ClassVar[frozenset[Kind]] = frozenset()
    normalised: ClassVar[bool] = False
    constant: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def asks(self, sample: Sample) -> str | None:
        """The text that the map of this sample is for; None if the sample has no such text."""
        return sample.text

    def obstacle(self, sample: Sample) -> str | None:
        """Why this sample can have no map, in words that are counted; None if it can have one."""
        return "no text to ask" if self.asks(sample) is None else None

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw `q` maps.

        Args:
            scorer: The model to explain.
            encoded: `b` images, from `scorer.encode`.
            texts: `q` texts, from `asks`.
            owner: `(q,)` int64, the index of each text's image.
            samples: `q` samples: baselines draw from their ids, oracles read their truth.

        Returns:
            `(q, gh, gw)` float32 on the layer's native grid, raw unless `normalised`.
        """
        raise NotImplementedError


class Mask:
    """Which part of an image is shown, given the map for a text.

    Attributes:
        shows: What a judge is told that it sees: an image without what is hidden, or colours over
            all of it.
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
        score: 0-5, if there is one.
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
    """Scores how well what is shown supports a label.

    Attributes:
        shows: What its prompt says of the picture, see `Mask`; None: it reads no prompt.
        usage: What came of requests so far, and what they cost.
        version: Raised when its numbers change.
    """

    shows: Shows | None = None
    usage: "Usage"
    version: ClassVar[int] = 1

    def judge(self, requests: Iterable[JudgeRequest]) -> Iterator[tuple[JudgeRequest, Verdict]]:
        """Answer requests, each as soon as it is known, in any order."""
        raise NotImplementedError


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


class Captioner:
    """Writes candidates: captions of which one may be better than another.

    Attributes:
        version: Raised when its captions change.
    """

    version: ClassVar[int] = 1

    def caption(
        self, samples: Sequence[Sample], prompt: str, n: int, seed: int
    ) -> list[list[Caption]]:
        """Write `n` candidates of each sample's image.

        Candidate `i` of an image depends on (seed, image, i) alone: not on n, nor on the others.
        """
        raise NotImplementedError


def _no_boxes() -> np.ndarray:
    return np.zeros((0, 4), np.float32)


def _no_scores() -> np.ndarray:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Detection:
    """How sure a detector is that a phrase is in an image, and where.

    Attributes:
        probability: In 0-1; NaN where the detector cannot tell, which is neither yes nor no.
        boxes: `(k, 4)` float32, `x0, y0, x1, y1` in pixels of the original image, half-open, the
            likeliest first.
        scores: `(k,)` float32 in 0-1, of the boxes.
    """

    probability: float
    boxes: np.ndarray = field(default_factory=_no_boxes)
    scores: np.ndarray = field(default_factory=_no_scores)


class Detector:
    """Says of phrases whether, and where, they are in an image.

    Attributes:
        version: Raised when its numbers change.
    """

    version: ClassVar[int] = 1

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Look for the phrases of each sample in its image, in their order."""
        raise NotImplementedError


class SentenceScorer:
    """Says of sentences which errors they make about an image.

    Attributes:
        version: Raised when its numbers change.
    """

    version: ClassVar[int] = 1

    def score(
        self, samples: Sequence[Sample], sentences: Sequence[Sequence[str]]
    ) -> list[list[dict[str, float]]]:
        """Error type -> probability, of each sentence of each sample's caption; empty: unknown."""
        raise NotImplementedError


def check_pair(scorer: Scorer, cam: CAM) -> None:
    """Make sure that a CAM can read a scorer.

    Raises:
        ImpossiblePairError: If the scorer has none of the kinds of target layer that it needs.
    """
    kinds = {layer.kind for layer in scorer.target_layers}
    if cam.needs and not cam.needs & kinds:
        wants, has = " or ".join(sorted(cam.needs)), ", ".join(sorted(kinds)) or "no target layer"
        raise ImpossiblePairError(f"the CAM needs {wants}; this model has {has}")
