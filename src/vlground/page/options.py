"""Which options tell runs apart: the columns of the table beside the choices."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_GROUPS = ("dataset", "model", "cam", "mask", "judge", "detector", "reward", "metric")


def choice_columns(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Groups of choices worth a column: data set, model and CAM always, others if they differ."""
    always = ("dataset", "model", "cam")
    found: dict[str, set[str]] = {group: set() for group in _GROUPS}
    for result in results:
        for group in found:
            found[group].add(str(result["choices"].get(group, "")))
    return [group for group in _GROUPS if group in always or len(found[group]) > 1]


def differing(results: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """For each run its options that differ between runs of otherwise equal choice.

    An option of a CAM is compared among runs of that CAM, one of the metric among those of that
    metric, and so on: that two CAMs have different options says nothing that their names do not.

    >>> run = {"choices": {"metric": "m"}, "identity": {"metric": {"tie": "any", "tau": 0.7}}}
    >>> other = {"choices": {"metric": "m"}, "identity": {"metric": {"tie": "all", "tau": 0.7}}}
    >>> differing([run, other])
    [{'metric.tie': 'any'}, {'metric.tie': 'all'}]
    """
    leaves = [dict(_leaves(result)) for result in results]
    values: dict[tuple[str, str], set[str]] = {}
    members: dict[str, list[tuple[str, int]]] = {}
    for place, found in enumerate(leaves):
        for name in found:
            members.setdefault(name, []).append((_peers(name, results[place]), place))
    for name, places in members.items():
        for peers, place in places:
            values.setdefault((name, peers), set()).add(leaves[place][name])
    telling = {name for (name, _), distinct in values.items() if len(distinct) > 1}
    return [{name: found[name] for name in sorted(telling) if name in found} for found in leaves]


def _peers(name: str, result: Mapping[str, Any]) -> str:
    """The choice whose runs an option is compared among."""
    group = name.split(".")[0]
    return str(result["choices"].get("dataset" if group == "data" else group, ""))


def _leaves(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    identity = result.get("identity")
    if not isinstance(identity, Mapping):
        return
    stage = identity.get("stage")
    reads = stage.get("reads") if isinstance(stage, Mapping) else None
    tree = {
        name: identity.get(name)
        for name in ("metric", "mask", "judge", "detector", "reward", "data")
    }
    tree |= {name: identity.get(name) for name in ("limit", "shard", "sample")}
    if isinstance(reads, Mapping):
        tree |= {name: reads.get(name) for name in ("model", "cam", "precision")}
    for name, node in tree.items():
        yield from _flat(name, node)


def _flat(name: str, node: object) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, child in node.items():
            # What `_target_` says, the choice says in a word.
            if key != "_target_":
                yield from _flat(f"{name}.{key}", child)
    else:
        # The command line gives 25 where a file of options says 25.0.
        whole = isinstance(node, float) and node.is_integer()
        yield name, "none" if node is None else f"{node:.0f}" if whole else str(node)
