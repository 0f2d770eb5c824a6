"""FullGrad: input gradient and bias gradients of the whole network."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vlground.contracts import CAM, Encoded, Scorer
from vlground.data.sample import Sample
from vlground.errors import ImpossiblePairError


class FullGrad(CAM):
    """FullGrad (Srinivas and Fleuret 2019, eq. 8): `ψ(G · x) + Σ_layers Σ_c ψ(b_c · G_c)`.

    ψ takes the absolute value, rescales a channel to 0-1 and resizes it to the input. The biases
    are those of convolutions and batch normalisations, whichever module computes them (timm's
    `BatchNormAct2d`, which pytorch-grad-cam overlooks). Resizing is linear, so a layer's channels
    are summed before it: pytorch-grad-cam's map without its memory.

    It differentiates the network from the pixels on, once a text, so it costs a whole backward pass
    and has no target layer. For a ReLU network the terms before ψ sum up to the score.
    """

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps, at the resolution of the model's input (see the base class).

        Raises:
            ImpossiblePairError: If no bias lies between the pixels and the score.
        """
        terms = full_gradient(scorer, encoded.pixels, texts, owner)
        if len(terms) == 1:
            raise ImpossiblePairError(
                "FullGrad needs biases of convolutions or batch normalisations; this model has none"
            )
        size = encoded.pixels.shape[-2:]
        maps = torch.zeros(len(texts), *size, device=encoded.pixels.device)
        for term in terms:
            layer = _rescale(term.abs()).sum(dim=1, keepdim=True)
            maps += functional.interpolate(layer, size=size, mode="bilinear")[:, 0]
        return maps


def full_gradient(
    scorer: Scorer, pixels: Tensor, texts: Sequence[str], owner: Tensor
) -> list[Tensor]:
    """Gradient times pixels `(q, 3, h, w)`, then times bias `(q, c, h', w')` of each layer.

    Float32 and detached; a layer that the pixels do not reach (a text tower's) is left out.
    """
    with torch.inference_mode(False), torch.enable_grad():
        rows = torch.arange(len(texts), device=pixels.device)
        leaf = pixels[owner].detach().requires_grad_()
        with _Biases() as biases:
            scores = scorer.score(scorer.encode(leaf), texts, rows)
        edges = [edge for edge, _ in biases.found]
        gradients = torch.autograd.grad(scores.sum(), [leaf, *edges], allow_unused=True)
    factors = [leaf.detach(), *(bias[:, None, None] for _, bias in biases.found)]
    pairs = zip(gradients, factors, strict=True)
    return [gradient.float() * factor.float() for gradient, factor in pairs if gradient is not None]


class _Biases(TorchFunctionMode):
    """Notes where in the graph each bias was added, before an activation may work in place."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[GradientEdge, Tensor]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        output = func(*args, **(kwargs or {}))
        bias = None
        if func is functional.conv2d:
            bias = _convolution_bias(*args, **(kwargs or {}))
        elif func is functional.batch_norm:
            bias = _normalisation_bias(*args, **(kwargs or {}))
        if bias is not None and output.requires_grad:
            self.found.append((get_gradient_edge(output), bias.detach()))
        return output


# These two have the signatures of `functional.conv2d` and `functional.batch_norm`.
def _convolution_bias(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *geometry: object, **more: object
) -> Tensor | None:
    return bias


def _normalisation_bias(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """What it adds in all: its bias and what the running mean amounts to."""
    if training or running_mean is None or running_var is None:
        return bias
    scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
    return (0 if bias is None else bias) - running_mean * scale


def _rescale(term: Tensor) -> Tensor:
    """Bring every channel to 0-1; 1e-7 is pytorch-grad-cam's."""
    raised = term - term.amin(dim=(2, 3), keepdim=True)
    return raised / (raised.amax(dim=(2, 3), keepdim=True) + 1e-7)
