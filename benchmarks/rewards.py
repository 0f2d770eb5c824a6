"""Speed and memory of rewards: sentences, nouns, and 100,000 candidates from store to winner.

    OMP_NUM_THREADS=1 python benchmarks/rewards.py [--candidates 100000]

Candidates have 5 sentences and 10 nouns each on average, 5 an image, and are read from an evidence
store on disk. Memory is the kernel's high-water mark.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from vlground.identity import Stage
from vlground.rewards.gathering import Scored, gather
from vlground.rewards.nouns import NounFinder
from vlground.rewards.options import VigorReward
from vlground.rewards.selection import agreement, rank
from vlground.rewards.sentences import split
from vlground.store import EvidenceStore

SETTINGS = {
    f"{normalise} {pool} {amount} λ={weight}": VigorReward(
        normalise=normalise, pool=pool, amount=amount, noun_weight=weight
    )
    for normalise in ("variance", "std", "rank")
    for pool in ("global", "image")
    for amount in ("counts", "rates")
    for weight in (0.5, 1.0, 2.0)
}


def peak():
    """High-water mark of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fill(store, candidates, each=5, seed=0):
    """Write random scores to the store."""
    rng = np.random.default_rng(seed)
    batch = []
    for c in range(candidates):
        sentences, nouns = rng.integers(2, 9), rng.integers(4, 17)
        evidence = {
            "image_id": str(c // each),
            "index": c % each,
            "words": int(nouns * 6),
            "errors": rng.random((sentences, 6)) ** 4,
            "lemmas": [f"noun{n}" for n in rng.integers(0, 900, nouns)],
            "presence": rng.random(nouns),
        }
        batch.append((str(c), evidence))
        if len(batch) == 1000:
            store.append(batch)
            batch = []
    store.append(batch)


def stored(store, candidates):
    """Read them one by one."""
    for c in range(candidates):
        e = store[str(c)]
        yield Scored(e["image_id"], e["index"], e["words"], e["errors"], e["lemmas"], e["presence"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=100_000)
    n = parser.parse_args().candidates
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage("scores", {}, {})
        fill(EvidenceStore(Path(folder), stage), n)
        store = EvidenceStore(Path(folder), stage)
        before = peak()
        started = time.perf_counter()
        gathered = gather(stored(store, n))
        read = time.perf_counter()
        rank(gathered.candidates, VigorReward())
        ranked = time.perf_counter()
        print(
            f"{n} candidates: read {read - started:.1f} s, score and select {ranked - read:.2f} s"
        )
        print(f"memory: {before:.0f} MB before, {peak():.0f} MB at most")
    started = time.perf_counter()
    found = {name: rank(gathered.candidates, options)[2] for name, options in SETTINGS.items()}
    shares = agreement(found)
    seconds = time.perf_counter() - started
    print(f"{len(found)} settings and their agreement: {seconds:.1f} s, no model")
    print(f"least agreement of two settings: {min(shares.values()):.3f}")
    caption = (
        "A man in a red coat sits on a bench, e.g. in a park. Two dogs play. It is 3.5 m. " * 3
    )
    started = time.perf_counter()
    for _ in range(2000):
        split(caption)
    print(f"split: {2000 / (time.perf_counter() - started):.0f} captions a second")
    finder = NounFinder("vocabulary", ["man", "coat", "bench", "park", "dog", "wine glass"])
    started = time.perf_counter()
    for _ in range(500):
        for sentence in split(caption):
            finder.find(sentence.text)
    print(f"nouns of a vocabulary: {500 / (time.perf_counter() - started):.0f} captions a second")


if __name__ == "__main__":
    main()
