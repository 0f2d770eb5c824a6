"""Ours against pytorch-grad-cam used the ordinary way: equal but for its min-max and resizing."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.cams.scenes import GRADIENT, SCENES, Scene, blip, resnet, samples
from tests.scorers import SIZE
from torch import Tensor, nn

from vlground.cams.eigen import EigenCAM
from vlground.cams.fullgrad import FullGrad
from vlground.cams.library import LibraryCAM, library_methods
from vlground.cams.score import ScoreCAM
from vlground.contracts import CAM
from vlground.models.classifier import ImageClassifier


class OneText(nn.Module):
    """A scorer with its text as an ordinary model, image in and `(n, 1)` out."""

    def __init__(self, scene: Scene, row: int) -> None:
        super().__init__()
        self.scorer, self.text = scene.scorer, scene.texts[row]

    def forward(self, pixels: Tensor) -> Tensor:
        rows = torch.arange(len(pixels))
        return self.scorer.score(self.scorer.encode(pixels), [self.text] * len(pixels), rows)[
            :, None
        ]


def reshape(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4))


def reshape_attention(attention: Tensor) -> Tensor:
    """Every head of every text token is a channel; the first image token is [CLS]."""
    return attention[..., 1:].flatten(1, 2).unflatten(2, (4, 4))


def reshape_words(attention: Tensor) -> Tensor:
    return reshape_attention(attention[:, :, 1:-1])


def theirs(
    scene: Scene, method: str, row: int, shape: Callable[[Tensor], Tensor] = reshape
) -> np.ndarray:
    """The library's map at the input's size, as its README has it; `shape` is of tokens."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    pixels = scene.pixels[scene.owner[row], None].clone().requires_grad_()  # weights are frozen
    if method == "ShapleyCAM":  # the library fails where the logit is linear in the layer
        layer = scene.scorer.target_layers[-1].module
        model, target, shape = OneText(scene, row), 0, None
    elif scene.network is not None:
        model, layer, target, shape = scene.network, scene.layer, scene.targets[row], None
    else:
        last = scene.scorer.target_layers[-1]
        layer = next((one for one in scene.scorer.target_layers if one.default), last).module
        model, target = OneText(scene, row), 0
    cam = library_methods()[method](model, [] if method == "FullGrad" else [layer], shape)
    drawn = cam(pixels, [ClassifierOutputTarget(target)])
    cam.activations_and_grads.release()
    return drawn[0]


def like_theirs(raw: Tensor, size: int) -> np.ndarray:
    """Our raw map normalised and resized as the library does it."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    return scale_cam_image(scale_cam_image(raw.numpy()[None], (size, size)))[0]


def assert_equal(scene: Scene, cam: CAM, method: str, atol: float = 2e-5) -> None:
    maps = scene.maps(cam)
    assert maps.dtype == torch.float32
    seen = 0
    for row, raw in enumerate(maps):
        expected = theirs(scene, method, row)
        seen += expected.max() > 0
        np.testing.assert_allclose(like_theirs(raw, len(expected)), expected, atol=atol)
    assert seen, "all maps are 0: nothing was compared"


@pytest.fixture(params=SCENES, scope="module")
def scene(request: pytest.FixtureRequest) -> Scene:
    return SCENES[request.param]()


@pytest.mark.parametrize("method", GRADIENT)
def test_gradient_family(scene: Scene, method: str) -> None:
    assert_equal(scene, GRADIENT[method](), method, atol=2e-4)


@pytest.mark.parametrize("tokens", ["all", "words"])
@pytest.mark.parametrize("method", GRADIENT)
def test_gradient_family_on_cross_attention(method: str, tokens: str) -> None:
    """The library draws one text at a time, without padding."""
    scene, shape = blip(), reshape_attention if tokens == "all" else reshape_words
    maps = scene.maps(GRADIENT[method](tokens=tokens))
    drawn = [theirs(scene, method, row, shape) for row in range(3)]
    assert max(one.max() for one in drawn) > 0.9
    for raw, expected in zip(maps, drawn, strict=True):
        np.testing.assert_allclose(like_theirs(raw, SIZE), expected, atol=2e-4)


def test_eigencam_up_to_the_sign_of_a_singular_vector(scene: Scene) -> None:
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    cam = EigenCAM()
    maps = scene.maps(cam).numpy()
    activation = cam.activation(scene.scorer, scene.encoded(), scene.texts, scene.owner).numpy()
    for row, projection in enumerate(get_2d_projection(activation)):
        signed = -projection if -projection.min() > projection.max() else projection
        np.testing.assert_allclose(maps[row], signed.clip(0), atol=1e-4 * signed.max())
        if signed is projection:
            expected = theirs(scene, "EigenCAM", row)
            ours = like_theirs(torch.from_numpy(maps[row]), len(expected))
            np.testing.assert_allclose(ours, expected, atol=2e-4)
    np.testing.assert_array_equal(maps[0], maps[2])  # texts of one image


def test_eigencam_of_the_paper_is_the_first_singular_vector_without_centring() -> None:
    scene = resnet()
    cam = EigenCAM(centre=False)
    cells = cam.activation(scene.scorer, scene.encoded(), scene.texts, scene.owner).flatten(2)
    maps = scene.maps(cam).flatten(1)
    # Of nonnegative activations the first singular vector has one sign: nothing is cut off.
    _, values, _ = torch.linalg.svd(cells)
    torch.testing.assert_close(maps.norm(dim=1), values[:, 0])
    gram = cells.transpose(1, 2) @ cells
    turned = (gram @ maps[:, :, None])[:, :, 0]
    torch.testing.assert_close(turned, values[:, :1] ** 2 * maps, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["resnet", "clip"])
def test_scorecam(name: str) -> None:
    assert_equal(SCENES[name](), ScoreCAM(), "ScoreCAM", atol=1e-4)


def test_scorecam_on_real_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shallow layer of few channels, so that the library's loop ends in seconds."""
    scene = SCENES["lite0"]()
    scene.scorer = ImageClassifier(scene.network, scene.scorer.preprocess, layer="blocks.2")
    scene.layer = scene.network.get_submodule("blocks.2")
    monkeypatch.setattr(Scene, "owner", torch.tensor([0]))
    scene.texts = scene.texts[:1]
    maps = ScoreCAM()(scene.scorer, scene.encoded(), scene.texts, scene.owner, samples((0,)))
    expected = theirs(scene, "ScoreCAM", 0)
    assert expected.max() > 0
    np.testing.assert_allclose(like_theirs(maps[0], 224), expected, atol=2e-4)


def test_fullgrad() -> None:
    assert_equal(resnet(), FullGrad(), "FullGrad", atol=1e-4)


@pytest.mark.parametrize("method", [*GRADIENT, "EigenCAM", "FEM", "KPCA_CAM", "EigenGradCAM"])
def test_the_adapter_draws_what_the_library_draws(scene: Scene, method: str) -> None:
    assert_equal(scene, LibraryCAM(method), method, atol=2e-4)


@pytest.mark.parametrize("method", ["ScoreCAM", "AblationCAM", "ShapleyCAM"])
def test_the_adapter_draws_what_the_library_draws_of_the_slow_ones(method: str) -> None:
    assert_equal(resnet(), LibraryCAM(method), method, atol=2e-4)
