"""Small data in the formats in which the authors publish them, and folders of the real ones."""

import json
import os
import pickle
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

WIDTH, HEIGHT = 60, 40


def real(name: str) -> str:
    """A folder of real data below $VLGROUND_DATA, or a skip that says what is missing."""
    folder = os.environ.get("VLGROUND_DATA")
    if not folder:
        pytest.skip("VLGROUND_DATA names no folder of real data")
    path = Path(folder) / name
    if not path.is_dir():
        pytest.skip(f"VLGROUND_DATA has no {name}/")
    return str(path)


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), "grey").save(path)
    return path


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


# Flickr30k Entities. Per image: objects (chains, box or flags) and sentences.
Objects = list[tuple[list[str], tuple[int, int, int, int] | str]]


def flickr_image(root: Path, name: str, objects: Objects, sentences: list[str]) -> None:
    tags = []
    for chains, where in objects:
        inner = "".join(f"\t\t<name>{chain}</name>\n" for chain in chains)
        if isinstance(where, str):
            scene, nobox = int("scene" in where), int("nobox" in where)
            inner += f"\t\t<scene>{scene}</scene>\n\t\t<nobndbox>{nobox}</nobndbox>\n"
        else:
            corners = zip(("xmin", "ymin", "xmax", "ymax"), where, strict=True)
            bounds = "".join(f"\t\t\t<{key}>{value}</{key}>\n" for key, value in corners)
            inner += f"\t\t<bndbox>\n{bounds}\t\t</bndbox>\n"
        tags.append(f"\t<object>\n{inner}\t</object>\n")
    size = f"\t\t<width>{WIDTH}</width>\n\t\t<height>{HEIGHT}</height>\n\t\t<depth>3</depth>\n"
    photo(root / "flickr30k-images" / f"{name}.jpg")
    for folder in ("Annotations", "Sentences"):
        (root / folder).mkdir(exist_ok=True)
    (root / "Annotations" / f"{name}.xml").write_text(
        f"<annotation>\n\t<filename>{name}.jpg</filename>\n\t<size>\n{size}\t</size>\n"
        f"{''.join(tags)}</annotation>\n"
    )
    (root / "Sentences" / f"{name}.txt").write_text("".join(f"{line}\n" for line in sentences))
    with (root / "test.txt").open("a") as file:
        file.write(f"{name}\n")


def info_ground(root: Path, names: list[str], all_objects: list[Objects], said: Any) -> None:
    """The two JSON files of info-ground, whose script subtracts 1 from all four corners."""
    known = {}
    for name, objects in zip(names, all_objects, strict=True):
        node: dict[str, Any] = {"boxes": {}, "scene": [], "nobox": []}
        node |= {"width": WIDTH, "height": HEIGHT, "depth": 3}
        for chains, where in objects:
            for chain in chains:
                if isinstance(where, str):
                    for flag in where.split():
                        node[flag].append(chain)
                else:
                    node["boxes"].setdefault(chain, []).append([value - 1 for value in where])
        known[name] = node
    write_json(root / "bounding_boxes_test.json", known)
    write_json(root / "sentences_test.json", said)


class PickledByPython2(pickle._Pickler):  # type: ignore[name-defined]
    """Protocol 2 with byte strings, as refs(unc).p was written."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_text(self, text: str) -> None:
        data = text.encode("latin1")
        self.write(b"U" + bytes([len(data)]) + data)
        self.memoize(text)

    dispatch[str] = save_text


def write_refs(path: Path, refs: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        PickledByPython2(file, protocol=2).dump(refs)


def instance(number: int, image: int, category: int, bbox: list[float], crowd: int = 0) -> Any:
    x, y, w, h = bbox
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": bbox,
        "area": w * h,
        "iscrowd": crowd,
        "segmentation": [[x, y, x + w, y, x + w, y + h]],
    }


def instances(file_names: dict[int, str], annotations: list[Any]) -> dict[str, Any]:
    return {
        "info": {},
        "licenses": [],
        "images": [
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for number, name in file_names.items()
        ],
        "annotations": annotations,
        "categories": [
            {"supercategory": "person", "id": 1, "name": "person"},
            {"supercategory": "animal", "id": 18, "name": "dog"},
            {"supercategory": "vehicle", "id": 6, "name": "bus"},
        ],
    }
