"""Specification curves: every model's score under every setting, and which setting that is."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vlground.labels import COLUMNS
from vlground.multiverse.grid import Grid
from vlground.multiverse.ranks import Stability
from vlground.plots import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (BLUE, ORANGE, "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
_SCORES = ("pointing_game", "io_ratio", "iou_soft", "wdp_soft", "wdp_binary", "pg_uncertainty")
_COLUMNS = 3  # beside each other


def specification_curves(found: Sequence[Stability], grid: Grid) -> Image.Image:
    """A column a score: above its values under all settings, below the options of each setting.

    Args:
        found: The scores of one data set. Those of which no option is swept are left out; of the
            others at most three are drawn, first those with an order that some setting changes.
        grid: The settings.

    Returns:
        RGB. Settings are sorted by the mean of the models; where the order of the models is not
        the default's, the ground is grey.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    varied = [one for one in found if one.means.shape[1] > 1 and one.score in _SCORES]
    varied.sort(key=lambda one: (one.same == 1, _SCORES.index(one.score)))
    drawn = sorted(varied[:_COLUMNS], key=lambda one: _SCORES.index(one.score))
    rows = [sum(len(values) for _, values in grid.touching(one.score)) for one in drawn]
    # Without pyplot: nothing global, whatever else draws in this process.
    size = (4.4 * max(1, len(drawn)), 2.9 + 0.17 * max(rows, default=0))
    figure = Figure(figsize=size, dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    if drawn:
        heights = [2.6, 0.17 * max(rows)]
        panels = figure.subplots(2, len(drawn), squeeze=False, height_ratios=heights, sharex="col")
        for (above, below), one in zip(panels.T, drawn, strict=True):
            settings = np.argsort(one.means.mean(axis=0), kind="stable")
            _values(above, one, settings)
            _options(below, one, grid, settings)
        panels[0, 0].legend(frameon=False, fontsize="x-small")
        figure.suptitle(found[0].dataset, x=0.01, ha="left", fontsize=11, fontweight="bold")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")


def _values(panel: "Axes", one: Stability, settings: np.ndarray) -> None:
    """A line a model, and where the order is another one."""
    places = np.arange(len(settings))
    other = ~np.all(one.signs == one.signs[:, :1], axis=0)[settings]
    for place in places[other].tolist():
        panel.axvspan(place - 0.5, place + 0.5, color="0.9", linewidth=0)
    for number, model in enumerate(one.models):
        colour = _COLOURS[number % len(_COLOURS)]
        values = one.means[number, settings]
        panel.plot(places, values, drawstyle="steps-mid", color=colour, linewidth=1.2, label=model)
    if one.means.max() > 1:  # WDP as a mean distance has another unit than as a share
        panel.set_yscale("symlog", linthresh=1)
    default = int(np.flatnonzero(settings == 0)[0])
    panel.axvline(default, color="0.3", linestyle=":", linewidth=1)
    told = f"{COLUMNS[one.score]}: same order in {100 * one.same:.0f} % of {len(settings)}"
    panel.set_title(told, loc="left", fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize="small", labelbottom=False)
    panel.set_xlim(-0.5, len(settings) - 0.5)


def _options(panel: "Axes", one: Stability, grid: Grid, settings: np.ndarray) -> None:
    """A row an option's value, marked under the settings that have it; defaults are bold."""
    order = [grid.settings(one.score)[place] for place in settings]
    labels: list[str] = []
    for option, values in grid.touching(one.score):
        for number, value in enumerate(values):
            there = [place for place, one in enumerate(order) if getattr(one, option) == value]
            colour = "0.2" if number == 0 else "0.55"
            panel.plot(there, [len(labels)] * len(there), "|", color=colour, markersize=6)
            labels.append(f"{option}={str(value).lower()}")
    panel.set_yticks(range(len(labels)), labels, fontsize=6)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="x", labelsize="small")
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel("settings, by the mean of the models (dotted: the default)", fontsize=7)
