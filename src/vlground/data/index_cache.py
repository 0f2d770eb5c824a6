"""An index of samples on disk, so that thousands of annotation files are read once."""

import gc
import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlground.data.sample import Sample
from vlground.identity import digest

_VERSION = 1  # raised when what is stored, or how annotations become samples, changes


@dataclass(frozen=True)
class IndexCache:
    """One index file, found by what it was made of.

    A file that is torn, or cannot be written, costs time and nothing else.

    Attributes:
        path: Of the file.
    """

    path: Path

    @classmethod
    def of(cls, folder: str | None, options: object, sources: Iterable[Path]) -> "IndexCache":
        """The index of some annotation files, read with some options.

        Args:
            folder: Where indexes are kept; None: `vlground` in `$XDG_CACHE_HOME` or `~/.cache`.
            options: Everything that decides how the files become samples.
            sources: Annotation files and folders of them; each file counts by name, size and time.
        """
        default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlground"
        files = [entry for source in sources for entry in _listed(source)]
        name = digest([_VERSION, options, "\n".join(sorted(files))], length=32)
        return cls((default if folder is None else Path(folder).expanduser()) / f"{name}.npz")

    def load(self) -> tuple[list[Sample], dict[str, int]] | None:
        """Samples and what was left out; None if there is no index, or none that can be read."""
        collecting = gc.isenabled()
        gc.disable()  # half of the time would go into looking through what was just made
        try:
            return self._read()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        finally:
            if collecting:
                gc.enable()

    def _read(self) -> tuple[list[Sample], dict[str, int]]:
        with np.load(self.path, allow_pickle=False) as arrays:
            rows, skipped = json.loads(arrays["text"].tobytes())
            boxes, ends = arrays["boxes"], arrays["ends"].tolist()
        samples: list[Sample] = []
        start = 0
        photos: dict[str, Path] = {}
        for (name, image_id, photo, text, foil, label), end in zip(rows, ends, strict=True):
            path = photos.get(photo) or photos.setdefault(photo, Path(photo))
            found = boxes[start:end]
            samples.append(Sample(name, image_id, path, text, foil, found, None, label))
            start = end
        return samples, skipped

    def save(self, samples: Sequence[Sample], skipped: dict[str, int]) -> None:
        """Write the index, whole or not at all."""
        rows = [(s.id, s.image_id, str(s.image), s.text, s.foil, s.label) for s in samples]
        text = np.frombuffer(json.dumps([rows, skipped]).encode(), dtype=np.uint8)
        boxes = np.concatenate([np.zeros((0, 4)), *(sample.boxes for sample in samples)])
        ends = np.cumsum([len(sample.boxes) for sample in samples])
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                np.savez(file, text=text, boxes=boxes, ends=ends)
            os.replace(temporary, self.path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()


def _listed(source: Path) -> list[str]:
    entries = os.scandir(source) if source.is_dir() else [source]
    facts = ((entry.name, entry.stat()) for entry in entries)
    return [f"{source}/{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in facts]
