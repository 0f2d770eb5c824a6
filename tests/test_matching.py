"""Training of matching models: what a batch holds, exact resuming, the AMC loss, what is saved."""

import hashlib
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.cli import results, vlground
from vlground.cams.attention import AttentionGradCAM
from vlground.data.sample import Sample
from vlground.data.shapes.scene import HELD_OUT, draw_scene
from vlground.data.shapes.stream import TextStream
from vlground.models.blip import BlipMatching
from vlground.run import CONF
from vlground.tasks.amc import AttentionMaskConsistency, consistency_loss
from vlground.tasks.matching import Matching

VOCABULARY = str(CONF.parent / "src" / "vlground" / "miniatures" / "vocabulary")
TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
ARCHITECTURE = {
    "image_text_hidden_size": 16,
    "vision_config": {**TOWER, "image_size": 96, "patch_size": 24},
    "text_config": {
        **TOWER,
        "vocab_size": 37,
        "max_position_embeddings": 24,
        "encoder_hidden_size": 16,
        "is_decoder": True,
        "bos_token_id": 5,
        "sep_token_id": 3,
        "eos_token_id": 3,
    },
}
OPTIONS = {
    "steps": 3,
    "pretraining_epochs": 1,
    "epochs": 3,
    "pretraining_rate": 5e-3,
    "vision_rate": 2e-3,
    "text_rate": 2e-3,
    "weight_decay": 0.05,
    "warmup": 2,
    "auxiliary": 0.05,
    "export": None,
    "consistency": 1.0,
    "mean_margin": 0.1,
    "peak_margin": 0.5,
    "resolution": 48,
}
STREAM = TextStream(seed=3, images=4, texts=2, relations=0.2, referring=0.2)


def scorer() -> BlipMatching:
    torch.manual_seed(1)
    return BlipMatching(
        architecture=ARCHITECTURE, tokenizer=VOCABULARY, layer=0, context=24, enc_token_id=6
    )


def task(folder: Path, kind: type[Matching] = Matching, **options: Any) -> Matching:
    model = scorer()
    made = kind(model, STREAM, samples(4), {**OPTIONS, **options}, folder)
    if isinstance(made, AttentionMaskConsistency):
        made.cam = AttentionGradCAM(tokens="all")
    return made


def samples(count: int) -> list[Sample]:
    batch = STREAM.batch(99)
    return [
        Sample(str(i), str(i), batch.images[i], "a red star", "a blue ring") for i in range(count)
    ]


class Stop(lightning.Callback):
    """Ends the process's work at the beginning of an epoch, as a kill would."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("stopped")


def carry_out(made: Matching, callbacks: list[lightning.Callback] | None = None) -> None:
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
    )
    made.carry_out(trainer)


def weights(made: Matching) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in made.scorer.state_dict().items()}


def test_a_batch_is_the_same_whenever_it_is_drawn():
    first, again = STREAM.batch(7), STREAM.batch(7)
    assert (first.images == again.images).all()
    assert first.texts == again.texts
    assert STREAM.batch(8).texts != first.texts
    assert TextStream(4, 4, 2).batch(7).texts != first.texts


def test_true_texts_are_true_foils_are_not_and_nothing_held_out_is_said():
    stream = TextStream(seed=0, images=40, texts=6, relations=0.0, referring=0.0)
    batch = stream.batch(0)
    scenes = [draw_scene(("train", 0, 0, number), (3, 6)) for number in range(40)]
    for text, owner, fits, boxes in zip(
        batch.texts, batch.owner.tolist(), batch.fits.tolist(), batch.boxes, strict=True
    ):
        _, colour, shape = text.split()
        found = [thing.box for thing in scenes[owner].things if thing.pair == (colour, shape)]
        assert bool(fits) == bool(found), text
        assert boxes.tolist() == [list(box) for box in found]
        assert (colour, shape) not in HELD_OUT
    assert batch.fits.tolist() == [1, 0] * (len(batch.texts) // 2)


def test_an_interrupted_training_ends_with_the_numbers_of_one_that_was_not(tmp_path: Path):
    whole = task(tmp_path / "whole")
    carry_out(whole)
    broken = task(tmp_path / "broken")
    with pytest.raises(RuntimeError, match="stopped"):
        carry_out(broken, [Stop(2)])
    resumed = task(tmp_path / "broken")
    for weight in resumed.scorer.parameters():
        torch.nn.init.zeros_(weight)  # all must come from the checkpoint
    carry_out(resumed)
    expected = weights(whole)
    for name, tensor in weights(resumed).items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.table.equals(whole.table)


def test_pretraining_leaves_the_text_alone_and_matching_trains_all(tmp_path: Path):
    def changed(folder: Path, **options: Any) -> set[bool]:
        made = task(folder, **options)
        before = weights(made)
        carry_out(made)
        after = weights(made)
        return {
            not torch.equal(before[name], after[name])
            for name in before
            if "text_encoder.encoder" in name and "weight" in name
        }

    assert changed(tmp_path / "a", pretraining_epochs=2, epochs=0) == {False}
    assert changed(tmp_path / "b", pretraining_epochs=0, epochs=2) == {True}


def test_the_loss_falls(tmp_path: Path):
    made = task(tmp_path, steps=40, pretraining_epochs=0, epochs=1, auxiliary=0.0)
    before = float(made.loss(STREAM.batch(0), pretraining=False).detach())
    carry_out(made)
    assert float(made.loss(STREAM.batch(0), pretraining=False).detach()) < before


def test_what_is_saved_scores_as_what_was_trained(tmp_path: Path):
    made = task(tmp_path, export=str(tmp_path / "export"))
    carry_out(made)
    loaded = BlipMatching(pretrained=str(tmp_path / "export"), layer=0, context=24, enc_token_id=6)
    pixels, owner = torch.randn(1, 3, 96, 96), torch.zeros(1, dtype=torch.long)
    scores = [
        float(one.score(one.encode(pixels), ["a red star"], owner)) for one in (made.scorer, loaded)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=2e-3)  # half precision on disk


def test_the_consistency_loss_is_that_of_a_literal_loop():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 4, 4, generator=generator)
    inside = torch.zeros(3, 8, 8, dtype=torch.bool)
    for number, (y, x) in enumerate([(0, 0), (2, 3), (4, 1)]):
        inside[number, y : y + 4, x : x + 3] = True
    within, without, peaks = [], [], []
    for one, mask in zip(maps, inside.numpy(), strict=True):
        positive = np.maximum(one.numpy(), 0)
        scaled = (positive - positive.min()) / (positive.max() - positive.min() + 1e-7)
        large = torch.nn.functional.interpolate(
            torch.tensor(scaled)[None, None], (8, 8), mode="bilinear"
        )[0, 0].numpy()
        within += large[mask].tolist()
        without += large[~mask].tolist()
        peaks.append(max(0.0, large[~mask].max() - large[mask].max() + 0.5))
    expected = max(0.0, np.mean(without) - np.mean(within) + 0.1) + np.mean(peaks)
    assert float(consistency_loss(maps, inside, 8)) == pytest.approx(expected, rel=1e-5)


def test_the_consistency_loss_is_zero_where_maps_lie_in_boxes_and_reaches_the_attention():
    inside = torch.zeros(1, 8, 8, dtype=torch.bool)
    inside[0, :4, :4] = True
    good = torch.zeros(1, 4, 4)
    good[0, 0, 0] = 1.0
    assert float(consistency_loss(good, inside, 8, mean_margin=0.1, peak_margin=0.5)) == 0
    assert float(consistency_loss(good.flip(1), inside, 8)) > 1


def test_descending_the_amc_loss_brings_maps_into_boxes(tmp_path: Path):
    made = task(tmp_path, AttentionMaskConsistency, auxiliary=0.0, consistency=5.0)
    batch = STREAM.batch(0)
    optimizer = torch.optim.Adam(made.scorer.parameters(), lr=3e-3)

    def consistency() -> float:
        with torch.no_grad():
            plain = Matching.loss(made, batch, pretraining=False)
        return float(made.loss(batch, pretraining=False).detach() - plain) / 5.0

    before = consistency()
    for _ in range(40):
        optimizer.zero_grad()
        made.loss(batch, pretraining=False).backward()
        optimizer.step()
    assert consistency() < 0.8 * before


def test_an_experiment_trains_saves_and_is_done_afterwards(tmp_path: Path):
    options = ["experiment=miniature_albef", "task.pretraining_epochs=1", "task.epochs=1"]
    options += ["task.steps=2", "task.stream.images=4", "dataset.samples=20", "logger=none"]
    vlground(*options, "task.export=out", cwd=tmp_path)
    (result,) = results(tmp_path / "runs")
    assert result["task"] == "matching"
    assert result["choices"]["model"] == "mini_albef"
    assert "cam" not in result["choices"]
    assert result["scores"]["accuracy"]["n"] == 40
    assert "done already" in vlground(*options, "task.export=out", cwd=tmp_path)
    tuned = ["experiment=miniature_albef_amc", "task.epochs=1", *options[3:]]
    vlground(*tuned, "model.checkpoint=out/model.safetensors", cwd=tmp_path)
    amc = next(r for r in results(tmp_path / "runs") if r["task"] == "amc")
    assert amc["choices"]["cam"] == "attention_gradcam"
    weights_of = amc["identity"]["stage"]["checksums"]["model.checkpoint"]
    assert (
        weights_of == hashlib.sha256((tmp_path / "out/model.safetensors").read_bytes()).hexdigest()
    )
