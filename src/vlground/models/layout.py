"""Where the image lies in the output of a module: maps, maps with channels last, tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Grid = tuple[int, int]

# No network has more tokens beside the image's: class, distillation, eight registers.
_MAX_PREFIX = 16


@dataclass(frozen=True)
class Layout:
    """How to read the output of a module as a grid of image cells.

    Attributes:
        grid: `(gh, gw)`.
        prefix: Of tokens `(q, n, c)`: how many come before the image's; None: it is no tokens.
        channels_last: It is `(q, gh, gw, c)`, not `(q, c, gh, gw)`.
    """

    grid: Grid
    prefix: int | None = None
    channels_last: bool = False

    @property
    def token_mask(self) -> Tensor | None:
        """`(n,)` bool, true for image tokens; None for all, and for maps."""
        if not self.prefix:
            return None
        return torch.arange(self.prefix + self.grid[0] * self.grid[1]) >= self.prefix

    def spoil(self, output: Tensor) -> Tensor:
        """A copy with NaN in every image cell, and nothing but them."""
        spoilt = output.clone()
        spoilt[:, self.prefix or 0 :] = math.nan
        return spoilt


def layout_of(shape: Sequence[int] | None, grids: Sequence[Grid] = ()) -> Layout | None:
    """Tell the layout of an output from its shape; the model's input is square.

    Args:
        shape: Of the output; None if it is not one tensor.
        grids: Grids that the network is known to have; without them tokens are the largest square
            and what comes before it, which is right for up to `2 * gh` further tokens.

    Returns:
        None if it is no grid of at least four cells.

    >>> layout_of((1, 197, 384))
    Layout(grid=(14, 14), prefix=1, channels_last=False)
    >>> layout_of((1, 9, 192), grids=[(2, 2)])
    Layout(grid=(2, 2), prefix=5, channels_last=False)
    >>> layout_of((1, 7, 7, 768)), layout_of((1, 1000))
    (Layout(grid=(7, 7), prefix=None, channels_last=True), None)
    """
    if shape is None or len(shape) not in (3, 4):
        return None
    if len(shape) == 4:
        _, a, b, c = shape
        if b == c and b > 1:
            return Layout((b, c))
        return Layout((a, b), channels_last=True) if a == b and a > 1 else None
    tokens = shape[1]
    if shape[2] == 1:
        return None  # pooled maps (q, c, 1)
    side = math.isqrt(tokens)
    known = [grid for grid in grids if 0 <= tokens - grid[0] * grid[1] < _MAX_PREFIX]
    grid = max(known, default=(side, side))
    if grid[0] * grid[1] < 4:
        return None
    return Layout(grid, prefix=tokens - grid[0] * grid[1])


class Tap:
    """A forward hook that shows the output of a module to a CAM as `TargetLayer` promises it.

    The copy lets what follows write in place (`out += identity`), which a leaf of the graph would
    not, and which would change what the CAM has recorded.

    Attributes:
        module: The identity that the CAM reads.
    """

    def __init__(self, channels_last: bool) -> None:
        self.module = nn.Identity()
        self._channels_last = channels_last

    def __call__(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        """Pass the output through the identity."""
        if not self._channels_last:
            return self.module(output).clone()
        return self.module(output.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).clone()
