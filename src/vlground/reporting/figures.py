"""The pictures of `vlground-report --figures`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlground.reporting.tables import Results, order

if TYPE_CHECKING:
    from PIL import Image


def write_figures(
    runs: Path,
    chosen: Mapping[str, str],
    results: Sequence[Results],
    human: Sequence[Path] = (),
    reference: str | None = None,
    multiverse: bool = False,
) -> list[Path]:
    """Histograms of every data set, figure 3, heat maps, curves: what there are runs of.

    Args:
        runs: The folder; they go to its `figures/`.
        chosen: As for `vlground.report.collect`.
        results: Those that it collects.
        human: CSV files of people's scores, for heat maps of how a judge agrees with them.
        reference: The run that others are held against, by name.
        multiverse: Also the curves of `vlground.multiverse`.

    Returns:
        What was written.

    Raises:
        VlgroundError: If a file of people's scores cannot be read.
    """
    drawn = _spreads(runs)
    tasks = {result.get("task") for result in results}
    if "explanation" in tasks:
        from vlground.alignment import figures

        drawn |= figures(runs, chosen, human, reference)
    if "shortcut" in tasks:
        drawn |= _dose_responses(runs, chosen)
    if multiverse:
        from vlground.multiverse import figures as specification_curves

        drawn |= specification_curves(runs, results, chosen.get("experiment"))
    (runs / "figures").mkdir(exist_ok=True)
    written = []
    for name, picture in drawn.items():
        written.append(runs / "figures" / f"{name}.png")
        picture.save(written[-1])
    return written


def _spreads(runs: Path) -> "dict[str, Image.Image]":
    from vlground.page.reading import read
    from vlground.page.spreads import pairs, singles
    from vlground.plots import figure_3

    whole, _ = read(runs)
    whole.sort(key=lambda run: order(run.results))
    spreads = {f"histograms_{dataset}": rows for dataset, rows in singles(whole).items()}
    if paired := pairs(whole):
        spreads["figure_3"] = paired
    return {name: figure_3(rows) for name, rows in spreads.items()}


def _dose_responses(runs: Path, chosen: Mapping[str, str]) -> "dict[str, Image.Image]":
    from vlground.shortcuts.figure import dose_response_figure
    from vlground.shortcuts.models import read_models, settings_of

    drawn = {}
    for number, setting in enumerate(settings_of(runs, chosen)):
        if curves := dose_response_figure(read_models(runs, chosen, setting)):
            drawn[f"dose_response_{number}" if number else "dose_response"] = curves
    return drawn
