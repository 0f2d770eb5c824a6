"""Which classes a text names: ImageNet's, or the user's own."""

import json
from collections.abc import Sequence
from pathlib import Path

from vlground.errors import VlgroundError
from vlground.models.imagenet import class_indices


class ClassNames:
    """The classes of a classifier.

    Args:
        classes: Their names in the order of the logits, or a file of them: `.json` (a list, or
            index -> name) or `.txt` (one a line). None: ImageNet's 1000, see `class_indices`.

    Raises:
        VlgroundError: If there is no such file, or there are no names in it.
    """

    def __init__(self, classes: Sequence[str] | str | None) -> None:
        self._table: dict[str, list[int]] = {}
        self.count = 1000
        if classes is not None:
            names = _read(Path(classes)) if isinstance(classes, str) else classes
            self.count = len(names)
            for index, name in enumerate(names):
                self._table.setdefault(_plain(str(name)), []).append(index)
            if not self._table:
                raise VlgroundError(f"model.classes={classes}: no names")

    def indices(self, text: str) -> Sequence[int]:
        """Classes that a text names; upper case and underscores do not count.

        >>> ClassNames(["Healthy", "leaf_rust", "healthy"]).indices("healthy")
        [0, 2]
        """
        return self._table.get(_plain(text), ()) if self._table else class_indices(text)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())


def _read(path: Path) -> list[str]:
    if path.suffix not in (".json", ".txt"):
        raise VlgroundError(f"model.classes={path}: expected a list, a .json or a .txt file")
    try:
        text = path.expanduser().read_text("utf-8")
        if path.suffix == ".txt":
            return [line.strip() for line in text.splitlines() if line.strip()]
        names = json.loads(text)
    except (OSError, ValueError) as error:
        raise VlgroundError(f"model.classes={path}: {error}") from error
    if isinstance(names, dict) and set(names) == {str(index) for index in range(len(names))}:
        names = [names[str(index)] for index in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise VlgroundError(f"model.classes={path}: expected a list of names, or index -> name")
    return names
