"""What ViGoR's annotators said beside errors: is a sentence creative, how detailed is it all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlground.data.records import image_id_of
from vlground.errors import VlgroundError
from vlground.rewards.annotated import same_text
from vlground.rewards.annotations import read_annotations

CREATIVE, DETAIL = "creative", "detail"
EXTRAS = (CREATIVE, DETAIL)


class AnnotatedExtras:
    """Further labels of captions, from the file that their error labels come from.

    Args:
        names: Some of `EXTRAS`.
        reward: Node of the sentence scorer, with `file` and `style`.

    Raises:
        VlgroundError: A name is unknown, or the scorer reads no file of annotations, or the file
            has no such labels.
    """

    def __init__(self, names: Sequence[str], reward: Mapping[str, Any]) -> None:
        for name in names:
            if name not in EXTRAS:
                raise VlgroundError(f"task.extra={name}: expected some of {', '.join(EXTRAS)}")
        if "style" not in reward:
            told = "is known from files alone; expected reward=vigor"
            raise VlgroundError(f"task.extra={','.join(names)}: {told}")
        self.names = tuple(names)
        found = read_annotations(Path(reward["file"]), reward["style"]).captions
        given = [one.detail for one in found if one.detail is not None]
        has = {CREATIVE: any(one.creative for one in found), DETAIL: len(set(given)) > 1}
        for name in names:
            if not has[name]:
                raise VlgroundError(f"task.extra={name}: not in reward.file={reward['file']}")
        # The scale is not known, so it is that of the file.
        self._low, self._high = min(given, default=0.0), max(given, default=1.0)
        self._known = {_key(one.image_id, one.text): one for one in found if one.aligned}

    def of(self, image_id: str, sentences: Sequence[str]) -> np.ndarray:
        """Labels of a caption.

        Args:
            image_id: Of its image.
            sentences: Of the caption.

        Returns:
            `(s, names)` in 0-1, NaN where nothing is known. Detail is 0 at the least detailed
            caption of the file and 1 at the most, and stands at the last sentence, where a model
            has seen all of it.
        """
        found = np.full((len(sentences), len(self.names)), np.nan)
        one = self._known.get(_key(image_id, "".join(sentences)))
        if one is None:
            return found
        for column, name in enumerate(self.names):
            if name == CREATIVE:
                for number, creative in one.creative.items():
                    if number < len(sentences):
                        found[number, column] = float(creative)
            elif one.detail is not None:
                found[-1, column] = (one.detail - self._low) / (self._high - self._low)
        return found


def _key(image_id: str, text: str) -> tuple[str, str]:
    return image_id_of({"image_id": image_id}) or image_id, same_text(text)
