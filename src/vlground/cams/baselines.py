"""Maps that know nothing, to stand beside every grounding score."""

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from vlground.contracts import CAM, Encoded, Kind, Scorer, check_pair
from vlground.data.sample import Sample
from vlground.errors import VlgroundError


class Uniform(CAM):
    """A ≡ 1: its IO_ratio and its expected pointing game are the box's share of the image."""

    constant: ClassVar[bool] = True

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class)."""
        return torch.ones(len(texts), *scorer.target_layers[-1].grid)


class Center(CAM):
    """A Gaussian in the middle of the model's input: photographers centre their subjects.

    Args:
        sigma: Standard deviation as a fraction of the side (ours).
    """

    def __init__(self, sigma: float = 0.25) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class)."""
        rows, columns = (
            torch.exp(-(((torch.arange(n) + 0.5) / n - 0.5) ** 2) / (2 * self.sigma**2))
            for n in scorer.target_layers[-1].grid
        )
        return (rows[:, None] * columns).repeat(len(texts), 1, 1)


class Random(CAM):
    """Independent uniform noise in every cell, drawn from (seed, sample id) and nothing else.

    Args:
        seed: Of the noise.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class)."""
        grid = scorer.target_layers[-1].grid
        maps = [torch.rand(grid, generator=self._generator(sample.id)) for sample in samples]
        return torch.stack(maps)

    def _generator(self, sample_id: str) -> torch.Generator:
        name = hashlib.sha256(f"{self.seed}/{sample_id}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(name[:7], "little"))


class ShuffledText(CAM):
    """Another CAM's map for the sample's foil, scored against the box of its true text.

    What is left of a grounding score here owes nothing to the text.

    Args:
        cams: The first of them that can read the scorer draws the map.

    Raises:
        VlgroundError: If there is none at all.
    """

    def __init__(self, cams: Sequence[CAM]) -> None:
        super().__init__()
        if not cams:
            raise VlgroundError("cam.cams: expected at least one CAM")
        self.cams: Sequence[CAM] = nn.ModuleList(cams)  # type: ignore[assignment]

    @property
    def needs(self) -> frozenset[Kind]:  # type: ignore[override]
        """What any of the CAMs needs; nothing if one needs nothing."""
        each = [cam.needs for cam in self.cams]
        return frozenset().union(*each) if all(each) else frozenset()

    def asks(self, sample: Sample) -> str | None:
        """The foil, or None if the data set has none for this sample."""
        return sample.foil

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Draw the maps (see the base class).

        Raises:
            ImpossiblePairError: If no CAM can read this scorer.
        """
        check_pair(scorer, self)
        kinds = {layer.kind for layer in scorer.target_layers}
        fitting = (cam for cam in self.cams if not cam.needs or kinds & cam.needs)
        maps: Tensor = next(fitting)(scorer, encoded, texts, owner, samples)
        return maps
