"""From stored maps to tried suspicions; what a classifier makes of a blanked picture is stored."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from vlground.data.sample import Sample
from vlground.geometry import boxes_to_mask
from vlground.identity import digest
from vlground.masks.relevance import maskable
from vlground.masks.soft import SoftMask
from vlground.models.classifier import ImageClassifier
from vlground.shortcuts.candidates import Seen, candidates
from vlground.shortcuts.options import Search
from vlground.shortcuts.trials import Suspect, blanked, confirm, suspect, trials
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.explaining import frame_of, grid_of
from vlground.tasks.pairs import logits_of

_TOGETHER = 64  # pictures classified at once


class Blanking:
    """What a classifier makes of pictures of which a part is blanked.

    Args:
        store: Of the answers.
        load: Gives the classifier, in eval mode; called if an answer is not stored.

    Attributes:
        device: Where it runs.
    """

    def __init__(self, store: EvidenceStore, load: Callable[[], ImageClassifier]) -> None:
        self.store = store
        self.load = load
        self.device = torch.device("cpu")

    def logits(self, pairs: Sequence[tuple[Sample, np.ndarray]]) -> np.ndarray:
        """`(n, classes)` logits.

        Args:
            pairs: `n` samples, each with `(h, w)` bool of what is blanked; n >= 1.
        """
        keys = [digest([s.key, np.packbits(mask).tobytes().hex()]) for s, mask in pairs]
        asked = dict(zip(keys, pairs, strict=True))
        while missing := [key for key in asked if key not in self.store]:
            try:
                self._make(missing, asked)
            finally:
                self.store.release()
            self.store.wait()
        return np.stack([np.array(self.store[key]["logits"]) for key in keys])

    def _make(self, keys: Sequence[str], asked: Mapping[str, tuple[Sample, np.ndarray]]) -> None:
        """Answer what no other process answers."""
        for start in range(0, len(keys), _TOGETHER):
            part = keys[start : start + _TOGETHER]
            if not self.store.take(part):
                continue
            images = list(blanked([asked[key] for key in part]))
            found = logits_of(self.load().to(self.device), images, self.device)
            made = zip(part, found, strict=True)
            self.store.append((key, {"logits": one}) for key, one in made)


def suspects_of(
    found: Mapping[str, tuple[Sample, Evidence]],
    mask: SoftMask,
    options: Search,
    blanking: Blanking,
) -> list[Suspect]:
    """Look for suspicions and try each; nothing is read of an artefact.

    Args:
        found: Sample id -> sample and evidence (`map`, `frame`, `logits`, `features`).
        mask: Says what a map shows.
        options: Of the search.
        blanking: Answers the trials.

    Returns:
        All suspicions that could be tried, the confirmed ones first.
    """
    seen = [_seen(sample, evidence, mask, options) for sample, evidence in found.values()]
    suspects = []
    for candidate in candidates(seen, options):
        tried = trials(candidate, seen, options)
        if not tried:
            continue
        samples = [found[trial.id][0] for trial in tried]
        whole: Any = np.stack([found[trial.id][1]["logits"] for trial in tried])  # type: ignore[misc]
        regions = [trial.region for trial in tried]
        controls = [trial.control for trial in tried]
        without = blanking.logits(list(zip(samples, regions, strict=True)))
        control = blanking.logits(list(zip(samples, controls, strict=True)))
        suspects.append(suspect(candidate, tried, whole, without, control, options))
    return confirm(suspects, options)


def _seen(sample: Sample, evidence: Evidence, mask: SoftMask, options: Search) -> Seen:
    frame, grid = frame_of(evidence), grid_of(evidence)
    body = sample.mask
    if body is None:
        body = boxes_to_mask(sample.boxes, frame.height, frame.width).numpy()
    rim = max(1, round(options.rim * max(frame.height, frame.width)))
    shown = np.zeros_like(body)
    if maskable(grid) is None:
        shown = mask.weights(grid, frame, sample).numpy() >= 0.5
    features: Any = evidence.get("features")
    return Seen(
        sample.id,
        sample.label or sample.text,
        frame.grid_to_pixels(grid[None])[0].numpy(),
        shown,
        ndimage.binary_dilation(body, iterations=rim),
        features,
    )
