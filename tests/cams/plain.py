"""Attention and its gradients of plain models, one text at a time: what CAMs are compared with."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from tests.cams.scenes import Scene
from tests.scorers import tokenize
from torch import Tensor, nn

# Name of a layer -> attention and gradient, each (heads, to, from), float64.
Read = dict[str, tuple[np.ndarray, np.ndarray]]


def of_blip(scene: Scene, row: int) -> Read:
    """Of transformers' own `BlipForImageTextRetrieval`, as its user would run it."""
    blip = copy.deepcopy(scene.scorer.blip).double().requires_grad_()
    modules: dict[str, nn.Module] = {}
    for i, layer in enumerate(blip.vision_model.encoder.layers):
        modules[f"vision.{i}"] = layer.self_attn
    for i, layer in enumerate(blip.text_encoder.encoder.layer):
        modules[f"text.{i}"] = layer.attention.self
        modules[f"crossattention.{i}"] = layer.crossattention.self
    ids, mask = tokenize([scene.texts[row]])
    pixels = scene.pixels[scene.owner[row], None].double().requires_grad_()
    with kept(modules, lambda output: output[1]) as attention:
        score = blip(input_ids=ids, pixel_values=pixels, attention_mask=mask).itm_score[0, 1]
    return differentiated(attention, score)


def of_vit(scene: Scene, row: int) -> Read:
    """Of a timm ViT without the fused kernel."""
    network = copy.deepcopy(scene.network).double()
    for module in network.modules():
        module._forward_hooks.clear()  # those of our scorer
    modules = {f"blocks.{i}": block.attn.attn_drop for i, block in enumerate(network.blocks)}
    pixels = scene.pixels[scene.owner[row], None].double().requires_grad_()
    with kept(modules, lambda output: output) as attention:
        score = network(pixels)[0, scene.targets[row]]
    return differentiated(attention, score)


@contextmanager
def kept(modules: dict[str, nn.Module], of: Callable[..., Tensor]) -> Iterator[dict[str, Tensor]]:
    attention: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(
            lambda m, i, output, name=name: attention.update({name: of(output)})
        )
        for name, module in modules.items()
    ]
    yield attention
    for handle in handles:
        handle.remove()


def differentiated(attention: dict[str, Tensor], score: Tensor) -> Read:
    gradients = torch.autograd.grad(score, list(attention.values()))
    return {
        name: (attention[name][0].detach().numpy(), gradient[0].numpy())
        for name, gradient in zip(attention, gradients, strict=True)
    }


def close(maps: Tensor, expected: list[np.ndarray], tolerance: float = 1e-4) -> None:
    """Whether float32 maps are the float64 ones, none of which is flat."""
    assert maps.shape == (len(expected), *expected[0].shape)
    assert maps.dtype == torch.float32
    for ours, one in zip(maps.numpy(), expected, strict=True):
        scale = np.abs(one).max()
        assert np.ptp(one) > 0.05 * scale > 0
        np.testing.assert_allclose(ours, one, rtol=0, atol=tolerance * scale)
