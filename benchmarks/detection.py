"""All nouns of an image in one pass of Grounding DINO, beside one pass a noun.

    OMP_NUM_THREADS=1 python benchmarks/detection.py [--repeats 1] [--side 400]

Both are `GroundingDinoDetector`, with `joint` true and false, and give probabilities and boxes. The
network is that of grounding-dino-tiny (Swin-T, BERT base, 900 queries) with random weights; the
photo of 640 × 480 pixels is read at 400 × 533, for two cores; at full size with `--side 800`. How
far the probabilities of the two lie apart is told of these random weights only; it says that they
differ, not by how much a trained model's do.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from cams import ratio
from vlground.data.sample import Sample
from vlground.detectors.grounding_dino import GroundingDinoDetector

NOUNS = ["cat", "dog", "wine glass", "table", "bench", "street", "traffic light", "man", "bicycle"]
PLACES = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
SIZE = 30522


def write(folder, side):
    """Save a network and a processor of its size."""
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    backbone = SwinConfig(
        window_size=7,
        image_size=224,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        out_indices=[2, 3, 4],
    )
    config = GroundingDinoConfig(backbone_config=backbone)
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    words = [f"[unused{number}]" for number in range(SIZE)]
    known = sorted({word for noun in NOUNS for word in noun.split()})
    for word, place in {**PLACES, **{w: 2000 + i for i, w in enumerate(known)}}.items():
        words[place] = word
    vocabulary = Path(folder) / "vocab.txt"
    vocabulary.write_text("\n".join(words) + "\n")
    images = GroundingDinoImageProcessor(
        size={"shortest_edge": side, "longest_edge": round(side * 1333 / 800)}
    )
    GroundingDinoProcessor(images, BertTokenizer(str(vocabulary))).save_pretrained(folder)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--side", type=int, default=400)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write(folder, arguments.side)
        together = GroundingDinoDetector(folder)
        apart = GroundingDinoDetector(folder, joint=False)
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    samples = [Sample("a", "a", image, "")]
    found = {}

    def ask(name, detector):
        found[name] = [one.probability for one in detector.detect(samples, [NOUNS])[0]]

    gain, loop, mine = ratio(
        lambda: ask("apart", apart), lambda: ask("together", together), arguments.repeats
    )
    difference = np.abs(np.subtract(found["apart"], found["together"]))
    print(f"one image, {len(NOUNS)} nouns, shorter side {arguments.side}")
    print("one pass s  a pass a noun s  ratio  difference of probabilities: mean  largest")
    print(f"{mine:10.2f} {loop:16.2f} {gain:6.2f}", end="")
    print(f" {difference.mean():34.4f} {difference.max():8.4f}", flush=True)


if __name__ == "__main__":
    main()
