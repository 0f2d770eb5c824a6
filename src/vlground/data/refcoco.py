"""RefCOCO, RefCOCO+ and RefCOCOg in the files of lichengunc/refer."""

from pathlib import Path
from typing import Any, Literal, get_args

from vlground.data.annotated import Annotated, checked_folder
from vlground.data.coco import Instances, read_instances
from vlground.data.files import format_of, read_plain_pickle
from vlground.errors import VlgroundError

Name = Literal["refcoco", "refcoco+", "refcocog"]


class RefCOCO(Annotated):
    """Referring expressions (Kazemzadeh 2014, Yu 2016, Mao 2016); one sample an expression.

    The files are `<name>/refs(<split_by>).p`, `<name>/instances.json` and the photos of COCO
    train2014 in `images/mscoco/images/train2014`. A box is the instance's `[x, y, width, height]`,
    floats from 0, clipped to the image; the text is `sent`, the cleaned expression, as in AMC and
    MDETR. The pickle is read as data alone: one that asks for any class or function is refused.

    Sample ids are `<ref id>/<sentence id>`; photos come in the order of the references.

    Args:
        root: The folder that holds `refcoco/`, `refcoco+/` or `refcocog/`.
        seed: Of the foils: expressions of the split about other photos.
        name: refcoco, refcoco+ or refcocog.
        split_by: The partition. unc: refcoco, refcoco+; google: refcoco, refcocog; umd: refcocog.
        split: train, val, testA, testB (refcoco, refcoco+; RefCOCO+ unc 5,726 and 4,889), test
            (refcocog umd).
        images: The folder of photos; None: as above, in root.

    Attributes:
        skipped: `no text`, `unknown object`, `empty box`, `box outside the image`, `duplicate id`
            → expressions, and objects of `instances.json` with the id of another one.

    Raises:
        VlgroundError: The folder, an option or a file is not as expected.
    """

    def __init__(
        self,
        root: str | None,
        seed: int,
        name: Name = "refcoco+",
        split_by: str = "unc",
        split: str = "val",
        images: str | None = None,
    ) -> None:
        super().__init__()
        if name not in get_args(Name):
            raise VlgroundError(f"dataset.name={name}: expected {', '.join(get_args(Name))}")
        train2014 = "images/mscoco/images/train2014"
        photos = () if images else (f"{train2014}/*.jpg",)
        expected = (f"{name}/refs({split_by}).p", f"{name}/instances.json", *photos)
        folder = checked_folder(root, "RefCOCO", expected)
        read = read_instances(folder / name / "instances.json")
        where = Path(images).expanduser() if images else folder / train2014
        if read.repeated:
            self._left_out("duplicate id", read.repeated)
        path = folder / expected[0]
        refs = read_plain_pickle(path)
        with format_of(path, "RefCOCO"):
            splits = sorted({ref["split"] for ref in refs})
            if split not in splits:
                raise VlgroundError(f"dataset.split={split}: expected {', '.join(splits)}")
            for ref in refs:
                # In RefCOCOg (google) a photo can be in several splits: all is true of it.
                for sentence in ref["sentences"]:
                    self._true(str(ref["image_id"]), sentence["sent"])
                if ref["split"] == split:
                    self._read(ref, read, where)
        self._finish(seed)

    def _read(self, ref: dict[str, Any], read: Instances, where: Path) -> None:
        # The reference's own `file_name` is none of a photo: it ends in the number of the instance.
        photo = read.photos.get(ref["image_id"])
        instance = read.instances.get(ref["ann_id"])
        for sentence in ref["sentences"]:
            if photo is None or instance is None:
                self._left_out("unknown object")
            elif box := self._clip(instance.box, photo.width, photo.height):
                sample_id = f"{ref['ref_id']}/{sentence['sent_id']}"
                image_id, file = str(ref["image_id"]), where / photo.file_name
                self._add(
                    sample_id, image_id, file, sentence["sent"], [box], label=instance.category
                )
