"""LeGrad: how sensitive the score is to attention at each cell, over the layers."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from vlground.cams.attention import attention_maps
from vlground.contracts import CAM, Encoded, Kind, Scorer, TargetLayer
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.gradients import differentiate


class LeGrad(CAM):
    """LeGrad (Bousselham et al. 2024, arXiv 2404.03214): `mean over layers of ReLU(∂s/∂A)`.

    In each layer it is averaged over heads and query tokens, then read at the image's tokens. The
    paper differentiates each layer's own score, the model's head applied to that layer's tokens. A
    scorer has no head for intermediate layers, so here the final score is differentiated at every
    layer, through all layers after it: a departure.

    Of a model with cross-attention it reads that (ours), with all tokens of the text as query
    tokens; of others self-attention, with all of the image's and the class token.

    Args:
        layers: The last so many; None: all that the model offers.

    Raises:
        VlgroundError: If it is not positive.
    """

    needs: ClassVar[frozenset[Kind]] = frozenset({"self_attention", "cross_attention"})

    def __init__(self, layers: int | None = None) -> None:
        super().__init__()
        if layers is not None and layers < 1:
            raise VlgroundError(f"cam.layers={layers}: expected a positive number")
        self.layers = layers

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class).

        Raises:
            VlgroundError: If the model has fewer layers.
        """
        kinds = {layer.kind for layer in scorer.target_layers}
        kind = "cross_attention" if "cross_attention" in kinds else "self_attention"
        offered = [layer for layer in scorer.target_layers if layer.kind == kind]
        count = len(offered) if self.layers is None else self.layers
        if count > len(offered):
            has = f"the model offers {len(offered)} of {kind}"
            raise VlgroundError(f"cam.layers={count}: {has}")
        read = offered[-count:]
        _, gradients = differentiate(scorer, read, encoded, texts, owner)
        maps = [_sensitivity(*pair) for pair in zip(gradients, read, strict=True)]
        return torch.stack(maps).mean(dim=0)


def _sensitivity(gradient: Tensor, layer: TargetLayer) -> Tensor:
    """`(q, gh, gw)` of one layer's gradient `(q, heads, to, from)`."""
    if layer.kind == "cross_attention":
        assert layer.token_mask is not None
        equal = torch.ones_like(gradient)
        return attention_maps(equal, gradient, layer.token_mask, layer.grid, tokens="all")
    columns = gradient.relu().mean(dim=(1, 2))
    image = columns if layer.token_mask is None else columns[:, layer.token_mask]
    return image.unflatten(1, layer.grid)
