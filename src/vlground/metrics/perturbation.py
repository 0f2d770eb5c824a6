"""Images with some of their pixels exchanged, most relevant first."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional


def pixel_order(values: Tensor, shuffle: Tensor) -> Tensor:
    """Pixels, the most relevant first.

    Args:
        values: `(height, width)` relevance.
        shuffle: `(pixels,)` a permutation: those that tie go in its order. Without one they would
            go from top to bottom.

    Returns:
        `(pixels,)` indices in row-major order.
    """
    shuffled = values.flatten()[shuffle]
    return shuffle[shuffled.argsort(descending=True, stable=True)]


def exchange(
    before: Tensor, after: Tensor, order: Tensor, steps: range, of: int
) -> Iterator[Tensor]:
    """From one image to another in equal parts of the pixels.

    Args:
        before: `(c, height, width)`.
        after: The same shape.
        order: See `pixel_order`.
        steps: Which of the steps 0 (`before`) to `of` (`after`) are wanted.
        of: In how many steps all is exchanged.

    Yields:
        `(c, height, width)`, at step k with `round(k / of * pixels)` pixels exchanged.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    place = place.view(before.shape[-2:])
    for step in steps:
        yield torch.where(place < round(step * len(order) / of), after, before)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur that reaches 3 sigma to either side; the edges are repeated outwards.

    Args:
        image: `(c, height, width)`.
        sigma: Standard deviation in pixels.
    """
    reach = max(1, round(3 * sigma))
    taps = torch.arange(-reach, reach + 1, device=image.device) / sigma
    taps = torch.exp(-taps.square() / 2)
    taps = (taps / taps.sum()).view(1, 1, 1, -1)
    padded = functional.pad(image[:, None], (reach, reach, reach, reach), mode="replicate")
    return functional.conv2d(functional.conv2d(padded, taps), taps.mT)[:, 0]
