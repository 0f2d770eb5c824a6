"""Conformance checks for your own scorer, CAM or data set; call them from your tests.

Each raises an AssertionError that says what the contract asks and what was found.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vlground.contracts import CAM, Encoded, Scorer, TargetLayer, check_pair
from vlground.data.images import load_image
from vlground.data.sample import DataSet, Sample, manifest
from vlground.gradients import differentiate


def check_scorer(scorer: Scorer, texts: Sequence[str], tolerance: float = 1e-4) -> None:
    """Check a scorer on noise images.

    Args:
        scorer: On the CPU.
        texts: At least two different ones that it knows.
        tolerance: Relative, of what batching may change.
    """
    assert len(set(texts)) >= 2, "give two different texts"
    scorer = scorer.eval().requires_grad_(False)
    size = scorer.preprocess.size
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    asked, owner = [*texts, *texts], torch.tensor([0] * len(texts) + [1] * len(texts))
    for text in texts:
        assert scorer.knows(text), f"knows({text!r}) is False"
    assert not scorer.knows(" "), "knows(' ') is True, but there is nothing to ask"
    with torch.no_grad():
        encoded = scorer.encode(pixels)
        scores = scorer.score(encoded, asked, owner)
    assert len(encoded.features) == 2, "the first axis of Encoded.features is the image"
    assert scores.shape == (len(asked),), f"score gives {tuple(scores.shape)}, not (q,)"
    assert torch.isfinite(scores).all(), "a score is not finite"
    _same(scorer, pixels, asked, owner, scores, tolerance)
    assert scorer.target_layers, "it names no target layer"
    for layer in scorer.target_layers:
        _check_layer(scorer, layer, encoded, asked, owner)
    left = [name for name, weight in scorer.named_parameters() if weight.grad is not None]
    assert not left, f"gradients were left on {left[:3]}"


def check_cam(cam: CAM, scorer: Scorer, samples: Sequence[Sample], tolerance: float = 1e-4) -> None:
    """Check a CAM with a scorer that it can read.

    Args:
        cam: What is checked.
        scorer: On the CPU, conforming to `check_scorer`.
        samples: At least two that the scorer knows, of at least one image.
        tolerance: Relative, of what batching may change.
    """
    check_pair(scorer, cam)
    scorer = scorer.eval().requires_grad_(False)
    inputs = [scorer.preprocess(load_image(sample.image))[0] for sample in samples]
    texts = [cam.asks(sample) or "" for sample in samples]
    hooks = [len(layer.module._forward_hooks) for layer in scorer.target_layers]

    def draw(chosen: list[int]) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            encoded = scorer.encode(torch.stack([inputs[i] for i in chosen]))
            asked, owners = [texts[i] for i in chosen], torch.arange(len(chosen))
            maps: Tensor = cam(scorer, encoded, asked, owners, [samples[i] for i in chosen])
        return maps

    everything = list(range(len(samples)))
    maps = draw(everything)
    assert maps.ndim == 3, f"maps are {tuple(maps.shape)}, not (q, gh, gw)"
    assert len(maps) == len(samples), f"{len(maps)} maps for {len(samples)} samples"
    assert maps.dtype == torch.float32, f"maps are {maps.dtype}, not float32"
    assert not maps.requires_grad, "maps carry a graph; detach them"
    assert torch.equal(maps, draw(everything)), "two calls differ: draw from (seed, sample.id)"
    with torch.inference_mode():  # as inside Trainer.predict
        _close(draw(everything), maps, tolerance, "inference mode changes the maps")
    _close(draw(everything[::-1]).flip(0), maps, tolerance, "the order of a batch changes the maps")
    for i in everything:
        _close(draw([i])[0], maps[i], tolerance, "the other samples of a batch change a map")
    if cam.constant:
        assert (maps == maps.amax(dim=(1, 2), keepdim=True)).all(), "constant, but it is not"
    after = [len(layer.module._forward_hooks) for layer in scorer.target_layers]
    assert after == hooks, "hooks were left on the target layers"


def check_dataset(dataset: DataSet, images: int = 3) -> None:
    """Check a data set.

    Args:
        dataset: What is checked.
        images: How many of its images are read.
    """
    samples = [dataset[index] for index in range(len(dataset))]
    assert samples, f"it has no samples; skipped: {dict(dataset.skipped)}"
    ids = [sample.id for sample in samples]
    assert len(set(ids)) == len(ids), "two samples have the same id"
    order = list(dict.fromkeys(sample.image_id for sample in samples))
    places = [order.index(sample.image_id) for sample in samples]
    assert places == sorted(places), "samples of one image do not follow each other"
    again = [dataset[index] for index in range(len(dataset))]
    assert manifest(again) == manifest(samples), "indexing twice gives different samples"
    for sample in samples:
        _check_sample(sample)
    for sample in samples[:images]:
        assert load_image(sample.image).mode == "RGB"
    for reason, count in dataset.skipped.items():
        assert isinstance(reason, str), f"skipped[{reason!r}]: a reason is a text"
        assert count > 0, f"skipped[{reason!r}] is {count}"


def _check_sample(sample: Sample) -> None:
    assert sample.text.strip(), f"{sample.id}: the text is empty"
    assert sample.foil != sample.text, f"{sample.id}: the foil is the text"
    boxes = sample.boxes
    assert isinstance(boxes, np.ndarray), f"{sample.id}: boxes are {type(boxes).__name__}"
    assert boxes.ndim == 2, f"{sample.id}: boxes are {boxes.shape}, not (k, 4)"
    assert boxes.shape[1] == 4, f"{sample.id}: boxes are {boxes.shape}, not (k, 4)"
    assert (boxes[:, 2:] > boxes[:, :2]).all(), f"{sample.id}: a box is not x0 < x1, y0 < y1"
    if sample.mask is not None:
        assert sample.mask.dtype == np.bool_, f"{sample.id}: the mask is {sample.mask.dtype}"


def _check_layer(
    scorer: Scorer, layer: TargetLayer, encoded: Encoded, texts: list[str], owner: Tensor
) -> None:
    (activation,), (gradient,) = differentiate(scorer, [layer], encoded, texts, owner)
    cells = layer.grid[0] * layer.grid[1]
    name = f"target layer {layer.name}"
    assert len(activation) == len(texts), f"{name}: its first axis is not the text"
    if layer.kind in ("cross_attention", "text_attention"):
        assert layer.token_mask is not None, f"{name}: score did not set token_mask"
        assert layer.token_mask.shape == activation.shape[::2], f"{name}: token_mask is not (q, to)"
        _check_text(layer, activation, cells)
    elif activation.ndim == 4 and layer.kind == "features":
        found = tuple(activation.shape[2:])
        assert found == layer.grid, f"{name}: it is {found}, not its grid {layer.grid}"
    else:
        tokens = activation.shape[1] if layer.kind == "features" else activation.shape[-1]
        images = tokens if layer.token_mask is None else int(layer.token_mask.sum())
        assert images == cells, f"{name}: {images} image tokens, but {cells} cells"
    assert torch.isfinite(gradient).all(), f"{name}: a gradient is not finite"
    assert gradient.abs().max() > 0, f"{name}: the score does not depend on it"
    assert not layer.module._forward_hooks, f"{name}: hooks were left"


def _check_text(layer: TargetLayer, activation: Tensor, cells: int) -> None:
    read, name = activation.shape[-1], f"target layer {layer.name}"
    if layer.kind == "cross_attention":
        assert read >= cells, f"{name}: fewer image tokens than cells"
        return
    assert read == activation.shape[-2], f"{name}: it is not of text tokens to each other"
    assert layer.token_mask is not None
    padding = activation.masked_fill(layer.token_mask[:, None, None], 0)
    assert not padding.any(), f"{name}: tokens that do not count are attended to"


def _same(
    scorer: Scorer,
    pixels: Tensor,
    texts: list[str],
    owner: Tensor,
    scores: Tensor,
    tolerance: float,
) -> None:
    """One by one and in reverse, every score is what it was in the batch."""
    with torch.no_grad():
        encoded = scorer.encode(pixels)
        turned = scorer.score(encoded, texts[::-1], owner.flip(0)).flip(0)
        _close(turned, scores, tolerance, "the order of texts changes the scores")
        for i, text in enumerate(texts):
            alone = scorer.encode(pixels[owner[i]][None])
            single = scorer.score(alone, [text], torch.zeros(1, dtype=torch.long))[0]
            _close(single, scores[i], tolerance, "a score depends on its batch mates")


def _close(found: Tensor, expected: Tensor, tolerance: float, message: str) -> None:
    assert found.shape == expected.shape, f"{message}: {found.shape} and {expected.shape}"
    scale = max(float(expected.abs().max()), 1e-6)
    difference = float((found - expected).abs().max())
    assert difference <= tolerance * scale, f"{message} (by {difference:.2g})"
