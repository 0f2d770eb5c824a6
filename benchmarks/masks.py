"""How many masked images a second one core makes.

    OMP_NUM_THREADS=1 python benchmarks/masks.py

Maps are 7×7 noise, images 224×224 noise. The authors' path is computed beside it: min-max, Pillow's
bicubic in mode F, sigmoid, product, truncation; with it the share of greys that differ.
"""

import argparse
import time

import numpy as np
import torch
from PIL import Image

from vlground.data.sample import Sample
from vlground.geometry import Frame
from vlground.masks.controls import Black, Complement, Full, RandomPlace
from vlground.masks.soft import Crop, Overlay, Sigmoid

SIZE = 224
MASKS = {
    "sigmoid": Sigmoid(),
    "sigmoid fill=grey": Sigmoid(fill="grey"),
    "blur": Sigmoid(fill="blur"),
    "overlay": Overlay(),
    "crop": Crop(Sigmoid()),
    "random": RandomPlace(Sigmoid()),
    "complement": Complement(Sigmoid()),
    "black": Black(),
    "full": Full(),
}


def literal(image, grid):
    """The authors' path."""
    raw = grid.numpy()
    values = (raw - raw.min()) / (raw.max() - raw.min() + 1e-8)
    heat = np.array(Image.fromarray(values).resize((SIZE, SIZE), Image.BICUBIC))
    mask = 1 / (1 + np.exp(25 * (0.6 - heat)))
    return (image * mask[..., None]).astype(np.uint8)


def rate(draw, count):
    """Images a second: the best of five rounds, since other work only ever slows one down."""
    draw()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        draw()
        times.append(time.perf_counter() - start)
    return count / min(times)


def main():
    """Print the rates and the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    grids = torch.rand(arguments.images, 7, 7, generator=generator)
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    frame, sample = Frame.squash(SIZE, SIZE, SIZE), Sample("a", "a", image, "cat")
    for name, mask in MASKS.items():
        speed = rate(
            lambda m=mask: [m(image, grid, frame, sample) for grid in grids], arguments.images
        )
        print(f"{name:18} {speed:7.0f} images/s")
    speed = rate(lambda: [literal(image, grid) for grid in grids], arguments.images)
    print(f"{'authors, literal':18} {speed:7.0f} images/s")
    for clip in (False, True):
        mask = Sigmoid(clip=clip)
        pairs = [(mask(image, grid, frame, sample), literal(image, grid)) for grid in grids]
        different = np.abs(np.stack([a.astype(int) - b for a, b in pairs]))
        share = (different > 0).mean()
        print(f"clip={clip!s:5}: largest difference {different.max()} of 255, share {share:.1e}")


if __name__ == "__main__":
    main()
