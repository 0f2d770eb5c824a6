"""task=explanation inside Lightning, with a classifier whose evidence is planted."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vlground.cams.baselines import Uniform
from vlground.cams.gradient import HiResCAM
from vlground.contracts import CAM, Judge, JudgeRequest, Mask, Verdict
from vlground.data.sample import Sample
from vlground.errors import ImpossiblePairError
from vlground.identity import Stage
from vlground.judging.prompt import load_prompt
from vlground.judging.reference import ReferenceJudge
from vlground.judging.usage import Usage
from vlground.masks.controls import Black
from vlground.masks.soft import Crop, Overlay, Sigmoid
from vlground.metrics.judge_matrix import JudgeMatrix
from vlground.models.classifier import ImageClassifier
from vlground.preprocess import Preprocess
from vlground.store import EvidenceStore
from vlground.tasks.explaining import degenerate, subjects_of
from vlground.tasks.explanation import Explanation
from vlground.tasks.verdicts import Verdicts, check_judge, controls

NAMES = ["Upper_Left", "upper right", "lower left", "lower right"]
SIDE = 64


class Quadrants(nn.Module):
    """Logits are how bright each quarter of the image is."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(8)
        self.cells = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.cells.weight, 1 / 3)

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.cells(self.pool(pixels))
        return nn.functional.avg_pool2d(cells, 4).flatten(1) * 20


def classifier() -> ImageClassifier:
    preprocess = Preprocess(size=SIDE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return ImageClassifier(Quadrants(), preprocess, layer="cells", classes=NAMES)


def photo(number: int, quarter: int, label: str, text: str = "") -> Sample:
    """A bright square inside a quarter; the box is the square."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 30, (SIDE, SIDE, 3), dtype=np.uint8)
    y, x = (32 * part + 4 for part in divmod(quarter, 2))
    pixels[y : y + 24, x : x + 24] = rng.integers(200, 256, 3, dtype=np.uint8)
    box = np.array([[x, y, x + 24, y + 24]], dtype=np.float64)
    return Sample(f"{number}/{label}", str(number), pixels, text or label, boxes=box, label=label)


def photos(count: int, wrong: int = 0) -> list[Sample]:
    """Right labels, and `wrong` wrong ones at the end."""
    right = [photo(n, n % 4, NAMES[n % 4].replace("_", " ")) for n in range(count - wrong)]
    return right + [photo(n, n % 4, NAMES[(n + 1) % 4]) for n in range(count - wrong, count)]


class Scripted(Judge):
    """Says what it is told to, and notes what it was asked."""

    def __init__(self, said: dict[str, Verdict] | None = None) -> None:
        self.said, self.asked = said or {}, list[JudgeRequest]()
        self.usage = Usage()

    def judge(self, requests: Iterable[JudgeRequest]) -> Iterator[tuple[JudgeRequest, Verdict]]:
        for request in requests:
            self.asked.append(request)
            setting = request.key.split("/")[1]
            ours = self.said.get(request.sample.id) if request.sample else None  # type: ignore[union-attr]
            verdict = ours if ours and setting == "own" else Verdict("score", 4.0, "a square", "so")
            self.usage.add(verdict)
            yield request, verdict


def run(
    folder: Path,
    samples: list[Sample],
    judge: Judge | None = None,
    cam: CAM | None = None,
    mask: Mask | None = None,
    sanity: int = 0,
    classify: bool = True,
    threshold: float = 2.5,
) -> Explanation:
    mask = mask or Sigmoid()
    store = EvidenceStore(folder, Stage("explanation", {}, {}))
    name = f"{type(mask).__name__}{getattr(mask, 'beta', '')}"
    told = EvidenceStore(folder, Stage("verdict", {}, {"mask": name}))
    judge = judge or ReferenceJudge()
    verdicts = Verdicts(told, mask)
    task = Explanation(JudgeMatrix(threshold), samples, store, verdicts, judge, sanity)
    if classify:
        task.scorer, task.cam = classifier(), cam or HiResCAM()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    task.carry_out(trainer)
    return task


def test_the_matrix_of_planted_images(tmp_path: Path) -> None:
    judge = ReferenceJudge(label="truth")
    task = run(tmp_path, photos(40, wrong=10), judge)
    rows = task.table
    assert rows["predicted"][:2].tolist() == ["Upper Left", "upper right"]
    assert rows["correct"].tolist() == [1.0] * 30 + [0.0] * 10
    assert rows["score"].min() > 3, "the map lies on the square, whatever its label"
    assert task.details()["matrix"]["judge"]["correct_high"] == 30
    scores = task.scores()
    assert scores["accuracy"]["value"] == scores["correct_high"]["value"] == 0.75
    assert scores["wrong_high"]["value"] == 0.25
    assert 0.59 < scores["accuracy"]["low"] < 0.61, "Wilson's"
    strict = run(tmp_path, photos(40, wrong=10), judge, threshold=5)
    assert strict.scores()["correct_low"]["value"] == 0.75
    of_label = task.details()["explanation"]["per_class"]["upper right"]
    assert of_label["accuracy"]["n"] + of_label["wrong_high"]["value"] > 0


def test_the_judge_of_the_predicted_label_scores_wrong_ones_low(tmp_path: Path) -> None:
    rows = run(tmp_path, photos(8, wrong=4)).table
    assert (rows["score"][:4] > 3).all()
    assert (rows["score"][4:] == 0).all()
    assert set(rows["cell"]) == {"correct_high", "wrong_low"}
    assert "The object there is" in rows["justification"][7]


def test_the_judge_sees_the_image_times_the_mask_and_the_predicted_name(tmp_path: Path) -> None:
    judge, sample = Scripted(), photos(1)[0]
    task = run(tmp_path, [sample], judge)
    (request,) = judge.asked
    assert request.fields == {"object": "Upper Left"}
    evidence = task.store[next(iter(task.subjects.values())).key]
    grid = np.asarray(evidence["map"])
    v = (grid - grid.min()) / (grid.max() - grid.min())
    native = Image.fromarray(v.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    m = 1 / (1 + np.exp(25 * (0.6 - np.asarray(native).clip(0, 1))))
    expected = np.asarray(sample.image) * m[..., None]
    assert np.abs(request.images[0] - np.floor(expected)).max() <= 1
    assert request.shown is not None
    assert np.abs(request.shown - m).max() < 1e-4


def test_a_constant_map_is_flagged_and_not_sent(tmp_path: Path) -> None:
    judge = Scripted()
    task = run(tmp_path, photos(4), judge, cam=Uniform(), sanity=4)
    assert judge.asked == []
    assert task.table["flag"].tolist() == ["constant"] * 4
    assert task.table["outcome"].tolist() == ["degenerate"] * 4
    assert task.table["score"].isna().all()
    assert task.table["correct"].tolist() == [1.0] * 4, "the prediction is known all the same"
    assert "correct_low" not in task.scores()
    assert task.scores()["accuracy"]["n"] == 4
    assert task.details()["matrix"]["judge"]["degenerate"] == 4


def test_refusals_and_errors_are_counts_and_asked_again(tmp_path: Path) -> None:
    samples = photos(4)
    said = {
        samples[0].id: Verdict("refusal", reason="content filter"),
        samples[1].id: Verdict("error", reason="429"),
        samples[2].id: Verdict("score", 1.0, "", "a corner", model="judge-1"),
    }
    task = run(tmp_path, samples, Scripted(said))
    flags = ["refusal: content filter", "error: 429", "", ""]
    assert task.table["flag"].tolist() == flags
    assert task.table["cell"].fillna("").tolist() == ["", "", "correct_low", "correct_high"]
    tally = task.details()["matrix"]["judge"]
    assert (tally["refusal"], tally["error"], tally["correct_low"]) == (1, 1, 1)
    assert task.scores()["correct_low"] == {**task.scores()["correct_low"], "value": 0.5, "n": 2}
    again = Scripted()
    later = run(tmp_path, samples, again)
    assert [r.sample.id for r in again.asked if r.sample] == [samples[0].id, samples[1].id]
    assert later.table["flag"].tolist() == [""] * 4
    assert later.table["judge_model"].fillna("").tolist() == ["", "", "judge-1", ""]


def test_a_second_run_asks_and_classifies_nothing(tmp_path: Path) -> None:
    samples = photos(6, wrong=2)
    first = run(tmp_path, samples, ReferenceJudge(), sanity=4)
    judge = Scripted()
    second = run(tmp_path, samples, judge, sanity=4, classify=False)
    assert judge.asked == []
    assert second.table.to_json() == first.table.to_json()
    assert json.dumps(second.details()["explanation"]["sanity"]) == json.dumps(
        first.details()["explanation"]["sanity"]
    )


def test_another_mask_needs_no_classifier(tmp_path: Path) -> None:
    samples = photos(6)
    run(tmp_path, samples, ReferenceJudge())
    for beta in (0.3, 0.7):
        judge = Scripted()
        task = run(tmp_path, samples, judge, mask=Sigmoid(beta=beta), classify=False)
        assert len(judge.asked) == 6
        assert task.table["outcome"].tolist() == ["score"] * 6


def test_one_row_an_image_and_any_of_its_labels_is_right(tmp_path: Path) -> None:
    one, other = photo(0, 2, "upper left"), photo(0, 2, "lower left")
    other = replace(other, boxes=np.array([[0.0, 0.0, 8.0, 8.0]]))
    lonely = photo(1, 3, "someone")  # a label that the classifier has no class for
    judge = Scripted()
    task = run(tmp_path, [one, other, lonely], judge)
    assert task.table["id"].tolist() == ["0/upper left", "1/someone"]
    assert task.table["label"].tolist() == ["upper left | lower left", "someone"]
    assert task.table["correct"].fillna(-1).tolist() == [1.0, -1.0]
    assert task.details()["matrix"]["judge"]["no label"] == 1
    truth = judge.asked[0].sample
    assert truth is not None
    assert (truth.label, truth.boxes.tolist()) == ("lower left", [[0, 0, 8, 8]])
    subject = subjects_of([one, other])[0]
    assert subject.truth([], "x").boxes.tolist() == [*one.boxes.tolist(), [0, 0, 8, 8]]
    relabelled = subjects_of([replace(one, label="x"), other])[0]
    assert relabelled.key != subject.key, "what is right is decided when the map is drawn"


def test_unreadable_images_are_skipped_and_counted(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    gone = [photos(1)[0], replace(photo(1, 1, "upper right"), image=broken)]
    task = run(tmp_path, gone)
    assert task.table["outcome"].tolist() == ["score", "skipped"]
    assert task.table["skipped"][1].startswith("unreadable image: ")
    assert task.scores()["accuracy"]["n"] == 1


class Asleep(Judge):
    """Scores everything alike."""

    def __init__(self) -> None:
        self.usage = Usage()

    def judge(self, requests: Iterable[JudgeRequest]) -> Iterator[tuple[JudgeRequest, Verdict]]:
        for request in requests:
            yield request, Verdict("score", 4.0)


def test_sanity_tells_a_judge_that_looks_from_one_that_does_not(tmp_path: Path) -> None:
    sound = run(tmp_path / "a", photos(30, wrong=5), sanity=24).details()["explanation"]["sanity"]
    assert sound["verdict"] == "sound", sound["sentence"]
    assert sound["samples"] == 24
    assert set(sound["means"]) == {
        *("own", "black", "full", "random", "complement", "shuffled_label")
    }
    means = {name: one["value"] for name, one in sound["means"].items()}
    assert means["own"] > 3 > means["random"] > means["black"] == means["shuffled_label"] == 0
    asleep = run(tmp_path / "b", photos(30), Asleep(), sanity=24).details()["explanation"]["sanity"]
    assert asleep["verdict"] == "unsound"
    assert "own > black" in asleep["failed"]


def test_controls_of_every_kind_of_mask() -> None:
    names = {"black", "full", "random", "complement"}
    assert (
        set(controls(Sigmoid()))
        == set(controls(Overlay()))
        == set(controls(Crop(Sigmoid())))
        == names
    )
    assert controls(Black()) == {}


def test_a_prompt_about_another_picture_is_impossible() -> None:
    judge = Asleep()
    judge.shows = load_prompt("overlay").shows
    check_judge(Overlay(), judge)
    with pytest.raises(ImpossiblePairError, match=r"judge\.prompt: .*overlay.*masked"):
        check_judge(Sigmoid(), judge)


def test_the_gallery_holds_the_worst_with_their_pictures(tmp_path: Path) -> None:
    samples = photos(8, wrong=4)
    scores = dict(
        zip((s.id for s in samples), (0.0, 2.0, 1.0, 5.0, 3.0, 5.0, 4.0, 0.0), strict=True)
    )
    said = {name: Verdict("score", score) for name, score in scores.items()}
    task = run(tmp_path, samples, Scripted(said))
    task.gallery = 2
    shown = task.details()["explanation"]["gallery"]
    assert shown["correct_low"] == [samples[0].id, samples[2].id]
    assert shown["wrong_high"] == [samples[5].id, samples[6].id]
    pictures = task.pictures(0)
    assert set(pictures) == {*shown["correct_low"], *shown["wrong_high"]}
    assert {picture.size for picture in pictures.values()} == {(3 * SIDE, SIDE)}


def test_a_map_is_of_the_predicted_class(tmp_path: Path) -> None:
    sample = photo(0, 3, "upper left")
    task = run(tmp_path, [sample])
    evidence: Any = task.store[next(iter(task.subjects.values())).key]
    assert not degenerate(evidence)
    peak = np.unravel_index(np.argmax(evidence["map"]), evidence["map"].shape)
    assert min(peak) >= 4, "lower right, where the bright square is"
    chances = torch.softmax(
        Quadrants()(
            torch.from_numpy(np.asarray(sample.image) / 255.0).permute(2, 0, 1)[None].float()
        ),
        1,
    )
    assert abs(evidence["probability"] - float(chances.max())) < 1e-3


def test_sanity_is_not_tried_on_wrong_predictions(tmp_path: Path) -> None:
    task = run(tmp_path, photos(30, wrong=30), sanity=24)
    sanity = task.details()["explanation"]["sanity"]
    assert (sanity["verdict"], sanity["samples"]) == ("undecided", 0)
    assert "no image with a right prediction" in sanity["sentence"]
