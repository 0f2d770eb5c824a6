"""CHAIR on 2,000 captions: seconds, and beside them a version without our shortcuts.

    OMP_NUM_THREADS=1 python benchmarks/chair.py [--captions FILE --objects JSON]

Without a file, captions are made: random words of the vocabulary among others, 90 words each. The
literal version keeps no singular of a word that it has seen.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from vlground.data.captions import Captions
from vlground.data.sample import Sample
from vlground.metrics import chair_vocabulary
from vlground.metrics.chair import estimates, rows_of
from vlground.metrics.chair_vocabulary import vocabulary
from vlground.metrics.chair_words import singular


def make(n, words=90, seed=0):
    """Captions of random words, a third of them of the vocabulary, and true objects."""
    rng = np.random.default_rng(seed)
    known = list(vocabulary().classes)
    classes = sorted(set(vocabulary().classes.values()))
    others = [f"{a}{b}" for a in ("the ", "walk", "bright", "near ") for b in ("ing", "s", "er")]
    samples, objects = [], {}
    for i in range(n):
        pool = [known if k < 1 / 3 else others for k in rng.random(words)]
        said = [part[rng.integers(len(part))] for part in pool]
        text = ". ".join(" ".join(said[k : k + 15]) for k in range(0, words, 15)) + "."
        samples.append(Sample(str(i), str(i), Path("none.jpg"), text))
        objects[str(i)] = rng.choice(classes, size=4).tolist()
    return samples, objects


def seconds(function):
    """Wall-clock time of one call, and what it returns."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main():
    """Print seconds a part, cold and warm, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", help="a file of captions")
    parser.add_argument("--objects", help="JSON of image id -> names")
    parser.add_argument("--n", type=int, default=2000, help="captions that are made")
    arguments = parser.parse_args()
    if arguments.captions:
        reading, data = seconds(lambda: Captions(arguments.captions, arguments.objects))
        samples, objects = list(data), data.objects
        print(f"{'reading':24} {reading:7.2f} s")
    else:
        samples, objects = make(arguments.n)
    vocabulary()
    seconds(lambda: rows_of(samples[:1], objects))  # pandas is imported
    singular.cache_clear()
    cold, rows = seconds(lambda: rows_of(samples, objects))
    warm, _ = seconds(lambda: rows_of(samples, objects))
    interval, scores = seconds(lambda: estimates(rows))
    print(f"{len(samples)} captions, {rows['words'].mean():.1f} words each")
    print(f"{'mentions, first time':24} {cold:7.2f} s")
    print(f"{'mentions, again':24} {warm:7.2f} s")
    print(f"{'intervals':24} {interval:7.2f} s")
    print({name: round(estimate.value, 4) for name, estimate in scores.items()})

    chair_vocabulary.singular = singular.__wrapped__
    few = samples[:200]
    literal, _ = seconds(lambda: rows_of(few, objects))
    literal *= len(samples) / len(few)
    print(f"{'every word anew':24} {literal:7.2f} s   ratio {literal / cold:.0f}x")


if __name__ == "__main__":
    main()
