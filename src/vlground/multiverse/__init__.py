"""A multiverse: the models ranked under every combination of the choices that a paper leaves open.

How stable is an order of models if nobody knows how exactly it was measured? Stored maps are
scored under every setting, each score once a setting that differs for it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vlground.multiverse.gathering import Universe, gather
from vlground.multiverse.grid import Grid
from vlground.multiverse.ranks import Stability, stabilities
from vlground.multiverse.tables import options_block, pairs_block, stability_block
from vlground.published import compare, experiments, read_published
from vlground.reporting.block import Block

Results = Mapping[str, Any]


def blocks(runs: Path, results: Sequence[Results], experiment: str | None = None) -> list[Block]:
    """Rank the models of every data set under every setting, from stored maps.

    What is scored once is stored under `runs/evidence`, so a second call is quick, and one that
    was killed goes on where it was.

    Args:
        runs: The folder of runs.
        results: Those to rank; baselines and other tasks are left out, and counted.
        experiment: Whose sweep over options of the metric spans the multiverse; None, or one that
            sweeps none of them: `q_groundcam_multiverse`.

    Returns:
        How stable the order is, which pairs swap, and which option is responsible.

    Raises:
        VlgroundError: If a swept option is none of this metric, or a data set is not there.
    """
    grid = Grid.of(experiment)
    universes, left_out = gather(runs, results, grid)
    found = [one for universe in universes for one in _stabilities(universe)]
    models = list(dict.fromkeys(model for universe in universes for model in universe.models))
    letters = {model: _letter(number) for number, model in enumerate(models)}
    if not found:
        lines = left_out or ["no runs of at least two models on the same samples"]
        return [Block(f"Multiverse {grid.name}: nothing to rank", ["", ""], [], lines)]
    stability = stability_block(found, letters, grid, left_out)
    return [stability, pairs_block(found, letters), options_block(found, grid)]


def figures(
    runs: Path, results: Sequence[Results], experiment: str | None = None
) -> dict[str, Image.Image]:
    """Specification curves of every data set, by name of the file.

    Args:
        runs: As for `blocks`.
        results: As for `blocks`.
        experiment: As for `blocks`.
    """
    from vlground.multiverse.figure import specification_curves

    grid = Grid.of(experiment)
    universes, _ = gather(runs, results, grid)
    return {
        f"multiverse_{universe.dataset}": specification_curves(_stabilities(universe), grid)
        for universe in universes
    }


def _stabilities(universe: Universe) -> list[Stability]:
    """Of the scores that some option touches."""
    found = stabilities(universe, _published(universe))
    return [one for one in found if one.means.shape[1] > 1]


def _published(universe: Universe) -> list[dict[str, float]]:
    """Of each model the published numbers, where the data set has some."""
    numbers: dict[str, dict[str, float]] = {}
    for name, path in experiments().items():
        for row in compare(name, universe.runs, read_published(path)).rows:
            if row.results is not None:
                told = {score: number.value for score, number in row.published.items()}
                numbers.setdefault(str(row.results["fingerprint"]), {}).update(told)
    return [numbers.get(str(run["fingerprint"]), {}) for run in universe.runs]


def _letter(number: int) -> str:
    """A to Z, then M26 and so on."""
    return chr(ord("A") + number) if number < 26 else f"M{number}"
