"""The regions of Visual Genome (Krishna et al., IJCV 2017)."""

from itertools import islice
from pathlib import Path, PurePosixPath

from vlground.data.annotated import Annotated, checked_folder
from vlground.data.files import format_of, iterate_json, read_json


class VisualGenome(Annotated):
    """Region descriptions, such as `shade is along the street`; one sample a region.

    The files are `region_descriptions.json`, `image_data.json` (sizes, and which folder a photo is
    in), `VG_100K/` and `VG_100K_2/`. A box is `x, y, width, height` in whole pixels from 0, so `x +
    width` is half-open already; it is clipped to the image. Sample ids are `<image>/<region>`.

    All 5.4 million regions need much memory: take the first so many images by `images`; no more of
    the large file is read than they need.

    Args:
        root: The folder.
        seed: Of the foils: descriptions of other images.
        images: How many, in the file's order; None: all.

    Attributes:
        skipped: `no text`, `no image size`, `empty box`, `box outside the image` → regions.

    Raises:
        VlgroundError: The folder or a file is not as expected.
    """

    def __init__(self, root: str | None, seed: int, images: int | None = None) -> None:
        super().__init__()
        files = ("region_descriptions.json", "image_data.json", "VG_100K/*.jpg", "VG_100K_2/*.jpg")
        folder = checked_folder(root, "Visual Genome", files)
        path = folder / "image_data.json"
        with format_of(path, "Visual Genome"):
            sizes = {
                node["image_id"]: (node["width"], node["height"], _file(folder, node["url"]))
                for node in read_json(path)
            }
        path = folder / "region_descriptions.json"
        with format_of(path, "Visual Genome"):
            for node in islice(iterate_json(path), images):
                for region in node["regions"]:
                    number, region_id = node["id"], region["region_id"]
                    if number not in sizes:
                        self._left_out("no image size")
                        continue
                    width, height, file = sizes[number]
                    x, y = region["x"], region["y"]
                    corners = (x, y, x + region["width"], y + region["height"])
                    text = region["phrase"]
                    self._true(str(number), text)
                    if box := self._clip(corners, width, height):
                        self._add(f"{number}/{region_id}", str(number), file, text, [box])
        self._finish(seed)


def _file(folder: Path, url: str) -> Path:
    """`…/VG_100K_2/1.jpg` is in the folder of that name."""
    parts = PurePosixPath(url).parts
    return folder / parts[-2] / parts[-1]
