"""What the paper's figures 3 and 9 to 14 are drawn from: scores of runs, paired by data set."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vlground import tracking
from vlground.identity import digest
from vlground.labels import BASELINES
from vlground.page.reading import Run
from vlground.plots import HISTOGRAMS, Spread

OUT = "_ood"  # `X_ood` is the data set out of distribution that `X` is compared with


def pairs(runs: Sequence[Run]) -> list[Spread]:
    """In and out of distribution, for every model and CAM that has run on `X` and on `X_ood`.

    The two runs agree in everything but the data set and what was selected of it. Baselines, which
    do not look at the image, are left out.
    """
    found: dict[tuple[str, str], Run] = {}
    for run in _drawable(runs):
        place = _setting(run), _dataset(run)
        # Of the same data, the run with more of them.
        if place not in found or len(_values(run)["io_ratio"]) > len(
            _values(found[place])["io_ratio"]
        ):
            found[place] = run
    return [
        _spread([run, found[setting, dataset + OUT]])
        for (setting, dataset), run in found.items()
        if (setting, dataset + OUT) in found
    ]


def singles(runs: Sequence[Run]) -> dict[str, list[Spread]]:
    """Data set -> one spread of each run on it, baselines left out."""
    found: dict[str, list[Spread]] = {}
    for run in _drawable(runs):
        found.setdefault(_dataset(run), []).append(_spread([run]))
    return found


def _drawable(runs: Sequence[Run]) -> Iterator[Run]:
    for run in runs:
        whole = run.rows is not None and set(HISTOGRAMS) <= set(run.rows.columns)
        if whole and run.results["choices"].get("cam") not in BASELINES:
            yield run


def _spread(runs: Sequence[Run]) -> Spread:
    choices = {k: v for k, v in runs[0].results["choices"].items() if k != "dataset"}
    return Spread(tracking.title(choices), {_dataset(run): _values(run) for run in runs})


def _values(run: Run) -> Mapping[str, np.ndarray]:
    assert run.rows is not None
    return {score: run.rows[score].to_numpy(dtype=np.float64) for score in HISTOGRAMS}


def _dataset(run: Run) -> str:
    return str(run.results["choices"].get("dataset", ""))


def _setting(run: Run) -> str:
    """Everything that two runs of a pair have in common."""
    results: Mapping[str, Any] = run.results
    identity = results.get("identity") or {}
    stage = dict(identity.get("stage") or {})
    reads = {k: v for k, v in (stage.pop("reads", None) or {}).items() if k != "dataset"}
    choices = {k: v for k, v in results["choices"].items() if k != "dataset"}
    return digest([choices, identity.get("metric"), identity.get("mask"), stage, reads])
