"""Pictures; pure functions that return images."""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from vlground.data.sample import Sample

SIDE = 320  # of the longer side, in pixels


def overlay(image: Image.Image, activation: np.ndarray, boxes: np.ndarray) -> Image.Image:
    """The photo under its activation map, with the ground truth boxes.

    Args:
        image: RGB, `width × height`.
        activation: `(height, width)` map, drawn from its minimum (clear) to its maximum.
        boxes: `(k, 4)` x0, y0, x1, y1 in pixels of the image.

    Returns:
        RGB, at most `SIDE` pixels long.
    """
    from matplotlib import colormaps

    scale = min(1.0, SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    low, high = float(np.nanmin(activation)), float(np.nanmax(activation))
    strength = (activation - low) / (high - low) if high > low else np.zeros_like(activation)
    grey = Image.fromarray(np.uint8(255 * np.nan_to_num(strength))).resize(size)
    heat = np.asarray(grey, dtype=np.float32)[..., None] / 255
    colour = np.asarray(colormaps["inferno"](heat[..., 0]), dtype=np.float32)[..., :3]
    photo = np.asarray(image.resize(size), dtype=np.float32) / 255
    # What is not activated darkens, so that the eye falls on what is.
    mixed = photo * (0.45 + 0.15 * heat) + colour * (0.15 + 0.4 * heat)
    picture = Image.fromarray(np.uint8(255 * mixed.clip(0, 1)))
    draw = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in (boxes * scale).tolist():
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=(80, 255, 120), width=2)
    return picture


def shown(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The samples with a picture: the same ones in every run, chosen by hash of their id."""
    by_hash = sorted(samples, key=lambda s: hashlib.sha256(s.id.encode()).hexdigest())
    chosen = {sample.id for sample in by_hash[:count]}
    return [sample for sample in samples if sample.id in chosen]
