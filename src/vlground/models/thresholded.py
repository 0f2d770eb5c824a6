"""A model that ranks texts, made to decide by a threshold (ours)."""

from collections.abc import Sequence

from torch import Tensor

from vlground.contracts import Encoded, Scorer
from vlground.errors import VlgroundError


class Thresholded(Scorer):
    """Another scorer with decisions; its scores and its maps stay as they are.

    CLIP says which of two texts fits better, not whether one fits. With a threshold it can be asked
    what matching models are asked, and its ranking of a text and its foil is stored.

    Args:
        scorer: That only ranks; its scores must be of one scale over images.
        centre: The score at which a text is as likely to fit as not; the probability is
            σ(score - centre).

    Raises:
        VlgroundError: When it is asked, if the scorer decides itself.
    """

    def __init__(self, scorer: Scorer, centre: float) -> None:
        super().__init__()
        self.scorer, self.centre = scorer, centre
        self.preprocess, self.target_layers = scorer.preprocess, scorer.target_layers

    def encode(self, pixels: Tensor) -> Encoded:
        """As the scorer does."""
        return self.scorer.encode(pixels)

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """As the scorer does."""
        return self.scorer.score(encoded, texts, owner)

    def knows(self, text: str) -> bool:
        """As the scorer does."""
        return self.scorer.knows(text)

    def truncated(self, text: str) -> str | None:
        """As the scorer does."""
        return self.scorer.truncated(text)

    def match(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        """σ(score - centre), `(q,)`; ranks as the score does."""
        if self.scorer.match(encoded, texts, owner) is not None:
            name = type(self.scorer).__name__
            raise VlgroundError(f"model.scorer: {name} decides itself; expected one that ranks")
        return (self.score(encoded, texts, owner) - self.centre).sigmoid()
