"""RLHF-V (arXiv 2312.00849, data CC-BY-NC-4.0): a response, and the same with corrections.

Both are captions here: in the rejected one a sentence that the corrected text does not hold as it
stands is inaccurate; every sentence of the chosen one is accurate.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from vlground.rewards.annotated import Annotated, first, rest, same_text, unknown
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.sentences import split


def read(record: dict[str, Any], counts: Counter[str]) -> list[Annotated]:
    """Read one record, two captions; see `vigor_annotations.read`."""
    pair = _pair(record)
    # `idx` numbers the rows; the path names the image.
    image_id = first(record, "image_id", "image_path", "image", "idx")
    chosen, rejected = first(pair, "chosen"), first(pair, "rejected")
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        counts["no pair"] += 1
        return []
    if not isinstance(image_id, str | int):
        counts["no text or image id"] += 1
        return []
    if same_text(chosen) == same_text(rejected):
        counts["pair without a correction"] += 1
        return []
    extra = rest({**record, **pair}, "image", "idx", "text", "chosen", "rejected")
    held = {same_text(sentence.text) for sentence in split(chosen)}
    captions = []
    for text in (chosen, rejected):
        sentences = split(text)
        errors = unknown(len(sentences))
        errors[:] = 0.0
        for row, sentence in enumerate(sentences):
            errors[row, ERROR_TYPES.index("unspecified")] = same_text(sentence.text) not in held
        captions.append(Annotated(str(image_id), text, errors, extra=extra))
    return captions


def _pair(record: dict[str, Any]) -> Mapping[str, Any]:
    inner = first(record, "text")
    if isinstance(inner, str):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            inner = None
    return inner if isinstance(inner, Mapping) else record
