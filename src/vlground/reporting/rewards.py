"""The tables of task=sampling, task=scoring and task=rejection_sampling."""

from collections.abc import Mapping, Sequence

from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.notes import interval_note, left_out
from vlground.reporting.selections import selection_block, selection_notes
from vlground.reporting.tables import Results, differences, options
from vlground.rewards.arms import ARMS
from vlground.rewards.options import ERROR_TYPES
from vlground.tracking import title

_ARM_HEADS = {
    "chair_i": "CHAIRi ↓",
    "chair_s": "CHAIRs ↓",
    "recall": "recall ↑",
    "words": "words",
    "empty": "empty ↓",
    "wrong_sentences": "wrong sentences ↓",
    "undetected_nouns": "undetected nouns ↓",
}
_SCORING_HEADS = {
    "wrong_sentences": "wrong sentences ↓",
    **{f"error/{name}": name for name in ERROR_TYPES},
    "undetected_nouns": "undetected nouns ↓",
}
_SAMPLING_HEADS = {
    "words": "words",
    "sentences": "sentences",
    "distinct": "distinct",
    "empty": "empty ↓",
    "cut_off": "cut off ↓",
    "token_log_probability": "log p a token",
}
# Names that the report page shows: refinement is what the others stand beside.
LABELS = {
    **{
        f"{arm}/{name}": f"{arm} {head}"
        for arm in reversed(ARMS)
        for name, head in _ARM_HEADS.items()
    },
    "ties": "ties",
    "emptied": "emptied ↓",
    "penalty": "penalty",
    "wrong_sentences": "wrong sentences ↓",
    "undetected_nouns": "undetected nouns ↓",
    **{f"error/{name}": f"sentences: {name}" for name in ERROR_TYPES},
}
RECOMMENDED = (
    *(f"refined/{name}" for name in ("chair_i", "chair_s", "recall", "words")),
    *("emptied", "wrong_sentences", "undetected_nouns"),
)
_ARMS_NOTE = (
    "first: candidate 0, or the first that is a caption; random: one by chance, the control; "
    "winner: the lowest penalty; refined: "
    "the winner without the sentences held against it. CHAIRi: share of the named objects that the "
    "image does not hold; CHAIRs: of the captions with such an object. Fewer hallucinations are "
    "cheap for those who say little: read them beside recall and words. n: captions."
)
_SAID_NOTE = (
    "Wrong sentences and undetected nouns are what the branches say that select: selection lowers "
    "them whether or not they are right."
)
_GROUPS = ("model", "dataset", "detector", "reward")
_KNOWING = (
    "detector=oracle",
    "detector=shapes_oracle",
    "reward=simulated",
    "reward=object_annotators",
)
_SCORING_NOTE = (
    "Shares over all candidates: of sentences with an error above metric.sentence_threshold, of "
    "any type and of each, and of nouns named that the detector does not find. n: candidates that "
    "were scored."
)
_SAMPLING_NOTE = (
    "Words and sentences a caption; distinct: texts that differ over captions of an image; cut "
    "off: share of captions that the limit of tokens ended; log p: mean log-probability of a "
    "token, where the captioner tells. n: captions."
)


def reward_blocks(results: Sequence[Results]) -> list[Block]:
    """Tables: arms of each selection, errors of candidates, what candidates look like.

    Args:
        results: Any runs; those of three tasks are shown.
    """
    tasks: dict[str, list[Results]] = {}
    for result in results:
        tasks.setdefault(str(result.get("task")), []).append(result)
    blocks: list[Block] = []
    if mine := tasks.get("rejection_sampling"):
        blocks += _arms(mine)
    if mine := tasks.get("scoring"):
        blocks.append(_plain("scoring of candidates", mine, _SCORING_HEADS, _SCORING_NOTE))
    if mine := tasks.get("sampling"):
        blocks.append(_plain("candidates", mine, _SAMPLING_HEADS, _SAMPLING_NOTE))
    return blocks


def _arms(results: Sequence[Results]) -> list[Block]:
    """One row an arm of each run, the run named once; and how its winners came about."""
    names = _names(results)
    shown = [
        name
        for name in _ARM_HEADS
        if any(f"{a}/{name}" in r["scores"] for r in results for a in ARMS)
    ]
    rows = []
    for run, result in zip(names, results, strict=True):
        scores = result["scores"]
        for place, arm in enumerate(ARMS):
            n = scores.get(f"{arm}/words", {}).get("n", 0)
            cells = [interval(scores.get(f"{arm}/{name}"), "\n") for name in shown]
            rows.append([*_first("" if place else run, results), arm, str(n), *cells])
    heads = [*_first("run", results), "arm", "n", *(_ARM_HEADS[name] for name in shown)]
    lines = selection_notes(names, results)
    notes = [_ARMS_NOTE, _SAID_NOTE, *_knowing(results), *lines, *_lost(names, results)]
    notes.append(interval_note(results))
    words = heads.index("n")
    caption = _caption("rejection sampling", results)
    arms = Block(caption, heads, rows, notes, words)
    return [arms, *selection_block(caption, names, results)]


def _plain(caption: str, results: Sequence[Results], heads: Mapping[str, str], note: str) -> Block:
    """One row a run."""
    names = _names(results)
    shown = [name for name in heads if any(name in result["scores"] for result in results)]
    rows = [
        [
            *_first(run, results),
            str(result["counts"]["scored"]),
            *(interval(result["scores"].get(name), "\n") for name in shown),
        ]
        for run, result in zip(names, results, strict=True)
    ]
    notes = [note, *_lost(names, results), interval_note(results)]
    columns = [*_first("run", results), "n", *(heads[name] for name in shown)]
    return Block(_caption(caption, results), columns, rows, notes, columns.index("n"))


def _first(cell: str, results: Sequence[Results]) -> list[str]:
    """The column that names runs; one run is named by the caption."""
    return [cell] if len(results) > 1 else []


def _caption(what: str, results: Sequence[Results]) -> str:
    """What the table is, and the choices that all of its runs share."""
    shared = {group: found[0] for group in _GROUPS if len(found := options(results, group)) == 1}
    named = title(shared)
    return f"{what}: {named}" if named else what


def _names(results: Sequence[Results]) -> list[str]:
    """Runs by what tells them apart: choices, what their command lines set, the fingerprint."""
    groups = [group for group in _GROUPS if len(options(results, group)) > 1]
    chosen = [[str(r["choices"].get(group, "none")) for group in groups] for r in results]
    settings = [[one] if one else [] for one in differences(results)]
    named = [" · ".join([*a, *b]) for a, b in zip(chosen, settings, strict=True)]
    return [
        " · ".join(filter(None, [name, str(result.get("fingerprint", ""))[:8]]))
        if not name or named.count(name) > 1
        else name
        for name, result in zip(named, results, strict=True)
    ]


def _knowing(results: Sequence[Results]) -> list[str]:
    """Which branches know the truth that CHAIR reads."""
    used = {
        f"{group}={r['choices'].get(group)}" for r in results for group in ("detector", "reward")
    }
    if not (found := sorted(used & {*_KNOWING})):
        return []
    verb = "answers" if len(found) == 1 else "answer"
    told = f"{' and '.join(found)} {verb} from the truth that CHAIR reads"
    return [f"{told}: the CHAIR of winner and refined says nothing of a real one."]


def _lost(names: Sequence[str], results: Sequence[Results]) -> list[str]:
    """Candidates without scores and records that became no sample, with the reasons."""
    found: dict[str, list[str]] = {}
    for run, result in zip(names, results, strict=True):
        counts = result["counts"]
        if reasons := {**counts["skipped"], **counts["flagged"]}:
            why = "; ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
            lost = counts["samples"] - counts["scored"]
            told = f"{lost} of {counts['samples']} candidates: {why}"
            found.setdefault(told, []).append(run)
    lines = [
        f"not scored, {'all' if len(runs) == len(results) > 1 else ', '.join(runs)}: {told}"
        for told, runs in found.items()
    ]
    return [*lines, *left_out(results)]
