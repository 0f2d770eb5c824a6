"""Captions with what people, or whoever stands for them, marked in their sentences."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.identity import digest
from vlground.rewards.options import ERROR_TYPES

Holistic = Literal["any", "share"]
Weights = Literal["balanced", "none"]
UNFIT = "captions whose labels do not fit"


@dataclass(frozen=True, eq=False)
class Labelled:
    """A caption with its labels.

    Attributes:
        index: Its number among the candidates of its image.
        sentences: As `split` cuts them, without white space around them.
        errors: `(s, 6)` share of people who mark each of `ERROR_TYPES`; NaN of a sentence without a
            label. Further columns may follow, see `AnnotatedExtras`.
    """

    index: int
    sentences: tuple[str, ...]
    errors: np.ndarray


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image with its captions.

    Attributes:
        sample: Of the image.
        captions: At least one, each with a label at least.
    """

    sample: Sample
    captions: tuple[Labelled, ...]

    def beside(self, further: Callable[[str, Sequence[str]], np.ndarray]) -> "LabelledImage":
        """The same with further columns, made of the image's id and a caption's sentences."""
        name = self.sample.image_id
        return replace(
            self,
            captions=tuple(
                replace(one, errors=np.hstack([one.errors, further(name, one.sentences)]))
                for one in self.captions
            ),
        )


def labelled(
    sample: Sample,
    captions: Mapping[int, Sequence[str]],
    errors: np.ndarray,
    counts: Counter[str],
) -> LabelledImage | None:
    """Bring the labels of an image to its captions.

    Args:
        sample: Of the image.
        captions: Number -> sentences, in the order of the labels.
        errors: `(s, 6)` of the sentences of all captions, one after the other.
        counts: Added to: `captions`, `sentences` and `sentences without a label` of what is kept
            and left out; `captions whose labels do not fit`.

    Returns:
        None if there is no label.
    """
    if len(errors) != sum(map(len, captions.values())):
        counts[UNFIT] += len(captions)
        return None
    kept, start = [], 0
    for index, sentences in captions.items():
        mine = errors[start : start + len(sentences)]
        start += len(sentences)
        unknown = np.isnan(mine).any(axis=1)
        counts["sentences without a label"] += int(unknown.sum())
        if not unknown.all():
            counts["captions"] += 1
            counts["sentences"] += int((~unknown).sum())
            kept.append(Labelled(index, tuple(sentences), mine))
    return LabelledImage(sample, tuple(kept)) if kept else None


def is_held_out(image_id: str, seed: int, share: float) -> bool:
    """Whether an image is for measuring: by a hash, whatever other images there are.

    Args:
        image_id: All captions of an image lie on one side.
        seed: Of the run.
        share: Of all images, in 0-1.
    """
    return int(digest(["held out", seed, image_id]), 16) / 16**16 < share


def whole(errors: np.ndarray, how: Holistic) -> np.ndarray:
    """The label of a whole caption (holistic; how ViGoR derives its is not stated).

    Args:
        errors: `(s, 6)` of its sentences, one with a label at least.
        how: `any`: of each type the worst sentence's. `share`: the mean over sentences.

    Returns:
        `(1, 6)`.

    Raises:
        VlgroundError: If `how` is neither.

    >>> whole(np.array([[0.0, 1.0], [0.0, 0.0], [np.nan, np.nan]]), "share").tolist()
    [[0.0, 0.5]]
    """
    if how not in get_args(Holistic):
        raise VlgroundError(f"task.holistic={how}: expected one of {', '.join(get_args(Holistic))}")
    known = ~np.isnan(errors)
    worst = np.where(known, errors, -np.inf).max(axis=0, keepdims=True)
    mean = _mean(errors)[None]
    return np.where(known.any(axis=0), worst if how == "any" else mean, np.nan)


def target_of(errors: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """What the rows of logits of a caption should say.

    Args:
        errors: `(s, 6)` of its sentences, one with a label at least.
        options: `level`: sentence, or caption (holistic), whose label is made as `holistic` says.
    """
    return whole(errors, options["holistic"]) if options["level"] == "caption" else errors


def class_weights(labels: Iterable[np.ndarray], how: Weights) -> np.ndarray:
    """How much an error of each type counts beside what is none.

    Args:
        labels: `(s, 6)` each; rows of NaN are left out.
        how: `balanced`: as many times as it is rarer; 1 of a type that is never or always marked.
            `none`: 1.

    Raises:
        VlgroundError: If `how` is neither.

    >>> class_weights([np.array([[1.0, 0], [0, 0], [0, 0], [0, 0]])], "balanced").tolist()
    [3.0, 1.0]
    """
    if how not in get_args(Weights):
        expected = f"one of {', '.join(get_args(Weights))}"
        raise VlgroundError(f"task.class_weights={how}: expected {expected}")
    table = np.concatenate(list(labels))
    if how == "none":
        return np.ones(table.shape[1])
    share = _mean(table)
    both = (share > 0) & (share < 1)
    return np.where(both, (1 - share) / np.where(both, share, 1), 1.0)


def shares(labels: Iterable[np.ndarray]) -> np.ndarray:
    """`(types,)` mean over all sentences with a label; NaN of a type without any."""
    return _mean(np.concatenate(list(labels)))


def _mean(table: np.ndarray) -> np.ndarray:
    """Of each column, NaN aside."""
    known = ~np.isnan(table)
    count = known.sum(axis=0)
    total = np.where(known, table, 0.0).sum(axis=0)
    found: np.ndarray = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found


def any_error(errors: np.ndarray) -> np.ndarray:
    """`(s,)` of `(s, 6)`: the worst type, as `metric.errors=max` takes it."""
    worst: np.ndarray = errors[:, : len(ERROR_TYPES)].max(axis=1)
    return worst
