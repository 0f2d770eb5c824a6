"""Faithfulness: does the score depend on what the map highlights? No ground truth is read.

    deletion          area under the score while pixels go, most relevant first   Petsiuk 2018
    insertion         the same while they come                                    Petsiuk 2018
    average_drop      max(0, Y - O) / Y                                           Chattopadhay 2018
    average_increase  whether O > Y                                               Chattopadhay 2018
    road_morf         score - Y when the most relevant pixels are imputed         Rong 2022
    road_lerf         score - Y when the least relevant pixels are                Rong 2022
    road_combined     (road_lerf - road_morf) / 2                                 pytorch-grad-cam

Y is the score of the image and O that of the image times the map in 0-1. A good map has a low
deletion, average_drop and road_morf, and a high insertion, average_increase, road_lerf and
road_combined. All is conditioned on the text and works with any scorer; values are on the scale of
`Faithfulness.scale`. Pixels are those of the model's input, padding among them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from vlground.contracts import Encoded, Scorer
from vlground.errors import VlgroundError
from vlground.geometry import Frame
from vlground.masks.relevance import maskable
from vlground.metrics.perturbation import blurred, exchange, pixel_order
from vlground.metrics.road import impute, road_masks

Baseline = Literal["mean", "black", "blur"]
Measure = Literal["deletion", "insertion", "average", "road"]

SCORES = (
    *("deletion", "insertion", "average_drop", "average_increase"),
    *("road_morf", "road_lerf", "road_combined"),
)


@dataclass(frozen=True)
class Faithfulness:
    """Every choice; where the papers leave one open it says whose the default is.

    Attributes:
        measures: Which are computed: deletion, insertion, average (drop and increase), road; the
            scores of the others are NaN.
        scale: score is the scorer's own: a class logit, a cosine, a log-probability. probability is
            its `match`, that the text fits, and exp is e^score: of a scorer of log-probabilities
            (classifiers with `model.target=log_probability`, answers) the probability, for a
            classifier that of its softmax. auto: `match` of a model that decides, else the score.
        resize: How the map gets to the model's input.
        steps: Of deletion and insertion: this many equal parts of the pixels (Petsiuk: 224; the
            successor of AutoXplain: 30).
        deletion_baseline: What takes the place of a deleted pixel: mean is the mean colour of the
            preprocessing (Petsiuk), black, or the blurred image.
        insertion_baseline: What it is inserted into (Petsiuk: blur).
        average_baseline: What shows where the map is 0 (mean: pytorch-grad-cam, whose inputs are
            normalised).
        blur_sigma: Of the Gaussian blur, in pixels of the input (Petsiuk: 5, cut off at 5 pixels;
            here at 15).
        percentiles: Of ROAD, averaged: the share of pixels that is kept, in percent.
        noise: Standard deviation of ROAD's noise on removed pixels (pytorch-grad-cam).
        seed: Of that noise, and of the order of pixels that tie; the same for all images.
        batch_size: Perturbed images encoded at once; no score depends on it.
        version: Raised when the numbers change, so that stored scores are made anew.

    >>> Faithfulness(steps=0)
    Traceback (most recent call last):
    vlground.errors.VlgroundError: metric.steps=0: expected a whole number from 1 on
    """

    version: ClassVar[int] = 1

    measures: tuple[Measure, ...] = get_args(Measure)
    scale: Literal["auto", "score", "probability", "exp"] = "auto"
    resize: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    steps: int = 30
    deletion_baseline: Baseline = "mean"
    insertion_baseline: Baseline = "blur"
    average_baseline: Baseline = "mean"
    blur_sigma: float = 5.0
    percentiles: tuple[float, ...] = (20, 40, 60, 80)
    noise: float = 0.01
    seed: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "measures", tuple(self.measures))  # OmegaConf hands over lists
        object.__setattr__(self, "percentiles", tuple(self.percentiles))
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal:
                allowed = get_args(kind)
                self._check(name, getattr(self, name) in allowed, f"one of {', '.join(allowed)}")
        known = set(self.measures) <= set(get_args(Measure))
        self._check("measures", known and self.measures, f"some of {', '.join(get_args(Measure))}")
        for name, least in (("steps", 1), ("batch_size", 1), ("seed", 0)):
            whole = isinstance(getattr(self, name), int) and getattr(self, name) >= least
            self._check(name, whole, f"a whole number from {least} on")
        inside = all(0 < percentile < 100 for percentile in self.percentiles)
        self._check("percentiles", inside and self.percentiles, "numbers between 0 and 100")
        self._check("blur_sigma", self.blur_sigma > 0, "a number above 0")
        self._check("noise", self.noise >= 0, "a number from 0 on")

    def _check(self, name: str, holds: object, expected: str) -> None:
        if not holds:
            raise VlgroundError(f"metric.{name}={getattr(self, name)}: expected {expected}")


def faithfulness(
    scorer: Scorer,
    pixels: Tensor,
    texts: Sequence[str],
    owner: Tensor,
    maps: Tensor,
    options: Faithfulness = Faithfulness(),
    constant: bool = False,
) -> dict[str, np.ndarray]:
    """Score maps by what the model makes of perturbed images.

    Args:
        scorer: In eval mode, with frozen weights.
        pixels: `(b, 3, height, width)` as `scorer.preprocess` makes them, on the scorer's device.
        texts: `q` texts that the maps are for, each known to the scorer.
        owner: `(q,)` int64, the index of each text's image.
        maps: `(q, gh, gw)` raw maps over the model's input.
        options: The metric's choices.
        constant: The CAM declares itself constant: its pixels go in random order.

    Returns:
        `(q,)` arrays: the float64 scores of `SCORES`, and `flag`, why a map has none or "" (see
        `maskable`). average_drop is NaN where Y is not positive: there is no share of it to lose.

    Raises:
        VlgroundError: The scorer has no probability, and `scale` wants one.
    """
    flags = [maskable(grid) or "" for grid in maps]
    if constant:
        flags = ["" if flag == "constant" else flag for flag in flags]
    rows = [q for q, flag in enumerate(flags) if not flag]
    scores = {name: np.full(len(maps), nan) for name in SCORES}
    with torch.no_grad():
        whole = _ask(scorer, scorer.encode(pixels), texts, owner, options.scale)
        perturb = _Perturbations(scorer, options, pixels)
        stream = ((q, x) for q in rows for x in perturb(pixels[owner[q]], maps[q]))
        answers = _answers(scorer, stream, texts, options)
    if rows:
        found = _scores(whole[rows], answers.reshape(len(rows), -1), options)
        for name, values in found.items():
            scores[name][rows] = values
    return {**scores, "flag": np.array(flags, dtype="<U12")}


class _Perturbations:
    """The perturbed images of one map after another, in the order in which `_scores` reads them.

    Args:
        scorer: Its preprocessing says what is black.
        options: See `Faithfulness`.
        pixels: Of which size and where the images are.
    """

    def __init__(self, scorer: Scorer, options: Faithfulness, pixels: Tensor) -> None:
        height, width = pixels.shape[-2:]
        self.options = options
        self.frame = Frame(height, width, height, width, 1.0, 1.0)
        generator = torch.Generator().manual_seed(options.seed)
        shuffle = torch.randperm(height * width, generator=generator)
        self.shuffle = shuffle.to(pixels.device)
        noise = torch.randn(pixels.shape[1:], generator=generator) * options.noise
        self.noise = noise.to(pixels.device)
        black = [-m / s for m, s in zip(scorer.preprocess.mean, scorer.preprocess.std, strict=True)]
        self.black = torch.tensor(black, device=pixels.device).view(3, 1, 1)

    def __call__(self, image: Tensor, grid: Tensor) -> Iterator[Tensor]:
        """Perturb one image `(3, height, width)` by its map `(gh, gw)`."""
        options, image = self.options, image.float()
        grid = grid.to(image.device)
        values = self.frame.grid_to_pixels(grid[None], mode=options.resize)[0].float()
        low, high = torch.aminmax(values)
        values = (values - low) / (high - low).clamp(min=1e-12)
        if grid.min() == grid.max():  # of which interpolation leaves rounding noise
            values = torch.ones_like(values)
        order, steps = pixel_order(values, self.shuffle), options.steps
        # The end that is the whole image is known already.
        if "deletion" in options.measures:
            gone = self._baseline(image, options.deletion_baseline)
            yield from exchange(image, gone, order, range(1, steps + 1), steps)
        if "insertion" in options.measures:
            start = self._baseline(image, options.insertion_baseline)
            yield from exchange(start, image, order, range(steps), steps)
        if "average" in options.measures:
            yield torch.lerp(self._baseline(image, options.average_baseline), image, values)
        if "road" in options.measures:
            yield from self._road(image, values, order)

    def _road(self, image: Tensor, values: Tensor, order: Tensor) -> Iterator[Tensor]:
        removed = road_masks(values.flatten(), order, self.options.percentiles)
        removed = removed.view(-1, *image.shape[-2:])
        filled = impute(image.expand(len(removed), -1, -1, -1), removed)
        yield from filled + self.noise * removed[:, None]

    def _baseline(self, image: Tensor, kind: Baseline) -> Tensor:
        if kind == "mean":
            return torch.zeros_like(image)  # what the preprocessing subtracts
        if kind == "black":
            return self.black.expand_as(image)
        return blurred(image, self.options.blur_sigma)


def _answers(
    scorer: Scorer,
    stream: Iterable[tuple[int, Tensor]],
    texts: Sequence[str],
    options: Faithfulness,
) -> np.ndarray:
    """Scores of perturbed images, each for the text of its number, in order."""
    answers: list[np.ndarray] = []
    waiting: list[tuple[int, Tensor]] = []

    def answer() -> None:
        encoded = scorer.encode(torch.stack([image for _, image in waiting]))
        owner = torch.arange(len(waiting), device=encoded.pixels.device)
        asked = [texts[q] for q, _ in waiting]
        answers.append(_ask(scorer, encoded, asked, owner, options.scale))
        waiting.clear()

    for each in stream:
        waiting.append(each)
        if len(waiting) == options.batch_size:
            answer()
    if waiting:
        answer()
    return np.concatenate(answers) if answers else np.zeros(0)


def _ask(
    scorer: Scorer, encoded: Encoded, texts: Sequence[str], owner: Tensor, scale: str
) -> np.ndarray:
    """`(q,)` float64 answers on the scale that was asked for."""
    answer = None
    if scale in ("auto", "probability"):
        answer = scorer.match(encoded, texts, owner)
        if answer is None and scale == "probability":
            told = "this model ranks texts and decides on none; take score, or exp"
            raise VlgroundError(f"metric.scale=probability: {told} with log-probabilities")
    if answer is None:
        answer = scorer.score(encoded, texts, owner)
    answer = answer.double().cpu()
    return np.asarray((answer.exp() if scale == "exp" else answer).numpy())


def _scores(whole: np.ndarray, answers: np.ndarray, options: Faithfulness) -> dict[str, Any]:
    """From answers `(n, images)` in the order of `_Perturbations`, and those of the image."""
    found: dict[str, Any] = {}
    at = 0

    def take(count: int) -> np.ndarray:
        nonlocal at
        at += count
        return answers[:, at - count : at]

    if "deletion" in options.measures:
        found["deletion"] = _area(np.column_stack([whole, take(options.steps)]))
    if "insertion" in options.measures:
        found["insertion"] = _area(np.column_stack([take(options.steps), whole]))
    if "average" in options.measures:
        shown = take(1)[:, 0]
        share = np.divide(whole - shown, whole, out=np.full_like(whole, nan), where=whole > 0)
        found["average_drop"] = np.maximum(share, 0)
        found["average_increase"] = shown > whole
    if "road" in options.measures:
        found["road_morf"], found["road_lerf"] = (
            (take(len(options.percentiles)) - whole[:, None]).mean(axis=1) for _ in range(2)
        )
        found["road_combined"] = (found["road_lerf"] - found["road_morf"]) / 2
    return found


def _area(curve: np.ndarray) -> np.ndarray:
    """Area under curves `(n, points)` over 0-1, by the trapezoidal rule."""
    return np.asarray((curve[:, 1:] + curve[:, :-1]).mean(axis=1) / 2)
