"""CHAIR: objects that captions name and images do not hold (Rohrbach et al., arXiv 1809.02156).

    chair_i  hallucinated mentions / mentions                        official
    chair_s  captions with a hallucinated mention / captions         official
    recall   true objects that are named / true objects              as CHAIR-metric-standalone
    words    words a caption, between spaces                         ours

Mentions are counted, not kinds of object: a dog named twice counts twice. All four belong together:
fewer hallucinations are cheap for those who say little. The truth of an image is a set of names of
classes; the official one joins COCO's instances and what five people's captions mention.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics.chair_vocabulary import Mention, Vocabulary, vocabulary
from vlground.metrics.statistics import Estimate, bootstrap_mean

if TYPE_CHECKING:
    import pandas

CHAIR = ("chair_i", "chair_s", "recall", "words")
_COUNTS = ("mentions", "hallucinated", "objects", "found", "words")
_COLUMNS = ("id", "image_id", "text", *_COUNTS, "hallucinations", "no_class")


@dataclass(frozen=True)
class Chair:
    """Options of CHAIR.

    Attributes:
        synonyms: Your own file of classes and words; None: the official one for COCO.
        repaired: Find the three official terms that a stray space or a capital hides (ours).

    >>> Chair(repaired="yes")
    Traceback (most recent call last):
    vlground.errors.VlgroundError: metric.repaired=yes: expected true or false
    """

    synonyms: str | None = None
    repaired: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.repaired, bool):
            raise VlgroundError(f"metric.repaired={self.repaired}: expected true or false")
        if self.repaired and self.synonyms is not None:
            raise VlgroundError(
                "metric.repaired=true: only of the official words, not with metric.synonyms"
            )

    @property
    def vocabulary(self) -> Vocabulary:
        """The words to look for."""
        return vocabulary(self.synonyms, self.repaired)

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of your own file, on which the numbers depend; nothing of the official one."""
        if self.synonyms is None:
            return {}
        content = Path(self.synonyms).expanduser().read_bytes()
        return {"synonyms": hashlib.sha256(content).hexdigest()}


def rows_of(
    captions: Sequence[Sample],
    objects: Mapping[str, Iterable[str]],
    options: Chair = Chair(),
) -> "pandas.DataFrame":
    """Check captions against the objects of their images.

    Args:
        captions: Samples whose text is a caption.
        objects: Image id -> names of classes (or words for them) in the image.
        options: Which words stand for which class.

    Returns:
        A row a caption: `id`, `image_id`, `text`; `mentions`, `hallucinated` (of the mentions),
        `objects` (true ones), `found` (of those), `words`: numbers; `hallucinations`: the classes
        named without being there, sorted, with commas between; `no_class`: names of the truth that
        are no class and cannot be found, which do not count.

    Raises:
        VlgroundError: `objects` does not know an image. (Readers of files count those.)

    >>> from pathlib import Path
    >>> caption = Sample("1", "7", Path("7.jpg"), "A dog on a couch.")
    >>> rows_of([caption], {"7": ["dog"]})[["mentions", "hallucinated", "found"]].values.tolist()
    [[2, 1, 1]]
    """
    import pandas

    known = options.vocabulary
    rows = []
    for sample in captions:
        names = sorted(_names(objects, sample.image_id))
        told = {"id": sample.id, "image_id": sample.image_id, "text": sample.text}
        rows.append({**told, **_row(sample.text, names, known)})
    return pandas.DataFrame(rows, columns=list(_COLUMNS))


def counts_of(caption: str, truth: Iterable[str], known: Vocabulary) -> dict[str, int]:
    """The numbers of one caption, as in `rows_of`.

    Args:
        caption: The text.
        truth: Names of classes (or words for them) in its image.
        known: Words of the classes, see `Chair.vocabulary`.

    >>> counts_of("A dog on a couch.", ["dog"], Chair().vocabulary)
    {'mentions': 2, 'hallucinated': 1, 'objects': 1, 'found': 1, 'words': 5}
    """
    row = _row(caption, sorted(truth), known)
    return {name: row[name] for name in _COUNTS}


def _row(caption: str, names: Sequence[str], known: Vocabulary) -> dict[str, Any]:
    truth = known.known(names)
    named = [mention.name for mention in known.mentions(caption)]
    wrong = [name for name in named if name not in truth]
    return {
        "mentions": len(named),
        "hallucinated": len(wrong),
        "objects": len(truth),
        "found": len(truth.intersection(named)),
        "words": len(caption.split()),
        "hallucinations": ", ".join(sorted(set(wrong))),
        "no_class": ", ".join(name for name in names if name not in known.classes),
    }


def estimates(rows: "pandas.DataFrame") -> dict[str, Estimate]:
    """The four numbers of `CHAIR`, with intervals over images.

    Args:
        rows: As `rows_of` makes them.

    Returns:
        `n` is the number of mentions, captions, true objects and captions. NaN without any.
    """
    images = rows["image_id"].astype(str).to_numpy()
    wrong = rows["hallucinated"].to_numpy()
    return {
        "chair_i": _ratio(wrong, rows["mentions"].to_numpy(), images),
        "chair_s": bootstrap_mean((wrong > 0).astype(float), images.tolist()),
        "recall": _ratio(rows["found"].to_numpy(), rows["objects"].to_numpy(), images),
        "words": bootstrap_mean(rows["words"].to_numpy(dtype=float), images.tolist()),
    }


def tally(rows: "pandas.DataFrame") -> dict[str, int]:
    """What stands behind the numbers, and what they do not show.

    Args:
        rows: As `rows_of` makes them.

    Returns:
        Captions; empty ones (official: they count as free of hallucination); others without any
        object; captions of images without a true object (every mention is wrong); and captions
        whose truth has names that are no class.
    """
    empty = rows["words"] == 0
    return {
        "captions": len(rows),
        "empty": int(empty.sum()),
        "without mention": int((~empty & (rows["mentions"] == 0)).sum()),
        "image without objects": int((rows["objects"] == 0).sum()),
        "truth with unknown names": int((rows["no_class"] != "").sum()),
    }


@dataclass(frozen=True)
class Position:
    """The sentences at one place of their captions.

    Attributes:
        hallucinated: Share of them with a hallucinated mention.
        mentions: Mentions a sentence.
    """

    hallucinated: Estimate
    mentions: Estimate


def by_position(
    captions: Sequence[Sample],
    spans: Sequence[Sequence[tuple[int, int]]],
    objects: Mapping[str, Iterable[str]],
    options: Chair = Chair(),
    last: int = 6,
) -> list[Position]:
    """Do later sentences hallucinate more?

    Args:
        captions: Samples whose text is a caption.
        spans: Of each caption, its sentences: first character and end, half-open, in order.
        objects: As in `rows_of`.
        options: Which words stand for which class.
        last: Sentences from this place on are taken together.

    Returns:
        The first sentences, the second ones, …; at most `last` entries. A mention belongs to the
        sentence in which it begins.
    """
    known = options.vocabulary
    wrong: list[list[float]] = [[] for _ in range(last)]
    named: list[list[float]] = [[] for _ in range(last)]
    images: list[list[str]] = [[] for _ in range(last)]
    for sample, sentences in zip(captions, spans, strict=True):
        truth = known.known(_names(objects, sample.image_id))
        mentions = known.mentions(sample.text)
        for number, (start, end) in enumerate(sentences):
            here = [mention for mention in mentions if start <= mention.start < end]
            place = min(number, last - 1)
            wrong[place].append(float(any(m.name not in truth for m in here)))
            named[place].append(float(len(here)))
            images[place].append(sample.image_id)
    return [
        Position(bootstrap_mean(np.array(bad), ids), bootstrap_mean(np.array(count), ids))
        for bad, count, ids in zip(wrong, named, images, strict=True)
        if ids
    ]


def hallucinations(caption: str, truth: Iterable[str], options: Chair = Chair()) -> list[Mention]:
    """The mentions of one caption that its image does not hold, with their places.

    >>> hallucinations("A dog on a couch.", ["dog"])
    [Mention(word='couch', name='couch', start=11, end=16)]
    """
    known = options.vocabulary
    there = known.known(truth)
    return [mention for mention in known.mentions(caption) if mention.name not in there]


def _names(objects: Mapping[str, Iterable[str]], image_id: str) -> Iterable[str]:
    if image_id not in objects:
        raise VlgroundError(
            f"dataset.objects: image {image_id} is not in it, so nobody knows what is true of it"
        )
    return objects[image_id]


def _ratio(parts: np.ndarray, wholes: np.ndarray, images: np.ndarray) -> Estimate:
    """Sum of parts over sum of wholes: the mean of a 1 or 0 for each unit of the wholes."""
    ones_and_zeros = np.stack([parts, wholes - parts], axis=1).ravel()
    values = np.repeat(np.tile([1.0, 0.0], len(parts)), ones_and_zeros)
    return bootstrap_mean(values, np.repeat(images, wholes).tolist())
