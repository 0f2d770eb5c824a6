r"""Questions about images with their answers, from files in LLaVA's format.

[{"id": …, "image": …, "conversations": [{"from": "human", "value": "<image>\n…"},
                                         {"from": "gpt", "value": …}, …]}, …]
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vlground.errors import VlgroundError

_EXPORTED = Path("export/llava.json")  # of a run of task=rejection_sampling
_IMAGE = "<image>"


@dataclass(frozen=True, slots=True, eq=False)
class Dialogue:
    """One question about an image, or several in turn, and the answers to be learnt.

    Attributes:
        id: Named where something goes wrong.
        image: Path of the file, or the pixels `(height, width, 3)` uint8.
        question: Without a placeholder for the image, which the chat template puts before it.
        answer: Without the end token.
        further: Questions and answers that follow; the image is read once for all of them.
    """

    id: str
    image: Path | np.ndarray
    question: str
    answer: str
    further: tuple[tuple[str, str], ...] = ()


class DialogueFiles(Sequence[Dialogue]):
    """The dialogues of files, in their order.

    Of several turns about one image each becomes a dialogue of its own, asked anew (ours).

    Args:
        option: That names the files, for messages (`task.data.file`).
        files: JSON in LLaVA's format; of a folder of a run of task=rejection_sampling, what it
            has exported. `run:FINGERPRINT` is such a run in `runs`.
        root: Where the images lie; None: paths are relative to their file.
        runs: The folder `runs`.

    Attributes:
        left_out: Reason -> number of records or turns without a dialogue.

    Raises:
        VlgroundError: If a file cannot be read or is in another format.
    """

    def __init__(
        self, option: str, files: Sequence[str], root: str | None = None, runs: Path = Path("runs")
    ) -> None:
        self.left_out: Counter[str] = Counter()
        self._dialogues: list[Dialogue] = []
        if not isinstance(files, Sequence) or isinstance(files, str):
            raise VlgroundError(f"{option}={files}: expected a list of files: [{files}]")
        for name in files:
            path = file_of(option, str(name), runs)
            folder = path.parent if root is None else Path(root).expanduser()
            for record in _records(f"{option}={name}", path):
                self._add(f"{option}={name}", record, folder)

    def __len__(self) -> int:
        return len(self._dialogues)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - a slice gives a list
        return self._dialogues[index]

    def _add(self, told: str, record: Mapping[str, Any], folder: Path) -> None:
        try:
            turns = [(turn["from"], str(turn["value"])) for turn in record["conversations"]]
            name, image = str(record.get("id", "")), record.get("image")
        except (KeyError, TypeError, AttributeError) as error:
            raise VlgroundError(f"{told}: not in LLaVA's format: {error!r}") from error
        if image is None:
            self.left_out["no image"] += 1
            return
        path = folder / str(image)
        if not path.is_file():
            self.left_out["no such image"] += 1
            return
        for (asks, question), (answers, answer) in pairwise(turns):
            if (asks, answers) != ("human", "gpt"):
                continue
            if answer.strip():
                asked = question.replace(_IMAGE, "").strip()
                self._dialogues.append(Dialogue(name or str(image), path, asked, answer.strip()))
            else:
                self.left_out["empty answer"] += 1


def file_of(option: str, name: str, runs: Path, exported: Path = _EXPORTED) -> Path:
    """The file that a name means: itself, or what a run of task=rejection_sampling has exported.

    Args:
        option: That names it, for messages.
        name: A file, the folder of a run, or `run:FINGERPRINT`, of which the first 8 digits do.
        runs: The folder `runs`.
        exported: What a folder of a run has to have.

    Raises:
        VlgroundError: If there is none.
    """
    path = Path(name).expanduser()
    if name.startswith("run:"):
        wanted = name.removeprefix("run:")
        found = sorted(runs.glob(f"rejection_sampling/*-{wanted[:8]}")) if len(wanted) >= 8 else []
        if len(found) != 1:
            raise VlgroundError(f"{option}={name}: {len(found)} such runs in {runs}, expected one")
        path = found[0]
    if path.is_dir():
        path = path / exported
        if not path.is_file():
            told = f"no {exported} there; expected a run with task.export=[{exported.stem}]"
            raise VlgroundError(f"{option}={name}: {told}")
    return path


def _records(told: str, path: Path) -> list[Mapping[str, Any]]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VlgroundError(f"{told}: cannot be read: {reason}") from error
    if not isinstance(read, list):
        raise VlgroundError(f"{told}: not in LLaVA's format: expected a list of records")
    return read
