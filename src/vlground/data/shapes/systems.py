"""Captions of the same drawn scenes by several systems, for a judge to compare."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlground.data.records import read_records, tell, text_of, whole
from vlground.data.sample import Sample
from vlground.data.shapes.captions import scene_of
from vlground.data.shapes.render import Look, render
from vlground.data.shapes.sets import check_word
from vlground.errors import VlgroundError
from vlground.identity import digest

_TEXT = ("caption", "text")
_METRICS = ("claims", "chair")  # of runs whose rows are captions


class ShapesSystems:
    """One sample a scene, with a caption of each system; scenes are drawn again.

    What a system said lies in a file of objects with the `image_id` of dataset=shapes_captions and
    a `caption` (or `text`), or in a run of task=benchmark with metric=claims or chair. Of several
    captions of a scene by one system the first is taken, and the others are counted. A scene of
    which one of the systems said nothing is a sample all the same: it has no ranks, and is counted.

    Args:
        captions: Name of a system -> its file, the folder of its run, or `run:FINGERPRINT`, of
            which the first 8 digits do; two systems or more.
        look: Of the scenes, as a judge sees them: plain or shifted.
        runs: The folder in which `run:` looks.

    Attributes:
        skipped: Reason -> number of records that became no caption.
        texts: System -> image id -> caption.
        checksums: System -> SHA-256 of what was read.

    Raises:
        VlgroundError: A file or run is not there or not in the format, there are fewer than two
            systems, or an image is no drawn scene.
    """

    def __init__(
        self, captions: Mapping[str, str] | None, look: Look = "plain", runs: str = "runs"
    ) -> None:
        if not isinstance(captions, Mapping) or len(captions) < 2:
            told = "expected two systems or more: {one: WHERE, other: WHERE}"
            raise VlgroundError(f"dataset.captions={captions}: {told}")
        check_word("look", look, Look)
        self.skipped: Counter[str] = Counter()
        self.checksums: dict[str, str] = {}
        self.texts: dict[str, dict[str, str]] = {}
        for system, where in captions.items():
            self.texts[system] = self._read(f"dataset.captions.{system}", system, where, runs)
        names = dict.fromkeys(name for texts in self.texts.values() for name in texts)
        self._scenes = [scene_of(name) for name in names]
        self._look: Look = look
        if not self._scenes:
            raise VlgroundError(f"dataset.captions={dict(captions)}: no caption in any of them")

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        scene = self._scenes[index]
        # What was said counts as the truth of an image does: other captions, other results.
        said = digest(self.of(scene.name))
        return Sample(scene.name, scene.name, render(scene, self._look), "", label=said)

    def of(self, image_id: str) -> dict[str, str]:
        """System -> what it said about a scene, of those that said something."""
        return {
            system: texts[image_id] for system, texts in self.texts.items() if image_id in texts
        }

    def _read(self, option: str, system: str, where: str, runs: str) -> dict[str, str]:
        path = _place(option, where, Path(runs).expanduser())
        records = _of_file(option, path) if path.is_file() else _of_run(option, where, path)
        texts: dict[str, str] = {}
        left_out: list[tuple[str, str]] = []
        for place, image_id, text in records:
            if image_id is None or text is None:
                left_out.append((place, "no caption" if text is None else "no image id"))
            elif image_id in texts:
                left_out.append((place, "another caption of the same image"))
            else:
                texts[image_id] = text.strip()
        tell(path, left_out)
        self.skipped += Counter(reason for _, reason in left_out)
        file = path if path.is_file() else path / "rows.parquet"
        self.checksums[system] = hashlib.sha256(file.read_bytes()).hexdigest()
        return texts


def _place(option: str, where: str, runs: Path) -> Path:
    """The file, or the folder of the run, that a name means."""
    path = Path(where).expanduser()
    if where.startswith("run:"):
        wanted = where.removeprefix("run:")[:8]
        found = sorted(runs.glob(f"benchmark/*-{wanted}")) if len(wanted) == 8 else []
        if len(found) != 1:
            told = f"{len(found)} such runs of task=benchmark in {runs}, expected one"
            raise VlgroundError(f"{option}={where}: {told}")
        path = found[0]
    if not path.exists():
        raise VlgroundError(f"{option}={where}: expected a file, a run's folder or run:FINGERPRINT")
    return path


# Place, image id and caption of each record.
_Told = Iterator[tuple[str, str | None, str | None]]


def _of_file(option: str, path: Path) -> _Told:
    for place, record in read_records(option, str(path)).records:
        yield place, text_of(record, ("image_id",)), text_of(record, _TEXT)


def _of_run(option: str, where: str, folder: Path) -> _Told:
    import pandas

    try:
        results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        rows = pandas.read_parquet(folder / "rows.parquet")
    except (OSError, ValueError) as error:
        told = f"no finished run: {getattr(error, 'strerror', None) or error}"
        raise VlgroundError(f"{option}={where}: {told}") from error
    if results["choices"].get("metric") not in _METRICS:
        told = f"its rows are no captions; expected a run with metric={' or '.join(_METRICS)}"
        raise VlgroundError(f"{option}={where}: {told}")
    for name, image_id, text, flag in zip(
        rows["id"], rows["image_id"], rows["text"], rows["flag"], strict=True
    ):
        yield str(name), str(image_id), None if flag else whole(str(text))
