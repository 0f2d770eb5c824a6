"""The photos inside scikit-image's wheel, with boxes and ImageNet class names annotated by us."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from vlground.data.sample import Sample, draw_foil
from vlground.errors import VlgroundError


class Photos:
    """A handful of real photos that need no download; one sample per (photo, class).

    The annotations (`photos.json`) belong to exact files: a photo whose sha256 is another one, or
    that this version of scikit-image does not have, is skipped and counted.

    Args:
        seed: Of the foils, which are class names annotated in other photos only.

    Attributes:
        skipped: `missing photo`, `changed photo` → number of annotated classes left out.

    Raises:
        VlgroundError: scikit-image is not installed.
    """

    def __init__(self, seed: int) -> None:
        annotations = json.loads(files("vlground.data").joinpath("photos.json").read_text("utf-8"))
        self._skipped: Counter[str] = Counter()
        self._samples = list(self._read(annotations["photos"], _folder(), seed))

    @property
    def skipped(self) -> Mapping[str, int]:
        """Reason → number of annotations that became no sample."""
        return self._skipped

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def _read(self, photos: list[dict[str, Any]], folder: Path, seed: int) -> Iterator[Sample]:
        names = {known["text"] for photo in photos for known in photo["objects"]}
        for photo in photos:
            path = folder / photo["file"]
            problem = _problem(path, photo["sha256"])
            if problem:
                self._skipped[problem] += len(photo["objects"])
                continue
            others = sorted(names - {known["text"] for known in photo["objects"]})
            for known in photo["objects"]:
                text, sample_id = known["text"], f"{path.stem}/{known['text']}"
                yield Sample(
                    id=sample_id,
                    image_id=path.stem,
                    image=path,
                    text=text,
                    foil=draw_foil(seed, sample_id, text, others),
                    boxes=np.array(known["boxes"], dtype=float),
                    label=text,
                )


def _folder() -> Path:
    """The wheel's folder of photos, found without importing scikit-image (slow, may download)."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise VlgroundError("dataset=photos: needs scikit-image, `pip install scikit-image`")
    return Path(spec.submodule_search_locations[0]) / "data"


def _problem(path: Path, sha256: str) -> str | None:
    if not path.is_file():
        return "missing photo"
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        return "changed photo"
    return None
