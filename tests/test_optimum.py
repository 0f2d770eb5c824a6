"""The setting that a judge likes best, on planted scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from vlground.alignment.optimum import optima, optimum_block
from vlground.page.reading import Run

GRID = [(alpha, beta) for alpha in (15.0, 25.0) for beta in (0.4, 0.6)]


def run(alpha: float, beta: float, scores: np.ndarray, model: str = "a", **others: Any) -> Run:
    choices = {"model": model, "cam": "gradcam", "judge": "reference", "dataset": "photos"}
    choices |= {"mask": "sigmoid", **others}
    results = {"choices": choices, "identity": {"mask": {"alpha": alpha, "beta": beta}}}
    names = [f"image {n}" for n in range(len(scores))]
    rows = pandas.DataFrame({"id": names, "image_id": names, "score": scores})
    return Run(f"{model}/{alpha}/{beta}", Path(), results, rows, "")


def test_a_better_setting_is_found_and_its_gain_is_measured_on_other_images() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(1, 3, 60)
    runs = [run(*setting, base + (setting == (15.0, 0.4))) for setting in GRID]
    (found,) = optima(runs)
    assert (found.names, found.n) == (("a", "gradcam", "reference"), 60)
    assert found.best == (15.0, 0.4)
    assert found.score == pytest.approx(base.mean() + 1)
    assert found.paper == pytest.approx(base.mean())
    assert found.gain is not None
    assert abs(found.gain.value - 1) < 1e-12
    (block,) = optimum_block(runs)
    assert block.rows[0][4:6] == ["15", "0.4"]


def test_noise_looks_better_than_it_is_only_on_the_images_it_was_chosen_on() -> None:
    gains, naive = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        (found,) = optima([run(*setting, rng.normal(2, 1, 40)) for setting in GRID])
        assert found.gain is not None
        assert found.paper is not None
        gains.append(found.gain.value)
        naive.append(found.score - found.paper)
    assert np.mean(naive) > 0.1
    assert abs(np.mean(gains)) < 3 * np.std(gains) / 40**0.5


def test_only_shared_images_count_and_other_masks_are_left_out() -> None:
    short = np.array([5.0, np.nan, 3.0])
    runs = [run(25.0, 0.6, np.ones(3)), run(25.0, 0.4, short), run(0.0, 0.0, short, mask="black")]
    (found,) = optima(runs)
    assert (found.n, found.score) == (2, 4.0)
    assert optima(runs[:1]) == []
    assert optimum_block(runs[:1]) == []
    nothing = [run(25.0, 0.6, np.ones(2)), run(25.0, 0.4, np.full(2, np.nan))]
    assert optima(nothing)[0].n == 0
    without = optima([run(15.0, 0.6, np.ones(2)), run(25.0, 0.4, np.zeros(2))])[0]
    assert (without.paper, without.gain) == (None, None)
