"""Wrong sentences of any type, of captions of drawn scenes whose truth is known (ours).

    wrong_sentences       sentences that make an error / sentences that could be read
    error/TYPE            those that make an error of a type / the same
    wrong_captions        captions with such a sentence / captions of which this is known
    unparsed_sentences    sentences that could not be read / sentences
    repeated_sentences    sentences that their caption has said before / sentences
    sentences             sentences a caption

CHAIR sees objects alone; a sentence may be wrong about attributes, relations and places as well, or
say what no picture shows. What it claims is read by `vlground.data.shapes.claims.parse`. One that
cannot be read is neither right nor wrong: it is a count and a share of its own. A caption is wrong
if one of its sentences is, and right if all of them could be read and none is; of the others this
is not known. As in CHAIR an empty caption has no error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlground.data.sample import Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.claims import ERROR_TYPES, parse
from vlground.metrics.pope import estimate
from vlground.metrics.resampling import bootstrap
from vlground.metrics.statistics import Estimate

if TYPE_CHECKING:
    import pandas

_ERRORS = tuple(f"error_{name}" for name in ERROR_TYPES)
_COUNTS = ("sentences", "unparsed", "repeated", "wrong", *_ERRORS)
_COLUMNS = ("id", "image_id", *_COUNTS, "wrong_text", "unparsed_text")


@dataclass(frozen=True)
class Claims:
    """Chooses these scores, beside those of CHAIR; there is nothing to be set."""


def rows_of(captions: Sequence[Sample], sentences: Sequence[Sequence[str]]) -> "pandas.DataFrame":
    """Hold the sentences of captions against their scenes.

    Args:
        captions: Samples of dataset=shapes_captions.
        sentences: Of each caption; links and white space around them aside.

    Returns:
        A row a caption: `id`, `image_id`; counts of its sentences: `sentences`, `unparsed`,
        `repeated` (the same words as an earlier one), `wrong`, `error_<type>`; `wrong_text`: the
        wrong ones, each with its errors in brackets, and `unparsed_text`, a line each. A repeated
        sentence that is wrong is wrong each time.

    Raises:
        VlgroundError: An image is of another world.

    >>> from pathlib import Path
    >>> image = "shapes_captions/test/in/96/0.5/0/0"
    >>> caption = Sample("1", image, Path(), "")
    >>> said = ["It may be a part of a game.", "A cat sleeps.", "A cat sleeps."]
    >>> rows_of([caption], [said])[["sentences", "unparsed", "repeated", "wrong"]].values.tolist()
    [[3, 2, 1, 1]]
    """
    import pandas

    rows = []
    for caption, said in zip(captions, sentences, strict=True):
        scene = scene_of(caption.image_id)
        claims = [parse(sentence) for sentence in said]
        errors = [frozenset() if claim is None else claim.errors(scene) for claim in claims]
        words = [
            sentence.strip() if claim is None else claim.text
            for sentence, claim in zip(said, claims, strict=True)
        ]
        unparsed = [text for text, claim in zip(words, claims, strict=True) if claim is None]
        wrong = [
            f"{text} ({', '.join(sorted(made))})"
            for text, made in zip(words, errors, strict=True)
            if made
        ]
        rows.append(
            {
                "id": caption.id,
                "image_id": caption.image_id,
                "sentences": len(said),
                "unparsed": len(unparsed),
                "repeated": len(words) - len(set(words)),
                "wrong": len(wrong),
                **{f"error_{name}": sum(name in made for made in errors) for name in ERROR_TYPES},
                "wrong_text": "\n".join(wrong),
                "unparsed_text": "\n".join(unparsed),
            }
        )
    return pandas.DataFrame(rows, columns=list(_COLUMNS))


def estimates(rows: "pandas.DataFrame", seed: int = 0) -> dict[str, Estimate]:
    """The scores, with intervals over images.

    Args:
        rows: As `rows_of` makes them.
        seed: Of the bootstrap.

    Returns:
        `n` is what stands below the line of each: sentences that could be read, captions of which
        it is known, sentences, captions. NaN without any.
    """
    parts = _parts(rows)

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore"):
            return {
                name: (weights @ above) / (weights @ below)
                for name, (above, below) in parts.items()
            }

    found = bootstrap(measure, rows["image_id"].astype(str).tolist(), seed=seed)
    return {name: estimate(one, int(parts[name][1].sum())) for name, one in found.items()}


def tally(rows: "pandas.DataFrame") -> dict[str, int]:
    """What stands behind the numbers, and what they do not show.

    Args:
        rows: As `rows_of` makes them.

    Returns:
        Sentences, those that could not be read, repeated ones; captions without a sentence, and
        captions of which it is not known whether they are wrong.
    """
    unknown = (rows["wrong"] == 0) & (rows["unparsed"] > 0)
    return {
        "sentences": int(rows["sentences"].sum()),
        "unparsed": int(rows["unparsed"].sum()),
        "repeated": int(rows["repeated"].sum()),
        "captions without a sentence": int((rows["sentences"] == 0).sum()),
        "captions of which it is not known": int(unknown.sum()),
    }


def _parts(rows: "pandas.DataFrame") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Score -> what stands above and below the line, of each caption."""
    counts = {name: rows[name].to_numpy(dtype=float) for name in _COUNTS}
    read, wrong = counts["sentences"] - counts["unparsed"], counts["wrong"]
    known = ((wrong > 0) | (counts["unparsed"] == 0)).astype(float)
    types = {f"error/{name}": (counts[f"error_{name}"], read) for name in ERROR_TYPES}
    return {
        "wrong_sentences": (wrong, read),
        **types,
        "wrong_captions": ((wrong > 0).astype(float), known),
        "unparsed_sentences": (counts["unparsed"], counts["sentences"]),
        "repeated_sentences": (counts["repeated"], counts["sentences"]),
        "sentences": (counts["sentences"], np.ones(len(rows))),
    }
