"""A model is loaded once for the cells of a process, and handed out as it was loaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from tests.scorers import PatchScorer
from tests.test_config import composed
from vlground import config
from vlground.config import build_scorer
from vlground.data.shapes.classification import ShapesClassification
from vlground.models.classifier import ImageClassifier
from vlground.tasks.chained import carry_out
from vlground.tasks.classification import Classification


class Counted(PatchScorer):
    """Knows how often it was built."""

    built: ClassVar[int] = 0

    def __init__(self, name: str, checkpoint: str | None = None) -> None:
        super().__init__()
        Counted.built += 1
        self.scale = torch.nn.Parameter(torch.ones(3))


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    config._kept.clear()
    Counted.built = 0
    yield
    config._kept.clear()


def node(name: str, **options: Any) -> dict[str, Any]:
    return {"_target_": "tests.test_kept_models.Counted", "name": name, **options}


def test_two_models_stay_loaded_and_the_third_takes_the_place_of_the_oldest() -> None:
    first, second = build_scorer(node("a")), build_scorer(node("b"))
    assert build_scorer(node("a")) is first
    assert build_scorer(node("b")) is second
    assert Counted.built == 2
    build_scorer(node("c"))
    assert build_scorer(node("b")) is second
    assert build_scorer(node("a")) is not first
    assert Counted.built == 4


def _trained(scorer: Counted) -> None:
    scorer.scale.requires_grad_(True)
    (scorer.scale * 2).sum().backward()
    torch.optim.SGD(scorer.parameters(), 0.1).step()
    scorer.requires_grad_(False)


def _hooked(scorer: Counted) -> None:
    scorer.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize(
    "change",
    [_trained, lambda scorer: scorer.to(torch.bfloat16), _hooked, lambda s: s.train()],
    ids=["trained", "converted", "hooked", "in training mode"],
)
def test_what_somebody_changed_is_not_handed_out_again(change: Any) -> None:
    scorer = build_scorer(node("a"))
    change(scorer)
    again = build_scorer(node("a"))
    assert again is not scorer
    assert torch.equal(again.scale, torch.ones(3))
    assert not again.training
    assert not any(weight.requires_grad for weight in again.parameters())


def test_new_weights_under_an_old_name_are_loaded(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"old")
    old = build_scorer(node("a", checkpoint=str(file)))
    assert build_scorer(node("a", checkpoint=str(file))) is old
    file.write_bytes(b"other")
    assert build_scorer(node("a", checkpoint=str(file))) is not old


def test_who_trains_gets_a_model_of_his_own(tmp_path: Path) -> None:
    words = ("task=classification", "model=shapes_resnet", "task.data.samples=32")
    kept: Any = build_scorer(composed(*words)["model"])

    class Cell:
        node: ClassVar[Any] = composed(*words)
        choices: ClassVar[dict[str, str]] = {"model": "shapes_resnet"}
        samples: ClassVar[list[Any]] = [ShapesClassification(4, "val", "plain", 96, 0)[0]]
        directory = tmp_path

    cell: Any = Cell
    task = Classification.of(cell)
    assert task.network is not kept.network
    assert isinstance(kept, ImageClassifier)
    assert not any(weight.requires_grad for weight in kept.parameters())


def test_a_sweep_of_one_model_loads_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    really = config.build

    def counted(part: Any) -> Any:
        built.append(part["_target_"])
        return really(part)

    monkeypatch.setattr(config, "build", counted)
    words = ["model=mini_blip", "limit=4", "logger=none", f"runs={tmp_path}"]
    for cam in ("attention_gradcam", "gradcam"):
        for dataset in ("shapes_phrases", "shapes_referring"):
            carry_out([*words, f"cam={cam}", f"dataset={dataset}"])
    assert len(list(tmp_path.glob("grounding/*/results.json"))) == 4
    assert built.count("vlground.models.blip.BlipMatching") == 1
