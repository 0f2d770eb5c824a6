"""What a CAM reads of a scorer: activations of target layers, and the gradients of scores."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vlground.contracts import Encoded, Scorer, TargetLayer


class Recording:
    """Records the outputs of target layers while a score is computed.

    The first output recorded becomes a leaf, so with frozen weights the graph begins there and
    nothing below it is differentiated or kept.
    """

    def __init__(self, layers: Sequence[TargetLayer]) -> None:
        self.layers = layers
        self._outputs: dict[nn.Module, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    @property
    def outputs(self) -> list[Tensor]:
        """The recorded tensors, in the order of `layers`."""
        return [self._outputs[layer.module] for layer in self.layers]

    def __enter__(self) -> Self:
        self._handles = [layer.module.register_forward_hook(self._record) for layer in self.layers]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _record(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        recorded = output if output.requires_grad else output.detach().requires_grad_()
        self._outputs[module] = recorded
        return recorded


def differentiate(
    scorer: Scorer,
    layers: Sequence[TargetLayer],
    encoded: Encoded,
    texts: Sequence[str],
    owner: Tensor,
) -> tuple[list[Tensor], list[Tensor]]:
    """Activations of the layers and the gradients of each text's score with respect to them.

    Rows are independent, so one `autograd.grad` of the summed scores gives every text its own
    gradient; no parameter receives one. Works inside `Trainer.predict` and `Trainer.test`, whose
    inference mode it leaves.

    Returns:
        Activations and gradients, each detached, float32, first axis `q`, in the order of `layers`.
    """
    with torch.inference_mode(False), torch.enable_grad(), Recording(layers) as recording:
        scores = scorer.score(encoded, texts, owner)
        gradients = torch.autograd.grad(scores.sum(), recording.outputs)
    return (
        [output.detach().float() for output in recording.outputs],
        [gradient.float() for gradient in gradients],
    )
