"""Any image file or array to 8-bit RGB, or one line that says why not.

What is kept and what is changed:

* Pixels stay where they are stored. An EXIF orientation is **not** applied: the boxes of VOC,
  COCO and Flickr30k are given in stored pixels. (Pillow itself turns TIFF files; none of these
  data sets has any.)
* Transparency is laid on white, the page that logos and drawings with a clear background were made
  for. Dropping it, as `convert("RGB")` does, would show whatever colour hides beneath.
* 16-bit greys are scaled to 8 bits; `convert("RGB")` would clip them to white.
* Of an animation or a multi-page file the first frame is read.
"""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vlground.data.sample import Sample
from vlground.errors import ImageError


def load_image(source: Sample | Path | str | np.ndarray) -> Image.Image:
    """Read one image as RGB.

    Args:
        source: A sample, a file, or uint8 pixels `(height, width, 3)` or `(height, width)`.

    Returns:
        Mode RGB, in stored orientation.

    Raises:
        ImageError: The file is missing, empty, truncated, no image or too large (more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS`), or the array is not of the kind above.

    >>> load_image(np.zeros((2, 3), np.uint8)).size
    (3, 2)
    """
    if isinstance(source, Sample):
        source = source.image
    if isinstance(source, np.ndarray):
        return _from_array(source)
    path = Path(source)
    try:
        if path.stat().st_size == 0:
            raise ImageError("file is empty")
        with Image.open(path) as image:
            limit = Image.MAX_IMAGE_PIXELS
            # Pillow only warns here, and raises from twice the limit on.
            if limit is not None and image.width * image.height > limit:
                told = f"{image.width} × {image.height} pixels, over the limit {limit}"
                raise ImageError(told, "more pixels than Pillow's limit")
            image.load()
            return _to_rgb(image)
    # Pillow's decoders raise anything on broken files: OSError, SyntaxError, struct.error …
    except Exception as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        raise ImageError(f"{path}: not readable as an image: {reason}", _kind(error)) from error


def _kind(error: Exception) -> str:
    """What is counted: the same words for every file that suffers the same."""
    if isinstance(error, ImageError):
        return error.reason
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "no image format"
    return "truncated" if "truncated" in str(error).lower() else type(error).__name__


def _from_array(pixels: np.ndarray) -> Image.Image:
    rgb_or_grey = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if pixels.dtype != np.uint8 or not rgb_or_grey or not pixels.size:
        raise ImageError(
            f"array of shape {pixels.shape} and type {pixels.dtype}: "
            "expected uint8 (height, width, 3) or (height, width)"
        )
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_array(_grey_to_8_bits(np.asarray(image)))
    if not image.has_transparency_data:
        return image.convert("RGB")
    # La and RGBa hold colours multiplied by alpha; Pillow converts each only to its plain sister.
    if image.mode == "La":
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _grey_to_8_bits(values: np.ndarray) -> np.ndarray:
    """Greys of 16 bits (also in 32-bit containers) over 0–65535, floats over 0–1."""
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    if not ((values >= 0) & (values <= top)).all():
        raise ImageError(f"greys from {values.min()} to {values.max()}, expected 0 to {top:g}")
    return np.rint(values * (255 / top)).astype(np.uint8)
