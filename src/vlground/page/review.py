"""The review page of rejection sampling: what was taken of some images, and why."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import ImageError
from vlground.page.document import document, embedded
from vlground.page.reviewed import Reviewed, entry
from vlground.rewards.options import ERROR_TYPES, VigorReward
from vlground.whole import replacing

LIMIT = 9_900_000  # bytes of the page
SIZES = ((512, 85), (384, 80), (256, 75))  # longer side in pixels, quality: the first that fits
_SCRIPTS = ("dom.js", "review_data.js", "review_image.js", "review.js")


@dataclass(frozen=True)
class Facts:
    """What stands above all images.

    Attributes:
        title: Of the run.
        fingerprint: Of the run.
        prompt: What the captioner was asked.
        metric: Thresholds, normalisation, refinement.
        branches: Stream -> whether somebody was asked.
        counts: Of selection and refinement, over all images.
        groups: Name -> what it is called, in the order of the page.
    """

    title: str
    fingerprint: str
    prompt: str
    metric: VigorReward
    branches: Mapping[str, bool]
    counts: Mapping[str, int]
    groups: Mapping[str, str]


def write_review(path: Path, facts: Facts, images: Sequence[Reviewed]) -> None:
    """Write the page.

    Args:
        path: Of the file.
        facts: About the run.
        images: In the order of the page.

    Raises:
        VlgroundError: If it cannot be written there.
    """
    text = page(facts, images)
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def page(facts: Facts, images: Sequence[Reviewed]) -> str:
    """The page as text, pictures as large as there is room for; see `write_review`."""
    data: dict[str, Any] = {**_facts(facts), "images": [], "pictures": [], "note": ""}
    loaded = [_shrunk(one.sample) for one in images]
    for one, found in zip(images, loaded, strict=True):
        missing = isinstance(found, str)
        size = {"size": None if missing else found[1], "noPicture": found if missing else ""}
        data["images"].append({**entry(one, facts.metric), **size})
    room = LIMIT - len(_text(data).encode())
    for side, quality in SIZES:
        data["pictures"] = [
            None if isinstance(found, str) else jpeg(found[0], side, quality) for found in loaded
        ]
        if len(embedded(data["pictures"])) <= room:
            break
    else:
        data["note"] = _leave_out(data["pictures"], room)
    return _text(data)


def jpeg(image: Image.Image, side: int, quality: int) -> str:
    """A picture as base64 of a JPEG file, shrunk to a longer side if it is larger."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)  # never enlarges
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality)
    return base64.b64encode(file.getvalue()).decode()


def _text(data: Mapping[str, Any]) -> str:
    return document("review.html", "review.css", _SCRIPTS, data, title=str(data["title"]))


def _leave_out(pictures: list[str | None], room: int) -> str:
    """Drop the last pictures that do not fit; what is said of it."""
    dropped = 0
    for place in range(len(pictures) - 1, -1, -1):
        if len(embedded(pictures)) <= room:
            break
        dropped += pictures[place] is not None
        pictures[place] = None
    return f"{dropped} pictures left out: the page would be larger than {LIMIT / 1e6:.1f} MB"


def _facts(facts: Facts) -> dict[str, Any]:
    metric = facts.metric
    options = ("normalise", "pool", "amount", "nouns", "noun_weight", "refine", "keep_at_least")
    return {
        "title": facts.title,
        "fingerprint": facts.fingerprint,
        "prompt": facts.prompt,
        "types": ERROR_TYPES,
        "streams": list(metric.streams),
        "asked": dict(facts.branches),
        "thresholds": {"sentence": metric.sentence_threshold, "noun": metric.noun_threshold},
        "options": {name: getattr(metric, name) for name in options},
        "counts": dict(facts.counts),
        "groups": list(facts.groups.items()),
    }


def _shrunk(sample: Sample) -> tuple[Image.Image, tuple[int, int]] | str:
    """The image as large as the page may hold it with its true size, or why it is not there."""
    try:
        image = load_image(sample)
    except ImageError as error:
        return error.reason
    size = image.size
    image.thumbnail((SIZES[0][0], SIZES[0][0]), Image.Resampling.LANCZOS)  # never enlarges
    return image, size
