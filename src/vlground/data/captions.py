"""Captions made elsewhere, and the objects that their images hold."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlground.data.files import format_of, read_json
from vlground.data.records import (
    Records,
    image_id_of,
    image_path,
    read_records,
    tell,
    text_of,
)
from vlground.data.sample import Sample
from vlground.errors import VlgroundError

_TEXT = ("caption", "text")
_ID = ("id", "question_id", "caption_id")


class Captions:
    """Captions of a file, as samples whose text is the caption.

    The file holds objects with an image (`image_id`, or `image`, a file's name), a text (`caption`
    or `text`) and, if you like, an id (`id`, `question_id` or `caption_id`): a JSON list, JSON
    lines, or objects one after the other. Captions without an id are `<image id>/<number>`. Several
    captions of one image are as many samples; samples of one image follow each other, images in the
    order in which they are first named.

    An empty caption is a sample: CHAIR counts it (`vlground.metrics.chair.tally` says how many).
    A caption is left out, counted and named in the log if it lacks a text or an image, if it has
    the id of another one, or if `objects` or `root` do not know its image.

    Args:
        captions: The file.
        objects: JSON of image id -> names of the objects in the image; None: not known.
        root: Folder of the images, for what needs to see them; None: they are not looked for.

    Attributes:
        skipped: Reason -> number of records that became no sample.
        synonyms: Of whose words the objects are named: CHAIR's for COCO.
        objects: Image id -> names, of the images in `objects`; empty without.
        checksums: Option -> SHA-256 of its file.

    Raises:
        VlgroundError: A file is not there or not in the format, or no caption is left.
    """

    def __init__(
        self, captions: str | None, objects: str | None = None, root: str | None = None
    ) -> None:
        found = read_records("dataset.captions", captions)
        self.checksums = {"captions": found.checksum}
        self.objects: Mapping[str, frozenset[str]] = {}
        self.synonyms: str | None = None
        if objects is not None:
            self.objects, self.checksums["objects"] = read_objects(objects)
        self._root, self._known = root, objects is not None
        left_out: list[tuple[str, str]] = []
        images: dict[str, list[Sample]] = {}
        taken: set[str] = set()
        numbers: Counter[str] = Counter()
        for place, record in found.records:
            sample = self._sample(record, numbers)
            if isinstance(sample, Sample) and sample.id in taken:
                sample = "duplicate id"
            if isinstance(sample, str):
                left_out.append((place, sample))
                continue
            taken.add(sample.id)
            images.setdefault(sample.image_id, []).append(sample)
        tell(found.path, left_out)
        self.skipped = Counter(found.skipped) + Counter(reason for _, reason in left_out)
        self._samples = [sample for samples in images.values() for sample in samples]
        if not self._samples:
            raise VlgroundError(_nothing(captions, found, self.skipped))

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def _sample(self, record: Mapping[str, Any], numbers: Counter[str]) -> Sample | str:
        """The sample of a record, or why it is none."""
        text, image_id = text_of(record, _TEXT), image_id_of(record)
        if image_id is None:
            return "no image id"
        if text is None:
            return "no caption"
        number = numbers[image_id]
        numbers[image_id] += 1
        if self._known and image_id not in self.objects:
            return "image without objects in dataset.objects"
        image = image_path(self._root, record, image_id)
        if self._root is not None and not image.is_file():
            return "image not in dataset.root"
        return Sample(text_of(record, _ID) or f"{image_id}/{number}", image_id, image, text)


def read_objects(
    value: str, option: str = "dataset.objects"
) -> tuple[dict[str, frozenset[str]], str]:
    """Read which objects images hold.

    Args:
        value: JSON of image id -> names.
        option: That named it.

    Returns:
        Image id -> names, and the file's SHA-256.

    Raises:
        VlgroundError: The file is not there or not in the format.
    """
    path = Path(str(value)).expanduser()
    if not path.is_file():
        raise VlgroundError(f"{option}={value}: expected a JSON file, found no such file")
    with format_of(path, "objects (image id -> names)"):
        objects: dict[str, frozenset[str]] = {}
        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError("expected one object, image id -> names")
        for image, names in content.items():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"of image {image}: no list of names")
            objects[image_id_of({"image": image}) or image] = frozenset(names)
    return objects, hashlib.sha256(path.read_bytes()).hexdigest()


def _nothing(captions: str | None, found: Records, skipped: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{count} × {reason}" for reason, count in skipped.items())
    return f"dataset.captions={captions}: no caption in {len(found.records)} records: {reasons}"
