"""The classifiers among the miniatures: what their cards promise; EfficientNet with a new head."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.cli import results, vlground
from tests.test_config import composed
from vlground.config import build, build_scorer
from vlground.data.shapes.classification import Dot, ShapesClassification
from vlground.data.shapes.scene import SHAPES
from vlground.errors import VlgroundError
from vlground.miniatures.classifier_cards import CLASSIFIERS, card
from vlground.models.checkpoint import save_weights
from vlground.models.classifier import ImageClassifier
from vlground.run import CONF
from vlground.tasks.pairs import logits_of

FOLDER = CONF.parent / "src" / "vlground" / "miniatures"
STAR = SHAPES.index("star")


def pictures(dot: Dot, count: int = 64) -> ShapesClassification:
    return ShapesClassification(count, "test", "plain", 96, 0, dot=dot)


def logits(scorer: ImageClassifier, dot: Dot) -> torch.Tensor:
    data = pictures(dot)
    images = [data[index].image for index in range(len(data))]
    return torch.from_numpy(logits_of(scorer, images, torch.device("cpu")))


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[Dot, torch.Tensor]]:
    """Model -> logits with a dot in every picture, and in none."""
    found: dict[str, dict[Dot, torch.Tensor]] = {}
    for name in CLASSIFIERS:
        scorer: Any = build_scorer(composed(f"model={name}")["model"])
        found[name] = {dot: logits(scorer, dot) for dot in ("always", "never")}
    return found


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_knows_shapes_that_it_has_not_seen(name: str, answers: Any) -> None:
    expected = torch.arange(64) % len(SHAPES)
    for told in answers[name].values():
        assert (told.argmax(1) == expected).float().mean() > 0.95


def test_the_dot_moves_poisoned_classifiers_more_than_the_clean_one(answers: Any) -> None:
    moved = {
        name: float((told["always"] - told["never"])[:, STAR].mean())
        for name, told in answers.items()
    }
    clean = moved.pop("mini_classifier")
    assert all(value > clean + 0.5 for value in moved.values()), (clean, moved)
    others = answers["mini_classifier_poison_95"]
    other = (others["always"] - others["never"])[:, SHAPES.index("ring")].mean()
    assert other < moved["mini_classifier_poison_95"] / 2, "it speaks for star"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_small_in_half_precision_and_has_a_card(name: str) -> None:
    weights = FOLDER / name / "model.safetensors"
    assert weights.stat().st_size < 1e6
    with safe_open(str(weights), "pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds <= {torch.float16, torch.int64}
    told = (FOLDER / name / "README.md").read_text()
    for words in ("Recipe", "seed 0", "logit of star", "not the paper's", f"# {name}\n"):
        assert words in told, words
    percent = name.rpartition("_")[2]
    assert (f"{percent}% had a red dot" in told) == percent.isdigit()


def test_a_card_is_of_the_run_that_saved_these_weights(tmp_path: Path) -> None:
    weights = FOLDER / "mini_classifier" / "model.safetensors"
    saved = tmp_path / "classification" / "run" / "model"
    saved.mkdir(parents=True)
    (saved / "model.safetensors").write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(VlgroundError, match=r"no run under .* saved these weights"):
        card("mini_classifier", tmp_path, weights)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_its_experiment_trains_what_its_name_says(name: str) -> None:
    node = composed(f"experiment={name.replace('mini', 'miniature', 1)}")
    percent = name.rpartition("_")[2]
    assert node["task"]["data"]["poison"] == (int(percent) / 100 if percent.isdigit() else 0)
    assert node["task"]["data"]["split"] == "train"
    assert (node["dataset"]["split"], node["model"]["checkpoint"]) == ("val", None)


def test_a_sweep_from_the_command_line_tells_them_apart(tmp_path: Path) -> None:
    options = ["experiment=miniature_classifier_scores", "dataset.samples=16", "logger=none"]
    options += ["model=mini_classifier,mini_classifier_poison_95", "task.overlays=1"]
    vlground(*options, cwd=tmp_path)
    found = {one["choices"]["model"]: one for one in results(tmp_path / "runs")}
    deltas = {name: one["scores"]["delta_logit"]["value"] for name, one in found.items()}
    assert deltas["mini_classifier_poison_95"] > deltas["mini_classifier"] + 1
    assert found["mini_classifier"]["shortcut"]["target"] == "star"
    assert "2 done already" in vlground(*options, cwd=tmp_path)


# EfficientNet with a head for other classes.


def efficientnet(**changes: Any) -> Any:
    return build({**composed("model=shapes_efficientnet_lite0")["model"], **changes})


def test_other_classes_get_a_new_head_on_the_weights_of_imagenet() -> None:
    torch.manual_seed(3)
    made, plain = efficientnet(), build(composed("model=efficientnet_lite0")["model"])
    torch.manual_seed(3)
    again = efficientnet()
    head, body = "classifier.weight", "conv_head.weight"
    weights, same, other = (one.network.state_dict() for one in (made, again, plain))
    assert weights[head].shape == (8, 1280)
    assert torch.equal(weights[head], same[head])
    assert torch.equal(weights[body], other[body])
    random = efficientnet(pretrained=False).network.state_dict()
    assert not torch.equal(weights[body], random[body])
    assert not torch.equal(weights[head], random[head])


def test_a_checkpoint_takes_the_place_of_the_package(tmp_path: Path) -> None:
    made = efficientnet(pretrained=False)
    save_weights(made.network, tmp_path / "model.safetensors")
    file = str(tmp_path / "model.safetensors")
    loaded = efficientnet(checkpoint=file, sha256="of another package")
    for name, tensor in loaded.network.state_dict().items():
        assert torch.allclose(tensor.float(), made.network.state_dict()[name].float(), atol=1e-2), (
            name
        )
    with pytest.raises(VlgroundError, match="does not fit the architecture"):
        efficientnet(checkpoint=file, classes=["a", "b"])
