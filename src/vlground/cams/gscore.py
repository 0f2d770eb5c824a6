"""gScoreCAM: Score-CAM of the channels with the largest gradient."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vlground.cams.gradient import as_feature_map, check_option, choose_layer
from vlground.cams.score import _same_masks
from vlground.contracts import CAM, Encoded, Kind, Scorer
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.gradients import differentiate

Weights = Literal["softmax_all", "softmax_selected", "average"]


class GScoreCAM(CAM):
    """gScoreCAM (Chen et al. 2022, https://github.com/anguyen8/gScoreCAM), as its code has it.

    For every text the channels whose gradient has the largest mean over space, with its sign, are
    selected. Each is brought to the input's size bilinearly (corners aligned), min-max normalised
    and multiplied with the preprocessed pixels; the score of that image is the channel's. The map
    is `ReLU(Σ_c w_c · A_c)`.

    A masked image depends on the image and the channel alone: each that any text of the image
    selects is encoded once, and scored with the texts that select it (ours).

    Args:
        layer: Name of the target layer; None: the scorer's default, or its last.
        channels: How many are selected; all, where the layer has fewer.
        weights: softmax_all: of the scores over all channels, those not selected having the score
            0 (the code); softmax_selected: over the selected ones (ours); average: the same for
            every selected channel, as Q-GroundCAM words it, for which nothing is scored.
        batch_size: Masked images encoded, and then scored, at once; no map depends on it.

    Raises:
        VlgroundError: If an option is impossible.
    """

    needs: ClassVar[frozenset[Kind]] = frozenset({"features"})

    def __init__(
        self,
        layer: str | int | None = None,
        channels: int = 300,
        weights: Weights = "softmax_all",
        batch_size: int = 16,
    ) -> None:
        super().__init__()
        check_option("weights", weights, "softmax_all", "softmax_selected", "average")
        for name, value in (("channels", channels), ("batch_size", batch_size)):
            if value < 1:
                raise VlgroundError(f"cam.{name}={value}: expected a positive number")
        self.layer = layer
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
        """Draw the maps; where a gradient is not finite, nor is the map (see the base class)."""
        layer = choose_layer(scorer, self.needs, self.layer)
        (output,), (gradient,) = differentiate(scorer, [layer], encoded, texts, owner)
        activation = as_feature_map(output, layer)
        importance = as_feature_map(gradient, layer).mean(dim=(2, 3))
        with torch.inference_mode(False), torch.no_grad():
            selected = self._select(importance)
            scores = torch.zeros_like(importance)
            if self.weights != "average":
                for rows in _same_masks(activation, owner):
                    pixels, asked = encoded.pixels[owner[rows[0]]], [texts[row] for row in rows]
                    scores[rows] = self._scores(
                        scorer, pixels, activation[rows[0]], asked, selected[rows]
                    )
            weights = self._weigh(scores.nan_to_num(nan=0.0), selected)
            maps = torch.einsum("qc,qchw->qhw", weights, activation).relu()
            return maps.masked_fill(~importance.isfinite().all(dim=1)[:, None, None], torch.nan)

    def _select(self, importance: Tensor) -> Tensor:
        """`(q, c)` bool, true for the channels of the largest importance."""
        count = min(self.channels, importance.shape[1])
        order = importance.argsort(dim=1, descending=True, stable=True)
        return torch.zeros_like(importance, dtype=torch.bool).scatter(1, order[:, :count], True)

    def _scores(
        self,
        scorer: Scorer,
        pixels: Tensor,
        activation: Tensor,
        texts: Sequence[str],
        selected: Tensor,
    ) -> Tensor:
        """Scores `(t, c)` of one image masked with its channels `(c, gh, gw)`, 0 if not selected.

        Args:
            scorer: The model.
            pixels: `(3, height, width)`.
            activation: Its channels.
            texts: `t` texts.
            selected: `(t, c)` bool, which channel is scored for which text.
        """
        scores = activation.new_zeros(selected.shape)
        for channels in selected.any(dim=0).nonzero().flatten().split(self.batch_size):
            masked = scorer.encode(pixels * _masks(activation[channels], pixels))
            for pairs in selected[:, channels].nonzero().split(self.batch_size):
                text, image = pairs.T
                found = scorer.score(masked, [texts[row] for row in text.tolist()], image)
                scores[text, channels[image]] = found.float()
        return scores

    def _weigh(self, scores: Tensor, selected: Tensor) -> Tensor:
        """Weights `(q, c)` of the channels."""
        if self.weights == "average":
            return selected / selected.sum(dim=1, keepdim=True)
        if self.weights == "softmax_selected":
            scores = scores.masked_fill(~selected, -torch.inf)
        return scores.softmax(dim=1)


def _masks(channels: Tensor, pixels: Tensor) -> Tensor:
    """Masks `(n, 1, height, width)` in 0-1 of the pixels' size and dtype."""
    large = torch.nn.functional.interpolate(
        channels[:, None], size=pixels.shape[-2:], mode="bilinear", align_corners=True
    )
    low, high = large.amin(dim=(2, 3), keepdim=True), large.amax(dim=(2, 3), keepdim=True)
    return ((large - low) / (high - low + 1e-6)).to(pixels.dtype)
