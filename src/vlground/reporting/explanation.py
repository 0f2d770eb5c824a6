"""The table of explanation runs: right or wrong × what a judge makes of the map."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vlground.labels import EXPLANATION_COLUMNS
from vlground.page.options import differing
from vlground.published import interval
from vlground.reporting.block import Block
from vlground.reporting.notes import not_scored
from vlground.reporting.tables import Results, differences, options

TASK = "explanation"
_NAMED = 6  # runs at most that a note names one by one
_SHARES = (
    "accuracy: of all samples with a label that the model knows, whatever became of the judge. The "
    "four others are shares of those of them that have a score, and add up to 1."
)
_INTERVALS = (
    "Below a share: its 95 % Wilson interval (bootstrap over images where one has several "
    "samples). Below the judge's mean score (0-5): bootstrap over images, none below 20."
)


def explained(results: Sequence[Results]) -> list[Results]:
    """Those of the runs that are explanations."""
    return [result for result in results if result.get("task") == TASK]


def explanation_blocks(results: Sequence[Results]) -> list[Block]:
    """One table of all explanation runs; none, if there are none.

    Args:
        results: Runs of any task, in the tables' order.
    """
    runs = explained(results)
    if not runs:
        return []
    masks = told(runs, "mask")
    judges = [_judge(run, name) for run, name in zip(runs, told(runs, "judge"), strict=True)]
    columns: dict[str, list[str]] = {"data set": _choices(runs, "dataset")}
    columns |= {"model": _choices(runs, "model"), "cam": _choices(runs, "cam")}
    columns |= {"mask": masks, "judge": judges, "options": _other_settings(runs)}
    always = ("model", "cam", "judge")
    words = {k: v for k, v in columns.items() if k in always or len(set(v)) > 1}
    scores = {
        head: [interval(run["scores"].get(name), "\n") for run in runs]
        for name, head in EXPLANATION_COLUMNS.items()
        if any(name in run["scores"] for run in runs)
    }
    whole = {**words, "n": [str(run["counts"]["scored"]) for run in runs], **scores}
    rows = [list(row) for row in zip(*whole.values(), strict=True)]
    return [Block(_caption(runs), list(whole), rows, explanation_notes(runs), len(words))]


def explanation_notes(runs: Sequence[Results]) -> list[str]:
    """What stands under the table; whether the judge can be trusted comes first."""
    return [
        *judge_notes(runs),
        *not_scored(runs, _who),
        *_by_line(
            runs, "scored, but without a label that the model knows and so in no cell", _unlabelled
        ),
        *readings(),
        _SHARES,
        _INTERVALS,
    ]


def judge_notes(runs: Sequence[Results]) -> list[str]:
    """What to know of the judges before their scores are read; nothing of no runs."""
    if not runs:
        return []
    high = _by_line(runs, "high", _threshold)
    return [*sanity_lines(runs), *answered(runs), *high, *usage(runs)]


def told(runs: Sequence[Results], group: str) -> list[str]:
    """Each run's option of a group, with those of its parameters in which the runs differ."""
    telling = differing(runs)
    return [
        " ".join([chosen, *(f"{k.partition('.')[2]}={v}" for k, v in found.items() if k in names)])
        for chosen, found in zip(_choices(runs, group), telling, strict=True)
        for names in [[name for name in found if name.startswith(f"{group}.")]]
    ]


def sanity_lines(runs: Sequence[Results]) -> list[str]:
    """Whether the judge scores real masks above the controls, one line for each finding."""
    sanity = [run.get(TASK, {}).get("sanity") for run in runs]
    lines: dict[str, list[Results]] = {}
    for run, found in zip(runs, sanity, strict=True):
        line = f"judge {_finding(found)}" if found else "judge not tested by controls"
        lines.setdefault(line, []).append(run)
    # What warns stands before what does not.
    ordered = sorted(lines.items(), key=lambda item: item[0].startswith("judge sound"))
    return [f"{line} ({_who(these, runs)})" for line, these in ordered]


def _finding(sanity: Mapping[str, Any]) -> str:
    """The verdict in a line; of an open one each reason once."""
    if sanity["verdict"] != "undecided":
        return str(sanity["sentence"])
    reasons: dict[str, list[str]] = {}
    for name, why in sanity["open"].items():
        reasons.setdefault(why, []).append(name)
    return "undecided: " + "; ".join(f"{why}: {', '.join(on)}" for why, on in reasons.items())


def readings() -> list[str]:
    """What the paper's four quadrants say of a model."""
    from vlground.metrics.judge_matrix import READINGS

    return [f"{name.replace('_', ' ')}: {text}" for name, text in READINGS.items()]


def answered(runs: Sequence[Results]) -> list[str]:
    """Which models the answers of each judge are from: a hosted one may change unannounced."""
    models: dict[str, Counter[str]] = {}
    for run, judge in zip(runs, told(runs, "judge"), strict=True):
        found = run.get(TASK, {}).get("usage", {}).get("models", {})
        models.setdefault(judge, Counter()).update(found)
    lines = []
    for judge, counts in models.items():
        names = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
        if len(counts) > 1:
            lines.append(f"the model behind judge {judge} changed: answers are from {names}")
        elif counts:
            lines.append(f"answers of judge {judge} are from {names}")
    return sorted(lines, reverse=True)  # a change stands first


def usage(runs: Sequence[Results]) -> list[str]:
    """What asking has cost, all runs together; nothing, if nobody was asked."""
    used = [run.get(TASK, {}).get("usage", {}) for run in runs]
    sums = {k: sum(one.get(k) or 0 for one in used) for k in ("calls", "cached")}
    if not any(sums.values()):
        return []
    tokens = [sum(one.get(f"tokens_{way}") or 0 for one in used) for way in ("in", "out")]
    costs = [one["cost"] for one in used if one.get("cost") is not None]
    cost = f"cost {sum(costs):.4g}" if len(costs) == len(used) else "cost not known for all"
    cost = cost if costs else "cost not known (judge.price_in, judge.price_out)"
    return [
        f"asked: {sums['calls']:,} calls, {sums['cached']:,} answers from the cache, "
        f"{tokens[0]:,} tokens in, {tokens[1]:,} out, {cost}"
    ]


def _by_line(runs: Sequence[Results], what: str, line_of: Callable[[Results], str]) -> list[str]:
    lines: dict[str, list[Results]] = {}
    for run in runs:
        if line := line_of(run):
            lines.setdefault(line, []).append(run)
    one = len(lines) == 1 and len(runs) == sum(map(len, lines.values()))
    return [
        f"{what}: {line}" if one else f"{what}, {_who(these, runs)}: {line}"
        for line, these in lines.items()
    ]


def _threshold(run: Results) -> str:
    metric = (run.get("identity") or {}).get("metric") or {}
    return f"the judge's score is at least {metric.get('threshold', '?')} of 5"


def _unlabelled(run: Results) -> str:
    count = run.get("matrix", {}).get("judge", {}).get("no label", 0)
    return f"{count} of {run['counts']['samples']}" if count else ""


def _judge(run: Results, name: str) -> str:
    """A judge that is not sound says so beside its name: nobody reads the numbers without it."""
    sanity = run.get(TASK, {}).get("sanity")
    verdict = sanity["verdict"] if sanity else "not tested"
    return name if verdict == "sound" else f"{name} ({verdict})"


def _other_settings(runs: Sequence[Results]) -> list[str]:
    """What the command line set, but for what other columns say and where files lie."""
    shown = ("mask.", "judge.", "dataset.root=")
    parts = [text.split() for text in differences(runs)]
    return [" ".join(one for one in mine if not one.startswith(shown)) for mine in parts]


def _who(some: Sequence[Results], runs: Sequence[Results]) -> str:
    """Some of the runs by what tells them apart, or by their number if they are many."""
    if len(some) == len(runs):
        return "all"
    if len(some) > _NAMED:
        return f"{len(some)} of {len(runs)} runs"
    columns = [_choices(runs, group) for group in ("dataset", "model", "cam")]
    columns += [told(runs, group) for group in ("mask", "judge")]
    names = zip(*(column for column in columns if len(set(column)) > 1), strict=True)
    mine = ["·".join(name) for run, name in zip(runs, names, strict=False) if run in some]
    return ", ".join(dict.fromkeys(mine)) or f"{len(some)} of {len(runs)} runs"


def _choices(runs: Sequence[Results], group: str) -> list[str]:
    return [str(run["choices"].get(group, "")) for run in runs]


def _caption(runs: Sequence[Results]) -> str:
    """Data set, and mask if all runs share it."""
    datasets = options(runs, "dataset")
    parts = [datasets[0] if len(datasets) == 1 else f"{len(datasets)} data sets"]
    masks = set(told(runs, "mask"))
    parts += [f"mask={masks.pop()}"] if len(masks) == 1 else []
    return f"{', '.join(parts)}: prediction × judge"
