"""`task=amc`: fine-tune a matching model so that its attention Grad-CAM lies in the boxes.

Attention Mask Consistency (Yang et al. 2023, https://arxiv.org/abs/2206.15462), after its code.
"""

import numpy as np
import torch
from torch import Tensor, nn

from vlground.cams.attention import AttentionGradCAM, attention_maps
from vlground.cams.gradient import choose_layer
from vlground.cell import Cell
from vlground.config import build
from vlground.data.shapes.stream import TextBatch
from vlground.errors import VlgroundError
from vlground.gradients import Recording
from vlground.tasks.matching import Matching


class AttentionMaskConsistency(Matching):
    """Matching, and a loss on the maps of the true texts; the CAM is the run's own.

    Options of the task's node beside those of `Matching`: `consistency` (weight), `mean_margin`,
    `peak_margin`, `resolution` (side of the maps in the loss, in pixels).
    """

    version = 1
    cam: AttentionGradCAM

    @classmethod
    def of(cls, cell: Cell) -> "AttentionMaskConsistency":
        """See the base class.

        Raises:
            VlgroundError: Likewise, or if the CAM is another one than attention Grad-CAM.
        """
        task = super().of(cell)
        cam = build(cell.node["cam"])
        if not isinstance(cam, AttentionGradCAM):
            raise VlgroundError(f"cam={cell.choices['cam']}: AMC trains cam=attention_gradcam")
        task.cam = cam
        return task

    def loss(self, batch: TextBatch, pretraining: bool) -> Tensor:
        """Matching, and the consistency of maps and boxes."""
        encoded = self.encode(batch)
        layer = choose_layer(self.scorer, self.cam.needs, self.cam.layer)
        with Recording([layer]) as recording:
            logits = self.scorer.logits(encoded, batch.texts, batch.owner)
        loss = nn.functional.cross_entropy(logits, batch.fits.to(logits.device))
        if self.options["auxiliary"]:
            loss = loss + self.options["auxiliary"] * self.presence_loss(encoded, batch.pairs)
        true = batch.fits.bool().to(logits.device)
        attention = recording.outputs[0]
        (gradient,) = torch.autograd.grad(logits[true, 1].sum(), attention, create_graph=True)
        assert layer.token_mask is not None
        maps = attention_maps(
            attention[true],
            gradient[true],
            layer.token_mask[true],
            layer.grid,
            self.cam.heads,
            self.cam.tokens,
            self.cam.gradient,
            layer.end_token,
        )
        side = self.stream.side
        inside = torch.stack([_mask(boxes, side) for boxes in batch.boxes if len(boxes)])
        consistency = consistency_loss(
            maps,
            inside.to(maps.device),
            self.options["resolution"],
            self.options["mean_margin"],
            self.options["peak_margin"],
        )
        return loss + self.options["consistency"] * consistency


def consistency_loss(
    maps: Tensor,
    inside: Tensor,
    resolution: int,
    mean_margin: float = 0.1,
    peak_margin: float = 0.5,
) -> Tensor:
    """The two hinges of AMC on maps that are made non-negative, min-max normalised and resized.

    The mean outside is to stay below the mean inside by a margin (both over the batch, as its code
    does), and of every map the maximum outside below the maximum inside.

    Args:
        maps: `(q, gh, gw)` with a graph.
        inside: `(q, height, width)` bool, the pixels of the boxes.
        resolution: Side to which maps are resized, bilinear (256 in AMC).
        mean_margin: Of the means.
        peak_margin: Of the maxima.

    Returns:
        Their sum, not negative.
    """
    flat = maps.relu().flatten(1)
    flat = flat - flat.amin(dim=1, keepdim=True)
    flat = flat / (flat.amax(dim=1, keepdim=True) + 1e-7)
    size = (resolution, resolution)
    drawn = flat.view(len(maps), 1, *maps.shape[1:])
    drawn = nn.functional.interpolate(drawn, size, mode="bilinear").flatten(1)
    mask = nn.functional.interpolate(inside[:, None].float(), size, mode="nearest").flatten(1)
    within, without = drawn * mask, drawn * (1 - mask)
    means = without.sum() / (1 - mask).sum() - within.sum() / mask.sum() + mean_margin
    peaks = without.amax(dim=1) - within.amax(dim=1) + peak_margin
    return means.relu() + peaks.relu().mean()


def _mask(boxes: np.ndarray, side: int) -> Tensor:
    mask = torch.zeros(side, side, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes.astype(int).tolist():
        mask[y0:y1, x0:x1] = True
    return mask
