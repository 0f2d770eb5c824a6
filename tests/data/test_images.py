import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlground.data.images import load_image
from vlground.data.sample import Sample
from vlground.errors import ImageError

RAMP = np.tile(np.arange(0, 256, 17, dtype=np.uint8), (4, 1))  # (4, 16), 0 … 255


def _pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


def test_path_string_array_and_sample_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    sample = Sample("a", "a", path, "cat")
    for source in (path, str(path), pixels, sample):
        np.testing.assert_array_equal(_pixels(load_image(source)), pixels)
    np.testing.assert_array_equal(_pixels(load_image(pixels[::-1, ::2])), pixels[::-1, ::2])


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    Image.new("RGB", (40, 20), "red").save(path, exif=exif)
    assert Image.open(path).getexif()[0x0112] == 6
    assert load_image(path).size == (40, 20)


@pytest.mark.parametrize(("mode", "suffix"), [("I;16", "png"), ("I;16", "tif"), ("I", "tif")])
def test_sixteen_bit_greys_are_scaled(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"grey.{suffix}"
    deep = RAMP.astype(np.uint16) * 257
    image = Image.fromarray(deep if mode == "I;16" else deep.astype(np.int32))
    assert image.mode == mode
    image.save(path)
    expected = np.repeat(RAMP[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(_pixels(load_image(path)), expected)


def test_floats_from_0_to_1_are_scaled_and_others_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray((RAMP / 255).astype(np.float32)).save(path)
    np.testing.assert_array_equal(_pixels(load_image(path))[..., 0], RAMP)
    for bad in (RAMP.astype(np.float32), np.full((2, 2), np.nan, np.float32)):
        Image.fromarray(bad).save(path)
        with pytest.raises(ImageError, match=r"float\.tif.*expected 0 to 1$"):
            load_image(path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "L", "RGB"])
def test_transparent_pixels_become_white(tmp_path: Path, mode: str) -> None:
    # Left half clear over hidden black, right half solid mid grey.
    rgba = np.zeros((2, 4, 4), np.uint8)
    rgba[:, 2:] = (100, 100, 100, 255)
    path = tmp_path / "clear.png"
    if mode in ("RGBA", "LA"):
        Image.fromarray(rgba).convert(mode).save(path)
    elif mode in ("P", "PA"):
        palette = Image.fromarray((rgba[..., 3] > 0).astype(np.uint8)).convert("P")
        palette.putpalette([0, 0, 0, 100, 100, 100])
        palette.save(path, transparency=0 if mode == "P" else bytes([0, 255]))
    else:
        clear = 0 if mode == "L" else (0, 0, 0)
        Image.fromarray(rgba[..., :3]).convert(mode).save(path, transparency=clear)
    pixels = _pixels(load_image(path))
    assert (pixels[:, :2] == 255).all()
    assert (pixels[:, 2:] == 100).all()


def test_half_transparent_black_is_mid_grey(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(path)
    np.testing.assert_allclose(_pixels(load_image(path)), 127, atol=1)


@pytest.mark.parametrize(("mode", "suffix"), [("1", "png"), ("L", "png"), ("P", "png")])
def test_plain_modes_keep_black_and_white(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"plain.{suffix}"
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert(mode).save(path)
    assert _pixels(load_image(path)).tolist() == [[[0] * 3, [255] * 3]]


def test_cmyk_keeps_its_colour(tmp_path: Path) -> None:
    path = tmp_path / "press.jpg"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path)  # magenta and yellow ink: red
    np.testing.assert_allclose(_pixels(load_image(path))[0, 0], [255, 0, 0], atol=4)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    first.save(path, save_all=True, append_images=[second])
    assert _pixels(load_image(path))[0, 0].tolist() == [255, 0, 0]


def _broken(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.jpg"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is no image\n" * 9)
    elif kind == "folder":
        path.mkdir()
    elif kind.startswith("truncated"):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, kind.removeprefix("truncated_"))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize(
    "kind",
    ["empty", "text", "folder", "missing", "truncated_jpeg", "truncated_png", "truncated_webp"],
)
def test_unreadable_files_name_themselves_in_one_line(tmp_path: Path, kind: str) -> None:
    path = _broken(tmp_path, kind)
    with pytest.raises(ImageError) as caught:
        load_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) > len(f"{path}: not readable as an image: ")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("limit", [100, 10])  # Pillow warns at 100, raises at 10
def test_decompression_bombs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    path = tmp_path / "bomb.png"
    Image.new("RGB", (15, 10)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ImageError, match=r"bomb\.png.*limit"):
        load_image(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_where_pillow_only_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.png"
    Image.new("RGB", (15, 10)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="15 × 10 pixels"):
        load_image(path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((2, 2, 3), np.float32),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros((3,), np.uint8),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected uint8"):
        load_image(array)


def test_importing_the_data_room_does_not_import_torch() -> None:
    code = (
        "import sys, vlground.data.images, vlground.data.photos, vlground.data.voc;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
