"""Image classifiers of transformers, from a hub or a folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from vlground.errors import VlgroundError
from vlground.models.classifier import ImageClassifier, Target
from vlground.preprocess import Preprocess, Resize


class TransformersClassifier(ImageClassifier):
    """What `AutoModelForImageClassification` loads: ViT, DeiT, BEiT, Swin, ConvNeXt, ResNet.

    Args:
        pretrained: Name on the hub, or a folder that `save_pretrained` wrote.
        revision: Commit on the hub; without one the weights may change behind your back.
        classes: See `ImageClassifier`. None: the model's own labels; ImageNet's 1000 are known by
            all their names.
        preprocess: None: the model's own.
        layer: See `ImageClassifier`.
        target: See `ImageClassifier`.

    Raises:
        VlgroundError: If an option does not fit; see `ImageClassifier` for more.
    """

    def __init__(
        self,
        pretrained: str,
        revision: str | None = None,
        classes: Sequence[str] | str | None = None,
        preprocess: Preprocess | None = None,
        layer: str | None = None,
        target: Target = "logit",
    ) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        option = f"model.pretrained={pretrained}"
        try:
            network, report = AutoModelForImageClassification.from_pretrained(
                pretrained, revision=revision, dtype=torch.float32, output_loading_info=True
            )
            if preprocess is None:
                processor = AutoImageProcessor.from_pretrained(pretrained, revision=revision)
                preprocess = of_processor(processor.to_dict())
        except OSError as error:
            raise VlgroundError(
                f"{option}: not a folder of a classifier and its image processor, not in the "
                "hub's cache, and could not be fetched"
            ) from error
        except ValueError as error:
            raise VlgroundError(f"{option}: {str(error).splitlines()[0]}") from error
        if report["missing_keys"]:
            missing = ", ".join(sorted(report["missing_keys"])[:5])
            raise VlgroundError(f"{option}: no trained classifier, its weights lack {missing}")
        if classes is None:
            classes = _own_classes(network.config.id2label, option)
        super().__init__(network, preprocess, layer, target, classes)

    def run(self, network: nn.Module, pixels: Tensor) -> Tensor:
        """See the base class."""
        return network(pixel_values=pixels).logits


def of_processor(processor: Mapping[str, Any]) -> Preprocess:
    """The configuration of an image processor of transformers, as a `Preprocess`.

    Raises:
        VlgroundError: If it is neither a squash nor a centre crop to a square.
    """
    resize, side, fraction = _geometry(processor)
    normalise = processor.get("do_normalize", True)
    return Preprocess(
        size=side,
        resize=resize,
        crop_fraction=fraction,
        interpolation="bicubic" if processor.get("resample") == 3 else "bilinear",
        mean=tuple(processor["image_mean"]) if normalise else (0.0, 0.0, 0.0),
        std=tuple(processor["image_std"]) if normalise else (1.0, 1.0, 1.0),
    )


def _geometry(processor: Mapping[str, Any]) -> tuple[Resize, int, float]:
    """Kind of resize, side of the input, fraction of the crop."""
    size = processor["size"]
    edge = size.get("shortest_edge")
    crop = processor.get("crop_size") if processor.get("do_center_crop") else None
    if crop is not None and edge is not None and crop["height"] == crop["width"] <= edge:
        return "centre_crop", crop["height"], crop["height"] / edge
    if crop is None and edge is not None and "crop_pct" in processor:  # ConvNeXt's
        return ("centre_crop", edge, processor["crop_pct"]) if edge < 384 else ("squash", edge, 1.0)
    if crop in (None, size) and "height" in size and size["height"] == size["width"]:
        return "squash", size["height"], 1.0
    wanted = f"size {dict(size)}, crop {crop and dict(crop)}"
    raise VlgroundError(f"model.preprocess: give one; the model's own cannot be kept: {wanted}")


def _own_classes(labels: Mapping[int, str], option: str) -> list[str] | None:
    names = [labels[index] for index in range(len(labels))]
    if len(names) == 1000:
        return None
    if names and names[0] == "LABEL_0":
        raise VlgroundError(f"{option}: its classes have no names; give model.classes")
    return names
