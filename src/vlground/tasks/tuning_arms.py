"""What ViGoR's fine-tuned models are compared with: which captions each learns from.

    base        none: the model as it is
    random      one of the model's own captions an image, by chance: the control
    human       the best by the sentence scorer, without what it calls wrong      the paper's RM
    automatic   the best by the detector, without sentences whose nouns it misses the paper's AT
    all         the best by both, without what either holds against it            the paper's All
    unrefined   the best by both, as it is
    holistic    the best by a scorer that learnt one label a caption, as it is

That each arm refines by the branches that it has is ours; the paper names nouns alone. A label of
a caption says of no sentence that it is wrong: refined by it, all of mini_captioner's were emptied.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_BEHIND = {"sentences": "reward", "nouns": "detector"}


@dataclass(frozen=True)
class Arm:
    """How an arm's captions are chosen.

    Attributes:
        streams: What is held against candidates, see `VigorReward.streams`.
        refine: What is taken out of the winner, see `VigorReward.refine`.
        n: Candidates an image; None: as many as `task.candidates` says.
        holistic: Whether `task.holistic` names who scores sentences.
    """

    streams: tuple[str, ...]
    refine: str
    n: int | None = None
    holistic: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        """Parts of the run that it asks; the other branch does not even break ties."""
        asked = [_BEHIND[stream] for stream in self.streams]
        return "model", "metric", *(one for one in asked if not (self.holistic and one == "reward"))

    @property
    def overrides(self) -> list[str]:
        """For `task=rejection_sampling`."""
        unasked = [f"{_BEHIND[name]}=none" for name in _BEHIND if name not in self.streams]
        fixed = [f"metric.streams=[{','.join(self.streams)}]", f"metric.refine={self.refine}"]
        return [*unasked, *fixed, *([] if self.n is None else [f"task.n={self.n}"])]


BASE = "base"
_BOTH = ("sentences", "nouns")
ARMS: Mapping[str, Arm | None] = {
    BASE: None,
    # Of one candidate there is nothing to choose, and every candidate is a draw by (seed, image).
    "random": Arm(("nouns",), "none", n=1),
    "human": Arm(("sentences",), "sentences"),
    "automatic": Arm(("nouns",), "nouns"),
    "all": Arm(_BOTH, "either"),
    "unrefined": Arm(_BOTH, "none"),
    "holistic": Arm(("sentences",), "none", holistic=True),
}
