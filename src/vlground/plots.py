"""Pictures; pure functions that return images."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from vlground.data.sample import Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 320  # of the longer side, in pixels
PANEL_SIDE = 208  # of a panel of figure 2
PANEL_GUTTER = 16  # on either side of it, this part of its width repeats its edge
PANELS = (
    "photo and box",
    "activation map",
    "soft activations A",
    "binary activations",
    "mask of the box M",
    "distance to the box D",
    "soft penalties A·D",
    "binary penalties",
    "peaks after NMS",
)
BLUE, ORANGE = "#1f77b4", "#ff7f0e"  # of histograms, in and out of distribution (paper)
HISTOGRAMS = {"iou_soft": "IoU soft", "io_ratio": "IO_ratio"}
_BINS = 20
_GREEN, _RED, _INK = (80, 255, 120), (255, 92, 92), (16, 16, 20)


@dataclass(frozen=True, eq=False)
class Spread:
    """What the paper's figures 3 and 9 to 14 show of one model and CAM.

    Attributes:
        title: Model and CAM.
        values: Data set -> score -> `(n,)` values of its samples, 0..1, NaN where there is none;
            one data set, or the one in distribution and then the one out of it.
    """

    title: str
    values: Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Panels:
    """What the paper's figure 2 shows of one sample, all in the metric's resolution.

    Attributes:
        soft: `(h, w)` normalised map.
        binary: `(h, w)` bool, where it reaches the threshold.
        mask: `(h, w)` bool, the pixels of the box.
        distance: `(h, w)` pixels to the box.
        peaks: `(p, 3)` column, row and value of the peaks that suppression leaves.
    """

    soft: np.ndarray
    binary: np.ndarray
    mask: np.ndarray
    distance: np.ndarray
    peaks: np.ndarray


def overlay(image: Image.Image, activation: np.ndarray, boxes: np.ndarray) -> Image.Image:
    """The photo under its activation map, with the ground truth boxes.

    Args:
        image: RGB, `width × height`.
        activation: `(height, width)` map, drawn from its minimum (clear) to its maximum.
        boxes: `(k, 4)` x0, y0, x1, y1 in pixels of the image.

    Returns:
        RGB, at most `SIDE` pixels long.
    """
    from matplotlib import colormaps

    scale = min(1.0, SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    finite = activation[np.isfinite(activation)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    strength = (activation - low) / (high - low) if high > low else np.zeros_like(activation)
    grey = Image.fromarray(np.uint8(255 * np.nan_to_num(strength))).resize(size)
    heat = np.asarray(grey, dtype=np.float32)[..., None] / 255
    colour = np.asarray(colormaps["inferno"](heat[..., 0]), dtype=np.float32)[..., :3]
    photo = np.asarray(image.resize(size), dtype=np.float32) / 255
    # What is not activated darkens, so that the eye falls on what is.
    mixed = photo * (0.45 + 0.15 * heat) + colour * (0.15 + 0.4 * heat)
    picture = Image.fromarray(np.uint8(255 * mixed.clip(0, 1)))
    draw = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in (boxes * scale).tolist():
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=(80, 255, 120), width=2)
    return picture


def shown(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The samples with a picture: the same ones in every run, chosen by hash of their id."""
    by_hash = sorted(samples, key=lambda s: hashlib.sha256(s.id.encode()).hexdigest())
    chosen = {sample.id for sample in by_hash[:count]}
    return [sample for sample in samples if sample.id in chosen]


def figure_2(image: Image.Image, boxes: np.ndarray, panels: Panels) -> Image.Image:
    """The strip of the Q-GroundCAM paper's figure 2: one panel for each name in `PANELS`.

    Args:
        image: RGB, the original.
        boxes: `(k, 4)` x0, y0, x1, y1 in pixels of the image.
        panels: What to show.

    Returns:
        RGB, panels of one size side by side, each with its edge columns repeated on either side:
        lossy compression would otherwise bleed one panel into the next.
    """
    from matplotlib import colormaps

    scale = PANEL_SIDE / max(image.size)
    width, height = (max(16, round(length * scale / 16) * 16) for length in image.size)
    photo = image.resize((width, height))
    soft = _resized(panels.soft, width, height).clip(0, 1)
    distance = _resized(panels.distance, width, height)
    penalties = [
        _resized(activation * panels.distance, width, height)
        for activation in (panels.soft, panels.binary)
    ]
    heat = np.asarray(colormaps["inferno"](soft)[..., :3], dtype=np.float32)
    shade = np.asarray(photo, dtype=np.float32) / 255
    mixed = shade * (0.45 + 0.15 * soft[..., None]) + heat * (0.15 + 0.4 * soft[..., None])
    # One scale for both penalties, or one could not see which map strays farther.
    worst = max(float(penalty.max()) for penalty in penalties) or 1.0
    pictures = [
        photo,
        _picture(mixed),
        _picture(heat),
        _picture(_ramp(_resized(panels.binary, width, height), (1.0, 0.86, 0.5))),
        _picture(_ramp(_resized(panels.mask, width, height), (0.5, 1.0, 0.6))),
        _picture(colormaps["cividis"](distance / (float(distance.max()) or 1.0))[..., :3]),
        *(_picture(_ramp(penalty / worst, (1.0, 0.45, 0.4))) for penalty in penalties),
        _peaks(_picture(shade * 0.5), panels),
    ]
    gutter = width // PANEL_GUTTER
    cells = []
    factors = np.array([width / image.width, height / image.height] * 2)
    for place, picture in enumerate(pictures):
        draw = ImageDraw.Draw(picture)
        for x0, y0, x1, y1 in (boxes * factors).tolist():
            corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
            draw.rectangle(corners, outline=_GREEN, width=2 if place < 2 else 1)
        cells.append(np.pad(np.asarray(picture), ((0, 0), (gutter, gutter), (0, 0)), mode="edge"))
    return Image.fromarray(np.concatenate(cells, axis=1))


def figure_3(spreads: Sequence[Spread]) -> Image.Image:
    """Histograms of scores after the paper's figure 3, one row of panels for each model and CAM.

    With a single data set in each row they are the histograms of figures 9 to 14. Heights are
    shares of a data set's samples, so that data sets of different sizes can be compared; all rows
    have the same bins and a score's panels the same height.

    Args:
        spreads: The rows.

    Returns:
        RGB.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    # Without pyplot: nothing global, whatever else draws in this process.
    figure = Figure(figsize=(7.2, 2.6 * len(spreads)), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(spreads), len(HISTOGRAMS), sharex=True, sharey="col", squeeze=False)
    for row, spread in zip(axes, spreads, strict=True):
        for panel, (score, name) in zip(row, HISTOGRAMS.items(), strict=True):
            for colour, (dataset, columns) in zip(
                (BLUE, ORANGE), spread.values.items(), strict=False
            ):
                _histogram(panel, columns[score], dataset, colour)
            panel.set_xlim(0, 1)
            panel.set_xlabel(name)
            panel.xaxis.set_tick_params(labelbottom=True)
            panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            panel.spines[["top", "right"]].set_visible(False)
            panel.tick_params(labelsize="small")
            # Above the panel, where it hides nothing.
            panel.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize="small")
        row[0].set_ylabel("share of samples")
        height = 9 + 13 * len(spread.values)  # of the legend
        row[0].set_title(spread.title, loc="left", pad=height, fontsize=11, fontweight="bold")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")


def _histogram(panel: "Axes", values: np.ndarray, dataset: str, colour: str) -> None:
    """Bars with an outline, and a dashed line at the mean."""
    known = values[np.isfinite(values)]
    shares = np.full(len(known), 1 / max(1, len(known)))
    bins = np.linspace(0, 1, _BINS + 1).tolist()
    label = f"{dataset}, n = {len(known):,}"
    panel.hist(known, bins, weights=shares, color=colour, alpha=0.4, label=label)
    panel.hist(known, bins, weights=shares, color=colour, histtype="step", linewidth=1.2)
    if len(known):
        panel.axvline(float(known.mean()), color=colour, linestyle="--", linewidth=1)


def _resized(values: np.ndarray, width: int, height: int) -> np.ndarray:
    picture = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def _ramp(strength: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """From nearly black to a colour."""
    ink = np.array(_INK) / 255
    return np.asarray(ink + strength[..., None].clip(0, 1) * (np.array(colour) - ink))


def _picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.uint8(255 * values.clip(0, 1)))


def _peaks(picture: Image.Image, panels: Panels) -> Image.Image:
    """Discs where peaks lie in the box, crosses where not, rings round those that share the top."""
    draw = ImageDraw.Draw(picture)
    rows, columns = panels.soft.shape
    top = float(panels.peaks[:, 2].max()) if len(panels.peaks) else 0.0
    for column, row, value in panels.peaks.tolist():
        x, y = (column + 0.5) * picture.width / columns, (row + 0.5) * picture.height / rows
        inside = bool(panels.mask[int(row), int(column)])
        if inside:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_GREEN, outline=_INK)
        else:
            draw.line((x - 4, y - 4, x + 4, y + 4), fill=_RED, width=3)
            draw.line((x - 4, y + 4, x + 4, y - 4), fill=_RED, width=3)
        if value == top:
            draw.ellipse((x - 9, y - 9, x + 9, y + 9), outline=(255, 255, 255), width=2)
    return picture
