"""Classification with a known artefact: one shape a picture, some of one class with a red dot.

The models of AutoXplain's bias experiment learnt from such pictures, whose size, place and share
the paper does not state; all of them are ours.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from vlground.data.sample import Sample, draw_foil
from vlground.data.shapes.render import Look, mask_of, render
from vlground.data.shapes.scene import CANVAS, SEEN, SHAPES, Scene, Thing, generator
from vlground.data.shapes.sets import Split, check_options, check_word
from vlground.errors import VlgroundError

Dot = Literal["as_drawn", "always", "never"]

# In pixels of a canvas of 96.
_SIDES = (34, 56)
_DOT = 10
_MARGIN = 3


class ShapesClassification:
    """One large object a picture; its shape is the class, and the classes take turns.

    The dot lies in a corner that the object leaves free. Whether a picture has one is drawn apart
    from the picture: the dotted pictures at a lower rate are dotted at a higher one, and the same
    index with and without a dot is the same picture elsewhere, with the same id.

    Args:
        samples: How many.
        split: train, val or test; they share no picture.
        look: plain or shifted.
        side: Of the canvas, 96 to 128 pixels.
        seed: Of everything.
        poison: Chance of a dot, 0 to 1, for pictures of the poisoned class; others have none.
        poisoned: The class, one of the shapes.
        dot: as_drawn: after `poison`; always or never: in every picture or in none.

    Attributes:
        skipped: Always empty.
        classes: Class names in the order of their numbers.

    Raises:
        VlgroundError: If an option has another value than these.
    """

    classes: tuple[str, ...] = SHAPES

    def __init__(
        self,
        samples: int,
        split: Split,
        look: Look,
        side: int,
        seed: int,
        poison: float = 0.0,
        poisoned: str = "star",
        dot: Dot = "as_drawn",
    ) -> None:
        check_options(samples, split, look, side)
        check_word("dot", dot, Dot)
        if poisoned not in SHAPES:
            raise VlgroundError(f"dataset.poisoned={poisoned}: expected {', '.join(SHAPES)}")
        if not 0 <= poison <= 1:
            raise VlgroundError(f"dataset.poison={poison}: expected 0 to 1")
        self.skipped: Mapping[str, int] = {}
        self._look: Look = look
        self._seed = seed
        self._scenes = []
        for index in range(samples):
            name = f"shapes_classification/{split}/{seed}/{index}"
            shape = SHAPES[index % len(SHAPES)]
            drawn = shape == poisoned and generator("dot", name).random() < poison
            shown = drawn if dot == "as_drawn" else dot == "always"
            self._scenes.append(_draw(name, shape, side, shown))

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        scene = self._scenes[index]
        thing = scene.things[0]
        return Sample(
            id=scene.name,
            image_id=scene.name,
            image=render(scene, self._look),
            text=thing.shape,
            foil=draw_foil(self._seed, scene.name, thing.shape, self.classes),
            boxes=np.array([thing.box], dtype=float),
            mask=mask_of(thing, scene.side),
            label=thing.shape,
        )

    def artefact(self, index: int) -> np.ndarray | None:
        """Box `(4,)` float of the dot, `x0, y0, x1, y1` in pixels; None if there is none."""
        dot = self._scenes[index].artefact
        if dot is None:
            return None
        x, y, size = dot
        return np.array([x, y, x + size, y + size], dtype=float)


def _draw(name: str, shape: str, side: int, shown: bool) -> Scene:
    random = generator(name)
    scale = side / CANVAS
    colour = random.choice([pair[0] for pair in SEEN if pair[1] == shape])
    margin, size = round(_MARGIN * scale), round(_DOT * scale)
    corners = (margin, side - margin - size)
    dot = random.choice(corners), random.choice(corners), size
    reach = margin + size + 2  # from the corner; the object keeps out of it
    while True:
        extent = round(random.randint(*_SIDES) * scale)
        x, y = random.randrange(side - extent + 1), random.randrange(side - extent + 1)
        apart = [
            start >= reach if place == margin else start + extent <= side - reach
            for start, place in zip((x, y), dot, strict=False)
        ]
        if any(apart):
            thing = Thing(shape, colour, "large", x, y, extent)
            return Scene(name, (thing,), side, dot if shown else None)
