"""Masks that show each pixel to some degree: the sigmoid, the heat map over the image, the crop."""

from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from vlground.contracts import Mask
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.geometry import Frame
from vlground.masks.relevance import (
    NORMALISE,
    RESIZE,
    Normalise,
    Resize,
    check_number,
    one_of,
    relevance,
)

Fill = Literal["black", "grey", "blur"]
Rounding = Literal["truncate", "nearest"]

_GREY = 128
_HALVED = 4.0  # pixels of standard deviation, from which on half the size is enough


class SoftMask(Mask):
    """Weights, and a picture made of the image and them; controls change the weights only."""

    def render(self, image: np.ndarray, weights: Tensor) -> np.ndarray:
        """The picture.

        Args:
            image: `(height, width, 3)` uint8.
            weights: `(height, width)` float32 in 0-1.

        Returns:
            uint8, RGB.
        """
        raise NotImplementedError

    def __call__(self, image: np.ndarray, grid: Tensor, frame: Frame, sample: Sample) -> np.ndarray:
        """The image as it is shown (see the base class)."""
        return self.render(image, self.weights(grid, frame, sample))


class Sigmoid(SoftMask):
    """AutoXplain's mask: `M = 1 / (1 + exp(alpha * (beta - v)))`, and the image times M.

    With the options `normalise=native resize=bicubic clip=false fill=black rounding=truncate` the
    picture is that of the authors' code; the paper wants v in 0-1, so `clip` is true by default,
    which at the default alpha and beta changes no grey by more than 1.

    Args:
        alpha: Sharpness (the paper's 25), above 0.
        beta: Threshold in 0-1 (the paper's 0.6; its code also has 0.4).
        normalise: See `relevance`: native (the code) or image.
        resize: See `relevance`: bicubic (the code), bilinear or nearest.
        clip: Whether v is clipped to 0-1; the code does not.
        fill: What is there instead of the image where it is not shown: black (paper), grey 128 or
            the blurred image (ours).
        blur: Standard deviation of the Gaussian of `fill=blur`, as a fraction of the longer side
            (ours).
        rounding: To whole greys: truncate (the code) or nearest (ours).

    Raises:
        VlgroundError: An option has an impossible value.
    """

    def __init__(
        self,
        alpha: float = 25.0,
        beta: float = 0.6,
        normalise: Normalise = "native",
        resize: Resize = "bicubic",
        clip: bool = True,
        fill: Fill = "black",
        blur: float = 0.05,
        rounding: Rounding = "truncate",
    ) -> None:
        for option, value in (("alpha", alpha), ("beta", beta), ("blur", blur)):
            check_number(option, value)
        if not 0 < alpha < np.inf:
            raise VlgroundError(f"mask.alpha={alpha}: expected a number above 0")
        if not 0 <= beta <= 1:
            raise VlgroundError(f"mask.beta={beta}: expected a number from 0 to 1")
        if not 0 < blur <= 1:
            raise VlgroundError(f"mask.blur={blur}: expected a number above 0, up to 1")
        one_of("normalise", normalise, NORMALISE)
        one_of("resize", resize, RESIZE)
        one_of("fill", fill, ("black", "grey", "blur"))
        one_of("rounding", rounding, ("truncate", "nearest"))
        self.alpha = alpha
        self.beta = beta
        self.normalise = normalise
        self.resize = resize
        self.clip = clip
        self.fill = fill
        self.blur = blur
        self.rounding = rounding

    def weights(self, grid: Tensor, frame: Frame, sample: Sample) -> Tensor:
        """M (see the base class)."""
        v = relevance(grid, frame, self.normalise, self.resize, self.clip)
        return v.sub_(self.beta).mul_(self.alpha).sigmoid_()

    def render(self, image: np.ndarray, weights: Tensor) -> np.ndarray:
        """The image times M, plus what fills the rest times 1 - M (see the base class)."""
        shown = torch.tensor(image) * weights[..., None]
        if self.fill != "black":
            shown += self._filling(image) * (1 - weights[..., None])
        if self.rounding == "nearest":
            shown.round_()
        return shown.to(torch.uint8).numpy()

    def _filling(self, image: np.ndarray) -> Tensor:
        if self.fill == "grey":
            return torch.tensor(float(_GREY))
        sigma, size = self.blur * max(image.shape[:2]), image.shape[1::-1]
        picture = Image.fromarray(image)
        if sigma < _HALVED:
            return torch.tensor(np.array(picture.filter(ImageFilter.GaussianBlur(sigma))))
        # At half the size; halving and doubling blur by themselves, by these variances.
        left = (sigma**2 - (2**2 - 1) / 12 - 2**2 / 6) ** 0.5 / 2
        small = picture.reduce(2).filter(ImageFilter.GaussianBlur(left))
        return torch.tensor(np.array(small.resize(size, Image.Resampling.BILINEAR)))


class Overlay(SoftMask):
    """The map as colours over the whole image, as torchcam's `overlay_mask` draws it.

    `picture = opacity * image + (1 - opacity) * colour(v²)`, greys truncated. Nothing is hidden:
    the weights say how strongly a pixel is highlighted. The defaults are what AutoXplain compares
    its masks with, but for `clip`: without it what bicubic undershoots lights up when squared.

    Args:
        opacity: Of the image (torchcam's alpha; AutoXplain has 0.5), in 0-1.
        colormap: A name that matplotlib knows (torchcam: jet).
        square: Whether v is squared before it is coloured (torchcam does).
        normalise: See `relevance`.
        resize: See `relevance`.
        clip: See `relevance`; torchcam does not.

    Raises:
        VlgroundError: An option has an impossible value.
    """

    shows = "overlay"

    def __init__(
        self,
        opacity: float = 0.5,
        colormap: str = "jet",
        square: bool = True,
        normalise: Normalise = "native",
        resize: Resize = "bicubic",
        clip: bool = True,
    ) -> None:
        from matplotlib import colormaps

        check_number("opacity", opacity)
        if not 0 <= opacity <= 1:
            raise VlgroundError(f"mask.opacity={opacity}: expected a number from 0 to 1")
        if colormap not in colormaps:
            raise VlgroundError(f"mask.colormap={colormap}: matplotlib knows no colour map like it")
        one_of("normalise", normalise, NORMALISE)
        one_of("resize", resize, RESIZE)
        self.opacity = opacity
        self.square = square
        self.normalise = normalise
        self.resize = resize
        self.clip = clip
        levels = np.linspace(0, 1, 256)
        self._colours = torch.tensor(np.uint8(255 * colormaps[colormap](levels)[:, :3]))

    def weights(self, grid: Tensor, frame: Frame, sample: Sample) -> Tensor:
        """How strongly each pixel is highlighted: v² or v (see the base class)."""
        v = relevance(grid, frame, self.normalise, self.resize, self.clip)
        return (v.square_() if self.square else v).clamp_(0, 1)

    def render(self, image: np.ndarray, weights: Tensor) -> np.ndarray:
        """The image under the colours of the weights (see the base class)."""
        level = (weights * 256).to(torch.int64).clamp_(max=255)
        mixed = self._colours[level] * (1 - self.opacity) + torch.tensor(image) * self.opacity
        return mixed.to(torch.uint8).numpy()


class Crop(Mask):
    """The smallest rectangle around what another mask shows by half or more, cut out (ours).

    Of a mask that shows no pixel by half it is the rectangle around what it shows most.

    Args:
        of: The other mask.
    """

    def __init__(self, of: Mask) -> None:
        self.of = of

    def weights(self, grid: Tensor, frame: Frame, sample: Sample) -> Tensor:
        """1 in the rectangle, 0 elsewhere (see the base class)."""
        weights = self.of.weights(grid, frame, sample)
        rows, columns = _bounds(weights)
        rectangle = torch.zeros_like(weights)
        rectangle[rows, columns] = 1
        return rectangle

    def __call__(self, image: np.ndarray, grid: Tensor, frame: Frame, sample: Sample) -> np.ndarray:
        """The rectangle of the image (see the base class)."""
        rows, columns = _bounds(self.of.weights(grid, frame, sample))
        return np.ascontiguousarray(image[rows, columns])


def _bounds(weights: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the rectangle around weights of 0.5 or more, or the largest ones."""
    shown = weights >= min(0.5, float(weights.max()))
    rows, columns = (shown.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
