"""`task=claim_checking`: which errors of sentences does the automatic branch catch, type by type?

    sentence ──▶ its phrases ──Detector──▶ the least presence     against     its errors, known

Where the text links its phrases to boxes, a wrong link is one more type of error.

What a sentence claims is as sure as the phrase that the detector is least sure of; a sentence
without a phrase has nothing held against it. Labels come from `reward`, which has to be a truth, as
`reward=simulated` without errors is.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vlground.data.links import unlinked
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import parse
from vlground.data.shapes.links import mislinked
from vlground.metrics.discrimination import auc_within
from vlground.metrics.statistics import bootstrap_mean
from vlground.rewards.options import ERROR_TYPES
from vlground.tasks.caption_scoring import CaptionScoring


@dataclass(frozen=True, eq=False)
class _Sentences:
    """`n` sentences with a label: image, kind, presence (NaN: not asked) and `(n, 6)` errors.

    mislinked: whether a link is the box of another object; False of sentences without links.
    """

    images: np.ndarray
    kinds: np.ndarray
    presence: np.ndarray
    errors: np.ndarray
    mislinked: np.ndarray


class ClaimChecking(CaptionScoring):
    """Candidates, their phrases and their errors; measured sentence by sentence."""

    version = 1

    def scores(self) -> dict[str, dict[str, Any]]:
        """How each error type is caught, beside the scores of `task=scoring`.

        Returns:
            `auc/TYPE`: chance that a wrong sentence has a lower presence than a right one of the
            same kind (existence, count, relation, location), ties half: without that, a branch
            that doubts all relations would seem to know the wrong ones. `caught/TYPE`: share of
            wrong sentences with a phrase that is not detected (`metric.noun_threshold`).
            `asked/TYPE`: share with a phrase of which the detector can tell. TYPE none are right
            sentences, so `caught/none` are false alarms; any are sentences with any error; link are
            those whose only error is a wrong link.
        """
        sentences = self._sentences()
        asked = ~np.isnan(sentences.presence)
        low = np.where(asked, sentences.presence, 1.0)
        caught = asked & (low <= self.metric.noun_threshold)
        wrong = sentences.errors > self.metric.sentence_threshold
        otherwise = np.asarray(~wrong.any(axis=1))
        right = otherwise & ~sentences.mislinked
        of = {name: wrong[:, place] for place, name in enumerate(ERROR_TYPES)}
        of |= {"link": otherwise & sentences.mislinked, "any": ~right, "none": right}
        found = super().scores()
        for name, mine in of.items():
            if not mine.any():
                continue
            images = sentences.images[mine].tolist()
            for share, column in (("caught", caught), ("asked", asked)):
                one = bootstrap_mean(column[mine].astype(float), images)
                found[f"{share}/{name}"] = asdict(one)
            if name != "none":
                told = (1 - low, mine, right, sentences.kinds, sentences.images)
                area = auc_within(f"auc/{name}", *told)
                found |= {n: asdict(one) for n, one in area.items() if one.value is not None}
        return found

    def _sentences(self) -> _Sentences:
        """Those with a label, and the least presence among the phrases of each."""
        images, kinds = list[str](), list[str]()
        presence, errors = [np.zeros(0)], [np.zeros((0, len(ERROR_TYPES)))]
        wrong_links = list[bool]()
        for sample in self.sampling.images:
            nouns, sentences = self.evidence(sample)
            if nouns is None or sentences is None:
                continue
            places: Any = sentences["sentences"]
            mentions: Any = nouns["mentions"]
            chances: Any = nouns["presence"]
            # A mention names its candidate and the number of its sentence within it.
            rows = np.searchsorted(places[:, 0], mentions[:, 0]) + mentions[:, 1]
            low = np.full(len(places), np.nan)
            np.fmin.at(low, rows, chances[mentions[:, 4]])
            presence.append(low)
            errors.append(np.asarray(sentences["errors"]).reshape(-1, len(ERROR_TYPES)))
            images += [sample.image_id] * len(places)
            captions = self.sampling.captions(sample)
            pieces = [captions[c].text[start:end] for c, start, end in places.tolist()]
            kinds += map(_kind, pieces)
            wrong_links += [_mislinked(piece, sample.image_id) for piece in pieces]
        labels = np.concatenate(errors)
        told = ~np.isnan(labels).any(axis=1)
        names = np.array(images, str), np.array(kinds, str)
        columns = *names, np.concatenate(presence), labels, np.array(wrong_links, bool)
        return _Sentences(*(column[told] for column in columns))


def _kind(sentence: str) -> str:
    """What is claimed, in the drawn world; one kind of all other sentences."""
    claim = parse(sentence)
    return "" if claim is None else type(claim).__name__


def _mislinked(sentence: str, image_id: str) -> bool:
    """Whether a link is wrong; scenes are drawn again for sentences that have one."""
    return unlinked(sentence) != sentence and mislinked(sentence, scene_of(image_id))
