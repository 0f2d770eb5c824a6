"""Classifiers of timm, by name."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from vlground.errors import VlgroundError
from vlground.models.checkpoint import load_checkpoint
from vlground.models.class_names import ClassNames
from vlground.models.classifier import ImageClassifier, Target
from vlground.models.layout import Grid
from vlground.preprocess import Preprocess, Resize


class TimmClassifier(ImageClassifier):
    """A classifier of timm (Wightman 2019): ResNet, ConvNeXt, ViT, Swin, MaxViT and others.

    Args:
        architecture: timm's name, with or without the tag of its weights (`resnet50.a1_in1k`).
        pretrained: timm's weights, from its cache or the network; false: random ones.
        checkpoint: A file of weights instead, see `load_checkpoint`.
        classes: See `ImageClassifier`; a network with random weights or from a checkpoint gets as
            many outputs.
        preprocess: None: the model's own.
        layer: See `ImageClassifier`.
        target: See `ImageClassifier`.
        attention: Offer the attention of every block, too (plain ViTs). The blocks are then not
            shared by the texts of an image.

    Raises:
        VlgroundError: If an option does not fit; see `ImageClassifier` for more.
    """

    def __init__(
        self,
        architecture: str,
        pretrained: bool = True,
        checkpoint: str | None = None,
        classes: Sequence[str] | str | None = None,
        preprocess: Preprocess | None = None,
        layer: str | None = None,
        target: Target = "logit",
        attention: bool = False,
    ) -> None:
        import timm

        if pretrained and checkpoint is not None:
            raise VlgroundError("model.checkpoint: needs model.pretrained=false")
        known = timm.get_pretrained_cfg(architecture) if timm.is_model(architecture) else None
        if known is None:
            raise VlgroundError(f"model.architecture={architecture}: timm has none of this name")
        options: dict[str, Any] = {}
        if not pretrained and classes is not None:
            options["num_classes"] = ClassNames(classes).count
        if preprocess is not None and known.fixed_input_size:
            options["img_size"] = preprocess.size
        try:
            network: nn.Module = timm.create_model(architecture, pretrained=pretrained, **options)
        except OSError as error:
            raise VlgroundError(
                f"model.pretrained={pretrained}: no weights for {architecture} in timm's cache, "
                "and none could be fetched; model.checkpoint=FILE reads a file of yours"
            ) from error
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            told = f"model.architecture={architecture}: {str(error).splitlines()[0]}"
            raise VlgroundError(told) from error
        if checkpoint is not None:
            load_checkpoint(network, checkpoint)
        own = own_preprocess(network) if preprocess is None else preprocess
        super().__init__(
            network,
            own,
            layer,
            target,
            classes,
            grids=_grids(network, own.size),
            attention=_attention(network) if attention else (),
        )


def own_preprocess(network: nn.Module) -> Preprocess:
    """What timm evaluates the model with."""
    from timm.data import resolve_model_data_config

    data = resolve_model_data_config(network)
    resize: Resize = "squash" if data["crop_mode"] == "squash" else "centre_crop"
    return Preprocess(
        size=data["input_size"][-1],
        resize=resize,
        crop_fraction=1.0 if resize == "squash" else data["crop_pct"],
        interpolation="bicubic" if data["interpolation"] == "bicubic" else "bilinear",
        mean=data["mean"],
        std=data["std"],
    )


@torch.no_grad()
def _grids(network: nn.Module, size: int) -> list[Grid]:
    """The grids of every stage, by timm's `forward_intermediates`; none where it has none."""
    pixels = torch.zeros(1, 3, size, size)
    try:
        maps = network.eval().forward_intermediates(pixels, intermediates_only=True)  # type: ignore[operator]
    except (AttributeError, AssertionError, RuntimeError):
        return []  # not every model of timm has it, or the size is wrong, which is told later
    return [(one.shape[-2], one.shape[-1]) for one in maps]


def _attention(network: nn.Module) -> list[str]:
    """Modules with attention probabilities; the fused kernel, which has none, is put aside."""
    from timm.layers.attention import Attention

    found = [(name, m) for name, m in network.named_modules() if isinstance(m, Attention)]
    if not found:
        raise VlgroundError("model.attention=true: this architecture has no attention we can read")
    for _, module in found:
        module.fused_attn = False
    return [f"{name}.attn_drop" for name, _ in found]
