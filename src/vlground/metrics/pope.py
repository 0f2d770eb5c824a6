"""POPE (Li et al., arXiv 2305.10355): does a model say that things are there which are not?

    accuracy   (TP + TN) / questions          precision   TP / (TP + FP)
    recall     TP / true yes                  f1          of both
    yes_ratio  predicted yes / questions, of the predictions and not of the labels

The script that came with the paper reads every answer without a no as a yes, an empty one too; what
an answer means is therefore an option. A question that nobody answered is no answer at all: it is
counted and not scored.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics.resampling import Statistic, bootstrap
from vlground.metrics.statistics import Estimate

if TYPE_CHECKING:
    import pandas

POPE = ("accuracy", "precision", "recall", "f1", "yes_ratio")
Policy = Literal["official", "strict", "word"]
Outcome = Literal["tp", "fp", "tn", "fn", "unknown", "no answer"]
_COLUMNS = ("id", "image_id", "category", "text", "label", "answer", "prediction", "outcome")
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Pope:
    """Options of POPE.

    Attributes:
        policy: What an answer means. official (the paper's script): no, if its first sentence has
            the word `No`, `no` or `not`, and else yes. strict (as lmms-eval): only `yes` and `no`
            alone count, whatever their case. word (as VLMEvalKit, without its model): yes or no, if
            it has that word and not the other. What is neither is unknown: wrong, and no yes.

    >>> Pope(policy="loose")
    Traceback (most recent call last):
    vlground.errors.VlgroundError: metric.policy=loose: expected one of official, strict, word
    """

    policy: Policy = "official"

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            expected = ", ".join(get_args(Policy))
            raise VlgroundError(f"metric.policy={self.policy}: expected one of {expected}")


def parse(answer: str, policy: Policy = "official") -> Literal["yes", "no"] | None:
    """What an answer says; None: neither yes nor no (never under the official policy).

    >>> [parse("No, I am not sure.", policy) for policy in ("official", "strict", "word")]
    ['no', None, 'no']
    >>> [parse("maybe", policy) for policy in ("official", "strict", "word")]
    ['yes', None, None]
    """
    if policy == "official":
        words = answer.split(".")[0].replace(",", "").split(" ")
        return "no" if {"No", "not", "no"} & set(words) else "yes"
    said = {answer.strip().lower()}
    if policy == "word":
        said = set(_LETTERS.findall(answer.lower()))
    if ("yes" in said) == ("no" in said):
        return None
    return "yes" if "yes" in said else "no"


def rows_of(
    questions: Sequence[Sample],
    answers: Mapping[str, str],
    options: Pope = Pope(),
    labels: Mapping[str, str] | None = None,
) -> "pandas.DataFrame":
    """Compare answers with labels.

    Args:
        questions: Samples `<category>/<number>` with a label, yes or no.
        answers: Sample id -> answer.
        options: How answers are read.
        labels: Sample id -> another label (RePOPE), for the questions that have one; the others
            are left out. None: the questions' own.

    Returns:
        A row a question: `id`, `image_id`, `category`, `text`, `label`, `answer`, `prediction`
        (yes, no, or None), `outcome` (tp, fp, tn, fn, unknown, or `no answer`).
    """
    import pandas

    rows = []
    for sample in questions:
        label = sample.label if labels is None else labels.get(sample.id)
        if label is None:
            continue
        answer = answers.get(sample.id)
        prediction = None if answer is None else parse(answer, options.policy)
        rows.append(
            {
                "id": sample.id,
                "image_id": sample.image_id,
                "category": sample.id.split("/")[0],
                "text": sample.text,
                "label": label,
                "answer": answer,
                "prediction": prediction,
                "outcome": "no answer" if answer is None else _outcome(label, prediction),
            }
        )
    return pandas.DataFrame(rows, columns=list(_COLUMNS))


def _outcome(label: str, prediction: str | None) -> Outcome:
    if prediction is None:
        return "unknown"
    if prediction == "yes":
        return "tp" if label == "yes" else "fp"
    return "fn" if label == "yes" else "tn"


def estimates(rows: "pandas.DataFrame", seed: int = 0) -> dict[str, Estimate]:
    """Scores of each category and their means over the categories.

    Args:
        rows: As `rows_of` makes them.
        seed: Of the bootstrap over images, which an image enters with its questions of all
            categories.

    Returns:
        `<category>/<score>` and, over all categories, `<score>`: the mean of theirs (LLaVA's figure
        is the mean of three F1). NaN where undefined (no yes predicted: no precision).
    """
    rows = rows[rows["outcome"] != "no answer"]
    categories = sorted(set(rows["category"]))
    outcomes, labels = rows["outcome"].to_numpy(), rows["label"].to_numpy()
    member = {name: (rows["category"] == name).to_numpy() for name in categories}

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {
            f"{name}/{score}": value
            for name, rows_in in member.items()
            for score, value in _scores(weights[:, rows_in], outcomes[rows_in], labels[rows_in])
        }
        if categories:
            for score in POPE:
                columns = [found[f"{name}/{score}"] for name in categories]
                found[score] = np.add.reduce(columns) / len(columns)
        return found

    statistics = bootstrap(measure, rows["image_id"].astype(str).tolist(), seed=seed)
    sizes = {name: int(rows_in.sum()) for name, rows_in in member.items()}
    return {
        name: estimate(statistic, sizes.get(name.split("/")[0], len(rows)))
        for name, statistic in statistics.items()
    }


def estimate(statistic: Statistic, n: int) -> Estimate:
    """A statistic as the results of runs hold it: NaN if it is not defined."""
    value = nan if statistic.value is None else statistic.value
    return Estimate(value, statistic.low, statistic.high, n)


def _scores(
    weights: np.ndarray, outcomes: np.ndarray, labels: np.ndarray
) -> list[tuple[str, np.ndarray]]:
    """The five scores `(b,)` of one category, for weights `(b, n)`."""
    tp, fp, tn = (weights @ (outcomes == name).astype(float) for name in ("tp", "fp", "tn"))
    asked, true = weights.sum(axis=1), weights @ (labels == "yes").astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = tp / (tp + fp), tp / true
        f1 = 2 * precision * recall / (precision + recall)
        accuracy, yes_ratio = (tp + tn) / asked, (tp + fp) / asked
    return list(zip(POPE, (accuracy, precision, recall, f1, yes_ratio), strict=True))


def tally(rows: "pandas.DataFrame") -> dict[str, dict[str, int]]:
    """The confusion matrix of each category, with what is unknown and what is not answered.

    Args:
        rows: As `rows_of` makes them.

    Returns:
        Category -> outcome -> number; the sum is the number of its questions.
    """
    return {
        str(name): {
            outcome: int((part["outcome"] == outcome).sum()) for outcome in get_args(Outcome)
        }
        for name, part in rows.groupby("category", sort=True)
    }
