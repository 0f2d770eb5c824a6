"""COCO detection annotations (Lin et al., ECCV 2014), and what RefCOCO needs of them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from vlground.data.annotated import Annotated, checked_folder
from vlground.data.files import format_of, read_json
from vlground.errors import VlgroundError


@dataclass(frozen=True)
class Photo:
    """One entry of `images`."""

    file_name: str
    width: float
    height: float


@dataclass(frozen=True)
class Instance:
    """One entry of `annotations`: the half-open box `x0, y0, x1, y1` and the category's name."""

    image_id: int
    box: tuple[float, float, float, float]
    category: str
    crowd: bool


@dataclass(frozen=True)
class Instances:
    """An `instances*.json` without its outlines, by id.

    Attributes:
        photos: By id.
        instances: By id; of several with one id the first.
        repeated: How many had the id of another one.
    """

    photos: dict[int, Photo]
    instances: dict[int, Instance]
    repeated: int


def read_instances(path: Path) -> Instances:
    """Read an `instances*.json`; the last one is kept, for a sweep over splits of one file.

    Boxes are `[x, y, width, height]`, floats from 0, so `x1 = x + width` is half-open already.

    Raises:
        VlgroundError: The file is not in the format.
    """
    status = path.stat()
    return _instances(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _instances(path: Path, changed: int, size: int) -> Instances:
    with format_of(path, "COCO"):
        node = read_json(path)
        names = {category["id"]: category["name"] for category in node["categories"]}
        photos = {
            image["id"]: Photo(image["file_name"], image["width"], image["height"])
            for image in node["images"]
        }
        if len(photos) < len(node["images"]):
            raise VlgroundError(f"{path}: two images have one id, so whose boxes are whose?")
        instances: dict[int, Instance] = {}
        for one in node["annotations"]:
            instances.setdefault(one["id"], _instance(one, names))
        return Instances(photos, instances, len(node["annotations"]) - len(instances))


def _instance(node: dict[str, Any], names: dict[int, str]) -> Instance:
    x, y, width, height = map(float, node["bbox"])
    category = names[node["category_id"]]
    return Instance(
        node["image_id"], (x, y, x + width, y + height), category, bool(node.get("iscrowd", 0))
    )


class COCO(Annotated):
    """`annotations/instances_<split>.json` and `<split>/`; one sample per (photo, category).

    A sample has all boxes of its category; they are `[x, y, width, height]` in the file, floats
    from 0, and are clipped to the image. Sample ids are like `000000000139/chair`, images come in
    the file's order and categories in alphabetical order.

    Args:
        root: The folder.
        seed: Of the foils: categories that are in the data set but not in that photo.
        split: val2017, train2017, val2014 …
        crowd: Keep the regions of crowds, whose one box holds many objects.
        images: The folder of photos; None: `<split>` in root.

    Attributes:
        skipped: `crowd`, `empty box`, `box outside the image`, `unknown image`, `duplicate id` →
            objects.

    Raises:
        VlgroundError: The folder or a file is not as expected.
    """

    def __init__(
        self,
        root: str | None,
        seed: int,
        split: str = "val2017",
        crowd: bool = False,
        images: str | None = None,
    ) -> None:
        super().__init__()
        annotations = f"annotations/instances_{split}.json"
        photos = () if images else (f"{split}/*.jpg",)
        folder = checked_folder(root, "COCO", (annotations, *photos))
        read = read_instances(folder / annotations)
        if read.repeated:
            self._left_out("duplicate id", read.repeated)
        boxes: dict[int, dict[str, list[list[float]]]] = {image: {} for image in read.photos}
        for one in read.instances.values():
            photo = read.photos.get(one.image_id)
            if photo is None:
                self._left_out("unknown image")
                continue
            self._true(_id_of(photo), one.category)
            if one.crowd and not crowd:
                self._left_out("crowd")
            elif box := self._clip(one.box, photo.width, photo.height):
                boxes[one.image_id].setdefault(one.category, []).append(box)
        where = Path(images).expanduser() if images else folder / split
        for image, categories in boxes.items():
            image_id, file = _id_of(read.photos[image]), where / read.photos[image].file_name
            for name in sorted(categories):
                sample_id = f"{image_id}/{name}"
                self._add(sample_id, image_id, file, name, categories[name], label=name)
        self._finish(seed)


def _id_of(photo: Photo) -> str:
    """The file's name, with its folder if it has one."""
    return PurePosixPath(photo.file_name).with_suffix("").as_posix()
