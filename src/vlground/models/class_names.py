"""Which classes a text names: ImageNet's, or the user's own."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from vlground.errors import VlgroundError
from vlground.models.imagenet import class_indices, class_names

_NUMBERED = re.compile(r"#(\d{1,6})")


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
        self._names: Sequence[str] = ()
        self.count = 1000
        if classes is not None:
            names = _read(Path(classes)) if isinstance(classes, str) else classes
            self.count = len(names)
            self._names = [str(name) for name in names]
            for index, name in enumerate(names):
                self._table.setdefault(_plain(str(name)), []).append(index)
            if not self._table:
                raise VlgroundError(f"model.classes={classes}: no names")

    def indices(self, text: str) -> Sequence[int]:
        """Classes that a text names; upper case and underscores do not count. `#7` is number 7.

        >>> ClassNames(["Healthy", "leaf_rust", "healthy"]).indices("healthy")
        [0, 2]
        """
        if numbered := _NUMBERED.fullmatch(text):
            index = int(numbered[1])
            return [index] if index < self.count else ()
        return self._table.get(_plain(text), ()) if self._table else class_indices(text)

    def name(self, index: int) -> str:
        """The name of a class, as somebody would say it; others may have it too.

        >>> ClassNames(["Healthy", "leaf_rust"]).name(1)
        'leaf rust'
        """
        names = self._names or class_names()
        return " ".join(names[index].replace("_", " ").split())

    def query(self, index: int) -> str:
        """A text that names this class and no other.

        >>> ClassNames(["Healthy", "leaf_rust"]).query(1)
        '#1'
        """
        return f"#{index}"


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
