"""One annotated caption, whatever file it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vlground.rewards.options import ERROR_TYPES


@dataclass(frozen=True, eq=False)
class Annotated:
    """A caption with what people said of its sentences.

    Attributes:
        image_id: As the file has it.
        text: The caption.
        errors: `(s, 6)` probabilities in the order of `ERROR_TYPES`, a row a sentence of `split`;
            NaN of a sentence nobody judged or was sure about. Not aligned: a row a sentence of the
            file.
        aligned: Whether the file's sentences are those of `split`.
        creative: Sentence -> whether it is creative (ViGoR).
        detail: Overall detail score, on the file's scale (ViGoR).
        extra: Everything else, as it was.
    """

    image_id: str
    text: str
    errors: np.ndarray
    aligned: bool = True
    creative: Mapping[int, bool] = field(default_factory=dict)
    detail: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def unknown(sentences: int) -> np.ndarray:
    """Errors of sentences of which nothing is known."""
    return np.full((sentences, len(ERROR_TYPES)), np.nan)


def same_text(text: str) -> str:
    """A text without white space, which files lose and add."""
    return "".join(text.split())


def first(record: Mapping[str, Any], *prefixes: str) -> Any:  # noqa: ANN401 - any JSON
    """The value of the first key that begins with one of the prefixes, letter case aside."""
    for prefix in prefixes:
        for key, value in record.items():
            if str(key).lower().replace("-", "_").startswith(prefix):
                return value
    return None


def rest(record: Mapping[str, Any], *prefixes: str) -> dict[str, Any]:
    """What `first` does not find under any of the prefixes."""
    return {
        str(key): value
        for key, value in record.items()
        if not str(key).lower().replace("-", "_").startswith(prefixes)
    }
