"""From candidates to benchmarks, arm by arm: what is shared, what goes on, what is refused."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.captioners.dialogues import WORDS, write_llava
from tests.cli import ENVIRONMENT, vlground
from vlground.errors import VlgroundError
from vlground.tasks.chained import Step, carry_out, compose_cell, inherited
from vlground.tasks.rejection_finetuning import RejectionFinetuning
from vlground.tasks.tuning_arms import ARMS

TASK = ("task=rejection_finetuning", "logger=none")
FINETUNING = (
    '"task.questions.share=0","task.batch=4","task.checkpoint_every=2","dataset.samples=2",'
    '"task.learning_rate=0.01","task.warmup=0"'
)
TINY = (
    *(*TASK, "model=captioner", "model.pretrained=base", "model.max_tokens=6"),
    *("task.images=8", "task.steps=2", "dataset.samples=24", "batch_size=32"),
    f'task.finetuning=["task.steps=${{task.steps}}",{FINETUNING}]',
    *("~task.benchmarks.greedy", "~task.benchmarks.mme"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a captioner of random weights, in which a command would be given."""
    write_llava(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(step: Step) -> dict[str, Any]:
    found: dict[str, Any] = step.results["rejection_finetuning"]
    return {**found, "steps": {one["name"]: one for one in found["steps"]}}


def test_arms_share_their_candidates_and_gather_what_benchmarks_say(folder: Path) -> None:
    found = {arm: carry_out([*TINY, f"task.arm={arm}"]) for arm in ("base", "random", "automatic")}
    runs = folder / "runs"
    assert len(list(runs.glob("evidence/candidates-*"))) == 1
    assert len(list(runs.glob("evidence/candidates-*/*.segment"))) == 2, "one, then four an image"
    assert len(list(runs.glob("finetuning/*"))) == 2
    assert len(list(runs.glob("benchmark/*"))) == 3 * 2
    benchmarks = {"sampled": "claims", "pope": "pope"}
    for arm, step in found.items():
        assert told(step)["arm"] == arm
        assert told(step)["benchmarks"] == benchmarks
        rows = step.rows
        assert rows["id"].is_unique
        for name in benchmarks:
            own = runs / told(step)["steps"][name]["run"]
            scores = json.loads((own / "results.json").read_text())["scores"]
            assert {f"{name}/{score}" for score in scores} <= step.results["scores"].keys()
            for score, value in scores.items():
                assert step.results["scores"][f"{name}/{score}"] == value
            mine = rows[rows["benchmark"] == name]
            expected = pandas.read_parquet(own / "rows.parquet")
            assert mine["id"].tolist() == [f"{name}/{one}" for one in expected["id"]]
    assert list(told(found["base"])["steps"]) == list(benchmarks)
    assert told(found["base"])["training"] == []
    (learnt,) = told(found["random"])["training"]
    assert 0 < learnt["dialogues"] <= 8
    texts = {arm: step.rows.query("benchmark == 'sampled'")["text"] for arm, step in found.items()}
    assert (texts["base"].to_numpy() != texts["random"].to_numpy()).any(), "it was tuned"
    # The random pick is the first draw of each image, whatever anybody holds against it.
    chosen = runs / told(found["random"])["steps"]["candidates"]["run"]
    first = pandas.read_parquet(chosen / "rows.parquet")
    assert set(first["candidate"]) == {0}
    taught = json.loads((chosen / "export" / "llava.json").read_text())
    said = dict(zip(first["image_id"], first["text"], strict=True))
    expected = {image: text for image, text in said.items() if text}
    assert {one["id"]: one["conversations"][1]["value"] for one in taught} == expected


def test_online_rounds_go_on_from_the_last_model(folder: Path) -> None:
    step = carry_out([*TINY, "task.arm=random", "task.rounds=2"])
    steps = told(step)["steps"]
    assert {"candidates", "finetuning", "candidates_2", "finetuning_2"} < steps.keys()
    first, second = (steps[name]["run"] for name in ("finetuning", "finetuning_2"))
    model = f"++model.pretrained=runs/{first}/model"
    assert model in steps["candidates_2"]["command"]
    assert model in steps["finetuning_2"]["command"]
    assert f"++model.pretrained=runs/{second}/model" in steps["sampled"]["command"]
    assert len(list((folder / "runs").glob("evidence/candidates-*"))) == 2


def test_a_killed_sweep_goes_on_and_an_arm_that_fails_stops_no_other(folder: Path) -> None:
    """People know no sentence of random weights: nothing of theirs can be taken."""
    sweep = ["-m", *TINY, "task.arm=human,random", "task.steps=300"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vlground", *sweep],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 250
    while not list(folder.glob("runs/finetuning/*/checkpoints/last.ckpt")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(folder.glob("runs/finetuning/*/results.json"))
    (chosen,) = folder.glob("runs/rejection_sampling/*/results.json")
    written = chosen.stat().st_mtime_ns
    said = vlground(*sweep, cwd=folder, code=1)
    assert "task.arm=human, candidates: metric: no candidate can be taken" in said
    assert "goes on from" in said
    assert chosen.stat().st_mtime_ns == written
    (result,) = folder.glob("runs/rejection_finetuning/*/results.json")
    assert json.loads(result.read_text())["rejection_finetuning"]["arm"] == "random"


def test_an_arm_whose_captions_were_all_emptied_says_so(folder: Path) -> None:
    """Every word is taken for a thing, and none of them is in a scene."""
    words = [*WORDS, "Describe", "it", "ASSISTANT"]
    (folder / "words.txt").write_text("\n".join(words).lower())
    images = [f"shapes_captions/test/in/96/0.5/0/{number}" for number in range(3)]
    (folder / "empty.json").write_text(json.dumps({image: [] for image in images}))
    nouns = f'"task.nouns.tagger=vocabulary","task.nouns.vocabulary=[{",".join(words)}]"'
    scenes = '"dataset=shapes_captions","dataset.samples=3","dataset.seed=0"'
    blind = ("detector=oracle", "detector.file=empty.json", "detector.synonyms=words.txt")
    with pytest.raises(VlgroundError, match=r"^task\.arm=automatic, finetuning: .*no dialogue to "):
        carry_out([*TINY, *blind, "task.arm=automatic", f"task.candidates=[{scenes},{nouns}]"])
    (error,) = (folder / "runs" / "rejection_finetuning").glob("*/error.txt")
    assert "no dialogue to learn from; left out:" in error.read_text()


def test_steps_have_the_parts_of_the_run_and_only_what_differs_is_said() -> None:
    run = compose_cell(
        [
            *(*TASK, "model=captioner", "model.pretrained='/a b/it\\'s'", "reward.miss=0.2"),
            *("metric.error_weights={hallucination:2}", "metric.tie_order=[longer]", "seed=3"),
            *("+model.further=[1,{a:null},'1']", "trainer.precision=bf16-mixed", "batch_size=7"),
        ]
    )
    groups = ("model", "metric", "reward", "detector")
    overrides = inherited(run, "rejection_sampling", groups)
    step = compose_cell(overrides)
    for group in (*groups, "trainer", "callbacks", "seed", "batch_size", "runs"):
        assert step.node[group] == run.node[group], group
    assert [one for one in overrides if one.startswith("++reward")] == ["++reward.miss=0.2"]
    assert not [one for one in overrides if one.startswith("++detector")]
    assert step.experiment is None


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != "base"])
def test_an_arm_asks_its_own_branches_alone(arm: str) -> None:
    run = compose_cell([*TASK, f"task.arm={arm}", "task.holistic=['reward=vigor','reward.file=x']"])
    command = RejectionFinetuning(run)._command("candidates", None)
    step = compose_cell(command)
    streams = {"sentences": step.node["reward"], "nouns": step.node["detector"]}
    assert step.node["metric"]["streams"] == [name for name, asked in streams.items() if asked]
    expected = {"random": "none", "unrefined": "none", "all": "either", "automatic": "nouns"}
    expected["holistic"] = "none"
    assert step.node["metric"]["refine"] == expected.get(arm, "sentences")
    assert step.node["task"]["n"] == (1 if arm == "random" else 5)
    assert (step.choices["reward"] == "vigor") == (arm == "holistic")
    assert step.node["dataset"]["split"] == "train"
    assert step.node["dataset"]["seed"] not in (0, 1, 2), "of which bases have learnt"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("task.arm=both", "task.arm=both: expected one of base"),
        ("task.rounds=0", "task.rounds=0: expected a positive number"),
        ("task.benchmarks=null", r"task.benchmarks=\{\}: expected name"),
        ("limit=5", "limit=5: not with task=rejection_finetuning: .*dataset.samples"),
        ("model=captioner_shapes", "model: nothing to fine-tune"),
        ("task.finetuning=['task.stepz=1']", "task.finetuning: Could not override 'task.stepz'"),
        ("task.benchmarks.pope=['metric=popes']", "task.benchmarks.pope: "),
        ("+task.benchmarks.finetuning=[]", "task.benchmarks.finetuning: names a step"),
    ],
)
def test_what_cannot_be_is_refused_by_its_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VlgroundError, match=expected):
        carry_out([*TASK, "dataset.samples=2", wrong])
    assert not (tmp_path / "runs" / "evidence").exists()


def test_a_step_can_be_done_by_hand(folder: Path) -> None:
    """What a run says of a step is the command of that very run."""
    step = carry_out([*TINY, "task.arm=base", "~task.benchmarks.pope"])
    made = told(step)["steps"]["sampled"]
    command = shlex.split(shlex.join(made["command"]))
    assert carry_out([*command, "logger=none"]).fingerprint == made["fingerprint"]
