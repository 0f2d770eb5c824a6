"""Rejection sampling as a command: from stored scores to winners, and a sweep that asks no model.

    OMP_NUM_THREADS=1 python benchmarks/rejection_sampling.py [--candidates 20000 100000]

Captions are made of random sentences about COCO's objects, 5 an image. The first run of each size
writes candidates and asks the oracle detector; what is timed reads what it stored. Memory is the
kernel's high-water mark of the process, of which 0.5 GB are imports.
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

from vlground.metrics.chair_vocabulary import vocabulary

EACH = 5
PATTERNS = (
    "There is a {} next to a {}.",
    "A {} stands in front of the {}.",
    "In the background a {} can be seen.",
    "The scene is calm and bright.",
)
SWEEP = (
    "metric.normalise=variance,std,rank",
    "metric.pool=global,image",
    "metric.amount=counts,rates",
    "metric.noun_threshold=0.1,0.25,0.5",
)


def write(folder, candidates):
    """Captions of each number of an image in a file, and the objects of the images."""
    draw = random.Random(0)
    names = sorted(set(vocabulary().classes.values()))
    images = range(candidates // EACH)
    objects = {str(image): draw.sample(names, 3) for image in images}
    (folder / "objects.json").write_text(json.dumps(objects))
    for number in range(EACH):
        with (folder / f"{number}.jsonl").open("w") as file:
            for image in images:
                told = [draw.choice([*objects[str(image)] * 9, *names]) for _ in range(10)]
                count = draw.randint(3, 7)
                said = [draw.choice(PATTERNS).format(*draw.sample(told, 2)) for _ in range(count)]
                caption = {"image_id": str(image), "caption": " ".join(said)}
                file.write(json.dumps(caption) + "\n")


def run(folder, *options):
    """Seconds and peak in MB of one command."""
    files = ",".join(str(folder / f"{number}.jsonl") for number in range(EACH))
    command = [
        *(sys.executable, "-m", "vlground", "task=rejection_sampling", "logger=none"),
        *("model=captioner_file", f"model.file=[{files}]", "dataset=image_objects"),
        *(f"dataset.objects={folder / 'objects.json'}", f"detector.file={folder / 'objects.json'}"),
        *("detector=oracle", "reward=none", "metric.streams=[nouns]", "task.export=[]"),
        *("task.nouns.tagger=vocabulary", "task.nouns.vocabulary=coco", "task.review=0"),
        *(f"runs={folder / 'runs'}", *options),
    ]
    started = time.perf_counter()
    output = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    actions = [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    process = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(process, 0)
    os.close(output)
    assert status == 0, (folder / "log").read_text()
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def segments(folder):
    """Files of evidence."""
    return sorted(str(path) for path in (folder / "runs").glob("evidence/*/*.segment"))


def seconds(folder):
    """What the last runs say that they computed for."""
    results = (folder / "runs").glob("rejection_sampling/*/results.json")
    return [float(re.search(r'"seconds": ([\d.]+)', path.read_text())[1]) for path in results]


def main():
    """Measure every size, then the sweep at the smallest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, nargs="+", default=[20000, 100000])
    for place, candidates in enumerate(sorted(parser.parse_args().candidates)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder, candidates)
            first, _ = run(folder)
            made = segments(folder)
            again, peak = run(folder, "overwrite=true")
            (own,) = seconds(folder)
            told = f"first run {first:.0f} s, again {again:.1f} s, of them {own:.1f} s"
            print(f"{candidates} candidates: {told} from store to winners, peak {peak:.0f} MB")
            if place == 0:
                count = len(SWEEP[0].split(",")) * 2 * 2 * 3
                whole, peak = run(folder, "hydra.mode=MULTIRUN", *SWEEP)
                assert segments(folder) == made, "the sweep made evidence"
                print(f"{count} settings: {whole:.0f} s, no model asked, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
