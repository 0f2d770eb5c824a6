"""Lets torchvision be imported beside a torch it was not compiled for (the CPU wheel).

The index has one torchvision wheel a platform, compiled for CUDA. Beside a CPU torch its compiled
operators do not load, `import torchvision` fails, and with it lightning, transformers, timm and
grad-cam. `install()` adds a finder that wakes only when somebody imports torchvision: if the
compiled operators load it does nothing; otherwise it declares the two operators that the import
needs, with a pure-torch `nms` behind the first. Everything else compiled (`deform_conv2d`, image
decoding, quantised nms) still raises torchvision's own error.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class _TorchvisionFinder(MetaPathFinder):
    """Prepares the operators, then lets the ordinary finders import torchvision."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return None for everything, so that the import itself stays the ordinary one."""
        if fullname == "torchvision":
            sys.meta_path.remove(self)  # once is enough
            spec = PathFinder.find_spec("torchvision", path)
            if spec is not None and spec.origin is not None:
                _prepare(Path(spec.origin).parent)
        return None


def install() -> None:
    """Add the finder, unless it is there or torchvision is imported already."""
    present = any(isinstance(finder, _TorchvisionFinder) for finder in sys.meta_path)
    if not present and "torchvision" not in sys.modules:
        sys.meta_path.insert(0, _TorchvisionFinder())


def _prepare(package: Path) -> None:
    import torch

    for library in package.glob("_C.*"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            break  # compiled for another torch
        return
    operators = torch.library.Library("torchvision", "DEF")
    operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.impl("nms", non_maximum_suppression, "CompositeExplicitAutograd")
    _KEPT.append(operators)  # a Library that is collected takes its operators with it


_KEPT: list[object] = []


def non_maximum_suppression(
    dets: "torch.Tensor", scores: "torch.Tensor", iou_threshold: float
) -> "torch.Tensor":
    """Greedy non-maximum suppression, as torchvision's kernel does it.

    Args:
        dets: Boxes `(n, 4)` as x0, y0, x1, y1.
        scores: `(n,)`; higher is kept first, ties in the order given.
        iou_threshold: A box is dropped if its IoU with a kept one is greater.

    Returns:
        Indices of the kept boxes, highest score first.
    """
    import torch

    order = scores.argsort(descending=True, stable=True)
    area = (dets[:, 2] - dets[:, 0]) * (dets[:, 3] - dets[:, 1])
    kept = []
    while order.numel() > 0:
        best, rest = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(dets[best, :2], dets[rest, :2])
        high = torch.minimum(dets[best, 2:], dets[rest, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        iou = overlap / (area[best] + area[rest] - overlap)
        order = rest[~(iou > iou_threshold)]  # two empty boxes (0/0) do not suppress each other
    return torch.stack(kept) if kept else order.new_zeros(0)
