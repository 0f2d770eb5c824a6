"""Scenes to pixels and masks: cached sprites pasted on cached textures.

Two looks: `plain`, which models are trained on, and `shifted`: another palette, other textures and
stronger noise, for questions about other domains.
"""

import math
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from vlground.data.shapes.scene import COLOURS, Scene, Thing, generator

Look = Literal["plain", "shifted"]

_PALETTES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "plain": (
        (225, 40, 40), (40, 170, 60), (50, 90, 235), (240, 220, 40),
        (150, 60, 190), (250, 140, 20), (60, 215, 225), (245, 245, 245),
    ),
    "shifted": (
        (190, 70, 80), (90, 185, 110), (90, 130, 205), (215, 205, 110),
        (165, 110, 175), (225, 160, 90), (125, 200, 200), (225, 220, 205),
    ),
}  # fmt: skip
_NOISE = {"plain": 5.0, "shifted": 14.0}  # standard deviation, in grey levels
_POOL = 256  # side of cached textures and noise, from which every scene takes a cut
_TEXTURES = 12
_FINE = 8  # sprites are drawn so many times larger and averaged


def render(scene: Scene, look: Look = "plain") -> np.ndarray:
    """Draw a scene.

    Args:
        scene: What.
        look: How.

    Returns:
        `(side, side, 3)` uint8, the same in every process.
    """
    random = generator("look", look, scene.name)
    side = scene.side
    texture = _textures(look)[random.randrange(_TEXTURES)]
    x, y = random.randrange(_POOL - side), random.randrange(_POOL - side)
    canvas = texture[y : y + side, x : x + side].copy()
    for thing in scene.things:
        x0, y0, x1, y1 = thing.box
        alpha = _alpha(thing.shape, thing.side)
        colour = np.array(_PALETTES[look][COLOURS.index(thing.colour)], np.float32)
        colour *= 0.9 + 0.14 * random.random()
        part = canvas[y0:y1, x0:x1]
        part += alpha[..., None] * (colour - part)
    if scene.artefact is not None:
        x0, y0, size = scene.artefact
        part = canvas[y0 : y0 + size, x0 : x0 + size]
        part += _alpha("circle", size)[..., None] * (np.array((255, 0, 0), np.float32) - part)
    x, y = random.randrange(_POOL - side), random.randrange(_POOL - side)
    canvas += _noise(look)[y : y + side, x : x + side]
    return canvas.clip(0, 255).astype(np.uint8)


def mask_of(thing: Thing, side: int) -> np.ndarray:
    """Exact mask of an object: the pixels that it touches, `(side, side)` bool."""
    mask = np.zeros((side, side), dtype=bool)
    x0, y0, x1, y1 = thing.box
    mask[y0:y1, x0:x1] = _alpha(thing.shape, thing.side) > 0
    return mask


@cache
def _alpha(shape: str, side: int) -> np.ndarray:
    """How much of each pixel a shape covers, `(side, side)` float32 in 0–1."""
    size = side * _FINE
    picture = Image.new("L", (size, size))
    draw = ImageDraw.Draw(picture)
    last = size - 1
    if shape in ("circle", "ring"):
        draw.ellipse((0, 0, last, last), fill=255)
        if shape == "ring":
            rim = round(0.17 * size)
            draw.ellipse((rim, rim, last - rim, last - rim), fill=0)
    else:
        draw.polygon([(x * last, y * last) for x, y in _outline(shape)], fill=255)
    covered = np.asarray(picture, dtype=np.float32).reshape(side, _FINE, side, _FINE)
    return covered.mean(axis=(1, 3)) / 255


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners in the unit square, all of whose edges they touch."""
    if shape == "square":
        return [(0, 0), (1, 0), (1, 1), (0, 1)]
    if shape == "triangle":
        return [(0.5, 0), (1, 1), (0, 1)]
    if shape == "diamond":
        return [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]
    if shape == "cross":
        a, b = 0.34, 0.66
        return [(a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a)]  # fmt: skip  # noqa: E501
    if shape == "star":
        turns = [math.pi * k / 5 - math.pi / 2 for k in range(10)]
        points = [((1 if k % 2 == 0 else 0.42) * math.cos(t), (1 if k % 2 == 0 else 0.42) * math.sin(t)) for k, t in enumerate(turns)]  # fmt: skip  # noqa: E501
    else:  # heart
        turns = [2 * math.pi * k / 60 for k in range(60)]
        points = [
            (
                16 * math.sin(t) ** 3,
                -13 * math.cos(t) + 5 * math.cos(2 * t) + 2 * math.cos(3 * t) + math.cos(4 * t),
            )
            for t in turns
        ]
    return _stretched(points)


def _stretched(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points moved and scaled to touch all edges of the unit square."""
    xs, ys = zip(*points, strict=True)
    wide, high = max(xs) - min(xs), max(ys) - min(ys)
    return [((x - min(xs)) / wide, (y - min(ys)) / high) for x, y in points]


@cache
def _textures(look: Look) -> np.ndarray:
    """`(_TEXTURES, _POOL, _POOL, 3)` float32 backgrounds."""
    return np.stack([_texture(look, number) for number in range(_TEXTURES)])


def _texture(look: Look, number: int) -> np.ndarray:
    rng = np.random.default_rng([number, list(_NOISE).index(look)])
    tint = rng.uniform(0.9, 1.1, 3).astype(np.float32)
    if look == "plain":
        # Soft clouds: coarse noise made smooth.
        coarse = rng.uniform(55, 125, (_POOL // 16, _POOL // 16)).astype(np.float32)
        grey = Image.fromarray(coarse, mode="F").resize((_POOL, _POOL), Image.Resampling.BICUBIC)
        return np.asarray(grey)[..., None] * tint
    rows, columns = np.mgrid[:_POOL, :_POOL].astype(np.float32)
    angle, period = rng.uniform(0, math.pi), rng.uniform(9, 22)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    across = rows * math.cos(angle) - columns * math.sin(angle)
    waves = np.sign(np.sin(2 * math.pi * along / period))
    if number % 2:
        waves = waves * np.sign(np.sin(2 * math.pi * across / period))
    return (120 + 28 * waves).astype(np.float32)[..., None] * tint


@cache
def _noise(look: Look) -> np.ndarray:
    rng = np.random.default_rng([7, list(_NOISE).index(look)])
    return (_NOISE[look] * rng.standard_normal((_POOL, _POOL, 3))).astype(np.float32)
