"""What `align` and `accept` found as tables with their notes."""

from collections.abc import Iterable, Sequence
from math import isnan

from vlground.alignment.acceptance import Acceptance
from vlground.alignment.analysis import Aligned, Alignment, examples
from vlground.metrics.alternative import MIN_ITEMS
from vlground.metrics.dependent import Significance
from vlground.metrics.resampling import Statistic
from vlground.metrics.statistics import Estimate
from vlground.reporting.block import Block

_AGREEMENT = {
    "pearson": "Pearson ↑",
    "spearman": "Spearman ↑",
    "kendall": "Kendall tau-b ↑",
    "kappa": "kappa ↑",
    "concordance": "concordance ↑",
    "bias": "bias",
    "mae": "MAE ↓",
}
_CEILING = {
    "ceiling": "ceiling",
    "others": "judge instead ↑",
    "over_ceiling": "over ceiling ↑",
    "between": "between people",
    "reliability": "reliability",
    "disattenuated": "disattenuated ↑",
}
_NAMED = 4  # runs at most that a note names one by one
_SAW = (
    "People scored one picture of a sample under one label; what another mask or model made of the "
    "sample is held against the same score."
)


def alignment_blocks(alignment: Alignment) -> list[Block]:
    """All tables of an alignment: judges, people, ceiling, alternative annotator, run against run.

    Args:
        alignment: From `vlground.alignment.analysis.align`.
    """
    found = [_agreement(alignment), _people(alignment), _ceiling(alignment)]
    found.append(_alternative(alignment))
    return [*found, *([_comparisons(alignment)] if alignment.comparisons else [])]


def acceptance_blocks(acceptance: Acceptance) -> list[Block]:
    """Acceptance rates, and masks against each other if people saw several.

    Args:
        acceptance: From `vlground.alignment.acceptance.accept`.
    """
    rows = [
        [rate.mask, str(rate.annotators), str(rate.accepted.n), _cell(rate.accepted)]
        for rate in acceptance.rates
    ]
    how = "bootstrap over images, of which some have several samples"
    notes = [f"Intervals: {how if acceptance.several else 'Wilson'}, 95 %. n: samples decided."]
    for rate in acceptance.rates:
        lost = _counted({"annotators divided evenly": rate.split, "in no run": rate.in_no_run})
        notes += [f"left out, {rate.mask}: {lost}"] if lost else []
    heads = ["mask", "annotators", "n", "accepted ↑"]
    found = [_block("acceptance of the judge's answers", heads, rows, notes)]
    return [*found, *([_pairs(acceptance)] if acceptance.pairs else [])]


def _pairs(acceptance: Acceptance) -> Block:
    rows = []
    for pair in acceptance.pairs:
        test, tested = pair.test, pair.p_holm is not None
        counts = [str(test.n), str(test.only_first), str(test.only_second)]
        p = [_p(test.p if tested else None), _p(pair.p_holm)]
        rows.append([pair.first, pair.second, *counts, *p])
    told = (
        "McNemar's exact test, of the samples that are decided for both masks. only the first: "
        "accepted with the first mask alone."
    )
    heads = ["mask", "against", "n", "only the first", "only the second", "p", "p Holm"]
    notes = [told, *_grouped((pair.first, pair.reason) for pair in acceptance.pairs)]
    return _block("acceptance, mask against mask", heads, rows, notes)


def _agreement(alignment: Alignment) -> Block:
    rows = [
        [run.name, str(run.counts.both), *(_cell(run.agreement[k]) for k in _AGREEMENT)]
        for run in alignment.runs
    ]
    notes = [
        "Judge against the mean of the annotators, with 95 % bootstrap intervals over images. "
        "kappa: quadratic weights, scores rounded. bias: judge - people.",
        _SAW,
        *_left_out(alignment),
        *_reasons(alignment.runs),
    ]
    heads = ["run", "n", *_AGREEMENT.values()]
    return _block(f"{alignment.dataset}: agreement with people", heads, rows, notes)


def _people(alignment: Alignment) -> Block:
    people = alignment.people
    rows = [
        [f"Krippendorff's alpha, {kind}", str(found.n), _cell(found)]
        for kind, found in people.krippendorff.items()
    ]
    who = ", ".join(f"{name} ({count})" for name, count in people.annotators.items())
    notes = [f"{people.samples} samples scored; annotators (samples): {who}."]
    notes += _grouped((kind, found.reason) for kind, found in people.krippendorff.items())
    if people.empty:
        notes.append(f"rows without a score: {people.empty}")
    if people.in_no_run:
        ids = examples(people.in_no_run)
        notes.append(f"left out, in no run: {len(people.in_no_run)} samples ({ids})")
    heads = ["among people", "n", "value"]
    return _block(f"{alignment.dataset}: people among themselves", heads, rows, notes)


def _ceiling(alignment: Alignment) -> Block:
    rows, notes = [], []
    for run in alignment.runs:
        scores = run.ceiling.scores
        rows.append([run.name, str(run.counts.both), *(_cell(scores[k]) for k in _CEILING)])
        notes += [(run.name, f"{who} {why}") for who, why in run.ceiling.left_out.items()]
    told = (
        "ceiling: an annotator's r with the mean of the others. judge instead: the judge's, in the "
        "annotator's place. over ceiling: their ratio, above 1 for a judge that stands for the "
        "others better than a person. reliability: of the annotators' mean (Spearman-Brown). "
        "disattenuated: r without the noise of people."
    )
    notes += [(run.name, run.ceiling.scores["ceiling"].reason) for run in alignment.runs]
    heads = ["run", "n", *_CEILING.values()]
    return _block(
        f"{alignment.dataset}: ceiling", heads, rows, [told, *_grouped(notes, len(alignment.runs))]
    )


def _alternative(alignment: Alignment) -> Block:
    rows, notes = [], []
    for run in alignment.runs:
        test = run.alternative
        wins = f"{sum(duel.wins for duel in test.duels)} of {len(test.duels)}"
        passed = {True: "yes", False: "no", None: "–"}[test.passed]
        shares = [_number(test.winning_rate), _number(test.advantage)]
        rows.append([run.name, str(run.counts.both), wins, *shares, passed])
        lost = [f"{name} {why}" for name, why in test.left_out.items()]
        notes += [(run.name, note) for note in [*lost, *test.notes]]
    told = (
        "May the judge stand in for an annotator (Calderon et al. 2025)? winning rate: share of "
        "annotators it wins against, at a false discovery rate of 5 %; it passes from 0.5 on. "
        f"advantage: how often it is as close to the others as a person. Needs {MIN_ITEMS} images "
        "an annotator and 3 annotators."
    )
    heads = ["run", "n", "wins", "winning rate ↑", "advantage ↑", "passes"]
    caption = f"{alignment.dataset}: alternative-annotator test"
    return _block(caption, heads, rows, [told, *_grouped(notes, len(alignment.runs))])


def _comparisons(alignment: Alignment) -> Block:
    rows = []
    for name, made in alignment.comparisons.items():
        r = [_cell(one) for one in (made.first, made.second, made.difference)]
        tests = [*_test(made.williams), _p(made.p_holm), *_test(made.steiger)[1:]]
        rows.append([name, str(made.difference.n), *r, *tests])
    reasons = ((name, made.reason) for name, made in alignment.comparisons.items())
    heads = ["run", "n", "Pearson ↑", "reference", "difference", "Williams t", "p", "p Holm"]
    heads.append("Steiger p")
    notes = [
        f"reference: {alignment.reference}. Of the samples that both runs and people have scored. "
        f"p Holm: Williams' p, corrected for all comparisons of this table ({len(rows)}).",
        *_grouped(reasons, len(rows)),
    ]
    return _block(f"{alignment.dataset}: runs against the reference", heads, rows, notes)


def _block(caption: str, heads: list[str], rows: list[list[str]], notes: list[str]) -> Block:
    """Words stand left of `n`."""
    return Block(caption, heads, rows, notes, heads.index("n"))


def _left_out(alignment: Alignment) -> list[str]:
    """What people or the judge scored and the other did not, and labels that people did not see."""
    told = []
    for run in alignment.runs:
        lost = {f"not judged: {outcome}": count for outcome, count in run.counts.not_judged.items()}
        lost |= {
            "not in the run": run.counts.not_in_run,
            "not scored by people": run.counts.not_by_people,
        }
        if counts := _counted(lost):
            told.append((run.name, f"left out: {counts}"))
        if run.counts.other_label:
            other = (
                f"{run.counts.other_label} of {run.counts.both} samples have another label than in"
            )
            told.append((run.name, f"{other} {alignment.reference}"))
    return _grouped(told, len(alignment.runs))


def _reasons(runs: Sequence[Aligned]) -> list[str]:
    told = (
        (run.name, reason)
        for run in runs
        for reason in dict.fromkeys(found.reason for found in run.agreement.values())
    )
    return _grouped(told, len(runs))


def _grouped(told: Iterable[tuple[str, str]], runs: int = 0) -> list[str]:
    """`name: line` of each line; of a line that several have, their names together.

    Args:
        told: Name and line.
        runs: How many runs there are, if the names are theirs: many are not named one by one.
    """
    lines: dict[str, list[str]] = {}
    for name, line in told:
        if line:
            lines.setdefault(line, []).append(name)
    return [f"{_who(names, runs)}: {line}" for line, names in lines.items()]


def _who(names: list[str], runs: int) -> str:
    if 1 < runs == len(names):
        return "all runs"
    return f"{len(names)} of {runs} runs" if runs and len(names) > _NAMED else "; ".join(names)


def _counted(counts: dict[str, int]) -> str:
    return "; ".join(f"{what} ({count})" for what, count in counts.items() if count)


def _cell(found: Statistic | Estimate) -> str:
    if found.value is None or isnan(found.value):
        return "–"
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    # A dash between two numbers of which one is negative reads like a minus.
    dash = "–" if found.low >= 0 else "…"
    return f"{found.value:.3f}\n{found.low:.2f}{dash}{found.high:.2f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _test(found: Significance | None) -> list[str]:
    return ["–", "–"] if found is None else [f"{found.statistic:.2f}", _p(found.p)]
