"""Flickr30k Entities (Plummer et al., IJCV 2017), as published or as info-ground's JSON."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args
from xml.etree import ElementTree

from vlground.data.annotated import Annotated, checked_folder
from vlground.data.files import format_of, parse_xml, read_json
from vlground.data.flickr30k_files import EntitiesImage, image_of_json, image_of_xml, phrases_of
from vlground.data.index_cache import IndexCache
from vlground.errors import VlgroundError

Origin = Literal["one_based", "as_mdetr", "as_info_ground"]
Format = Literal["xml", "json"]

# What is added to x0, y0 and to x1, y1 as published, to be half-open.
_SHIFT: dict[Origin, tuple[int, int]] = {
    "one_based": (-1, 0),
    "as_mdetr": (0, 0),
    "as_info_ground": (-1, -1),
}


class Flickr30kEntities(Annotated):
    """Phrases of captions with all boxes of their coreference chain; one sample an occurrence.

    xml: `<split>.txt`, `Annotations/<image>.xml` and `Sentences/<image>.txt`; json: info-ground's
    `bounding_boxes_<split>.json` and `sentences_<split>.json` (images in the file's order). Both
    give the same samples. Every phrase whose chain has a box is one, 14,481 in test. A box that
    names several chains belongs to each. Sample ids are `<image>/<sentence>/<phrase>` from 0, the
    phrases left out counted too. `metric.box_merge` says whether the boxes are merged, as in MDETR
    and Q-GroundCAM, or any of them counts, as in AMC.

    Published coordinates are 1-based with both ends included: `xmin, xmax` are `x0 = xmin - 1, x1 =
    xmax` half-open. (info-ground's JSON has 1 less everywhere, which is undone.) Then they are
    clipped to the image.

    Args:
        root: The folder.
        seed: Of the foils: phrases of other images that no caption of this image has.
        split: train, val or test.
        annotations: xml or json.
        origin: one_based: as above. as_mdetr: the published numbers are the half-open corners;
            as_info_ground: 1 less everywhere is, so for info-ground and AMC.
        images: The folder of photos; None: `flickr30k-images` in root.
        cache_dir: Where the index is kept that makes the next start quick, see `IndexCache`.

    Attributes:
        skipped: `not visual`, `scene`, `no box` → phrases; `empty box`, `box outside the image` →
            boxes; `missing annotation`, `unreadable XML` → images.

    Raises:
        VlgroundError: The folder, an option or a file is not as expected.
    """

    def __init__(
        self,
        root: str | None,
        seed: int,
        split: str = "test",
        annotations: Format = "xml",
        origin: Origin = "one_based",
        images: str | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        if origin not in _SHIFT:
            raise VlgroundError(f"dataset.origin={origin}: expected {', '.join(_SHIFT)}")
        if annotations not in get_args(Format):
            raise VlgroundError(f"dataset.annotations={annotations}: expected xml, json")
        self._origin: Origin = origin
        folder, photos = _checked(root, split, annotations, images)
        read = self._from_xml if annotations == "xml" else self._from_json
        options = [type(self).__name__, seed, split, annotations, origin, str(photos.absolute())]
        cache = IndexCache.of(cache_dir, options, _sources(folder, split, annotations))
        if self._known(cache):
            return
        for image_id, image in read(folder, split):
            self._read(image_id, photos / f"{image_id}.jpg", image)
        self._finish(seed)
        cache.save(self._samples, dict(self._skipped))

    def _read(self, image_id: str, photo: Path, image: EntitiesImage) -> None:
        """Make samples of one image's phrases."""
        low, high = _SHIFT[self._origin]
        boxes = {}
        for chain, published in image.boxes.items():
            shifted = [(b[0] + low, b[1] + low, b[2] + high, b[3] + high) for b in published]
            clipped = [self._clip(box, image.width, image.height) for box in shifted]
            boxes[chain] = [box for box in clipped if box is not None]
        for i, phrases in enumerate(image.sentences):
            for j, (chain, phrase, types) in enumerate(phrases):
                self._true(image_id, phrase)
                if boxes.get(chain):
                    name = f"{image_id}/{i}/{j}"
                    self._add(name, image_id, photo, phrase, boxes[chain], "/".join(types))
                elif chain == "0" or "notvisual" in types:
                    self._left_out("not visual")
                else:
                    self._left_out("scene" if chain in image.scene else "no box")

    def _from_xml(self, folder: Path, split: str) -> Iterator[tuple[str, EntitiesImage]]:
        names = (folder / f"{split}.txt").read_text("utf-8").split()
        if repeated := len(names) - len(set(names)):
            self._left_out("duplicate id", repeated)
        for name in dict.fromkeys(names):
            xml, text = folder / "Annotations" / f"{name}.xml", folder / "Sentences" / f"{name}.txt"
            if not (xml.is_file() and text.is_file()):
                self._left_out("missing annotation")
                continue
            try:
                image = image_of_xml(parse_xml(xml))
            # LookupError: unknown encoding. ValueError: no size, or a corner that is no number.
            except (ElementTree.ParseError, LookupError, ValueError):
                self._left_out("unreadable XML")
                continue
            image.sentences = phrases_of(text.read_text("utf-8"))
            yield name, image

    def _from_json(self, folder: Path, split: str) -> Iterator[tuple[str, EntitiesImage]]:
        path = folder / f"bounding_boxes_{split}.json"
        with format_of(path, "info-ground"):
            known = read_json(path)
            said = read_json(folder / f"sentences_{split}.json")
            for name, node in known.items():
                if name not in said:
                    self._left_out("missing annotation")
                else:
                    yield name, image_of_json(node, said[name])


def _sources(folder: Path, split: str, annotations: Format) -> list[Path]:
    """What an index is made of: files, and folders of files."""
    names = [f"{split}.txt", "Annotations", "Sentences"]
    if annotations == "json":
        names = [f"bounding_boxes_{split}.json", f"sentences_{split}.json"]
    return [folder / name for name in names]


def _checked(
    root: str | None, split: str, annotations: Format, images: str | None
) -> tuple[Path, Path]:
    names = {
        "xml": (f"{split}.txt", "Annotations/*.xml", "Sentences/*.txt"),
        "json": (f"bounding_boxes_{split}.json", f"sentences_{split}.json"),
    }
    photos = () if images else ("flickr30k-images/*.jpg",)
    folder = checked_folder(root, "Flickr30k Entities", (*names[annotations], *photos))
    return folder, Path(images).expanduser() if images else folder / "flickr30k-images"
