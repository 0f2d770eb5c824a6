"""Which runs are ranked: those of `task=grounding` on the same samples, from their stored maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vlground.config import build_dataset, select
from vlground.data.sample import Sample, manifest
from vlground.identity import Stage
from vlground.labels import BASELINES
from vlground.multiverse.grid import Grid
from vlground.multiverse.work import Job, Sums, carry_out, job_of, without_evidence
from vlground.reporting.tables import differences

Results = Mapping[str, Any]
_METRICS = ("vlground.metrics.QGroundCAM", "vlground.metrics.grounding.QGroundCAM")


@dataclass(frozen=True, eq=False)
class Universe:
    """The models of one data set.

    Attributes:
        dataset: Its name.
        models: What tells its runs apart.
        runs: One result of each.
        sums: Their scores under every setting.
    """

    dataset: str
    models: Sequence[str]
    runs: Sequence[Results]
    sums: Sequence[Sums]


def gather(runs: Path, results: Sequence[Results], grid: Grid) -> tuple[list[Universe], list[str]]:
    """Score every run that can be ranked under every setting.

    Args:
        runs: The folder of runs.
        results: Those to look at. Settings of the metric of one run do not matter, for its maps
            are the same; baselines are no models.
        grid: The settings.

    Returns:
        One universe a data set of at least two models, and what was left out and why, in lines.

    Raises:
        VlgroundError: If a data set is not there, or the folder of runs cannot be written.
    """
    told: list[str] = []
    groups: dict[tuple[str, str], dict[str, Results]] = {}
    for run in _rankable(results, told):
        group = groups.setdefault((run["choices"]["dataset"], run["identity"]["data"]), {})
        group.setdefault(run["stage"], run)
    chosen: list[tuple[str, list[Results], list[Job]]] = []
    for (dataset, data), by_stage in groups.items():
        samples = _samples(runs, next(iter(by_stage.values())))
        if samples is None or manifest(samples) != data:
            told.append(f"{dataset}: its samples are no longer those that its runs were about")
            continue
        own: list[tuple[Results, Job]] = []
        for run in by_stage.values():
            job = job_of(runs, Stage(**run["identity"]["stage"]), grid, data, samples)
            if missing := without_evidence(job):
                what = f"{missing} of {len(samples)} maps are not stored"
                told.append(f"{names_of([run])[0]} on {dataset}: {what}; run it again")
            else:
                own.append((run, job))
        if len(own) < 2:
            told.append(f"{dataset}: one model, nothing to rank" if own else f"{dataset}: no model")
            continue
        several = sum(name == dataset for name, _ in groups) > 1
        title = f"{dataset} ({len(samples)} samples)" if several else dataset
        chosen.append((title, [run for run, _ in own], [job for _, job in own]))
    done = iter(carry_out([job for _, _, jobs in chosen for job in jobs]))
    universes = [
        Universe(dataset, names_of(own), own, [next(done) for _ in jobs])
        for dataset, own, jobs in chosen
    ]
    return universes, told + [line for one in universes for line in _unscored(one)]


def names_of(runs: Sequence[Results]) -> list[str]:
    """What tells runs of one data set apart: method or model, CAM, what the command line set."""
    choices = [run["choices"] for run in runs]
    names = [str(chosen.get("method") or chosen.get("model", "")) for chosen in choices]
    if len({*names}) < len(names):
        names = [f"{name} · {one['cam']}" for name, one in zip(names, choices, strict=True)]
    if len({*names}) < len(names):
        further = differences(runs)
        names = [f"{name} {extra}".strip() for name, extra in zip(names, further, strict=True)]
    if len({*names}) < len(names):
        names = [f"{name} {run['stage'][-4:]}" for name, run in zip(names, runs, strict=True)]
    return names


def _rankable(results: Sequence[Results], told: list[str]) -> list[Results]:
    """Runs that the metric suite scores the maps of; why the others are not, in `told`."""
    grounding = [run for run in results if run.get("task") == "grounding"]
    models = [run for run in grounding if run["choices"].get("cam") not in BASELINES]
    scored = [run for run in models if run["identity"]["metric"].get("_target_") in _METRICS]
    plain = [run for run in scored if run["choices"].get("mask", "none") == "none"]
    for number, why in (
        (len(results) - len(grounding), "not of task=grounding"),
        (len(grounding) - len(models), "of baselines, which are no models"),
        (len(models) - len(scored), "not scored by metric=q_groundcam"),
        (len(scored) - len(plain), "of a mask, which has one resolution"),
    ):
        told += [f"runs left out, {why}: {number}"] if number else []
    return plain


def _samples(runs: Path, run: Results) -> list[Sample] | None:
    """What a run is about, from its `config.yaml`; None if it has none."""
    for path in runs.glob(f"grounding/*-{run['fingerprint'][:8]}/config.yaml"):
        node = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
        assert isinstance(node, dict)
        _, samples, _ = build_dataset(node["dataset"])
        return select(samples, **{name: node[name] for name in ("limit", "shard", "sample")})
    return None


def _unscored(universe: Universe) -> list[str]:
    """What samples have no map, by model, with the three most frequent reasons."""
    told = []
    for model, sums in zip(universe.models, universe.sums, strict=True):
        if total := sums.skipped.total():
            reasons = "; ".join(f"{why} ({n})" for why, n in sums.skipped.most_common(3))
            what = f"{total} of {sums.samples} samples have no map: {reasons}"
            told.append(f"{model} on {universe.dataset}: {what}")
    return told
