"""`task=word_reward` as a user runs it: trained, measured, saved, and taken up by others."""

import contextlib
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from tests.cli import results
from vlground.errors import VlgroundError
from vlground.reporting.word_rewards import word_reward_blocks
from vlground.run import CONF, execute

WORDS = {"puppy": "dog", "hound": "dog", "kitten": "cat", "tabby": "cat", "pony": "horse"}
SYNONYMS = "dog, puppy, hound\ncat, kitten, tabby\nhorse, pony\n"
IMAGES, CANDIDATES = 120, 3
RUN = (
    *("task=word_reward", "logger=none", f"task.n={CANDIDATES}", f"task.best_of={CANDIDATES}"),
    *("task.penalties=[0.3,3]", "reward.synonyms=synonyms.txt", "task.chair.synonyms=synonyms.txt"),
    *("dataset.captions=captions_0.json", "dataset.objects=objects.json"),
    *("reward.file=objects.json", "model.file=[captions_0.json,captions_1.json,captions_2.json]"),
)


def make_world(folder: Path) -> None:
    """Captions that name what is there or not, as often; of candidate 2 every word is right."""
    random = Random(0)
    names = [str(number) for number in range(IMAGES)]
    objects = {one: [n for n in ("dog", "cat", "horse") if random.random() < 0.5] for one in names}
    objects = {one: there or ["dog"] for one, there in objects.items()}
    for place in range(CANDIDATES):
        captions = []
        for name in names:
            known = [w for w, o in WORDS.items() if place < 2 or o in objects[name]]
            said = [f"There is a {random.choice(known)}." for _ in range(random.randint(1, 4))]
            captions.append({"image_id": name, "caption": " ".join(said)})
        (folder / f"captions_{place}.json").write_text(json.dumps(captions))
    (folder / "objects.json").write_text(json.dumps(objects))
    (folder / "synonyms.txt").write_text(SYNONYMS)


def run(folder: Path, *overrides: str) -> None:
    """One cell in this process, from within the folder."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("run", list(overrides))
        whole = compose("run", list(overrides), return_hydra_config=True)
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(whole)
    try:
        with contextlib.chdir(folder):
            execute(config)
    finally:
        HydraConfig.instance().cfg = before


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    make_world(folder)
    for level, evidence in (("sentence", "objects"), ("caption", "objects"), ("sentence", "none")):
        run(folder, *RUN, f"task.level={level}", f"task.evidence={evidence}")
    return folder


def found(folder: Path, level: str, evidence: str) -> dict[str, Any]:
    (one,) = [
        result
        for result in results(folder / "runs")
        if result["task"] == "word_reward"
        and (result["word_reward"]["level"], result["word_reward"]["evidence"]) == (level, evidence)
    ]
    return one


def run_of(folder: Path, result: dict[str, Any]) -> Path:
    (path,) = (folder / "runs" / "word_reward").glob(f"*-{result['fingerprint'][:8]}")
    return path


def test_who_sees_the_objects_tells_errors_and_words_alone_do_not(swept: Path) -> None:
    fine, holistic = (found(swept, level, "objects") for level in ("sentence", "caption"))
    blind = found(swept, "sentence", "none")
    value = {name: one["value"] for name, one in fine["scores"].items()}
    assert value["auc/any"] > 0.99
    assert value["blind/auc/any"] < 0.65
    assert value["gain/auc/any"] == pytest.approx(value["auc/any"] - value["blind/auc/any"])
    # Right sentences of wrong captions were called wrong, so it doubts too much.
    assert holistic["scores"]["ece/any"]["value"] > 2 * value["ece/any"]
    assert blind["scores"]["auc/any"]["value"] == value["blind/auc/any"]
    assert "blind/auc/any" not in blind["scores"]
    assert value["sum/wrong_sentences"] == value["labels/wrong_sentences"] == 0
    assert value["sum/chair_s"] == value["mean/chair_s"] == 0 < value["random/chair_s"]
    assert value["sum/words"] <= value["mean/words"]
    assert fine["word_reward"]["images"] == {"training": 96, "held out": 24}
    assert set(fine["word_reward"]["penalty"]) == {"objects", "none"}


def test_rows_are_the_sentences_of_held_out_images_with_what_was_said_of_them(swept: Path) -> None:
    fine = found(swept, "sentence", "objects")
    folder = run_of(swept, fine)
    rows = pandas.read_parquet(folder / "rows.parquet")
    held_out = json.loads((folder / "held_out.json").read_text())
    objects = json.loads((swept / "objects.json").read_text())
    assert set(rows["image_id"]) == set(held_out)
    assert held_out == {image: sorted(objects[image]) for image in held_out}
    assert len(rows) == fine["counts"]["samples"] == fine["counts"]["scored"]
    assert rows["id"].is_unique
    truth = [
        WORDS[text.split()[-1].rstrip(".")] not in objects[image]
        for text, image in zip(rows["text"], rows["image_id"], strict=True)
    ]
    assert rows["label"].tolist() == [float(wrong) for wrong in truth]
    assert ((rows["probability"] > 0.5) == truth).mean() > 0.95
    for arm in ("random", "sum", "mean", "labels"):
        mine = rows[rows[arm]].groupby("image_id")["candidate"].nunique()
        assert (mine == 1).all()
        assert len(mine) == 24


def test_the_saved_model_selects_as_it_was_measured(swept: Path) -> None:
    """The weights as reward=words_and_objects, on the images that it was not trained on."""
    fine = found(swept, "sentence", "objects")
    folder = run_of(swept, fine)
    selected = (
        *("task=rejection_sampling", "logger=none", "task.n=3", "task.review=0", "task.export=[]"),
        *("dataset=image_objects", f"dataset.objects={folder / 'held_out.json'}"),
        *("model=captioner_file", RUN[-1], "detector=none", "metric.streams=[sentences]"),
        *("metric.sentence_score=probabilistic", "metric.refine=none"),
        *("reward=words_and_objects", "reward.objects=objects.json"),
        f"reward.file={folder / 'model' / 'words_and_objects.safetensors'}",
        "task.chair.synonyms=synonyms.txt",
    )
    for amount in ("counts", "rates"):
        run(swept, *selected, f"metric.amount={amount}")
    mine = [one for one in results(swept / "runs") if one["task"] == "rejection_sampling"]
    amounts = {one["identity"]["metric"]["amount"]: one["scores"] for one in mine}
    for arm, amount in (("sum", "counts"), ("mean", "rates")):
        for name in ("chair_i", "chair_s", "recall", "words"):
            assert amounts[amount][f"winner/{name}"] == fine["scores"][f"{arm}/{name}"]
            assert amounts[amount][f"random/{name}"] == fine["scores"][f"random/{name}"]


def test_nothing_of_a_held_out_image_is_learnt(swept: Path) -> None:
    """Other objects in held-out images, so other labels and other evidence: the same weights."""
    fine = found(swept, "sentence", "objects")
    folder = run_of(swept, fine)
    objects = json.loads((swept / "objects.json").read_text())
    for image in json.loads((folder / "held_out.json").read_text()):
        objects[image] = ["horse"]
    (swept / "changed.json").write_text(json.dumps(objects))
    changed = ("dataset.objects=changed.json", "reward.file=changed.json", "runs=others")
    run(swept, *RUN, *changed)
    (other,) = (swept / "others" / "word_reward").iterdir()
    weights = Path("model", "words_and_objects.safetensors")
    assert (other / weights).read_bytes() == (folder / weights).read_bytes()
    first, second = (pandas.read_parquet(one / "rows.parquet") for one in (folder, other))
    assert not np.array_equal(first["label"], second["label"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["task.level=word"], "task.level=word: expected sentence or caption"),
        (["task.best_of=4"], "task.best_of=4: expected 1 to task.n=3"),
        (["task.penalties=[]"], r"task.penalties=\[\]: expected a list of numbers above 0"),
        (["task.held_out=0.001"], "task.held_out: no image is held out"),
        (["dataset.objects=null"], "dataset=captions: expected to know what is in its images"),
        (["reward.miss=1"], "reward: 0 of .* sentences to train on are wrong"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_line(
    options: list[str], told: str, swept: Path
) -> None:
    with pytest.raises(VlgroundError, match=f"^{told}"):
        run(swept, *RUN, *options, "runs=refused")


def test_the_report_names_what_was_trained_and_every_arm(swept: Path) -> None:
    curves, arms = word_reward_blocks(results(swept / "runs"))
    assert sorted(row[:2] for row in curves.rows) == [
        ["caption", "objects"],
        ["sentence", "none"],
        ["sentence", "objects"],
    ]
    assert [row[2] for row in arms.rows] == ["random", "sum", "mean", "labels"] * 3
    for block in (curves, arms):
        assert all(len(row) == len(block.heads) for row in block.rows)
    assert word_reward_blocks([{"task": "grounding"}]) == []
