"""task=explanation as a user runs it, with a scripted judge behind a loopback address."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.cli import ENVIRONMENT, results, vlground
from tests.judging.server import ENVIRONMENT as KEY_NAME
from tests.judging.server import KEY, Judgement, Say, completion, judging, problem, scored

TASK = ("task=explanation", "logger=none", "task.overlays=2")


@pytest.fixture
def server() -> Iterator[Judgement]:
    with judging() as state:
        yield state


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, KEY_NAME, KEY)


def asked(server: Judgement, *others: str) -> tuple[str, ...]:
    judge = ("judge=openai_compatible", "judge.label=loop", f"judge.base_url={server.url}")
    quick = ("judge.model=judge-1", "judge.backoff=0.01", "judge.prompt=short", "judge.attempts=2")
    return (*TASK, *judge, *quick, *others)


def rows(folder: Path) -> pandas.DataFrame:
    (path,) = folder.glob("runs/explanation/*/rows.parquet")
    return pandas.read_parquet(path).set_index("id")


def test_faults_are_counts_and_no_key_is_written(server: Judgement, tmp_path: Path) -> None:
    server.key = KEY
    server.scripts = {
        "espresso": [Say(completion("I would say 4 out of 5")), Say(scored(4))],
        "tripod": [Say(problem("slow down"), 429, {"Retry-After": "0"}), Say(scored(5))],
        "moped": [Say(completion(None, refusal="I cannot help with that."))],
        "Egyptian cat": [Say(scored("3/5", model="judge-2"))],
        "bobsled": [Say(problem(f"the key {KEY} is fine, the picture too large"), 413)],
    }
    told = vlground(*asked(server, f"judge.api_key_env={KEY_NAME}", "task.sanity=0"), cwd=tmp_path)
    table = rows(tmp_path)
    assert dict(table["flag"]) == {
        "astronaut/space shuttle": "error: 413",
        "chelsea/tabby": "error: score is no number 0-5",
        "coffee/espresso": "error: no JSON",
        "rocket/missile": "",
        "motorcycle_left/moped": "refusal: refusal",
        "camera/tripod": "",
    }
    assert table["score"].dropna().to_dict() == {"rocket/missile": 4.0, "camera/tripod": 5.0}
    (result,) = results(tmp_path / "runs")
    assert result["counts"]["scored"] == 2
    assert sum(result["counts"]["flagged"].values()) == 4
    usage = result["explanation"]["usage"]
    assert usage["calls"] == 7, "six, and one of them twice"
    assert usage["tokens_in"] == 900 * 5
    assert usage["models"] == {"judge-1": 4, "judge-2": 1}
    assert "judge-2" in told
    assert KEY not in told
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_second_run_makes_no_call_and_errors_are_asked_again(
    server: Judgement, tmp_path: Path
) -> None:
    server.scripts = {"espresso": [Say("no JSON"), Say(scored(4))]}
    vlground(*asked(server, "task.sanity=2"), cwd=tmp_path)
    first = len(server.asked)
    assert rows(tmp_path)["outcome"].value_counts().to_dict() == {"score": 5, "error": 1}
    told = vlground(*asked(server, "task.sanity=2"), cwd=tmp_path)
    assert "done already (1 not answered: overwrite=true asks again)" in told
    vlground(*asked(server, "task.sanity=2", "overwrite=true"), cwd=tmp_path)
    assert server.asked[first:] == ["espresso"]
    again = asked(server, "task.sanity=2", "overwrite=true", "metric.threshold=4.5")
    vlground(*again, cwd=tmp_path)
    assert len(server.asked) == first + 1, "another threshold is another run on the same verdicts"


def test_a_grid_of_masks_classifies_once(server: Judgement, tmp_path: Path) -> None:
    grid = ("mask.alpha=15,25", "mask.beta=0.4,0.6", "task.sanity=0", "judge.concurrency=4")
    vlground("-m", *asked(server, *grid), cwd=tmp_path)
    found = results(tmp_path / "runs")
    assert len(found) == 4
    assert len({result["stage"] for result in found}) == 1
    (stage,) = tmp_path.glob("runs/evidence/explanation-*")
    assert len(list(stage.glob("*.segment"))) == 1, "written by the first cell alone"
    assert len(server.asked) == 4 * 6
    same = vlground(*asked(server, "task.sanity=0"), cwd=tmp_path)
    assert "done already" in same, "alpha 25 of the command line is 25.0 of the file"


@pytest.mark.slow  # by the command, several times
def test_killed_in_the_middle_it_goes_on_without_asking_again(
    server: Judgement, tmp_path: Path
) -> None:
    server.wait = 0.15
    options = asked(server, "judge.concurrency=2", "task.sanity=6")
    process = subprocess.Popen(
        [sys.executable, "-m", "vlground", *options], cwd=tmp_path, env=ENVIRONMENT
    )
    end = time.monotonic() + 120
    while len(server.bodies) < 10 and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = len(server.bodies)
    assert 10 <= before < 36
    assert not list(tmp_path.glob("runs/explanation/*/results.json"))
    server.wait = 0.0
    vlground(*options, cwd=tmp_path)
    questions = Counter(json.dumps(body, sort_keys=True) for body in server.bodies)
    twice = [question for question, count in questions.items() if count > 1]
    assert len(twice) <= 2, "only what was in flight when it was killed"
    with judging() as other:
        undisturbed = tmp_path / "undisturbed"
        undisturbed.mkdir()
        vlground(*asked(other, "judge.concurrency=2", "task.sanity=6"), cwd=undisturbed)
        assert set(questions) == {json.dumps(body, sort_keys=True) for body in other.bodies}
        assert rows(tmp_path).to_json() == rows(undisturbed).to_json()


@pytest.mark.slow  # by the command, several times
def test_impossible_and_malformed_cells_are_one_line(tmp_path: Path) -> None:
    said = vlground(*TASK, "model=mini_blip", "cam=attention_gradcam", cwd=tmp_path, code=1)
    assert "impossible, this model is no classifier" in said
    said = vlground(*TASK, "mask=none", cwd=tmp_path, code=1)
    assert "mask=none: a judge needs a picture" in said
    said = vlground(*TASK, "metric=q_groundcam", cwd=tmp_path, code=1)
    assert "metric=q_groundcam: task=explanation is scored by metric=judge_matrix" in said
    key = "sk-typed-in-the-wrong-place"
    said = vlground("-m", *TASK, "judge=logprobs", f"judge.api_key_env={key}", cwd=tmp_path, code=1)
    assert "expected the NAME of an environment variable" in said
    said = vlground(*TASK, f"+judge.api_key={key}", cwd=tmp_path, code=1)
    assert "judge.api_key: a key is given by judge.api_key_env=NAME" in said
    assert key not in said
    for option in ("mask.beta=nan", "mask.alpha=abc"):
        said = vlground(*TASK, option, cwd=tmp_path, code=1)
        assert f"{option}: expected a number" in said
        assert "Traceback" not in said
    assert not [path for path in tmp_path.glob("runs/explanation/*") if "mini_blip" in path.name]
    said = vlground(*TASK, "judge=logprobs", "judge.label=a", cwd=tmp_path, code=1)
    assert "judge.base_url" in said
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path


def test_a_missing_or_wrong_key_stops_the_run_in_one_line(
    server: Judgement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = asked(server, f"judge.api_key_env={KEY_NAME}")
    monkeypatch.delitem(ENVIRONMENT, KEY_NAME)
    said = vlground(*options, cwd=tmp_path, code=1)
    assert f"judge.api_key_env={KEY_NAME}: this environment variable is not set" in said
    assert server.asked == []
    server.key = KEY
    monkeypatch.setitem(ENVIRONMENT, KEY_NAME, "sk-wrong-0123456789")
    said = vlground(*options, cwd=tmp_path, code=1)
    assert "401" in said
    assert "sk-wrong" not in said


def test_an_endpoint_that_is_not_there_leaves_no_results(tmp_path: Path) -> None:
    judge = ("judge=openai_compatible", "judge.label=x", "judge.base_url=http://127.0.0.1:9/v1")
    quick = ("judge.model=y", "judge.attempts=1", "judge.backoff=0")
    said = vlground(*TASK, *judge, *quick, cwd=tmp_path, code=1)
    assert "the judge answered none of 6 questions: connection (6)" in said
    assert results(tmp_path / "runs") == []
    assert len(list(tmp_path.rglob("error.txt"))) == 1


def test_the_verdicts_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    shapes = ("model=shapes_resnet", "dataset=shapes_classification", "dataset.samples=12")
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, trainer in ((one, ()), (two, ("trainer=ddp", "trainer.devices=2"))):
        folder.mkdir()
        vlground(*TASK, *shapes, *trainer, cwd=folder)
    first, second = rows(one), rows(two)
    assert first.index.tolist() == second.index.tolist()
    words: Any = ["predicted", "outcome", "flag", "correct"]
    assert first[words].to_json() == second[words].to_json()
    assert (first["score"] - second["score"]).abs().max() < 1e-3
