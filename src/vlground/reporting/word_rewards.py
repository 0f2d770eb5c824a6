"""The tables of task=word_reward: how well errors are told, and what the best of n are like."""

from collections.abc import Sequence
from typing import Any

from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.notes import interval_note
from vlground.reporting.tables import Results
from vlground.rewards.best_of_n import ARMS

TASK = "word_reward"
_CURVES = {
    "auc/any": "AUC ↑",
    "average_precision/any": "AP ↑",
    "ece/any": "calibration error ↓",
    "blind/auc/any": "AUC, blind",
    "gain/auc/any": "AUC over blind ↑",
    "gain/average_precision/any": "AP over blind ↑",
}
_ARM_HEADS = {
    "chair_i": "CHAIRi ↓",
    "chair_s": "CHAIRs ↓",
    "recall": "recall ↑",
    "words": "words",
    "wrong_sentences": "wrong sentences ↓",
}
_CURVES_NOTE = (
    "Of sentences of held-out images, wrong by the labels. level sentence: fine-grained; caption: "
    "all sentences of a caption got its worst label in training (holistic). evidence none: words "
    "alone. n: sentences."
)
_ARMS_NOTE = (
    "Best of n on held-out images by the sum, or the mean, of the probabilities of a caption's "
    "sentences; random: one by chance, the control; labels: by the labels themselves, the ceiling. "
    "Fewer hallucinations are cheap for those who say little: read them beside recall and words. "
    "n: captions."
)
_KNOWING = (
    "The objects that the model reads are those that CHAIR and the labels read: a real one sees "
    "pixels."
)


def word_reward_blocks(results: Sequence[Results]) -> list[Block]:
    """Two tables: how well wrong sentences are told, and the best of n.

    Args:
        results: Any runs; those of `task=word_reward` are shown.
    """
    mine = [result for result in results if result.get("task") == TASK]
    if not mine:
        return []
    shown = [name for name in _CURVES if any(name in r["scores"] for r in mine)]
    curves, arms = [], []
    for result in mine:
        scores = result["scores"]
        named = [str(_options(result).get(one, "?")) for one in ("level", "evidence")]
        n = str(scores.get("auc/any", {}).get("n", 0))
        curves.append([*named, n, *(interval(scores.get(name), "\n") for name in shown)])
        for place, arm in enumerate(ARMS):
            first = ["", ""] if place else named
            cells = [interval(scores.get(f"{arm}/{name}"), "\n") for name in _ARM_HEADS]
            arms.append([*first, arm, str(scores.get(f"{arm}/words", {}).get("n", 0)), *cells])
    heads = ["level", "evidence"]
    note = interval_note(mine)
    return [
        Block(
            "reward model of words and objects: held-out sentences",
            [*heads, "n", *(_CURVES[name] for name in shown)],
            curves,
            [_CURVES_NOTE, _KNOWING, note],
            len(heads),
        ),
        Block(
            "reward model of words and objects: best of n",
            [*heads, "arm", "n", *_ARM_HEADS.values()],
            arms,
            [_ARMS_NOTE, note],
            len(heads) + 1,
        ),
    ]


def _options(result: Results) -> dict[str, Any]:
    """What was trained, as the run's results tell."""
    found: dict[str, Any] = result.get(TASK) or {}
    return found
