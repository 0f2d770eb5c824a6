"""How long a data set of Flickr30k's size takes to index, the first time and afterwards.

    python benchmarks/indexing.py [--images 31783]

The files are drawn in the published format: nine boxes an image, five sentences of three phrases.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

from vlground.data.flickr30k_entities import Flickr30kEntities

WORDS = ("man", "woman", "dog", "red", "blue", "ball", "street", "hat", "two", "young", "the", "a")
OBJECT = """\t<object>
\t\t<name>{name}</name>
\t\t<bndbox>
\t\t\t<xmin>{x}</xmin>
\t\t\t<ymin>{y}</ymin>
\t\t\t<xmax>{x1}</xmax>
\t\t\t<ymax>{y1}</ymax>
\t\t</bndbox>
\t</object>
"""
SIZE = "\t<size>\n\t\t<width>500</width>\n\t\t<height>500</height>\n\t</size>\n"


def draw(root: Path, images: int) -> None:
    for folder in ("Annotations", "Sentences", "flickr30k-images"):
        (root / folder).mkdir()
    rng = random.Random(0)
    names = [str(1_000_000 + 7 * number) for number in range(images)]
    for name in names:
        objects = []
        for chain in range(1, 10):
            x, y = rng.randrange(1, 300), rng.randrange(1, 300)
            corner = {"x1": x + rng.randrange(10, 150), "y1": y + rng.randrange(10, 150)}
            objects.append(OBJECT.format(name=chain, x=x, y=y, **corner))
        xml = f"<annotation>\n{SIZE}{''.join(objects)}</annotation>\n"
        (root / "Annotations" / f"{name}.xml").write_text(xml)
        sentences = [" ".join(_phrase(rng) for _ in range(3)) for _ in range(5)]
        (root / "Sentences" / f"{name}.txt").write_text("\n".join(sentences) + "\n")
    (root / "flickr30k-images" / f"{names[0]}.jpg").write_bytes(b"x")
    (root / "train.txt").write_text("\n".join(names) + "\n")


def _phrase(rng: random.Random) -> str:
    return f"[/EN#{rng.randrange(1, 10)}/people {' '.join(rng.choices(WORDS, k=3))}] is"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=31_783)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw(root, images)
        for when in ("first", "afterwards"):
            started = time.perf_counter()
            data = Flickr30kEntities(folder, 0, split="train", cache_dir=str(root / "cache"))
            seconds = time.perf_counter() - started
            found = len(data)
            del data  # a start of a run finds no other data set in memory
            print(f"{images} XML files, {found} samples, {when}: {seconds:.1f} s")


if __name__ == "__main__":
    main()
