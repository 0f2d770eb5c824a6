"""Speed of the metric suite and of the bootstrap, beside the literal per-pixel version.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py

Maps are 14×14 grids of blobs and noise brought to 384×384 bilinearly, one thread.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from vlground.metrics import QGroundCAM, q_groundcam
from vlground.metrics.statistics import bootstrap_means

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "metrics"))
import reference


def make(n, size=384, grid=14, seed=0):
    """Make n maps, half of them blobs and half noise, and one box each."""
    rng = np.random.default_rng(seed)
    noise = rng.random((n, grid, grid))
    y, x = np.mgrid[:grid, :grid]
    cy, cx = rng.uniform(0, grid, (2, n, 3, 1, 1))
    blobs = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / rng.uniform(1, 8, (n, 3, 1, 1))).sum(axis=1)
    grids = np.where(np.arange(n)[:, None, None] % 2, noise, blobs + 0.2 * noise)
    maps = torch.nn.functional.interpolate(
        torch.from_numpy(grids).float()[:, None], (size, size), mode="bilinear"
    )[:, 0]
    corners = np.sort(rng.uniform(0, size, (n, 2, 2)), axis=1).reshape(n, 1, 4)
    corners[:, :, 2:] += 2
    return maps, list(corners)


def seconds(function, repeats):
    """Median wall-clock time of a call, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main():
    """Print maps a second, the literal version's time a map, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=200)
    parser.add_argument("--literal", type=int, default=2, help="maps for the literal version")
    parser.add_argument("--size", type=int, default=384)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    maps, boxes = make(arguments.maps, arguments.size)

    variants = {
        "defaults": QGroundCAM(),
        "wdp_distance=euclidean": QGroundCAM(wdp_distance="euclidean"),
        "peak_distance=0": QGroundCAM(peak_distance=0),
    }
    fast = {}
    for name, options in variants.items():
        fast[name] = seconds(lambda o=options: q_groundcam(maps, boxes, o), 5) / len(maps)
        print(f"{name:24} {1 / fast[name]:8.0f} maps/s   {fast[name] * 1e3:.3f} ms a map")

    options = QGroundCAM()
    few = [(maps[i].tolist(), boxes[i].tolist()) for i in range(arguments.literal)]
    start = time.perf_counter()
    slow = [reference.scores(values, box, options) for values, box in few]
    literal = (time.perf_counter() - start) / len(few)
    ours = q_groundcam(maps[: len(few)], boxes[: len(few)], options)
    worst = max(abs(ours[k][i] - row[k]) for i, row in enumerate(slow) for k in row)
    print(f"{'literal, per pixel':24} {1 / literal:8.2f} maps/s   {literal * 1e3:.0f} ms a map")
    print(f"ratio {literal / fast['defaults']:.0f}x, largest difference {worst:.1e}")

    rng = np.random.default_rng(0)
    columns = {str(i): rng.random(14481) for i in range(12)}
    images = [str(i) for i in rng.integers(1000, size=14481)]
    bootstrap = seconds(lambda: bootstrap_means(columns, images), 3)
    print(f"bootstrap of 12 columns, 14,481 rows, 1,000 images: {bootstrap * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
