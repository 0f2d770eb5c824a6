"""Small classifiers of every family with random weights, and one whose evidence is planted."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vlground.models.classifier import ImageClassifier
from vlground.models.timm_classifier import TimmClassifier
from vlground.models.transformers_classifier import TransformersClassifier
from vlground.preprocess import Preprocess

CLASSES = ["red fox", "beagle", "tabby", "lighthouse", "Space_Shuttle", "zebra"]
SIZE = 64


def spread(network: nn.Module) -> None:
    """Make the logits depend on the input, also where a library starts its head at zero."""
    generator = torch.Generator().manual_seed(5)
    for parameter in network.parameters():
        if parameter.ndim == 2 and not parameter.any():
            nn.init.normal_(parameter, std=0.1, generator=generator)


def timm_small(architecture: str, **options: object) -> Callable[[Path], ImageClassifier]:
    import timm

    def make(folder: Path) -> ImageClassifier:
        torch.manual_seed(0)
        network = timm.create_model(architecture, num_classes=len(CLASSES), **options)
        spread(network)
        return ImageClassifier(network, Preprocess(size=SIZE), classes=CLASSES)

    return make


def timm_by_name(architecture: str) -> Callable[[Path], ImageClassifier]:
    def make(folder: Path) -> ImageClassifier:
        torch.manual_seed(0)
        preprocess = Preprocess(size=SIZE)
        return TimmClassifier(architecture, False, classes=CLASSES, preprocess=preprocess)

    return make


def torchvision_small(architecture: str) -> Callable[[Path], ImageClassifier]:
    def make(folder: Path) -> ImageClassifier:
        from torchvision import models

        torch.manual_seed(0)
        count = len(CLASSES)
        network: nn.Module
        if architecture == "vit":
            network = models.VisionTransformer(SIZE, 16, 3, 2, 32, 48, num_classes=count)
        elif architecture == "swin":
            network = models.SwinTransformer(
                [4, 4], 16, [1, 1], [2, 2], [4, 4], stochastic_depth_prob=0.0, num_classes=count
            )
        elif architecture == "maxvit":
            network = models.MaxVit((SIZE, SIZE), 8, 4, [8, 16], [1, 1], 4, 0.0, num_classes=count)
        else:
            network = models.get_model(architecture, weights=None, num_classes=count)
        spread(network)
        return ImageClassifier(network, Preprocess(size=SIZE), classes=CLASSES)

    return make


def saved_transformers(family: str, folder: Path) -> Path:
    """Save a tiny classifier and its image processor, as a hub would have them."""
    from transformers import (
        ConvNextConfig,
        ConvNextForImageClassification,
        ResNetConfig,
        ResNetForImageClassification,
        SwinConfig,
        SwinForImageClassification,
        ViTConfig,
        ViTForImageClassification,
        ViTImageProcessor,
    )

    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(CLASSES)), "num_labels": len(CLASSES)}
    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    stages = {"hidden_sizes": [8, 16], "depths": [1, 1]}
    models = {
        "vit": lambda: ViTForImageClassification(
            ViTConfig(image_size=SIZE, patch_size=16, intermediate_size=48, **shape, **labels)
        ),
        "swin": lambda: SwinForImageClassification(
            SwinConfig(
                image_size=SIZE,
                embed_dim=16,
                depths=[1, 1],
                num_heads=[2, 2],
                window_size=4,
                **labels,
            )
        ),
        "resnet": lambda: ResNetForImageClassification(
            ResNetConfig(embedding_size=8, layer_type="basic", **stages, **labels)
        ),
        "convnext": lambda: ConvNextForImageClassification(
            ConvNextConfig(num_stages=2, **stages, **labels)
        ),
    }
    model = models[family]()
    model.save_pretrained(folder)
    ViTImageProcessor(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5] * 3, image_std=[0.25] * 3
    ).save_pretrained(folder)
    return folder


def transformers_small(family: str) -> Callable[[Path], ImageClassifier]:
    def make(folder: Path) -> ImageClassifier:
        return TransformersClassifier(str(saved_transformers(family, folder / family)))

    return make


# name: how it is made, target layer, grid, cut
FAMILIES: dict[str, tuple[Callable[[Path], ImageClassifier], str, int, str]] = {
    "timm resnet": (timm_by_name("resnet10t"), "layer4", 2, "layer4"),
    "timm convnext": (timm_small("convnext_atto"), "norm_pre", 2, "norm_pre"),
    "timm efficientnet": (timm_small("efficientnet_lite0"), "bn2", 2, "bn2"),
    "timm densenet": (
        timm_small("densenet121", block_config=(2, 2), growth_rate=8),
        "features",
        8,
        "features",
    ),
    "timm vit": (
        timm_small("vit_tiny_patch16_224", img_size=SIZE, depth=3),
        "blocks.2.norm1",
        4,
        "blocks.1",
    ),
    "timm deit": (
        timm_small("deit_tiny_distilled_patch16_224", img_size=SIZE, depth=2),
        "blocks.1.norm1",
        4,
        "blocks.0",
    ),
    "timm vit registers": (
        timm_small("vit_tiny_patch16_224", img_size=SIZE, depth=2, reg_tokens=4),
        "blocks.1.norm1",
        4,
        "blocks.0",
    ),
    "timm vit averaged": (
        timm_small("vit_tiny_patch16_224", img_size=SIZE, depth=2, global_pool="avg"),
        "norm",
        4,
        "norm",
    ),
    "timm swin": (
        timm_small(
            "swin_tiny_patch4_window7_224",
            img_size=SIZE,
            embed_dim=16,
            depths=(1, 2),
            num_heads=(2, 2),
        ),
        "norm",
        8,
        "norm",
    ),
    "timm maxvit": (timm_by_name("maxvit_rmlp_pico_rw_256"), "norm", 2, "norm"),
    "torchvision resnet": (torchvision_small("resnet18"), "layer4", 2, "layer4"),
    "torchvision vit": (
        torchvision_small("vit"),
        "encoder.layers.encoder_layer_2.ln_1",
        4,
        "encoder.layers.encoder_layer_1",
    ),
    "torchvision swin": (torchvision_small("swin"), "permute", 8, "permute"),
    "torchvision maxvit": (torchvision_small("maxvit"), "blocks.1", 8, "blocks.1"),
    "transformers vit": (
        transformers_small("vit"),
        "vit.layers.2.layernorm_before",
        4,
        "vit.layers.1",
    ),
    "transformers swin": (transformers_small("swin"), "swin.layernorm", 8, "swin.layernorm"),
    "transformers resnet": (
        transformers_small("resnet"),
        "resnet.encoder.stages.1",
        8,
        "resnet.encoder.stages.1",
    ),
    "transformers convnext": (
        transformers_small("convnext"),
        "convnext.encoder.stages.1",
        8,
        "convnext.encoder.stages.1",
    ),
}


class Planted(nn.Module):
    """The logit of class "r c" is the brightness of the image's cell in row r, column c."""

    def __init__(self, layout: str, grid: int = 4) -> None:
        super().__init__()
        self.layout = layout
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.place = nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.pool(pixels)
        if self.layout == "maps":
            return self.place(cells).mean(1).flatten(1)
        if self.layout == "channels last":
            return self.place(cells.permute(0, 2, 3, 1)).mean(3).flatten(1)
        tokens = cells.flatten(2).transpose(1, 2)
        prefix = tokens.mean(1, keepdim=True).expand(-1, 2, -1)
        return self.place(torch.cat([prefix, tokens], dim=1))[:, 2:].mean(2)

    @staticmethod
    def classes(grid: int = 4) -> Sequence[str]:
        return [f"{row} {column}" for row in range(grid) for column in range(grid)]
