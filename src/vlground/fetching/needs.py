"""What the cells of a sweep need that vlground does not carry."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What is known of a need; None: unknown.

    Attributes:
        size: In words.
        licence: Of it.
        checksum: See `vlground.fetching.transfer.check`; of the archive if there is one.
        url: Where it can be had without a person.
        unpack: Members of the archive at `url`; empty: what is there is the file itself.
        count: How many files each of its patterns with a `*` stands for.
        steps: What a person has to do where there is no `url`, one after the other.
        note: Anything else.
    """

    size: str | None = None
    licence: str | None = None
    checksum: str | None = None
    url: str | None = None
    unpack: tuple[str, ...] = ()
    count: int | None = None
    steps: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class HubNeed:
    """Some files of a repository on the hub.

    Attributes:
        name: Of the repository.
        revision: Commit, branch or tag; None: the newest.
        files: As `vlground.weights.HubFiles.files`.
        facts: What is known of it.
        option: `group=option`, and what of it needs them; of several the first.
    """

    name: str
    revision: str | None
    files: tuple[str, ...]
    facts: Facts
    option: str = field(compare=False)


@dataclass(frozen=True)
class FileNeed:
    """Files of a folder.

    Attributes:
        name: What they are called.
        folder: Where they belong; None: an option has to say it first.
        patterns: Below the folder, each to be matched by one file at least.
        facts: What is known of them.
        option: See `HubNeed`.
        asks: The option that has to be given, if `folder` is None.
    """

    name: str
    folder: Path | None
    patterns: tuple[str, ...]
    facts: Facts
    option: str = field(compare=False)
    asks: str = ""

    @property
    def missing(self) -> list[str]:
        """What is not there of each pattern: nothing matches it, or not as many as there are."""
        found = {
            pattern: 0 if self.folder is None else sum(1 for _ in self.folder.glob(pattern))
            for pattern in self.patterns
        }
        told = []
        for pattern, number in found.items():
            expected = self.facts.count if "*" in pattern else None
            if number == 0:
                told.append(f"no {pattern}")
            elif expected is not None and number < expected:
                told.append(f"only {number:,} of {expected:,} {pattern}")
        return told


@dataclass(frozen=True)
class PackageNeed:
    """A Python package that carries weights.

    Attributes:
        name: As pip calls it.
        module: As Python calls it.
        facts: What is known of it.
        option: See `HubNeed`.
    """

    name: str
    module: str
    facts: Facts
    option: str = field(compare=False)


Need = HubNeed | FileNeed | PackageNeed


@cache
def catalogue() -> dict[str, Any]:
    """What is known of weights and data, `catalogue.toml`."""
    return tomllib.loads(files("vlground.fetching").joinpath("catalogue.toml").read_text("utf-8"))


def facts_of(entry: Mapping[str, Any]) -> Facts:
    """The facts of an entry of the catalogue."""
    names = ("size", "licence", "checksum", "url", "count", "note")
    return Facts(
        **{name: entry[name] for name in names if name in entry},
        unpack=tuple(entry.get("unpack", ())),
        steps=tuple(entry.get("steps", ())),
    )


def needs_of(cells: Sequence[tuple[Mapping[str, str], Node]]) -> list[Need]:
    """Everything that some cells need, each once.

    Args:
        cells: Choices (group -> option) and resolved configuration of each.

    Raises:
        VlgroundError: If a library has no weights of the name that an option gives.
    """
    from vlground.fetching.data import data_needs
    from vlground.fetching.models import model_needs

    found: dict[Need, None] = {}
    for choices, node in cells:
        task = node.get("task", {})
        read = [*task.get("reads", ()), *task.get("scores_with", ()), "judge", "detector", "reward"]
        for group in dict.fromkeys(read):
            part = node.get(group)
            if not isinstance(part, Mapping) or group not in choices:
                continue
            needs: Iterable[Need] = model_needs(group, choices, part)
            if group == "dataset":
                needs = data_needs(f"dataset={choices[group]}", part)
            # The first of equals stays: option names who asked for it first.
            for need in needs:
                found.setdefault(need)
    return list(found)
