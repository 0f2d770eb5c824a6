"""The Grad-CAM family on feature maps: one backward pass to the target layer.

Each is `ReLU(Σ_c w_c(A, G) · A_c)` of the activations A and the gradients G of the score.
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from vlground.contracts import (
    CAM,
    Encoded,
    Kind,
    Scorer,
    TargetLayer,
    differentiate,
)
from vlground.data.sample import Sample
from vlground.errors import VlgroundError


def choose_layer(scorer: Scorer, needs: frozenset[Kind], name: str | None) -> TargetLayer:
    """The target layer a CAM reads.

    Args:
        scorer: Whose layers.
        needs: Kinds that will do; `check_pair` has made sure that there is one.
        name: One of them by name; None: the last that will do.

    Raises:
        VlgroundError: If there is none of this name.
    """
    fitting = [layer for layer in scorer.target_layers if layer.kind in needs]
    if name is None:
        return fitting[-1]
    for layer in fitting:
        if layer.name == name:
            return layer
    names = ", ".join(layer.name for layer in fitting)
    raise VlgroundError(f"cam.layer={name}: no such target layer; the model offers {names}")


def as_feature_map(tensor: Tensor, layer: TargetLayer) -> Tensor:
    """Bring features or tokens to `(q, c, gh, gw)`."""
    if tensor.ndim == 4:
        return tensor
    tokens = tensor if layer.token_mask is None else tensor[:, layer.token_mask]
    return tokens.transpose(1, 2).unflatten(2, layer.grid)


class FeatureCAM(CAM):
    """A CAM made of the activations and gradients of one feature layer.

    Args:
        layer: Name of the target layer; None: the scorer's last.
    """

    needs: ClassVar[frozenset[Kind]] = frozenset({"features"})

    def __init__(self, layer: str | None = None) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class)."""
        layer = choose_layer(scorer, self.needs, self.layer)
        (activation,), (gradient,) = differentiate(scorer, [layer], encoded, texts, owner)
        maps = self.combine(as_feature_map(activation, layer), as_feature_map(gradient, layer))
        return maps.relu()

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Weigh activations `(q, c, gh, gw)` into maps `(q, gh, gw)`, before the ReLU."""
        raise NotImplementedError


class GradCAM(FeatureCAM):
    """Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2): `w_c = mean over space of G_c`."""

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See the base class."""
        return (gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1)


class HiResCAM(FeatureCAM):
    """HiResCAM (Draelos and Carin 2020): `Σ_c G_c · A_c`, element by element."""

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See the base class."""
        return (gradient * activation).sum(dim=1)


class LayerCAM(FeatureCAM):
    """LayerCAM (Jiang et al. 2021, eq. 5): `Σ_c ReLU(G_c) · A_c`, element by element."""

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See the base class."""
        return (gradient.relu() * activation).sum(dim=1)
