"""Every option composes, resolves and points at something that exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf

from tests.models.matchers import write_vocabulary
from vlground.config import build
from vlground.errors import VlgroundError
from vlground.run import CONF

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
OPTIONS = [
    f"{path.parent.name}={path.stem}"
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name not in ("experiment", "method")
]
METHODS = sorted(path.stem for path in (CONF / "method").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def composed(*overrides: str) -> dict[str, Any]:
    """The resolved configuration; under `hydra`, its mode and sweep."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        whole = compose("run", list(overrides), return_hydra_config=True)
        config = compose("run", list(overrides))
    node = OmegaConf.to_container(config, resolve=True)
    assert isinstance(node, dict)
    return {"mode": whole.hydra.mode, "axes": dict(whole.hydra.sweeper.params or {}), **node}


def targets(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["_target_"]] if "_target_" in node else []
        return own + [t for value in node.values() for t in targets(value)]
    return [t for value in node for t in targets(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_composes_and_names_what_exists(option: str) -> None:
    node = composed(option)[option.split("=")[0]]
    for target in targets(node):
        assert callable(get_object(target))


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith(("cam=", "metric="))])
def test_cams_and_metrics_can_be_built(option: str) -> None:
    node = composed(option)[option.split("=")[0]]
    if "???" not in node.values():
        build(node)


RANDOM_WEIGHTS = ("resnet18", "resnet50", "vit_small", "swin_tiny")
CAPTIONERS = (  # see tests/captioners
    *("captioner", "captioner_file", "captioner_server", "captioner_shapes"),
    "captioner_shapes_links",
    *("mini_captioner", "mini_captioner_1", "mini_captioner_2"),
)
NAMED = ("timm", "torchvision", "transformers_classifier", "maxvit_t")  # see tests/models
CONTRASTIVE = {  # option -> its grid
    "clip_rn50x16": (12, 12),
    "clip_vit_b16": (14, 14),
    "clip_vit_l14": (16, 16),
}
GENERATIVE = {  # option -> its grid, and the layer in the middle
    "llava_1_5_7b": ((24, 24), 16),
    "llava_interleave_qwen_0_5b": ((27, 27), 12),
}
MATCHING = {  # option -> what names its weights
    "blip_base": "pretrained",
    "blip_large": "pretrained",
    "albef": "checkpoint",
    "albef_amc": "checkpoint",
}


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith("model=")])
def test_models_can_be_built(option: str) -> None:
    name = option.removeprefix("model=")
    if name in (*NAMED, *MATCHING, *CONTRASTIVE, *GENERATIVE, *CAPTIONERS, "siglip", "none"):
        pytest.skip("needs an architecture or minutes; built in tests/models")
    weights = ["model.pretrained=false"] if name in RANDOM_WEIGHTS else []
    scorer = build(composed(option, *weights)["model"])
    assert scorer.target_layers


@pytest.mark.parametrize("name", MATCHING)
def test_matching_models_of_the_real_sizes_can_be_built(name: str, tmp_path: Path) -> None:
    weights = [f"model.{MATCHING[name]}=null", f"model.tokenizer={write_vocabulary(tmp_path)}"]
    with torch.device("meta"):  # no memory, no time
        scorer = build(composed(f"model={name}", *weights)["model"])
    (default,) = [layer for layer in scorer.target_layers if layer.default]
    assert default.grid == (24, 24)
    assert default.name == ("crossattention.6" if "blip" in name else "crossattention.8")


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_clip_of_the_real_sizes_can_be_built(name: str) -> None:
    with torch.device("meta"):
        scorer = build(composed(f"model={name}", "model.pretrained=null")["model"])
    assert scorer.target_layers[-1].grid == CONTRASTIVE[name]


def test_siglip_of_the_real_size_can_be_built() -> None:
    weights = ["model.pretrained=null", "model.tokenizer=${miniature:word_level}"]
    with torch.device("meta"):
        scorer = build(composed("model=siglip", *weights)["model"])
    assert scorer.target_layers[-1].grid == (14, 14)


@pytest.mark.parametrize("name", GENERATIVE)
def test_generative_models_of_the_real_sizes_can_be_built(name: str) -> None:
    weights = ["model.pretrained=null", "model.tokenizer=${miniature:word_level}"]
    weights += ["model.answers=[yes,no]"]  # of that vocabulary
    with torch.device("meta"):
        scorer = build(composed(f"model={name}", *weights)["model"])
    (default,) = [layer for layer in scorer.target_layers if layer.default]
    grid, middle = GENERATIVE[name]
    assert (default.grid, default.name) == (grid, f"crossattention.{middle}")


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith("trainer=")])
def test_trainers_can_be_built(option: str, tmp_path: Path) -> None:
    needs_gpu = ("trainer=gpu", "trainer=fsdp", "trainer=deepspeed")
    if option in needs_gpu and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    build({**composed(option)["trainer"], "logger": False, "default_root_dir": str(tmp_path)})


def test_data_sets_and_callbacks_can_be_built() -> None:
    assert len(build(composed("dataset=photos")["dataset"])) == 14
    for node in composed()["callbacks"].values():
        build(node)


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith("dataset=")])
def test_data_sets_without_their_folder_say_what_it_holds(option: str) -> None:
    node = composed(option)["dataset"]
    if "root" not in node:
        pytest.skip("needs no folder")
    first = next(name for name in ("captions", "questions", "objects", "root") if name in node)
    with pytest.raises(VlgroundError, match=rf"^dataset\.{first}=None: expected .*"):
        build(node)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_pairs_a_model_with_its_cam_and_yields_to_the_command_line(name: str) -> None:
    node = composed(f"method={name}")
    if "gscorecam" in name:
        channels = 50 if name.startswith("mini") else 300
        assert node["cam"]["_target_"] == "vlground.cams.gscore.GScoreCAM"
        assert (node["cam"]["channels"], node["cam"]["weights"]) == (channels, "softmax_all")
    else:
        assert node["model"]["layer"] is not None, "a published pairing names its layer"
        assert node["cam"]["_target_"] == "vlground.cams.attention.AttentionGradCAM"
        assert node["cam"]["tokens"] == ("words" if name.startswith("blip") else "all")
    baseline = composed(f"method={name}", "cam=uniform")
    build(baseline["cam"])  # it has no option of the method's CAM
    assert baseline["cam"]["_target_"] == "vlground.cams.baselines.Uniform"
    assert baseline["model"] == node["model"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_composes_in_every_value_of_its_axes(name: str) -> None:
    node = composed(f"experiment={name}")
    if node["task"]["stage"] == "training":
        return  # one model, one run
    assert node["mode"].name == "MULTIRUN", "an experiment refuses to be one default run"
    for axis, values in node["axes"].items():
        for value in re.findall(r"\[[^\]]*\]|[^,]+", str(values)):
            composed(f"experiment={name}", f"{axis}={value}")


def test_options_begin_with_what_they_are_and_are_short() -> None:
    for path in CONF.glob("*/*.yaml"):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# "), path
        assert len(lines) <= 30, path


def test_the_metric_option_names_every_field_with_its_default() -> None:
    """A result records what is in the config, so nothing may be left to the class's default."""
    from dataclasses import asdict

    from vlground.metrics import QGroundCAM

    node = composed()["metric"]
    assert {k: v for k, v in node.items() if k != "_target_"} == asdict(QGroundCAM())


def test_configurations_hold_no_path() -> None:
    for path in Path(CONF).rglob("*.yaml"):
        assert str(Path.home()) not in path.read_text()
