"""SpatialSense (Yang, Russakovsky, Deng, ICCV 2019; Zenodo 10.5281/zenodo.8104370)."""

from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from vlground.data.annotated import Annotated, checked_folder
from vlground.data.files import format_of, read_json
from vlground.errors import VlgroundError

Setting = Literal["triplet", "subject", "object"]


class SpatialSense(Annotated):
    """Relations that hold, such as `cat to the left of mirror`; one sample a relation.

    The files are `annotations.json`, `images/flickr/` and `images/nyu/`. A box is `[y0, y1, x0,
    x1]`, 0-based with the end excluded (`y1` reaches the image's height), and is clipped to the
    image. The authors' baselines also widen boxes narrower than 20 pixels; here they stay as drawn.

    The three settings are those of Q-GroundCAM: the same samples with the same ids in each, so a
    relation of which one box is unusable is in none. Sample ids are the relations' own.

    Args:
        root: The folder.
        seed: Of the foils: texts of the setting that no relation holding in that image has.
        split: train, valid or test (1,811 samples).
        setting: triplet: `f"{subject} {predicate} {object}"` against the subject's box; subject and
            object: the bare name against its own box.

    Attributes:
        skipped: `label is false` and reasons why a box is unusable → number of relations.

    Raises:
        VlgroundError: The folder, an option or a file is not as expected.
    """

    def __init__(
        self, root: str | None, seed: int, split: str = "test", setting: Setting = "triplet"
    ) -> None:
        super().__init__()
        if setting not in get_args(Setting):
            expected = ", ".join(get_args(Setting))
            raise VlgroundError(f"dataset.setting={setting}: expected {expected}")
        files = ("annotations.json", "images/flickr/*", "images/nyu/*")
        folder = checked_folder(root, "SpatialSense", files)
        path = folder / "annotations.json"
        with format_of(path, "SpatialSense"):
            images = read_json(path)
            splits = sorted({image["split"] for image in images})
            if split not in splits:
                raise VlgroundError(f"dataset.split={split}: expected {', '.join(splits)}")
            for image in images:
                if image["split"] == split:
                    self._read(folder, image, setting)
        self._finish(seed)

    def _read(self, folder: Path, image: dict[str, Any], setting: Setting) -> None:
        url = image["url"]
        source = "flickr" if url.startswith("http") else "nyu"
        photo = folder / "images" / source / PurePosixPath(url).name
        image_id = f"{source}/{photo.stem}"
        for relation in image["annotations"]:
            if not relation["label"]:
                self._left_out("label is false")
                continue
            subject, other = relation["subject"], relation["object"]
            texts = {
                "triplet": f"{subject['name']} {relation['predicate']} {other['name']}",
                "subject": subject["name"],
                "object": other["name"],
            }
            # The bare names are both in the image, so neither is a foil for the other.
            shown = ["triplet"] if setting == "triplet" else ["subject", "object"]
            for kind in shown:
                self._true(image_id, texts[kind])
            boxes = [self._box(thing["bbox"], image) for thing in (subject, other)]
            if boxes[0] is None or boxes[1] is None:
                continue
            box = boxes[1] if setting == "object" else boxes[0]
            self._add(str(relation["_id"]), image_id, photo, texts[setting], [box])

    def _box(self, bbox: list[float], image: dict[str, Any]) -> list[float] | None:
        y0, y1, x0, x1 = bbox
        return self._clip((x0, y0, x1, y1), image["width"], image["height"])
