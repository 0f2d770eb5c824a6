"""`task=detection`: train a small OWLv2 on drawn scenes, and measure it as a detector of others.

scenes, texts ──▶ what each patch shows, its box ──▶ model/ ──Owlv2Detector──▶ held-out scenes
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.ops import box_iou

from vlground.cell import Cell
from vlground.config import build
from vlground.contracts import Detection
from vlground.data.batches import evidence_loader
from vlground.data.sample import Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.language import Description
from vlground.data.shapes.scene import COLOURS, HELD_OUT, SHAPES, SIZES, Scene, generator
from vlground.data.shapes.writing import PARTNERS
from vlground.detectors.owl import Owlv2Detector
from vlground.metrics.statistics import bootstrap_mean
from vlground.tasks.epochs import EpochTraining
from vlground.tasks.matching import row
from vlground.training.open_vocabulary import DetectionStream, detection_loss
from vlground.whole import one_line_on_failure

# Of scores -> of what is asked.
_KINDS = {"noun": ("noun", "partner"), "partner": ("partner",), "described": ("described",)}


class DetectorTraining(EpochTraining):
    """Trains an OWLv2 of transformers from random weights; measured as it is loaded afterwards.

    See the base class; a batch depends on (seed, step) alone and nothing is dropped out.

    Args:
        network: An `Owlv2ForObjectDetection`.
        processor: Of the network.
        stream: Where scenes and texts come from.
        samples: Of dataset=shapes_captions, on which it is measured, at the end.
        options: The task's node: `steps` an epoch, `epochs`, `rate`, `head_rate` and `text_rate`
            (of learning, the highest), `weight_decay` (of matrices), `warmup` (steps), `threshold`
            (of presence, when it is measured).
        directory: Of the run.
    """

    version = 1

    def __init__(
        self,
        network: Any,  # noqa: ANN401 - of transformers
        processor: Any,  # noqa: ANN401
        stream: DetectionStream,
        samples: Sequence[Sample],
        options: Mapping[str, Any],
        directory: Path,
    ) -> None:
        super().__init__(samples, options, directory)
        self.automatic_optimization = False
        self.network, self.processor, self.stream = network, processor, stream
        vision = network.config.vision_config
        self._patches = vision.image_size // vision.patch_size
        self._asked: list[dict[str, Any]] = []

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """The task of a cell, with its network drawn from the seed.

        Raises:
            VlgroundError: If the architecture is none.
        """
        node = cell.node
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(node["seed"]))
            network, processor = build(node["task"]["initial"])
        stream = build(node["task"]["stream"])
        return cls(network, processor, stream, cell.samples, node["task"], cell.directory)

    def trained(self) -> None:
        """See the base class."""
        self.network.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """See the base class; in half precision."""
        state = self.network.state_dict()
        half = {n: w.half() if w.is_floating_point() else w for n, w in state.items()}
        with one_line_on_failure(folder):
            self.network.save_pretrained(folder, state_dict=half)
            self.processor.save_pretrained(folder)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the matrices of the vision tower's layers, AdamW for all else; text by itself.

        See `ShapesTraining`; a text tower that learns as fast as the rest gives all texts one
        embedding.
        """
        owl = self.network.owlv2
        layers = owl.vision_model.encoder.layers
        matrices = [weight for weight in layers.parameters() if weight.ndim == 2]
        texts = [*owl.text_model.parameters(), *owl.text_projection.parameters()]
        known = {id(weight) for weight in (*matrices, *texts)}
        others = [weight for weight in self.network.parameters() if id(weight) not in known]
        muon = [{"params": matrices, "rate": self.options["rate"]}]
        parts = ((others, "head_rate"), (texts, "text_rate"))
        adamw = [{"params": weights, "rate": self.options[name]} for weights, name in parts]
        decay = self.options["weight_decay"]
        return [
            torch.optim.Muon(muon, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(adamw, weight_decay=0.0, betas=(0.9, 0.98)),
        ]

    def train_dataloader(self) -> DataLoader[int]:
        """The step numbers of an epoch; `training_step` draws the batch itself."""
        return DataLoader(range(self.options["steps"]), batch_size=None)  # type: ignore[arg-type]

    def training_step(self, number: int, batch_idx: int) -> None:
        """One step; the rate warms up, then falls along half a cosine."""
        step = self.current_epoch * self.options["steps"] + batch_idx
        batch = self.stream.batch(step, self._patches)
        loss = detection_loss(
            self.network, self.processor.tokenizer, self._pixels(batch.images), batch
        )
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        through = step / (self.options["steps"] * self.all_epochs)
        share = min(1.0, step / self.options["warmup"]) * 0.5 * (1 + math.cos(math.pi * through))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * share
            optimizer.step()
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, batch_size=1)

    def test_dataloader(self) -> DataLoader[Sample]:  # type: ignore[override]
        """The samples in lists; the detector reads the images itself."""
        return evidence_loader(self.samples)

    def transfer_batch_to_device(  # type: ignore[override]
        self, batch: list[Sample] | int, device: torch.device, dataloader_idx: int
    ) -> list[Sample] | int:
        """Nothing to move."""
        return batch

    def on_test_start(self) -> None:
        """Measure what was saved, by the class that reads real checkpoints."""
        folder = str(self.directory / "model")
        self._detector = Owlv2Detector(folder, template="{}", device=str(self.device))
        self._asked = []

    def test_step(self, batch: list[Sample]) -> None:  # type: ignore[override]
        """Ask for every shape, for every object as it is, and for objects that are not there."""
        for sample in batch:
            scene = scene_of(sample.image_id)
            asked = list(asked_of(scene))
            (found,) = self._detector.detect([sample], [[said.text for said, _ in asked]])
            for (said, kind), one in zip(asked, found, strict=True):
                self._asked.append(_answer(sample, scene, said, kind, one))

    def on_test_epoch_end(self) -> None:
        """One row a sample: the share of what was asked that was told rightly is `match`."""
        asked = pandas.DataFrame(self._asked)
        right = (asked["probability"] > self.options["threshold"]) == asked["there"]
        shares = right.groupby(asked["sample"]).mean()
        self.table = pandas.DataFrame(
            [{**row(sample), "match": float(shares[sample.id])} for sample in self.samples]
        )

    def scores(self) -> dict[str, dict[str, Any]]:
        """How often it is right, with intervals over images.

        Returns:
            `found/KIND`: share of what is there that is found (a presence above `task.threshold`);
            `rejected/KIND`: share of what is not there that is not. KIND noun: a shape; partner: a
            shape that is not there while its partner is; described: an object as it is, or with
            another colour or size than any has. `box_iou`: of described objects that are there, the
            best box's overlap with the nearest of those that fit; `box_iou_50`: share of at least
            one half.
        """
        asked = pandas.DataFrame(self._asked)
        above = (asked["probability"] > self.options["threshold"]).to_numpy()
        there, images = asked["there"].to_numpy(dtype=bool), asked["image_id"].to_numpy(dtype=str)
        found: dict[str, dict[str, Any]] = {}
        for kind, members in _KINDS.items():
            mine = asked["kind"].isin(members).to_numpy()
            for name, chosen, right in (
                ("found", mine & there, above),
                ("rejected", mine & ~there, ~above),
            ):
                if chosen.any():
                    one = bootstrap_mean(right[chosen].astype(float), images[chosen].tolist())
                    found[f"{name}/{kind}"] = asdict(one)
        overlap = asked["iou"].to_numpy(dtype=float)
        for name, values in (("box_iou", overlap), ("box_iou_50", (overlap >= 0.5) * 1.0)):
            known = ~np.isnan(overlap)
            found[name] = asdict(bootstrap_mean(values[known], images[known].tolist()))
        return found

    def _pixels(self, images: np.ndarray) -> Tensor:
        """As the processor makes them of images of this size."""
        read = self.processor.image_processor
        mean, std = (
            torch.tensor(three, device=self.device).view(3, 1, 1)
            for three in (read.image_mean, read.image_std)
        )
        pixels = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255
        return (pixels - mean) / std


def asked_of(scene: Scene) -> Iterator[tuple[Description, str]]:
    """What is asked of a held-out scene, and of which kind it is; see `DetectorTraining.scores`."""
    there = {thing.shape for thing in scene.things}
    for shape in SHAPES:
        absent = shape not in there
        yield Description(shape), "partner" if absent and PARTNERS[shape] in there else "noun"
    random = generator("asked", scene.name)
    for thing in scene.things:
        said = Description(thing.shape, thing.colour, thing.size)
        yield said, "described"
        changed = [Description(thing.shape, colour, thing.size) for colour in COLOURS]
        changed += [Description(thing.shape, thing.colour, size) for size in SIZES]
        false = [
            one
            for one in changed
            if not one.referents(scene) and (one.colour, one.shape) not in HELD_OUT
        ]
        yield random.choice(false), "described"


def _answer(
    sample: Sample, scene: Scene, said: Description, kind: str, found: Detection
) -> dict[str, Any]:
    fitting = [scene.things[place].box for place in said.referents(scene)]
    iou = np.nan
    if kind == "described" and fitting:
        best = torch.from_numpy(found.boxes[:1].reshape(-1, 4)).double()
        overlap = box_iou(best, torch.tensor(fitting).double())
        iou = float(overlap.max()) if len(best) else 0.0
    return {
        "sample": sample.id,
        "image_id": sample.image_id,
        "kind": kind,
        "there": bool(fitting),
        "probability": found.probability,
        "iou": iou,
    }
