"""A detector of links: does the map that a model draws for a phrase lie in its box? (ours).

    a red star[12,30,28,46] ──▶ text  a red star ──Scorer, CAM──▶ map ┐
                                box   12,30,28,46 ────────────────────┴─Q-GroundCAM─▶ IO_ratio

ViGoR leaves explicit links between words and regions to later work; Q-GroundCAM measures them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from vlground.contracts import CAM, Detection, Detector, Scorer, check_pair
from vlground.data.images import load_image
from vlground.data.links import linked_boxes
from vlground.data.sample import Sample
from vlground.detectors.phrases import folded
from vlground.detectors.scorer import with_article
from vlground.errors import VlgroundError
from vlground.geometry import Frame
from vlground.metrics import QGroundCAM, q_groundcam

Score = Literal["io_ratio", "pointing_game", "iou_soft", "dice_soft"]
Match = Literal["none", "product", "alone"]

_METRIC = QGroundCAM()


@dataclass(frozen=True, eq=False)
class _Asked:
    """A text with the boxes in which its map should lie, `(k, 4)`."""

    text: str
    boxes: np.ndarray


class GroundedScorer(Detector):
    """Says of a phrase with a box how much of its own map lies in the box.

    Boxes come from the link behind a phrase (`vlground.data.links`), or from a detector. A
    relation's map is held against the box of its subject, as Q-GroundCAM does.

    Args:
        scorer: The model.
        cam: Draws the maps.
        metric: Options of the suite, at the resolution of the original image.
        score: Which of its scores is the probability, all in 0-1. A map without any relation to the
            phrase has an IO_ratio as large as its box, of the image.
        match: The model's own decision whether the phrase fits the image (`Scorer.match`) is not
            asked (none), multiplies the score (product), or stands in its place (alone: a control
            that asks exactly of the phrases that have a box).
        boxes: Of phrases without a link, asked for the last word (`star` of `a red star`), so that
            the map tells which of them is red; None: of such phrases nothing can be told. Relations
            are told by `BoxRelations` around it.
        article: See `ScorerDetector`.
        device: Where it runs; None: a GPU if there is one.

    Raises:
        VlgroundError: If an option does not fit.
        ImpossiblePairError: If the CAM cannot read the scorer.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        scorer: Scorer,
        cam: CAM,
        metric: QGroundCAM = _METRIC,
        score: Score = "io_ratio",
        match: Match = "none",
        boxes: Detector | None = None,
        article: bool = True,
        device: str | None = None,
    ) -> None:
        for option, value, kind in (("score", score, Score), ("match", match, Match)):
            if value not in get_args(kind):
                expected = ", ".join(get_args(kind))
                raise VlgroundError(f"detector.{option}={value}: expected one of {expected}")
        for name, only in (("resolution", "original"), ("resize_order", "resize_first")):
            if (value := getattr(metric, name)) != only:
                raise VlgroundError(f"detector.metric.{name}={value}: expected {only}")
        check_pair(scorer, cam)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._scorer = scorer.eval().requires_grad_(False).to(self._device)
        self._cam, self._metric, self._boxes = cam.to(self._device), metric, boxes
        self._score, self._match, self._article = score, match, article

    def detect(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[list[Detection]]:
        """Hold the maps of phrases against their boxes.

        Args:
            samples: A batch.
            phrases: Of each sample, with or without links.

        Returns:
            Of each sample one detection a phrase, with the boxes that it was held against, the
            surest first, as sure as that one. NaN where nothing can be told: an empty phrase, one
            that the model does not know or would not read to its end, one without a box, a box
            outside the image, a degenerate map. A phrase that the detector of `boxes` does not find
            is as sure as that says.

        Raises:
            ImageError: If an image cannot be read.
            VlgroundError: If `match` is asked for, and the model only ranks texts.
        """
        found = self._found(samples, phrases)
        return [
            self._of_image(sample, asked, known)
            for sample, asked, known in zip(samples, phrases, found, strict=True)
        ]

    def _found(
        self, samples: Sequence[Sample], phrases: Sequence[Sequence[str]]
    ) -> list[dict[str, Detection]]:
        """Boxes of phrases without a link, by the word that is asked for."""
        words = [list(dict.fromkeys(_unlinked_words(asked))) for asked in phrases]
        if self._boxes is None:
            return [{} for _ in samples]
        told = self._boxes.detect(samples, words)
        return [dict(zip(*pair, strict=True)) for pair in zip(words, told, strict=True)]

    def _of_image(
        self, sample: Sample, phrases: Sequence[str], known: dict[str, Detection]
    ) -> list[Detection]:
        asked: dict[str, _Asked] = {}
        answers: dict[str, Detection] = {}
        for phrase in phrases:
            text = with_article(folded(phrase), self._article)
            boxes = linked_boxes(phrase)[:1]
            if not len(boxes) and (there := known.get(_word(phrase))) is not None:
                boxes = there.boxes
                if not len(boxes):
                    answers[phrase] = Detection(there.probability)
                    continue
            if len(boxes) and self._reads(text):
                asked[phrase] = _Asked(text, np.asarray(boxes, dtype=np.float64))
        if asked:
            told = self._chances(sample, list(asked.values()))
            for (phrase, one), chances in zip(asked.items(), told, strict=True):
                answers[phrase] = _detection(one.boxes, chances)
        return [answers.get(phrase, Detection(math.nan)) for phrase in phrases]

    def _reads(self, text: str) -> bool:
        known = bool(text) and self._scorer.knows(text)
        return known and self._scorer.truncated(text) is None

    def _chances(self, sample: Sample, asked: Sequence[_Asked]) -> list[np.ndarray]:
        """Of each box of each text; a text is drawn and asked once, whatever boxes it has."""
        texts = list(dict.fromkeys(one.text for one in asked))
        counts = [len(one.boxes) for one in asked]
        rows = np.repeat([texts.index(one.text) for one in asked], counts)
        boxes = [box[None] for one in asked for box in one.boxes]
        with torch.inference_mode(False), torch.no_grad():
            pixels, frame = self._scorer.preprocess(load_image(sample.image))
            encoded = self._scorer.encode(pixels[None].to(self._device))
            owner = torch.zeros(len(texts), dtype=torch.long, device=self._device)
            chances = np.ones(len(rows))
            if self._match != "none":
                match = self._scorer.match(encoded, texts, owner)
                if match is None:
                    name = type(self._scorer).__name__
                    told = f"{name} only ranks texts; expected none"
                    raise VlgroundError(f"detector.match={self._match}: {told}")
                chances *= match.double().cpu().numpy()[rows]
            if self._match != "alone":
                named = [replace(sample, id=f"{sample.id}/{text}", text=text) for text in texts]
                maps = self._cam(self._scorer, encoded, texts, owner, named).float().cpu()
                chances *= self._grounded(maps[rows], frame, boxes)
        return np.split(chances, np.cumsum(counts)[:-1])

    def _grounded(self, maps: Tensor, frame: Frame, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """The score of native maps `(n, gh, gw)`; NaN where it is not defined."""
        metric, constant = self._metric, self._cam.constant
        pixels = frame.grid_to_pixels(maps, "original", metric.resize, metric.resize_clip)
        scores: np.ndarray = q_groundcam(pixels, boxes, metric, constant)[self._score]
        if constant:
            return scores
        # Interpolation makes a constant map constant but for rounding, which would be drawn large.
        flat = (maps.amax(dim=(1, 2)) <= maps.amin(dim=(1, 2))).numpy()
        return np.where(flat, np.nan, scores)


def _detection(boxes: np.ndarray, chances: np.ndarray) -> Detection:
    """As sure as the surest box; NaN if nothing can be told of any."""
    order = np.argsort(-chances, kind="stable")
    order = order[~np.isnan(chances[order])]
    if not len(order):
        return Detection(math.nan)
    best = float(chances[order[0]])
    return Detection(best, boxes[order].astype(np.float32), chances[order].astype(np.float32))


def _word(phrase: str) -> str:
    """What a detector is asked for; "" of an empty phrase."""
    return folded(phrase).rpartition(" ")[2]


def _unlinked_words(phrases: Sequence[str]) -> Iterator[str]:
    for phrase in phrases:
        if not len(linked_boxes(phrase)) and (word := _word(phrase)):
            yield word
