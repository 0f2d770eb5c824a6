"""Rows of benchmarks added up image by image, so that runs of the same images can be compared.

Each score is the one of its benchmark's module; there it has an interval of its own, here it is
made of sums that several runs resample together (`vlground.metrics.crossed`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vlground.metrics.crossed import Ratios

if TYPE_CHECKING:
    import pandas

Sums = Callable[["np.ndarray | pandas.Series"], np.ndarray]


def captions(rows: "pandas.DataFrame", images: Sequence[str]) -> dict[str, Ratios]:
    """`chair_i`, `chair_s`, `recall`, `words`, and where sentences were checked `wrong_sentences`.

    Args:
        rows: Of `metric=chair` or `metric=claims`, those with a caption.
        images: Ids of all k images, in the order of the sums.
    """
    add, ones = _sums(rows, images), np.ones(len(rows))
    pairs = {
        "chair_i": (rows["hallucinated"], rows["mentions"]),
        "chair_s": (rows["hallucinated"] > 0, ones),
        "recall": (rows["found"], rows["objects"]),
        "words": (rows["words"], ones),
    }
    if "wrong" in rows:
        pairs["wrong_sentences"] = (rows["wrong"], rows["sentences"] - rows["unparsed"])
        pairs["sentences"] = (rows["sentences"], ones)
    return {name: _one(add(part), add(whole)) for name, (part, whole) in pairs.items()}


def pope(rows: "pandas.DataFrame", images: Sequence[str]) -> dict[str, Ratios]:
    """`f1`, `accuracy` and `yes_ratio`: means over the categories; `CATEGORY/f1`.

    Args:
        rows: Of `metric=pope`.
        images: Ids of all k images, in the order of the sums.
    """
    rows = rows[rows["outcome"] != "no answer"]
    add, outcome = _sums(rows, images), rows["outcome"].to_numpy()
    right, yes = np.isin(outcome, ("tp", "tn")), np.isin(outcome, ("tp", "fp"))
    true = (rows["label"] == "yes").to_numpy()
    found: dict[str, list[Ratios]] = {"f1": [], "accuracy": [], "yes_ratio": []}
    named: dict[str, Ratios] = {}
    for name in sorted(set(rows["category"])):
        mine = (rows["category"] == name).to_numpy()
        tp = mine & (outcome == "tp")
        f1 = _one(add(2 * tp), add(mine & yes) + add(mine & true))  # 2 TP / (2 TP + FP + FN)
        named[f"{name}/f1"] = f1
        found["f1"].append(f1)
        found["accuracy"].append(_one(add(mine & right), add(mine)))
        found["yes_ratio"].append(_one(add(mine & yes), add(mine)))
    return {name: _joined(parts, 1 / len(parts)) for name, parts in found.items() if parts} | named


def mme(rows: "pandas.DataFrame", images: Sequence[str]) -> dict[str, Ratios]:
    """`SUBTASK/score` (0-200), and `total`, their sum.

    Args:
        rows: Of `metric=mme`; pairs without two answers are left out.
        images: Ids of all k images, in the order of the sums.
    """
    pairs = [rows["category"], rows["pair"]]
    rows = rows[rows.groupby(pairs)["prediction"].transform("count") == 2]
    right = (rows["label"] == rows["prediction"]).to_numpy()
    keys = [rows["category"], rows["pair"]]
    both = rows.assign(right=right).groupby(keys)["right"].transform("all").to_numpy(dtype=bool)
    add = _sums(rows, images)
    found = {}
    for name in sorted(set(rows["category"])):
        mine = (rows["category"] == name).to_numpy()
        asked = add(mine)
        halves = [_one(add(mine & hits), asked) for hits in (right, both)]
        found[f"{name}/score"] = _joined(halves, 100.0)
    return found | ({"total": _joined(list(found.values()), 1.0)} if found else {})


def by_image(values: Mapping[str, float], images: Sequence[str]) -> Ratios:
    """The mean of one number an image.

    Args:
        values: Image id -> number; an image without one does not count.
        images: Ids of all k images, in the order of the sums.
    """
    known = np.array([name in values for name in images], dtype=float)
    return _one(np.array([values.get(name, 0.0) for name in images], dtype=float), known)


def _sums(rows: "pandas.DataFrame", images: Sequence[str]) -> Sums:
    places = {name: place for place, name in enumerate(images)}
    owner = np.array([places[name] for name in rows["image_id"]], dtype=np.int64)

    def add(values: "np.ndarray | pandas.Series") -> np.ndarray:
        return np.bincount(owner, np.asarray(values, dtype=float), minlength=len(images))

    return add


def _one(part: np.ndarray, whole: np.ndarray) -> Ratios:
    return Ratios(part[:, None], whole[:, None], np.ones(1))


def _joined(ratios: Sequence[Ratios], weight: float) -> Ratios:
    """The weighted sum of scores."""
    return Ratios(
        np.concatenate([one.parts for one in ratios], axis=1),
        np.concatenate([one.wholes for one in ratios], axis=1),
        np.concatenate([one.weights for one in ratios]) * weight,
    )
