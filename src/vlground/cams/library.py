"""Every CAM of pytorch-grad-cam, through one adapter."""

import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vlground.cams.gradient import as_feature_map, choose_layer
from vlground.contracts import CAM, Encoded, Kind, Scorer, TargetLayer
from vlground.data.sample import Sample
from vlground.errors import ImpossiblePairError, VlgroundError

# They mask the image or differentiate down to it; the others start from the encoded features.
_FROM_PIXELS = frozenset({"AblationCAM", "FullGrad", "ScoreCAM"})


class LibraryCAM(CAM):
    """A `BaseCAM` of pytorch-grad-cam 1.5 (Gildenblat et al.), by its class name.

    The library knows one input tensor and one model, works in numpy and min-max normalises. So
    (image, text) pairs are drawn one by one, and the target layer's output passes a tap `(1, c, gh,
    gw)` in float32, where the library reads it: tokens need no `reshape_transform`, bf16 works, and
    AblationCAM replaces the tap, never a module of the model.

    Maps come on the target layer's grid, before the library would stretch them to the input's size;
    FullGrad's, which sums layers of many sizes, at the input's. A gradient of 0 gives a map of 0.
    FinerCAM, RefineCAM, SESS and DeepFeatureFactorization are no `BaseCAM`: they need several
    classes or layers, or draw several maps.

    Args:
        method: Name of the class, such as GradCAM or AblationCAM.
        layer: Name of the target layer; None: the scorer's last. FullGrad has none.
        eigen_smooth: The library's: first principal component instead of a sum over channels.
        aug_smooth: The library's: the mean over six flipped and scaled inputs.

    Raises:
        VlgroundError: If the library has no such method.
    """

    needs: ClassVar[frozenset[Kind]] = frozenset({"features"})
    normalised: ClassVar[bool] = True

    def __init__(
        self,
        method: str,
        layer: str | int | None = None,
        eigen_smooth: bool = False,
        aug_smooth: bool = False,
    ) -> None:
        super().__init__()
        known = library_methods()
        if method not in known:
            raise VlgroundError(f"cam.method={method}: expected one of {', '.join(sorted(known))}")
        self.method = method
        self.layer = layer
        self.smooth = {"eigen_smooth": eigen_smooth, "aug_smooth": aug_smooth}
        self.from_pixels = aug_smooth or method in _FROM_PIXELS

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps, min-max normalised (see the base class).

        Raises:
            ImpossiblePairError: If FullGrad would overlook biases of this model.
            VlgroundError: If the library fails.
        """
        layer = choose_layer(scorer, self.needs, self.layer)
        if self.method == "FullGrad":
            _check_biases(scorer)
        maps = []
        for text, image, sample in zip(texts, owner.tolist(), samples, strict=True):
            pixels, features = encoded.pixels[image, None], encoded.features[image, None]
            pair = _Pair(scorer, layer, text, pixels, self.from_pixels)
            start = pixels if self.from_pixels else features
            with torch.inference_mode(False), torch.enable_grad(), _drawing(sample):
                maps.append(self._draw(pair, layer, start.detach().float()))
        return torch.from_numpy(np.concatenate(maps))

    def _draw(self, pair: "_Pair", layer: TargetLayer, start: Tensor) -> np.ndarray:
        method = library_methods()[self.method]
        if self.method == "FullGrad":
            arguments: tuple[Any, ...] = (pair, [])
        else:
            method = _on_grid(method, layer.grid)
            arguments = (pair, [pair.tap])
        handle = layer.module.register_forward_hook(pair.expose)
        cam = None
        try:
            cam = method(*arguments)
            # Not as a context manager: its exit swallows every IndexError.
            drawn: np.ndarray = cam(start, [_only_score], **self.smooth)
        except (torch.OutOfMemoryError, VlgroundError):
            raise
        except Exception as error:
            raise VlgroundError(f"cam.method={self.method}: the library fails: {error}") from error
        finally:
            handle.remove()
            if cam is not None:
                # Emptied first: releasing detaches what is in there in place, views forbid it.
                cam.activations_and_grads.activations = []
                cam.activations_and_grads.gradients = []
                cam.activations_and_grads.release()
        return drawn


def library_methods() -> dict[str, type[Any]]:
    """The library's CAMs by class name."""
    import pytorch_grad_cam
    from pytorch_grad_cam.base_cam import BaseCAM

    exported = vars(pytorch_grad_cam).items()
    return {n: c for n, c in exported if isinstance(c, type) and issubclass(c, BaseCAM)}


class _Pair(nn.Module):
    """One image and one text as the library sees a model: a tensor in, scores `(n, 1)` out."""

    def __init__(
        self, scorer: Scorer, layer: TargetLayer, text: str, pixels: Tensor, from_pixels: bool
    ) -> None:
        super().__init__()
        # The library asks the first parameter for its device; a scorer may have none.
        self.device = nn.Parameter(pixels.new_zeros(0), requires_grad=False)
        self.scorer = scorer
        self.tap = nn.Identity()
        self.layer = layer
        self.text = text
        self.pixels = pixels
        self.from_pixels = from_pixels

    def forward(self, start: Tensor) -> Tensor:
        """Score n variants of the image's pixels or features."""
        start = start.to(self.pixels.device)
        if self.from_pixels:
            encoded = self.scorer.encode(start.to(self.pixels.dtype))
        else:
            pixels = self.pixels.expand(len(start), -1, -1, -1)
            encoded = Encoded(pixels, start.to(self.pixels.dtype))
        rows = torch.arange(len(start), device=start.device)
        return self.scorer.score(encoded, [self.text] * len(start), rows)[:, None].float()

    def expose(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        """Forward hook of the target layer: its output passes the tap as a float32 feature map."""
        # As in `Recording`: with frozen weights the graph begins here.
        output = output if output.requires_grad else output.detach().requires_grad_()
        tapped: Tensor = self.tap(as_feature_map(output, self.layer).float())
        tapped = tapped.to(output.dtype)
        if output.ndim == 4:
            return tapped
        tokens = tapped.flatten(2).transpose(1, 2)
        if self.layer.token_mask is None:
            return tokens
        return output.index_copy(1, self.layer.token_mask.nonzero()[:, 0], tokens)


def _only_score(row: Tensor) -> Tensor:
    """The library's target: a `(1,)` row of scores to a scalar."""
    return row[0]


def _on_grid(method: type[Any], grid: tuple[int, int]) -> type[Any]:
    """The method with maps left on the grid instead of stretched to the input's size."""

    class OnGrid(method):
        def get_target_width_height(self, input_tensor: Tensor) -> tuple[int, int]:
            return grid[1], grid[0]

    return OnGrid


@contextmanager
def _drawing(sample: Sample) -> Iterator[None]:
    """Without progress bars, and with RandomCAM drawing from the sample's id alone."""
    state = np.random.get_state()
    np.random.seed(zlib.crc32(sample.id.encode()))
    try:
        # Fused attentions have no second derivative, which ShapleyCAM takes.
        with redirect_stderr(io.StringIO()), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        np.random.set_state(state)


def _check_biases(scorer: Scorer) -> None:
    """The library's FullGrad finds exactly `Conv2d` and `BatchNorm2d`, and misses subclasses."""
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    biased = [m for m in scorer.modules() if isinstance(m, kinds) and m.bias is not None]
    missed = sorted({type(module).__name__ for module in biased if type(module) not in kinds})
    if missed or not biased:
        found = f"the library overlooks {', '.join(missed)}" if missed else "this model has none"
        raise ImpossiblePairError(
            f"cam.method=FullGrad needs biases of Conv2d or BatchNorm2d; {found} (see cam=fullgrad)"
        )
