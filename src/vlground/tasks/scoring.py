"""From samples to evidence, and from stored evidence to scores.

Maps are scored by the suite, decisions by the matrix. The task and whoever else measures grounding
(`vlground.validation`) call the same functions, so that their numbers are the same.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
import pandas
import torch
from PIL import Image
from torch import Tensor

from vlground import plots
from vlground.contracts import CAM, Encoded, Mask, Scorer
from vlground.data.batches import Batch
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.geometry import Frame
from vlground.labels import TEXTS
from vlground.metrics import matrix
from vlground.metrics.grounding import SCORES, QGroundCAM, q_groundcam
from vlground.metrics.matrix import cells, rightness
from vlground.metrics.statistics import bootstrap_means
from vlground.store import Evidence
from vlground.tasks.masked import score_shown, shown
from vlground.tasks.resolution import at_resolution

T = TypeVar("T")

# Of `rows.parquet`: what the sample is, its scores, and what stood in their way.
Columns = dict[str, np.ndarray]
IDENTITY = ("id", "image_id", "text", "foil")
MATCHES = ("match", "foil_match")
CUT = ("truncated", "foil_truncated")
_WORDS = ("cell", "foil_cell", *CUT, "flag", "skipped")
COLUMNS = [*IDENTITY, *SCORES, *MATCHES, "degenerate", *_WORDS]


def share_of(samples: Sequence[Sample], rank: int, count: int) -> list[Sample]:
    """What one of `count` processes does: whole images, in turns."""
    if count == 1:
        return list(samples)
    images: dict[str, int] = {}
    for sample in samples:
        images.setdefault(sample.image_id, len(images))
    return [sample for sample in samples if images[sample.image_id] % count == rank]


def unanswerable(scorer: Scorer, cam: CAM, sample: Sample) -> str | None:
    """Why no map of this sample can be drawn, in words that are counted; None if one can."""
    obstacle = cam.obstacle(sample)
    if obstacle is not None:
        return obstacle
    # A baseline that asks something else covers the same samples as what it stands beside.
    for needed in (sample.text, cam.asks(sample) or ""):
        if not scorer.knows(needed):
            return f"unknown to the model: {needed}"
    return None


def draw_evidence(scorer: Scorer, cam: CAM, batch: Batch) -> list[tuple[Sample, Evidence]]:
    """Draw the maps of a batch and ask whether its texts fit.

    Args:
        scorer: In eval mode, with frozen weights.
        cam: Can read it.
        batch: On the scorer's device, of samples that are not `unanswerable`.

    Returns:
        Its samples with their evidence, which of an unreadable image is why it was skipped.
    """
    drawn: list[tuple[Sample, Evidence]] = [
        (sample, {"skipped": f"unreadable image: {reason}"}) for sample, reason in batch.unreadable
    ]
    if not batch.samples:
        return drawn
    with torch.inference_mode(False), torch.no_grad():
        encoded = scorer.encode(batch.pixels.clone())
        texts = [cam.asks(sample) or "" for sample in batch.samples]
        maps: Tensor = cam(scorer, encoded, texts, batch.owner, batch.samples)
        grids = maps.float().cpu().numpy()
        read = _read(scorer, batch, encoded)
    declared: Evidence = {"constant": cam.constant, "normalised": cam.normalised}
    for i, sample in enumerate(batch.samples):
        frame = batch.frames[int(batch.owner[i])].to_list()
        drawn.append((sample, {"map": grids[i], "frame": frame, **declared, **read[i]}))
    return drawn


def _read(scorer: Scorer, batch: Batch, encoded: Encoded) -> list[Evidence]:
    """What the model makes of each sample's text and foil: does it fit, was it cut?

    A text that it reads whole and does not decide on leaves no entry.
    """
    samples = batch.samples
    asked = [("", i, sample.text) for i, sample in enumerate(samples)]
    foils = [("foil_", i, sample.foil) for i, sample in enumerate(samples) if sample.foil]
    asked += [foil for foil in foils if scorer.knows(foil[2])]
    texts = [text for _, _, text in asked]
    match = scorer.match(encoded, texts, batch.owner[[i for _, i, _ in asked]])
    chances = [] if match is None else match.float().tolist()
    read: list[Evidence] = [{} for _ in samples]
    for (kind, i, _), chance in zip(asked, chances, strict=False):  # none, if it only ranks
        read[i][f"{kind}match"] = chance
    for kind, i, text in asked:
        if (cut := scorer.truncated(text)) is not None:
            read[i][f"{kind}truncated"] = cut
    return read


def columns_of(samples: Sequence[Sample], given: Mapping[str, Any]) -> Columns:
    """`COLUMNS` of some samples; arrays, because a thousand small tables take much memory.

    Args:
        samples: Of the rows.
        given: The columns that are known; what is not given is undefined.
    """
    n = len(samples)
    columns: dict[str, Any] = dict.fromkeys((*SCORES, *MATCHES), np.full(n, np.nan))
    columns |= dict.fromkeys(_WORDS, [None] * n) | {"degenerate": np.zeros(n, dtype=bool)}
    columns |= {name: [getattr(s, name) for s in samples] for name in IDENTITY}
    columns |= given
    words = (*IDENTITY, *_WORDS)
    return columns | {name: np.array(columns[name], dtype=object) for name in words}


def rows_of(
    found: Sequence[tuple[Sample, Evidence]], metric: QGroundCAM, mask: Mask | None = None
) -> list[Columns]:
    """Rows of samples with any evidence; maps and images of one size are scored together.

    Args:
        found: Samples with their evidence, or with why they have none (`skipped`).
        metric: Options of the suite.
        mask: What it makes of a map is scored; None: the map.
    """
    by_shape: dict[Any, list[tuple[Sample, Evidence]]] = defaultdict(list)
    skipped: dict[Sample, str] = {}
    for sample, evidence in found:
        if "skipped" in evidence:
            skipped[sample] = str(evidence["skipped"])
            continue
        shape = (*evidence["frame"], *evidence["map"].shape, evidence["constant"])  # type: ignore
        by_shape[shape].append((sample, evidence))
    parts = [score_evidence(group, metric, mask) for group in by_shape.values()]
    if skipped:
        parts.append(columns_of(list(skipped), {"skipped": list(skipped.values())}))
    return parts


def score_evidence(
    group: Sequence[tuple[Sample, Evidence]], metric: QGroundCAM, mask: Mask | None = None
) -> Columns:
    """Rows of samples whose maps and images have the same size.

    Args:
        group: Samples with their evidence, none of them skipped.
        metric: Options of the suite.
        mask: What it makes of a map is scored; None: the map.
    """
    first: Mapping[str, Any] = group[0][1]
    maps = torch.stack([torch.from_numpy(evidence["map"].copy()) for _, evidence in group])  # type: ignore
    samples, frame = [sample for sample, _ in group], Frame.from_list(first["frame"])
    if mask is None:
        boxes = [sample.boxes for sample in samples]
        columns = score_maps(maps, frame, boxes, metric, first["constant"])
    else:
        columns = score_shown(maps, frame, samples, metric, mask)
    given: dict[str, Any] = {name: [evidence.get(name) for _, evidence in group] for name in CUT}
    for name in MATCHES:
        given[name] = np.array([evidence.get(name, np.nan) for _, evidence in group])
    io_ratio = np.where(columns["flag"] == "", columns["io_ratio"], np.nan)
    given |= decisions(given, io_ratio, metric)
    return columns_of(samples, columns | given)


def score_maps(
    maps: Tensor,
    frame: Frame,
    boxes: Sequence[np.ndarray],
    metric: QGroundCAM,
    constant: bool = False,
) -> dict[str, np.ndarray]:
    """Score native maps of images of one size.

    Whether a map is degenerate is judged on its native grid: interpolation makes a constant map
    constant but for rounding, and min-max normalisation would blow that up into a picture.

    Args:
        maps: `(n, gh, gw)` raw maps.
        frame: Of all n images.
        boxes: n arrays `(k, 4)` in pixels of the original image.
        metric: Options of the suite, those of resizing among them.
        constant: Whether the CAM declares itself constant.

    Returns:
        `(n,)` columns, see `q_groundcam`.
    """
    pixels, moved, options = at_resolution(maps, frame, boxes, metric)
    return q_groundcam(pixels, moved, options, constant)


def decisions(
    match: Mapping[str, np.ndarray], io_ratio: np.ndarray, metric: QGroundCAM
) -> dict[str, np.ndarray]:
    """The cells of the matrix that samples are in, by the metric's two thresholds.

    Args:
        match: Column of `TEXTS` -> `(n,)` probabilities, NaN where there is none.
        io_ratio: `(n,)`, NaN where the map is not scored.
        metric: Its thresholds.

    Returns:
        Column of `TEXTS` -> `(n,)` names of cells, or None.
    """
    found = {}
    for text, (chance, cell) in TEXTS.items():
        right = rightness(match[chance], text == "matched", metric.match_threshold)
        found[cell] = cells(right, io_ratio, metric.high_io_ratio)
    return found


def gathered(parts: list[T], world_size: int) -> list[T]:
    """The parts of all processes, on each of them."""
    if world_size == 1:
        return parts
    shares: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(shares, parts)
    return [part for share in shares for part in share]


def table_of(parts: Sequence[Columns], samples: Sequence[Sample]) -> pandas.DataFrame:
    """One row a sample, in the order of `samples`."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}
    rows = pandas.DataFrame(columns).drop_duplicates("id").set_index("id", drop=False)
    return rows.loc[[sample.id for sample in samples]].reset_index(drop=True)


def estimates_of(rows: pandas.DataFrame, metric: QGroundCAM) -> dict[str, dict[str, Any]]:
    """Mean of every score over the rows that have one, with its interval over images.

    Of a model that decides also accuracies and the shares of the matrix' cells.
    """
    columns = {name: rows[name].to_numpy(dtype=np.float64) for name in SCORES}
    estimates = bootstrap_means(columns, rows["image_id"].tolist())
    if rows["match"].notna().any():
        estimates |= matrix.estimates(rows, metric.match_threshold)
    return {name: asdict(estimate) for name, estimate in estimates.items() if estimate.n}


def overlay_of(sample: Sample, evidence: Evidence, mask: Mask | None = None) -> Image.Image:
    """The photo under its map, or under M if a mask makes one of it, with the boxes."""
    frame = Frame.from_list(evidence["frame"])  # type: ignore[arg-type]
    grid = torch.from_numpy(evidence["map"].copy())  # type: ignore[union-attr]
    weights = None if mask is None else shown(mask, grid, frame, sample)[0]
    pixels = frame.grid_to_pixels(grid[None])[0] if weights is None else weights
    return plots.overlay(load_image(sample.image), pixels.numpy(), sample.boxes)
