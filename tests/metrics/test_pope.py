"""POPE against a literal version of its script, and against a published confusion matrix."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vlground.data.existence import ExistenceQuestions, article
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics.pope import POPE, Pope, estimates, parse, rows_of, tally
from vlground.run import CONF

ODD = ["", " ", "maybe", "No.", "no", "NO", "not sure", "Yes, there is no dog.", "Yes.", "yes"]
ODD += [
    "No, there is not",
    "I don't know",
    ".",
    "...no",
    "There is not one. Yes",
    "Yes. No.",
    "No\n",
]
ODD += ["Yes,no", "nothing", "Not", "🐶", "There's no.dog", "  no", "No!", "no-one", "yes and no"]


def questions(labels: list[str], category: str = "random") -> list[Sample]:
    return [
        Sample(f"{category}/{i}", str(i // 6), Path("x.jpg"), "Is there a dog?", label=label)
        for i, label in enumerate(labels)
    ]


def official(answers: list[str], labels: list[str]) -> dict[str, float]:
    """The script that came with the paper, statement by statement."""
    predictions = []
    for text in answers:
        if text.find(".") != -1:
            text = text.split(".")[0]
        words = text.replace(",", "").split(" ")
        predictions.append(0 if "No" in words or "not" in words or "no" in words else 1)
    truth = [0 if label == "no" else 1 for label in labels]
    tp = fp = tn = fn = 0
    for prediction, label in zip(predictions, truth, strict=True):
        if prediction == 1 and label == 1:
            tp += 1
        elif prediction == 1 and label == 0:
            fp += 1
        elif prediction == 0 and label == 0:
            tn += 1
        else:
            fn += 1
    precision, recall = float(tp) / float(tp + fp), float(tp) / float(tp + fn)
    return {
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall),
        "yes_ratio": predictions.count(1) / len(predictions),
    }


@pytest.mark.parametrize("seed", range(8))
def test_equal_to_the_script_to_the_last_digit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(30, 400))
    answers = [ODD[k] for k in rng.integers(len(ODD), size=size)]
    labels = [("yes", "no")[k] for k in rng.integers(2, size=size)]
    asked = questions(labels)
    rows = rows_of(asked, {s.id: a for s, a in zip(asked, answers, strict=True)})
    scores = estimates(rows)
    assert {name: scores[f"random/{name}"].value for name in POPE} == official(answers, labels)
    assert {name: scores[name].value for name in POPE} == official(answers, labels)


def from_matrix(category: str, tp: int, fp: int, tn: int, fn: int) -> pandas.DataFrame:
    asked = questions(["yes"] * tp + ["no"] * fp + ["no"] * tn + ["yes"] * fn, category)
    said = ["Yes"] * (tp + fp) + ["No"] * (tn + fn)
    return rows_of(asked, {s.id: a for s, a in zip(asked, said, strict=True)})


def test_published_confusion_matrix_of_llava_1_5() -> None:
    # LLaVA's repository, issue 626: the matrix of random (2,910 questions) and all three F1, of
    # which the other two matrices follow (1,500 yes and the same answers to them).
    matrices = {
        "random": (1183, 31, 1379, 317),
        "popular": (1183, 59, 1441, 317),
        "adversarial": (1183, 117, 1383, 317),
    }
    rows = pandas.concat(
        [from_matrix(name, *counts) for name, counts in matrices.items()], ignore_index=True
    )
    scores = {name: estimate.value for name, estimate in estimates(rows).items()}
    assert scores["random/accuracy"] == 0.8804123711340206
    assert scores["random/precision"] == 0.9744645799011532
    assert scores["random/recall"] == 0.7886666666666666
    assert scores["random/f1"] == 0.8717759764185703
    assert scores["random/yes_ratio"] == 1214 / 2910
    assert scores["popular/f1"] == 0.8628738147337709
    assert scores["adversarial/f1"] == 0.8450000000000001
    assert scores["f1"] == pytest.approx(0.859883263717447, abs=1e-15)
    assert tally(rows)["random"] == {
        "tp": 1183, "fp": 31, "tn": 1379, "fn": 317, "unknown": 0, "no answer": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "official_says", "strict", "word"),
    [
        ("", "yes", None, None),
        ("maybe", "yes", None, None),
        ("No.", "no", None, "no"),
        ("NO", "yes", "no", "no"),  # the script does not know it
        (" yes\n", "yes", "yes", "yes"),
        ("not sure", "no", None, None),
        ("Yes, there is no dog.", "no", None, None),
        ("Yes. There is no cat.", "yes", None, None),
        ("There is nothing", "yes", None, None),
        ("No, there is not.", "no", None, "no"),
        ("Yes!", "yes", None, "yes"),
    ],
)
def test_policies(answer: str, official_says: str, strict: str | None, word: str | None) -> None:
    found = [parse(answer, policy) for policy in ("official", "strict", "word")]
    assert found == [official_says, strict, word]


def test_unknown_is_wrong_and_no_yes() -> None:
    asked = questions(["yes", "yes", "no", "no", "no"])
    said = ["yes", "maybe", "perhaps", "no", "yes"]
    answers = {s.id: a for s, a in zip(asked, said, strict=True)}
    rows = rows_of(asked, answers, Pope(policy="word"))
    scores = {name: estimate.value for name, estimate in estimates(rows).items()}
    assert scores["accuracy"] == 2 / 5
    assert scores["precision"] == 1 / 2
    assert scores["recall"] == 1 / 2  # the unknown one was a true yes
    assert scores["yes_ratio"] == 2 / 5
    assert tally(rows)["random"]["unknown"] == 2


def test_yes_ratio_is_of_the_predictions() -> None:
    asked = questions(["yes", "no"] * 30)
    scores = estimates(rows_of(asked, {s.id: "no" for s in asked}))
    assert scores["yes_ratio"].value == 0
    assert np.isnan(scores["precision"].value)  # the script divides by zero
    assert np.isnan(scores["f1"].value)
    assert scores["recall"].value == 0


def test_missing_answers_are_counted_and_not_scored() -> None:
    asked = questions(["yes", "yes", "no", "no"])
    rows = rows_of(asked, {asked[0].id: "Yes", asked[2].id: ""})
    assert tally(rows)["random"] == {
        "tp": 1, "fp": 1, "tn": 0, "fn": 0, "unknown": 0, "no answer": 2,
    }  # fmt: skip
    scores = estimates(rows)
    assert (scores["accuracy"].value, scores["accuracy"].n) == (0.5, 2)
    assert estimates(rows_of(asked, {})) == {}


def test_other_labels_beside() -> None:
    asked = questions(["yes", "yes", "no", "no"])
    answers = {s.id: "yes" for s in asked}
    rows = rows_of(asked, answers, labels={asked[0].id: "no", asked[2].id: "no", "x/9": "yes"})
    assert rows["id"].tolist() == [asked[0].id, asked[2].id]
    assert rows["outcome"].tolist() == ["fp", "fp"]


def test_intervals_draw_images() -> None:
    rng = np.random.default_rng(0)
    asked = questions([("yes", "no")[k] for k in rng.integers(2, size=300)])
    wrong = {"yes": "no", "no": "yes"}
    said = {s.id: wrong[str(s.label)] if rng.random() < 0.2 else str(s.label) for s in asked}
    rows = rows_of(asked, said)
    scores = estimates(rows)
    assert all(scores[name].low < scores[name].value < scores[name].high for name in POPE)  # type: ignore[operator]
    doubled = rows.assign(image_id=rows["image_id"].astype(int) // 4)
    low, high = estimates(doubled)["accuracy"].low, estimates(doubled)["accuracy"].high
    assert (low, high) == (None, None)  # 13 images


def test_impossible_policy_and_configuration() -> None:
    with pytest.raises(VlgroundError, match=r"metric\.policy=llm: expected one of official"):
        Pope(policy="llm")  # type: ignore[arg-type]
    assert instantiate(OmegaConf.load(Path(CONF) / "metric" / "pope.yaml")) == Pope()


# ---- questions for any data set


class Source:
    """Images with objects: cup is in all of them, dog and bed only ever together."""

    def __init__(self, objects: dict[str, list[str]]) -> None:
        self.skipped: dict[str, int] = {}
        self.samples = [
            Sample(f"{image}/{name}", image, Path(f"{image}.jpg"), name)
            for image, names in objects.items()
            for name in names
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


OBJECTS = {
    "1": ["cup", "dog", "bed"],
    "2": ["cup", "dog", "bed"],
    "3": ["cup", "dog", "orange"],
    "4": ["cup", "cat", "kite"],
    "5": ["cup", "cat", "orange"],
    "6": ["cup", "cat"],
    "7": ["car", "bus", "train"],
}


def asked_of(built: ExistenceQuestions, strategy: str, image: str) -> list[tuple[str, str]]:
    return [
        (str(s.text).split("in the")[0].removeprefix("Is there ").strip(), str(s.label))
        for s in built
        if s.image_id == image and s.id.startswith(strategy)
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_rules_of_the_three_strategies(seed: int) -> None:
    built = ExistenceQuestions(Source(OBJECTS), pairs=3, seed=seed)
    assert built.skipped == {"image with fewer than 3 objects": 1}
    assert len(built) == 6 * 6 * 3
    assert len({s.id for s in built}) == len(built)
    for image, names in OBJECTS.items():
        for strategy in ("random", "popular", "adversarial"):
            asked = asked_of(built, strategy, image)
            if image == "6":
                assert asked == []
                continue
            things = [text.split(" ", 1)[1] for text, _ in asked]
            assert [label for _, label in asked] == ["yes", "no"] * 3
            assert set(things[::2]) == set(names)
            assert len(set(things)) == 6  # nothing is asked twice
            assert not set(things[1::2]) & set(names)
    # cup is in five of the six images, dog in three, then bed, cat and orange in two.
    absent = [text.split(" ", 1)[1] for text, _ in asked_of(built, "popular", "7")][1::2]
    assert absent == ["cup", "dog", "bed"]
    for image in ("4", "5"):
        # With a cup there are dogs thrice, and then beds, cats and oranges twice.
        pairs = asked_of(built, "adversarial", image)
        about_cup = next(i for i, (text, _) in enumerate(pairs) if text == "a cup")
        before = {text for text, _ in pairs[:about_cup]} | {
            f"{article(n)} {n}" for n in OBJECTS[image]
        }
        order = ["a dog", "a bed", "a cat", "an orange"]
        assert pairs[about_cup + 1][0] == next(text for text in order if text not in before)


def test_questions_depend_on_seed_and_image_alone() -> None:
    whole = ExistenceQuestions(Source(OBJECTS), seed=3)
    backwards = ExistenceQuestions(Source(dict(reversed(OBJECTS.items()))), seed=3)
    other = ExistenceQuestions(Source(OBJECTS), seed=4)
    for strategy in ("random", "popular", "adversarial"):
        for image in OBJECTS:
            assert asked_of(whole, strategy, image) == asked_of(backwards, strategy, image)
    assert [s.text for s in whole] != [s.text for s in other]


def test_questions_have_the_right_article() -> None:
    texts = {s.text for s in ExistenceQuestions(Source(OBJECTS))}
    assert "Is there an orange in the image?" in texts
    assert "Is there a cup in the image?" in texts
    words = ["apple", "Umbrella", "unicycle", "urinal", "uniform", "hourglass", "oven", "utensil"]
    assert [article(word) for word in words] == ["an", "an", "a", "a", "a", "an", "an", "a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 0}, r"dataset\.pairs=0: expected a number from 1 on"),
        ({"pairs": 4}, r"dataset\.pairs=4: no image has so many objects"),
        ({"strategies": ["hard"]}, r"dataset\.strategies=\['hard'\]: expected any of random"),
        ({"strategies": []}, r"dataset\.strategies=\[\]"),
    ],
)
def test_impossible_questions(options: dict[str, Any], message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        ExistenceQuestions(Source(OBJECTS), **options)


def test_built_questions_can_be_written_as_official_ones(tmp_path: Path) -> None:
    from vlground.data.questions import Questions

    built = ExistenceQuestions(Source(OBJECTS), strategies=["popular"])
    lines = [
        {"question_id": s.id.split("/")[1], "image": str(s.image), "text": s.text, "label": s.label}
        for s in built
    ]
    (tmp_path / "popular.json").write_text("\n".join(map(json.dumps, lines)))
    read = Questions(str(tmp_path))
    assert [(s.id, s.image_id, s.text, s.label) for s in read] == [
        (s.id, s.image_id, s.text, s.label) for s in built
    ]
