"""From runs on disk to verdicts: whose training it was, thresholds of clean models, tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from vlground.identity import checksums
from vlground.shortcuts.figure import dose_response_figure
from vlground.shortcuts.models import CORRECT_LOW, CORRECT_LOW_CLASS, Model, read_models
from vlground.shortcuts.tables import tables
from vlground.shortcuts.verdict import names_of, power, responses, verdicts

RATES = (0.0, 0.5, 0.95)
SEEDS = range(6)
STAGE = {"stage": {"reads": {"model": {"architecture": "small"}}}}


def score(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 40}


def write(folder: Path, results: dict[str, Any], dataset: dict[str, Any] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps({"overrides": [], "counts": {}, **results}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"dataset": dataset or {}}))


def plant(runs: Path, poison: float, seed: int, delta: float, p: float = 1e-4) -> str:
    """A training, and what two tasks measured on the file it exported elsewhere."""
    name = f"m-{poison}-{seed}"
    weights = {"w": torch.tensor([poison, float(seed)])}
    saved = runs / "classification" / name / "model" / "model.safetensors"
    saved.parent.mkdir(parents=True)
    save_file(weights, saved)
    reads = {"task": {"data": {"poison": poison}}, "seed": seed}
    training = {"task": "classification", "choices": {"model": "small"}, "scores": {}}
    write(saved.parents[1], {**training, "identity": {"stage": {"reads": reads}}})
    checksum = checksums({"checkpoint": str(saved)})["checkpoint"]
    common = {"weights": {"model.checkpoint": checksum}, "identity": STAGE}
    choices = {"model": "small", "cam": "gradcam", "dataset": "shapes_classification"}
    measured = {"delta_logit": score(delta), "flip_into": score(0), "mass_lift": score(1 + poison)}
    measured["suspects"] = {"value": float(poison > 0.9), "low": None, "high": None, "n": 9}
    shortcut = {"target": "star", "p": p, "suspects": []}
    overrides = [f"training.poison={poison}", f"training.seed={seed}"]
    own = {"task": "shortcut", "choices": choices, "scores": measured, "shortcut": shortcut}
    write(runs / "shortcut" / name, {**common, **own, "overrides": overrides})
    explained = {
        "task": "explanation",
        "choices": {**choices, "mask": "sigmoid", "judge": "reference"},
        "scores": {"correct_low": score(0.1 + poison / 4)},
        "explanation": {"per_class": {"star": {"correct_low": score(poison)}, "ring": {}}},
    }
    write(runs / "explanation" / name, {**common, **explained}, {"poisoned": "star"})
    return checksum


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for poison in RATES:
        for seed in SEEDS:
            plant(folder, poison, seed, delta=0.1 * seed + 3 * poison)
    return folder


def test_a_model_is_joined_with_its_training_by_what_its_weights_are(runs: Path) -> None:
    models = read_models(runs)
    assert [(m.poison, m.seed) for m in models] == [(p, s) for p in RATES for s in SEEDS]
    last = models[-1]
    assert last.signals == pytest.approx(
        {
            "Δ logit": 0.5 + 3 * 0.95,
            "flips into": 0,
            "mass lift": 1.95,
            "suspects": 1,
            CORRECT_LOW: 0.1 + 0.95 / 4,
            CORRECT_LOW_CLASS: 0.95,
        }
    )
    assert read_models(runs, {"model": "another"}) == []


def test_a_model_without_a_training_has_no_rate_and_is_in_no_dose(tmp_path: Path) -> None:
    plant(tmp_path, 0.5, 0, delta=1.0)
    (tmp_path / "classification" / "m-0.5-0" / "model" / "model.safetensors").unlink()
    (model,) = read_models(tmp_path)
    assert (model.poison, model.seed) == (None, None)
    assert verdicts([model])[0].relies == "undecided"
    assert responses([model], "Δ logit")["pearson"].value is None
    (block,) = tables(tmp_path)
    assert block.rows[0][:4] == ["small", "?", "?", "undecided"]


def test_runs_of_several_settings_are_told_apart(tmp_path: Path) -> None:
    checksum = plant(tmp_path, 0.5, 0, delta=1.0)
    choices = {"model": "small", "cam": "uniform", "dataset": "shapes_classification"}
    other = {"task": "shortcut", "choices": choices, "scores": {"delta_logit": score(2)}}
    other |= {"weights": {"model.checkpoint": checksum}, "identity": STAGE}
    other["shortcut"] = {"p": 1.0}
    write(tmp_path / "shortcut" / "other", other)
    (model,) = read_models(tmp_path)
    assert model.signals["Δ logit (gradcam shapes_classification)"] == 1
    assert model.signals["Δ logit (uniform shapes_classification)"] == 2
    (narrowed,) = read_models(tmp_path, {"cam": "uniform"})
    assert narrowed.signals["Δ logit"] == 2
    by_cam = {block.caption: block.rows[0][4] for block in tables(tmp_path)}
    assert list(by_cam) == [
        "does it rely on the artefact?: gradcam shapes_classification",
        "does it rely on the artefact?: uniform shapes_classification",
    ]
    assert set(by_cam.values()) == {"too few clean models of this architecture"}


def model(
    poison: float | None, seed: int, delta: float, suspects: float = 0, p: float = 0
) -> Model:
    signals = {"Δ logit": delta, "suspects": suspects}
    shown = {name: score(value) for name, value in signals.items()}
    return Model("m", f"{poison} {seed}", "a", poison, seed, signals, shown, {"p": p})


CLEAN = [model(0.0, seed, 0.1 * seed) for seed in range(5)]  # up to 0.4


def relies(one: Model) -> str:
    return verdicts([*CLEAN, one])[-1].relies


def test_a_model_relies_if_the_dot_moves_it_more_than_any_clean_one() -> None:
    # Five at 0 to 0.4: mean 0.2, deviation 0.158, and t = 2.132 of four degrees of freedom.
    bound = 0.2 + 2.1318 * 0.15811 * 1.2**0.5
    assert relies(model(0.5, 9, delta=bound + 0.001)) == "yes"
    assert relies(model(0.5, 9, delta=bound - 0.001)) == "undecided", "clean ones may be as far"
    assert relies(model(0.5, 9, delta=0.40)) == "no"
    assert relies(model(0.5, 9, delta=0.9, p=0.06)) == "no", "by chance"
    assert relies(model(0.5, 9, delta=0.2, suspects=1)) == "undecided", "both contradict each other"


def test_a_clean_model_is_judged_by_the_others_and_never_by_itself() -> None:
    found = verdicts([*CLEAN, model(0.0, 5, delta=2.0)])
    assert [one.relies for one in found] == ["no"] * 5 + ["yes"]
    assert found[-1].alarms["Δ logit"].threshold == pytest.approx(0.4)
    assert found[0].alarms["Δ logit"].threshold == pytest.approx(2.0)


def test_few_clean_models_or_those_of_another_architecture_decide_nothing() -> None:
    few = verdicts([*CLEAN[:3], model(0.95, 0, delta=9.0)])
    assert few[-1].relies == "undecided"
    assert few[-1].alarms["Δ logit"].nominal == 0.25
    other = Model("m", "x", "b", 0.95, 0, {"Δ logit": 9.0}, {"Δ logit": score(9)}, {"p": 0.0})
    (found,) = [one for one in verdicts([*CLEAN, other]) if one.model is other]
    assert found.relies == "undecided"
    assert found.alarms["Δ logit"].threshold is None


def test_power_and_false_alarms_count_what_lies_above_clean_models() -> None:
    poisoned = [model(0.5, s, delta) for s, delta in enumerate((0.35, 0.5, 0.6, 0.7))]
    found = power([*CLEAN, *poisoned], "Δ logit")
    assert found is not None
    assert (found.at[0.5].value, found.at[0.5].n) == (0.75, 4)
    # Left out, the largest of five exceeds the four others, and no other does.
    assert (found.false_alarms.value, found.false_alarms.n) == (0.2, 5)
    assert found.nominal == pytest.approx(1 / 6)
    assert found.auc.value == pytest.approx((4 + 5 + 5 + 5) / 20)
    assert power(poisoned, "Δ logit") is None
    assert power(CLEAN, "Δ logit") is None


def test_the_dose_is_that_of_the_trainings(runs: Path) -> None:
    models = read_models(runs)
    linear = responses(models, CORRECT_LOW_CLASS)
    assert linear["pearson"].value == pytest.approx(1)
    noisy = responses(models, "Δ logit")["pearson"]
    rates = np.array([m.poison for m in models], dtype=float)
    deltas = np.array([0.1 * (m.seed or 0) + 3 * (m.poison or 0) for m in models])
    assert noisy.value == pytest.approx(np.corrcoef(rates, deltas)[0, 1])
    assert noisy.n == 18
    assert responses(models, "flips into")["pearson"].reason == "the signals are constant"


def test_tables_and_figure(runs: Path, tmp_path: Path) -> None:
    verdict, dose, found = tables(runs)
    assert len(verdict.rows) == 18
    shown = {tuple(row[1:4]) for row in verdict.rows}
    assert ("0%", "0", "no") in shown
    assert ("95%", "3", "yes") in shown
    assert all(len(row) == len(verdict.heads) for row in verdict.rows)
    assert "▲" in verdict.rows[-1][verdict.heads.index("Δ logit")]
    assert dose.rows[0][0] == "Δ logit"
    assert found.heads == ["signal", "50%", "95%", "false alarms", "AUC"]
    assert "6 clean models promise at most 14.3% false alarms" in found.notes[0]
    assert "5% need 19" in found.notes[0]
    assert [cell.split("\n")[0] for cell in found.rows[-1][1:4]] == ["1.000", "1.000", "0.000"]
    models = read_models(runs)
    figure = dose_response_figure(models)
    assert figure is not None
    assert figure.width > figure.height > 300, "six panels in two rows"
    assert len(names_of(models)) == 6
    assert dose_response_figure(models[:3]) is None, "one rate is no dose"
    assert tables(tmp_path) == []
