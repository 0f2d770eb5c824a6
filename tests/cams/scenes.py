"""Scorers and images that CAMs are tried on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from tests.scorers import SIZE, TinyBlip, TinyClip
from torch import Tensor, nn

from vlground.cams.eigen import EigenCAM
from vlground.cams.fullgrad import FullGrad
from vlground.cams.gradient import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from vlground.cams.score import ScoreCAM
from vlground.contracts import CAM, Encoded, Scorer
from vlground.data.images import load_image
from vlground.data.photos import Photos
from vlground.data.sample import Sample
from vlground.models.classifier import ImageClassifier
from vlground.models.efficientnet_lite import EfficientNetLite
from vlground.preprocess import Preprocess

GRADIENT: dict[str, Callable[..., CAM]] = {
    "GradCAM": GradCAM,
    "HiResCAM": HiResCAM,
    "GradCAMPlusPlus": GradCAMPlusPlus,
    "XGradCAM": XGradCAM,
    "LayerCAM": LayerCAM,
}
ALL: dict[str, Callable[[], CAM]] = {
    **GRADIENT,
    "EigenCAM": EigenCAM,
    "ScoreCAM": lambda: ScoreCAM(channels=8),
    "FullGrad": FullGrad,
}
LITE0 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass
class Scene:
    """Two images, the third text of the first's.

    Attributes:
        scorer: To be explained.
        pixels: `(2, 3, size, size)`.
        texts: Three.
        network: The same model as the library wants it; None: there is none but the scorer.
        layer: Its target layer.
        targets: Class of each text.
    """

    scorer: Scorer
    pixels: Tensor
    texts: list[str]
    network: nn.Module | None = None
    layer: nn.Module | None = None
    targets: tuple[int, ...] = ()

    owner = torch.tensor([0, 1, 0])

    def encoded(self) -> Encoded:
        with torch.no_grad():
            return self.scorer.encode(self.pixels)

    def maps(self, cam: CAM, rows: tuple[int, ...] = (0, 1, 2)) -> Tensor:
        texts = [self.texts[row] for row in rows]
        return cam(self.scorer, self.encoded(), texts, self.owner[list(rows)], samples(rows))


def samples(rows: tuple[int, ...] = (0, 1, 2)) -> list[Sample]:
    image = np.zeros((4, 4, 3), np.uint8)
    return [Sample(id=f"photo/{row}", image_id="x", image=image, text=str(row)) for row in rows]


def phrases() -> list[Sample]:
    """Texts of unequal lengths, the second and third of one image."""
    noise = np.random.default_rng(0).integers(0, 255, (2, SIZE, SIZE, 3), dtype=np.uint8)
    texts = [("green", 0), ("a small blue ring left of it", 1), ("red star", 1)]
    return [Sample(f"{i}/{t}", str(i), noise[i], t, foil=f"no {t}") for t, i in texts]


def classifier(network: nn.Module, size: int, layer: str) -> Scene:
    """A timm network; batch normalisations get random numbers, so that nothing cancels."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
    scorer = ImageClassifier(network, Preprocess(size=size))
    pixels = torch.randn(2, 3, size, size, generator=generator)
    texts, targets = ["Egyptian cat", "beer glass", "goldfish"], (285, 441, 1)
    return Scene(scorer, pixels, texts, network, network.get_submodule(layer), targets)


def resnet() -> Scene:
    import timm

    torch.manual_seed(0)
    return classifier(timm.create_model("test_resnet"), 96, "layer4")


def efficientnet() -> Scene:
    import timm

    torch.manual_seed(0)
    return classifier(timm.create_model("test_efficientnet"), 96, "bn2")


def lite0() -> Scene:
    """Real weights on real photos."""
    third = (127 / 255,) * 3, (128 / 255,) * 3
    scorer = EfficientNetLite(0, LITE0, Preprocess(size=224, mean=third[0], std=third[1]))
    photos = {sample.image_id: sample for sample in Photos(seed=0)}
    pixels = [scorer.preprocess(load_image(photos[name]))[0] for name in ("chelsea", "coffee")]
    network = scorer.network
    texts, targets = ["Egyptian cat", "espresso", "tabby"], (285, 967, 281)
    return Scene(scorer, torch.stack(pixels), texts, network, network.get_submodule("bn2"), targets)


def clip() -> Scene:
    """Tokens `(q, n, c)`, the class token first."""
    scorer = TinyClip()
    pixels = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    return Scene(scorer, pixels, ["red star", "a small blue ring", "green"])


def blip(text: bool = False, vision: bool = False) -> Scene:
    """Attention from texts of unequal lengths to two images, and among either if asked for."""
    scorer = TinyBlip(text, vision)
    pixels = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    return Scene(scorer, pixels, ["red star", "a small blue ring", "green"])


SCENES = {"resnet": resnet, "efficientnet": efficientnet, "lite0": lite0, "clip": clip}
