"""Image classifiers as scorers: the text is a class name, the score its logit."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vlground.contracts import Encoded, Scorer, TargetLayer
from vlground.errors import VlgroundError
from vlground.models.imagenet import class_indices
from vlground.preprocess import Preprocess

Target = Literal["logit", "log_probability"]


class ImageClassifier(Scorer):
    """A timm classifier with the 1000 ImageNet classes.

    A text that names several classes ("bird") is scored by the log-sum-exp of their logits: up to
    the image's own constant, the log-probability that one of them is shown. With one class that is
    its logit.

    Args:
        network: A timm model with `forward_features` and `forward_head`.
        preprocess: From the original image to the model's input.
        layer: Target layer, any named module. None: the last feature map before pooling, which
            is the only one below which nothing is computed twice for two texts of one image.
        target: What a text's score is: its logit, or its log-probability (the other classes then
            enter the gradient).

    Raises:
        VlgroundError: If there is no such layer, or its output is no feature map.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        layer: str | None = None,
        target: Target = "logit",
    ) -> None:
        super().__init__()
        if target not in ("logit", "log_probability"):
            raise VlgroundError(f"model.target={target}: expected logit or log_probability")
        self.network = network.eval().requires_grad_(False)
        self._features: Callable[[Tensor], Tensor] = network.forward_features  # type: ignore[assignment]
        self._head: Callable[[Tensor], Tensor] = network.forward_head  # type: ignore[assignment]
        self.preprocess = preprocess
        self.target = target
        self.split = layer is None
        self.tap: nn.Module = nn.Identity() if layer is None else _module(network, layer)
        grid = self._grid(layer or "features")
        self.target_layers = (TargetLayer(layer or "features", self.tap, "features", grid),)

    def encode(self, pixels: Tensor) -> Encoded:
        """Run the network up to its last feature map (see the base class)."""
        if not self.split:
            return Encoded(pixels, pixels)
        return Encoded(pixels, self._features(pixels))

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """Score class names (see the base class)."""
        logits = self.logits(encoded, owner)
        if self.target == "log_probability":
            logits = logits.log_softmax(dim=-1)
        rows = zip(logits, texts, strict=True)
        return torch.stack([row[list(class_indices(text))].logsumexp(0) for row, text in rows])

    def logits(self, encoded: Encoded, owner: Tensor) -> Tensor:
        """`(q, 1000)` logits of the images `owner`."""
        features = encoded.features[owner]
        if not self.split:
            return self.network(features)
        return self._head(self.tap(features))

    def knows(self, text: str) -> bool:
        """Whether some ImageNet class has this name."""
        return bool(class_indices(text))

    @torch.no_grad()
    def _grid(self, layer: str) -> tuple[int, int]:
        shapes: list[torch.Size] = []
        hook = self.tap.register_forward_hook(lambda module, inputs, out: shapes.append(out.shape))
        size = self.preprocess.size
        self.logits(self.encode(torch.zeros(1, 3, size, size)), torch.zeros(1, dtype=torch.long))
        hook.remove()
        if not shapes or len(shapes[0]) != 4:
            raise VlgroundError(f"model.layer={layer}: its output is no feature map (q, c, h, w)")
        return shapes[0][2], shapes[0][3]


def _module(network: nn.Module, name: str) -> nn.Module:
    modules = dict(network.named_modules())
    if name not in modules or not name:
        children = ", ".join(child for child, _ in network.named_children())
        raise VlgroundError(f"model.layer={name}: no such layer; the network has {children}")
    return modules[name]
