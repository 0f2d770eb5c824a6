"""Score-CAM: channels weighed by the score of the image masked with them."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from vlground.cams.gradient import FeatureCAM
from vlground.contracts import Encoded, Scorer
from vlground.data.sample import Sample
from vlground.errors import VlgroundError

Weights = Literal["softmax", "increase"]


class ScoreCAM(FeatureCAM):
    """Score-CAM (Wang et al. 2020, alg. 1), in memory that does not grow with the channels.

    As in pytorch-grad-cam a channel is brought to the input's size bilinearly (corners aligned),
    min-max normalised and multiplied with the preprocessed pixels, so what it hides becomes the
    mean colour. A masked image is encoded once for all texts of the image.

    Args:
        layer: See the base class.
        channels: The so many channels with the largest sum of |activation| (ours); the others
            weigh nothing. None: all, the paper's.
        weights: `softmax` of the scores over the channels, in which the paper's subtraction of a
            baseline cancels; or `increase` over the score of an all-masked image, as it is
            (the paper's eq. 6 without the softmax).
        batch_size: Masked images encoded at once; no map depends on it.
    """

    def __init__(
        self,
        layer: str | int | None = None,
        channels: int | None = None,
        weights: Weights = "softmax",
        batch_size: int = 16,
    ) -> None:
        super().__init__(layer)
        if weights not in ("softmax", "increase"):
            raise VlgroundError(f"cam.weights={weights}: expected softmax or increase")
        for name, value in (("channels", channels), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise VlgroundError(f"cam.{name}={value}: expected a positive number")
        self.channels = channels
        self.weights = weights
        self.batch_size = batch_size

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class)."""
        with torch.inference_mode(False), torch.no_grad():
            activation = self.activation(scorer, encoded, texts, owner)
            maps = torch.empty_like(activation[:, 0])
            for rows in _same_masks(activation, owner):
                chosen = self._choose(activation[rows[0]])
                masks = activation[rows[0], chosen]
                pixels = encoded.pixels[owner[rows[0]]]
                scores = self._scores(scorer, pixels, masks, [texts[row] for row in rows])
                weights = self._weigh(scores)
                maps[rows] = torch.einsum("tc,tchw->thw", weights, activation[rows][:, chosen])
            return maps.relu()

    def _choose(self, activation: Tensor) -> Tensor:
        """Channels of `(c, gh, gw)` to be scored, in ascending order."""
        count = len(activation) if self.channels is None else min(self.channels, len(activation))
        mass = activation.abs().sum(dim=(1, 2))
        return mass.argsort(descending=True, stable=True)[:count].sort().values

    def _scores(
        self, scorer: Scorer, pixels: Tensor, masks: Tensor, texts: Sequence[str]
    ) -> Tensor:
        """Scores `(t, c)` of the texts for `pixels` under each mask `(c, gh, gw)`.

        One more column, of the all-masked image, if the weights are an increase.
        """
        if self.weights == "increase":
            masks = torch.cat([masks, torch.zeros_like(masks[:1])])
        columns = []
        for part in masks.split(self.batch_size):
            masked = pixels * _upsample(part, pixels)
            owner = torch.arange(len(part), device=pixels.device).repeat_interleave(len(texts))
            scores = scorer.score(scorer.encode(masked), list(texts) * len(part), owner)
            columns.append(scores.float().view(len(part), len(texts)))
        return torch.cat(columns).T

    def _weigh(self, scores: Tensor) -> Tensor:
        if self.weights == "softmax":
            return scores.softmax(dim=1)
        return scores[:, :-1] - scores[:, -1:]


def _upsample(masks: Tensor, pixels: Tensor) -> Tensor:
    """Masks `(n, 1, height, width)` in 0-1 of the pixels' size and dtype."""
    size = pixels.shape[-2:]
    large = torch.nn.functional.interpolate(
        masks[:, None], size=size, mode="bilinear", align_corners=True
    )
    low, high = large.amin(dim=(2, 3), keepdim=True), large.amax(dim=(2, 3), keepdim=True)
    return ((large - low) / (high - low + 1e-8)).to(pixels.dtype)


def _same_masks(activation: Tensor, owner: Tensor) -> Iterator[list[int]]:
    """Rows of one image that share their activations: all, unless texts reach the layer."""
    for image in owner.unique().tolist():
        left = (owner == image).nonzero().flatten().tolist()
        while left:
            first = activation[left[0]]
            near = 1e-4 * float(first.nan_to_num().abs().max())  # rows may differ by rounding
            close = [torch.allclose(activation[row], first, 0, near, True) for row in left]
            yield [row for row, same in zip(left, close, strict=True) if same]
            left = [row for row, same in zip(left, close, strict=True) if not same]
