"""A multiverse of settings over stored maps, beside the plain scorer called once a setting.

    OMP_NUM_THREADS=1 python benchmarks/multiverse.py

Maps are 24×24 grids of noise of photos of 500×375 px, five to a photo, stored as a run stores them.
The plain scorer is timed on some of the maps and settings, and must give the same numbers.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from vlground.data.sample import Sample
from vlground.geometry import Frame
from vlground.identity import Stage
from vlground.metrics import QGroundCAM
from vlground.multiverse.grid import SCORES, Grid
from vlground.multiverse.scoring import multiverse_scores
from vlground.multiverse.work import carry_out, job_of
from vlground.store import Evidence, EvidenceStore
from vlground.tasks.scoring import rows_of

# 512 combinations, all of them different.
AXES = {
    "normalise": ("minmax", "max"),
    "threshold_strict": (False, True),
    "box_edge": ("centre", "outward"),
    "tie": ("expected", "first"),
    "wdp_normalisation": ("mass", "area"),
    "wdp_unit": ("pixels", "diagonal"),
    "resize": ("bilinear", "bicubic"),
    "resize_order": ("resize_first", "normalise_first"),
    "resolution": ("original", "input"),
}


def drawn(count: int) -> list[tuple[Sample, Evidence]]:
    """Samples with a box each, and their maps."""
    rng = np.random.default_rng(0)
    blank = np.zeros((1, 1, 3), dtype=np.uint8)
    frame = Frame.squash(375, 500, 384).to_list()
    found: list[tuple[Sample, Evidence]] = []
    for number in range(count):
        x, y = rng.uniform(0, 300), rng.uniform(0, 200)
        boxes = np.array([[x, y, x + rng.uniform(20, 190), y + rng.uniform(20, 170)]])
        grid = rng.random((24, 24), dtype=np.float32) ** 3
        evidence: Evidence = {"map": grid, "frame": frame, "constant": False, "normalised": False}
        found.append((Sample(f"{number}", f"{number // 5}", blank, "red", boxes=boxes), evidence))
    return found


def cpu_seconds() -> float:
    """Of this process and of those that it waited for: what a busy machine does not stretch."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(r.ru_utime + r.ru_stime for r in map(resource.getrusage, kinds))


def main() -> None:
    """Print settings, maps, seconds, and the ratio to the plain scorer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=5000)
    parser.add_argument("--plain", type=int, default=4, help="settings for the plain scorer")
    parser.add_argument("--few", type=int, default=50, help="maps of which both give all scores")
    arguments = parser.parse_args()
    grid = Grid("benchmark", tuple(AXES.items()))
    found = drawn(arguments.maps)

    with tempfile.TemporaryDirectory() as folder:
        source = Stage("prediction", {}, {})
        store = EvidenceStore(Path(folder), source)
        store.append((sample.key, evidence) for sample, evidence in found)
        store.close()
        job = job_of(Path(folder), source, grid, "benchmark", [sample for sample, _ in found])
        started, before = time.perf_counter(), cpu_seconds()
        carry_out([job])
        ours, cpu = time.perf_counter() - started, cpu_seconds() - before
    done = grid.combinations * len(found)
    print(f"{grid.combinations} settings × {len(found)} maps, all cores: {ours:.0f} s")
    print(f"  {done / ours:,.0f} settings × maps a second; {cpu:.0f} s of CPU")

    # One process against one, on the same maps.
    few = found[: arguments.few]
    started = time.perf_counter()
    values = multiverse_scores([(sample.boxes, evidence) for sample, evidence in few], grid)
    together = (time.perf_counter() - started) / (grid.combinations * len(few))
    rng = np.random.default_rng(0)
    settings = [
        QGroundCAM(**{name: one[rng.integers(len(one))] for name, one in AXES.items()})
        for _ in range(arguments.plain)
    ]
    equal, started = True, time.perf_counter()
    parts = [rows_of(few, setting)[0] for setting in settings]
    plain = (time.perf_counter() - started) / (len(settings) * len(few))
    for setting, part in zip(settings, parts, strict=True):
        for name in SCORES:
            place = grid.place(name, setting)
            assert place is not None
            equal &= np.array_equal(values[name][:, place], part[name], equal_nan=True)
    print(f"settings × maps a second of one process: {1 / together:,.0f}, plain {1 / plain:,.0f}")
    print(f"ratio {plain / together:.0f}×, equal to the last bit: {equal}")


if __name__ == "__main__":
    main()
