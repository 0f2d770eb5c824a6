"""Classifiers of torchvision, by name."""

from collections.abc import Sequence

from torch import nn

from vlground.errors import VlgroundError
from vlground.models.checkpoint import load_checkpoint
from vlground.models.class_names import ClassNames
from vlground.models.classifier import ImageClassifier, Target
from vlground.preprocess import Preprocess


class TorchvisionClassifier(ImageClassifier):
    """A classifier of torchvision: ResNet, EfficientNet, ConvNeXt, ViT, Swin, MaxViT and others.

    Args:
        architecture: torchvision's name (`resnet18`).
        weights: Name of torchvision's weights, from its cache or the network; also where
            `preprocess` comes from.
        pretrained: False: random weights.
        checkpoint: A file of weights instead, see `load_checkpoint`.
        classes: See `ImageClassifier`; a network with random weights or from a checkpoint gets as
            many outputs.
        preprocess: None: that of `weights`.
        layer: See `ImageClassifier`.
        target: See `ImageClassifier`.

    Raises:
        VlgroundError: If an option does not fit; see `ImageClassifier` for more.
    """

    def __init__(
        self,
        architecture: str,
        weights: str = "IMAGENET1K_V1",
        pretrained: bool = True,
        checkpoint: str | None = None,
        classes: Sequence[str] | str | None = None,
        preprocess: Preprocess | None = None,
        layer: str | None = None,
        target: Target = "logit",
    ) -> None:
        import torchvision

        models = torchvision.models
        if pretrained and checkpoint is not None:
            raise VlgroundError("model.checkpoint: needs model.pretrained=false")
        if architecture not in models.list_models(module=models):
            raise VlgroundError(
                f"model.architecture={architecture}: torchvision has no classifier of this name"
            )
        offered = {entry.name: entry for entry in models.get_model_weights(architecture)}
        if weights not in offered:
            raise VlgroundError(f"model.weights={weights}: torchvision has {', '.join(offered)}")
        chosen = offered[weights]
        try:
            network: nn.Module = (
                models.get_model(architecture, weights=chosen)
                if pretrained
                else models.get_model(
                    architecture, weights=None, num_classes=ClassNames(classes).count
                )
            )
        except OSError as error:
            raise VlgroundError(
                f"model.pretrained={pretrained}: the weights of {architecture} are not in "
                "torchvision's cache, and could not be fetched; model.checkpoint=FILE reads yours"
            ) from error
        if checkpoint is not None:
            load_checkpoint(network, checkpoint)
        own = _of_transforms(chosen.transforms()) if preprocess is None else preprocess
        super().__init__(network, own, layer, target, classes)


def _of_transforms(transforms: object) -> Preprocess:
    from torchvision.transforms._presets import ImageClassification

    assert isinstance(transforms, ImageClassification)
    (size,), (resized,) = transforms.crop_size, transforms.resize_size
    return Preprocess(
        size=size,
        resize="centre_crop",
        crop_fraction=size / resized,
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
