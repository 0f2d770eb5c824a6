"""Figure 3: what is drawn, and from which runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
from PIL import Image

from vlground.page.reading import Run
from vlground.page.spreads import pairs, singles
from vlground.plots import BLUE, ORANGE, Spread, figure_3


def run(dataset: str, cam: str = "gradcam", n: int = 30, **metric: Any) -> Run:
    """A run as the page reads it; `iou_soft` is its number of rows over 100."""
    choices = {"model": "blip", "cam": cam, "dataset": dataset, "metric": "q_groundcam"}
    identity = {"metric": metric, "mask": {}, "data": dataset, "limit": n}
    identity["stage"] = {"reads": {"model": {}, "cam": {}, "dataset": "vlground.data.X"}}
    rows = pandas.DataFrame({"iou_soft": np.full(n, n / 100), "io_ratio": np.full(n, 0.5)})
    results = {"choices": choices, "identity": identity, "scores": {}, "counts": {}}
    return Run(f"grounding/{dataset}{cam}{n}", Path(), results, rows, "")


def colours(picture: Image.Image, tint: str) -> int:
    """Pixels of the outlines and bars in one of the two colours."""
    red, green, blue = (int(tint[i : i + 2], 16) for i in (1, 3, 5))
    drawn = np.asarray(picture, dtype=int)
    return int((np.abs(drawn - (red, green, blue)).sum(axis=2) < 40).sum())


def test_runs_pair_up_by_name_and_setting() -> None:
    runs = [run("x"), run("x_ood"), run("x", "legrad"), run("y_ood"), run("z"), run("x", "uniform")]
    runs += [run("x_ood", "uniform"), run("x_ood", "legrad", tie="any")]
    (spread,) = pairs(runs)
    assert spread.title == "blip · gradcam"
    assert list(spread.values) == ["x", "x_ood"], "in distribution first"
    assert pairs(runs[2:]) == [], "no partner, another metric, or a baseline"


def test_of_several_selections_the_largest_counts() -> None:
    (spread,) = pairs([run("x", n=10), run("x_ood"), run("x", n=40), run("x", n=20)])
    assert spread.values["x"]["iou_soft"][0] == 0.4


def test_every_data_set_alone() -> None:
    found = singles([run("x"), run("x", "legrad"), run("x_ood"), run("x", "uniform")])
    assert {name: len(rows) for name, rows in found.items()} == {"x": 2, "x_ood": 1}


def test_blue_is_in_and_orange_out_of_distribution() -> None:
    rng = np.random.default_rng(0)
    one = {"iou_soft": rng.random(50), "io_ratio": rng.random(50)}
    alone = figure_3([Spread("blip · gradcam", {"x": one})])
    both = figure_3([Spread("blip · gradcam", {"x": one, "x_ood": one})])
    assert colours(alone, BLUE) > 100
    assert colours(alone, ORANGE) == 0
    assert colours(both, ORANGE) > 100
    assert figure_3([Spread("a", {"x": one})] * 3).height > 2.9 * alone.height


def test_heights_are_shares_whatever_the_size() -> None:
    rng = np.random.default_rng(0)
    few = {name: rng.random(40) for name in ("iou_soft", "io_ratio")}
    many = {name: np.tile(values, 25) for name, values in few.items()}
    small, large = (
        np.asarray(figure_3([Spread("", {"x": values})]))[150:] for values in (few, many)
    )
    assert (small == large).all(), "below the legend, which says n"


def test_undefined_values_are_not_drawn() -> None:
    rng = np.random.default_rng(0)
    known = {name: rng.random(40) for name in ("iou_soft", "io_ratio")}
    holes = {name: np.append(values, [np.nan] * 9) for name, values in known.items()}
    drawn = [np.asarray(figure_3([Spread("", {"x": values})])) for values in (known, holes)]
    assert (drawn[0] == drawn[1]).all(), "and n counts what is drawn"
    nothing = {name: np.full(3, np.nan) for name in known}
    assert figure_3([Spread("", {"x": nothing})]).size == (drawn[0].shape[1], drawn[0].shape[0])
