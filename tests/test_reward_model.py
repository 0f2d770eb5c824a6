"""Training of a reward model: split by image, exact resuming, labels that are missing, faults."""

import json
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.captioners.dialogues import pictures, write_llava
from tests.cli import ENVIRONMENT, results, vlground
from tests.rewards.reward_parts import NAN, carry_out, task
from tests.rewards.reward_worker import main
from tests.test_matching import Stop
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.reporting.reward_models import reward_model_blocks
from vlground.rewards.extras import AnnotatedExtras
from vlground.rewards.labelled import (
    LabelledImage,
    class_weights,
    is_held_out,
    labelled,
    whole,
)
from vlground.rewards.objective import losses_of
from vlground.rewards.options import ERROR_TYPES
from vlground.rewards.reading_images import ReadImages, batches_of
from vlground.rewards.trained import TrainedSentences


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_llava(tmp_path_factory.mktemp("llava"))


def test_an_interrupted_training_ends_with_the_numbers_of_one_that_was_not(
    llava: str, tmp_path: Path
) -> None:
    made = task(llava, tmp_path / "whole")
    before = {name: one.clone() for name, one in made.state_dict().items()}
    carry_out(made)
    with pytest.raises(RuntimeError, match="stopped"):
        carry_out(task(llava, tmp_path / "broken"), [Stop(2)])
    resumed = task(llava, tmp_path / "broken")
    carry_out(resumed)
    expected = made.state_dict()
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.table.equals(made.table)
    changed = {name for name, one in expected.items() if not torch.equal(one, before[name])}
    for part in ("vision_tower", "multi_modal_projector", "language_model", "head"):
        assert any(part in name for name in changed if name.startswith("reward.")), part
    assert not any("lm_head" in name for name in changed)
    # The baseline changes nothing of the model.
    alone = task(llava, tmp_path / "alone", blind=False)
    carry_out(alone)
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert "blind/auc/any" not in alone.scores()


def test_two_processes_learn_what_one_does_with_twice_the_images(
    llava: str, tmp_path: Path
) -> None:
    """Labels are missing here and there, and the mean is over all of a step all the same."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    main(llava, str(tmp_path / "1"), devices="1", images="4")
    words = (llava, str(tmp_path / "2"), "2", "2")
    process = subprocess.run(
        [sys.executable, "-m", "tests.rewards.reward_worker", *words],
        cwd=Path(__file__).parents[1],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    for name in ("model.safetensors", "reward_head.safetensors"):
        one, two = (load_file(tmp_path / of / "model" / name) for of in ("1", "2"))
        assert one.keys() == two.keys()
        for key, tensor in one.items():
            torch.testing.assert_close(tensor, two[key], rtol=1e-3, atol=1e-4)
    # Optimizers hardly feel a loss of half the size, so that weights alone would not tell.
    lost = [json.loads((tmp_path / of / "losses.json").read_text()) for of in ("1", "2")]
    assert np.allclose(lost[0], lost[1], rtol=1e-4)
    tables = [pandas.read_parquet(tmp_path / of / "rows.parquet") for of in ("1", "2")]
    one, two = (table.sort_values("id", ignore_index=True) for table in tables)
    assert one["id"].tolist() == two["id"].tolist()
    for name in ("probability/hallucination", "blind/attribute"):
        assert np.allclose(one[name], two[name], atol=1e-4, equal_nan=True)


@pytest.mark.skipif(find_spec("peft") is None, reason="needs peft: vlground[finetuning]")
def test_lora_trains_adapters_alone_and_what_is_saved_needs_no_peft(
    llava: str, tmp_path: Path
) -> None:
    adapter = {"kind": "lora", "modules": ["q_proj", "v_proj"], "r": 4, "alpha": 8}
    made = task(llava, tmp_path / "whole", adapter=adapter, freeze=["vision_tower"])
    before = {name: one.clone() for name, one in made.state_dict().items()}
    same: list[bool] = []

    class Watch(lightning.Callback):
        def on_train_end(self, *arguments: Any) -> None:
            now = made.state_dict()
            own = [n for n in before if "lora_" not in n and "head" not in n and "offset" not in n]
            same.extend(torch.equal(before[n], now[n]) for n in own)

    carry_out(made, [Watch()])
    assert len(same) > 20
    assert all(same)
    last = tmp_path / "whole" / "checkpoints" / "last.ckpt"
    kept = torch.load(last, weights_only=True)["state_dict"]
    assert {"lora_A", "lora_B"} <= {part for name in kept for part in name.split(".")}
    assert all("lora_" in name or ".head." in name for name in kept)
    assert not any("vision_tower" in name for name in kept)
    scorer = TrainedSentences(str(tmp_path / "whole" / "model"))
    rows, image = made.table.set_index("id"), made.labels.held_out[0]
    told = scorer.score([image.sample], [list(image.captions[0].sentences)])[0]
    for number, sentence in enumerate(told):
        row = rows.loc[f"{image.sample.image_id}/0/{number}"]
        for name in ("hallucination", "attribute"):
            assert sentence[name] == pytest.approx(row[f"probability/{name}"], abs=2e-2)
    with pytest.raises(RuntimeError, match="stopped"):
        carry_out(
            task(llava, tmp_path / "broken", adapter=adapter, freeze=["vision_tower"]), [Stop(2)]
        )
    resumed = task(llava, tmp_path / "broken", adapter=adapter, freeze=["vision_tower"])
    carry_out(resumed)
    expected = made.state_dict()
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.skipif(find_spec("peft") is not None, reason="peft is here")
def test_lora_without_peft_is_one_line(llava: str, tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"task\.adapter\.kind=lora: needs peft"):
        task(llava, tmp_path, adapter={"kind": "lora"})


def test_the_model_learns_what_is_marked_and_is_saved_with_how_it_reads(
    llava: str, tmp_path: Path
) -> None:
    made = task(llava, tmp_path, epochs=15, export=str(tmp_path / "export"))
    carry_out(made)
    scores = {name: one["value"] for name, one in made.scores().items()}
    assert scores["auc/any"] == scores["blind/auc/any"] == 1
    assert set(made.table["flag"].value_counts().to_dict().items()) == {("", 15), ("no label", 3)}
    assert made.table["image_id"].nunique() == 3
    # All images have the same captions: only the model tells them apart.
    by_sentence = made.table.groupby(["candidate", "sentence"])
    assert (by_sentence["probability/hallucination"].nunique() == 3).all()
    spread = by_sentence["blind/hallucination"].agg(np.ptp)
    assert spread.max() < 1e-6
    rows = made.table.set_index("id")
    image = made.labels.held_out[0].sample
    for folder in ("export", "model"):
        scorer = TrainedSentences(str(tmp_path / folder))
        told = scorer.score([image], [["w1 w2", "w3 w4 w5", "w6", "w7 w8"]])
        for number, sentence in enumerate(told[0]):
            row = rows.loc[f"{image.image_id}/0/{number}"]
            assert sentence["hallucination"] == pytest.approx(
                row["probability/hallucination"], abs=2e-2
            )
    # Of four sentences that are known (a caption's fourth is not) two make the error.
    details = made.details()["reward_model"]
    assert details["shares"]["hallucination"] == pytest.approx(2 / 5)
    assert details["class_weights"]["hallucination"] == pytest.approx(1.5)
    assert details["class_weights"]["attribute"] == 1


def test_the_loss_is_that_of_what_is_known(llava: str, tmp_path: Path) -> None:
    made = task(llava, tmp_path)
    with torch.no_grad():
        made.reward.head.weight.normal_(generator=torch.manual_seed(0))
        made.reward.offset[0] = np.log(3)
    batch = ReadImages(made.labels.training, made.reward)[[0, 1]]
    logits = made.reward([read.inputs for read in batch], [read.captions for read in batch])
    total, count = 0.0, 0
    for image, read in zip(logits, batch, strict=True):
        for rows, caption in zip(image, read.image.captions, strict=True):
            for row, labels in zip(rows.sigmoid().tolist(), caption.errors, strict=True):
                for k, (p, label) in enumerate(zip(row, labels, strict=True)):
                    if not np.isnan(label):
                        weight = 3 if k == 0 else 1
                        total -= weight * label * np.log(p) + (1 - label) * np.log1p(-p)
                        count += 1
    assert count == 2 * 5 * 6
    targets = [one.errors for read in batch for one in read.image.captions]
    loss, known = losses_of(made.reward, batch, targets)
    assert known == count
    assert loss.item() == pytest.approx(total, rel=1e-4)


def test_a_holistic_model_is_trained_on_captions_and_measured_on_sentences(
    llava: str, tmp_path: Path
) -> None:
    made = task(llava, tmp_path, level="caption", epochs=1)
    carry_out(made)
    labelled_rows = made.table[made.table["flag"] == ""]
    told = labelled_rows.groupby(["image_id", "candidate"])["probability/any"].nunique()
    assert (told == 1).all()
    assert len(labelled_rows) == 15
    errors = np.array([[0.0, 1.0], [0.5, 0.0], [NAN, NAN]])
    assert whole(errors, "any").tolist() == [[0.5, 1.0]]
    assert whole(errors, "share").tolist() == [[0.25, 0.5]]


def test_a_loss_that_is_not_a_number_stops_with_its_images_named(
    llava: str, tmp_path: Path
) -> None:
    made = task(llava, tmp_path)
    with torch.no_grad():
        made.reward.head.bias[0] = NAN
    with pytest.raises(
        VlgroundError, match=r"task\.learning_rate=0\.001: the loss of the reward.*nan"
    ) as e:
        carry_out(made)
    assert any(f"i{number}" in str(e.value) for number in range(5))


def test_images_that_cannot_be_read_are_left_out_and_shown(llava: str, tmp_path: Path) -> None:
    made = task(llava, tmp_path, epochs=1)
    gone = Sample("gone", "gone", tmp_path / "gone.png", "")
    for images in (made.labels.training, made.labels.held_out):
        images[0] = LabelledImage(gone, images[0].captions)
    carry_out(made)
    flags = made.table.groupby("image_id")["flag"].first()
    assert flags["gone"].startswith("unreadable image: ")
    assert made.scores()["auc/any"]["n"] == 10
    images = [LabelledImage(gone, image.captions) for image in made.labels.training]
    worse = task(llava, tmp_path / "worse", epochs=1)
    worse.labels.training[:] = images
    with pytest.raises(VlgroundError, match="no image of the training set can be read"):
        carry_out(worse)


def test_what_is_frozen_stays_as_it_was(llava: str, tmp_path: Path) -> None:
    made = task(llava, tmp_path, epochs=1, freeze=["vision_tower", "language_model"])
    before = {name: one.clone() for name, one in made.state_dict().items()}
    carry_out(made)
    changed = {n for n, one in made.state_dict().items() if not torch.equal(one, before[n])}
    parts = {"multi_modal_projector", "head", "offset"}
    assert all(any(part in name for part in parts) for name in changed)
    assert any("projector" in name for name in changed)
    with pytest.raises(VlgroundError, match=r"task\.freeze=eyes: expected some of vision_tower"):
        made.reward.unfreeze(["eyes"])


def test_labels_that_are_missing_or_do_not_fit_are_counted() -> None:
    counts: Counter[str] = Counter()
    sample = pictures(1)[0]
    captions = {0: ["a", "b"], 2: ["c"]}
    errors = np.zeros((3, 6))
    errors[[1, 2]] = NAN
    found = labelled(sample, captions, errors, counts)
    assert found is not None
    assert [(one.index, one.sentences) for one in found.captions] == [(0, ("a", "b"))]
    assert labelled(sample, captions, errors[:2], counts) is None
    assert labelled(sample, captions, np.full((3, 6), NAN), counts) is None
    assert counts == {
        "captions": 1,
        "sentences": 1,
        "sentences without a label": 5,
        "captions whose labels do not fit": 2,
    }


def test_the_split_is_by_image_and_the_order_by_seed_and_epoch() -> None:
    names = [f"image {number}" for number in range(2000)]
    held = [is_held_out(name, 0, 0.2) for name in names]
    assert 0.17 < np.mean(held) < 0.23
    assert held != [is_held_out(name, 1, 0.2) for name in names]
    # Who is held out at a share is so at every larger one.
    assert all(is_held_out(n, 0, 0.4) for n, one in zip(names, held, strict=True) if one)
    first = batches_of(10, 4, 0, 0)
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(place for batch in first for place in batch) == list(range(10))
    assert first == batches_of(10, 4, 0, 0)
    assert first != batches_of(10, 4, 0, 1)
    assert first != batches_of(10, 4, 1, 0)


def test_class_weights_balance_what_is_rare() -> None:
    table = np.array([[1.0, 0, 0.5], [0, 0, 0.5], [0, 0, 0.5], [NAN] * 3])
    assert class_weights([table], "balanced").tolist() == pytest.approx([2, 1, 1])
    assert class_weights([table], "none").tolist() == [1, 1, 1]
    for call in (lambda: class_weights([table], "some"), lambda: whole(table, "some")):  # type: ignore[arg-type]
        with pytest.raises(VlgroundError, match=r"task\.(class_weights|holistic)=some: expected"):
            call()


def test_from_the_drawn_world_to_a_reward_that_selects(llava: str, tmp_path: Path) -> None:
    shapes = ("logger=none", "dataset.samples=24")
    small = (f"task.backbone.pretrained={llava}", "task.epochs=1", "task.held_out=0.4")
    vlground("task=reward_model", *shapes, *small, cwd=tmp_path)
    (result,) = results(tmp_path / "runs")
    (table,) = (tmp_path / "runs").glob("reward_model/*/rows.parquet")
    rows, counts = pandas.read_parquet(table), result["reward_model"]["counts"]
    assert counts["training: captions"] + counts["held out: captions"] == 48
    assert len(rows) == counts["held out: sentences"] == result["counts"]["scored"]
    assert {"auc/any", "blind/auc/any", "gain/auc/any", "ece/any"} <= set(result["scores"])
    made = sorted((tmp_path / "runs").glob("evidence/*/*.segment"))
    assert len(made) == 2  # those that task=scoring reads
    trained = ("reward=trained", f"reward.pretrained={table.parent / 'model'}")
    options = ("task.n=2", "metric.streams=[sentences]", "detector=none", "task.review=0")
    vlground("task=rejection_sampling", *shapes, *trained, *options, cwd=tmp_path)
    (table,) = (tmp_path / "runs").glob("rejection_sampling/*/rows.parquet")
    assert pandas.read_parquet(table)["winner"].sum() == 24
    (block,) = reward_model_blocks(results(tmp_path / "runs"))
    assert [row[0] for row in block.rows][:2] == ["any", "hallucination"]
    assert block.rows[0][1] == str(counts["held out: sentences"])
    assert block.heads[2:5] == ["AUC ↑", "AUC, blind", "AUC over blind ↑"]
    assert any("level sentence, context preceding" in note for note in block.notes)


def test_labels_from_a_file_and_none_that_fit(llava: str, tmp_path: Path) -> None:
    captions, annotations = [], []
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        text = "A w1 w2. A w3 w4. A w5."
        captions.append({"image_id": str(number), "caption": text})
        scores = {"0": {"Accurate": "No", "InAcc-Reason": "attribute"}, "1": {"Accurate": "Yes"}}
        scores["2"] = {"Accurate": "Unsure"} if number else {"Accurate": "Yes"}
        for sentence in scores.values():
            sentence["Creative"] = "Yes" if number % 2 else "No"
        inner = {"per_sentence_scores": scores, "overall_detail_score": 1 + number % 4}
        annotations.append({"image_id": str(number), "text": text, "annotations": inner})
    for name, found in (("captions", captions), ("annotations", annotations)):
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    objects = {str(number): ["dog"] for number in range(10)}
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    options = (
        *("task=reward_model", "logger=none", "task.n=1", "model=captioner_file"),
        *(f"model.file={tmp_path / 'captions.json'}", "dataset=image_objects"),
        *(f"dataset.objects={tmp_path / 'objects.json'}", f"dataset.root={tmp_path}"),
        *("reward=vigor", f"task.backbone.pretrained={llava}", "task.epochs=1"),
        *("task.held_out=0.5", "task.blind=false", "task.extra=[creative,detail]"),
    )
    vlground(*options, f"reward.file={tmp_path / 'annotations.json'}", cwd=tmp_path)
    (result,) = results(tmp_path / "runs")
    reward = {"file": str(tmp_path / "annotations.json"), "style": "vigor"}
    counts: Counter[str] = Counter()
    for name, count in result["reward_model"]["counts"].items():
        counts[name.partition(": ")[2]] += count
    assert counts["captions"] == 10
    assert counts["sentences"] == 21
    assert counts["sentences without a label"] == 9
    assert result["reward_model"]["counts"]["reward: sentence without a verdict"] == 9
    assert result["scores"]["auc/attribute"]["value"] is not None
    held = result["reward_model"]["counts"]["held out: sentences"]
    assert result["scores"]["auc/creative"]["n"] == held
    assert set(result["reward_model"]["shares"]) == {*ERROR_TYPES, "creative", "detail"}
    block = AnnotatedExtras(["detail", "creative"], reward).of(
        "3", ["A w1 w2.", "A w3 w4.", "A w5."]
    )
    assert np.array_equal(block, [[NAN, 1], [NAN, 1], [1, 1]], equal_nan=True)
    assert np.isnan(AnnotatedExtras(["detail"], reward).of("3", ["Other."])).all()
    for names, node, words in (
        (["creative"], {"miss": 0.0}, "is known from files alone"),
        (["colour"], reward, r"task\.extra=colour: expected some of creative, detail"),
    ):
        with pytest.raises(VlgroundError, match=words):
            AnnotatedExtras(names, node)
    # Of one caption the file scores a sentence that is not there.
    annotations[0]["annotations"]["per_sentence_scores"]["7"] = {"Accurate": "Yes"}
    (tmp_path / "unfit.json").write_text(json.dumps(annotations))
    vlground(*options, f"reward.file={tmp_path / 'unfit.json'}", cwd=tmp_path)
    unfit = next(one for one in results(tmp_path / "runs") if one != result)
    counts = Counter(unfit["reward_model"]["counts"])
    assert counts["reward: sentence count disagrees with the text"] == 1
    assert counts["training: captions"] + counts["held out: captions"] == 9
    for one in annotations:  # of a caption that nobody wrote
        one["text"] = "Another text. Of three. Sentences."
    (tmp_path / "others.json").write_text(json.dumps(annotations))
    told = vlground(*options, f"reward.file={tmp_path / 'others.json'}", cwd=tmp_path, code=1)
    assert "no labelled caption is to train on" in told
    assert "sentences without a label" in told
