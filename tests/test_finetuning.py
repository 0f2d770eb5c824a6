"""Fine-tuning: exact resuming, what is learnt, what is saved, and what is refused."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForImageTextToText

from tests.captioners.dialogues import pictures, write_llava
from tests.cli import ENVIRONMENT, results, vlground
from tests.training.tuning import OPTIONS, PROMPT, carry_out, samples, task
from vlground.captioners.local import LocalCaptioner
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.tasks.finetuning import Finetuning
from vlground.training.collation import IGNORED
from vlground.training.dialogues import Dialogue
from vlground.training.objective import answer_losses
from vlground.training.options import check_options


class Stop(lightning.Callback):
    """Ends the process's work in a step, as SIGTERM does: run.py makes SystemExit of it."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, *arguments: Any) -> None:
        if arguments[2].number == self.step:
            raise SystemExit(143)


def weights(made: Finetuning) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in made.network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_an_interrupted_training_ends_with_the_numbers_of_one_that_was_not(
    tmp_path: Path, stop: int
) -> None:
    options: dict[str, Any] = {"dropout": 0.3, "optimizer": "muon", "average": "dialogues"}
    whole = task(tmp_path / "whole", **options)
    carry_out(whole)
    with pytest.raises(SystemExit):
        carry_out(task(tmp_path / "broken", **options), [Stop(stop)])
    resumed = task(tmp_path / "broken", **options)
    for weight in resumed.network.parameters():
        if stop > 2:  # all must come from the checkpoint
            torch.nn.init.zeros_(weight)
    carry_out(resumed)
    assert same(weights(whole), weights(resumed))
    assert resumed.table.equals(whole.table)
    assert resumed.details() == whole.details()
    assert [one["round"] for one in whole.details()["training"]["rounds"]] == [1, 2, 3]


def test_dropout_is_drawn_and_pretraining_counts(tmp_path: Path) -> None:
    made = [
        task(tmp_path / "a"),
        task(tmp_path / "b", dropout=0.3),
        task(tmp_path / "c", pretraining=None),
    ]
    for one in made:
        carry_out(one)
    found = [weights(one) for one in made]
    assert not same(found[0], found[1])
    assert not same(found[0], found[2])


@pytest.mark.parametrize("options", [{"accumulate": 2}, {"gradient_checkpointing": True}])
def test_options_that_save_memory_change_no_number(tmp_path: Path, options: Any) -> None:
    plain, sparing = task(tmp_path / "a"), task(tmp_path / "b", **options)
    carry_out(plain)
    carry_out(sparing)
    expected = weights(plain)
    for name, tensor in weights(sparing).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pretraining", [None, True])
def test_two_processes_learn_what_one_does(tmp_path: Path, pretraining: bool | None) -> None:
    """But for rounding, which AdamW makes larger where a gradient is nothing else (key biases)."""
    alone = task(tmp_path / "1", steps=3, checkpoint_every=3, pretraining=pretraining)
    carry_out(alone)
    worker = (sys.executable, "-m", "tests.training.finetuning_worker")
    process = subprocess.run(
        [*worker, str(tmp_path / "2"), "2", str(pretraining)],
        cwd=Path(__file__).parents[1],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("1", "2"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], rtol=1e-3, atol=1e-5)


def test_the_loss_falls_and_what_is_frozen_stays(tmp_path: Path) -> None:
    options = {"steps": 40, "checkpoint_every": 40, "pretraining": None}
    made = task(tmp_path, freeze=["vision_tower"], learning_rate=1e-2, **options)
    before = weights(made)
    batch = made.collator(made.mixture.step(0))
    first = float(answer_losses(made.network, batch)[0].detach().sum())
    carry_out(made)
    assert float(answer_losses(made.network, batch)[0].sum()) < 0.7 * first
    for name, tensor in weights(made).items():
        assert torch.equal(tensor, before[name]) == ("vision_tower" in name), name


def test_what_is_frozen_learns_to_see_before(tmp_path: Path) -> None:
    """Pretraining trains what fine-tuning then leaves alone, also if it goes on in between."""

    def learnt(folder: Path, **options: Any) -> dict[str, Tensor]:
        made = task(folder, freeze=["vision_tower"], **options)
        carry_out(made)
        return weights(made)

    def tower(folder: Path, **options: Any) -> dict[str, Tensor]:
        found = learnt(folder, **options)
        return {n: w for n, w in found.items() if "vision_tower.encoder" in n}

    drawn = tower(tmp_path / "drawn", pretraining=None, steps=1)
    seen = tower(tmp_path / "a", steps=1, checkpoint_every=1)
    assert not any(torch.equal(seen[n], drawn[n]) for n in seen if n.endswith("weight"))
    assert same(tower(tmp_path / "b", steps=4, checkpoint_every=1), seen)
    broken = task(tmp_path / "c", freeze=["vision_tower"], steps=4, checkpoint_every=1)
    with pytest.raises(SystemExit):
        carry_out(broken, [Stop(4)])
    whole = learnt(tmp_path / "d", steps=4, checkpoint_every=1)
    assert same(learnt(tmp_path / "c", steps=4, checkpoint_every=1), whole)


def test_the_rate_begins_anew_after_pretraining(tmp_path: Path) -> None:
    made = task(tmp_path, steps=4, warmup=4, schedule="constant", learning_rate=0.4)
    rates = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, *arguments: Any) -> None:
            rates.append(arguments[1]._optimizers[-1].param_groups[0]["lr"])

    carry_out(made, [Watch()])
    assert rates[2:6] == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("average", ["tokens", "dialogues"])
def test_the_step_is_the_mean_over_what_is_learnt(tmp_path: Path, average: str) -> None:
    options: Any = {"steps": 1, "checkpoint_every": 1, "pretraining": None, "accumulate": 2}
    made = task(tmp_path, average=average, **options)
    turns = [replace(one, id="a dialogue of several turns") for one in made.mixture.dialogues]
    made.mixture = replace(made.mixture, dialogues=turns)
    losses, tokens = answer_losses(made.network, made.collator(made.mixture.step(0)))
    carry_out(made)
    (told,) = made.details()["training"]["rounds"]
    mean = losses.sum() / tokens.sum() if average == "tokens" else (losses / tokens).mean()
    assert told["loss"] == pytest.approx(mean.item(), rel=1e-5)


def test_what_is_saved_loads_as_a_captioner_and_says_the_same(tmp_path: Path) -> None:
    made = task(tmp_path, export=str(tmp_path / "export"))
    carry_out(made)
    network = AutoModelForImageTextToText.from_pretrained(tmp_path / "model")
    assert same(weights(made), network.state_dict())
    captioner = LocalCaptioner(str(tmp_path / "export"), temperature=0, max_tokens=5)
    ((caption,),) = captioner.caption(samples(1), [PROMPT], 1, 0)
    assert caption.log_probabilities is not None
    said = Dialogue("x", samples(1)[0].image, PROMPT, caption.text)
    batch = made.collator([said])
    losses, tokens = answer_losses(made.network, batch)
    if caption.cut_off:  # the end that it did not write is learnt all the same
        places = (batch.labels[0] != IGNORED).nonzero()[:, 0]
        batch.labels[0, places[-1]] = IGNORED
        losses, tokens = answer_losses(made.network, batch)
        assert float(losses[0]) == pytest.approx(-sum(caption.log_probabilities), rel=1e-4)
    assert int(tokens[0]) == len(caption.log_probabilities) + (not caption.cut_off)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision_learns_much_the_same(tmp_path: Path, precision: str) -> None:
    whole, half = task(tmp_path / "a", steps=8), task(tmp_path / "b", steps=8)
    carry_out(whole)
    carry_out(half, precision=precision)
    found = half.scores()["loss"]["value"]
    assert found != whole.scores()["loss"]["value"]
    assert found == pytest.approx(whole.scores()["loss"]["value"], rel=0.03)


def test_weights_are_saved_as_asked(tmp_path: Path) -> None:
    carry_out(task(tmp_path, saved_as="float16"))
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float16}


def test_the_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        carry_out(task(tmp_path), [Stop(4)])
    with pytest.raises(VlgroundError, match=r"of another configuration \(training-0, not other\)"):
        carry_out(task(tmp_path, stage="other"))


def test_a_loss_that_is_no_number_stops_with_the_batch_named(tmp_path: Path) -> None:
    made = task(tmp_path, steps=3, pretraining=None)
    made.network.lm_head.weight.data[:] = float("nan")
    ids = [one.id for one in made.mixture.step(0)]
    with pytest.raises(VlgroundError, match=r"step 0: .*nan, learning from") as raised:
        carry_out(made)
    assert all(name in str(raised.value) for name in ids)
    wild = task(tmp_path / "wild", steps=9, pretraining=None, learning_rate=1e30, warmup=0)
    with pytest.raises(VlgroundError, match=r"task\.learning_rate: .*step [1-9]"):
        carry_out(wild)
    assert not (tmp_path / "wild" / "model").exists()


def test_a_checkpoint_that_cannot_be_written_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    with pytest.raises(VlgroundError, match=r"last\.ckpt: cannot write"):
        carry_out(task(tmp_path))


def test_a_batch_too_small_to_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"task\.batch=4: .*= 5"):
        carry_out(task(tmp_path, accumulate=5))


def test_options_that_cannot_be_are_refused_by_name() -> None:
    good = {**OPTIONS, "batch": 4, "pretraining": None}
    check_options(good)
    for wrong in (
        *({"batch": 0}, {"steps": 0}, {"checkpoint_every": 1.5}, {"learning_rate": 0}),
        *({"schedule": "step"}, {"saved_as": "int8"}, {"max_tokens": 2.5}),
    ):
        (name,) = wrong
        with pytest.raises(VlgroundError, match=rf"^task\.{name}="):
            check_options({**good, **wrong})
    with pytest.raises(VlgroundError, match=r"^task\.adapter\.kind=lora: not with"):
        check_options({**good, "adapter": {"kind": "lora"}, "pretraining": {}})


def test_an_image_that_cannot_be_read_is_skipped_and_counted(tmp_path: Path) -> None:
    made = task(tmp_path, steps=1, checkpoint_every=1, pretraining=None)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    made.samples = [*samples(1), Sample("bad", "bad", bad, "There is a star.")]
    carry_out(made)
    assert made.table["skipped"].dropna().tolist() == ["unreadable image"]
    assert made.scores()["loss"]["n"] == 1


def test_the_command_fine_tunes_on_a_file_and_knows_it_by_its_content(tmp_path: Path) -> None:
    from PIL import Image

    write_llava(tmp_path / "base")
    image = tmp_path / "a.png"
    Image.fromarray(pictures(1)[0].image).save(image)  # type: ignore[arg-type]
    turns = [{"from": "human", "value": "<image>\nw1 w2"}, {"from": "gpt", "value": "w3 w4"}]
    records = [{"id": "one", "image": "a.png", "conversations": turns}]
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(records))
    common = (
        *("task=finetuning", "model=captioner", "model.pretrained=base", "logger=none"),
        *("task.questions.share=0", "task.batch=1", "dataset.samples=2"),
    )
    vlground(*common, "task.data.file=[a.json]", cwd=tmp_path)
    (found,) = results(tmp_path / "runs")
    assert found["training"]["dialogues"] == 1
    assert found["scores"]["loss"]["n"] == 2
    told = vlground(*common, "task.data.file=[b.json]", "sweep.dry_run=true", cwd=tmp_path)
    assert "done already" in told
    (folder,) = (tmp_path / "runs" / "finetuning").iterdir()
    LocalCaptioner(str(folder / "model"))
