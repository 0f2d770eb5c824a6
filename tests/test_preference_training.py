"""DPO and GRPO: pairs, rewards, and what TRL's own trainers make of them."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.training.commands import command, run_folder
from vlground.captioners.local import LocalCaptioner
from vlground.data.sample import Sample
from vlground.data.shapes.captions import ShapesCaptions
from vlground.detectors.shapes_oracle import ShapesOracle
from vlground.errors import VlgroundError
from vlground.models.dialogue import load_dialogue_model
from vlground.rewards.data_card import Provenance
from vlground.rewards.export import Winner, export
from vlground.rewards.nouns import NounFinder
from vlground.rewards.options import VigorReward
from vlground.rewards.simulated import SimulatedAnnotators
from vlground.run import CONF
from vlground.tasks.dpo import DPO
from vlground.tasks.preference_training import PreferenceTraining
from vlground.training.caption_reward import CaptionReward
from vlground.training.collation import Collator
from vlground.training.dialogues import Dialogue
from vlground.training.loading import ends_of
from vlground.training.options import check_preference_options
from vlground.training.preferences import read_pairs

MINIATURE = CONF.parent / "src" / "vlground" / "miniatures" / "mini_captioner"
PROMPT = "Describe this image in detail."
SMALL = ("model=mini_captioner", "dataset.samples=2", "task.learning_rate=1e-3")
PLAIN = VigorReward(normalise="none")

needs_trl = pytest.mark.skipif(find_spec("trl") is None, reason="trl is not installed")
no_trl = pytest.mark.skipif(find_spec("trl") is not None, reason="trl is installed")


def scenes(count: int) -> list[Sample]:
    data = ShapesCaptions(count, "train", "in", "plain", 96, seed=0)
    return [data[index] for index in range(count)]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """What rejection sampling exports: true captions before those of other scenes."""
    made = scenes(6)
    winners = []
    for sample, other in zip(made, [*made[1:], made[0]], strict=True):
        path = tmp_path / f"{len(winners)}.png"
        Image.fromarray(sample.image).save(path)  # type: ignore[arg-type]
        winners.append(Winner(sample.image_id, path.name, PROMPT, sample.text, other.text))
    winners.append(Winner("gone", "gone.png", PROMPT, "It is so.", "It is not."))
    told = Provenance("made for a test", {}, {}, {}, {})
    export(winners, "trl_dpo", tmp_path / "pairs.jsonl", told)
    return tmp_path


def test_pairs_are_what_rejection_sampling_exports(pairs: Path) -> None:
    found, left_out = read_pairs("task.data.file", [str(pairs / "pairs.jsonl")], None, pairs)
    first, second = scenes(2)
    assert (found[0].question, found[0].chosen) == (PROMPT, first.text)
    assert found[0].rejected == second.text
    assert found[0].image == pairs / "0.png"
    assert (len(found), dict(left_out)) == (6, {"no such image": 1})
    run = pairs / "runs" / "rejection_sampling" / "x-0123456789"
    (run / "export").mkdir(parents=True)
    (pairs / "pairs.jsonl").rename(run / "export" / "trl_dpo.jsonl")
    again, _ = read_pairs("task.data.file", [str(run)], str(pairs), pairs / "runs")
    assert again == found


def test_files_without_pairs_are_refused_in_one_line(pairs: Path) -> None:
    for name, text, told in (
        ("llava.json", "[]", r"not in TRL's format"),
        ("torn.jsonl", '{"prompt": ', "cannot be read"),
        ("empty.jsonl", "", "no pair to learn from; left out: nothing"),
    ):
        (pairs / name).write_text(text)
        with pytest.raises(VlgroundError, match=told) as raised:
            read_pairs("task.data.file", [str(pairs / name)], None, pairs)
        assert "\n" not in str(raised.value)
    with pytest.raises(VlgroundError, match=r"export=\[trl_dpo\]"):
        read_pairs("task.data.file", [str(pairs)], None, pairs)


def test_texts_of_pairs_are_the_tokens_that_fine_tuning_learns(pairs: Path) -> None:
    network, processor = load_dialogue_model("model", str(MINIATURE), None, torch.float32)
    task = DPO(network, processor, [], {"max_tokens": 96}, 0, pairs)
    task.pairs, _ = read_pairs("task.data.file", [str(pairs / "pairs.jsonl")], None, pairs)
    pair, record = task.pairs[0], task.records()[0]
    collate = Collator(processor, ends_of(network, processor), 96)
    expected = collate([Dialogue("", pair.image, pair.question, pair.chosen)]).inputs["input_ids"]
    text, image = record["prompt"] + record["chosen"], Image.open(pair.image)
    read = processor(text=[text], images=[[image]], add_special_tokens=False, return_tensors="pt")
    assert torch.equal(read["input_ids"], expected)
    assert record["rejected"].strip().startswith(pair.rejected)


def test_grpo_asks_with_the_tokens_that_the_captioner_asks_with() -> None:
    _, processor = load_dialogue_model("model", str(MINIATURE), None, torch.float32)
    image = Image.fromarray(scenes(1)[0].image)  # type: ignore[arg-type]
    content = [{"type": "image", "image": image}, {"type": "text", "text": PROMPT}]
    asked = [[{"role": "user", "content": content}]]
    template = processor.apply_chat_template
    read = template(asked, add_generation_prompt=True, tokenize=True, return_dict=True)
    words = template(asked[0], add_generation_prompt=True)
    assert read["input_ids"][0] == processor(text=[words], images=[[image]])["input_ids"][0]


def reward_of(samples: list[Sample], metric: VigorReward = PLAIN) -> CaptionReward:
    return CaptionReward(samples, NounFinder(), ShapesOracle(seed=0), SimulatedAnnotators(), metric)


def test_a_reward_is_minus_what_both_streams_hold_against_a_caption() -> None:
    samples = scenes(2)
    shapes = {"star", "circle", "square", "triangle", "cross", "ring", "diamond", "heart"}
    absent = sorted(shapes - set(samples[0].text.replace(".", "").split()))[0]
    wrong = f"There is a {absent}."
    said = [samples[0].text, wrong, f"{wrong} {samples[0].text}", samples[1].text, ""]
    found = reward_of(samples)([0, 0, 0, 1, 1], said)
    assert found == [0, -2, -2, 0, -3], "a wrong sentence and a noun; an empty one below all"
    nouns = VigorReward(normalise="none", streams=["nouns"], noun_weight=3)
    assert reward_of(samples, nouns)([0, 0], said[:2]) == [0, -3]
    assert reward_of(samples)([1, 0, 0], [said[3], *said[1:3]]) == [0, -2, -2]


def test_rewards_without_a_pool_or_with_nobody_behind_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"^metric\.pool=global: .*normalise=none"):
        reward_of(scenes(1), VigorReward())
    with pytest.raises(VlgroundError, match=r"^detector=none"):
        CaptionReward(scenes(1), NounFinder(), None, SimulatedAnnotators(), PLAIN)


def test_options_that_cannot_be_are_refused_by_name() -> None:
    from omegaconf import OmegaConf

    shared = OmegaConf.load(CONF / "task" / "finetuning" / "preferences.yaml")
    good = dict(OmegaConf.to_container(shared)) | {"learning_rate": 1e-6, "beta": 0.1, "batch": 4}
    check_preference_options(good)
    for name, value in (("batch", 0), ("beta", -1), ("schedule", "x"), ("accumulate", 3)):
        with pytest.raises(VlgroundError, match=rf"^task\.{name}={value}: "):
            check_preference_options({**good, name: value})
    with pytest.raises(VlgroundError, match=r"^task\.n=1: "):
        check_preference_options({**good, "images": 2, "n": 1})
    with pytest.raises(VlgroundError, match=r"^trainer\.strategy=ddp: "):
        PreferenceTraining.check({"task": good, "trainer": {"strategy": "ddp"}})


@no_trl
def test_without_trl_it_is_one_line(pairs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    common = ("task=dpo", "task.data.file=[pairs.jsonl]", *SMALL)
    assert command(pairs, common=common) == 1
    assert "task: needs trl: pip install 'vlground[rl]'" in capfd.readouterr().err


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def log(folder: Path) -> list[dict[str, float]]:
    lines: list[dict[str, float]] = json.loads((folder / "results.json").read_text())["training"][
        "log"
    ]
    return lines


@needs_trl
@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_dpo_learns_to_prefer_what_is_true(pairs: Path, adapter: str) -> None:
    common = ("task=dpo", "task.data.file=[pairs.jsonl]", *SMALL, "task.steps=6", "task.batch=6")
    assert command(pairs, f"task.adapter.kind={adapter}", common=common) == 0
    folder = run_folder(pairs, "dpo")
    lines = log(folder)
    assert lines[0]["loss"] == pytest.approx(np.log(2), abs=1e-4), "it begins at its reference"
    assert lines[-1]["rewards/margins"] > lines[0]["rewards/margins"] + 0.1
    found, base = weights(folder), load_file(MINIATURE / "model.safetensors")
    for name, weight in found.items():
        same = torch.equal(weight, base[name].float())
        assert same or "vision_tower" not in name, "what is frozen stays"
    assert any(not torch.equal(found[name], base[name].float()) for name in found)
    captioner = LocalCaptioner(str(folder / "model"), max_tokens=8)
    assert captioner.caption(scenes(1), [PROMPT], 1, 0)[0][0].text


@needs_trl
@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_dpo_that_was_interrupted_ends_as_one_that_was_not(
    pairs: Path, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlground.training.with_trl import Told

    common = ("task=dpo", "task.data.file=[pairs.jsonl]", *SMALL, "task.batch=3", "task.steps=4")
    common = (*common, "task.checkpoint_every=2", f"task.adapter.kind={adapter}")
    assert command(pairs, "runs=whole", common=common) == 0
    tell = Told.on_log

    def stop(self: Told, args: object, state: Any, control: object, **rest: Any) -> None:
        if state.global_step == 3:
            raise SystemExit(143)
        tell(self, args, state, control, **rest)

    monkeypatch.setattr(Told, "on_log", stop)
    assert command(pairs, common=common) == 143
    folder = run_folder(pairs, "dpo")
    assert [path.name for path in folder.glob("checkpoints/checkpoint-*")] == ["checkpoint-2"]
    monkeypatch.setattr(Told, "on_log", tell)
    (folder / "checkpoints" / "checkpoint-3").mkdir()  # torn by a kill
    assert command(pairs, common=common) == 0
    (whole,) = (pairs / "whole" / "dpo").iterdir()
    expected = weights(whole)
    assert all(torch.equal(expected[name], weight) for name, weight in weights(folder).items())


@needs_trl
def test_a_loss_that_is_no_number_ends_dpo_in_one_line(
    pairs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ("task=dpo", "task.data.file=[pairs.jsonl]", *SMALL, "task.steps=6", "task.batch=6")
    assert command(pairs, "task.learning_rate=1e30", common=common) == 1
    assert "task.learning_rate=1e+30: too high, or a bad example? step " in capfd.readouterr().err
    assert not (run_folder(pairs, "dpo") / "model").exists()


@needs_trl
def test_grpo_learns_from_captions_that_it_writes(tmp_path: Path) -> None:
    common = (
        *("task=grpo", *SMALL, "task.data.samples=4", "task.images=2", "task.n=4"),
        *("task.steps=2", "task.max_tokens=24"),
    )
    assert command(tmp_path, common=common) == 0
    folder = run_folder(tmp_path, "grpo")
    lines = log(folder)
    assert all(line["reward"] <= 0 for line in lines)
    assert any(line["reward_std"] > 0 for line in lines), "captions differ"
    first, base = weights(folder), load_file(MINIATURE / "model.safetensors")
    assert any(not torch.equal(first[name], base[name].float()) for name in first)
    assert command(tmp_path, "overwrite=true", common=common) == 0
    again = weights(folder)
    assert all(torch.equal(first[name], again[name]) for name in first), "drawn from the seed"
    LocalCaptioner(str(folder / "model"))
