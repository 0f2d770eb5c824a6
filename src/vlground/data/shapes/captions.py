"""Captions of several sentences, true or with planted errors, and scenes with a language prior.

    scene_of(image_id) ──▶ Scene ──write_caption(random, rates)──▶ claims ──text──▶ caption

Shapes come in partners: where one is drawn, the other often is too. A model that learns from such
scenes expects a partner where it cannot see one; so planted hallucinations are partners (ours).
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from vlground.data.sample import Sample
from vlground.data.shapes.claims import SYNONYMS
from vlground.data.shapes.render import Look, render
from vlground.data.shapes.scene import (
    SIDES,
    SIZES,
    Distribution,
    Draft,
    Scene,
    draw_scene,
    generator,
)
from vlground.data.shapes.sets import Split, check_options, check_word
from vlground.data.shapes.writing import PARTNERS, pairs_of, write_caption
from vlground.errors import VlgroundError

_WORLD = "shapes_captions"
_NAME = re.compile(
    rf"{_WORLD}/[^/]+/(?P<distribution>in|out)/(?P<side>\d+)/(?P<partners>[\d.e-]+)/-?\d+/\d+"
)
_COUNT = (2, 4)  # objects before their partners


class ShapesCaptions:
    """One true caption a scene, of 2 to 6 sentences, on some of its objects in reading order.

    Args:
        samples: How many scenes.
        split: train, val or test; they share no scene.
        distribution: in: no held-out pair of colour and shape is drawn or named; out: every scene
            has one.
        look: plain or shifted.
        side: Of the canvas, 96 to 128 pixels.
        seed: Of everything.
        partners: Chance, 0 to 1, that an object brings its partner shape into the scene.

    Attributes:
        skipped: Always empty.
        checksums: Always empty, since nothing is read from a file.
        objects: Image id -> shapes in the image.
        synonyms: File of words for the shapes.

    Raises:
        VlgroundError: If an option has another value than these.

    >>> sample = ShapesCaptions(1, "test", "in", "plain", 96, seed=0)[0]
    >>> sample.image_id
    'shapes_captions/test/in/96/0.5/0/0'
    """

    def __init__(
        self,
        samples: int,
        split: Split,
        distribution: Distribution,
        look: Look,
        side: int,
        seed: int,
        partners: float = 0.5,
    ) -> None:
        check_options(samples, split, look, side)
        check_word("distribution", distribution, Distribution)
        if not 0 <= partners <= 1:
            raise VlgroundError(f"dataset.partners={partners}: expected 0 to 1")
        self.skipped: Mapping[str, int] = {}
        self.checksums: dict[str, str] = {}
        self.synonyms: str | None = str(SYNONYMS)
        self._look: Look = look
        stem = f"{_WORLD}/{split}/{distribution}/{side}/{float(partners)}/{seed}"
        self._scenes = [scene_of(f"{stem}/{index}") for index in range(samples)]
        said = (write_caption(scene, generator("caption", scene.name)) for scene in self._scenes)
        self._texts = [" ".join(claim.text for claim in claims) for claims in said]
        self.objects: Mapping[str, frozenset[str]] = {
            scene.name: frozenset(thing.shape for thing in scene.things) for scene in self._scenes
        }

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        scene = self._scenes[index]
        return Sample(scene.name, scene.name, render(scene, self._look), self._texts[index])


def scene_of(image_id: str) -> Scene:
    """Draw the scene of an image again.

    Args:
        image_id: `shapes_captions/SPLIT/DISTRIBUTION/SIDE/PARTNERS/SEED/INDEX`: all that the scene
            depends on.

    Raises:
        VlgroundError: The image is of another world.
    """
    found = _NAME.fullmatch(image_id)
    if found is None:
        told = "of which captioner_shapes, shapes_oracle and reward=simulated know the scenes"
        raise VlgroundError(f"dataset: {image_id} is no image of {_WORLD}, {told}; choose others")
    distribution: Distribution = "out" if found["distribution"] == "out" else "in"
    scene = draw_scene([image_id], _COUNT, distribution, int(found["side"]))
    return _with_partners(scene, float(found["partners"]))


def _with_partners(scene: Scene, chance: float) -> Scene:
    """Let each object bring its partner shape, if it is not there and finds a place."""
    random = generator("partners", scene.name)
    draft = Draft(random, scene.side, list(scene.things))
    for thing in scene.things:
        shape, size = PARTNERS[thing.shape], random.choice(SIZES)
        pair = random.choice([pair for pair in pairs_of(scene) if pair[1] == shape])
        if random.random() < chance and all(other.shape != shape for other in draft.things):
            draft.place(pair, size, SIDES[size])
    return replace(scene, things=tuple(draft.things))
