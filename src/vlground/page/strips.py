"""The paper's figure 2 for single samples, computed again from stored evidence."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from vlground import plots
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.geometry import Frame, boxes_to_mask, merge_boxes
from vlground.identity import Stage, digest
from vlground.metrics.grounding import QGroundCAM
from vlground.metrics.peaks import find_peaks
from vlground.page.pictures import webp
from vlground.page.reading import Run
from vlground.store import Evidence, EvidenceStore

_QUALITY = 74


@dataclass
class Strips:
    """Draws strips and notes why it could not.

    Args:
        runs: The folder of runs.

    Attributes:
        reasons: Run's path -> why it has no strip.
    """

    runs: Path
    reasons: dict[str, str] = field(default_factory=dict)
    _stores: dict[str, EvidenceStore] = field(default_factory=dict)
    _samples: dict[str, dict[str, Sample]] = field(default_factory=dict)
    _data: dict[str, dict[str, Sample]] = field(default_factory=dict)
    _metrics: dict[str, QGroundCAM] = field(default_factory=dict)

    def draw(self, run: Run, sample_id: str) -> bytes | None:
        """The strip of one sample as a WebP file; None if it cannot be made."""
        if run.path in self.reasons:
            return None
        try:
            return self._draw(run, sample_id)
        # Whatever lies in an old run directory, the page is written.
        except Exception as error:
            line = (str(error) or type(error).__name__).splitlines()[0]
            self.reasons[run.path] = line.replace(str(self.runs.absolute()), "runs")
            return None

    def _draw(self, run: Run, sample_id: str) -> bytes | None:
        if run.path not in self._samples:
            self._open(run)
        sample = self._samples[run.path].get(sample_id)
        if sample is None:
            raise VlgroundError("the data set has changed since")
        store = self._stores[run.results["stage"]]
        if sample.key not in store:
            raise VlgroundError("its maps are no longer in runs/evidence")
        evidence = store[sample.key]
        store.close()  # a page of a hundred runs would run out of file handles
        found = panels(evidence, sample.boxes, self._metrics[run.path])
        if found is None:
            return None
        return webp(plots.figure_2(load_image(sample), sample.boxes, found), _QUALITY)

    def _open(self, run: Run) -> None:
        from omegaconf import OmegaConf

        from vlground.config import build, build_dataset

        node = OmegaConf.to_container(OmegaConf.load(run.folder / "config.yaml"), resolve=True)
        if not isinstance(node, dict) or run.results.get("task") != "grounding":
            raise VlgroundError("not a grounding run")
        # A folder of runs may come from somebody else: of what it says only vlground's own data
        # sets and metrics are instantiated.
        for part in (node["dataset"], node["metric"]):
            if not all(target.startswith("vlground.") for target in _targets(part)):
                raise VlgroundError("its data set is not one of vlground's own")
        stage = stage_of(run.results)
        if stage.fingerprint not in self._stores:
            self._stores[stage.fingerprint] = EvidenceStore(self.runs, stage)
        self._metrics[run.path] = build(node["metric"])
        dataset = digest(node["dataset"])
        if dataset not in self._data:
            _, samples, _ = build_dataset(node["dataset"])
            self._data[dataset] = {sample.id: sample for sample in samples}
        self._samples[run.path] = self._data[dataset]


def stage_of(results: Any) -> Stage:  # noqa: ANN401 - JSON
    """The stage whose evidence a run scored.

    Raises:
        VlgroundError: If the results do not describe it.
    """
    try:
        node = results["identity"]["stage"]
        stage = Stage(
            node["name"],
            node["versions"],
            node["reads"],
            node["checksums"],
            tuple(node["parents"]),
        )
    except (KeyError, TypeError) as error:
        raise VlgroundError("its results do not say which maps they are of") from error
    if stage.fingerprint != results.get("stage"):
        raise VlgroundError("its results do not say which maps they are of")
    return stage


def panels(evidence: Evidence, boxes: np.ndarray, metric: QGroundCAM) -> plots.Panels | None:
    """What figure 2 shows, from one piece of evidence, by the metric's own options.

    Written apart from the suite, whose sums never hold these pictures; a test holds both together.

    Args:
        evidence: Of the prediction stage.
        boxes: `(k, 4)` in pixels of the original image.
        metric: Options of the suite.

    Returns:
        None if there is no map, or nothing of it or of the boxes to show.
    """
    if "map" not in evidence:
        return None
    frame = Frame.from_list(evidence["frame"])  # type: ignore[arg-type]
    native = torch.from_numpy(evidence["map"].copy())  # type: ignore[union-attr]
    if not torch.isfinite(native).all() or native.max() <= 0:
        return None
    first = metric.resize_order == "normalise_first"
    if first:
        native = torch.from_numpy(_normalised(native.numpy(), metric.normalise))
    constant = bool(native.min() == native.max())
    grid = frame.grid_to_pixels(native[None], metric.resolution, metric.resize, metric.resize_clip)
    # Interpolation makes a constant map constant but for rounding, which is not to be stretched.
    raw = np.ones_like(grid[0].numpy()) if constant else grid[0].numpy()
    soft = np.maximum(raw, 0) if first else _normalised(raw, metric.normalise)
    height, width = soft.shape
    mask = _mask(boxes, frame, metric, height, width)
    if not mask.any():
        return None
    above = np.greater if metric.threshold_strict else np.greater_equal
    unit = float(np.hypot(height, width)) if metric.peak_unit == "diagonal" else 1.0
    found = find_peaks(soft, metric.peak_threshold, metric.peak_distance * unit)
    peaks = np.stack([found.cols, found.rows, found.values], axis=1).astype(np.float64)
    return plots.Panels(
        soft=soft,
        binary=above(soft, metric.threshold),
        mask=mask,
        distance=distance_to(mask, metric.wdp_distance),
        peaks=peaks[:0] if constant else peaks,  # a plateau over all of the map is none
    )


def distance_to(mask: np.ndarray, metric: str) -> np.ndarray:
    """`(H, W)` distance in pixels to the nearest pixel of a mask, 0 inside."""
    if metric == "euclidean":
        return np.asarray(ndimage.distance_transform_edt(~mask), dtype=np.float64)
    kind = "taxicab" if metric == "manhattan" else "chessboard"
    return np.asarray(ndimage.distance_transform_cdt(~mask, kind), dtype=np.float64)


def _mask(
    boxes: np.ndarray, frame: Frame, metric: QGroundCAM, height: int, width: int
) -> np.ndarray:
    if metric.resolution == "input":
        boxes = frame.boxes_to_input(boxes)
    elif metric.resolution == "native":
        boxes = frame.boxes_to_grid(boxes, height, width)
    x0, y0, x1, y1 = np.asarray(boxes, dtype=np.float64).reshape(-1, 4).T
    seen = (x0 < x1) & (y0 < y1) & (x1 > 0) & (y1 > 0) & (x0 < width) & (y0 < height)
    kept = np.stack([x0, y0, x1, y1], axis=1)[seen]
    if metric.box_merge == "merged":
        kept = merge_boxes(kept)
    return boxes_to_mask(kept, height, width, metric.box_edge).numpy()


def _normalised(raw: np.ndarray, how: str) -> np.ndarray:
    low, high = float(raw.min()), float(raw.max())
    if low == high:
        return np.ones_like(raw)
    if how == "minmax":
        return np.asarray((raw - low) / (high - low))
    return np.asarray(np.maximum(raw / (high if how == "max" else 1.0), 0))


def _targets(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [str(node["_target_"])] if "_target_" in node else []
        return own + [target for child in node.values() for target in _targets(child)]
    if isinstance(node, list):
        return [target for child in node for target in _targets(child)]
    return []
