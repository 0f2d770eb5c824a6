"""Scores and counts of a run as the flat numbers of W&B's summary."""

from collections.abc import Mapping
from typing import Any

from vlground import judged, rewarded
from vlground.labels import MATRIX, TEXTS


def flat_scores(results: Mapping[str, Any]) -> dict[str, float]:
    """`grounding/io_ratio`, `grounding/io_ratio_low` … and the counts, as in W&B's summary.

    What belongs to the matrix of a model that decides has a namespace of its own:
    `matrix/matched_correct_high` …. The accuracy of a task that decides nothing about texts stays
    its own: `explanation/accuracy`, `classification/accuracy`. A benchmark's scores have its name:
    `pope/adversarial/f1`. Scores of captions by rewards are `reward/winner/recall` ….
    """
    task, matrix = results["task"], results.get("matrix", {})
    own = str(results["choices"]["metric"]) if task == "benchmark" else rewarded.space(task)
    decides = any(text in matrix for text in TEXTS)
    numbers: dict[str, float] = {}
    for name, score in results["scores"].items():
        space = "matrix" if decides and name in MATRIX else own
        numbers |= judged.ends(f"{space}/{name}", score)
    for name, value in results["counts"].items():
        numbers[f"{rewarded.space(task)}/count/{name}"] = (
            sum(value.values()) if isinstance(value, dict) else value
        )
    for text in TEXTS:
        for name, count in matrix.get(text, {}).items():
            numbers[f"matrix/count/{text}_{name}"] = count
    return {**numbers, **judged.numbers(results), **rewarded.numbers(results)}
