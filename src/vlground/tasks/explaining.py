"""Images with their labels, what a classifier makes of them, and the pictures that a judge sees."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlground import plots
from vlground.config import build_scorer
from vlground.contracts import CAM, Mask
from vlground.data.batches import Batch
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import ImpossiblePairError
from vlground.geometry import Frame
from vlground.identity import digest
from vlground.masks.relevance import maskable
from vlground.models.classifier import ImageClassifier
from vlground.store import Evidence

SEPARATOR = " | "  # between the labels of an image


def classifier_of(node: Mapping[str, Any]) -> ImageClassifier:
    """The classifier of a configuration.

    Raises:
        ImpossiblePairError: If its model is none.
    """
    scorer = build_scorer(node["model"])
    if not isinstance(scorer, ImageClassifier):
        raise ImpossiblePairError("this model is no classifier, and predicts no class")
    return scorer


@dataclass(frozen=True, eq=False)
class Subject:
    """An image that is explained, with all that is known to be on it.

    Attributes:
        samples: Of this image; rows have the id of the first.
        labels: Different labels (or texts, where there are none) of these samples.
    """

    samples: tuple[Sample, ...]
    labels: tuple[str, ...]

    @property
    def sample(self) -> Sample:
        """The first sample."""
        return self.samples[0]

    @property
    def key(self) -> str:
        """Of its evidence: what the prediction depends on, and what says whether it is right."""
        return digest([self.sample.key, *self.labels])

    def truth(self, right: Sequence[str], predicted: str) -> Sample:
        """The sample that an oracle is given.

        Args:
            right: Those of the labels that name the predicted class.
            predicted: The class's name, which stands for these labels.

        Returns:
            Where the objects of these labels are, or all objects if the prediction is wrong.
        """
        shown = [s for s in self.samples if not right or _label(s) in right]
        masks = [s.mask for s in shown if s.mask is not None]
        return replace(
            self.sample,
            label=predicted if right else SEPARATOR.join(self.labels),
            boxes=np.concatenate([s.boxes for s in shown]),
            mask=np.logical_or.reduce(masks) if len(masks) == len(shown) else None,
        )


def subjects_of(samples: Sequence[Sample]) -> list[Subject]:
    """One subject an image, in the order in which images come; a prediction is about all of it."""
    images: dict[str, list[Sample]] = {}
    for sample in samples:
        images.setdefault(sample.image_id, []).append(sample)
    return [
        Subject(tuple(same), tuple(dict.fromkeys(_label(s) for s in same)))
        for same in images.values()
    ]


def explain(
    scorer: ImageClassifier, cam: CAM, batch: Batch, labels: Mapping[str, Sequence[str]]
) -> list[tuple[Sample, Evidence]]:
    """Classify a batch and draw the map of each predicted class.

    Args:
        scorer: In eval mode, with frozen weights.
        cam: Can read it.
        batch: On the scorer's device.
        labels: Sample id -> what is known to be on the image.

    Returns:
        Samples with their evidence: `predicted` (name), `index`, `probability` (of the softmax),
        `known` labels that name any class at all, `right` ones that name the predicted class, and
        the `map` with its `frame`. Of an unreadable image why it was `skipped`.
    """
    found: list[tuple[Sample, Evidence]] = [
        (sample, {"skipped": f"unreadable image: {reason}"}) for sample, reason in batch.unreadable
    ]
    if not batch.samples:
        return found
    with torch.inference_mode(False), torch.no_grad():
        encoded = scorer.encode(batch.pixels.clone())
        chances = scorer.logits(encoded, batch.owner).softmax(dim=1)
        best, indices = chances.max(dim=1)
        named = [scorer.classes.query(index) for index in indices.tolist()]
        asking = [replace(s, text=text) for s, text in zip(batch.samples, named, strict=True)]
        texts = [cam.asks(sample) or "" for sample in asking]
        maps: Tensor = cam(scorer, encoded, texts, batch.owner, asking)
        grids = maps.float().cpu().numpy()
    for i, (sample, index) in enumerate(zip(batch.samples, indices.tolist(), strict=True)):
        matching = {label: scorer.classes.indices(label) for label in labels[sample.id]}
        evidence: Evidence = {
            "map": grids[i],
            "frame": batch.frames[int(batch.owner[i])].to_list(),
            "constant": cam.constant,
            "predicted": scorer.classes.name(index),
            "index": index,
            "probability": float(best[i]),
            "known": [label for label, classes in matching.items() if classes],
            "right": [label for label, classes in matching.items() if index in classes],
        }
        found.append((sample, evidence))
    return found


def degenerate(evidence: Evidence) -> str:
    """Why a map shows nothing that could be masked, or ""."""
    return maskable(grid_of(evidence)) or ""


def grid_of(evidence: Evidence) -> Tensor:
    """The raw map."""
    grid: Any = evidence["map"]
    return torch.from_numpy(grid.copy())


def frame_of(evidence: Evidence) -> Frame:
    """Where the map lies in the image."""
    return Frame.from_list(evidence["frame"])  # type: ignore[arg-type]


def picture(mask: Mask, evidence: Evidence, sample: Sample) -> np.ndarray:
    """What a judge is shown of an image: uint8, RGB."""
    image = np.asarray(load_image(sample.image))
    return mask(image, grid_of(evidence), frame_of(evidence), sample)


def side_by_side(mask: Mask, evidence: Evidence, sample: Sample) -> Image.Image:
    """The photo, the map over it, and what a judge is shown; RGB."""
    photo = load_image(sample.image)
    pixels = frame_of(evidence).grid_to_pixels(grid_of(evidence)[None])[0].numpy()
    under = plots.overlay(photo, pixels, sample.boxes)
    parts = [photo.resize(under.size), under]
    if not degenerate(evidence):
        shown = Image.fromarray(picture(mask, evidence, sample))
        shown.thumbnail(under.size)
        parts.append(shown)
    whole = Image.new("RGB", (len(parts) * under.width, under.height))
    for place, part in enumerate(parts):
        whole.paste(part, (place * under.width, 0))
    return whole


def shown_pictures(directory: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """What the judge of a stored run was shown, made again from its evidence.

    Args:
        directory: Of a run of `task=explanation`.

    Yields:
        Sample id, predicted class, `(height, width, 3)` uint8; samples without a picture are left
        out.

    Raises:
        VlgroundError: If the directory holds no such run, or its images are not there.
    """
    from vlground.tasks.stored import stored_explanation

    mask, store, subjects = stored_explanation(directory)
    for subject in subjects:
        if subject.key not in store or "skipped" in (evidence := store[subject.key]):
            continue
        if not degenerate(evidence):
            shown = picture(mask, evidence, subject.sample)
            yield subject.sample.id, str(evidence["predicted"]), shown


def _label(sample: Sample) -> str:
    return sample.label or sample.text
