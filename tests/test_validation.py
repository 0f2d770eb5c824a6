"""The callback in somebody's training: it leaves no trace there, and its numbers are the task's."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas
import pytest
import torch
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import BlipForImageTextRetrieval

from tests.cli import ENVIRONMENT, results, vlground
from tests.wandb_file import OfflineRun
from vlground.cams.attention import AttentionGradCAM
from vlground.cams.baselines import Uniform
from vlground.cams.gradient import GradCAM
from vlground.cams.library import LibraryCAM
from vlground.contracts import CAM, Encoded, Scorer, TargetLayer
from vlground.data.sample import Sample
from vlground.data.shapes.sets import ShapesPhrases
from vlground.data.shapes.stream import TextStream
from vlground.errors import ImpossiblePairError, VlgroundError
from vlground.models.bert_text import BertTokens
from vlground.models.blip import BlipMatching
from vlground.preprocess import Preprocess
from vlground.run import CONF
from vlground.tracking import flat_scores
from vlground.validation import GroundingValidation

FOLDER = CONF.parent / "src" / "vlground" / "miniatures" / "mini_blip"
PAGE = (CONF.parent / "docs" / "fine_tuning_callback.md").read_text()
STREAM = TextStream(seed=0, images=2, texts=2)


@cache
def phrases(count: int = 6) -> ShapesPhrases:
    return ShapesPhrases(count, "test", "in", "plain", 96, seed=0)


class FineTuning(LightningModule):
    """Somebody's module: all that a forward in the wrong mode would betray, and draws everywhere.

    A BatchNorm before the model and dropout behind it; some weights are frozen, some layers in eval
    mode; augmentation draws from Python and NumPy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.vlm = BlipForImageTextRetrieval.from_pretrained(FOLDER, dtype=torch.float32).train()
        self.norm = nn.BatchNorm2d(3, momentum=0.5)
        self.dropout = nn.Dropout(0.3)
        self.vlm.vision_model.embeddings.requires_grad_(False)
        self.tokens = BertTokens(str(FOLDER), context=24)
        self.losses: list[float] = []

    def forward(self, number: int) -> Tensor:
        batch = STREAM.batch(number)
        pixels = torch.from_numpy(batch.images).permute(0, 3, 1, 2).float() / 255
        ids, mask = self.tokens.tokenize(batch.texts)
        seen = self.vlm.vision_model(self.norm(pixels * random.uniform(0.9, 1.1)))
        image = self.dropout(seen.last_hidden_state)[batch.owner] + np.random.normal(0, 0.01)
        hidden = self.vlm.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=image
        ).last_hidden_state
        return nn.functional.cross_entropy(self.vlm.itm_head(hidden[:, 0]).float(), batch.fits)

    def on_train_start(self) -> None:
        self.vlm.vision_model.post_layernorm.eval()

    def training_step(self, number: int) -> Tensor:
        loss = self(number + 10 * self.current_epoch + 100 * self.global_rank)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, number: int) -> None:
        self.log("val/loss", self(number + 1000), batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class LiveScorer(Scorer):
    """What a user writes around the module itself: no copy, its own modules, its own target."""

    def __init__(self, module: FineTuning) -> None:
        super().__init__()
        self.preprocess = Preprocess(size=96, mean=(0, 0, 0), std=(1, 1, 1))
        self.module = module
        tap, image = module.vlm.vision_model.post_layernorm, torch.arange(65) > 0
        self.target_layers = (TargetLayer("tokens", tap, "features", (8, 8), image),)

    def encode(self, pixels: Tensor) -> Encoded:
        vision = self.module.vlm.vision_model
        hidden = vision.embeddings(self.module.norm(pixels))
        for block in vision.encoder.layers:
            hidden = block(hidden)
        return Encoded(pixels, self.module.dropout(hidden))

    def score(self, encoded: Encoded, texts: Sequence[str], owner: Tensor) -> Tensor:
        vlm = self.module.vlm
        image = vlm.vision_model.post_layernorm(encoded.features[owner])
        ids, mask = self.module.tokens.tokenize(texts)
        hidden = vlm.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=image
        ).last_hidden_state
        return vlm.itm_head(hidden[:, 0])[:, 1]

    def knows(self, text: str) -> bool:
        return self.module.tokens.knows(text)


class Counting(LiveScorer):
    """Notes how many images it encodes at once."""

    rows: ClassVar[list[int]] = []

    def encode(self, pixels: Tensor) -> Encoded:
        self.rows.append(len(pixels))
        return super().encode(pixels)


@cache
def built() -> BlipMatching:
    return BlipMatching(str(FOLDER), layer=2, context=24, enc_token_id=6)


def copied(module: LightningModule) -> Scorer:
    """What the page tells users to do with a scorer of ours."""
    built().network.load_state_dict(module.vlm.state_dict())
    return built()


def made_anew(module: LightningModule) -> Scorer:
    """A copy in train mode, made at every evaluation by somebody who changes the module as well."""
    module.eval().requires_grad_(False).zero_grad()
    twin = FineTuning()
    twin.load_state_dict(module.state_dict())
    twin.vlm = deepcopy(module.vlm).train()
    return LiveScorer(twin)


class Careless(CAM):
    """Draws from every global generator, and sets gradients to zero."""

    def forward(self, scorer, encoded, texts, owner, samples):  # type: ignore[no-untyped-def]
        scorer.zero_grad(set_to_none=False)
        noise = random.random() + np.random.random()
        return torch.rand(len(texts), 8, 8) + noise


def state(module: nn.Module) -> dict[str, Any]:
    """Everything about a network in training, and the global generators, that must stay."""
    return {
        "modes": [part.training for part in module.modules()],
        "wanted": [weight.requires_grad for weight in module.parameters()],
        "gradients": [weight.grad for weight in module.parameters()],
        "values": [None if w.grad is None else w.grad.clone() for w in module.parameters()],
        "weights": {name: tensor.clone() for name, tensor in module.state_dict().items()},
        "hooks": [
            len(hooks)
            for part in module.modules()
            for hooks in (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks)
        ],
        "random": (random.getstate(), np.random.get_state(), torch.get_rng_state()),
    }


def same(one: Any, other: Any) -> bool:
    """Equality to the last bit, also inside containers; -0 is not 0."""
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, np.ndarray):
        return one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


class Witness(Callback):
    """Compares what it sees with what another one, of a list before the callback, saw."""

    def __init__(self, before: "Witness | None" = None) -> None:
        self.before = before
        self.seen: dict[str, Any] = {}
        self.compared = 0
        self.with_gradients = 0

    def look(self, module: LightningModule) -> None:
        self.seen = state(module)
        if self.before is None:
            return
        then = self.before.seen
        for now, old in zip(self.seen["gradients"], then["gradients"], strict=True):
            assert now is old, "the very same gradients"
        assert [name for name in then if not same(then[name], self.seen[name])] == []
        self.compared += 1
        self.with_gradients += any(gradient is not None for gradient in then["gradients"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.look(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        self.look(pl_module)


def fit(
    callbacks: Sequence[Callback] = (),
    module: LightningModule | None = None,
    epochs: int = 2,
    steps: int = 2,
    ckpt_path: Path | None = None,
    **options: Any,
) -> tuple[FineTuning, Trainer]:
    seed_everything(0, verbose=False)
    module = FineTuning() if module is None else module
    trainer = Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": epochs,
            "logger": False,
            "enable_checkpointing": any(isinstance(one, ModelCheckpoint) for one in callbacks),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **options,
        },
        callbacks=list(callbacks),
    )
    loaders = [DataLoader(range(n), batch_size=None) for n in (steps, 1)]
    trainer.fit(module, *loaders, ckpt_path=ckpt_path)
    return module, trainer


def outcome(module: FineTuning, trainer: Trainer) -> list[Any]:
    return [module.losses, state(module), trainer.optimizers[0].state_dict()]


@cache
def alone(**options: Any) -> list[Any]:
    """What training comes to without the callback."""
    return outcome(*fit(**options))


MIXED = {"precision": "bf16-mixed"}
OFTEN = {"accumulate_grad_batches": 2, "val_check_interval": 1}


@pytest.mark.parametrize(
    ("scorer", "cam", "options", "every_n_steps"),
    [
        (copied, AttentionGradCAM(), {}, None),
        (copied, AttentionGradCAM(), MIXED, 1),
        (LiveScorer, GradCAM(), {}, 1),
        (LiveScorer, GradCAM(), MIXED, None),
        (LiveScorer, GradCAM(), {"inference_mode": False}, None),
        (LiveScorer, GradCAM(), OFTEN, None),
        (LiveScorer, Careless(), OFTEN, None),
        (LiveScorer, Careless(), OFTEN, 1),
        (LiveScorer, LibraryCAM("GradCAM"), OFTEN, None),
    ],
)
def test_training_is_the_same_to_the_last_bit(
    scorer: Any, cam: CAM, options: dict[str, Any], every_n_steps: int | None
) -> None:
    steps = 2 * options.get("accumulate_grad_batches", 1)
    callback = GroundingValidation(
        scorer, cam, phrases(), every_n_steps=every_n_steps, batch_size=4
    )
    before = Witness()
    after = Witness(before)
    module, trainer = fit([before, callback, after], steps=steps, **options)
    assert same(outcome(module, trainer), alone(steps=steps, **options))
    often = "val_check_interval" in options
    expected = [0, 1, 2, 3, 4] if often else [2, 4]
    assert [line["step"] for line in callback.history] == (
        expected if every_n_steps is None else [1, 2, 3, 4]
    )
    validations = steps if often else 1
    assert after.compared == 2 * (steps + validations) + 1  # and Lightning's sanity check
    assert after.with_gradients
    counts = [callback.history[-1][f"grounding/count/{name}"] for name in ("scored", "degenerate")]
    assert sum(counts) == len(phrases())


def test_a_copy_made_anew_scores_as_the_module_itself() -> None:
    histories = []
    for scorer in (LiveScorer, made_anew):
        callback = GroundingValidation(scorer, GradCAM(), phrases())
        before = Witness()
        after = Witness(before)
        assert same(outcome(*fit([before, callback, after])), alone(steps=2))
        histories.append([{**line, "seconds": 0.0} for line in callback.history])
    assert same(*histories)


def test_loading_processes_draw_from_no_generator_of_the_training() -> None:
    callback = GroundingValidation(LiveScorer, GradCAM(), phrases(), num_workers=1)
    assert same(outcome(*fit([callback])), alone(steps=2))


def test_something_is_at_stake() -> None:
    """The draws, modes and statistics that the tests above compare do change the training."""

    class Disturbs(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            torch.rand(1)

    assert not same(outcome(*fit([Disturbs()])), alone(steps=2))


def test_numbers_are_those_of_the_command(tmp_path: Path) -> None:
    callback = GroundingValidation(copied, AttentionGradCAM(), phrases(40), directory=tmp_path)
    module, trainer = fit([callback])
    module.vlm.save_pretrained(tmp_path / "weights")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FOLDER / file, tmp_path / "weights")
    weights = f"model.pretrained={tmp_path / 'weights'}"
    dataset = ("dataset=shapes_phrases", "dataset.samples=40")
    chosen = ("model=mini_blip", "cam=attention_gradcam", *dataset, "logger=none")
    vlground(*chosen, weights, cwd=tmp_path)
    (done,) = results(tmp_path / "runs")
    expected = flat_scores(done)
    del expected["grounding/count/annotations_left_out"]
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert {"grounding/pointing_game", "grounding/io_ratio_n", "matrix/accuracy"} <= set(expected)
    for name, value in expected.items():
        assert logged[name] == pytest.approx(value, abs=1e-6, rel=1e-6), name
        assert callback.history[-1][name] == pytest.approx(value, abs=1e-6, rel=1e-6), name
    (rows,) = (path for path in tmp_path.glob("runs/grounding/*/rows.parquet"))
    theirs, ours = (
        pandas.read_parquet(rows),
        pandas.read_parquet(tmp_path / "step-00000004" / "rows.parquet"),
    )
    assert list(ours["id"]) == list(theirs["id"])
    assert list(ours.columns) == list(theirs.columns)
    assert np.allclose(ours["io_ratio"], theirs["io_ratio"], atol=1e-6)
    lines = pandas.read_csv(tmp_path / "scores.csv")
    assert lines["step"].tolist() == [2, 4]
    assert lines["grounding/io_ratio"].tolist() == [
        h["grounding/io_ratio"] for h in callback.history
    ]
    assert lines["grounding/io_ratio"].nunique() == 2, "the current weights, not the first ones"


class Constant(CAM):
    """A map that is degenerate, and notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[torch.dtype] = set()

    def forward(self, scorer, encoded, texts, owner, samples):  # type: ignore[no-untyped-def]
        self.kinds.add(scorer.score(encoded, texts, owner).dtype)
        return torch.zeros(len(texts), 8, 8)


def test_bad_samples_are_counts_and_an_undefined_score_can_be_monitored(tmp_path: Path) -> None:
    good = [phrases()[number] for number in range(len(phrases()))]
    bad = [
        replace(good[0], id="missing", image_id="missing", image=tmp_path / "missing.jpg"),
        replace(good[0], id="unknown", image_id="unknown", text="zzz"),
        replace(good[0], id="no box", image_id="no box", boxes=np.zeros((0, 4))),
    ]
    callback = GroundingValidation(LiveScorer, GradCAM(), [*bad, *good])
    fit([callback])
    (numbers, _) = callback.history
    assert numbers["grounding/count/samples"] == len(good) + 3
    assert numbers["grounding/count/scored"] + numbers["grounding/count/degenerate"] == len(good)
    assert numbers["grounding/count/skipped"] == 2
    assert numbers["grounding/count/flagged"] == 1 + numbers["grounding/count/degenerate"]
    flat = GroundingValidation(LiveScorer, Constant(), good)
    checkpoint = ModelCheckpoint(tmp_path, monitor="grounding/pointing_game", mode="max")
    _, trainer = fit([flat, checkpoint])
    assert trainer.global_step == 4, "no map at all ends no training"
    assert np.isnan(trainer.callback_metrics["grounding/pointing_game"])
    assert flat.history[-1]["grounding/count/degenerate"] == len(good)


def test_maps_are_drawn_in_the_precision_of_the_training() -> None:
    cam = Constant()
    fit([GroundingValidation(LiveScorer, cam, phrases())], precision="bf16-mixed")
    assert cam.kinds == {torch.bfloat16}


def measured(module: FineTuning, callback: GroundingValidation) -> dict[str, float]:
    """Numbers of one process, inside the inference mode of `Trainer.validate`."""
    trainer = Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, callbacks=[callback]
    )
    trainer.validate(module, DataLoader(range(1), batch_size=None), verbose=False)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {name: value for name, value in logged.items() if name.startswith("grounding/")}


def test_every_image_is_encoded_once_and_a_plain_validation_will_do() -> None:
    Counting.rows.clear()
    module = FineTuning()
    callback = GroundingValidation(Counting, GradCAM(), phrases(20), batch_size=64)
    numbers = measured(module, callback)
    images = {sample.image_id for sample in callback.samples}
    assert sum(Counting.rows) == len(images) < len(callback.samples)
    assert callback.history == []
    anew = measured(module, GroundingValidation(made_anew, GradCAM(), phrases(20)))
    assert anew.keys() == numbers.keys()
    for name in numbers:
        assert anew[name] == pytest.approx(numbers[name], abs=1e-5, nan_ok=True), name


def test_what_is_impossible_is_said_before_training_begins(tmp_path: Path) -> None:
    def replaces(module: Any) -> Scorer:
        module.dropout = nn.Dropout(0.1)
        return LiveScorer(module)

    (tmp_path / "file").touch()
    cases: list[tuple[Any, CAM, dict[str, Any], type[Exception], str]] = [
        (LiveScorer, AttentionGradCAM(), {}, ImpossiblePairError, "cross_attention"),
        (replaces, GradCAM(), {}, VlgroundError, "changes the modules"),
        (lambda module: module, GradCAM(), {}, VlgroundError, "returned FineTuning"),
        (LiveScorer, Uniform(), {"directory": tmp_path / "file" / "x"}, VlgroundError, "directory"),
    ]
    for scorer, cam, options, kind, told in cases:
        module = FineTuning()
        with pytest.raises(kind, match=told):
            fit([GroundingValidation(scorer, cam, phrases(), **options)], module)
        assert module.losses == []
    sharded = type("Sharded", (), {"strategy": FSDPStrategy()})()
    callback = GroundingValidation(LiveScorer, GradCAM(), phrases())
    with pytest.raises(VlgroundError, match=r"trainer\.strategy=FSDPStrategy"):
        callback.setup(sharded, FineTuning(), "fit")
    sample = phrases()[0]
    for options in ({"every_n_epochs": 0}, {"every_n_steps": 0}, {"batch_size": 0}):
        with pytest.raises(VlgroundError, match=f"{next(iter(options))}=0: expected"):
            GroundingValidation(LiveScorer, GradCAM(), phrases(), **options)
    for samples, told in (([], "there are none"), ([sample, sample], "twice")):
        with pytest.raises(VlgroundError, match=told):
            GroundingValidation(LiveScorer, GradCAM(), samples)


def test_when_it_runs() -> None:
    def steps(epochs: int = 2, trainer: dict[str, Any] | None = None, **options: Any) -> list[int]:
        made: list[Scorer] = []

        def scorer(module: Any) -> Scorer:
            made.append(LiveScorer(module))
            return made[-1]

        callback = GroundingValidation(scorer, Uniform(), phrases(), **options)
        fit([callback], epochs=epochs, **(trainer or {}))
        assert len(made) == 1 + len(callback.history), "once before the training, and no more"
        return [line["step"] for line in callback.history]

    assert steps() == [2, 4]
    assert steps(epochs=3, every_n_epochs=2) == [4]
    assert steps(epochs=3, every_n_steps=4) == [4]
    assert steps(trainer={"val_check_interval": 1}) == [1, 2, 3, 4]
    assert steps(trainer={"limit_val_batches": 0}) == [2, 4], "in the place of a validation"


@pytest.mark.parametrize("options", [{}, {"limit_val_batches": 0}, {"every_n_steps": 2}])
def test_others_monitor_it_and_a_checkpoint_keeps_its_history(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    mine = {"every_n_steps": options.pop("every_n_steps", None)}

    def callbacks() -> list[Callback]:
        callback = GroundingValidation(LiveScorer, GradCAM(), phrases(), name="test", **mine)
        other = GroundingValidation(LiveScorer, Uniform(), phrases())
        name = "test/grounding/io_ratio"
        keep = ModelCheckpoint(tmp_path / "kept", "{step}", monitor=name, mode="max", save_top_k=-1)
        return [callback, other, EarlyStopping(name, mode="max", patience=9), keep]

    logger = CSVLogger(tmp_path, name="", version="")
    made = callbacks()
    _, trainer = fit(made, logger=logger, **options)
    kept = sorted((tmp_path / "kept").glob("*.ckpt"))
    assert [path.stem for path in kept] == ["step=2", "step=4"]
    callback, _, stopping, checkpoint = made
    found = [line["test/grounding/io_ratio"] for line in callback.history]
    assert float(checkpoint.best_model_score) == pytest.approx(max(found), abs=1e-6)
    assert float(stopping.best_score) == pytest.approx(max(found), abs=1e-6)
    assert trainer.callback_metrics["grounding/io_lift"] == 1, "the uniform map's"
    logged = pandas.read_csv(tmp_path / "metrics.csv")
    assert logged["test/grounding/io_ratio"].dropna().tolist() == pytest.approx(found, abs=1e-6)
    again = callbacks()
    fit(again, epochs=3, ckpt_path=kept[0], **options)
    assert [line["step"] for line in again[0].history] == [2, 4, 6]
    assert same(again[0].history[0], callback.history[0])


def test_overlays_in_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    import wandb

    logger = WandbLogger(project="fine tuning", save_dir=str(tmp_path), offline=True)
    callback = GroundingValidation(LiveScorer, GradCAM(), phrases(), overlays=2)
    try:
        fit([callback], epochs=1, logger=logger)
    finally:
        wandb.finish()
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    logged = [
        json.dumps([i.key + "".join(i.nested_key) for i in h.item])
        for h in OfflineRun(folder).of("history")
    ]
    assert any("grounding/overlays" in line for line in logged)
    assert any("grounding/pointing_game" in line for line in logged)
    assert len(list(folder.rglob("files/media/images/**/*.png"))) == 2


def shared_out(folder: Path) -> list[Sample]:
    good = [phrases(12)[number] for number in range(12)]
    missing = replace(good[0], id="missing", image_id="missing", image=folder / "missing.jpg")
    return [missing, *good, replace(good[0], id="unknown", image_id="unknown", text="zzz")]


def worker(folder: Path) -> None:
    """Train on two processes with and without the callback, and write what came of it."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    callback = GroundingValidation(
        Counting, GradCAM(), shared_out(folder), every_n_steps=2, directory=folder / "scores"
    )
    # No validation, in which DDP would make the statistics of BatchNorm the same on all ranks.
    options = {
        "devices": 2,
        "steps": 4,  # two each
        "strategy": "ddp_find_unused_parameters_true",
        "limit_val_batches": 0,
    }
    with_it, trainer = fit([callback], epochs=1, **options)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    without, other = fit(epochs=1, **options)
    # Each rank has statistics of its own, so each compares its own.
    assert same(with_it.state_dict(), without.state_dict())
    assert with_it.losses == without.losses
    assert same(trainer.optimizers[0].state_dict(), other.optimizers[0].state_dict())
    rank = trainer.global_rank
    torch.save(with_it.state_dict(), folder / f"{rank}.pt")
    (folder / f"{rank}.json").write_text(json.dumps([logged, Counting.rows]))


@pytest.mark.slow
def test_two_processes_log_the_numbers_of_one(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "tests.test_validation", str(tmp_path)],
        cwd=Path(__file__).parents[1],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    (zero, rows), (one, others) = (
        json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)
    )
    assert json.dumps(zero) == json.dumps(one)
    images = len({sample.image_id for sample in phrases(12)})
    trial = 1  # of two samples the image of one is missing
    assert sum(rows[trial:]) + sum(others[trial:]) == images, "each image on one rank"
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert not same(first["norm.running_mean"], second["norm.running_mean"])
    module = FineTuning()
    module.load_state_dict(first)
    callback = GroundingValidation(LiveScorer, GradCAM(), shared_out(tmp_path), batch_size=4)
    single = measured(module, callback)
    assert single["grounding/count/skipped"] == 2
    for name, value in single.items():
        assert zero[name] == pytest.approx(value, abs=1e-5, nan_ok=True), name
    assert len(list((tmp_path / "scores").glob("step-*/rows.parquet"))) == 1


def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [block.split("```")[0] for block in PAGE.split("```python\n")[1:]]
    assert len(blocks) == 3
    exec("\n".join(blocks), page := {"__name__": "page"})
    lines = pandas.read_csv(tmp_path / "grounding" / "scores.csv")
    assert lines["step"].tolist() == [1, 2]
    assert len(page["live"].history) == 1
    assert page["best"].best_model_score == pytest.approx(lines["grounding/pointing_game"].max())


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
