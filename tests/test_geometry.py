import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlground.errors import ImageError, VlgroundError
from vlground.geometry import (
    Frame,
    box_to_slices,
    boxes_to_mask,
    merge_boxes,
)
from vlground.preprocess import Preprocess

SIZES = [(375, 500), (500, 375), (300, 300), (97, 641), (641, 97)]
RESIZES = ["squash", "letterbox", "centre_crop"]

sides = st.integers(1, 700)
coordinates = st.integers(-50_000, 750_000).map(lambda x: x / 1000)
edges = st.sampled_from(["centre", "outward", "inward"])


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    size, height, width = draw(st.integers(8, 384)), draw(sides), draw(sides)
    crop = draw(st.floats(0.5, 1))
    kind = draw(st.sampled_from(RESIZES))
    if kind == "centre_crop":
        return Frame.centre_crop(height, width, size, crop)
    return (Frame.squash if kind == "squash" else Frame.letterbox)(height, width, size)


# Boxes


def _brute_force(boxes: list[list[float]], height: int, width: int, edge: str) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in boxes:
        for i in range(height):
            for j in range(width):
                if edge == "centre":
                    inside = x0 <= j + 0.5 < x1 and y0 <= i + 0.5 < y1
                elif edge == "outward":
                    inside = j < x1 and j + 1 > x0 and i < y1 and i + 1 > y0
                else:
                    inside = x0 <= j and j + 1 <= x1 and y0 <= i and i + 1 <= y1
                mask[i, j] |= inside
    return mask


small = st.integers(-8, 40).map(lambda x: x / 4)  # quarters hit edges and centres exactly


@given(st.lists(st.lists(small, min_size=4, max_size=4), max_size=3), edges)
def test_masks_agree_with_the_definition(boxes: list[list[float]], edge: str) -> None:
    boxes = [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in boxes]
    if edge == "outward":  # a box without area has no edge to be outside of
        boxes = [b for b in boxes if b[0] < b[2] and b[1] < b[3]]
    mask = boxes_to_mask(boxes, 7, 9, edge)
    assert mask.dtype == torch.bool
    np.testing.assert_array_equal(mask.numpy(), _brute_force(boxes, 7, 9, edge))


@given(st.lists(coordinates, min_size=4, max_size=4), sides, sides, edges)
def test_slices_lie_in_the_image(box: list[float], height: int, width: int, edge: str) -> None:
    for part, length in zip(box_to_slices(box, height, width, edge), (height, width), strict=True):
        assert 0 <= part.start <= part.stop <= length


def test_inverted_boxes_hold_nothing() -> None:
    assert not boxes_to_mask([[5, 5, 2, 9]], 10, 10, "outward").any()


@pytest.mark.parametrize("boxes", [[[0, 0, 1]], [[0] * 6, [0] * 6], [[[0] * 4]]])
def test_boxes_of_another_shape_are_refused(boxes: list[list[float]]) -> None:
    for function in (merge_boxes, Frame.squash(4, 4, 4).boxes_to_input):
        with pytest.raises(ValueError, match=r"expected \(k, 4\)"):
            function(boxes)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_boxes_that_are_not_finite_make_no_mask_but_can_be_moved(value: float) -> None:
    boxes = [[0, 0, 1, 1], [0, 0, value, 1]]
    with pytest.raises(ValueError, match="a coordinate is not finite"):
        boxes_to_mask(boxes, 4, 4)
    moved = Frame.squash(4, 4, 8).boxes_to_input(boxes)
    np.testing.assert_array_equal(moved, np.array(boxes) * 2)


def test_unknown_edge_is_refused() -> None:
    with pytest.raises(ValueError, match="edge=round: expected centre"):
        box_to_slices([0, 0, 1, 1], 4, 4, "round")  # type: ignore[arg-type]


def test_merging() -> None:
    merged = merge_boxes(np.array([[3.0, 1, 5, 2], [0, 4, 1, 9]]))
    np.testing.assert_array_equal(merged, [[0, 1, 5, 9]])
    assert merge_boxes(np.zeros((0, 4))).shape == (0, 4)
    assert merge_boxes([]).shape == (0, 4)


# Frames


@given(frames(), st.lists(st.lists(coordinates, min_size=4, max_size=4), max_size=4))
def test_boxes_survive_the_round_trip(frame: Frame, boxes: list[list[float]]) -> None:
    back = frame.boxes_to_original(frame.boxes_to_input(boxes))
    np.testing.assert_allclose(back, np.array(boxes).reshape(-1, 4), atol=1e-6)


@given(frames())
def test_frames_survive_storage(frame: Frame) -> None:
    numbers = frame.to_list()
    assert Frame.from_list(json.loads(json.dumps(numbers))) == frame
    assert Frame.from_list(np.array(numbers).tolist()) == frame
    assert all(type(number) in (int, float) for number in numbers)


@given(frames())
def test_the_visible_part_fills_what_it_can(frame: Frame) -> None:
    x0, y0, x1, y1 = frame.visible()
    assert 0 <= x0 < x1 <= frame.width
    assert 0 <= y0 < y1 <= frame.height
    (box,) = frame.boxes_to_input([[x0, y0, x1, y1]])
    assert (box >= -1e-6).all()
    assert (box <= frame.input_height + 1e-6).all()


def test_known_frames() -> None:
    crop = Frame.centre_crop(427, 640, 224)  # 224 × 335, then columns 56 … 280 (55.5 rounds even)
    assert crop.resized == (224, 335)
    assert crop.offset_x == -56
    x0, _, x1, _ = crop.visible()
    assert (640 - (x1 - x0)) / 640 == pytest.approx(0.331, abs=0.001)  # a third is never seen
    box = Frame.letterbox(100, 200, 50)
    assert (box.offset_y, box.offset_x) == (12, 0)
    assert box.visible() == (0, 0, 200, 100)
    timm = Frame.centre_crop(500, 500, 224, crop_fraction=0.875)
    assert timm.resized == (256, 256)
    assert timm.offset_x == timm.offset_y == -16
    grid = Frame.squash(100, 200, 50).boxes_to_grid([[20, 20, 200, 100]], rows=5, columns=10)
    np.testing.assert_allclose(grid, [[1, 1, 10, 5]])


# Maps


@pytest.mark.parametrize(("mode", "torch_mode"), [
    ("bilinear", "bilinear"), ("bicubic", "bicubic"), ("nearest", "nearest-exact"),
])  # fmt: skip
@pytest.mark.parametrize(("height", "width"), [*SIZES, (5, 7), (1, 1)])
@pytest.mark.parametrize("grid", [(7, 7), (10, 10), (24, 16), (1, 3)])
def test_squash_equals_torch(
    mode: str, torch_mode: str, height: int, width: int, grid: tuple[int, int]
) -> None:
    maps = torch.rand(3, *grid, generator=torch.Generator().manual_seed(0))
    align = {} if mode == "nearest" else {"align_corners": False}
    frame = Frame.squash(height, width, 224)
    for target, size in (("original", (height, width)), ("input", (224, 224))):
        expected = F.interpolate(maps[:, None], size=size, mode=torch_mode, **align)[:, 0]
        found = frame.grid_to_pixels(maps, target, mode)
        if mode == "nearest":  # torch's float32 may fall on the wrong side of an exact cell edge
            on_edge = [
                (torch.arange(n) + 0.5) * g % n == 0 for n, g in zip(size, grid, strict=True)
            ]
            tie = on_edge[0][:, None] | on_edge[1][None]
            found = torch.where(tie, expected, found)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_bright_dot_comes_back_where_it_was(
    resize: str, height: int, width: int, mode: str
) -> None:
    preprocess = Preprocess(224, resize=resize, crop_fraction=0.875, mean=[0] * 3, std=[1] * 3)
    frame, cells = preprocess.frame(height, width), 14
    x0, y0, x1, y1 = frame.visible()
    half = 0.5 * 224 / cells / np.array([frame.scale_x, frame.scale_y])
    for fx, fy in [(0.2, 0.2), (0.8, 0.3), (0.5, 0.5), (0.35, 0.9)]:
        x, y = x0 + fx * (x1 - x0), y0 + fy * (y1 - y0)
        radius = np.maximum(np.array([4, 4]) / [frame.scale_x, frame.scale_y], 1)
        image = np.zeros((height, width, 3), np.uint8)
        (dot,) = [[x - radius[0], y - radius[1], x + radius[0], y + radius[1]]]
        image[box_to_slices(dot, height, width, "outward")] = 255
        pixels, used = preprocess(Image.fromarray(image))
        assert used == frame
        grid = F.avg_pool2d(pixels[:1], 224 // cells)
        (found,) = frame.grid_to_pixels(grid, mode=mode)
        assert found.shape == (height, width)
        row, column = divmod(int(found.argmax()), width)
        assert abs(column + 0.5 - x) <= half[0] + 0.5
        assert abs(row + 0.5 - y) <= half[1] + 0.5


@given(frames(), st.integers(1, 12), st.integers(1, 12), st.sampled_from(["bilinear", "bicubic"]))
def test_a_constant_map_is_constant_where_seen_and_0_elsewhere(
    frame: Frame, rows: int, columns: int, mode: str
) -> None:
    (pixels,) = frame.grid_to_pixels(torch.full((1, rows, columns), 3.0), mode=mode, clip=True)
    xs = (np.arange(frame.width) + 0.5) * frame.scale_x + frame.offset_x
    ys = (np.arange(frame.height) + 0.5) * frame.scale_y + frame.offset_y
    seen = np.outer(*((at > -1e-9) & (at < frame.input_width - 1e-9) for at in (ys, xs)))
    np.testing.assert_allclose(pixels.numpy(), np.where(seen, 3.0, 0.0), atol=1e-5)


@pytest.mark.parametrize("resize", RESIZES)
def test_nearest_paints_exactly_the_cell(resize: str) -> None:
    frame = Preprocess(96, resize=resize).frame(120, 200)
    for row, column in [(3, 1), (2, 4), (3, 6)]:
        maps = torch.zeros(1, 8, 8)
        maps[0, row, column] = 1
        cell = [column * 12, row * 12, (column + 1) * 12, (row + 1) * 12]
        expected = boxes_to_mask(frame.boxes_to_original([cell]), 120, 200)
        found = frame.grid_to_pixels(maps, mode="nearest")[0]
        torch.testing.assert_close(found, expected.float())


def test_clip_ends_the_overshoot_but_leaves_the_unseen_at_0() -> None:
    maps = torch.ones(2, 5, 5)
    maps[:, 2, 2] = torch.tensor([9.0, 2.0])
    frame = Frame.centre_crop(60, 120, 50)
    free = frame.grid_to_pixels(maps, mode="bicubic")[:, :, 30:90]
    clipped = frame.grid_to_pixels(maps, mode="bicubic", clip=True)
    assert free.min() < 0.9
    assert clipped[:, :, 30:90].min() == 1
    assert (clipped.amax((1, 2)) <= torch.tensor([9.0, 2.0])).all()
    assert not clipped[:, :, :30].any()
    assert not clipped[:, :, 90:].any()


def test_native_returns_the_maps_and_unknown_options_are_refused() -> None:
    maps, frame = torch.rand(2, 3, 4), Frame.squash(10, 20, 8)
    native = frame.grid_to_pixels(maps, "native")
    torch.testing.assert_close(native, maps, atol=0, rtol=0)
    native.zero_()  # the result is the caller's, on every grid
    assert maps.all()
    with pytest.raises(VlgroundError, match=r"metric\.resolution=screen: expected original, input"):
        frame.grid_to_pixels(maps, "screen")  # type: ignore[arg-type]
    with pytest.raises(VlgroundError, match=r"metric\.resize=lanczos: expected bilinear"):
        frame.grid_to_pixels(maps, mode="lanczos")  # type: ignore[arg-type]


def test_gradients_flow_after_a_first_use_in_inference_mode() -> None:
    frame = Frame.squash(33, 44, 17)  # sizes of no other test, so that the cache is cold
    with torch.inference_mode():
        frame.grid_to_pixels(torch.rand(1, 3, 3))
    maps = torch.rand(1, 3, 3, requires_grad=True)
    frame.grid_to_pixels(maps).sum().backward()
    assert maps.grad is not None
    assert maps.grad.sum() == pytest.approx(33 * 44, rel=1e-5)


def test_mixed_precision_does_not_blur_the_map() -> None:
    maps, frame = torch.rand(1, 10, 10), Frame.squash(200, 300, 100)
    exact = frame.grid_to_pixels(maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(frame.grid_to_pixels(maps), exact, atol=0, rtol=0)
    assert frame.grid_to_pixels(maps.half()).dtype == torch.float32
    assert frame.grid_to_pixels(maps.double()).dtype == torch.float64
    assert frame.grid_to_pixels(torch.zeros(0, 10, 10)).shape == (0, 200, 300)


# Preprocessing


def test_values_are_normalised_and_padding_is_the_mean_colour() -> None:
    preprocess = Preprocess(40, "letterbox", mean=[0.5, 0.25, 0], std=[0.5, 1, 2])
    pixels, frame = preprocess(Image.new("RGB", (100, 50), (255, 0, 51)))
    assert (pixels.dtype, pixels.shape) == (torch.float32, (3, 40, 40))
    assert frame.boxes_to_input([[0, 0, 100, 50]]).tolist() == [[0, 10, 40, 30]]
    torch.testing.assert_close(pixels[:, 20, 20], torch.tensor([1.0, -0.25, 0.1]))
    assert not pixels[:, :10].any()
    assert not pixels[:, 30:].any()
    assert (pixels[0, 10:30] == 1).all()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_centre_crop_is_resize_then_crop(height: int, width: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    pixels, frame = Preprocess(64, "centre_crop", mean=[0] * 3, std=[1] * 3)(image)
    rows, columns = frame.resized
    assert min(rows, columns) == 64
    resized = np.asarray(image.resize((columns, rows), Image.Resampling.BICUBIC))
    top, left = round((rows - 64) / 2), round((columns - 64) / 2)
    expected = resized[top : top + 64, left : left + 64]
    np.testing.assert_allclose(pixels.permute(1, 2, 0) * 255, expected, atol=1e-4)


def test_preprocess_accepts_lists_is_hashable_and_names_bad_options() -> None:
    assert hash(Preprocess(8, mean=[0, 0, 0])) == hash(Preprocess(8, mean=(0, 0, 0)))
    for options, message in [
        ({"resize": "foo"}, r"resize=foo: expected squash, letterbox, centre_crop"),
        ({"size": 0}, "size=0: expected a whole number above 0"),
        ({"crop_fraction": 0.0}, "crop_fraction=0.0: expected 0 < crop_fraction <= 1"),
        ({"crop_fraction": 1.5}, "crop_fraction=1.5: expected"),
        ({"interpolation": "nearest"}, "interpolation=nearest: expected bicubic, bilinear"),
        ({"mean": [0.5]}, r"mean=\(0.5,\): expected three numbers"),
        ({"std": [1, 1, 0]}, r"std=\(1, 1, 0\): expected three numbers above 0"),
    ]:
        with pytest.raises(VlgroundError, match=r"^model\.preprocess\." + message):
            Preprocess(**{"size": 8, **options})


def test_images_it_cannot_take() -> None:
    with pytest.raises(ImageError, match="image of 5000 × 10 pixels: too elongated"):
        Preprocess(8, "centre_crop")(Image.new("RGB", (5000, 10)))
    assert Preprocess(8, "letterbox")(Image.new("RGB", (5000, 1)))[0].shape == (3, 8, 8)
    with pytest.raises(ValueError, match="mode L: expected RGB"):
        Preprocess(8)(Image.new("L", (9, 9)))
