"""Dose and response as a picture."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from vlground.plots import BLUE, ORANGE
from vlground.shortcuts.models import Model
from vlground.shortcuts.verdict import names_of

_COLUMNS = 3
_COLOURS = (BLUE, ORANGE, "#2ca02c", "#d62728", "#9467bd")


def dose_response_figure(models: Sequence[Model]) -> Image.Image | None:
    """Every signal against the poison rate: a dot a model, a line through the means of a rate.

    Args:
        models: Those without a poison rate are left out.

    Returns:
        RGB, a panel a signal and a colour an architecture; None without two rates.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    known = [model for model in models if model.poison is not None]
    signals = names_of(known)
    if len({model.poison for model in known}) < 2:
        return None
    columns = min(_COLUMNS, len(signals))
    rows = -(-len(signals) // columns)
    # Without pyplot: nothing global, whatever else draws in this process.
    figure = Figure(figsize=(3.0 * columns, 2.5 * rows), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    names = {model.architecture: model.name for model in known}
    for panel, signal in zip(panels, signals, strict=False):
        for (architecture, name), colour in zip(names.items(), _COLOURS, strict=False):
            same = [m for m in known if m.architecture == architecture and signal in m.signals]
            if not same:
                continue
            rates = np.array([m.poison for m in same], dtype=np.float64)
            values = np.array([m.signals[signal] for m in same])
            panel.plot(rates, values, "o", color=colour, alpha=0.5, markersize=4)
            levels = np.unique(rates)
            means = [float(values[rates == level].mean()) for level in levels]
            panel.plot(levels, means, "-", color=colour, linewidth=1.2, label=name)
        panel.set_title(signal, loc="left", fontsize=10)
        panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize="small")
    for panel in panels[len(signals) :]:
        panel.set_axis_off()
    if len(names) > 1:
        panels[0].legend(frameon=False, fontsize="small")
    figure.supxlabel("pictures of the class with the artefact, in training", fontsize=9)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")
