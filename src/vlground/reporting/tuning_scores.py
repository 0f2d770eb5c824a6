"""Runs of task=rejection_finetuning put side by side: arms and bases of one setting."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas

from vlground.identity import digest
from vlground.metrics import image_sums
from vlground.metrics.crossed import Crossed, Ratios, crossed
from vlground.page.reading import Run
from vlground.reporting.tuning_ranks import ranks
from vlground.tasks.tuning_arms import ARMS

TASK = "rejection_finetuning"
PAIRS = {  # what the paper claims, and what fine-tuning does at all
    "all − base": ("all", "base"),
    "all − random": ("all", "random"),
    "human − base": ("human", "base"),
    "automatic − base": ("automatic", "base"),
    "automatic − human": ("automatic", "human"),
    "all − automatic": ("all", "automatic"),
    "all − human": ("all", "human"),
    "all − unrefined": ("all", "unrefined"),
    "human − holistic": ("human", "holistic"),
    "random − base": ("random", "base"),
}
_READERS = {
    "chair": image_sums.captions,
    "claims": image_sums.captions,
    "pope": image_sums.pope,
    "mme": image_sums.mme,
}


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs that differ in arm and base alone.

    Attributes:
        runs: Arm -> base -> its run.
        found: `ARM:BENCHMARK/SCORE` and `ARM − ARM:BENCHMARK/SCORE` -> over bases and images.
        images: How many there are.
    """

    runs: Mapping[str, Mapping[str, Run]]
    found: Mapping[str, Crossed] = field(default_factory=dict)
    images: int = 0

    @property
    def bases(self) -> list[str]:
        """All bases of which there is a run."""
        return sorted({base for runs in self.runs.values() for base in runs})

    @property
    def results(self) -> list[Mapping[str, Any]]:
        """Of all runs."""
        return [run.results for runs in self.runs.values() for run in runs.values()]

    @property
    def missing(self) -> list[str]:
        """`ARM of BASE` that an arm or a base has elsewhere, and not here."""
        return [
            f"{arm} of {base}"
            for arm, runs in self.runs.items()
            for base in self.bases
            if base not in runs
        ]


def settings(runs: Sequence[Run]) -> list[Setting]:
    """Put runs together that can be compared.

    Args:
        runs: Any; those of the task that have rows are taken. Of two runs of one arm and base, the
            first.
    """
    groups: dict[str, dict[str, dict[str, Run]]] = {}
    for run in runs:
        if run.results.get("task") == TASK and run.rows is not None:
            arms = groups.setdefault(_setting(run.results), {})
            arm, base = str(run.results[TASK]["arm"]), str(run.results["choices"]["model"])
            arms.setdefault(arm, {}).setdefault(base, run)
    ordered = ({arm: arms[arm] for arm in ARMS if arm in arms} for arms in groups.values())
    return [_compared(arms) for arms in ordered]


def _setting(results: Mapping[str, Any]) -> str:
    """What is the same of all arms and bases: the images, and all options but the arm."""
    identity = results["identity"]
    reads = dict(identity["stage"]["reads"])
    task = {name: value for name, value in reads.pop("task").items() if name != "arm"}
    reads.pop("model")
    weights = identity["stage"]["checksums"].items()
    others = {name: one for name, one in weights if not name.startswith("model.")}
    return digest([identity["data"], reads, task, others])


def _compared(arms: Mapping[str, Mapping[str, Run]]) -> Setting:
    read = [
        (arm, base, name, kind, rows)
        for arm, runs in arms.items()
        for base, run in runs.items()
        for name, kind, rows in _benchmarks(run)
    ]
    images = sorted({str(one) for *_, rows in read for one in rows["image_id"]})
    scores: dict[str, dict[str, Ratios]] = {}
    for arm, base, name, kind, rows in read:
        for score, ratios in _READERS[kind](rows, images).items():
            scores.setdefault(f"{arm}:{name}/{score}", {})[base] = ratios
    for name, base in dict.fromkeys(
        (name, base) for _, base, name, kind, _ in read if kind == "claims"
    ):
        captions = {a: rows for a, b, n, _, rows in read if (b, n) == (base, name)}
        for arm, ratios in ranks(captions, images).items():
            scores.setdefault(f"{arm}:{name}/rank", {})[base] = ratios
    names = list(dict.fromkeys(key.partition(":")[2] for key in scores))
    differences = {
        f"{told}:{name}": (f"{one}:{name}", f"{other}:{name}")
        for told, (one, other) in PAIRS.items()
        for name in names
        if f"{one}:{name}" in scores and f"{other}:{name}" in scores
    }
    return Setting(arms, crossed(scores, differences), len(images))


def _benchmarks(run: Run) -> Iterator[tuple[str, str, pandas.DataFrame]]:
    """Name, metric and rows of each benchmark that has something to be compared."""
    assert run.rows is not None
    kinds = run.results[TASK]["benchmarks"].items()
    for name, kind in sorted(kinds, key=lambda one: [*_READERS, one[1]].index(one[1])):
        rows = run.rows[run.rows["benchmark"] == name]
        # What could not be asked is flagged; the columns of other benchmarks are empty.
        rows = rows[rows["flag"] == ""].dropna(axis="columns", how="all")
        if kind in _READERS and len(rows):
            yield name, kind, rows
