"""The choices of the search for an unknown shortcut."""

from dataclasses import dataclass

from vlground.errors import VlgroundError

_SHARES = ("level", "rim", "least_area", "stability", "least_effect")
_COUNTS = ("cells", "permutations", "pictures")


@dataclass(frozen=True)
class Search:
    """Every choice; all of them are ours.

    Attributes:
        cells: Places are looked for on a grid of so many rows and columns.
        level: Largest p, of a place to be suspected and of a suspicion to be confirmed.
        permutations: Shuffled labellings behind the p of a place.
        rim: Around the object, as a share of the picture's longer side, that is never suspected: a
            map's halo.
        least_area: Share of the picture, below which a region is not tried.
        stability: From which on a clustering counts.
        least_effect: Share of the predicted class' lead over the mean of the other logits, beyond
            which a loss counts as reliance. Blanking anything moves a logit a little; with many
            pictures any loss is significant.
        pictures: At most so many pictures a suspicion are tried.
        seed: Of permutations, clusters and places of control.

    >>> Search(level=2)
    Traceback (most recent call last):
    vlground.errors.VlgroundError: task.search.level=2: expected a number between 0 and 1
    """

    cells: int = 12
    level: float = 0.05
    permutations: int = 1000
    rim: float = 0.04
    least_area: float = 0.002
    stability: float = 0.6
    least_effect: float = 0.1
    pictures: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _SHARES:
            if not 0 < (value := getattr(self, name)) < 1:
                raise VlgroundError(
                    f"task.search.{name}={value}: expected a number between 0 and 1"
                )
        for name in _COUNTS:
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise VlgroundError(f"task.search.{name}={value}: expected a whole number above 0")
