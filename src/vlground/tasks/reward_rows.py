"""Rows of sentences with labels and probabilities, and what they come to."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from vlground.data.sample import Sample
from vlground.metrics.correlation import spearman
from vlground.metrics.discrimination import BLIND, discrimination
from vlground.metrics.resampling import Statistic, bootstrap
from vlground.rewards.extras import DETAIL, EXTRAS
from vlground.rewards.labelled import Labelled, any_error
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.reading_images import Read

if TYPE_CHECKING:
    import pandas

MODEL = "reward"
ANY = "any"  # error, of whichever type


def rows_of(
    sample: Sample,
    caption: Labelled,
    told: Mapping[str, np.ndarray],
    types: Sequence[str] = ERROR_TYPES,
    flag: str = "",
) -> list[dict[str, Any]]:
    """One row a sentence of a caption: `label/TYPE`, `probability/TYPE`, `blind/TYPE`.

    Args:
        sample: Of the image.
        caption: With its labels.
        told: `reward` and `blind` -> `(s, types)` probabilities; NaN where one is missing.
        types: What the columns are about, `ERROR_TYPES` first.
        flag: Why there are none.
    """
    nothing = np.full_like(caption.errors, np.nan)
    said, blind = told.get(MODEL, nothing), told.get(BLIND, nothing)
    parts = {"label": caption.errors, "probability": said, BLIND: blind}
    worst = {part: any_error(values) for part, values in parts.items()}
    rows = []
    for number, text in enumerate(caption.sentences):
        reason = flag
        if not reason and np.isnan(caption.errors[number, : len(ERROR_TYPES)]).any():
            reason = "no label"
        elif not reason and np.isnan(said[number]).any():
            reason = "blank, or behind task.max_tokens"
        name = f"{sample.image_id}/{caption.index}/{number}"
        row: dict[str, Any] = {"id": name, "image_id": sample.image_id, "text": text}
        row |= {"candidate": caption.index, "sentence": number}
        for part, values in parts.items():
            row[f"{part}/{ANY}"] = float(worst[part][number])
            row |= {f"{part}/{of}": float(values[number, k]) for k, of in enumerate(types)}
        empty = dict.fromkeys(("skipped", "truncated", "foil_truncated"))
        rows.append({**row, "flag": reason, "degenerate": False, **empty})
    return rows


def rows_of_images(
    batch: Sequence[Read],
    told: Mapping[str, Sequence[Sequence[Tensor]]],
    types: Sequence[str],
) -> list[dict[str, Any]]:
    """See `rows_of`, of all captions of some images.

    Args:
        batch: Images, some of which could not be read.
        told: `reward` and `blind` -> of each that could be read, of each caption `(s, types)`.
        types: What the columns are about.
    """
    rows = []
    able = [read for read in batch if not read.unreadable]
    for read in batch:
        place = able.index(read) if read in able else None
        for number, caption in enumerate(read.image.captions):
            said = {
                name: found[place][number].cpu().double().numpy()
                for name, found in told.items()
                if place is not None
            }
            rows += rows_of(read.image.sample, caption, said, types, read.unreadable)
    return rows


def estimates(table: "pandas.DataFrame") -> dict[str, dict[str, Any]]:
    """See `discrimination`: of any error and of each type that somebody marked, of creativity.

    Of detail: `correlation/detail`, Spearman's ρ of what the last sentence says and the score.

    Args:
        table: Rows as `rows_of` makes them.
    """
    rows = table[table["flag"] == ""]
    found: dict[str, Statistic] = {}
    for name in (ANY, *ERROR_TYPES, *EXTRAS):
        if f"label/{name}" not in rows:
            continue
        known = rows[rows[f"label/{name}"].notna()]
        labels, images = known[f"label/{name}"].to_numpy(dtype=float), known["image_id"].tolist()
        if not (labels > 0).any():
            continue
        told = {
            of: known[f"{column}/{name}"].to_numpy(dtype=float)
            for of, column in (("", "probability"), (BLIND, BLIND))
        }
        told = {of: values for of, values in told.items() if not np.isnan(values).any()}
        if name == DETAIL:
            found |= _correlations(told, labels, images)
        else:
            found |= discrimination(name, told, labels, images)
    return {
        name: {"value": one.value, "low": one.low, "high": one.high, "n": one.n}
        for name, one in found.items()
        if one.value is not None
    }


def _correlations(
    told: Mapping[str, np.ndarray], labels: np.ndarray, images: Sequence[str]
) -> dict[str, Statistic]:
    """Spearman's ρ of the model, and of the blind one."""

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        names = {of: f"{of}/correlation/{DETAIL}".lstrip("/") for of in told}
        return {names[of]: spearman(values, labels, weights) for of, values in told.items()}

    return bootstrap(measure, images)
