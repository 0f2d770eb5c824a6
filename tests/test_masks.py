"""Masks beside the authors' path computed literally, and what every control promises."""

from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from matplotlib import colormaps
from omegaconf import OmegaConf
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from vlground.config import build
from vlground.contracts import Mask
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.geometry import Frame
from vlground.masks.controls import Black, Complement, Full, RandomPlace
from vlground.masks.relevance import maskable, relevance
from vlground.masks.soft import Crop, Overlay, Sigmoid
from vlground.run import CONF

SIZES = [(224, 224), (100, 150), (375, 500)]
PEAK = torch.zeros(7, 7).index_put_((torch.tensor(2), torch.tensor(5)), torch.tensor(3.0))


def picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def grids(count: int, side: int = 7) -> torch.Tensor:
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(side))


def sample(name: str = "a") -> Sample:
    return Sample(name, name, np.zeros((1, 1, 3), np.uint8), "cat")


def resized(grid: torch.Tensor, width: int, height: int) -> np.ndarray:
    """The authors' min-max and Pillow's resizing."""
    raw = grid.numpy()
    values = (raw - raw.min()) / (raw.max() - raw.min() + 1e-8)
    heat = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.BICUBIC)
    return np.array(heat)


def literal(image: np.ndarray, grid: torch.Tensor, alpha: float, beta: float) -> np.ndarray:
    """The masked image as the authors' code makes it."""
    mask = 1 / (1 + np.exp(alpha * (beta - resized(grid, image.shape[1], image.shape[0]))))
    return (image * mask[..., None]).astype(np.uint8)


@pytest.mark.parametrize(("alpha", "beta"), [(25, 0.6), (15, 0.7), (30, 0.3)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_sigmoid_is_the_authors(size: tuple[int, int], alpha: float, beta: float) -> None:
    image, frame = picture(*size), Frame.squash(*size, 224)
    mask = Sigmoid(alpha, beta, clip=False)
    for grid in grids(8):
        expected = literal(image, 5 * grid - 1, alpha, beta).astype(int)
        drawn = mask(image, 5 * grid - 1, frame, sample())
        assert drawn.dtype == np.uint8
        different = np.abs(drawn - expected)
        assert different.max() <= 1
        assert (different > 0).mean() < 1e-3, "where the product is all but whole"


def test_clipping_hardly_matters_at_the_papers_alpha_and_beta() -> None:
    image, frame = picture(224, 224), Frame.squash(224, 224, 224)
    block = torch.zeros(7, 7)
    block[2:4, 2:4] = 1
    assert relevance(block, frame, clip=False).max() > 1.2, "bicubic overshoots"

    def change(alpha: float, beta: float) -> int:
        drawn = Sigmoid(alpha, beta)(image, block, frame, sample())
        return int(np.abs(drawn - literal(image, block, alpha, beta).astype(int)).max())

    assert change(25, 0.6) <= 1
    assert change(15, 0.7) > 1


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_overlay_is_torchcams(size: tuple[int, int]) -> None:
    image, frame = picture(*size), Frame.squash(*size, 224)
    for grid in grids(4):
        heat = resized(grid, size[1], size[0])
        colours = (255 * colormaps["jet"](heat**2)[:, :, :3]).astype(np.uint8)
        expected = (0.5 * image + 0.5 * colours).astype(np.uint8).astype(int)
        drawn = Overlay(clip=False)(image, grid, frame, sample())
        different = np.abs(drawn - expected).max(axis=2)
        assert (different > 1).mean() < 1e-3, "values at the edge between two colours"
        assert different.max() <= 4, "the next colour"


def test_the_opacity_is_of_the_image() -> None:
    image, frame = picture(70, 90), Frame.squash(70, 90, 224)
    assert (Overlay(opacity=1)(image, PEAK, frame, sample()) == image).all()
    colours = Overlay(opacity=0)(image, PEAK, frame, sample())
    mixed = Overlay(opacity=0.25)(image, PEAK, frame, sample())
    np.testing.assert_allclose(mixed, 0.25 * image + 0.75 * colours, atol=1)


def test_undershoot_does_not_light_up() -> None:
    frame = Frame.squash(70, 70, 224)
    glow, clipped = (Overlay(clip=clip).weights(PEAK, frame, sample()) for clip in (False, True))
    outside = resized(PEAK, 70, 70) < -0.05
    assert outside.any()
    assert (glow[outside] > 0).all()
    assert (clipped[outside] == 0).all()
    assert torch.allclose(Overlay(square=False).weights(PEAK, frame, sample()).square(), clipped)


def test_v_lies_in_0_to_1() -> None:
    frame = Frame.squash(90, 120, 224)
    for grid in grids(4) - 0.5:
        for resize in ("bicubic", "bilinear", "nearest"):
            v = relevance(grid, frame, "image", resize, clip=False)
            assert v.shape == (90, 120)
            assert (float(v.min()), float(v.max())) == pytest.approx((0, 1), abs=1e-6)
            clipped = relevance(grid, frame, "native", resize)
            assert clipped.min() >= 0
            assert clipped.max() <= 1
        assert relevance(grid, frame, clip=False).min() < -0.001
    assert set(relevance(PEAK, frame, resize="nearest").flatten().tolist()) == {0, 1}


def test_a_map_finer_than_the_image() -> None:
    grid = grids(1, side=100)[0]
    v = relevance(grid, Frame.squash(40, 30, 224), clip=False)
    np.testing.assert_allclose(v, resized(grid, 30, 40), atol=1e-5)


def test_the_map_lies_where_the_model_looked() -> None:
    grid = grids(1)[0]
    cropped = relevance(grid, Frame.centre_crop(100, 200, 50), clip=False)
    np.testing.assert_allclose(cropped[:, 50:150], resized(grid, 100, 100), atol=1e-5)
    assert (cropped[:, :50] == 0).all()
    assert (cropped[:, 150:] == 0).all()
    padded = relevance(grid, Frame.letterbox(50, 100, 100), clip=False)
    np.testing.assert_allclose(padded, resized(grid, 100, 100)[25:75], atol=1e-5)
    image = relevance(grid - 0.3, Frame.centre_crop(100, 200, 50), "image", "bilinear")
    assert (image[:, :50] == 0).all()
    assert float(image[:, 50:150].max()) == 1, "extremes of what was seen"


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (torch.full((2, 2), torch.nan), "not_finite"),
        (torch.tensor([[0.0, torch.inf]]), "not_finite"),
        (torch.zeros(2, 2), "not_positive"),
        (torch.tensor([[-2.0, -1.0]]), "not_positive"),
        (torch.ones(2, 2), "constant"),
        (torch.zeros(0, 0), "not_finite"),
    ],
)
def test_what_shows_nothing_is_never_masked(grid: torch.Tensor, reason: str) -> None:
    assert maskable(grid) == reason
    with pytest.raises(ValueError, match=reason):
        Sigmoid().weights(grid, Frame.squash(9, 9, 224), sample())


def test_what_fills_the_hidden_part() -> None:
    image, frame = picture(70, 90), Frame.squash(70, 90, 224)
    hidden = (Sigmoid().weights(PEAK, frame, sample()) < 1e-3).numpy()
    shown = (Sigmoid().weights(PEAK, frame, sample()) > 0.99995).numpy()
    assert hidden.any()
    assert (Sigmoid()(image, PEAK, frame, sample())[hidden] == 0).all()
    grey = Sigmoid(fill="grey", rounding="nearest")(image, PEAK, frame, sample())
    assert (grey[hidden] == 128).all()
    nearest = Sigmoid(clip=False, rounding="nearest")(image, PEAK, frame, sample())
    assert (nearest[shown] == image[shown]).all(), "truncation would take one grey"
    little = Sigmoid(fill="blur", blur=0.03, rounding="nearest")(image, PEAK, frame, sample())
    soft = np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.03 * 90)))
    assert (little[hidden] == soft[hidden]).all()
    smooth = np.array(Image.fromarray(image).resize((45, 35)).resize((91, 71)))
    away = np.s_[20:-20, 20:-20]  # from the edges, where every library does otherwise
    for blur in (0.05, 0.1):
        much = Sigmoid(fill="blur", blur=blur, rounding="nearest").render(
            smooth, torch.zeros(71, 91)
        )
        sigma = (blur * 91, blur * 91, 0)
        expected = gaussian_filter(smooth.astype(float), sigma, mode="nearest")
        assert np.abs(much - expected)[away].max() < 4, blur
    read_only = image.copy()
    read_only.flags.writeable = False
    assert (Sigmoid()(read_only, PEAK, frame, sample()) <= image).all()


def test_the_crop_encloses_what_is_shown() -> None:
    image, frame = picture(70, 90), Frame.squash(70, 90, 224)
    rows, columns = np.nonzero(Sigmoid().weights(PEAK, frame, sample()).numpy() >= 0.5)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    crop = Crop(Sigmoid())
    assert (crop(image, PEAK, frame, sample()) == image[box]).all()
    shown = crop.weights(PEAK, frame, sample())
    assert shown.sum() == shown[box].numel() == shown[box].sum()
    faint = Crop(Sigmoid(alpha=1, beta=1, resize="nearest"))
    assert faint(image, PEAK, frame, sample()).shape == (10, 13, 3), "the one cell, of v = beta"
    fainter = Crop(Sigmoid(alpha=1, beta=1, resize="bilinear"))
    assert fainter.of.weights(PEAK, frame, sample()).max() < 0.5
    assert fainter(image, PEAK, frame, sample()).shape == (2, 1, 3), "what it shows most"


def test_black_full_and_complement() -> None:
    image, frame = picture(70, 90), Frame.squash(70, 90, 224)
    assert (Black()(image, PEAK, frame, sample()) == 0).all()
    assert (Full()(image, PEAK, frame, sample()) == image).all()
    shown = Sigmoid().weights(PEAK, frame, sample())
    assert torch.equal(Complement(Sigmoid()).weights(PEAK, frame, sample()), 1 - shown)
    both = [m(image, PEAK, frame, sample()) for m in (Sigmoid(), Complement(Sigmoid()))]
    assert np.abs(both[0].astype(int) + both[1] - image).max() <= 2, "what one hides"
    for mask, weight in ((Black(), 0), (Full(), 1)):
        assert (mask.weights(PEAK, frame, sample()) == weight).all()


def test_the_random_place_has_the_very_same_area() -> None:
    frame = Frame.squash(70, 90, 224)
    shown = Sigmoid().weights(PEAK, frame, sample())
    control = RandomPlace(Sigmoid(), seed=1)
    moved = [control.weights(PEAK, frame, sample(str(i))) for i in range(400)]
    for weights in moved[:20]:
        assert torch.equal(weights.flatten().sort().values, shown.flatten().sort().values)
    assert torch.equal(moved[3], control.weights(PEAK, frame, sample("3")))
    other = RandomPlace(Sigmoid(), seed=2).weights(PEAK, frame, sample("3"))
    assert not torch.equal(moved[3], other)
    assert not torch.equal(moved[3], moved[4])
    cover = torch.stack(moved).mean(dim=0)  # 400 draws of a share of about 2 %
    share = float(shown.mean())
    blocks = cover.view(7, 10, 9, 10).mean(dim=(1, 3))
    assert blocks.min() > share / 3
    assert blocks.max() < share * 2
    drawn = control(picture(70, 90), PEAK, frame, sample("3"))
    assert (drawn[moved[3].numpy() < 1e-3] == 0).all()


def test_the_random_place_is_one_that_the_model_saw() -> None:
    frame = Frame.centre_crop(40, 90, 50)
    control = RandomPlace(Sigmoid())
    for i in range(20):
        weights = control.weights(PEAK, frame, sample(str(i)))
        assert weights[:, :25].max() < 1e-6
        assert weights[:, 65:].max() < 1e-6
        assert weights[:, 25:65].max() > 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sigmoid(alpha=0), "mask.alpha=0: expected a number above 0"),
        (lambda: Sigmoid(beta=1.5), "mask.beta=1.5"),
        (lambda: Sigmoid(blur=0), "mask.blur=0"),
        (lambda: Sigmoid(fill="red"), "mask.fill=red: expected black, grey, blur"),  # type: ignore
        (lambda: Sigmoid(rounding="up"), "mask.rounding=up"),  # type: ignore[arg-type]
        (lambda: Sigmoid(normalise="no"), "mask.normalise=no"),  # type: ignore[arg-type]
        (lambda: Overlay(resize="lanczos"), "mask.resize=lanczos"),  # type: ignore[arg-type]
        (lambda: Overlay(opacity=2), "mask.opacity=2"),
        (lambda: Overlay(colormap="hot dog"), "mask.colormap=hot dog"),
        (lambda: Complement(Crop(Sigmoid())), "mask.of=crop"),  # type: ignore[arg-type]
        (lambda: RandomPlace(Full()), "mask.of=full"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_option_is_named(make: Any, message: str) -> None:
    with pytest.raises(VlgroundError, match=message):
        make()


def configured(*overrides: str) -> Mask:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = OmegaConf.to_container(compose("run", list(overrides)), resolve=True)
    return build(node["mask"])  # type: ignore[index,call-overload,no-any-return]


def test_every_option_file_makes_its_mask() -> None:
    frame = Frame.squash(70, 90, 224)
    image = picture(70, 90)
    made = {name: configured(f"mask={name}") for name in ("sigmoid", "overlay", "black", "full")}
    for name, mask in (("sigmoid", Sigmoid()), ("overlay", Overlay())):
        assert vars(made[name]).keys() == vars(mask).keys()
        drawn = [m(image, PEAK, frame, sample()) for m in (made[name], mask)]
        assert (drawn[0] == drawn[1]).all(), f"{name}.yaml has other defaults"
    assert isinstance(made["black"], Black)
    assert isinstance(made["full"], Full)
    assert configured("mask=blur").fill == "blur"  # type: ignore[attr-defined]
    random = configured("mask=random", "mask.of.beta=0.4", "seed=3")
    assert isinstance(random, RandomPlace)
    assert (random.of.beta, random.seed) == (0.4, 3)  # type: ignore[attr-defined]
    assert isinstance(configured("mask=complement"), Complement)
    assert isinstance(configured("mask=crop", "mask.of.alpha=15"), Crop)
