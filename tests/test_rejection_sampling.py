"""From images to training data as a user runs it: candidates, scores, winners, faults."""

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

import numpy as np
import pandas
import pytest
from PIL import Image

from tests.captioners.dialogues import write_llava
from tests.cli import ENVIRONMENT, results, vlground
from tests.judging.server import Judgement, Say, completion, judging

LVLM = Path(__file__).parents[2] / "shared" / "data" / "pope"
QUICK = ("logger=none",)
SHAPES = (*QUICK, "dataset.samples=40")


def rows(runs: Path, task: str = "rejection_sampling") -> pandas.DataFrame:
    (path,) = runs.glob(f"{task}/*/rows.parquet")
    return pandas.read_parquet(path)


def segments(runs: Path) -> set[str]:
    return {str(path.relative_to(runs)) for path in runs.glob("evidence/*/*.segment")}


def test_the_pipeline_in_the_drawn_world_and_a_sweep_that_asks_no_model(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    export = "task.export=[llava,llama_factory,trl_sft,trl_dpo,trl_stepwise]"
    vlground("task=rejection_sampling", *SHAPES, export, "task.review=0", cwd=tmp_path)
    made = segments(runs)
    assert Counter(name.split("/")[1].split("-")[0] for name in made) == {
        "candidates": 1,
        "nouns": 1,
        "sentences": 1,
    }
    table, (result,) = rows(runs), results(runs)
    scores = {name: one["value"] for name, one in result["scores"].items()}
    assert len(table) == 200
    assert table["winner"].sum() == 40
    assert scores["winner/wrong_sentences"] < scores["random/wrong_sentences"]
    assert scores["refined/undetected_nouns"] == 0
    assert scores["refined/chair_i"] <= scores["winner/chair_i"] < scores["random/chair_i"]
    for _, image in table.groupby("image_id"):
        able = image[image["flag"] == ""]
        assert able[able["winner"]]["penalty"].item() == able["penalty"].min()
    check_exports(next(runs.glob("rejection_sampling/*/export")), table)
    # The evidence of a stage is made once; thresholds, weights and normalisation read it.
    grid = ("metric.normalise=variance,rank", "metric.noun_threshold=0.1,0.25")
    vlground("-m", "task=rejection_sampling", *SHAPES, "task.review=0", *grid, cwd=tmp_path)
    assert segments(runs) == made
    vlground("task=scoring", *SHAPES, cwd=tmp_path)
    vlground("task=sampling", *SHAPES, cwd=tmp_path)
    assert segments(runs) == made
    vlground(
        "task=rejection_sampling", *SHAPES, "task.export=[trl_sft]", "task.review=0", cwd=tmp_path
    )
    assert len(list(runs.glob("rejection_sampling/*/export/trl_sft.jsonl"))) == 2
    assert segments(runs) == made
    # More candidates: those that are there stay as they are.
    vlground("task=sampling", *SHAPES, "task.n=7", cwd=tmp_path)
    texts = [pandas.read_parquet(path)["text"] for path in runs.glob("sampling/*/rows.parquet")]
    five, seven = sorted(texts, key=len)
    assert seven[np.arange(280) % 7 < 5].tolist() == five.tolist()
    assert five.tolist() == table["text"].tolist()


def check_exports(folder: Path, table: pandas.DataFrame) -> None:
    winners = table[table["winner"]].set_index("image_id")
    kept = {image: text for image, text in winners["refined"].items() if text}
    llava = json.loads((folder / "llava.json").read_text())
    assert {one["id"]: one["conversations"][1]["value"] for one in llava} == kept
    assert all(Image.open(one["image"]).size == (96, 96) for one in llava)
    factory = json.loads((folder / "llama_factory.json").read_text())
    assert [one["messages"][1]["content"] for one in factory] == list(kept.values())
    assert "vlground" in json.loads((folder / "dataset_info.json").read_text())
    pairs = [json.loads(line) for line in (folder / "trl_dpo.jsonl").read_text().splitlines()]
    worst = table[table["worst"]]["text"].tolist()
    assert {one["rejected"][0]["content"][0]["text"] for one in pairs} <= set(worst)
    steps = [json.loads(line) for line in (folder / "trl_stepwise.jsonl").read_text().splitlines()]
    wrong = sum(not label for one in steps for label in one["labels"])
    assert wrong == winners["wrong_sentences"].sum() > 0
    for path in (*folder.glob("*.json"), *folder.glob("*.jsonl")):
        if path.name != "dataset_info.json":
            told = (folder / f"{path.name}.card.md").read_text()
            assert "| candidates an image | 5 |" in told
            assert "| normalise | variance |" in told


@pytest.fixture
def odd(tmp_path: Path) -> tuple[str, ...]:
    """Candidates as they come: odd texts, torn and mixed files, images that are not there."""
    texts = {
        "a": "",
        "b": "Look at this, it is so very nice and lovely!",
        "c": "a dog " + "and a dog " * 4000,
        "d": "A dog 🐕‍🦺 runs. 猫。狗。",
        "e": "A dog. A cat.",
    }
    lines = [json.dumps({"image_id": name, "caption": text}) for name, text in texts.items()]
    (tmp_path / "first.jsonl").write_text("\n".join([*lines, '{"image_id": "f", "capt']))
    second = [{"image_id": name, "caption": "A dog sits. A table."} for name in texts]
    spread = "\n".join(json.dumps(one, indent=2) for one in [*second, {"caption": "no image"}])
    (tmp_path / "second.json").write_text(spread)  # objects one after the other
    (tmp_path / "third.json").write_text(json.dumps([*second, second[0], {"image_id": "zz"}]))
    objects = {**{name: ["dog"] for name in texts}, "f": ["dining table"]}
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    files = ",".join(str(tmp_path / name) for name in ("first.jsonl", "second.json", "third.json"))
    nouns = ("task.nouns.tagger=vocabulary", "task.nouns.vocabulary=coco")
    found = ("detector=oracle", "detector.file=objects.json", "reward=none")
    return (
        *QUICK,
        "model=captioner_file",
        f"model.file=[{files}]",
        "dataset=image_objects",
        "dataset.objects=objects.json",
        "metric.streams=[nouns]",
        *nouns,
        *found,
    )


def test_odd_captions_are_counted_and_lose_nothing(odd: tuple[str, ...], tmp_path: Path) -> None:
    said = vlground("task=rejection_sampling", *odd, "task.n=3", cwd=tmp_path)
    assert "first.jsonl: 1 × torn end (line 6)" in said
    assert "no image id" in said
    assert "no caption" in said
    (result,) = results(tmp_path / "runs")
    table = rows(tmp_path / "runs").set_index("id")
    assert result["counts"]["flagged"] == {
        "empty caption": 1,
        "fewer captions in model.file than asked": 3,
    }
    assert len(table) == 18
    assert table.loc["c/0", "sentences"] == 1
    assert table.loc["c/0", "nouns"] == 1, "four thousand dogs are one noun"
    assert table.loc["d/0", "text"] == "A dog 🐕‍🦺 runs. 猫。狗。"
    assert table.loc["d/0", "sentences"] == 3
    assert table.loc["b/0", "nouns"] == 0
    winners = table[table["winner"]]
    assert set(winners["image_id"]) == set("abcde")
    assert winners.loc["c/0", "words"] > 8000, "free of what is not there, and the longest"
    assert not table.loc["a/0", "winner"], "nothing is held against an empty caption"
    assert winners[winners["image_id"] == "a"]["refined"].item() == "A dog sits."
    counts = result["reward"]["counts"]
    assert counts["no_candidate_scored"] == 0
    assert counts["candidates: empty caption"] == 1
    told = {"captions: torn end": 1, "captions: no image id": 1, "captions: no caption": 1}
    assert told.items() <= counts.items()
    assert result["scores"]["first/empty"]["value"] == 0.2, "what was written first, as it is"
    vlground("task=rejection_sampling", *odd, "task.n=3", "metric.take_empty=true", cwd=tmp_path)
    free = [pandas.read_parquet(p) for p in tmp_path.glob("runs/rejection*/*/rows.parquet")]
    assert sorted(table["flag"].eq("empty caption").sum() for table in free) == [0, 1]


@pytest.mark.slow  # by the command, several times
def test_what_does_not_go_together_is_told_in_one_line(
    odd: tuple[str, ...], tmp_path: Path
) -> None:
    ask = ("task=rejection_sampling", *odd)
    said = vlground(*ask, "metric.streams=[sentences,nouns]", cwd=tmp_path, code=1)
    assert (
        "reward=none: metric.streams has sentences; choose one, or metric.streams=[nouns]" in said
    )
    said = vlground(*ask, "shard=0/2", cwd=tmp_path, code=1)
    assert "shard=0/2: not with metric.pool=global" in said
    said = vlground(*ask, "task.export=[alpaca]", cwd=tmp_path, code=1)
    assert "task.export=alpaca: expected some of llava, llama_factory" in said
    said = vlground(*ask, "task.n=0", cwd=tmp_path, code=1)
    assert "task.n=0: expected a positive number" in said
    said = vlground("task=sampling", *QUICK, "model=efficientnet_lite0", cwd=tmp_path, code=1)
    assert "model: EfficientNetLite writes no captions" in said
    (tmp_path / "other.json").write_text(json.dumps({"q": ["dog"]}))
    said = vlground(*ask, "detector.file=other.json", "sample=a", cwd=tmp_path, code=1)
    assert "no candidate can be taken: empty caption (1), a sentence or noun without" in said


def test_shards_share_candidates_and_frozen_statistics_score_them_as_the_whole(
    tmp_path: Path,
) -> None:
    ask = ("task=rejection_sampling", *SHAPES, "task.review=0")
    for shard in ("0/2", "1/2"):
        vlground("task=scoring", *SHAPES, f"shard={shard}", cwd=tmp_path)
    made = segments(tmp_path / "runs")
    vlground(*ask, cwd=tmp_path)
    assert segments(tmp_path / "runs") == made, "the shards made all that the whole needs"
    (pool,) = tmp_path.glob("runs/rejection_sampling/*/pool.json")
    whole = rows(tmp_path / "runs").set_index("id")["penalty"]
    frozen = ("metric.pool=frozen", f"metric.statistics={pool}", "shard=1/2", "runs=shard")
    vlground(*ask, *frozen, cwd=tmp_path)
    half = rows(tmp_path / "shard").set_index("id")["penalty"]
    assert len(half) == 100
    pandas.testing.assert_series_equal(half, whole[half.index])


def test_a_model_of_transformers_writes_and_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_llava(tmp_path / "llava")
    local = ("model=captioner", "model.pretrained=llava", "model.max_tokens=12", "limit=4")
    ask = ("task=sampling", *QUICK, *local, "dataset.samples=4", "task.n=3")
    vlground(*ask, cwd=tmp_path)
    table = rows(tmp_path / "runs", "sampling")
    assert len(table) == 12
    assert (table["log_probability"] < 0).all()
    assert (table["tokens"] <= 12).all()
    assert table["text"].nunique() == 12
    assert "done already" in vlground(*ask, cwd=tmp_path)
    (tmp_path / "llava").rename(tmp_path / "moved")
    again = [one.replace("=llava", "=moved") for one in ask]
    assert "done already" in vlground(*again, cwd=tmp_path), "weights count, not their place"


@pytest.fixture
def server() -> Iterator[Judgement]:
    """Answers with a caption of the request's own seed; of every tenth seed it refuses."""
    with judging() as state:

        def answer(body: dict[str, Any], headers: dict[str, str]) -> Say:
            state.bodies.append(body)
            if body["seed"] % 10 == 0 and state.key is None:
                return Say(completion(None, refusal="I would rather not"))
            return Say(completion(f"A star {body['seed']}."))

        state.answer = answer  # type: ignore[method-assign]
        yield state


def served(server: Judgement, *more: str) -> tuple[str, ...]:
    where = (f"model.base_url={server.url}", "model.label=loop", "model.model=vlm")
    how = ("model.concurrency=2", "model.backoff=0.01")
    images = ("dataset.samples=20", "task.n=3")
    return ("task=sampling", *QUICK, "model=captioner_server", *where, *how, *images, *more)


def test_refusals_are_counted_and_asked_again(server: Judgement, tmp_path: Path) -> None:
    vlground(*served(server), cwd=tmp_path)
    (first,) = results(tmp_path / "runs")
    refused = sum(body["seed"] % 10 == 0 for body in server.bodies)
    assert len(server.bodies) == 60
    assert refused > 0
    assert first["counts"]["flagged"] == {"refusal": refused}
    assert first["counts"]["scored"] == 60 - refused
    server.key = "now it answers"
    vlground(*served(server, "overwrite=true"), cwd=tmp_path)
    assert len(server.bodies) == 60 + refused, "only what was refused"
    assert results(tmp_path / "runs")[0]["counts"]["flagged"] == {}


def test_killed_while_it_samples_it_asks_only_for_what_is_missing(
    server: Judgement, tmp_path: Path
) -> None:
    server.wait, server.key = 0.15, "no refusals"
    ask = served(server, "batch_size=2")
    process = subprocess.Popen(
        [sys.executable, "-m", "vlground", *ask], cwd=tmp_path, env=ENVIRONMENT
    )
    end = time.monotonic() + 120
    while len(server.bodies) < 20 and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 20 <= len(server.bodies) < 60
    assert not list(tmp_path.glob("runs/sampling/*/results.json"))
    server.wait = 0.0
    vlground(*ask, cwd=tmp_path)
    seeds = Counter(body["seed"] for body in server.bodies)
    assert len(seeds) == 60
    assert sum(count - 1 for count in seeds.values()) <= 2, "only what was in flight"
    assert (rows(tmp_path / "runs", "sampling")["flag"] == "").all()


def test_a_server_that_dies_stops_the_run_which_then_goes_on(
    server: Judgement, tmp_path: Path
) -> None:
    server.key = "no refusals"
    alive, answer = 25, server.answer

    def dying(body: dict[str, Any], headers: dict[str, str]) -> Say:
        if len(server.bodies) >= alive:
            return Say({}, 503)
        return answer(body, headers)

    server.answer = dying  # type: ignore[method-assign]
    give_up = ("model.give_up=4", "model.attempts=1")
    said = vlground(*served(server, *give_up), cwd=tmp_path, code=1)
    assert "model.give_up=4: 4 requests in a row were not answered: 503" in said
    server.answer = answer  # type: ignore[method-assign]
    vlground(*served(server, *give_up), cwd=tmp_path)
    assert len({body["seed"] for body in server.bodies}) == len(server.bodies) == 60


@pytest.mark.shared
def test_the_experiment_on_captions_of_real_models(tmp_path: Path) -> None:
    """An oracle that never errs: nothing that it can see is left, and recall does not fall."""
    if not LVLM.is_dir():
        pytest.skip("the folder of real data (pope) is not beside the checkout")
    narrow = ("limit=400", "detector.miss=0,0.2", "detector.false_alarm=0", "logger=none")
    vlground("experiment=vigor_detector_noise", f"lvlm.folder={LVLM}", *narrow, cwd=tmp_path)
    found = {one["identity"]["detector"]["miss"]: one for one in results(tmp_path / "runs")}
    perfect, blind = ({k: v["value"] for k, v in found[m]["scores"].items()} for m in (0.0, 0.2))
    assert perfect["refined/chair_i"] == 0
    assert perfect["winner/recall"] > perfect["random/recall"]
    assert 0.8 < perfect["ties"] < 0.9, "most images have several captions without an error"
    assert perfect["random/chair_i"] == blind["random/chair_i"], "the control asks nobody"
    assert blind["refined/recall"] < blind["winner/recall"] < perfect["winner/recall"]
    assert found[0.2]["reward"]["counts"]["emptied"] > found[0.0]["reward"]["counts"]["emptied"]
