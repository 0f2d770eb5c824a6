"""Which classifiers a folder of runs tells of: how each was trained, and what was measured on it.

A run of `task=shortcut` or `task=explanation` knows the checksum of the weights that it loaded; the
run of `task=classification` that saved a file with this checksum says what they learnt from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vlground.identity import checksums, digest
from vlground.page.reading import read_results

Results = Mapping[str, Any]

# Score -> name of the signal.
_SHORTCUT = {
    "delta_logit": "Δ logit",
    "flip_into": "flips into",
    "mass_lift": "mass lift",
    "suspects": "suspects",
}
CORRECT_LOW = "Correct-Low"
CORRECT_LOW_CLASS = "Correct-Low, class"
_TASKS = ("shortcut", "explanation")
_OWN = ("training.", "model.", "experiment", "logger", "runs", "tags", "notes")  # of the model


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier.

    Attributes:
        name: The model's option, the first of those that loaded these weights.
        checksum: SHA-256 of its weights.
        architecture: Digest of the model's options but for its weights; only models that have it in
            common are compared.
        poison: Share of the poisoned class' training pictures with the artefact, 0-1; None if no
            training run in the folder saved these weights.
        seed: Of its training; None likewise.
        signals: Name -> value, those that are there.
        scores: Name -> value, low, high and n, likewise.
        shortcut: What `task=shortcut` has to say beside its scores; None if it was not run.
    """

    name: str
    checksum: str
    architecture: str
    poison: float | None
    seed: int | None
    signals: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shortcut: Mapping[str, Any] | None = None


def settings_of(runs: Path, chosen: Mapping[str, str] | None = None) -> list[str]:
    """The settings (CAM, data set, options) of the runs of `task=shortcut`, see `read_models`."""
    measured = (results for results, _ in _measured(runs, chosen or {}))
    return list(dict.fromkeys(_setting(r) for r in measured if r["task"] == "shortcut"))


def read_models(
    runs: Path, chosen: Mapping[str, str] | None = None, setting: str | None = None
) -> list[Model]:
    """The classifiers that a folder has runs of `task=shortcut` or `task=explanation` of.

    Args:
        runs: The folder.
        chosen: Group -> options, separated by commas, of the runs that are read; trainings are read
            all. `experiment` among them is not looked at: these runs belong together.
        setting: Of `settings_of`: the only runs of `task=shortcut` that are read; None: all.

    Returns:
        By architecture, poison rate and seed. Where there are runs of several settings (CAMs,
        masks, judges …), each signal is named with its setting.
    """
    trained = dict(_trainings(runs))
    measured = [
        (results, folder)
        for results, folder in _measured(runs, chosen or {})
        if setting is None or results["task"] != "shortcut" or _setting(results) == setting
    ]
    settings = {
        task: {_setting(results) for results, _ in measured if results["task"] == task}
        for task in _TASKS
    }
    found: dict[str, dict[str, Any]] = {}
    for results, folder in measured:
        new = {"name": results["choices"]["model"], "signals": {}, "scores": {}, "shortcut": None}
        new["architecture"] = digest(results["identity"]["stage"]["reads"]["model"])
        one = found.setdefault(results["weights"]["model.checkpoint"], new)
        several = len(settings[results["task"]]) > 1
        suffix = f" ({_setting(results)})" if several else ""
        for signal, score in _signals(results, folder).items():
            one["signals"][signal + suffix] = float(score["value"])
            one["scores"][signal + suffix] = score
        if results["task"] == "shortcut":
            one["shortcut"] = one["shortcut"] or results.get("shortcut", {})
    models = [
        Model(checksum=checksum, poison=poison, seed=seed, **facts)
        for checksum, facts in found.items()
        for poison, seed in [trained.get(checksum, (None, None))]
    ]
    return sorted(
        models, key=lambda m: (m.architecture, m.poison is None, m.poison or 0, m.seed or 0)
    )


def _measured(runs: Path, chosen: Mapping[str, str]) -> Iterator[tuple[Results, Path]]:
    for task in _TASKS:
        for path in sorted((runs / task).glob("*/results.json")):
            results = read_results(path)
            if isinstance(results, str) or "model.checkpoint" not in results.get("weights", {}):
                continue
            wanted = ((g, o) for g, o in chosen.items() if g != "experiment")
            if all(results["choices"].get(g, o) in o.split(",") for g, o in wanted):
                yield results, path.parent


def _trainings(runs: Path) -> Iterator[tuple[str, tuple[float, int]]]:
    """Checksum of saved weights -> poison rate and seed."""
    for path in sorted((runs / "classification").glob("*/results.json")):
        results, saved = read_results(path), path.parent / "model" / "model.safetensors"
        if not isinstance(results, str) and saved.exists():
            reads = results["identity"]["stage"]["reads"]
            poison = reads["task"]["data"].get("poison")
            if poison is not None:
                checksum = checksums({"checkpoint": str(saved)})["checkpoint"]
                yield checksum, (float(poison), int(reads["seed"]))


def _setting(results: Results) -> str:
    """What a run has chosen beside its model, and set beside that."""
    choices = [
        str(option)
        for group, option in sorted(results["choices"].items())
        if group in ("cam", "dataset", "mask", "metric", "judge")
    ]
    overrides: Sequence[str] = results.get("overrides", [])
    dotted = [one for one in overrides if "." in one.split("=")[0]]
    dotted = [one for one in dotted if not one.startswith(_OWN)]
    parts = ("limit", "shard", "sample")
    limits = [f"{k}={results['identity'][k]}" for k in parts if results["identity"].get(k)]
    return " ".join([*choices, *dotted, *limits])


def _signals(results: Results, folder: Path) -> dict[str, Mapping[str, Any]]:
    scores = results["scores"]
    if results["task"] == "shortcut":
        return {signal: scores[name] for name, signal in _SHORTCUT.items() if name in scores}
    found = {CORRECT_LOW: scores["correct_low"]} if "correct_low" in scores else {}
    dataset = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))["dataset"]
    classes = results.get("explanation", {}).get("per_class", {})
    own = classes.get(dataset.get("poisoned"), {})
    return found | ({CORRECT_LOW_CLASS: own["correct_low"]} if "correct_low" in own else {})
