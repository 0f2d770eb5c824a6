"""Where dialogues and questions come from, by the options of `task=finetuning`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlground.config import build
from vlground.errors import VlgroundError
from vlground.training.dialogues import Dialogue, DialogueFiles
from vlground.training.mixture import Mixture


def mixture_of(options: Mapping[str, Any], runs: Path, seed: int) -> tuple[Mixture, dict[str, int]]:
    """What is learnt from.

    Args:
        options: The task's node: `data` and `questions` (`file`, `root`, `stream`), `batch`.
        runs: The folder `runs`.
        seed: Of the order.

    Returns:
        The mixture, and reason -> number of records that became no dialogue.

    Raises:
        VlgroundError: If there is nothing to learn from, or a file is none.
    """
    share = float(options["questions"]["share"])
    if not 0 <= share < 1:
        raise VlgroundError(f"task.questions.share={share}: expected 0 to less than 1")
    left_out: Counter[str] = Counter()
    dialogues = _source("task.data", options["data"], runs, left_out)
    if not dialogues:
        reasons = ", ".join(f"{why} ({n})" for why, n in left_out.items()) or "nothing"
        told = f"no dialogue to learn from; left out: {reasons}"
        raise VlgroundError(f"task.data.file={options['data']['file']}: {told}")
    questions: Sequence[Dialogue] = ()
    if share:
        questions = _source("task.questions", options["questions"], runs, left_out)
        if not questions:
            told = "no questions to mix in: give task.questions.file=[…], or share=0 (then a model"
            raise VlgroundError(f"task.questions.share={share}: {told} forgets to answer)")
    return Mixture(dialogues, questions, share, options["batch"], seed), dict(left_out)


def _source(
    option: str, node: Mapping[str, Any], runs: Path, left_out: Counter[str]
) -> Sequence[Dialogue]:
    if node["stream"] is not None:
        if node["file"]:
            raise VlgroundError(f"{option}.file={node['file']}: not with {option}.stream")
        stream: Sequence[Dialogue] = build(node["stream"])
        return stream
    read = DialogueFiles(f"{option}.file", node["file"], node["root"], runs)
    left_out.update(read.left_out)
    return read
