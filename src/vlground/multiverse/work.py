"""Scoring whole runs: image by image, on several processes, and stored as it goes."""

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vlground.data.sample import Sample
from vlground.identity import Stage
from vlground.multiverse.grid import SCORES, Grid
from vlground.multiverse.scoring import VERSION, image_sums, multiverse_scores
from vlground.store import Evidence, EvidenceStore

Image = tuple[str, tuple[tuple[str, np.ndarray], ...]]  # its id, key and boxes of its samples

_CHUNK = 16  # images that a process takes at once
_FEW = 200  # samples that are scored sooner than a process has started
_PROCESSES = min(os.cpu_count() or 1, 8)


@dataclass(frozen=True)
class Job:
    """Images of one run, of which every sample has evidence.

    Attributes:
        runs: The folder of runs.
        source: The stage of the maps.
        grid: The settings.
        data: Manifest of all samples of the run.
        images: What to score.
    """

    runs: Path
    source: Stage
    grid: Grid
    data: str
    images: tuple[Image, ...]

    @property
    def target(self) -> Stage:
        """The stage that keeps the sums, one record an image."""
        axes = {name: list(values) for name, values in self.grid.axes}
        reads = {"axes": axes, "data": self.data}
        versions = {"vlground.multiverse": VERSION}
        return Stage("multiverse", versions, reads, parents=(self.source.fingerprint,))


@dataclass(frozen=True, eq=False)
class Sums:
    """The scores of one run, added up image by image.

    Attributes:
        images: `(i,)` ids in ascending order.
        sums: Score -> `(i, settings)`.
        counts: Score -> `(i, settings)`, how many rows each is a sum of.
        samples: How many the run is about.
        skipped: Why samples have no map -> how many.
    """

    images: Sequence[str]
    sums: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    samples: int
    skipped: Counter[str]


def job_of(runs: Path, source: Stage, grid: Grid, data: str, samples: Sequence[Sample]) -> Job:
    """All images of a run."""
    images: dict[str, list[tuple[str, np.ndarray]]] = {}
    for sample in samples:
        images.setdefault(sample.image_id, []).append((sample.key, sample.boxes))
    return Job(runs, source, grid, data, tuple((i, tuple(images[i])) for i in sorted(images)))


def without_evidence(job: Job) -> int:
    """How many samples have none."""
    store = EvidenceStore(job.runs, job.source)
    return sum(key not in store for _, samples in job.images for key, _ in samples)


def carry_out(jobs: Sequence[Job]) -> list[Sums]:
    """Score what is not stored yet, and read all.

    Args:
        jobs: Whole runs, every sample of which has evidence.

    Raises:
        VlgroundError: If the folder of runs cannot be written.
    """
    parts = [part for job in jobs for part in _missing(job)]
    if sum(len(samples) for part in parts for _, samples in part.images) <= _FEW:
        for part in parts:
            _score(part)
    else:
        _share_out(parts)
    return [_read(job) for job in jobs]


def _missing(job: Job) -> list[Job]:
    store = EvidenceStore(job.runs, job.target)
    images = [image for image in job.images if image[0] not in store]
    chunks = (tuple(images[start : start + _CHUNK]) for start in range(0, len(images), _CHUNK))
    return [Job(job.runs, job.source, job.grid, job.data, chunk) for chunk in chunks]


def _share_out(parts: Sequence[Job]) -> None:
    from rich.console import Console
    from rich.progress import track

    context = multiprocessing.get_context("spawn")  # a fork of threads that compute may hang
    with (
        _one_thread_each(),
        ProcessPoolExecutor(_PROCESSES, context, torch.set_num_threads, (1,)) as pool,
    ):
        waiting = [pool.submit(_score, part) for part in parts]
        screen = Console(stderr=True)  # the tables may go into a file
        told = track(as_completed(waiting), "multiverse", len(parts), console=screen)
        try:
            for done in told:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """What starts in here computes on one thread: the processes are as many as the cores."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def _score(job: Job) -> None:
    """Score some images and store their sums; what is stored survives a kill."""
    torch.set_flush_denormal(True)  # as every run does
    maps, sums = EvidenceStore(job.runs, job.source), EvidenceStore(job.runs, job.target)
    stored = [(boxes, maps[key]) for _, samples in job.images for key, boxes in samples]
    drawn = [(boxes, evidence) for boxes, evidence in stored if "skipped" not in evidence]
    values = multiverse_scores(drawn, job.grid)
    records: list[tuple[str, Evidence]] = []
    first = start = 0
    for image, samples in job.images:
        own = [evidence for _, evidence in stored[first : first + len(samples)]]
        reasons = [str(evidence["skipped"]) for evidence in own if "skipped" in evidence]
        end = start + len(own) - len(reasons)
        summed = image_sums({name: rows[start:end] for name, rows in values.items()})
        records.append((image, {**summed, "skipped": reasons}))
        first, start = first + len(samples), end
    sums.append(records)
    maps.close()
    sums.close()


def _read(job: Job) -> Sums:
    store = EvidenceStore(job.runs, job.target)
    records = [store[image] for image, _ in job.images]
    store.close()
    skipped = Counter(str(why) for record in records for why in record["skipped"])  # type: ignore[union-attr]
    return Sums(
        images=[image for image, _ in job.images],
        sums={name: np.stack([record[f"sums/{name}"] for record in records]) for name in SCORES},  # type: ignore
        counts={name: np.stack([r[f"counts/{name}"] for r in records]) for name in SCORES},  # type: ignore
        samples=sum(len(samples) for _, samples in job.images),
        skipped=skipped,
    )
