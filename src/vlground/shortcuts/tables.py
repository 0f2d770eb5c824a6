"""What `vlground-report` says about shortcuts: a verdict a model, dose and response, power."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlground.metrics.proportions import wilson
from vlground.metrics.resampling import Statistic
from vlground.metrics.statistics import Estimate
from vlground.published import interval
from vlground.reporting.block import Block
from vlground.shortcuts.models import Model, read_models, settings_of
from vlground.shortcuts.verdict import LEVEL, Verdict, names_of, power, responses, verdicts

_SIGNALS = (
    "Δ logit: what the artefact adds to the logit of the class it was planted in, over pictures of "
    "all classes. flips into: pictures of other classes that it turns into this one. mass lift: "
    "share of the map inside the artefact over its share of the picture, of the class' pictures. "
    "suspects: suspicions of the search for an unknown artefact that blanking confirmed."
)


def tables(runs: Path, chosen: Mapping[str, str] | None = None) -> list[Block]:
    """The tables of a folder of runs; none without a run of `task=shortcut`.

    Args:
        runs: The folder.
        chosen: See `read_models`.
    """
    settings = settings_of(runs, chosen)
    blocks: list[Block] = []
    for setting in settings:
        name = f": {setting}" if len(settings) > 1 else ""
        blocks += _of_setting(read_models(runs, chosen, setting), name)
    return blocks


def _of_setting(models: Sequence[Model], name: str) -> list[Block]:
    models = [model for model in models if model.shortcut is not None]
    known = [model for model in models if model.poison is not None]
    judged = verdicts(models)
    blocks = [_verdicts(judged, name)]
    for architecture in dict.fromkeys(model.architecture for model in known):
        same = [model for model in known if model.architecture == architecture]
        if len({model.poison for model in same}) > 1:
            own = [one for one in judged if one.model in same]
            title = same[0].name + name
            blocks += [_responses(title, same), *_powers(title, own)]
    return blocks


def _verdicts(found: Sequence[Verdict], name: str) -> Block:
    signals = names_of([one.model for one in found])
    rows = []
    for one in found:
        model = one.model
        poison = "?" if model.poison is None else f"{model.poison:.0%}"
        cells = [_signal(one, signal) for signal in signals]
        seed = "?" if model.seed is None else str(model.seed)
        rows.append([model.name, poison, seed, one.relies, one.why, *cells])
    heads = ["model", "poison", "seed", "relies", "because", *signals]
    notes = [
        "▲: above the clean models of this architecture (a clean model: above the other ones). "
        "yes: Δ logit is, and lies beyond the 95 % prediction bound of clean models. An "
        "intervention decides, a map alone does not.",
        _SIGNALS,
        "Intervals are over pictures.",
    ]
    return Block(f"does it rely on the artefact?{name}", heads, rows, notes, words=5)


def _signal(verdict: Verdict, signal: str) -> str:
    if signal not in verdict.alarms:
        return "–"
    shown = interval(verdict.model.scores[signal], "\n")
    return f"{shown} ▲" if verdict.alarms[signal].raised else shown


def _responses(name: str, models: Sequence[Model]) -> Block:
    rows = []
    for signal in names_of(models):
        found = responses(models, signal)
        cells = [_statistic(found[kind]) for kind in ("pearson", "spearman")]
        rows.append([signal, str(found["pearson"].n), *cells])
    caption = f"{name}: signals against the poison rate"
    notes = ["Intervals: 95 % percentile bootstrap over models."]
    return Block(caption, ["signal", "models", "Pearson r", "Spearman ρ"], rows, notes)


def _powers(name: str, judged: Sequence[Verdict]) -> list[Block]:
    models = [one.model for one in judged]
    rows, rates, nominal = [], sorted({m.poison for m in models if m.poison}), 1.0
    for signal in names_of(models):
        found = power(models, signal)
        if found is not None:
            nominal = found.nominal
            shares = [_share(found.at[rate]) if rate in found.at else "–" for rate in rates]
            rows.append([signal, *shares, _share(found.false_alarms), _statistic(found.auc)])
    if not rows:
        return []
    held = [_held(judged, rate) for rate in (*rates, 0.0)]
    rows.append(["verdict: yes", *held, "–"])
    clean = sum(model.poison == 0 for model in models)
    heads = ["signal", *(f"{rate:.0%}" for rate in rates), "false alarms", "AUC"]
    promise = f"{clean} clean models promise at most {nominal:.1%} false alarms on average"
    short = f"; {LEVEL:.0%} need {round(1 / LEVEL) - 1}" if nominal > LEVEL + 1e-9 else ""
    notes = [
        f"Power: share of the models of a poison rate with an alarm. {promise}{short}. False "
        "alarms: each clean model against the others, of which one always exceeds the rest. Wilson "
        "intervals; AUC: bootstrap over models."
    ]
    return [Block(f"{name}: power to find poisoned models", heads, rows, notes)]


def _held(judged: Sequence[Verdict], rate: float) -> str:
    mine = [one.relies == "yes" for one in judged if one.model.poison == rate]
    return _share(wilson(sum(mine), len(mine)))


def _share(estimate: Estimate) -> str:
    return f"{interval(vars(estimate), chr(10))} of {estimate.n}"


def _statistic(found: Statistic) -> str:
    if found.value is None:
        return f"– ({found.reason})"
    if found.low is None or found.high is None:
        return f"{found.value:.2f}"
    return f"{found.value:.2f}\n[{found.low:.2f}, {found.high:.2f}]"
