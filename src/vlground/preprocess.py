"""Original image to model input: resize, crop or pad, normalise."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlground.errors import ImageError, VlgroundError
from vlground.geometry import Frame

Resize = Literal["squash", "letterbox", "centre_crop"]


@dataclass(frozen=True)
class Preprocess:
    """Image to model input: resize, then `(x / 255 - mean) / std` on each channel.

    Attributes:
        size: Side of the square model input, in pixels.
        resize: What happens to another aspect, see the constructors of `Frame`.
        crop_fraction: Of `centre_crop`: side of the crop over the resized shorter side, in (0, 1].
        interpolation: Pillow's filter, antialiased when it shrinks.
        mean: Of red, green and blue, in 0–1; the default is ImageNet's.
        std: Of red, green and blue, in 0–1; the default is ImageNet's.

    Raises:
        VlgroundError: An option has an impossible value; the message names it.
    """

    size: int
    resize: Resize = "squash"
    crop_fraction: float = 1.0
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(self.mean))  # OmegaConf hands over lists
        object.__setattr__(self, "std", tuple(self.std))
        _one_of("model.preprocess.resize", self.resize, get_args(Resize))
        _one_of("model.preprocess.interpolation", self.interpolation, ("bicubic", "bilinear"))
        checks = {
            "size": ("a whole number above 0", isinstance(self.size, int) and self.size > 0),
            "crop_fraction": ("0 < crop_fraction <= 1", 0 < self.crop_fraction <= 1),
            "mean": ("three numbers", len(self.mean) == 3),
            "std": ("three numbers above 0", len(self.std) == 3 and min(self.std) > 0),
        }
        for name, (expected, holds) in checks.items():
            if not holds:
                value = getattr(self, name)
                raise VlgroundError(f"model.preprocess.{name}={value}: expected {expected}")

    def frame(self, height: int, width: int) -> Frame:
        """Where an image of this size comes to lie.

        Raises:
            ImageError: One side is over a hundred times the other, and it is to be centre cropped:
                10 × 10000 pixels would first become 224 × 224000.
        """
        if self.resize == "squash":
            return Frame.squash(height, width, self.size)
        if self.resize == "letterbox":
            return Frame.letterbox(height, width, self.size)
        if max(height, width) > 100 * min(height, width):
            raise ImageError(f"image of {width} × {height} pixels: too elongated for a centre crop")
        return Frame.centre_crop(height, width, self.size, self.crop_fraction)

    def __call__(self, image: Image.Image) -> tuple[Tensor, Frame]:
        """Make the model input.

        Args:
            image: Mode RGB, as `vlground.data.images.load_image` gives it.

        Returns:
            `(3, size, size)` float32 and the frame; letterbox padding is the mean colour, 0.

        Raises:
            ImageError: See `frame`.
            ValueError: The image is not RGB.
        """
        if image.mode != "RGB":
            raise ValueError(f"image of mode {image.mode}: expected RGB")
        frame = self.frame(image.height, image.width)
        rows, columns = frame.resized
        top, left = int(frame.offset_y), int(frame.offset_x)
        resized = image.resize((columns, rows), Image.Resampling[self.interpolation.upper()])
        # Negative offsets crop the resized image, positive ones pad the input.
        resized = resized.crop(
            (
                max(-left, 0),
                max(-top, 0),
                min(columns, self.size - left),
                min(rows, self.size - top),
            )
        )
        seen = torch.from_numpy(np.array(resized, dtype=np.float32)).permute(2, 0, 1)
        mean, std = (torch.tensor(three).view(3, 1, 1) for three in (self.mean, self.std))
        pixels = torch.zeros(3, self.size, self.size)
        y, x = max(top, 0), max(left, 0)
        pixels[:, y : y + seen.shape[1], x : x + seen.shape[2]] = (seen / 255 - mean) / std
        return pixels, frame


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise VlgroundError(f"{option}={value}: expected {', '.join(allowed)}")
