"""ROAD's noisy linear imputation (Rong et al. 2022): removed pixels become what is around them.

Every removed pixel shall be the mean of its eight neighbours, straight ones weighing twice the
diagonal ones, and of the neighbours that lie in the image; the kept pixels are given. That is one
sparse system an image, the same for all of its channels:

    (D - W) x = W k   on the removed pixels,   W = [1 2 1; 2 0 2; 1 2 1] / 12,  D = W of ones

Its solution is unique. Here conjugate gradients find it, preconditioned by one multigrid cycle
(ours), for many images at once and on the device where they are; the authors' code and
pytorch-grad-cam factorise a sparse matrix for each image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

_COARSEST = 12  # longer side, in cells, that is solved directly
_ITERATIONS = 200  # about a dozen are needed
_TINY = 1e-30  # divides what is 0 already


def road_masks(values: Tensor, order: Tensor, percentiles: Sequence[float]) -> Tensor:
    """Which pixels ROAD removes, most relevant first (MoRF) and least relevant first (LeRF).

    As in pytorch-grad-cam those pixels are kept that lie below a percentile of the map, or of
    1 - map. Of a map with a plateau of zeros, that may be none at all, and then that library's
    system is singular. Here (ours) the percentage is kept all the same, in the given order.

    Args:
        values: `(pixels,)` float32 relevance in 0-1.
        order: `(pixels,)` their indices, the most relevant first.
        percentiles: In 0-100, both exclusive.

    Returns:
        `(2, percentiles, pixels)` bool, true where a pixel is removed; MoRF, then LeRF.
    """
    masks = torch.ones(2, len(percentiles), len(values), dtype=torch.bool, device=values.device)
    for kind, (keys, first) in enumerate(((values, order.flip(0)), (1 - values, order))):
        ascending = keys.sort().values
        for number, percentile in enumerate(percentiles):
            count = max(1, ceil(percentile * (len(keys) - 1) / 100))
            kept = keys < ascending[count] if len(keys) > count else keys < keys
            masks[kind, number, kept] = False
            if not kept.any():
                masks[kind, number, first[:count]] = False
    return masks


def impute(images: Tensor, removed: Tensor, tolerance: float = 1e-5) -> Tensor:
    """Fill what was removed, without noise.

    Args:
        images: `(n, c, height, width)`; computed and returned in float32.
        removed: `(n, height, width)` bool; something is left of each image.
        tolerance: Stop when no pixel is estimated to be farther from the solution, in the unit of
            the images (deviations of the preprocessing; ROAD's noise is 0.01). Single precision
            sets a limit where little is left: of 3 % of the pixels about 2e-4.

    Returns:
        `(n, c, height, width)`; what was not removed is as it was.

    Raises:
        ValueError: Nothing is left of an image.
        RuntimeError: No convergence: pixels that are not finite.
    """
    if not len(images):
        return images.float()
    if bool(removed.flatten(1).all(dim=1).any()):
        raise ValueError("nothing is left of an image: there is nothing to impute from")
    with torch.autocast(images.device.type, enabled=False):
        return _impute(images.float(), removed, tolerance)


def _impute(images: Tensor, removed: Tensor, tolerance: float) -> Tensor:
    n, c, height, width = images.shape
    levels = _Level.all_of(removed, c)
    finest = levels[0]
    pad = (0, finest.unknown.shape[-1] - width, 0, finest.unknown.shape[-2] - height)
    # All channels of all images as channels of one: depthwise convolutions are fast there.
    given = functional.pad(images.reshape(1, n * c, height, width), pad)
    given = given.contiguous(memory_format=torch.channels_last) * (1 - finest.unknown)
    residual = finest.unknown * finest.weigh(given)
    solution = torch.zeros_like(residual)
    preconditioned = _cycle(levels, residual)
    step, product = preconditioned, _dot(residual, preconditioned)
    for _ in range(_ITERATIONS):
        image = finest.apply(step)
        alpha = product / _dot(step, image).clamp(min=_TINY)
        solution.addcmul_(alpha, step)
        residual.addcmul_(alpha, image, value=-1)
        preconditioned = _cycle(levels, residual)
        if float(preconditioned.abs().amax()) < tolerance:
            filled = (given + solution)[..., :height, :width].reshape(n, c, height, width)
            return torch.where(removed[:, None], filled, images)
        previous, product = product, _dot(residual, preconditioned)
        step = torch.addcmul(preconditioned, product / previous.clamp(min=_TINY), step)
    raise RuntimeError("imputation does not converge: are the pixels finite?")


@dataclass(frozen=True, eq=False)
class _Level:
    """The system on one grid; on coarser ones a cell is unknown if all that it covers is.

    Attributes:
        unknown: `(1, n * c, rows, columns)` float, 1 where a cell is to be found.
        diagonal: `(1, 1, rows, columns)`, D.
        inverse: `unknown / diagonal`.
        stencil: `(n * c, 1, 3, 3)`, W.
        taps: `(n * c, 1, 4, 4)`, the adjoint of bilinear interpolation.
        direct: `(n, cells, cells)`, the inverse of the system; of the coarsest grid only.
    """

    unknown: Tensor
    diagonal: Tensor
    inverse: Tensor
    stencil: Tensor
    taps: Tensor
    direct: Tensor | None

    @classmethod
    def all_of(cls, removed: Tensor, channels: int) -> list[Self]:
        """From the pixels to the coarsest grid; sides are padded until they can be halved."""
        height, width = removed.shape[1:]
        halvings = 0
        while max(height, width) > _COARSEST << halvings:
            halvings += 1
        pad = (0, -width % (1 << halvings), 0, -height % (1 << halvings))
        unknown = functional.pad(removed.float()[None], pad)
        valid = functional.pad(torch.ones_like(unknown[:, :1, :height, :width]), pad)
        levels = []
        for level in range(halvings + 1):
            levels.append(cls._of(unknown, valid, channels, coarsest=level == halvings))
            if level == halvings:
                break
            unknown = -functional.max_pool2d(-torch.maximum(unknown, 1 - valid), 2)
            valid = functional.max_pool2d(valid, 2)
            unknown = unknown * valid
        return levels

    @classmethod
    def _of(cls, unknown: Tensor, valid: Tensor, channels: int, coarsest: bool) -> Self:
        smooth = torch.tensor([1.0, 2.0, 1.0], device=unknown.device)
        stencil = smooth[:, None] * smooth / 12
        stencil[1, 1] = 0
        halves = torch.tensor([0.25, 0.75, 0.75, 0.25], device=unknown.device)
        diagonal = functional.conv2d(valid, stencil[None, None], padding=1)
        diagonal = torch.where(valid > 0, diagonal, 1.0)
        direct = _invert(unknown[0], diagonal, stencil) if coarsest else None
        each = unknown.repeat_interleave(channels, dim=1)
        each = each.contiguous(memory_format=torch.channels_last)
        count = each.shape[1]
        return cls(
            each,
            diagonal,
            each / diagonal,
            stencil.expand(count, 1, 3, 3).contiguous(),
            (halves[:, None] * halves).expand(count, 1, 4, 4).contiguous(),
            direct,
        )

    def weigh(self, x: Tensor) -> Tensor:
        """W x."""
        return functional.conv2d(x, self.stencil, padding=1, groups=len(self.stencil))

    def apply(self, x: Tensor) -> Tensor:
        """(D - W) x on the unknown cells, of an x that is 0 on the others."""
        return torch.addcmul(self.diagonal * x, self.unknown, self.weigh(x), value=-1)

    def restrict(self, x: Tensor) -> Tensor:
        """To the next coarser grid."""
        padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return functional.conv2d(padded, self.taps, stride=2, groups=len(self.taps))


def _invert(unknown: Tensor, diagonal: Tensor, stencil: Tensor) -> Tensor:
    """`(n, cells, cells)` inverses on the unknown cells, 0 elsewhere."""
    n, rows, columns = unknown.shape
    units = torch.eye(rows * columns, device=unknown.device).view(-1, 1, rows, columns)
    system = diagonal * units - functional.conv2d(units, stencil[None, None], padding=1)
    flat = unknown.reshape(n, -1)
    both = flat[:, :, None] * flat[:, None, :]
    matrix = system.view(rows * columns, -1) * both + torch.diag_embed(1 - flat)
    return torch.linalg.inv(matrix) * both


def _cycle(levels: list[_Level], residual: Tensor) -> Tensor:
    """A symmetric multigrid cycle: Jacobi, the coarser grid, Jacobi.

    The stencil's Jacobi iteration damps what the coarser grid cannot show to a third.
    """
    level = levels[0]
    if level.direct is not None:
        flat = residual.reshape(len(level.direct), -1, level.direct.shape[-1])
        return (flat @ level.direct).view_as(residual)
    x = level.inverse * residual
    coarse = level.restrict(level.unknown * level.weigh(x)) * levels[1].unknown
    correction = _cycle(levels[1:], coarse)
    finer = functional.interpolate(correction, scale_factor=2.0, mode="bilinear")
    x.addcmul_(level.unknown, finer)
    return level.inverse * (residual + level.weigh(x))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """`(1, channels, 1, 1)` inner products."""
    return (a * b).sum(dim=(2, 3), keepdim=True)
