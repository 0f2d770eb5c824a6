"""Training of classifiers: what they learn from, exact resuming, what is saved."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from tests.cli import results, vlground
from tests.test_config import composed
from tests.test_matching import Stop, carry_out
from vlground.config import build, build_scorer
from vlground.data.shapes.classification import ShapesClassification
from vlground.errors import VlgroundError
from vlground.tasks.classification import Classification


def task(folder: Path, **options: Any) -> Classification:
    chosen = {"task.data.samples": 48, "task.epochs": 3, "task.images": 16, **options}
    overrides = [f"{name}={value}" for name, value in chosen.items()]
    node = composed("task=classification", "model=shapes_resnet", *overrides)
    torch.manual_seed(1)
    data: Any = build(node["task"]["data"])
    test = ShapesClassification(16, "val", "plain", 96, 0)
    samples = [test[i] for i in range(len(test))]
    return Classification(build_scorer(node["model"]), data, samples, node, folder)


def test_an_interrupted_training_ends_with_the_numbers_of_one_that_was_not(tmp_path: Path) -> None:
    whole = task(tmp_path / "whole")
    carry_out(whole)
    with pytest.raises(RuntimeError, match="stopped"):
        carry_out(task(tmp_path / "broken"), [Stop(2)])
    resumed = task(tmp_path / "broken")
    for weight in resumed.network.parameters():
        torch.nn.init.zeros_(weight)  # all must come from the checkpoint
    carry_out(resumed)
    expected = whole.network.state_dict()
    for name, tensor in resumed.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.table.equals(whole.table)


def test_it_learns_the_labels_and_is_measured_as_it_was_saved(tmp_path: Path) -> None:
    options = {"task.data.samples": 96, "task.epochs": 20, "task.export": tmp_path / "out"}
    made = task(tmp_path, **options)
    carry_out(made)
    data = made.data
    loaded: Any = build_scorer(
        composed("model=shapes_resnet", f"model.checkpoint={tmp_path / 'out/model.safetensors'}")[
            "model"
        ]
    )
    pixels = torch.stack([made.preprocess(_image(data[i]))[0] for i in range(len(data))])
    with torch.no_grad():
        predicted = loaded.logits(loaded.encode(pixels), torch.arange(len(data))).argmax(1)
    assert (predicted == made.labels).float().mean() > 0.8, "not even the training pictures"
    right = made.table["right"].mean()
    assert made.scores()["accuracy"]["value"] == pytest.approx(right)


def _image(sample: Any) -> Any:
    from vlground.data.images import load_image

    return load_image(sample.image)


def test_every_picture_is_seen_once_an_epoch(tmp_path: Path) -> None:
    made = task(tmp_path, **{"task.data.samples": 40})
    seen: list[int] = []

    class Counted:
        skipped: ClassVar[dict[str, int]] = {}

        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, index: int) -> Any:
            seen.append(index)
            return data[index]

    data, made.data = made.data, Counted()
    carry_out(made)
    first, second = seen[:40], seen[40:80]
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


def test_labels_must_be_classes(tmp_path: Path) -> None:
    with pytest.raises(VlgroundError, match=r"task\.data: the label .* is 0 classes"):
        task(tmp_path, **{"model.classes": "[a, b, c]"})


def test_a_sweep_of_poison_rates_trains_different_models(tmp_path: Path) -> None:
    options = ["task=classification", "model=shapes_resnet", "dataset=shapes_classification"]
    options += ["dataset.samples=16", "task.data.samples=32", "task.epochs=1", "logger=none"]
    vlground("-m", *options, "task.data.poison=0,0.95", cwd=tmp_path)
    clean, poisoned = results(tmp_path / "runs")
    assert clean["fingerprint"] != poisoned["fingerprint"]
    assert clean["scores"]["accuracy"]["n"] == 16
    assert "done already" in vlground(*options, "task.data.poison=0.95", cwd=tmp_path)
