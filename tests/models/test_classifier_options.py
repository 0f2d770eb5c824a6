"""What a user may ask of a classifier by configuration, and what is answered to mistakes."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.models.classifiers import CLASSES, SIZE, saved_transformers
from torch import Tensor, nn

from vlground.config import build
from vlground.contracts import Scorer
from vlground.errors import VlgroundError
from vlground.identity import checksums
from vlground.models.checkpoint import load_checkpoint
from vlground.models.class_names import ClassNames
from vlground.models.timm_classifier import TimmClassifier
from vlground.models.torchvision_classifier import TorchvisionClassifier
from vlground.models.transformers_classifier import TransformersClassifier, of_processor
from vlground.preprocess import Preprocess

CONF = Path(__file__).parents[2] / "conf" / "model"
SMALL = Preprocess(size=SIZE)


def option(name: str, **changes: object) -> dict[str, Any]:
    import yaml

    return {**yaml.safe_load((CONF / f"{name}.yaml").read_text()), **changes}


def resnet(**options: Any) -> TimmClassifier:
    defaults = {"pretrained": False, "preprocess": SMALL, "classes": CLASSES}
    return TimmClassifier("resnet10t", **{**defaults, **options})


def weights(seed: int = 3) -> dict[str, Tensor]:
    import timm

    torch.manual_seed(seed)
    return timm.create_model("resnet10t", num_classes=len(CLASSES)).state_dict()


@pytest.mark.parametrize(
    ("name", "layer", "grid"),
    [
        ("resnet18", "layer4", 7),
        ("resnet50", "layer4", 7),
        ("vit_small", "blocks.11.norm1", 14),
        ("swin_tiny", "norm", 7),
        ("maxvit_t", "blocks.3", 7),
    ],
)
def test_ready_options(name: str, layer: str, grid: int) -> None:
    scorer: Scorer = build(option(name, pretrained=False))
    (target,) = scorer.target_layers
    assert (target.name, target.grid) == (layer, (grid, grid))
    assert scorer.knows("cat")
    assert not scorer.knows("person")


def test_any_name() -> None:
    scorer = build(option("timm", architecture="test_vit", pretrained=False))
    assert scorer.preprocess.size == 160
    assert scorer.target_layers[0].grid == (10, 10)
    scorer = build(
        option("torchvision", architecture="shufflenet_v2_x0_5", pretrained=False, classes=CLASSES)
    )
    assert scorer.preprocess == Preprocess(224, "centre_crop", 224 / 256, "bilinear")
    assert scorer.target_layers[0].name == "conv5"


def test_transformers_from_a_folder(tmp_path: Path) -> None:
    folder = saved_transformers("vit", tmp_path / "model")
    scorer = build(option("transformers_classifier", pretrained=str(folder)))
    assert scorer.preprocess == Preprocess(
        SIZE, "squash", 1.0, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    )
    assert scorer.knows("space shuttle")
    assert not scorer.knows("cat")
    other = TransformersClassifier(str(folder), classes=list("abcdef"), preprocess=SMALL)
    assert other.preprocess is SMALL
    assert other.knows("f")


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"size": {"height": 224, "width": 224}}, (224, "squash", 1.0)),
        (
            {
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
            },
            (224, "centre_crop", 0.875),
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, "centre_crop", 0.875)),
        ({"size": {"shortest_edge": 384}, "crop_pct": None}, (384, "squash", 1.0)),
    ],
)
def test_image_processors(processor: dict[str, Any], expected: tuple[object, ...]) -> None:
    common = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3}
    found = of_processor({**common, **processor})
    assert (found.size, found.resize, found.crop_fraction) == expected
    assert found.interpolation == "bicubic"
    with pytest.raises(VlgroundError, match=r"model\.preprocess: give one"):
        of_processor({**common, "size": {"shortest_edge": 224}})


@pytest.mark.parametrize("wrap", ["", "state_dict", "model", "prefix", "lightning", "safetensors"])
def test_checkpoints(wrap: str, tmp_path: Path) -> None:
    import timm

    state = weights()
    file = tmp_path / ("weights.safetensors" if wrap == "safetensors" else "weights.pth")
    if wrap == "safetensors":
        save_file(state, file)
    elif wrap == "prefix":
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, file)
    elif wrap == "lightning":
        inner = {f"network.{name}": tensor for name, tensor in state.items()}
        torch.save({"state_dict": inner, "epoch": 3}, file)
    else:
        torch.save({wrap: state, "epoch": 3} if wrap else state, file)
    scorer = resnet(checkpoint=str(file))
    network = timm.create_model("resnet10t", num_classes=len(CLASSES)).eval()
    network.load_state_dict(state)
    pixels = torch.randn(1, 3, SIZE, SIZE)
    owner = torch.tensor([0])
    torch.testing.assert_close(scorer.logits(scorer.encode(pixels), owner), network(pixels))


class Code:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("ran"),))


def test_bad_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = weights()
    lacking = {name: tensor for name, tensor in state.items() if not name.startswith("layer1")}
    cases = {
        "lacking": (lacking, r"missing: layer1\.0\.conv1\.weight.* and \d+ more$"),
        "strange": ({**state, "x.y": torch.zeros(1)}, r"unexpected: x\.y$"),
        "other": (
            {**state, "fc.weight": torch.zeros(9, 512)},
            r"of another shape: fc\.weight \(9, 512\) for \(6, 512\)$",
        ),
        "whole": ({"epoch": 3}, r"not tensors: epoch$"),
        "list": ([1, 2], "holds no names and tensors"),
        "code": ({"state_dict": Code()}, "not a file of tensors alone"),
        "network": (nn.Linear(2, 2), "not a file of tensors alone"),
    }
    for name, (content, message) in cases.items():
        torch.save(content, tmp_path / f"{name}.pth")
        with pytest.raises(VlgroundError, match=message):
            resnet(checkpoint=str(tmp_path / f"{name}.pth"))
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Code()))
    (tmp_path / "noise.pth").write_bytes(b"no weights")
    (tmp_path / "noise.safetensors").write_bytes(b"no weights at all")
    for name in ("bare.pth", "noise.pth", "noise.safetensors", "absent.pth", "absent.safetensors"):
        with pytest.raises(VlgroundError, match=rf"model\.checkpoint=.*{name}: "):
            load_checkpoint(nn.Linear(2, 2), str(tmp_path / name))
    assert not (tmp_path / "ran").exists()


def test_checksums(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    first.write_bytes(b"1")
    second.write_bytes(b"1")
    node = {"_target_": "x", "checkpoint": str(first), "pretrained": False, "classes": ["a"]}
    sums = checksums(node)
    assert set(sums) == {"checkpoint", "pretrained"}
    assert sums == checksums({**node, "checkpoint": str(second)})  # not where it lies
    second.write_bytes(b"2")
    os.utime(second, ns=(0, 1))
    assert sums != checksums({**node, "checkpoint": str(second)})  # but what it is
    assert sums != checksums({**node, "pretrained": True})
    folder = checksums({"pretrained": str(tmp_path)})
    assert len(folder["pretrained"]) == 64
    second.write_bytes(b"three")
    assert folder != checksums({"pretrained": str(tmp_path)})


def test_class_names(tmp_path: Path) -> None:
    files = {
        "names.txt": "\n".join(CLASSES) + "\n\n",
        "names.json": json.dumps(CLASSES),
        "index.json": json.dumps({str(5 - i): name for i, name in enumerate(CLASSES[::-1])}),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        names = ClassNames(str(tmp_path / name))
        assert names.count == 6
        assert [list(names.indices(text)) for text in ("Tabby", "space shuttle", "cat")] == [
            [2], [4], [],
        ]  # fmt: skip
    assert list(ClassNames(None).indices("beagle")) == [162]
    (tmp_path / "bad.json").write_text('{"cat": 0}')
    (tmp_path / "empty.txt").write_text("")
    for bad in ("bad.json", "empty.txt", "absent.txt", "names.csv"):
        with pytest.raises(VlgroundError, match=rf"model\.classes=.*{bad}: "):
            ClassNames(str(tmp_path / bad))


def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    import torchvision

    def offline(*arguments: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", offline)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "empty").mkdir()
    headless = saved_transformers("vit", tmp_path / "headless")
    from transformers import ViTForImageClassification

    ViTForImageClassification.from_pretrained(headless).vit.save_pretrained(headless)
    nameless = saved_transformers("resnet", tmp_path / "nameless")
    config = json.loads((nameless / "config.json").read_text())
    config["id2label"] = {str(i): f"LABEL_{i}" for i in range(6)}
    (nameless / "config.json").write_text(json.dumps(config))
    cases = [
        (r"model\.architecture=resnet999: timm", lambda: TimmClassifier("resnet999")),
        (r"model\.pretrained=True.*model\.checkpoint", lambda: TimmClassifier("resnet10t")),
        (r"model\.checkpoint: needs", lambda: resnet(pretrained=True, checkpoint="x")),
        (r"model\.attention=true", lambda: resnet(attention=True)),
        (r"model\.architecture=frcnn", lambda: TorchvisionClassifier("frcnn")),
        (r"model\.weights=V9: torchvision has IMAGENET1K_V1",
         lambda: TorchvisionClassifier("resnet18", "V9")),
        (r"model\.pretrained=True", lambda: TorchvisionClassifier("resnet18")),
        (r"model\.checkpoint: needs", lambda: TorchvisionClassifier("resnet18", checkpoint="x")),
        (r"model\.pretrained=nobody/nothing", lambda: TransformersClassifier("nobody/nothing")),
        (r"model\.pretrained=.*empty", lambda: TransformersClassifier(str(tmp_path / "empty"))),
        (r"lack classifier\.bias", lambda: TransformersClassifier(str(headless))),
        (r"no names; give model\.classes", lambda: TransformersClassifier(str(nameless))),
    ]  # fmt: skip
    for message, make in cases:
        with pytest.raises(VlgroundError, match=message) as raised:
            make()
        assert "\n" not in str(raised.value)
