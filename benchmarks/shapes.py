"""Time and memory of the shapes world: one scene, one question, one data set.

    OMP_NUM_THREADS=1 python benchmarks/shapes.py

One thread; medians of five.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np

from vlground.data.sample import manifest
from vlground.data.shapes.classification import ShapesClassification
from vlground.data.shapes.language import foil, phrase, referring, triplets
from vlground.data.shapes.render import render
from vlground.data.shapes.scene import SEEN, draw_scene, generator
from vlground.data.shapes.sets import ShapesPhrases, ShapesReferring, ShapesRelations


def seconds(work: Callable[[], object]) -> float:
    """Median of five calls, after one to warm up."""
    work()
    found = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return float(np.median(found))


def pieces(scenes: int) -> Iterator[tuple[str, float]]:
    """Milliseconds a scene, or a question, of every step."""
    drawn = [draw_scene(("bench", index)) for index in range(scenes)]
    random = generator("bench")

    def each(work: Callable[..., object]) -> float:
        return 1e3 * seconds(lambda: [work(scene) for scene in drawn]) / scenes

    def draw() -> None:
        for index in range(scenes):
            draw_scene(("bench", index))

    yield "draw_scene", 1e3 * seconds(draw) / scenes
    yield "render, plain", each(render)
    yield "render, shifted", each(lambda scene: render(scene, "shifted"))
    yield "all triplets", each(lambda scene: list(triplets(scene)))
    yield "all expressions of one object", each(lambda scene: referring(scene, 0))
    yield "a foil", each(lambda scene: foil(random, scene, phrase(scene.pairs[0]), SEEN))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=5000)
    arguments = parser.parse_args()
    for name, milliseconds in pieces(arguments.scenes):
        print(f"{name:30} {milliseconds:6.3f} ms")
    number = arguments.samples
    print(f"{number} samples:                  built    drawn  checksum   memory   images")
    for name, build in (
        ("phrases", lambda: ShapesPhrases(number, "test", "in", "plain", 96, 0)),
        ("phrases, out", lambda: ShapesPhrases(number, "test", "out", "plain", 96, 0)),
        ("referring", lambda: ShapesReferring(number, "test", "in", "plain", 96, 0)),
        ("triplets", lambda: ShapesRelations("triplet", number, "test", "in", "plain", 96, 0)),
        ("classification", lambda: ShapesClassification(number, "test", "plain", 96, 0)),
    ):
        built = seconds(build)
        data = build()
        drawn = seconds(lambda data=data: [data[index] for index in range(number)])
        tracemalloc.start()
        samples = [data[index] for index in range(number)]
        memory = tracemalloc.get_traced_memory()[0] / 2**20
        tracemalloc.stop()
        check = seconds(lambda samples=samples: manifest(samples))
        images = len({sample.image_id for sample in samples})
        print(
            f"{name:24} {built:9.2f} s {drawn:6.2f} s {check:7.2f} s {memory:6.0f} MiB {images:6}"
        )


if __name__ == "__main__":
    main()
