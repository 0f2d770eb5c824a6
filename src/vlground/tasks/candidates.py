"""Captions that a captioner wrote, each stored once by image, prompt and number."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vlground.contracts import Caption, Captioner
from vlground.data.sample import Sample
from vlground.errors import ImageError
from vlground.identity import digest
from vlground.store import Evidence, EvidenceStore

NOT_ASKED = "not asked: the trainer is limited"


@dataclass
class Candidates:
    """The candidates of a stage.

    What came of a failure (a time-out, a refusal, an image that cannot be read) is no evidence: it
    is counted by the run that met it, and the next one asks again.

    Args:
        store: Evidence of the stage.
        n: Candidates an image.
        seed: Of all of them.
        together: They depend on n as well, because all of an image are asked for at once.

    Attributes:
        failed: Key -> what there is instead of a caption, of this process.
    """

    store: EvidenceStore
    n: int
    seed: int
    together: bool = False
    failed: dict[str, Caption] = field(default_factory=dict)
    _keys: dict[tuple[str, str], str] = field(default_factory=dict)

    def keys(self, sample: Sample, prompt: str) -> list[str]:
        """What the candidates of an image are stored under; of the sample only the image counts."""
        known = self._keys.get((sample.id, prompt))
        if known is None:  # made once: it looks at the file
            image, of = sample.image_key, [self.n] if self.together else []
            keys = [digest([image, prompt, index, *of]) for index in range(self.n)]
            known = self._keys[sample.id, prompt] = " ".join(keys)  # as one, they are a fifth
        return known.split()

    def of(self, sample: Sample, prompt: str) -> list[Caption]:
        """All candidates of an image; those that are not there say why."""
        return [self._read(key) for key in self.keys(sample, prompt)]

    def first_missing(self, sample: Sample, prompt: str) -> int | None:
        """The first candidate that is not stored; None if all are."""
        keys = self.keys(sample, prompt)
        return next((index for index, key in enumerate(keys) if key not in self.store), None)

    def write(
        self, captioner: Captioner, samples: Sequence[Sample], prompts: Sequence[str]
    ) -> list[tuple[str, Evidence]]:
        """Write what is missing of a batch.

        Args:
            captioner: Who writes.
            samples: A batch; images of which everything is there are left alone.
            prompts: One a sample.

        Returns:
            Key and evidence of each new caption, for the store.
        """
        asked: dict[int, list[int]] = {}
        for place, (sample, prompt) in enumerate(zip(samples, prompts, strict=True)):
            first = self.first_missing(sample, prompt)
            if first is not None:
                asked.setdefault(first, []).append(place)
        made: list[tuple[str, Evidence]] = []
        for first, places in asked.items():
            batch = [samples[place] for place in places], [prompts[place] for place in places]
            for sample, prompt, captions in zip(
                *batch, self._ask(captioner, *batch, first), strict=True
            ):
                keys = self.keys(sample, prompt)[first:]
                made += self._kept(dict(zip(keys, captions, strict=True)))
        return made

    def _ask(
        self, captioner: Captioner, samples: Sequence[Sample], prompts: Sequence[str], first: int
    ) -> list[list[Caption]]:
        try:
            return captioner.caption(samples, prompts, self.n, self.seed, first)
        except ImageError as error:
            if len(samples) == 1:
                told = Caption("", problem=f"unreadable image: {error.reason}")
                return [[told] * (self.n - first)]
            # One that cannot be read takes nobody with it.
            pairs = zip(samples, prompts, strict=True)
            return [self._ask(captioner, [one], [prompt], first)[0] for one, prompt in pairs]

    def _kept(self, captions: dict[str, Caption]) -> list[tuple[str, Evidence]]:
        kept: list[tuple[str, Evidence]] = []
        for key, caption in captions.items():
            if caption.problem:
                self.failed[key] = caption
            elif key not in self.store:
                known = caption.log_probabilities
                evidence: Evidence = {
                    "text": caption.text,
                    "log_probabilities": None if known is None else list(known),
                    "cut_off": caption.cut_off,
                    "model": caption.model,
                }
                kept.append((key, evidence))
        return kept

    def _read(self, key: str) -> Caption:
        if key not in self.store:
            return self.failed.get(key, Caption("", problem=NOT_ASKED))
        kept: dict[str, Any] = dict(self.store[key])
        known = kept["log_probabilities"]
        kept["log_probabilities"] = None if known is None else tuple(known)
        return Caption(**kept)
