"""`task=branch_checking`: which errors does each of ViGoR's branches catch, and which only one?

    sentence ──▶ its nouns ──Detector──▶ the least presence      the automatic branch ─┐
        └──────▶ SentenceScorer ──▶ its likeliest error          the human branch ─────┴─ the truth

The truth is read off the drawn scene, so both branches may be models that err. Beside it: which
threshold suits the detector, category by category (`vlground.metrics.presence`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import ERROR_TYPES, Claim, parse
from vlground.data.shapes.scene import SHAPES
from vlground.metrics.discrimination import auc_within
from vlground.metrics.presence import PAPER, Asked, areas, best, gains, shares
from vlground.metrics.resampling import Statistic
from vlground.metrics.statistics import bootstrap_means
from vlground.store import Evidence
from vlground.tasks.caption_scoring import CaptionScoring

BRANCHES = ("automatic", "human")
CAUGHT = (*BRANCHES, "both", "automatic_alone", "human_alone", "neither")


@dataclass(frozen=True, eq=False)
class _Sentences:
    """`n` sentences that can be read.

    Attributes:
        images: `(n,)` id of the image.
        kinds: `(n,)` what is claimed.
        wrong: `(n, 5)` bool, in the order of `ERROR_TYPES`.
        told: Branch -> `(n,)`. automatic: the least presence of the nouns, 1 without one that the
            detector can tell. human: the highest probability of an error, 0 where it is not told.
        unparsed: How many more there are that cannot be read.
    """

    images: np.ndarray
    kinds: np.ndarray
    wrong: np.ndarray
    told: Mapping[str, np.ndarray]
    unparsed: int

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Kinds and images."""
        return self.kinds, self.images


class BranchChecking(CaptionScoring):
    """Candidates with what both branches say, held against the scenes."""

    version = 1

    def scores(self) -> dict[str, dict[str, Any]]:
        """How each error type is caught, beside the scores of `task=scoring`.

        Returns:
            `automatic/TYPE`, `human/TYPE`: share of sentences with such an error that the branch
            calls wrong: with a noun that is not detected (`metric.noun_threshold`), with an error
            above `metric.sentence_threshold`. Of both branches also `both/TYPE`,
            `automatic_alone/TYPE`, `human_alone/TYPE`, `neither/TYPE`. TYPE any: sentences with any
            error; none: right ones, so that those shares are false alarms. `auc/BRANCH/TYPE`:
            chance that the branch doubts a wrong sentence more than a right one of the same kind.
            Of the detector `kept/all`, `rejected/all` at its threshold, and `balanced/…`, `gain/…`
            of thresholds that were chosen on other images.
        """
        return super().scores() | self._caught() | self._presence()

    def details(self) -> dict[str, Any]:
        """Sentences that could not be read; what each threshold keeps and rejects by category."""
        sentences, asked = self._sentences, self._asked
        told: dict[str, Any] = {"sentences": len(sentences.images), "unparsed": sentences.unparsed}
        if len(asked.nouns):
            own, common = best(asked)
            told["thresholds"] = {"own": own, "common": common, "paper": PAPER}
            told["shares"] = {name: asdict(one) for name, one in shares(asked).items() if one.n}
            told["areas"] = {name: asdict(one) for name, one in areas(asked).items()}
        return super().details() | {"branch_checking": told}

    def _caught(self) -> dict[str, dict[str, Any]]:
        sentences, told = self._sentences, self._sentences.told
        wrong = np.asarray(sentences.wrong.any(axis=1))
        types: dict[str, np.ndarray] = {"any": wrong, "none": ~wrong}
        types |= {name: sentences.wrong[:, place] for place, name in enumerate(ERROR_TYPES)}
        shown, doubts = dict[str, np.ndarray](), dict[str, np.ndarray]()
        if self.nouns is not None:
            shown["automatic"] = told["automatic"] <= self.metric.noun_threshold
            doubts["automatic"] = 1 - told["automatic"]
        if self.sentences is not None:
            shown["human"] = told["human"] > self.metric.sentence_threshold
            doubts["human"] = told["human"]
        if len(shown) == len(BRANCHES):
            one, other = (shown[branch] for branch in BRANCHES)
            ways = (one & other, one & ~other, other & ~one, ~one & ~other)
            shown |= dict(zip(CAUGHT[len(BRANCHES) :], ways, strict=True))
        columns = {
            f"{how}/{name}": np.where(mine, column, np.nan)
            for name, mine in types.items()
            for how, column in shown.items()
        }
        means = bootstrap_means(columns, sentences.images.tolist())
        found = {name: asdict(one) for name, one in means.items() if one.n}
        areas_of = (
            auc_within(f"auc/{branch}/{name}", doubt, types[name], ~wrong, *sentences.labels)
            for branch, doubt in doubts.items()
            for name in (*ERROR_TYPES, "any")
        )
        return found | {name: one for area in areas_of for name, one in _numbers(area).items()}

    def _presence(self) -> dict[str, dict[str, Any]]:
        asked, threshold = self._asked, float(self.metric.noun_threshold)
        if not len(asked.nouns):
            return {}
        told = shares(asked, [threshold])
        at = {f"{name}/all": told[f"{name}/all/{threshold:g}"] for name in ("kept", "rejected")}
        found: dict[str, dict[str, Any]] = {n: asdict(one) for n, one in at.items() if one.n}
        return found | _numbers(gains(asked))

    @cached_property
    def _sentences(self) -> _Sentences:
        """All of candidates that have scores, against their scenes."""
        images, claims = list[str](), list[Claim | None]()
        wrong = [np.zeros((0, len(ERROR_TYPES)), bool)]
        told = {branch: [np.zeros(0)] for branch in BRANCHES}
        for sample in self.sampling.images:
            nouns, sentences = self.evidence(sample)
            known: Any = nouns or sentences
            if known is None or sample.image_id in self.reasons:
                continue
            places, captions = known["sentences"], self.sampling.captions(sample)
            said = [parse(captions[c].text[start:end]) for c, start, end in places.tolist()]
            images += [sample.image_id] * len(said)
            claims += said
            wrong.append(_errors(sample.image_id, said))
            told["automatic"].append(_least_presence(places, nouns))
            told["human"].append(_worst(len(said), sentences))
        read = np.array([claim is not None for claim in claims], dtype=bool)
        kinds = np.array([type(claim).__name__ for claim in claims], str)
        columns = np.array(images, str)[read], kinds[read], np.concatenate(wrong)[read]
        of = {branch: np.concatenate(parts)[read] for branch, parts in told.items()}
        return _Sentences(*columns, of, int((~read).sum()))

    @cached_property
    def _asked(self) -> Asked:
        """Shapes that the detector was asked for, each once an image."""
        rows = list[tuple[str, str, float, bool]]()
        for sample in self.sampling.images:
            nouns, _ = self.evidence(sample)
            if nouns is None:
                continue
            shapes = {thing.shape for thing in scene_of(sample.image_id).things}
            lemmas: Any = nouns["lemmas"]
            presence: Any = nouns["presence"]
            for lemma, chance in zip(lemmas, presence.tolist(), strict=True):
                if lemma in SHAPES and chance == chance:  # NaN: the detector cannot tell
                    rows.append((sample.image_id, lemma, chance, lemma in shapes))
        columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.zeros(0)] * 4
        images, names, chances, there = columns
        return Asked(images.astype(str), names.astype(str), chances, there.astype(bool))


def _errors(image_id: str, claims: Sequence[Claim | None]) -> np.ndarray:
    """`(s, 5)` bool, which errors each sentence makes; none of one that could not be read."""
    scene = scene_of(image_id)
    made = [frozenset() if claim is None else claim.errors(scene) for claim in claims]
    rows = [[name in one for name in ERROR_TYPES] for one in made]
    return np.array(rows, bool).reshape(-1, len(ERROR_TYPES))


def _least_presence(places: np.ndarray, nouns: Evidence | None) -> np.ndarray:
    """`(s,)` of the nouns of each sentence; 1 without one that the detector can tell."""
    low = np.full(len(places), np.nan)
    if nouns is not None:
        mentions: Any = nouns["mentions"]
        presence: Any = nouns["presence"]
        # A mention names its candidate and the number of its sentence within it.
        rows = np.searchsorted(places[:, 0], mentions[:, 0]) + mentions[:, 1]
        np.fmin.at(low, rows, presence[mentions[:, 4]])
    return np.where(np.isnan(low), 1.0, low)


def _worst(count: int, sentences: Evidence | None) -> np.ndarray:
    """`(s,)` highest probability of an error of each sentence; 0 where it is not told."""
    if sentences is None:
        return np.zeros(count)
    errors: Any = sentences["errors"]
    return np.nan_to_num(errors.reshape(count, -1)).max(axis=1, initial=0)


def _numbers(found: Mapping[str, Statistic]) -> dict[str, dict[str, Any]]:
    """As `results.json` holds them; those that are not defined are left out."""
    return {
        name: {"value": one.value, "low": one.low, "high": one.high, "n": one.n}
        for name, one in found.items()
        if one.value is not None
    }
