"""A small fine-tuning on drawn scenes."""

from pathlib import Path
from typing import Any

import lightning
from tests.training.parts import tiny_captioner

from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions
from vlground.tasks.finetuning import Finetuning
from vlground.training.mixture import Mixture
from vlground.training.patches import PatchPretraining
from vlground.training.shapes_dialogues import ShapesDialogues

PROMPT = "Describe this image in detail."
ERRORS = {"hallucination": 0.2}
OPTIONS: dict[str, Any] = {
    "prompt": PROMPT,
    "epochs": 1,
    "steps": 5,
    "accumulate": 1,
    "average": "tokens",
    "optimizer": "adamw",
    "learning_rate": 5e-3,
    "warmup": 2,
    "schedule": "cosine",
    "weight_decay": 0.05,
    "clip": 1.0,
    "max_tokens": 96,
    "freeze": [],
    "adapter": {"kind": "none"},
    "gradient_checkpointing": False,
    "checkpoint_every": 3,
    "saved_as": "float32",
    "export": None,
}


def samples(count: int = 3) -> list[Sample]:
    data = ShapesCaptions(count, "val", "in", "plain", 96, seed=0)
    return [data[index] for index in range(count)]


def task(
    folder: Path, stage: str = "training-0", dropout: float = 0.0, **options: Any
) -> Finetuning:
    """Two steps of pretraining, five of fine-tuning, a checkpoint after every third."""
    network, processor = tiny_captioner()
    for layer in network.model.language_model.layers:
        layer.self_attn.attention_dropout = dropout
    mixture = Mixture(ShapesDialogues(0, 12, PROMPT, ERRORS), ShapesDialogues(0, 5), 0.25, 4, 0)
    chosen = {**OPTIONS, **options}
    steps = 2 if chosen.pop("pretraining", True) else 0
    pretraining = PatchPretraining(0, steps, 16, batch=4) if steps else None
    return Finetuning(
        network, processor, mixture, samples(), chosen, folder, stage, pretraining=pretraining
    )


def carry_out(
    made: Finetuning,
    callbacks: list[lightning.Callback] | None = None,
    devices: int = 1,
    strategy: str = "auto",
    precision: str = "32-true",
) -> None:
    """As the command does."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategy,
        precision=precision,
        logger=False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        default_root_dir=str(made.directory),
    )
    made.carry_out(trainer)
