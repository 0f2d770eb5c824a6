"""How a small OWLv2 learns the shapes world: what does each patch show, and where does that end?

OWL (Minderer et al. 2022) matches predictions and objects one to one, with a focal loss, L1 and
generalised IoU. Here every patch whose middle is on an object predicts that object, which learns
faster from scratch (ours); at inference several boxes of one object are the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou

from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.language import Description
from vlground.data.shapes.render import render
from vlground.data.shapes.scene import SEEN, SHAPES, SIZES, Scene, generator

_UNKNOWN = "unicorn"  # any word that the tokenizer does not know
_BOX, _OVERLAP = 5.0, 2.0  # weights of L1 and of generalised IoU; DETR's, which OWL takes over


@dataclass(frozen=True, eq=False)
class DetectionBatch:
    """Scenes, texts, and which patch shows what.

    Attributes:
        images: `(b, side, side, 3)` uint8.
        texts: `q` texts, asked of every scene.
        there: `(b, patches, q)` float32, 1 where a text fits the object in a patch.
        boxes: `(b, patches, 4)` float32: centre x, centre y, width, height of that object, in parts
            of the canvas; 0 where there is none.
    """

    images: np.ndarray
    texts: list[str]
    there: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class DetectionStream:
    """Batches that depend on (seed, step) alone, so that training resumes exactly.

    Attributes:
        seed: Of everything.
        images: Scenes a batch.
        described: Texts a batch that say more than a shape; half of them are of its objects.
        partners: See `ShapesCaptions`.
    """

    seed: int
    images: int = 24
    described: int = 40
    partners: float = 0.5

    def batch(self, step: int, patches: int) -> DetectionBatch:
        """The batch of a step.

        Args:
            step: Its number.
            patches: Of an image's side.
        """
        stem = f"shapes_captions/train/in/96/{float(self.partners)}/{self.seed}"
        first = 2_000_000 + step * self.images  # others than captions and reward models learn from
        scenes = [scene_of(f"{stem}/{first + place}") for place in range(self.images)]
        random = generator("detection", self.seed, step)
        asked = list(dict.fromkeys(self._ask(random, scenes)))
        texts = [_said(random, one) for one in asked]
        places = np.stack([_places(scene, patches) for scene in scenes])
        there = np.zeros((*places.shape, len(texts) + 1), dtype=np.float32)
        boxes = np.zeros((*places.shape, 4), dtype=np.float32)
        for number, scene in enumerate(scenes):
            for place, thing in enumerate(scene.things):
                mine = places[number] == place
                fits = [place in one.referents(scene) for one in asked]
                there[number, mine, : len(texts)] = fits
                extent = thing.side / scene.side
                x, y = (one / scene.side for one in thing.centre)
                boxes[number, mine] = x, y, extent, extent
        return DetectionBatch(
            np.stack([render(scene) for scene in scenes]),
            [*texts, _UNKNOWN],
            torch.from_numpy(there),
            torch.from_numpy(boxes),
        )

    def _ask(self, random: Random, scenes: Sequence[Scene]) -> Iterator[Description]:
        for shape in SHAPES:
            yield Description(shape)
        things = [thing for scene in scenes for thing in scene.things]
        for number in range(self.described):
            one = random.choice(things)
            colour, shape, size = one.colour, one.shape, one.size
            if number % 2:
                (colour, shape), size = random.choice(SEEN), random.choice(SIZES)
            kind = random.randrange(3)
            yield Description(shape, None if kind == 0 else colour, None if kind == 1 else size)


def detection_loss(network: Any, tokenizer: Any, pixels: Tensor, batch: DetectionBatch) -> Tensor:  # noqa: ANN401
    """Cross entropy of what patches show, and distances of boxes where they show something (ours).

    Args:
        network: An `Owlv2ForObjectDetection`.
        tokenizer: Its own.
        pixels: `(b, 3, side, side)`, normalised.
        batch: What they show.

    Returns:
        The loss; all parts are divided by the number of patches that show an object.
    """
    text = tokenizer(batch.texts, padding=True, return_tensors="pt").to(pixels.device)
    owl = network.owlv2
    read = owl.text_model(input_ids=text.input_ids, attention_mask=text.attention_mask)
    queries = owl.text_projection(read.pooler_output)
    grid, _ = network.image_embedder(pixels)
    features = network.layer_norm(grid).flatten(1, 2)
    logits, _ = network.class_predictor(features, queries.expand(len(features), -1, -1))
    there, boxes = batch.there.to(pixels.device), batch.boxes.to(pixels.device)
    named = nn.functional.binary_cross_entropy_with_logits(logits, there, reduction="sum")
    shows = boxes[..., 2] > 0
    found, wanted = network.box_predictor(features, grid)[shows], boxes[shows]
    apart = nn.functional.l1_loss(found, wanted, reduction="sum")
    overlap = generalized_box_iou(_corners(found), _corners(wanted)).diagonal()
    total = named + _BOX * apart + _OVERLAP * (1 - overlap).sum()
    return total / shows.sum().clamp(min=1)


def _said(random: Random, one: Description) -> str:
    """With or without its article, as captions and nouns have it."""
    return one.text if random.random() < 0.5 else one.text.partition(" ")[2]


def _places(scene: Scene, patches: int) -> np.ndarray:
    """Which object the middle of each patch is on, `(patches * patches,)`; -1: on none.

    Of an object in the hole of a ring, the inner one.
    """
    found = np.full((patches, patches), -1)
    middles = (np.arange(patches) + 0.5) * scene.side / patches
    order = sorted(range(len(scene.things)), key=lambda n: scene.things[n].inside is not None)
    for place in order:
        x0, y0, x1, y1 = scene.things[place].box
        rows = (middles >= y0) & (middles < y1)
        columns = (middles >= x0) & (middles < x1)
        found[np.ix_(rows, columns)] = place
    return found.reshape(-1)


def _corners(boxes: Tensor) -> Tensor:
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=1)
