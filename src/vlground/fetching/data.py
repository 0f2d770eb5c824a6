"""What a data set needs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vlground.fetching.needs import FileNeed, Node, catalogue, facts_of


def data_needs(option: str, node: Node) -> Iterator[FileNeed]:
    """The files that the catalogue knows for a data set.

    Args:
        option: `dataset=` and the option.
        node: Its config node.
    """
    target = str(node.get("_target_", ""))
    for entry in catalogue()["data"]:
        if entry["target"] != target or not _is_meant(entry.get("only", {}), node):
            continue
        values = {key: str(value) for key, value in node.items()}
        patterns = tuple(pattern.format_map(values) for pattern in entry["paths"])
        name = f"{target.rpartition('.')[2]} {', '.join(patterns)}"
        root, facts = node.get("root"), facts_of(entry)
        if entry.get("images") and node.get("images"):
            root, patterns = node["images"], tuple(Path(one).name for one in patterns)
            if Path(root).name not in facts.unpack:  # the archive's folder has another name
                steps = facts.steps or (f"Unpack the photos of {facts.url} into {{folder}}",)
                facts = replace(facts, url=None, unpack=(), steps=steps)
        folder = None if root is None else Path(root).expanduser()
        yield FileNeed(name, folder, patterns, facts, option, "dataset.root=DIR")


def _is_meant(only: Node, node: Node) -> bool:
    return all(
        node.get(option) in (value if isinstance(value, list) else [value])
        for option, value in only.items()
    )
