"""What data sets read from published files share: the folder, boxes, samples and their foils."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vlground.data.foils import FoilPool
from vlground.data.index_cache import IndexCache
from vlground.data.sample import Sample
from vlground.errors import VlgroundError


class Annotated:
    """A data set read from files; a subclass calls `_add`, `_left_out`, `_true`, then `_finish`.

    Attributes:
        skipped: Reason → number of annotations that became no sample.
    """

    def __init__(self) -> None:
        self._skipped: Counter[str] = Counter()
        self._images: dict[str, dict[str, Sample]] = {}
        self._texts: dict[str, set[str]] = {}
        self._ids: set[str] = set()
        self._samples: list[Sample] = []

    @property
    def skipped(self) -> Mapping[str, int]:
        """Reason → number of annotations that became no sample."""
        return self._skipped

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def _known(self, cache: IndexCache) -> bool:
        """Take the samples of an index, if there is one and the photos still are where it says."""
        stored = cache.load()
        if stored is None:
            return False
        samples, skipped = stored
        self._check_photos(samples)
        self._samples, self._skipped = samples, Counter(skipped)
        return True

    def _left_out(self, reason: str, number: int = 1) -> None:
        self._skipped[reason] += number

    def _true(self, image_id: str, text: str) -> None:
        """Note a text that is true of an image, sample or not: it is no foil there."""
        self._texts.setdefault(image_id, set()).add(_one_line(text))

    def _clip(self, box: Sequence[float], width: float, height: float) -> list[float] | None:
        """The part of a box inside the image, or None with the reason counted."""
        x0, y0, x1, y1 = map(float, box)
        clipped = [max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)]
        if not all(map(math.isfinite, (x0, y0, x1, y1))):
            self._left_out("no box")
        elif x1 <= x0 or y1 <= y0:
            self._left_out("empty box")
        elif clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
            self._left_out("box outside the image")
        else:
            return clipped
        return None

    def _add(
        self,
        sample_id: str,
        image_id: str,
        image: Path,
        text: str,
        boxes: Sequence[Sequence[float]],
        label: str | None = None,
        foil: str | None = None,
    ) -> None:
        """Add a sample; its foil is drawn later unless one is given."""
        text = _one_line(text)
        samples = self._images.setdefault(image_id, {})
        if not text:
            self._left_out("no text")
        elif sample_id in self._ids:  # also of another image
            self._left_out("duplicate id")
        else:
            self._ids.add(sample_id)
            self._true(image_id, text)
            samples[sample_id] = Sample(
                sample_id, image_id, image, text, foil, np.array(boxes, dtype=float), label=label
            )

    def _finish(self, seed: int) -> None:
        """Draw the foils and put the samples of one image together.

        Raises:
            VlgroundError: Not one photo is there. (A single one that is not is counted when it is
                to be read.)
        """
        given = [sample for samples in self._images.values() for sample in samples.values()]
        self._check_photos(given)
        pool = FoilPool((sample.text for sample in given), seed)
        self._samples = [
            sample if sample.foil else self._with_foil(sample, pool) for sample in given
        ]
        self._images, self._texts, self._ids = {}, {}, set()

    @staticmethod
    def _check_photos(given: Sequence[Sample]) -> None:
        if not given or any(Path(str(sample.image)).is_file() for sample in given):
            return
        images = len({sample.image_id for sample in given})
        told = f"the first is expected at {given[0].image}"
        raise VlgroundError(f"none of the photos of {images} images is there; {told}")

    def _with_foil(self, sample: Sample, pool: FoilPool) -> Sample:
        foil = pool.draw(sample.id, self._texts[sample.image_id])
        return Sample(
            sample.id,
            sample.image_id,
            sample.image,
            sample.text,
            foil,
            sample.boxes,
            label=sample.label,
        )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def checked_folder(root: str | None, name: str, files: Sequence[str]) -> Path:
    """Make sure that a folder holds what its format asks for.

    Args:
        root: The option's value.
        name: Of the format.
        files: Patterns below the folder, each to be matched by one file at least.

    Raises:
        VlgroundError: It does not; the message says all that is expected and what was not found.
    """
    folder = Path(root or "").expanduser()
    missing = [file for file in files if next(folder.glob(file), None) is None]
    if root is not None and not missing:
        return folder
    if root is None:
        found = "nothing"
    else:
        found = f"no {', no '.join(missing)}" if folder.is_dir() else "no such folder"
    raise VlgroundError(
        f"dataset.root={root}: expected a {name} folder with {', '.join(files)}, found {found}"
    )
