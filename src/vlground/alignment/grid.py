"""Heat maps over alpha and beta of the sigmoid mask: of any score, or of the agreement with people.

They show what AutoXplain's sweep shows; its optimum is marked as published and nothing more.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vlground.alignment.analysis import Alignment
from vlground.alignment.runs import PAPER, sigmoid_of
from vlground.errors import VlgroundError
from vlground.page.options import differing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUPS = ("dataset", "model", "cam", "judge")
_CELL = 0.95, 0.72  # inches, wide and high
_LEAST = 5.0, 3.0  # of a panel, with its axes
_INK, _PALE = "#1c1e21", "#ffffff"


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        alpha: Of its mask.
        beta: Of its mask.
        panel: What else tells it apart; runs of one panel differ in alpha and beta alone.
        value: None if it is not defined.
        low: Lower end of its interval, or None.
        high: Upper end, or None.
        n: Number of samples it is of.
    """

    alpha: float
    beta: float
    panel: str
    value: float | None
    low: float | None
    high: float | None
    n: int


def is_grid(results: Sequence[Mapping[str, Any]]) -> bool:
    """Whether runs with the sigmoid mask have two alphas or two betas at least."""
    return len({sigmoid_of(one) for one in results} - {None}) > 1


def grid_figure(results: Sequence[Mapping[str, Any]], score: str) -> Image.Image:
    """A score over alpha and beta, one panel for each model, CAM, judge and data set.

    Args:
        results: What `results.json` of the runs says; runs with other masks are left out.
        score: Name of a score (`judge_score`, `correct_high`, …).

    Returns:
        RGB. A cell without a run is hatched and says so; so is one whose run lacks the score.

    Raises:
        VlgroundError: No run has the sigmoid mask, or none has the score, or two runs share a cell.
    """
    cells = []
    for result, panel in zip(results, _panels(results), strict=True):
        mask, found = sigmoid_of(result), result["scores"].get(score)
        if mask is not None:
            ends = (found[name] for name in ("value", "low", "high", "n")) if found else None
            cells.append(Cell(*mask, panel, *(ends or (None, None, None, 0))))
    if cells and not any(score in result["scores"] for result in results):
        known = ", ".join(sorted({name for result in results for name in result["scores"]}))
        raise VlgroundError(f"score={score}: no run has it; there are {known}")
    return draw(cells, score.replace("_", " "))


def alignment_figure(
    alignment: Alignment, results: Sequence[Mapping[str, Any]], statistic: str = "pearson"
) -> Image.Image:
    """A statistic of the agreement with people over alpha and beta.

    Args:
        alignment: From `vlground.alignment.analysis.align`.
        results: Of the same runs, in the same order.
        statistic: One of `vlground.metrics.agreement.AGREEMENT`.

    Returns:
        As `grid_figure`.

    Raises:
        VlgroundError: No run has the sigmoid mask, or two runs share a cell.
    """
    cells = []
    for run, panel in zip(alignment.runs, _panels(results), strict=True):
        found = run.agreement[statistic]
        if run.sigmoid is not None:
            cells.append(Cell(*run.sigmoid, panel, found.value, found.low, found.high, found.n))
    names = {"pearson": "Pearson's r", "mae": "mean absolute error"}
    return draw(cells, f"{names.get(statistic, statistic)}, judge and people")


def draw(cells: Sequence[Cell], label: str) -> Image.Image:
    """Draw heat maps on one scale of colours.

    Args:
        cells: Of all panels.
        label: What the values are.

    Raises:
        VlgroundError: There is no cell, or two of one panel have the same alpha and beta.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    _check(cells)
    alphas = sorted({cell.alpha for cell in cells})
    betas = sorted({cell.beta for cell in cells})
    panels = list(dict.fromkeys(cell.panel for cell in cells))
    values = [cell.value for cell in cells if cell.value is not None]
    scale = Normalize(*((min(values), max(values)) if values else (0, 1)))
    colours = ScalarMappable(scale, "cividis")
    # Of a small grid, too, the titles and the scale's label are to be seen whole.
    width = max(_LEAST[0], 2.2 + _CELL[0] * len(betas))
    size = (width, max(_LEAST[1], 1.1 + _CELL[1] * len(alphas)) * len(panels))
    figure = Figure(figsize=size, dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        mine = {(cell.alpha, cell.beta): cell for cell in cells if cell.panel == panel}
        _panel(axis, mine, alphas, betas, colours)
        axis.set_title(panel, loc="left", fontsize=10, fontweight="bold")
    figure.colorbar(colours, ax=axes.tolist(), label=label)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")


def _panel(
    axis: "Axes",
    cells: Mapping[tuple[float, float], Cell],
    alphas: Sequence[float],
    betas: Sequence[float],
    colours: Any,  # noqa: ANN401 - matplotlib's
) -> None:
    from matplotlib.patches import Rectangle

    for row, alpha in enumerate(alphas):
        for column, beta in enumerate(betas):
            cell = cells.get((alpha, beta))
            value = None if cell is None else cell.value
            fill = "#f1f2f0" if value is None else colours.to_rgba(value)
            hatch = "///" if value is None else None
            corner = (column - 0.5, row - 0.5)
            box = Rectangle(corner, 1, 1, facecolor=fill, edgecolor="#c9cccb", hatch=hatch)
            axis.add_patch(box)
            text, size = _text(cell), "small" if value is not None else "x-small"
            pale = value is not None and float(np.dot(fill[:3], (0.3, 0.59, 0.11))) < 0.5
            plain = {"facecolor": "#f1f2f0", "edgecolor": "none", "pad": 1.5}
            axis.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=size,
                color=_PALE if pale else _INK,
                bbox=plain if value is None else None,
            )
            if (alpha, beta) == (PAPER["alpha"], PAPER["beta"]):
                inner = (column - 0.46, row - 0.46)
                axis.add_patch(Rectangle(inner, 0.92, 0.92, fill=False, edgecolor="#d1431f", lw=2))
                axis.text(
                    column,
                    row + 0.36,
                    "paper: 25, 0.6",
                    ha="center",
                    va="center",
                    fontsize="xx-small",
                    color=_PALE if pale else _INK,
                )
    axis.set_xlim(-0.5, len(betas) - 0.5)
    axis.set_ylim(-0.5, len(alphas) - 0.5)
    axis.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axis.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axis.set_xlabel("beta (threshold)")
    axis.set_ylabel("alpha (sharpness)")
    axis.tick_params(length=0)


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "no run"
    if cell.value is None:
        return "no value"
    ends = "" if cell.low is None or cell.high is None else f"{cell.low:.2f} to {cell.high:.2f}\n"
    return f"{cell.value:.3f}\n{ends}n = {cell.n:,}"


def _panels(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each run what tells it apart from others beside alpha and beta."""
    grid = [result for result in results if sigmoid_of(result) is not None]
    varied = [g for g in _GROUPS if len({str(one["choices"].get(g)) for one in grid}) > 1]
    shown = varied or ["dataset", "model", "cam"]
    names = []
    for result, options in zip(results, differing(results), strict=True):
        left = {k: v for k, v in options.items() if k not in ("data", "mask.alpha", "mask.beta")}
        choices = [str(result["choices"].get(group, "")) for group in shown]
        names.append(" ".join([*choices, *(f"{name}={value}" for name, value in left.items())]))
    return names


def _check(cells: Sequence[Cell]) -> None:
    if not cells:
        raise VlgroundError("mask=sigmoid: no run has this mask, so there is no alpha and beta")
    places = [(cell.panel, cell.alpha, cell.beta) for cell in cells]
    if twice := [place for place in places if places.count(place) > 1]:
        panel, alpha, beta = twice[0]
        told = f"{panel}: several runs have mask.alpha={alpha:g} mask.beta={beta:g}"
        raise VlgroundError(f"{told}; choose runs with experiment=NAME or limit the folder")
