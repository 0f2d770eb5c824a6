"""Sentence scores that people gave, from the files in which they published them.

    vigor         ViGoR's annotations.json or its parquet files; its keys are known in part only
    m_haldetect   M-HalDetect: segments of a response with a class each
    rlhf_v        RLHF-V: a response and its correction; changed sentences are inaccurate

What cannot be read is a count with its reason; what is read but not understood is kept in `extra`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from vlground.contracts import SentenceScorer
from vlground.data.records import image_id_of
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.rewards import m_haldetect, rlhf_v, vigor_annotations
from vlground.rewards.annotated import Annotated, same_text
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.records import annotation_records

log = logging.getLogger("vlground")

Format = Literal["vigor", "m_haldetect", "rlhf_v"]
_READERS: dict[str, Callable[[dict[str, Any], Counter[str]], Sequence[Annotated]]] = {
    "vigor": vigor_annotations.read,
    "m_haldetect": m_haldetect.read,
    "rlhf_v": rlhf_v.read,
}


@dataclass(frozen=True)
class Annotations:
    """What a file holds.

    Attributes:
        captions: Those that could be read, those that do not fit our sentences among them.
        counts: Reason -> records or sentences that could not be read, or do not fit.
    """

    captions: tuple[Annotated, ...]
    counts: dict[str, int] = field(default_factory=dict)


def read_annotations(path: Path, style: Format) -> Annotations:
    """Read a file.

    Args:
        path: JSON in any layout, or parquet (see `annotation_records`).
        style: Whose format it is.

    Raises:
        VlgroundError: The format is unknown, or no record can be read.
    """
    if style not in _READERS:
        expected = ", ".join(get_args(Format))
        raise VlgroundError(f"reward.style={style}: expected one of {expected}")
    records, counts = annotation_records("reward.file", path.expanduser())
    captions: list[Annotated] = []
    for record in records:
        captions += _READERS[style](record, counts)
    if not captions:
        told = ", ".join(f"{reason} ({n})" for reason, n in sorted(counts.items()))
        raise VlgroundError(f"reward.file={path}: no record in the format of {style}: {told}")
    unaligned = sum(not caption.aligned for caption in captions)
    if unaligned:
        counts["sentence count disagrees with the text"] += unaligned
    return Annotations(tuple(captions), dict(counts))


class AnnotatedSentences(SentenceScorer):
    """A sentence scorer that looks up what people said of the very same caption.

    Several annotations of one caption are averaged.

    Args:
        file: The annotations.
        style: Whose format it is.

    Attributes:
        counts: See `Annotations`.
    """

    def __init__(self, file: str, style: Format) -> None:
        found = read_annotations(Path(file), style)
        self.counts = found.counts
        for reason, count in found.counts.items():
            log.warning("reward.file=%s: %d × %s", file, count, reason)
        self._by_caption: dict[tuple[str, str], list[np.ndarray]] = {}
        for caption in found.captions:
            if caption.aligned:
                key = _image(caption.image_id), same_text(caption.text)
                self._by_caption.setdefault(key, []).append(caption.errors)

    def score(
        self, samples: Sequence[Sample], sentences: Sequence[Sequence[str]]
    ) -> list[list[dict[str, float]]]:
        """Probability of each error type for each sentence.

        Args:
            samples: n samples, of which the image id is read.
            sentences: Of each, all sentences of one caption from `split`.

        Returns:
            n lists, one entry a sentence: error type -> probability; empty of a sentence that
            nobody annotated or was sure about.
        """
        return [
            self._of(sample.image_id, pieces)
            for sample, pieces in zip(samples, sentences, strict=True)
        ]

    def _of(self, image_id: str, pieces: Sequence[str]) -> list[dict[str, float]]:
        key = _image(image_id), same_text("".join(pieces))
        given = [found for found in self._by_caption.get(key, []) if len(found) == len(pieces)]
        result = []
        for i in range(len(pieces)):
            sure = [found[i] for found in given if not np.isnan(found[i]).any()]
            mean = np.mean(sure, axis=0).tolist() if sure else []
            result.append(dict(zip(ERROR_TYPES, mean, strict=False)))
        return result


def _image(image_id: str) -> str:
    # COCO's images go by many names: 40468, 000000040468, COCO_val2014_000000040468.jpg.
    return image_id_of({"image_id": image_id}) or image_id
