"""EigenCAM: what varies most over the image, whatever the text."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlground.cams.gradient import FeatureCAM
from vlground.contracts import Encoded, Scorer
from vlground.data.sample import Sample


class EigenCAM(FeatureCAM):
    """EigenCAM (Muhammad and Yeasin 2020): activations projected on their first singular vector.

    It asks the score nothing: no gradient is computed, and texts of one image have the same map
    unless they reach the layer. A singular vector has no sign: pytorch-grad-cam takes LAPACK's,
    ours makes the larger extreme positive (Chung and Ying 2025, eq. 13).

    Args:
        layer: See the base class.
        centre: Subtract each channel's mean first, as pytorch-grad-cam does; False is the paper's.
    """

    def __init__(self, layer: str | int | None = None, centre: bool = True) -> None:
        super().__init__(layer)
        self.centre = centre

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class)."""
        activation = self.activation(scorer, encoded, texts, owner)
        cells = activation.flatten(2)
        if self.centre:
            cells = cells - cells.mean(dim=2, keepdim=True)
        _, values, vectors = torch.linalg.svd(cells, full_matrices=False)
        projection = values[:, :1] * vectors[:, 0]
        flip = -projection.amin(dim=1) > projection.amax(dim=1)
        projection = torch.where(flip[:, None], -projection, projection)
        return projection.unflatten(1, activation.shape[2:]).relu()
