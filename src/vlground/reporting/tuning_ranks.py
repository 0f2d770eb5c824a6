"""Mean ranks of the paper's four systems, by a judge that knows the drawn scenes."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from vlground.contracts import JudgeRequest
from vlground.data.sample import Sample
from vlground.judging.shapes_oracle import ShapesOracle
from vlground.metrics import preference
from vlground.metrics.crossed import Ratios
from vlground.metrics.image_sums import by_image
from vlground.rewards.sentences import split

if TYPE_CHECKING:
    import pandas

SYSTEMS = ("base", "human", "automatic", "all")  # that ViGoR ranks: 3.24, 2.55, 2.24 and 1.97


def ranks(captions: Mapping[str, "pandas.DataFrame"], images: Sequence[str]) -> dict[str, Ratios]:
    """The mean rank of each system, 1 the best; ties share the mean of their ranks.

    Args:
        captions: Arm -> its rows, with `image_id` and `text` of drawn scenes.
        images: Ids of all images, in the order of the sums.

    Returns:
        System -> its ranks; nothing unless all four are there.
    """
    if not set(SYSTEMS) <= captions.keys():
        return {}
    scores = {system: _scores(captions[system]) for system in SYSTEMS}
    rows = preference.rows_of(scores, {image: image for image in images})
    found = {}
    for system in SYSTEMS:
        placed = dict(zip(rows["image_id"], rows[f"rank_{system}"], strict=True))
        known = {image: rank for image, rank in placed.items() if isfinite(rank)}
        found[system] = by_image(known, images)
    return found


def _scores(rows: "pandas.DataFrame") -> dict[str, float]:
    """Image id -> what the judge gives the caption."""
    requests = []
    for image, text in zip(rows["image_id"], rows["text"], strict=True):
        lines = "\n".join(sentence.content for sentence in split(text))
        sample = Sample(str(image), str(image), Path(), lines)
        requests.append(JudgeRequest(str(image), {}, (), sample=sample))
    verdicts = ShapesOracle().judge(requests)
    return {one.key: told.score for one, told in verdicts if told.score is not None}
