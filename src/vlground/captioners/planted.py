"""Captions of drawn scenes with errors planted at known rates: a control, not a model (ours)."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

from vlground.captioners.caption import candidate_key
from vlground.contracts import Caption, Captioner
from vlground.data.sample import Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import ERROR_TYPES
from vlground.data.shapes.scene import Scene
from vlground.data.shapes.writing import write_caption
from vlground.errors import VlgroundError


class PlantedCaptioner(Captioner):
    """Writes about the scene behind an image, and errs as often as it is told.

    A candidate is drawn from (seed, image id, its number) alone; the prompt is not read. What it
    should score at every later stage can be computed from the rates.

    Args:
        errors: Error type -> probability, 0 to 1, that a sentence makes this error and no other; 0
            of types that are not named. Their sum is at most 1.
        min_sentences: Of a caption, from 1 on.
        max_sentences: Likewise; any number between is as likely.

    Raises:
        VlgroundError: If an option does not fit.

    >>> from vlground.data.shapes.captions import ShapesCaptions
    >>> data = ShapesCaptions(1, "test", "in", "plain", 96, seed=0)
    >>> ((one,),) = PlantedCaptioner({"conjecture": 1}, 1, 1).caption([data[0]], [""], 1, seed=0)
    >>> one.text
    'Someone must have enjoyed it.'
    """

    version: ClassVar[int] = 1

    def __init__(
        self, errors: Mapping[str, float], min_sentences: int = 2, max_sentences: int = 6
    ) -> None:
        for name, rate in errors.items():
            if name not in ERROR_TYPES:
                expected = f"types among {', '.join(ERROR_TYPES)}"
                raise VlgroundError(f"model.errors={name}: expected {expected}")
            if not 0 <= rate <= 1:
                raise VlgroundError(f"model.errors.{name}={rate}: expected 0 to 1")
        if sum(errors.values()) > 1 + 1e-9:
            rates = ", ".join(f"{name} {rate}" for name, rate in errors.items())
            raise VlgroundError(f"model.errors={rates}: expected a sum of at most 1")
        if min_sentences < 1:
            raise VlgroundError(f"model.min_sentences={min_sentences}: expected 1 or more")
        if max_sentences < min_sentences:
            told = f"expected model.min_sentences={min_sentences} or more"
            raise VlgroundError(f"model.max_sentences={max_sentences}: {told}")
        self._errors = dict(errors)
        self._sentences = min_sentences, max_sentences

    def caption(
        self, samples: Sequence[Sample], prompts: Sequence[str], n: int, seed: int, first: int = 0
    ) -> list[list[Caption]]:
        """Write the candidates `first` … `n - 1` of each sample's image.

        Args:
            samples: Of dataset=shapes_captions, or others with its image ids.
            prompts: One a sample, not read.
            n: Candidates of an image.
            seed: Of all that is drawn.
            first: Those before it are known already.

        Raises:
            VlgroundError: An image is of another world.
        """
        rows = []
        for sample, _ in zip(samples, prompts, strict=True):
            scene = scene_of(sample.image_id)
            rows.append([self._write(scene, seed, index) for index in range(first, n)])
        return rows

    def _write(self, scene: Scene, seed: int, index: int) -> Caption:
        random = Random(candidate_key(seed, scene.name, index))
        claims = write_caption(scene, random, self._errors, self._sentences)
        return Caption(" ".join(claim.text for claim in claims))
