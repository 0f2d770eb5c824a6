"""A vision tower learns to see before it learns to speak: what does each patch show?"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.render import render
from vlground.data.shapes.scene import COLOURS, SHAPES, SIZES, Scene

# What is told of an object, each with a class 0 for where there is none.
_TOLD = {"shape": SHAPES, "colour": COLOURS, "size": SIZES}
_WARMUP = 100  # steps
_FIRST = 1_000_000  # number of the first scene: captions are learnt from others


class PatchPretraining(nn.Module):
    """Vision tower and projector of a LLaVA learn shape, colour and size of what each patch shows.

    Matrices of the tower's layers are trained by Muon, all else by AdamW: with AdamW alone a vision
    transformer needs about four times the steps.

    Args:
        seed: Of the scenes.
        steps: How many.
        batch: Scenes a step.
        learning_rate: The highest; after a warm-up of 100 steps it falls as half a cosine.
        weight_decay: Of matrices.
        width: Channels of an image token, as the language model reads it.
    """

    def __init__(
        self,
        seed: int,
        steps: int,
        width: int,
        batch: int = 32,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.05,
    ) -> None:
        super().__init__()
        self.seed, self.steps, self.batch = seed, steps, batch
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.heads = PatchHeads(width)

    def scenes(self, step: int) -> list[Scene]:
        """The scenes of a step; they depend on (seed, step) alone."""
        stem, first = f"shapes_captions/train/in/96/0.5/{self.seed}", _FIRST + step * self.batch
        return [scene_of(f"{stem}/{first + place}") for place in range(self.batch)]

    def loss(self, network: Any, pixels: Tensor, scenes: Sequence[Scene]) -> Tensor:  # noqa: ANN401
        """See `PatchHeads.loss`.

        Args:
            network: A LLaVA of transformers.
            pixels: Of the scenes, see `pixels_of`.
            scenes: What they show.
        """
        found = network.model.get_image_features(pixels).pooler_output
        return self.heads.loss(torch.stack(tuple(found)), scenes)[0]

    def optimizers(self, network: Any) -> list[torch.optim.Optimizer]:  # noqa: ANN401
        """Of the heads, and of the parts of the network that learn to see."""
        tower, projector = network.model.vision_tower, network.model.multi_modal_projector
        matrices = [w for w in tower.encoder.layers.parameters() if w.ndim == 2]
        known = {id(weight) for weight in matrices}
        seeing = [*tower.parameters(), *projector.parameters(), *self.parameters()]
        others = [weight for weight in seeing if id(weight) not in known]
        decay = self.weight_decay
        return [
            torch.optim.Muon(matrices, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, weight_decay=0.0, betas=(0.9, 0.98)),
        ]

    def rate_at(self, step: int) -> float:
        """The learning rate of a step."""
        share = min(1.0, step / _WARMUP) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * share


class PatchHeads(nn.Module):
    """Linear heads that read shape, colour and size of the object at each image token.

    Args:
        width: Channels of an image token, as the language model reads it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, 1 + len(words)) for name, words in _TOLD.items()}
        )

    def loss(self, tokens: Tensor, scenes: Sequence[Scene]) -> tuple[Tensor, dict[str, float]]:
        """Cross entropy of what each patch shows, summed over shape, colour and size (ours).

        Args:
            tokens: `(b, side * side, width)`.
            scenes: `b` of them.

        Returns:
            The loss, and of each the accuracy on patches that show an object.
        """
        side = math.isqrt(tokens.shape[1])
        truth = torch.from_numpy(np.stack([cells(s, side) for s in scenes])).to(tokens.device)
        there = truth[..., 0] > 0
        total = torch.zeros((), device=tokens.device)
        right: dict[str, float] = {}
        for place, (name, head) in enumerate(self.heads.items()):
            logits, wanted = head(tokens), truth[..., place]
            total = total + nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
            found = logits.argmax(dim=-1) == wanted
            right[name] = float(found[there].float().mean())
        return total, right


def cells(scene: Scene, side: int) -> np.ndarray:
    """Shape, colour and size of the object at the middle of each patch, `(side * side, 3)` int64.

    0 where there is none; of an object in the hole of a ring, the inner one.
    """
    found = np.zeros((side, side, 3), dtype=np.int64)
    middles = (np.arange(side) + 0.5) * scene.side / side
    for thing in sorted(scene.things, key=lambda one: one.inside is not None):
        x0, y0, x1, y1 = thing.box
        rows = (middles >= y0) & (middles < y1)
        columns = (middles >= x0) & (middles < x1)
        found[np.ix_(rows, columns)] = [
            1 + SHAPES.index(thing.shape),
            1 + COLOURS.index(thing.colour),
            1 + SIZES.index(thing.size),
        ]
    return found.reshape(side * side, 3)


def pixels_of(scenes: Sequence[Scene], processor: Any) -> Tensor:  # noqa: ANN401 - of transformers
    """The scenes as the vision tower reads them, `(b, 3, side, side)`."""
    images = [render(scene) for scene in scenes]
    read: Tensor = processor.image_processor(images, return_tensors="pt")["pixel_values"]
    return read
