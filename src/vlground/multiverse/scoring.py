"""Scores of stored maps under every setting: each picture, region and sum is made once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from vlground.geometry import Frame
from vlground.metrics.activations import Activation, as_array, room
from vlground.metrics.grounding import QGroundCAM, score
from vlground.metrics.regions import Region
from vlground.multiverse.grid import PICTURE, SCORES, Grid
from vlground.store import Evidence
from vlground.tasks.resolution import at_resolution

VERSION = 1  # raised when a score of `vlground.metrics.grounding` changes: stored sums are old then

_AT_ONCE = 16  # maps whose distances are held in memory: of 500 × 375 pixels 4.5 MB each

# Score, and settings with their places, which differ in what a degenerate map scores alone.
Work = list[tuple[str, list[tuple[int, QGroundCAM]]]]


def multiverse_scores(
    found: Sequence[tuple[np.ndarray, Evidence]], grid: Grid
) -> dict[str, np.ndarray]:
    """Score samples under every setting, by the code that scores them under one.

    Args:
        found: Boxes `(k, 4)` in pixels of the original image, and evidence with a map.
        grid: The settings.

    Returns:
        Score -> `(n, settings)`, in the order of `grid.settings(score)`; NaN where `q_groundcam`
        says so.
    """
    values = {name: np.full((len(found), len(grid.settings(name))), np.nan) for name in SCORES}
    groups: dict[Any, list[int]] = defaultdict(list)
    for number, (_, evidence) in enumerate(found):
        frame, grids = evidence["frame"], evidence["map"]
        groups[(*frame, *grids.shape, evidence["constant"])].append(number)  # type: ignore
    for rows in groups.values():
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            _score_group([found[row] for row in part], np.array(part), grid, values)
    return values


def _score_group(
    group: Sequence[tuple[np.ndarray, Evidence]],
    rows: np.ndarray,
    grid: Grid,
    values: Mapping[str, np.ndarray],
) -> None:
    """Write the scores of samples whose maps and images have the same size into their rows."""
    first: Mapping[str, Any] = group[0][1]
    frame, constant = Frame.from_list(first["frame"]), bool(first["constant"])
    maps = torch.stack([torch.from_numpy(evidence["map"].copy()) for _, evidence in group])  # type: ignore
    boxes = [box for box, _ in group]
    regions: dict[Any, Region | str] = {}
    for work in _plan(grid):
        setting = work[0][1][0][1]
        pixels, moved, left = at_resolution(maps, frame, boxes, setting)
        arrays = as_array(pixels)
        both = room(arrays)
        for number, row in enumerate(rows):
            activation = Activation.of(arrays[number], both, left.normalise, constant)
            for name, alike in work:
                one = alike[0][1]
                key = number, one.resolution, one.box_merge, one.box_edge
                if key not in regions:
                    regions[key] = _region(moved[number], arrays.shape[1:], one, key, regions)
                if isinstance(activation, str):
                    for column, other in alike:
                        values[name][row, column] = score(name, activation, regions[key], other)
                else:
                    columns = [column for column, _ in alike]
                    values[name][row, columns] = score(name, activation, regions[key], one)


def _region(
    boxes: np.ndarray,
    shape: tuple[int, ...],
    setting: QGroundCAM,
    key: tuple[int, str, str, str],
    known: Mapping[Any, Region | str],
) -> Region | str:
    """The region of a setting; one that has the same rectangles is taken again, with its sums."""
    region = Region.of(boxes, shape[0], shape[1], setting.box_merge, setting.box_edge)
    for other, same in known.items():
        alike = isinstance(region, Region) and isinstance(same, Region) and other[:2] == key[:2]
        if alike and region.rects == same.rects:  # type: ignore[union-attr]
            return same
    return region


@lru_cache(maxsize=8)
def _plan(grid: Grid) -> tuple[Work, ...]:
    """What there is to score, by the picture that it is read from."""
    pictures: dict[Any, dict[Any, list[tuple[int, QGroundCAM]]]] = defaultdict(dict)
    for name in SCORES:
        for column, setting in enumerate(grid.settings(name)):
            picture = tuple(getattr(setting, part) for part in PICTURE)
            scored = name, replace(setting, empty_map="exclude")
            pictures[picture].setdefault(scored, []).append((column, setting))
    return tuple([(name, alike) for (name, _), alike in own.items()] for own in pictures.values())


def image_sums(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of one image added up: `sums/SCORE` `(settings,)` and `counts/SCORE`, of no NaN."""
    found = {}
    for name, scores in values.items():
        there = ~np.isnan(scores)
        # In the order, and therefore to the last bit, of `vlground.metrics.statistics`.
        rows = np.where(np.isnan(ordered := np.sort(scores, axis=0)), 0.0, ordered)
        total = np.zeros(scores.shape[1])
        for row in rows:
            total += row
        found[f"sums/{name}"] = total
        found[f"counts/{name}"] = there.sum(axis=0, dtype=np.int32)
    return found
