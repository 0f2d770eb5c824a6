"""Maps made elsewhere, read by sample id."""

import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vlground.contracts import CAM, Encoded, Scorer
from vlground.data.sample import Sample
from vlground.errors import VlgroundError

Read = Callable[[str], np.ndarray]

# What numpy and zipfile raise on an entry that is torn, pickled or no array.
_UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


class FileCAM(CAM):
    """One map a sample, `(gh, gw)` of any size and real number type, from a file or a folder.

    A map covers the model's input as `model.preprocess` makes it, so `model.preprocess.resize` must
    be that of the maps: `squash` for maps of whole images. It is taken for the sample's own text.
    Maps of several sizes need `batch_size=1`.

    Args:
        file: `NAME.npz` or `NAME.safetensors` keyed by sample id, or a folder of `.npy` files named
            by sample id with `/` written as `__`.
        normalised: Whether the maps were min-max normalised where they were made.

    Raises:
        VlgroundError: If it is not there or none of these.
    """

    def __init__(self, file: str, normalised: bool = False) -> None:
        super().__init__()
        self.path = Path(file).expanduser()
        self.normalised = normalised  # type: ignore[misc]
        self._names, self._content = _open(self.path)

    def obstacle(self, sample: Sample) -> str | None:
        """Why this sample has no map (see the base class)."""
        if self._name(sample) not in self._names:
            return f"no map in {self.path.name}"
        try:
            self._read(sample)
        except _UNREADABLE as error:
            return f"malformed map in {self.path.name}: {error}"
        return None

    def forward(
        self,
        scorer: Scorer,
        encoded: Encoded,
        texts: Sequence[str],
        owner: Tensor,
        samples: Sequence[Sample],
    ) -> Tensor:
        """Read the maps (see the base class).

        Raises:
            VlgroundError: If a map is missing or malformed (ask `obstacle` before), maps differ in
                size, or another text than the sample's own is asked.
        """
        maps = []
        for sample, text in zip(samples, texts, strict=True):
            if text != sample.text:
                raise VlgroundError(
                    f"cam.file={self.path}: has maps of the samples' own texts only"
                )
            problem = self.obstacle(sample)
            if problem:
                raise VlgroundError(f"cam.file={self.path}: sample {sample.id}: {problem}")
            maps.append(self._read(sample))
        if len({grid.shape for grid in maps}) > 1:
            raise VlgroundError(f"cam.file={self.path}: maps of several sizes need batch_size=1")
        return torch.stack(maps)

    def _name(self, sample: Sample) -> str:
        return sample.id.replace("/", "__") if self.path.is_dir() else sample.id

    def _read(self, sample: Sample) -> Tensor:
        grid = self._content(self._name(sample))
        if grid.ndim != 2 or grid.size == 0:
            raise ValueError(f"shape {grid.shape}")
        if grid.dtype.kind not in "biuf":
            raise ValueError(f"numbers of type {grid.dtype}")
        return torch.from_numpy(grid.astype(np.float32))


def _open(path: Path) -> tuple[frozenset[str], Read]:
    """The names of the maps and how to read one."""
    if path.is_dir():
        names = frozenset(file.stem for file in path.glob("*.npy"))
        return names, lambda name: np.load(path / f"{name}.npy", allow_pickle=False)
    if not path.exists():
        raise VlgroundError(f"cam.file={path}: no such file or folder")
    if path.suffix == ".npz":
        return _open_npz(path)
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    raise VlgroundError(f"cam.file={path}: expected .npz, .safetensors or a folder of .npy files")


def _open_npz(path: Path) -> tuple[frozenset[str], Read]:
    try:
        archive = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise VlgroundError(f"cam.file={path}: cannot be read: {error}") from error
    if isinstance(archive, np.ndarray):
        raise VlgroundError(f"cam.file={path}: one .npy array under another name")
    return frozenset(archive.files), archive.__getitem__


def _open_safetensors(path: Path) -> tuple[frozenset[str], Read]:
    from safetensors import SafetensorError, safe_open

    try:
        archive = safe_open(path, framework="pt")  # numpy has no bfloat16
    except (SafetensorError, OSError) as error:
        raise VlgroundError(f"cam.file={path}: cannot be read: {error}") from error

    def read(name: str) -> np.ndarray:
        tensor: Tensor = archive.get_tensor(name)
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

    return frozenset(archive.keys()), read
