"""`task=grpo`: a captioner learns from rewards of captions that it writes itself."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import lightning
from PIL import Image

from vlground.cell import Cell
from vlground.config import build, build_dataset
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.rewards.options import VigorReward
from vlground.tasks.images import images_of
from vlground.tasks.preference_training import PreferenceTraining
from vlground.training.caption_reward import CaptionReward
from vlground.weights import pinned


class GRPO(PreferenceTraining):
    """Group relative policy optimisation by TRL's GRPOTrainer.

    Attributes:
        reward: Of captions.
    """

    reward: CaptionReward

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell.

        Raises:
            VlgroundError: If an option does not fit, or a stream has nobody behind it.
        """
        node = cell.node
        cls.check(node)
        metric = build(node["metric"])
        if not isinstance(metric, VigorReward):
            told = f"metric={cell.choices['metric']}"
            raise VlgroundError(f"{told}: task=grpo takes metric=vigor_reward")
        _, samples, _ = build_dataset(node["task"]["data"])
        network, processor = cls.loaded(node)
        seed, directory = int(node["seed"]), cell.directory
        made = cls(network, processor, cell.samples, node["task"], seed, directory)
        made.reward = CaptionReward(
            images_of(samples),
            build(node["task"]["nouns"]),
            build(pinned(node["detector"])) if node["detector"] else None,
            build(node["reward"]) if node["reward"] else None,
            metric,
        )
        return made

    def optimise(self, trainer: lightning.Trainer) -> tuple[Any, list[dict[str, float]]]:
        """See the base class."""
        from vlground.training.with_trl import grpo

        about = (self.options, self.seed, self.directory, trainer)
        return grpo(self.network, self.processor, self.records(), self.reward, *about)

    def records(self) -> list[dict[str, Any]]:
        """The images, each with the prompt."""
        prompt = [{"role": "user", "content": self.options["prompt"]}]
        return [
            {"prompt": prompt, "place": place, "images": [_picture(sample)]}
            for place, sample in enumerate(self.images)
        ]

    @property
    def images(self) -> Sequence[Sample]:
        """What captions are written about."""
        return self.reward.samples

    def learnt_from(self) -> dict[str, Any]:
        """See the base class."""
        return {"images": len(self.images)}


def _picture(sample: Sample) -> dict[str, Any]:
    """An image as `datasets` reads it: a file by its name, pixels as PNG."""
    if isinstance(sample.image, Path):
        return {"path": str(sample.image), "bytes": None}
    written = BytesIO()
    Image.fromarray(sample.image).save(written, format="png")
    return {"path": None, "bytes": written.getvalue()}
