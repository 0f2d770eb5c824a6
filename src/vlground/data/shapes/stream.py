"""Endless training data of the shapes world: scenes with true texts and foils, by step number."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor

from vlground.data.shapes.language import Description, foil, phrase, referring, triplets
from vlground.data.shapes.render import render
from vlground.data.shapes.scene import SEEN, Pair, Scene, draw_scene, generator


@dataclass(frozen=True)
class TextBatch:
    """Scenes, and texts of which every second one is false.

    Attributes:
        images: `(b, side, side, 3)` uint8.
        pairs: Colours and shapes that each scene holds.
        texts: `q` texts, those of one scene together, each true one followed by its foil.
        owner: `(q,)` int64, the scene of each text.
        fits: `(q,)` int64, 1 if the text is true of its scene.
        boxes: `q` arrays `(k, 4)` of what a true text is about, in pixels; `(0, 4)` of a foil.
        scenes: What is in the images.
        said: What the texts say.
    """

    images: np.ndarray
    pairs: list[list[Pair]]
    texts: list[str]
    owner: Tensor
    fits: Tensor
    boxes: list[np.ndarray]
    scenes: list[Scene]
    said: list[Description]

    def truth(self) -> tuple[list[str], Tensor]:
        """Each different text once, and whether it is true of each scene, `(b, texts)` bool."""
        different = dict(zip(self.texts, self.said, strict=True))
        rows = [
            [bool(said.referents(scene)) for said in different.values()] for scene in self.scenes
        ]
        return list(different), torch.tensor(rows, dtype=torch.bool).view(len(self.scenes), -1)


@dataclass(frozen=True)
class TextStream:
    """Batches that depend on (seed, step) alone, so that training resumes exactly.

    Attributes:
        seed: Of everything.
        images: Scenes a batch.
        texts: True texts a scene; as many foils come with them.
        relations: Share of texts that say how objects lie to each other.
        referring: Share of texts that say what tells an object from the others.
        side: Of the canvas, in pixels.
    """

    seed: int
    images: int = 48
    texts: int = 6
    relations: float = 0.15
    referring: float = 0.15
    side: int = 96

    def batch(self, step: int, count: tuple[int, int] = (3, 6)) -> TextBatch:
        """The batch of a step.

        Args:
            step: Its number.
            count: Smallest and largest number of objects in a scene.
        """
        names = [("train", self.seed, step, number) for number in range(self.images)]
        scenes = [draw_scene(name, count, side=self.side) for name in names]
        texts: list[str] = []
        owner: list[int] = []
        boxes: list[np.ndarray] = []
        descriptions: list[Description] = []
        for number, scene in enumerate(scenes):
            random = generator("texts", *names[number])
            for said in self._say(random, scene):
                false = foil(random, scene, said, SEEN)
                if false is None:
                    continue
                descriptions += [said, false]
                texts += [said.text, false.text]
                owner += [number, number]
                found = [scene.things[place].box for place in said.referents(scene)]
                boxes += [np.array(found, dtype=float), np.zeros((0, 4))]
        return TextBatch(
            np.stack([render(scene) for scene in scenes]),
            [scene.pairs for scene in scenes],
            texts,
            torch.tensor(owner),
            torch.tensor([1, 0] * (len(texts) // 2)),
            boxes,
            scenes,
            descriptions,
        )

    def _say(self, random: Random, scene: Scene) -> list[Description]:
        related = [said for *_, said in triplets(scene)]
        return [self._one(random, scene, related) for _ in range(self.texts)]

    def _one(self, random: Random, scene: Scene, related: Sequence[Description]) -> Description:
        kind, place = random.random(), random.randrange(len(scene.things))
        if kind < self.relations and related:
            return random.choice(related)
        if kind < self.relations + self.referring:
            unique = referring(scene, place)
            if unique:
                return random.choice(unique)
        return phrase(scene.things[place].pair)
