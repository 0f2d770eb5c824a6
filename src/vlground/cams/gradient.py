"""The Grad-CAM family on feature maps and cross-attention: one backward pass to the target layer.

Each is `ReLU(Σ_c w_c(A, G) · A_c)` of the activations A and the gradients G of the score, up to
min-max normalisation and resizing what pytorch-grad-cam draws. Of cross-attention every head of
every text token is a channel.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vlground.contracts import CAM, Encoded, Kind, Scorer, TargetLayer
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.gradients import Recording, differentiate

Tokens = Literal["all", "words", "first"]


def choose_layer(scorer: Scorer, needs: frozenset[Kind], name: str | int | None) -> TargetLayer:
    """The target layer a CAM reads.

    Args:
        scorer: Whose layers.
        needs: Kinds that will do; `check_pair` has made sure that there is one.
        name: One of them by name, or by its place among them, -1 being the last; None: the scorer's
            default, or else the last that will do.

    Raises:
        VlgroundError: If there is none of this name, or in this place.
    """
    fitting = [layer for layer in scorer.target_layers if layer.kind in needs]
    if name is None:
        return next((layer for layer in fitting if layer.default), fitting[-1])
    if isinstance(name, int) and -len(fitting) <= name < len(fitting):
        return fitting[name]
    for layer in fitting:
        if layer.name == name:
            return layer
    names = ", ".join(layer.name for layer in fitting)
    raise VlgroundError(f"cam.layer={name}: no such target layer; the model offers {names}")


def choose_tokens(token_mask: Tensor, tokens: Tokens, end_token: bool = True) -> Tensor:
    """The text tokens whose attention counts.

    Args:
        token_mask: `(q, t)` bool, true for tokens of the text; the first is a special one.
        tokens: `all` of them, the special ones too (ALBEF, AMC); `words`, without them (LAVIS's
            average); the `first`, [CLS] or [ENC], from which the score is read (LAVIS's index 0).
        end_token: Whether the last one is special too; ALBEF writes none.

    Returns:
        `(q, t)` bool. A text of special tokens only has no words.

    >>> choose_tokens(torch.tensor([[True, True, True, False]]), "words").tolist()
    [[False, True, False, False]]
    """
    first = token_mask & (token_mask.cumsum(dim=1) == 1)
    if tokens == "first":
        return first
    if tokens == "all":
        return token_mask
    last = token_mask & (token_mask.flip(1).cumsum(dim=1).flip(1) == 1)
    return token_mask & ~first & ~last if end_token else token_mask & ~first


def check_option(name: str, value: object, *expected: object) -> None:
    """Make sure that an option of a CAM has one of its values.

    Raises:
        VlgroundError: If it has another one.
    """
    if value not in expected:
        names = ", ".join(str(one) for one in expected)
        raise VlgroundError(f"cam.{name}={value}: expected one of {names}")


def as_feature_map(tensor: Tensor, layer: TargetLayer, tokens: Tokens = "all") -> Tensor:
    """Bring features, tokens or attention from texts to images to `(q, c, gh, gw)`.

    Channels of cross-attention are heads × text tokens, 0 where a token does not count.
    """
    if layer.kind == "cross_attention":
        assert layer.token_mask is not None
        counts = choose_tokens(layer.token_mask, tokens, layer.end_token).to(tensor)
        channels = (tensor * counts[:, None, :, None]).flatten(1, 2)
        return channels[..., -layer.grid[0] * layer.grid[1] :].unflatten(2, layer.grid)
    if tensor.ndim == 4:
        return tensor
    image = tensor if layer.token_mask is None else tensor[:, layer.token_mask]
    return image.transpose(1, 2).unflatten(2, layer.grid)


class FeatureCAM(CAM):
    """A CAM that reads one feature layer.

    Args:
        layer: See `choose_layer`.
    """

    needs: ClassVar[frozenset[Kind]] = frozenset({"features"})

    def __init__(self, layer: str | int | None = None) -> None:
        super().__init__()
        self.layer = layer

    def activation(
        self, scorer: Scorer, encoded: Encoded, texts: Sequence[str], owner: Tensor
    ) -> Tensor:
        """The layer's output `(q, c, gh, gw)`, float32, without any gradient."""
        layer = choose_layer(scorer, self.needs, self.layer)
        with torch.inference_mode(False), torch.no_grad(), Recording([layer]) as recording:
            scorer.score(encoded, texts, owner)
        return as_feature_map(recording.outputs[0].detach().float(), layer)


class GradientCAM(CAM):
    """A CAM made of the activations and gradients of one layer.

    On cross-attention it is ours: the papers have feature maps only.

    Args:
        layer: Name of the target layer; None: the scorer's default, or its last.
        tokens: Of cross-attention: whose attention counts, see `choose_tokens`.
    """

    needs: ClassVar[frozenset[Kind]] = frozenset({"features", "cross_attention"})

    def __init__(self, layer: str | int | None = None, tokens: Tokens = "all") -> None:
        super().__init__()
        check_option("tokens", tokens, "all", "words", "first")
        self.layer = layer
        self.tokens = tokens

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
        channels = (as_feature_map(one, layer, self.tokens) for one in (activation, gradient))
        return self.combine(*channels).relu()

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Weigh activations `(q, c, gh, gw)` into maps `(q, gh, gw)`, before the ReLU."""
        raise NotImplementedError


class GradCAM(GradientCAM):
    """Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2): `w_c = mean over space of G_c`."""

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See the base class."""
        return (gradient.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1)


class HiResCAM(GradientCAM):
    """HiResCAM (Draelos and Carin 2020): `Σ_c G_c · A_c`, element by element."""

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See the base class."""
        return (gradient * activation).sum(dim=1)


class LayerCAM(GradientCAM):
    """LayerCAM (Jiang et al. 2021, eq. 5): `Σ_c ReLU(G_c) · A_c`, element by element."""

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See the base class."""
        return (gradient.relu() * activation).sum(dim=1)


class GradCAMPlusPlus(GradientCAM):
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 19): `w_c = Σ_space α · ReLU(G)`.

    `α = G² / (2 G² + S G³)` with S the sum of the channel's activations. The paper's score is
    exp(logit), whose factor `exp(logit)` scales a whole map and is left out, as in every
    implementation.

    Args:
        layer: See the base class.
        epsilon: Added to α's denominator. 1e-6 is pytorch-grad-cam's; it outweighs G² where |G| is
            below 1e-3, as in most networks. 0 is the equation itself.
        tokens: See the base class.
    """

    def __init__(
        self, layer: str | int | None = None, epsilon: float = 1e-6, tokens: Tokens = "all"
    ) -> None:
        super().__init__(layer, tokens)
        self.epsilon = epsilon

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See the base class."""
        square = gradient**2
        total = activation.sum(dim=(2, 3), keepdim=True)
        denominator = 2 * square + total * square * gradient + self.epsilon
        # The authors' code: a denominator of 0 counts as 1. It happens where the gradient is 0.
        alpha = square / torch.where(denominator == 0, 1.0, denominator)
        weights = (alpha * gradient.relu()).sum(dim=(2, 3), keepdim=True)
        return (weights * activation).sum(dim=1)


class XGradCAM(GradientCAM):
    """XGrad-CAM (Fu et al. 2020): `w_c = Σ_space G_c · A_c / Σ_space A_c`.

    The 1e-7 beside the denominator is pytorch-grad-cam's. Where activations have both signs (tokens
    of a transformer) their sum may be near 0 and the weight anything: the paper assumes ReLU.
    """

    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """See the base class."""
        total = activation.sum(dim=(2, 3), keepdim=True) + 1e-7
        weights = (gradient * activation / total).sum(dim=(2, 3), keepdim=True)
        return (weights * activation).sum(dim=1)
