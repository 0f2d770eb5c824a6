"""Scorers, target layers and CAMs: what is differentiated, and what is drawn of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from vlground.data.sample import Sample
from vlground.errors import ImpossiblePairError
from vlground.preprocess import Preprocess

Kind = Literal["features", "self_attention", "cross_attention", "text_attention"]


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


def check_pair(scorer: Scorer, cam: CAM) -> None:
    """Make sure that a CAM can read a scorer.

    Raises:
        ImpossiblePairError: If the scorer has none of the kinds of target layer that it needs.
    """
    kinds = {layer.kind for layer in scorer.target_layers}
    if cam.needs and not cam.needs & kinds:
        wants, has = " or ".join(sorted(cam.needs)), ", ".join(sorted(kinds)) or "no target layer"
        raise ImpossiblePairError(f"the CAM needs {wants}; this model has {has}")
