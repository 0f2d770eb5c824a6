"""Any folder in the format of Pascal VOC (Everingham et al. 2010)."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from vlground.data.files import parse_xml
from vlground.data.sample import Sample, draw_foil
from vlground.errors import VlgroundError

_SUFFIXES = (".jpg", ".jpeg", ".JPG", ".JPEG", ".png")


class PascalVOC:
    """`Annotations/*.xml` and `JPEGImages/`; one sample per (photo, class), with all its boxes.

    VOC counts pixels from 1 and includes both ends, so `xmin, xmax` become `x0 = xmin - 1`,
    `x1 = xmax`; boxes are clipped to the image. Sample ids are like `2007_000027/person`, in order.

    Args:
        root: The folder.
        seed: Of the foils: names of classes that are in the data set but not in that photo (an
            object left out as difficult or for its box is still in the photo).
        split: Only the photos listed in `ImageSets/Main/<split>.txt`.
        difficult: Keep the objects marked difficult, which VOC's own evaluation leaves out.

    Attributes:
        skipped: Reason → number of objects left out; a file that cannot be read or holds no object
            counts as one.

    Raises:
        VlgroundError: There is no such folder or split.
    """

    def __init__(
        self, root: str | None, seed: int, split: str | None = None, difficult: bool = False
    ) -> None:
        folder = _checked(root)
        self._skipped: Counter[str] = Counter()
        self._difficult = difficult
        images = {path.name: path for path in sorted((folder / "JPEGImages").iterdir())}
        stems = self._stems(folder, split)
        files = [folder / "Annotations" / f"{stem}.xml" for stem in stems]
        photos = [photo for path in files for photo in self._read(path, images)]
        names = {name for photo in photos for name in photo.names}
        self._samples = [sample for photo in photos for sample in photo.samples(names, seed)]

    @property
    def skipped(self) -> Mapping[str, int]:
        """Reason → number of annotations that became no sample."""
        return self._skipped

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def _stems(self, folder: Path, split: str | None) -> list[str]:
        present = {path.stem for path in (folder / "Annotations").glob("*.xml")}
        if split is None:
            return sorted(present)
        # The lists of one class (`cat_val.txt`) have a second column, -1, 0 or 1.
        lines = _split_file(folder, split).read_text("utf-8").split("\n")
        listed = Counter(line.split()[0] for line in lines if line.strip())
        self._count("duplicate id", listed.total() - len(listed))
        self._count("missing annotation", len(listed.keys() - present))
        return sorted(listed.keys() & present)

    def _read(self, path: Path, images: Mapping[str, Path]) -> Iterator["_Photo"]:
        """The photo of one annotation file, or none with the reason counted."""
        try:
            tree = parse_xml(path)
        except (ElementTree.ParseError, LookupError, ValueError):  # LookupError: unknown encoding
            self._count("unreadable XML")
            return
        objects = tree.findall("object")
        image = _image(images, tree.findtext("filename"), path.stem)
        if not objects:
            self._count("no object")
        elif image is None:
            self._count("missing image", len(objects))
        elif (size := _size(tree, image)) is None:
            self._count("unreadable image", len(objects))
        else:
            photo = _Photo(path.stem, image)
            for element in objects:
                self._add(photo, element, *size)
            yield photo

    def _add(self, photo: "_Photo", element: ElementTree.Element, height: int, width: int) -> None:
        """Add one object to the photo, or count why not."""
        name = (element.findtext("name") or "").strip()
        if not name:
            self._count("no class name")
            return
        photo.names.add(name)
        if not self._difficult and (element.findtext("difficult") or "0").strip() == "1":
            self._count("difficult")
            return
        box = _box(element.find("bndbox"))
        if box is None:
            self._count("no box")
            return
        x0, y0, x1, y1 = box
        clipped = [max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)]
        if x1 <= x0 or y1 <= y0:
            self._count("empty box")
        elif clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
            self._count("box outside the image")
        else:
            photo.boxes.setdefault(name, []).append(clipped)

    def _count(self, reason: str, number: int = 1) -> None:
        if number:
            self._skipped[reason] += number


@dataclass
class _Photo:
    """What one annotation file says: all class names, and the usable boxes of each."""

    id: str
    image: Path
    names: set[str] = field(default_factory=set)
    boxes: dict[str, list[list[float]]] = field(default_factory=dict)

    def samples(self, names: set[str], seed: int) -> Iterator[Sample]:
        others = sorted(names - self.names)
        for name in sorted(self.boxes):
            sample_id = f"{self.id}/{name}"
            yield Sample(
                id=sample_id,
                image_id=self.id,
                image=self.image,
                text=name,
                foil=draw_foil(seed, sample_id, name, others),
                boxes=np.array(self.boxes[name]),
                label=name,
            )


def _checked(root: str | None) -> Path:
    if root is None:
        found = "nothing"
    else:
        folder = Path(root).expanduser()
        annotated = next((folder / "Annotations").glob("*.xml"), None)
        pictured = next((folder / "JPEGImages").glob("*.*"), None)
        if annotated and pictured:
            return folder
        if not folder.is_dir():
            found = "no such folder"
        else:
            missing = [] if annotated else ["no Annotations/*.xml"]
            found = " and ".join(missing if pictured else [*missing, "no photo in JPEGImages/"])
    raise VlgroundError(
        f"dataset.root={root}: expected a Pascal VOC folder with Annotations/*.xml and "
        f"JPEGImages/, found {found}"
    )


def _split_file(folder: Path, split: str) -> Path:
    lists = {path.stem: path for path in sorted((folder / "ImageSets" / "Main").glob("*.txt"))}
    if split not in lists:
        expected = ", ".join(lists) or "null, as there is no ImageSets/Main/*.txt"
        raise VlgroundError(f"dataset.split={split}: expected {expected}")
    return lists[split]


def _image(images: Mapping[str, Path], filename: str | None, stem: str) -> Path | None:
    """The photo named in the file, else the one of the same stem (copied sets forget to rename)."""
    names = [(filename or "").strip(), *(stem + suffix for suffix in _SUFFIXES)]
    return next((images[name] for name in names if name in images), None)


def _size(tree: ElementTree.Element, image: Path) -> tuple[int, int] | None:
    """Height and width as annotated; from the photo's header where that is missing or 0."""
    try:
        height = int(tree.findtext("size/height") or 0)
        width = int(tree.findtext("size/width") or 0)
    except ValueError:
        height = width = 0
    if height > 0 and width > 0:
        return height, width
    try:
        with Image.open(image) as photo:
            return photo.height, photo.width
    except (OSError, Image.DecompressionBombError):
        return None


def _box(element: ElementTree.Element | None) -> tuple[float, float, float, float] | None:
    """`x0, y0, x1, y1` half open, or None if a number is missing or none."""
    if element is None:
        return None
    try:
        xmin, ymin, xmax, ymax = (
            float(element.findtext(key) or "nan") for key in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        return None
    box = (xmin - 1, ymin - 1, xmax, ymax)
    return box if all(map(math.isfinite, box)) else None
