"""MMHal-Bench (Sun et al., arXiv 2309.14525): a judge scores answers from 0 to 6, from words alone.

    score               mean of the judge's scores                               official
    hallucination_rate  share of the answers that score below 3                  official
    informativeness     mean of (s - 3 if s >= 3 else s) / 3                     as RLHF-V
    <type>/…            score and hallucination_rate of one type of question     official

The script that came with it gives an answer whose judgement it cannot read a score of 0. Here that
is an error, as a refusal is: it is counted, it is not scored, and it is asked again the next time.
The rubric is ours (`judging/prompts/mmhal.toml`), and so numbers of other rubrics do not compare;
nor do those of two judges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlground.contracts import Verdict
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.metrics.statistics import Estimate, bootstrap_means

if TYPE_CHECKING:
    import pandas

MMHAL = ("score", "hallucination_rate", "informativeness")
HIGHEST = 6  # of the rubric
NO_ANSWER = "no answer"
_COLUMNS = ("id", "image_id", "category", "text", "label", "answer", "score", "hallucinated")
_FURTHER = ("outcome", "description", "justification", "judge_model")


@dataclass(frozen=True)
class Mmhal:
    """Options of MMHal-Bench.

    Attributes:
        threshold: Below it an answer hallucinates; a score of 0-6.

    >>> Mmhal(threshold=0)
    Traceback (most recent call last):
    vlground.errors.VlgroundError: metric.threshold=0: expected more than 0, at most 6
    """

    threshold: float = 3

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= HIGHEST:
            told = f"expected more than 0, at most {HIGHEST}"
            raise VlgroundError(f"metric.threshold={self.threshold}: {told}")


def rows_of(
    questions: Sequence[Sample],
    answers: Mapping[str, str],
    verdicts: Mapping[str, Verdict],
    options: Mmhal = Mmhal(),
) -> "pandas.DataFrame":
    """Put questions, answers and verdicts beside each other.

    Args:
        questions: Samples `<type>/<number>`.
        answers: Sample id -> answer.
        verdicts: Sample id -> what the judge said of the answer, a score of 0-6.
        options: From which score on an answer is free of hallucination.

    Returns:
        A row a question: `id`, `image_id`, `category` (its type), `text`, `label` (a person's
        answer), `answer`, `score`, `hallucinated` (1 or 0; both NaN without a score), `outcome`
        ("" of a score, `no answer`, `refusal: …`, `error: …`), and the judge's words and name.
    """
    import pandas

    rows = []
    for sample in questions:
        answer = answers.get(sample.id)
        verdict = verdicts.get(sample.id, Verdict("error", reason="not asked"))
        outcome = NO_ANSWER if answer is None else outcome_of(verdict)
        score = np.nan if outcome or verdict.score is None else float(verdict.score)
        rows.append(
            {
                "id": sample.id,
                "image_id": sample.image_id,
                "category": sample.id.split("/")[0],
                "text": sample.text,
                "label": sample.label,
                "answer": answer,
                "score": score,
                "hallucinated": np.nan if np.isnan(score) else float(score < options.threshold),
                "outcome": outcome,
                "description": verdict.description,
                "justification": verdict.justification,
                "judge_model": verdict.model,
            }
        )
    return pandas.DataFrame(rows, columns=[*_COLUMNS, *_FURTHER])


def outcome_of(verdict: Verdict) -> str:
    """Nothing of a score; `refusal: …` or `error: …` of anything else.

    >>> outcome_of(Verdict("score", 3.0)), outcome_of(Verdict("error", reason="429"))
    ('', 'error: 429')
    """
    return "" if verdict.outcome == "score" else f"{verdict.outcome}: {verdict.reason}"


def estimates(rows: "pandas.DataFrame") -> dict[str, Estimate]:
    """The scores of `MMHAL`, and the first two of each type, with intervals over images.

    Args:
        rows: As `rows_of` makes them; what has no score does not count.
    """
    scores = rows["score"].to_numpy(dtype=float)
    informative = np.where(scores >= 3, scores - 3, scores) / 3
    columns = {
        "score": scores,
        "hallucination_rate": rows["hallucinated"].to_numpy(dtype=float),
        "informativeness": informative,
    }
    for name in dict.fromkeys(rows["category"]):
        of = (rows["category"] == name).to_numpy()
        for score in MMHAL[:2]:
            columns[f"{name}/{score}"] = np.where(of, columns[score], np.nan)
    return bootstrap_means(columns, rows["image_id"].astype(str).tolist())


def tally(rows: "pandas.DataFrame") -> dict[str, dict[str, int]]:
    """What became of the questions of each type.

    Args:
        rows: As `rows_of` makes them.

    Returns:
        Type -> `free` of hallucination, `hallucinated`, `no answer`, and each `refusal: …` and
        `error: …` that there is; they add up to its questions.
    """
    found: dict[str, dict[str, int]] = {}
    for name, part in rows.groupby("category", sort=False):
        wrong = part["hallucinated"]
        others = part["outcome"][part["outcome"] != ""].value_counts().sort_index()
        found[str(name)] = {
            "free": int((wrong == 0).sum()),
            "hallucinated": int((wrong == 1).sum()),
            NO_ANSWER: 0,
            **{str(outcome): int(count) for outcome, count in others.items()},
        }
    return found
