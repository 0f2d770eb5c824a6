"""MME: two yes-or-no questions an image, 14 subtasks (Fu et al., arXiv 2306.13394).

    accuracy       right answers / questions
    accuracy_plus  images with both answers right / images
    score          100 accuracy + 100 accuracy_plus, so 0 to 200
    perception     sum of the scores of its ten subtasks, cognition of its four
    coarse_grained sum of those of existence, count, position and color (the paper's name of them)

An answer that is neither yes nor no is wrong, and counted (official).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics.pope import estimate
from vlground.metrics.resampling import bootstrap
from vlground.metrics.statistics import Estimate

if TYPE_CHECKING:
    import pandas

_SCENES = ("celebrity", "scene", "landmark", "artwork")
COARSE_GRAINED = ("existence", "count", "position", "color")
PERCEPTION = (*COARSE_GRAINED, "posters", *_SCENES, "OCR")
_THINKING = ("commonsense_reasoning", "numerical_calculation", "text_translation")
COGNITION = (*_THINKING, "code_reasoning")
Policy = Literal["official", "stripped"]
_COLUMNS = ("id", "image_id", "category", "pair", "text", "label", "answer", "prediction")


@dataclass(frozen=True)
class Mme:
    """Options of MME.

    Attributes:
        policy: What an answer means. official: in lower case, yes or no if its first four
            characters have it (yes first), else other. stripped (as later harnesses): likewise,
            after taking away spaces around it and all full stops.

    >>> Mme(policy="loose")
    Traceback (most recent call last):
    vlground.errors.VlgroundError: metric.policy=loose: expected one of official, stripped
    """

    policy: Policy = "official"

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            expected = ", ".join(get_args(Policy))
            raise VlgroundError(f"metric.policy={self.policy}: expected one of {expected}")


def parse(answer: str, policy: Policy = "official") -> Literal["yes", "no", "other"]:
    """What an answer says.

    >>> [parse(answer) for answer in ("Yes, it is", "I know", "not", "The answer is no.")]
    ['yes', 'other', 'no', 'other']
    """
    text = answer.lower()
    if policy == "stripped":
        text = text.strip().replace(".", "")
    beginning = text[:4]
    if "yes" in beginning:
        return "yes"
    return "no" if "no" in beginning else "other"


def rows_of(
    questions: Sequence[Sample], answers: Mapping[str, str], options: Mme = Mme()
) -> "pandas.DataFrame":
    """Compare answers with labels.

    Args:
        questions: Samples `<subtask>/<number>` with a label, yes or no; 2k and 2k + 1 are asked of
            one image.
        answers: Sample id -> answer.
        options: How answers are read.

    Returns:
        A row a question: `id`, `image_id`, `category`, `pair` (k), `text`, `label`, `answer`,
        `prediction`: yes, no or other, None without an answer.

    Raises:
        VlgroundError: Questions are not numbered.
    """
    import pandas

    rows = []
    for sample in questions:
        category, _, number = sample.id.partition("/")
        if not number.isdigit():
            raise VlgroundError(
                f"dataset.questions: question {sample.id} is not numbered: metric=mme expects the "
                f"<subtask>.txt files of MME"
            )
        answer = answers.get(sample.id)
        rows.append(
            {
                "id": sample.id,
                "image_id": sample.image_id,
                "category": category,
                "pair": int(number) // 2,
                "text": sample.text,
                "label": sample.label,
                "answer": answer,
                "prediction": None if answer is None else parse(answer, options.policy),
            }
        )
    return pandas.DataFrame(rows, columns=list(_COLUMNS))


def estimates(rows: "pandas.DataFrame", seed: int = 0) -> dict[str, Estimate]:
    """Scores of each subtask, and the totals.

    Args:
        rows: As `rows_of` makes them. Pairs of which an answer is missing are not scored.
        seed: Of the bootstrap over images.

    Returns:
        `<subtask>/accuracy`, `<subtask>/accuracy_plus`, `<subtask>/score`; `coarse_grained`,
        `perception` and `cognition` only with all of their subtasks, since they are sums.
    """
    rows = rows[_answered(rows)]
    right = (rows["label"] == rows["prediction"]).to_numpy()
    keys = [rows["category"], rows["pair"]]
    # A pair stands here twice, right or not, so the mean of questions is that of pairs.
    both = rows.assign(right=right).groupby(keys)["right"].transform("all").to_numpy()
    member = {str(name): (rows["category"] == name).to_numpy() for name in set(rows["category"])}
    totals = {
        "coarse_grained": COARSE_GRAINED,
        "perception": PERCEPTION,
        "cognition": COGNITION,
    }

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        for name, rows_in in sorted(member.items()):
            drawn = weights[:, rows_in]
            asked = drawn.sum(axis=1)
            with np.errstate(invalid="ignore"):
                accuracy = drawn @ right[rows_in].astype(float) / asked
                plus = drawn @ both[rows_in].astype(float) / asked
            found |= {f"{name}/accuracy": accuracy, f"{name}/accuracy_plus": plus}
            found[f"{name}/score"] = accuracy * 100 + plus * 100
        for total, names in totals.items():
            if member.keys() >= set(names):
                found[total] = sum((found[f"{name}/score"] for name in names), np.zeros(1))
        return found

    statistics = bootstrap(measure, rows["image_id"].astype(str).tolist(), seed=seed)
    sizes = {name: int(rows_in.sum()) for name, rows_in in member.items()}
    sizes |= {name: sum(sizes.get(task, 0) for task in tasks) for name, tasks in totals.items()}
    return {
        name: estimate(statistic, sizes[name.split("/")[0]])
        for name, statistic in statistics.items()
    }


def tally(rows: "pandas.DataFrame") -> dict[str, dict[str, int]]:
    """What stands behind the scores of each subtask.

    Args:
        rows: As `rows_of` makes them.

    Returns:
        Subtask -> `tp`, `fp`, `tn`, `fn`, `other`, `no answer`, which add up to its questions, and
        `unpaired`, questions not scored since the other one of the image has no answer.
    """
    answered = _answered(rows)
    found = {}
    for name, part in rows.groupby("category", sort=True):
        yes, said = part["label"] == "yes", part["prediction"]
        counts = {
            "tp": yes & (said == "yes"),
            "fp": ~yes & (said == "yes"),
            "tn": ~yes & (said == "no"),
            "fn": yes & (said == "no"),
            "other": said == "other",
            "no answer": said.isna(),
            "unpaired": ~answered[part.index] & said.notna(),
        }
        found[str(name)] = {outcome: int(flags.sum()) for outcome, flags in counts.items()}
    return found


def _answered(rows: "pandas.DataFrame") -> "pandas.Series[bool]":
    """Whether the pair of each row has two answers."""
    given = rows.groupby(["category", "pair"])["prediction"].transform("count")
    return given == 2
