"""Rows of `task=explanation`, and what is said of all of them together."""

import math
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vlground.contracts import Judge, Verdict
from vlground.metrics.judge_sanity import OWN, sanity
from vlground.store import Evidence
from vlground.tasks.explaining import SEPARATOR, Subject, degenerate
from vlground.tasks.matching import row
from vlground.tasks.verdicts import Question, Verdicts, own_question

if TYPE_CHECKING:
    import pandas

Row = dict[str, Any]

_COUNTS = ("scores", "cached", "calls", "tokens_in", "tokens_out")


def row_of(subject: Subject, evidence: Evidence, verdict: Verdict | None) -> Row:
    """The row of an image.

    Args:
        subject: The image.
        evidence: Its prediction and map, or why it was skipped.
        verdict: Of the judge; None if it was not asked.
    """
    skipped = str(evidence["skipped"]) if "skipped" in evidence else None
    found: Row = {
        **row(subject.sample, skipped),
        "label": SEPARATOR.join(subject.labels),
        "predicted": None,
        "probability": math.nan,
        "correct": math.nan,
        "score": math.nan,
        "outcome": "skipped",
        "reason": skipped or "",
        "description": "",
        "justification": "",
        "judge_model": None,
    }
    if skipped is not None:
        return found
    found |= {"predicted": evidence["predicted"], "probability": evidence["probability"]}
    if evidence["known"]:
        found["correct"] = float(bool(evidence["right"]))
    if verdict is None:
        why = degenerate(evidence)
        return found | {"outcome": "degenerate", "reason": why, "flag": why, "degenerate": True}
    flag = "" if verdict.outcome == "score" else f"{verdict.outcome}: {verdict.reason}"
    return found | {
        "score": math.nan if verdict.score is None else verdict.score,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "flag": flag,
        "description": verdict.description,
        "justification": verdict.justification,
        "judge_model": verdict.model,
    }


def gallery(rows: "pandas.DataFrame", count: int) -> dict[str, list[str]]:
    """Ids of the worst images: right with the lowest scores, wrong with the highest.

    Args:
        rows: With `id`, `cell`, `score` and `probability`.
        count: So many of each kind; of equal scores the surer predictions come first.
    """
    found = {}
    for cell, rising in (("correct_low", True), ("wrong_high", False)):
        worst = rows[rows["cell"] == cell].sort_values(
            ["score", "probability", "id"], ascending=[rising, False, True]
        )
        found[cell] = [str(name) for name in worst["id"].head(count)]
    return found


def sanity_of(verdicts: Verdicts, questions: list[Question]) -> dict[str, Any]:
    """Does the judge order mask and controls, as a block of `results.json`.

    Args:
        verdicts: That are known.
        questions: About the controls.
    """
    scores: dict[str, dict[str, float]] = {}
    images: dict[str, str] = {}
    failed: Counter[str] = Counter()
    for question in questions:
        sample = question.subject.sample
        own = own_question(question.subject, question.evidence)
        images[sample.id] = sample.image_id
        for setting, asked in ((OWN, own), (question.setting, question)):
            verdict = verdicts.of(asked)
            if verdict.score is not None:
                scores.setdefault(setting, {})[sample.id] = verdict.score
            elif asked is question:
                failed[f"{setting}: {verdict.outcome}: {verdict.reason}"] += 1
    found = sanity(scores, images)
    sentence = (
        found.sentence
        if questions
        else "undecided: no image with a right prediction was shown again"
    )
    return {
        "verdict": found.verdict,
        "sentence": sentence,
        "failed": list(found.failed),
        "open": found.open,
        "without_score": dict(failed),
        "samples": len(images),
        "means": {name: asdict(one) for name, one in found.means.items() if one.n},
        "differences": {
            name: asdict(one.difference)
            for name, one in found.differences.items()
            if one.difference.n
        },
    }


def usage_of(judge: Judge, rows: "pandas.DataFrame") -> dict[str, Any]:
    """What asking came to, as a block of `results.json`.

    Args:
        judge: Who was asked, controls included.
        rows: Their models count, whenever they answered.
    """
    usage, models = judge.usage, Counter(str(model) for model in rows["judge_model"].dropna())
    counts = {name: getattr(usage, name) for name in _COUNTS}
    reasons = {"refusals": dict(usage.refusals), "errors": dict(usage.errors)}
    return {**counts, **reasons, "models": dict(models), "cost": usage.cost}
