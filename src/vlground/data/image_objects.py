"""Images of which only the objects are known, to write captions of."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from vlground.data.captions import read_objects
from vlground.data.records import images_in, tell
from vlground.data.sample import Sample
from vlground.errors import VlgroundError


class ImageObjects:
    """One sample an image; its text lists the objects.

    Args:
        objects: JSON of image id -> names of the objects in the image.
        root: The folder of the images, each named after its id (`569.jpg`,
            `COCO_val2014_000000000569.jpg`); None: nothing looks at them.

    Attributes:
        skipped: Reason -> number of images left out.
        synonyms: Of whose words the objects are named: CHAIR's for COCO.
        objects: Image id -> names.
        checksums: Option -> SHA-256 of its file.

    Raises:
        VlgroundError: A file is not there or not in the format, or no image is left.
    """

    def __init__(self, objects: str | None, root: str | None = None) -> None:
        if objects is None:
            raise VlgroundError("dataset.objects=None: expected a JSON file, image id -> names")
        known, checksum = read_objects(objects)
        self.checksums = {"objects": checksum}
        self.objects: Mapping[str, frozenset[str]] = known
        self.synonyms: str | None = None
        folder = Path(root or "").expanduser()
        if root is not None and not folder.is_dir():
            raise VlgroundError(f"dataset.root={root}: expected a folder of images")
        files = {} if root is None else images_in(folder)
        missing = [] if root is None else [name for name in known if name not in files]
        tell(folder, [(name, "image not in dataset.root") for name in missing])
        self.skipped = Counter({"image not in dataset.root": len(missing)} if missing else {})
        self._samples = [
            Sample(name, name, files.get(name, Path(f"{name}.jpg")), ", ".join(sorted(names)))
            for name, names in known.items()
            if root is None or name in files
        ]
        if not self._samples:
            raise VlgroundError(f"dataset.root={root}: none of {len(known)} images lies there")

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return self._samples[index]
