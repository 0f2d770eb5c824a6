"""MME against a literal version of its script."""

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.metrics import accuracy_score

from vlground.data.questions import Questions
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics.mme import (
    COARSE_GRAINED,
    COGNITION,
    PERCEPTION,
    Mme,
    estimates,
    parse,
    rows_of,
    tally,
)
from vlground.run import CONF

ODD = ["Yes", "No", "yes", "no.", "Yes, it is", "No, it is not", "", "maybe", "I say no", " yes"]
ODD += ["  no", "   no", "not", "none", "eyes", "know", "YES", "the answer is yes", "no yes", "n"]


def folder(tmp_path: Path, tasks: tuple[str, ...], seed: int) -> dict[str, list[str]]:
    """Files of MME with random answers; the lines of each."""
    rng = np.random.default_rng(seed)
    written = {}
    for task in tasks:
        lines = []
        for image in range(int(rng.integers(10, 25))):
            for label in ("Yes", "No"):
                answer = label if rng.random() < 0.5 else ODD[rng.integers(len(ODD))]
                lines.append(f"{image:04}.jpg\tIs it? Please answer yes or no.\t{label}\t{answer}")
        (tmp_path / f"{task}.txt").write_text("\n".join(lines) + "\n")
        written[task] = lines
    return written


def official(written: dict[str, list[str]]) -> dict[str, float]:
    """The script that came with the paper, statement by statement."""
    found: dict[str, float] = {}
    for total, tasks in (("perception", PERCEPTION), ("cognition", COGNITION)):
        scores: float = 0
        for task in tasks:
            lines = [line + "\n" for line in written[task]]
            chunks = [lines[i : i + 2] for i in range(0, len(lines), 2)]
            truth, predictions, plus = [], [], 0
            for chunk in chunks:
                right = 0
                for item in chunk:
                    _, _, label, answer = item.split("\t")
                    label, answer = label.lower(), answer.lower()
                    if answer not in ("yes", "no"):
                        beginning = answer[:4]
                        if "yes" in beginning:
                            answer = "yes"
                        elif "no" in beginning:
                            answer = "no"
                        else:
                            answer = "other"
                    truth.append(label)
                    predictions.append(answer)
                    right += label == answer
                plus += right == 2
            numbers = {"yes": 1, "no": 0, "other": -1}
            metrics = {
                "acc": accuracy_score(
                    [numbers[x] for x in truth], [numbers[x] for x in predictions]
                ),
                "acc_plus": plus / len(chunks),
            }
            score: float = 0
            for value in metrics.values():
                score += value * 100
            found[f"{task}/accuracy"] = metrics["acc"]
            found[f"{task}/accuracy_plus"] = metrics["acc_plus"]
            found[f"{task}/score"] = score
            scores += score
        found[total] = scores
    return found


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_the_script_to_the_last_digit(tmp_path: Path, seed: int) -> None:
    written = folder(tmp_path, (*PERCEPTION, *COGNITION), seed)
    data = Questions(str(tmp_path))
    assert data.skipped == {}
    scores = estimates(rows_of(list(data), data.answers))
    expected = official(written)
    expected["coarse_grained"] = sum(expected[f"{task}/score"] for task in COARSE_GRAINED)
    assert {name: estimate.value for name, estimate in scores.items()} == expected


def test_published_sizes() -> None:
    assert len(PERCEPTION) == 10
    assert len(COGNITION) == 4
    assert len(COARSE_GRAINED) == 4


def asked(task: str, labels: list[str]) -> list[Sample]:
    return [
        Sample(f"{task}/{i}", f"{task}/{i // 2}", Path("x.jpg"), "Is it?", label=label)
        for i, label in enumerate(labels)
    ]


def test_numbers_by_hand() -> None:
    samples = asked("count", ["yes", "no"] * 3)
    said = ["yes", "no", "yes", "maybe", "no", "no"]
    rows = rows_of(samples, {s.id: a for s, a in zip(samples, said, strict=True)})
    scores = {name: estimate.value for name, estimate in estimates(rows).items()}
    assert scores == {
        "count/accuracy": 4 / 6,
        "count/accuracy_plus": 1 / 3,
        "count/score": 4 / 6 * 100 + 1 / 3 * 100,
    }  # a sum over some of the subtasks would be no total
    assert tally(rows) == {
        "count": {
            "tp": 2, "fp": 0, "tn": 2, "fn": 1, "other": 1, "no answer": 0, "unpaired": 0,
        }
    }  # fmt: skip


def test_pairs_are_of_numbers_and_not_of_images(tmp_path: Path) -> None:
    # Both questions of an image, then of another one, in any order of samples.
    samples = [Sample(f"count/{i}", "count/1", Path("x"), "?", label="yes") for i in (3, 0, 2, 1)]
    answers = {"count/0": "yes", "count/1": "yes", "count/2": "yes", "count/3": "no"}
    assert estimates(rows_of(samples, answers))["count/accuracy_plus"].value == 0.5


def test_a_missing_answer_takes_its_pair_out() -> None:
    samples = asked("OCR", ["yes", "no"] * 2)
    rows = rows_of(samples, {"OCR/0": "yes", "OCR/1": "no", "OCR/2": "no"})
    scores = estimates(rows)
    assert (scores["OCR/accuracy"].value, scores["OCR/accuracy"].n) == (1, 2)
    counts = tally(rows)["OCR"]
    assert (counts["no answer"], counts["unpaired"]) == (1, 1)
    assert estimates(rows_of(samples, {})) == {}


def test_intervals_draw_images() -> None:
    rng = np.random.default_rng(0)
    samples = asked("scene", ["yes", "no"] * 40)
    said = {s.id: str(s.label) if rng.random() < 0.7 else "other" for s in samples}
    for estimate in estimates(rows_of(samples, said)).values():
        assert estimate.low < estimate.value < estimate.high  # type: ignore[operator]


def test_policies() -> None:
    answers = ["Yes", "  no way", "   no", "n.o.", "The", "eyes"]
    assert [parse(answer) for answer in answers] == ["yes", "no", "other", "other", "other", "yes"]
    assert [parse(answer, "stripped") for answer in answers] == [
        "yes", "no", "no", "no", "other", "yes",
    ]  # fmt: skip


def test_impossible_options_and_configuration() -> None:
    with pytest.raises(VlgroundError, match=r"metric\.policy=strict: expected one of official"):
        Mme(policy="strict")  # type: ignore[arg-type]
    with pytest.raises(VlgroundError, match="question random/a is not numbered"):
        rows_of([Sample("random/a", "1", Path("x"), "?", label="yes")], {})
    assert instantiate(OmegaConf.load(Path(CONF) / "metric" / "mme.yaml")) == Mme()
