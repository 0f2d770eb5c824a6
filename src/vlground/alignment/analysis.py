"""Explanation runs against one set of human scores: the judge of each, and run against run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from math import isfinite
from typing import Any

import numpy as np

from vlground.alignment.people import Scores
from vlground.alignment.runs import reference_of, settings, sigmoid_of
from vlground.errors import VlgroundError
from vlground.metrics.agreement import agreement
from vlground.metrics.alternative import AltTest, alternative_annotator
from vlground.metrics.dependent import Comparison, compare_grid
from vlground.metrics.ratings import Ratings, mean_of
from vlground.metrics.reliability import Ceiling, ceiling, krippendorff
from vlground.metrics.resampling import Statistic
from vlground.page.reading import Run

_EXAMPLES = 3  # ids that a message or a note names


@dataclass(frozen=True)
class People:
    """The annotators among themselves.

    Attributes:
        samples: Number of samples that somebody scored.
        annotators: Annotator -> number of samples they scored.
        empty: Rows without a score.
        krippendorff: Measurement (ordinal, interval) -> Krippendorff's α, over the samples that are
            in a run.
        in_no_run: Ids that people scored and that no run has; they enter nothing.
    """

    samples: int
    annotators: dict[str, int]
    empty: int
    krippendorff: dict[str, Statistic]
    in_no_run: list[str]


@dataclass(frozen=True)
class Counts:
    """Numbers of samples.

    Attributes:
        both: With a score of the judge and of people: the statistics are of these.
        not_judged: Outcome (refusal, error, …) -> those that people scored and the judge did not.
        not_in_run: Those that people scored and this run does not have.
        not_by_people: Those of this run that nobody scored.
        other_label: Those among `both` on which the classifier answers another label than in the
            reference run. People saw one label.
    """

    both: int
    not_judged: dict[str, int]
    not_in_run: int
    not_by_people: int
    other_label: int


@dataclass(frozen=True)
class Aligned:
    """One run's judge beside people.

    Attributes:
        name: What tells the run apart, see `vlground.alignment.runs.settings`.
        path: Of its directory, below the folder of runs.
        fingerprint: Of the run.
        choices: Of the run.
        sigmoid: Alpha and beta of its mask; None of other masks.
        counts: What enters the statistics, and why the rest does not.
        agreement: Statistics of `vlground.metrics.agreement.AGREEMENT`.
        ceiling: See `vlground.metrics.reliability.ceiling`.
        alternative: The alternative-annotator test.
    """

    name: str
    path: str
    fingerprint: str
    choices: dict[str, str]
    sigmoid: tuple[float, float] | None
    counts: Counts
    agreement: dict[str, Statistic]
    ceiling: Ceiling
    alternative: AltTest


@dataclass(frozen=True)
class Alignment:
    """What `align` finds.

    Attributes:
        dataset: The one of all runs.
        people: The annotators.
        runs: One entry a run, in the given order.
        reference: Name of the run that the others are compared with.
        comparisons: Name of every other run -> run minus reference.
    """

    dataset: str
    people: People
    runs: tuple[Aligned, ...]
    reference: str
    comparisons: dict[str, Comparison]


@dataclass(frozen=True, eq=False)
class _Human:
    """People's scores of the `n` samples that are in a run.

    Attributes:
        ids: `(n,)`.
        images: `(n,)` image of each.
        table: `(n, a)`, see `vlground.metrics.ratings.Ratings`.
        annotators: `(a,)`.
        in_no_run: Ids that were left out.
    """

    ids: list[str]
    images: list[str]
    table: np.ndarray
    annotators: tuple[str, ...]
    in_no_run: list[str]

    @property
    def mean(self) -> np.ndarray:
        """`(n,)` mean of the annotators."""
        return mean_of(self.table)


@dataclass(frozen=True, eq=False)
class _Column:
    """A run, in the order of the ids that people scored; None where it has no such sample."""

    judge: np.ndarray
    outcomes: list[str | None]
    labels: list[str | None]


def align(
    runs: Sequence[Run],
    scores: Scores,
    reference: str | None = None,
    epsilon: float = 0.2,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Alignment:
    """Compare judges with people, and runs with a reference run.

    Args:
        runs: From `vlground.alignment.runs.explained`.
        scores: From `vlground.alignment.people.read_scores`.
        reference: See `vlground.alignment.runs.reference_of`; choose it before looking.
        epsilon: Of `vlground.metrics.alternative.alternative_annotator`.
        n_resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Raises:
        VlgroundError: The runs are of several data sets, or hold different images under one id; no
            run has an id that people scored; the reference is none or several of the runs.
    """
    dataset = _dataset(runs)
    human = _human(runs, scores.ratings)
    names = settings([run.results for run in runs])
    columns = {name: _column(run, human.ids) for name, run in zip(names, runs, strict=True)}
    base = reference_of(runs, names, reference)
    alphas = {
        "ordinal": krippendorff(human.table, human.images, "ordinal", n_resamples, seed),
        "interval": krippendorff(human.table, human.images, "interval", n_resamples, seed),
    }
    aligned = []
    for name, run in zip(names, runs, strict=True):
        column = columns[name]
        tests = alternative_annotator(
            column.judge, human.table, human.annotators, human.images, epsilon=epsilon
        )
        found = Aligned(
            name=name,
            path=run.path,
            fingerprint=str(run.results.get("fingerprint", "")),
            choices={group: str(option) for group, option in run.results["choices"].items()},
            sigmoid=sigmoid_of(run.results),
            counts=_counts(run, column, columns[base], human),
            agreement=agreement(column.judge, human.mean, human.images, n_resamples, seed),
            ceiling=ceiling(
                column.judge, human.table, human.annotators, human.images, n_resamples, seed
            ),
            alternative=tests,
        )
        aligned.append(found)
    judges = {name: column.judge for name, column in columns.items()}
    return Alignment(
        dataset=dataset,
        people=_people(scores, alphas, human.in_no_run),
        runs=tuple(aligned),
        reference=base,
        comparisons=compare_grid(human.mean, judges, base, human.images, n_resamples, seed),
    )


def images_of(runs: Sequence[Run]) -> dict[str, str]:
    """Sample id -> image id, over all runs.

    Raises:
        VlgroundError: If two runs have different images under one id.
    """
    found: dict[str, str] = {}
    for run in runs:
        rows = _rows(run)
        for name, image in zip(rows["id"].astype(str), rows["image_id"].astype(str), strict=True):
            if found.setdefault(name, image) != image:
                told = (
                    f"sample {name} is of image {found[name]} in one run and of {image} in another"
                )
                raise VlgroundError(f"{run.path}: {told}; choose runs of one data set")
    return found


def jsonable(value: object) -> Any:  # noqa: ANN401 - JSON
    """What `align` or `accept` found as it can be written as JSON; what is undefined is null.

    >>> jsonable(Statistic(0.5, None, None, 3, "few"))
    {'value': 0.5, 'low': None, 'high': None, 'n': 3, 'reason': 'few'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, dict):
        return {str(key): jsonable(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(child) for child in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _rows(run: Run) -> Any:  # noqa: ANN401 - pandas
    if run.rows is None:
        raise VlgroundError(f"{run.path}: {run.problem}")
    return run.rows


def _human(runs: Sequence[Run], ratings: Ratings) -> _Human:
    images = images_of(runs)
    known = np.array([name in images for name in ratings.ids])
    ids = [name for name in ratings.ids if name in images]
    strangers = [name for name in ratings.ids if name not in images]
    if not ids:
        theirs, ours = examples(strangers), examples(list(images))
        raise VlgroundError(f"human scores: no id of theirs ({theirs}) is in a run ({ours})")
    found = [images[name] for name in ids]
    return _Human(ids, found, ratings.scores[known], ratings.annotators, strangers)


def _people(scores: Scores, alphas: dict[str, Statistic], in_no_run: list[str]) -> People:
    counts = (~np.isnan(scores.ratings.scores)).sum(axis=0).tolist()
    annotators = dict(zip(scores.ratings.annotators, counts, strict=True))
    return People(len(scores.ratings.ids), annotators, scores.empty, alphas, in_no_run)


def _column(run: Run, ids: Sequence[str]) -> _Column:
    rows = _rows(run)
    rows = rows.assign(id=rows["id"].astype(str)).set_index("id")
    there = set(rows.index)
    rows = rows.reindex(list(ids))
    outcomes = [
        str(outcome) if name in there else None
        for name, outcome in zip(ids, rows["outcome"], strict=True)
    ]
    labels = [value if isinstance(value, str) else None for value in rows["predicted"]]
    return _Column(rows["score"].to_numpy(dtype=np.float64), outcomes, labels)


def _counts(run: Run, column: _Column, base: _Column, human: _Human) -> Counts:
    judged = ~np.isnan(column.judge)
    lost = [o for o, there in zip(column.outcomes, judged, strict=True) if o and not there]
    labels = zip(column.labels, base.labels, judged, strict=True)
    absent = column.outcomes.count(None)
    return Counts(
        both=int(judged.sum()),
        not_judged={outcome: lost.count(outcome) for outcome in sorted(set(lost))},
        not_in_run=len(human.in_no_run) + absent,
        not_by_people=len(_rows(run)) - (len(human.ids) - absent),
        other_label=sum(bool(a and b and a != b and there) for a, b, there in labels),
    )


def _dataset(runs: Sequence[Run]) -> str:
    found = sorted({str(run.results["choices"].get("dataset", "")) for run in runs})
    if len(found) > 1:
        told = f"people's scores are of one data set, these runs of {', '.join(found)}"
        raise VlgroundError(f"dataset={found[0]}: {told}; choose one of them")
    return found[0]


def examples(ids: Sequence[str]) -> str:
    """The first few ids, for a message."""
    return ", ".join(ids[:_EXAMPLES]) + (", …" if len(ids) > _EXAMPLES else "")
