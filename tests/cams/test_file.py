"""Maps made elsewhere."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.cams.scenes import samples
from tests.scorers import SIZE, PatchScorer

from vlground.cams.file import FileCAM
from vlground.contracts import CAM
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.identity import checksums

MAPS = {f"photo/{row}": np.arange(12.0).reshape(3, 4) + row for row in range(3)}


def write(maps: dict[str, np.ndarray], kind: str, path: Path) -> Path:
    if kind == "folder":
        path.mkdir()
        for name, grid in maps.items():
            np.save(path / f"{name.replace('/', '__')}.npy", grid, allow_pickle=True)
        return path
    file = path.with_suffix(f".{kind}")
    if kind == "npz":
        np.savez_compressed(file, **maps)
    else:
        save_file({name: torch.from_numpy(grid.copy()) for name, grid in maps.items()}, file)
    return file


def draw(cam: CAM, rows: tuple[int, ...] = (0, 1, 2)) -> torch.Tensor:
    scorer = PatchScorer()
    encoded = scorer.encode(torch.zeros(1, 3, SIZE, SIZE))
    texts = [str(row) for row in rows]
    return cam(scorer, encoded, texts, torch.zeros(len(rows), dtype=torch.long), samples(rows))


@pytest.mark.parametrize("kind", ["folder", "npz", "safetensors"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", "bool", ">f4"])
def test_maps_come_back_as_float32(kind: str, dtype: str, tmp_path: Path) -> None:
    if (kind, dtype) == ("safetensors", ">f4"):
        pytest.skip("torch has no such type")
    maps = {name: grid.astype(dtype) for name, grid in MAPS.items()}
    cam = FileCAM(str(write(maps, kind, tmp_path / "maps")))
    assert all(cam.obstacle(sample) is None for sample in samples())
    grids = draw(cam)
    assert grids.dtype == torch.float32
    expected = np.stack(list(maps.values())).astype(np.float32)
    np.testing.assert_array_equal(grids.numpy(), expected)


def test_bfloat16_is_read(tmp_path: Path) -> None:
    file = tmp_path / "maps.safetensors"
    save_file({"photo/0": torch.full((2, 2), 1.5, dtype=torch.bfloat16)}, file)
    assert draw(FileCAM(str(file)), (0,)).tolist() == [[[1.5, 1.5], [1.5, 1.5]]]


@pytest.mark.parametrize("kind", ["folder", "npz"])
@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (np.zeros((1, 3, 4)), r"shape \(1, 3, 4\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros((3, 4), complex), "numbers of type complex128"),
        (np.array([[None]]), "pickle"),
        (np.array([["a"]]), "numbers of type <U1"),
    ],
    ids=["three axes", "empty", "complex", "objects", "text"],
)
def test_malformed_maps_are_obstacles(
    kind: str, grid: np.ndarray, reason: str, tmp_path: Path
) -> None:
    file = write({**MAPS, "photo/1": grid}, kind, tmp_path / "maps")
    cam, (good, bad, _) = FileCAM(str(file)), samples()
    assert cam.obstacle(good) is None
    obstacle = cam.obstacle(bad)
    assert obstacle is not None
    assert obstacle.startswith(f"malformed map in {file.name}: ")
    assert __import__("re").search(reason, obstacle)
    with pytest.raises(VlgroundError, match="photo/1: malformed"):
        draw(cam)


@pytest.mark.parametrize("kind", ["folder", "npz", "safetensors"])
def test_a_missing_map_is_an_obstacle_without_the_id(kind: str, tmp_path: Path) -> None:
    file = write({"photo/0": MAPS["photo/0"]}, kind, tmp_path / "maps")
    cam = FileCAM(str(file))
    assert [cam.obstacle(sample) for sample in samples()] == [None, *[f"no map in {file.name}"] * 2]
    with pytest.raises(VlgroundError, match="sample photo/2: no map"):
        draw(cam, (2,))


@pytest.mark.parametrize("kind", ["folder", "npz", "safetensors"])
def test_torn_files(kind: str, tmp_path: Path) -> None:
    file = write(MAPS, kind, tmp_path / "maps")
    torn = file / "photo__0.npy" if kind == "folder" else file
    content = torn.read_bytes()
    torn.write_bytes(content[: len(content) - 30])
    if kind == "folder":
        assert "malformed map in maps: " in (FileCAM(str(file)).obstacle(samples()[0]) or "")
        torn.write_bytes(b"")
        assert "malformed map in maps: " in (FileCAM(str(file)).obstacle(samples()[0]) or "")
    else:
        with pytest.raises(VlgroundError, match=r"cam.file=.*maps.*: cannot be read"):
            FileCAM(str(file))


def test_a_damaged_entry_of_an_archive_is_an_obstacle(tmp_path: Path) -> None:
    file = write(MAPS, "npz", tmp_path / "maps")
    content = bytearray(file.read_bytes())
    start = content.index(b"photo/1.npy") + 40
    content[start : start + 8] = b"\xff" * 8
    file.write_bytes(content)
    cam = FileCAM(str(file))
    obstacles = [cam.obstacle(sample) for sample in samples()]
    assert obstacles[0] is None
    assert obstacles[2] is None
    assert obstacles[1] is not None


def test_sizes_may_differ_but_not_in_one_batch(tmp_path: Path) -> None:
    file = write({**MAPS, "photo/1": np.ones((5, 5))}, "npz", tmp_path / "maps")
    cam = FileCAM(str(file))
    assert draw(cam, (1,)).shape == (1, 5, 5)
    with pytest.raises(VlgroundError, match="batch_size=1"):
        draw(cam)


def test_maps_are_for_the_own_text_only(tmp_path: Path) -> None:
    cam = FileCAM(str(write(MAPS, "npz", tmp_path / "maps")))
    sample = Sample("photo/0", "x", np.zeros((2, 2, 3), np.uint8), "cat")
    with pytest.raises(VlgroundError, match="own texts"):
        cam(PatchScorer(), None, ["dog"], torch.tensor([0]), [sample])


@pytest.mark.parametrize("name", ["nothing.npz", "maps.txt", "maps.npz", "maps.safetensors"])
def test_what_is_no_file_of_maps_is_refused(name: str, tmp_path: Path) -> None:
    if not name.startswith("nothing"):
        (tmp_path / name).write_text("hello")
    with pytest.raises(VlgroundError, match=f"cam.file=.*{name}"):
        FileCAM(str(tmp_path / name))


def test_an_array_is_no_archive(tmp_path: Path) -> None:
    with (tmp_path / "maps.npz").open("wb") as handle:
        np.save(handle, np.zeros((2, 2)))
    with pytest.raises(VlgroundError, match=r"one \.npy array"):
        FileCAM(str(tmp_path / "maps.npz"))


def test_normalised_is_declared(tmp_path: Path) -> None:
    file = str(write(MAPS, "npz", tmp_path / "maps"))
    assert FileCAM(file, normalised=True).normalised
    assert not FileCAM(file).normalised


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_the_digest_is_of_the_content_wherever_it_lies(kind: str, tmp_path: Path) -> None:
    file = write(MAPS, kind, tmp_path / "maps")
    other = tmp_path / f"elsewhere{file.suffix}"
    (shutil.copytree if kind == "folder" else shutil.copy)(file, other)
    assert checksums({"file": str(file)}) == checksums({"file": str(other)})
    if kind == "folder":
        (other / "photo__2.npy").rename(other / "photo__9.npy")
    else:
        write({**MAPS, "photo/0": MAPS["photo/1"]}, kind, tmp_path / "elsewhere")
    assert checksums({"file": str(file)}) != checksums({"file": str(other)})
