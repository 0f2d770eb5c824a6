"""Pictures inside the page: each stored once, the same samples in every run, within a budget."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from PIL import Image

from vlground.identity import digest
from vlground.page.explained import gallery
from vlground.page.reading import Run
from vlground.page.rows import rank

SMALL = 200  # longer side of overlays that have to be shrunk, in pixels
_PANELS = 3  # side by side in a picture of an explanation, each at most so large
_QUALITY = 70
_KINDS = {"JPEG": "jpeg", "PNG": "png", "WEBP": "webp"}


@dataclass
class Album:
    """Pictures as base64, each once.

    Attributes:
        pictures: `[kind, base64]`, kind `jpeg`, `png` or `webp`.
        size: Bytes they take in the page.
    """

    pictures: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    _known: dict[str, int] = field(default_factory=dict)

    def add(self, data: bytes) -> int:
        """Store a picture file, and return its place."""
        key = hashlib.sha256(data).hexdigest()
        if key not in self._known:
            with Image.open(io.BytesIO(data)) as image:
                kind = _KINDS[str(image.format)]
            text = base64.b64encode(data).decode()
            self._known[key] = len(self.pictures)
            self.pictures.append((kind, text))
            self.size += len(text) + 20
        return self._known[key]

    def cut(self, length: int) -> None:
        """Forget the pictures from a place on."""
        self.size -= sum(len(text) + 20 for _, text in self.pictures[length:])
        del self.pictures[length:]
        self._known = {key: place for key, place in self._known.items() if place < length}


Shown = list[list[tuple[str, int]]]  # for each run: sample id and its place in the album
Choose = Callable[[Run], list[str]]
Draw = Callable[[Run, str], bytes | None]


def in_turn(
    runs: Sequence[Run], choose: Choose, most: int | None = None
) -> Iterator[list[tuple[int, str]]]:
    """Run and sample id: the first choice of every run, then the second of every run.

    Args:
        runs: The runs.
        choose: Ids of a run's samples that can have a picture, the first choice first.
        most: Samples of each run; all of them if None.
    """
    orders = [choose(run) for run in runs]
    for place in range(max(map(len, orders), default=0)):
        if most is not None and place >= most:
            return
        yield [(i, order[place]) for i, order in enumerate(orders) if place < len(order)]


def with_map(run: Run) -> list[str]:
    """Ids of the samples that were not skipped, by hash."""
    if run.rows is None:
        return []
    rows = run.rows[run.rows["skipped"].isna()] if "skipped" in run.rows else run.rows
    return sorted(map(str, rows["id"]), key=rank)


def with_overlay(run: Run) -> list[str]:
    """Ids of the samples whose overlay the run has drawn: its gallery, then the others by hash."""
    drawn = {path.stem for path in (run.folder / "figures").glob("*.jpg")}
    if run.rows is None or not drawn:
        return []
    known = {name for name in map(str, run.rows["id"]) if _stem(name) in drawn}
    first = [name for name in gallery(run) if name in known]
    return [*first, *sorted(known.difference(first), key=rank)]


@lru_cache(maxsize=2**18)
def _stem(sample_id: str) -> str:
    return digest(sample_id)


def fill(
    album: Album,
    runs: Sequence[Run],
    budget: int,
    draw: Draw,
    choose: Choose,
    most: int | None = None,
) -> tuple[Shown, bool]:
    """Add a picture of each run's first choice, then of its second, while they fit.

    A rank enters as a whole or not at all, so that runs can be compared picture by picture.

    Args:
        album: Where to.
        runs: The runs.
        budget: Bytes these pictures may take.
        draw: Run and sample id -> the file's bytes; None if there is no picture.
        choose: Ids of a run's samples that can have one, the first choice first.
        most: Samples of each run at most.

    Returns:
        What is shown, and whether that is all there is.
    """
    shown: Shown = [[] for _ in runs]
    start, names = album.size, 0
    for cells in in_turn(runs, choose, most):
        length = len(album.pictures)
        entered = []
        for i, name in cells:
            data = draw(runs[i], name)
            if data is not None:
                entered.append((i, name, album.add(data)))
                names += len(name.encode()) + 12
            if album.size - start + names > budget:
                album.cut(length)
                return shown, False
        for i, name, place in entered:
            shown[i].append((name, place))
    return shown, True


def overlays(album: Album, runs: Sequence[Run], budget: int) -> tuple[Shown, str]:
    """The overlays that the runs have drawn: as they are if all fit, else smaller and fewer.

    Returns:
        What is shown, and a note on what is not.
    """
    length = len(album.pictures)
    shown, whole = fill(album, runs, budget, stored_overlay, with_overlay)
    if whole:
        return shown, "all that the runs have drawn"
    album.cut(length)
    shown, whole = fill(album, runs, budget, _small_overlay, with_overlay)
    shrunk = f"shrunk to {SMALL} pixels"
    if whole:
        return shown, f"all that the runs have drawn, {shrunk}"
    chosen = "the same samples in every run, chosen by hash"
    galleries = ", after the galleries of explanations" if any(map(gallery, runs)) else ""
    return shown, f"as many as fit, {shrunk}, {chosen}{galleries}"


def stored_overlay(run: Run, sample_id: str) -> bytes | None:
    """The file of `Cell.save_figures`, if it is there and whole."""
    path = run.folder / "figures" / f"{_stem(sample_id)}.jpg"
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return data if image.format in _KINDS else None
    except (OSError, SyntaxError, ValueError):  # missing or torn
        return None


def _small_overlay(run: Run, sample_id: str) -> bytes | None:
    data = stored_overlay(run, sample_id)
    if data is None:
        return None
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
    panels = _PANELS if run.results.get("task") == "explanation" else 1
    small.thumbnail((panels * SMALL, SMALL))
    return webp(small, _QUALITY)


def webp(image: Image.Image, quality: int) -> bytes:
    """A picture as a WebP file."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=4)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    """A drawing, of few colours, as a PNG file."""
    file = io.BytesIO()
    image.quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()
