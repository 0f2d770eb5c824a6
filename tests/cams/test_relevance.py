"""Rollout, generic attention and LeGrad against loops over what plain models attend to."""

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from tests.cams.plain import Read, close, of_blip, of_vit
from tests.cams.scenes import Scene, blip, clip, phrases
from tests.scorers import TinyBlip
from torch import nn

from vlground.cams.legrad import LeGrad
from vlground.cams.relevance import GenericAttention, Rollout
from vlground.contracts import CAM, TargetLayer, check_pair
from vlground.errors import ImpossiblePairError, VlgroundError
from vlground.models.classifier import ImageClassifier
from vlground.preprocess import Preprocess
from vlground.testing import check_cam

STREAMS = {"cross": (False, False), "text": (True, False), "vision": (True, True)}
Fuse = Callable[[np.ndarray, np.ndarray], np.ndarray]


@pytest.fixture(scope="module", params=STREAMS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return blip(*STREAMS[request.param])


def vit(class_token: bool) -> Scene:
    """timm's, with weights large enough for attention that is far from uniform."""
    torch.manual_seed(0)
    pool = "token" if class_token else "avg"
    network = timm.create_model(
        "test_vit", img_size=64, class_token=class_token, global_pool=pool, depth=3
    )
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.15)
    for block in network.blocks:
        block.attn.fused_attn = False
    names = [f"blocks.{i}.attn.attn_drop" for i in range(3)]
    scorer = ImageClassifier(network, Preprocess(size=64), attention=names)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    texts, targets = ["Egyptian cat", "beer glass", "goldfish"], (285, 441, 1)
    return Scene(scorer, pixels, texts, network, targets=targets)


def names_of(scene: Scene) -> list[str]:
    layers = [layer for layer in scene.scorer.target_layers if layer.kind != "features"]
    return [layer.name.removesuffix(".attn.attn_drop") for layer in layers]


def chefer(read: Read, names: list[str], normalise: bool = True) -> np.ndarray:
    """The paper's equations one by one, with both modalities; the first text token's row."""
    t, n = read["crossattention.0"][0].shape[1:]
    tt, ii, ti, it = np.eye(t), np.eye(n), np.zeros((t, n)), np.zeros((n, t))

    def bar(matrix: np.ndarray) -> np.ndarray:
        if not normalise:
            return matrix
        rest = matrix - np.eye(len(matrix))  # eq. 8
        for row in rest:
            if row.sum() > 0:
                row /= row.sum()
        return rest + np.eye(len(matrix))  # eq. 9

    for name in names:
        attention, gradient = read[name]
        a = np.maximum(gradient * attention, 0).mean(axis=0)  # eq. 5
        if name.startswith("vision"):
            ii, it = ii + a @ ii, it + a @ it  # eqs 6, 7
        elif name.startswith("text"):
            tt, ti = tt + a @ tt, ti + a @ ti
        else:
            ti, tt = ti + bar(tt).T @ a @ bar(ii), tt + a @ it  # eqs 10, 11
    return ti[0, 1:].reshape(4, 4)


def rollout(read: Read, names: list[str], fuse: str = "mean") -> np.ndarray:
    """Text and image tokens as nodes of one graph, a whole matrix a layer."""
    t, n = read["crossattention.0"][0].shape[1:]
    product = np.eye(t + n)
    for name in names:
        attention = getattr(read[name][0], fuse)(axis=0)
        step = np.eye(t + n)
        rows = slice(t, None) if name.startswith("vision") else slice(0, t)
        columns = slice(0, t) if name.startswith("text") else slice(t, None)
        step[rows, columns] += attention
        product = step / step.sum(axis=1, keepdims=True) @ product
    assert product.sum(axis=1) == pytest.approx(1)
    return product[0, t + 1 :].reshape(4, 4)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("start", [0, 2, -1])
def test_generic_attention_of_a_vlm(scene: Scene, start: int, normalise: bool) -> None:
    names = names_of(scene)[start:]
    expected = [chefer(of_blip(scene, row), names, normalise) for row in range(3)]
    close(scene.maps(GenericAttention(start, normalise)), expected)


@pytest.mark.parametrize("heads", ["mean", "max", "min"])
@pytest.mark.parametrize("start", [0, -3])
def test_rollout_of_a_vlm(scene: Scene, start: int, heads: str) -> None:
    names = names_of(scene)[start:]
    expected = [rollout(of_blip(scene, row), names, heads) for row in range(3)]
    close(scene.maps(Rollout(heads, start)), expected)


def test_normalising_makes_a_difference_where_text_tokens_attend_to_each_other() -> None:
    scene = blip(text=True)
    maps, raw = (scene.maps(GenericAttention(normalise=choice)) for choice in (True, False))
    assert (maps - raw).abs().max() > 0.05 * raw.max()


@pytest.mark.parametrize("layers", [None, 1, 2])
def test_legrad_of_a_vlm(scene: Scene, layers: int | None) -> None:
    expected = []
    for row in range(3):
        read, maps = of_blip(scene, row), []
        for name in [f"crossattention.{i}" for i in range(3)][-(layers or 3) :]:
            heads, tokens, _ = read[name][1].shape
            total = np.zeros(17)
            for head in range(heads):
                for token in range(tokens):
                    total += read[name][1][head, token].clip(0)
            maps.append(total[1:].reshape(4, 4) / (heads * tokens))
        expected.append(sum(maps) / len(maps))
    close(scene.maps(LeGrad(layers)), expected)


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("start", [0, -1])
def test_vision_transformers(class_token: bool, start: int) -> None:
    scene = vit(class_token)
    assert [layer.kind for layer in scene.scorer.target_layers].count("self_attention") == 3
    names, prefix = names_of(scene)[start:], int(class_token)
    steps: dict[CAM, Fuse] = {
        Rollout(start_layer=start): lambda a, g: (a.mean(axis=0) + np.eye(16 + prefix)) / 2,
        GenericAttention(start): lambda a, g: (
            np.maximum(a * g, 0).mean(axis=0) + np.eye(16 + prefix)
        ),
    }
    for cam, step in steps.items():
        expected = []
        for row in range(3):
            read, product = of_vit(scene, row), np.eye(16 + prefix)
            for name in names:
                product = step(*read[name]) @ product
            rows = product[0, 1:] if class_token else product.mean(axis=0)
            expected.append(rows.reshape(4, 4))
        maps = scene.maps(cam)
        if class_token or isinstance(cam, Rollout):
            close(maps, expected)
        else:  # nearly flat beside what every token is to itself
            np.testing.assert_allclose(maps, np.stack(expected), rtol=1e-5)
        same = torch.equal(maps[0], maps[2])
        assert same if isinstance(cam, Rollout) else not same


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("layers", [None, 1])
def test_legrad_of_vision_transformers(class_token: bool, layers: int | None) -> None:
    scene, expected = vit(class_token), []
    for row in range(3):
        read = of_vit(scene, row)
        each = [read[name][1].clip(0).mean(axis=(0, 1)) for name in names_of(scene)]
        mean = np.mean(each[-(layers or 3) :], axis=0)
        expected.append(mean[int(class_token) :].reshape(4, 4))
    close(scene.maps(LeGrad(layers)), expected)


@pytest.mark.parametrize("cam", [Rollout, GenericAttention, LeGrad])
def test_they_conform(cam: type[CAM]) -> None:
    for streams in STREAMS.values():
        check_cam(cam(), TinyBlip(*streams), phrases())


def test_a_text_that_never_meets_the_image_in_attention_is_left_out() -> None:
    scene = blip(text=True, vision=True)
    alone = blip(vision=True)
    keep = ("self_attention", "text_attention")
    for one in (scene, alone):
        layers = one.scorer.target_layers
        one.scorer.target_layers = tuple(layer for layer in layers if layer.kind in keep)
    assert len(scene.scorer.target_layers) == 2 * len(alone.scorer.target_layers)
    for cam in (Rollout(), GenericAttention(), LeGrad()):
        torch.testing.assert_close(scene.maps(cam), alone.maps(cam))


def test_what_does_not_fit_is_named() -> None:
    scene = blip(text=True)
    for start in (6, -7):
        with pytest.raises(VlgroundError, match=f"start_layer={start}: the model offers 6 "):
            scene.maps(Rollout(start_layer=start))
    with pytest.raises(VlgroundError, match="layers=4: the model offers 3 of cross_attention"):
        scene.maps(LeGrad(layers=4))
    with pytest.raises(VlgroundError, match="layers=0: expected a positive number"):
        LeGrad(layers=0)
    with pytest.raises(VlgroundError, match="heads=sum: expected one of mean, max, min"):
        Rollout(heads="sum")
    for cam in (Rollout(), GenericAttention(), LeGrad()):
        with pytest.raises(ImpossiblePairError, match="needs cross_attention or self_attention"):
            check_pair(clip().scorer, cam)


def test_tokens_that_are_the_image_alone_need_no_mask() -> None:
    scene = vit(class_token=False)
    layers = [layer for layer in scene.scorer.target_layers if layer.kind == "self_attention"]
    masked = [
        TargetLayer(one.name, one.module, one.kind, one.grid, torch.ones(16).bool())
        for one in layers
    ]
    for cam in (Rollout(), GenericAttention(), LeGrad()):
        expected = scene.maps(cam)
        scene.scorer.target_layers = tuple(masked)
        assert torch.equal(scene.maps(cam), expected)
        scene.scorer.target_layers = tuple(layers)
