"""What a multiverse says, as tables."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from vlground.labels import COLUMNS
from vlground.metrics.statistics import MIN_IMAGES
from vlground.multiverse.grid import SCORES, Grid
from vlground.multiverse.ranks import Stability, blame
from vlground.reporting.block import Block

_NOTES = (
    "same: share of the settings with the default's order of all models. τ: Kendall's tau-b to the "
    "default order, least and median. first: how often each model is better than all others. A "
    "score that no option touches is left out.",
    "turned, undecided: of all pairs of models in all settings, how many stand the other way round "
    "than by default, or are not decided at all, where decided means that the paired bootstrap "
    f"over images leaves 0 outside the 95 % interval (at least {MIN_IMAGES} images).",
)
_NO_ORDER = "no order: all models are equal"


def stability_block(
    found: Sequence[Stability],
    letters: Mapping[str, str],
    grid: Grid,
    left_out: Sequence[str] = (),
) -> Block:
    """One row a data set and score: how stable the order is.

    Args:
        found: In the tables' order.
        letters: Model -> the letter it is called by.
        grid: The settings.
        left_out: Runs and samples that are not in it, and why.
    """
    published = any(one.published is not None for one in found)
    heads = ["data set", "score", "by default", "first", "settings", "same", "τ", "turned"]
    heads += ["undecided"] + ["as published"] * published
    rows = []
    for number, one in enumerate(found):
        above = number and found[number - 1].dataset == one.dataset
        tau = one.tau[~np.isnan(one.tau)]
        turned, undecided = _beyond_noise(one)
        rows.append(
            [
                "" if above else one.dataset,
                COLUMNS[one.score],
                order_of(one, letters),
                _first(one, letters),
                str(one.means.shape[1]),
                percent(one.same),
                f"{tau.min():.2f} {np.median(tau):.2f}" if len(tau) else "–",
                turned,
                undecided,
                *(["–" if one.as_published is None else percent(one.as_published)] * published),
            ]
        )
    legend = ", ".join(f"{letter}: {model}" for model, letter in letters.items())
    caption = f"Multiverse {grid.name}: how stable is the order of the models?"
    return Block(caption, heads, rows, (f"{legend}.", *_NOTES, *left_out), words=4)


def pairs_block(found: Sequence[Stability], letters: Mapping[str, str]) -> Block:
    """Pairs of models that swap in some setting, and whether beyond noise."""
    rows, above = [], ""
    for one in found:
        for number, (a, b) in enumerate(one.pairs):
            signs = one.signs[number]
            if (signs == signs[0]).all():
                continue
            if signs[0] < 0:
                a, b = b, a
            relation = " > " if signs[0] else " = "
            pair = relation.join(letters[one.models[place]] for place in (a, b))
            decided = _shares(one, number)
            row = ["" if one.dataset == above else one.dataset, COLUMNS[one.score], pair]
            rows.append([*row, percent(float((signs != signs[0]).mean())), *decided])
            above = one.dataset
    heads = ["data set", "score", "by default", "swapped", "decided so", "turned", "undecided"]
    note = "Shares of the settings. A pair that is not here stands the same way in every setting."
    return Block("Multiverse: pairs of models that swap", heads, rows, (note,), words=3)


def options_block(found: Sequence[Stability], grid: Grid) -> Block:
    """Which option is responsible: how often it alone changes the order, over the data sets."""
    names = [name for name in SCORES if any(one.score == name for one in found)]
    shares = [(one.score, blame(grid, one)) for one in found]
    rows = []
    for option, values in grid.axes:
        cells = []
        for name in names:
            mine = [share[option] for score, share in shares if score == name and option in share]
            if not mine:
                cells.append("")
                continue
            changed, turned = (float(np.mean(part)) for part in zip(*mine, strict=True))
            cells.append(f"{percent(changed)}" + (f" ({percent(turned)})" if turned else ""))
        rows.append([option, ", ".join(map(_told, values)), *cells])
    settings = "; ".join(f"{COLUMNS[name]} {len(grid.settings(name))}" for name in names)
    notes = (
        "Share of the settings in which another value of the option alone changes the order of the "
        "models, mean over the data sets; in brackets: in which it turns a pair that is decided "
        "before and after. Empty: the score does not depend on it. The first value is the default.",
        f"{grid.combinations} combinations; settings that differ for a score: {settings}.",
    )
    heads = ["option", "values", *(COLUMNS[name] for name in names)]
    return Block("Multiverse: which option changes the order?", heads, rows, notes, words=2)


def order_of(one: Stability, letters: Mapping[str, str]) -> str:
    """`C > A = B`, the best first, by the default setting."""
    if not one.signs[:, 0].any():
        return _NO_ORDER
    better = 1 if "↑" in COLUMNS[one.score] else -1
    means = better * one.means[:, 0]
    places = np.argsort(-means, kind="stable")
    signs = {frozenset(pair): sign for pair, sign in zip(one.pairs, one.signs[:, 0], strict=True)}
    told = letters[one.models[places[0]]]
    for before, place in pairwise(places):
        equal = signs[frozenset((int(before), int(place)))] == 0
        told += (" = " if equal else " > ") + letters[one.models[place]]
    return told


def percent(share: float) -> str:
    """A share as it stands in a table; 0 % and 100 % are none and all.

    >>> percent(1), percent(0.9996), percent(0.0004), percent(0.25)
    ('100 %', '>99 %', '<1 %', '25 %')
    """
    if 0 < share < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def _first(one: Stability, letters: Mapping[str, str]) -> str:
    shares = one.first
    ranked = [place for place in np.argsort(-shares, kind="stable") if shares[place] > 0]
    return ", ".join(f"{letters[one.models[p]]} {percent(float(shares[p]))}" for p in ranked) or "–"


def _beyond_noise(one: Stability) -> tuple[str, str]:
    if one.decided is None:
        return "–", "–"
    turned = (one.decided * one.signs[:, :1] < 0).mean()
    return percent(float(turned)), percent(float((one.decided == 0).mean()))


def _shares(one: Stability, pair: int) -> tuple[str, str, str]:
    """In which share of the settings a pair is decided as by default, the other way, not at all."""
    if one.decided is None:
        return "–", "–", "–"
    decided, default = one.decided[pair], one.signs[pair, 0]
    so, turned = (decided * default > 0).mean(), (decided * default < 0).mean()
    return percent(float(so)), percent(float(turned)), percent(float((decided == 0).mean()))


def _told(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"
