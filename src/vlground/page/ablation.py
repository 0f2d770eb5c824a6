"""What runs have chosen, for ablations: runs that differ in one choice alone form a line."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlground.page.options import differing
from vlground.reporting.tables import tells

_GROUPS = (
    *("task", "dataset", "model", "cam", "mask", "judge"),
    *("detector", "reward", "metric"),
)


def settings(results: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """For each run every choice and option in which runs of its task differ.

    Choices first, then options as their identities have them, then what only command lines say,
    such as `task.arm` and `seed`.

    >>> runs = [{"choices": {"cam": cam}, "overrides": ["task.arm=all"]} for cam in ("a", "b")]
    >>> settings(runs)
    [{'cam': 'a'}, {'cam': 'b'}]
    """
    found = [
        {**_choices(result), **_said(result), **options}
        for result, options in zip(results, differing(results), strict=True)
    ]
    tasks = [result["choices"].get("task", "") for result in results]
    varied = {
        (task, key)
        for task in {*tasks}
        for key in {key for one in found for key in one}
        if len({one.get(key, "") for one, of in zip(found, tasks, strict=True) if of == task}) > 1
    }
    return [
        {key: value for key, value in one.items() if (task, key) in varied}
        for one, task in zip(found, tasks, strict=True)
    ]


def _choices(result: Mapping[str, Any]) -> dict[str, str]:
    return {g: str(result["choices"][g]) for g in _GROUPS if g in result["choices"]}


def _said(result: Mapping[str, Any]) -> dict[str, str]:
    pairs = (one.lstrip("+").partition("=") for one in result.get("overrides", []))
    # `~reward.miss` takes away what another part of the command brought.
    return {k: v for k, _, v in pairs if k == "seed" or (tells(k) and not k.startswith("~"))}
