"""The tables of `vlground-report`: grounding scores, and the matrix of models that decide."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlground.identity import FILES, IRRELEVANT
from vlground.labels import BASELINES, COLUMNS, FAITHFULNESS_COLUMNS, MATRIX_COLUMNS
from vlground.published import interval

Results = Mapping[str, Any]
# Tasks with tables of their own.
APART = (
    *("explanation", "shortcut", "benchmark", "sampling", "scoring", "rejection_sampling"),
    *("reward_model", "word_reward", "claim_checking", "branch_checking"),
    "rejection_finetuning",
)


def tables(results: Sequence[Results]) -> list[tuple[str, list[Results], Mapping[str, str]]]:
    """Caption, runs and columns of every table: scores, faithfulness, the matrix; of who has them.

    One table of scores for all data sets if there are several. Runs of the tasks `APART` are left
    out.
    """
    own = [result for result in results if result.get("task") not in APART]
    faithful = [r for r in own if any(name in r["scores"] for name in FAITHFULNESS_COLUMNS)]
    others = [result for result in own if result not in faithful]
    decided = [result for result in others if "accuracy" in result["scores"]]
    whole: list[tuple[str, list[Results], Mapping[str, str]]]
    # A run of which every sample is flagged has no score, and is a row all the same.
    drawn = [r for r in others if r.get("task") == "grounding" or set(COLUMNS) & set(r["scores"])]
    whole = [(caption(drawn), drawn, COLUMNS)] if drawn or (others and not decided) else []
    if faithful:
        whole.append((f"{caption(faithful)}: faithfulness", faithful, FAITHFULNESS_COLUMNS))
    if decided:
        what = "decision × grounding" if any(map(decides, decided)) else "accuracy"
        whole.append((f"{caption(decided)}: {what}", decided, MATRIX_COLUMNS))
    return whole


def table(
    results: Sequence[Results], separator: str, columns: Mapping[str, str] = COLUMNS
) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of a table, one row a run.

    Of several data sets, as the paper's table 1: rows grouped by data set and model, each named
    once, and no column for a CAM that all share (`caption` names it).

    Args:
        results: The runs, in the tables' order.
        separator: Between a value and its interval.
        columns: Score -> head, of those to show where a run has them.
    """
    names = [name for name in columns if any(name in r["scores"] for r in results)]
    several = len(options(results, "dataset")) > 1
    # A group in which all runs have chosen the same says nothing, but for model and CAM.
    groups = ["dataset", "model"] if several else ["model", "cam"]
    others = [name for name in ("cam", "metric", "mask") if name not in groups]
    groups += [name for name in others if len(options(results, name)) > 1]
    if "mask" not in groups and options(results, "mask") not in ([""], ["none"]):
        groups.append("mask")
    counted = "decisions" if columns is MATRIX_COLUMNS else "n"
    settings = differences(results)
    heads = [group.replace("dataset", "data set") for group in groups]
    heads += ["options"] if any(settings) else []
    heads += [counted, *(columns[name] for name in names)]
    rows: list[list[str]] = []
    above: list[str] = []
    for result, setting in zip(results, settings, strict=True):
        chosen = [str(result["choices"].get(group, "")) for group in groups]
        chosen += [setting] if any(settings) else []
        known = _in_common(chosen[:2], above) if several else 0
        above = chosen
        scores = [interval(result["scores"].get(name), separator) for name in names]
        n = result["counts"]["scored"] if counted == "n" else result["scores"]["accuracy"]["n"]
        rows.append([*[""] * known, *chosen[known:], str(n), *scores])
    return heads, rows


def differences(results: Sequence[Results]) -> list[str]:
    """What each run's command line set beside its choices, as far as not all runs did.

    Without it the rows of a sweep over `cam.layer` would look the same.
    """
    told = [
        [one for one in result.get("overrides", []) if tells(one.split("=")[0])]
        for result in results
    ]
    return [
        " ".join(one for one in mine if not all(one in others for others in told)) for mine in told
    ]


def tells(option: str) -> bool:
    """Whether an option says something of a run, and not only where its files lie."""
    name = option.rpartition(".")[2]
    return "." in option and name not in IRRELEVANT | FILES | {"folder", "review", "api_key_env"}


def decides(result: Results) -> bool:
    """Whether a run's model says of texts that they fit; a classifier only has an accuracy."""
    return "matched_accuracy" in result["scores"]


def caption(results: Sequence[Results]) -> str:
    """The data set's name; of several data sets the CAM that all runs share, if they do."""
    datasets, cams = options(results, "dataset"), options(results, "cam")
    if len(datasets) == 1:
        return datasets[0]
    return f"{len(datasets)} data sets" + (f", cam={cams[0]}" if len(cams) == 1 else "")


def order(result: Results) -> tuple[Any, ...]:
    """Sorts runs: by data set and model, baselines after the CAMs they stand beside, then masks."""
    choices = result["choices"]
    cam = choices.get("cam", "")
    place = BASELINES.index(cam) + 1 if cam in BASELINES else 0
    last = " ".join([*result.get("overrides", []), str(result.get("fingerprint", ""))])
    identity = result.get("identity")
    mask = identity.get("mask") if isinstance(identity, Mapping) else None
    # As numbers: 5 stands before 15, whichever way a sweep was started.
    options = mask.items() if isinstance(mask, Mapping) else ()
    numbers = tuple(sorted((k, float(v)) for k, v in options if isinstance(v, int | float)))
    first = choices.get("dataset", ""), choices.get("model", ""), place, cam
    return *first, choices.get("mask", ""), numbers, last


def options(results: Sequence[Results], group: str) -> list[str]:
    """The different options that runs have chosen in a group."""
    return sorted({str(result["choices"].get(group, "")) for result in results})


def _in_common(names: Sequence[str], above: Sequence[str]) -> int:
    """With how many equal names two rows begin."""
    pairs = list(zip(names, above, strict=False))
    return next((place for place, (a, b) in enumerate(pairs) if a != b), len(pairs))
