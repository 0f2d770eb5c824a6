"""Captions of the same images by several systems, for a judge to compare."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from vlground.data.records import image_id_of, image_path, read_records, tell, text_of
from vlground.data.sample import Sample
from vlground.errors import VlgroundError
from vlground.identity import digest

_TEXT = ("caption", "text")


class Systems:
    """One sample an image, with a caption of each system.

    A file holds objects with an image (`image_id`, or `image`, a file's name) and a text (`caption`
    or `text`): a JSON list, JSON lines, or objects one after the other. Of several captions of an
    image by one system the first is taken; the others are counted. An image that one of the
    systems said nothing about is a sample all the same: it has no ranks, and is counted.

    Args:
        captions: Name of a system -> its file; two systems or more.
        root: Folder of the images, which the judge sees.

    Attributes:
        skipped: Reason -> number of records that became no caption, or images that are not there.
        texts: System -> image id -> caption.
        checksums: System -> SHA-256 of its file.

    Raises:
        VlgroundError: A file is not there or not in the format, there are fewer than two systems,
            or no image is there.
    """

    def __init__(self, captions: Mapping[str, str] | None, root: str | None = None) -> None:
        if not isinstance(captions, Mapping) or len(captions) < 2:
            told = "expected two systems or more, each with its file: {one: FILE, other: FILE}"
            raise VlgroundError(f"dataset.captions={captions}: {told}")
        if root is None:
            raise VlgroundError("dataset.root=null: the judge sees the images; where are they?")
        self.skipped: Counter[str] = Counter()
        self.checksums: dict[str, str] = {}
        self.texts: dict[str, dict[str, str]] = {}
        images: dict[str, Path] = {}
        for system, file in captions.items():
            self.texts[system] = self._read(system, file, root, images)
        there = {image_id: path for image_id, path in images.items() if path.is_file()}
        if len(there) < len(images):
            self.skipped["image not in dataset.root"] += len(images) - len(there)
        if not there:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in self.skipped.items())
            raise VlgroundError(f"dataset.captions: no image with a caption: {reasons or 'empty'}")
        self._samples = [
            # What was said counts as the truth of an image does: other captions, other results.
            Sample(image_id, image_id, path, "", label=digest(self.of(image_id)))
            for image_id, path in there.items()
        ]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]

    def of(self, image_id: str) -> dict[str, str]:
        """System -> what it said about an image, of those that said something."""
        return {
            system: texts[image_id] for system, texts in self.texts.items() if image_id in texts
        }

    def _read(self, system: str, file: str, root: str, images: dict[str, Path]) -> dict[str, str]:
        read = read_records(f"dataset.captions.{system}", file)
        self.checksums[system] = read.checksum
        texts: dict[str, str] = {}
        left_out: list[tuple[str, str]] = []
        for place, record in read.records:
            image_id, text = image_id_of(record), text_of(record, _TEXT)
            if image_id is None or text is None:
                left_out.append((place, "no caption" if text is None else "no image id"))
            elif image_id in texts:
                left_out.append((place, "another caption of the same image"))
            else:
                texts[image_id] = text.strip()
                images.setdefault(image_id, image_path(root, record, image_id))
        tell(read.path, left_out)
        self.skipped += Counter(read.skipped) + Counter(reason for _, reason in left_out)
        return texts
