"""`draw_foil` for pools of thousands of texts, where copying the pool a sample takes minutes."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Collection, Iterable


class FoilPool:
    """Draws from the texts of a whole data set, without those of the sample's own image (ours).

    Texts that differ in letter case only count as the same: `A man` is no foil where `a man` is
    true. Otherwise it draws what `draw_foil` draws.

    Args:
        texts: Of all images.
        seed: The data set's seed.

    >>> FoilPool(["cat", "Dog", "dog", "bus"], seed=0).draw("a", ["Cat", "dog"])
    'bus'
    """

    def __init__(self, texts: Iterable[str], seed: int) -> None:
        self._texts = sorted(set(texts))
        self._seed = seed
        self._places: dict[str, list[int]] = {}
        for place, text in enumerate(self._texts):
            self._places.setdefault(text.casefold(), []).append(place)

    def draw(self, sample_id: str, own: Collection[str]) -> str | None:
        """Draw from (seed, sample id) alone.

        Args:
            sample_id: Id of the sample the foil is for.
            own: All texts that are true of its image, its own among them.

        Returns:
            The foil, or None if there is nothing to draw from.
        """
        folded = {text.casefold() for text in own}
        taken = sorted(place for text in folded for place in self._places.get(text, ()))
        left = len(self._texts) - len(taken)
        if not left:
            return None
        # The number that `draw_foil` draws; the texts left are counted instead of copied.
        name = json.dumps(["foil", self._seed, sample_id])
        number = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) % left
        # taken[i] - i texts are left before taken[i].
        before = [place - i for i, place in enumerate(taken)]
        return self._texts[number + bisect_left(before, number + 1)]
