"""Every `BaseCAM` of the installed pytorch-grad-cam, through the one adapter."""

import importlib
import pkgutil

import numpy as np
import pytest
import torch
from tests.cams.scenes import SCENES, samples
from tests.scorers import SIZE, PatchScorer

from vlground.cams.library import LibraryCAM, library_methods
from vlground.errors import ImpossiblePairError, VlgroundError

# A second AblationCAM for several layers, of an older interface: not exported, and it cannot run.
NOT_EXPORTED = {"pytorch_grad_cam.ablation_cam_multilayer.AblationCAM"}
# FullGrad differentiates convolution biases, which the CLIP does not have.
IMPOSSIBLE = {("clip", "FullGrad"), ("efficientnet", "FullGrad")}


def subclasses() -> set[str]:
    import pytorch_grad_cam
    from pytorch_grad_cam.base_cam import BaseCAM

    found = set()
    for module in pkgutil.walk_packages(pytorch_grad_cam.__path__, "pytorch_grad_cam."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, BaseCAM) and value is not BaseCAM:
                found.add(f"{value.__module__}.{value.__name__}")
    return found


def test_all_methods_are_offered() -> None:
    offered = {f"{c.__module__}.{c.__name__}" for c in library_methods().values()}
    assert offered == subclasses() - NOT_EXPORTED
    assert len(offered) >= 16


@pytest.mark.parametrize("model", ["resnet", "efficientnet", "clip"])
@pytest.mark.parametrize("method", sorted(library_methods()))
def test_every_method_runs(model: str, method: str, capfd: pytest.CaptureFixture[str]) -> None:
    scene, cam = SCENES[model](), LibraryCAM(method)
    if (model, method) in IMPOSSIBLE:
        with pytest.raises(ImpossiblePairError):
            scene.maps(cam)
        return
    state = np.random.get_state()[1].copy()
    hooks = [len(module._forward_hooks) for module in scene.scorer.modules()]
    names = [name for name, _ in scene.scorer.named_modules()]
    maps = scene.maps(cam)
    grid = scene.pixels.shape[-2:] if method == "FullGrad" else scene.scorer.target_layers[-1].grid
    assert maps.shape == (3, *grid)
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert maps.min() >= 0
    if method != "RandomCAM":  # random weights may be negative enough for a map of 0
        assert maps.amax(dim=(1, 2)).tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    assert cam.normalised
    torch.testing.assert_close(scene.maps(cam, (1,))[0], maps[1])
    assert hooks == [len(module._forward_hooks) for module in scene.scorer.modules()]
    assert names == [name for name, _ in scene.scorer.named_modules()]
    assert all(parameter.grad is None for parameter in scene.scorer.parameters())
    assert (np.random.get_state()[1] == state).all()
    assert capfd.readouterr().err == "", "progress bars"


@pytest.mark.parametrize("options", [{"eigen_smooth": True}, {"aug_smooth": True}], ids=str)
def test_smoothing_changes_the_map(options: dict[str, bool]) -> None:
    scene = SCENES["resnet"]()
    smooth, plain = scene.maps(LibraryCAM("GradCAM", **options)), scene.maps(LibraryCAM("GradCAM"))
    assert smooth.shape == plain.shape
    assert (smooth - plain).abs().max() > 0.05


def test_random_maps_come_from_the_sample_id() -> None:
    scene, cam = SCENES["resnet"](), LibraryCAM("RandomCAM")
    np.random.seed(1)
    first = scene.maps(cam)
    np.random.seed(2)
    assert torch.equal(scene.maps(cam), first)
    assert not torch.equal(first[0], first[2])


def test_works_in_inference_mode() -> None:
    scene, cam = SCENES["resnet"](), LibraryCAM("GradCAM")
    outside = scene.maps(cam)
    with torch.inference_mode():
        encoded = scene.scorer.encode(scene.pixels.clone())
        inside = cam(scene.scorer, encoded, scene.texts, scene.owner, samples())
    assert torch.equal(inside, outside)


def test_an_unknown_method_is_answered_with_the_known_ones() -> None:
    with pytest.raises(VlgroundError, match=r"cam.method=FinerCAM: .*AblationCAM, .*XGradCAM"):
        LibraryCAM("FinerCAM")


def test_a_failure_of_the_library_is_one_line_and_leaves_no_hook() -> None:
    """ShapleyCAM cannot take a score that is linear in the layer."""
    scorer = PatchScorer()
    encoded = scorer.encode(torch.rand(1, 3, SIZE, SIZE))
    with pytest.raises(VlgroundError, match=r"cam\.method=ShapleyCAM: the library fails: "):
        LibraryCAM("ShapleyCAM")(scorer, encoded, ["1 2"], torch.tensor([0]), samples((0,)))
    assert not scorer.tap._forward_hooks


def test_no_evidence_is_a_map_of_zero() -> None:
    scorer = PatchScorer()
    encoded = scorer.encode(-torch.ones(1, 3, SIZE, SIZE))
    maps = LibraryCAM("GradCAM")(scorer, encoded, ["1 2"], torch.tensor([0]), samples((0,)))
    assert not maps.any()
