"""M-HalDetect (arXiv 2308.06394): segments of a response, each of one class.

A sentence is inaccurate if a part of it is called so; nothing is known of one that is unsure in
part, or that no segment touches. ANALYSIS (what cannot be checked) counts as accurate, as in the
paper's binary labels.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from vlground.rewards.annotated import Annotated, first, rest, unknown
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.sentences import split

_CLASSES = ("ACCURATE", "INACCURATE", "ANALYSIS", "UNSURE")


def read(record: dict[str, Any], counts: Counter[str]) -> list[Annotated]:
    """Read one record; see `vigor_annotations.read`."""
    text = first(record, "response", "text", "answer")
    image_id = first(record, "image")
    segments = first(record, "annotation", "segment")
    if not isinstance(text, str) or not isinstance(image_id, str | int):
        counts["no text or image id"] += 1
        return []
    if not isinstance(segments, list):
        counts["no segments"] += 1
        return []
    spans = [span for segment in segments if (span := _span(segment, text, counts))]
    sentences = split(text)
    errors = unknown(len(sentences))
    for row, sentence in enumerate(sentences):
        end = sentence.start + len(sentence.text.rstrip())
        touched = {name for start, stop, name in spans if start < end and stop > sentence.start}
        if "INACCURATE" in touched:
            errors[row] = 0.0
            errors[row, ERROR_TYPES.index("unspecified")] = 1.0
        elif touched and "UNSURE" not in touched:
            errors[row] = 0.0
    extra = rest(record, "response", "text", "answer", "image", "annotation", "segment")
    return [Annotated(str(image_id), text, errors, extra=extra)]


def _span(segment: object, text: str, counts: Counter[str]) -> tuple[int, int, str] | None:
    """Start, end and class of a segment; its text decides where its numbers point elsewhere."""
    found = segment if isinstance(segment, Mapping) else {}
    name = str(first(found, "label", "class", "annotation")).upper()
    if name not in _CLASSES:
        counts["segment without a class"] += 1
        return None
    start, end, words = first(found, "start"), first(found, "end"), first(found, "text")
    numbers = isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)
    if isinstance(words, str) and words.strip():
        place = start if numbers and text[start:end].strip() == words.strip() else text.find(words)
        if place < 0:
            counts["segment whose text is not in the response"] += 1
            return None
        return place, place + len(words), name
    if not numbers:
        counts["segment without a place"] += 1
        return None
    return int(start), int(end), name
