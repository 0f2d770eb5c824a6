"""The same pictures with and without a known artefact, and what a classifier makes of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from hydra.utils import get_object
from torch import Tensor

from vlground.config import build_dataset
from vlground.contracts import CAM
from vlground.data.batches import Batch
from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.data.shapes.classification import ShapesClassification
from vlground.errors import VlgroundError
from vlground.geometry import boxes_to_mask
from vlground.gradients import Recording
from vlground.masks.relevance import maskable
from vlground.masks.soft import SoftMask
from vlground.metrics.bias import mass_inside
from vlground.models.classifier import ImageClassifier
from vlground.store import Evidence
from vlground.tasks.explaining import frame_of
from vlground.tasks.matching import row

# In evidence -> in rows.
_KINDS = {"marked": "with", "clean": "without"}
# Columns that a skipped sample has no value in.
_NUMBERS = (
    *("delta_logit", "flipped", "into", "target", "mass", "area", "lift"),
    *("mass_without", "lift_without"),
    *(f"{name}_{kind}" for kind in _KINDS.values() for name in ("index", "right", "logit")),
)


@dataclass(frozen=True, eq=False)
class Pair:
    """One picture.

    Attributes:
        drawn: As the data set has it.
        marked: With the artefact.
        clean: Without it.
        box: `(4,)` of the artefact, in pixels.
    """

    drawn: Sample
    marked: Sample
    clean: Sample
    box: np.ndarray


def pairs_of(samples: Sequence[Sample], node: Mapping[str, Any]) -> dict[str, Pair]:
    """The pairs of some samples, by sample id.

    Args:
        samples: As the data set has them.
        node: The data set's configuration.

    Raises:
        VlgroundError: If the data set has no artefact.
    """
    kind = get_object(node["_target_"])
    if not isinstance(kind, type) or not issubclass(kind, ShapesClassification):
        told = "expected pictures with and without an artefact: dataset=shapes_classification"
        raise VlgroundError(f"dataset: {told}")
    marked, shown, _ = build_dataset({**node, "dot": "always"})
    assert isinstance(marked, ShapesClassification)
    _, hidden, _ = build_dataset({**node, "dot": "never"})
    places = {sample.id: place for place, sample in enumerate(shown)}
    found = {}
    for sample in samples:
        place = places[sample.id]
        box = marked.artefact(place)
        assert box is not None
        found[sample.id] = Pair(sample, shown[place], hidden[place], box)
    return found


def examine(
    scorer: ImageClassifier,
    cam: CAM,
    mask: SoftMask,
    batch: Batch,
    pairs: Mapping[str, Pair],
    target: str,
) -> list[tuple[Sample, Evidence]]:
    """What a classifier makes of a batch with and without the artefact.

    Args:
        scorer: In eval mode, with frozen weights.
        cam: Can read it.
        mask: Makes the crop of which the features are stored.
        batch: Pictures as the data set has them, on the scorer's device.
        pairs: Of these pictures, by sample id.
        target: The class that the artefact was planted in.

    Returns:
        Samples with their evidence: `logits` `(classes,)` and `map` (of the picture's own class) as
        drawn, and `features` `(d,)` of the masked crop if the map shows anything; `marked_logits`,
        `marked_map`, `clean_logits`, `clean_map` (of the target class); names and rightness of the
        predictions; `box` and `frame`. Of an unreadable image why it was `skipped`.
    """
    found: list[tuple[Sample, Evidence]] = [
        (sample, {"skipped": f"unreadable image: {reason}"}) for sample, reason in batch.unreadable
    ]
    if not batch.samples:
        return found
    mine = [pairs[sample.id] for sample in batch.samples]
    device = batch.pixels.device
    logits, maps = _explained(scorer, cam, batch.samples, batch.pixels[batch.owner], None)
    both = {}
    for kind, chosen in (("marked", [p.marked for p in mine]), ("clean", [p.clean for p in mine])):
        pixels = pixels_of(scorer, [s.image for s in chosen]).to(device)
        both[kind] = _explained(scorer, cam, chosen, pixels, target)
    (index,) = scorer.classes.indices(target)
    for n, sample in enumerate(batch.samples):
        evidence: Evidence = {
            "logits": logits[n],
            "map": maps[n],
            "frame": batch.frames[int(batch.owner[n])].to_list(),
            "constant": cam.constant,
            "target": index,
            "box": mine[n].box.tolist(),
        }
        for kind, (scores, grids) in both.items():
            best = int(scores[n].argmax())
            evidence |= {f"{kind}_logits": scores[n], f"{kind}_map": grids[n]}
            evidence |= {f"{kind}_index": best, f"{kind}_predicted": scorer.classes.name(best)}
            evidence[f"{kind}_right"] = best in scorer.classes.indices(sample.label or sample.text)
        found.append((sample, evidence))
    _add_features(scorer, mask, [one for one in found if "map" in one[1]], device)
    return found


def pixels_of(scorer: ImageClassifier, images: Sequence[Any]) -> Tensor:
    """`(n, 3, size, size)` of files or arrays."""
    return torch.stack([scorer.preprocess(load_image(image))[0] for image in images])


def logits_of(scorer: ImageClassifier, images: Sequence[Any], device: torch.device) -> np.ndarray:
    """`(n, classes)` logits of files or arrays."""
    pixels = pixels_of(scorer, images).to(device)
    with torch.no_grad():
        owner = torch.arange(len(pixels), device=device)
        return scorer.logits(scorer.encode(pixels), owner).float().cpu().numpy()


def row_of(sample: Sample, evidence: Evidence) -> dict[str, Any]:
    """A row of `rows.parquet`.

    Args:
        sample: As the data set has it.
        evidence: See `examine`; or why the sample was `skipped`.

    Returns:
        `logit_with` and `logit_without` of the target, and their difference `delta_logit`;
        `predicted_…` (name), `index_…`, `right_…`; `flipped`; `into`, whether it became the target,
        NaN if it was that without the artefact; `mass`, `area` and `lift` of the artefact in the
        target's map (see `mass_inside`), and `mass_without`, `lift_without` of the control.
    """
    label = sample.label or sample.text
    if "skipped" in evidence:
        words = {"label": label, "predicted_with": None, "predicted_without": None}
        return {**row(sample, str(evidence["skipped"])), **words, **dict.fromkeys(_NUMBERS, np.nan)}
    found: dict[str, Any] = {"label": label, "target": evidence["target"]}
    for kind, name in _KINDS.items():
        logits: Any = evidence[f"{kind}_logits"]
        found[f"predicted_{name}"] = evidence[f"{kind}_predicted"]
        found[f"index_{name}"] = evidence[f"{kind}_index"]
        found[f"right_{name}"] = float(evidence[f"{kind}_right"])  # type: ignore[arg-type]
        found[f"logit_{name}"] = float(logits[found["target"]])
    found |= _masses(evidence, "marked")
    control = _masses(evidence, "clean")
    found |= {f"{name}_without": control[name] for name in ("mass", "lift")}
    before, after = found["index_without"], found["index_with"]
    found["delta_logit"] = found["logit_with"] - found["logit_without"]
    found["flipped"] = float(before != after)
    found["into"] = np.nan if before == found["target"] else float(after == found["target"])
    flag = maskable(torch.from_numpy(np.array(evidence["marked_map"]))) or ""
    flag = "" if evidence["constant"] and flag == "constant" else flag
    return {**row(sample), **found, "flag": flag, "degenerate": bool(flag)}


def _masses(evidence: Evidence, kind: str) -> dict[str, float]:
    frame, grid = frame_of(evidence), torch.from_numpy(np.array(evidence[f"{kind}_map"]))
    inside = boxes_to_mask(np.array(evidence["box"]), frame.height, frame.width)
    pixels = frame.grid_to_pixels(grid[None])
    return {k: float(v[0]) for k, v in mass_inside(pixels.numpy(), inside[None].numpy()).items()}


def _explained(
    scorer: ImageClassifier, cam: CAM, samples: Sequence[Sample], pixels: Tensor, text: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Logits `(n, classes)` and maps `(n, gh, gw)` for one text, or for each picture's own."""
    asking = [replace(s, text=text or s.label or s.text) for s in samples]
    texts = [cam.asks(sample) or "" for sample in asking]
    owner = torch.arange(len(pixels), device=pixels.device)
    with torch.inference_mode(False), torch.no_grad():
        encoded = scorer.encode(pixels.clone())
        logits = scorer.logits(encoded, owner)
        maps = cam(scorer, encoded, texts, owner, asking)
    return logits.float().cpu().numpy(), maps.float().cpu().numpy()


def _add_features(
    scorer: ImageClassifier,
    mask: SoftMask,
    found: Sequence[tuple[Sample, Evidence]],
    device: torch.device,
) -> None:
    """Mean over the target layer's cells, of the picture as the mask shows it."""
    shown, crops = [], []
    for sample, evidence in found:
        grid = torch.from_numpy(np.array(evidence["map"]))
        if maskable(grid) is None:
            image = np.asarray(load_image(sample.image))
            crops.append(mask(image, grid, frame_of(evidence), sample))
            shown.append((sample, evidence))
    if not crops:
        return
    layer = next(one for one in scorer.target_layers[::-1] if one.kind == "features")
    texts = [sample.label or sample.text for sample, _ in shown]
    with torch.inference_mode(False), torch.no_grad():
        encoded = scorer.encode(pixels_of(scorer, crops).to(device))
        with Recording([layer]) as recording:
            scorer.score(encoded, texts, torch.arange(len(crops), device=device))
        output = recording.outputs[0].detach().float()
    if output.ndim == 3:
        kept = output if layer.token_mask is None else output[:, layer.token_mask]
        pooled = kept.mean(dim=1)
    else:
        pooled = output.mean(dim=(2, 3))
    for (_, evidence), features in zip(shown, pooled.cpu().numpy(), strict=True):
        evidence["features"] = features
